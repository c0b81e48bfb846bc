"""The interval plot of an experiment: every metric's relative change, and the limits of guardrails.

Reads a ``Comparison``; hands parts to ``summary``, ``overview`` and the report.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from barograph.dashboard.page.experiments.words import (
    arm_names,
    finding_of,
    finite,
    in_points,
    limit_of,
    sentences,
    unit_of,
)
from barograph.experiments.comparison import Comparison, Finding, MetricComparison
from barograph.stats.estimate import Effect as Change
from barograph.visualize.chart import Effect, IntervalPlot, Part
from barograph_client.errors import shorten

LONGEST_ARM = 14  # characters before a metric's title
WIDE = 0.5  # a change, as a share, beyond which an interval is put apart


def interval_plot(compared: Comparison, *, short: bool = False) -> list[Part]:
    """The relative change of every metric with its interval, by the method that decides; empty where none has one.

    Intervals so wide that they would squeeze the others to points get a plot, and a scale, of their own; so does a
    metric that has no relative change, in its own unit. ``short`` leaves out what is neither the goal nor a guardrail.
    """
    metrics = [metric for metric in compared.metrics if not (short and metric.role == "secondary")]
    shares = [metric for metric in metrics if any(one.relative for one in metric.deciding(compared.decided_by))]
    rows = [row for metric in shares for row in _rows(compared, metric)]
    wide = [row for row in rows if _reach(row) > WIDE and _reach(row) > 4 * min(map(_reach, rows))]
    level = f"{(1 - compared.alpha) * 100:.3g} %"
    repeated = compared.decided_by == "group sequential" and not compared.early
    kind = "always-valid " if compared.decided_by == "always valid" else "repeated " if repeated else ""
    interval = f"{kind}{level} interval"
    plots = [
        IntervalPlot(title=title, rows=some, unit="ratio", subtitle=f"relative change · {interval}")
        for title, some in (
            (f"{arm_names(compared)} against {compared.control}", [row for row in rows if row not in wide]),
            ("Known too roughly to share that scale", wide),
        )
        if some
    ]
    plots += [
        IntervalPlot(title=metric.title, rows=own, unit=unit_of(metric), subtitle=f"difference · {interval}")
        for metric in metrics
        if metric not in shares and (own := _rows(compared, metric))
    ]
    note = "; ".join(sentences(reason for metric in metrics for reason in _missing(compared, metric)))
    return [*plots[:-1], *(replace(plot, note=note) for plot in plots[-1:])]


def _rows(compared: Comparison, metric: MetricComparison) -> list[Effect]:
    """A row for each treatment: of the relative change where there is any, else of the difference."""
    estimates = metric.deciding(compared.decided_by)
    relative = any(one.relative for one in estimates)
    rows: list[Effect] = []
    for index, estimate in enumerate(estimates):
        effect = estimate.relative if relative else in_points(estimate.absolute, metric.unit)
        if effect is None:
            continue
        limits = [limit_of(metric, one) for one in metric.guardrails if one.relative and one.arm == estimate.arm]
        limit = next(iter(limits), None) if relative else None
        label = _label(compared, metric, estimate.arm)
        rows.append(effect_row(label, effect, verdict=finding_of(compared, metric, index), limit=limit))
    return rows


def _missing(compared: Comparison, metric: MetricComparison) -> Iterator[str]:
    """Why an effect has no interval."""
    for estimate in metric.deciding(compared.decided_by):
        effect = estimate.relative or estimate.absolute
        if effect is not None and effect.low is None and effect.high is None:
            yield from (f"{_label(compared, metric, estimate.arm)}: {warning}" for warning in estimate.warnings[:1])


def _label(compared: Comparison, metric: MetricComparison, arm: str) -> str:
    return f"{shorten(arm, LONGEST_ARM)}: {metric.title}" if len(compared.deciding) > 1 else metric.title


def effect_row(label: str, effect: Change, *, verdict: Finding = "not settled", limit: float | None = None) -> Effect:
    """An effect as a row of a plot; what is infinite is not known."""
    return Effect(
        label=label, estimate=finite(effect.value), low=finite(effect.low), high=finite(effect.high), verdict=verdict,
        limit=limit,
    )  # fmt: skip


def _reach(row: Effect) -> float:
    """How far from zero the row is drawn."""
    return max(abs(end) for end in (row.low, row.high, row.estimate) if end is not None)
