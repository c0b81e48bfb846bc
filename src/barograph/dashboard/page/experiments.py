"""Did it work, may I ship it? Experiments with verdict, intervals, sample ratio and arms.

Asks ``experiments`` for comparisons; ``overview`` and ``report`` take the plot and the progress from here.
"""

from __future__ import annotations

import math

from barograph.core.errors import BarographError
from barograph.dashboard.material import Material
from barograph.experiments.comparison import Comparison, MetricComparison
from barograph.stats.estimate import Estimate
from barograph.visualize.chart import Effect, IntervalPlot, Part, Verdict

LONGEST_WAIT = 3650.0  # days; more is said as years


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


def interval_plot(compared: Comparison) -> list[Part]:
    """The relative change of every metric with its interval; empty where none has one."""
    several = len(compared.estimates) > 1
    rows: list[Effect] = []
    for metric in compared.metrics:
        for estimate in metric.estimates:
            relative = estimate.relative
            if relative is None:
                continue
            label = f"{metric.title} ({estimate.arm})" if several else metric.title
            rows.append(
                Effect(
                    label=label,
                    estimate=relative.value,
                    low=_finite(relative.low),
                    high=_finite(relative.high),
                    verdict=_verdict(compared, metric, estimate),
                )
            )
    if not rows:
        return []
    arms = estimate_names(compared)
    return [
        IntervalPlot(
            title=f"{arms} against {compared.control}",
            rows=rows,
            unit="ratio",
            subtitle=f"relative change · {(1 - compared.alpha) * 100:.3g} % interval",
        )
    ]


def estimate_names(compared: Comparison) -> str:
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
