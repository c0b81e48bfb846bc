"""One experiment in short: verdict, standing, sample ratio, intervals, guardrails, and the numbers behind them.

Reads a ``Comparison``; hands parts to ``page`` and to the report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta

from msgspec.structs import replace

from barograph.core.unit import counted, format_value
from barograph.dashboard.page.experiments.intervals import interval_plot
from barograph.dashboard.page.experiments.words import (
    TONES,
    arm_names,
    days_text,
    difference,
    margin_text,
    probability,
    sentences,
    worsening,
)
from barograph.experiments.comparison import Comparison
from barograph.stats.sample_ratio import SampleRatio
from barograph.visualize.chart import Bar, BarChart, Cell, Column, Part, Sparkline, Table, Text
from barograph.visualize.hostile import display_width
from barograph_client.errors import shorten

MOST_ARMS = 8  # whose units stand in a sentence
LONGEST_ARM = 24  # characters of an arm's key there
LONGEST_TITLE = 9  # cells of it above a column
MOST_BARS = 14  # days of exposures with a bar each; more are a small line
DECIDED = {
    "fixed horizon": "decided at the planned end",
    "always valid": "decided at any time, by always-valid intervals",
    "group sequential": "decided at planned looks",
}


def experiment_parts(found: Comparison) -> list[Part]:
    """What was expected, the verdict, whether it may be trusted, intervals, guardrails, the numbers behind them."""
    return [
        *head(found),
        *arrival_line(found),
        *mind(found.warnings),
        *interval_plot(found),
        *guardrail_table(found),
        *numbers(found),
    ]


def head(found: Comparison) -> list[Part]:
    """Hypothesis, verdict, how far it is, and the sample ratio."""
    parts: list[Part] = []
    if found.hypothesis:
        parts.append(Text(text=f"Hypothesis: {found.hypothesis}", tone="muted"))
    parts.append(Text(text=found.verdict.sentence, tone=TONES[found.verdict.finding]))
    others = [verdict for verdict in found.arm_verdicts if verdict.sentence != found.verdict.sentence]
    parts += [Text(text=verdict.sentence, tone=TONES[verdict.finding]) for verdict in others]
    return [*parts, _standing(found), _balance(found)]


def mind(warnings: Sequence[str]) -> list[Part]:
    return [Text(text=f"Mind: {warning.rstrip('.')}.", tone="muted") for warning in warnings]


def _standing(found: Comparison) -> Text:
    """How long it has run, of what was planned, and by what it is decided."""
    ran = days_text(found.days_running, found.planned_days)
    units = sum(found.units.values())
    came = f", {counted(units, found.unit_kind)}"
    if found.planned_units is not None:
        came = f", {units:,} of {counted(found.planned_units, found.unit_kind)}"
    looks = f" (as of look {found.look} of {found.planned_looks})" if found.look else ""
    looks = f" (none of {found.planned_looks} so far)" if found.early else looks
    return Text(text=f"{found.state.capitalize()}: {ran}{came}; {DECIDED[found.decided_by]}{looks}.", tone="muted")


def _balance(found: Comparison) -> Text:
    """The sample ratio check: whether the arms got the units that they were promised."""
    arms = [f"{shorten(arm, LONGEST_ARM)} {count:,}" for arm, count in found.units.items()]
    left = len(arms) - MOST_ARMS
    units = ", ".join([*arms[:MOST_ARMS], *([f"{left} more"] if left > 0 else [])])
    ratio = found.sample_ratio
    if ratio.p_value is None:
        call = "interleave where lists are shown" if len(found.units) == 1 else "expose where the arm takes effect"
        return Text(
            text=f"Sample ratio: no {found.unit_kind} has been exposed yet. Call {call}.",
            tone="muted",
        )
    if len(found.units) == 1:
        return Text(text=f"Sample ratio: {ratio.method} ({counted(sum(found.units.values()), found.unit_kind)}).")
    p_value = "p < 0.001" if ratio.p_value < 0.001 else f"p = {ratio.p_value:.2g}"
    state = "mismatch" if ratio.mismatch else "ok"
    aside = f"{found.unit_kind}s exposed"
    text = f"Sample ratio: {state} ({units} {aside}, {_promised(ratio)} promised, {p_value})"
    return Text(text=text, tone="critical" if ratio.mismatch else "plain")


def _promised(ratio: SampleRatio) -> str:
    """``50/50``: after a change of weights the arms' shares of the units of all periods, each by its own weights."""
    whole = math.fsum(ratio.expected)
    return "/".join(f"{100 * due / whole:.3g}" for due in ratio.expected)


