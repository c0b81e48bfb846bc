"""Quantiles of a sample: their intervals by counting, and the difference between two arms.

Takes values, as quantiles do not add up; hands back bounds that are values of the sample, or an ``Effect``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from barograph.stats.comparison import DEFAULT_ALPHA
from barograph.stats.estimate import Effect
from barograph.stats.recovery import recovered_difference
from barograph.stats.summary import Numbers, finite_array
from barograph_client.errors import InvalidInput


def quantile_test(values: Numbers, q: float, null: float) -> float:
    """The two-sided exact p-value of the ``q`` quantile being ``null``: the smaller tail of the signs, twice.

    The number of values at or below (and below) the quantile is binomial (Conover, "Practical nonparametric
    statistics", 1999, 3.2). Assumes independent values, and nothing about their distribution. Refuses as below.
    """
    from scipy import special

    sample = _sample(values, q)
    n, below, at_most = sample.size, int((sample < null).sum()), int((sample <= null).sum())
    low = float(special.bdtr(at_most, n, q))
    high = float(special.bdtrc(below - 1, n, q)) if below else 1.0
    return min(1.0, 2 * min(low, high))


def quantile_interval(values: Numbers, q: float, alpha: float = DEFAULT_ALPHA) -> tuple[float, float]:
    """The interval of the ``q`` quantile between two values of the sample, by the binomial distribution.

    Covers at least as often as stated, whatever the distribution (Conover 1999). A bound that the sample is too small
    for is infinite. Refuses an empty sample, values that are not finite, and a q outside (0, 1).
    """
    from scipy import stats

    sample = np.sort(_sample(values, q))
    if not 0 < alpha < 1:
        raise InvalidInput("alpha must lie between 0 and 1", value=alpha)
    n = sample.size
    below = int(stats.binom.ppf(alpha / 2, n, q))
    if stats.binom.cdf(below, n, q) > alpha / 2:
        below -= 1  # of the values, at most so many lie below the quantile with no more than half the risk
    above = int(stats.binom.isf(alpha / 2, n, q))
    low = float(sample[below]) if below >= 0 else -math.inf
    high = float(sample[above]) if above < n else math.inf
    return low, high


def quantile_difference(arm: Numbers, baseline: Numbers, q: float, alpha: float = DEFAULT_ALPHA) -> Effect:
    """The difference of two sample quantiles, with an interval from that of each arm (``recovered_difference``).

    Infinite where an arm is too small for its own bound. Assumes independent units. Refusals as for
    ``quantile_interval``.
    """
    ours, theirs = _sample(arm, q), _sample(baseline, q)
    one, other = (
        (value, min(low, value), max(high, value))  # a quantile between two values may lie beyond a bound
        for value, (low, high) in (
            (float(np.quantile(sample, q)), quantile_interval(sample, q, alpha)) for sample in (ours, theirs)
        )
    )
    low, high = recovered_difference(one, other)
    return Effect(value=one[0] - other[0], low=low, high=high)


def _sample(values: Numbers, q: float) -> NDArray[np.float64]:
    sample = finite_array(values)
    if sample.size == 0 or not 0 < q < 1:
        raise InvalidInput("a quantile needs a value, and a share between 0 and 1", value=(sample.size, q))
    return sample
