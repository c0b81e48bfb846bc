"""Rebuilding a day of arrival: made again from the journal beside the live tables, then swapped in.

Readers see the day as it was or as it should be. The new day holds exactly what the live one's checkpoint says is
loaded, so that whatever moment a crash chooses, the loader goes on from the same place.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from barograph.journal.journal import Journal
from barograph.store.archive_rollups import archived, import_file
from barograph.store.checkpoint import Checkpoint
from barograph.store.engine import Engine
from barograph.store.loader import Loader
from barograph.store.schema import DAILY_TABLES, MONTHLY_TABLES, VIEWS_BETWEEN_TIERS, drop, migrate

LoaderFor = Callable[[Engine, Checkpoint, dict[str, int]], Loader]


def rebuild_day(
    journal: Journal, engine: Engine, staging: Engine, loader_for: LoaderFor, loaded: dict[str, int], day: date
) -> None:
    """Make one day again. ``loaded`` says how far its segments are in the live engine.

    The caller holds the loader's lock, has drained it and has written its checkpoint.
    """
    staging.open()
    drop(staging)
    migrate(staging)
    checkpoint = Checkpoint(journal.directory / "engine" / "staging.json")
    checkpoint.forget()
    own = {segment.name: loaded.get(segment.name, 0) for segment in journal.snapshot().segments if segment.day == day}
    loader = loader_for(staging, checkpoint, own)
    while not loader.step():
        pass
    import_archive(journal, staging, only=day)
    _bring_other_days(engine, staging, day)
    swap = [
        (table, _partition(table, day), _has_rows(staging, table, _partition(table, day)))
        for table in (*DAILY_TABLES, *MONTHLY_TABLES)
    ]
    with engine.changing():
        for table, partition, has_rows in swap:
            replace = f"REPLACE PARTITION ID '{partition}' FROM `{staging.database}`.{table}"
            engine.command(f"ALTER TABLE {table} " + (replace if has_rows else f"DROP PARTITION ID '{partition}'"))
    drop(staging)
    checkpoint.path.unlink(missing_ok=True)


def _has_rows(staging: Engine, table: str, partition: str) -> bool:
    (row,) = staging.select(
        "SELECT count() AS n FROM system.parts WHERE active AND database = {d:String} AND table = {t:String} "
        "AND partition_id = {p:String}",
        {"d": staging.database, "t": table, "p": partition},
    )
    return bool(row["n"])


def _bring_other_days(engine: Engine, staging: Engine, day: date) -> None:
    """A monthly partition is swapped whole: the other days of the month come along, past the views."""
    for view in VIEWS_BETWEEN_TIERS:
        staging.command(f"DROP VIEW {view} SYNC")
    for table in MONTHLY_TABLES:
        staging.command(
            f"INSERT INTO {table} SELECT * FROM `{engine.database}`.{table} "
            "WHERE toYYYYMM(arrived) = {month:UInt32} AND arrived != {day:Date}",
            {"month": int(_partition(table, day)), "day": day.isoformat()},
        )


def _partition(table: str, day: date) -> str:
    return day.strftime("%Y%m%d" if table in DAILY_TABLES else "%Y%m")


def import_archive(journal: Journal, engine: Engine, *, only: date | None = None) -> None:
    """Load the exported rollups of days whose raw events are gone."""
    archive: Path = journal.directory / "archive" / "rollup"
    for day, kind, table, path in archived(archive):
        if (only is None or day == only) and day not in journal.days(kind):
            import_file(engine, day, kind, table, path)
