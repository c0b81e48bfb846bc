"""Summaries of several numbers a unit: their means and all products of their deviations, which add up.

Made from columns or from the engine's centred moments, merged with ``+``, and handed to ``covariate``. A
``PairSummary`` holds one number before the experiment and one since it began; a ``RatioPairSummary`` a numerator and
a denominator of each. What is kept and why is as in ``summary``; so is the source of the merge.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from msgspec import Struct

from barograph.stats.summary import ROUNDING_SHARE, Numbers, Summary, centred, exact_sum, possible_product
from barograph_client.errors import InvalidInput


class JointSummary(Struct, frozen=True, gc=False):
    """``n`` units with as many numbers each as there are ``means``.

    ``products`` are the sums of products of deviations, the upper triangle row by row: 00, 01, ..., 11, 12, ...
    ``+`` merges: commutative to the bit, associative to rounding, and no unit at all is its neutral element.
    """

    n: int = 0
    means: tuple[float, ...] = ()
    products: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        width = len(self.means)
        if self.n < 0 or len(self.products) != width * (width + 1) // 2 or (self.n > 0) != (width > 0):
            raise InvalidInput("not the moments of any units", hint="Give n, means and products.", value=self)
        if not all(map(math.isfinite, (*self.means, *self.products))):
            raise InvalidInput("the numbers are too large, or not finite", hint="Scale them down.", value=self)
        for i in range(width):
            for j in range(i, width):
                if not self._possible(i, j):
                    raise InvalidInput("not the moments of any units", hint="Check the products.", value=self)

    @classmethod
    def from_columns(cls, *columns: Numbers) -> Self:
        """One column a number, one row a unit. Raises InvalidInput when they differ in length or are not finite."""
        centres = [centred(column) for column in columns]
        sizes = {around.size for _, around in centres}
        if len(sizes) != 1:
            raise InvalidInput("each unit needs a number in every column", value=sorted(sizes))
        n = sizes.pop()
        if n == 0:
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as infinite
            products = tuple(
                float(one @ other) for index, (_, one) in enumerate(centres) for _, other in centres[index:]
            )
        return cls(n, tuple(mean for mean, _ in centres), products)

    def product(self, one: int, other: int) -> float:
        """The sum of products of the deviations of two of the numbers."""
        low, high = min(one, other), max(one, other)
        return self.products[low * len(self.means) - low * (low - 1) // 2 + high - low] if self.n else 0.0

    def summary(self, index: int) -> Summary:
        """One of the numbers alone."""
        return Summary(self.n, self.means[index], self.product(index, index)) if self.n else Summary()

    def __add__(self, other: Self) -> Self:
        if type(other) is not type(self):
            return NotImplemented
        small, large = sorted((self, other), key=lambda one: (one.n, one.means, one.products))
        if small.n == 0:
            return large
        if len(small.means) != len(large.means):
            raise InvalidInput("summaries of different numbers do not add up", value=(self.means, other.means))
        n = small.n + large.n
        deltas = [a - b for a, b in zip(small.means, large.means, strict=True)]
        weight = small.n * large.n / n
        shifts = [one * deltas[j] * weight for i, one in enumerate(deltas) for j in range(i, len(deltas))]
        return type(self)(
            n,
            tuple(mean + delta * (small.n / n) for mean, delta in zip(large.means, deltas, strict=True)),
            tuple(a + b + shift for a, b, shift in zip(small.products, large.products, shifts, strict=True)),
        )

    def _possible(self, i: int, j: int) -> bool:
        product, one, other = self.product(i, j), self.product(i, i), self.product(j, j)
        if min(one, other) < 0 or (self.n < 2 and product != 0):
            return False
        return possible_product(math.sqrt(one), math.sqrt(other), product)


class PairSummary(JointSummary, frozen=True, gc=False):
    """Units with a number from before the experiment (0) and one since it began (1)."""

    @classmethod
    def from_values(cls, pre: Numbers, post: Numbers) -> PairSummary:
        """From one pair a unit. Raises as ``from_columns``."""
        return cls.from_columns(pre, post)

    @property
    def pre(self) -> Summary:
        """The numbers from before."""
        return self.summary(0)

    @property
    def post(self) -> Summary:
        """The numbers since."""
        return self.summary(1)

    @property
    def cross(self) -> float:
        """The sum of products of deviations."""
        return self.product(0, 1)

    @property
    def correlation(self) -> float | None:
        """Pearson's; None where one of the two does not vary."""
        if not (self.n and self.pre.varies and self.post.varies):
            return None
        return max(-1.0, min(1.0, self.cross / math.sqrt(self.pre.m2) / math.sqrt(self.post.m2)))

    def adjusted(self, slope: float, centre: float) -> Summary:
        """Of post - slope * (pre - centre), unit by unit. A remainder below the rounding of its terms is none."""
        if self.n == 0:
            return Summary()
        rest = _remainder(self.post.m2, -2 * slope * self.cross, slope * slope * self.pre.m2)
        return Summary(self.n, self.post.mean - slope * (self.pre.mean - centre), rest if self.n > 1 else 0.0)


class RatioPairSummary(JointSummary, frozen=True, gc=False):
    """Units with numerator and denominator from before (0, 1), and numerator and denominator since (2, 3)."""

    @classmethod
    def from_values(
        cls, pre_numerators: Numbers, pre_denominators: Numbers, numerators: Numbers, denominators: Numbers
    ) -> RatioPairSummary:
        """From four numbers a unit. Raises as ``from_columns``."""
        return cls.from_columns(pre_numerators, pre_denominators, numerators, denominators)

    def linearised(self) -> PairSummary:
        """The delta method on both periods, as pairs whose means are the two ratios of sums.

        Source as for ``RatioSummary.linearised``; the covariance of the two ratios is that of their linearised values
        (Deng, Knoblich, Lu 2018). A unit without a measurement in a period lies at that period's ratio and weighs
        nothing there; units without one since the experiment began are better left out, as they inflate the count.
        Nothing at all measured before is a ratio that does not vary. Raises InvalidInput when nothing was measured
        since.
        """
        if self.n == 0 or self.means[3] == 0:
            raise InvalidInput("a ratio needs a denominator that is not zero", hint="Nothing was measured yet.")
        ratio, before = self.means[2] / self.means[3], 0.0
        since_weights, before_weights = (0.0, 0.0, 1 / self.means[3], -ratio / self.means[3]), (0.0,) * 4
        if self.means[1] != 0:
            before = self.means[0] / self.means[1]
            before_weights = (1 / self.means[1], -before / self.means[1], 0.0, 0.0)
        before_m2 = self._combined(before_weights, before_weights)
        since_m2 = self._combined(since_weights, since_weights)
        cross = self._combined(before_weights, since_weights) if min(before_m2, since_m2) > 0 else 0.0
        return PairSummary(self.n, (before, ratio), (before_m2, cross, since_m2))

    def _combined(self, one: tuple[float, ...], other: tuple[float, ...]) -> float:
        """The sum of products of two weighted sums of the numbers."""
        terms = [a * b * self.product(i, j) for i, a in enumerate(one) for j, b in enumerate(other)]
        return _remainder(*terms) if one == other else exact_sum(terms)


def _remainder(*terms: float) -> float:
    """A sum of squares made of larger terms that cancel; what is left of rounding alone is nothing."""
    rest = exact_sum(terms)
    return 0.0 if rest <= ROUNDING_SHARE * max(map(abs, terms)) else rest
