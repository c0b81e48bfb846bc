"""A worker keeps its pace: it looks again on the clock, and outlives whatever goes wrong in its work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from barograph.core.worker import SLOWEST_RETRY, Worker
from barograph_client.clock import ManualClock
from barograph_client.errors import BarographError

INTERVAL = 0.25


class Pace(ManualClock):
    """A clock whose waits take no time and are written down; the worker is stopped at the end of the script."""

    def __init__(self, waits: int) -> None:
        super().__init__(datetime(2026, 1, 1, tzinfo=UTC))
        self.waited: list[float] = []
        self._most = waits

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waited.append(round(seconds, 6))
        super().wait(event, seconds)
        if len(self.waited) >= self._most:
            event.set()
        return event.is_set()


def pauses(script: list[Callable[[Pace], bool]]) -> tuple[list[float], Worker]:
    """How long the worker rests after each piece of work that leaves nothing to do, and the worker after it."""
    clock = Pace(len(script))
    works = iter(script)
    worker = Worker("worker", "working", lambda: next(works)(clock), clock, INTERVAL)
    worker._run()
    return clock.waited, worker


def taking(seconds: float) -> Callable[[Pace], bool]:
    def work(clock: Pace) -> bool:
        clock.advance(seconds)
        return False

    return work


def failing(clock: Pace) -> bool:
    raise BarographError("the disk is away")


def test_it_looks_again_an_interval_after_it_began_the_last_time() -> None:
    waited, _ = pauses([taking(0.0), taking(0.1), taking(0.2)])
    assert waited == [0.25, 0.15, 0.05]


def test_long_work_leaves_a_tenth_of_the_interval_to_others() -> None:
    waited, _ = pauses([taking(0.25), taking(3.0)])
    assert waited == [0.025, 0.025]


def test_a_failure_is_told_and_tried_again_ever_later_until_it_is_over() -> None:
    waited, worker = pauses([taking(3.0), *[failing] * 6])
    assert waited == [0.025, 0.25, 0.5, 1.0, 2.0, 4.0, SLOWEST_RETRY]
    assert str(worker.problem) == "the disk is away"
    waited, worker = pauses([failing, taking(0.0)])
    assert waited == [0.5, 0.25]
    assert worker.problem is None
