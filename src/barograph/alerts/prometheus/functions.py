"""Functions of one series' samples in a window, and of single numbers, as Prometheus 2.42 computes them.

Called by ``kernel``. Rates are extrapolated to the ends of the window as Prometheus does: by at most half a distance
between samples where the series begins or ends inside it, and never below zero. Numbers follow IEEE 754 where Python
would raise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise

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
    mean = values[0]
    for count, value in enumerate(values[1:], 2):
        if not math.isinf(mean) or not (value == mean or math.isfinite(value)):
            mean += value / count - mean / count
    return mean


def running_variance(values: Sequence[float]) -> float:
    """The population's variance in one pass (Welford 1962), without compensation, as over series."""
    mean, squares = values[0], 0.0
    for count, value in enumerate(values[1:], 2):
        distance = value - mean
        mean += distance / count
        squares += distance * (value - mean)
    return squares / len(values)


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


def variance(values: Sequence[float]) -> float:
    """The population's variance in one pass (Welford 1962), compensated."""
    count = mean = mean_rest = squares = squares_rest = 0.0
    for value in values:
        count += 1
        distance = value - (mean + mean_rest)
        mean, mean_rest = _compensated(distance / count, mean, mean_rest)
        squares, squares_rest = _compensated(distance * (value - (mean + mean_rest)), squares, squares_rest)
    return (squares + squares_rest) / count


def quantile(level: float, values: Sequence[float]) -> float:
    """The quantile, linear between the values beside it; not a number counts as the smallest."""
    if math.isnan(level):
        return math.nan
    if not 0 <= level <= 1:
        return -math.inf if level < 0 else math.inf
    ordered = sorted(values, key=lambda value: (not math.isnan(value), value))
    rank = level * (len(ordered) - 1)
    low = max(0, math.floor(rank))
    weight = rank - math.floor(rank)
    return ordered[low] * (1 - weight) + ordered[min(len(ordered) - 1, low + 1)] * weight


def fitted(points: Points, origin: float) -> tuple[float, float] | None:
    """The line of least squares: its change a second and its value at ``origin``; None of fewer than two samples."""
    if len(points) < 2:
        return None
    _, first = points[0]
    if all(value == first for _, value in points):
        return (math.nan, math.nan) if math.isinf(first) else (0.0, first)
    sums = [[0.0, 0.0] for _ in range(4)]
    for time, value in points:
        x = time - origin
        for place, term in enumerate((x, value, x * value, x * x)):
            sums[place] = list(_compensated(term, *sums[place]))
    x, y, xy, xx = (added + rest for added, rest in sums)
    count = float(len(points))
    change = divided(xy - x * y / count, xx - x * x / count)
    return change, y / count - change * x / count


def bucket_quantile(level: float, buckets: Iterable[tuple[float, float]]) -> float:
    """The quantile of cumulative counts by upper bound, linear within a bucket; not a number without observations."""
    if math.isnan(level):
        return math.nan
    if not 0 <= level <= 1:
        return -math.inf if level < 0 else math.inf
    summed: dict[float, float] = {}
    for bound, count in buckets:
        summed[bound] = summed.get(bound, 0.0) + count
    bounds = sorted(summed)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return math.nan
    counts = list(accumulate((summed[bound] for bound in bounds), max))
    if counts[-1] == 0 or math.isnan(counts[-1]):
        return math.nan
    rank = level * counts[-1]
    place = next((i for i, count in enumerate(counts[:-1]) if count >= rank), len(counts) - 1)
    if place == len(counts) - 1:
        return bounds[-2]
    if place == 0 and bounds[0] <= 0:
        return bounds[0]
    start, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    return start + (bounds[place] - start) * divided(rank - below, counts[place] - below)


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
    "stdvar_over_time": variance,
    "stddev_over_time": lambda values: math.sqrt(variance(values)),
}


def over(function: str, points: Points, start: float, end: float, argument: float | None = None) -> float | None:
    """The function of the samples in [start, end]; None where they are too few."""
    if not points:
        return None
    if argument is not None and function == "quantile_over_time":
        return quantile(argument, [value for _, value in points])
    if argument is not None:
        line = fitted(points, end)
        return None if line is None else line[0] * argument + line[1]
    if function in OF_VALUES:
        return OF_VALUES[function]([value for _, value in points])
    if function == "deriv":
        line = fitted(points, points[0][0])
        return None if line is None else line[0]
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
    if function == "round":
        inverse = divided(1.0, limit or 1.0)
        nearest = value * inverse + 0.5
        return divided(float(math.floor(nearest)) if math.isfinite(nearest) else nearest, inverse)
    if function == "sgn":
        return float((value > 0) - (value < 0))
    if function == "abs":
        return abs(value)
    if function in ("ceil", "floor"):
        rounded = math.ceil if function == "ceil" else math.floor
        return math.copysign(rounded(value), value) if math.isfinite(value) else value  # -0.5 rounds up to -0
    if function == "exp":
        return math.exp(value) if value < 709.0 else power(math.e, value)
    if function == "sqrt":
        return math.sqrt(value) if value >= 0 else math.nan
    return math.nan if value < 0 else -math.inf if value == 0 else math.log(value)
