"""End to end: events recorded into a whole dashboard whose loader runs, until they can be queried; and its memory.

One process is one Barograph as people run it, loader and alerts in the background. ``flush`` returning is what visible
means here; every round is checked to have been counted exactly. At full ingest the recording and the loading share two
cores; at half of that rate the loader keeps up, as it must in the long run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Self

import psutil

from barograph.core.query import Window
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.clock import Clock, SystemClock
from bench.figure import Figure, Series
from bench.load import EventDict, Load
from bench.part import Run

EVENTS = 200_000  # a round
PACE = 500  # events recorded between two looks at the clock
SINGLE = 20  # events recorded one by one, to see when the loader shows them
IDLE_SECONDS = 2.0
LOOK_SECONDS = 0.002
RATE, LAG = "events/s from the first call to visible", "last acknowledgement to visible"
HALF = f"{LAG}, recording at half of that rate"
ALONE = "one event, acknowledgement to visible by the loader alone"
IDLE, DRAWN, PEAK = "memory, idle", "memory, idle after a page was drawn", "memory, most under full ingest"
_KINDS = {"short": False, "five documents": True}
_MB = 1e6


def measure(run: Run) -> Iterable[Figure]:
    """Idle memory first, then rounds of both sorts of events, then single ones."""
    clock, series = SystemClock(), Series()
    with DashboardInterface(run.directory / "data", clock=clock, environment={}) as dashboard:
        dashboard.flush()
        for name in (IDLE, DRAWN):
            clock.wait(threading.Event(), run.seconds(IDLE_SECONDS))
            series.add(name, "MB", psutil.Process().memory_info().rss / _MB)
            dashboard.render("overview")
        for name, documents in _KINDS.items():
            load = Load(4, documents=documents)
            for turn in range(run.rounds(3)):
                run.tell(f"{name}, round {turn + 1}")
                rate = _ingest(dashboard, load, name, run.count(EVENTS, 100), series, clock)
                _paced(dashboard, load, name, run.count(EVENTS, 100) // 2, rate / 2, series, clock)
        run.tell("single events")
        for taken in [_visible(dashboard, load, clock) for _ in range(run.count(SINGLE, 2))]:
            series.add(ALONE, "s", taken)
    goals = {f"{name}: {lag}": 1.0 for name in _KINDS for lag in (LAG, HALF)} | {
        f"{name}: {PEAK}": 1000.0 for name in _KINDS
    }
    return series.figures(at_most={IDLE: 350.0, DRAWN: 350.0, ALONE: 1.0, **goals})


def _ingest(dashboard: DashboardInterface, load: Load, name: str, number: int, series: Series, clock: Clock) -> float:
    """Record as fast as it goes, and wait until all is visible. Returns the events that were visible a second."""
    before = _counted(dashboard, clock)
    with _Memory() as memory:
        began = clock.monotonic()
        for _ in dashboard.collector.stream(load.dicts(number)):
            pass
        acknowledged = clock.monotonic()
        dashboard.flush()
        visible = clock.monotonic()
    if (found := _counted(dashboard, clock) - before) != number:
        raise RuntimeError(f"{number} events were recorded and {found} are counted")
    series.add(f"{name}: {RATE}", "events/s", number / (visible - began))
    series.add(f"{name}: events/s acknowledged meanwhile", "events/s", number / (acknowledged - began))
    series.add(f"{name}: {LAG}", "s", visible - acknowledged)
    series.add(f"{name}: {PEAK}", "MB", memory.most / _MB)
    return number / (visible - began)


def _paced(
    dashboard: DashboardInterface, load: Load, name: str, number: int, rate: float, series: Series, clock: Clock
) -> None:
    """Record so many events a second; the loader has to keep up."""
    began = clock.monotonic()

    def events() -> Iterator[EventDict]:
        for i, event in enumerate(load.dicts(number)):
            if i % PACE == 0:
                clock.wait(threading.Event(), max(0.0, began + i / rate - clock.monotonic()))
            yield event

    for _ in dashboard.collector.stream(events()):
        pass
    acknowledged = clock.monotonic()
    dashboard.flush()
    series.add(f"{name}: {HALF}", "s", clock.monotonic() - acknowledged)


def _counted(dashboard: DashboardInterface, clock: Clock) -> int:
    now = clock.now()
    hours = timedelta(hours=12)
    answer = dashboard.query("queries", window=Window(now - hours, now + hours))
    return int(answer.value or 0)


def _visible(dashboard: DashboardInterface, load: Load, clock: Clock) -> float:
    """Seconds from the acknowledgement until the watermark has passed it."""
    for event in load.dicts(1):
        dashboard.record_query_execution(event)
    acknowledged, at = clock.monotonic(), clock.now()
    never = threading.Event()
    while dashboard.store.watermark() < at:
        clock.wait(never, LOOK_SECONDS)
    return clock.monotonic() - acknowledged


class _Memory:
    """The most resident memory that this process had meanwhile, in bytes, looked at fifty times a second."""

    def __init__(self) -> None:
        self.most = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.02):
            self.most = max(self.most, process.memory_info().rss)

    def __enter__(self) -> Self:
        self.most = psutil.Process().memory_info().rss
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
