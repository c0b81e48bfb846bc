"""Summaries that add up: all that a comparison needs to know of many numbers, in a few.

Made from values or from the engine's centred moments, merged with ``+``, and handed to ``comparison``. Only
centred moments are kept: a variance from a sum of squares has lost every digit at a mean of 1e12.

Source of the merge: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances" (1979). Values and moments must be finite; what is not, or overflows on the way, raises InvalidInput.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph_client.errors import InvalidInput

# A standard deviation below this share of the mean is the rounding of equal numbers, not variation: double
# precision resolves 2**-52, and an engine that sums in any order loses some bits more.
ROUNDING_SHARE = 2.0**-46
SCHWARZ = 1 + 1e-6  # a product of deviations may pass its bound by what an engine's sums round
UNDERFLOW = 1e-150  # a deviation below this has a square that double precision cannot hold
LEAST_M2 = sys.float_info.min / sys.float_info.epsilon  # squares below this have lost digits on their way to zero

Numbers = Iterable[float] | NDArray[np.float64]


class Summary(Struct, frozen=True, gc=False):
    """``n`` numbers: their ``mean`` and ``m2``, the sum of squared deviations from it.

    ``+`` merges two summaries into that of all their numbers; it is commutative to the bit, associative to
    rounding, and ``Summary()`` is its neutral element.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def __post_init__(self) -> None:
        if self.n < 0 or self.m2 < 0 or (self.n < 2 and self.m2 != 0):
            raise InvalidInput("not the moments of any numbers", hint="n and m2 cannot be negative.", value=self)
        _require_finite(self.mean, self.m2)

    @classmethod
    def from_values(cls, values: Numbers) -> Summary:
        """The summary of these numbers; raises InvalidInput when one of them is not finite."""
        numbers = finite_array(values)
        if numbers.size == 0:
            return cls()
        mean, deviations = _centre(numbers)
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(numbers.size, mean, float(deviations @ deviations))

    @classmethod
    def from_variance(cls, n: int, mean: float, variance: float) -> Summary:
        """From a sample variance (with n - 1 below)."""
        return cls(n, mean, variance * (n - 1) if n > 1 else 0.0)

    @property
    def variance(self) -> float:
        """The sample variance, with n - 1 below. Raises InvalidInput for fewer than two numbers."""
        if self.n < 2:
            raise InvalidInput("a variance needs two numbers at least", value=self.n)
        return self.m2 / (self.n - 1)

    @property
    def mean_variance(self) -> float:
        """The variance of the mean: the squared standard error."""
        return self.variance / self.n

    @property
    def varies(self) -> bool:
        """Whether the numbers differ by more than the rounding of equal ones."""
        if self.m2 < LEAST_M2:
            return False
        return math.sqrt(self.m2 / self.n) > ROUNDING_SHARE * abs(self.mean)  # no square overflows

    def __add__(self, other: Summary) -> Summary:
        if not isinstance(other, Summary):
            return NotImplemented
        small, large = sorted((self, other), key=lambda summary: (summary.n, summary.mean, summary.m2))
        if small.n == 0:
            return large
        n = small.n + large.n
        delta = small.mean - large.mean
        share = small.n / n
        return Summary(n, large.mean + delta * share, small.m2 + large.m2 + delta * (delta * share) * large.n)


