"""The window of event ids that tells a retry from a new event of the same project.

An id of one project says nothing of the same id of another: nobody learns from an answer what others sent.
It remembers at least so many ids and at least so many seconds, and never more than four times as many ids; it is
made again from the journal's tail at the first submit after a start. Only the writer thread touches it.

Memory: an id that is a UUID in its usual form is kept as a 128-bit integer, exactly: measured about 90 bytes an id,
set and order together, so some 90 MB for the default million and at most four times that. Other ids are kept
as text, about 60 bytes and their length.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from sys import intern
from typing import NamedTuple

import msgspec

from barograph.journal.catalogue import Catalogue
from barograph.journal.entry import DEFAULT_PROJECT
from barograph.journal.heads import MARK, event_head
from barograph.journal.segment import SegmentFile
from barograph_client.errors import JournalError

Short = int | str
Key = Short | tuple[str, Short]

CAP = 4  # the window holds at most so many times the least number of ids
_BLOCK = 4096  # ids that are remembered and forgotten together
_CHUNK = 1 << 16  # bytes of the journal read at a time: the last block of each stream must fit into a small window
_FOREVER_AGO = datetime.min.replace(tzinfo=UTC)
_UUID = "([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_uuid = re.compile(_UUID).fullmatch
_own_line = re.compile(
    rb'\{"kind":"[a-z0-9_]*","event_id":"' + _UUID.encode() + rb'","time":"[^"\\]*"(?:,"project":"([^"\\]*)")?'
).match


def key_of(event_id: str, project: str = DEFAULT_PROJECT) -> Key:
    """What the window knows an event by: its id, with its project unless that is the default one."""
    return _with_project(project, short_of(event_id))


def short_of(event_id: str) -> Short:
    """The id in its shortest exact form."""
    return int(event_id.replace("-", ""), 16) if _uuid(event_id) else event_id


def _with_project(project: str, short: Short) -> Key:
    return short if project == DEFAULT_PROJECT else (intern(project), short)


class DuplicateWindow:
    """Recent ids. ``hold`` them when written, then ``confirm`` them when durable or ``forget`` them when not."""

    def __init__(self, least: int, seconds: float) -> None:
        self._least = least
        self._age = timedelta(seconds=seconds)
        self._size = max(1, min(_BLOCK, least // 4))
        self._known: set[Key] = set()
        self._blocks: deque[tuple[datetime, list[Key]]] = deque()  # oldest first, with their latest arrival

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    def all_new(self, keys: Sequence[Key]) -> bool:
        """Whether none is known and none stands there twice."""
        distinct = set(keys)
        return len(distinct) == len(keys) and self._known.isdisjoint(distinct)

    def hold(self, keys: Iterable[Key]) -> None:
        """Know these ids from now on."""
        self._known.update(keys)

    def forget(self, keys: Iterable[Key]) -> None:
        """These were held but not kept: a retry is welcome."""
        self._known.difference_update(keys)

    def confirm(self, keys: Sequence[Key], moment: datetime) -> None:
        """These were held and are durable since ``moment``; the oldest give way."""
        for start in range(0, len(keys), self._size):
            part = list(keys[start : start + self._size])
            if self._blocks and len(self._blocks[-1][1]) + len(part) <= self._size:
                self._blocks[-1] = (moment, self._blocks[-1][1])
                self._blocks[-1][1].extend(part)
            else:
                self._blocks.append((moment, part))
        while self._blocks and self._spare(moment):
            self._known.difference_update(self._blocks.popleft()[1])

    def _spare(self, now: datetime) -> bool:
        latest, oldest = self._blocks[0]
        left = len(self._known) - len(oldest)
        return len(self._known) > CAP * self._least or (left >= self._least and now - latest > self._age)

    def restore(self, blocks: Iterable[Block]) -> None:
        """Fill the empty window with blocks of ids, newest first, until it holds what it should.

        A block reaches back over others: its ids count towards the least number only once it is newer as a whole than
        whatever comes next.
        """
        newest: datetime | None = None
        newer, waiting = 0, list[tuple[datetime, int]]()
        for block in blocks:
            newest = newest or block.latest
            newer += sum(ids for earliest, ids in waiting if earliest >= block.latest)
            waiting = [one for one in waiting if one[0] < block.latest]
            if newer >= self._least and newest - block.latest > self._age:
                break
            fresh = [key for key in block.keys if key not in self._known]
            self._known.update(fresh)
            waiting.append((block.earliest, len(fresh)))
            for end in range(len(fresh), 0, -self._size):
                self._blocks.appendleft((block.latest, fresh[max(0, end - self._size) : end]))
            if len(self._known) >= CAP * self._least:
                break


class Block(NamedTuple):
    """The ids of some lines that follow each other in a stream, and when the first and the last of them arrived."""

    earliest: datetime
    latest: datetime
    keys: list[Key]


def recent_ids(catalogue: Catalogue) -> Iterator[Block]:
    """The ids of the journal's lines in blocks, the ones with the latest arrival first, over all streams."""
    heap = []
    for order, files in enumerate(catalogue.streams().values()):
        blocks = _backwards(catalogue, files)
        first = next(blocks, None)
        if first is not None:
            heap.append((-first.latest.timestamp(), order, first, blocks))
    heapq.heapify(heap)
    while heap:
        _, order, block, blocks = heapq.heappop(heap)
        yield block
        after = next(blocks, None)
        if after is not None:
            heapq.heappush(heap, (-after.latest.timestamp(), order, after, blocks))


