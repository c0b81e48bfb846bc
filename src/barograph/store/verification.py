"""Verification: the engine against the journal, by kind and day of arrival, and its tables against each other.

``compare`` counts. The journal says how many events a day must have; the events say what the rollups and the units
must have counted; and every tier must hold what the minutes hold, also of days whose events were retired.
``drop_broken_parts`` comes first after a crash: what cannot be read cannot be counted.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from datetime import date
from typing import Any

from msgspec import Struct

from barograph.journal.journal import Journal
from barograph.store.engine import Engine, Rows
from barograph.store.schema import DERIVED_TABLES, EVENT_TABLES, TIERS
from barograph_client.errors import EngineError, EngineRefused, shorten

Counts = Counter[tuple[str, date]]  # what is counted, and the day of arrival
_RECENT_SECONDS = 900  # a part written so shortly before the end may not have reached the disk
_PART = re.compile(r"[A-Za-z0-9_-]+")
_FINEST = next(iter(TIERS))
_BY_LABELS = ("query", "metric", "system")  # kinds that count with and without labels from their own events
_UNITS = ("user", "session")


class Difference(Struct, frozen=True, kw_only=True):
    """A table that does not hold what it should: ``expected`` and ``found`` events of a kind and a day."""

    kind: str
    day: date
    table: str
    expected: int
    found: int

    def __str__(self) -> str:
        what = f"{self.kind} events that arrived on {self.day}"
        return f"{self.table} counts {self.found:,} {what} instead of {self.expected:,}"


class Report(Struct, frozen=True, kw_only=True):
    """What a verification looked at and found. ``journal`` and ``engine`` count events by kind."""

    days: int
    journal: dict[str, int]
    engine: dict[str, int]
    set_aside: int
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        return not self.differences


def compare(journal: Journal, engine: Engine) -> Report:
    """Count every kind and day everywhere. The loader has drained before. Raises EngineError."""
    expected: Counts = Counter()
    for kind in EVENT_TABLES:
        for day in journal.days(kind):
            expected[kind, day] = journal.count(kind, day) - len(journal.set_aside_lines(kind, day))
    found = {kind: _events(engine, kind) for kind in EVENT_TABLES}
    held: Counts = Counter({(kind, day): row["n"] for kind, days in found.items() for day, row in days.items()})
    differences = [*_differences("", expected, held, Counter())]
    for tier in TIERS:
        differences += _differences(tier, _in_rollups(journal, engine, expected), _rolled_up(engine, tier), expected)
    differences += _differences("unit_day", _in_units(journal, engine, found), _units(engine), expected)
    exposed = Counter({("exposure", day): row["units"] for day, row in found["exposure"].items()})
    differences += _differences("exposed_unit", exposed, _first_exposures(engine), expected)
    traced = Counter({("query", day): row["traced"] for day, row in found["query"].items()})
    differences += _differences("trace_place", traced, _traces(engine), Counter())
    differences += _between_tiers(engine)
    return Report(
        days=len({day for _, day in expected}),
        journal=_by_kind(expected),
        engine=_by_kind(held),
        set_aside=len(journal.set_aside_lines()),
        differences=tuple(differences),
    )


def drop_broken_parts(engine: Engine) -> int:
    """Drop what does not hold its checksums or was put aside at the start; returns how many parts that were.

    What they held is missing then, which ``compare`` finds and a rebuild brings back. Raises EngineError.
    """
    count = 0
    for table in (*EVENT_TABLES, *DERIVED_TABLES):
        for part in _failing(engine, table):
            engine.command(f"ALTER TABLE {table} DROP PART {_quoted(part)}")
            count += 1
    detached = engine.select(
        "SELECT table, name FROM system.detached_parts WHERE database = {d:String} AND startsWith(reason, 'broken')",
        {"d": engine.database},
    )
    for row in detached:
        if row["table"] in (*EVENT_TABLES, *DERIVED_TABLES):
            count += 1
            with contextlib.suppress(EngineError):  # the copy that was put aside does no harm
                engine.command(
                    f"ALTER TABLE {row['table']} DROP DETACHED PART {_quoted(row['name'])} "
                    "SETTINGS allow_drop_detached = 1"
                )
    return count


def _quoted(part: str) -> str:
    """A part's name as these statements want it: they take no parameters."""
    if not _PART.fullmatch(part):
        raise EngineRefused(f"a part is called {shorten(part)}", code=0)
    return f"'{part}'"


def _failing(engine: Engine, table: str) -> list[str]:
    """Parts that do not hold their checksums, among those written last: older ones had reached the disk."""
    parts = engine.select(
        "SELECT name FROM system.parts WHERE active AND database = {d:String} AND table = {t:String} "
        "AND modification_time >= "
        "(SELECT max(modification_time) FROM system.parts WHERE database = {d:String}) - {s:UInt32}",
        {"d": engine.database, "t": table, "s": _RECENT_SECONDS},
    )
    failing = []
    for part in parts:
        rows = engine.select(
            f"CHECK TABLE {table} PART {_quoted(part['name'])} SETTINGS check_query_single_value_result = 0"
        )
        failing += [part["name"] for row in rows if not row["is_passed"]]
    return failing


