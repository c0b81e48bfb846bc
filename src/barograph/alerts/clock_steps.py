"""Whether the wall clock was stepped: what has deadlines in wall time moves them along, so that a step ends no wait.

Each keeper of deadlines has one of its own: the notifiers and the sender.
"""

from __future__ import annotations

from barograph.alerts.schedule import STEP_SECONDS
from barograph_client.clock import Clock


class ClockSteps:
    """Watches a clock. Not shared between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._monotonic = clock.now(), clock.monotonic()

    def take(self) -> float:
        """Seconds by which the wall clock was stepped since the last look; 0 when it went on, or was only slewed."""
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        moved = (wall - self._wall).total_seconds() - (monotonic - self._monotonic)
        self._wall, self._monotonic = wall, monotonic
        return moved if abs(moved) >= STEP_SECONDS else 0.0
