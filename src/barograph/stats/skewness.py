"""Skewness from sums that an engine made: third moments around zero, beside centred second ones.

Takes a summary and the means of cubes, hands back what the gate of ``sequential.asymptotic`` asks for. A third moment
around zero holds mean cubed, and what is left after it has lost that many digits: where too few remain, the answer is
None, and not a number.
"""

from __future__ import annotations

import math

from barograph.stats.summary import ROUNDING_SHARE, RatioSummary, Summary, exact_sum

CLOSE_ENOUGH = 0.05  # by so much a skewness may be off: a hundred units divide it by ten before anything rests on it

Cubes = tuple[float, float, float, float]  # means over units of n³, n²d, n d² and d³, around zero


def skewness_of_sums(values: Summary, mean_cube: float) -> float | None:
    """The skewness of the numbers with this mean of their cubes; 0 where they do not vary, None where it is not known.

    E[(x - m)³] = E[x³] - 3 m var(x) - m³, over the deviation cubed; the population's, as ``asymptotic.skewness``.
    """
    if not values.varies:
        return 0.0
    variance = values.m2 / values.n
    return _standardised((mean_cube, -3 * values.mean * variance, -values.mean * values.mean * values.mean), variance)


def skewness_of_ratio(ratio: RatioSummary, cubes: Cubes) -> float | None:
    """The skewness of the linearised values (``RatioSummary.linearised``) over measured units.

    With R the ratio, a unit's linearised value is R + (n - R d) / mean d, so its third central moment is that of
    n - R d, whose mean is zero: E[n³] - 3 R E[n²d] + 3 R² E[n d²] - R³ E[d³] (the expansion of a cube; Deng, Knoblich,
    Lu, KDD 2018, for the linearisation). Units without a measurement are zeros in every term. None where it is not
    known, or nothing was measured.
    """
    share = ratio.ratio
    if share is None or not ratio.measured_units:
        return None
    linear = ratio.linearised()
    if not linear.varies:
        return 0.0
    measured = ratio.measured_units
    denominator = ratio.denominator_mean * (ratio.n / measured)
    variance = linear.m2 / measured * denominator * denominator  # of n - R d, over measured units
    above, more_above, more_below, below = (cube * (ratio.n / measured) for cube in cubes)
    terms = (above, -3 * share * more_above, 3 * share * share * more_below, -share * share * share * below)
    return _standardised(terms, variance)


def _standardised(terms: tuple[float, ...], variance: float) -> float | None:
    deviation = math.sqrt(variance)
    scale = deviation * deviation * deviation  # which may overflow, where a power would raise
    if not (all(map(math.isfinite, terms)) and 0 < scale < math.inf):
        return None
    if max(map(abs, terms)) * ROUNDING_SHARE > CLOSE_ENOUGH * scale:
        return None
    return exact_sum(terms) / scale
