"""A chart that cannot be drawn says so when it is made; what is drawn says what it must."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent))
from samples import CHARTS, LATENCY, START, TILES

from barograph.visualize.charset import CHARSETS, CharsetName
from barograph.visualize.chart import (
    Bar,
    Better,
    Column,
    Effect,
    Heatmap,
    Histogram,
    IntervalPlot,
    LineChart,
    Mark,
    Page,
    Series,
    Sparkline,
    Table,
    Tile,
    Tiles,
)
from barograph.visualize.visualizer import Visualizer
from barograph_client.errors import InvalidChart, InvalidSettings

NAN = float("nan")
NAIVE = datetime(2026, 1, 1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Series(name="s", points=[(1.0, NAN)]), "finite"),
        (lambda: Series(name="s", points=[(2.0, 1.0), (1.0, 1.0)]), "does not increase"),
        (lambda: Series(name="s", points=[(1.0, 1.0), (1.0, 2.0)]), "does not increase"),
        (lambda: Series(name="s", points=[(1.0, 1.0), (START, 2.0)]), "mixed"),
        (lambda: Series(name="s", points=[(NAIVE, 1.0)]), "without a zone"),
        (lambda: Series(name="s", points=[(1.0, 1.0)], n=[1, 2]), "2 sample sizes for 1 points"),
        (lambda: Series(name="s", points=[(1.0, 1.0)], band=[(0.0, 2.0)] * 2), "2 intervals for 1 points"),
        (lambda: Series(name="s", points=[(1.0, 3.0)], band=[(0.0, 2.0)]), "does not hold its estimate"),
        (lambda: LineChart(title="t", series=[], within=(2.0, 1.0)), "does not increase"),
        (lambda: LineChart(title="t", series=[Series(name="s", points=[(1.0, 1.0)])], marks=[Mark(x=START, label="")]),
         "mixed"),
        (lambda: LineChart(title="t", series=[Series(name=str(i), points=[]) for i in range(7)]), "told apart"),
        (lambda: LineChart(title="t", series=[], start=2.0, end=1.0), "does not increase"),
        (lambda: Bar(label="b", value=1.0, low=0.5), "half an interval"),
        (lambda: Bar(label="b", value=1.0, low=2.0, high=1.0), "low is above high"),
        (lambda: Histogram(title="h", edges=[0.0, 1.0], counts=[1, 2]), "2 edges"),
        (lambda: Histogram(title="h", edges=[0.0], counts=[]), "no bins"),
        (lambda: Histogram(title="h", edges=[0.0, 1.0, 9.0], counts=[1, 2]), "equally wide"),
        (lambda: Histogram(title="h", edges=[0.0, 1.0], counts=[-1]), "negative"),
        (lambda: Sparkline(title="s", values=[float("inf")]), "finite"),
        (lambda: Table(title="t", columns=[Column(title="a")], rows=[[1, 2]]), "2 cells for 1 columns"),
        (lambda: Table(title="t", columns=[], rows=[]), "no columns"),
        (lambda: Table(title="t", columns=[Column(title="a")], rows=[[NAIVE]]), "without a zone"),
        (lambda: Tile(title="t", value=NAN), "finite"),
        (lambda: Effect(label="e", estimate=3.0, low=1.0, high=2.0), "does not hold its estimate"),
        (lambda: Effect(label="e", estimate=3.0, limit=NAN), "finite"),
        (lambda: Heatmap(title="h", columns=[1.0], rows=["a"], values=[[1.0, 2.0]]), "2 values for 1 columns"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_when_it_is_made(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(InvalidChart, match=reason):
        make()


@pytest.mark.parametrize("name", CHARTS)
def test_json_has_all_that_was_specified(name: str) -> None:
    read = json.loads(Visualizer().draw(CHARTS[name], "json"))
    assert read == json.loads(msgspec.json.encode(CHARTS[name]))
    assert read["type"] == CHARTS[name].__struct_config__.tag


def test_numbers_and_gaps_stay_numbers_and_nulls_in_json() -> None:
    read = json.loads(Visualizer().draw(LATENCY, "json"))
    points = read["series"][0]["points"]
    assert points[0] == ["2026-11-15T00:00:00Z", 2.0]
    assert points[60] == ["2026-11-17T12:00:00Z", None]


def test_csv_has_the_numbers_behind_the_picture_in_the_shown_zone() -> None:
    lines = Visualizer(timezone="Europe/Berlin").draw(LATENCY, "csv").splitlines()
    assert lines[0] == "x,p99 (s),p95 (s),p50 (s)"
    assert lines[1] == "2026-11-15T01:00:00+01:00,2.0,1.4,0.7"
    assert lines[61] == "2026-11-17T13:00:00+01:00,,,"  # a gap stays empty
    assert len(lines) == 169


def test_json_survives_a_lone_surrogate() -> None:
    assert "\ufffd" in Visualizer().draw(Tile(title="\ud800", value=1.0), "json")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="text, json or csv"):
        Visualizer().draw(TILES[0], "pdf")


def test_the_overview_reads_as_the_design_shows() -> None:
    text = Visualizer("unicode", 100).draw(Tiles(tiles=TILES))
    for line in (
        "Average Response Time: 1.2 s (↓5% from yesterday) better",
        "User Satisfaction: 4.2/5.0 (↑2% from last week) within noise   n=318",
        "Daily Cost: $15.32 (within budget $40.00)",
        "Active A/B Test: Vector DB comparison (50/50 split)",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("delta", "better", "significant", "word"),
    [(-0.1, "lower", None, "better"), (0.1, "lower", True, "worse"), (0.1, "higher", None, "better"),
     (-0.1, "higher", None, "worse"), (0.1, "higher", False, "within noise"), (0.1, "neutral", None, ""),
     (0.0, "lower", None, "")],
)  # fmt: skip
def test_a_change_is_judged_by_word_and_not_by_colour_alone(
    delta: float, better: Better, significant: bool | None, word: str
) -> None:
    tile = Tile(title="t", value=1.0, delta=delta, better=better, significant=significant)
    text = Visualizer().draw(tile)
    assert text.endswith(f") {word}" if word else ")")
    assert "\x1b" in Visualizer(colour=True).draw(tile)
    assert "\x1b" not in text


def test_marks_are_numbered_in_a_lane_and_named_under_the_plot() -> None:
    for charset, number, line in (("ascii", "1", ":"), ("unicode", "①", "┆")):
        rows = Visualizer(charset, 80).draw(LATENCY).split("\n")
        assert rows[1].strip().startswith(number)
        assert rows[2][rows[1].index(number)] == line
        assert f"{number} 11-20 08:00 deploy v2.4.1" in rows[-1]


def test_marks_beyond_nine_or_outside_are_counted_and_not_hidden() -> None:
    marks = [Mark(x=START + timedelta(hours=hour), label=f"m{hour}") for hour in range(12)]
    chart = LineChart(title="t", series=LATENCY.series, marks=marks)
    text = Visualizer(width=80).draw(chart)
    assert "3 earlier or outside marks are not shown" in text
    assert "⑨" in text


def test_the_zone_is_named_and_times_are_shown_in_it() -> None:
    chart = LineChart(
        title="t", series=[Series(name="s", points=[(START + timedelta(minutes=m), 1.0) for m in range(60)])]
    )
    head, *_, labels = Visualizer(timezone="Asia/Kathmandu").draw(chart).split("\n")
    assert "2026-11-15 Asia/Kathmandu" in head
    assert "05:50" in labels


def test_an_unfinished_bucket_and_few_samples_are_said() -> None:
    for charset in CHARSETS:
        text = Visualizer(charset, 80).draw(CHARTS["line-compared"])
        assert "the last bucket is incomplete" in text
        assert "fewer than 20 samples" in text


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize(("points", "seen"), [(8, True), (300, False)])
def test_buckets_that_are_not_whole_are_dashed_and_dashes_are_told_only_where_they_are_seen(
    charset: CharsetName, points: int, seen: bool
) -> None:
    line = Series(name="s", points=[(START + timedelta(hours=hour), 1.0) for hour in range(points)])
    chart = LineChart(title="t", series=[line], incomplete_first=True, incomplete_last=True)
    plain = replace(chart, incomplete_first=False, incomplete_last=False)
    whole, marked = (Visualizer(charset, 80).draw(each).splitlines()[1:] for each in (plain, chart))
    assert marked[-1].strip().endswith("the first and the last bucket are incomplete")
    assert marked[-1].strip().startswith("~" if charset == "ascii" else "dashed ends:" if seen else "the first")
    assert marked[0] != whole[0] or not seen


def test_points_of_few_samples_that_lie_too_close_to_mark_are_counted() -> None:
    points: list[tuple[datetime | float, float | None]] = [(float(x), 1.0) for x in range(200)]
    chart = LineChart(title="t", series=[Series(name="s", points=points, n=[5] * 150 + [90] * 50)])
    assert "150 points have fewer than 20 samples" in Visualizer().draw(chart)


def test_a_zoomed_axis_says_where_it_begins() -> None:
    assert "axis from 0.80" in Visualizer().draw(CHARTS["line-zoomed"])
    assert "axis from" not in Visualizer().draw(LATENCY)


def test_a_day_on_which_the_clocks_change_is_named_under_the_chart() -> None:
    points: list[tuple[datetime | float, float | None]] = [
        (datetime(2026, 10, 24, tzinfo=UTC) + timedelta(hours=hour), 1.0) for hour in range(60)
    ]
    chart = LineChart(title="t", series=[Series(name="s", points=points)])
    assert "the clocks change on 2026-10-25" in Visualizer(timezone="Europe/Berlin").draw(chart)


def test_charts_without_data_say_so() -> None:
    empty = [
        CHARTS["line-empty"],
        Sparkline(title="s", values=[None]),
        LineChart(title="t", series=[], axis_start=None),
    ]
    for chart in empty:
        assert "no data in this window" in Visualizer().draw(chart)


def test_a_page_of_six_charts_takes_a_few_milliseconds() -> None:
    page = Page(
        title="t", parts=[CHARTS[name] for name in ("line", "bars", "histogram", "intervals", "table", "heatmap")]
    )
    visualizer = Visualizer("braille", 80)
    visualizer.draw(page)
    times = []
    for _ in range(9):
        start = time.process_time()
        visualizer.draw(page)
        times.append(time.process_time() - start)
    assert sorted(times)[4] < 0.03  # measured 3 ms; the bound leaves room for slower machines


@pytest.mark.parametrize("end", [2.0, 3.3e307])
def test_an_inner_interval_is_on_the_scale_also_where_the_outer_one_has_no_end(end: float) -> None:
    row = Effect(label="e", estimate=0.0, inner_low=0.0, inner_high=end)
    far = Effect(label="far", estimate=0.1, low=0.0, high=0.2)
    picture = Visualizer("unicode", 80).draw(IntervalPlot(title="t", rows=[row, far]))
    assert "━━━" in picture
    assert max(map(len, picture.splitlines())) <= 80


def test_limits_are_marked_on_the_scale_and_told_as_numbers_and_one_far_away_squeezes_nothing() -> None:
    near = Effect(label="near", estimate=0.01, low=-0.02, high=0.04, limit=0.05)
    far = Effect(label="far", estimate=0.02, low=0.01, high=0.03, limit=3.0)
    picture = Visualizer().draw(IntervalPlot(title="t", rows=[near, far])).splitlines()
    assert picture[1].index("┆") > picture[1].index("●")
    assert "┆" not in picture[2]
    assert picture[3] == "┆ limit: near +5\u202f%, far +300\u202f% (off the scale)"
    same = Visualizer().draw(IntervalPlot(title="t", rows=[near, replace(near, label="other")]))
    assert same.endswith("\n┆ limit: +5\u202f%")


def test_an_interval_beyond_the_axis_ends_in_an_arrow_that_is_explained() -> None:
    points: list[tuple[datetime | float, float | None]] = [(0.0, 0.5), (1.0, 0.5)]
    series = Series(name="s", points=points, band=[(None, 40.0), (0.2, 0.8)])
    chart = LineChart(title="t", unit="", series=[series], within=(0.0, 1.0))
    picture = Visualizer().draw(chart)
    assert (picture.count("▲"), picture.count("▼")) == (2, 2)
    assert "▲ ▼ an interval that goes on beyond the axis" in picture
    assert "beyond" not in Visualizer().draw(replace(chart, series=[replace(series, band=[(0.1, 0.9), (0.2, 0.8)])]))


def test_between_points_at_whole_numbers_there_are_no_ticks() -> None:
    points: list[tuple[datetime | float, float | None]] = [(0.0, 1.0), (1.0, 2.0), (2.0, 1.5)]
    chart = LineChart(title="t", unit="", series=[Series(name="s", points=points)], start=-0.5, end=2.5)
    assert Visualizer().draw(chart).splitlines()[-1].split() == ["0", "1", "2"]


def test_csv_has_the_ends_of_intervals_and_the_limits() -> None:
    series = Series(name="s", points=[(0.0, 0.5)], band=[(None, 0.75)], n=[7])
    assert Visualizer().draw(LineChart(title="t", unit="", series=[series]), "csv") == (
        "x,s (),s low,s high,s n\n0.0,0.5,,0.75,7\n"
    )
    plot = IntervalPlot(title="t", rows=[Effect(label="e", estimate=0.5, low=0.25, limit=1.0)])
    assert Visualizer().draw(plot, "csv").splitlines()[1] == "e,0.5,0.25,,not settled,1.0"


def test_a_text_that_wraps_goes_on_in_the_rows_below_and_loses_nothing() -> None:
    says = "the receiver answered 404 and says that there is no such address, so nothing more is tried"
    columns = [Column(title="What"), Column(title="Found", most=200, wraps=True)]
    table = Table(title="Doctor", columns=columns, rows=[["alerts", says], ["disk", "ok"]])
    lines = Visualizer("ascii", 40, False, "UTC").draw(table).splitlines()
    assert max(map(len, lines)) <= 40
    body = lines[3:]
    assert [line[:6].strip() for line in body] == ["alerts", "", "", "", "disk"]
    assert " ".join(line[8:].strip() for line in body[:4]) == says


def test_the_room_of_a_column_that_is_left_out_goes_to_the_others() -> None:
    columns = [Column(title="Metric", wraps=True), Column(title="Arm"), Column(title="Difference", align="right"),
               Column(title="users", align="right")]  # fmt: skip
    row = ["User satisfaction", "big_chunks", "+0.172 [+0.0451, +0.31]", "138 / 141"]
    text = Visualizer(width=48).draw(Table(title="", columns=columns, rows=[row]))
    assert "satisfaction" in text
    assert "138" not in text


def test_a_text_that_people_copy_stays_whole_while_others_give_way() -> None:
    columns = [Column(title="Key", whole=True), Column(title="State"), Column(title="Title")]
    row = ["aa-split-of-real-ratings", "running", "A/A split of real ratings"]
    text = Visualizer(width=50).draw(Table(title="", columns=columns, rows=[row]))
    assert "aa-split-of-real-ratings" in text


def test_of_texts_that_wrap_no_word_is_broken_while_another_column_can_give_way() -> None:
    columns = [Column(title="Rule", wraps=True), Column(title="Severity"), Column(title="Condition", wraps=True)]
    row = ["a long name that people gave to it", "critical", "retrieval.distinct_documents below 5"]
    body = Visualizer("ascii", 60, False, "UTC").draw(Table(title="t", columns=columns, rows=[row])).splitlines()[3:]
    assert any("retrieval.distinct_documents" in line for line in body)
    begin = body[0].index("critical")
    assert " ".join(line[:begin].strip() for line in body).strip() == row[0]
