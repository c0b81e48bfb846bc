"""When to evaluate: a fixed grid of wall times, what was skipped on it, and whether the clock was stepped.

Ticks lie at multiples of the interval since the Unix epoch, so a slow evaluation does not make later ones drift, and
every process has the same grid. Read by ``alert_manager``, whose thread asks for the tick that is due.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from barograph.alerts.clock_steps import ClockSteps
from barograph_client.clock import Clock

INTERVAL_SECONDS = 15.0  # between ticks


class Grid:
    """The ticks of one evaluator. Not shared between threads."""

    def __init__(self, clock: Clock, interval: float) -> None:
        self._clock = clock
        self.interval = interval
        self._steps = ClockSteps(clock)
        self._restart()

    def _restart(self) -> None:
        """The newest tick is due at once, and what lies before it was not ours to evaluate."""
        self.last = self.floor(self._clock.now()) - timedelta(seconds=self.interval)
        self._first = True

    def floor(self, moment: datetime) -> datetime:
        """The tick at or before that moment."""
        return datetime.fromtimestamp(moment.timestamp() // self.interval * self.interval, UTC)

    def take(self, ready: datetime) -> tuple[datetime | None, int]:
        """The newest tick up to ``ready`` that was not taken yet, and how many older ones it leaves out."""
        tick = self.floor(ready)
        if tick <= self.last:
            return None, 0
        skipped = 0 if self._first else round((tick - self.last).total_seconds() / self.interval) - 1
        self.last, self._first = tick, False
        return tick, skipped

    def until_next(self) -> float:
        """Seconds from now to the tick after the last one; negative when it is due."""
        return (self.last + timedelta(seconds=self.interval) - self._clock.now()).total_seconds()

    @property
    def stepped(self) -> float:
        """Seconds by which the wall clock was stepped since ``clock_step`` was last asked, or 0."""
        return self._steps.moved

    def clock_step(self) -> float:
        """``stepped``, once. The grid goes on at the new time."""
        moved = self._steps.take()
        if moved:
            self._restart()
        return moved
