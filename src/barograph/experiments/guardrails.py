"""Guardrails that stop: what is breached and in which words, and the watch over every running experiment.

Asks a ``UnitReader`` for the guardrail metrics alone, not for the whole comparison, and leaves the test, which may be
made at any time, to ``analysis``. A breach stops the experiment through ``ab_test_framework``; the alert follows from
the stopped state (``stopped_lately``), so that a kill in between loses nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from barograph.core.metric import Catalogue, Metric
from barograph.core.reader import UnitReader
from barograph.core.unit import format_value
from barograph.core.units import UnitAnswer
from barograph.core.worker import Loop
from barograph.experiments.analysis.analyse import check_guardrails
from barograph.experiments.analysis.gate import check_sample_ratio, find_disorder
from barograph.experiments.comparison import GuardrailCheck
from barograph.experiments.design import Experiment
from barograph.experiments.questions import checkpoint_of, just_after, question_of
from barograph_client.clock import Clock
from barograph_client.errors import BarographError, ChangedMeanwhile, shorten

ACTOR = "guardrail"  # who stopped it, in the audit log
TOLD = timedelta(days=7)  # the alert ends so long after the stop, or when somebody archives the experiment
PATIENCE = 30.0  # seconds for one experiment, before the others are looked at
SETTLING = 30.0  # seconds after a start, at most, until the first look
MOST_THREADS = 16  # an experiment that hangs holds one until its reader gives up
MOST_TOLD = 3  # breaches that the reason names
_REASON_LENGTH = 400  # of an alert


class Breach(Struct, frozen=True, kw_only=True):
    """Why an experiment is to be stopped: the guardrails' metrics, and a sentence with the numbers."""

    metrics: tuple[str, ...]
    sentence: str


class Counts(Struct, frozen=True, kw_only=True):
    """How many looks at an experiment there were since the start, and how many of them failed."""

    checked: int = 0
    failed: int = 0


class Guarded(Protocol):
    """The experiments of a project, as the watch sees them."""

    @property
    def project(self) -> str: ...

    def known(self) -> tuple[Experiment, ...]: ...

    def guard(self, key: str) -> Experiment: ...


def find_breach(experiment: Experiment, catalogue: Catalogue, reader: UnitReader, now: datetime) -> Breach | None:
    """What is breached of the guardrails that stop; None where nothing is. Raises UnknownMetric, as the reader does."""
    names = [one.metric for one in experiment.guardrails if one.auto_stop]
    metrics = {name: catalogue.get(name) for name in names}
    answers, checks = _looked_at(experiment, metrics, reader, now)
    found = [(metrics[name], check) for name in names for check in checks[name] if check.stopping == "breached"]
    if not found:
        return None
    told = [
        f"{_sentence(experiment, metric, check)}{_doubt(experiment, answers[metric.name])}"
        for metric, check in found[:MOST_TOLD]
    ]
    more = [f"{len(found) - MOST_TOLD} more are breached."] if len(found) > MOST_TOLD else []
    return Breach(metrics=tuple(dict.fromkeys(metric.name for metric, _ in found)), sentence=" ".join([*told, *more]))


def checks_now(
    experiment: Experiment, metrics: Mapping[str, Metric], reader: UnitReader, now: datetime
) -> dict[str, tuple[GuardrailCheck, ...]]:
    """The checks of those guardrails whose ``metrics`` are given, by what is known now. Raises as the reader does."""
    return _looked_at(experiment, metrics, reader, now)[1]


def _looked_at(
    experiment: Experiment, metrics: Mapping[str, Metric], reader: UnitReader, now: datetime
) -> tuple[dict[str, UnitAnswer], dict[str, tuple[GuardrailCheck, ...]]]:
    until = just_after(now)
    answers = {name: reader.units(question_of(experiment, name, until)) for name in metrics}
    return answers, check_guardrails(experiment, metrics, answers, checkpoint_of(reader, experiment, metrics, until))


def _doubt(experiment: Experiment, answer: UnitAnswer) -> str:
    """That clocks which differ by arm may be all of a breach. It stops all the same: no verdict can come of it."""
    disorder = find_disorder(experiment, answer, check_sample_ratio(experiment, answer))
    return f" But {disorder.sentence}." if disorder is not None and disorder.many else ""


