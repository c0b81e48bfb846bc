"""The same experiment read in other ways: by other methods, as a Bayesian would, and how the arms' units spread.

Reads a ``Comparison`` and its ``Details``; hands parts to ``page``.
"""

from __future__ import annotations

from collections.abc import Sequence

from barograph.core.unit import format_value
from barograph.dashboard.page.experiments.words import (
    chance,
    change,
    difference,
    finite,
    likelihood,
    probability,
    sentences,
    span,
)
from barograph.experiments.analysis.second_opinions import BRUNNER_MUNZEL, MANN_WHITNEY
from barograph.experiments.comparison import ArmUnits, Belief, Comparison, Details, MetricComparison
from barograph.stats.estimate import Effect, Estimate
from barograph.visualize.chart import MOST_LINES, Cell, Column, LineChart, Part, Series, Table, Text

BY_RANKS = (MANN_WHITNEY, BRUNNER_MUNZEL)
_SHOWN = (0, 5, 10, 15, 20)  # places of the least, the quartiles and the largest among the quantiles
_NOTHING = 1e-6  # of the width of an interval
_ENDS = 1  # quantiles at each end that the chart leaves out: one outlier would squeeze the rest


def spread_parts(found: Comparison, details: Details) -> list[Part]:
    """How the arms' units spread over the goal: the value below which so many of them lie, and a table."""
    arms = [arm for arm in details.arms if len(arm.quantiles) > max(_SHOWN)]
    unit, title = found.primary.unit, f"How {found.unit_kind}s spread: {found.primary.title}"
    parts: list[Part] = []
    if any(arm.quantiles[_ENDS] < arm.quantiles[-1 - _ENDS] for arm in arms):
        parts.append(
            LineChart(
                title=title, unit=unit, axis_start=None, series=[_quantile_line(arm) for arm in arms[:MOST_LINES]],
                subtitle=f"the value below which so many % of {found.unit_kind}s lie",
            )
        )  # fmt: skip
    if details.arms:
        parts.append(_spread_table(found, details.arms, "" if parts else title))
    return parts


def _quantile_line(arm: ArmUnits) -> Series:
    steps = len(arm.quantiles) - 1
    points: list[tuple[float, float | None]] = [
        (100.0 * place / steps, finite(value)) for place, value in enumerate(arm.quantiles)
    ]
    return Series(name=arm.arm, points=list(points[_ENDS:-_ENDS]), role="group")


def _spread_table(found: Comparison, arms: Sequence[ArmUnits], title: str) -> Table:
    unit = found.primary.unit

    def text(value: float | None) -> str:
        return format_value(value, unit, headed=True)

    rows: list[list[Cell]] = [
        [arm.arm, arm.units, text(arm.mean), text(arm.deviation),
         *(text(arm.quantiles[place] if place < len(arm.quantiles) else None) for place in _SHOWN)]
        for arm in arms
    ]  # fmt: skip
    names = ("Mean", "SD", "Least", "25 %", "Median", "75 %", "Most")
    columns = [Column(title="Arm", most=20, wraps=True), Column(title=f"{found.unit_kind}s", most=20),
               *(Column(title=name, align="right") for name in names)]  # fmt: skip
    return Table(title=title, columns=columns, rows=rows, note=f"of each {found.unit_kind}'s own value")


def method_table(found: Comparison) -> list[Part]:
    """Every metric by the methods that do not decide: at a fixed horizon, at any time, adjusted by what was before."""
    rows: list[list[Cell]] = []
    for metric in found.metrics:
        used = metric.deciding(found.decided_by)
        others = [one for one in (*metric.estimates, *metric.always_valid, *metric.adjusted) if one not in used]
        rows += [_reading(metric, estimate) for estimate in others]
    return _readings(found, "By other methods", rows, "Metric", "")


def second_opinions(found: Comparison, details: Details) -> list[Part]:
    """The goal by ranks, trimmed means, quantiles and the bootstrap; what ranks tell is a chance, not a change."""
    rows = [_reading(found.primary, estimate) for estimate in details.second_opinions]
    note = f"from a sample of {found.unit_kind}s" if details.sampled else ""
    return _readings(found, f"Second opinions on {found.primary.title}", [row[1:] for row in rows], "", note)


def _reading(metric: MetricComparison, estimate: Estimate) -> list[Cell]:
    reason = "; ".join(estimate.warnings) if estimate.p_value is None else ""
    told = chance(estimate.absolute) if estimate.method in BY_RANKS else change(estimate, metric.unit)
    return [metric.title, estimate.method, estimate.arm, told, probability(estimate.p_value), reason]


def _readings(found: Comparison, title: str, rows: list[list[Cell]], first: str, note: str) -> list[Part]:
    """The rows that have a number as a table; why there is no test, or no number, is told once, under it or instead."""
    if not rows:
        return []
    columns = [
        *([Column(title=first, most=24, wraps=True)] if first else []), Column(title="Method", most=90, wraps=True),
        Column(title="Arm", most=20, wraps=True), Column(title="Change", align="right"),
        Column(title="p", align="right"),
    ]  # fmt: skip
    reasons = sentences([note, *(str(row[-1]) for row in rows)])
    told = [row for row in rows if any(cell is not None for cell in row[-3:-1])]
    if not told:
        return [Text(text=f"{title}: none ({'; '.join(reasons)})." if reasons else f"{title}: none.", tone="muted")]
    arm = len(columns) - 3
    kept = [at for at in range(len(columns)) if at != arm or len(found.deciding) > 1]
    return [
        Table(title=title, columns=[columns[at] for at in kept], rows=[[row[at] for at in kept] for row in told],
              note="; ".join(reasons))
    ]  # fmt: skip


def _loss(belief: Belief) -> float:
    """The expected loss; zero where it is nothing beside the interval."""
    return belief.expected_loss if belief.expected_loss > _NOTHING * (belief.high - belief.low) else 0.0


def belief_table(found: Comparison) -> list[Part]:
    """The Bayesian reading: no p-value, and of no use for stopping early."""
    told = [(metric, belief) for metric in found.metrics for belief in metric.beliefs]
    if not told:
        return []
    several = len(found.deciding) > 1
    rows: list[list[Cell]] = [
        [f"{metric.title} ({one.arm})" if several else metric.title, likelihood(one.chance_to_win),
         (difference(Effect(value=_loss(one)), metric.unit) or "").removeprefix("+"),
         span(one.low, one.high, metric.unit)]
        for metric, one in told
    ]  # fmt: skip
    columns = [
        Column(title="Metric", most=32, wraps=True), Column(title="Chance", align="right"),
        Column(title="Loss", align="right"), Column(title="Interval", align="right"),
    ]  # fmt: skip
    methods = "; ".join(sentences(belief.method for _, belief in told))
    note = f"{methods}. A chance to win is no p-value, and looking until it is high is as wrong as with one."
    subtitle = f"chance to win · expected loss · {(1 - found.alpha) * 100:.3g} % credible interval"
    return [Table(title="A Bayesian reading", subtitle=subtitle, columns=columns, rows=rows, note=note)]