def arrival_line(found: Comparison) -> list[Part]:
    """First exposures by day as a small line, from the second day on."""
    days = arrivals(found)
    if len(days) < 2:
        return []
    return [Sparkline(title=f"{found.unit_kind.capitalize()}s exposed by day", values=[count for _, count in days])]


def arrivals(found: Comparison) -> list[tuple[date, int]]:
    """First exposures on every UTC day from the first to the last, also those on which nobody came."""
    known = {date.fromisoformat(day): count for day, count in found.exposed_by_day}
    if not known:
        return []
    first = min(known)
    days = (first + timedelta(days=after) for after in range((max(known) - first).days + 1))
    return [(day, known.get(day, 0)) for day in days]


def arrival_bars(found: Comparison) -> list[Part]:
    """First exposures by day with their numbers; where there are many days, as a small line."""
    days = arrivals(found)
    if not days:
        return []
    if len(days) > MOST_BARS:
        return arrival_line(found)
    bars = [Bar(label=f"{day:%a %m-%d}", value=count) for day, count in days]
    title = f"{found.unit_kind.capitalize()}s exposed by day"
    return [BarChart(title=title, bars=bars, subtitle="first exposures · UTC days")]


def guardrail_table(found: Comparison) -> list[Part]:
    """Each guardrail and arm: its state, the limit, and what the test says that stops the experiment."""
    rows: list[list[Cell]] = [
        [metric.title, check.arm, check.state, margin_text(metric, check), check.stopping, worsening(metric, check),
         check.auto_stop]
        for metric in found.metrics
        for check in metric.guardrails
    ]  # fmt: skip
    if not rows:
        return []
    columns = [
        Column(title="Metric", most=28, wraps=True), Column(title="Arm", most=20, wraps=True), Column(title="State"),
        Column(title="Limit", align="right"), Column(title="Stopping", wraps=True),
        Column(title="Worse by", align="right"), Column(title="Stops it"),
    ]  # fmt: skip
    why = [f"{metric.title}: {check.reason}" for metric in found.metrics for check in metric.guardrails if check.reason]
    notes = [
        "The state is that at a fixed horizon. Stopping is by a test that holds at any time, as its bounds do",
        *sentences(why),
    ]
    return [_without_arm(found, Table(title="Guardrails", columns=columns, rows=rows, note=f"{'. '.join(notes)}."))]


def numbers(found: Comparison) -> list[Part]:
    """Every metric and arm as numbers, the goal first."""
    rows: list[list[Cell]] = []
    for metric in found.metrics:
        for index, estimate in enumerate(metric.deciding(found.decided_by)):
            corrected = metric.adjusted_p_values
            p_value = corrected[index] if index < len(corrected) else estimate.p_value
            rows.append(
                [metric.title, estimate.arm, difference(estimate.absolute, metric.unit), probability(p_value),
                 format_value(estimate.baseline_value, metric.unit, headed=True),
                 format_value(estimate.arm_value, metric.unit, headed=True),
                 f"{estimate.baseline_n:,} / {estimate.arm_n:,}"]
            )  # fmt: skip
    if not rows or not sum(found.units.values()):
        return []
    single = len(found.deciding) == 1
    columns = [
        Column(title="Metric", most=28, wraps=True), Column(title="Arm", most=20, wraps=True),
        Column(title="Difference", align="right"), Column(title="p", align="right"),
        Column(title=_headed(found.control, "control"), align="right"),
        Column(title=_headed(arm_names(found), "arm") if single else "arm", align="right"),
        Column(title=f"{found.unit_kind}s", align="right", most=20),
    ]  # fmt: skip
    capped = [f"{one.title} {format_value(one.cap, one.unit)}" for one in found.metrics if one.cap is not None]
    several = any(
        adjusted != estimate.p_value
        for metric in found.metrics
        for adjusted, estimate in zip(metric.adjusted_p_values, metric.deciding(found.decided_by), strict=False)
    )
    notes = [
        "p is corrected for the other metrics and arms of its family" if several else "",
        f"sums of a {found.unit_kind} are cut off at: {', '.join(capped)}" if capped else "",
    ]
    table = Table(
        title="The numbers", subtitle="the goal first", columns=columns, rows=rows, note="; ".join(filter(None, notes))
    )
    return [_without_arm(found, table)]


def _headed(key: str, role: str) -> str:
    """Above a column of numbers: the arm's key, or its role where the key would take the room of a column."""
    return key if display_width(key) <= LONGEST_TITLE else role


def _without_arm(found: Comparison, table: Table) -> Table:
    """The table without its second column, the arm, where there is only one treatment."""
    if len(found.deciding) > 1:
        return table
    return replace(
        table,
        columns=[*table.columns[:1], *table.columns[2:]],
        rows=[[*row[:1], *row[2:]] for row in table.rows],
    )
