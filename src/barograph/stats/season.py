"""The time of day and of the week in a series, and whether it says enough to be used.

Fed by the detector of ``baseline``. A profile keeps, for each slot of its period, the means of that slot in the last
few periods; their median is what the slot is expected to bring. It is used only where it is strong: the strength
is one minus the squared share of the variation that it leaves, after Wang, Smith and Hyndman, "Characteristic-based
clustering for time series data" (2006), with mean absolute deviations in place of variances.
"""

from __future__ import annotations

import math
from array import array
from datetime import datetime
from statistics import median
from typing import Literal

from msgspec import Struct

from barograph.stats.packed import pack, rounded, unpack

Pattern = Literal["daily", "weekly"]

STRONG = 0.6  # from this strength on a pattern is used
WEAK = 0.4  # below this one it is given up again
FEWEST = 2  # periods that a slot must have seen before it expects anything; the next one shows whether it holds
HORIZON = 2000  # points over which the strength is averaged
_DAY, _HOUR, _QUARTER = 86_400, 3_600, 900


class SeasonState(Struct, frozen=True, kw_only=True):
    """A profile at rest. ``means`` are packed numbers, slot by slot those of the last periods, the oldest first and NaN
    where there was none; ``key``, ``total`` and ``count`` are of the slot that is being filled, and the rest is what
    the strength is judged by, ``since`` the first slot that was foretold."""

    means: bytes = b""
    key: int | None = None
    total: float = 0.0
    count: int = 0
    since: int | None = None
    judged: int = 0
    left: float = 0.0
    all: float = 0.0
    strong: bool = False


class Season:
    """One profile: of a day in quarters of an hour (the last 5 days), or of a week in hours (the last 4 weeks).

    The clock is that of the times handed in: in a zone with summer time the pattern follows the people. Raises
    ValueError for the state of another profile.
    """

    def __init__(self, pattern: Pattern, state: SeasonState | None = None) -> None:
        state = state or SeasonState()
        self.pattern = pattern
        self._width = _QUARTER if pattern == "daily" else _HOUR
        self._count = (_DAY if pattern == "daily" else 7 * _DAY) // self._width
        self._keep = 5 if pattern == "daily" else 4
        self._means = unpack(state.means) or array("f", [math.nan]) * (self._count * self._keep)
        if len(self._means) != self._count * self._keep:
            raise ValueError("these are the means of another profile")
        self._expects = [self._expected(slot) for slot in range(self._count)]
        self._key, self._total, self._filled = state.key, state.total, state.count
        self._since, self._judged, self.strong = state.since, state.judged, state.strong
        self._left, self._all = state.left, state.all
        self._level = self._mean_level()

    def state(self) -> SeasonState:
        return SeasonState(
            means=pack(self._means), key=self._key, total=self._total, count=self._filled,
            since=self._since, judged=self._judged, left=self._left, all=self._all, strong=self.strong,
        )  # fmt: skip

    @property
    def strength(self) -> float:
        """1: the pattern says all; 0 or less: it says nothing."""
        return 1 - (self._left / self._all) ** 2 if self._all > 0 else 0.0

    def residual(self, at: datetime, value: float, widest: float) -> float | None:
        """The value less what its slot expects of it; None while it expects nothing.

        Learns the value too. ``widest`` is the largest deviation that counts when the strength is judged: one
        outlier says nothing of the pattern.
        """
        second = at.hour * _HOUR + at.minute * 60 + at.second
        key = at.toordinal() * (_DAY // self._width) + second // self._width
        if key != self._key:
            self._close()
            self._key = key
        self._total += value
        self._filled += 1
        expected = self._expects[key % self._count]
        if expected is None:
            return None
        if self._since is None:
            self._since = key
        self._judge(min(abs(value - expected), widest), min(abs(value - self._level), widest))
        return value - expected

    def _judge(self, left: float, everything: float) -> None:
        self._judged += 1
        share = 1 / min(self._judged, HORIZON)
        self._left += share * (left - self._left)
        self._all += share * (everything - self._all)
        if self.strong:
            self.strong = self.strength >= WEAK
        elif self._key is not None and self._since is not None:
            self.strong = self._key - self._since >= self._count and self.strength >= STRONG

    def _close(self) -> None:
        """The slot that was being filled is complete."""
        if self._key is None or not self._filled:
            return
        slot = self._key % self._count
        self._means.insert((slot + 1) * self._keep, rounded(self._total / self._filled))
        del self._means[slot * self._keep]
        self._expects[slot] = self._expected(slot)
        self._level = self._mean_level()
        self._total, self._filled = 0.0, 0

    def _expected(self, slot: int) -> float | None:
        means = [mean for mean in self._means[slot * self._keep : (slot + 1) * self._keep] if not math.isnan(mean)]
        return median(means) if len(means) >= FEWEST else None

    def _mean_level(self) -> float:
        known = [expected for expected in self._expects if expected is not None]
        return sum(known) / len(known) if known else 0.0
