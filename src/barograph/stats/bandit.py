"""Adaptive weights: more units for the arms that are likely the best, with an analysis that stays valid.

``thompson_weights`` says how to share out the next period; ``stratified_difference`` compares arms whose weights have
changed: within each period, where they did not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.stats.bayes import BetaPosterior, beta_nodes, panels
from barograph.stats.comparison import DEFAULT_ALPHA, require_alpha, satterthwaite, t_effect
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.summary import Summary
from barograph_client.errors import InvalidInput

EXPLORATION = 0.05  # the least weight of an arm
FEWEST_UNITS = 2  # of an arm, before anything is learnt from it
FEWEST_IN_PERIOD = 10  # of an arm in a period: with five a p-value below 0.05 is a chance of 0.06, with two of 0.12
FARTHEST_APART = 80.0  # standard deviations of the widest arm, between the means of two
Floats = NDArray[np.float64]
Places = Literal[1, 2]
METHOD = "difference stratified by period"


class NormalBelief(Struct, frozen=True, kw_only=True):
    """What is believed of an arm's mean. Refuses (InvalidInput) what is not finite, and a variance of zero or less."""

    mean: float
    variance: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 < self.variance < math.inf):
            raise InvalidInput("a belief needs a finite mean and a variance above zero", value=self)

    @classmethod
    def of(cls, summary: Summary, prior_mean: float = 0.0, prior_variance: float = math.inf) -> NormalBelief:
        """After these units, from a normal prior (flat unless given).

        Refuses (InvalidInput) an arm of fewer than two units that differ, and a prior without a finite mean or a
        variance above zero.
        """
        error = summary.mean_variance if summary.n >= FEWEST_UNITS else 0.0
        if not error > 0:
            raise InvalidInput("a belief needs two units that differ", value=summary.n)
        if not (math.isfinite(prior_mean) and prior_variance > 0):
            raise InvalidInput("a prior needs a finite mean and a variance above zero", value=prior_variance)
        drawn = error / (error + prior_variance)  # to the prior; nothing where that is flat
        return cls(mean=summary.mean * (1 - drawn) + prior_mean * drawn, variance=error * (1 - drawn))


def chance_best_normal(
    arms: Sequence[NormalBelief], *, higher_is_better: bool = True, places: Places = 1
) -> tuple[float, ...]:
    """The probability of each arm to be the best, or with two ``places`` one of the two best, by quadrature.

    That of one arm is the integral of its density times the probability that the other arms (all but one of them) are
    below. Where lower is better, the same of the negatives. Only how far the means lie apart counts, so that an offset
    costs no digits. Refuses (InvalidInput) fewer than two arms, and those of which ``NormalBelief`` is none.
    """
    if len(arms) < 2:
        raise InvalidInput("a best arm needs two arms at least", value=len(arms))
    from scipy.special import ndtr

    deviations = np.sqrt([one.variance for one in arms])
    means = _near_each_other(np.array([one.mean for one in arms]), float(deviations.max()))
    if not higher_is_better:
        means = -means
    x, weights = panels(list(zip(means.tolist(), deviations.tolist(), strict=True)))
    z = (x - means[:, None]) / deviations[:, None]
    with np.errstate(over="ignore"):  # a square beyond any number is a density of zero
        densities = np.exp(-0.5 * z * z) / (deviations[:, None] * math.sqrt(2 * math.pi))
    return _chances(densities, ndtr(z), weights, places)


def chance_best_beta(
    arms: Sequence[BetaPosterior], *, higher_is_better: bool = True, places: Places = 1
) -> tuple[float, ...]:
    """As ``chance_best_normal``, of shares of units. Refuses a single arm."""
    if len(arms) < 2:
        raise InvalidInput("a best arm needs two arms at least", value=len(arms))
    beliefs = arms if higher_is_better else [one.turned for one in arms]
    nodes = beta_nodes(beliefs)
    densities, below = (np.array([of(one) for one in beliefs]) for of in (nodes.density, nodes.below))
    return _chances(densities, below, nodes.weights, places)


def thompson_weights(chances: Sequence[float], *, exploration: float = EXPLORATION) -> tuple[float, ...]:
    """Weights for the next period, in proportion to the chances to be the best; they sum to one.

    Thompson (1933): an arm gets the units that its chance is worth. The chances to be one of the two best make it the
    top-two rule (Russo, "Simple Bayesian algorithms for best arm identification", 2016), which is surer of the best
    arm sooner. No arm gets less than ``exploration``, so that each period can be analysed. Refuses chances that are no
    chances, and a floor that leaves nothing to share.
    """
    p = np.asarray(chances, dtype=np.float64)
    if p.size < 2 or not np.isfinite(p).all() or (p < 0).any() or not p.sum() > 0:
        raise InvalidInput("chances are two or more numbers that are not negative", value=tuple(chances))
    if not 0 <= exploration * p.size <= 1:
        raise InvalidInput("the floor of exploration is more than there is", value=exploration)
    return tuple(map(float, _floored(p / p.sum(), exploration)))


