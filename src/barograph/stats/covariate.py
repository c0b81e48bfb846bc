"""Less noise: what is known of the units from before the experiment explains a part of what they do in it.

Takes pairs (``PairSummary``; for ratios ``RatioPairSummary.linearised``), hands back an ``Estimate``. The covariate
must be fixed before a unit is exposed: one that the treatment can move takes the effect away with the noise.
"""

from __future__ import annotations

import math

from msgspec import Struct

from barograph.stats.comparison import (
    CLOSE_TO_ZERO,
    DEFAULT_ALPHA,
    WEAK_BASELINE,
    compare_means,
    require_alpha,
    satterthwaite,
    t_effect,
    welch,
)
from barograph.stats.estimate import Alternative, Effect, Estimate
from barograph.stats.fieller import LARGEST_SHARE
from barograph.stats.joint import PairSummary
from barograph.stats.summary import Summary

CUPED = "Welch's t, adjusted by the pre-period (CUPED)"
LIN = "regression on the pre-period, one slope an arm (Lin)"
FEWEST_FOR_A_SLOPE = 4  # two for the line, and two more for the spread around it
IMBALANCE_ALPHA = 0.001  # as strict as the sample ratio check: arms that differ before are a fault, not a finding
AS_GOOD_AS_ZERO = "the baseline is zero, or as good as: there is no relative effect"
LITTLE = 0.1  # a correlation below this takes less than one percent of the variance away


class CovariateHealth(Struct, frozen=True, kw_only=True):
    """Whether a pre-period is fit to adjust by.

    ``slope`` is CUPED's theta. ``correlation`` is within arms; None where something does not vary.
    ``imbalance_p_value`` is that of no difference of the arms before the experiment; None where it cannot be tested.
    ``variance_kept`` is the variance of the adjusted difference over that of the plain one.
    """

    slope: float
    correlation: float | None
    imbalance_p_value: float | None
    variance_kept: float | None
    warnings: tuple[str, ...] = ()


def covariate_health(arm: PairSummary, baseline: PairSummary) -> CovariateHealth:
    """What the pre-period is worth, and whether the arms were alike in it."""
    slope, warnings = common_slope(arm, baseline), []
    within = _within_arms(arm, baseline)
    correlation = within.correlation if within else None
    imbalance = welch(arm.pre, baseline.pre)[0].p_value if min(arm.n, baseline.n) > 1 else None
    kept = None
    if min(arm.n, baseline.n) > 1 and (arm.post.varies or baseline.post.varies):
        plain = arm.post.mean_variance + baseline.post.mean_variance
        adjusted = [one.adjusted(slope, 0.0).mean_variance for one in (arm, baseline)]
        kept = sum(adjusted) / plain
    if slope == 0 and correlation is None:
        warnings.append("the pre-period does not vary, or nothing does: nothing is adjusted")
    elif correlation is not None and abs(correlation) < LITTLE:
        warnings.append("the pre-period says little about the metric: adjusting by it gains next to nothing")
    if imbalance is not None and imbalance < IMBALANCE_ALPHA:
        warnings.append("the arms differed before the experiment began: look for a fault before trusting any effect")
    return CovariateHealth(
        slope=slope, correlation=correlation, imbalance_p_value=imbalance, variance_kept=kept,
        warnings=tuple(warnings),
    )  # fmt: skip


def common_slope(arm: PairSummary, baseline: PairSummary) -> float:
    """CUPED's theta: the slope of post on pre over all units of both arms; 0 where the pre-period does not vary."""
    both = arm + baseline
    return both.cross / both.pre.m2 if both.n > 1 and both.pre.varies else 0.0


def adjusted_arms(arm: PairSummary, baseline: PairSummary) -> tuple[Summary, Summary]:
    """Both arms as if each had had the pre-period of all units together: what any test of means may be made of.

    The second is the baseline. For the effect on the logarithmic scale hand them to ``log_relative_difference``.
    """
    slope, centre = common_slope(arm, baseline), (arm + baseline).pre.mean
    return arm.adjusted(slope, centre), baseline.adjusted(slope, centre)


