"""Metrics of the catalogue as series: what each was over a window that ends at a tick, tick by tick.

``Measurements`` asks a Reader for what an expression needs of the past, once, and from then on for the new ticks alone.
What is remembered can be asked again, so that after a restart the samples are the same; no events in a window are no
sample. Filled for a ``rules.expression``, which evaluates over ``samples``; ``exposition`` shows the newest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from msgspec.structs import replace

from barograph.alerts.prometheus.expression import NAME
from barograph.alerts.prometheus.samples import Samples
from barograph.alerts.rules.threshold import GROUP_LIMIT
from barograph.core.query import MetricAnswer, MetricQuery, Window
from barograph.core.reader import Reader

MOST_SAMPLES = 250_000  # of one metric that are remembered, some 16 MB: the longer the past, the fewer groups
MOST_ADDED = 2_000_000  # buckets added up for one group by one question
MOST_ROWS = 100_000  # of one answer

Newest = tuple[tuple[dict[str, str], float], ...]  # labels, the name among them, and values


class Measurements:
    """The samples of some metrics. One thread at a time, but for ``newest``.

    ``ask`` says by name what to ask for the samples at a moment; the windows are whole steps. ``labels`` is how its
    groups are called in a series. Ticks are ``step`` seconds apart, and ``reach`` seconds of them are remembered. A
    window with fewer than ``minimum`` events has no sample. Of a metric ``most`` groups are remembered, the largest.
    """

    def __init__(
        self,
        reader: Reader,
        ask: Callable[[datetime], Mapping[str, MetricQuery]],
        labels: Mapping[str, str],
        *,
        reach: float,
        step: int,
        minimum: int = 1,
        most: int = GROUP_LIMIT,
    ) -> None:
        self._reader = reader
        self._ask = ask
        self._labels = labels
        self.step = step
        self._minimum = minimum
        self._ticks = math.ceil(reach / step) + 1  # that are remembered
        self.groups = max(1, min(most, MOST_SAMPLES // self._ticks))
        self.newest: tuple[int, Newest] = (0, ())  # of which tick, and its samples
        self.full = False  # whether there may have been more groups at the newest tick than are remembered
        self.retired = False  # whether events that the last answers needed may be gone
        self._begin(0)

    def _begin(self, tick: int) -> None:
        self.samples = Samples()
        first = tick - self._ticks * self.step
        self._read = dict.fromkeys(self._ask(_moment(tick)), first)  # the last tick that was asked for

    def read(self, end: datetime) -> int:
        """Ask for what is missing up to ``end``, whose second is the newest tick. Returns it, in Unix seconds.

        A tick before the newest, or beside the others, begins anew. Raises what the Reader raises; what was answered
        before that is kept.
        """
        tick = math.floor(end.timestamp())
        last = min(self._read.values())
        if tick < last or (tick - last) % self.step or tick - last > self._ticks * self.step:
            self._begin(tick)
        asked = min(self._read.values()) < tick
        if asked:
            self.full = self.retired = False
        newest: list[tuple[dict[str, str], float]] = []
        for name in self._read:
            for answer, until in self._missing(name, tick, end):
                newest += self._take(name, answer, tick)
                self._read[name] = until
        if asked:
            self.newest = (tick, tuple(newest))
        self.samples.forget(tick - self._ticks * self.step, self.groups)
        return tick

    def _missing(self, name: str, tick: int, end: datetime) -> Iterator[tuple[MetricAnswer, int]]:
        """The answers for the ticks that were not asked for, and up to which tick each is."""
        question = replace(self._ask(end)[name], limit=self.groups)
        alone = self._read[name] == tick - self.step or end.microsecond  # the newest: to the microsecond, of rollups
        last = tick - self.step if alone else tick
        seconds = round(question.window.seconds)
        at_once = min(MOST_ADDED * self.step // seconds, MOST_ROWS // question.limit if question.by else MOST_ROWS)
        while self._read[name] < last:
            since = self._read[name]
            until = min(last, since + max(1, at_once) * self.step)
            yield (
                self._reader.query(
                    replace(
                        question,
                        window=Window(_moment(since), _moment(until)),
                        every=self.step,
                        offset=tick % self.step,
                        trailing=seconds,
                    )
                ),
                until,
            )
        if self._read[name] < tick:
            yield self._reader.query(question), tick

    def _take(self, name: str, answer: MetricAnswer, tick: int) -> list[tuple[dict[str, str], float]]:
        """Remember the rows of an answer; hand back those of the newest tick."""
        newest: list[tuple[dict[str, str], float]] = []
        self.retired = self.retired or (answer.read_from != "rollup" and bool(answer.notes))
        for row in answer.rows:
            if row.value is None or row.n < self._minimum:
                continue
            at = math.floor(row.end.timestamp())
            labels = {self._labels[label]: text for label, text in row.group.items() if text} | {NAME: name}
            self.samples.add(labels, float(at), row.value)
            if at == tick:
                newest.append((labels, row.value))
        self.full = self.full or (bool(self._labels) and len(newest) >= self.groups)
        return newest


def _moment(tick: int) -> datetime:
    return datetime.fromtimestamp(tick, UTC)
