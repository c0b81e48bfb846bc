"""Asks a Reader the question of one rule and says what each group of it shows.

Questions run in a helper thread with a time limit, because a rule that is slow, or hangs, must not keep the others
from being evaluated: it stands as failed until its answer is there. ``alert_manager`` has the questions of a tick
asked together (``ask_ahead``), calls ``observe`` rule by rule and hands the observations to ``lifecycle``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as Late
from datetime import datetime
from functools import partial
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from barograph.alerts.detectors import Detectors
from barograph.alerts.lifecycle import Observation
from barograph.alerts.look import labels_of, look
from barograph.alerts.prometheus.measurements import Measurements, Newest
from barograph.alerts.rules.anomaly import AnomalyRule
from barograph.alerts.rules.expression import ExpressionRule
from barograph.alerts.rules.function import FunctionRule
from barograph.alerts.rules.guardrail import GuardrailRule
from barograph.alerts.rules.threshold import Measured, ThresholdRule
from barograph.core.event import EARLIEST
from barograph.core.query import Filter, MetricAnswer, MetricQuery, Window
from barograph.core.reader import Reader
from barograph.core.unit import format_value
from barograph_client.errors import BarographError, shorten

T = TypeVar("T")
Together = Callable[[Sequence[MetricQuery]], list[MetricAnswer]]

MOST_THREADS = 32  # a hanging question holds one; one more answers all the others
_LOOK_BACK = ((86400.0, 60.0), (30 * 86400.0, 3600.0))  # for the last data: how far, and how exactly


class Reading(Struct, frozen=True, kw_only=True):
    """One evaluation of one rule: the groups with what they show, or the error that prevented it.

    ``note`` is a sentence when the groups are not all there are, ``unheard`` one when what is missing is no evidence.
    ``rest`` is what every other group shows, where that is known.
    """

    groups: tuple[tuple[dict[str, str], Observation], ...] = ()
    error: str = ""
    note: str = ""
    unheard: str = ""
    rest: Observation | None = None


class Evaluator:
    """Evaluates rules one at a time; one thread may call it at a time."""

    def __init__(
        self,
        reader: Reader,
        project: str,
        rule_seconds: float,
        detectors: Detectors | None = None,
        together: Together | None = None,
    ) -> None:
        """``together`` answers many questions at once; without it each rule asks alone."""
        self._reader = reader
        self._together = together
        self._ahead = _Ahead(reader)
        self._asking: Future[list[MetricAnswer]] | None = None  # ahead, and not answered in time
        self._alone: set[str] = set()  # rules that failed last, whose questions hold up no others
        self._project = project
        self._rule_seconds = rule_seconds
        self._detectors = detectors if detectors is not None else Detectors((), project)
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[str, Future[Measured]] = {}
        self._measurements: dict[str, tuple[ExpressionRule, Measurements]] = {}

    def watch(self, rules: Sequence[ThresholdRule]) -> None:
        """The rules are these from now on: what is remembered of others is forgotten."""
        self._detectors.watch(rules)
        kept = {name: known for name, known in self._measurements.items() if known[0] in rules}
        self._measurements = kept

    def samples(self) -> list[tuple[ThresholdRule, int, Newest]]:
        """The newest samples of the metrics that expressions name, and of which second they are. From any thread."""
        return [(rule, *one.newest) for rule, one in list(self._measurements.values())]

    def ask_ahead(self, rules: Sequence[ThresholdRule], end: datetime) -> None:
        """Ask what those rules want to know of ``end`` together: ``observe`` has it then.

        Not of rules that failed last. Where it fails, or takes too long, each rule asks for itself, and is told what
        is wrong with it. Never raises.
        """
        self._ahead = _Ahead(self._reader)
        if self._together is None or (self._asking is not None and not self._asking.done()):
            return
        wanted: dict[MetricQuery, None] = {}
        for rule in rules:
            if type(rule).read is ThresholdRule.read and not isinstance(rule, AnomalyRule) and self._is_well(rule):
                with contextlib.suppress(BarographError):  # it is told of the rule
                    wanted |= dict.fromkeys(rule.questions(end, self._project))
        if not wanted:
            return
        self._asking = self._asked(partial(self._together, list(wanted)))
        try:
            answers = self._asking.result(self._rule_seconds)
        except Exception:  # one of them, or all
            return
        self._ahead.answers = dict(zip(wanted, answers, strict=True))

    def _is_well(self, rule: ThresholdRule) -> bool:
        return rule.name not in self._alone and not self.is_slow(rule)

    def is_slow(self, rule: ThresholdRule) -> bool:
        """Whether the rule's last question has not been answered yet."""
        return rule.name in self._running

    def observe(self, rule: ThresholdRule, end: datetime) -> Reading:
        """What the window that ends at ``end`` shows. Never raises: a failure is in the reading."""
        reading = self._observed(rule, end)
        (self._alone.add if reading.error else self._alone.discard)(rule.name)
        return reading

    def _observed(self, rule: ThresholdRule, end: datetime) -> Reading:
        if isinstance(rule, GuardrailRule):
            groups, note = rule.standing(end)
            return Reading(groups=groups, note=note, rest=Observation(outcome="clear", value=0.0))
        running = self._running.get(rule.name)
        if running is not None and not running.done():
            return Reading(error="an earlier evaluation has not been answered yet")
        self._running.pop(rule.name, None)
        work = self._work(rule, end)
        if work is None:
            return self._judged(rule, end)
        answering = self._apart(work) if isinstance(rule, FunctionRule) else self._asked(work)
        try:
            measured = answering.result(self._rule_seconds)
            return self._read(rule, measured, end)
        except Late:
            if answering.done():  # the Reader itself raised a TimeoutError
                return Reading(error="the question took too long")
            self._running[rule.name] = answering
            return Reading(error=f"not answered within {format_value(self._rule_seconds, 's')}")
        except BarographError as error:
            return Reading(error=shorten(str(error), 300))
        except Exception as error:  # whatever one rule meets, the others are still evaluated
            return Reading(error=shorten(f"{type(error).__name__}: {error}", 300))

    def _read(self, rule: ThresholdRule, measured: Measured, end: datetime) -> Reading:
        """What was measured, against the rule."""
        if isinstance(rule, AnomalyRule):
            self._detectors.take(rule, measured.rows, min(end, measured.complete_to))
            return self._judged(rule, end)
        return Reading(
            groups=tuple((labels_of(rule, row), look(rule, row)) for row in measured.rows),
            note=measured.note,
            rest=Observation(outcome="clear") if isinstance(rule, ExpressionRule) else None,
        )

    def _work(self, rule: ThresholdRule, end: datetime) -> Callable[[], Measured] | None:
        """How to measure; nothing while no point of an anomaly rule is over that was not taken yet."""
        if isinstance(rule, ExpressionRule):
            return partial(rule.judged, self._remembered(rule), end)
        if not isinstance(rule, AnomalyRule):
            return lambda: rule.read(self._ahead, end, self._project)
        due = self._detectors.questions(rule, end)
        return None if not due else lambda: _points([self._reader.query(question) for question in due])

    def _remembered(self, rule: ExpressionRule) -> Measurements:
        known = self._measurements.get(rule.name)
        if known is None or known[0] != rule:
            known = self._measurements[rule.name] = rule, rule.measurements(self._reader, self._project)
        return known[1]

    def _judged(self, rule: ThresholdRule, end: datetime) -> Reading:
        groups, note = self._detectors.judged(rule, end)
        return Reading(groups=groups, note=note)

    def data_until(self, rule: ThresholdRule, labels: Mapping[str, str], end: datetime) -> datetime | None:
        """Up to when that group was measured: to the minute, or to the hour where it is longer than a day ago.

        The beginning of the time looked at when it was not measured at all; None when the Reader does not answer, or
        nobody but a function of the user's knows what to ask it.
        """
        if isinstance(rule, FunctionRule):
            return None
        group = tuple(Filter(name, "eq", (value,)) for name, value in labels.items())
        question = replace(rule.question(end, self._project), by=(), where=(*rule.where, *group))
        window = question.window
        for seconds, every in _LOOK_BACK:
            window = Window.last(seconds, end)
            try:
                asked = replace(question, window=window, every=every)
                answer = self._asked(partial(self._reader.query, asked)).result(self._rule_seconds)
            except Exception:  # it is only told; the next evaluation asks again
                return None
            measured = [row.end for row in answer.rows if row.n]
            if measured:
                return max(measured)
        return window.start

    def ever(self, rule: ThresholdRule, end: datetime) -> bool:
        """Whether anything of the rule's metric was measured before ``end``; no, when the Reader does not answer."""
        asked = replace(rule.question(end, self._project), by=(), window=Window(EARLIEST, end))
        try:
            answer = self._asked(partial(self._reader.query, asked)).result(self._rule_seconds)
        except Exception:  # the next evaluation asks again
            return False
        return answer.n > 0

    def _asked(self, work: Callable[[], T]) -> Future[T]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="barograph-rule")
        return self._pool.submit(work)

    def _apart(self, work: Callable[[], Measured]) -> Future[Measured]:
        """In a thread of its own, which does not keep the process alive: a user's function may hang for good."""
        future: Future[Measured] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="barograph-function", daemon=True).start()
        return future

    def close(self) -> None:
        """Wait for questions under way (each has the Reader's own time limit) and end the threads.

        Functions of the user's are waited for no longer than a rule may take.
        """
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        wait(self._running.values(), self._rule_seconds)
        self._running.clear()


class _Ahead:
    """A Reader that has some answers, and asks for the others."""

    def __init__(self, reader: Reader) -> None:
        self.answers: Mapping[MetricQuery, MetricAnswer] = {}
        self._reader = reader
        self.events, self.watermark = reader.events, reader.watermark

    def query(self, question: MetricQuery) -> MetricAnswer:
        known = self.answers.get(question)
        return self._reader.query(question) if known is None else known


def _points(answers: Sequence[MetricAnswer]) -> Measured:
    return Measured(rows=[row for one in answers for row in one.rows], complete_to=answers[-1].complete_to)
