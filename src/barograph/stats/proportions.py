"""Shares of units (yes or no for each), compared by methods that hold at 0 % and 100 %.

Takes counts, hands back an ``Estimate``. Welch's t on 0/1 values has no variance where an arm has all or no
successes, and would answer that 0 of 50 against 4 of 50 is surely the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from barograph.stats.comparison import DEFAULT_ALPHA
from barograph.stats.distributions import normal_quantile, normal_tail, require_risk
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.exact import boschloo_exact, fisher_exact, require_counts
from barograph.stats.recovery import recovered_difference, recovered_quotient
from barograph_client.errors import InvalidInput

FEW_TABLES = 4_000  # some sixty units an arm
SMALL_EXPECTED = 5.0  # below so many expected in a cell the exact test is used (Cochran 1954)
FINEST = 1e-16  # the width at which a search for a share ends: a ten millionth of one in a billion
ROUNDING = 1e-12  # shares that differ by less do not differ


def compare_proportions(
    successes: int,
    n: int,
    baseline_successes: int,
    baseline_n: int,
    *,
    alpha: float = DEFAULT_ALPHA,
    names: tuple[str, str] = ("treatment", "control"),
    unconditional: bool = False,
) -> Estimate:
    """The difference of two shares of units.

    The interval is Newcombe's hybrid score interval (1998, method 10), the p-value that of the pooled score test
    (Pearson's chi-squared), or Fisher's exact one where fewer than five are expected in a cell. ``unconditional`` takes
    Boschloo's there, which is more powerful, while there are few enough tables for a twentieth of a second. The
    relative effect is that of ``share_ratio_interval``, given where the baseline is above zero. Assumes independent
    units with one answer each. Refuses an empty arm.
    """
    require_counts(successes, n)
    require_counts(baseline_successes, baseline_n)
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
        if unconditional and (n + 1) * (baseline_n + 1) <= FEW_TABLES:
            p_value, test = boschloo_exact(successes, n, baseline_successes, baseline_n), "Boschloo's exact"
    else:
        (statistic, p_value), test = score_test(successes, n, baseline_successes, baseline_n), "score"
    difference = share - baseline
    absolute = Effect(
        value=difference, low=min(low, difference), high=max(high, difference), p_value=p_value, statistic=statistic
    )
    relative = None
    if baseline > 0:
        value = difference / baseline
        ratio_low, ratio_high = share_ratio_interval(successes, n, baseline_successes, baseline_n, alpha)
        relative = Effect(value=value, low=min(ratio_low - 1, value), high=max(ratio_high - 1, value))
    return Estimate(
        arm=names[0], baseline=names[1], arm_value=share, baseline_value=baseline, arm_n=n, baseline_n=baseline_n,
        absolute=absolute, relative=relative, alpha=alpha, method=f"{test} test, Newcombe's interval",
        warnings=() if baseline > 0 else ("the baseline is zero: there is no relative effect",),
    )  # fmt: skip


def wilson_interval(successes: int, n: int, alpha: float = DEFAULT_ALPHA) -> tuple[float, float]:
    """The score interval of one share (Wilson 1927): inside [0, 1], and not empty at 0 % or 100 %.

    Refuses (InvalidInput) impossible counts, and an alpha outside (0, 1).
    """
    require_counts(successes, n)
    require_risk(alpha)
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
    """The interval of a difference of shares from the Wilson interval of each (Newcombe 1998, method 10).

    Refuses (InvalidInput) impossible counts, an empty arm, and an alpha outside (0, 1).
    """
    _require_arms(successes, n, baseline_successes, baseline_n)
    return recovered_difference(
        (successes / n, *wilson_interval(successes, n, alpha)),
        (baseline_successes / baseline_n, *wilson_interval(baseline_successes, baseline_n, alpha)),
    )


def score_test(successes: int, n: int, baseline_successes: int, baseline_n: int) -> tuple[float | None, float]:
    """The pooled score statistic of a difference of shares and its two-sided p-value (Pearson 1900).

    Good where five or more are expected in each cell. Arms that all have, or all lack, success differ in nothing:
    no statistic, and a p-value of 1. Refuses (InvalidInput) impossible counts and an empty arm.
    """
    _require_arms(successes, n, baseline_successes, baseline_n)
    pooled = (successes + baseline_successes) / (n + baseline_n)
    if pooled in (0, 1):
        return None, 1.0
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / baseline_n))
    statistic = (successes / n - baseline_successes / baseline_n) / error
    return statistic, 2 * normal_tail(abs(statistic))


def miettinen_nurminen_interval(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alpha: float = DEFAULT_ALPHA
) -> tuple[float, float]:
    """The differences of shares that the score test does not reject (Miettinen and Nurminen 1985).

    Exactly dual to ``score_statistic``, whose p-value is alpha at both ends. Good from small numbers on, also at 0 %
    and 100 %. Refuses impossible counts and an empty arm.
    """
    _require_arms(successes, n, baseline_successes, baseline_n)
    critical = normal_quantile(1 - alpha / 2)
    difference = successes / n - baseline_successes / baseline_n

    def beyond(null: float) -> float:
        return abs(score_statistic(successes, n, baseline_successes, baseline_n, null)) - critical

    low = -1.0 if beyond(-1.0) <= 0 else _bisect(beyond, difference, -1.0)
    high = 1.0 if beyond(1.0) <= 0 else _bisect(beyond, difference, 1.0)
    return low, high


def score_statistic(successes: int, n: int, baseline_successes: int, baseline_n: int, null: float = 0.0) -> float:
    """The score statistic of ``share - baseline = null``, its error taken at the likeliest shares that differ so.

    About standard normal when the null is true. Source: Miettinen and Nurminen, "Comparative analysis of two rates"
    (1985), with their factor N / (N - 1) on the variance. Where the error is zero: zero at the null, infinite beyond.
    Refuses (InvalidInput) impossible counts, an empty arm, and a null outside [-1, 1].
    """
    _require_arms(successes, n, baseline_successes, baseline_n)
    if not -1 <= null <= 1:
        raise InvalidInput("shares differ by one at most", value=null)
    share, baseline = successes / n, baseline_successes / baseline_n
    arm, other = _likeliest_shares(successes, n, baseline_successes, baseline_n, null)
    total = n + baseline_n
    variance = (arm * (1 - arm) / n + other * (1 - other) / baseline_n) * total / (total - 1)
    distance = share - baseline - null
    if variance <= 0:
        return math.copysign(math.inf, distance) if abs(distance) > ROUNDING else 0.0
    return distance / math.sqrt(variance)


def agresti_caffo_interval(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alpha: float = DEFAULT_ALPHA
) -> tuple[float, float]:
    """Wald's interval after one more success and one more failure in each arm (Agresti and Caffo 2000).

    Simple, and close to its confidence from ten units an arm on; its bounds may pass -1 and 1. Refusals as above.
    """
    _require_arms(successes, n, baseline_successes, baseline_n)
    return wald_interval(successes + 1, n + 2, baseline_successes + 1, baseline_n + 2, alpha)


def wald_interval(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alpha: float = DEFAULT_ALPHA
) -> tuple[float, float]:
    """The difference of shares and so many unpooled standard errors around it (Wald 1943).

    For comparison with what others print: it is empty where an arm has all or no successes, and covers too seldom
    at small numbers. ``compare_proportions`` does not use it. Refusals as above.
    """
    _require_arms(successes, n, baseline_successes, baseline_n)
    share, baseline = successes / n, baseline_successes / baseline_n
    reach = normal_quantile(1 - alpha / 2) * unpooled_error(share, n, baseline, baseline_n)
    return share - baseline - reach, share - baseline + reach


def share_ratio_interval(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alpha: float = DEFAULT_ALPHA
) -> tuple[float, float]:
    """The interval of share over baseline from the Wilson interval of each; infinite above a baseline of none.

    The quotient of ``recovery``: feels the uncertainty of both arms, and holds at 0 % and 100 %. Refusals as above.
    """
    _require_arms(successes, n, baseline_successes, baseline_n)
    return recovered_quotient(
        (successes / n, *wilson_interval(successes, n, alpha)),
        (baseline_successes / baseline_n, *wilson_interval(baseline_successes, baseline_n, alpha)),
    )


def _likeliest_shares(
    successes: int, n: int, baseline_successes: int, baseline_n: int, difference: float
) -> tuple[float, float]:
    """The likeliest two shares that differ by ``difference``, where the slope of the likelihood is zero."""

    def falling_likelihood(baseline: float) -> float:
        share = baseline + difference
        return (
            _per(n - successes, 1 - share) - _per(successes, share)
            + _per(baseline_n - baseline_successes, 1 - baseline) - _per(baseline_successes, baseline)
        )  # fmt: skip

    if difference == 0:
        pooled = (successes + baseline_successes) / (n + baseline_n)
        return pooled, pooled
    low, high = max(0.0, -difference), min(1.0, 1 - difference)
    inside = _bisect(falling_likelihood, low, high) if high > low else low
    return min(1.0, max(0.0, inside + difference)), inside


def _per(count: int, share: float) -> float:
    if count == 0:
        return 0.0
    return count / share if share > 0 else math.inf


def _bisect(function: Callable[[float], float], below: float, above: float) -> float:
    """Where ``function`` passes zero, negative towards ``below``; it is not asked at the bounds themselves."""
    while True:
        middle = (below + above) / 2
        if middle in (below, above) or abs(above - below) < FINEST:
            return middle
        if function(middle) < 0:
            below = middle
        else:
            above = middle


def unpooled_error(share: float, n: int, baseline: float, baseline_n: int) -> float:
    """The standard error of a difference of shares, each arm with its own variance."""
    return math.sqrt(share * (1 - share) / n + baseline * (1 - baseline) / baseline_n)


def _require_arms(successes: int, n: int, baseline_successes: int, baseline_n: int) -> None:
    require_counts(successes, n)
    require_counts(baseline_successes, baseline_n)
    if min(n, baseline_n) == 0:
        raise InvalidInput("an arm is empty", hint="Wait until both arms have units.", value=(n, baseline_n))
