"""How an experiment's effect goes: as units came in, by day since exposure, by slice.

Reads the courses of a ``Comparison`` and of its ``Details``; hands parts to ``page`` and to the report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from barograph.dashboard.page.experiments.intervals import effect_row
from barograph.dashboard.page.experiments.words import (
    difference,
    finite,
    in_points,
    probability,
    sentences,
    settled,
    unit_of,
)
from barograph.experiments.comparison import Comparison, Course, Step
from barograph.stats.estimate import Effect
from barograph.visualize.chart import Cell, Column, IntervalPlot, LineChart, Part, Series, Table, Text

MOST_ARMS = 3  # charts of one course
MOST_SLICES = 12  # rows of one slice
LARGEST = 1e300  # a scale that is larger is left to the chart
_AROUND = 0.5  # of the narrower intervals' reach, beyond which wider ones are cut


def day_course(found: Comparison) -> list[Part]:
    """The effect as units came in, one chart for each treatment."""
    if found.course is None or not found.course.steps:
        return []
    subtitle = f"{found.unit_kind}s up to each day · always-valid {_level(found)} interval"
    return _charts(found, found.course, "Effect over time", subtitle)


def age_course(found: Comparison, course: Course) -> list[Part]:
    """The effect by day since the exposure: what fades was new, what grows is being learned."""
    subtitle = f"days since the exposure · {_level(found)} interval"
    return _charts(found, _reached(course), "Effect since exposure", subtitle)


def _reached(course: Course) -> Course:
    """Up to the last day on which anything was measured: the later ones have been reached by nobody yet."""
    last = max((at for at, one in enumerate(course.steps) if one.estimate.n), default=-1)
    label = course.steps[last].label if last >= 0 else ""
    ends = [at for at, one in enumerate(course.steps) if one.label == label]
    return replace(course, steps=course.steps[: max(ends, default=-1) + 1])


def slice_parts(found: Comparison, course: Course) -> list[Part]:
    """The effect in each slice: a plot with the bounds, and p-values that are corrected over all of them."""
    metric = found.primary
    kept = sorted(course.steps, key=lambda step: -step.estimate.n)[:MOST_SLICES]
    several = len({step.arm for step in course.steps}) > 1
    named = [(f"{step.label or '(not said)'} ({step.arm})" if several else step.label or "(not said)", step)
             for step in kept]  # fmt: skip
    name = course.by.removeprefix("tag.")
    left = len(course.steps) - len(kept)
    notes = [course.sentence, f"{left} smaller ones are not shown" if left else ""]
    rows = [
        effect_row(label, step.estimate.relative,
                   verdict=settled(step.estimate, step.p_value, metric, found.alpha))
        for label, step in named
        if step.estimate.relative is not None
    ]  # fmt: skip
    cells: list[list[Cell]] = [
        [label, difference(step.estimate.absolute, metric.unit), probability(step.p_value),
         f"{step.estimate.baseline_n:,} / {step.estimate.arm_n:,}"]
        for label, step in named
    ]  # fmt: skip
    columns = [
        Column(title=name, most=32), Column(title="Difference", align="right"),
        Column(title="p, corrected", align="right"),
        Column(title=f"{found.unit_kind}s", align="right", most=20),
    ]  # fmt: skip
    title = f"{metric.title} by {name}"
    plot = IntervalPlot(title=title, rows=rows, subtitle=f"relative change · {_level(found)} interval")
    note = ". ".join(sentences(notes))
    return [*([plot] if rows else []), Table(title="" if rows else title, columns=columns, rows=cells, note=note)]


def _charts(found: Comparison, course: Course, title: str, subtitle: str) -> list[Part]:
    arms = list(dict.fromkeys(step.arm for step in course.steps))
    parts: list[Part] = []
    for arm in arms[:MOST_ARMS]:
        steps = [step for step in course.steps if step.arm == arm]
        parts += _chart(found, steps, f"{title}: {arm}" if len(arms) > 1 else title, subtitle)
    if len(arms) > MOST_ARMS:
        parts.append(Text(text=f"{len(arms) - MOST_ARMS} more arms are not drawn.", tone="muted"))
    return [*parts, *([Text(text=course.sentence)] if course.sentence else [])]


def _chart(found: Comparison, steps: Sequence[Step], title: str, subtitle: str) -> list[Part]:
    """The steps that have an interval as a chart, and why the others have none."""
    relative = any(step.estimate.relative for step in steps)
    unit = found.primary.unit
    effects = [step.estimate.relative if relative else in_points(step.estimate.absolute, unit) for step in steps]
    bounded = [(finite(one.low), finite(one.high)) if one else (None, None) for one in effects]
    known = [ends != (None, None) for ends in bounded]
    reasons = sentences(
        warning for step, has in zip(steps, known, strict=True) if not has for warning in step.estimate.warnings[:1]
    )
    lost = len(known) - sum(known)
    why = f"{title}: no interval for {lost} of {len(known)} days"
    why += f" ({reasons[-1]})." if reasons else "."
    aside: list[Part] = [Text(text=why, tone="muted")] if lost else []
    if not any(known):
        return aside
    xs = [_place(step.label) for step in steps]
    values = [finite(one.value) if one and has else None for one, has in zip(effects, known, strict=True)]
    start, end = _ends(xs)
    line = Series(
        name=steps[0].arm, points=list(zip(xs, values, strict=True)), band=bounded,
        n=[step.estimate.n for step in steps],
    )  # fmt: skip
    chart = LineChart(
        title=title, subtitle=subtitle, unit="ratio" if relative else unit_of(found.primary),
        series=[line, Series(name="no change", points=[(start, 0.0), (end, 0.0)], role="limit")],
        start=start, end=end, within=_within([one for one, has in zip(effects, known, strict=True) if one and has]),
    )  # fmt: skip
    return [chart, *aside]


def _place(label: str) -> datetime | float:
    """Where a step stands: at noon of its UTC day, or at its number of days."""
    if label.isdecimal():
        return float(label)
    return datetime.fromisoformat(label).replace(tzinfo=UTC) + timedelta(hours=12)


def _ends(xs: Sequence[datetime | float]) -> tuple[datetime | float, datetime | float]:
    """The axis: whole days around the first and the last step."""
    first, last = xs[0], xs[-1]
    if isinstance(first, datetime) and isinstance(last, datetime):
        return first - timedelta(hours=12), last + timedelta(hours=12)
    assert isinstance(first, float)
    assert isinstance(last, float)
    return first - 0.5, last + 0.5


def _within(effects: Sequence[Effect]) -> tuple[float, float] | None:
    """The scale of the narrower half of the intervals with some room: the others would squeeze them to a line."""
    narrow = sorted(effects, key=_wide)[: (len(effects) + 1) // 2]
    ends = [end for one in narrow for end in (finite(one.low), finite(one.value), finite(one.high)) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = _AROUND * (high - low)
    return (low - room, high + room) if 0 < room < LARGEST else None


def _wide(effect: Effect) -> float:
    low, high = finite(effect.low), finite(effect.high)
    return math.inf if low is None or high is None else high - low


def _level(found: Comparison) -> str:
    return f"{(1 - found.alpha) * 100:.3g} %"
