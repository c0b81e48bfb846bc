"""Group-sequential bounds: a few looks that were planned for, for less than what any number of looks costs.

Source: Lan, DeMets, "Discrete sequential boundaries for clinical trials" (Biometrika 1983); the recursive integration
of Armitage, McPherson, Rowe (1969), on the grid of Reboussin, DeMets, Kim, Lan, "Computations for group sequential
boundaries using the Lan-DeMets spending function method" (2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.stats.distributions import normal_quantile, normal_tail
from barograph_client.errors import InvalidInput

Floats = NDArray[np.float64]
Spending = Callable[[float], float]  # of the share of information to the share of alpha, from 0 to 1

FARTHEST = 8.0  # standard errors: a bound beyond is none
_STEP = 0.05  # of the grid, in standard deviations of an increment
_LEAST = 1e-7  # of alpha left to spend at a look: less buys no bound
_LEAST_GROWTH = 1e-4  # of information between looks: less is no new look
_STEP_AHEAD = 0.1  # of the grid at most, in standard deviations of the next increment
_REACH = 9.0  # standard deviations of an increment, beyond which none goes
_ROWS = 128  # of the grid at a time: memory grows with the grid, not with its square


class Bound(Struct, frozen=True, kw_only=True):
    """What a statistic is held against at one look.

    ``z`` is the bound of the z statistic and ``score`` that of the sum, z * ``deviation`` with deviation the root of
    the information; ``spent`` is the alpha of one side spent up to this look and ``spent_here`` at it; ``increment``
    is the standard deviation of what came since the look before; ``intervals`` those of the grid.
    """

    information: float
    z: float
    score: float
    spent: float
    spent_here: float
    increment: float
    deviation: float
    intervals: int

    @property
    def p_value(self) -> float:
        """The nominal two-sided p-value that is low enough at this look."""
        return 2 * normal_tail(self.z)


def power_family(exponent: float) -> Spending:
    """alpha * t**exponent (Kim, DeMets 1987): 1 spends evenly, 3 late."""
    if not exponent > 0:
        raise InvalidInput("the exponent of a spending function is above zero", value=exponent)
    return lambda share: share**exponent


def obrien_fleming(alpha: float, *, sides: int = 2) -> Spending:
    """Like O'Brien and Fleming's bounds: next to nothing early (Lan, DeMets 1983): 2 - 2 Phi(z / sqrt(t))."""
    one_side = alpha / sides
    z = normal_quantile(1 - one_side / 2)
    return lambda share: 2 * normal_tail(z / math.sqrt(share)) / one_side


def pocock(alpha: float) -> Spending:
    """Like Pocock's bounds, much the same at each look (Lan, DeMets 1983): log(1 + (e - 1) t), at any alpha."""
    del alpha
    return lambda share: math.log1p((math.e - 1) * share)


