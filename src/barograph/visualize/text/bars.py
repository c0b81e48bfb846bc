"""Bars, histograms and sparklines as text; every bar begins at zero.

Reads ``BarChart``, ``Histogram`` and ``Sparkline``; hands rows to ``page``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from barograph.visualize.axes import value_axis
from barograph.visualize.chart import Bar, BarChart, Histogram, Sparkline
from barograph.visualize.hostile import display_width, pad
from barograph.visualize.text.line import GUTTER, beside_axis
from barograph.visualize.text.pen import Pen, Row, heading
from barograph.visualize.units import axis_labels

LEVELS = 8  # heights that a column's last cell can show
_LEFT_EIGHTHS = " ▏▎▍▌▋▊▉"
_NARROWEST_BAR = 8
_HISTOGRAM_ROWS = 8
_WIDEST_BIN = 6


def draw_bars(chart: BarChart, pen: Pen) -> list[Row]:
    """One row a bar: label, bar from zero with its interval, value, sample size."""
    rows = heading(pen, chart.title, [chart.subtitle])
    if not chart.bars:
        return [*rows, [("  no data in this window", "muted")]]
    labels = [pen.clean(bar.label, max(6, pen.width // 3)) for bar in chart.bars]
    left = max(map(display_width, labels))
    texts = _texts(chart, pen, full=True)
    if pen.width - left - 3 - display_width(texts[0]) < 2 * _NARROWEST_BAR:
        texts = _texts(chart, pen, full=False)
    room = max(1, pen.width - left - 3 - display_width(texts[0]))
    numbers = [x for bar in chart.bars for x in (bar.value, bar.low, bar.high) if x is not None]
    low, high = min(0.0, *numbers, 0.0), max(0.0, *numbers, 0.0)
    for label, bar, text in zip(labels, chart.bars, texts, strict=True):
        row: Row = [(pad(label, left) + " ", "")]
        row += _bar(bar, low, high, room, pen)
        row.append((" " + text, "" if bar.value is not None else "muted"))
        rows.append(row)
    return rows


def _texts(chart: BarChart, pen: Pen, *, full: bool) -> list[str]:
    """What stands behind the bars: value and, when ``full``, interval and sample size, each in its column."""
    columns = [[pen.value(bar.value, chart.unit) for bar in chart.bars]]
    if full:
        columns.append(
            [
                f" [{pen.value(bar.low, chart.unit)}, {pen.value(bar.high, chart.unit)}]" if bar.low is not None else ""
                for bar in chart.bars
            ]
        )
        columns.append([f"  n={pen.value(bar.n, '1')}" if bar.n is not None else "" for bar in chart.bars])
    widths = [max(map(display_width, column)) for column in columns]
    return ["".join(map(pad, parts, widths)) for parts in zip(*columns, strict=True)]


def _bar(bar: Bar, low: float, high: float, room: int, pen: Pen) -> Row:
    """The bar in ``room`` cells and the line at zero, which takes one more."""
    scale = max(abs(low), abs(high)) or 1.0
    span = (high / scale - low / scale) or 1.0

    def cells(value: float) -> float:
        return value / scale / span * room

    zero = round(-cells(low))
    line = [" "] * (room + 1)
    style = "main"
    if bar.value is not None:
        _lay(line, zero, cells(bar.value), pen)
    if bar.low is not None and bar.high is not None and bar.value is not None:
        _lay_interval(line, zero, cells(bar.value), cells(bar.low), cells(bar.high), pen)
    line[zero] = pen.glyphs.vertical
    return [
        ("".join(line[:zero]), style),
        (line[zero], "axis"),
        ("".join(line[zero + 1 :]), style),
    ]


def _lay(line: list[str], zero: int, length: float, pen: Pen) -> None:
    """A bar of ``length`` cells from the zero line, to the right or to the left."""
    if length == 0:
        return
    whole = int(abs(length))
    part = abs(length) - whole
    if length < 0:
        size = max(1, round(-length))
        for place in range(max(0, zero - size), zero):
            line[place] = pen.glyphs.block
        return
    if pen.ascii:
        whole, part = max(1, round(length)), 0.0
    for place in range(zero + 1, min(zero + 1 + whole, len(line))):
        line[place] = pen.glyphs.block
    eighth = round(part * 8) if whole else max(1, round(part * 8))
    if eighth and zero + 1 + whole < len(line):
        line[zero + 1 + whole] = pen.glyphs.block if eighth == 8 else _LEFT_EIGHTHS[eighth]


def _lay_interval(line: list[str], zero: int, value: float, low: float, high: float, pen: Pen) -> None:
    """The interval over the end of a bar: hatched inside it, a line with a stop beyond it."""
    end = zero + round(value)
    for place in range(max(0, zero + 1 + round(low)), min(zero + 1 + round(high), len(line))):
        if place != zero:
            line[place] = pen.glyphs.inside if (place <= end) == (value >= 0) else pen.glyphs.tail
    last = min(zero + round(high), len(line) - 1)
    if last > end and last != zero:
        line[last] = pen.glyphs.stop


def draw_histogram(chart: Histogram, pen: Pen) -> list[Row]:
    """Columns on a count axis; bins are joined where the width does not hold them all."""
    total = sum(chart.counts)
    details = [chart.subtitle, f"n={pen.value(total, '1')}", "log axis" if chart.log else ""]
    rows = heading(pen, chart.title, details)
    counts, edges = list(chart.counts), list(chart.edges)
    axis = value_axis(0.0, 0.0, "1", _HISTOGRAM_ROWS)
    room = pen.width - GUTTER - 4
    while len(counts) > room:
        counts = [sum(counts[index : index + 2]) for index in range(0, len(counts), 2)]
        edges = [*edges[:-1:2], edges[-1]]
    axis = value_axis(0.0, max(counts), "1", _HISTOGRAM_ROWS)
    gutter = min(max(GUTTER, *map(display_width, axis_labels(axis.ticks, "1"))), pen.width // 3)
    room = pen.width - gutter - 2
    wide = max(1, min(_WIDEST_BIN, room // len(counts)))
    heights = [axis.rows - 1 - axis.height(count) for count in counts]
    grid: list[Row] = []
    for row in range(axis.rows):
        cells = [_column(height, axis.rows - 1 - row, wide, pen) for height in heights]
        grid.append([("".join(cells), "main")])
    rows += beside_axis(grid, axis, "1", gutter, pen, {})
    return rows + _edge_labels(edges, chart.unit, gutter, wide, pen)


def _column(height: float, row: int, wide: int, pen: Pen) -> str:
    """One cell row of a column; ``row`` counts from the bottom, where row 0 is the zero line's."""
    share = height - row + 0.5  # the zero line runs through the middle of row 0
    if height <= 0 or share <= 0:
        return " " * wide
    level = min(LEVELS, max(1, round(share * LEVELS)))
    if pen.ascii:
        char = pen.glyphs.block if share >= 0.5 or row == 0 else "_" if share >= 0.25 else " "
    else:
        char = pen.glyphs.eighths[level]
    return char * (wide - 1) + (char if wide == 1 else " ")


