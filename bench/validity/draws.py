"""Experiments in which the arms do not differ, drawn by the thousand and kept as sums between two looks.

An experiment is a matter of its looks: after each, the number of units in both arms and the sums of powers of their
values so far. All arrays have the shape (looks, repetitions), and the arms stand in a leading axis: arm, baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], NDArray[np.floating]]  # (generator, units, repetitions)

MOST_QUERIES = 200
POWERS = 3


class Distribution(NamedTuple):
    """What a unit's value is drawn from. ``bounded``: its values lie in [0, 1]."""

    name: str
    draw: Draw
    mean: float
    bounded: bool
    deviation: float


class Run(NamedTuple):
    """Repetitions of one experiment: ``counts`` of shape (2, looks), ``powers`` (2, POWERS, looks, repetitions).

    The powers are of values less ``origin``, the baseline's true mean, summed from the first unit on.
    """

    counts: NDArray[np.int64]
    powers: Floats
    origin: float

    @property
    def means(self) -> Floats:
        return np.asarray(self.powers[:, 0] / self.counts[:, :, None])

    @property
    def spreads(self) -> Floats:
        """Sums of squared deviations from the arm's mean."""
        return np.asarray(np.maximum(self.powers[:, 1] - self.counts[:, :, None] * self.means**2, 0.0))

    @property
    def mean_variances(self) -> Floats:
        n = self.counts[:, :, None]
        return np.asarray(self.spreads / (n * (n - 1)))

    @property
    def skewness(self) -> Floats:
        n, mean = self.counts[:, :, None], self.means
        third = self.powers[:, 2] / n - 3 * mean * self.powers[:, 1] / n + 2 * mean**3
        variance = self.spreads / n
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(variance > 0, third / variance**1.5, 0.0)


def looks_at(units: int, split: tuple[int, int], *, growth: float = 1.1) -> NDArray[np.int64]:
    """The units in each arm (arm, baseline) at looks that come densely at first, then after a tenth more each.

    ``split`` is baseline to arm. Each look has one unit more at least in the smaller arm.
    """
    large, small = max(split), min(split)
    whole = units * small // (large + small)
    sizes: list[int] = []
    size = 2.0
    while size < whole:
        if not sizes or int(size) > sizes[-1]:
            sizes.append(int(size))
        size = max(size * growth, size + 1)
    sizes.append(whole)
    smaller = np.array(sizes, dtype=np.int64)
    return np.stack([smaller, np.round(smaller * large / small).astype(np.int64)])


def run(
    arms: tuple[Distribution, Distribution],
    counts: NDArray[np.int64],
    repetitions: int,
    generator: np.random.Generator,
) -> Run:
    """Draw so many experiments of an arm and a baseline."""
    powers = np.zeros((2, POWERS, counts.shape[1], repetitions))
    origin = arms[1].mean
    for arm in (0, 1):
        starts = np.concatenate([[0], counts[arm][:-1]])
        values = arms[arm].draw(generator, int(counts[arm][-1]), repetitions).astype(np.float64)
        values -= origin
        raised = np.ones_like(values)
        for power in range(POWERS):
            raised *= values
            powers[arm, power] = np.cumsum(np.add.reduceat(raised, starts, axis=0), axis=0)
    return Run(counts, powers, origin)


def normal(generator: np.random.Generator, units: int, repetitions: int, *, mean: float = 0.0) -> NDArray[np.floating]:
    return np.asarray(generator.standard_normal((units, repetitions), dtype=np.float32) + np.float32(mean))


def bernoulli(generator: np.random.Generator, units: int, repetitions: int, *, mean: float) -> NDArray[np.floating]:
    return np.asarray(generator.random((units, repetitions), dtype=np.float32) < mean)


def lognormal(generator: np.random.Generator, units: int, repetitions: int) -> NDArray[np.floating]:
    return np.asarray(np.exp(2 * generator.standard_normal((units, repetitions), dtype=np.float32)))


def pareto(generator: np.random.Generator, units: int, repetitions: int) -> NDArray[np.floating]:
    exponent = generator.standard_exponential((units, repetitions), dtype=np.float32) / np.float32(PARETO)
    return np.asarray(np.exp(exponent))


def zero_inflated(generator: np.random.Generator, units: int, repetitions: int) -> NDArray[np.floating]:
    """Nine in ten are zero; the others uniform."""
    uniform = generator.random((units, repetitions), dtype=np.float32)
    return np.asarray(np.maximum(uniform - np.float32(0.9), 0) * 10)


def clustered(generator: np.random.Generator, units: int, repetitions: int) -> NDArray[np.floating]:
    """A user's score summed over 1 to 200 queries, as a share of the most: users have habits of their own."""
    queries = generator.integers(1, MOST_QUERIES, (units, repetitions), dtype=np.uint8, endpoint=True)
    habit = generator.random((units, repetitions), dtype=np.float32)
    return np.asarray(queries * habit / np.float32(MOST_QUERIES))


PARETO = 2.1
_QUERIES_MEAN = (1 + MOST_QUERIES) / 2
DISTRIBUTIONS = (
    Distribution("normal", normal, 0.0, False, 1.0),
    Distribution("Bernoulli 0.5", partial(bernoulli, mean=0.5), 0.5, True, 0.5),
    Distribution("Bernoulli 0.02", partial(bernoulli, mean=0.02), 0.02, True, 0.14),
    Distribution("lognormal s=2", lognormal, float(np.exp(2)), False, 54.1),
    Distribution("Pareto 2.1", pareto, PARETO / (PARETO - 1), False, float(PARETO / 1.21 / 0.1) ** 0.5),
    Distribution("zero-inflated", zero_inflated, 0.05, True, 0.1756),
    Distribution("users of 1-200 queries", clustered, _QUERIES_MEAN / MOST_QUERIES / 2, True, 0.24),
)
SPLITS: Sequence[tuple[int, int]] = ((1, 1), (4, 1), (10, 1))
