"""From the units' moments to a ``Comparison``: each metric by its methods, the gate, and the verdicts.

The sentences are made in ``verdict``. Pure: the same answers give the same comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import structs

from barograph.core.metric import Metric
from barograph.core.unit import counted
from barograph.core.units import UnitAnswer
from barograph.experiments.advice import overall, verdicts, waits
from barograph.experiments.analysis.arms import Arms, arms_of, cells_of
from barograph.experiments.analysis.checkpoints import Checkpoint
from barograph.experiments.analysis.courses import course_by_day
from barograph.experiments.analysis.equivalence import within_margin
from barograph.experiments.analysis.families import corrected
from barograph.experiments.analysis.gate import check_sample_ratio, find_disorder, obstacles
from barograph.experiments.analysis.guardrail_checks import check
from barograph.experiments.analysis.looks import Looks, held_at
from barograph.experiments.analysis.methods import adjusted, belief, capped, fixed_horizon, with_ends
from barograph.experiments.analysis.sequential import Sequences
from barograph.experiments.analysis.strangers import Strangers
from barograph.experiments.analysis.waiting import (
    ONE_DAY,
    Progress,
    Traffic,
    awaited,
    enough_days,
    enough_units,
    exposed_by_day,
)
from barograph.experiments.comparison import Comparison, GuardrailCheck, MetricComparison, Role
from barograph.experiments.design import Experiment, Guardrail, direction_of
from barograph.experiments.verdict import about_looking, judge, to_be_minded


def analyse(
    experiment: Experiment,
    metrics: Mapping[str, Metric],
    answers: Mapping[str, UnitAnswer],
    now: datetime,
    windows: Mapping[str, UnitAnswer] | None = None,
    looks: Looks | None = None,
    checkpoint: Checkpoint | None = None,
    guards: Mapping[str, tuple[GuardrailCheck, ...]] | None = None,
) -> Comparison:
    """Compare the arms on every metric of the experiment.

    ``metrics`` and ``answers`` have an entry for each metric that the experiment names, ``windows`` for those of which
    pauses have cut attribution windows short, with all that was in these; answers are by the day of exposure, as
    ``questions`` asks for them. ``checkpoint`` is the last one, with answers of guardrails in [0, 1]; None before the
    first. ``looks`` are the planned ones that have passed: then the answers are those up to the last that counts, and
    ``guards`` the checks of guardrails by what is known now: a test for any time waits for no look.
    """
    cut_short = windows or {}
    first, primary = answers[experiment.primary_metric], metrics[experiment.primary_metric]
    keys = [variant.key for variant in experiment.variants]
    counts = {key: sum(one.units for one in first.arms if one.arm == key) for key in keys}
    ratio = check_sample_ratio(experiment, first)
    arms = {name: arms_of(metrics[name], experiment, cells_of(answer.arms)) for name, answer in answers.items()}
    sequences = {
        name: Sequences.of(experiment, metrics[name], answer, cut_short.get(name)) for name, answer in answers.items()
    }
    compared = _corrected_family(
        experiment,
        tuple(
            _compare_metric(
                experiment, metrics[name], role, arms[name], sequences[name], answers[name].cap, guardrail, looks,
                checkpoint,
            )
            for name, role, guardrail in _parts(experiment)
        ),
    )  # fmt: skip
    compared = _guarded_by(guards or {}, compared)
    days, by_day = experiment.days_running(now), exposed_by_day(experiment, first)
    traffic = Traffic.of(by_day, sum(counts.values()), days, first.complete_to, experiment.pauses_until(now))
    primary_arms = arms[experiment.primary_metric].by_key
    enough = enough_units(experiment, primary_arms, traffic.units)
    progress = Progress(
        days=days, units=traffic.units, enough_units=enough,
        enough_days=enough_days(experiment, primary_arms, traffic, enough),
        planned_wait=_planned_wait(experiment, traffic, looks, now - first.complete_to),
        whole=traffic.whole if experiment.stopped_at is None else None, look=0 if looks is None else looks.number,
    )  # fmt: skip
    kept_back = obstacles(experiment, first, ratio, primary_arms, goes_on=progress.goes_on(experiment))
    settled = {} if looks is None else looks.settled
    deciding = compared[0].deciding(experiment.decided_by)
    known = tuple(
        judge(
            experiment, primary, estimate, p_value, progress, kept_back, compared,
            within_margin(
                experiment, primary_arms, sequences[experiment.primary_metric], (estimate.arm, estimate.baseline),
                looks,
            ),
            settled[estimate.arm].look if estimate.arm in settled else None,
        )
        for estimate, p_value in zip(deciding, compared[0].adjusted_p_values, strict=True)
    )  # fmt: skip
    arm_verdicts = verdicts(experiment, progress, known)
    whole = overall(arm_verdicts, known)
    return Comparison(
        experiment=experiment.key, title=experiment.name, hypothesis=experiment.hypothesis, state=experiment.state,
        control=experiment.control, unit_kind=experiment.unit_kind, split=experiment.split, alpha=experiment.alpha,
        units=counts, contaminated=first.contaminated, sample_ratio=ratio, metrics=compared, verdict=whole,
        arm_verdicts=arm_verdicts, days_running=days, planned_days=experiment.planned_days,
        planned_units=experiment.planned_units,
        needs_more_days=waits(experiment, progress, whole, known), first_exposure=first.first_exposure,
        enough_units=None if enough is None or math.isinf(enough) else enough,
        warnings=to_be_minded(_warnings(experiment, answers, arms, compared[0], progress), arm_verdicts),
        complete_to=min(answer.complete_to for answer in answers.values()), decided_by=experiment.decided_by,
        stop_reason=experiment.stop_reason, exposed_by_day=by_day,
        course=course_by_day(experiment, primary, first, sequences[experiment.primary_metric]), look=progress.look,
        planned_looks=experiment.looks if experiment.decided_by == "group sequential" else 0,
    )  # fmt: skip


def check_guardrails(
    experiment: Experiment,
    metrics: Mapping[str, Metric],
    answers: Mapping[str, UnitAnswer],
    checkpoint: Checkpoint | None = None,
) -> dict[str, tuple[GuardrailCheck, ...]]:
    """The checks of the guardrails that ``answers`` has an entry for, by metric: one for each treatment."""
    return {
        one.metric: _checks(
            experiment, metrics[one.metric], one,
            arms_of(metrics[one.metric], experiment, cells_of(answers[one.metric].arms)),
            Sequences.of(experiment, metrics[one.metric], answers[one.metric]), checkpoint,
        )
        for one in experiment.guardrails
        if one.metric in answers
    }  # fmt: skip


def _checks(
    experiment: Experiment,
    metric: Metric,
    guardrail: Guardrail,
    found: Arms,
    sequences: Sequences,
    checkpoint: Checkpoint | None,
) -> tuple[GuardrailCheck, ...]:
    arms = found.by_key
    return tuple(
        check(arms, sequences, key, experiment, metric, guardrail, checkpoint)
        for key in arms
        if key != experiment.control
    )


def _guarded_by(
    guards: Mapping[str, tuple[GuardrailCheck, ...]], compared: tuple[MetricComparison, ...]
) -> tuple[MetricComparison, ...]:
    """With these checks in the place of those that there are, but for the state at one look."""

    def newer(one: MetricComparison) -> tuple[GuardrailCheck, ...]:
        both = zip(one.guardrails, guards[one.metric], strict=True)
        return tuple(structs.replace(now, state=then.state) for then, now in both)

    return tuple(
        structs.replace(one, guardrails=newer(one)) if one.guardrails and one.metric in guards else one
        for one in compared
    )


def _parts(experiment: Experiment) -> list[tuple[str, Role, Guardrail | None]]:
    """The experiment's metrics, each with the part it plays; the primary one first."""
    parts: list[tuple[str, Role, Guardrail | None]] = [(experiment.primary_metric, "primary", None)]
    parts += [(name, "secondary", None) for name in experiment.secondary_metrics]
    parts += [(guardrail.metric, "guardrail", guardrail) for guardrail in experiment.guardrails]
    return parts


