"""What a tick of the alert rules costs: 20 rules, grouped by model, of which there are 500: 10,000 rule-series.

Ten minutes of events lie in the store when the first tick comes; before each other one comes what 15 seconds bring.
Nothing else runs. The evaluator has 15 seconds for a tick. Then what the default rules cost in fifty projects in which
nothing happens.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from barograph.alerts.schedule import INTERVAL_SECONDS
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.clock import ManualClock, SystemClock
from barograph_client.errors import InvalidEvent
from bench.figure import Figure, Series
from bench.load import EventDict
from bench.part import Run

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
MODELS = 500
EVENTS_A_SECOND = 100
HISTORY_SECONDS = 600
TICKS = 20
LIMITS = {  # some groups pass them at any time, as in a bad hour
    "response_time.p50": 2.0, "response_time.p95": 5.0, "response_time.p99": 9.0, "retrieval_time.p95": 0.6,
    "generation_time.p95": 4.0, "error_rate": 0.05, "no_answer_rate": 0.3, "queries": 80.0, "cost": 0.5,
    "tokens.output": 40_000.0,
}  # fmt: skip
WINDOWS = ("5m", "10m")
PROJECTS = 50
BEGINNING_SECONDS, IDLE_SECONDS = 35, 60  # the first looks of all rules, and four ticks


def measure(run: Run) -> Iterable[Figure]:
    """Seconds of a tick, and how many rule-series it evaluated; the share of a core that idle projects take."""
    models = run.count(MODELS, 5)
    chance, series, wall = random.Random(7), Series(), SystemClock()
    clock = ManualClock(START)
    rules = [
        {"name": f"{metric} {window}", "metric": metric, "above": above, "window": window, "for": "1m", "by": ["model"]}
        for metric, above in LIMITS.items()
        for window in WINDOWS
    ]
    with DashboardInterface(
        run.directory / "data", clock=clock, environment={}, background=False, rules=rules
    ) as dashboard:
        _pass(dashboard, clock, run.seconds(HISTORY_SECONDS), models, chance)
        dashboard.flush()
        for _ in range(run.rounds(TICKS)):
            _pass(dashboard, clock, INTERVAL_SECONDS, models, chance)
            dashboard.flush()
            before = dashboard.alerts.counters.evaluations
            began = wall.monotonic()
            dashboard.alerts.run_due()
            series.add("a tick", "s", wall.monotonic() - began)
            series.add("rules evaluated in it", "", dashboard.alerts.counters.evaluations - before)
        groups = sum(sum(status.groups.values()) for status in dashboard.alerts.rules())
        series.add("rule-series", "", groups)
    yield from series.figures(at_most={"a tick": INTERVAL_SECONDS / 2} if run.scale == 1 else None)
    yield _idle(run)


def _idle(run: Run) -> Figure:
    projects = run.count(PROJECTS, 2)
    with DashboardInterface(run.directory / "idle", environment={}) as dashboard:
        for number in range(projects):
            dashboard.parts.projects.create(f"project-{number}", actor="bench")
            dashboard.for_project(f"project-{number}").record_query_execution({"query": "is anybody here"})
        time.sleep(run.seconds(BEGINNING_SECONDS))
        began, used = time.monotonic(), time.process_time()
        time.sleep(run.seconds(IDLE_SECONDS))
        share = (time.process_time() - used) / (time.monotonic() - began)
    name = f"a core's time that {projects} idle projects take, under the default rules"
    return Figure(name=name, unit="%", samples=(100 * share,), at_most=10.0 if run.scale == 1 else None)


def _pass(
    dashboard: DashboardInterface, clock: ManualClock, seconds: float, models: int, chance: random.Random
) -> None:
    """Let the time pass, and record what comes in it."""
    start = clock.now()
    clock.advance(seconds)
    for result in dashboard.collector.record_many(_events(start, seconds, models, chance), "query"):
        if isinstance(result, InvalidEvent):
            raise result


def _events(start: datetime, seconds: float, models: int, chance: random.Random) -> Iterator[EventDict]:
    for number in range(round(seconds * EVENTS_A_SECOND)):
        yield {
            "time": start + timedelta(seconds=number / EVENTS_A_SECOND),
            "query": "how deep is the low",
            "model": f"model-{chance.randrange(models)}",
            "pipeline": "chat",
            "status": "error" if chance.random() < 0.03 else "ok",
            "response_time": chance.lognormvariate(0.5, 0.6),
            "retrieval_time": chance.lognormvariate(-1.5, 0.5),
            "generation_time": chance.lognormvariate(0.3, 0.6),
            "output_tokens": chance.randrange(10, 900),
            "cost": chance.random() / 100,
        }
