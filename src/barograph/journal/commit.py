"""What one commit will write: entries that waited, told apart into new ones and duplicates, grouped by file.

A pure step between the queue and the disk. ``writer`` plans a commit, writes the groups, and gives the outcomes
back when they are durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from barograph.journal.catalogue import StreamKey
from barograph.journal.duplicates import DuplicateWindow, Key, key_of, short_of
from barograph.journal.entry import DEFAULT_PROJECT, WITNESS, Entry, Outcome, Receipt, duplicate_body
from barograph.journal.rejected import Family
from barograph.journal.segment import Lines

Target = StreamKey | Family
Record = tuple[Family, str, bytes]  # what goes into ``rejected/``: where, whose, and the line without its end
DUPLICATES: Family = "duplicates"
WITNESSES: Target = (WITNESS, True)


@dataclass(slots=True, eq=False)
class Work:
    """What one submit handed in: events, records for ``rejected/``, or only the wish for a sync."""

    receipt: Receipt
    entries: Sequence[Entry] = ()
    records: Sequence[Record] = ()
    sync: bool = False
    size: int = 0


@dataclass(slots=True, eq=False)
class Group:
    """Lines for one file, without their ends, the ids they make known, and whose they are."""

    bodies: list[bytes] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    lines: Lines = field(default_factory=dict)

    def count(self, project: str) -> None:
        """One line of that project."""
        if project != DEFAULT_PROJECT:
            self.lines[project] = self.lines.get(project, 0) + 1


class Commit:
    """The groups of a commit and the outcomes of each work. Planning changes nothing outside."""

    def __init__(self, works: Sequence[Work], window: DuplicateWindow) -> None:
        self.works = works
        self.groups: dict[Target, Group] = {}
        self.outcomes: list[list[Outcome]] = []
        self._window = window
        self._new: set[Key] = set()
        for work in works:
            self.outcomes.append(self._plan(work.entries) if work.entries else [])
            for family, project, body in work.records:
                group = self._group(family)
                group.bodies.append(body)
                group.count(project)

    def ordered(self) -> list[tuple[Target, Group]]:
        """The groups as they are to be written: what witnesses others comes last, so that no kill leaves it alone."""
        return sorted(self.groups.items(), key=lambda item: item[0] == WITNESSES)

    def _group(self, target: Target) -> Group:
        group = self.groups.get(target)
        if group is None:
            group = self.groups[target] = Group()
        return group

    def _plan(self, entries: Sequence[Entry]) -> list[Outcome]:
        kinds, ids, bodies, internals, projects = zip(*entries, strict=True)
        usual = projects.count(DEFAULT_PROJECT) == len(projects)
        keys: list[Key] = list(map(short_of, ids) if usual else map(key_of, ids, projects))
        plain = self._window.all_new(keys) and self._new.isdisjoint(keys)
        if plain and kinds.count(kinds[0]) == len(kinds) and internals.count(internals[0]) == len(internals):
            group = self._group((kinds[0], internals[0]))  # the usual batch: one kind, nothing sent twice
            group.bodies += bodies
            group.keys += keys
            if not usual:
                for project in projects:
                    group.count(project)
            self._new.update(keys)
            return ["stored"] * len(keys)
        return [self._place(entry, key) for entry, key in zip(entries, keys, strict=True)]

    def _place(self, entry: Entry, key: Key) -> Outcome:
        if key in self._new or key in self._window:
            if not entry.internal:
                again = self._group(DUPLICATES)
                again.bodies.append(duplicate_body(entry.kind, entry.event_id, entry.project))
                again.count(entry.project)
            return "duplicate"
        self._new.add(key)
        group = self._group((entry.kind, entry.internal))
        group.bodies.append(entry.body)
        group.keys.append(key)
        group.count(entry.project)
        return "stored"


def line_end(moment: datetime) -> bytes:
    """The end of every line of a commit: the time of arrival, the closing brace, the line feed."""
    return f',"received_at":"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"}}\n'.encode()
