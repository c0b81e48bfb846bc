"""Trends: how fast a series rises or falls, whether that is more than noise, and when it reaches a threshold.

Takes a whole series with its times, hands a ``Trend`` to ``analytics``. Nothing here trusts single values: the slope is
a median of slopes, the test one of ranks, and both take into account that neighbouring values resemble each other.

Sources: slope and its interval (Theil 1950; Sen 1968, "Estimates of the regression coefficient based on Kendall's
tau"); test (Mann 1945; Kendall 1975, with ties); autocorrelation (Hamed and Rao 1998, "A modified Mann-Kendall trend
test for autocorrelated data").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.stats.comparison import DEFAULT_ALPHA
from barograph.stats.distributions import normal_quantile, normal_tail
from barograph.stats.summary import ROUNDING_SHARE
from barograph_client.errors import InvalidInput

Correction = Literal["ar1", "hamed-rao", "none"]
_Array = NDArray[np.float64]

MOST_VALUES = 1500  # 1.1 million pairs, 9 MB; longer series are cut into so many blocks, each with its medians
FEWEST = 4  # values below which no order has a p-value below 0.3
_SEEN = 1.96  # standard errors from which an autocorrelation of the ranks counts (Hamed and Rao 1998)
_STEADIEST = 0.95  # autocorrelation above this is taken for it: beyond lies the random walk, which has no trend to find
_STEEPEST = 1e300  # slopes of values and times of size 1 that lie closer than this allows count as this


class Trend(Struct, frozen=True, kw_only=True):
    """The line ``level + slope · (time - middle)`` and how sure it is.

    ``slope`` is in the value's unit per unit of time, its interval from ``low`` to ``high`` of confidence 1 -
    ``alpha``, infinite where too few values differ. ``middle`` and ``level`` are the medians of times and values.
    ``tau`` is Kendall's tau-b, from -1 to 1, ``p_value`` that of no trend; ``inflation`` the factor by which
    autocorrelation widens the variance behind the p-value and the interval. ``n`` values were used; fewer than
    ``FEWEST``, or all at one time, say nothing: a slope of 0 and a p-value of 1.
    """

    n: int
    slope: float
    low: float
    high: float
    middle: float
    level: float
    tau: float
    p_value: float
    inflation: float
    alpha: float

    def at(self, time: float) -> float:
        """The line's value at a time."""
        return self.level + self.slope * (time - self.middle)


class Arrival(Struct, frozen=True, kw_only=True):
    """How long until a threshold is reached, in the unit of the trend's times; infinite means never.

    ``earliest`` and ``latest`` belong to the ends of the slope's interval.
    """

    expected: float
    earliest: float
    latest: float