def compare_cuped(
    arm: PairSummary,
    baseline: PairSummary,
    *,
    alpha: float = DEFAULT_ALPHA,
    alternative: Alternative = "two-sided",
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The difference of two means, less what the pre-period explains of it.

    Source: Deng, Xu, Kohavi, Walker, "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data" (WSDM 2013); Welch on the adjusted values. The baseline's value is its plain mean, and the
    arm's that plus the adjusted difference. The relative effect is over the plain mean, by the delta method with the
    covariance of difference and mean. Assumptions and refusals as for ``compare_means``; where the pre-period does
    not vary, the answer is that of ``compare_means`` with a warning.
    """
    health = covariate_health(arm, baseline)
    estimate = compare_means(
        *adjusted_arms(arm, baseline), alpha=alpha, alternative=alternative, names=names, method=CUPED
    )
    absolute, relative, warnings = estimate.absolute, None, list(estimate.warnings)
    plain = baseline.post.mean if baseline.n else None
    if absolute is not None and plain:
        relative, refused = _relative_to_plain(arm, baseline, health.slope, absolute, alpha, alternative)
        warnings = [*(w for w in warnings if "relative effect" not in w), *refused]
    return Estimate(
        arm=names[0], baseline=names[1], baseline_value=plain, baseline_n=baseline.n, arm_n=arm.n,
        arm_value=plain + absolute.value if absolute is not None and plain is not None else estimate.arm_value,
        absolute=absolute, relative=relative, alpha=alpha, method=CUPED, warnings=(*warnings, *health.warnings),
    )  # fmt: skip


def compare_lin(
    arm: PairSummary,
    baseline: PairSummary,
    *,
    alpha: float = DEFAULT_ALPHA,
    alternative: Alternative = "two-sided",
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The difference of two means at the pre-period of all units, each arm with a slope of its own.

    Source: Lin, "Agnostic notes on regression adjustments to experimental data" (2013): never less precise than the
    plain difference in large samples, whatever the shape of the relation. The variance of each arm is that of its
    regression at the common mean, which the HC2 sandwich of ``regression`` estimates unit by unit and which moments
    alone can give; where slopes differ, the chance in the common mean is added (Negi and Wooldridge 2021), so that
    the interval is for future units too. Refuses arms of fewer than four units. Other assumptions as for
    ``compare_means``. Refuses (InvalidInput) an alpha outside (0, 1/2].
    """
    require_alpha(alpha)
    health = covariate_health(arm, baseline)
    if min(arm.n, baseline.n) < FEWEST_FOR_A_SLOPE:
        return Estimate(
            arm=names[0], baseline=names[1], arm_value=arm.post.mean if arm.n else None,
            baseline_value=baseline.post.mean if baseline.n else None, arm_n=arm.n, baseline_n=baseline.n,
            absolute=None, relative=None, alpha=alpha, method=LIN,
            warnings=(f"an arm has fewer than {FEWEST_FOR_A_SLOPE} units: no slope can be fitted",),
        )  # fmt: skip
    common = (arm + baseline).pre
    ours, theirs = _Line.fitted(arm, common.mean), _Line.fitted(baseline, common.mean)
    chance = common.mean_variance
    difference, slopes = ours.value - theirs.value, ours.slope - theirs.slope
    variance = ours.variance + theirs.variance + slopes * slopes * chance
    warnings = list(health.warnings)
    if ours.variance + theirs.variance == 0:
        absolute, relative = Effect(value=difference), None
        warnings.append("nothing varies beside the pre-period: no test applies")
    else:
        degrees = satterthwaite((ours.variance, ours.degrees), (theirs.variance, theirs.degrees))
        absolute = t_effect(difference, math.sqrt(variance), degrees, alpha, alternative)
        relative = None
        refused: tuple[str, ...] = (AS_GOOD_AS_ZERO,)
        if abs(theirs.value) * LARGEST_SHARE > abs(difference):
            ratio = ours.value / theirs.value
            error = math.hypot(
                math.sqrt(ours.variance), ratio * math.sqrt(theirs.variance),
                (ours.slope - ratio * theirs.slope) * math.sqrt(chance),
            )  # fmt: skip
            relative, refused = _relative(difference, error, theirs.value, theirs.variance, degrees, alpha, alternative)
        warnings += refused
    return Estimate(
        arm=names[0], baseline=names[1], arm_value=ours.value, baseline_value=theirs.value, arm_n=arm.n,
        baseline_n=baseline.n, absolute=absolute, relative=relative, alpha=alpha, method=LIN,
        warnings=tuple(warnings),
    )  # fmt: skip


class _Line(Struct, frozen=True):
    """An arm's regression of post on pre, at one value of pre."""

    value: float
    slope: float
    variance: float
    degrees: int

    @classmethod
    def fitted(cls, pairs: PairSummary, at: float) -> _Line:
        if not pairs.pre.varies:
            variance = pairs.post.mean_variance if pairs.post.varies else 0.0
            return cls(pairs.post.mean, 0.0, variance, pairs.n - 1)
        slope = pairs.cross / pairs.pre.m2
        rest = pairs.adjusted(slope, at)
        spread = rest.m2 / (pairs.n - 2) if rest.varies else 0.0
        distance = at - pairs.pre.mean
        variance = spread * (1 / pairs.n + distance * distance / pairs.pre.m2)
        return cls(pairs.post.mean + slope * distance, slope, variance, pairs.n - 2)


def _relative_to_plain(
    arm: PairSummary, baseline: PairSummary, slope: float, absolute: Effect, alpha: float, alternative: Alternative
) -> tuple[Effect | None, tuple[str, ...]]:
    """The adjusted difference over the baseline's plain mean, at the plain means of both arms."""
    plain = baseline.post.mean
    if abs(plain) * LARGEST_SHARE <= abs(absolute.value):
        return None, (AS_GOOD_AS_ZERO,)
    if absolute.standard_error is None or absolute.degrees is None:
        return Effect(value=absolute.value / abs(plain)), ()
    # (arm - slope * pre of arm) / plain, and -(share * post - slope * pre) of the baseline over plain
    share = arm.post.mean / plain
    theirs = share * share * baseline.post.variance - 2 * slope * share * baseline.cross / (baseline.n - 1)
    theirs += slope * slope * baseline.pre.variance
    variance = arm.adjusted(slope, 0.0).mean_variance + max(0.0, theirs) / baseline.n
    return _relative(
        absolute.value, math.sqrt(variance), plain, baseline.post.mean_variance, absolute.degrees, alpha, alternative
    )


def _relative(
    difference: float,
    error: float,
    baseline: float,
    variance: float,
    degrees: float,
    alpha: float,
    alternative: Alternative,
) -> tuple[Effect | None, tuple[str, ...]]:
    """The difference over the baseline's size; ``error`` is that of the quotient, times the same size."""
    size = abs(baseline)
    if not error < size * LARGEST_SHARE:
        return None, (AS_GOOD_AS_ZERO,)
    if error / size == 0:
        return Effect(value=difference / size), ("the relative effect has no interval: nothing varies in it",)
    effect = t_effect(difference / size, error / size, degrees, alpha, alternative)
    return effect, (CLOSE_TO_ZERO,) if size < WEAK_BASELINE * math.sqrt(variance) else ()


def _within_arms(arm: PairSummary, baseline: PairSummary) -> PairSummary | None:
    """Both arms around their own means, so that an effect is not taken for a correlation."""
    if not (arm.n and baseline.n):
        return None
    products = [a + b for a, b in zip(arm.products, baseline.products, strict=True)]
    return PairSummary(arm.n + baseline.n, arm.means, tuple(products))