class RatioSummary(Struct, frozen=True, gc=False):
    """``n`` units, each with a numerator and a denominator sum: what a ratio of sums needs.

    ``cross_m2`` is the sum of products of deviations. ``measured`` counts the units that have a denominator at
    all (-1: all of them); the others are pairs of zeros, which the ratio does not feel but a count of
    independent units must. ``+`` merges, as for ``Summary``. Raises InvalidInput for moments that no pairs have, as a
    ``cross_m2`` beyond what the spreads allow (Cauchy and Schwarz).
    """

    n: int = 0
    numerator_mean: float = 0.0
    denominator_mean: float = 0.0
    numerator_m2: float = 0.0
    denominator_m2: float = 0.0
    cross_m2: float = 0.0
    measured: int = -1

    def __post_init__(self) -> None:
        if min(self.n, self.numerator_m2, self.denominator_m2) < 0 or not -1 <= self.measured <= self.n:
            raise InvalidInput("not the moments of any pairs", hint="n and m2 cannot be negative.", value=self)
        _require_finite(
            self.numerator_mean, self.denominator_mean, self.numerator_m2, self.denominator_m2, self.cross_m2
        )
        if not possible_product(math.sqrt(self.numerator_m2), math.sqrt(self.denominator_m2), self.cross_m2):
            raise InvalidInput("not the moments of any pairs", hint="Check the sum of products.", value=self)

    @classmethod
    def from_values(cls, numerators: Numbers, denominators: Numbers) -> RatioSummary:
        """From one pair a unit; raises InvalidInput when they do not pair or are not finite."""
        above, below = finite_array(numerators), finite_array(denominators)
        if above.size != below.size:
            raise InvalidInput("each unit needs a numerator and a denominator", value=(above.size, below.size))
        if above.size == 0:
            return cls(measured=0)
        above_mean, a = _centre(above)
        below_mean, b = _centre(below)
        measured = int(np.count_nonzero((above != 0) | (below != 0)))
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(above.size, above_mean, below_mean, float(a @ a), float(b @ b), float(a @ b), measured)

    @property
    def measured_units(self) -> int:
        """How many units were measured at least once."""
        return self.n if self.measured < 0 else self.measured

    @property
    def numerator(self) -> Summary:
        """The numerators alone, over all units."""
        return Summary(self.n, self.numerator_mean, self.numerator_m2)

    @property
    def denominator(self) -> Summary:
        """The denominators alone, over all units."""
        return Summary(self.n, self.denominator_mean, self.denominator_m2)

    @property
    def ratio(self) -> float | None:
        """Sum of numerators over sum of denominators; None when the latter is zero."""
        return self.numerator_mean / self.denominator_mean if self.denominator_mean else None

    def linearised(self) -> Summary:
        """The delta method as a summary: its mean is the ratio, its ``mean_variance`` the ratio's variance.

        Each unit's value becomes ratio + (numerator - ratio * denominator) / mean denominator, so that every test
        of a mean is a test of the ratio, clustered by unit. Source: Deng, Knoblich, Lu, "Applying the delta method
        in metric analytics" (KDD 2018). Assumes units to be independent and the mean denominator to be far from
        zero, compared with its error. A remainder below the rounding of its terms counts as none. Raises
        InvalidInput when there is no denominator.
        """
        ratio = self.ratio
        measured = self.measured_units
        if ratio is None or not measured:
            raise InvalidInput("a ratio needs a denominator that is not zero", hint="Nothing was measured yet.")
        terms = (self.numerator_m2, -2 * ratio * self.cross_m2, ratio * ratio * self.denominator_m2)
        rest = exact_sum(terms)
        if rest <= ROUNDING_SHARE * max(map(abs, terms)):
            rest = 0.0
        denominator = self.denominator_mean * (self.n / measured)  # a measured unit's mean denominator
        return Summary(measured, ratio, rest / denominator / denominator if measured > 1 else 0.0)

    def __add__(self, other: RatioSummary) -> RatioSummary:
        if not isinstance(other, RatioSummary):
            return NotImplemented
        above, below = self.numerator + other.numerator, self.denominator + other.denominator
        n = self.n + other.n
        weight = self.n * (other.n / n) if n else 0.0
        cross = (self.numerator_mean - other.numerator_mean) * (self.denominator_mean - other.denominator_mean) * weight
        return RatioSummary(
            n, above.mean, below.mean, above.m2, below.m2, self.cross_m2 + other.cross_m2 + cross,
            self.measured_units + other.measured_units,
        )  # fmt: skip


def possible_product(spread: float, other: float, product: float) -> bool:
    """Whether numbers whose deviations have these roots of sums of squares may have this sum of products."""
    return abs(product) <= max(spread, UNDERFLOW) * max(other, UNDERFLOW) * SCHWARZ


def exact_sum(terms: Iterable[float]) -> float:
    """The sum, rounded once (``math.fsum``). Raises InvalidInput where it, or a part of it, is beyond a float."""
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):
        raise InvalidInput("the numbers are too large, or not finite", hint="Scale them down.") from None


def finite_array(values: Numbers) -> NDArray[np.float64]:
    numbers = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64).ravel()
    if not np.isfinite(numbers).all():
        raise InvalidInput(
            "numbers must be finite", hint="Leave out what was not measured; it is not zero or infinite."
        )
    return numbers


def centred(values: Numbers) -> tuple[float, NDArray[np.float64]]:
    """The mean and the deviations from it; raises InvalidInput when one of the numbers is not finite."""
    numbers = finite_array(values)
    return _centre(numbers) if numbers.size else (0.0, numbers)


def _centre(numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The mean, and the deviations from it: around the first number first, so that an offset costs no digits."""
    first = numbers[0]
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is infinite or no number, and refused as that
        around = numbers - first
        shift = around.mean()
        around -= shift
        around -= around.mean()
        return float(first + shift), around


def _require_finite(*moments: float) -> None:
    if not all(map(math.isfinite, moments)):
        raise InvalidInput("the numbers are too large, or not finite", hint="Scale them down.", value=moments)