def trend(
    times: Sequence[float],
    values: Sequence[float | None],
    *,
    alpha: float = DEFAULT_ALPHA,
    correction: Correction = "ar1",
) -> Trend:
    """The trend of ``values`` at ``times`` (in days, or any other unit; in order).

    A value that is None or not finite is left out; autocorrelation is that of the values that are left, so they should
    be about evenly spaced. All pairs are looked at, n (n - 1) / 2; of more than ``MOST_VALUES`` values, blocks of
    neighbours stand in with their medians. ``correction`` says which autocorrelations widen the variance: ``ar1`` those
    of a first-order process, its one coefficient corrected for the bias of short series; ``hamed-rao`` the significant
    ones of the ranks, as published; ``none`` no one. On noise without a trend, p < 0.05 comes in 3 to 5 % of series
    with ``ar1``, in 4 to 9 % at an autocorrelation of 0.5, in 7 to 16 % at 0.8 (150 to 10 values); with ``hamed-rao``
    in 6 to 9 %, 16 to 22 % and 25 to 39 %. Raises InvalidInput for times that are not in order or too far apart for a
    number, lengths that differ, and an alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise InvalidInput("alpha is a share", value=alpha)
    when, what = _series(times, values)
    n = len(what)
    if n < FEWEST or when[0] == when[-1]:
        middle, level = (_median(when), _median(what)) if n else (0.0, 0.0)
        return Trend(n=n, slope=0.0, low=-math.inf, high=math.inf, middle=middle, level=level, tau=0.0, p_value=1.0,
                     inflation=1.0, alpha=alpha)  # fmt: skip
    start, span = float(when[0]), float(when[-1] - when[0])
    scale = float(np.abs(what).max()) or 1.0
    when, what = (when - start) / span, what / scale  # of size 1, so that nothing overflows on the way
    middle, level = float(np.median(when)), float(np.median(what))
    first, second = np.triu_indices(n, 1)
    rise, run = what[second] - what[first], when[second] - when[first]
    rise, run = rise[run > 0], run[run > 0]
    with np.errstate(over="ignore"):
        slopes = np.sort(np.clip(rise / run, -_STEEPEST, _STEEPEST))
    slope = float(np.median(slopes))
    score = float(np.sign(rise).sum())
    rest = what - level - slope * (when - middle)
    if np.abs(rest).max() <= ROUNDING_SHARE * max(1.0, abs(slope)):
        rest = np.zeros(n)  # rounding has an autocorrelation of its own
    inflation = _INFLATION[correction](rest)
    variance = _variance(when, what) * inflation
    low, high = _interval(slopes, variance, alpha)
    p_value = 1.0
    if variance > 0 and score:
        p_value = min(1.0, 2 * normal_tail((abs(score) - 1) / math.sqrt(variance)))  # of scores, every second one is

    def sized(value: float) -> float:
        return value * (scale / span) if value and math.isfinite(value) else value

    return Trend(
        n=n, slope=sized(slope), low=sized(min(low, slope)), high=sized(max(high, slope)), middle=start + middle * span,
        level=level * scale, tau=_tau(score, when, what), p_value=p_value, inflation=inflation, alpha=alpha,
    )  # fmt: skip


def time_to_threshold(found: Trend, threshold: float, now: float, *, rising: bool = True) -> Arrival:
    """How long after ``now`` the line comes up (``rising``; else down) to the threshold; 0 where it is beyond already.

    The interval turns the line around its middle by the slope's interval. It leaves out that the level at the middle is
    an estimate too, and takes for granted that the trend goes on.
    """
    sign = 1.0 if rising else -1.0
    ahead = now - found.middle

    def until(slope: float) -> float:
        if math.isinf(slope):
            return 0.0 if slope * sign > 0 else math.inf
        missing = (threshold - found.level) * sign - slope * sign * ahead
        if missing <= 0:
            return 0.0
        return missing / (slope * sign) if slope * sign > 0 else math.inf

    ends = [until(slope) for slope in (found.low, found.slope, found.high)]
    return Arrival(expected=ends[1], earliest=min(ends), latest=max(ends))


def _series(times: Sequence[float], values: Sequence[float | None]) -> tuple[_Array, _Array]:
    """Times and values without gaps, in blocks where there are too many."""
    when, what = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if when.shape != what.shape or when.ndim != 1:
        raise InvalidInput("each value has a time", value=(when.shape, what.shape))
    ends = [float(when[0]), float(when[-1])] if len(when) else [0.0, 0.0]
    if not math.isfinite(ends[1] - ends[0]) or not (when[1:] >= when[:-1]).all():
        raise InvalidInput("times are finite and in order", hint="Sort the values by time.", value=ends)
    kept = np.isfinite(what)
    when, what = when[kept], what[kept]
    if len(what) <= MOST_VALUES:
        return when, what
    bounds = np.linspace(0, len(what), MOST_VALUES + 1).astype(np.int64)
    blocks = [slice(start, end) for start, end in pairwise(bounds)]
    return np.array([_median(when[one]) for one in blocks]), np.array([_median(what[one]) for one in blocks])


def _median(values: _Array) -> float:
    """Also of values whose sum would overflow."""
    largest = float(np.abs(values).max()) or 1.0
    return float(np.median(values / largest)) * largest


def _ties(values: _Array) -> _Array:
    """The sizes of the groups of equal values."""
    return np.unique(values, return_counts=True)[1].astype(np.float64)


def _tau(score: float, when: _Array, what: _Array) -> float:
    pairs = len(when) * (len(when) - 1) / 2
    different = [pairs - float((ties * (ties - 1)).sum()) / 2 for ties in (_ties(when), _ties(what))]
    return score / math.sqrt(different[0] * different[1]) if min(different) > 0 else 0.0


def _variance(when: _Array, what: _Array) -> float:
    """Of the score, for independent values and with ties in both (Kendall 1975)."""
    n, one, two = float(len(when)), _ties(when), _ties(what)
    plain = n * (n - 1) * (2 * n + 5)
    for ties in (one, two):
        plain -= float((ties * (ties - 1) * (2 * ties + 5)).sum())
    triples = float((one * (one - 1) * (one - 2)).sum()) * float((two * (two - 1) * (two - 2)).sum())
    doubles = float((one * (one - 1)).sum()) * float((two * (two - 1)).sum())
    return max(0.0, plain / 18 + triples / (9 * n * (n - 1) * (n - 2)) + doubles / (2 * n * (n - 1)))


def _interval(slopes: _Array, variance: float, alpha: float) -> tuple[float, float]:
    """The slopes whose ranks are the interval's bounds (Sen 1968); infinite where there are no such ranks."""
    reach = normal_quantile(1 - alpha / 2) * math.sqrt(variance)
    lower, upper = round((len(slopes) - reach) / 2) - 1, round((len(slopes) + reach) / 2)
    return (
        float(slopes[lower]) if lower >= 0 else -math.inf,
        float(slopes[upper]) if upper < len(slopes) else math.inf,
    )


