"""The verdict in a sentence: what is known of an arm, why not more, and how long it would take.

Given the estimates and the gate's reasons by ``analysis``. Where the verdict is reached at a fixed horizon nothing is
called better or worse before the planned end, whatever the interval says, because looking early was not paid for. An
always valid interval has paid for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from barograph.core.metric import Metric
from barograph.core.unit import MINUS, counted, format_value
from barograph.experiments.analysis.gate import Obstacles
from barograph.experiments.analysis.sequential import within_unit_interval
from barograph.experiments.analysis.waiting import LONGEST_WAIT, Progress
from barograph.experiments.comparison import REPEATED, Finding, MetricComparison, Verdict
from barograph.experiments.design import Experiment, direction_of
from barograph.stats.covariate import CUPED
from barograph.stats.estimate import Effect, Estimate
from barograph_client.errors import shorten

NOT_VALID_HERE = "not valid here: "  # how a sequence begins to say why it has no interval
WIDEST_RELATIVE = 2.0  # of an interval told in per cent: from -100 to +100; wider ones are told in the metric's unit
WIDEST_SHARE = 1.0  # of an interval of differences of shares: a half of all that there can be
LONGEST_REASON = 200  # characters of why an experiment was stopped


def judge(
    experiment: Experiment,
    metric: Metric,
    estimate: Estimate,
    p_value: float | None,
    progress: Progress,
    obstacles: Obstacles,
    compared: tuple[MetricComparison, ...],
    equivalent: Estimate | None = None,
    settled_at: int | None = None,
) -> Verdict:
    """The verdict on one arm. ``p_value`` is adjusted for the number of arms; ``obstacles`` close the gate.

    ``equivalent`` is the estimate whose interval lies within the margin that does not matter, where one does.
    ``settled_at`` is the number of the planned look that settled the arm: of a later one only faults matter to it.
    """
    if settled_at is not None:
        obstacles = Obstacles(faults=obstacles.faults)
    kept_back = kept_from_testing(obstacles, estimate, p_value).verdict()
    if kept_back is not None:
        finding, sentence = kept_back
        p_value = None
    else:
        assert p_value is not None  # that would have been an obstacle
        finding, sentence = _found(
            experiment, metric, estimate, p_value, progress, compared, equivalent, settled_at or progress.look
        )
    if finding == "not settled":
        sentence = f"{sentence.removesuffix('.')}{_next_look(experiment, progress)}."
    return told(experiment, finding, sentence, estimate.arm, p_value)


def kept_from_testing(obstacles: Obstacles, estimate: Estimate, p_value: float | None) -> Obstacles:
    """The obstacles, and where there are none why there is no test: more units mend it."""
    if obstacles.verdict() is not None or (estimate.absolute is not None and p_value is not None):
        return obstacles
    refused = tuple(warning.removeprefix(NOT_VALID_HERE) for warning in estimate.warnings)
    return Obstacles(waits=refused or ("no test can be made yet",))


def told(experiment: Experiment, finding: Finding, sentence: str, arm: str, p_value: float | None = None) -> Verdict:
    """The verdict on an arm, with why the experiment was stopped, where somebody said so."""
    if experiment.stop_reason:
        sentence += f" It was stopped: {shorten(experiment.stop_reason, LONGEST_REASON).rstrip('.')}."
    return Verdict(finding=finding, sentence=sentence, arm=arm, p_value=p_value)


def _found(
    experiment: Experiment,
    metric: Metric,
    estimate: Estimate,
    p_value: float,
    progress: Progress,
    compared: tuple[MetricComparison, ...],
    equivalent: Estimate | None,
    look: int,
) -> tuple[Finding, str]:
    effect = estimate.absolute or Effect(value=0.0)
    if not progress.decides(experiment):
        return "not settled", early_text(experiment, metric, estimate, progress)
    if p_value < experiment.alpha and effect.value != 0:
        return _settled(experiment, metric, estimate, p_value, effect, compared, equivalent, look)
    if equivalent is not None:
        return "equivalent", (
            f"Equivalent{_at(experiment, look)}: {estimate.arm} changes {_named(metric, experiment)} by "
            f"{range_text(experiment, metric, equivalent)}, within the {_margin(experiment)} that do not matter"
            f"{_guarded(experiment, estimate.arm, compared)}."
        )
    return "not settled", _open(experiment, metric, estimate, progress)


def _settled(
    experiment: Experiment,
    metric: Metric,
    estimate: Estimate,
    p_value: float,
    effect: Effect,
    compared: tuple[MetricComparison, ...],
    equivalent: Estimate | None,
    look: int,
) -> tuple[Finding, str]:
    up = effect.value > 0
    finding: Finding = "better" if up == (direction_of(experiment, metric) == "higher") else "worse"
    little = "" if equivalent is None else f", though within the {_margin(experiment)} that do not matter"
    moves = f"{estimate.arm} {'raises' if up else 'lowers'} {_named(metric, experiment)}"
    return finding, (
        f"{finding.capitalize()}{_at(experiment, look)}: {moves} from "
        f"{format_value(estimate.baseline_value, metric.unit)} to {format_value(estimate.arm_value, metric.unit)} "
        f"({range_text(experiment, metric, estimate)}, {p_text(p_value)}){little}"
        f"{_guarded(experiment, estimate.arm, compared)}."
    )


def overall(verdicts: tuple[Verdict, ...]) -> Verdict:
    """One verdict for all treatments: any that is better counts, then any that is worse."""
    for finding in ("better", "worse", "equivalent", "not settled"):
        chosen = [verdict for verdict in verdicts if verdict.finding == finding]
        if chosen:
            return min(chosen, key=lambda verdict: 1.0 if verdict.p_value is None else verdict.p_value)
    return verdicts[0]


def about_looking(experiment: Experiment, progress: Progress) -> list[str]:
    """What is to be minded of choosing when to look, where the verdict holds at the planned end or looks only."""
    if experiment.decided_by == "always valid":
        return []
    said = []
    if experiment.planned_days is not None and experiment.paused_seconds:
        said.append(
            f"a pause put the planned end off by {format_value(experiment.paused_seconds, 's')}: the verdict holds if "
            "what had shown did not decide the pause"
        )
    if experiment.planned_days is None and experiment.planned_units is None:
        return [
            "no end was planned: looking until the result pleases finds differences that are not there; "
            "plan days or units next time, or decide by an always valid interval"
        ]
    if experiment.decided_by == "group sequential":
        if progress.look == 0:
            said.append("the intervals are not adjusted for looking before the first planned look")
    elif not progress.reached(experiment):
        said.append("the intervals are not adjusted for looking before the planned end")
    return said


def to_be_minded(warnings: Iterable[str], verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    """Each warning once, without those that the sentence of a verdict says already."""
    sentences = [verdict.sentence for verdict in verdicts]
    return tuple(
        warning
        for warning in dict.fromkeys(warnings)
        if not any(warning.removeprefix(NOT_VALID_HERE) in sentence for sentence in sentences)
    )


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


def wait_text(experiment: Experiment, days: float | None) -> str:
    """How much longer it would take. At a fixed horizon that is past: a verdict on more data would be another test."""
    needs = "it needs" if experiment.decided_by == "always valid" else "it would have needed"
    return f"{needs} {days_text(days)} at the present traffic"


def early_text(experiment: Experiment, metric: Metric, estimate: Estimate, progress: Progress) -> str:
    """Why nothing is settled before the planned end, and what has shown so far."""
    planned = []
    if experiment.planned_days is not None:
        planned.append(f"{round(progress.days, 1):g} of {experiment.planned_days:.3g} planned days")
    if experiment.planned_units is not None:
        planned.append(f"{progress.units:,} of {experiment.planned_units:,} planned {experiment.unit_kind}s")
    which = f"{estimate.arm} is at " if len(experiment.variants) > 2 else ""
    seen = f"so far {which}{range_text(experiment, metric, estimate)}, not adjusted for looking early"
    if experiment.stopped_at is not None:
        return f"Not settled: it was stopped after {' and '.join(planned)}; {seen}."
    if experiment.decided_by == "group sequential":
        return f"Not settled: it is before the first look ({' and '.join(planned)}); {seen}."
    wait = days_text(progress.more_days(experiment))
    return f"Not settled: needs {wait} at the present traffic ({' and '.join(planned)}); {seen}."


def _open(experiment: Experiment, metric: Metric, estimate: Estimate, progress: Progress) -> str:
    seen = f"{estimate.arm} may change {_named(metric, experiment)} by {range_text(experiment, metric, estimate)}"
    wanted = f"{experiment.minimum_effect * 100:.3g} %"
    more, said = progress.enough_days, f"Not settled{_at(experiment, progress.look)}: {seen}"
    more_looks = 0 < progress.look < experiment.looks
    if more == 0 and not more_looks:
        return f"{said}; a change of {wanted} would most likely have shown by now."
    if experiment.stopped_at is not None:
        return f"{said}; it was stopped before a change of {wanted} could be told from chance."
    if more_looks:
        return f"{said}."
    return f"{said}; to find a change of {wanted} {wait_text(experiment, more)}."


def _at(experiment: Experiment, look: int) -> str:
    """At which of the planned looks, where there are some."""
    return f" at look {look} of {experiment.looks}" if look else ""


def _next_look(experiment: Experiment, progress: Progress) -> str:
    """When the next planned look is, where one is to come."""
    looks = experiment.looks if experiment.decided_by == "group sequential" else 0
    if progress.look >= looks or experiment.stopped_at is not None:
        return ""
    days = progress.more_days(experiment)
    when = "at a time that cannot be told yet"
    if days is not None:
        when = "in years" if days > LONGEST_WAIT else f"in about {counted(math.ceil(days - 1e-9), 'day')}"
        when = "within a day" if days <= 1 else when
    return f"; look {progress.look + 1} of {looks} comes {when}"


def _named(metric: Metric, experiment: Experiment) -> str:
    title = metric.title if metric.title[:2].isupper() else metric.title[:1].lower() + metric.title[1:]
    return f"{title} a {experiment.unit_kind}" if metric.aggregation in ("count", "sum") else title


def _margin(experiment: Experiment) -> str:
    return f"±{(experiment.equivalence_margin or 0.0) * 100:.3g} %"


def range_text(experiment: Experiment, metric: Metric, estimate: Estimate) -> str:
    """The effect and its interval: relative where that has a meaning, else in the metric's unit.

    The latter also where one of both intervals holds zero and the other does not: the p-value is the absolute one's;
    and where the relative interval is very wide. Of shares and preferences an interval that holds most of what there
    can be is not told.
    """
    level = f"{(1 - estimate.alpha) * 100:.3g} % interval"
    if experiment.decided_by == "always valid":
        level = f"always valid {level}"
    if REPEATED in estimate.method:
        level = f"repeated {level}"
    past = ", adjusted by the days before" if estimate.method.startswith(CUPED) else ""
    relative, absolute = estimate.relative, estimate.absolute or Effect(value=0.0)
    bounds, value = _finite(absolute), _amount(absolute.value, metric)
    shares = _finite(relative)
    alike = _holds_zero(shares) == _holds_zero(bounds)
    if relative is not None and shares and alike and _width(shares) <= WIDEST_RELATIVE:
        return f"{_percent(relative.value)}, {level} {_percent(shares[0])} to {_percent(shares[1])}{past}"
    if bounds is None:
        return f"{value}, without an interval"
    if _width(bounds) > WIDEST_SHARE and (experiment.kind == "interleaving" or within_unit_interval(metric)):
        return f"{value}, with an interval too wide to tell anything"
    return f"{value}, {level} {_amount(bounds[0], metric)} to {_amount(bounds[1], metric)}{past}"


def _finite(effect: Effect | None) -> tuple[float, float] | None:
    if effect is None or effect.low is None or effect.high is None:
        return None
    return (effect.low, effect.high) if math.isfinite(effect.low) and math.isfinite(effect.high) else None


def _width(bounds: tuple[float, float]) -> float:
    return bounds[1] - bounds[0]


def _holds_zero(bounds: tuple[float, float] | None) -> bool:
    return bounds is None or bounds[0] <= 0 <= bounds[1]


def _amount(value: float, metric: Metric) -> str:
    """A difference in the metric's unit; of shares in percentage points, which are no per cent of anything."""
    if metric.unit == "ratio":
        return f"{value * 100:+.3g} points".replace("-", MINUS)
    return format_value(value, metric.unit, signed=True, headed=True)


def _percent(share: float) -> str:
    percent = share * 100
    text = f"{percent:+.1f}" if abs(percent) < 100 else f"{percent:+,.0f}"
    return f"{text.replace('-', MINUS)} %"


def p_text(p_value: float) -> str:
    """``p = 0.012``; far out only a bound."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def _guarded(experiment: Experiment, arm: str, compared: tuple[MetricComparison, ...]) -> str:
    """What the guardrails say of the arm, where they do not all hold, by the test that may be made now."""
    always = experiment.decided_by != "fixed horizon"
    states = [
        (one.title, check.stopping if always else check.state)
        for one in compared
        for check in one.guardrails
        if check.arm == arm
    ]
    breached = [title for title, state in states if state == "breached"]
    unsure = [title for title, state in states if state in ("open", "not valid")]
    if breached:
        return f", but a guardrail is breached: {', '.join(breached)}"
    return f"; not yet known to be within its guardrail: {', '.join(unsure)}" if unsure else ""
