"""A batch of events as it goes over the wire: lines of JSON, compressed if that pays, with the number that it keeps.

Made by ``delivery`` and by the sink of a collector, kept by ``spool``, sent by ``exchange``. What is sent again is
the same bytes under the same client id and sequence number, so that the server knows a batch that it has taken
already.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from barograph_client.identifiers import derived_id

BODY_BYTES = 2 * 2**20  # of lines in one batch, about; a single event may be half as long
_COMPRESS_FROM = 1024  # bytes; less than that gains nothing
_COMPRESSION_LEVEL = 1  # of zlib: a third of the time of its default for nearly the same size
_GZIP = 31  # zlib's number for the largest window in a gzip wrapper
GZIP = "gzip"


class Batch(NamedTuple):
    """``events`` lines in ``body``, whose ``encoding`` is empty or gzip."""

    client: str
    sequence: int
    project: str
    events: int
    encoding: str
    body: bytes

    def lines(self) -> list[bytes]:
        """Its events, each with its line feed."""
        body = zlib.decompress(self.body, _GZIP) if self.encoding == GZIP else self.body
        return body.splitlines(keepends=True)


def pack(client: str, sequence: int, project: str, lines: Sequence[bytes]) -> Batch:
    """The batch of some lines."""
    body = b"".join(lines)
    if len(body) < _COMPRESS_FROM:
        return Batch(client, sequence, project, len(lines), "", body)
    return Batch(client, sequence, project, len(lines), GZIP, zlib.compress(body, _COMPRESSION_LEVEL, _GZIP))


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The batch in two, for a server that does not take it whole.

    Their client id comes from the whole's own number: whoever divides it again, after a crash too, sends the same two.
    """
    lines = batch.lines()
    middle = len(lines) // 2
    client = derived_id(f"{batch.client}/{batch.sequence}", "halves")
    return pack(client, 1, batch.project, lines[:middle]), pack(client, 2, batch.project, lines[middle:])


def parted(lines: Sequence[bytes], most: int) -> list[list[bytes]]:
    """The lines in parts of at most ``most`` bytes each, or of one line that is longer."""
    parts: list[list[bytes]] = []
    room = 0
    for line in lines:
        if not parts or len(line) > room:
            parts.append([])
            room = most
        parts[-1].append(line)
        room -= len(line)
    return parts
