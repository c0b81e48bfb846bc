"""The catalogue: every segment of the journal, plain or archived, with its durable size and its lines.

Made by a look at the folders at the start, kept by the writer from then on; ``journal`` answers snapshots, reads
and counts from it. What a crash left half-done in the archive is finished or thrown away here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from threading import Lock

import zstandard

from barograph.journal.archive import INDEX, SUFFIX, describe, read_index, read_packed, write_index
from barograph.journal.disk import read_range
from barograph.journal.segment import (
    KIND,
    Packed,
    Segment,
    SegmentFile,
    file_stem,
    parse_day,
    parse_file_name,
)

StreamKey = tuple[str, bool]  # kind, internal


class Catalogue:
    """All segments, by stream (kind and origin), in the order they were written.

    ``lock`` guards sizes, line counts and the list itself. ``problems`` tells in sentences what the start found
    that nobody can mend.
    """

    def __init__(self, directory: Path, lock: Lock) -> None:
        self.plain = directory / "journal"
        self.archive = directory / "archive" / "journal"
        self.problems: list[str] = []
        self._lock = lock
        self._streams: dict[StreamKey, list[SegmentFile]] = {}
        self._ordered: list[SegmentFile] | None = None
        for kind, day in sorted(set(_days(self.plain)) | set(_days(self.archive))):
            for file in self._day(kind, day):
                self._streams.setdefault((kind, file.internal), []).append(file)

    # the look at the folders

    def _day(self, kind: str, day: date) -> list[SegmentFile]:
        plain = _sizes(self.plain / kind / str(day), ".jsonl")
        folder = self.archive / kind / str(day)
        packed = self._packed(folder, plain) if folder.is_dir() else {}
        for stem in plain.keys() & packed.keys():  # compressed and verified; the crash came before the removal
            (self.plain / kind / str(day) / f"{stem}.jsonl").unlink(missing_ok=True)
            del plain[stem]
        files = []
        for stem in plain.keys() | packed.keys():
            number, internal = parse_file_name(f"{stem}.jsonl") or (0, False)
            entry = packed.get(stem)
            size = entry.bytes if entry else plain[stem]
            file = SegmentFile(
                path=self.plain / kind / str(day) / f"{stem}.jsonl",
                day=day,
                size=size,
                first_size=size,
                first_lines=entry.lines if entry else None,
                first_of=entry.projects if entry else None,
                kind=kind,
                number=number,
                internal=internal,
                packed=entry,
            )
            files.append(file)
        return sorted(files, key=lambda file: (file.internal, file.number))

    def _packed(self, folder: Path, plain: dict[str, int]) -> dict[str, Packed]:
        """What the archive's folder holds for certain; leftovers of a crash are removed."""
        index = read_index(folder)
        sizes = _sizes(folder, SUFFIX)
        good = {}
        for stem, size in sizes.items():
            entry = index.get(stem)
            if entry and size == sum(entry.frames) and plain.get(stem, entry.bytes) == entry.bytes:
                good[stem] = entry
            elif stem in plain:  # not verified to the end: it is compressed again
                (folder / (stem + SUFFIX)).unlink(missing_ok=True)
            else:
                try:
                    good[stem] = describe(folder / (stem + SUFFIX))
                except (OSError, zstandard.ZstdError) as error:
                    self.problems.append(f"{folder / (stem + SUFFIX)} cannot be read: {error}")
        self.problems += [
            f"{folder / (stem + SUFFIX)} is missing" for stem in index.keys() - sizes.keys() - plain.keys()
        ]
        for leftover in folder.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        if good and good != {stem: index[stem] for stem in good if stem in index}:
            write_index(folder, {**index, **good}.values())
        return good

    # streams

    def streams(self) -> dict[StreamKey, list[SegmentFile]]:
        """A copy of the lists, by stream."""
        with self._lock:
            return {key: list(files) for key, files in self._streams.items()}

    def for_append(self, kind: str, internal: bool, day: date, limit: int) -> SegmentFile:
        """The stream's last segment if it is of this day and has room, else a new one."""
        with self._lock:
            files = self._streams.setdefault((kind, internal), [])
            last = files[-1] if files else None
            if last and last.day == day and last.packed is None and not last.sealed and last.size < limit:
                return last
            number = last.number + 1 if last and last.day == day else 1
            path = self.plain / kind / str(day) / f"{file_stem(number, internal)}.jsonl"
            file = SegmentFile(
                path=path, day=day, first_lines=0, first_of={}, kind=kind, number=number, internal=internal
            )
            files.append(file)
            self._ordered = None
            return file

    def remove(self, kind: str, day: date) -> None:
        """Forget a day's segments."""
        with self._lock:
            for key in [(kind, False), (kind, True)]:
                left = [file for file in self._streams.pop(key, ()) if file.day != day]
                if left:
                    self._streams[key] = left
            self._ordered = None

    # answers

    def files(
        self, kind: str | None = None, day: date | None = None, internal: bool | None = None
    ) -> list[SegmentFile]:
        """The segments that match."""
        with self._lock:
            return [
                file
                for file in self._all()
                if kind in (None, file.kind) and day in (None, file.day) and internal in (None, file.internal)
            ]

    def segments(self) -> tuple[Segment, ...]:
        """What readers may see. The caller holds the lock."""
        return tuple([file.segment() for file in self._all()])

    def _all(self) -> list[SegmentFile]:
        if self._ordered is None:
            self._ordered = [file for key in sorted(self._streams) for file in self._streams[key]]
        return self._ordered

    def find(self, segment: Segment) -> SegmentFile | None:
        """The file behind a segment that somebody was shown."""
        with self._lock:
            for file in reversed(self._streams.get((segment.kind, segment.internal), ())):
                if (file.day, file.number) == (segment.day, segment.number):
                    return file
        return None

    def packed_path(self, file: SegmentFile) -> Path:
        """Where the archive keeps it."""
        return self.archive / file.kind / str(file.day) / (file_stem(file.number, file.internal) + SUFFIX)

    def read(self, file: SegmentFile, start: int, end: int) -> bytes:
        """Durable bytes of a segment, plain or archived. Raises OSError or JournalError."""
        end = min(end, file.size)
        if start >= end:
            return b""
        if file.packed is None:
            try:
                return read_range(file.path, start, end)
            except FileNotFoundError:
                if file.packed is None:  # else it went to the archive since the line above
                    raise
        return read_packed(self.packed_path(file), file.packed, start, end)


def _days(root: Path) -> Iterator[tuple[str, date]]:
    if not root.is_dir():
        return
    for kind in root.iterdir():
        if KIND.fullmatch(kind.name) and kind.is_dir():
            for folder in kind.iterdir():
                day = parse_day(folder.name)
                if day is not None and folder.is_dir():
                    yield kind.name, day


def _sizes(folder: Path, suffix: str) -> dict[str, int]:
    """Sizes of the segments in a folder, by number and origin; other files are not ours."""
    if not folder.is_dir():
        return {}
    return {
        path.name.removesuffix(suffix): path.stat().st_size
        for path in folder.iterdir()
        if path.name.endswith(suffix)
        and path.name != INDEX
        and parse_file_name(path.name.removesuffix(suffix) + ".jsonl")
    }