def _compare_metric(
    experiment: Experiment,
    metric: Metric,
    role: Role,
    found: Arms,
    sequences: Sequences,
    cap: float | None,
    guardrail: Guardrail | None,
    looks: Looks | None,
    checkpoint: Checkpoint | None,
) -> MetricComparison:
    arms, control, alpha = found.by_key, experiment.control, experiment.alpha
    treatments = [key for key in arms if key != control]
    better = direction_of(experiment, metric)
    with_past = [adjusted(arms[key], arms[control], (key, control), alpha) for key in treatments]
    believed = [
        belief(arms[key], arms[control], (key, control), better, alpha, experiment.minimum_units)
        for key in treatments
        if better is not None and role != "guardrail"
    ]
    at_look = () if looks is None else capped(held_at(looks.boundary, arms, control, alpha), metric, cap)
    if looks is not None and role == "primary":
        at_look = tuple(looks.settled[one.arm].estimate if one.arm in looks.settled else one for one in at_look)
    return MetricComparison(
        metric=metric.name, title=metric.title, unit=metric.unit, role=role, better=better,
        per_unit=metric.aggregation in ("count", "sum"),
        estimates=capped(
            [with_ends(fixed_horizon(arms[key], arms[control], (key, control), alpha)) for key in treatments],
            metric, cap,
        ),
        always_valid=capped([sequences.compare(arms, key, control, alpha) for key in treatments], metric, cap),
        adjusted=capped([one for one in with_past if one is not None], metric, cap) if None not in with_past else (),
        repeated=at_look, beliefs=tuple(one for one in believed if one is not None),
        guardrails=() if guardrail is None else _checks(experiment, metric, guardrail, found, sequences, checkpoint),
        cap=cap,
    )  # fmt: skip