def stratified_difference(
    arm: Sequence[Summary],
    baseline: Sequence[Summary],
    *,
    alpha: float = DEFAULT_ALPHA,
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The difference of two arms over periods between which their weights changed.

    Each period's difference, weighted by the units of both arms in it (post-stratification; Cochran, Sampling
    Techniques, 5A): a day on which everything is better does not count for the arm that had more units on that day.
    Student's t with the degrees of freedom of all arms of all periods together (Satterthwaite; Cochran, 5.4), which are
    few where the few units of one of them carry the uncertainty; fixed-horizon. Assumes weights that were constant
    within a period and depended on earlier ones only, and means that are about normal. Periods with fewer than
    ``FEWEST_IN_PERIOD`` units in an arm are left out, and said so; where none is left there is no effect. Refuses
    (InvalidInput) arms without the same periods, and an alpha outside (0, 1/2].
    """
    if len(arm) != len(baseline):
        raise InvalidInput("each period needs a summary of both arms", value=(len(arm), len(baseline)))
    require_alpha(alpha)
    used = [(a, b) for a, b in zip(arm, baseline, strict=True) if min(a.n, b.n) >= FEWEST_IN_PERIOD]
    lost = sum(a.n + b.n > 0 for a, b in zip(arm, baseline, strict=True)) - len(used)
    warnings = [f"{lost} periods have fewer than {FEWEST_IN_PERIOD} units in an arm and are left out"] if lost else []
    total = sum(a.n + b.n for a, b in used)
    shares = [(a.n + b.n) / total for a, b in used]
    values = [math.fsum(share * pair[side].mean for share, pair in zip(shares, used, strict=True)) for side in (0, 1)]
    parts = [
        (share * share * one.mean_variance, one.n - 1) for share, pair in zip(shares, used, strict=True) for one in pair
    ]
    variance = math.fsum(part for part, _ in parts)
    effect: Effect | None = None
    if not used:
        warnings.append(f"no period has {FEWEST_IN_PERIOD} units in each arm")
    elif variance == 0:
        effect = Effect(value=values[0] - values[1])
        warnings.append("neither arm varies: no test applies")
    else:
        effect = t_effect(values[0] - values[1], math.sqrt(variance), satterthwaite(*parts), alpha)
    return Estimate(
        arm=names[0], baseline=names[1], arm_value=values[0] if used else None,
        baseline_value=values[1] if used else None, arm_n=sum(one.n for one in arm),
        baseline_n=sum(one.n for one in baseline), absolute=effect, relative=None, alpha=alpha, method=METHOD,
        warnings=tuple(warnings),
    )  # fmt: skip


def _near_each_other(means: Floats, deviation: float) -> Floats:
    """The means around zero, far ones less far apart: at ``FARTHEST_APART`` deviations their order is certain."""
    order = np.argsort(means)
    with np.errstate(over="ignore"):  # a gap beyond any number is shortened too
        gaps = np.minimum(np.diff(means[order]), FARTHEST_APART * deviation)
    placed = np.empty_like(means)
    placed[order] = np.concatenate([np.zeros(1), np.cumsum(gaps)])
    return np.asarray(placed - placed.max() / 2)


def _chances(densities: Floats, below: Floats, weights: Floats, places: Places) -> tuple[float, ...]:
    chances = []
    for arm, density in enumerate(densities):
        others = np.delete(below, arm, axis=0)
        reached = np.prod(others, axis=0)
        if places == 2:
            for above, passed in enumerate(1 - others):
                reached = reached + passed * np.prod(np.delete(others, above, axis=0), axis=0)
        chances.append(float(weights @ (density * reached)))
    return tuple(chances)


def _floored(p: Floats, floor: float) -> Floats:
    """The nearest weights in proportion to ``p`` of which none is below the floor."""
    low = np.zeros(p.size, dtype=bool)
    while True:
        left = 1 - floor * low.sum()
        rest = p[~low].sum()
        weights = np.where(low, floor, p * (left / rest) if rest > 0 else floor)
        fresh = ~low & (weights < floor)
        if not fresh.any():
            return np.asarray(weights)
        low |= fresh
