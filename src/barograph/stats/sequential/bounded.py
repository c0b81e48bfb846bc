"""Two arms of values in [0, 1], compared at any time, from the moments of each period: no burn-in, no asymptotics.

Most scores of a RAG system lie in [0, 1]; for them this is the sequence to use. It needs what the store has: count,
mean and centred second moment of each arm and period.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from barograph.stats.distributions import require_risk
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.sequential.asymptotic import TUNING_UNITS
from barograph.stats.summary import Summary
from barograph_client.errors import InvalidInput

METHOD = "empirical Bernstein sequence by period"
MOST_PLANNED = 1e15  # units
ROUNDING = 1e-9  # of moments that an engine summed
LARGEST_BET = 0.5  # as ``betting.LARGEST_BET``
TUNED_FOR = np.array([1 / 16, 1 / 4, 1.0, 4.0, 16.0])  # times the planned information: one size of bet for each
SHARES = np.array([0.1, 0.2, 0.4, 0.2, 0.1])  # of the capital, by size of bet
_STEPS = 100  # of the bisection for an end of the interval

Floats = NDArray[np.float64]


class Capital(NamedTuple):
    """What the bets have come to: for each stake its sum of bets, of bets times differences, and its price.

    The evidence that the difference is above ``d`` is the mean over stakes, by their shares, of
    exp(gain - d * staked - price); that it is below, with the sign of the first two turned.
    """

    staked: Floats
    gain: Floats
    price: Floats

    def evidence(self, difference: float) -> float:
        """The logarithm of the evidence against this difference, from either side."""
        return float(log_evidence(self.staked, self.gain, self.price, difference))

    def p_value(self, difference: float = 0.0) -> float:
        """One over the evidence, 1 at most: valid at any time."""
        return min(1.0, math.exp(-max(self.evidence(difference), 0.0)))


def compare_bounded_means(
    arm: Sequence[Summary],
    baseline: Sequence[Summary],
    *,
    alpha: float = 0.05,
    planned_n: float = TUNING_UNITS,
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The difference of two means of values in [0, 1], with an interval that holds at any number of units.

    ``arm`` and ``baseline`` hold one summary a period (a day, say) of the units that joined in it, oldest first and
    paired; the interval is tightest near ``planned_n`` units in both arms. In each period one bets on every unit,
    with stakes that were fixed by the periods before and by the counts: a stake of c / n on each of the n units of an
    arm, so that the two arms' bets are one bet of c on the difference of the period's means. Five sizes of bet, each
    with both signs, share the capital.

    Source: the empirical Bernstein supermartingale of Howard et al. (2021), theorem 4 (Fan, Grama, Liu 2015), for
    each arm; the mixture over stakes after Waudby-Smith, Ramdas (2024). Assumes independent units, counted once, in
    the period in which they joined; ends of periods that do not look at the values (complete days, not "now"); and
    values in [0, 1]. It holds for any distribution there. A period with an empty arm is joined to the next. Where the
    mean difference does not fit the bets (an effect that turned around) there is no interval. Refuses (InvalidInput)
    means outside [0, 1] and moments that no values in [0, 1] have.
    """
    capital = played(arm, baseline, alpha=alpha, planned_n=planned_n)
    whole = [sum(periods, Summary()) for periods in (arm, baseline)]
    absolute: Effect | None = None
    warnings: tuple[str, ...] = ("an arm is empty",)
    if min(one.n for one in whole) > 0:
        warnings = ()
        value = whole[0].mean - whole[1].mean
        absolute = Effect(value=value)
        low, high = interval(capital, alpha)
        if low <= value <= high:
            absolute = Effect(value=value, low=low, high=high, p_value=capital.p_value())
        else:
            warnings = ("no difference fits all periods: the effect changes with time",)
    return Estimate(
        arm=names[0], baseline=names[1], arm_value=whole[0].mean if whole[0].n else None,
        baseline_value=whole[1].mean if whole[1].n else None, arm_n=whole[0].n, baseline_n=whole[1].n,
        absolute=absolute, relative=None, alpha=alpha, method=METHOD, warnings=warnings,
    )  # fmt: skip


