"""Tests of two shares beside those that ``compare_proportions`` chooses from: what other tools print, to the digit.

Takes counts, hands back an ``Effect``. Where one of them has no answer (no success, or no failure, in both arms), the
p-value is 1: arms that agree in every unit show no difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from barograph.stats.comparison import DEFAULT_ALPHA, exp_less_one
from barograph.stats.distributions import chi_squared_tail, normal_quantile, normal_tail
from barograph.stats.estimate import Effect
from barograph.stats.exact import require_counts
from barograph.stats.proportions import unpooled_error, wald_interval
from barograph.stats.summary import Summary
from barograph_client.errors import InvalidInput


def share_summary(successes: int, n: int) -> Summary:
    """The summary of ``n`` units of which so many are 1, with the plain variance share * (1 - share).

    What a t test of shares is made from. It has no variance at 0 % and at 100 %, where ``compare_proportions``
    answers and Welch's t does not. Refuses impossible counts and an arm that is empty.
    """
    _require_arm(successes, n)
    share = successes / n
    return Summary.from_variance(n, share, share * (1 - share))


def wald_test(successes: int, n: int, baseline_successes: int, baseline_n: int, alpha: float = DEFAULT_ALPHA) -> Effect:
    """The difference of shares over its unpooled standard error, two-sided (Wald 1943), with Wald's interval.

    For large numbers and shares far from 0 and 1. Where neither arm varies there is no test, and no interval.
    """
    _require_arm(successes, n)
    _require_arm(baseline_successes, baseline_n)
    share, baseline = successes / n, baseline_successes / baseline_n
    error, difference = unpooled_error(share, n, baseline, baseline_n), share - baseline
    if error == 0:
        return Effect(value=difference)
    low, high = wald_interval(successes, n, baseline_successes, baseline_n, alpha)
    statistic = difference / error
    return Effect(
        value=difference, low=low, high=high, p_value=2 * normal_tail(abs(statistic)), standard_error=error,
        statistic=statistic,
    )  # fmt: skip


def pooled_test(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alpha: float = DEFAULT_ALPHA
) -> tuple[Effect, Effect | None]:
    """The score test with Yates' correction for continuity, and the effects it stands for: absolute and relative.

    Both intervals are as wide as the pooled error and the correction 1/2 (1/n + 1/m) make them: around the difference
    (inside [-1, 1]), and around the logarithm of the ratio (None without a success in both arms). Source: Yates,
    "Contingency tables involving small numbers" (1934); for the interval Fleiss, Levin, Paik, "Statistical methods for
    rates and proportions" (2003), 3.2. Assumes equal variances; conservative at small numbers.
    """
    _require_arm(successes, n)
    _require_arm(baseline_successes, baseline_n)
    share, baseline = successes / n, baseline_successes / baseline_n
    pooled = (successes + baseline_successes) / (n + baseline_n)
    difference, correction, weight = share - baseline, (1 / n + 1 / baseline_n) / 2, 1 / n + 1 / baseline_n
    if pooled in (0, 1):
        return Effect(value=difference, p_value=1.0), Effect(value=0.0) if pooled else None
    error, critical = math.sqrt(pooled * (1 - pooled) * weight), normal_quantile(1 - alpha / 2)
    statistic = math.copysign(max(0.0, abs(difference) - correction) / error, difference)
    reach = critical * error + correction
    absolute = Effect(
        value=difference, low=max(-1.0, difference - reach), high=min(1.0, difference + reach),
        p_value=2 * normal_tail(abs(statistic)), standard_error=error, statistic=statistic,
    )  # fmt: skip
    if min(successes, baseline_successes) == 0:
        return absolute, None if baseline == 0 else Effect(value=-1.0)
    logarithm = math.log(share / baseline)
    reach = critical * math.sqrt((1 - pooled) / pooled * weight) + correction / baseline
    low, high = math.expm1(logarithm - reach), exp_less_one(logarithm + reach)
    relative = Effect(value=share / baseline - 1, low=low, high=high)
    return absolute, relative


def pearson_test(successes: int, n: int, baseline_successes: int, baseline_n: int) -> Effect:
    """Pearson's chi-squared of the 2 by 2 table with Yates' correction (Pearson 1900, Yates 1934); no interval."""
    return _chi_squared(
        successes, n, baseline_successes, baseline_n, lambda count, expected: (count - expected) ** 2 / expected
    )


def log_likelihood_test(successes: int, n: int, baseline_successes: int, baseline_n: int) -> Effect:
    """The likelihood ratio (G) of the 2 by 2 table with Yates' correction (Wilks 1938); no interval."""
    return _chi_squared(
        successes, n, baseline_successes, baseline_n,
        lambda count, expected: 2 * count * math.log(count / expected) if count else 0.0,
    )  # fmt: skip


def _chi_squared(
    successes: int, n: int, baseline_successes: int, baseline_n: int, term: Callable[[float, float], float]
) -> Effect:
    _require_arm(successes, n)
    _require_arm(baseline_successes, baseline_n)
    difference = successes / n - baseline_successes / baseline_n
    pooled = (successes + baseline_successes) / (n + baseline_n)
    if pooled in (0, 1):
        return Effect(value=difference, p_value=1.0)
    cells = [
        (count, size * share)
        for hits, size in ((successes, n), (baseline_successes, baseline_n))
        for count, share in ((hits, pooled), (size - hits, 1 - pooled))
    ]
    moved = [(count + _towards(expected - count), expected) for count, expected in cells]
    statistic = max(0.0, math.fsum(term(count, expected) for count, expected in moved))
    return Effect(value=difference, p_value=chi_squared_tail(statistic, 1), statistic=statistic, degrees=1)


def _towards(distance: float) -> float:
    """Yates' step towards what is expected: half a unit, and never past it."""
    return math.copysign(min(0.5, abs(distance)), distance)


def _require_arm(successes: int, n: int) -> None:
    require_counts(successes, n)
    if n == 0:
        raise InvalidInput("an arm is empty", hint="Wait until both arms have units.")
