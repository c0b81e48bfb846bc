"""Ratios whose denominator is uncertain, for its size: intervals that know it, by Fieller's theorem.

The delta method takes the denominator for nearly known. Within some ten standard errors of zero it is not, and the
interval that holds as often as stated is not symmetric; within two or so it has no end, and none is given. Takes a
``RatioSummary`` for each arm, hands back an ``Effect`` for ``comparison``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from barograph.stats.distributions import t_quantile
from barograph.stats.estimate import Alternative, Effect
from barograph.stats.recovery import Bounded, recovered_difference, recovered_quotient
from barograph.stats.summary import RatioSummary, Summary

LEAST_RISK = 1e-12  # p-values are searched down to this
LARGEST_SHARE = 1e9  # a ratio that others are a billion times of is zero but for rounding
RISK_DIGITS = 1e-9  # and to so many digits


def quotient_bounds(
    above: float, below: float, variances: tuple[float, float], covariance: float, critical: float
) -> tuple[float, float] | None:
    """The quotients ``above / below`` that a t test with this critical value does not reject; None if they never end.

    Source: Fieller, "Some problems in interval estimation" (1954): all q for which (above - q below)² is at most
    critical² var(above - q below). ``variances`` are those of above and below.
    """
    errors = math.sqrt(variances[0]), math.sqrt(variances[1])
    size, unit = max(abs(above), errors[0]), abs(below)
    if unit <= critical * errors[1]:
        return None
    if size == 0:
        return 0.0, 0.0
    # in units of the two sizes, so that no square over- or underflows
    above, error, below_error = above / size, critical * errors[0] / size, critical * errors[1] / unit
    leading = 1 - below_error * below_error
    middle = math.copysign(above, above * below) - critical * critical * (covariance / size / unit)
    root = math.sqrt(max(0.0, middle * middle - leading * (above * above - error * error)))
    return (middle - root) / leading * size / unit, (middle + root) / leading * size / unit


def ratio_bounds(summary: RatioSummary, alpha: float) -> tuple[float, float] | None:
    """Fieller's interval of a ratio of sums over units, which are what is independent; None if it never ends."""
    if summary.measured_units < 2:
        return None
    n = summary.n
    return quotient_bounds(
        summary.numerator_mean, summary.denominator_mean,
        (summary.numerator.mean_variance, summary.denominator.mean_variance), summary.cross_m2 / (n - 1) / n,
        t_quantile(1 - alpha / 2, summary.measured_units - 1),
    )  # fmt: skip


def relative_bounds(arm: Summary, baseline: Summary, degrees: float, alpha: float) -> tuple[float, float] | None:
    """Fieller's interval of (arm - baseline) / |baseline| for two independent means; None if it never ends.

    It holds no effect at all exactly where Welch's interval of the difference holds zero.
    """
    size = abs(baseline.mean)
    bounds = quotient_bounds(
        arm.mean, size, (arm.mean_variance, baseline.mean_variance), 0.0, t_quantile(1 - alpha / 2, degrees)
    )
    sign = math.copysign(1.0, baseline.mean)
    return (bounds[0] - sign, bounds[1] - sign) if bounds else None


def ratio_difference(
    arm: RatioSummary, baseline: RatioSummary, *, alpha: float, alternative: Alternative
) -> tuple[Effect, Effect | None] | None:
    """The absolute and the relative effect on a ratio, from Fieller's interval of each arm's; None if one never ends.

    The combination is ``recovered_difference`` (and ``recovered_quotient``), the p-value the risk at which the interval
    of the difference ends at zero. Both arms need a denominator that is not zero.
    """
    ours, theirs = arm.ratio or 0.0, baseline.ratio or 0.0

    def bounded(risk: float) -> tuple[Bounded, Bounded] | None:
        one, other = ratio_bounds(arm, risk), ratio_bounds(baseline, risk)
        return ((ours, *one), (theirs, *other)) if one and other else None

    both = bounded(alpha if alternative == "two-sided" else 2 * alpha)
    if both is None:
        return None

    def holds_zero(risk: float) -> bool:
        at_risk = bounded(risk)
        if at_risk is None:
            return True
        low, high = recovered_difference(*at_risk)
        return low <= 0 <= high

    difference = ours - theirs
    p_value = _least_risk(holds_zero)
    if alternative != "two-sided":
        p_value = p_value / 2 if (difference > 0) == (alternative == "greater") else 1 - p_value / 2
    absolute = _one_sided(difference, recovered_difference(*both), p_value, alternative)
    if abs(theirs) * LARGEST_SHARE <= abs(difference):
        return absolute, None
    sign = math.copysign(1.0, theirs)
    (_, low, high), mirrored = both[1], (abs(theirs), *sorted((sign * both[1][1], sign * both[1][2])))
    if min(low, high) * sign <= 0 or both[0][0] < 0:
        return absolute, Effect(value=difference / abs(theirs))
    quotient = recovered_quotient(both[0], (mirrored[0], mirrored[1], mirrored[2]))
    bounds = quotient[0] - sign, quotient[1] - sign
    return absolute, _one_sided(difference / abs(theirs), bounds, p_value, alternative)


def _one_sided(value: float, bounds: tuple[float, float], p_value: float, alternative: Alternative) -> Effect:
    low = -math.inf if alternative == "less" else min(bounds[0], value)
    high = math.inf if alternative == "greater" else max(bounds[1], value)
    return Effect(value=value, low=low, high=high, p_value=p_value)


def _least_risk(holds_zero: Callable[[float], bool]) -> float:
    """The smallest two-sided risk whose interval leaves zero out."""
    low, high = LEAST_RISK, 1.0
    if not holds_zero(low):
        return low
    while high > low * (1 + RISK_DIGITS):
        middle = math.sqrt(low * high)
        if holds_zero(middle):
            low = middle
        else:
            high = middle
    return high
