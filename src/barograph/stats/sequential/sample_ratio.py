"""The sample ratio check that may be made at any time: after each hour, or after each unit.

The chi-squared test of ``stats.sample_ratio`` is made once; made every hour at 0.001, it will alarm for nothing
sooner or later. This one alarms for nothing with probability alpha at most, however often it is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from barograph.stats.distributions import require_risk
from barograph.stats.sample_ratio import MISMATCH_ALPHA
from barograph_client.errors import InvalidInput

# Units' worth of belief in shares near the promised ones. One number suits one size of mismatch: 10,000 sees a loss of
# 5 % of an arm's units soonest, and none at all, not even of the whole arm, among the first 200 units.
CONCENTRATIONS = (10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)


class SequentialSampleRatio(Struct, frozen=True, kw_only=True):
    """The evidence after each step, oldest first.

    ``log_evidence`` is the logarithm of the Bayes factor of a mismatch, ``p_values`` one over the largest evidence so
    far. A p-value below ``alpha`` at any step is a mismatch.
    """

    log_evidence: tuple[float, ...]
    p_values: tuple[float, ...]
    alpha: float

    @property
    def mismatch(self) -> bool:
        """Whether the counts were too far from the promise to be chance, at any step so far."""
        return bool(self.p_values) and self.p_values[-1] < self.alpha

    @property
    def probability(self) -> float:
        """The posterior probability of a mismatch, when one was as likely as none before."""
        last = self.log_evidence[-1] if self.log_evidence else 0.0
        return 1 / (1 + math.exp(-last)) if last > -700 else 0.0


def sequential_sample_ratio(
    increments: Sequence[Sequence[int]],
    weights: Sequence[float],
    *,
    alpha: float = MISMATCH_ALPHA,
    concentrations: Sequence[float] = CONCENTRATIONS,
) -> SequentialSampleRatio:
    """Test the counts of new units, one row of arms a step, against the weights.

    Source: Lindon, Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022): the multinomial
    against its mixture by a Dirichlet of a concentration times the shares; a small one finds large mismatches sooner, a
    large one small ones. The evidence is the mean of the Bayes factors of all ``concentrations``, which is one too
    (a mean of martingales is a martingale; Vovk, Wang, "E-values: calibration, combination and applications", Annals of
    Statistics 2021): large mismatches and small ones are found, each for their number times the evidence of the one
    that suits it best. Assumes units that are shared out independently at these weights; a change of the weights
    starts a new sequence. Arms of weight zero take no part, but a unit in one is a mismatch for certain. Refuses
    (InvalidInput) counts and weights that are negative or not finite, rows that do not fit the weights, fewer than two
    arms of positive weight, concentrations that are not above zero, and an alpha outside (0, 1).
    """
    require_risk(alpha)
    from scipy.special import gammaln

    shares = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(shares).all() or (shares < 0).any() or (shares > 0).sum() < 2:
        raise InvalidInput("a sample ratio needs two arms of positive weight at least", value=tuple(weights))
    if not concentrations or not all(0 < one < math.inf for one in concentrations):
        raise InvalidInput("a concentration is a number of units above zero", value=tuple(concentrations))
    if any(len(row) != len(shares) for row in increments):
        raise InvalidInput("each step has a count of each arm", value=tuple(map(tuple, increments))[:3])
    counts = np.asarray(increments, dtype=np.float64).reshape(-1, len(shares))
    if (counts < 0).any() or not np.isfinite(counts).all():
        raise InvalidInput("counts cannot be negative", value=tuple(map(tuple, increments))[:3])
    total = counts.cumsum(axis=0)
    takes_part = shares > 0
    seen, promised = total[:, takes_part], shares[takes_part] / shares.sum()
    by_concentration = []
    for concentration in concentrations:
        prior = concentration * promised
        mixture = (gammaln(prior + seen) - gammaln(prior)).sum(axis=1)
        whole = gammaln(concentration + seen.sum(axis=1)) - gammaln(concentration)
        by_concentration.append(mixture - whole - seen @ np.log(promised))
    evidence = np.logaddexp.reduce(by_concentration, axis=0) - math.log(len(concentrations))
    evidence = np.where(total[:, ~takes_part].any(axis=1), np.inf, evidence)
    highest = np.maximum.accumulate(np.maximum(evidence, 0.0)) if evidence.size else evidence
    return SequentialSampleRatio(
        log_evidence=tuple(map(float, evidence)), p_values=tuple(map(float, np.exp(-highest))), alpha=alpha
    )
