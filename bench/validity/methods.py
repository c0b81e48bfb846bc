"""The methods under test, vectorised over looks and repetitions.

Each says at which looks it reports and where the difference that it is asked about lies outside its interval. The
formulas are the package's own where these take arrays; ``tests/stats/test_validity_tier.py`` holds the rest against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from barograph.stats.sequential import asymptotic, bounded
from barograph.stats.sequential.group_sequential import group_sequential_bounds
from bench.validity.draws import Floats, Run

Mask = NDArray[np.bool_]

ALPHA = 0.05
PLANNED_LOOKS = 5
LARGEST = 1e6  # standard errors: beyond counting


class Answer(NamedTuple):
    """``reports`` and ``out``: at each look and repetition, is there an interval, and does it leave out the value?"""

    reports: Mask
    out: Mask


class Method(NamedTuple):
    """``claims`` its rate under peeking; ``offered`` by the package, or shown beside to tell why it is not."""

    name: str
    answer: Callable[[Run, float], Answer]
    claims: bool = False
    offered: bool = True
    bounded_only: bool = False


def gate(run: Run) -> Mask:
    """``asymptotic.burn_in`` at every look."""
    smaller = run.counts.min(axis=0)[:, None]
    largest = np.abs(run.skewness).max(axis=0) / np.sqrt(smaller)
    varies = run.mean_variances.min(axis=0) > 0
    return np.asarray((smaller >= asymptotic.FEWEST_UNITS) & varies & (largest <= asymptotic.LARGEST_SKEW))


def statistic(run: Run, difference: float) -> Floats:
    """The z statistic of arm minus baseline against this difference; very large where only they differ."""
    away = run.means[0] - run.means[1] - difference
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.nan_to_num(away / np.sqrt(run.mean_variances.sum(axis=0)), nan=0.0)
    return np.asarray(np.clip(found, -LARGEST, LARGEST))


def sequence(run: Run, difference: float) -> Answer:
    """The asymptotic confidence sequence behind its gate."""
    return Answer(gate(run), ungated(run, difference).out)


def ungated(run: Run, difference: float) -> Answer:
    """The same without a gate."""
    rho = asymptotic.mixing_rate(ALPHA, asymptotic.TUNING_UNITS)
    time = run.counts.sum(axis=0)[:, None] * rho**2
    evidence = statistic(run, difference) ** 2 * time / (2 * (time + 1)) - np.log1p(time) / 2
    return Answer(np.ones(evidence.shape, dtype=bool), evidence > -math.log(ALPHA))


def by_period(run: Run, difference: float) -> Answer:
    """The empirical Bernstein sequence of two bounded means; each look ends a period."""
    staked, gain, price = bounded.play(*periods(run), alpha=ALPHA)
    evidence = bounded.log_evidence(staked, gain, price, difference)
    return Answer(np.ones(evidence.shape, dtype=bool), evidence > -math.log(ALPHA))


def periods(run: Run) -> tuple[Floats, Floats, Floats]:
    """Counts, means and spreads between two looks, of shape (looks, repetitions or 1, 2)."""
    counts = np.diff(run.counts, axis=1, prepend=0)[:, :, None].astype(np.float64)
    sums = np.diff(run.powers[:, :2], axis=2, prepend=0.0)
    means = sums[:, 0] / counts
    spreads = np.maximum(sums[:, 1] - counts * means**2, 0.0)
    shape = (1, 2, 0)
    return counts.transpose(shape), (means + run.origin).transpose(shape), spreads.transpose(shape)


def planned(run: Run, difference: float) -> Answer:
    """Five looks at equal distances, O'Brien-Fleming-like, behind the same gate."""
    total = run.counts.sum(axis=0)
    at = [int(np.searchsorted(total, total[-1] * look / PLANNED_LOOKS)) for look in range(1, PLANNED_LOOKS + 1)]
    bounds = group_sequential_bounds([float(total[look] / total[-1]) for look in at], alpha=ALPHA)
    looked = np.zeros((total.size, 1), dtype=bool)
    limits = np.full((total.size, 1), np.inf)
    looked[at], limits[at, 0] = True, [bound.z for bound in bounds]
    return Answer(gate(run) & looked, np.abs(statistic(run, difference)) > limits)


def t_test(run: Run, difference: float) -> Answer:
    """Welch's t at every look, as if each were the only one."""
    variances, n = run.mean_variances, run.counts[:, :, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = variances.sum(axis=0) ** 2 / (variances**2 / (n - 1)).sum(axis=0)
    p_values = 2 * special.stdtr(np.nan_to_num(degrees, nan=1.0), -np.abs(statistic(run, difference)))
    return Answer(np.ones(p_values.shape, dtype=bool), p_values < ALPHA)


METHODS = (
    Method("asymptotic sequence", sequence, claims=True),
    Method("bounded means by period", by_period, claims=True, bounded_only=True),
    Method("group-sequential, 5 looks", planned),
    Method("asymptotic, no gate", ungated, offered=False),
    Method("t test at every look", t_test, offered=False),
)
