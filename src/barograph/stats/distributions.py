"""Tails and quantiles of the distributions that tests use, each from the side on which it keeps its digits.

Built on ``scipy.special``, whose import takes less than half as long as that of ``scipy.stats``, and which is loaded
with the first question: a process that only records does without its 24 MB. A two-sided p-value is twice a lower
tail, never one minus a distribution function, which is 0 where the truth is 1e-98.
"""

from __future__ import annotations

import math

from barograph_client.errors import InvalidInput

LEAST_RISK = 1e-100


def require_risk(alpha: float) -> None:
    """Raises InvalidInput for an alpha that is no risk: outside (0, 1), or below ``LEAST_RISK``."""
    if not LEAST_RISK <= alpha < 1:
        raise InvalidInput("alpha must lie between 0 and 1", hint="0.05 is usual.", value=alpha)


def t_tail(statistic: float, degrees: float) -> float:
    """P(T > statistic) of Student's t; exact far out."""
    from scipy import special

    return float(special.stdtr(degrees, -statistic))


def t_quantile(probability: float, degrees: float) -> float:
    """The value that Student's t exceeds with 1 - probability. Refuses (InvalidInput) one outside (0, 1)."""
    from scipy import special

    _require_inside(probability)
    return float(special.stdtrit(degrees, probability))


def normal_tail(statistic: float) -> float:
    """P(Z > statistic) of the standard normal."""
    from scipy import special

    return float(special.ndtr(-statistic))


def normal_quantile(probability: float) -> float:
    """The value that a standard normal exceeds with 1 - probability. Refuses (InvalidInput) one outside (0, 1)."""
    from scipy import special

    _require_inside(probability)
    return float(special.ndtri(probability))


def chi_squared_tail(statistic: float, degrees: float) -> float:
    """P(X > statistic) of chi-squared."""
    from scipy import special

    return float(special.chdtrc(degrees, statistic))


def chi_squared_exceeded(probability: float, degrees: float) -> float:
    """The value that chi-squared exceeds with ``probability``; infinite for 0."""
    from scipy import special

    return float(special.chdtri(degrees, probability))


def f_tail(statistic: float, degrees: float, degrees_below: float) -> float:
    """P(F > statistic) of Fisher's F with ``degrees`` above and ``degrees_below`` the line."""
    from scipy import special

    return float(special.fdtrc(degrees, degrees_below, statistic))


def noncentral_t_below(value: float, degrees: float, noncentrality: float) -> float:
    """P(T <= value) of the noncentral t, on which the power of a t test rests; below 1e-12 it may be told as zero."""
    from scipy import special

    below = float(special.nctdtr(degrees, noncentrality, value))
    return 0.0 if math.isnan(below) else below  # far below the noncentrality scipy has no number


def _require_inside(probability: float) -> None:
    if not 0 < probability < 1:
        raise InvalidInput(
            "a quantile has a probability between 0 and 1",
            hint="A risk alpha lies between 0 and 1, and one below 1e-15 cannot be told from none.",
            value=probability,
        )