def _differences(table: str, expected: Counts, held: Counts, journal: Counts) -> list[Difference]:
    """Where two counts differ; with a journal, only where the journal has the events that must be counted."""
    found = []
    for name, day in sorted(expected.keys() | held.keys()):
        kind = name.split(" ")[0]
        if expected[name, day] != held[name, day] and (not journal or _source(name, day) in journal):
            found.append(
                Difference(kind=kind, day=day, table=table or kind, expected=expected[name, day], found=held[name, day])
            )
    return found


def _source(name: str, day: date) -> tuple[str, date]:
    """The kind whose events make a count: ``feedback labelled`` comes from attribution lines."""
    kind, *_, how = f"{name} counted".split(" ")[:3]
    attributed = kind in ("feedback", "score") and how != "counted"
    return ("attribution" if attributed else kind), day


def _events(engine: Engine, kind: str) -> dict[date, dict[str, Any]]:
    """A kind's events by day; a column is read, so that a part that cannot be read shows."""
    more = {
        "query": ", countIf(user_id != '') AS user, countIf(session_id != '') AS session, "
        "countIf(trace_id != '') AS traced",
        "exposure": ", uniqExact(project, experiment, unit_kind, sipHash64(unit_id)) AS units",
    }.get(kind, "")
    rows = engine.select(f"SELECT arrived, countIf(length(event_id) >= 0) AS n{more} FROM {kind} GROUP BY arrived")
    return {date.fromisoformat(row["arrived"]): row for row in rows}


def _attributed(engine: Engine) -> Rows:
    return engine.select(
        "SELECT subject, arrived, count() AS n, countIf(user_id != '') AS user, countIf(session_id != '') AS session "
        "FROM attribution GROUP BY subject, arrived"
    )


def _in_rollups(journal: Journal, engine: Engine, expected: Counts) -> Counts:
    """What a tier must have counted, by kind, with and without labels."""
    counts: Counts = Counter()
    for (kind, day), number in expected.items():
        if kind in (*_BY_LABELS, "feedback", "score"):
            counts[kind, day] = number
        if kind in _BY_LABELS:
            counts[f"{kind} labelled", day] = number
    for row in _attributed(engine):
        counts[f"{row['subject']} labelled", date.fromisoformat(row["arrived"])] = row["n"]
    return counts


def _rolled_up(engine: Engine, tier: str) -> Counts:
    rows = engine.select(
        f"SELECT if(level = 1, concat(kind, ' labelled'), toString(kind)) AS counted, arrived, sum(n) AS n "
        f"FROM {tier} WHERE name = '' GROUP BY counted, arrived"
    )
    return Counter({(row["counted"], date.fromisoformat(row["arrived"])): row["n"] for row in rows})


def _in_units(journal: Journal, engine: Engine, found: dict[str, dict[date, dict[str, Any]]]) -> Counts:
    """What the units must have counted, by kind and sort of unit."""
    counts: Counts = Counter()
    for unit in _UNITS:
        for day, row in found["query"].items():
            counts[f"query {unit}", day] = row[unit]
        for row in _attributed(engine):
            counts[f"{row['subject']} {unit}", date.fromisoformat(row["arrived"])] = row[unit]
    return counts


def _units(engine: Engine) -> Counts:
    rows = engine.select(
        "SELECT concat(kind, ' ', unit_kind) AS counted, arrived, sum(n) AS n FROM unit_day "
        "WHERE name = '' GROUP BY counted, arrived"
    )
    return Counter({(row["counted"], date.fromisoformat(row["arrived"])): row["n"] for row in rows})


def _first_exposures(engine: Engine) -> Counts:
    rows = engine.select(
        "SELECT arrived, uniqExact(project, experiment, unit_kind, unit) AS n FROM exposed_unit GROUP BY arrived"
    )
    return Counter({("exposure", date.fromisoformat(row["arrived"])): row["n"] for row in rows})


def _traces(engine: Engine) -> Counts:
    rows = engine.select(
        "SELECT arrived, countIf(trace + toUnixTimestamp(time) >= 0) AS n FROM trace_place GROUP BY arrived"
    )
    return Counter({("query", date.fromisoformat(row["arrived"])): row["n"] for row in rows})


def _between_tiers(engine: Engine) -> list[Difference]:
    """Where a tier does not hold as many measurements as the minutes do, over all measures."""

    def measured(tier: str) -> Counts:
        rows = engine.select(f"SELECT kind, arrived, sum(n) AS n FROM {tier} WHERE name != '' GROUP BY kind, arrived")
        return Counter({(row["kind"], date.fromisoformat(row["arrived"])): row["n"] for row in rows})

    finest = measured(_FINEST)
    return [difference for tier in TIERS for difference in _differences(tier, finest, measured(tier), Counter())]


def _by_kind(counts: Counts) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for (kind, _), count in counts.items():
        totals[kind] += count
    return dict(sorted(totals.items()))