def played(
    arm: Sequence[Summary], baseline: Sequence[Summary], *, alpha: float = 0.05, planned_n: float = TUNING_UNITS
) -> Capital:
    """The capital after the last of these periods.

    Refuses (InvalidInput) as ``compare_bounded_means``, and an alpha or a planned number of units that is none.
    """
    require_risk(alpha)
    if not 1 <= planned_n <= MOST_PLANNED:
        raise InvalidInput("a plan is of so many units, one at least", value=planned_n)
    pairs = _paired(arm, baseline)
    table = np.array([[[one.n, one.mean, one.m2] for one in pair] for pair in pairs], dtype=np.float64)
    if not pairs:
        zero = np.zeros(SHARES.size)
        return Capital(zero, zero, zero)
    means, spread = table[..., 1], table[..., 2]
    inside = np.clip(means, 0, 1)
    most = table[..., 0] * inside * (1 - inside)  # all zeros and ones
    if means.min() < -ROUNDING or means.max() > 1 + ROUNDING or (spread > most + ROUNDING * table[..., 0]).any():
        raise InvalidInput("these moments are not those of values from 0 to 1", hint="Scale by the metric's bounds.")
    capitals = play(table[..., 0], means, spread, alpha=alpha, planned_n=planned_n)
    return Capital(*(part[-1] for part in capitals))


def play(
    counts: Floats, means: Floats, spreads: Floats, *, alpha: float = 0.05, planned_n: float = TUNING_UNITS
) -> tuple[Floats, Floats, Floats]:
    """The capital after each period: staked, gain and price, of shape (periods, ..., stakes).

    ``counts``, ``means`` and ``spreads`` (sums of squared deviations from the mean) have the shape (periods, ..., 2):
    the arm, then the baseline. Axes between are experiments of their own.
    """
    before = np.cumsum(counts, axis=0) - counts
    sums = counts * means
    guess = (0.5 + np.cumsum(sums, axis=0) - sums) / (1 + before)
    error = spreads + counts * (means - guess) ** 2
    variance = (0.25 + np.cumsum(error, axis=0) - error) / (1 + before)
    information = 1 / (variance / counts).sum(axis=-1, keepdims=True)  # of the period's difference, as foreseen
    share = counts / counts.sum(axis=-1, keepdims=True)
    planned = planned_n / (variance / share).sum(axis=-1, keepdims=True)
    stake = np.sqrt(2 * math.log(2 / alpha) / (planned * TUNED_FOR)) * information
    stake = np.minimum(stake, LARGEST_BET * counts.min(axis=-1, keepdims=True))
    difference = (means[..., :1] - means[..., 1:]) * stake
    bets = stake[..., None, :] / counts[..., None]
    price = ((-np.log1p(-bets) - bets) * error[..., None]).sum(axis=-2)
    return np.cumsum(stake, axis=0), np.cumsum(difference, axis=0), np.cumsum(price, axis=0)


def log_evidence(staked: Floats, gain: Floats, price: Floats, difference: float = 0.0) -> Floats:
    """The logarithm of the evidence against a difference, for capitals of shape (..., stakes)."""
    moved = gain - difference * staked
    either = np.logaddexp(moved, -moved) - price + np.log(SHARES / 2)
    return np.asarray(np.logaddexp.reduce(either, axis=-1))


def interval(capital: Capital, alpha: float) -> tuple[float, float]:
    """All differences against which the evidence is below 1 / alpha; (-1, 1) while nothing is out.

    Where all are out, the first is above the second.
    """
    if not capital.staked.any():
        return -1.0, 1.0
    from scipy.optimize import minimize_scalar

    threshold = -math.log(alpha)
    middle = float(minimize_scalar(capital.evidence, bounds=(-1, 1), method="bounded").x)  # the evidence is convex
    if capital.evidence(middle) > threshold:
        return 1.0, -1.0

    def end(outside: float) -> float:
        if capital.evidence(outside) <= threshold:
            return outside
        inside = middle
        for _ in range(_STEPS):
            between = (inside + outside) / 2
            if capital.evidence(between) > threshold:
                outside = between
            else:
                inside = between
        return outside

    return end(-1.0), end(1.0)


def _paired(arm: Sequence[Summary], baseline: Sequence[Summary]) -> list[tuple[Summary, Summary]]:
    if len(arm) != len(baseline):
        raise InvalidInput("each period needs a summary of both arms", value=(len(arm), len(baseline)))
    pairs, left = [], (Summary(), Summary())
    for one, other in zip(arm, baseline, strict=True):
        left = (left[0] + one, left[1] + other)
        if min(left[0].n, left[1].n) > 0:
            pairs.append(left)
            left = (Summary(), Summary())
    return pairs
