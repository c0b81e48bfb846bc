"""What a rule would have read at each look over a stored past, as the evaluator reads it live.

Called by ``backtest``. A rule whose windows slide with the time of the look is not asked look by look: the same
question in buckets as long as the window, at every offset that the looks have, answers a stretch of days at once. The
looks are those of the live rule where that many questions can be asked, else the closest that can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

from msgspec.structs import replace

from barograph.alerts.detectors import Detectors
from barograph.alerts.evaluator import Reading
from barograph.alerts.lifecycle import Observation
from barograph.alerts.look import labels_of, look
from barograph.alerts.prometheus.measurements import Measurements
from barograph.alerts.rule import GROUP_LIMIT, ThresholdRule
from barograph.alerts.rules.anomaly import POINTS, AnomalyRule
from barograph.alerts.rules.expression import ExpressionRule
from barograph.alerts.schedule import INTERVAL_SECONDS
from barograph.core.query import MetricAnswer, MetricQuery, MetricRow, Window, earlier_window
from barograph.core.reader import Reader
from barograph_client.errors import InvalidQuery, InvalidRule

STEPS = (INTERVAL_SECONDS, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)
MOST_QUESTIONS = 2_000  # of one backtest; each is some ten milliseconds to the engine
MOST_READ = 600_000  # looks times groups
MINUTE = 60.0  # whole minutes are in the rollups, which stay when raw events are gone
_STRETCH = 3 * 86400.0  # seconds that one question is about, at most
_MOST_BUCKETS = 10_000
_CELLS = 100_000  # rows that are held at a time
_FEWEST_AHEAD, _MOST_AHEAD = 60, 2_000  # looks whose samples are read at once
_SECOND = timedelta(seconds=1)


class Look(NamedTuple):
    """One evaluation: when, what was read, and the seconds since the one before."""

    at: datetime
    reading: Reading
    step: float


def looks(rule: ThresholdRule, reader: Reader, project: str, window: Window) -> Iterator[Look]:
    """The looks within the window, in order. Raises InvalidQuery where they would be too many, and as the Reader."""
    if isinstance(rule, AnomalyRule):
        return _point_by_point(rule, reader, project, window)
    if isinstance(rule, ExpressionRule):
        return _evaluated(rule, reader, project, window)
    if _slides(rule, window.end, project):
        return _sliding(rule, reader, project, window)
    return _one_by_one(rule, reader, project, window)


def _slides(rule: ThresholdRule, end: datetime, project: str) -> bool:
    """Whether a second later the same is asked of windows that are a second later, and whole seconds long.

    Not where what it reads is more than the rows of its questions.
    """
    if type(rule).read is not ThresholdRule.read:
        return False
    now, later = rule.questions(end, project), rule.questions(end + _SECOND, project)
    windows = [question.window for question in now]
    same = [one.shifted(1) for one in windows] == [question.window for question in later]
    return bool(windows) and same and all(one.seconds == int(one.seconds) for one in windows)


def _one_by_one(rule: ThresholdRule, reader: Reader, project: str, window: Window) -> Iterator[Look]:
    """A rule is asked as it is when it is live: what its windows are, or what it asks, only it knows."""
    asked = max(1, len(rule.questions(window.end, project)))
    step = next((step for step in _steps(rule) if window.seconds / step * asked <= MOST_QUESTIONS), STEPS[-1])
    for at in _grid(window.start, window.end, step):
        rows = [row for row in rule.read(reader, at, project).rows if row.n or not rule.by]
        yield Look(at, _reading(rule, rows), step)


def _point_by_point(rule: AnomalyRule, reader: Reader, project: str, window: Window) -> Iterator[Look]:
    """The detectors learn the past of the window, then take each point when it is over."""
    detectors = Detectors((rule,), project)
    for past in detectors.questions(rule, window.start):
        detectors.take(rule, reader.query(past).rows, past.window.end)
    step = _closest(rule, window, _groups(rule, reader, project, window), lambda step: 0)
    last = rule.floor(window.end)
    asked_to = taken_to = rule.floor(window.start)
    found: dict[datetime, list[MetricRow]] = {}
    for at in _grid(window.start, window.end, step):
        over = rule.floor(at)
        while over > taken_to:
            if taken_to == asked_to:
                asked_to = min(last, asked_to + timedelta(seconds=POINTS * rule.window_seconds))
                found = _by_end(reader, rule.points(Window(taken_to, asked_to), project))
            taken_to += timedelta(seconds=rule.window_seconds)
            detectors.take(rule, found.get(taken_to, []), taken_to)
        groups, note = detectors.judged(rule, at)
        yield Look(at, Reading(groups=groups, note=note), step)


def _evaluated(rule: ExpressionRule, reader: Reader, project: str, window: Window) -> Iterator[Look]:
    """Its samples are read ahead, a stretch at a time, and at each look its expression is evaluated over them."""
    groups = _groups(rule, reader, project, window)
    fitting = [step for step in STEPS if rule.window_seconds % step == 0]
    step = _closest(rule, window, groups, lambda step: 0 if step in fitting else MOST_QUESTIONS + 1)
    start, measurements = _floor(window.start, step), None
    while start < window.end:
        for by in [step, *(longer for longer in fitting if longer > step and longer % MINUTE == 0)]:
            ahead = max(_FEWEST_AHEAD, min(_MOST_AHEAD, _CELLS // groups)) * by
            until = min(start + timedelta(seconds=ahead), window.end)
            ends = _grid(start, until, by)
            if measurements is None or measurements.step != by:
                measurements = rule.measurements(reader, project, step=int(by), ahead=ahead, most=groups)
            if ends:
                measurements.read(ends[-1])
            if not measurements.retired or by % MINUTE == 0:
                break
        for at in ends:
            yield Look(at, _elements(rule, cast(Measurements, measurements), at), by)
        start = until


def _elements(rule: ExpressionRule, measurements: Measurements, at: datetime) -> Reading:
    tick = int(at.timestamp())
    try:
        rows = rule.evaluated(measurements, tick).rows
    except InvalidRule as error:
        return Reading(error=str(error))
    there = measurements.samples.any_at(tick)
    return replace(_reading(rule, rows), rest=Observation(outcome="clear", n=int(there)))


def _by_end(reader: Reader, questions: Sequence[MetricQuery]) -> dict[datetime, list[MetricRow]]:
    found: dict[datetime, list[MetricRow]] = {}
    for question in questions:
        for row in reader.query(question).rows:
            found.setdefault(row.end, []).append(row)
    return found


def _sliding(rule: ThresholdRule, reader: Reader, project: str, window: Window) -> Iterator[Look]:
    """Stretch by stretch. One whose raw events are gone is looked at by whole minutes, which the rollups answer."""
    groups = _groups(rule, reader, project, window)
    lengths = [int(question.window.seconds) for question in rule.questions(window.end, project)]
    most = max(1.0, min(_STRETCH, _MOST_BUCKETS * min(lengths), _CELLS / groups * min(lengths)))

    def asked(step: float) -> int:
        stretch = max(step, min(most, _CELLS * step / groups))
        return math.ceil(window.seconds / stretch) * sum(_parts(length, step) for length in lengths)

    step = _closest(rule, window, groups, asked)
    stretch = timedelta(seconds=max(step, min(most, _CELLS * step / groups) // step * step))
    start = _floor(window.start, step)
    while start < window.end:
        until = min(start + stretch, window.end)
        by = step
        while True:
            ends = _grid(start, until, by)
            read = _read(rule, reader, project, ends, by, groups) if ends else []
            if read is not None or by % MINUTE == 0:
                break
            by = next(longer for longer in STEPS if longer > by and longer % MINUTE == 0)
        yield from (Look(at, reading, by) for at, reading in zip(ends, read or (), strict=True))
        start = until


def _read(
    rule: ThresholdRule, reader: Reader, project: str, ends: Sequence[datetime], step: float, groups: int
) -> list[Reading] | None:
    """What the rule reads at each of those times; None when events are gone that looks beside the minutes need."""
    questions = rule.questions(ends[-1], project)
    found: dict[datetime, list[tuple[list[MetricRow], list[MetricRow]]]] = {
        end: [([], []) for _ in questions] for end in ends
    }
    for place, question in enumerate(questions):
        windows = [question.window]
        if question.compare is not None:
            windows.append(
                earlier_window(question.window, question.compare, UTC)
                if isinstance(question.compare, str)
                else question.compare
            )
        for side, last in enumerate(windows):
            shift = ends[-1] - last.end
            for offset_question in _offsets(replace(question, limit=groups), last, ends[0] - shift, step):
                answer = reader.query(offset_question)
                if step % MINUTE and answer.read_from != "rollup" and answer.notes:
                    return None
                for row in answer.rows:
                    at = row.end + shift
                    if at in found and (row.n or not rule.by):
                        found[at][place][side].append(row)
    readings = []
    for end, sides in found.items():
        answers = [
            MetricAnswer(metric=question.metric, unit="", rows=tuple(now), before=tuple(before), complete_to=end)
            for question, (now, before) in zip(questions, sides, strict=True)
        ]
        readings.append(_reading(rule, rule.rows(answers)))
    return readings


def _offsets(question: MetricQuery, last: Window, first_end: datetime, step: float) -> Iterator[MetricQuery]:
    """The window at every step from the one that ends at ``first_end`` to ``last``, by as few questions as can be."""
    length = timedelta(seconds=last.seconds)
    for part in range(_parts(int(last.seconds), step)):
        start = first_end + timedelta(seconds=step * part) - length
        count = (last.end - start) // length
        if count < 1:
            return
        yield replace(
            question,
            window=Window(start, start + count * length),
            every=last.seconds,
            offset=round(start.timestamp() % last.seconds),
            compare=None,
        )


def _parts(length: int, step: float) -> int:
    """How many places a window of that length has within itself, looked at by that step."""
    return length // math.gcd(length, int(step))


def _steps(rule: ThresholdRule) -> list[float]:
    """How often it may be looked at: as it is live, or less often."""
    live = rule.interval_seconds or INTERVAL_SECONDS
    return [live, *(step for step in STEPS if step > live)]


def _closest(rule: ThresholdRule, window: Window, groups: int, asked: Callable[[float], int]) -> float:
    """The shortest step by which the looks and the questions are not too many. Raises InvalidQuery."""
    for step in _steps(rule):
        if window.seconds / step * groups <= MOST_READ and asked(step) <= MOST_QUESTIONS:
            return step
    raise InvalidQuery(
        f"that would be more than {MOST_READ:,} looks or {MOST_QUESTIONS:,} questions", hint="Ask for a shorter time."
    )


def _groups(rule: ThresholdRule, reader: Reader, project: str, window: Window) -> int:
    """How many groups there are in all of the window, of those that are watched."""
    question = rule.question(window.end, project)
    if not question.by:
        return 1
    return max(1, len(reader.query(replace(question, window=window, limit=GROUP_LIMIT)).rows))


def _reading(rule: ThresholdRule, rows: Sequence[MetricRow]) -> Reading:
    return Reading(groups=tuple((labels_of(rule, row), look(rule, row)) for row in rows))


def _grid(start: datetime, end: datetime, step: float) -> list[datetime]:
    """The multiples of the step since 1970 after ``start``, up to ``end``."""
    first, last = int(start.timestamp() // step) + 1, int(end.timestamp() // step)
    return [datetime.fromtimestamp(number * step, UTC) for number in range(first, last + 1)]


def _floor(moment: datetime, seconds: float) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
