"""The one chart specification: what there is to show, without a word on how.

``dashboard/pages.py`` builds these from answers; ``text`` draws them in a terminal, ``exports`` writes them as JSON
and CSV. All values are frozen and checked when made: what cannot be drawn raises InvalidChart with a hint. A
number stays a number until a renderer formats it by its unit, and a missing one is None, never zero.

Units are those of the catalogue: ``s``, ``USD``, ``ratio`` (0.05 is 5 %), ``%``, ``1`` (a count), ``tokens``,
``rating``, ``score``, ``B``, ``1/min``; any other text is written behind the number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from barograph_client.errors import InvalidChart

Role = Literal["main", "comparison", "p50", "p90", "p95", "p99", "group", "limit"]
Tone = Literal["plain", "title", "muted", "good", "warning", "critical"]
Better = Literal["lower", "higher", "neutral"]
Verdict = Literal["better", "worse", "equivalent", "not settled", "not valid"]
Cell = str | int | float | bool | datetime | None

MOST_LINES = 6  # series of one chart beside comparisons and limits; more cannot be told apart


def _finite(value: float | None, what: str) -> None:
    if value is not None and not math.isfinite(value):
        raise InvalidChart(f"{what} is not a finite number", hint="Use None for a missing value.", value=value)


def _same_length(what: str, length: int, wanted: int, of: str) -> None:
    if length != wanted:
        raise InvalidChart(f"{length} {what} for {wanted} {of}", hint=f"Give one for each of the {of}, or none.")


def _in_order(what: str, numbers: Sequence[float | None]) -> None:
    """Raises InvalidChart unless those that are known are finite and do not fall."""
    order = [number for number in numbers if number is not None]
    for number in order:
        _finite(number, what)
    if order != sorted(order):
        raise InvalidChart(
            f"{what}: the interval does not hold its estimate",
            hint="Give low ≤ inner_low ≤ estimate ≤ inner_high ≤ high.",
            value=order,
        )


def _ascending(xs: Sequence[datetime | float], what: str) -> None:
    """Raises InvalidChart unless the positions are of one kind, aware where they are times, and increase."""
    times = sum(isinstance(x, datetime) for x in xs)
    if times not in (0, len(xs)):
        raise InvalidChart(f"{what}: times and numbers are mixed", hint="Use one of them on an axis.")
    previous: float | None = None
    for x in xs:
        if isinstance(x, datetime):
            if x.tzinfo is None:
                raise InvalidChart(f"{what}: a time without a zone", hint="Pass aware times, in UTC.", value=x)
            position = x.timestamp()
        else:
            _finite(x, f"{what}: x")
            position = x
        if previous is not None and position <= previous:
            raise InvalidChart(f"{what}: x does not increase", hint="Sort by x and keep one value for each.", value=x)
        previous = position


class Series(Struct, frozen=True, kw_only=True):
    """One line: (x, y) in ascending x, y None where nothing was measured; ``n`` is each point's sample size.

    ``band`` holds the interval around each point; None is an end without a bound.
    """

    name: str
    points: Sequence[tuple[datetime | float, float | None]]
    role: Role = "main"
    n: Sequence[int | None] = ()
    band: Sequence[tuple[float | None, float | None]] = ()

    def __post_init__(self) -> None:
        _ascending([x for x, _ in self.points], f"series {self.name}")
        for _, y in self.points:
            _finite(y, f"series {self.name}: y")
        if self.n:
            _same_length("sample sizes", len(self.n), len(self.points), "points")
        if self.band:
            _same_length("intervals", len(self.band), len(self.points), "points")
        for (_, y), (low, high) in zip(self.points, self.band, strict=False):
            _in_order(f"series {self.name}", (low, y, high))


class Mark(Struct, frozen=True, kw_only=True):
    """Something that happened at ``x``: a deploy, an index rebuild, an alert."""

    x: datetime | float
    label: str
    kind: Literal["deploy", "alert", "other"] = "deploy"

    def __post_init__(self) -> None:
        _ascending([self.x], "mark")


class LineChart(Struct, frozen=True, kw_only=True, tag="line"):
    """Lines over time or over a number.

    ``axis_start`` is where the value axis begins (lower if a value is); None lets it begin near the lowest
    value, which is shown as a broken axis. ``incomplete_first`` and ``incomplete_last`` say that this bucket of the
    series that are not comparisons is cut or still filling. ``start`` and ``end`` widen the x axis beyond the points,
    so that the charts of one page line up. ``within`` are values beyond which the value axis does not go: a band that
    goes on there ends in an arrow.
    """

    title: str
    series: Sequence[Series]
    unit: str = "1"
    subtitle: str = ""
    marks: Sequence[Mark] = ()
    incomplete_first: bool = False
    incomplete_last: bool = False
    axis_start: float | None = 0.0
    start: datetime | float | None = None
    end: datetime | float | None = None
    within: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        xs: list[datetime | float] = [x for one in self.series for x, _ in one.points[:1]]
        xs += [mark.x for mark in self.marks]
        ends = [x for x in (self.start, self.end) if x is not None]
        if len({isinstance(x, datetime) for x in (*xs, *ends)}) > 1:
            raise InvalidChart(f"chart {self.title}: times and numbers are mixed", hint="Use one of them on an axis.")
        _ascending(ends, f"chart {self.title}: the axis")
        _finite(self.axis_start, f"chart {self.title}: axis_start")
        _ascending(self.within or (), f"chart {self.title}: the value axis")
        lines = sum(one.role not in ("comparison", "limit") for one in self.series)
        if lines > MOST_LINES:
            raise InvalidChart(
                f"chart {self.title}: {lines} lines, at most {MOST_LINES} can be told apart",
                hint="Keep the largest groups and add the rest up as 'other'.",
            )


class Bar(Struct, frozen=True, kw_only=True):
    """One category's value, with its interval and sample size where known."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        for number in (self.value, self.low, self.high):
            _finite(number, f"bar {self.label}")
        if (self.low is None) != (self.high is None):
            raise InvalidChart(f"bar {self.label}: half an interval", hint="Give both low and high, or neither.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InvalidChart(f"bar {self.label}: low is above high", value=f"{self.low} > {self.high}")


class BarChart(Struct, frozen=True, kw_only=True, tag="bar"):
    """Horizontal bars, always from zero, in the order given."""

    title: str
    bars: Sequence[Bar]
    unit: str = "1"
    subtitle: str = ""


class Histogram(Struct, frozen=True, kw_only=True, tag="histogram"):
    """How often a value fell between two edges; one more edge than counts.

    The bins are drawn equally wide, so the edges must be equally far apart, or ``log`` must say that they grow
    by a factor (the first may then be zero).
    """

    title: str
    edges: Sequence[float]
    counts: Sequence[int]
    unit: str = "1"
    log: bool = False
    subtitle: str = ""

    def __post_init__(self) -> None:
        if not self.counts:
            raise InvalidChart(f"histogram {self.title}: no bins", hint="Give at least one count and two edges.")
        _same_length("edges", len(self.edges), len(self.counts) + 1, "edges of so many counts and one more")
        _ascending(self.edges, f"histogram {self.title}: edges")
        if any(count < 0 for count in self.counts):
            raise InvalidChart(f"histogram {self.title}: a count is negative", value=min(self.counts))
        if self.log and self.edges[0] < 0:
            raise InvalidChart(f"histogram {self.title}: log edges start below zero", value=self.edges[0])
        widths = [after - before for before, after in pairwise(self.edges)]
        if not self.log and max(widths) > min(widths) * 1.001:
            raise InvalidChart(
                f"histogram {self.title}: the bins are not equally wide", hint="Use equal bins, or log=True."
            )


class Sparkline(Struct, frozen=True, kw_only=True, tag="sparkline"):
    """A small line without axes, from zero to its highest value, on one row with its range."""

    title: str
    values: Sequence[float | None]
    unit: str = "1"

    def __post_init__(self) -> None:
        for value in self.values:
            _finite(value, f"sparkline {self.title}")


class Column(Struct, frozen=True, kw_only=True):
    """A column of a table; numbers go to the right edge and are formatted by ``unit``, texts to the left.

    A text that does not fit is cut, or, with ``wraps``, goes on in the rows below; a ``whole`` one, such as a key that
    people copy, has all of its ``most`` cells, and other columns give way.
    """

    title: str
    unit: str = "1"
    align: Literal["auto", "left", "right"] = "auto"
    most: int = 60  # cells that a text may take
    wraps: bool = False
    whole: bool = False


class Table(Struct, frozen=True, kw_only=True, tag="table"):
    """Rows of cells. A number stays a number here and in every export."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    subtitle: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.columns:
            raise InvalidChart(f"table {self.title}: no columns", hint="Give at least one column.")
        for row in self.rows:
            _same_length("cells", len(row), len(self.columns), "columns")
            for cell in row:
                if isinstance(cell, float):
                    _finite(cell, f"table {self.title}")
                elif isinstance(cell, datetime):
                    _ascending([cell], f"table {self.title}")


class Tile(Struct, frozen=True, kw_only=True, tag="tile"):
    """One key number and how it moved.

    ``delta`` is the relative change (-0.05 is 5 % less), ``delta_absolute`` the same in the tile's unit,
    ``delta_against`` says since when (``yesterday``). ``significant`` is False when the change is inside the
    noise, None when nobody tested. ``value`` may be a text (``50/50 split``). ``note`` stands at the right.
    """

    title: str
    value: float | str | None
    unit: str = "1"
    delta: float | None = None
    delta_absolute: float | None = None
    delta_against: str = ""
    better: Better = "neutral"
    significant: bool | None = None
    n: int | None = None
    aside: str = ""
    note: str = ""
    spark: Sequence[float | None] = ()

    def __post_init__(self) -> None:
        numbers = (self.delta, self.delta_absolute, *self.spark, None if isinstance(self.value, str) else self.value)
        for number in numbers:
            _finite(number, f"tile {self.title}")


class Tiles(Struct, frozen=True, kw_only=True, tag="tiles"):
    """Tiles together: one a line with their notes in a column, or side by side in boxes."""

    tiles: Sequence[Tile]
    layout: Literal["lines", "boxes"] = "lines"


class Effect(Struct, frozen=True, kw_only=True):
    """One row of an interval plot: an estimate, its interval (None: unbounded on that side) and the verdict.

    ``inner_low`` and ``inner_high`` are a narrower interval drawn thick, where there is one; ``limit`` is a value that
    it must not pass, drawn as a mark.
    """

    label: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    verdict: Verdict = "not settled"
    inner_low: float | None = None
    inner_high: float | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        ends = (self.low, self.inner_low, self.estimate, self.inner_high, self.high)
        _in_order(f"effect {self.label}", ends)
        _finite(self.limit, f"effect {self.label}: limit")


class IntervalPlot(Struct, frozen=True, kw_only=True, tag="intervals"):
    """Estimates with intervals beside a line at ``zero``, in one unit."""

    title: str
    rows: Sequence[Effect]
    unit: str = "ratio"
    zero: float = 0.0
    subtitle: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _finite(self.zero, f"interval plot {self.title}: zero")


class Heatmap(Struct, frozen=True, kw_only=True, tag="heatmap"):
    """A value for each row and column; rows are drawn from the top in the order given."""

    title: str
    columns: Sequence[datetime | float]
    rows: Sequence[str]
    values: Sequence[Sequence[float | None]]
    unit: str = "1"
    subtitle: str = ""

    def __post_init__(self) -> None:
        if not self.columns or not self.rows:
            raise InvalidChart(f"heat map {self.title}: no cells", hint="Give at least one row and one column.")
        _ascending(self.columns, f"heat map {self.title}: columns")
        _same_length("rows of values", len(self.values), len(self.rows), "rows")
        for row in self.values:
            _same_length("values", len(row), len(self.columns), "columns")
            for value in row:
                _finite(value, f"heat map {self.title}")


class Text(Struct, frozen=True, kw_only=True, tag="text"):
    """A paragraph; ``tone`` is how it is meant, ``aside`` stands at the right edge where there is room."""

    text: str
    tone: Tone = "plain"
    aside: str = ""


class Panel(Struct, frozen=True, kw_only=True, tag="panel"):
    """Parts under one heading; ``side_by_side`` puts them beside each other where the width allows."""

    title: str
    parts: Sequence[Part]
    side_by_side: bool = False


class Page(Struct, frozen=True, kw_only=True, tag="page"):
    """A whole page: its first line, then its parts."""

    title: str
    parts: Sequence[Part]
    aside: str = ""
    tone: Tone = "title"


Part = (
    LineChart | BarChart | Histogram | Sparkline | Table | Tile | Tiles | IntervalPlot | Heatmap | Text | Panel
)  # fmt: skip
Chart = Part | Page
