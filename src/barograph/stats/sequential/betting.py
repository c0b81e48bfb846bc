"""Confidence sequences for the mean of values in [0, 1], such as most scores of a RAG system.

They hold at any time and for any distribution on [0, 1], at any number of units, in the order in which units came:
what is bet on a value depends on those before it only. Arrays have units along the last axis; leading axes, where
there are any, are sequences of their own.

Source: Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting" (JRSS B 2024), cited as WSR;
the conjugate mixture from Howard et al. (2021), theorem 4. Refuses (InvalidInput) values outside [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.stats.distributions import require_risk
from barograph.stats.sequential.mixtures import gamma_exponential_bound
from barograph_client.errors import InvalidInput

Floats = NDArray[np.float64]
_Lower = Callable[[Floats], Floats]

HALF = 0.5
GUESSED_VARIANCE = 0.25  # with the mean of a half: the one unit that is thought to have come before the first (WSR)
LARGEST_BET = 0.5  # the share of the capital that can be lost with one unit (WSR, c)
GRID = 1000  # candidates for a mean, from 0 to 1


class Sequence(Struct, frozen=True, kw_only=True):
    """An interval after each unit: ``low`` and ``high`` have the shape of the values."""

    low: Floats
    high: Floats


def empirical_bernstein(values: Floats, *, alpha: float = 0.05) -> Sequence:
    """The predictable mixture of empirical Bernstein bounds (WSR, theorem 2): closed form, close to betting."""
    require_risk(alpha)
    x = _require_unit_interval(values)
    return _two_sided(x, lambda y: _bernstein_low(y, alpha / 2))


def hoeffding(values: Floats, *, alpha: float = 0.05) -> Sequence:
    """The predictable mixture of Hoeffding bounds (WSR, proposition 1): wider, as it does not learn the variance."""
    require_risk(alpha)
    x = _require_unit_interval(values)
    return _two_sided(x, lambda y: _hoeffding_low(y, alpha / 2))


def conjugate_bernstein(values: Floats, v_opt: float, *, alpha: float = 0.05) -> Sequence:
    """The conjugate mixture of empirical Bernstein bounds (Howard et al. 2021, theorem 4).

    The gamma-exponential boundary at the squared errors of the running mean; tightest when their sum is ``v_opt``.
    The risk of each side is halved once more, as it is where others compute it: at most alpha / 2 in all.
    """
    require_risk(alpha)
    x = _require_unit_interval(values)
    return _two_sided(x, lambda y: _conjugate_low(y, v_opt, alpha / 4))


def hedged_betting(values: Floats, *, alpha: float = 0.05, grid: int = GRID) -> Sequence:
    """The hedged capital sequence (WSR, theorem 3): the tightest of these, for one sequence of values.

    For each candidate mean on the grid one bets on both sides of it; it is out once a capital, with half the stake,
    has grown 1 / alpha times. What is out stays out, and an interval is widened by a step of the grid on each side.
    """
    require_risk(alpha)
    x = _require_unit_interval(values).ravel()
    low, high = np.full(x.size, np.inf), np.full(x.size, -np.inf)
    for candidate in np.linspace(0, 1, grid + 1):
        evidence = np.maximum.accumulate(hedged_evidence(x, float(candidate), alpha=alpha))
        alive = evidence <= -math.log(alpha)
        low = np.where(alive, np.minimum(low, candidate), low)
        high = np.where(alive, candidate, high)
    claimed = low <= high  # where every candidate is out the values contradict each other, and nothing is claimed
    return Sequence(
        low=np.where(claimed, np.maximum(low - 1 / grid, 0.0), 0.0),
        high=np.where(claimed, np.minimum(high + 1 / grid, 1.0), 1.0),
    )


def hedged_evidence(values: Floats, mean: float, *, alpha: float = 0.05) -> Floats:
    """The logarithm of the hedged capital against this mean after each unit (WSR, theorem 3).

    Refuses (InvalidInput) values and means outside [0, 1], and an alpha outside (0, 1).
    """
    require_risk(alpha)
    _require_unit_interval(values)
    if not 0 <= mean <= 1:
        raise InvalidInput("a mean of values from 0 to 1 is one of these", value=mean)
    bets = predictable_bets(values, alpha / 2)
    with np.errstate(divide="ignore", over="ignore"):
        most_up, most_down = np.float64(LARGEST_BET) / mean, np.float64(LARGEST_BET) / (1 - mean)
    gain = values - mean
    up = np.cumsum(np.log1p(np.minimum(bets, most_up) * gain), axis=-1)
    down = np.cumsum(np.log1p(-np.minimum(bets, most_down) * gain), axis=-1)
    return np.asarray(np.maximum(up, down) + math.log(HALF))


def predictable_bets(values: Floats, alpha: float, *, largest: float = math.inf) -> Floats:
    """What is staked on each unit, from those before it (WSR, equation 26): sqrt(2 log(1/alpha) / (s² t log(1+t)))."""
    t = np.arange(1, values.shape[-1] + 1)
    mean = (HALF + np.cumsum(values, axis=-1)) / (t + 1)
    variance = (GUESSED_VARIANCE + np.cumsum((values - mean) ** 2, axis=-1)) / (t + 1)
    before = _shifted(variance, GUESSED_VARIANCE)
    return np.minimum(np.sqrt(2 * math.log(1 / alpha) / (t * np.log1p(t) * before)), largest)


def _two_sided(x: Floats, lower: _Lower) -> Sequence:
    return Sequence(low=np.maximum(lower(x), 0.0), high=np.minimum(1 - lower(1 - x), 1.0))


def _bernstein_low(x: Floats, alpha: float) -> Floats:
    t = np.arange(1, x.shape[-1] + 1)
    bets = predictable_bets(x, alpha, largest=LARGEST_BET)
    error = (x - _shifted(np.cumsum(x, axis=-1) / t, 0.0)) ** 2
    price = -np.log1p(-bets) - bets
    staked = np.cumsum(bets, axis=-1)
    return np.asarray((np.cumsum(bets * x - error * price, axis=-1) - math.log(1 / alpha)) / staked)


def _hoeffding_low(x: Floats, alpha: float) -> Floats:
    t = np.arange(1, x.shape[-1] + 1)
    bets = np.minimum(np.sqrt(8 * math.log(1 / alpha) / (t * np.log1p(t))), 1.0)
    return np.asarray((np.cumsum(bets * x - bets * bets / 8, axis=-1) - math.log(1 / alpha)) / np.cumsum(bets))


def _conjugate_low(x: Floats, v_opt: float, alpha: float) -> Floats:
    t = np.arange(1, x.shape[-1] + 1)
    mean = np.cumsum(x, axis=-1) / t
    spent = np.cumsum((x - _shifted(mean, HALF)) ** 2, axis=-1)
    bound = gamma_exponential_bound(spent.ravel(), v_opt, alpha=alpha, alpha_opt=alpha).reshape(spent.shape)
    return np.asarray(mean - bound / t)


def _shifted(running: Floats, first: float) -> Floats:
    """What was known before each unit."""
    start = np.full((*running.shape[:-1], 1), first)
    return np.concatenate([start, running[..., :-1]], axis=-1)


def _require_unit_interval(values: Floats) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise InvalidInput("these sequences are for values from 0 to 1", hint="Scale by the metric's own bounds.")
    return x
