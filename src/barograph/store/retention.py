"""Retention: raw days of arrival are retired when they are old enough; their rollups are exported and go on answering.

Called by ``data_store`` while everything is loaded and nobody loads.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from barograph.journal.journal import Journal
from barograph.store.archive_rollups import export_day
from barograph.store.checkpoint import Checkpoint
from barograph.store.engine import Engine
from barograph.store.schema import EVENT_TABLES


class Pruned(Struct, frozen=True, kw_only=True):
    """A day of a kind that was retired: how many raw events went; their rollups stay."""

    kind: str
    day: date
    events: int


def retire_days(
    journal: Journal,
    engine: Engine,
    checkpoint: Checkpoint,
    archive: Path,
    kinds: tuple[str, ...],
    now: datetime,
    older_than: timedelta,
) -> list[Pruned]:
    """Retire the days before so long ago, of some kinds or all. Raises EngineError, and deletes nothing then."""
    cutoff = min(now.date(), (now - older_than).date())
    done: list[Pruned] = []
    for kind in kinds or EVENT_TABLES:
        for day in journal.days(kind):
            if day >= cutoff:
                continue
            export_day(engine, archive, kind, day)
            events = journal.retire(kind, day)
            _forget_segments(checkpoint, kind, day)
            if kind == "query":
                engine.command("DELETE FROM trace_place WHERE arrived = {d:Date}", {"d": str(day)})
            engine.command(f"ALTER TABLE {kind} DROP PARTITION ID '{day.strftime('%Y%m%d')}'")
            done.append(Pruned(kind=kind, day=day, events=events))
    return done


def _forget_segments(checkpoint: Checkpoint, kind: str, day: date) -> None:
    loaded = checkpoint.state.loaded
    for name in [name for name in loaded if name.startswith(f"{kind}/{day}/")]:
        del loaded[name]
    checkpoint.write()
