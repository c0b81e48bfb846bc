"""Many questions at once: p-values of one family, adjusted together.

Takes the p-values of a declared family, hands back the adjusted ones in the same order: a question is answered with
yes at alpha where its adjusted p-value is at most alpha. The family is the whole of what was asked: adjusted one
question at a time (a family of one each), every p-value stays what it was, and nothing is controlled.

All raise InvalidInput for what is no p-value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from barograph_client.errors import InvalidInput


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """Each times their number (Bonferroni 1936): controls the chance of one false alarm; assumes nothing."""
    _require(p_values)
    return [min(1.0, p * len(p_values)) for p in p_values]


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down Bonferroni (Holm 1979): the same promise, never less powerful; assumes nothing."""
    _require(p_values)
    return _step_down(p_values, lambda p, rank: p * (len(p_values) - rank + 1))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Step-up (Benjamini and Hochberg 1995): controls the share of false ones among the findings.

    Assumes independent or positively dependent tests.
    """
    _require(p_values)
    return _step_up(p_values, lambda p, rank: p * len(p_values) / rank)


def benjamini_yekutieli(p_values: Sequence[float]) -> list[float]:
    """The same promise as Benjamini and Hochberg's, whatever the dependence (Benjamini and Yekutieli 2001).

    Costs the factor 1 + 1/2 + ... + 1/m, for m questions.
    """
    _require(p_values)
    harmonic = math.fsum(1 / rank for rank in range(1, len(p_values) + 1))
    return _step_up(p_values, lambda p, rank: p * len(p_values) / rank * harmonic)


def sidak(p_values: Sequence[float]) -> list[float]:
    """1 - (1 - p)^m (Sidak 1967): exact for independent questions; a little smaller than Bonferroni's."""
    _require(p_values)
    return [_any_of(p, len(p_values)) for p in p_values]


def holm_sidak(p_values: Sequence[float]) -> list[float]:
    """Holm's steps with Sidak's correction: assumes independent, or positively dependent, questions."""
    _require(p_values)
    return _step_down(p_values, lambda p, rank: _any_of(p, len(p_values) - rank + 1))


def hochberg(p_values: Sequence[float]) -> list[float]:
    """Holm's factors from the largest p-value upwards (Hochberg 1988): never less powerful than Holm's.

    Assumes independent, or positively dependent, questions.
    """
    _require(p_values)
    return _step_up(p_values, lambda p, rank: p * (len(p_values) - rank + 1))


def hommel(p_values: Sequence[float]) -> list[float]:
    """The closed test on Simes' inequality (Hommel 1988; in the steps of Wright 1992).

    Never less powerful than Hochberg's, under the same assumption.
    """
    _require(p_values)
    count = len(p_values)
    order = sorted(range(count), key=p_values.__getitem__)
    ordered = [p_values[index] for index in order]
    best = list(ordered)
    for size in range(2, count + 1):
        first = count - size  # where the ``size`` largest p-values begin
        simes = min(size * ordered[first + step - 1] / step for step in range(2, size + 1))
        for rank in range(count):
            best[rank] = max(best[rank], min(size * ordered[min(rank, first)], simes))
    adjusted = [0.0] * count
    for index, p in zip(order, best, strict=True):
        adjusted[index] = min(1.0, p)
    return adjusted


def _step_down(p_values: Sequence[float], corrected: Callable[[float, int], float]) -> list[float]:
    """From the smallest p-value (rank 1) on, each at least as large as those before it."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__), start=1):
        largest = max(largest, min(1.0, corrected(p_values[index], rank)))
        adjusted[index] = largest
    return adjusted


def _step_up(p_values: Sequence[float], corrected: Callable[[float, int], float]) -> list[float]:
    """From the largest p-value down to rank 1, each at most as large as those before it."""
    adjusted, least = [0.0] * len(p_values), 1.0
    for rank, index in reversed(list(enumerate(sorted(range(len(p_values)), key=p_values.__getitem__), start=1))):
        least = min(least, corrected(p_values[index], rank))
        adjusted[index] = least
    return adjusted


def _any_of(p: float, count: int) -> float:
    """The chance of one or more of ``count`` independent events of chance ``p``; keeps the digits of tiny ones."""
    return 1.0 if p == 1 else -math.expm1(count * math.log1p(-p))


def _require(p_values: Sequence[float]) -> None:
    if any(math.isnan(p) or not 0 <= p <= 1 for p in p_values):
        raise InvalidInput("p-values lie between 0 and 1", value=list(p_values))
