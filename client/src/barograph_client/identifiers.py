"""Identifiers: UUID version 7 for events, and ids derived from other ids.

A UUIDv7 (RFC 9562, section 5.7) begins with the Unix time in milliseconds, so ids sort by the time they were
made and a retry that repeats its id is recognised in a window of recent ones. Derived ids are deterministic:
the same parent and purpose always give the same id, so a rebuild or a repeated decision adds nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from barograph_client.clock import Clock

_RANDOM_BLOCK = 8192  # bytes drawn from the generator at a time: one system call for some 800 ids
_RANDOM_BYTES = 10  # 74 random bits a UUIDv7


class IdentifierSource:
    """Makes UUIDv7 texts. Safe to share between threads and after ``fork``.

    ``random_bytes`` takes a length and returns so many random bytes; tests pass a seeded one.
    """

    def __init__(self, clock: Clock, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._blocks = self._draw()
        os.register_at_fork(after_in_child=self._restart)

    def _draw(self) -> list[bytes]:
        block = self._random_bytes(_RANDOM_BLOCK)
        return [block[i : i + _RANDOM_BYTES] for i in range(0, _RANDOM_BLOCK - _RANDOM_BYTES, _RANDOM_BYTES)]

    def _restart(self) -> None:
        self._blocks = []

    def new(self) -> str:
        """A new UUIDv7 as the usual 36 characters."""
        try:
            tail = self._blocks.pop()  # atomic under the interpreter's lock
        except IndexError:
            blocks = self._draw()
            tail = blocks.pop()
            self._blocks = blocks
        return uuid7(int(self._clock.now().timestamp() * 1000), tail)


def uuid7(milliseconds: int, tail: bytes) -> str:
    """The UUIDv7 of a Unix time in milliseconds and ten random bytes."""
    digits = f"{milliseconds & 0xFFFFFFFFFFFF:012x}{tail.hex()}"
    variant = "89ab"[tail[2] & 3]
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def derived_id(parent: str, purpose: str) -> str:
    """A deterministic UUID version 8 (RFC 9562, section 5.8) from a parent's id and a purpose."""
    digits = hashlib.sha256(f"{purpose}\0{parent}".encode()).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def content_id(content: bytes) -> str:
    """A deterministic UUID version 8 of any bytes: what is the same has the same id, whenever it comes."""
    digits = hashlib.blake2b(content, digest_size=16).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
