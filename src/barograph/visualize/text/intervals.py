"""Estimates with their intervals beside a zero line (a forest plot), as text.

Reads an ``IntervalPlot``; hands rows to ``page``.
"""

from __future__ import annotations

from barograph.visualize.chart import Effect, IntervalPlot
from barograph.visualize.hostile import display_width, pad, wrap
from barograph.visualize.text.pen import Pen, Row, heading

_VERDICTS = {"better": "better", "worse": "worse"}  # the styles; what says nothing is dimmed
_NARROWEST = 12
_LIMIT_ROOM = 1.0  # a limit farther away than this share of the scale would squeeze the intervals; it is told only
_FARTHEST = 1e290  # ends beyond it are drawn there


def draw_intervals(plot: IntervalPlot, pen: Pen) -> list[Row]:
    """One row an effect: label, interval on a common scale, numbers, verdict."""
    rows = heading(pen, plot.title, [plot.subtitle])
    if not plot.rows:
        return [*rows, [("  no data in this window", "muted")]]
    labels = [pen.clean(effect.label, max(6, pen.width // 3)) for effect in plot.rows]
    left = max(map(display_width, labels))
    texts = [_numbers(effect, plot.unit, pen) for effect in plot.rows]
    verdicts = [_verdict(effect, pen) for effect in plot.rows]
    tail = max(map(display_width, texts)) + 2 + max(map(display_width, verdicts))
    room = pen.width - left - 2 - tail - 1
    below = room < _NARROWEST  # no room beside the plot: the numbers go to a row of their own
    if below:
        room = pen.width - left - 2
    room = max(1, min(room, 60))
    low, high = _range(plot)
    wide = max(map(display_width, texts))
    for label, effect, text, verdict in zip(labels, plot.rows, texts, verdicts, strict=True):
        style = _VERDICTS.get(effect.verdict, "muted")
        picture = _picture(effect, plot.zero, low, high, room, pen)
        row: Row = [(pad(label, left) + "  ", ""), *picture]
        numbers: Row = [(pad(text, wide) + "  ", ""), (verdict, style)]
        rows += [row, [("  ", ""), *numbers]] if below else [[*row, (" ", ""), *numbers]]
    limits = _limits(plot, low, high, pen)
    if limits:
        rows += [[(text, "muted")] for text in wrap(f"{pen.glyphs.mark} limit: {', '.join(limits)}", pen.width)]
    if plot.note:
        rows += [[(text, "muted")] for text in wrap(pen.clean(plot.note), pen.width)]
    return rows


def _range(plot: IntervalPlot) -> tuple[float, float]:
    """The scale: all finite ends, the zero line and near limits, with a little room at both sides."""
    numbers = [plot.zero]
    for effect in plot.rows:
        ends = (effect.low, effect.inner_low, effect.estimate, effect.inner_high, effect.high)
        numbers += [x for x in ends if x is not None]
    low, high = min(numbers), max(numbers)
    room = _LIMIT_ROOM * (high - low)
    near = [row.limit for row in plot.rows if row.limit is not None and low - room <= row.limit <= high + room]
    low, high = min([low, *near]), max([high, *near])
    low, high = max(low, -_FARTHEST), min(high, _FARTHEST)
    if high - low < 1 / _FARTHEST:
        return low - 1.0, high + 1.0
    margin = high * 0.04 - low * 0.04
    return low - margin, high + margin


def _limits(plot: IntervalPlot, low: float, high: float, pen: Pen) -> list[str]:
    """Each row's limit in words; where all have the same, once."""
    found = [
        (pen.clean(row.label, max(6, pen.width // 3)), pen.value(row.limit, plot.unit, signed=True)
         + ("" if low <= row.limit <= high else " (off the scale)"))
        for row in plot.rows if row.limit is not None
    ]  # fmt: skip
    if len(found) == len(plot.rows) and len({text for _, text in found}) == 1:
        return [found[0][1]]
    return [f"{label} {text}" for label, text in found]


def _numbers(effect: Effect, unit: str, pen: Pen) -> str:
    """``+3.2 % [+1.4, +5.1]``; the unit is written once."""
    if effect.estimate is None:
        return pen.missing
    text = pen.value(effect.estimate, unit, signed=True)
    if effect.low is None and effect.high is None:
        return text
    endless = "inf" if pen.ascii else "∞"
    low = pen.minus + endless if effect.low is None else _bare(effect.low, unit, pen)
    high = "+" + endless if effect.high is None else _bare(effect.high, unit, pen)
    return f"{text} [{low}, {high}]"


def _bare(end: float, unit: str, pen: Pen) -> str:
    text = pen.value(end, unit, signed=True)
    return text.rstrip("%").rstrip() if unit in ("ratio", "%") else text


def _verdict(effect: Effect, pen: Pen) -> str:
    sign = {"better": pen.glyphs.up, "worse": pen.glyphs.down}.get(effect.verdict, pen.glyphs.level)
    return f"{sign} {effect.verdict}"


def _picture(effect: Effect, zero: float, low: float, high: float, room: int, pen: Pen) -> Row:
    glyphs = pen.glyphs
    scale = max(abs(low), abs(high))
    span = high / scale - low / scale

    def place(value: float) -> int:
        value = max(low, min(value, high))  # before it is divided: what is farther out would overflow
        return round((value / scale - low / scale) / span * (room - 1))

    cells = [(" ", "")] * room
    cells[place(zero)] = (glyphs.vertical, "axis")
    style = _VERDICTS.get(effect.verdict, "muted")
    if effect.estimate is not None:
        first = 0 if effect.low is None else place(effect.low)
        last = room - 1 if effect.high is None else place(effect.high)
        if effect.low is None and effect.high is None:
            first = last = place(effect.estimate)
        for index in range(first, last + 1):
            cells[index] = (glyphs.thin, style)
        if effect.inner_low is not None and effect.inner_high is not None:
            for index in range(place(effect.inner_low), place(effect.inner_high) + 1):
                cells[index] = (glyphs.thick, style)
        if first != last and effect.low is None:
            cells[0] = (glyphs.left, style)
        if first != last and effect.high is None:
            cells[-1] = (glyphs.right, style)
    if effect.limit is not None and low <= effect.limit <= high:
        cells[place(effect.limit)] = (glyphs.mark, "limit")
    if effect.estimate is not None:
        cells[place(effect.estimate)] = (glyphs.point, style)
    return cells
