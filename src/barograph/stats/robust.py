"""Means that a few very large values do not decide: trimmed, and capped.

Takes values, as it takes all of them to know which are the largest; hands back an ``Effect``, or a ``Summary`` of
capped values that any comparison of means takes. What is compared is then no longer the mean: say so beside it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from barograph.stats.comparison import DEFAULT_ALPHA, satterthwaite, t_effect
from barograph.stats.estimate import Alternative, Effect
from barograph.stats.summary import Numbers, Summary, finite_array
from barograph_client.errors import InvalidInput

FEWEST_KEPT = 2  # values that must be left of an arm when its ends are cut off


def trimmed_welch(
    arm: Numbers,
    baseline: Numbers,
    *,
    trim: float = 0.1,
    alpha: float = DEFAULT_ALPHA,
    alternative: Alternative = "two-sided",
) -> tuple[Effect, tuple[str, ...]]:
    """The difference of means without the share ``trim`` at either end, and why there is no test.

    Source: Yuen, "The two-sample trimmed t for unequal population variances" (1974): the variance is that of the
    winsorised values, the degrees of freedom count what is kept. Assumes independent units; where distributions are
    skewed the trimmed mean is not the mean. Refuses a share outside [0, 1/2), and arms of which nothing is left.
    """
    if not 0 <= trim < 0.5:
        raise InvalidInput("the share to cut off at each end lies between 0 and 1/2", value=trim)
    value, a, kept = _trimmed(finite_array(arm), trim)
    other, b, other_kept = _trimmed(finite_array(baseline), trim)
    if a + b == 0:
        return Effect(value=value - other), ("what is left of the arms does not vary: no test applies",)
    degrees = satterthwaite((a, kept - 1), (b, other_kept - 1))
    return t_effect(value - other, math.sqrt(a + b), degrees, alpha, alternative), ()


def upper_cap(*arms: Numbers, share: float) -> float:
    """The value above which the largest ``share`` of all units lies: one cap, over the pooled arms.

    A cap for each arm by itself would cut more off the arm with the larger values, and may turn the sign of an effect.
    So many units as share * n, rounded down, are above it (Tukey and McLaughlin 1963). Refuses no unit at all, and a
    share outside [0, 1).
    """
    pooled = np.sort(np.concatenate([finite_array(arm) for arm in arms]))
    if pooled.size == 0 or not 0 <= share < 1:
        raise InvalidInput("a cap needs a unit, and a share from 0 on and below 1", value=(pooled.size, share))
    return float(pooled[pooled.size - int(share * pooled.size) - 1])


def winsorised(values: Numbers, cap: float) -> NDArray[np.float64]:
    """The values, none above the cap."""
    return np.minimum(finite_array(values), cap)


def winsorised_summaries(arm: Numbers, baseline: Numbers, *, share: float = 0.01) -> tuple[Summary, Summary, float]:
    """Both arms under one cap over the pooled arms, for any comparison of means; and the cap.

    The cap is taken as known: it is the same for both arms, so that it moves the effect but not the risk of a false
    alarm. Refusals as for ``upper_cap``.
    """
    cap = upper_cap(arm, baseline, share=share)
    return Summary.from_values(winsorised(arm, cap)), Summary.from_values(winsorised(baseline, cap)), cap


def _trimmed(values: NDArray[np.float64], trim: float) -> tuple[float, float, int]:
    """The trimmed mean, its variance, and how many values are kept."""
    n = values.size
    cut = int(trim * n)
    kept = n - 2 * cut
    if kept < FEWEST_KEPT:
        raise InvalidInput("too few units are left of an arm", hint="Cut off less.", value=(n, trim))
    ordered = np.sort(values)
    middle = ordered[cut : n - cut]
    spread = Summary.from_values(np.clip(ordered, middle[0], middle[-1]))
    variance = spread.m2 / (kept * (kept - 1)) if spread.varies else 0.0
    return Summary.from_values(middle).mean, variance, kept
