"""Charts with fixed numbers, drawn to the golden files: a week with a spike, a deploy and an alert."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from barograph.visualize.charset import CharsetName
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

START = datetime(2026, 11, 15, tzinfo=UTC)


def wave(index: int, base: float, swing: float) -> float:
    """A day-shaped curve over hours."""
    return base + swing * math.sin(index / 24 * 2 * math.pi)


def spike(index: int, height: float) -> float:
    """A bump around hour 132."""
    return height * math.exp(-(((index - 132) / 4) ** 2))


def _hours(base: float, swing: float, height: float, count: int = 168) -> list[tuple[datetime | float, float | None]]:
    return [
        (START + timedelta(hours=hour), None if 60 <= hour < 66 else wave(hour, base, swing) + spike(hour, height))
        for hour in range(count)
    ]


LATENCY = LineChart(
    title="Response time",
    subtitle="p50, p95, p99 · 1 h · n=19,366",
    unit="s",
    series=[
        Series(name="p99", points=_hours(2.0, 0.35, 4.3), role="p99"),
        Series(name="p95", points=_hours(1.4, 0.3, 1.9), role="p95"),
        Series(name="p50", points=_hours(0.7, 0.15, 0.4), role="p50"),
    ],
    marks=[
        Mark(x=START + timedelta(hours=128), label="deploy v2.4.1"),
        Mark(x=START + timedelta(hours=131), label="p95 > 3 s", kind="alert"),
    ],
)
COST = LineChart(
    title="Cost",
    subtitle="sum · 1 d",
    unit="USD",
    series=[
        Series(
            name="this week",
            points=[(START + timedelta(days=day), 12.0 + (day * 7 % 5)) for day in range(7)],
            n=[900, 870, 12, 910, 905, 899, 400],
        ),
        Series(
            name="last week",
            points=[(START + timedelta(days=day), 13.5 - (day * 3 % 4)) for day in range(7)],
            role="comparison",
        ),
    ],
    incomplete_last=True,
)
ACCURACY = LineChart(
    title="Accuracy",
    subtitle="mean · 6 h",
    unit="score",
    series=[
        Series(
            name="accuracy",
            points=[(START + timedelta(hours=6 * step), 0.84 + 0.03 * math.sin(step)) for step in range(28)],
        )
    ],
    axis_start=None,
)


def _course(days: int) -> tuple[list[tuple[datetime | float, float | None]], list[tuple[float | None, float | None]]]:
    """An effect that settles, and its interval, which narrows; the first has no bound."""
    points: list[tuple[datetime | float, float | None]] = []
    band: list[tuple[float | None, float | None]] = [(None, None)]
    for day in range(days):
        reach = 0.12 / max(day, 1) ** 0.5
        points.append((START + timedelta(days=day, hours=12), 0.03 + 0.02 / (day + 1)))
        band.append((0.03 - reach, 0.05 + reach))
    return points, band[:days]


def _banded(title: str, days: int) -> LineChart:
    points, band = _course(days)
    ends = (START, START + timedelta(days=days))
    return LineChart(
        title=title, subtitle="95 % interval", unit="ratio", start=ends[0], end=ends[1], within=(-0.12, 0.15),
        series=[
            Series(name="new", points=points, band=band, n=[8, *[300] * (days - 1)]),
            Series(name="no change", points=[(x, 0.0) for x in ends], role="limit"),
        ],
    )  # fmt: skip


STROKES = _banded("Effect as units came in", 7)
AREA = _banded("Effect over six weeks", 42)
BY_MODEL = BarChart(
    title="Response time by model",
    subtitle="mean and 95 % interval",
    unit="s",
    bars=[
        Bar(label="gpt-large", value=2.31, low=2.1, high=2.52, n=8120),
        Bar(label="small-fast", value=0.84, low=0.8, high=0.88, n=10933),
        Bar(label="検索モデル", value=1.4, low=0.6, high=2.2, n=18),
        Bar(label="retired", value=None, n=0),
    ],
)
CHANGE = BarChart(
    title="Change of cost by route",
    unit="USD",
    bars=[Bar(label="support-bot", value=3.2), Bar(label="docs-search", value=-1.45), Bar(label="sales-qa", value=0.0)],
)
DISTRIBUTION = Histogram(
    title="Response time",
    edges=[0.1 * 1.5**power for power in range(13)],
    counts=[3, 18, 77, 240, 611, 900, 720, 388, 160, 71, 30, 9],
    unit="s",
    log=True,
)
EFFECTS = IntervalPlot(
    title="reranker-v2 against control",
    subtitle="relative change · 95 % interval",
    rows=[
        Effect(label="Faithfulness", estimate=0.032, low=0.014, high=0.051, inner_low=0.026, inner_high=0.038,
               verdict="better"),
        Effect(label="Answer accepted", estimate=0.019, low=-0.019, high=0.057, inner_low=0.006, inner_high=0.032),
        Effect(label="Response time p95", estimate=0.068, low=0.036, high=0.101, inner_low=0.057, inner_high=0.079,
               verdict="worse", limit=0.05),
        Effect(label="Cost a query", estimate=-0.01, low=None, high=0.02, limit=0.5),
    ],
)  # fmt: skip
SLOWEST = Table(
    title="Slowest queries",
    subtitle="all pipelines",
    columns=[
        Column(title="Time"),
        Column(title="Query"),
        Column(title="Model"),
        Column(title="Response", unit="s"),
        Column(title="Accuracy", unit="score"),
        Column(title="Cost", unit="USD"),
        Column(title="Status"),
    ],
    rows=[
        [START + timedelta(hours=15.5), "How do I set a retention policy?", "gpt-large", 8.92, 0.33, 0.0023, "error"],
        [START + timedelta(hours=16), "Is HIPAA\navailable?\x1b[31m red", "gpt-large", 8.5, None, 0.0066, "ok"],
        [START + timedelta(hours=17), "アラートを設定するにはどうすればいいですか、詳しく教えてください", "small", 0.34,
         0.87, None, "ok"],
        [START + timedelta(hours=18), "Does SSO work with Okta groups? \u202eevil", "small", 65.0, 0.7, 0.0043, "ok"],
    ],
)  # fmt: skip
TILES = [
    Tile(title="Average Response Time", value=1.2, unit="s", delta=-0.05, delta_absolute=-0.063, better="lower",
         delta_against="yesterday", note="p95 2.9 s   errors 0.4 %", spark=[1.3, 1.4, 1.2, None, 1.1, 1.5, 1.2]),
    Tile(title="User Satisfaction", value=4.2, unit="rating", delta=0.02, delta_against="last week", better="higher",
         significant=False, n=318),
    Tile(title="Daily Cost", value=15.32, unit="USD", aside="within budget $40.00"),
    Tile(title="Queries", value=19366, delta=0.062, delta_absolute=1130, delta_against="yesterday",
         spark=[float(step % 7) for step in range(40)]),
    Tile(title="Active A/B Test", value="Vector DB comparison", aside="50/50 split",
         note="day 3, needs about 4 more"),
]  # fmt: skip
HEAT = Heatmap(
    title="Response time distribution",
    subtitle="queries · 2 h",
    columns=[START + timedelta(hours=2 * step) for step in range(84)],
    rows=["4.8 s", "2.4 s", "1.2 s", "600 ms", "300 ms", "150 ms"],
    values=[
        [max(0.0, 100 * math.exp(-((row - 2.5 + 0.8 * math.sin(step / 2)) ** 2)) - 2) for step in range(84)]
        for row in range(6)
    ],
)
SPARK = Sparkline(title="Queries a minute", values=[float((step * 13) % 41) for step in range(60)], unit="1/min")
NOTHING = LineChart(title="Errors", unit="ratio", series=[Series(name="error rate", points=[])])

CHARTS: dict[str, Chart] = {
    "line": LATENCY, "line-compared": COST, "line-zoomed": ACCURACY, "line-empty": NOTHING,
    "line-strokes": STROKES, "line-area": AREA, "bars": BY_MODEL,
    "bars-negative": CHANGE, "histogram": DISTRIBUTION, "intervals": EFFECTS, "table": SLOWEST,
    "tiles": Tiles(tiles=TILES), "boxes": Tiles(tiles=TILES, layout="boxes"), "heatmap": HEAT, "sparkline": SPARK,
    "page": Page(
        title="System Status: HEALTHY", aside="2026-11-22 14:05 UTC · data complete to 14:04:58",
        parts=[
            Tiles(tiles=[*TILES[:3], TILES[4]]),
            Text(text="ALERT: Response time exceeded 5 s threshold (current: 7.2 s)", tone="critical"),
            LATENCY,
            Panel(title="Where it goes", parts=[BY_MODEL, DISTRIBUTION], side_by_side=True),
        ],
    ),
}  # fmt: skip


def drawn(charset: CharsetName, width: int, *, colour: bool = False) -> str:
    """All charts in one text, each under its name."""
    visualizer = Visualizer(charset, width, colour)
    return "\n".join(f"[{name}]\n{visualizer.draw(chart)}\n" for name, chart in CHARTS.items())
