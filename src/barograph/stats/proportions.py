"""Shares of units (yes or no for each), compared by methods that hold at 0 % and 100 %.

Takes counts, hands back an ``Estimate``. Welch's t on 0/1 values has no variance where an arm has all or no
successes, and would answer that 0 of 50 against 4 of 50 is surely the same.
"""

from __future__ import annotations

import math

import numpy as np

from barograph.stats.comparison import DEFAULT_ALPHA
from barograph.stats.distributions import normal_quantile, normal_tail
from barograph.stats.estimate import Effect, Estimate
from barograph_client.errors import InvalidInput

SMALL_EXPECTED = 5.0  # below so many expected in a cell the exact test is used (Cochran 1954)


def compare_proportions(
    successes: int,
    n: int,
    baseline_successes: int,
    baseline_n: int,
    *,
    alpha: float = DEFAULT_ALPHA,
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The difference of two shares of units.

    The interval is Newcombe's hybrid score interval (1998, method 10), the p-value that of the pooled score test
    (Pearson's chi-squared), or Fisher's exact one where fewer than five are expected in a cell. The relative
    effect carries the absolute bounds over the baseline, and is given where the baseline is above zero. Assumes
    independent units with one answer each. Refuses an empty arm.
    """
    _require_counts(successes, n)
    _require_counts(baseline_successes, baseline_n)
    if min(n, baseline_n) == 0:
        return Estimate(
            arm=names[0], baseline=names[1], arm_value=successes / n if n else None,
            baseline_value=baseline_successes / baseline_n if baseline_n else None, arm_n=n, baseline_n=baseline_n,
            absolute=None, relative=None, alpha=alpha, method="none", warnings=("an arm is empty",),
        )  # fmt: skip
    share, baseline = successes / n, baseline_successes / baseline_n
    low, high = newcombe_interval(successes, n, baseline_successes, baseline_n, alpha)
    pooled = (successes + baseline_successes) / (n + baseline_n)
    statistic: float | None = None
    if min(n, baseline_n) * min(pooled, 1 - pooled) < SMALL_EXPECTED:
        p_value, test = fisher_exact(successes, n, baseline_successes, baseline_n), "Fisher's exact"
    else:
        (statistic, p_value), test = score_test(successes, n, baseline_successes, baseline_n), "score"
    difference = share - baseline
    absolute = Effect(
        value=difference, low=min(low, difference), high=max(high, difference), p_value=p_value, statistic=statistic
    )
    relative = None
    if baseline > 0:
        relative = Effect(
            value=difference / baseline, low=min(low, difference) / baseline, high=max(high, difference) / baseline
        )
    return Estimate(
        arm=names[0], baseline=names[1], arm_value=share, baseline_value=baseline, arm_n=n, baseline_n=baseline_n,
        absolute=absolute, relative=relative, alpha=alpha, method=f"{test} test, Newcombe's interval",
        warnings=() if baseline > 0 else ("the baseline is zero: there is no relative effect",),
    )  # fmt: skip


def wilson_interval(successes: int, n: int, alpha: float = DEFAULT_ALPHA) -> tuple[float, float]:
    """The score interval of one share (Wilson 1927): inside [0, 1], and not empty at 0 % or 100 %."""
    _require_counts(successes, n)
    if n == 0:
        return 0.0, 1.0
    z = normal_quantile(1 - alpha / 2)
    share, square = successes / n, z * z / n
    centre = (share + square / 2) / (1 + square)
    reach = z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return (0.0 if successes == 0 else centre - reach), (1.0 if successes == n else centre + reach)


def newcombe_interval(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alpha: float = DEFAULT_ALPHA
) -> tuple[float, float]:
    """The interval of a difference of shares from the Wilson interval of each (Newcombe 1998, method 10)."""
    share, baseline = successes / n, baseline_successes / baseline_n
    low, high = wilson_interval(successes, n, alpha)
    baseline_low, baseline_high = wilson_interval(baseline_successes, baseline_n, alpha)
    difference = share - baseline
    return (
        difference - math.hypot(share - low, baseline_high - baseline),
        difference + math.hypot(high - share, baseline - baseline_low),
    )


def score_test(successes: int, n: int, baseline_successes: int, baseline_n: int) -> tuple[float | None, float]:
    """The pooled score statistic of a difference of shares and its two-sided p-value (Pearson 1900).

    Good where five or more are expected in each cell. Arms that all have, or all lack, success differ in nothing:
    no statistic, and a p-value of 1.
    """
    pooled = (successes + baseline_successes) / (n + baseline_n)
    if pooled in (0, 1):
        return None, 1.0
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / baseline_n))
    statistic = (successes / n - baseline_successes / baseline_n) / error
    return statistic, 2 * normal_tail(abs(statistic))


def fisher_exact(successes: int, n: int, baseline_successes: int, baseline_n: int) -> float:
    """The two-sided exact p-value of a 2 by 2 table (Fisher 1935): all tables no likelier than the one seen."""
    # Imported here: scipy.stats takes a noticeable part of a second, and most comparisons are of larger numbers.
    from scipy.stats import fisher_exact as exact

    table = np.array([[successes, n - successes], [baseline_successes, baseline_n - baseline_successes]])
    return float(exact(table)[1])


def _require_counts(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise InvalidInput("successes must lie between 0 and the number of units", value=(successes, n))
