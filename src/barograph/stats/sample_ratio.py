"""The sample ratio check: did the arms get the shares of units that they were promised?

A mismatch says that units were lost or doubled in one arm (a crash, a redirect, a bot filter), and then no
comparison of the arms means what it says. Read before anything else about an experiment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from barograph.stats.distributions import chi_squared_tail, require_risk
from barograph_client.errors import InvalidInput

MISMATCH_ALPHA = 0.001  # Fabijan et al., "Diagnosing sample ratio mismatch" (KDD 2019)
EXACT_UNITS = 1000  # up to so many units two arms are tested exactly
EXACT_OUTCOMES = 100_000  # and more arms while there are no more ways than this to share the units out
_SAME = 1 + 1e-7  # outcomes whose probabilities differ by rounding alone are equally likely


class SampleRatio(Struct, frozen=True, kw_only=True):
    """The check's answer. ``p_value`` is None while no unit has come; ``expected`` are the promised counts."""

    counts: tuple[int, ...]
    expected: tuple[float, ...]
    p_value: float | None
    method: str
    statistic: float | None = None
    degrees: int | None = None
    alpha: float = MISMATCH_ALPHA

    @property
    def mismatch(self) -> bool:
        """Whether the counts are too far from the promise to be chance: p < alpha."""
        return self.p_value is not None and self.p_value < self.alpha


def sample_ratio(
    counts: Sequence[int], weights: Sequence[float], *, alpha: float = MISMATCH_ALPHA, corrected: bool = False
) -> SampleRatio:
    """Test the counts against the weights.

    Chi-squared over the arms of positive weight, with one degree of freedom fewer than there are of these; exact
    (multinomial, two arms: binomial) at small numbers. An arm of weight zero takes no part, but a single unit in
    one is a mismatch for certain. ``corrected`` is for two arms: the statistic with Yates' correction, which is nearer
    to the exact test. Assumes independent units, and a test made once: ``sequential.sample_ratio`` may be made after
    each day. Raises InvalidInput for negative counts or weights, fewer than two arms of positive weight, and an alpha
    outside (0, 1).
    """
    require_risk(alpha)
    if len(counts) != len(weights) or any(count < 0 for count in counts):
        raise InvalidInput("each arm needs a weight and a count that is not negative", value=(counts, weights))
    if any(not math.isfinite(weight) or weight < 0 for weight in weights) or sum(w > 0 for w in weights) < 2:
        raise InvalidInput("a sample ratio needs two arms of positive weight at least", value=tuple(weights))
    total, whole = sum(counts), math.fsum(weights)
    shares = [weight / whole for weight in weights]
    expected = tuple(total * share for share in shares)
    arms = [(count, share) for count, share in zip(counts, shares, strict=True) if share]
    statistic: float | None = None
    degrees: int | None = None
    p_value: float | None
    if total == 0:
        p_value, method = None, "none"
    elif total > sum(count for count, _ in arms):
        p_value, method = 0.0, "units in an arm of weight zero"
    elif len(arms) == 2 and total <= EXACT_UNITS:
        p_value, method = binomial_exact(arms[0][0], total, arms[0][1]), "exact binomial"
    elif len(arms) > 2 and math.comb(total + len(arms) - 1, len(arms) - 1) <= EXACT_OUTCOMES:
        p_value, method = multinomial_exact(*zip(*arms, strict=True)), "exact multinomial"
    else:
        statistic, degrees, p_value = chi_squared(*zip(*arms, strict=True), corrected=corrected and len(arms) == 2)
        method = "chi-squared"
    return SampleRatio(
        counts=tuple(counts), expected=expected, p_value=p_value, method=method, statistic=statistic, degrees=degrees,
        alpha=alpha,
    )  # fmt: skip


def chi_squared(counts: Sequence[int], shares: Sequence[float], *, corrected: bool = False) -> tuple[float, int, float]:
    """Pearson's statistic of the counts against the shares, its degrees of freedom and p-value (Pearson 1900).

    Arms of share zero are left out. Good where five or more are expected in each arm. ``corrected`` takes half a unit
    from each distance, as counts are whole (Yates 1934): right for two arms.
    """
    total, whole = sum(counts), math.fsum(shares)
    arms = [(count, total * share / whole) for count, share in zip(counts, shares, strict=True) if share > 0]
    half = 0.5 if corrected else 0.0
    statistic = math.fsum(max(abs(count - expected) - half, 0.0) ** 2 / expected for count, expected in arms)
    degrees = len(arms) - 1
    return statistic, degrees, chi_squared_tail(statistic, degrees)


def binomial_exact(count: int, n: int, share: float) -> float:
    """The two-sided exact p-value of ``count`` of ``n`` at ``share``: all counts no likelier than the one seen."""
    # Imported here: scipy.stats takes a noticeable part of a second, and most checks are of more units than these.
    from scipy.stats import binomtest

    return float(binomtest(count, n, share).pvalue)


def multinomial_exact(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The exact p-value of the counts: the probability of all outcomes no likelier than the one seen."""
    outcomes = _compositions(sum(counts), len(counts))
    logarithms = _log_probability(outcomes, shares)
    observed = float(_log_probability(np.asarray([counts], dtype=np.float64), shares)[0])
    chosen = logarithms[logarithms <= observed + math.log(_SAME)]
    return min(1.0, float(np.exp(chosen).sum()))


def _log_probability(
    outcomes: np.ndarray[tuple[int, ...], np.dtype[np.float64]], shares: Sequence[float]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    total = float(outcomes[0].sum())
    from scipy import special  # loaded when needed, as in ``distributions``

    terms = outcomes * np.log(np.asarray(shares)) - special.gammaln(outcomes + 1)
    return np.asarray(terms.sum(axis=1) + special.gammaln(total + 1))


def _compositions(total: int, parts: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """All ways to share ``total`` units out over ``parts`` arms, one a row."""
    rows = np.zeros((1, 0), dtype=np.float64)
    left = np.asarray([total], dtype=np.int64)
    for _ in range(parts - 1):
        sizes = left + 1
        index = np.repeat(np.arange(left.size), sizes)
        taken = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = np.column_stack([rows[index], taken])
        left = left[index] - taken
    return np.column_stack([rows, left]).astype(np.float64)