def stopped_lately(experiments: Iterable[Experiment], at: datetime) -> dict[str, str]:
    """The experiments that a guardrail has stopped and that somebody should look at, by key: why they were stopped."""
    return {
        one.key: _bounded(one.stop_reason)
        for one in experiments
        if one.state == "stopped" and one.breached and one.stopped_at is not None and at < one.stopped_at + TOLD
    }


def _sentence(experiment: Experiment, metric: Metric, check: GuardrailCheck) -> str:
    low, high, margin = (
        _change(one, metric, check) for one in (check.worsening_low, check.worsening_high, check.margin)
    )
    range_ = f"at least {low}" if check.worsening_high is None else f"{low} to {high}".replace(" points to", " to")
    return (
        f"{metric.name} of {shorten(check.arm, 40)} is worse than that of {shorten(experiment.control, 40)} by "
        f"{range_} ({'relative, ' if check.relative else ''}bounds for any number of looks), and the margin "
        f"is {margin}."
    )


def _change(value: float | None, metric: Metric, check: GuardrailCheck) -> str:
    """How much it got worse: as a share, or in the metric's own unit, of which that of shares is points."""
    if check.relative or value is None:
        return format_value(value, "ratio")
    if metric.unit in ("ratio", "%"):
        points = format_value(value * (100 if metric.unit == "ratio" else 1), "")
        return f"{points} point{'' if points == '1' else 's'}"
    return format_value(value, metric.unit)


def _bounded(text: str) -> str:
    return text if len(text) <= _REASON_LENGTH else f"{text[: _REASON_LENGTH - 1]}…"


class GuardrailWatch(Loop):
    """Looks at the guarded experiments of all projects every ``seconds``, and stops those whose guardrail is breached.

    One that is slow or fails keeps none of the others from being looked at; why is told in ``problem``, by project.
    """

    def __init__(
        self, projects: Callable[[], Iterable[Guarded]], clock: Clock, seconds: float, *, patience: float = PATIENCE
    ) -> None:
        super().__init__("barograph-guardrails", clock)
        self._patience = patience
        self._projects = projects
        self._seconds = seconds
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[tuple[str, str], Future[None]] = {}
        self._looking = threading.Lock()
        self._problems: dict[str, str] = {}
        self.counts = Counts()

    def problem(self, project: str) -> str:
        """Why an experiment of the project could not be looked at the last time; '' where all could."""
        return self._problems.get(project, "")

    def look(self) -> None:
        """One look at all of them."""
        with self._looking:
            for project in list(self._projects()):
                told = []
                for one in project.known():
                    if self._stopping.is_set():
                        return
                    if one.is_guarded and (problem := self._check(project, one.key)):
                        told.append(problem)
                more = f"; and of {len(told) - 1} more" if len(told) > 1 else ""
                self._problems[project.project] = f"{told[0]}{more}" if told else ""

    def stop(self) -> None:
        """End the thread after the experiment it is looking at, and wait for questions that are under way."""
        super().stop()
        with self._looking:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None

    def _run(self) -> None:
        pause = min(SETTLING, self._seconds)
        while not self._clock.wait(self._stopping, pause):
            self.look()
            pause = self._seconds

    def _check(self, project: Guarded, key: str) -> str:
        """Look at one experiment; why it could not be looked at, if it could not."""
        problem = self._looked(project, key)
        failed = self.counts.failed + bool(problem)
        self.counts = Counts(checked=self.counts.checked + 1, failed=failed)
        return f"guardrails of experiment {shorten(key, 40)}: {problem}" if problem else ""

    def _looked(self, project: Guarded, key: str) -> str:
        name = project.project, key
        before = self._running.get(name)
        if before is not None and not before.done():
            return "an earlier look has not been answered yet"
        self._pool = self._pool or ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="barograph-guardrail")
        looking = self._running[name] = self._pool.submit(_guard, project, key)
        try:
            looking.result(self._patience)
        except Late:
            if not looking.done():
                return f"not answered within {format_value(self._patience, 's')}"
            return "the question took too long"  # the reader itself raised a TimeoutError
        except BarographError as error:
            return shorten(str(error), 300)
        except Exception as error:  # whatever one experiment meets, the others are still looked at
            return shorten(f"{type(error).__name__}: {error}", 300)
        finally:
            if looking.done():
                del self._running[name]
        return ""


def _guard(project: Guarded, key: str) -> None:
    """Where somebody changed it meanwhile, look once more at what it is now; beyond that it waits for the next look."""
    try:
        project.guard(key)
    except ChangedMeanwhile:
        with contextlib.suppress(ChangedMeanwhile):
            project.guard(key)