def _backwards(catalogue: Catalogue, files: list[SegmentFile]) -> Iterator[Block]:
    for file in reversed(files):
        end = file.size
        while end > 0:
            try:
                start, data = _lines_before(catalogue, file, end)
            except (OSError, JournalError):
                break  # a damaged file costs the memory of its ids, not the start
            latest, keys = _parse(data, file.kind)
            if keys:
                first = event_head(data[: data.find(b"\n") + 1])
                yield Block(first.received_at if first else _FOREVER_AGO, latest, keys)
            end = start


def _lines_before(catalogue: Catalogue, file: SegmentFile, end: int) -> tuple[int, bytes]:
    """Some whole lines that end at ``end``, and where they begin."""
    span = _CHUNK
    while True:
        start = max(0, end - span)
        data = catalogue.read(file, start, end)
        if start == 0:
            return 0, data
        first = data.find(b"\n", 0, len(data) - 1) + 1
        if first:
            return start + first, data[first:]
        span *= 2


def _parse(data: bytes, kind: str) -> tuple[datetime, list[Key]]:
    """The ids of these lines, and the arrival of the last that is whole."""
    head = None
    end = len(data)
    while head is None and end > 0:
        begin = data.rfind(b"\n", 0, end - 1) + 1
        head = event_head(data[begin:end])
        end = begin
    if head is None:
        return _FOREVER_AGO, []
    if MARK in data:
        return head.received_at, [key for line in data.split(b"\n") if line and (key := _key_of_line(line)) is not None]
    # every line of ours begins alike, so the lines fall apart right before their ids; any other is parsed
    start = b'\n{"kind":"%s","event_id":"' % kind.encode()
    lines = data.count(b"\n")
    ids = re.findall(start + _UUID.encode() + b'"', b"\n" + data)
    if len(ids) == lines:
        return head.received_at, [int(digits.replace(b"-", b""), 16) for digits in ids]
    pieces = (b"\n" + data).split(start)[1:]
    if len(pieces) != lines:
        heads = [event_head(line) for line in data.splitlines()]
        return head.received_at, [key_of(head.event_id) for head in heads if head]
    return head.received_at, [_id(piece) for piece in pieces]


def _key_of_line(line: bytes) -> Key | None:
    match = _own_line(line)
    if match is not None and (match[2] is not None or MARK not in line):
        short = int(match[1].replace(b"-", b""), 16)
        return short if match[2] is None else _with_project(match[2].decode("utf-8", "replace"), short)
    head = event_head(line)
    return None if head is None else key_of(head.event_id, head.project)


def _id(piece: bytes) -> Key:
    """The id at the beginning of a piece that starts behind the opening quote."""
    end = piece.find(b'"')
    while end > 0 and piece[end - 1 : end] == b"\\":
        backslashes = end - len(piece[:end].rstrip(b"\\"))
        if backslashes % 2 == 0:
            break
        end = piece.find(b'"', end + 1)
    text = piece[:end]
    if b"\\" in text:
        try:
            return key_of(msgspec.json.decode(b'"' + text + b'"', type=str))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return text.decode("utf-8", "replace")
    return key_of(text.decode("utf-8", "replace"))
