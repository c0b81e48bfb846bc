"""The bootstrap: intervals for what has no formula, from the units drawn again and again.

Takes values and a statistic, hands back an ``Effect``. Units are drawn, with all that belongs to them: where a unit has
several values, name it in ``clusters``. Seeded, so that the same values give the same interval, and bounded: what would
draw more than ``MOST_DRAWS`` units is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.stats.comparison import DEFAULT_ALPHA
from barograph.stats.distributions import normal_quantile, normal_tail
from barograph.stats.estimate import Effect
from barograph.stats.summary import Numbers
from barograph_client.errors import InvalidInput

Rows = NDArray[np.float64]
Statistic = Callable[[Rows, Rows], Rows]  # (values, one row a value; weights, one row a sample) -> one number a sample

RESAMPLES = 9_999  # so that (RESAMPLES + 1) * alpha / 2 is whole at the usual alphas (Davison and Hinkley 1997)
MOST_DRAWS = 200_000_000
BATCH_DRAWS = 2_000_000  # weights held at once: 16 MB
MOST_LEFT_OUT = 2_000  # an arm with more units has them left out in groups, for the acceleration
FEWEST_UNITS = 3  # fewer cannot show how skewed they are


def weighted_mean(values: Rows, weights: Rows) -> Rows:
    """The mean of each sample."""
    return np.asarray(weights @ values / weights.sum(axis=1))


def weighted_ratio(values: Rows, weights: Rows) -> Rows:
    """The sum of the first column over that of the second, for each sample."""
    sums = weights @ values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def weighted_quantile(q: float) -> Statistic:
    """The statistic that is the ``q`` quantile of each sample: the least value with at least that weight up to it."""
    if not 0 < q < 1:
        raise InvalidInput("a quantile needs a share between 0 and 1", value=q)

    def quantile(values: Rows, weights: Rows) -> Rows:
        order = np.argsort(values, kind="stable")
        upto = np.cumsum(weights[:, order], axis=1)
        reached = upto >= q * upto[:, -1:] * (1 - 1e-12)
        return np.asarray(values[order][reached.argmax(axis=1)])

    return quantile


def bootstrap_difference(
    arm: Numbers | Rows,
    baseline: Numbers | Rows,
    statistic: Statistic = weighted_mean,
    *,
    clusters: tuple[Sequence[object], Sequence[object]] | None = None,
    alpha: float = DEFAULT_ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Effect:
    """The difference of a statistic between arms, with a bias-corrected and accelerated interval (BCa).

    Source: Efron, "Better bootstrap confidence intervals" (1987); for two samples the acceleration is that of all units
    left out one at a time, in either arm; with ``clusters`` (the unit of each value, for arm and baseline) whole units
    are drawn and left out. ``standard_error`` is the deviation of the resampled differences. No p-value. Assumes
    independent units; good from some twenty units an arm on, and where the largest values do not decide everything.
    Refuses fewer than ``FEWEST_UNITS`` units in an arm, values that are not finite or whose statistic is not, and more
    than ``MOST_DRAWS`` draws in all. The interval is None where all resampled differences are the same.
    """
    names = clusters or (None, None)
    ours, theirs = _Arm.of(arm, names[0]), _Arm.of(baseline, names[1])
    if not 0 < alpha < 1 or resamples < 2 / alpha:
        raise InvalidInput("too few resamples for the risk", hint="9,999 are usual.", value=(resamples, alpha))
    if (ours.units + theirs.units) * resamples > MOST_DRAWS:
        raise InvalidInput(
            "too many units to draw again", hint="Take fewer resamples, or a method for moments.",
            value=(ours.units, theirs.units, resamples),
        )  # fmt: skip
    generator = np.random.default_rng(seed)
    value = ours.whole(statistic) - theirs.whole(statistic)
    drawn = np.sort(ours.drawn(statistic, resamples, generator) - theirs.drawn(statistic, resamples, generator))
    if drawn[0] == drawn[-1]:
        return Effect(value=value)
    below = float(np.searchsorted(drawn, value, "left") + np.searchsorted(drawn, value, "right")) / 2 / resamples
    shift = normal_quantile(min(max(below, 1 / (2 * resamples)), 1 - 1 / (2 * resamples)))
    acceleration = _acceleration(ours.left_out(statistic), -theirs.left_out(statistic))
    low, high = (
        float(np.quantile(drawn, _corrected(tail, shift, acceleration))) for tail in (alpha / 2, 1 - alpha / 2)
    )
    largest = float(np.abs(drawn).max())
    error = float((drawn / largest).std(ddof=1)) * largest
    return Effect(value=value, low=min(low, value), high=max(high, value), standard_error=error)


class _Arm(Struct, frozen=True):
    """An arm's values (rows) and the unit of each, numbered from 0."""

    values: Rows
    unit: NDArray[np.int64]
    units: int

    @classmethod
    def of(cls, values: Numbers | Rows, clusters: Sequence[object] | None) -> _Arm:
        rows = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)
        if not np.isfinite(rows).all():
            raise InvalidInput("numbers must be finite", hint="Leave out what was not measured.")
        if clusters is None:
            unit = np.arange(rows.shape[0])
        else:
            numbers: dict[object, int] = {}
            unit = np.array([numbers.setdefault(one, len(numbers)) for one in clusters], dtype=np.int64)
        units = int(unit.max()) + 1 if unit.size else 0
        if unit.size != rows.shape[0] or units < FEWEST_UNITS:
            raise InvalidInput("an arm needs three units at least, and each value its unit", value=(units, unit.size))
        return cls(rows, unit, units)

    def whole(self, statistic: Statistic) -> float:
        return float(_answered(statistic, self.values, np.ones((1, self.unit.size)))[0])

    def drawn(self, statistic: Statistic, resamples: int, generator: np.random.Generator) -> Rows:
        size = max(1, BATCH_DRAWS // max(self.units, self.unit.size))
        parts = []
        for start in range(0, resamples, size):
            rows = min(size, resamples - start)
            chosen = generator.integers(0, self.units, (rows, self.units)) + np.arange(rows)[:, None] * self.units
            counts = np.bincount(chosen.ravel(), minlength=rows * self.units).reshape(rows, self.units)
            parts.append(_answered(statistic, self.values, counts[:, self.unit].astype(np.float64)))
        return np.concatenate(parts)

    def left_out(self, statistic: Statistic) -> Rows:
        """The influence of each unit, or of each group of units: the mean of all less what is without it, scaled."""
        groups = min(self.units, MOST_LEFT_OUT)
        group = (self.unit * groups) // self.units
        size = max(1, BATCH_DRAWS // self.unit.size)
        parts = [
            _answered(statistic, self.values, (group != np.arange(start, min(start + size, groups))[:, None]) * 1.0)
            for start in range(0, groups, size)
        ]
        without = np.concatenate(parts)
        with np.errstate(over="ignore", invalid="ignore"):  # an influence that is no number is none
            return np.asarray((groups - 1) * (without.mean() - without))


def _answered(statistic: Statistic, values: Rows, weights: Rows) -> Rows:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        answers = statistic(values, weights)
        if not (np.isfinite(answers).all() and math.isfinite(float(np.ptp(answers)))):
            raise InvalidInput("the statistic is not finite in every sample", hint="Its denominator may become zero.")
    return answers


def _acceleration(ours: Rows, theirs: Rows) -> float:
    """A sixth of the skewness of the influences, each over the number of units in its own arm."""
    largest = max(float(np.abs(ours).max()), float(np.abs(theirs).max()))
    if not 0 < largest < math.inf:
        return 0.0
    scaled = [ours / largest / ours.size, theirs / largest / theirs.size]  # the same at any scale
    squares = sum(float((one**2).sum()) for one in scaled)
    cubes = sum(float((one**3).sum()) for one in scaled)
    return cubes / (6 * math.sqrt(squares) ** 3)


def _corrected(tail: float, shift: float, acceleration: float) -> float:
    """The share of the resampled differences at which the bound of this tail lies."""
    moved = shift + normal_quantile(tail)
    room = 1 - acceleration * moved
    if room <= 0:  # so skewed that the bound is the last of the resampled differences
        return 1.0 if moved > 0 else 0.0
    return 1 - normal_tail(shift + moved / room)
