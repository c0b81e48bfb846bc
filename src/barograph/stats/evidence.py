"""What the recent points of a series look like beside its past: four features, each with its usual range.

A ``Track`` holds the last points and a reservoir a feature; ``baseline`` runs one on the values and, where a
pattern is strong, one on what the pattern leaves. Findings carry the numbers for the words of an alert.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from barograph.stats.reservoir import Reservoir, ReservoirState, Spread

Feature = Literal["point", "short mean", "long mean", "spread"]

SHORT, LONG, VARIANCE = 20, 60, 35  # points: windows of the two means and of the variance
FEWEST = 10  # values of the past before a feature is compared with it
NORMAL = 1.4826  # half the distance between the quartiles times this is a normal distribution's standard deviation
LARGEST_Z = 1e3  # how far beyond the usual is beyond counting
FLOOR = 0.2  # the least spread that counts, as a share of half the distance from 5 % to 95 % of the values
DIGITS = 1e-3  # and as a share of the level: what changes in the fourth digit only is constant
TINY = 1e-300
LOG_FLOOR = 0.1  # least spread of the logarithm of a variance
_FEATURES: tuple[Feature, ...] = ("point", "short mean", "long mean", "spread")


class TrackState(Struct, frozen=True, kw_only=True):
    """A track at rest; the reservoirs stand in the order of the features."""

    recent: list[float] = []
    past: list[ReservoirState] = []


class Finding(Struct, frozen=True, gc=False):
    """One feature of the last points: its value, the quartiles and the median of its past, and how far off it is.

    ``z`` is the distance from the median in robust standard deviations of that side. The feature "spread" is a
    logarithm of a variance. ``residual``: it was taken after the pattern.
    """

    feature: Feature
    value: float
    low: float
    usual: float
    high: float
    z: float
    residual: bool = False


class Track:
    """The last points of one sequence of values and the past of its features."""

    def __init__(self, state: TrackState | None = None) -> None:
        state = state or TrackState()
        self._recent = list(state.recent)
        self._past = [Reservoir(past) for past in state.past] or [Reservoir() for _ in _FEATURES]

    def state(self) -> TrackState:
        return TrackState(recent=list(self._recent), past=[past.state() for past in self._past])

    def spread(self) -> Spread | None:
        """The usual range of the points; None while too few are known."""
        return self._past[0].spread() if len(self._past[0]) >= FEWEST else None

    def forget(self, points: int) -> None:
        """Only what the last so many points left is the past from now on."""
        for past in self._past:
            past.forget(points)

    def look(self, value: float, around: Spread | None = None) -> tuple[Finding, ...]:
        """The features with this value as the newest, judged by the past, which they then join.

        ``around`` is the range of the values from which the pattern was taken off, where ``value`` is a residual:
        what is small beside them is small.
        """
        recent = self._recent
        recent.append(value)
        if len(recent) > LONG:
            del recent[0]
        points = self.spread()
        floor, noise = _floors(points, around)
        count = len(recent)
        features = (
            value,
            sum(recent[-SHORT:]) / SHORT if count >= SHORT else None,
            sum(recent) / count if count >= LONG // 2 else None,
            math.log(_variance(recent[-VARIANCE:]) + noise) if count >= VARIANCE and points else None,
        )
        findings = []
        for name, past, feature in zip(_FEATURES, self._past, features, strict=True):
            if feature is None:
                continue
            if len(past) >= FEWEST:
                spread = past.spread()
                least = LOG_FLOOR if name == "spread" else floor
                z = _robust_z(feature, spread, least)
                findings.append(Finding(name, feature, spread.low, spread.middle, spread.high, z, around is not None))
            past.add(feature)
        return tuple(findings)


def _floors(points: Spread | None, around: Spread | None) -> tuple[float, float]:
    """The least spread of points and means that counts, and the variance that is as good as none."""
    if points is None:
        return TINY, TINY
    level = abs((around or points).middle)
    floor = FLOOR * (points.highest - points.lowest) / 2 + DIGITS * level + TINY
    if around:
        floor += FLOOR * FLOOR * (around.highest - around.lowest) / 2
    quartiles = points.high - points.low
    return floor, max((DIGITS * level) ** 2, (0.02 * quartiles) ** 2, TINY)


def _robust_z(value: float, past: Spread, least: float) -> float:
    """Distance from the median in robust standard deviations of the side on which the value lies."""
    side = past.high - past.middle if value > past.middle else past.middle - past.low
    spread = max(side, (past.high - past.low) / 4, least)
    return min(abs(value - past.middle) / (NORMAL * spread), LARGEST_Z)


def _variance(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sum([(value - mean) ** 2 for value in values]) / len(values)
