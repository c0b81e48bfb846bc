"""A heat map as text: a ramp of nine signs, or background colours where the terminal has them.

Reads a ``Heatmap``; hands rows to ``page``. The signs ``.:-=+*#%@`` read better than the four Unicode shades:
nine steps against four. The scale is the square root of the value, which shows the thin tail of latencies; the
key under the map says so.
"""

from __future__ import annotations

import math
from datetime import datetime
from itertools import pairwise

from barograph.core.zone import zone_of
from barograph.visualize.axes import Tick, number_ticks, time_ticks
from barograph.visualize.chart import Heatmap
from barograph.visualize.hostile import display_width, pad, wrap
from barograph.visualize.text.line import GUTTER
from barograph.visualize.text.pen import Pen, Row, heading

STEPS = 9
_WIDEST_CELL = 4


def draw_heatmap(chart: Heatmap, pen: Pen) -> list[Row]:
    """One row a category; where the width does not hold all columns, neighbours are joined by their highest."""
    timed = isinstance(chart.columns[0], datetime)
    rows = heading(pen, chart.title, [chart.subtitle, pen.timezone if timed else ""])
    labels = [pen.clean(label, max(GUTTER, pen.width // 4)) for label in chart.rows]
    gutter = max(GUTTER, *map(display_width, labels))
    room = pen.width - gutter - 2
    count = len(chart.columns)
    cells = min(count, room)
    wide = max(1, min(_WIDEST_CELL, room // count))
    bounds = [index * count // cells for index in range(cells + 1)]
    known = [value for row in chart.values for value in row if value is not None]
    highest = max((value for value in known if value > 0), default=0.0)
    for label, values in zip(labels, chart.values, strict=True):
        row: Row = [(pad(label, gutter, right=True) + " ", "axis"), (pen.glyphs.vertical, "axis")]
        for first, last in pairwise(bounds):
            row.append(_shade([v for v in values[first:last] if v is not None], highest, wide, pen))
        rows.append(row)
    rows += _axis(chart, gutter, cells * wide, pen, timed=timed)
    zero = pen.value(0.0, chart.unit)
    ramp = pen.glyphs.shades[1:]
    key = f"{zero} {ramp} {pen.value(highest, chart.unit)}, square-root scale; blank: none"
    indent = " " * min(gutter + 2, pen.width // 4)
    return rows + [[(indent + text, "muted")] for text in wrap(key, pen.width - len(indent))]


def _shade(values: list[float], highest: float, wide: int, pen: Pen) -> tuple[str, str]:
    if not values or max(values) <= 0 or highest <= 0:
        return " " * wide, ""
    step = min(STEPS, 1 + int(math.sqrt(max(values) / highest) * STEPS))
    return pen.glyphs.shades[step] * wide, f"heat{step - 1}"


def _axis(chart: Heatmap, gutter: int, length: int, pen: Pen, *, timed: bool) -> list[Row]:
    positions = [x.timestamp() if isinstance(x, datetime) else x for x in chart.columns]
    start = positions[0]
    bucket = positions[-1] - positions[-2] if len(positions) > 1 else 1.0
    end = positions[-1] + bucket
    ticks: list[Tick] = (
        time_ticks(start, end, zone_of(pen.timezone), length) if timed else number_ticks(start, end, length)
    )
    line, text = [pen.glyphs.horizontal] * length, ""
    for tick in ticks:
        column = int((tick.x - start) / (end - start) * length)
        label = pen.clean(tick.label)
        if column >= length or (text and column <= len(text)) or column + len(label) > length:
            continue
        text += " " * (column - len(text)) + label
        line[column] = pen.glyphs.time_tick
    blank = " " * (gutter + 1)
    return [[(blank + pen.glyphs.corner + "".join(line), "axis")], [(blank + " " + text, "axis")]]
