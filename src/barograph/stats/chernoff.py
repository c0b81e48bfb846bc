"""Two arms of values in [0, 1] at one look: bounds that hold at any number of units, also where no unit differs.

Takes each arm's number of units and mean, by period. It needs no spread, so that an arm in which every unit fails, or
none, is compared like any other. Used by the guardrails, whose looks are at set times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from barograph.stats.summary import Summary
from barograph_client.errors import InvalidInput

Floats = NDArray[np.float64]
Pairs = Sequence[tuple[Summary, Summary]]  # the arm and the baseline, in each period

ROUNDING = 1e-9  # of means that an engine summed
_POINTS = 101  # that are looked at together, in search of a bound
_ROUNDS = 3  # of it, each between two neighbours of the one before: to within 2e-6
_HALVINGS = 30  # of the interval for the baseline's mean


def difference_bounds(pairs: Pairs, *, alpha: float = 0.05) -> tuple[float, float]:
    """How much larger the arm's mean is, at least and at most: each bound is wrong with probability ``alpha`` at most.

    For a mean mu below the one that was found, x, the p-value of n values in [0, 1] is exp(-n * kl(x, mu)), kl being
    the relative entropy of two coins (Hoeffding 1963, theorem 1; Chernoff 1952); of one that was found on the other
    side it is 1. The two arms' p-values are combined by Fisher's method (1932), at the baseline's mean that makes the
    combined one largest. Several periods are combined alike, each with a baseline of its own: then what is bounded is
    the difference in the period where it is smallest, or largest. Assumes independent units, not that they are alike.
    (-1, 1) where nothing is known; periods with an empty arm count for nothing. Refuses (InvalidInput) means outside
    [0, 1] and an alpha outside (0, 1).
    """
    return _least(pairs, alpha, relative=False), -_least(_turned(pairs), alpha, relative=False)


def ratio_bounds(pairs: Pairs, *, alpha: float = 0.05) -> tuple[float, float]:
    """How many times as large the arm's mean is, at least and at most (``difference_bounds``).

    The baseline may be without a single case: the ratio has no upper bound then, which is infinity.
    """
    most = _least(_turned(pairs), alpha, relative=True)
    return _least(pairs, alpha, relative=True), 1 / most if most > 0 else math.inf


def _turned(pairs: Pairs) -> Pairs:
    return [(baseline, arm) for arm, baseline in pairs]


def _least(pairs: Pairs, alpha: float, *, relative: bool) -> float:
    """The largest difference, or ratio, of those that the evidence excludes as too small."""
    if not 0 < alpha < 1:
        raise InvalidInput("alpha must lie between 0 and 1", hint="0.05 is usual.", value=alpha)
    known = np.array([[[one.n, one.mean] for one in pair] for pair in pairs if min(one.n for one in pair) > 0])
    least = 0.0 if relative else -1.0
    if not known.size:
        return least
    if known[..., 1].min() < -ROUNDING or known[..., 1].max() > 1 + ROUNDING:
        raise InvalidInput("these means are not those of values from 0 to 1", hint="Scale by the metric's bounds.")
    known[..., 1] = np.clip(known[..., 1], 0, 1)
    from scipy.special import gammainccinv  # loaded when needed, as in ``distributions``

    enough = float(gammainccinv(2 * len(known), alpha))  # sums of so many exponential variables
    low, high = least, 1.0  # of the ratio r it is r / (1 + r) that is searched for
    for _ in range(_ROUNDS):
        points = np.linspace(low, high, _POINTS)[1:-1]
        scales = points / (1 - points) if relative else np.ones_like(points)
        shifts = np.zeros_like(points) if relative else points
        out = int((_evidence(known, scales, shifts) >= enough).sum())  # it falls from point to point
        low, high = (
            low if out == 0 else float(points[out - 1]), high if out == points.size else float(points[out]),
        )  # fmt: skip
    return low / (1 - low) if relative else low


def _evidence(known: Floats, scales: Floats, shifts: Floats) -> Floats:
    """What is against an arm's mean of at most ``scale`` times the baseline's plus ``shift``, for each of these.

    ``known`` has the shape (periods, 2, 2): arm and baseline, units and mean. The sum of the arms' relative entropies
    times units is convex in the baseline's mean, and smallest between the one that was found and that at which the
    arm's would be as found, both as far as there is such a mean.
    """
    from scipy.special import rel_entr

    (n, mean), (base_n, base_mean) = (known[:, arm, :].T[..., None] for arm in (0, 1))
    low = np.maximum(base_mean, -shifts / scales)
    high = np.minimum((mean - shifts) / scales, 1.0)
    excluded = mean > scales * base_mean + shifts  # by what was found

    def expected(base: Floats) -> Floats:
        return np.asarray(np.clip(scales * base + shifts, 0.0, 1.0))

    def entropy(found: Floats, true: Floats) -> Floats:
        return np.asarray(rel_entr(found, true) + rel_entr(1 - found, 1 - true))

    for _ in range(_HALVINGS):
        base = (low + high) / 2
        true = expected(base)
        slope = base_n * (base - base_mean) * true * (1 - true) + scales * n * (true - mean) * base * (1 - base)
        low, high = np.where(slope < 0, base, low), np.where(slope < 0, high, base)
    base = (low + high) / 2
    found = base_n * entropy(base_mean, base) + n * entropy(mean, expected(base))
    return np.asarray(np.where(excluded, found, 0.0).sum(axis=0))
