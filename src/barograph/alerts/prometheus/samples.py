"""Samples of series in memory: what ``kernel`` evaluates an expression over.

Filled by ``measurements`` with what metrics were at each tick. Series of a name stand in the order of their labels, so
that sums over them do not depend on which came first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping

from barograph.alerts.matcher import Matcher, all_match
from barograph.alerts.prometheus.expression import NAME
from barograph_client.errors import InvalidInput

STALE = None  # the sample that says: the series ends here
SLACK = 64  # samples too old that a series may have before they are forgotten


class Series:
    """One series: its labels, and its samples in the order of their times (seconds since the Unix epoch)."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        self.key = tuple(sorted(labels.items()))
        self.times: list[float] = []
        self.values: list[float | None] = []

    def latest(self, at: float, lookback: float) -> float | None:
        """The newest value from ``lookback`` seconds before ``at`` on; None where there is none, or it has ended."""
        last = bisect_right(self.times, at) - 1
        if last < 0 or self.times[last] < at - lookback:
            return None
        return self.values[last]

    def window(self, start: float, end: float) -> list[tuple[float, float]]:
        """Times and values from ``start`` to ``end``, both included; without the marks of an end."""
        first, last = bisect_left(self.times, start), bisect_right(self.times, end)
        pairs = zip(self.times[first:last], self.values[first:last], strict=True)
        return [(time, value) for time, value in pairs if value is not STALE]


class Samples:
    """Series by their labels. Not shared between threads."""

    def __init__(self) -> None:
        self._series: dict[tuple[tuple[str, str], ...], Series] = {}
        self._named: dict[str, list[Series]] = {}

    def add(self, labels: Mapping[str, str], at: float, value: float | None) -> None:
        """One more sample of the series with those labels (``__name__`` among them). Raises InvalidInput."""
        key = tuple(sorted(labels.items()))
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(labels)
            insort(self._named.setdefault(labels.get(NAME, ""), []), series, key=lambda one: one.key)
        if series.times and at <= series.times[-1]:
            raise InvalidInput("a sample that is not later than the last one of its series", value=at)
        series.times.append(at)
        series.values.append(value)

    def any_at(self, at: float) -> bool:
        """Whether any series has a sample of that very time."""
        return any(one.latest(at, 0.0) is not None for one in self._series.values())

    def select(self, matchers: Iterable[Matcher]) -> Iterator[Series]:
        """The series that all matchers match."""
        matchers = tuple(matchers)
        named = next((one.value for one in matchers if one.name == NAME and one.operator == "="), None)
        candidates = self._series.values() if named is None else self._named.get(named, ())
        return (series for series in candidates if all_match(matchers, series.labels))

    def forget(self, before: float, most: int) -> None:
        """Drop samples from before that time, and of each name all series but the ``most`` that were there last."""
        for name, series in self._named.items():
            kept = sorted(series, key=lambda one: -one.times[-1])[:most]
            oldest = max(before, kept[-1].times[-1]) if len(series) > most else before
            self._named[name] = [one for one in series if one.times[-1] >= oldest][:most]
        self._series = {one.key: one for series in self._named.values() for one in series}
        for one in self._series.values():
            old = bisect_left(one.times, before)
            if old > SLACK:
                del one.times[:old], one.values[:old]
