"""Did it work, may I ship it? Experiments with verdict, intervals, sample ratio and arms.

Asks ``experiments`` for comparisons; ``overview`` and ``report`` take the plot and the progress from here.
"""

from __future__ import annotations

import math

from barograph.core.query import Window
from barograph.core.unit import format_value
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import framed
from barograph.experiments.comparison import Comparison, MetricComparison
from barograph.experiments.design import Experiment
from barograph.stats.estimate import Effect as Change
from barograph.stats.estimate import Estimate
from barograph.visualize.chart import Cell, Column, Effect, IntervalPlot, Page, Panel, Part, Table, Text, Tone, Verdict
from barograph_client.errors import BarographError

LONGEST_WAIT = 3650.0  # days; more is said as years
WIDE = 0.5  # a change, as a share, beyond which an interval is put apart
MOST_SHOWN = 10  # experiments with a panel of their own
_TONES: dict[str, Tone] = {"better": "good", "worse": "critical", "not settled": "plain", "not valid": "warning"}


def experiments_page(material: Material, window: Window) -> Page:
    """The list, then every running, paused or stopped experiment with what is known of it."""
    known = material.experiments.list()
    if not known:
        told = [
            Text(text="No experiment is defined. An experiment settles whether a change made things better:"),
            Text(text="dashboard.experiments.create(Experiment(key=..., variants=..., primary_metric=...))"),
            Text(text="then start it, expose users, and read the verdict here.", tone="muted"),
        ]
        return framed(material, "Experiments", None, told)
    order = {"running": 0, "paused": 1, "stopped": 2, "draft": 3, "archived": 4}
    known = sorted(known, key=lambda one: (order[one.state], one.key))
    compared = {
        one.key: comparison_of(material, one.key) for one in known if one.state in ("running", "paused", "stopped")
    }
    parts: list[Part] = [_list(known, compared)]
    for one in known[:MOST_SHOWN]:
        found = compared.get(one.key)
        if found is not None:
            parts.append(Panel(title=f"{one.name} ({one.state})", parts=experiment_parts(found)))
    return framed(material, "Experiments", None, parts)


def experiment_parts(found: Comparison) -> list[Part]:
    """One experiment: what was expected, the verdict, sample ratio, intervals, the numbers behind them."""
    parts: list[Part] = []
    if found.hypothesis:
        parts.append(Text(text=f"Hypothesis: {found.hypothesis}", tone="muted"))
    parts.append(Text(text=found.verdict.sentence, tone=_TONES[found.verdict.finding]))
    parts.append(_balance(found))
    parts += [Text(text=f"Mind: {warning}.", tone="muted") for warning in found.warnings]
    return [*parts, *interval_plot(found), _numbers(found)]


def _list(known: list[Experiment], compared: dict[str, Comparison | None]) -> Table:
    rows: list[list[Cell]] = []
    for one in known:
        found = compared.get(one.key)
        rows.append(
            [one.name, one.state, one.split, round(found.days_running, 1) if found else None,
             sum(found.units.values()) if found else None, found.verdict.finding if found else None,
             one.key if one.key != one.name else None]
        )  # fmt: skip
    columns = [
        Column(title="Experiment", most=36), Column(title="State"), Column(title="Split"), Column(title="Days"),
        Column(title="Units"), Column(title="Verdict"), Column(title="Key", most=24),
    ]  # fmt: skip
    return Table(title="Experiments", columns=columns, rows=rows)


def _balance(found: Comparison) -> Text:
    """The sample ratio check: whether the arms got the units that they were promised."""
    units = ", ".join(f"{arm} {count:,}" for arm, count in found.units.items())
    ratio = found.sample_ratio
    if ratio.p_value is None:
        return Text(text=f"Sample ratio: no {found.unit_kind} has been exposed yet.", tone="muted")
    p_value = "p < 0.001" if ratio.p_value < 0.001 else f"p = {ratio.p_value:.2g}"
    state = "mismatch" if ratio.mismatch else "ok"
    aside = f"{found.unit_kind}s exposed"
    text = f"Sample ratio: {state} ({units} {aside}, {found.split} promised, {p_value})"
    return Text(text=text, tone="critical" if ratio.mismatch else "plain")


def _numbers(found: Comparison) -> Table:
    """Every metric and arm as numbers."""
    rows: list[list[Cell]] = []
    for metric in found.metrics:
        states = {check.arm: check.state for check in metric.guardrails}
        for estimate in metric.estimates:
            role: str = "goal" if metric.role == "primary" else metric.role
            if estimate.arm in states:
                role = f"guardrail, {states[estimate.arm]}"
            rows.append(
                [metric.title, role, estimate.arm, format_value(estimate.baseline_value, metric.unit),
                 format_value(estimate.arm_value, metric.unit), _difference(estimate.absolute, metric.unit),
                 f"{estimate.baseline_n:,} / {estimate.arm_n:,}"]
            )  # fmt: skip
    single = len(found.estimates) == 1
    columns = [
        Column(title="Metric", most=28), Column(title="Role"), Column(title="Arm", most=20),
        Column(title=found.control, align="right", most=20),
        Column(title=arm_names(found) if single else "arm", align="right", most=20),
        Column(title="Difference", align="right"), Column(title=f"{found.unit_kind}s", align="right"),
    ]  # fmt: skip
    kept = [i for i in range(len(columns)) if not (single and columns[i].title == "Arm")]
    return Table(title="The numbers", columns=[columns[i] for i in kept], rows=[[row[i] for i in kept] for row in rows])


