"""What a rule would have done on stored data: when it would have fired, for how long, and how often a month.

The past is looked at on a grid. Its windows slide, so each step is answered by the same question in buckets as long as
the window, with another offset; the readings go through the same book that keeps live alerts. Where the live rule
looks every quarter of a minute, this looks once a minute, and more seldom over a long window: ``step_seconds`` tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from barograph.alerts.alert import fingerprint
from barograph.alerts.book import AlertBook, Nowhere
from barograph.alerts.detectors import Detectors
from barograph.alerts.evaluator import Reading
from barograph.alerts.lifecycle import Observation
from barograph.alerts.look import labels_of, look
from barograph.alerts.rule import GROUP_LIMIT, ThresholdRule
from barograph.alerts.rules.anomaly import POINTS, AnomalyRule
from barograph.core.event import Alert
from barograph.core.query import MetricRow, Reader, Window
from barograph_client.clock import as_utc
from barograph_client.errors import InvalidQuery

SHORTEST_STEP = 60.0  # seconds between two looks; windows that are shorter are looked at end to end
MOST_STEPS = 60  # looks within the length of one window
MONTH = 30 * 86400.0
LONGEST_SECONDS = 92 * 86400.0
MOST_LOOKS = 150_000
_CELLS = 100_000  # rows asked for at a time
_MOST_BUCKETS = 10_000
_MOST_ASKED = 720  # steps of a rule that is asked anew at each of them

Progress = Callable[[float], None]  # told the share that is done


class Firing(Struct, frozen=True, kw_only=True):
    """One alert that would have been. ``resolved_at`` is None when it would still fire at the end; ``worst`` is the
    value farthest beyond the limit while it fired."""

    labels: dict[str, str]
    fired_at: datetime
    resolved_at: datetime | None = None
    worst: float | None = None


class Backtest(Struct, frozen=True, kw_only=True):
    """What a rule would have done in a window. Seconds; ``alerts_a_month`` is per 30 days since there were data.

    ``steps`` times it would have been looked at, ``blind`` of which said nothing: no data, or too few events.
    """

    rule: str
    condition: str
    unit: str
    window: Window
    step_seconds: float
    steps: int
    blind: int
    firings: tuple[Firing, ...] = field(default_factory=tuple)
    alerts_a_month: float = 0.0
    firing_seconds: float = 0.0
    longest_seconds: float = 0.0


def backtest(
    rule: ThresholdRule, reader: Reader, project: str, window: Window, progress: Progress = lambda share: None
) -> Backtest:
    """Play the rule over the window, as far as its data are complete.

    Raises InvalidQuery for a window that is too long or has no data yet; UnknownMetric or EngineError as the reader.
    """
    if window.seconds > LONGEST_SECONDS:
        days = LONGEST_SECONDS / 86400
        raise InvalidQuery("a rule is tried on less than that", hint=f"Ask for {days:g} days at most.")
    window = Window(window.start, min(window.end, as_utc(reader.watermark())))
    if window.seconds / min(rule.window_seconds, SHORTEST_STEP) > MOST_LOOKS:
        raise InvalidQuery(f"that would be more than {MOST_LOOKS:,} looks", hint="Ask for a shorter time.")
    by_window = rule.slides or isinstance(rule, AnomalyRule)
    step = step_of(rule.window_seconds) if by_window else _step_of_questions(window)
    record = _Record(rule)
    book = AlertBook([rule], Nowhere(), record.transition, project, window.start, lambda *_: None)
    steps = blind = 0
    judged_from: datetime | None = None
    for at, reading in readings(rule, reader, project, window, step):
        book.enter(rule, reading, at)
        record.measure(reading)
        book.commit()
        steps += 1
        if all(seen.outcome == "nodata" for _, seen in reading.groups):
            blind += 1
        elif judged_from is None:
            judged_from = at - timedelta(seconds=step)
        progress((at - window.start).total_seconds() / window.seconds)
    firings = record.firings()
    lengths = [((one.resolved_at or window.end) - one.fired_at).total_seconds() for one in firings]
    return Backtest(
        rule=rule.name,
        condition=rule.condition,
        unit=rule.metric.unit,
        window=window,
        step_seconds=step,
        steps=steps,
        blind=blind,
        firings=firings,
        alerts_a_month=len(firings) * MONTH / max(step, (window.end - (judged_from or window.start)).total_seconds()),
        firing_seconds=sum(lengths),
        longest_seconds=max(lengths, default=0.0),
    )


def step_of(window_seconds: float) -> float:
    """The shortest step that divides the rule's window and is not shorter than it need be."""
    for parts in range(MOST_STEPS, 1, -1):
        step = window_seconds / parts
        if step >= SHORTEST_STEP and step == int(step):
            return step
    return window_seconds


