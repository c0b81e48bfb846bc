"""The loader's checkpoint: how far each segment is in the engine, and which ranges are on their way.

It is durable **before** a range is sent, so that after any crash the same bytes go out again under the same
deduplication token and are counted once. One small file beside the engine, replaced atomically.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct, field


class Range(Struct, frozen=True):
    """Bytes ``start`` up to ``end`` of one segment: whole lines, one block of the engine."""

    segment: str
    start: int
    end: int

    @property
    def kind(self) -> str:
        return self.segment.partition("/")[0]

    def token(self, block: bytes) -> str:
        """The deduplication token: the place and the bytes sent, so that the same bytes always have the same.

        The place alone would not do: where a power cut shortened a segment, other bytes come to stand later.
        """
        return f"{self.segment}:{self.start}-{self.end}:{hashlib.sha256(block).hexdigest()[:16]}"


class State(Struct):
    """``loaded`` maps a segment's name to its loaded bytes; ``in_flight`` are ranges sent, or about to be.

    ``block`` is what a block was allowed to be when they were cut: a token is only good for the same block.
    ``suspect`` says that the engine is to be checked against the journal before it answers, after a crash.
    """

    loaded: dict[str, int] = field(default_factory=dict)
    in_flight: list[Range] = field(default_factory=list)
    block: str = ""
    suspect: bool = False


class Checkpoint:
    """The state in memory, and its file. Not ``known``: what the engine holds is unknown, and is made again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = True
        self.state = self._read()
        self._written = msgspec.json.encode(self.state) if self.known else b""

    def _read(self) -> State:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=State)
        except (msgspec.MsgspecError, OSError, ValueError):
            self.known = False
            return State()

    def write(self) -> None:
        """Make the state durable; does nothing when the file says the same already."""
        data = msgspec.json.encode(self.state)
        if data == self._written:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        os.replace(temporary, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._written = data
        self.known = True

    def forget(self) -> None:
        """Nothing is known any more, durably: called before the engine is emptied, so that no end leaves it half."""
        self.path.unlink(missing_ok=True)
        self.state, self.known, self._written = State(), False, b""
