"""The verdict in a sentence: what is known of an arm, why not more, and how long it would take.

Given the estimates and the gate's reasons by ``analysis``. Fixed-horizon honesty: before the planned end nothing
is called better or worse, whatever the interval says, because looking early was not paid for.
"""

from __future__ import annotations

import math

from msgspec import Struct

from barograph.core.metric import Metric
from barograph.core.unit import format_value
from barograph.experiments.comparison import Finding, MetricComparison, Verdict
from barograph.experiments.design import Experiment, direction_of
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.power import days_needed

LONGEST_WAIT = 3650.0  # days; more is said as "years"


class Progress(Struct, frozen=True, kw_only=True):
    """How far an experiment is. ``enough_days`` is how many more days the effect worth finding would take."""

    days: float
    units: int
    enough_days: float | None

    def reached(self, experiment: Experiment) -> bool:
        """Whether everything that was planned has come; true when nothing was."""
        days, units = experiment.planned_days, experiment.planned_units
        return (days is None or self.days >= days) and (units is None or self.units >= units)

    def more_days(self, experiment: Experiment) -> float | None:
        """Days to the planned end, or, past it, until the effect worth finding would be found."""
        if self.reached(experiment):
            return self.enough_days
        waits = [0.0 if experiment.planned_days is None else experiment.planned_days - self.days]
        if experiment.planned_units is not None:
            wait = days_needed(experiment.planned_units, self.units, self.days)
            if wait is None:
                return None
            waits.append(wait)
        return max(waits)


def judge(
    experiment: Experiment,
    metric: Metric,
    estimate: Estimate,
    p_value: float | None,
    progress: Progress,
    reasons: tuple[str, ...],
    compared: tuple[MetricComparison, ...],
) -> Verdict:
    """The verdict on one arm. ``p_value`` is adjusted for the number of arms; ``reasons`` close the gate."""
    if reasons:
        return _verdict("not valid", f"Not valid: {'; '.join(reasons)}.", estimate, None)
    effect = estimate.absolute
    if effect is None or p_value is None:
        why = "; ".join(estimate.warnings) or "no test could be made"
        return _verdict("not valid", f"Not valid: {why}.", estimate, None)
    if not progress.reached(experiment):
        return _verdict("not settled", _early(experiment, metric, estimate, progress), estimate, p_value)
    if p_value >= experiment.alpha or effect.value == 0:
        return _verdict("not settled", _open(experiment, metric, estimate, progress), estimate, p_value)
    up = effect.value > 0
    finding: Finding = "better" if up == (direction_of(experiment, metric) == "higher") else "worse"
    sentence = (
        f"{finding.capitalize()}: {estimate.arm} {'raises' if up else 'lowers'} {_named(metric, experiment)} from "
        f"{format_value(estimate.baseline_value, metric.unit)} to {format_value(estimate.arm_value, metric.unit)} "
        f"({_range(experiment, metric, estimate)}, {_p(p_value)}){_guarded(estimate.arm, compared)}."
    )
    return _verdict(finding, sentence, estimate, p_value)


def days_text(days: float | None) -> str:
    """``about 4 more days``; ``some hours``; ``years``; ``a number of days nobody can tell yet``."""
    if days is None:
        return "a number of days that cannot be told yet"
    if not math.isfinite(days) or days > LONGEST_WAIT:
        return "years"
    if days < 1:
        return "less than a day more"
    whole = math.ceil(days - 1e-9)
    return f"about {whole:,} more day{'' if whole == 1 else 's'}"


def _verdict(finding: Finding, sentence: str, estimate: Estimate, p_value: float | None) -> Verdict:
    return Verdict(finding=finding, sentence=sentence, arm=estimate.arm, p_value=p_value)


def _early(experiment: Experiment, metric: Metric, estimate: Estimate, progress: Progress) -> str:
    planned = []
    if experiment.planned_days is not None:
        planned.append(f"{progress.days:.3g} of {experiment.planned_days:.3g} planned days")
    if experiment.planned_units is not None:
        planned.append(f"{progress.units:,} of {experiment.planned_units:,} planned {experiment.unit_kind}s")
    seen = f"so far {_range(experiment, metric, estimate)}, not adjusted for looking early"
    if experiment.stopped_at is not None:
        return f"Not settled: it was stopped after {' and '.join(planned)}; {seen}."
    wait = days_text(progress.more_days(experiment))
    return f"Not settled: needs {wait} at the present traffic ({' and '.join(planned)}); {seen}."


def _open(experiment: Experiment, metric: Metric, estimate: Estimate, progress: Progress) -> str:
    seen = f"{estimate.arm} may change {_named(metric, experiment)} by {_range(experiment, metric, estimate)}"
    wanted = f"{experiment.minimum_effect * 100:.3g} %"
    more = progress.enough_days
    if more == 0:
        return f"Not settled: {seen}; a change of {wanted} would most likely have shown by now."
    if experiment.stopped_at is not None:
        return f"Not settled: {seen}; it was stopped before a change of {wanted} could be told from chance."
    return f"Not settled: {seen}; to find a change of {wanted} it needs {days_text(more)} at the present traffic."


def _named(metric: Metric, experiment: Experiment) -> str:
    title = metric.title if metric.title[:2].isupper() else metric.title[:1].lower() + metric.title[1:]
    return f"{title} a {experiment.unit_kind}" if metric.aggregation in ("count", "sum") else title


def _range(experiment: Experiment, metric: Metric, estimate: Estimate) -> str:
    """The effect and its interval: relative where that has a meaning, else in the metric's unit."""
    level = f"{(1 - experiment.alpha) * 100:.3g} % interval"
    relative = estimate.relative
    if relative is not None and relative.low is not None and relative.high is not None:
        return f"{_percent(relative.value)}, {level} {_percent(relative.low)} to {_percent(relative.high)}"
    effect = estimate.absolute or Effect(value=0.0)
    low, high = (format_value(bound, metric.unit) for bound in (effect.low, effect.high))
    return f"{format_value(effect.value, metric.unit)}, {level} {low} to {high}"


def _percent(share: float) -> str:
    percent = share * 100
    text = f"{percent:+.1f}" if abs(percent) < 100 else f"{percent:+,.0f}"
    return f"{text.replace('-', chr(0x2212))} %"


def _p(p_value: float) -> str:
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def _guarded(arm: str, compared: tuple[MetricComparison, ...]) -> str:
    """What the guardrails say of the arm, where they do not all hold."""
    states = [(one.title, check.state) for one in compared for check in one.guardrails if check.arm == arm]
    breached = [title for title, state in states if state == "breached"]
    unsure = [title for title, state in states if state == "open"]
    if breached:
        return f", but a guardrail is breached: {', '.join(breached)}"
    return f"; not yet known to be within its guardrail: {', '.join(unsure)}" if unsure else ""
