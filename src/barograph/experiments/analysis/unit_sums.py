"""What the units of an arm come to, as a value that adds up: days, ages, slices and periods merge with ``+``.

Made of the moments that a ``UnitReader`` answers, handed to ``arms``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from barograph.core.units import UnitMoments
from barograph.stats.joint import RatioPairSummary
from barograph.stats.skewness import Cubes
from barograph.stats.summary import RatioSummary, Summary


class UnitSums(Struct, frozen=True, kw_only=True):
    """All units of an arm, or some.

    ``sums`` are numerators and denominators, over all units; ``own`` is numerator over denominator of each measured
    unit; ``pairs`` are what they did before and since, where that was asked for. ``unit_days`` as in ``UnitMoments``.
    """

    sums: RatioSummary = RatioSummary(measured=0)
    cubes: Cubes | None = (0.0, 0.0, 0.0, 0.0)
    own: Summary = Summary()
    unit_days: float = 0.0
    pairs: RatioPairSummary | None = RatioPairSummary()

    @property
    def units(self) -> int:
        """How many were exposed, also without a measurement."""
        return self.sums.n

    @classmethod
    def of(cls, moments: UnitMoments) -> UnitSums:
        """From what the store answers, less what an engine's rounding takes it beyond what there can be."""
        several = moments.units > 1
        numerator_m2, denominator_m2 = (
            max(0.0, m2) if several else 0.0 for m2 in (moments.numerator_m2, moments.denominator_m2)
        )
        cross = _within(moments.cross_m2, numerator_m2, denominator_m2) if several else 0.0
        sums = RatioSummary(
            moments.units, moments.numerator_mean, moments.denominator_mean, numerator_m2, denominator_m2, cross,
            moments.measured_units,
        )  # fmt: skip
        measured = moments.measured_units
        pairs = None
        if moments.pre is not None and moments.units:
            pre = moments.pre
            means = (pre.numerator_mean, pre.denominator_mean, moments.numerator_mean, moments.denominator_mean)
            products = (*pre.products, numerator_m2, cross, denominator_m2) if several else (0.0,) * 10
            pairs = RatioPairSummary(moments.units, means, _possible(products))
        return cls(
            sums=sums, cubes=moments.cubes, unit_days=moments.unit_days, pairs=pairs,
            own=Summary(measured, moments.own_mean, max(0.0, moments.own_m2) if measured > 1 else 0.0),
        )  # fmt: skip

    def __add__(self, other: UnitSums) -> UnitSums:
        if not self.units:
            return other
        if not other.units:
            return self
        share = other.units / (self.units + other.units)
        cubes: Cubes | None = None
        if self.cubes is not None and other.cubes is not None:
            a, b, c, d = (one + (two - one) * share for one, two in zip(self.cubes, other.cubes, strict=True))
            cubes = (a, b, c, d)
        return UnitSums(
            sums=self.sums + other.sums, cubes=cubes, own=self.own + other.own,
            unit_days=self.unit_days + other.unit_days,
            pairs=self.pairs + other.pairs if self.pairs is not None and other.pairs is not None else None,
        )  # fmt: skip


def merged(parts: Iterable[UnitMoments]) -> UnitSums:
    """All of them together; nobody at all where there are none."""
    return sum((UnitSums.of(part) for part in parts), UnitSums())


def _possible(products: tuple[float, ...]) -> tuple[float, ...]:
    """The products of four numbers' deviations, less what an engine's rounding takes them beyond what there can be."""
    squares = {i: max(0.0, products[place]) for i, place in enumerate(_SQUARES)}
    return tuple(
        squares[i] if i == j else _within(products[place], squares[i], squares[j])
        for place, (i, j) in enumerate(_PLACES)
    )


def _within(product: float, square: float, other: float) -> float:
    """No larger than the root of its squares' (Schwarz): what is the same for all units has rounding alone in it."""
    largest = math.sqrt(square) * math.sqrt(other)
    return max(-largest, min(largest, product))


_PLACES = [(i, j) for i in range(4) for j in range(i, 4)]
_SQUARES = [place for place, (i, j) in enumerate(_PLACES) if i == j]
