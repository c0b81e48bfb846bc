"""From the arms' moments to estimates: the method that fits each metric, and the gate before any verdict.

Reads what ``Reader.units`` answers for each metric, hands a ``Comparison`` to the framework; the sentences are
made in ``verdict``. A unit is what was randomised (a user, a session): its events are summed first, so that one
user with two hundred queries counts once. Counts and sums are compared as means a unit by Welch's t; means and
ratios as ratios of sums by the delta method; yes-or-no metrics as shares of units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from barograph.core.metric import Metric
from barograph.core.units import UnitAnswer, UnitMoments
from barograph.experiments.comparison import (
    Comparison,
    GuardrailCheck,
    GuardrailState,
    MetricComparison,
    Role,
    Verdict,
)
from barograph.experiments.design import Experiment, Guardrail, direction_of
from barograph.experiments.verdict import Progress, judge
from barograph.stats.comparison import compare_means, compare_ratios
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.multiplicity import holm
from barograph.stats.power import days_needed, sample_size
from barograph.stats.proportions import compare_proportions
from barograph.stats.sample_ratio import SampleRatio, sample_ratio
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import shorten

MOST_CONTAMINATED = 0.01  # above this share of units in two arms, leaving them out is itself a bias
INTEGER_TOLERANCE = 1e-9  # relative; moments of 0/1 values satisfy sum of squares = sum up to rounding


class ArmData(Struct, frozen=True, kw_only=True):
    """One arm's numbers for one metric.

    ``units`` carry a measurement (for a count or a sum every exposed unit does: none is zero); ``values`` is what
    Welch's t is made of; ``successes`` is set where each unit is a yes or a no.
    """

    units: int
    values: Summary | None
    ratio: RatioSummary | None = None
    successes: int | None = None

    @property
    def varies(self) -> bool:
        """Whether its units differ, so that the spread of its mean can be known; yes-or-no needs no spread."""
        return self.successes is not None or (self.values is not None and self.values.varies)


def analyse(
    experiment: Experiment, metrics: Mapping[str, Metric], answers: Mapping[str, UnitAnswer], now: datetime
) -> Comparison:
    """Compare the arms on every metric of the experiment.

    ``metrics`` and ``answers`` have an entry for each metric that the experiment names. Pure: the same answers
    give the same comparison.
    """
    first = answers[experiment.primary_metric]
    counts = {variant.key: 0 for variant in experiment.variants}
    counts |= {arm.arm: arm.units for arm in first.arms if arm.arm in counts}
    ratio = sample_ratio(list(counts.values()), [variant.weight for variant in experiment.variants])
    primary_arms = arms_of(metrics[experiment.primary_metric], experiment, first)
    compared = tuple(
        _compare_metric(experiment, metrics[name], role, answers[name], guardrail)
        for name, role, guardrail in _parts(experiment)
    )
    days = experiment.days_running(now)
    progress = Progress(
        days=days, units=sum(counts.values()), enough_days=_enough_days(experiment, primary_arms, days),
    )  # fmt: skip
    reasons = _gate(experiment, first, ratio, primary_arms)
    estimates = compared[0].estimates
    adjusted = _adjusted([estimate.p_value for estimate in estimates])
    verdicts = tuple(
        judge(experiment, metrics[experiment.primary_metric], estimate, p_value, progress, reasons, compared)
        for estimate, p_value in zip(estimates, adjusted, strict=True)
    )
    whole = _whole(verdicts)
    return Comparison(
        experiment=experiment.key, title=experiment.name, hypothesis=experiment.hypothesis, state=experiment.state,
        control=experiment.control, unit_kind=experiment.unit_kind, split=experiment.split, alpha=experiment.alpha,
        units=counts, contaminated=first.contaminated, sample_ratio=ratio, metrics=compared, verdict=whole,
        arm_verdicts=verdicts, days_running=days, planned_days=experiment.planned_days,
        planned_units=experiment.planned_units,
        needs_more_days=progress.more_days(experiment) if whole.finding == "not settled" else None,
        warnings=_warnings(experiment, answers, estimates, progress), first_exposure=first.first_exposure,
        complete_to=min(answer.complete_to for answer in answers.values()),
    )  # fmt: skip


def arms_of(metric: Metric, experiment: Experiment, answer: UnitAnswer) -> dict[str, ArmData]:
    """Each arm's numbers for a metric, by the method that fits it; arms without units are there, empty."""
    found = {arm.arm: arm for arm in answer.arms}
    moments = {
        variant.key: found.get(variant.key) or _nobody(variant.key)
        for variant in experiment.variants
        if variant.weight > 0
    }
    if metric.aggregation in ("count", "sum"):
        counts = metric.aggregation == "count" or metric.of.field == ""
        binary = counts and all(map(_yes_or_no, moments.values()))
        return {key: _of_sums(arm, binary) for key, arm in moments.items()}
    binary = metric.aggregation == "ratio" and all(_once_a_unit(arm) and _yes_or_no(arm) for arm in moments.values())
    return {key: _of_sums(arm, binary) if binary else _of_ratio(arm) for key, arm in moments.items()}


