"""Retired days: raw lines that retention deleted stay counted, in ``archive/retired.json``.

A day is entered before its files go and marked when they are gone, so that a crash between the two neither counts
it twice nor forgets it. Used by ``journal``.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec

from barograph.journal.disk import make_directories, write_new
from barograph.journal.segment import Lines

FILE_NAME = "retired.json"


class RetiredDay(msgspec.Struct, frozen=True, kw_only=True):
    """How many lines of callers and of Barograph's own a day held; ``deleting`` until its files are gone.

    ``projects`` and ``internal_projects`` tell how many of the two belong to which project but the default one.
    """

    kind: str
    day: date
    lines: int
    internal: int
    deleting: bool = False
    projects: Lines = {}
    internal_projects: Lines = {}


class Retired:
    """The file, kept in memory."""

    def __init__(self, archive: Path) -> None:
        self._path = archive / FILE_NAME
        try:
            days = msgspec.json.decode(self._path.read_bytes(), type=list[RetiredDay])
        except (OSError, msgspec.DecodeError):
            days = []
        self.days = {(entry.kind, entry.day): entry for entry in days}

    def put(self, entry: RetiredDay) -> None:
        """Enter a day, or enter it anew; durable on return. Raises OSError."""
        self._write({**self.days, (entry.kind, entry.day): entry})

    def drop(self, kind: str, day: date) -> None:
        """Forget a day, because its lines are back; durable on return. Raises OSError."""
        self._write({key: entry for key, entry in self.days.items() if key != (kind, day)})

    def _write(self, days: dict[tuple[str, date], RetiredDay]) -> None:
        make_directories(self._path.parent)
        data = msgspec.json.encode([days[key] for key in sorted(days)])
        write_new(self._path, msgspec.json.format(data, indent=1) + b"\n")
        self.days = days
