"""What was usual, in bounded memory: an evenly thinned sample of the past whose quantiles are read at once.

Fed by the detector of ``baseline``; knows nothing of time. The sample is systematic, not random: the same numbers
always leave the same sample.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from typing import NamedTuple

from msgspec import Struct

from barograph.stats.packed import pack, rounded, unpack

CAPACITY = 1000  # values kept: the quartiles of that many are good to about 2 % of the spread
WIDEST_STRIDE = 16  # from here on the oldest value leaves: 8,000 to 16,000 points are remembered


class ReservoirState(Struct, frozen=True, kw_only=True):
    """A reservoir at rest. ``values`` are packed numbers, the oldest first."""

    values: bytes = b""
    stride: int = 1
    offered: int = 0


class Spread(NamedTuple):
    """Five quantiles of the sample: 5 %, 25 %, 50 %, 75 %, 95 %."""

    lowest: float
    low: float
    middle: float
    high: float
    highest: float


class Reservoir:
    """Every ``stride``-th value of the past, at most CAPACITY of them.

    When it is full, every second value is dropped and the stride doubles, until it is WIDEST_STRIDE; from then on
    each new value replaces the oldest. Adding costs O(log n) comparisons, reading a quantile none.
    """

    def __init__(self, state: ReservoirState | None = None) -> None:
        state = state or ReservoirState()
        self._arrived = unpack(state.values)
        self._sorted = _in_order(self._arrived)
        self._stride = state.stride
        self._offered = state.offered

    def __len__(self) -> int:
        return len(self._sorted)

    def state(self) -> ReservoirState:
        return ReservoirState(values=pack(self._arrived), stride=self._stride, offered=self._offered)

    def spread(self) -> Spread:
        """The quantiles, each a value of the sample. Must not be empty."""
        last = len(self._sorted) - 1
        return Spread(*[self._sorted[int(share * last)] for share in (0.05, 0.25, 0.5, 0.75, 0.95)])

    def add(self, value: float) -> None:
        """Offer the newest value, a finite one; values beyond 1e38 are taken as that."""
        self._offered += 1
        if self._offered % self._stride:
            return
        value = rounded(value)
        self._arrived.append(value)
        insort(self._sorted, value)
        if len(self._arrived) <= CAPACITY:
            return
        if self._stride < WIDEST_STRIDE:
            self._stride *= 2
            self._arrived = self._arrived[::-2][::-1]  # the newest stays
            self._sorted = _in_order(self._arrived)
        else:
            del self._sorted[bisect_left(self._sorted, self._arrived.pop(0))]

    def forget(self, points: int) -> None:
        """Forget all but what the last so many offered values left here (and at least the newest value)."""
        self._arrived = self._arrived[-max(1, points // self._stride) :]
        self._sorted = _in_order(self._arrived)


def _in_order(values: array[float]) -> array[float]:
    return array("f", sorted(values))
