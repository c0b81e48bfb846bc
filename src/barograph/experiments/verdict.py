"""The verdict in a sentence: what is known of an arm, why not more, and how long it would take.

Given the estimates and the gate's reasons by ``analysis``. Where the verdict is reached at a fixed horizon nothing is
called better or worse before the planned end, whatever the interval says, because looking early was not paid for. An
always valid interval has paid for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from barograph.core.metric import Metric
from barograph.core.unit import MINUS, format_value
from barograph.experiments.advice import Known, days_text, wanted_text
from barograph.experiments.analysis.gate import Obstacle, Obstacles, unknown_skewness
from barograph.experiments.analysis.sequential import within_unit_interval
from barograph.experiments.analysis.waiting import Progress
from barograph.experiments.comparison import REPEATED, Finding, MetricComparison, Verdict
from barograph.experiments.design import Experiment, direction_of
from barograph.stats.covariate import CUPED
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.sequential.asymptotic import TOO_SKEWED, UNKNOWN_SKEWNESS

NOT_VALID_HERE = "not valid here: "  # how a sequence begins to say why it has no interval
WIDEST_RELATIVE = 2.0  # of an interval told in per cent: from -100 to +100; wider ones are told in the metric's unit
NARROWEST_RELATIVE = 1e-5  # of one told in per cent, as two ends that can be told apart
SPARE_DIGITS = 0.3  # of the logarithm: half of a decimal's unit would be lost by rounding
WIDEST_SHARE = 1.0  # of an interval of differences of shares: a half of all that there can be


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
) -> Known:
    """What is known of one arm. ``p_value`` is adjusted for the number of arms; ``obstacles`` close the gate.

    ``equivalent`` is the estimate whose interval lies within the margin that does not matter, where one does.
    ``settled_at`` is the number of the planned look that settled the arm: of a later one only faults matter to it.
    """
    if settled_at is not None:
        obstacles = Obstacles(faults=obstacles.faults)
    kept_back = kept_from_testing(experiment, obstacles, estimate, p_value).verdict()
    breached, unsure = _guardrails(experiment, estimate.arm, compared)
    if kept_back is not None:
        finding, text, repair = kept_back
        certain = _certain_breaches(estimate.arm, compared)
        return Known(
            arm=estimate.arm, finding=finding, text=f"{text}{_guarded(certain, ())}", breached=certain, repair=repair
        )
    assert p_value is not None  # that would have been an obstacle
    finding, text = _found(experiment, metric, estimate, p_value, progress, equivalent, settled_at or progress.look)
    if finding == "not settled":  # that a guardrail does not hold yet says nothing new then
        breached, unsure = _certain_breaches(estimate.arm, compared), ()
    return Known(
        arm=estimate.arm, finding=finding, text=f"{text}{_guarded(breached, unsure)}", p_value=p_value,
        breached=breached, unsure=unsure, small=finding == "better" and equivalent is not None,
    )  # fmt: skip


def kept_from_testing(
    experiment: Experiment, obstacles: Obstacles, estimate: Estimate, p_value: float | None
) -> Obstacles:
    """The obstacles, and where there are none why there is no test: more units mend it, but for unknown skewness."""
    if obstacles.verdict() is not None or (estimate.absolute is not None and p_value is not None):
        return obstacles
    refused = [warning.removeprefix(NOT_VALID_HERE) for warning in estimate.warnings]
    if UNKNOWN_SKEWNESS in refused:
        return Obstacles(faults=(unknown_skewness(experiment.unit_kind),))
    cap = "cap the metric in a new experiment"
    waits = tuple(Obstacle(one, cap if one.startswith(TOO_SKEWED) else "") for one in refused)
    return Obstacles(waits=waits or (Obstacle("no test can be made yet"),))


def _found(
    experiment: Experiment,
    metric: Metric,
    estimate: Estimate,
    p_value: float,
    progress: Progress,
    equivalent: Estimate | None,
    look: int,
) -> tuple[Finding, str]:
    effect = estimate.absolute or Effect(value=0.0)
    if not progress.decides(experiment):
        return "not settled", early_text(experiment, metric, estimate, progress)
    if p_value < experiment.alpha and effect.value != 0:
        return _settled(experiment, metric, estimate, p_value, effect, equivalent, look)
    if equivalent is not None:
        return "equivalent", (
            f"Equivalent{_at(experiment, look)}: {estimate.arm} changes {_named(metric, experiment)} by "
            f"{range_text(experiment, metric, equivalent)}, within the {_margin(experiment)} that do not matter"
        )
    seen = f"{estimate.arm} may change {_named(metric, experiment)} by {range_text(experiment, metric, estimate)}"
    why = why_open(experiment, estimate, p_value, progress)
    return "not settled", f"Not settled{_at(experiment, progress.look)}: {seen}{why}"


def _settled(
    experiment: Experiment,
    metric: Metric,
    estimate: Estimate,
    p_value: float,
    effect: Effect,
    equivalent: Estimate | None,
    look: int,
) -> tuple[Finding, str]:
    up = effect.value > 0
    finding: Finding = "better" if up == (direction_of(experiment, metric) == "higher") else "worse"
    little = "" if equivalent is None else f", though within the {_margin(experiment)} that do not matter"
    moves = f"{estimate.arm} {'raises' if up else 'lowers'} {_named(metric, experiment)}"
    return finding, (
        f"{finding.capitalize()}{_at(experiment, look)}: {moves}{_moved(metric, estimate)} "
        f"({range_text(experiment, metric, estimate)}, {p_text(p_value)}){little}"
    )


def _moved(metric: Metric, estimate: Estimate) -> str:
    """From what to what, in as many digits as tell them apart; where six do not, of what the difference is one."""
    for precise in (False, True):
        before, after = (
            format_value(value, metric.unit, precise=precise) for value in (estimate.baseline_value, estimate.arm_value)
        )
        if before != after:
            return f" from {before} to {after}"
    return f", which is about {format_value(estimate.baseline_value, metric.unit)}"


def why_open(experiment: Experiment, estimate: Estimate, p_value: float, progress: Progress) -> str:
    """Why an interval without zero settles nothing, where one does not; and that it was stopped too early."""
    said = ""
    if p_value >= experiment.alpha and not _holds_zero(_finite(estimate.absolute)):
        said = f", but its test has {p_text(p_value)}"
        if estimate.p_value is not None and estimate.p_value < experiment.alpha:
            arms = sum(variant.weight > 0 for variant in experiment.variants) - 1
            said = f", but {p_text(p_value)} when corrected for {arms} arms (Holm)"
    if progress.cut_short(experiment) and progress.enough_days != 0:
        said += f"; it was stopped before {wanted_text(experiment)} could be told from chance"
    return said


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
        return f"Not settled: it was stopped after {' and '.join(planned)}; {seen}"
    if experiment.decided_by == "group sequential":
        return f"Not settled: it is before the first look ({' and '.join(planned)}); {seen}"
    wait = days_text(progress.more_days(experiment))
    return f"Not settled: needs {wait} at the present traffic ({' and '.join(planned)}); {seen}"


def _at(experiment: Experiment, look: int) -> str:
    """At which of the planned looks, where there are some."""
    return f" at look {look} of {experiment.looks}" if look else ""


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
    if relative is not None and shares and alike and NARROWEST_RELATIVE <= _width(shares) <= WIDEST_RELATIVE:
        value, low, high = (_percent(share, _width(shares)) for share in (relative.value, *shares))
        return f"{value}, {level} {low} to {high}{past}"
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


def _percent(share: float, width: float) -> str:
    """In per cent, with as many decimals as an interval so wide needs for its ends to differ."""
    percent, decimals = share * 100, max(1, -math.floor(math.log10(width * 100) + SPARE_DIGITS))
    text = f"{percent:+.{decimals}f}" if abs(percent) < 100 else f"{percent:+,.0f}"
    return f"{text.replace('-', MINUS)} %"


def p_text(p_value: float) -> str:
    """``p = 0.012``; far out only a bound."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def _guardrails(
    experiment: Experiment, arm: str, compared: tuple[MetricComparison, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The titles of those that the arm breaches, and of those not known to hold, by the test that may be made now."""
    always = experiment.decided_by != "fixed horizon"
    states = [
        (one.title, check.stopping if always else check.state)
        for one in compared
        for check in one.guardrails
        if check.arm == arm
    ]
    breached = tuple(title for title, state in states if state == "breached")
    return breached, tuple(title for title, state in states if state in ("open", "not yet"))


def _certain_breaches(arm: str, compared: tuple[MetricComparison, ...]) -> tuple[str, ...]:
    """The titles of guardrails that the arm breaches by the test that holds at any time."""
    checks = ((one.title, check) for one in compared for check in one.guardrails)
    return tuple(title for title, check in checks if check.arm == arm and check.stopping == "breached")


def _guarded(breached: tuple[str, ...], unsure: tuple[str, ...]) -> str:
    """What the guardrails say of the arm, where they do not all hold."""
    if breached:
        return f", but a guardrail is breached: {', '.join(breached)}"
    return f"; not yet known to be within its guardrail: {', '.join(unsure)}" if unsure else ""
