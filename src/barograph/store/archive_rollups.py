"""Rollups of a day whose raw events were retired: exported before, loaded again by a rebuild.

``archive/rollup/<day>/<kind>.<table>.native.zst`` holds what one kind's events of one day of arrival added to one
table, in ClickHouse's Native format. Only the finest tier is kept: the coarser ones are made from it by the same
views that made them the first time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import zstandard

from barograph.store.engine import Engine
from barograph_client.errors import EngineError

# What the events of a kind add to a table: a condition on its rows. Named like the tables that are exported.
_ADDED: dict[str, dict[str, str]] = {
    "query": {"measure_1m": "kind = 'query'", "unit_day": "kind = 'query'"},
    "feedback": {"measure_1m": "kind = 'feedback' AND level = 0"},
    "score": {"measure_1m": "kind = 'score' AND level = 0"},
    "attribution": {
        "measure_1m": "kind IN ('feedback', 'score') AND level = 1",
        "unit_day": "kind IN ('feedback', 'score')",
    },
    "metric": {"measure_1m": "kind = 'metric'"},
    "system": {"measure_1m": "kind = 'system'"},
    "exposure": {"exposed_unit": "1"},
}


def export_day(engine: Engine, archive: Path, kind: str, day: date) -> list[Path]:
    """Write what the kind added on that day; durable on return. Empty for kinds without rollups."""
    written = []
    for table, added in _ADDED.get(kind, {}).items():
        where = f"arrived = {{day:Date}} AND {added}"
        block = engine.select_bytes(
            f"SELECT * FROM {table} WHERE {where} SETTINGS max_result_rows = 0, max_memory_usage = 0",
            "Native",
            {"day": day.isoformat()},
        )
        folder = archive / day.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{kind}.{table}.native.zst"
        _write(path, block)
        written.append(path)
    return written


def archived(archive: Path) -> Iterator[tuple[date, str, str, Path]]:
    """Day, kind, table and file of every export."""
    for folder in sorted(archive.glob("????-??-??")):
        for path in sorted(folder.glob("*.native.zst")):
            kind, table, *_ = path.name.split(".")
            yield date.fromisoformat(folder.name), kind, table, path


def import_file(engine: Engine, day: date, kind: str, table: str, path: Path) -> None:
    """Load one export. The same export again counts once."""
    try:
        block = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    except (OSError, zstandard.ZstdError) as error:
        raise EngineError(
            f"the exported rollup {path} cannot be read: {error}",
            hint="Take it from a backup; the rest of the engine is made without it if it is moved away.",
        ) from error
    if block:
        engine.insert_native(table, block, f"rollup/{day}/{kind}.{table}")


def _write(path: Path, block: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(zstandard.ZstdCompressor(level=9).compress(block))
        file.flush()
        os.fsync(file.fileno())
    if zstandard.ZstdDecompressor().decompressobj().decompress(temporary.read_bytes()) != block:
        raise EngineError(f"{path} was not written as it should be", hint="Check the disk; nothing was deleted.")
    os.replace(temporary, path)
    for folder in (path.parent, path.parent.parent):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
