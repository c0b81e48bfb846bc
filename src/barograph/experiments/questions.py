"""What is asked of the units of an experiment: one question a metric, the same for a comparison and for a guardrail.

Each asks up to a moment that does not count itself: a comparison up to that of its ``Look``, which at a fixed horizon
is the planned end, and else may be the last planned look; a guardrail up to ``just_after`` now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from msgspec import Struct, structs

from barograph.core.metric import Metric
from barograph.core.query import Window
from barograph.core.reader import UnitReader
from barograph.core.units import UnitAnswer, UnitQuery
from barograph.experiments.analysis.checkpoints import Checkpoint, last_checkpoint
from barograph.experiments.analysis.looks import Looks
from barograph.experiments.analysis.sequential import within_unit_interval
from barograph.experiments.analysis.waiting import exposed_by_day
from barograph.experiments.design import Experiment
from barograph.experiments.horizon import horizon, looks_passed
from barograph.experiments.past_looks import PastLooks
from barograph_client.errors import InvalidExperiment

_INSTANT = timedelta(microseconds=1)


class Look(Struct, frozen=True, kw_only=True):
    """As of when an experiment is looked at, and the first moment that does not count.

    ``known`` are answers up to that moment that had to be asked for in order to know it, by metric. ``looks`` are the
    planned ones that have passed, where there are some.
    """

    at: datetime
    until: datetime
    known: dict[str, UnitAnswer] = {}
    looks: Looks | None = None


def look_at(reader: UnitReader, experiment: Experiment, metric: Metric, now: datetime, past: PastLooks) -> Look:
    """How an experiment is looked at now; ``metric`` is its primary one. Raises as ``answers_of`` does.

    What counts ends at the planned end, where the verdict rests on it and it has come, else ``just_after`` now. What
    happens at the very instant of the planned end does not count, so that whoever looks then sees what all see who look
    later. While the reader does not know yet all that came before the planned end, it has not come. Where looks are
    planned, it ends at the last of them that has come, or at that which settled the last arm.
    """
    by_day: tuple[tuple[str, int], ...] = ()
    known_now: dict[str, UnitAnswer] = {}
    if experiment.planned_units is not None and experiment.decided_by != "always valid":
        known_now[metric.name] = reader.units(question_of(experiment, metric.name, just_after(now)))
        by_day = exposed_by_day(experiment, known_now[metric.name])
    if experiment.decided_by == "group sequential":
        passed = looks_passed(experiment, now, by_day)
        known = reader.watermark() if passed else now
        ends = {look: end for look, end in passed if end <= known}
        if not ends:
            return Look(at=now, until=just_after(now), known=known_now)
        return _at_planned_look(reader, experiment, metric, now, ends, past)
    end = horizon(experiment, now, by_day)
    if end is None:
        return Look(at=now, until=just_after(now), known=known_now)
    known = reader.watermark()
    return Look(at=now, until=end) if known >= end else Look(at=known, until=just_after(known))


def _at_planned_look(
    reader: UnitReader,
    experiment: Experiment,
    metric: Metric,
    now: datetime,
    ends: Mapping[int, datetime],
    past: PastLooks,
) -> Look:
    """Up to the last of these looks that counts; their ends are by number."""
    answers: dict[int, UnitAnswer] = {}

    def asked() -> Iterator[tuple[int, UnitAnswer]]:
        for look, end in ends.items():
            answers[look] = past.ask(reader, question_of(experiment, metric.name, end), now)
            yield look, answers[look]

    looks = Looks.of(experiment, metric, asked())
    return Look(at=now, until=ends[looks.number], known={metric.name: answers[looks.number]}, looks=looks)


def answers_of(reader: UnitReader, experiment: Experiment, metrics: Iterable[str], look: Look) -> dict[str, UnitAnswer]:
    """What a comparison is made of, by metric. Raises InvalidExperiment when it never started, else as the reader."""
    answers = {
        name: look.known.get(name) or reader.units(question_of(experiment, name, look.until)) for name in metrics
    }
    if look.until > look.at:
        return answers
    what = "the planned end" if look.looks is None else f"look {look.looks.number} of {experiment.looks}"
    return {name: _as_of(what, look.until, answer) for name, answer in answers.items()}


def whole_windows(
    reader: UnitReader, experiment: Experiment, metrics: Mapping[str, Metric], until: datetime
) -> dict[str, UnitAnswer]:
    """What units did in their attribution windows, pauses and all, up to ``until``: of metrics between 0 and 1.

    Only after a pause, which has cut some windows short. Whoever paused it had seen these, so that what is left would
    be no fair sample: here nothing is left out. Raises as ``answers_of`` does.
    """
    if experiment.attribution_days is None or not experiment.was_paused:
        return {}
    answers = {
        name: reader.units(structs.replace(question_of(experiment, name, until), pauses=()))
        for name, metric in metrics.items()
        if within_unit_interval(metric)
    }
    return {
        name: structs.replace(answer, complete_to=min(until, answer.complete_to)) for name, answer in answers.items()
    }


def checkpoint_of(
    reader: UnitReader, experiment: Experiment, metrics: Mapping[str, Metric], until: datetime
) -> Checkpoint | None:
    """The last checkpoint before ``until``, with what units did up to it: of guardrails among ``metrics`` in [0, 1].

    None before the first, and where there is no such guardrail. It has not come while the reader does not know yet all
    that came before it, and there is none after a stop. What units did in pauses is not left out, as whoever paused it
    had seen what was there. Raises as ``answers_of`` does.
    """
    names = [one.metric for one in experiment.guardrails if one.metric in metrics]
    names = [name for name in names if within_unit_interval(metrics[name])]
    if experiment.started_at is None or not names:
        return None
    until = min(until, reader.watermark(), experiment.stopped_at or until)
    checkpoint = last_checkpoint(experiment.started_at, until)
    if checkpoint is None:
        return None
    answers = {
        name: reader.units(structs.replace(question_of(experiment, name, checkpoint.at, by=""), pauses=()))
        for name in names
    }
    return structs.replace(checkpoint, answers=answers)


def just_after(now: datetime) -> datetime:
    """The first moment after ``now``: what happens in this very microsecond counts."""
    return now + _INSTANT


def _as_of(what: str, end: datetime, answer: UnitAnswer) -> UnitAnswer:
    note = f"what came after {what}, {end:%-d %B %H:%M} UTC, is not counted."
    return structs.replace(answer, complete_to=min(end, answer.complete_to), notes=(*answer.notes, note))


def question_of(experiment: Experiment, metric: str, until: datetime, *, by: str = "day") -> UnitQuery:
    """The units' sums of one metric, from the start of the experiment to its stop, and to before ``until``.

    Guardrails are not adjusted by what units did before, so that nothing is asked of it. Raises InvalidExperiment when
    it never started.
    """
    started = experiment.started_at
    if started is None:
        raise InvalidExperiment("the experiment has not started", hint="Start it; then there is something to compare.")
    if experiment.stopped_at is not None:
        until = min(until, just_after(experiment.stopped_at))
    window = Window(started, max(until, just_after(started)))
    adjusted = by == "day" and metric not in [guardrail.metric for guardrail in experiment.guardrails]
    return UnitQuery(
        experiment=experiment.key,
        metric=metric,
        window=window,
        unit_kind=experiment.unit_kind,
        project=experiment.project,
        by=by,
        attribution_days=experiment.attribution_days,
        pre_days=experiment.pre_days if adjusted else 0,
        cap=experiment.caps.get(metric) if by != "age" else None,
        changed_at=tuple(change.at for change in experiment.reweighted),
        pauses=tuple(Window(pause.start, pause.end) for pause in experiment.pauses_until(window.end)),
    )
