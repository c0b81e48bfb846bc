"""The loader's checkpoint: how far each segment is in the engine, and which ranges are on their way.

It is durable **before** a range is sent, so that after any crash the same bytes go out again under the same
deduplication token and are counted once. One small file beside the engine, replaced atomically.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct, field

from barograph.core.errors import EngineError


class Range(Struct, frozen=True):
    """Bytes ``start`` up to ``end`` of one segment: whole lines, one block of the engine."""

    segment: str
    start: int
    end: int

    @property
    def kind(self) -> str:
        return self.segment.partition("/")[0]

    @property
    def token(self) -> str:
        """The deduplication token. It names the bytes, so the same bytes always have the same."""
        return f"{self.segment}:{self.start}-{self.end}"


class State(Struct):
    """``loaded`` maps a segment's name to its loaded bytes; ``in_flight`` are ranges sent, or about to be.

    ``block`` is what a block was allowed to be when they were cut: a token is only good for the same block.
    """

    loaded: dict[str, int] = field(default_factory=dict)
    in_flight: list[Range] = field(default_factory=list)
    block: str = ""


class Checkpoint:
    """The state in memory, and its file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = self._read()
        self._written = msgspec.json.encode(self.state) if path.exists() else b""

    def _read(self) -> State:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (msgspec.MsgspecError, OSError) as error:
            raise EngineError(
                f"the checkpoint {self.path} cannot be read: {error}",
                hint="`barograph rebuild` makes the engine again from the journal.",
            ) from error

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

    def reset(self) -> None:
        """Nothing is loaded."""
        self.state = State()
        self.write()
