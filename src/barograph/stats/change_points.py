"""Change points: where the level of a series stepped, from what to what, and how sure that is.

Takes a whole series, hands back points to ``analytics``. A series is
standardised, cut where that lowers the squared error by more than a penalty, and each cut is then tested with the
autocorrelation of the noise taken out. Pure functions; no order of magnitude and no gap in the values raises.

Sources: binary segmentation (Scott and Knott 1974); PELT (Killick, Fearnhead and Eckley 2012, "Optimal detection of
changepoints with a linear computational cost"); the p-value: see ``ChangePoint``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.stats.distributions import chi_squared_exceeded, chi_squared_tail, f_tail
from barograph.stats.summary import ROUNDING_SHARE
from barograph_client.errors import InvalidInput

Method = Literal["binseg", "pelt"]
Values = Sequence[float | None] | Sequence[Sequence[float | None]] | NDArray[np.float64]
_Array = NDArray[np.float64]

PENALTY = 3.0  # times log n: the best of those compared on annotated series (`python -m bench --only change-points`)
FEWEST = 2  # values between two change points
_SHORTEST = 0.25  # one over the mean length of stretches in which an autocorrelation can be told
_STEADIEST = 0.95  # autocorrelation above this is taken for it: a random walk has no level that could step


class ChangePoint(Struct, frozen=True, kw_only=True):
    """A step at ``index``, the place of the first value of the new level in the series as it was given.

    ``before`` and ``after`` are the means, a number for each dimension, of the stretches up to the neighbouring
    change points. ``p_value`` is the chance that noise without a step makes as large a one at its luckiest place,
    times the number of points found (Bonferroni): the tail of the largest standardised difference of two means over
    all places (DeLong 1981; Estrella 2003, "Critical values and p values of Bessel process distributions"), on values
    freed of first-order autocorrelation, whose estimate is corrected for its bias (Marriott and Pope 1954). It
    assumes noise of equal spread on both sides and tails near the normal ones. On noise without a step and without
    autocorrelation a point with p < 0.05 is found in 1 % of series; with an autocorrelation of 0.5 in 2 to 9 %, with
    0.8 in 9 to 18 % (14 to 500 values): a steady wander looks like steps.
    """

    index: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    p_value: float


def change_points(
    values: Values, *, method: Method = "binseg", penalty: float = PENALTY, least: int = FEWEST
) -> tuple[ChangePoint, ...]:
    """The change points in order of time; none in a series that is constant or shorter than two stretches.

    ``values`` are n numbers, or n rows of d numbers; a row in which one is None or not finite is left out, and does
    not move the others' places. A cut must lower the squared error of the standardised values by more than
    ``penalty`` · log n · (d + 1) / 2, the number of parameters that it adds over those of one dimension; ``least``
    is the number of values between two cuts. ``binseg`` cuts greedily in O(n log n) while cuts halve, O(n) for each
    cut at worst; ``pelt`` finds the cheapest cuts of all, in O(n) while changes are frequent, O(n²) at worst. Raises
    InvalidInput for values that are no numbers, a penalty below zero, and a ``least`` below one.
    """
    if not 0 <= penalty < math.inf or least < 1:
        raise InvalidInput("a penalty is finite and not negative, and a stretch is not empty", value=(penalty, least))
    table = _table(values)
    kept = np.flatnonzero(np.isfinite(table).all(axis=1))
    standard = _standardised(table[kept])
    n, dimensions = standard.shape
    if n < 2 * least or dimensions == 0:
        return ()
    charge = penalty * math.log(n) * (dimensions + 1) / 2
    cuts = (_binary_segmentation if method == "binseg" else _pelt)(standard, charge, least)
    bounds = [0, *cuts, n]
    whitened = _whitened(standard, bounds)
    levels = [_mean(table[kept[start:end]]) for start, end in pairwise(bounds)]
    return tuple(
        ChangePoint(
            index=int(kept[cut]),
            before=levels[place],
            after=levels[place + 1],
            p_value=min(1.0, len(cuts) * _p_value(whitened, bounds[place], cut, bounds[place + 2], least)),
        )
        for place, cut in enumerate(cuts)
    )


def _table(values: Values) -> _Array:
    """The values as n rows, None as NaN."""
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput("a series is made of numbers, or of rows of the same length", hint=str(error)) from error
    if table.ndim == 1:
        return table[:, np.newaxis]
    if table.ndim != 2:
        raise InvalidInput("a series has one number a time, or a row of them", value=table.shape)
    return table


def _standardised(table: _Array) -> _Array:
    """Each dimension with mean 0 and variance 1; those that do not vary beyond rounding are left out."""
    if not table.size:
        return np.empty((len(table), 0))
    largest = np.abs(table).max(axis=0)
    table = table[:, largest > 0] / largest[largest > 0]  # at most 1, so that no square overflows
    table = table - table.mean(axis=0)
    spread = table.std(axis=0)
    varies = spread > ROUNDING_SHARE
    return np.asarray(table[:, varies] / spread[varies])


def _mean(table: _Array) -> tuple[float, ...]:
    """The mean of each column, also where the sum would overflow."""
    largest = np.abs(table).max(axis=0)
    scale = np.where(largest > 0, largest, 1.0)
    return tuple(float(value) for value in (table / scale).mean(axis=0) * scale)


def _sums(table: _Array) -> _Array:
    """Sums of the first 0, 1, … n rows."""
    return np.concatenate([np.zeros((1, table.shape[1])), np.cumsum(table, axis=0)])


def _binary_segmentation(table: _Array, charge: float, least: int) -> list[int]:
    """Cut where it helps most, then each part by itself, while a cut is worth the charge."""
    sums = _sums(table)
    cuts: list[int] = []
    parts = [(0, len(table))]
    while parts:
        start, end = parts.pop()
        if end - start < 2 * least:
            continue
        places = np.arange(start + least, end - least + 1)
        left = (places - start)[:, np.newaxis]
        right = (end - places)[:, np.newaxis]
        steps = (sums[places] - sums[start]) / left - (sums[end] - sums[places]) / right
        gains = (steps**2 * (left * right / (end - start))).sum(axis=1)
        best = int(gains.argmax())
        if gains[best] > charge:
            cuts.append(int(places[best]))
            parts += [(start, cuts[-1]), (cuts[-1], end)]
    return sorted(cuts)


def _pelt(table: _Array, charge: float, least: int) -> list[int]:
    """The cuts of least squared error plus charges.

    A beginning that has become dearer than another is dropped, but only when a stretch can lie between the two:
    earlier it may still be the one that is needed.
    """
    n = len(table)
    sums, squares = _sums(table), _sums((table**2).sum(axis=1, keepdims=True))[:, 0]
    total = np.full(n + 1, np.inf)
    total[0] = -charge
    before = np.zeros(n + 1, dtype=np.int64)
    expires = np.full(n + 1, n + 1, dtype=np.int64)
    starts = np.empty(0, dtype=np.int64)
    for end in range(least, n + 1):
        starts = starts[expires[starts] > end]
        if math.isfinite(total[end - least]):
            starts = np.append(starts, end - least)
        within = ((sums[end] - sums[starts]) ** 2).sum(axis=1) / (end - starts)
        costs = total[starts] + squares[end] - squares[starts] - within
        best = int(costs.argmin())
        total[end], before[end] = costs[best] + charge, starts[best]
        lost = starts[costs >= total[end]]
        expires[lost] = np.minimum(expires[lost], end + least)
    cuts: list[int] = []
    place = int(before[n])
    while place > 0:
        cuts.append(place)
        place = int(before[place])
    return cuts[::-1]


def _whitened(table: _Array, bounds: Sequence[int]) -> tuple[_Array, int]:
    """Each value less the share of the one before that noise carries over, and how many values that spoils at a cut.

    The share, a number for each dimension, is the first autocorrelation around the stretches' means, corrected for what
    the means take from it: (1 + 3 rho) / length. A negative share counts as none.
    """
    dimensions = table.shape[1]
    both, own = np.zeros(dimensions), np.zeros(dimensions)
    for start, end in pairwise(bounds):
        rest = table[start:end] - table[start:end].mean(axis=0)
        both += (rest[1:] * rest[:-1]).sum(axis=0)
        own += (rest**2).sum(axis=0)
    taken = (len(bounds) - 1) / len(table)  # one over the mean length
    if taken > _SHORTEST:
        carried = np.full(dimensions, _STEADIEST)
    else:
        carried = both / np.where(own > 0, own, np.inf) / (1 - taken)  # there are fewer pairs than values
        carried = np.clip((carried + taken) / (1 - 3 * taken), 0.0, _STEADIEST)
    if not carried.any():
        return table, 0
    return np.concatenate([table[:1], table[1:] - carried * table[:-1]]), 1


def _p_value(whitened: tuple[_Array, int], start: int, cut: int, end: int, least: int) -> float:
    """The p-value of the step at ``cut`` between its neighbours; 1 where the noise cannot be told."""
    table, spoiled = whitened
    left, right = table[start + spoiled : cut], table[cut + spoiled : end]
    dimensions = table.shape[1]
    degrees = len(left) + len(right) - 2
    if min(len(left), len(right)) < 1 or degrees < 1:
        return 1.0
    noise = (((left - left.mean(axis=0)) ** 2).sum(axis=0) + ((right - right.mean(axis=0)) ** 2).sum(axis=0)) / degrees
    step = (left.mean(axis=0) - right.mean(axis=0)) ** 2 * (len(left) * len(right) / (len(left) + len(right)))
    statistic = float((step / np.maximum(noise, ROUNDING_SHARE**2)).sum())
    single = f_tail(statistic / dimensions, dimensions, degrees)  # of few values the spread is a guess as well
    return largest_of_bridge(chi_squared_exceeded(single, dimensions), dimensions, least / len(table))


def largest_of_bridge(statistic: float, dimensions: int, edge: float) -> float:
    """P(the largest of a standardised, squared Brownian bridge in ``dimensions`` exceeds ``statistic``).

    Over places from a share ``edge`` of the series on, up to as far from its end; an approximation for small tails
    (DeLong 1981; Estrella 2003), never below the tail at one fixed place.
    """
    if statistic <= dimensions + math.sqrt(2 * dimensions):
        return 1.0  # the approximation has its summit here, and this is no small tail
    if not math.isfinite(statistic):
        return 0.0
    half = statistic / 2
    density = math.exp(dimensions / 2 * math.log(half) - half - math.lgamma(dimensions / 2))
    reach = 2 * math.log((1 - edge) / edge) if edge < 0.5 else 0.0
    tail = density * ((1 - dimensions / statistic) * reach + 2 / statistic)
    return min(1.0, max(tail, chi_squared_tail(statistic, dimensions)))