def group_sequential_bounds(
    information: Sequence[float],
    *,
    alpha: float = 0.05,
    sides: int = 2,
    spending: Spending | None = None,
    clock: Sequence[float] | None = None,
) -> tuple[Bound, ...]:
    """The upper bound at each look; the lower one of a two-sided test is its negative.

    ``information`` are the shares of the planned number of units at the looks, increasing, above 0 and up to 1. The
    number and times of looks need not be planned, but may not depend on the effect seen. A two-sided test spends
    alpha / 2 on each side. ``spending`` is O'Brien-Fleming-like unless given, and goes by ``clock``: the shares of the
    planned time at the looks, where it is the time that was planned and not the information, which then may be shares
    of what there is at the last of these looks (Lan, DeMets, "Group sequential procedures: calendar versus information
    time", Statistics in Medicine 1989). Assumes a z statistic with independent normal increments: a comparison of means
    with many units at each look. Refuses (InvalidInput) shares that do not increase or lie outside (0, 1], and other
    sides than 1 and 2. A look with less than 1e-4 of new information is the look before once more; one at which next to
    no alpha is left has no bound (8).
    """
    if sides not in (1, 2) or not 0 < alpha < 0.5:
        raise InvalidInput("a test has one side or two, and alpha below 0.5", value=(sides, alpha))
    times = _shares(information)
    spent_at = times if clock is None else _shares(clock)
    if len(times) != len(spent_at):
        raise InvalidInput("each look has its information and its time", value=(len(times), len(spent_at)))
    share_spent = spending or obrien_fleming(alpha, sides=sides)
    walk = _Walk()
    bounds: list[Bound] = []
    for time, moment in zip(times, spent_at, strict=True):
        before = bounds[-1] if bounds else None
        if before and time - before.information <= _LEAST_GROWTH:
            bounds.append(before)
            continue
        earlier = before.spent if before else 0.0
        spent = min(1.0, share_spent(min(moment, 1.0))) * alpha / sides
        increment = math.sqrt(time - (before.information if before else 0.0))
        if before:
            start, end = -FARTHEST * before.deviation, before.score
            finer = math.ceil((end - start) / (_STEP_AHEAD * increment))  # where much less comes than before
            walk = walk.on(before.increment, start, end, max(before.intervals, finer))
        deviation = math.sqrt(time)
        score = walk.bound(spent - earlier, increment, FARTHEST * deviation)
        if score == FARTHEST * deviation:
            spent = earlier + walk.beyond(score, increment)
        intervals = math.ceil((score / deviation + FARTHEST) * deviation / (_STEP * increment))
        bounds.append(
            Bound(
                information=time,
                z=score / deviation,
                score=score,
                spent=spent,
                spent_here=spent - earlier,
                increment=increment,
                deviation=deviation,
                intervals=intervals,
            )
        )
    return tuple(bounds)


def _shares(numbers: Sequence[float]) -> list[float]:
    shares = np.asarray(numbers, dtype=np.float64)
    if shares.size == 0 or not (shares > 0).all() or shares.max() > 1 + 1e-12 or (np.diff(shares) < 0).any():
        raise InvalidInput("shares of information, and of time, increase from above 0 to 1", value=tuple(numbers))
    return [float(share) for share in shares]


class _Walk:
    """Where the sum may be that crossed no bound yet: at zero for certain, later a density on a grid."""

    def __init__(self, grid: Floats | None = None, density: Floats | None = None) -> None:
        self._grid = np.zeros(1) if grid is None else grid
        if density is None:
            self._mass = np.ones(1)
        else:
            step = self._grid[1] - self._grid[0]
            self._mass = density * step
            self._mass[[0, -1]] /= 2  # trapezoidal rule

    def beyond(self, score: float, increment: float) -> float:
        """The probability to lie above ``score`` after the next increment."""
        from scipy.special import ndtr

        return float(self._mass @ ndtr((self._grid - score) / increment))

    def bound(self, risk: float, increment: float, farthest: float) -> float:
        """The score that is passed with probability ``risk``; ``farthest`` where that is next to nothing."""
        from scipy.optimize import brentq

        if risk < _LEAST or self.beyond(farthest, increment) >= risk:
            return farthest
        return float(brentq(lambda score: self.beyond(score, increment) - risk, -farthest, farthest, xtol=1e-12))

    def on(self, increment: float, start: float, end: float, intervals: int) -> _Walk:
        """The walk after the next increment, below the bound ``end``; summed over what an increment reaches."""
        grid = np.linspace(start, end, intervals + 1)
        density = np.empty_like(grid)
        for first in range(0, grid.size, _ROWS):
            rows = grid[first : first + _ROWS]
            near = np.searchsorted(self._grid, (rows[0] - _REACH * increment, rows[-1] + _REACH * increment))
            away = (rows[:, None] - self._grid[near[0] : near[1]]) / increment
            density[first : first + _ROWS] = np.exp(-0.5 * away * away) @ self._mass[near[0] : near[1]]
        return _Walk(grid, density / (increment * math.sqrt(2 * math.pi)))
