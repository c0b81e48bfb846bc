"""The accounts: what became of all events, and of those of one project.

Adds up the lines of segments, retired days and the files of ``rejected/``. Lines are counted by the writer as they
become durable; those that stood in a file at the start are counted once, when somebody first asks. Of a project only
the lines that name it are counted: the default project has the rest, so the accounts add up whatever happens. Used
by ``journal``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from barograph.journal.catalogue import Catalogue
from barograph.journal.disk import journal_error, read_range
from barograph.journal.entry import DEFAULT_PROJECT
from barograph.journal.heads import count_projects, project_of_event, project_of_record
from barograph.journal.rejected import Family, RejectedFiles
from barograph.journal.retired import Retired
from barograph.journal.segment import Lines, LogFile, SegmentFile
from barograph.journal.stream import added
from barograph_client.errors import JournalError

_CHUNK = 1 << 22


class Account(Struct, frozen=True, kw_only=True):
    """What became of the events: ``received = stored + rejected + duplicate`` counts the callers' events.

    ``internal`` counts Barograph's own by kind. Stored lines stay counted when their day is retired; ``set_aside``
    tells how many of them the engine could not take.
    """

    received: int
    stored: int
    rejected: int
    duplicate: int
    internal: dict[str, int]
    set_aside: int


class Accounts:
    """Counts for one journal. ``lock`` is the journal's own, which guards sizes and counts.

    The caller sees to it that no day is retired meanwhile.
    """

    def __init__(self, catalogue: Catalogue, rejected: RejectedFiles, retired: Retired, lock: threading.Lock) -> None:
        self._catalogue = catalogue
        self._rejected = rejected
        self._retired = retired
        self._lock = lock

    def account(self, project: str | None = None) -> Account:
        """Of all events, or of a project's. Raises JournalError."""
        segments = self._catalogue.files()
        families: list[Family] = ["rejected", "duplicates", "set-aside"]
        logs = {family: self._rejected.files(family) for family in families}
        try:
            for file in (*segments, *(log for family in families for log in logs[family])):
                file.count_first()
                if project is not None:
                    self._first_of(file)
        except OSError as error:
            raise journal_error(error, "counting lines") from error
        with self._lock:  # one moment for all of them
            return self._add_up(segments, logs, project)

    def _add_up(
        self, segments: Sequence[SegmentFile], logs: dict[Family, list[LogFile]], project: str | None
    ) -> Account:
        stored = 0
        internal: dict[str, int] = {}
        for day in self._retired.days.values():
            stored += _share(project, day.lines, day.projects)
            internal[day.kind] = internal.get(day.kind, 0) + _share(project, day.internal, day.internal_projects)
        for segment in segments:
            lines = _lines(segment, project)
            if segment.internal:
                internal[segment.kind] = internal.get(segment.kind, 0) + lines
            else:
                stored += lines
        rejected, duplicate, aside = (
            sum(_lines(log, project) for log in logs[family]) for family in ("rejected", "duplicates", "set-aside")
        )
        return Account(
            received=stored + rejected + duplicate,
            stored=stored,
            rejected=rejected,
            duplicate=duplicate,
            internal={kind: lines for kind, lines in sorted(internal.items()) if lines},
            set_aside=aside,
        )

    def lines_of(self, files: Iterable[LogFile]) -> Lines:
        """The lines of these files by project, but for those of the default one."""
        total: Lines = {}
        for file in files:
            first = self._first_of(file)
            with self._lock:
                total = added(total, added(first, file.added_of))
        return total

    def _first_of(self, file: LogFile) -> Lines:
        """Whose the lines are that stood in it when it was first seen; reads the file once."""
        if file.first_of is None:
            is_segment = isinstance(file, SegmentFile)
            try:
                file.first_of = count_projects(self._parts(file), project_of_event if is_segment else project_of_record)
            except JournalError:  # a damaged archive: what nobody can read any more counts for the default project
                file.first_of = {}
        return file.first_of

    def _parts(self, file: LogFile) -> Iterator[bytes]:
        for start in range(0, file.first_size, _CHUNK):
            end = min(start + _CHUNK, file.first_size)
            if isinstance(file, SegmentFile):
                yield self._catalogue.read(file, start, end)
            else:
                yield read_range(file.path, start, end)


def _lines(file: LogFile, project: str | None) -> int:
    lines = (file.first_lines or 0) + file.added
    if project is None:
        return lines
    return _share(project, file.first_lines or 0, file.first_of or {}) + _share(project, file.added, file.added_of)


def _share(project: str | None, lines: int, by_project: Lines) -> int:
    """A project's part of so many lines; the default one has what is left."""
    if project is None:
        return lines
    return lines - sum(by_project.values()) if project == DEFAULT_PROJECT else by_project.get(project, 0)
