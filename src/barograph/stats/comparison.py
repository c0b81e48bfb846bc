"""Two arms compared over a fixed horizon: means by Welch's t, ratios by the delta method.

Takes summaries, hands back an ``Estimate``. All of it is fixed-horizon: an interval or a p-value that is read
again and again until it pleases is wrong more often than alpha says; the caller says so where it is shown.
"""

from __future__ import annotations

import math

from msgspec import structs

from barograph.stats.distributions import t_quantile, t_tail
from barograph.stats.estimate import Alternative, Effect, Estimate
from barograph.stats.fieller import LARGEST_SHARE, ratio_difference, relative_bounds
from barograph.stats.summary import ROUNDING_SHARE, RatioSummary, Summary
from barograph_client.errors import InvalidInput

DEFAULT_ALPHA = 0.05
DELTA = "delta method, Welch's t"
FIELLER = "Fieller's intervals of both ratios"
WEAK_DENOMINATOR = 10.0  # below so many standard errors from zero the delta method is out of its depth (Fieller's g)
CLOSE_TO_ZERO = "the baseline is close to zero, for its error: do not trust the relative effect"
WEAK_BASELINE = 3.0  # below so many standard errors from zero a share of the baseline means little


def compare_means(
    arm: Summary,
    baseline: Summary,
    *,
    alpha: float = DEFAULT_ALPHA,
    alternative: Alternative = "two-sided",
    names: tuple[str, str] = ("treatment", "control"),
    method: str = "Welch's t",
) -> Estimate:
    """The difference of two means, absolute and relative.

    Source: Welch, "The generalization of Student's problem when several different population variances are
    involved" (1947), degrees of freedom by Satterthwaite; the relative effect by the delta method, or by Fieller's
    theorem where the baseline is within ``WEAK_BASELINE`` standard errors of zero. Assumes independent units and
    means that are about normal: many units, or values without a heavy tail. Refuses (effect without interval and
    p-value, with the reason in the warnings) an arm of fewer than two units and arms that do not vary at all. The
    p-value is that of the absolute difference.
    """
    require_alpha(alpha)
    warnings: list[str] = []
    effect: Effect | None = None
    if min(arm.n, baseline.n) == 0:
        warnings.append("an arm is empty")
    else:
        effect, refused = welch(arm, baseline, alpha=alpha, alternative=alternative)
        warnings += refused
    relative, refused = relative_difference(arm, baseline, alpha=alpha, alternative=alternative)
    if effect is not None and effect.low is not None:
        if relative is not None and _weak_baseline(baseline):
            relative, refused = _relative_by_fieller(arm, baseline, effect, relative, alpha, alternative)
        warnings += refused  # what already kept the absolute effect from being tested is said once
    return Estimate(
        arm=names[0], baseline=names[1], arm_value=arm.mean if arm.n else None,
        baseline_value=baseline.mean if baseline.n else None, arm_n=arm.n, baseline_n=baseline.n,
        absolute=effect, relative=relative, alpha=alpha, method=method, warnings=tuple(warnings),
    )  # fmt: skip