def _of_sums(arm: UnitMoments, binary: bool) -> ArmData:
    return ArmData(
        units=arm.units,
        values=Summary(arm.units, arm.numerator_mean, max(0.0, arm.numerator_m2) if arm.units > 1 else 0.0),
        successes=round(arm.numerator_mean * arm.units) if binary else None,
    )


def _of_ratio(arm: UnitMoments) -> ArmData:
    ratio = RatioSummary(
        arm.units, arm.numerator_mean, arm.denominator_mean, max(0.0, arm.numerator_m2),
        max(0.0, arm.denominator_m2), arm.cross_m2, arm.measured_units,
    )  # fmt: skip
    values = None if ratio.ratio is None else ratio.linearised()
    return ArmData(units=arm.measured_units, values=values, ratio=ratio)


def _nobody(arm: str) -> UnitMoments:
    return UnitMoments(
        arm=arm, units=0, numerator_mean=0, denominator_mean=0, numerator_m2=0, denominator_m2=0, cross_m2=0,
        measured_units=0,
    )  # fmt: skip


def _yes_or_no(arm: UnitMoments) -> bool:
    """Whole numbers that are not negative are all 0 or 1 exactly when their squares sum to what they do."""
    total = arm.units * arm.numerator_mean
    squares = arm.numerator_m2 + total * arm.numerator_mean
    return abs(squares - total) <= INTEGER_TOLERANCE * max(1.0, total)


def _once_a_unit(arm: UnitMoments) -> bool:
    exact = abs(arm.denominator_mean - 1) <= INTEGER_TOLERANCE and arm.denominator_m2 <= INTEGER_TOLERANCE * arm.units
    return arm.units == 0 or (arm.units == arm.measured_units and exact)


def _parts(experiment: Experiment) -> list[tuple[str, Role, Guardrail | None]]:
    """The experiment's metrics, each with the part it plays; the primary one first."""
    parts: list[tuple[str, Role, Guardrail | None]] = [(experiment.primary_metric, "primary", None)]
    parts += [(name, "secondary", None) for name in experiment.secondary_metrics]
    parts += [(guardrail.metric, "guardrail", guardrail) for guardrail in experiment.guardrails]
    return parts


def _compare_metric(
    experiment: Experiment, metric: Metric, role: Role, answer: UnitAnswer, guardrail: Guardrail | None
) -> MetricComparison:
    arms = arms_of(metric, experiment, answer)
    treatments = [key for key in arms if key != experiment.control]
    estimates = tuple(_estimate(arms, key, experiment.control, experiment.alpha) for key in treatments)
    checks: tuple[GuardrailCheck, ...] = ()
    if guardrail is not None:
        checks = tuple(_guard(arms, key, experiment, metric, guardrail) for key in treatments)
    return MetricComparison(
        metric=metric.name, title=metric.title, unit=metric.unit, role=role, better=direction_of(experiment, metric),
        per_unit=metric.aggregation in ("count", "sum"), estimates=estimates, guardrails=checks,
    )  # fmt: skip


def _estimate(arms: Mapping[str, ArmData], key: str, control: str, alpha: float) -> Estimate:
    arm, baseline, names = arms[key], arms[control], (key, control)
    if arm.successes is not None and baseline.successes is not None:
        return compare_proportions(
            arm.successes, arm.units, baseline.successes, baseline.units, alpha=alpha, names=names
        )
    if arm.ratio is not None and baseline.ratio is not None:
        return compare_ratios(arm.ratio, baseline.ratio, alpha=alpha, names=names)
    return compare_means(arm.values or Summary(), baseline.values or Summary(), alpha=alpha, names=names)


def _guard(
    arms: Mapping[str, ArmData], key: str, experiment: Experiment, metric: Metric, guardrail: Guardrail
) -> GuardrailCheck:
    """Non-inferiority: both one-sided tests at alpha are the two-sided interval at twice alpha (Schuirmann 1987)."""
    estimate = _estimate(arms, key, experiment.control, min(0.5, 2 * experiment.alpha))
    effect = estimate.relative if guardrail.relative else estimate.absolute
    higher = direction_of(experiment, metric) == "higher"
    state: GuardrailState = "open"
    bounds = _worsening(effect, higher)
    if bounds is not None and bounds[1] < guardrail.margin:
        state = "held"
    elif bounds is not None and bounds[0] > guardrail.margin:
        state = "breached"
    return GuardrailCheck(arm=key, state=state, margin=guardrail.margin, relative=guardrail.relative)


