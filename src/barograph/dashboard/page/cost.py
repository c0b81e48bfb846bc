"""What do we spend, on what, and where is it heading? Today and this month, by model and pipeline, tokens."""

from __future__ import annotations

from datetime import datetime

from barograph.analytics.cost import Spend
from barograph.core.query import Window
from barograph.core.unit import format_value
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import (
    aligned,
    breakdown_table,
    calendar_bars,
    framed,
    guarded,
    line_chart,
    line_of,
    nothing_yet,
    span_text,
    step_for,
    step_text,
    tiles_of,
    worst_table,
)
from barograph.visualize.chart import LineChart, Page, Panel, Part, Series, Text, Tile, Tiles, Tone

LISTED = 10
TOKENS = {"tokens.input": "input", "tokens.output": "output", "tokens.cached": "from cache"}


def cost_page(material: Material, window: Window) -> Page:
    """Spend against budget, its course, and what it went to."""
    report = material.analytics.cost()
    queries = material.analytics.summary("queries", window, compare=None)
    if not queries.n and not report.month.queries:
        return framed(material, "Cost", window, nothing_yet(material, "query", "queries", window))
    parts: list[Part] = [
        Tiles(tiles=[spend_tile(report.day), spend_tile(report.month)]),
        *_sentences(report.day),
        *_sentences(report.month),
        tiles_of(material, window, ("cost", "cost_per_query", "priced_rate", *TOKENS)),
        *guarded(lambda: [_by_day(material, window, report.day)]),
        *guarded(lambda: _month(material, report.month)),
        *guarded(lambda: _shares(material, window)),
        *guarded(lambda: _per_query(material, window)),
        *guarded(lambda: _tokens(material, window)),
    ]
    dearest = material.analytics.worst("dearest", window, limit=LISTED)
    if dearest:
        parts.append(worst_table("dearest", "Dearest queries", dearest, span_text(material, window)))
    return framed(material, "Cost", window, parts)


def spend_tile(spend: Spend) -> Tile:
    """What is spent in a period, against its budget, and where it is heading."""
    limit = format_value(spend.budget, "USD")
    aside = {
        "within": f"within budget {limit}",
        "likely over": f"within budget {limit} so far",
        "over": f"over budget {limit}",
        "no budget": "no budget set",
        "no data": f"no priced query {'today' if spend.period == 'day' else 'this month'}",
    }[spend.state]
    heading = f"heading for {format_value(spend.forecast, 'USD')}" if spend.forecast is not None else ""
    title = "Today" if spend.period == "day" else "This month"
    return Tile(title=title, value=spend.spent, unit="USD", aside=aside, note=heading)


def _sentences(spend: Spend) -> list[Part]:
    """What deserves a sentence: a budget that is passed or will be, and queries that have no price."""
    tones: dict[str, Tone] = {"over": "warning", "likely over": "warning"}
    if spend.state in tones or (spend.unpriced and spend.period == "day"):
        return [Text(text=spend.sentence, tone=tones.get(spend.state, "plain"))]
    return []


def _by_day(material: Material, window: Window, day: Spend) -> Part:
    budget = f"budget {format_value(day.budget, 'USD')} a day" if day.budget else ""
    return calendar_bars(material, "cost", "Spent", window, subtitle=budget)


def _month(material: Material, month: Spend) -> list[Part]:
    """The month's spending added up day by day, its budget as a line, and the way to its forecast."""
    start, end = month.window.start, month.window.end
    found = material.analytics.series("cost", Window(start, material.recent(1.0).end), every="day")
    days = [row for row in found.rows if row.end <= material.recent(1.0).end]
    if len(days) < 3 or month.spent is None:
        return []
    total = 0.0
    points: list[tuple[datetime | float, float | None]] = [(start, 0.0)]
    for row in days:
        total += row.value or 0.0
        points.append((row.end, total))
    lines = [Series(name="spent", points=points)]
    if month.forecast is not None:
        lines.append(Series(name="forecast", points=[points[-1], (end, month.forecast)], role="comparison"))
    if month.budget:
        lines.append(Series(name="budget", points=[(start, month.budget), (end, month.budget)], role="limit"))
    return [
        LineChart(
            title="This month", unit="USD", series=lines, start=start, end=end,
            subtitle=f"added up by day{' · forecast at the rate so far' if month.forecast is not None else ''}",
        )
    ]  # fmt: skip


def _shares(material: Material, window: Window) -> list[Part]:
    tables: list[Part] = []
    for by, what in (("model", "Model"), ("pipeline", "Pipeline")):
        found = material.analytics.breakdown("cost", by, window, top=8)
        if found.parts:
            tables.append(breakdown_table(found, f"Spent by {by}", what, "Cost", span_text(material, window)))
    return [Panel(title="", parts=tables, side_by_side=True)] if tables else []


def _per_query(material: Material, window: Window) -> list[Part]:
    step = step_for(window, 30)
    found = material.analytics.series("cost_per_query", window, every=step)
    total = sum(row.n for row in found.rows)
    if not total:
        return []
    return [
        line_chart("Cost a query", f"mean of priced queries · {step_text(step)} · n={total:,}", "USD",
                   [line_of("cost a query", found.rows)], window, incomplete=found.incomplete)
    ]  # fmt: skip


def _tokens(material: Material, window: Window) -> list[Part]:
    step = step_for(window, 30)
    window = aligned(window, step)
    lines: list[Series] = []
    incomplete = False
    for metric, name in TOKENS.items():
        found = material.analytics.series(metric, window, every=step)
        incomplete = incomplete or found.incomplete
        if any(row.n for row in found.rows):
            line = line_of(name, found.rows, "group")
            lines.append(Series(name=line.name, points=line.points, role=line.role))
    if not lines:
        return []
    return [line_chart("Tokens", f"sum · {step_text(step)}", "tokens", lines, window, incomplete=incomplete)]