def compare_ratios(
    arm: RatioSummary,
    baseline: RatioSummary,
    *,
    alpha: float = DEFAULT_ALPHA,
    alternative: Alternative = "two-sided",
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The difference of two ratios of sums, randomised by unit and measured many times a unit.

    Source: Deng, Knoblich, Lu (KDD 2018), on the linearised values of each unit (``RatioSummary.linearised``),
    then Welch. Where a mean denominator is within ``WEAK_DENOMINATOR`` standard errors of zero the delta method
    rejects too often, and Fieller's intervals take its place (``fieller.ratio_difference``), with a warning; where
    these have no end there is no interval. Assumes independent units, not independent measurements. Refuses arms
    without any measurement, and what ``compare_means`` refuses.
    """
    names_without = [name for name, one in zip(names, (arm, baseline), strict=True) if one.ratio is None]
    if names_without:
        return Estimate(
            arm=names[0], baseline=names[1], arm_value=arm.ratio, baseline_value=baseline.ratio,
            arm_n=arm.measured_units, baseline_n=baseline.measured_units, absolute=None, relative=None, alpha=alpha,
            method=DELTA, warnings=(f"nothing was measured in {' and '.join(names_without)}",),
        )  # fmt: skip
    estimate = compare_means(
        arm.linearised(), baseline.linearised(), alpha=alpha, alternative=alternative, names=names, method=DELTA
    )
    weak = [name for name, one in zip(names, (arm, baseline), strict=True) if weak_denominator(one)]
    if not weak or estimate.absolute is None or estimate.absolute.low is None:
        return estimate
    uneven = f"few or very uneven measurements a unit in {' and '.join(weak)}"
    effects = ratio_difference(arm, baseline, alpha=alpha, alternative=alternative)
    if effects is None:
        return structs.replace(
            estimate, absolute=Effect(value=estimate.absolute.value),
            relative=Effect(value=estimate.relative.value) if estimate.relative else None, method=FIELLER,
            warnings=(f"{uneven}: the denominator is too uncertain for any interval",),
        )  # fmt: skip
    warnings = (f"{uneven}: the interval is wide, as the denominator is uncertain too",)
    return structs.replace(
        estimate, absolute=effects[0], relative=effects[1], method=FIELLER, warnings=warnings
    )  # fmt: skip


def welch(
    arm: Summary,
    baseline: Summary,
    *,
    alpha: float = DEFAULT_ALPHA,
    alternative: Alternative = "two-sided",
    null: float = 0.0,
) -> tuple[Effect, tuple[str, ...]]:
    """Welch's t of ``arm - baseline - null``, and the reasons why it could not be made.

    A ``null`` that is not zero and a one-sided alternative make a test of non-inferiority. Source and
    assumptions as for ``compare_means``; needs one unit in each arm at least. Refuses (InvalidInput) a null that is not
    finite, and an alpha outside (0, 1/2].
    """
    require_alpha(alpha)
    if not math.isfinite(null):
        raise InvalidInput("a difference is tested against a finite one", value=null)
    difference = mean_difference(arm, baseline)
    refusal = _refusal(arm, baseline)
    if refusal:
        return Effect(value=difference), (refusal,)
    a, b = arm.mean_variance, baseline.mean_variance
    degrees = satterthwaite((a, arm.n - 1), (b, baseline.n - 1))
    effect = t_effect(difference, math.sqrt(a + b), degrees, alpha, alternative, null)
    constant = not (arm.varies and baseline.varies)
    return effect, ("one arm does not vary: the other carries the whole uncertainty",) if constant else ()


def mean_difference(arm: Summary, baseline: Summary) -> float:
    """``arm - baseline``; zero where neither arm varies and their numbers differ by no more than rounding."""
    difference = arm.mean - baseline.mean
    rounding = ROUNDING_SHARE * max(abs(arm.mean), abs(baseline.mean))
    return 0.0 if abs(difference) <= rounding and not (arm.varies or baseline.varies) else difference


def relative_difference(
    arm: Summary,
    baseline: Summary,
    *,
    alpha: float = DEFAULT_ALPHA,
    alternative: Alternative = "two-sided",
) -> tuple[Effect | None, tuple[str, ...]]:
    """``(arm - baseline) / |baseline|`` with an interval by the delta method, and the reasons why not.

    The variance is var(arm) / baseline² + var(baseline) * arm² / baseline⁴ (Deng, Knoblich, Lu 2018). Refuses a
    baseline of zero, and warns of one within three standard errors of it: a share of nothing is not a number. Refuses
    (InvalidInput) an alpha outside (0, 1/2].
    """
    require_alpha(alpha)
    if min(arm.n, baseline.n) == 0 or baseline.mean == 0:
        return None, ("the baseline is zero: there is no relative effect",)
    value = mean_difference(arm, baseline) / abs(baseline.mean)
    refusal = _refusal(arm, baseline)
    if refusal:
        return Effect(value=value) if abs(value) <= LARGEST_SHARE else None, (refusal,)
    a, b = arm.mean_variance, baseline.mean_variance
    arm_share = math.sqrt(a) / abs(baseline.mean)
    baseline_share = math.sqrt(b) / abs(baseline.mean)
    if max(abs(value), arm_share, baseline_share) > LARGEST_SHARE:
        return None, ("the baseline is zero, or as good as: there is no relative effect",)
    error = math.hypot(arm_share, baseline_share * arm.mean / baseline.mean)
    if error == 0:  # an arm that is zero in every unit is the whole baseline away, however uncertain that is
        return Effect(value=value), ("the arm is zero in every unit: the relative effect has no interval",)
    effect = t_effect(value, error, satterthwaite((a, arm.n - 1), (b, baseline.n - 1)), alpha, alternative, 0.0)
    return effect, (CLOSE_TO_ZERO,) if _weak_baseline(baseline) else ()


def log_relative_difference(
    arm: Summary, baseline: Summary, *, alpha: float = DEFAULT_ALPHA
) -> tuple[Effect | None, tuple[str, ...]]:
    """``arm / baseline - 1`` with an interval that is symmetric on the logarithmic scale.

    Never below -100 %, and nearer to its stated confidence than the plain one where the baseline is uncertain.
    The delta method on log(arm) - log(baseline); refuses means that are not positive, and (InvalidInput) an alpha
    outside (0, 1/2].
    """
    require_alpha(alpha)
    if min(arm.n, baseline.n) == 0 or arm.mean <= 0 or baseline.mean <= 0:
        return None, ("a ratio on the logarithmic scale needs two means above zero",)
    refusal = _refusal(arm, baseline)
    if refusal:
        value = arm.mean / baseline.mean - 1
        return Effect(value=value) if value <= LARGEST_SHARE else None, (refusal,)
    arm_share = math.sqrt(arm.mean_variance) / arm.mean
    baseline_share = math.sqrt(baseline.mean_variance) / baseline.mean
    value = (arm.mean - baseline.mean) / baseline.mean
    if max(value, arm_share, baseline_share, baseline.mean / arm.mean) > LARGEST_SHARE:
        return None, ("a mean is zero, or as good as: there is no ratio of them",)
    degrees = satterthwaite((arm_share**2, arm.n - 1), (baseline_share**2, baseline.n - 1))
    # expm1 and log1p keep the digits of a difference that is tiny beside the means
    logarithm = math.log1p(value)
    reach = t_quantile(1 - alpha / 2, degrees) * math.hypot(arm_share, baseline_share)
    low, high = math.expm1(logarithm - reach), exp_less_one(logarithm + reach)
    return Effect(value=value, low=min(low, value), high=max(high, value), degrees=degrees), ()


def equivalence(arm: Summary, baseline: Summary, low: float, high: float) -> tuple[Effect, Effect]:
    """Two one-sided tests (Schuirmann 1987): is the difference above ``low``, and is it below ``high``?

    The arms are equivalent at alpha when both p-values are below it. Assumptions and refusals as for ``welch``; refuses
    (InvalidInput) a range whose ends are not finite and in order.
    """
    if not low < high:
        raise InvalidInput("an equivalence range needs low < high", value=(low, high))
    above, _ = welch(arm, baseline, alternative="greater", null=low)
    below, _ = welch(arm, baseline, alternative="less", null=high)
    return above, below


def non_inferiority(
    arm: Summary,
    baseline: Summary,
    margin: float,
    *,
    higher_is_better: bool = True,
    alpha: float = DEFAULT_ALPHA,
) -> tuple[Effect, tuple[str, ...]]:
    """Is the arm at most ``margin`` worse than the baseline? The one-sided test of that, and the reasons why not.

    Settled at alpha where the p-value is below it, which is where the bound of the interval is nearer than the margin.
    Assumptions and refusals as for ``welch``; refuses a margin that is negative or not finite.
    """
    if not 0 <= margin < math.inf:
        raise InvalidInput("a margin is how much worse may be, zero or more", value=margin)
    if higher_is_better:
        return welch(arm, baseline, alpha=alpha, alternative="greater", null=-margin)
    return welch(arm, baseline, alpha=alpha, alternative="less", null=margin)


def satterthwaite(*parts: tuple[float, float]) -> float:
    """The degrees of freedom of a sum of independent variances, each given with its own; not all may be zero.

    Source: Satterthwaite, "An approximate distribution of estimates of variance components" (Biometrics Bulletin
    1946): (sum of v)² / (sum of v² / degrees), in shares so that no square over- or underflows.
    """
    whole = math.fsum(variance for variance, _ in parts)
    return 1 / math.fsum((variance / whole) ** 2 / degrees for variance, degrees in parts)


def t_effect(
    value: float,
    error: float,
    degrees: float,
    alpha: float = DEFAULT_ALPHA,
    alternative: Alternative = "two-sided",
    null: float = 0.0,
) -> Effect:
    """The effect whose ``value`` less its truth, over ``error``, follows Student's t; ``error`` must not be zero.

    A statistic beyond what a float holds is None.
    """
    statistic = (value - null) / error
    low, high = -math.inf, math.inf
    if alternative == "two-sided":
        reach = t_quantile(1 - alpha / 2, degrees) * error
        low, high, p_value = value - reach, value + reach, 2 * t_tail(abs(statistic), degrees)
    elif alternative == "greater":
        low, p_value = value - t_quantile(1 - alpha, degrees) * error, t_tail(statistic, degrees)
    else:
        high, p_value = value + t_quantile(1 - alpha, degrees) * error, t_tail(-statistic, degrees)
    return Effect(
        value=value, low=low, high=high, p_value=min(p_value, 1.0), standard_error=error,
        statistic=statistic if math.isfinite(statistic) else None, degrees=degrees,
    )  # fmt: skip


def _weak_baseline(baseline: Summary) -> bool:
    return baseline.n > 1 and abs(baseline.mean) < WEAK_BASELINE * math.sqrt(baseline.mean_variance)


def _relative_by_fieller(
    arm: Summary, baseline: Summary, absolute: Effect, relative: Effect, alpha: float, alternative: Alternative
) -> tuple[Effect, tuple[str, ...]]:
    """The relative effect whose interval holds zero exactly where that of the absolute one does."""
    degrees = absolute.degrees or math.inf
    bounds = relative_bounds(arm, baseline, degrees, alpha if alternative == "two-sided" else 2 * alpha)
    if bounds is None:
        return Effect(value=relative.value), (
            "the baseline cannot be told from zero: the relative effect has no interval",
        )
    low = -math.inf if alternative == "less" else min(bounds[0], relative.value)
    high = math.inf if alternative == "greater" else max(bounds[1], relative.value)
    return Effect(value=relative.value, low=low, high=high, p_value=absolute.p_value), (CLOSE_TO_ZERO,)


def _refusal(arm: Summary, baseline: Summary) -> str:
    if min(arm.n, baseline.n) < 2:
        return "an arm has fewer than two units: no interval can be given"
    if not (arm.varies or baseline.varies) or arm.mean_variance + baseline.mean_variance == 0:
        return "neither arm varies: every unit has the same value, and no test applies"
    if not math.isfinite(arm.mean - baseline.mean + arm.mean_variance + baseline.mean_variance):
        return "the numbers are too large to compare"
    return ""


def weak_denominator(summary: RatioSummary) -> bool:
    """Whether the mean denominator is too near to zero, for its error, for the delta method."""
    if summary.n < 2:
        return True
    denominator = summary.denominator
    return denominator.mean < WEAK_DENOMINATOR * math.sqrt(denominator.mean_variance)


def exp_less_one(power: float) -> float:
    """exp(power) - 1, infinite where that is beyond a float."""
    try:
        return math.expm1(power)
    except OverflowError:
        return math.inf


def require_alpha(alpha: float) -> None:
    """Raises InvalidInput for an alpha that is no risk of an interval."""
    if not 0 < alpha <= 0.5:
        raise InvalidInput("alpha must lie between 0 and 0.5", hint="0.05 is usual.", value=alpha)
