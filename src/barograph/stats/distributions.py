"""Tails and quantiles of the distributions that tests use, each from the side on which it keeps its digits.

Built on ``scipy.special``, whose import takes less than half as long as that of ``scipy.stats``, and which is loaded
with the first question: a process that only records does without its 24 MB. A two-sided p-value is twice a lower
tail, never one minus a distribution function, which is 0 where the truth is 1e-98.
"""

from __future__ import annotations

import math


def t_tail(statistic: float, degrees: float) -> float:
    """P(T > statistic) of Student's t; exact far out."""
    from scipy import special

    return float(special.stdtr(degrees, -statistic))


def t_quantile(probability: float, degrees: float) -> float:
    """The value that Student's t exceeds with 1 - probability."""
    from scipy import special

    return float(special.stdtrit(degrees, probability))


def normal_tail(statistic: float) -> float:
    """P(Z > statistic) of the standard normal."""
    from scipy import special

    return float(special.ndtr(-statistic))


def normal_quantile(probability: float) -> float:
    """The value that a standard normal exceeds with 1 - probability."""
    from scipy import special

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
