"""Intervals of a difference or a quotient of two independent values, from the interval of each.

Each side of the answer recovers the variance near the bounds that make it: where an interval of one value is not
symmetric (a share near 0 %, a ratio with a weak denominator, a quantile), neither is that of the difference. Known as
MOVER, the method of variance estimates recovery. Used by ``proportions``, ``quantiles`` and ``fieller``.
"""

from __future__ import annotations

import math

Bounded = tuple[float, float, float]  # a value, and its lower and upper bound


def recovered_difference(one: Bounded, other: Bounded) -> tuple[float, float]:
    """The interval of ``one - other`` at the confidence that both intervals have.

    Source: Zou and Donner, "Construction of confidence limits about effect measures" (2008); for shares with Wilson's
    intervals it is Newcombe's method 10 (1998). Assumes independent values. Infinite bounds stay infinite.
    """
    (value, low, high), (other_value, other_low, other_high) = one, other
    difference = value - other_value
    return (
        difference - math.hypot(value - low, other_high - other_value),
        difference + math.hypot(high - value, other_value - other_low),
    )


def recovered_quotient(one: Bounded, other: Bounded) -> tuple[float, float]:
    """The interval of ``one / other`` at the confidence that both intervals have; ``other`` must not be below zero.

    Source: Donner and Zou, "Closed-form confidence intervals for functions of the normal mean and standard deviation"
    (2012). Infinite on the side where ``other`` may be zero. Assumes independent values, and ``one`` at or above zero.
    """
    (value, low, high), (other_value, other_low, other_high) = one, other
    product = value * other_value
    above, below = low * (2 * value - low), other_high * (2 * other_value - other_high)
    floor = product + math.sqrt(max(0.0, product * product - above * below))
    least = above / floor if floor > 0 else 0.0
    above, below = high * (2 * value - high), other_low * (2 * other_value - other_low)
    if other_low <= 0 or below <= 0:
        return least, math.inf
    return least, (product + math.sqrt(max(0.0, product * product - above * below))) / below
