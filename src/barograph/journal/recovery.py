"""The start after a crash: what stands behind the last whole line of a file is cut off and kept aside.

A process that is killed leaves at most a torn last line; a power cut may leave zeros or garbage where the file had
grown but its bytes had not arrived. Neither was acknowledged. ``journal`` calls ``recover`` once, before the
writer starts; ``stream`` uses ``cut`` for what could not be cut then (a full or read-only disk does not stop the
start).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from barograph.journal.catalogue import Catalogue
from barograph.journal.disk import make_directories, read_range, sync_directory, sync_file, write_new
from barograph.journal.heads import LineHead, event_head, is_event, is_record
from barograph.journal.segment import LogFile, SegmentFile
from barograph_client.errors import JournalError

_SPAN = 1 << 18  # bytes read from the end at first; four times as many each time no whole line was among them

Read = Callable[[int, int], bytes]


class Torn(msgspec.Struct, frozen=True, kw_only=True):
    """A tail that was cut off: from where, how much, and where it is kept (empty if it could not be kept yet)."""

    file: str
    offset: int
    bytes: int
    kept: str


def last_whole_line(read: Read, size: int, whole: Callable[[bytes], bool]) -> tuple[int, bytes]:
    """Where the last whole line ends, and that line; ``(0, b"")`` if there is none."""
    span = _SPAN
    while size:
        start = max(0, size - span)
        data = read(start, size)
        end = data.rfind(b"\n") + 1
        while end:
            begin = data.rfind(b"\n", 0, end - 1) + 1
            if begin == 0 and start > 0:
                break  # the line may begin before what was read
            if whole(data[begin:end]):
                return start + end, data[begin:end]
            end = begin
        if start == 0:
            break
        span *= 4
    return 0, b""


def cut(path: Path, size: int, torn: Path, name: str) -> Path | None:
    """Shorten a file to ``size``; what stood behind it goes to a file in ``torn`` first. Raises OSError."""
    tail = read_range(path, size, path.stat().st_size)
    if not tail:
        return None
    make_directories(torn)
    target = torn / f"{name}-{size}.bin"
    again = 1
    while target.exists() and target.read_bytes() != tail:  # torn twice at the same place
        again += 1
        target = torn / f"{name}-{size}-{again}.bin"
    write_new(target, tail)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return target


def recover(
    catalogue: Catalogue, records: list[LogFile], torn: Path, *, unclean: bool
) -> tuple[list[Torn], dict[str, datetime]]:
    """Mend the ends of all files that may have been open; returns what was cut and the latest arrival of each kind.

    After an unclean start everything that is served from now on is synced first: a retry must not be answered
    "duplicate" on the word of bytes that a power cut can still take.
    """
    found: list[Torn] = []
    latest: dict[str, datetime] = {}
    for files in catalogue.streams().values():
        last = files[-1]
        if last.packed is None:
            line = _mend(last, is_event, torn, found)
            if unclean:
                _sync(last.path)
        else:
            line = b""
        head = event_head(line) or _latest(catalogue, files)
        if head:
            latest[last.kind] = max(head.received_at, latest.get(last.kind, head.received_at))
    for record in records:
        _mend(record, is_record, torn, found)
        if unclean:
            _sync(record.path)
    return found, latest


def _mend(file: LogFile, whole: Callable[[bytes], bool], torn: Path, found: list[Torn]) -> bytes:
    size = file.size
    try:
        end, line = last_whole_line(partial(read_range, file.path), size, whole)
    except OSError:
        file.sealed = True  # unreadable: it is left as it is, and new lines go elsewhere
        return b""
    if end < size:
        file.size = file.first_size = end
        try:
            kept = cut(file.path, end, torn, torn_name(file))
        except OSError:
            kept = None  # tried again before the next line is written
        found.append(Torn(file=str(file.path), offset=end, bytes=size - end, kept=str(kept or "")))
    return line


def _latest(catalogue: Catalogue, files: list[SegmentFile]) -> LineHead | None:
    """The head of the newest whole line that can be read."""
    for file in reversed(files):
        try:
            _, line = last_whole_line(partial(catalogue.read, file), file.size, is_event)
        except (OSError, JournalError):
            continue
        if line:
            return event_head(line)
    return None


def torn_name(file: LogFile) -> str:
    """``query-2026-11-24-000001``: the path of a file inside the data directory, as a name."""
    if isinstance(file, SegmentFile):
        return f"{file.kind}-{file.day}-{file.path.stem}"
    return f"{file.path.parent.name}-{file.path.stem}"


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(path.parent)
        sync_directory(path.parent.parent)
    except OSError:
        return  # a disk that cannot sync refuses the next write as well, and that one is told to somebody
