"""Which lines of a range are events at all: asked before the engine is, which reads more than it should.

ClickHouse takes ``5000000000`` into a UInt32 (and wraps it round), two objects on a line as two rows, an empty line
as none, ``1e999`` as infinity and any bytes as text. So every line is read here first, by a struct that holds a
kind's id, times and numbers with their bounds and skips the rest: some 2 µs a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, get_type_hints

import msgspec

from barograph.core.event import KINDS
from barograph.store.filters import NUMBERS
from barograph_client.errors import shorten

_CHUNK = 1 << 17  # bytes decoded at once: the interpreter's lock is held meanwhile, and acknowledgements wait for it
_REQUIRED = ("event_id", "time")


def _decoder(kind: str) -> msgspec.json.Decoder[Any]:
    hints = get_type_hints(KINDS[kind], include_extras=True)
    fields: list[Any] = [(name, hints[name]) for name in _REQUIRED]
    fields += [(name, hint, None) for name, hint in hints.items() if name in NUMBERS]
    struct = msgspec.defstruct(
        kind.capitalize(), [*fields, ("received_at", datetime)], kw_only=True, gc=False, tag_field="kind", tag=kind
    )
    return msgspec.json.Decoder(struct)


_DECODERS = {kind: _decoder(kind) for kind in KINDS}


def unreadable(kind: str, data: bytes) -> list[tuple[int, bytes, str]]:
    """Offset, line and reason of every line that is not an event of the kind."""
    decoder, found = _DECODERS[kind], []
    for start, chunk in _chunks(data):
        try:
            chunk.decode()
            if len(decoder.decode_lines(chunk)) == chunk.count(b"\n"):
                continue
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
        for offset, line in lines(chunk):
            try:
                line.decode()
                decoder.decode(line)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                found.append((start + offset, line, f"not a {kind} event: {shorten(str(error))}"))
    return found


def lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each line, its end included. Only a line feed ends a line."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield start, data[start:end]
        start = end


def without(data: bytes, offsets: set[int]) -> bytes:
    """The data without the lines that begin at these offsets."""
    return b"".join(line for offset, line in lines(data) if offset not in offsets) if offsets else data


def _chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + _CHUNK) + 1 or data.find(b"\n", start) + 1 or len(data)
        yield start, data[start:end]
        start = end
