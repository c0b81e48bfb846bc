"""Playing the replay into a data directory: the experiment is defined, the events are recorded in batches.

``cli.replay`` calls it; the replay itself knows nothing of dashboards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from msgspec.structs import asdict

from barograph.control.experiments import ExperimentRepository
from barograph.core.settings import FILE_NAME
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.demo.replay import EXPERIMENT, EXPERIMENT_TITLE, Replay
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.design import Experiment, equal_variants
from barograph_client.clock import Clock, ManualClock
from barograph_client.errors import InvalidEvent

DAYS = 7.0 - 1 / 144  # ten minutes short, so that the first request is still among "the last seven days" when shown
MARKER = ".barograph-demo"
_BATCH = 2000
_SETTINGS = """\
# Settings of the demo. The budget is an example; docs/settings.md lists every setting.

[budget]
daily = 5.0

[status]
# The replayed model takes about 11 s for the slowest twentieth of its requests; see docs/demo.md.
response_time_warning = 15.0
"""


def mark(directory: Path) -> None:
    """Make the directory, say that it is the demo's, and write its settings."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).write_text("This directory was made by `barograph demo`, which may replace it.\n")
    (directory / FILE_NAME).write_text(_SETTINGS, encoding="utf-8")


def is_demo(directory: Path) -> bool:
    """Whether the directory was made by the demo."""
    return (directory / MARKER).is_file()


def prepare(dashboard: DashboardInterface, end: datetime, days: float = DAYS) -> Replay:
    """Define and start the A/A split as of the replay's beginning; returns the replay with its assignment."""
    parts = dashboard.parts
    then = ABTestFramework(
        dashboard.store,
        ExperimentRepository(parts.control),
        lambda exposure: dashboard.collector.record_exposure(asdict(exposure)),
        ManualClock(end - timedelta(days=days)),
        parts.catalogue,
        dashboard.settings.project,
    )
    then.create(
        Experiment(
            key=EXPERIMENT,
            title=EXPERIMENT_TITLE,
            hypothesis="None: both arms are the same, so nothing but chance may differ.",
            variants=equal_variants("A", "B"),
            primary_metric="satisfaction",
            secondary_metrics=("response_time.mean",),
            planned_days=round(days * 2),
        ),
        actor="demo",
    )
    then.start(EXPERIMENT, actor="demo")
    dashboard.experiments.refresh()
    return Replay(assign=lambda user: dashboard.experiments.assign(EXPERIMENT, user))


def play(
    dashboard: DashboardInterface, replay: Replay, end: datetime, told: Callable[[int], object], days: float = DAYS
) -> int:
    """Record the replay's events up to ``end``; ``told`` hears how many requests each batch held."""
    count = 0
    for batch in _batches(replay.events(end, days), _BATCH):
        count += _record(dashboard, batch)
        told(sum(kind == "query" for kind, _ in batch))
    return count


def play_live(dashboard: DashboardInterface, replay: Replay, clock: Clock, stop: threading.Event) -> None:
    """Record the replay at the trace's own speed until ``stop`` is set."""
    for kind, event in replay.live(clock, stop):
        _record(dashboard, [(kind, event)])


def _record(dashboard: DashboardInterface, batch: Iterable[tuple[str, dict[str, object]]]) -> int:
    events = [{**event, "kind": kind} for kind, event in batch]
    for result in dashboard.collector.record_many(events):
        if isinstance(result, InvalidEvent):  # the shipped data are valid; saying so beats dropping one silently
            raise result
    return len(events)


def _batches(
    events: Iterator[tuple[str, dict[str, object]]], size: int
) -> Iterator[list[tuple[str, dict[str, object]]]]:
    while batch := list(islice(events, size)):
        yield batch
