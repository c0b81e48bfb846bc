"""Numbers in few bytes: what a detector remembers is kept in single precision, and rounded so that it packs well.

Used by ``reservoir`` and ``season``, and for the text in which the alerts store a detector. Numbers are rounded on the
way in: what is restored is then the same to the bit.
"""

from __future__ import annotations

import base64
import math
import zlib
from array import array
from typing import TypeVar

import msgspec
from msgspec import Struct

S = TypeVar("S", bound=Struct)

BITS = (
    12  # of a number's significand that are kept: it is right to 1 part in 8,192, and differences of 1 in 1,000 count
)
SIZE = 4  # bytes of a number
LARGEST = 1e38  # single precision ends at 3.4e38
QUICKLY = 1  # zlib's level


def rounded(value: float) -> float:
    """The nearest number that is kept; beyond 1e38 that one. Must be finite."""
    significand, exponent = math.frexp(min(max(value, -LARGEST), LARGEST))
    return math.ldexp(round(math.ldexp(significand, BITS)), exponent - BITS)


def pack(values: array[float]) -> bytes:
    """Single-precision numbers: the lowest bytes of all, then the second, and so on. Like bytes compress well."""
    plain = (_swapped(values[:]) if _BIG_ENDIAN else values).tobytes()
    return b"".join(plain[place::SIZE] for place in range(SIZE))


def unpack(packed: bytes) -> array[float]:
    """What ``pack`` was given. Raises ValueError for bytes that are no whole numbers."""
    plain, count = bytearray(len(packed)), len(packed) // SIZE
    for place in range(SIZE):
        plain[place::SIZE] = packed[place * count : (place + 1) * count]
    values = array("f", bytes(plain))
    return _swapped(values) if _BIG_ENDIAN else values


def to_text(state: Struct) -> str:
    """A state as text: MessagePack, compressed, in base 64."""
    return base64.b64encode(zlib.compress(msgspec.msgpack.encode(state), QUICKLY)).decode()


def from_text(text: str, kind: type[S]) -> S:
    """What ``to_text`` was given. Raises ValueError for anything else."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(base64.b64decode(text)), type=kind)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"no state: {error}") from None


def _swapped(values: array[float]) -> array[float]:
    values.byteswap()
    return values


_BIG_ENDIAN = array("H", b"\x01\x00")[0] != 1
