"""A sequential test of whether two arms share a quantile, such as the 90th percentile of a latency."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from barograph.stats.sequential.mixtures import beta_binomial_log_mixture
from barograph_client.errors import InvalidInput

LEAST_QUANTILE = 1e-9  # which takes a billion units to be seen


def quantile_p_value(
    arm: NDArray[np.float64],
    baseline: NDArray[np.float64],
    quantile: float,
    *,
    t_opt: float = 100.0,
    alpha_opt: float = 0.05,
) -> float:
    """The p-value, valid at any time, of two arms that have the same quantile.

    Source: Howard, Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
    identification" (Bernoulli 2022), theorem 5. For each value that could be the common quantile, the count of
    units below it is a centred Bernoulli sum in each arm, and the product of the two beta-binomial mixtures is
    evidence against it; the least evidence over all values is that against equality. ``t_opt`` is the number of
    units an arm that the test is tuned for. Assumes independent units in the order in which they came, and nothing
    about their distribution. Ties are counted in favour of equality. An empty arm says nothing: 1. Refuses
    (InvalidInput) a quantile outside (0, 1), or within ``LEAST_QUANTILE`` of its ends, and values that are not finite.
    """
    if not LEAST_QUANTILE <= quantile <= 1 - LEAST_QUANTILE:
        raise InvalidInput("a quantile lies between 0 and 1", value=quantile)
    arms = [np.sort(np.asarray(values, dtype=np.float64)) for values in (arm, baseline)]
    if not all(np.isfinite(values).all() for values in arms):
        raise InvalidInput("numbers must be finite", hint="Leave out what was not measured.")
    if min(values.size for values in arms) == 0:
        return 1.0
    candidates = np.unique(np.concatenate(arms))
    evidence = sum(_evidence(values, candidates, quantile, t_opt, alpha_opt) for values in arms)
    return math.exp(-max(0.0, float(np.min(evidence))))


def _evidence(
    values: NDArray[np.float64], candidates: NDArray[np.float64], quantile: float, t_opt: float, alpha_opt: float
) -> NDArray[np.float64]:
    """The logarithm of the evidence of one arm against each candidate."""
    n, variance = values.size, quantile * (1 - quantile)

    def mixture(s: NDArray[np.float64]) -> NDArray[np.float64]:
        return beta_binomial_log_mixture(s, variance * n, variance * t_opt, quantile, 1 - quantile, alpha_opt=alpha_opt)

    low = np.searchsorted(values, candidates, side="left") - quantile * n
    high = np.searchsorted(values, candidates, side="right") - quantile * n
    # The count at a tie may be anything between: that which speaks least against the candidate is taken.
    return mixture(np.clip(_least(variance, t_opt, quantile, alpha_opt, n), low, high))


def _least(variance: float, t_opt: float, quantile: float, alpha_opt: float, n: int) -> float:
    """The sum at which the evidence, which is convex in it, is least."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda s: float(
            beta_binomial_log_mixture(s, variance * n, variance * t_opt, quantile, 1 - quantile, alpha_opt=alpha_opt)
        ),
        bounds=(-quantile * n, (1 - quantile) * n),
        method="bounded",
        options={"xatol": 1e-9 * n},
    )
    return float(found.x)
