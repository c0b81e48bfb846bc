"""Where a unit stands: numbers in [0, 1) from a seed and the unit's id, the same everywhere and for good.

Two families. ``growthbook_hash`` is the hash of GrowthBook's SDK specification, versions 1 and 2, so that units keep
their arms when an experiment moves over from there; ``Places`` is our own, finer one. Used by ``assignment``.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Final, Literal

HashVersion = Literal["barograph", "growthbook-v1", "growthbook-v2"]

_OFFSET: Final = 0x811C9DC5  # FNV-1a, 32 bits: https://datatracker.ietf.org/doc/html/draft-eastlake-fnv
_PRIME: Final = 0x01000193
_MASK: Final = 0xFFFFFFFF
_UTF_16: Final = "utf-16-le" if sys.byteorder == "little" else "utf-16-be"
_UNSEEN: Final = 2**-53  # 53 bits are what a double holds: positions are exact, and never 1.0


def fnv1a_32(text: str, state: int = _OFFSET) -> int:
    """FNV-1a with 32 bits over the UTF-16 code units of a text, as JavaScript's ``charCodeAt`` gives them.

    A unit above 255 is taken whole, which no hash of bytes does. ``state`` is the hash of what stands before the text.
    """
    if text.isascii():
        for unit in text.encode("ascii"):
            state = (state ^ unit) * _PRIME & _MASK
    else:
        for unit in memoryview(text.encode(_UTF_16, "surrogatepass")).cast("H"):
            state = (state ^ unit) * _PRIME & _MASK
    return state


def growthbook_hash(seed: str, unit_id: str, version: int) -> float | None:
    """The unit's position by GrowthBook's specification, version 1 (thousandths) or 2 (ten-thousandths); else None.

    https://docs.growthbook.io/lib/build-your-own, "Hashing".
    """
    if version == 1:
        return growthbook_positions(seed, 1)(unit_id)
    return growthbook_positions(seed, 2)(unit_id) if version == 2 else None


def growthbook_positions(seed: str, version: Literal[1, 2]) -> Callable[[str], float]:
    """``growthbook_hash`` of one seed, for any number of units."""
    if version == 1:
        return lambda unit_id: fnv1a_32(seed, fnv1a_32(unit_id)) % 1_000 / 1_000
    seeded = fnv1a_32(seed)
    return lambda unit_id: fnv1a_32(str(fnv1a_32(unit_id, seeded))) % 10_000 / 10_000


class Places:
    """Our own positions for one seed: two independent ones a unit, each a 53-bit fraction.

    They are the first and the last half of one 128-bit BLAKE2b digest (RFC 7693) of the seed and the unit's id.
    Immutable; safe to share between threads.
    """

    __slots__ = ("_hash",)

    def __init__(self, seed: str) -> None:
        self._hash = hashlib.blake2b(seed.encode("utf-8", "surrogatepass") + b"\0", digest_size=16)

    def of(self, unit_id: str) -> tuple[float, float]:
        """Two uniform numbers in [0, 1)."""
        digest = self._hash.copy()
        # surrogatepass: half a character from a faulty program is an id like any other, not an error in the host
        digest.update(unit_id.encode("utf-8", "surrogatepass"))
        bits = int.from_bytes(digest.digest(), "big")
        return (bits >> 75) * _UNSEEN, ((bits & 0xFFFFFFFFFFFFFFFF) >> 11) * _UNSEEN
