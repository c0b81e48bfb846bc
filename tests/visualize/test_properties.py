"""What holds for every chart: width, encoding, true heights, no harm from hostile text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from barograph.visualize.charset import CHARSETS, CharsetName
from barograph.visualize.chart import (
    Bar,
    BarChart,
    Chart,
    Column,
    Effect,
    Heatmap,
    Histogram,
    IntervalPlot,
    LineChart,
    Mark,
    Page,
    Panel,
    Series,
    Sparkline,
    Table,
    Text,
    Tile,
    Tiles,
)
from barograph.visualize.visualizer import Visualizer

NASTY = [
    "\x1b[2J\x1b]0;owned\x07", "a\nb\rc\td", "\u202eevil\u2066", "e" + "\u0301" * 40, "日本語テキスト",
    "👩\u200d🔬👍🏽🇩🇪❤\ufe0f",
    "\u200b\ufeff\u00ad", "=HYPERLINK(1)", "\ud800", "क्षि", "\u1100\u1161\u11a8", "\u0300", "x" * 500,
    "\x9b31m", "☰䷀",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=30), st.lists(st.sampled_from(NASTY)).map("".join))
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1000, 1000),
    st.sampled_from([0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, 0.9996, 60.0]),
)
MAYBE = st.one_of(st.none(), NUMBERS)
UNITS = st.one_of(
    st.sampled_from(["s", "USD", "ratio", "%", "1", "tokens", "rating", "score", "B", "1/min", ""]), TEXTS
)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo"])


def spanned(ends: Sequence[float]) -> tuple[float, float]:
    return min(ends), max(ends)


@st.composite
def around(draw: st.DrawFn, y: float | None) -> tuple[float | None, float | None]:
    """An interval that holds ``y``, each end known or not."""
    low, high = draw(MAYBE), draw(MAYBE)
    low, high = (low, high) if low is None or high is None or low <= high else (high, low)
    if y is None:
        return low, high
    return None if low is None else min(low, y), None if high is None else max(high, y)


@st.composite
def line_charts(draw: st.DrawFn) -> LineChart:
    start = draw(TIMES)
    step = draw(st.sampled_from([0.001, 1.0, 60.0, 900.0, 3600.0, 86400.0, 86400.0 * 30]))
    series = []
    for role in draw(st.lists(st.sampled_from(["main", "p50", "p99", "group", "comparison", "limit"]), max_size=5)):
        values = draw(st.lists(MAYBE, max_size=60))
        sizes = draw(st.one_of(st.just([]), st.lists(st.integers(0, 50), min_size=len(values), max_size=len(values))))
        points = [(start + timedelta(seconds=step * index), y) for index, y in enumerate(values)]
        band = [draw(around(y)) for y in values] if draw(st.booleans()) else []
        series.append(Series(name=draw(TEXTS), points=points, role=role, n=sizes, band=band))
    marks = [
        Mark(
            x=start + timedelta(seconds=step * place),
            label=draw(TEXTS),
            kind=draw(st.sampled_from(["deploy", "alert"])),
        )
        for place in draw(st.lists(st.floats(0, 70), max_size=12))
    ]
    return LineChart(
        title=draw(TEXTS), subtitle=draw(TEXTS), unit=draw(UNITS), series=series, marks=marks,
        incomplete_first=draw(st.booleans()), incomplete_last=draw(st.booleans()),
        axis_start=draw(st.one_of(st.none(), st.just(0.0), NUMBERS)),
        within=draw(st.one_of(st.none(), st.lists(NUMBERS, min_size=2, max_size=2, unique=True).map(spanned))),
    )  # fmt: skip


@st.composite
def effects(draw: st.DrawFn) -> Effect:
    low, inner_low, estimate, inner_high, high = sorted(draw(st.lists(NUMBERS, min_size=5, max_size=5)))
    keep = st.booleans()
    return Effect(
        label=draw(TEXTS), estimate=estimate, low=low if draw(keep) else None, high=high if draw(keep) else None,
        inner_low=inner_low, inner_high=inner_high, verdict=draw(st.sampled_from(["better", "worse", "not settled"])),
        limit=draw(MAYBE),
    )  # fmt: skip


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    low, value, high = sorted(draw(st.lists(NUMBERS, min_size=3, max_size=3)))
    if draw(st.booleans()):
        return Bar(label=draw(TEXTS), value=draw(MAYBE))
    return Bar(label=draw(TEXTS), value=value, low=low, high=high, n=draw(st.integers(0, 10**9)))


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    counts = draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=150))
    log = draw(st.booleans())
    edges = [0.001 * 1.1**index if log else index * 0.5 for index in range(len(counts) + 1)]
    return Histogram(title=draw(TEXTS), edges=edges, counts=counts, unit=draw(UNITS), log=log)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = [Column(title=draw(TEXTS), unit=draw(UNITS)) for _ in range(draw(st.integers(1, 9)))]
    cell = st.one_of(MAYBE, TEXTS, st.booleans(), TIMES, st.integers(-(10**20), 10**20))
    rows = draw(st.lists(st.lists(cell, min_size=len(columns), max_size=len(columns)), max_size=5))
    return Table(title=draw(TEXTS), columns=columns, rows=rows, note=draw(TEXTS))


@st.composite
def tiles(draw: st.DrawFn) -> Tile:
    return Tile(
        title=draw(TEXTS), value=draw(st.one_of(MAYBE, TEXTS)), unit=draw(UNITS), delta=draw(MAYBE),
        delta_absolute=draw(MAYBE), delta_against=draw(TEXTS), better=draw(st.sampled_from(["lower", "neutral"])),
        significant=draw(st.sampled_from([None, True, False])), n=draw(st.one_of(st.none(), st.integers(0, 10**9))),
        aside=draw(TEXTS), note=draw(TEXTS), spark=draw(st.lists(MAYBE, max_size=50)),
    )  # fmt: skip


@st.composite
def heatmaps(draw: st.DrawFn) -> Heatmap:
    start, count = draw(TIMES), draw(st.integers(1, 150))
    labels = draw(st.lists(TEXTS, min_size=1, max_size=4))
    row = st.lists(MAYBE, min_size=count, max_size=count)
    return Heatmap(
        title=draw(TEXTS), columns=[start + timedelta(hours=hour) for hour in range(count)], rows=labels,
        values=[draw(row) for _ in labels], unit=draw(UNITS),
    )  # fmt: skip


CHARTS = st.one_of(
    line_charts(),
    st.builds(BarChart, title=TEXTS, bars=st.lists(bars(), max_size=5), unit=UNITS),
    histograms(),
    tables(),
    st.builds(Tiles, tiles=st.lists(tiles(), min_size=1, max_size=5), layout=st.sampled_from(["lines", "boxes"])),
    st.builds(IntervalPlot, title=TEXTS, rows=st.lists(effects(), max_size=4), unit=UNITS, zero=NUMBERS),
    heatmaps(),
    st.builds(Sparkline, title=TEXTS, values=st.lists(MAYBE, max_size=150), unit=UNITS),
    st.builds(Text, text=TEXTS, aside=TEXTS),
)


def check(text: str, charset: CharsetName, width: int) -> None:
    for line in text.split("\n"):
        assert 0 <= wcswidth(line) <= width, line
        bad = [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
        assert not bad, bad
    if charset == "ascii":
        text.encode("ascii")
    else:
        text.encode("utf-8")


@pytest.mark.parametrize("charset", CHARSETS)
@given(chart=CHARTS, width=st.integers(20, 140), zone=ZONES)
@settings(max_examples=150)
def test_nothing_is_wider_than_the_width_and_no_hostile_text_gets_through(
    charset: CharsetName, chart: Chart, width: int, zone: str
) -> None:
    check(Visualizer(charset, width, timezone=zone).draw(chart), charset, width)


@given(first=CHARTS, second=CHARTS, title=TEXTS, width=st.integers(20, 140), charset=st.sampled_from(CHARSETS))
@settings(max_examples=60)
def test_pages_and_panels_keep_the_width(
    first: Chart, second: Chart, title: str, width: int, charset: CharsetName
) -> None:
    assert not isinstance(first, Page)
    assert not isinstance(second, Page)
    panel = Panel(title=title, parts=[first, second], side_by_side=True)
    check(Visualizer(charset, width).draw(Page(title=title, parts=[panel], aside=title)), charset, width)


@given(chart=CHARTS, width=st.integers(20, 100))
@settings(max_examples=80)
def test_colour_adds_only_colour(chart: Chart, width: int) -> None:
    plain = Visualizer("braille", width).draw(chart)
    coloured = Visualizer("braille", width, True).draw(chart)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


class Plot:
    """A drawn line chart of plain numbers, read back from its picture."""

    def __init__(self, picture: str) -> None:
        lines = picture.split("\n")
        bottom = next(index for index, line in enumerate(lines) if re.match(r"^ +[└+≈~][─┬+-]+", line))
        self.left = re.search(r"[└+≈~]", lines[bottom]).end()
        self.columns = len(re.match(r"[─┬+-]+", lines[bottom][self.left :]).group())
        self.rows: list[str] = []
        labels: dict[int, float] = {}
        plot = [line for line in lines[:bottom] if len(line) >= self.left and line[self.left - 1] in "│┤|+"]
        for index, line in enumerate(plot):
            self.rows.append(line[self.left :].ljust(self.columns))
            label = line[: self.left - 1].strip().replace("−", "-").replace(",", "")
            if label:
                labels[index] = float(label)
        (self.row_a, self.value_a), *_, (self.row_b, self.value_b) = labels.items()

    def height(self, value: float) -> float:
        share = (value - self.value_a) / (self.value_b - self.value_a)
        return self.row_a + share * (self.row_b - self.row_a)

    def ink(self, column: int) -> list[int]:
        return [row for row, line in enumerate(self.rows) if line[column] not in " ·."]


WHOLE = st.integers(-5000, 5000).map(float)


@pytest.mark.parametrize("charset", CHARSETS)
@given(values=st.lists(WHOLE, min_size=1, max_size=200), width=st.sampled_from([40, 80, 120]))
@example(values=[0.0, 0.0, 5000.0, 0.0], width=40)
@settings(max_examples=80)
def test_every_value_lies_within_one_row_of_its_true_height(
    charset: CharsetName, values: Sequence[float], width: int
) -> None:
    points: list[tuple[datetime | float, float | None]] = [(float(x), y) for x, y in enumerate(values)]
    chart = LineChart(title="t", unit="", series=[Series(name="s", points=points)])
    plot = Plot(Visualizer(charset, width).draw(chart))
    last = max(len(values) - 1, 1)
    for x, value in enumerate(values):
        exact = x / last * (plot.columns - 1) if len(values) > 1 else (plot.columns - 1) / 2
        near = {round(exact), int(exact), min(int(exact) + 1, plot.columns - 1)}
        rows = [row for column in near for row in plot.ink(column)]
        assert any(abs(row - plot.height(value)) <= 1 for row in rows), (x, value, plot.height(value), rows)


@pytest.mark.parametrize("charset", CHARSETS)
@given(
    ends=st.lists(st.lists(WHOLE, min_size=3, max_size=3).map(sorted), min_size=1, max_size=60),
    width=st.sampled_from([40, 80, 120]),
)
@settings(max_examples=40)
def test_every_interval_reaches_to_within_one_row_of_its_ends(
    charset: CharsetName, ends: list[list[float]], width: int
) -> None:
    points: list[tuple[datetime | float, float | None]] = [(float(x), y) for x, (_, y, _) in enumerate(ends)]
    series = Series(name="s", points=points, band=[(low, high) for low, _, high in ends])
    plot = Plot(Visualizer(charset, width).draw(LineChart(title="t", unit="", series=[series])))
    last = max(len(ends) - 1, 1)
    for x, (low, _, high) in enumerate(ends):
        rows = plot.ink(round(x / last * (plot.columns - 1) if len(ends) > 1 else (plot.columns - 1) / 2))
        assert min(rows) <= plot.height(high) + 1
        assert max(rows) >= plot.height(low) - 1


@given(counts=st.lists(st.integers(0, 5000), min_size=1, max_size=40))
@settings(max_examples=60)
def test_every_column_of_a_histogram_ends_within_one_row_of_its_count(counts: list[int]) -> None:
    chart = Histogram(title="t", edges=[float(x) for x in range(len(counts) + 1)], counts=counts, unit="")
    plot = Plot(Visualizer("unicode", 80).draw(chart))
    wide = max(1, min(6, (80 - 9) // len(counts)))
    for index, count in enumerate(counts):
        ink = plot.ink(index * wide)
        if count:
            assert abs(min(ink) - plot.height(count)) <= 1
        else:
            assert not ink


@pytest.mark.parametrize("charset", CHARSETS)
def test_a_missing_value_is_a_gap_and_not_a_zero(charset: CharsetName) -> None:
    points: list[tuple[datetime | float, float | None]] = [
        (float(x), None if 40 <= x < 60 else 5.0) for x in range(100)
    ]
    plot = Plot(Visualizer(charset, 80).draw(LineChart(title="t", unit="", series=[Series(name="s", points=points)])))
    middle = range(round(0.42 * plot.columns), round(0.57 * plot.columns))
    assert all(not plot.ink(column) for column in middle)
    assert plot.ink(2)
    assert plot.ink(plot.columns - 2)


def test_a_braille_cell_of_two_series_belongs_to_the_one_of_higher_priority() -> None:
    flat: list[tuple[datetime | float, float | None]] = [(float(x), 5.0) for x in range(100)]
    chart = LineChart(
        title="t",
        unit="",
        series=[Series(name="a", points=flat, role="p50"), Series(name="b", points=flat, role="p99")],
    )
    picture = Visualizer("braille", 80, True).draw(chart)
    assert re.search("\x1b\\[35m[\u2801-\u28ff]", picture)
    assert not re.search("\x1b\\[34m[\u2801-\u28ff]", picture)
