"""Shares of [0, 1): what each arm takes of it, and what each experiment of a namespace.

After GrowthBook's SDK specification (https://docs.growthbook.io/lib/build-your-own). Each arm's range begins where the
weights before it end and is as long as its weight times the coverage: raising the coverage makes ranges longer and
moves none, so it only adds units. Used by ``assignment``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from barograph_client.experiments.hashing import growthbook_hash

Range = tuple[float, float]  # from, and up to but without

_TOLERANCE: Final = 0.01  # by which a sum of weights may miss one, by the specification
_SEPARATOR: Final = "__"  # before a namespace's name, in the seed of its hash


def equal_weights(arms: int) -> list[float]:
    """The same weight for each of so many arms; none for none."""
    return [1 / arms] * arms if arms > 0 else []


def bucket_ranges(arms: int, coverage: float, weights: Sequence[float] | None = None) -> list[Range]:
    """The range of each arm. A coverage outside of [0, 1] is drawn into it; weights that do not fit become equal."""
    coverage = min(1.0, max(0.0, coverage))
    if weights is None or len(weights) != arms or abs(sum(weights) - 1) > _TOLERANCE:
        weights = equal_weights(arms)
    starts = [0.0, *accumulate(weights)]
    return [(start, start + coverage * weight) for start, weight in zip(starts, weights, strict=False)]


def choose_variation(position: float, ranges: Sequence[Range]) -> int:
    """The index of the range that holds the position, or -1."""
    for index, (start, end) in enumerate(ranges):
        if start <= position < end:
            return index
    return -1


def in_namespace(unit_id: str, name: str, start: float, end: float) -> bool:
    """Whether the unit is in the part of GrowthBook's namespace from ``start`` up to ``end``.

    By the hash of version 1 whatever the experiment's own is, so that all experiments of a namespace share one.
    """
    position = growthbook_hash(_SEPARATOR + name, unit_id, 1)
    return position is not None and start <= position < end
