"""The interval around each point of a line, as text: an upright stroke, or, where points are close together, an area.

Reads the series that ``line`` has made ready; draws on its ``Canvas``, behind the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from barograph.visualize.axes import ValueAxis
from barograph.visualize.text.canvas import Canvas
from barograph.visualize.text.frame import Frame, Line
from barograph.visualize.text.pen import Pen

_APART = 3  # columns from point to point from which on each interval is a stroke of its own
_AREA = 5  # rank of an area: in front of marks and grid, behind every line


class _Stroke(Struct, frozen=True):
    """One interval in cells; an end that lies beyond the axis, or has no bound, stands at the axis' end."""

    column: int
    row: float
    top: float
    bottom: float
    up: bool  # goes on above the axis
    down: bool
    inside: bool  # whether the point itself lies on the axis


def draw_band(canvas: Canvas, line: Line, frame: Frame, pen: Pen) -> bool:
    """The intervals of the line's points; returns whether one goes on beyond the axis, which an arrow shows."""
    runs = list(_runs(line, frame))
    if len(line.series.points) * _APART <= frame.columns:
        for stroke in (stroke for run in runs for stroke in run):
            _draw_stroke(canvas, stroke, line, pen)
    else:
        for run in runs:
            _fill(canvas, run, line, pen)
    strokes = [stroke for run in runs for stroke in run]
    last = frame.axis.rows - 1
    for stroke in strokes:
        if stroke.up:
            canvas.put(stroke.column, 0, pen.glyphs.up, line.style, line.rank)
        if stroke.down:
            canvas.put(stroke.column, last, pen.glyphs.down, line.style, line.rank)
    return any(stroke.up or stroke.down for stroke in strokes)


def _runs(line: Line, frame: Frame) -> Iterator[list[_Stroke]]:
    """The intervals in cells, broken where a value is missing."""
    run: list[_Stroke] = []
    for (x, y), (low, high) in zip(line.series.points, line.series.band, strict=False):
        if y is None:
            yield run
            run = []
        else:
            run.append(_stroke(round(frame.column(x)), y, low, high, frame.axis))
    yield run


def _stroke(column: int, y: float, low: float | None, high: float | None, axis: ValueAxis) -> _Stroke:
    return _Stroke(
        column=column,
        row=axis.height(y),
        top=0.0 if high is None else axis.height(high),
        bottom=axis.rows - 1.0 if low is None else axis.height(low),
        up=high is None or high > axis.high,
        down=low is None or low < axis.low,
        inside=axis.low <= y <= axis.high,
    )


def _draw_stroke(canvas: Canvas, stroke: _Stroke, line: Line, pen: Pen) -> None:
    glyphs, top, bottom = pen.glyphs, round(stroke.top), round(stroke.bottom)
    for row in range(top, bottom + 1):
        end = glyphs.band_top if row == top else glyphs.band_bottom if row == bottom else glyphs.vertical
        canvas.put(stroke.column, row, end, line.style, line.rank - 1)
    if stroke.inside:
        canvas.put(stroke.column, round(stroke.row), glyphs.point, line.style, line.rank)


def _fill(canvas: Canvas, run: Sequence[_Stroke], line: Line, pen: Pen) -> None:
    """The area between the ends of neighbouring intervals."""
    for before, after in pairwise([*run[:1], *run]):
        wide = max(after.column - before.column, 1)
        for column in range(before.column, after.column + 1):
            share = (column - before.column) / wide
            top, bottom = (
                round(start + share * (stop - start))
                for start, stop in ((before.top, after.top), (before.bottom, after.bottom))
            )
            for row in range(top, bottom + 1):
                canvas.put(column, row, pen.glyphs.band, line.style, _AREA)
