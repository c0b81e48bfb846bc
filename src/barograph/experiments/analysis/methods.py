"""Which method compares an arm with the control: at a fixed horizon, at any time, with the past, and as a belief.

Takes ``Arm``s, hands back ``Estimate``s and ``Belief``s. docs/statistics.md has the table of what is used when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import structs

from barograph.core.metric import Metric
from barograph.core.unit import format_value
from barograph.experiments.analysis.arms import Arm
from barograph.experiments.comparison import Belief
from barograph.experiments.design import Direction
from barograph.stats import covariate
from barograph.stats.bayes import BetaPosterior, NormalPrior, Posterior, compare_shares, normal_effect
from barograph.stats.comparison import compare_means, compare_ratios
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.proportions import compare_proportions

STRATIFIED = "stratified by period"
PRIOR_SHARE = 0.5  # standard deviation of the prior of the relative effect: 50 % is nothing unusual
PRIOR_OF_SHARES = "Beta-Binomial, uniform prior of each share"
PRIOR_OF_EFFECTS = f"normal effect, prior 0 ± {PRIOR_SHARE * 100:.0f} % of the control"
FLAT_PRIOR = "normal effect, flat prior"

Names = tuple[str, str]


def fixed_horizon(arm: Arm, baseline: Arm, names: Names, alpha: float, *, exact: bool = True) -> Estimate:
    """The estimate that holds at one look: shares of units, ratios by the delta method or Fieller, means by Welch.

    ``exact`` takes Boschloo's test of shares at small numbers; it is for what is asked a few times.
    """
    if arm.successes is not None and baseline.successes is not None:
        return compare_proportions(
            arm.successes, arm.units, baseline.successes, baseline.units, alpha=alpha, names=names, unconditional=exact
        )
    if arm.ratio is not None and baseline.ratio is not None:
        return compare_ratios(arm.ratio, baseline.ratio, alpha=alpha, names=names)
    return stratified(compare_means(arm.values, baseline.values, alpha=alpha, names=names), arm, baseline)


def with_ends(estimate: Estimate) -> Estimate:
    """The estimate to be shown: an effect has no interval where that has no end."""
    return structs.replace(estimate, absolute=_ended(estimate.absolute), relative=_ended(estimate.relative))


def _ended(effect: Effect | None) -> Effect | None:
    if effect is None or all(bound is not None and math.isfinite(bound) for bound in (effect.low, effect.high)):
        return effect
    return structs.replace(effect, low=None, high=None)


def stratified(estimate: Estimate, arm: Arm, baseline: Arm) -> Estimate:
    """The estimate, which says so where it was combined from several periods, and counts their units."""
    if arm.periods == 1:
        return estimate
    said = f"{estimate.method}, {STRATIFIED}"
    return structs.replace(estimate, method=said, arm_n=arm.units, baseline_n=baseline.units)


def capped(estimates: Sequence[Estimate], metric: Metric, cap: float | None) -> tuple[Estimate, ...]:
    """The estimates, which say at which value units' sums were cut off, where they were."""
    if cap is None:
        return tuple(estimates)
    said = f"sums a unit up to {format_value(cap, metric.unit)}"
    return tuple(structs.replace(one, method=f"{one.method}, {said}") for one in estimates)


def adjusted(arm: Arm, baseline: Arm, names: Names, alpha: float) -> Estimate | None:
    """The estimate with what units did before taken out (CUPED); None where that is not known.

    Nor is there one of ratios with a weak denominator, for which the delta method rejects too often.
    """
    if arm.pairs is None or baseline.pairs is None or arm.uneven or baseline.uneven:
        return None
    return covariate.compare_cuped(arm.pairs, baseline.pairs, alpha=alpha, names=names)


def belief(arm: Arm, baseline: Arm, names: Names, better: Direction, alpha: float, fewest: int) -> Belief | None:
    """The Bayesian reading, from a weak prior that its ``method`` states; None below ``fewest`` units in an arm.

    Shares of units by their Beta posteriors; anything else, and what is adjusted by the past, by the normal effect,
    whose prior is around no effect, in shares of the control's value, or flat where that cannot be told from zero.
    """
    if min(arm.units, baseline.units) < fewest:
        return None
    posterior: Posterior
    with_past = adjusted(arm, baseline, names, alpha)
    if with_past is None and arm.successes is not None and baseline.successes is not None:
        posterior = compare_shares(
            BetaPosterior.of(arm.successes, arm.units), BetaPosterior.of(baseline.successes, baseline.units),
            alpha=alpha,
        )  # fmt: skip
        method = PRIOR_OF_SHARES
    else:
        effect = (with_past or fixed_horizon(arm, baseline, names, alpha)).absolute
        if effect is None or effect.standard_error is None or effect.standard_error <= 0:
            return None
        prior, method = None, FLAT_PRIOR
        if abs(baseline.values.mean) > effect.standard_error:
            prior, method = NormalPrior(deviation=PRIOR_SHARE).scaled(baseline.values.mean), PRIOR_OF_EFFECTS
        posterior = normal_effect(effect.value, effect.standard_error, prior, alpha=alpha)
    told = posterior if better == "higher" else posterior.turned()
    return Belief(
        arm=names[0], chance_to_win=told.chance, expected_loss=told.loss_arm, low=told.low, high=told.high,
        method=method,
    )  # fmt: skip
