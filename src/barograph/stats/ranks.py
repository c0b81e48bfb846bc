"""Arms compared by rank: how often a unit of one arm is above a unit of the other, whatever the scale.

Takes values, as ranks do not add up; hands back an ``Effect``. Its value is P(arm > baseline) + P(equal) / 2: a half
is no preference. It says nothing about means: a treatment may win most comparisons and lose on the average.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from barograph.stats.comparison import DEFAULT_ALPHA
from barograph.stats.distributions import normal_tail, t_quantile, t_tail
from barograph.stats.estimate import Effect
from barograph.stats.summary import Numbers, finite_array
from barograph_client.errors import InvalidInput

EXACT_UNITS = 8  # up to so many units in the smaller arm the distribution without ties is counted, as scipy does
EXACT_PAIRS = 100_000  # and only while there are no more pairs of units than this


def mann_whitney(arm: Numbers, baseline: Numbers, *, exact: bool | None = None) -> Effect:
    """The two-sided rank sum test of the same distribution in both arms; ``statistic`` is U of the arm.

    Source: Mann and Whitney (1947). Normal with the variance for ties and a correction for continuity, or exact
    (``exact=None``: where an arm is small and no two values are equal). Tests that the distributions are the same:
    where spreads differ, a small p-value need not mean that one arm is above the other (``brunner_munzel`` does). No
    interval. Where all values are equal the p-value is 1. Refuses an empty arm, values that are not finite, and an
    exact test with ties.
    """
    ours, theirs = _arms(arm, baseline, fewest=1)
    n, m = ours.size, theirs.size
    both = np.concatenate([ours, theirs])
    statistic = float(_ranks(both)[:n].sum()) - n * (n + 1) / 2
    _, ties = np.unique(both, return_counts=True)
    tied = bool(ties.max() > 1)
    if exact and tied:
        raise InvalidInput("the exact rank sum test has no equal values", hint="Use the normal one.")
    if exact is None:
        exact = not tied and min(n, m) <= EXACT_UNITS and n * m <= EXACT_PAIRS
    extreme = max(statistic, n * m - statistic)
    if exact:
        p_value = 2 * _exact_tail(int(extreme), n, m)
    else:
        total = n + m
        lost = float((ties.astype(np.float64) ** 3 - ties).sum()) / (total * (total - 1)) if total > 1 else 0.0
        variance = n * m / 12 * (total + 1 - lost)
        p_value = 2 * normal_tail((extreme - n * m / 2 - 0.5) / math.sqrt(variance)) if variance > 0 else 1.0
    return Effect(value=statistic / (n * m), p_value=min(1.0, p_value), statistic=statistic)


def brunner_munzel(arm: Numbers, baseline: Numbers, *, alpha: float = DEFAULT_ALPHA) -> tuple[Effect, tuple[str, ...]]:
    """The two-sided test that neither arm is above the other more often than not, its interval, and why not.

    Source: Brunner and Munzel, "The nonparametric Behrens-Fisher problem" (2000), with Student's t; the interval is
    that of the same statistic, kept inside [0, 1]. Assumes nothing about shapes or spreads; good from ten units an arm
    on. Arms that do not overlap have no variance, and get no interval and no p-value (``mann_whitney`` answers). The
    sign of ``statistic`` is that of value - 1/2. Refuses arms of fewer than two units, and values that are not finite.
    """
    ours, theirs = _arms(arm, baseline, fewest=2)
    n, m = ours.size, theirs.size
    ranks = _ranks(np.concatenate([ours, theirs]))
    placed, their_placed = ranks[:n] - _ranks(ours), ranks[n:] - _ranks(theirs)
    value = float(placed.mean()) / m
    a = float(placed.var(ddof=1)) / n / m**2
    b = float(their_placed.var(ddof=1)) / m / n**2
    variance = a + b
    if variance <= 0:
        return Effect(value=value), ("the arms do not overlap, or no value differs: the test has no variance",)
    degrees = variance**2 / (a * a / (n - 1) + b * b / (m - 1))
    error = math.sqrt(variance)
    statistic, reach = (value - 0.5) / error, t_quantile(1 - alpha / 2, degrees) * error
    effect = Effect(
        value=value, low=max(0.0, value - reach), high=min(1.0, value + reach), standard_error=error,
        p_value=min(1.0, 2 * t_tail(abs(statistic), degrees)), statistic=statistic, degrees=degrees,
    )  # fmt: skip
    return effect, ()


def _arms(arm: Numbers, baseline: Numbers, fewest: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ours, theirs = finite_array(arm), finite_array(baseline)
    if min(ours.size, theirs.size) < fewest:
        raise InvalidInput(f"an arm has fewer than {fewest} units", value=(ours.size, theirs.size))
    return ours, theirs


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1 on; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean = last - (counts - 1) / 2
    return np.asarray(mean[place], dtype=np.float64)


def _exact_tail(least: int, n: int, m: int) -> float:
    """P(U >= least) without ties: the coefficients of the Gaussian binomial, counted factor by factor.

    Summed at the low end, which mirrors the high one and is made of small whole numbers.
    """
    ways = np.zeros(n * m + 1)
    ways[0] = 1.0
    small, large = min(n, m), max(n, m)
    for step in range(1, small + 1):
        up = large + step
        grown = ways.copy()
        grown[up:] -= ways[: ways.size - up]  # times 1 - q^(large + step)
        for residue in range(step):  # over 1 - q^step
            grown[residue::step] = np.cumsum(grown[residue::step])
        ways = grown
    return float(ways[: n * m - least + 1].sum() / math.comb(n + m, n))
