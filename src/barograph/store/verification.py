"""Verification and rebuilding: the engine against the journal, day by day of arrival.

``compare`` counts; ``rebuild_day`` makes one day again beside the live tables and swaps its partitions in, so that
readers see the day as it was or as it should be. ``damaged_days`` is asked after an unclean start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

from msgspec import Struct

from barograph.core.errors import EngineError
from barograph.journal.journal import Journal
from barograph.store.archive_rollups import archived, import_file
from barograph.store.checkpoint import Checkpoint
from barograph.store.engine import Engine
from barograph.store.loader import Loader
from barograph.store.schema import (
    DAILY_TABLES,
    EVENT_TABLES,
    MONTHLY_TABLES,
    ROLLUP_TABLES,
    TIERS,
    VIEWS_BETWEEN_TIERS,
    drop,
    migrate,
)

Counts = Counter[tuple[str, date]]
_RECENT_SECONDS = 900  # parts written so shortly before the end may not have reached the disk

# What each rollup must hold of a kind: the kind whose events are counted, and the level in which they count.
_COUNTED_AS = {
    "query": ("query", 0),
    "feedback": ("feedback", 0),
    "score": ("score", 0),
    "metric": ("metric", 0),
    "system": ("system", 0),
}


class Difference(Struct, frozen=True, kw_only=True):
    """A table that does not hold what the journal says: ``expected`` and ``found`` events of a kind and a day."""

    kind: str
    day: date
    table: str
    expected: int
    found: int


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
    """Count every kind and day in the journal, the event tables and the rollups. The loader has drained before."""
    expected: Counts = Counter()
    for kind in journal.kinds():
        for day in journal.days(kind):
            expected[kind, day] = journal.count(kind, day) - len(journal.set_aside_lines(kind, day))
    found = {table: _counts(engine, table) for table in EVENT_TABLES}
    engine_counts: Counts = sum(found.values(), Counter())
    differences = [
        Difference(kind=kind, day=day, table=kind, expected=expected[kind, day], found=engine_counts[kind, day])
        for kind, day in sorted(expected.keys() | engine_counts.keys())
        if expected[kind, day] != engine_counts[kind, day]
    ]
    for tier in TIERS:
        held = _rolled_up(engine, tier)
        for (kind, day), count in sorted(expected.items()):
            for counted, number in _expected_in_rollup(engine, kind, day, count):
                if held[counted, day] != number:
                    differences.append(
                        Difference(kind=kind, day=day, table=tier, expected=number, found=held[counted, day])
                    )
    return Report(
        days=len({day for _, day in expected}),
        journal=_by_kind(expected),
        engine=_by_kind(engine_counts),
        set_aside=len(journal.set_aside_lines()),
        differences=tuple(differences),
    )


def damaged_days(journal: Journal, engine: Engine, checkpoint: Checkpoint) -> set[date]:
    """The days to make again after an unclean start: wrong counts, parts that fail their checksums, lost bytes."""
    days = {difference.day for difference in compare(journal, engine).differences}
    sizes = {segment.name: segment for segment in journal.snapshot().segments}
    for name, loaded in checkpoint.state.loaded.items():
        segment = sizes.get(name)
        if segment is not None and loaded > segment.size:  # the engine holds what the journal lost
            days.add(segment.day)
            checkpoint.state.loaded[name] = segment.size
    for table in (*EVENT_TABLES, *ROLLUP_TABLES):
        days |= _failing(engine, table)
    return days


def rebuild_day(
    journal: Journal, engine: Engine, staging: Engine, loader_for: Callable[[Engine, Checkpoint], Loader], day: date
) -> None:
    """Make one day of arrival again from the journal. The caller holds the loader's lock and has drained it."""
    staging.open()
    drop(staging)
    migrate(staging)
    checkpoint = Checkpoint(journal.directory / "engine" / "staging.json")
    checkpoint.reset()
    other_days = {segment.name: segment.size for segment in journal.snapshot().segments if segment.day != day}
    checkpoint.state.loaded.update(other_days)
    loader = loader_for(staging, checkpoint)
    while not loader.step():
        pass
    import_archive(journal, staging, only=day)
    for view in VIEWS_BETWEEN_TIERS:
        staging.command(f"DROP VIEW {view} SYNC")
    compact, month = day.strftime("%Y%m%d"), day.strftime("%Y%m")
    for table in MONTHLY_TABLES:
        staging.command(
            f"INSERT INTO {table} SELECT * FROM {engine.database}.{table} "
            "WHERE toYYYYMM(arrived) = {month:UInt32} AND arrived != {day:Date}",
            {"month": int(month), "day": day.isoformat()},
        )
    for table in (*DAILY_TABLES, *MONTHLY_TABLES):
        partition = compact if table in DAILY_TABLES else month
        has_rows = staging.select(
            "SELECT count() AS n FROM system.parts WHERE active AND database = {d:String} AND table = {t:String} "
            "AND partition_id = {p:String}",
            {"d": staging.database, "t": table, "p": partition},
        )[0]["n"]
        replace = f"REPLACE PARTITION ID '{partition}' FROM {staging.database}.{table}"
        engine.command(f"ALTER TABLE {table} " + (replace if has_rows else f"DROP PARTITION ID '{partition}'"))
    drop(staging)
    checkpoint.path.unlink(missing_ok=True)


