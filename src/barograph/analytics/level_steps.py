"""When a metric's level stepped within a window, from what to what: for the marks of a chart, beside the deploys.

Takes the buckets of a series, looks for change points in them, and keeps those that are sure and large enough for
somebody to do something about. A daily rhythm is taken out first: a morning is no step.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from itertools import pairwise
from statistics import median
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.core.query import MetricRow
from barograph.stats.change_points import change_points

SURE = 0.01  # the p-value up to which a step is told
SMALLEST = 0.1  # share of the larger level by which the two must differ
FEWEST_BUCKETS = 3  # of a level: one that lasts less is a spike, which the line shows by itself
DAYS_OF_A_RHYTHM = 3
STRONG = 0.6  # share of the variance within days that a rhythm must explain to be one
_DAY = 86400.0


class LevelStep(Struct, frozen=True, kw_only=True):
    """At ``at``, the start of the first bucket of the new level, the median bucket went from ``before`` to ``after``.

    ``p_value`` is that of ``ChangePoint``.
    """

    at: datetime
    before: float
    after: float
    p_value: float


def level_steps(rows: Sequence[MetricRow], zone: ZoneInfo, *, least: int = 1) -> tuple[LevelStep, ...]:
    """The steps in the buckets of one group, in order of time; buckets of fewer than ``least`` events count for none.

    Values that are all above zero are compared by their logarithms: twice as slow is the same step at any speed.
    ``zone`` is the one whose days have the rhythm. Less than three days have no steps, because a rhythm cannot be told
    from them: one day's swing would be one. On made series of 14 to 168 buckets without a step, with and without a
    rhythm, at most 4 % have one, 7 % where three days are all there is.
    """
    known = [row for row in rows if row.value is not None and row.n >= least]
    values = np.array([row.value for row in known], dtype=np.float64)
    if len(values) < 2 * FEWEST_BUCKETS or not np.isfinite(values).all():
        return ()
    if (known[-1].end - known[0].start).total_seconds() < DAYS_OF_A_RHYTHM * _DAY:
        return ()
    scaled = np.log(values) if (values > 0).all() else values
    found = change_points(_without_rhythm(known, scaled, zone), least=FEWEST_BUCKETS)
    bounds = [0, *(point.index for point in found), len(values)]
    levels = [median(values[start:end].tolist()) for start, end in pairwise(bounds)]
    return tuple(
        LevelStep(at=known[point.index].start, before=before, after=after, p_value=point.p_value)
        for point, (before, after) in zip(found, pairwise(levels), strict=True)
        if point.p_value <= SURE and _is_large(before, after)
    )


def _is_large(before: float, after: float) -> bool:
    return abs(after - before) >= SMALLEST * max(abs(before), abs(after))


def _without_rhythm(rows: Sequence[MetricRow], values: NDArray[np.float64], zone: ZoneInfo) -> NDArray[np.float64]:
    """The values less what is usual at their time of day, when enough days show the same.

    Usual is the median over the days of how far a value is from its own day's median, so that a step that begins with a
    day leaves no trace in it.
    """
    local = [row.start.astimezone(zone) for row in rows]
    days, hours = [moment.date() for moment in local], [moment.time() for moment in local]
    level = {day: float(np.median(values[[one == day for one in days]])) for day in set(days)}
    away = values - np.array([level[day] for day in days])
    usual: dict[time, float] = {hour: float(np.median(away[[one == hour for one in hours]])) for hour in set(hours)}
    rhythm = np.array([usual[hour] for hour in hours])
    if np.var(away - rhythm) > (1 - STRONG) * np.var(away):
        return values
    return np.asarray(values - rhythm)
