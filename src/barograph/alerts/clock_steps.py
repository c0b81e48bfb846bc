"""Whether the wall clock was stepped: what has deadlines in wall time moves them along, so that a step ends no wait.

Each keeper of deadlines has one of its own: the grid of the rules, the notifiers, the sender.
"""

from __future__ import annotations

from barograph_client.clock import Clock

STEP_SECONDS = 2.0  # the wall clock moved so much more or less than the monotonic one: it was stepped, not slewed


class ClockSteps:
    """Watches a clock. Not shared between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._monotonic = clock.now(), clock.monotonic()

    @property
    def moved(self) -> float:
        """Seconds by which the wall clock was stepped since the last ``take``; 0 when it went on, or was slewed."""
        moved = (self._clock.now() - self._wall).total_seconds() - (self._clock.monotonic() - self._monotonic)
        return moved if abs(moved) >= STEP_SECONDS else 0.0

    def take(self) -> float:
        """``moved``, once."""
        moved = self.moved
        self._wall, self._monotonic = self._clock.now(), self._clock.monotonic()
        return moved