def import_archive(journal: Journal, engine: Engine, *, only: date | None = None) -> None:
    """Load the exported rollups of days whose raw events are gone."""
    archive: Path = journal.directory / "archive" / "rollup"
    for day, kind, table, path in archived(archive):
        if (only is None or day == only) and day not in journal.days(kind):
            import_file(engine, day, kind, table, path)


def _counts(engine: Engine, table: str) -> Counts:
    """Events by day of arrival; a column is read, so that a part that cannot be read shows."""
    rows = engine.select(f"SELECT arrived, countIf(length(event_id) > 0) AS n FROM {table} GROUP BY arrived")
    return Counter({(table, date.fromisoformat(row["arrived"])): row["n"] for row in rows})


def _rolled_up(engine: Engine, tier: str) -> Counts:
    rows = engine.select(
        f"SELECT if(level = 1 AND kind IN ('feedback', 'score'), concat('attributed ', kind), kind) AS counted, "
        f"arrived, sum(n) AS n FROM {tier} WHERE name = '' AND (level = 0 OR kind IN ('feedback', 'score')) "
        "GROUP BY counted, arrived"
    )
    return Counter({(row["counted"], date.fromisoformat(row["arrived"])): row["n"] for row in rows})


def _expected_in_rollup(engine: Engine, kind: str, day: date, count: int) -> list[tuple[str, int]]:
    """Under which names, and how often, a rollup must have counted a kind's events of a day."""
    if kind in _COUNTED_AS:
        return [(kind, count)]
    if kind != "attribution":
        return []
    rows = engine.select(
        "SELECT subject, count() AS n FROM attribution WHERE arrived = {day:Date} GROUP BY subject",
        {"day": day.isoformat()},
    )
    return [(f"attributed {row['subject']}", row["n"]) for row in rows]


def _failing(engine: Engine, table: str) -> set[date]:
    """Days whose parts do not hold their checksums, among the parts written last, and those the engine put aside."""
    rows = engine.select(
        "SELECT DISTINCT partition_id AS id, toString(min_date) AS first, toString(max_date) AS last FROM system.parts "
        "WHERE active AND database = {d:String} AND table = {t:String} AND modification_time >= "
        "(SELECT max(modification_time) FROM system.parts WHERE database = {d:String}) - {s:UInt32}",
        {"d": engine.database, "t": table, "s": _RECENT_SECONDS},
    )
    failing = {row["id"] for row in rows if not _holds(engine, table, row["id"])}
    detached = engine.select(
        "SELECT DISTINCT partition_id AS id FROM system.detached_parts WHERE database = {d:String} "
        "AND table = {t:String} AND startsWith(reason, 'broken')",
        {"d": engine.database, "t": table},
    )
    failing |= {row["id"] for row in detached if row["id"]}
    return {day for identifier in failing for day in _days_of(engine, table, identifier)}


def _holds(engine: Engine, table: str, partition: str) -> bool:
    try:
        rows = engine.select(
            f"CHECK TABLE {table} PARTITION ID '{partition}' SETTINGS check_query_single_value_result = 0"
        )
    except EngineError:
        return False
    return all(row.get("is_passed", 1) for row in rows)


def _days_of(engine: Engine, table: str, partition: str) -> list[date]:
    """The days of arrival in a partition: the day itself, or every day of the month that any table knows."""
    if len(partition) == 8:
        return [date.fromisoformat(f"{partition[:4]}-{partition[4:6]}-{partition[6:]}")]
    rows = engine.select(
        "SELECT DISTINCT partition_id AS id FROM system.parts WHERE active AND database = {d:String} "
        "AND startsWith(partition_id, {m:String}) AND length(partition_id) = 8",
        {"d": engine.database, "m": partition},
    )
    return [day for row in rows for day in _days_of(engine, table, row["id"])]


def _by_kind(counts: Counts) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for (kind, _), count in counts.items():
        totals[kind] += count
    return dict(sorted(totals.items()))
