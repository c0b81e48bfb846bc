"""When to evaluate: a fixed grid of wall times, what was skipped on it, whether the clock was stepped, and which rules.

Ticks lie at multiples of the interval since the Unix epoch, so a slow evaluation does not make later ones drift, and
every process has the same grid. Read by ``alert_manager``, whose thread asks for the tick that is due. A rule with an
interval of its own is due at the first tick at or after each multiple of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from barograph.alerts.clock_steps import ClockSteps
from barograph.alerts.rules.threshold import ThresholdRule
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


class Look(NamedTuple):
    """The last look at a rule: when, at data up to when, and whether it failed."""

    rule: ThresholdRule
    at: datetime
    end: datetime
    failed: bool


class Looks:
    """When each rule was looked at last. One thread writes, ``judged_to`` may be asked from any."""

    def __init__(self) -> None:
        self._last: dict[str, Look] = {}

    def due(self, rules: Sequence[ThresholdRule], tick: datetime) -> list[ThresholdRule]:
        """The rules to look at now. One that failed, or was never looked at as it is now, is due at every tick."""
        return [rule for rule in rules if self._is_due(rule, tick)]

    def _is_due(self, rule: ThresholdRule, tick: datetime) -> bool:
        last = self._last.get(rule.name)
        if not rule.interval_seconds or last is None or last.failed or last.rule != rule:
            return True
        return tick.timestamp() // rule.interval_seconds > last.at.timestamp() // rule.interval_seconds

    def looked(self, look: Look) -> None:
        self._last[look.rule.name] = look

    def judged_to(self, rule: ThresholdRule) -> datetime | None:
        """Up to when the rule was looked at with all data; None where it was not yet."""
        last = self._last.get(rule.name)
        return None if last is None else last.end

    def forget(self, kept: Iterable[str] = ()) -> None:
        """Forget what is of other rules than those."""
        names = set(kept)
        self._last = {name: look for name, look in self._last.items() if name in names}
