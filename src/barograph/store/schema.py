"""The engine's schema: ordered ``.sql`` migrations, and the literal lists of what they make.

A migration is applied once, in order, and recorded; a database from a newer version is refused. Tables are
listed here so that verification, rebuilding and retention treat every one of them.
"""

from __future__ import annotations

from importlib.resources import files

from barograph.core.event import KINDS
from barograph.store.engine import Engine
from barograph_client.errors import SchemaError

EVENT_TABLES: tuple[str, ...] = tuple(KINDS)
TIERS: dict[str, int] = {"measure_1m": 60, "measure_15m": 900, "measure_1h": 3600, "measure_1d": 86400}  # seconds
DAILY_TABLES: tuple[str, ...] = (*EVENT_TABLES, "measure_1m")  # a partition is a day of arrival
MONTHLY_TABLES: tuple[str, ...] = (
    "measure_15m", "measure_1h", "measure_1d", "unit_day", "exposed_unit", "trace_place"
)  # fmt: skip
KEPT_TOKENS = 1000  # non_replicated_deduplication_window in the migrations: blocks a table knows again
DERIVED_TABLES: tuple[str, ...] = ("measure_1m", *MONTHLY_TABLES)
VIEWS_BETWEEN_TIERS: tuple[str, ...] = ("measure_1m_to_15m", "measure_15m_to_1h", "measure_1h_to_1d")

_MARK = "INSERT INTO schema_version (version, done) SELECT arrayJoin({versions:Array(UInt32)}), {done:Bool}"


class TornMigration(SchemaError):
    """A migration was cut off half-way."""


def migrations() -> list[tuple[int, str, list[str]]]:
    """Version, name and statements of every migration, in order."""
    found = []
    for file in files("barograph.store").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
            statements = [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" \n;")]
            found.append((int(file.name.split("_")[0]), file.name, [part.rstrip(";") for part in statements]))
    return sorted(found)


def migrate(engine: Engine) -> int:
    """Bring the database to this version's schema; returns how many migrations were applied.

    The caller has drained the loader first. Raises SchemaError for a database of a newer version or one whose
    migration was cut off: the journal holds everything, so ``rebuild`` makes it again.
    """
    engine.command(
        "CREATE TABLE IF NOT EXISTS schema_version (version UInt32, done Bool,"
        " at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = MergeTree ORDER BY version"
    )
    rows = engine.select("SELECT version, max(done) AS done FROM schema_version GROUP BY version ORDER BY version")
    applied = {row["version"]: bool(row["done"]) for row in rows}
    known = migrations()
    newer = sorted(set(applied) - {version for version, _, _ in known})
    if newer:
        raise SchemaError(
            f"the database {engine.database} has schema version {newer[-1]}, this version knows {known[-1][0]}",
            hint="Use the newer version, or `barograph rebuild` to make the engine again from the journal.",
        )
    torn = [version for version, done in applied.items() if not done]
    if torn:
        raise TornMigration(
            f"migration {torn[0]} of the database {engine.database} was cut off",
            hint="`barograph rebuild` makes the engine again from the journal.",
        )
    wanted = [(version, statements) for version, _, statements in known if version not in applied]
    if wanted:
        versions = [version for version, _ in wanted]
        engine.command(_MARK, {"versions": versions, "done": False})
        for _, statements in wanted:
            for statement in statements:
                engine.command(statement)
        engine.command(_MARK, {"versions": versions, "done": True})
    return len(wanted)


def drop(engine: Engine) -> None:
    """Forget the whole database and make an empty one. The journal is untouched."""
    engine.recreate()
