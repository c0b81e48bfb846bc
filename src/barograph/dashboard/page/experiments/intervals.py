"""The interval plot of an experiment: every metric's relative change, and the limits of guardrails.

Reads a ``Comparison``; hands parts to ``summary``, ``overview`` and the report.
"""

from __future__ import annotations

from barograph.dashboard.page.experiments.words import arm_names, deciding, finding_of, finite, limit_of, sentences
from barograph.experiments.comparison import Comparison, Finding
from barograph.stats.estimate import Effect as Change
from barograph.visualize.chart import Effect, IntervalPlot, Part

WIDE = 0.5  # a change, as a share, beyond which an interval is put apart


def interval_plot(compared: Comparison, *, short: bool = False) -> list[Part]:
    """The relative change of every metric with its interval, by the method that decides; empty where none has one.

    Intervals so wide that they would squeeze the others to points get a plot, and a scale, of their own; ``short``
    leaves out what is neither the goal nor a guardrail.
    """
    several = len(compared.estimates) > 1
    rows: list[Effect] = []
    missing: list[str] = []
    for metric in compared.metrics:
        if short and metric.role == "secondary":
            continue
        for index, estimate in enumerate(deciding(compared, metric)):
            label = f"{metric.title} ({estimate.arm})" if several else metric.title
            relative = estimate.relative
            if relative is None:
                continue
            if relative.low is None and relative.high is None:
                missing += [f"{label}: {warning}" for warning in estimate.warnings[:1]]
            limits = [limit_of(metric, one) for one in metric.guardrails if one.relative and one.arm == estimate.arm]
            rows.append(
                effect_row(label, relative, verdict=finding_of(compared, metric, index), limit=next(iter(limits), None))
            )
    wide = [row for row in rows if _reach(row) > WIDE and _reach(row) > 4 * min(map(_reach, rows))]
    level = f"{(1 - compared.alpha) * 100:.3g} %"
    kind = "always-valid " if compared.decided_by == "always valid" else ""
    subtitle = f"relative change · {kind}{level} interval"
    note = "; ".join(sentences(missing))
    plots = [(f"{arm_names(compared)} against {compared.control}", [row for row in rows if row not in wide]),
             ("Known too roughly to share that scale", wide)]  # fmt: skip
    shown = [(title, some) for title, some in plots if some]
    return [
        IntervalPlot(title=title, rows=some, unit="ratio", subtitle=subtitle, note=note if at == len(shown) else "")
        for at, (title, some) in enumerate(shown, 1)
    ]


def effect_row(label: str, effect: Change, *, verdict: Finding = "not settled", limit: float | None = None) -> Effect:
    """An effect as a row of a plot; what is infinite is not known."""
    return Effect(
        label=label, estimate=finite(effect.value), low=finite(effect.low), high=finite(effect.high), verdict=verdict,
        limit=limit,
    )  # fmt: skip


def _reach(row: Effect) -> float:
    """How far from zero the row is drawn."""
    return max(abs(end) for end in (row.low, row.high, row.estimate) if end is not None)
