"""What the commands for experiments draw: the verdict first, then what it rests on, as numbers, and what to do next.

Made of the structs that the server sends, too; knows neither store nor network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from barograph.control.audit import AuditEntry
from barograph.core.unit import format_value
from barograph.core.zone import local_time
from barograph.experiments.comparison import Comparison, GuardrailCheck, MetricComparison
from barograph.experiments.design import Experiment
from barograph.experiments.preview import Assignment
from barograph.stats.estimate import Effect, Estimate
from barograph.visualize.chart import Cell, Column, Page, Part, Table, Text, Tone
from barograph_client.errors import shorten

_TONES: dict[str, Tone] = {
    "better": "good", "equivalent": "good", "worse": "critical", "not settled": "plain", "not valid": "warning",
}  # fmt: skip
_LEAST_P = 0.0001
_WHY = {  # the reasons of a decision, as sentences about a unit
    "assigned": "chance put it there, and will again",
    "sticky": "it was put there before, and stays",
    "forced": "it was put there by hand, and is not counted",
    "not covered": "it is not in the share of units that takes part (coverage)",
    "not targeted": "it does not meet the condition",
    "another namespace": "it is in another part of the namespace",
    "held out": "it is held out of all experiments",
    "blocked": "it was assigned before min_bucket_version",
}


def listing(found: Sequence[Experiment]) -> Page:
    """All experiments, those that run first."""
    if not found:
        return Page(title="Experiments", parts=[
            Text(text="There is none. `barograph experiment create --help` shows how one is made."),
        ])  # fmt: skip
    order = {"running": 0, "paused": 1, "draft": 2, "stopped": 3, "archived": 4}
    rows: list[list[Cell]] = [
        [one.key, one.state, one.split, one.primary_metric, f"{one.started_at:%Y-%m-%d}" if one.started_at else None,
         one.title or None]
        for one in sorted(found, key=lambda one: (order[one.state], one.key))
    ]  # fmt: skip
    columns = [
        Column(title="Key", most=32), Column(title="State"), Column(title="Split"), Column(title="Metric", most=28),
        Column(title="Started"), Column(title="Title", most=60),
    ]  # fmt: skip
    return Page(title="Experiments", parts=[Table(title="", columns=columns, rows=rows)])


def shown(experiment: Experiment, found: Comparison | None) -> Page:
    """One experiment: what is known, what that rests on, what to do next."""
    parts: list[Part] = []
    if found is None:
        parts.append(Text(text=f"Nothing is known yet: it is {_a(experiment.state)}."))
    else:
        parts.append(Text(text=found.verdict.sentence, tone=_TONES[found.verdict.finding]))
        others = [one for one in found.arm_verdicts if one.sentence != found.verdict.sentence]
        parts += [Text(text=one.sentence, tone=_TONES[one.finding]) for one in others]
        parts.append(_sample_ratio(found))
    if experiment.stop_reason:
        parts.append(Text(text=f"It was stopped: {experiment.stop_reason}", tone="warning"))
    if experiment.hypothesis:
        parts.append(Text(text=f"Hypothesis: {experiment.hypothesis}", tone="muted"))
    parts.append(Text(text=_declared(experiment), tone="muted"))
    if found is not None:
        parts += [Text(text=f"Mind: {warning}.", tone="muted") for warning in found.warnings]
        parts.append(_metrics(found))
        parts += _guardrails(found)
    parts += [Text(text=line) for line in next_steps(experiment, found)]
    return Page(title=experiment.name, aside=_standing(experiment, found), parts=parts)


def next_steps(experiment: Experiment, found: Comparison | None) -> list[str]:
    """What may be done now, as commands."""
    key = experiment.key
    match experiment.state:
        case "draft":
            return [
                f"Next: `barograph experiment start {key}` begins it; `assign {key} --user ID` shows who gets what."
            ]
        case "paused":
            return [f"Next: `barograph experiment start {key}` goes on, `stop {key}` ends it."]
        case "stopped":
            return [f"Next: `barograph experiment archive {key}` puts it away; `history {key}` tells who did what."]
        case "archived":
            return [f"It is put away. `barograph experiment history {key}` tells who did what."]
        case "running":
            return [_while_running(key, found)]


def _while_running(key: str, found: Comparison | None) -> str:
    stop = f"`barograph experiment stop {key} --reason WHY`"
    winner = found.verdict.arm if found else ""
    match found.verdict.finding if found else "":
        case "better":
            return f"Next: {stop} ends it; then give everybody the configuration of {winner}."
        case "worse":
            return f"Next: {stop} ends it; everybody then gets the control's configuration."
        case "equivalent":
            return f"Next: {stop} ends it; take whichever arm costs less."
        case "not valid":
            return f"Next: find out why before anything else; {stop} ends it, `pause {key}` assigns nobody meanwhile."
    return f"Next: leave it running, and look again later; {stop} ends it for good."


def told_assignment(found: Assignment) -> list[str]:
    """What an experiment is for a unit, and why."""
    who = f"{found.unit_kind} {shorten(found.unit_id)}"
    if found.arm is None:
        first = f"{who} takes no part in {found.experiment}: {_WHY.get(found.reason, found.reason)}."
    else:
        first = f"{who} is in {found.arm} of {found.experiment}: {_WHY.get(found.reason, found.reason)}."
    lines = [first]
    if not found.in_effect:
        lines.append(
            f"That is so while it runs; it is {_a(found.state)}, so everybody gets the control's configuration."
        )
    whose = found.arm or "the control"
    if found.payload:
        lines.append(f"Configuration of {whose}:")
        lines += [f"  {name} = {shorten(value)}" for name, value in found.payload.items()]
    return lines


def history_page(key: str, entries: Sequence[AuditEntry], zone: ZoneInfo) -> Page:
    """Who changed it and how, newest first."""
    rows: list[list[Cell]] = [
        [local_time(one.time, zone), one.actor, one.action, _what(one.detail) or None] for one in entries
    ]
    columns = [
        Column(title="When"), Column(title="Who", most=24), Column(title="Did"),
        Column(title="What", most=200, wraps=True),
    ]  # fmt: skip
    return Page(title=f"History of {shorten(key)}", parts=[Table(title="", columns=columns, rows=rows)])


def _what(detail: dict[str, Any]) -> str:
    if detail.get("changed"):
        told = [f"{name} from {_short(one['from'])} to {_short(one['to'])}" for name, one in detail["changed"].items()]
        return "; ".join(told)
    if detail.get("reason"):
        return str(detail["reason"])
    return f"was {detail['from']}" if "from" in detail else ""


def _short(value: object) -> str:
    return "nothing" if value in (None, "", [], {}) else shorten(value, 60)


def _standing(experiment: Experiment, found: Comparison | None) -> str:
    if found is None:
        return experiment.state
    planned = f" of {experiment.planned_days:g}" if experiment.planned_days is not None else ""
    return f"{experiment.state}, day {math.floor(found.days_running) + 1}{planned}"


def _declared(experiment: Experiment) -> str:
    """What was declared, in a line."""
    e = experiment
    share = "" if e.coverage == 1 else f" {format_value(e.coverage, 'ratio')} of"
    arms = "/".join(shorten(one.key, 24) for one in e.variants)
    ends = [f"{e.planned_days:g} days"] if e.planned_days is not None else []
    ends += [f"{e.planned_units:,} {e.unit_kind}s"] if e.planned_units is not None else []
    end = f"; planned for {' and '.join(ends)}" if ends else ""
    by = "at the planned end" if e.decided_by == "fixed horizon" else "at any time, by always-valid intervals"
    return f"{share.strip().capitalize() or 'All'} {e.unit_kind}s, {e.split} ({arms}){end}; decided {by}.".strip()


def _sample_ratio(found: Comparison) -> Text:
    ratio = found.sample_ratio
    if ratio.p_value is None:
        return Text(text=f"Sample ratio: no {found.unit_kind} has been exposed yet.", tone="muted")
    units = ", ".join(f"{shorten(arm, 24)} {count:,}" for arm, count in found.units.items())
    state = "mismatch" if ratio.mismatch else "ok"
    text = (
        f"Sample ratio: {state} ({units} {found.unit_kind}s, {found.split} promised, {_p(ratio.p_value, named=True)})"
    )
    return Text(text=text, tone="critical" if ratio.mismatch else "plain")


def estimates_of(found: Comparison, metric: MetricComparison) -> tuple[Estimate, ...]:
    """Those that the verdict goes by."""
    always = found.decided_by == "always valid" and metric.always_valid
    return metric.always_valid if always else metric.estimates


def _metrics(found: Comparison) -> Table:
    several = len(found.arm_verdicts) > 1
    rows: list[list[Cell]] = []
    for metric in found.metrics:
        for estimate in estimates_of(found, metric):
            change, unit = (estimate.relative, "ratio") if estimate.relative else (estimate.absolute, metric.unit)
            rows.append([
                metric.title + (" *" if metric.role == "primary" else ""), estimate.arm,
                format_value(estimate.baseline_value, metric.unit, headed=True),
                format_value(estimate.arm_value, metric.unit, headed=True),
                None if change is None else format_value(change.value, unit, signed=True, headed=True),
                None if change is None else interval(change, unit), _p(estimate.p_value),
            ])  # fmt: skip
    columns = [
        Column(title="Metric", most=30, wraps=True), Column(title="Arm", most=16),
        Column(title=shorten(found.control, 12), align="right", most=14),
        Column(title="arm" if several else shorten(_treatments(found), 12), align="right", most=14),
        Column(title="Change", align="right"), Column(title="Interval", align="right", most=26),
        Column(title="p", align="right"),
    ]  # fmt: skip
    kept = [i for i, column in enumerate(columns) if several or column.title != "Arm"]
    level = f"{(1 - found.alpha) * 100:.3g} % intervals, {found.decided_by}"
    return Table(
        title="Metrics", subtitle=level, note="* what the verdict goes by",
        columns=[columns[i] for i in kept], rows=[[row[i] for i in kept] for row in rows],
    )  # fmt: skip


def _guardrails(found: Comparison) -> list[Part]:
    checks = [(metric, check) for metric in found.metrics for check in metric.guardrails]
    if not checks:
        return []
    rows: list[list[Cell]] = [
        [metric.title, check.arm, _worse(metric, check),
         format_value(check.margin, "ratio" if check.relative else metric.unit, headed=True),
         check.state, _acts(check)]
        for metric, check in checks
    ]  # fmt: skip
    columns = [
        Column(title="Metric", most=30, wraps=True), Column(title="Arm", most=16),
        Column(title="Worse by", align="right", most=26), Column(title="Limit", align="right"), Column(title="State"),
        Column(title="Stops it", most=16),
    ]  # fmt: skip
    return [Table(title="Guardrails", columns=columns, rows=rows, subtitle="worse by so much, at least to at most")]


def _worse(metric: MetricComparison, check: GuardrailCheck) -> str | None:
    effect = Effect(value=0.0, low=check.worsening_low, high=check.worsening_high)
    return interval(effect, "ratio" if check.relative else metric.unit)


def _acts(check: GuardrailCheck) -> str:
    if not check.auto_stop:
        return "no"
    return {"breached": "now", "held": "not needed", "open": "not yet", "not valid": "cannot tell yet"}[check.stopping]


def interval(effect: Effect, unit: str) -> str | None:
    """The bounds as numbers; of one that is open to a side the other bound."""
    low, high = (
        None if bound is None or not math.isfinite(bound) else format_value(bound, unit, signed=True, headed=True)
        for bound in (effect.low, effect.high)
    )
    if low is None and high is None:
        return None
    if high is None:
        return f"{low} or more"
    return f"{high} or less" if low is None else f"{low} to {high}"


def _treatments(found: Comparison) -> str:
    return next(iter(verdict.arm for verdict in found.arm_verdicts), "arm")


def _p(p_value: float | None, *, named: bool = False) -> str:
    if p_value is None:
        return "–"
    text = f"< {_LEAST_P:g}" if p_value < _LEAST_P else f"{p_value:.2g}"
    if not named:
        return text.replace(" ", "")
    return f"p {text}" if p_value < _LEAST_P else f"p = {text}"


def _a(state: str) -> str:
    return "a draft" if state == "draft" else state
