"""Many questions at once: p-values of one family, adjusted together.

Takes the p-values of a declared family, hands back the adjusted ones in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from barograph_client.errors import InvalidInput


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """Each times their number (Bonferroni 1936): controls the chance of one false alarm; assumes nothing."""
    _require(p_values)
    return [min(1.0, p * len(p_values)) for p in p_values]


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down Bonferroni (Holm 1979): the same promise, never less powerful; assumes nothing."""
    _require(p_values)
    adjusted, largest, count = [0.0] * len(p_values), 0.0, len(p_values)
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (count - rank)))
        adjusted[index] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Step-up (Benjamini and Hochberg 1995): controls the share of false ones among the findings.

    Assumes independent or positively dependent tests.
    """
    _require(p_values)
    adjusted, least, count = [0.0] * len(p_values), 1.0, len(p_values)
    for rank, index in reversed(list(enumerate(sorted(range(count), key=p_values.__getitem__), start=1))):
        least = min(least, p_values[index] * count / rank)
        adjusted[index] = least
    return adjusted


def _require(p_values: Sequence[float]) -> None:
    if any(math.isnan(p) or not 0 <= p <= 1 for p in p_values):
        raise InvalidInput("p-values lie between 0 and 1", value=list(p_values))
