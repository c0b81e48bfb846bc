"""Between which values the numbers of events lie, as their annotations in ``event`` say, and those of metrics."""

from __future__ import annotations

import math
from functools import cache

import msgspec

from barograph.core.event import KINDS
from barograph.core.metric import Metric

_DERIVED_COUNTS = ("document_count", "cited_count")  # of the query event's passages


@cache
def number_bounds(kind: str) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each number of an event kind, by its name; infinite where there is no end."""
    info = msgspec.inspect.type_info(KINDS[kind])
    assert isinstance(info, msgspec.inspect.StructType)
    found: dict[str, tuple[float, float]] = dict.fromkeys(_DERIVED_COUNTS, (0, math.inf)) if kind == "query" else {}
    for field in info.fields:
        type_ = field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type
        for one in type_.types if isinstance(type_, msgspec.inspect.UnionType) else (type_,):
            if isinstance(one, msgspec.inspect.FloatType | msgspec.inspect.IntType):
                found[field.name] = (-math.inf if one.ge is None else one.ge, math.inf if one.le is None else one.le)
    return found


def metric_range(metric: Metric) -> tuple[float, float]:
    """The least and the greatest value of a metric, whatever happens; infinite where there is no end.

    A mean, a percentile and the last value lie within the bounds of the event's number. Built-in ratios are shares.
    """
    if metric.aggregation in ("count", "rate", "distinct"):
        return 0, math.inf
    if metric.aggregation == "ratio":
        return (-math.inf, math.inf) if metric.user_defined else (0, 1)
    least, greatest = number_bounds(metric.of.kind).get(metric.of.field, (-math.inf, math.inf))
    if metric.aggregation == "sum":
        return 0 if least >= 0 else -math.inf, math.inf
    return least, greatest
