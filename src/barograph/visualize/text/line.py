"""A line chart as text: value axis, calendar ticks, marks in a lane of their own, labels at the ends of lines.

Reads a ``LineChart``; draws on a ``Canvas``; hands rows to ``page``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from barograph.core.zone import zone_of
from barograph.visualize.axes import Tick, ValueAxis, clock_changes, number_ticks, time_ticks, value_axis
from barograph.visualize.chart import LineChart, Mark, Series
from barograph.visualize.hostile import display_width, pad, wrap
from barograph.visualize.text.band import draw_band
from barograph.visualize.text.canvas import COARSE_DASH, FINE_DASH, Canvas, Point
from barograph.visualize.text.frame import Frame, Line, position, values_of
from barograph.visualize.text.pen import Pen, Row, heading
from barograph.visualize.units import axis_labels

FEW = 20  # samples below which a point is drawn hollow
_EMPTY_ROWS = 3
_AROUND = 1800.0  # seconds shown on both sides of a single moment
GUTTER = 7  # cells of the value labels at least, so that the charts of a page line up
_RANKS = {"main": 60, "p99": 55, "p95": 54, "p90": 53, "p50": 52, "group": 50, "limit": 20, "comparison": 10}
_MARK, _GRID = 2, 1
_KEYS = {"p99": 0, "p95": 2, "p90": 3, "p50": 1}  # places among the ASCII signs; in Unicode see _WEIGHTS
_WEIGHTS = {"p99": "━", "p95": "═", "p90": "─", "p50": "─", "limit": "╌", "comparison": "╌"}


def draw_line(chart: LineChart, pen: Pen) -> list[Row]:
    """The chart's rows, none wider than the pen allows."""
    lines = _lines(chart, pen)
    frame = _frame(chart, lines, pen)
    canvas = Canvas(frame.columns, frame.axis.rows, pen.glyphs, braille=pen.charset == "braille")
    runs = [(line, list(_runs(line.series, frame))) for line in lines]
    dashed = [_draw(canvas, line, pieces, chart, pen) for line, pieces in sorted(runs, key=lambda pair: pair[0].rank)]
    shown, lost = _shown_marks(chart.marks, frame, pen)
    beyond = [draw_band(canvas, line, frame, pen) for line in lines]
    few = _draw_few(canvas, lines, frame, pen)
    _draw_behind(canvas, frame, shown, pen)
    if not any(pieces for _, pieces in runs):
        _say(canvas, "no data in this window")
    ticks = _ticks(frame, pen)
    rows = heading(pen, chart.title, _details(chart, frame, ticks, pen))
    if shown:
        rows.append(_lane(shown, frame))
    ends = _end_labels(runs, frame, pen) if frame.right else {}
    rows += beside_axis(canvas.lines(), frame.axis, chart.unit, frame.gutter, pen, ends)
    rows += _under(ticks, frame, pen)
    rows += _legend(shown, frame, pen)
    notes = _notes(chart, frame, pen, lost=lost, few=few, drawn=any(pieces for _, pieces in runs),
                   dashed=any(dashed), beyond=any(beyond))  # fmt: skip
    if not frame.right and len(lines) > 1:
        notes.insert(0, "   ".join(f"{line.key} {pen.clean(line.series.name, 24)}" for line in lines))
    indent = " " * min(frame.gutter + 2, pen.width // 4)
    for note in notes:
        rows += [[(indent + text, "muted")] for text in wrap(note, pen.width - len(indent))]
    return rows


def _lines(chart: LineChart, pen: Pen) -> list[Line]:
    """Key, style and rank of each series, by its role or its place among the others."""
    found: list[Line] = []
    place = 0
    for one in chart.series:
        glyphs = pen.glyphs
        if one.role in ("comparison", "limit"):
            key = glyphs.dash if one.role == "comparison" or not glyphs.ascii else "="
            found.append(Line(one, key, one.role, _RANKS[one.role]))
            continue
        if glyphs.ascii:
            key = glyphs.series[_KEYS.get(one.role, place % len(glyphs.series))]
        else:
            key = _WEIGHTS.get(one.role, glyphs.series[place % len(glyphs.series)])
        style = f"group{place % 6}" if one.role == "group" else one.role
        found.append(Line(one, key, style, _RANKS[one.role] - place))
        place += 1
    return found


def _frame(chart: LineChart, lines: Sequence[Line], pen: Pen) -> Frame:
    values = [y for one in chart.series for y in values_of(one)]
    if chart.within is not None:
        least, most = chart.within
        values = [min(max(y, least), most) for y in values]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    axis = value_axis(low, high, chart.unit, _rows(pen) if values else _EMPTY_ROWS, chart.axis_start)
    if not values and chart.axis_start is None:
        axis = value_axis(0.0, 0.0, chart.unit, axis.rows)
    labels = axis_labels(axis.ticks, chart.unit, ascii_only=pen.ascii)
    gutter = min(max(GUTTER, *map(display_width, labels)), pen.width // 3)
    right = 0
    if len(lines) > 1 and pen.width >= 40:
        longest = max(display_width(_label(line, pen, 40)) for line in lines)
        right = 1 + min(longest, max(6, pen.width // 5))
    xs = [position(x) for one in chart.series for x, _ in one.points]
    ends = [x for x in (chart.start, chart.end) if x is not None]
    xs += [position(x) for x in ends] or ([position(mark.x) for mark in chart.marks] if not xs else [])
    start, end = (min(xs), max(xs)) if xs else (math.nan, math.nan)
    some: list[datetime | float] = [x for one in chart.series for x, _ in one.points[:1]]
    timed = any(isinstance(x, datetime) for x in (*some, *ends, *(mark.x for mark in chart.marks)))
    if start == end:
        around = _AROUND if timed else 0.5
        start, end = start - around, end + around
    measured = [position(x) for one in chart.series if one.role != "limit" for x, _ in one.points]
    whole = bool(measured) and all(x == math.floor(x) for x in measured)
    return Frame(axis, start, end, timed, whole, gutter, pen.width - gutter - 2 - right, right)


def _rows(pen: Pen) -> int:
    """About how high a plot is."""
    return 13 if pen.width >= 110 else 11 if pen.width >= 60 else 8


def _runs(series: Series, frame: Frame) -> Iterator[list[Point]]:
    """The series in cells, broken where a value is missing."""
    run: list[Point] = []
    for x, y in series.points:
        if y is None:
            if run:
                yield run
            run = []
        else:
            run.append((frame.column(x), frame.axis.height(y)))
    if run:
        yield run


def _draw(canvas: Canvas, line: Line, runs: list[list[Point]], chart: LineChart, pen: Pen) -> bool:
    """The line, with its incomplete buckets dashed; returns whether that can be seen."""
    aside = line.series.role in ("comparison", "limit")
    points = line.series.points
    first = chart.incomplete_first and not aside and bool(runs) and points[0][1] is not None
    last = chart.incomplete_last and not aside and bool(runs) and points[-1][1] is not None
    seen = False
    for index, run in enumerate(runs):
        whole, parts = run, []
        if last and index == len(runs) - 1 and len(run) > 1:
            parts.append(run[-2:])
            whole = whole[:-1]
        if first and index == 0 and len(run) > 1:
            parts.append(run[:2])
            whole = whole[1:]
        for part in parts:
            key = pen.glyphs.unfinished if pen.ascii else line.key
            dashes = canvas.draw(part, key, line.style, line.rank, dash=0 if pen.ascii else FINE_DASH)
            seen = seen or dashes or pen.ascii
        canvas.draw(whole, line.key, line.style, line.rank, dash=COARSE_DASH if aside else 0)
    return seen


def _draw_few(canvas: Canvas, lines: Sequence[Line], frame: Frame, pen: Pen) -> str:
    """Points of few samples as hollow signs, where points lie far enough apart; returns what to say of them."""
    shown = hidden = 0
    for line in lines:
        points = line.series.points
        crowded = len(points) * 3 > frame.columns
        for (x, y), n in zip(points, line.series.n, strict=False):
            if y is None or n is None or n >= FEW:
                continue
            hidden += crowded
            shown += not crowded
            if not crowded:
                column, row = round(frame.column(x)), round(frame.axis.height(y))
                canvas.put(column, row, pen.glyphs.few, line.style, line.rank)
    if shown:
        return f"{pen.glyphs.few} fewer than {FEW} samples"
    who = "1 point has" if hidden == 1 else f"{hidden:,} points have"
    return f"{who} fewer than {FEW} samples" if hidden else ""


def _draw_behind(canvas: Canvas, frame: Frame, marks: Sequence[tuple[int, str, Mark]], pen: Pen) -> None:
    """Marks and grid, only where nothing else is."""
    for column, _, mark in marks:
        for row in range(frame.axis.rows):
            if canvas.is_free(column, row):
                canvas.put(column, row, pen.glyphs.mark, _mark_style(mark), _MARK)
    for index in range(len(frame.axis.ticks)):
        row = frame.axis.row_of_tick(index)
        for column in range(1, frame.columns, 2):
            if canvas.is_free(column, row):
                canvas.put(column, row, pen.glyphs.grid, "grid", _GRID)


def _say(canvas: Canvas, text: str) -> None:
    text = f" {text} "[: canvas.columns]
    left, row = (canvas.columns - len(text)) // 2, (canvas.rows - 1) // 2
    for index, char in enumerate(text):
        canvas.put(left + index, row, char, "muted", 100)


def _mark_style(mark: Mark) -> str:
    return "alert" if mark.kind == "alert" else "mark"


def _shown_marks(marks: Sequence[Mark], frame: Frame, pen: Pen) -> tuple[list[tuple[int, str, Mark]], int]:
    """The marks with their columns and numbers, and how many found no place: the earliest, or those outside."""
    inside = sorted(
        (mark for mark in marks if frame.start <= position(mark.x) <= frame.end), key=lambda mark: position(mark.x)
    )
    numbers = pen.glyphs.numbers
    kept = inside[-len(numbers) :]
    shown = [(round(frame.column(mark.x)), number, mark) for mark, number in zip(kept, numbers, strict=False)]
    return shown, len(marks) - len(shown)


def _lane(marks: Sequence[tuple[int, str, Mark]], frame: Frame) -> Row:
    """The marks' numbers above the plot, each over its mark, moved right where two would collide."""
    row: Row = [(" " * (frame.gutter + 2), "")]
    used = 0
    for index, (column, number, mark) in enumerate(marks):
        place = min(max(column, used), frame.columns - (len(marks) - index))
        place = max(place, used)
        row += [(" " * (place - used), ""), (number, _mark_style(mark))]
        used = place + 1
    return row


def _legend(marks: Sequence[tuple[int, str, Mark]], frame: Frame, pen: Pen) -> list[Row]:
    """What the numbers mean, several on a row where they fit."""
    indent = min(frame.gutter + 2, pen.width // 4)
    rows: list[Row] = []
    used = 0
    for _, number, mark in marks:
        text = f"{number} {pen.moment(mark.x)} {pen.clean(mark.label)}"
        text = pen.cut(text, pen.width - indent)
        wide = display_width(text)
        if rows and used + 3 + wide <= pen.width:
            rows[-1] += [("   ", ""), (text, _mark_style(mark))]
            used += 3 + wide
        else:
            rows.append([(" " * indent, ""), (text, _mark_style(mark))])
            used = indent + wide
    return rows


def _label(line: Line, pen: Pen, width: int) -> str:
    name = pen.clean(line.series.name, width)
    return name if pen.charset == "braille" else pen.cut(f"{line.key} {name}", width)


def _end_labels(runs: Sequence[tuple[Line, list[list[Point]]]], frame: Frame, pen: Pen) -> dict[int, tuple[str, str]]:
    """The label of each line at the row where it ends, moved apart where two would collide."""
    wanted = sorted(
        (round(pieces[-1][-1][1]), -line.rank, index) for index, (line, pieces) in enumerate(runs) if pieces
    )
    rows = [row for row, *_ in wanted][: frame.axis.rows]
    for index in range(1, len(rows)):
        rows[index] = max(rows[index], rows[index - 1] + 1)
    for index in range(len(rows) - 1, -1, -1):
        ceiling = frame.axis.rows - 1 if index == len(rows) - 1 else rows[index + 1] - 1
        rows[index] = min(rows[index], ceiling)
    width = frame.right - 1
    lines = [runs[index][0] for *_, index in wanted]
    return {row: (_label(line, pen, width), line.style) for row, line in zip(rows, lines, strict=False)}


def beside_axis(
    lines: Iterable[Row], axis: ValueAxis, unit: str, gutter: int, pen: Pen, ends: dict[int, tuple[str, str]]
) -> Iterator[Row]:
    """The plot's rows behind the value axis, with the labels of their ends."""
    labels = axis.labels(unit, ascii_only=pen.ascii)
    for index, cells in enumerate(lines):
        label = labels.get(index)
        start = pad(pen.cut(label or "", gutter), gutter, right=True)
        row: Row = [(f"{start} ", "axis"), (pen.glyphs.vertical if label is None else pen.glyphs.tick, "axis"), *cells]
        if index in ends:
            row += [(" ", ""), ends[index]]
        yield row


def _ticks(frame: Frame, pen: Pen) -> list[Tick]:
    if math.isnan(frame.start):
        return []  # no point, no window: there is no x axis to speak of
    if frame.timed:
        return time_ticks(frame.start, frame.end, zone_of(pen.timezone), frame.columns)
    return number_ticks(frame.start, frame.end, frame.columns, whole=frame.whole)


def _under(ticks: Sequence[Tick], frame: Frame, pen: Pen) -> list[Row]:
    """The x axis and its labels: each in the middle under its tick, or from its tick on where they would collide."""
    line = [pen.glyphs.horizontal] * frame.columns
    columns = [round(frame.column(tick.x)) for tick in ticks]
    labels = [pen.clean(tick.label) for tick in ticks]
    for column in columns:
        line[column] = pen.glyphs.time_tick
    text, complete = _set_labels([column - len(label) // 2 for column, label in zip(columns, labels, strict=True)],
                                 labels, frame.columns)  # fmt: skip
    if not complete:
        text, _ = _set_labels(columns, labels, frame.columns)
    corner = pen.glyphs.broken if frame.axis.low > 0 else pen.glyphs.corner
    blank = " " * (frame.gutter + 1)
    rows: list[Row] = [[(blank + corner + "".join(line), "axis")]]
    return [*rows, [(blank + " " + text, "axis")]] if text else rows


def _set_labels(places: Sequence[int], labels: Sequence[str], room: int) -> tuple[str, bool]:
    """The labels at their places, moved in at the edges; those that collide are left out, and that is told."""
    text, complete = "", True
    for place, label in zip(places, labels, strict=True):
        left = max(0, min(place, room - len(label)))
        if len(label) > room or (text and left <= len(text)):
            complete = False
            continue
        text += " " * (left - len(text)) + label
    return text, complete


def _details(chart: LineChart, frame: Frame, ticks: Sequence[Tick], pen: Pen) -> list[str]:
    if not frame.timed:
        return [chart.subtitle]
    zone = zone_of(pen.timezone)
    dated = any("-" in tick.label for tick in ticks)
    day = "" if dated else datetime.fromtimestamp(frame.start, zone).strftime("%Y-%m-%d ")
    return [chart.subtitle, f"{day}{pen.timezone}"]


def _notes(
    chart: LineChart, frame: Frame, pen: Pen, *, lost: int, few: str, drawn: bool, dashed: bool, beyond: bool
) -> list[str]:
    notes: list[str] = []
    if lost:
        notes.append(f"{lost} earlier or outside {'mark is' if lost == 1 else 'marks are'} not shown")
    parts: list[str] = []
    if drawn and (chart.incomplete_first or chart.incomplete_last):
        parts.append(_incomplete(chart, pen, dashed))
    if few:
        parts.append(few)
    if beyond:
        parts.append(f"{pen.glyphs.up} {pen.glyphs.down} an interval that goes on beyond the axis")
    if frame.axis.low > 0 and drawn:
        parts.append(f"axis from {axis_labels(frame.axis.ticks, chart.unit, ascii_only=pen.ascii)[0]}")
    if frame.timed:
        changes = clock_changes(frame.start, frame.end, zone_of(pen.timezone))
        if changes:
            parts.append(f"the clocks change on {', '.join(changes)}")
    joined = "   ".join(parts)
    room = pen.width - min(frame.gutter + 2, pen.width // 4)
    return notes + ([joined] if joined and display_width(joined) <= room else parts)


def _incomplete(chart: LineChart, pen: Pen, dashed: bool) -> str:
    """Which buckets are not whole; how that is drawn is told only where it can be seen."""
    both = chart.incomplete_first and chart.incomplete_last
    end = "ends" if both else "start" if chart.incomplete_first else "end"
    sign = "" if not dashed else f"{pen.glyphs.unfinished} " if pen.ascii else f"dashed {end}: "
    which = "first and the last bucket are" if both else f"{'first' if chart.incomplete_first else 'last'} bucket is"
    return f"{sign}the {which} incomplete"