def _edge_labels(edges: Sequence[float], unit: str, gutter: int, wide: int, pen: Pen) -> list[Row]:
    """The axis under the columns, with as many of the edges written as fit."""
    length = (len(edges) - 1) * wide
    room = pen.width - gutter - 2
    line = [pen.glyphs.horizontal] * min(room, length + 1)
    text = ""
    for index, edge in enumerate(edges):
        label = pen.value(edge, unit)
        left = max(0, index * wide - display_width(label) // 2)
        if index * wide >= len(line) or (text and left <= display_width(text)):
            continue
        if left + display_width(label) > room:
            continue
        text = pad(text, left) + label
        line[index * wide] = pen.glyphs.time_tick
    blank = " " * (gutter + 1)
    return [[(blank + pen.glyphs.corner + "".join(line), "axis")], [(blank + " " + text, "axis")]]


def spark(values: Sequence[float | None], cells: int, pen: Pen) -> str:
    """The values in at most so many cells, from zero (or the lowest below it) to the highest.

    Where several values share a cell the highest is shown; a missing value is blank, a zero is not.
    """
    if not values or cells <= 0:
        return ""
    if len(values) > cells:
        bounds = [index * len(values) // cells for index in range(cells + 1)]
        groups = [[v for v in values[a:b] if v is not None] for a, b in pairwise(bounds)]
        values = [max(group) if group else None for group in groups]
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(0.0, *known, 0.0), max(0.0, *known, 0.0)
    scale = max(-low, high) or 1.0
    span = high / scale - low / scale or 1.0
    levels = pen.glyphs.eighths
    return "".join(
        " " if value is None else levels[1 + round((value / scale - low / scale) / span * (len(levels) - 2))]
        for value in values
    )


def draw_sparkline(chart: Sparkline, pen: Pen) -> list[Row]:
    """Title, line, and the range from the lowest to the highest value with the last one."""
    known = [value for value in chart.values if value is not None]
    title = pen.clean(chart.title, max(6, pen.width // 3))
    if not known:
        return [[(title + " ", "title"), ("no data in this window", "muted")]]
    to = ".." if pen.ascii else "…"
    text = f"{pen.value(min(known), chart.unit)} {to} {pen.value(max(known), chart.unit)}"
    last = f"last {pen.value(chart.values[-1], chart.unit)}"
    room = pen.width - display_width(title) - display_width(text) - display_width(last) - 5
    if room < _NARROWEST_BAR:
        text, room = "", pen.width - display_width(title) - display_width(last) - 3
    line = spark(chart.values, room, pen)
    return [[(title + " ", "title"), (line, "main"), (f"  {last}" + (f"  {text}" if text else ""), "muted")]]
