"""What was not stored, kept where anyone can read and recount it: ``rejected/``.

``rejected/<day>.jsonl`` holds what was refused, ``rejected/duplicates/`` the ids that came again, and
``rejected/set-aside/`` lines of the journal that nobody could use. The writer appends to them in the commit that
answers the caller; ``journal`` counts their lines for the account.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from threading import Lock
from typing import Literal

import msgspec

from barograph.journal.disk import read_range
from barograph.journal.entry import kept, named
from barograph.journal.segment import LogFile, parse_day

Family = Literal["rejected", "duplicates", "set-aside"]
FAMILIES: tuple[Family, ...] = ("rejected", "duplicates", "set-aside")
TORN = "torn"


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the journal that cannot be used: where it stands, how long it is, and why."""

    segment: str
    offset: int
    bytes: int
    reason: str


class RejectedFiles:
    """The files of the folder, one a day in each family. ``lock`` guards their sizes and counts."""

    def __init__(self, directory: Path, lock: Lock) -> None:
        self.directory = directory / "rejected"
        self._lock = lock
        self._files: dict[Family, dict[date, LogFile]] = {family: {} for family in FAMILIES}
        for family in FAMILIES:
            folder = self._folder(family)
            for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else ():
                day = parse_day(path.stem)
                if day is not None and path.is_file():
                    size = path.stat().st_size
                    self._files[family][day] = LogFile(path=path, day=day, size=size, first_size=size)

    def _folder(self, family: Family) -> Path:
        return self.directory if family == "rejected" else self.directory / family

    def for_append(self, family: Family, day: date) -> LogFile:
        """The day's file; a new one if there is none, or if its sync failed."""
        with self._lock:
            file = self._files[family].get(day)
            if file is None:
                path = self._folder(family) / f"{day}.jsonl"
                file = self._files[family][day] = LogFile(path=path, day=day, first_lines=0, first_of={})
            file.sealed = False  # one file a day: it is opened anew and goes on
            return file

    def open_last(self) -> list[LogFile]:
        """The files that may have been open at the last end: the newest of each family."""
        return [files[max(files)] for files in self._files.values() if files]

    def files(self, family: Family) -> list[LogFile]:
        """The family's files, oldest first."""
        with self._lock:
            files = self._files[family]
            return [files[day] for day in sorted(files)]

    def set_aside(self) -> list[SetAside]:
        """What was set aside so far, as the files tell it."""
        found = []
        for file in self.files("set-aside"):
            for line in read_range(file.path, 0, file.size).splitlines() if file.size else ():
                try:
                    found.append(msgspec.json.decode(line, type=SetAside))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # somebody edited the file; the rest of it still counts
        return found


def set_aside_body(record: SetAside, line: bytes, project: str) -> bytes:
    """The record's line, without ``received_at`` and the closing brace."""
    return msgspec.json.encode({**msgspec.structs.asdict(record), **named(project), **kept("line", line)})[:-1]