def _planned_wait(experiment: Experiment, traffic: Traffic, looks: Looks | None, since: timedelta) -> float | None:
    """More days until the units that are planned, or those of the next look, have come; the last look was ``since``."""
    if experiment.planned_units is None:
        return None
    wait = traffic.days_until_end(experiment.planned_units * awaited(experiment, 0 if looks is None else looks.number))
    return wait if wait is None or looks is None else max(0.0, wait - since / ONE_DAY)


def _corrected_family(experiment: Experiment, compared: tuple[MetricComparison, ...]) -> tuple[MetricComparison, ...]:
    """With p-values corrected: the primary metric's over the treatments (Holm), the secondary ones' as one family."""
    secondary = [one for one in compared if one.role == "secondary"]
    family = [estimate.p_value for one in secondary for estimate in one.deciding(experiment.decided_by)]
    p_values = iter(corrected(family, experiment.correction))
    given: list[MetricComparison] = []
    for one in compared:
        deciding = one.deciding(experiment.decided_by)
        mine: tuple[float | None, ...] = ()
        if one.role == "primary":
            mine = tuple(corrected([estimate.p_value for estimate in deciding]))
        elif one.role == "secondary":
            mine = tuple(next(p_values) for _ in deciding)
        given.append(structs.replace(one, adjusted_p_values=mine))
    return tuple(given)


def _out_of_order(experiment: Experiment, answers: Mapping[str, UnitAnswer]) -> list[str]:
    """Metrics whose events and exposures are in another order in one arm; nothing where the gate tells it already."""
    found = []
    for name, answer in answers.items():
        disorder = find_disorder(experiment, answer, check_sample_ratio(experiment, answer))
        primary = name == experiment.primary_metric
        if disorder is not None and primary and disorder.many:
            return []
        if disorder is not None:
            found.append(f"{name}{' is not to be believed' if disorder.many else ''}: {disorder.sentence}")
    return found


def _warnings(
    experiment: Experiment,
    answers: Mapping[str, UnitAnswer],
    arms: Mapping[str, Arms],
    primary: MetricComparison,
    progress: Progress,
) -> list[str]:
    answer = answers[experiment.primary_metric]
    found = [warning for estimate in primary.deciding(experiment.decided_by) for warning in estimate.warnings]
    found += [warning for one in arms.values() for warning in one.warnings]
    found += [note.rstrip(".") for one in answers.values() for note in one.notes]
    if answer.contaminated:
        found.append(f"{answer.contaminated:,} {experiment.unit_kind}s were seen in two arms and are left out")
    strangers = Strangers.of(experiment, answer)
    if strangers.units and not strangers.many:
        found.append(
            f"{counted(strangers.units, experiment.unit_kind)} exposed to arms that the definition does not have "
            f"({', '.join(strangers.arms)}): left out"
        )
    found += _out_of_order(experiment, answers)
    if experiment.was_paused:
        found.append(
            f"it was paused: what {experiment.unit_kind}s did meanwhile, all with the control's configuration, is not "
            "counted; who was used to another one may have needed some days to be so again"
        )
    if experiment.pre_days and not primary.adjusted:
        found.append(
            "nothing is adjusted by what units did before: that is not known of all of them, or they were measured too "
            "rarely or unevenly"
        )
    return [*found, *about_looking(experiment, progress)]