def _worsening(effect: Effect | None, higher: bool) -> tuple[float, float] | None:
    """By how much it got worse, at least and at most; None where that is not known."""
    if effect is None or effect.low is None or effect.high is None:
        return None
    return (-effect.high, -effect.low) if higher else (effect.low, effect.high)


def _gate(
    experiment: Experiment, answer: UnitAnswer, ratio: SampleRatio, arms: Mapping[str, ArmData]
) -> tuple[str, ...]:
    """Why no verdict may be given, the sample ratio first; empty when one may."""
    reasons: list[str] = []
    if experiment.reweighted:
        when = experiment.reweighted[-1].at
        reasons.append(f"the weights were changed on {when:%-d %B}, so the arms hold different mixtures of days")
    elif ratio.mismatch:
        got = ", ".join(
            f"{count:,} instead of {due:,.0f}" for count, due in zip(ratio.counts, ratio.expected, strict=True)
        )
        reasons.append(f"the arms did not get their shares of {experiment.unit_kind}s: {got} (p = {ratio.p_value:.2g})")
    known = {variant.key for variant in experiment.variants}
    strangers = [shorten(arm.arm, 40) for arm in answer.arms if arm.arm not in known and arm.units]
    if strangers:
        reasons.append(f"units were exposed to arms that the definition does not have: {', '.join(strangers[:3])}")
    everyone = answer.contaminated + sum(arm.units for arm in answer.arms)
    if answer.contaminated > MOST_CONTAMINATED * everyone:
        reasons.append(f"{answer.contaminated:,} of {everyone:,} {experiment.unit_kind}s were seen in two arms")
    few = {key: arm.units for key, arm in arms.items() if arm.units < experiment.minimum_units}
    if few:
        key, units = min(few.items(), key=lambda item: item[1])
        reasons.append(
            f"{key} has {units:,} {experiment.unit_kind}s with a measurement, of {experiment.minimum_units} at least"
        )
    else:
        reasons += [
            f"every {experiment.unit_kind} of {key} has the same value" for key, arm in arms.items() if not arm.varies
        ]
    return tuple(reasons)


def _enough_days(experiment: Experiment, arms: Mapping[str, ArmData], days: float) -> float | None:
    """More days until the effect worth finding would be found, from the spread of the control; None if unknown."""
    control = arms[experiment.control]
    spread = _spread(control)
    if spread is None:
        return None
    wanted = experiment.minimum_effect * abs(spread[0]) / spread[1]
    longest = 0.0
    treatments = [arm for key, arm in arms.items() if key != experiment.control]
    for arm in treatments:
        ratio = max(arm.units, 1) / control.units
        risk = experiment.alpha / len(treatments)
        needed = sample_size(wanted, alpha=risk, power=experiment.power, ratio=ratio)
        more = days_needed(needed, control.units, days)
        if more is None:
            return None
        longest = max(longest, more)
    return longest


def _spread(arm: ArmData) -> tuple[float, float] | None:
    """The mean and standard deviation of the arm's units; None where either says nothing."""
    if arm.units < 2 or arm.values is None or arm.values.mean == 0 or not arm.values.varies:
        return None
    return arm.values.mean, math.sqrt(arm.values.variance)


def _adjusted(p_values: list[float | None]) -> list[float | None]:
    """Holm over the treatments that could be tested: several arms are several chances to be wrong."""
    tested = [index for index, p_value in enumerate(p_values) if p_value is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    for index, value in zip(tested, holm([p for p in p_values if p is not None]), strict=True):
        adjusted[index] = value
    return adjusted


def _whole(verdicts: tuple[Verdict, ...]) -> Verdict:
    """One verdict for all treatments: any that is better counts, then any that is worse."""
    if len(verdicts) == 1 or verdicts[0].finding == "not valid":
        return verdicts[0]
    for finding in ("better", "worse", "not settled"):
        chosen = [verdict for verdict in verdicts if verdict.finding == finding]
        if chosen:
            return min(chosen, key=lambda verdict: 1.0 if verdict.p_value is None else verdict.p_value)
    return verdicts[0]


def _warnings(
    experiment: Experiment, answers: Mapping[str, UnitAnswer], estimates: tuple[Estimate, ...], progress: Progress
) -> tuple[str, ...]:
    answer = answers[experiment.primary_metric]
    found = [warning for estimate in estimates for warning in estimate.warnings]
    found += [note.rstrip(".") for one in answers.values() for note in one.notes]
    if answer.contaminated:
        found.append(f"{answer.contaminated:,} {experiment.unit_kind}s were seen in two arms and are left out")
    if experiment.planned_days is None and experiment.planned_units is None:
        found.append(
            "no end was planned: looking until the result pleases finds differences that are not there; "
            "plan days or units next time"
        )
    elif not progress.reached(experiment):
        found.append("the intervals are not adjusted for looking before the planned end")
    return tuple(dict.fromkeys(found))