def readings(
    rule: ThresholdRule, reader: Reader, project: str, window: Window, step: float
) -> Iterator[tuple[datetime, Reading]]:
    """At each step of the grid within the window, what the rule's own window that ends there shows; in order."""
    if isinstance(rule, AnomalyRule):
        yield from _point_by_point(rule, reader, project, window, step)
        return
    if not rule.slides:
        yield from _one_by_one(rule, reader, project, window, step)
        return
    length = rule.window_seconds
    groups = GROUP_LIMIT if rule.by else 1
    chunk = timedelta(seconds=max(1, min(_MOST_BUCKETS, _CELLS // groups)) * length)
    start = _floor(window.start, step)
    end = _floor(window.end, step)
    while start < end:
        until = min(start + chunk, end)
        yield from _chunk(rule, reader, project, start, until, step)
        start = until


def _step_of_questions(window: Window) -> float:
    """Whole minutes, so that a rule that has to be asked at every step is asked ``_MOST_ASKED`` times at most."""
    return math.ceil(window.seconds / _MOST_ASKED / SHORTEST_STEP) * SHORTEST_STEP


def _one_by_one(
    rule: ThresholdRule, reader: Reader, project: str, window: Window, step: float
) -> Iterator[tuple[datetime, Reading]]:
    """The steps of a rule whose questions are more than one sliding window: it is asked as it is when it is live."""
    at = _floor(window.start, step) + timedelta(seconds=step)
    while at <= window.end:
        measured = rule.read(reader, at, project)
        rows = [row for row in measured.rows if row.n or not rule.by]
        yield at, Reading(groups=tuple((labels_of(rule, row), look(rule, row)) for row in rows))
        at += timedelta(seconds=step)


def _point_by_point(
    rule: AnomalyRule, reader: Reader, project: str, window: Window, step: float
) -> Iterator[tuple[datetime, Reading]]:
    """The steps of an anomaly rule: its detectors learn the past of the window, then take a point when it is over."""
    detectors = Detectors((rule,), project)
    for past in detectors.questions(rule, window.start):
        detectors.take(rule, reader.query(past).rows, past.window.end)
    last = rule.floor(window.end)
    asked_to = taken_to = rule.floor(window.start)
    found: dict[datetime, list[MetricRow]] = {}
    at = _floor(window.start, step) + timedelta(seconds=step)
    while at <= window.end:
        over = rule.floor(at)
        if over > asked_to:
            until = min(last, asked_to + timedelta(seconds=POINTS * rule.window_seconds))
            found = {}
            for question in rule.points(Window(asked_to, until), project):
                for row in reader.query(question).rows:
                    found.setdefault(row.end, []).append(row)
            asked_to = until
        if over > taken_to:
            detectors.take(rule, found.get(over, []), over)
            taken_to = over
        groups, note = detectors.judged(rule, at)
        yield at, Reading(groups=groups, note=note)
        at += timedelta(seconds=step)


def _chunk(
    rule: ThresholdRule, reader: Reader, project: str, after: datetime, until: datetime, step: float
) -> Iterator[tuple[datetime, Reading]]:
    """The steps behind ``after`` up to ``until``."""
    length = timedelta(seconds=rule.window_seconds)
    seen: dict[datetime, list[tuple[dict[str, str], Observation]]] = {}
    at = after + timedelta(seconds=step)
    while at <= until:
        seen[at] = []
        at += timedelta(seconds=step)
    for part in range(round(rule.window_seconds / step)):
        first = after + timedelta(seconds=step * (part + 1)) - length  # the window that ends at the first of its steps
        count = (until - first) // length
        if count < 1:
            continue
        question = replace(
            rule.question(until, project),
            window=Window(first, first + count * length),
            every=rule.window_seconds,
            offset=round(first.timestamp() % rule.window_seconds),
        )
        for row in reader.query(question).rows:
            if row.end in seen and (row.n or not rule.by):
                seen[row.end].append((labels_of(rule, row), look(rule, row)))
    for at, groups in seen.items():
        yield at, Reading(groups=tuple(groups))


def _floor(moment: datetime, seconds: float) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)


class _Record:
    """The firings as the book tells of them."""

    def __init__(self, rule: ThresholdRule) -> None:
        self._rule = rule
        self._open: dict[str, Firing] = {}
        self._over: list[Firing] = []

    def transition(self, event: Alert) -> None:
        key = fingerprint(event.labels)
        if event.state == "firing" and key not in self._open:
            self._open[key] = Firing(labels=dict(event.labels), fired_at=event.time, worst=event.value)
        elif event.state == "resolved" and key in self._open:
            self._over.append(replace(self._open.pop(key), resolved_at=event.time))

    def measure(self, reading: Reading) -> None:
        """Note the worst values of what fires."""
        if not self._open:
            return
        for labels, seen in reading.groups:
            firing = self._open.get(fingerprint(labels))
            if firing is not None and seen.outcome == "breach" and seen.value is not None:
                self._open[fingerprint(labels)] = replace(firing, worst=self._worse(firing.worst, seen))

    def _worse(self, worst: float | None, seen: Observation) -> float | None:
        if worst is None or seen.value is None:
            return seen.value
        if not self._rule.has_limit:
            return worst
        falls = self._rule.above is None or seen.threshold == self._rule.below
        return min(worst, seen.value) if falls else max(worst, seen.value)

    def firings(self) -> tuple[Firing, ...]:
        return tuple(sorted([*self._over, *self._open.values()], key=lambda one: (one.fired_at, sorted(one.labels))))
