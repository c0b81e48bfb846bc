"""What an event takes on disk: in the journal, in its archive, in the engine's table and in each rollup.

Events with five documents (id, retriever, rank, score, in context; no passage texts) and a short query text, each drawn
anew so that nothing repeats that would not in life. Rollups do not grow with events but with minutes and label sets, so
they are measured at two densities. Engine tables are measured after all their parts are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from barograph.core.metric import Catalogue
from barograph.core.settings import EngineSettings, JournalSettings
from barograph.journal.journal import Journal
from barograph.store.data_store import DataStore
from barograph.store.engine import Engine
from barograph.store.schema import DERIVED_TABLES
from barograph_client.clock import ManualClock
from bench.figure import Figure
from bench.load import Load, in_batches
from bench.part import Run

EVENTS = 100_000
GOAL = 150.0  # bytes
START = datetime(2026, 10, 1, 1, tzinfo=UTC)
DENSITIES = {"an hour": timedelta(hours=1), "a day": timedelta(hours=22)}  # all on one day of arrival
BATCH = 1_000


def measure(run: Run) -> Iterable[Figure]:
    """The same number of events in an hour and in a day, in two databases of one engine."""
    number = run.count(EVENTS, 500)
    for database, (name, span) in zip(("hour", "day"), DENSITIES.items(), strict=True):
        run.tell(f"{number:,} events in {name}")
        settings = EngineSettings(address=f"chdb://{run.directory / 'chdb'}", database=database)
        yield from _one(run, name, span, number, settings)


def _one(run: Run, name: str, span: timedelta, number: int, settings: EngineSettings) -> Iterator[Figure]:
    clock, directory = ManualClock(START), run.directory / settings.database
    with (
        Journal(directory, clock, JournalSettings()) as journal,
        DataStore(journal, clock, settings, Catalogue()) as store,
    ):
        load = Load(7, documents=True, pool=number)
        for batch in in_batches(load.entries(number, START, START + span), BATCH):
            clock.advance(span.total_seconds() * len(batch) / number)
            journal.append(batch)
        store.flush()

        def figure(what: str, size: int, goal: float | None = None) -> Figure:
            label = f"{number:,} events in {name}: {what}"
            return Figure(name=label, unit="bytes an event", samples=(size / number,), at_most=goal)

        if name == "an hour":  # the lines are the same at any density
            yield figure("journal", _bytes(directory / "journal"))
            clock.advance(86_400.0)
            journal.compress_closed()
            yield figure("journal, archived", _bytes(directory / "archive"))
        sizes = _tables(settings)
        yield figure("engine, query table", sizes["query"], GOAL)
        for table in DERIVED_TABLES:
            if table in sizes:
                yield figure(f"engine, derived {table}", sizes[table])
        yield figure("engine, all of it", sum(sizes.values()), GOAL)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tables(settings: EngineSettings) -> dict[str, int]:
    """Bytes of each table that has rows, merged."""
    engine = Engine(settings, Path())
    engine.open()
    try:
        for table in ("query", *DERIVED_TABLES):
            engine.command(f"OPTIMIZE TABLE {table} FINAL")
        rows = engine.select(
            "SELECT table, sum(bytes_on_disk) AS bytes FROM system.parts "
            "WHERE active AND database = {d:String} AND rows > 0 GROUP BY table",
            {"d": settings.database},
        )
    finally:
        engine.close()
    known = ("query", *DERIVED_TABLES)
    return {row["table"]: int(row["bytes"]) for row in rows if row["table"] in known}
