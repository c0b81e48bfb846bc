"""Every kind of chart by its renderer, and their composition to panels and pages.

Reads the chart specification; hands rows to ``Visualizer``.
"""

from __future__ import annotations

from collections.abc import Sequence

from barograph.visualize.chart import (
    BarChart,
    Chart,
    Heatmap,
    Histogram,
    IntervalPlot,
    LineChart,
    Page,
    Panel,
    Part,
    Sparkline,
    Table,
    Text,
    Tile,
    Tiles,
)
from barograph.visualize.hostile import display_width, wrap
from barograph.visualize.text.bars import draw_bars, draw_histogram, draw_sparkline
from barograph.visualize.text.heat import draw_heatmap
from barograph.visualize.text.intervals import draw_intervals
from barograph.visualize.text.line import draw_line
from barograph.visualize.text.pen import Pen, Row, fill
from barograph.visualize.text.tables import draw_table
from barograph.visualize.text.tiles import draw_boxes, draw_lines

BESIDE = 48  # cells that each part needs before parts go beside each other
_GAP = 3


def draw(chart: Chart, pen: Pen) -> list[Row]:
    """The rows of any chart."""
    match chart:
        case LineChart():
            return draw_line(chart, pen)
        case BarChart():
            return draw_bars(chart, pen)
        case Histogram():
            return draw_histogram(chart, pen)
        case Sparkline():
            return draw_sparkline(chart, pen)
        case Table():
            return draw_table(chart, pen)
        case Tile():
            return draw_lines([chart], pen)
        case Tiles():
            return draw_boxes(chart.tiles, pen) if chart.layout == "boxes" else draw_lines(chart.tiles, pen)
        case IntervalPlot():
            return draw_intervals(chart, pen)
        case Heatmap():
            return draw_heatmap(chart, pen)
        case Text():
            return _paragraph(chart.text, chart.aside, chart.tone, pen)
        case Panel():
            return _panel(chart, pen)
        case Page():
            return _page(chart, pen)


def _paragraph(text: str, aside: str, tone: str, pen: Pen) -> list[Row]:
    """Wrapped text; what stands aside goes to the right edge of the first row, or under it."""
    text, aside = pen.clean(text), pen.clean(aside)
    space = pen.width - display_width(text) - display_width(aside)
    if aside and space >= 2:
        return [[(text, tone), (" " * space, ""), (aside, "muted")]]
    rows: list[Row] = [[(line, tone)] for line in wrap(text, pen.width)]
    return rows + [[(line, "muted")] for line in wrap(aside, pen.width)] if aside else rows


def _panel(panel: Panel, pen: Pen) -> list[Row]:
    title = pen.clean(panel.title, pen.width - 6)
    bar = pen.glyphs.horizontal
    rest = bar * (pen.width - 4 - display_width(title))
    rows: list[Row] = [[(bar * 2 + " ", "axis"), (title, "title"), (f" {rest}", "axis")]] if title else []
    count = len(panel.parts)
    if panel.side_by_side and count > 1 and (pen.width + _GAP) // count - _GAP >= BESIDE:
        return rows + _beside(panel.parts, pen)
    return rows + _stacked(panel.parts, pen)


def _beside(parts: Sequence[Part], pen: Pen) -> list[Row]:
    width = (pen.width + _GAP) // len(parts) - _GAP
    narrow = pen.narrowed(width)
    columns = [draw(part, narrow) for part in parts]
    rows: list[Row] = []
    for index in range(max(map(len, columns))):
        row: Row = []
        for place, column in enumerate(columns):
            cells = column[index] if index < len(column) else []
            row += [(" " * _GAP, "")] if place else []
            row += fill(cells, width, pen)
        rows.append(row)
    return rows


def _stacked(parts: Sequence[Part], pen: Pen) -> list[Row]:
    """The parts under each other: lines of text and tiles close together, charts with a blank row between."""
    rows: list[Row] = []
    before: Part | None = None
    for part in parts:
        drawn = draw(part, pen)
        if before is not None and drawn and not (_is_line(part) and _is_line(before)):
            rows.append([])
        rows += drawn
        before = part
    return rows


def _is_line(part: Part) -> bool:
    return isinstance(part, Text | Tile | Sparkline) or (isinstance(part, Tiles) and part.layout == "lines")


def _page(page: Page, pen: Pen) -> list[Row]:
    rows = _paragraph(page.title, page.aside, page.tone, pen)
    body = _stacked(page.parts, pen)
    close = not page.parts or _is_line(page.parts[0])
    return rows + body if close else [*rows, [], *body]
