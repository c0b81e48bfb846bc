"""What is believed of two arms, given a stated prior: the chance to win, the expected loss, and a credible interval.

A chance to win is no p-value, and looking at it again and again until it is high is as wrong as with a fixed-horizon
test. The prior is part of the answer and stands in ``method`` of what is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.stats.distributions import normal_quantile, normal_tail, require_risk
from barograph_client.errors import InvalidInput

Floats = NDArray[np.float64]
PARAMETERS = 1e-6, 1e15  # of a Beta: from a prior that is nearly none to more units than there are
EXACT_TERMS = 20_000  # of the closed form of two Beta posteriors; with more it is done by quadrature
_NODES = 24  # of a panel
_STEPS = (0, 1, 2, 4, 8, 16, 40)  # posterior standard deviations at which panels of a quadrature end
_FINER = [10.0**-power for power in (*range(1, 31), 40, 60, 120, 240)]  # ends of panels towards a singularity


class Posterior(Struct, frozen=True, kw_only=True):
    """``chance`` that the arm is above the baseline; ``value``, ``low`` and ``high`` of the effect.

    ``loss_arm`` is what one loses on average by choosing the arm, were it the lower one; ``loss_baseline`` by keeping
    the baseline. Both are in the effect's unit, and for a metric of which more is better; ``turned`` is for one of
    which less is.
    """

    chance: float
    loss_arm: float
    loss_baseline: float
    value: float
    low: float
    high: float
    deviation: float
    method: str

    def turned(self) -> Posterior:
        """The same where lower is better: the chance to be below, and the losses of being above."""
        return Posterior(
            chance=1 - self.chance, loss_arm=self.loss_baseline, loss_baseline=self.loss_arm, value=self.value,
            low=self.low, high=self.high, deviation=self.deviation, method=self.method,
        )  # fmt: skip


class NormalPrior(Struct, frozen=True, kw_only=True):
    """What an effect is believed to be before the data: about ``mean``, give or take ``deviation``."""

    mean: float = 0.0
    deviation: float

    def __post_init__(self) -> None:
        if not (self.deviation > 0 and math.isfinite(self.deviation) and math.isfinite(self.mean)):
            raise InvalidInput("a prior needs a finite mean and a deviation above zero", value=self)

    def scaled(self, baseline: float) -> NormalPrior:
        """A prior of the relative effect as one of the absolute, for this mean of the baseline."""
        return NormalPrior(mean=self.mean * abs(baseline), deviation=self.deviation * abs(baseline))


def normal_effect(value: float, error: float, prior: NormalPrior | None = None, *, alpha: float = 0.05) -> Posterior:
    """The posterior of an effect with this standard error; without a prior, a flat one.

    The conjugate normal: precisions add (Gelman et al., Bayesian Data Analysis, 2.5). Assumes an estimate that is
    about normal, so many units. The expected loss is E[max(-effect, 0)]. Refuses (InvalidInput) an error that is not
    above zero, numbers that are not finite, and an alpha outside (0, 1).
    """
    require_risk(alpha)
    if not (error > 0 and math.isfinite(error) and math.isfinite(value)):
        raise InvalidInput("an effect needs a finite value and an error above zero", value=(value, error))
    deviation, mean, method = error, value, "normal effect, flat prior"
    if prior is not None:  # the precisions' shares by the sides of a right triangle, whose squares are never formed
        both = math.hypot(error, prior.deviation)
        deviation = error * (prior.deviation / both)
        drawn = (error / both) ** 2
        mean = value * (prior.deviation / both) ** 2 + prior.mean * drawn
        method = f"normal effect, prior {prior.mean:g} ± {prior.deviation:g}"
    reach = normal_quantile(1 - alpha / 2) * deviation
    if not (math.isfinite(mean) and math.isfinite(abs(mean) + reach)) or deviation == 0:
        raise InvalidInput("the numbers are too large, or too small, to combine", value=(value, error))
    return Posterior(
        chance=normal_tail(-mean / deviation), loss_arm=_loss(mean, deviation), loss_baseline=_loss(-mean, deviation),
        value=mean, low=mean - reach, high=mean + reach, deviation=deviation, method=method,
    )  # fmt: skip


class BetaPosterior(Struct, frozen=True, kw_only=True):
    """The posterior of a share: Beta(``a``, ``b``). Refuses (InvalidInput) what lies outside ``PARAMETERS``."""

    a: float
    b: float

    def __post_init__(self) -> None:
        if not all(PARAMETERS[0] <= one <= PARAMETERS[1] for one in (self.a, self.b)):
            raise InvalidInput("the parameters of a Beta are above zero and finite", value=(self.a, self.b))

    @classmethod
    def of(cls, successes: int, n: int, prior: tuple[float, float] = (1.0, 1.0)) -> BetaPosterior:
        """After ``successes`` of ``n``, from a Beta prior (uniform unless given). Refuses impossible counts."""
        if not 0 <= successes <= n or not min(prior) > 0:
            raise InvalidInput("successes lie between 0 and n, and priors above 0", value=(successes, n, prior))
        return cls(a=prior[0] + successes, b=prior[1] + n - successes)

    @property
    def mean(self) -> float:
        return self.a / (self.a + self.b)

    @property
    def turned(self) -> BetaPosterior:
        """That of one less the share."""
        return BetaPosterior(a=self.b, b=self.a)

    @property
    def variance(self) -> float:
        return self.mean * (1 - self.mean) / (self.a + self.b + 1)

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """The equal-tailed credible interval."""
        from scipy.special import betaincinv

        return float(betaincinv(self.a, self.b, alpha / 2)), float(betaincinv(self.a, self.b, 1 - alpha / 2))


def compare_shares(arm: BetaPosterior, baseline: BetaPosterior, *, alpha: float = 0.05) -> Posterior:
    """Two shares of units: chance, losses and the credible interval of the difference.

    Chance and losses in closed form (Miller, "Formulas for Bayesian A/B testing", 2015, for the chance; the loss from
    E[X 1(X > Y)] with one more success), which needs a whole number for one parameter; by quadrature otherwise. The
    interval of the difference is that of a normal with the posterior's mean and variance, inside [-1, 1]. Assumes
    independent units with one answer each. Refuses (InvalidInput) an alpha outside (0, 1).
    """
    require_risk(alpha)
    chance = chance_above(arm, baseline)
    chance_less = chance_above(baseline, arm)
    value = arm.mean - baseline.mean
    loss_arm = _beta_loss(baseline, arm)
    loss_baseline = _beta_loss(arm, baseline)
    deviation = math.sqrt(arm.variance + baseline.variance)
    reach = normal_quantile(1 - alpha / 2) * deviation
    return Posterior(
        chance=chance if chance < 0.5 else 1 - chance_less, loss_arm=loss_arm, loss_baseline=loss_baseline,
        value=value, low=max(-1.0, value - reach), high=min(1.0, value + reach), deviation=deviation,
        method="Beta-Binomial",
    )  # fmt: skip


def chance_above(one: BetaPosterior, other: BetaPosterior) -> float:
    """P(one > other) of two independent Beta variables."""
    from scipy.special import betaln

    whole = [p for p in (one.a, other.b, other.a, one.b) if p == int(p) and p <= EXACT_TERMS]
    if not whole:
        return _chance_by_quadrature(one, other)
    fewest = min(whole)
    if fewest == one.a:  # sum over i < a of B(other.a + i, one.b + other.b) / ((one.b + i) B(1 + i, one.b) B(other))
        a, b, c, d = one.a, one.b, other.a, other.b
    elif fewest == other.b:  # mirrored at a half: P(1 - other > 1 - one)
        a, b, c, d = other.b, other.a, one.b, one.a
    else:  # P(one > other) = 1 - P(other > one), whose whole parameter is other.a or one.b
        return 1 - chance_above(other, one)
    i = np.arange(int(a))
    logs = betaln(c + i, b + d) - np.log(b + i) - betaln(1 + i, b) - betaln(c, d)
    return min(1.0, float(np.exp(logs).sum()))


def _beta_loss(one: BetaPosterior, other: BetaPosterior) -> float:
    """E[max(one - other, 0)], by quadrature of P(one > x) P(other < x): a sum of positive terms keeps its digits."""
    nodes = beta_nodes((one, other))
    return float(nodes.weights @ (nodes.below(one.turned, turned=True) * nodes.below(other)))


def _chance_by_quadrature(one: BetaPosterior, other: BetaPosterior) -> float:
    nodes = beta_nodes((one, other))
    return float(nodes.weights @ (nodes.density(one) * nodes.below(other)))


class BetaNodes(NamedTuple):
    """Nodes and weights of integrals from 0 to 1: ``x``, and ``rest``, one less it, which keeps its digits near one."""

    x: Floats
    rest: Floats
    weights: Floats

    def density(self, posterior: BetaPosterior) -> Floats:
        """That of a Beta at each node."""
        from scipy.special import betaln, xlogy

        a, b = posterior.a, posterior.b
        return np.asarray(np.exp(xlogy(a - 1, self.x) + xlogy(b - 1, self.rest) - betaln(a, b)))

    def below(self, posterior: BetaPosterior, *, turned: bool = False) -> Floats:
        """The probability of a Beta to lie below each node; ``turned``: below one less it."""
        from scipy.special import betainc, betaincc

        x, rest = (self.rest, self.x) if turned else (self.x, self.rest)
        a, b = posterior.a, posterior.b
        return np.where(x < rest, betainc(a, b, x), betaincc(b, a, rest))


def beta_nodes(posteriors: Sequence[BetaPosterior]) -> BetaNodes:
    """Nodes between 0 and 1 for integrals over these; finer at an end where a density is not smooth.

    The upper half is that of the shares turned round, so that the numbers close to one are as dense as those to zero.
    """
    (low, low_weights), (high, high_weights) = (_half(one) for one in (posteriors, [one.turned for one in posteriors]))
    weights = np.concatenate([low_weights, high_weights])
    return BetaNodes(np.concatenate([low, 1 - high]), np.concatenate([1 - low, high]), weights)


def _half(posteriors: Sequence[BetaPosterior]) -> tuple[Floats, Floats]:
    ends = [0.0, 0.5, *(_FINER if any(one.a != int(one.a) for one in posteriors) else ())]
    x, weights = panels([(one.mean, math.sqrt(one.variance)) for one in posteriors], ends)
    return np.clip(x, np.finfo(np.float64).tiny, 0.5), weights


def panels(centres: Sequence[tuple[float, float]], ends: Sequence[float] = ()) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights over panels.

    Panels end at each mean, at some deviations around it, and at ``ends``, of which the least and the largest, where
    there are any, bound the whole.
    """
    low, high = (min(ends), max(ends)) if ends else (-math.inf, math.inf)
    edges = {
        min(max(mean + sign * steps * deviation, low), high)
        for mean, deviation in centres
        for sign in (-1, 1)
        for steps in _STEPS
    }
    sides = np.array(sorted(edges | set(ends)))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(sides) / 2
    middle = sides[:-1] + half
    return (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel()


def _loss(mean: float, deviation: float) -> float:
    """E[max(-X, 0)] of a normal."""
    z = mean / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return max(0.0, deviation * density - mean * normal_tail(z))
