"""Functions of one series' samples in a window, and of single numbers, as Prometheus 2.42 computes them.

Called by ``kernel``. Rates are extrapolated to the ends of the window as Prometheus does: by at most half a distance
between samples where the series begins or ends inside it, and never below zero. Numbers follow IEEE 754 where Python
would raise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

Points = Sequence[tuple[float, float]]  # seconds and values, oldest first

_NEARLY_ONE = 1.1  # distances between samples that the next one may be away before the series counts as ended


def extrapolated(points: Points, start: float, end: float, *, counter: bool, per_second: bool) -> float | None:
    """The change over the window [start, end], of a counter with its resets; None of fewer than two samples."""
    if len(points) < 2:
        return None
    (first_at, first), (last_at, last) = points[0], points[-1]
    change = last - first
    if counter:
        change += sum(before for (_, before), (_, after) in pairwise(points) if after < before)
    sampled = last_at - first_at
    distance = sampled / (len(points) - 1)
    to_start, to_end = first_at - start, end - last_at
    if counter and change > 0 and first >= 0:
        to_start = min(to_start, sampled * (first / change))  # a counter was not below zero
    reach = sampled
    reach += to_start if to_start < distance * _NEARLY_ONE else distance / 2
    reach += to_end if to_end < distance * _NEARLY_ONE else distance / 2
    factor = reach / sampled
    return change * (factor / (end - start) if per_second else factor)


def last_change(points: Points, *, counter: bool) -> float | None:
    """The change between the last two samples, of a counter a second; None of fewer than two."""
    if len(points) < 2:
        return None
    (before_at, before), (at, value) = points[-2:]
    if not counter:
        return value - before
    return (value if value < before else value - before) / (at - before_at)


def total(values: Sequence[float]) -> float:
    """The sum, compensated (Neumaier 1974)."""
    added, rest = 0.0, 0.0
    for value in values:
        added, rest = _compensated(value, added, rest)
    return added if math.isinf(added) else added + rest


def average(values: Sequence[float]) -> float:
    """The mean, as a running and compensated one, so that large values do not overflow."""
    mean, rest = 0.0, 0.0
    for count, value in enumerate(values, 1):
        if math.isinf(mean) and (value == mean or math.isfinite(value)):
            continue
        mean, rest = _compensated(value / count - mean / count, mean, rest)
    return mean if math.isinf(mean) else mean + rest


def _compensated(value: float, added: float, rest: float) -> tuple[float, float]:
    after = added + value
    if abs(added) >= abs(value):
        return after, rest + ((added - after) + value)
    return after, rest + ((value - after) + added)


def running_mean(values: Sequence[float]) -> float:
    """The mean, as a running one without compensation: how Prometheus takes it over series."""
    mean = 0.0
    for count, value in enumerate(values, 1):
        if not math.isinf(mean) or not (value == mean or math.isfinite(value)):
            mean += value / count - mean / count
    return mean


def least(values: Sequence[float]) -> float:
    """The smallest that is a number."""
    return min((value for value in values if not math.isnan(value)), default=math.nan)


def greatest(values: Sequence[float]) -> float:
    """The greatest that is a number."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _changes(values: Sequence[float]) -> float:
    return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairwise(values)))


def _resets(values: Sequence[float]) -> float:
    return float(sum(after < before for before, after in pairwise(values)))


OF_VALUES: dict[str, Callable[[Sequence[float]], float]] = {
    "avg_over_time": average,
    "sum_over_time": total,
    "min_over_time": least,
    "max_over_time": greatest,
    "count_over_time": lambda values: float(len(values)),
    "last_over_time": lambda values: values[-1],
    "present_over_time": lambda values: 1.0,
    "changes": _changes,
    "resets": _resets,
}


def over(function: str, points: Points, start: float, end: float) -> float | None:
    """The function of the samples in [start, end]; None where they are too few."""
    if not points:
        return None
    if function in OF_VALUES:
        return OF_VALUES[function]([value for _, value in points])
    if function in ("irate", "idelta"):
        return last_change(points, counter=function == "irate")
    return extrapolated(points, start, end, counter=function != "delta", per_second=function == "rate")


def divided(a: float, b: float) -> float:
    """a / b; of zero by zero not a number, of anything else by zero infinite."""
    if b != 0:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def remainder(a: float, b: float) -> float:
    """What a / b leaves, with the sign of a."""
    return math.nan if b == 0 or math.isinf(a) else math.fmod(a, b)


def power(a: float, b: float) -> float:
    """a to the power of b."""
    odd = b % 2 == 1
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and odd else math.inf
    except ValueError:  # zero to a negative power, or a root of a negative number
        if a != 0:
            return math.nan
        return math.copysign(math.inf, a) if odd else math.inf


def plain(function: str, value: float, limit: float | None) -> float:
    """A function of one number."""
    if math.isnan(value):
        return value
    if function in ("clamp_min", "clamp_max") and limit is not None:
        return limit if math.isnan(limit) else max(limit, value) if function == "clamp_min" else min(limit, value)
    if function == "abs":
        return abs(value)
    if function in ("ceil", "floor"):
        rounded = math.ceil if function == "ceil" else math.floor
        return float(rounded(value)) if math.isfinite(value) else value
    if function == "exp":
        return math.exp(value) if value < 709.0 else power(math.e, value)
    if function == "sqrt":
        return math.sqrt(value) if value >= 0 else math.nan
    return math.nan if value < 0 else -math.inf if value == 0 else math.log(value)