def _difference(effect: Change | None, unit: str) -> str | None:
    """The difference in the metric's own unit; that of two shares is in points."""
    if effect is None:
        return None
    if unit in ("ratio", "%"):
        return f"{format_value(effect.value * (100 if unit == 'ratio' else 1), '', signed=True)} points"
    return format_value(effect.value, unit, signed=True, headed=True)


def comparison_of(material: Material, key: str) -> Comparison | None:
    """The comparison, or None where it cannot be made now."""
    try:
        return material.experiments.compare(key)
    except BarographError:
        return None


def progress_note(compared: Comparison | None) -> str:
    """``day 3, needs about 4 more``; or what is known already."""
    if compared is None:
        return "cannot be compared now"
    day = f"day {math.floor(compared.days_running) + 1}"
    if compared.verdict.finding == "not valid":
        return f"{day}, {'arms out of balance' if compared.sample_ratio.mismatch else 'no verdict yet'}"
    if compared.verdict.finding != "not settled":
        return f"{day}, {compared.verdict.finding}"
    more = compared.needs_more_days
    if more is None or more == 0:
        return f"{day}, not settled"
    if not math.isfinite(more) or more > LONGEST_WAIT:
        return f"{day}, would need years"
    return f"{day}, needs {'less than one' if more < 1 else f'about {math.ceil(more - 1e-9):,}'} more"


def reached_end(compared: Comparison) -> bool:
    """Whether all that was planned has come: before, nothing is called better or worse."""
    days, units = compared.planned_days, compared.planned_units
    enough = units is None or sum(compared.units.values()) >= units
    return (days is None or compared.days_running >= days) and enough


def interval_plot(compared: Comparison, *, short: bool = False) -> list[Part]:
    """The relative change of every metric with its interval; empty where none has one.

    Intervals so wide that they would squeeze the others to points get a plot, and a scale, of their own; ``short``
    leaves out what is neither the goal nor a guardrail.
    """
    several = len(compared.estimates) > 1
    rows: list[Effect] = []
    for metric in compared.metrics:
        for estimate in metric.estimates:
            relative = estimate.relative
            if relative is None or (short and metric.role == "secondary"):
                continue
            rows.append(
                Effect(
                    label=f"{metric.title} ({estimate.arm})" if several else metric.title,
                    estimate=relative.value,
                    low=_finite(relative.low),
                    high=_finite(relative.high),
                    verdict=_verdict(compared, metric, estimate),
                )
            )
    wide = [row for row in rows if _reach(row) > WIDE and _reach(row) > 4 * min(map(_reach, rows))]
    subtitle = f"relative change · {(1 - compared.alpha) * 100:.3g} % interval"
    plots = [(f"{arm_names(compared)} against {compared.control}", [row for row in rows if row not in wide]),
             ("Known too roughly to share that scale", wide)]  # fmt: skip
    return [IntervalPlot(title=title, rows=some, unit="ratio", subtitle=subtitle) for title, some in plots if some]


def _reach(row: Effect) -> float:
    """How far from zero the row is drawn."""
    return max(abs(end) for end in (row.low, row.high, row.estimate) if end is not None)


def arm_names(compared: Comparison) -> str:
    names = [estimate.arm for estimate in compared.estimates]
    return names[0] if len(names) == 1 else f"{len(names)} arms"


def _finite(bound: float | None) -> float | None:
    return bound if bound is not None and math.isfinite(bound) else None


def _verdict(compared: Comparison, metric: MetricComparison, estimate: Estimate) -> Verdict:
    """The goal has the experiment's own verdict; the others are told from their interval once the end is reached."""
    if metric.role == "primary":
        for verdict in compared.arm_verdicts:
            if verdict.arm == estimate.arm and verdict.finding != "not valid":
                return (
                    "better"
                    if verdict.finding == "better"
                    else "worse"
                    if verdict.finding == "worse"
                    else "not settled"
                )
        return "not settled"
    effect = estimate.absolute
    if not reached_end(compared) or effect is None or effect.low is None or effect.high is None:
        return "not settled"
    if effect.low <= 0 <= effect.high or metric.better is None or compared.verdict.finding == "not valid":
        return "not settled"
    return "better" if (effect.value > 0) == (metric.better == "higher") else "worse"