def _weights(n: int) -> _Array:
    """What the autocorrelations of lag 1, 2, … n - 1 weigh in the score's variance (Hamed and Rao 1998)."""
    left = n - np.arange(1.0, n)
    return np.asarray(2 * left * (left - 1) * (left - 2) / (n * (n - 1.0) * (n - 2.0)))


def _autocorrelation(values: _Array, lags: int) -> _Array:
    """The autocorrelations of lag 1 to ``lags``; zeros for values that do not vary."""
    values = values - values.mean()
    largest = float(np.abs(values).max())
    if not largest > 0:
        return np.zeros(lags)
    values = values / largest
    spectrum = np.abs(np.fft.rfft(values, 2 * len(values))) ** 2
    products = np.fft.irfft(spectrum)[: lags + 1]
    return np.asarray(products[1:] / products[0])


def _ar1_inflation(rest: _Array) -> float:
    """With the autocorrelations rho, rho², … of a first-order process; never below 1.

    ``rest`` is what a straight line left, which makes the estimate of rho too small by (2 + 4 rho) / n (Tjostheim and
    Paulsen 1983, "Bias of some commonly-used time series estimates").
    """
    n = len(rest)
    rho = (float(_autocorrelation(rest, 1)[0]) + 2 / n) / (1 - 4 / n) if n > 4 else _STEADIEST
    rho = min(max(rho, 0.0), _STEADIEST)
    return 1.0 + float((_weights(n) * rho ** np.arange(1.0, n)).sum())


def _hamed_rao_inflation(rest: _Array) -> float:
    """With those autocorrelations of the ranks that differ from zero at 5 %; at least a tenth."""
    n = len(rest)
    _, group, ties = np.unique(rest, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[group]
    rho = _autocorrelation(ranks, n - 1)
    rho[np.abs(rho) < _SEEN / math.sqrt(n)] = 0.0
    return max(0.1, 1.0 + float((_weights(n) * rho).sum()))


def _no_inflation(rest: _Array) -> float:
    return 1.0


_INFLATION = {"ar1": _ar1_inflation, "hamed-rao": _hamed_rao_inflation, "none": _no_inflation}
