"""From answers to shapes: how a series becomes a line or bars, a summary a tile, queries a table.

What every page needs in the same form. Reads the structs of ``analytics``; hands parts of a page to the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from barograph.analytics.breakdown import Breakdown
from barograph.analytics.period import duration_text
from barograph.analytics.summary import MetricSummary
from barograph.analytics.worst import WorstQuery
from barograph.core.errors import EngineError
from barograph.core.query import Calendar, MetricRow, Window
from barograph.dashboard.material import Material
from barograph.visualize.chart import (
    Bar,
    BarChart,
    Cell,
    Column,
    LineChart,
    Mark,
    Part,
    Role,
    Series,
    Table,
    Text,
    Tile,
)

HOUR, DAY = 3600.0, 86400.0
SURE_TAIL = 100  # queries that a bucket needs before a percentile above p90 says anything
MOST_DAYS = 15  # bars of a day each; weeks beyond, then months
MOST_WEEKS = 15
MOST_MARKS = 9
_STEPS = (60.0, 300.0, 900.0, 3600.0, 10800.0, 21600.0, 43200.0, DAY)  # each is made of whole rollup buckets
_AGAINST = {"day": "yesterday", "week": "last week", "previous": "the period before"}


def guarded(build: Callable[[], Sequence[Part]]) -> tuple[Part, ...]:
    """The parts, or the reason why the engine would not give them: one dear question does not take the page along."""
    try:
        return tuple(build())
    except EngineError as error:
        return (Text(text=f"Not answered: {error}", tone="warning"),)


def step_for(window: Window, most: int = 60) -> float:
    """The shortest bucket that cuts the window into at most so many."""
    return next((step for step in _STEPS if window.seconds / step <= most), DAY)


def aligned(window: Window, step: float) -> Window:
    """The window from the beginning of its first bucket on, so that the first bucket is not cut."""
    start = datetime.fromtimestamp(window.start.timestamp() // step * step, UTC)
    return Window(start, window.end)


def step_text(every: float | Calendar) -> str:
    """A bucket's length in words: ``1 h``, ``day``."""
    if isinstance(every, str):
        return every
    return "1 d" if every == DAY else duration_text(every)


def line_of(name: str, rows: Sequence[MetricRow], role: Role = "main", *, later: float = 0.0, least: int = 1) -> Series:
    """The rows as a line, ``later`` seconds later; buckets of fewer than ``least`` events are gaps."""
    return Series(
        name=name,
        role=role,
        points=[
            (
                datetime.fromtimestamp(row.start.timestamp() + later, UTC),
                row.value if row.n >= least or (row.value == 0 and least <= 1) else None,
            )
            for row in rows
        ],
        n=[row.n for row in rows],
    )


def percent_of(part: float | None, whole: float | None) -> float | None:
    """A share, or None where there is nothing to share."""
    return part / whole if part is not None and whole else None


def calendar_for(window: Window) -> Calendar:
    """Days while they can be listed, then weeks, then months."""
    days = window.seconds / DAY
    return "day" if days <= MOST_DAYS else "week" if days <= 7 * MOST_WEEKS else "month"


def calendar_bars(
    material: Material, metric: str, title: str, window: Window, *, counted: bool = True, subtitle: str = ""
) -> BarChart:
    """The metric by local day, week or month: a bar each, the last one as far as it has come."""
    every = calendar_for(window)
    series = material.analytics.series(metric, whole_days(material, window), every=every)
    rows = series.rows
    form = {"day": "%a %m-%d", "week": "from %m-%d", "month": "%Y-%m"}[every]
    bars = [
        Bar(label=material.local(row.start).strftime(form), value=row.value if row.n else None,
            n=row.n if counted else None)
        for row in rows
    ]  # fmt: skip
    details = [subtitle, f"by {every}", material.settings.timezone, "last one so far" if series.incomplete else ""]
    return BarChart(title=title, unit=series.unit, bars=bars, subtitle=" · ".join(text for text in details if text))


def whole_days(material: Material, window: Window) -> Window:
    """The window without the part of a day at its beginning: bars of days are of whole ones."""
    if window.seconds < 2 * DAY:
        return window
    first = material.local(window.start)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight == first:
        return window
    noon = datetime.fromtimestamp(midnight.timestamp() + 1.5 * DAY, UTC)  # a day has 23 to 25 hours
    start = material.local(noon).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    return Window(start, window.end)


def tile_of(summary: MetricSummary, *, against: str = "", title: str = "", spark: Sequence[float | None] = ()) -> Tile:
    """A summary as a tile, with its change and whether it is more than noise."""
    change = summary.change
    moved = change is not None and change.absolute is not None and change.before_n > 0
    return Tile(
        title=title or summary.title,
        value=summary.value if summary.n else None,
        unit=summary.unit,
        delta=change.relative if change and moved else None,
        delta_absolute=change.absolute if change and moved else None,
        delta_against=against if moved else "",
        better=summary.better,
        significant=None if change is None or change.inside_noise is None else not change.inside_noise,
        n=summary.n or None,
        spark=spark,
    )


def marks_of(material: Material, window: Window) -> tuple[Mark, ...]:
    """What people noted in the window (deploys, index rebuilds), the newest."""
    found = material.events("annotation", window, limit=MOST_MARKS).items
    marks = []
    for item in reversed(found):
        category = str(item.get("category") or "other")
        title = str(item.get("title") or category)
        label = title if category in ("other", "") or category in title.lower() else f"{category}: {title}"
        marks.append(Mark(x=item["time"], label=label, kind="deploy" if category == "deploy" else "other"))
    return tuple(marks)


def worst_table(title: str, queries: Sequence[WorstQuery], subtitle: str = "", *, errors: bool = False) -> Table:
    """Queries as a table; ``errors`` shows what failed instead of what it cost."""
    shared = [Column(title="Time"), Column(title="Query", most=56)]
    if errors:
        columns = [*shared, Column(title="Error", most=24), Column(title="Said", most=48),
                   Column(title="Pipeline", most=18), Column(title="Response", unit="s")]  # fmt: skip
        rows: list[list[Cell]] = [
            [q.time, q.query, q.error_type, q.error_message, q.pipeline, q.response_time] for q in queries
        ]
    else:
        columns = [*shared, Column(title="Response", unit="s"), Column(title="Cost", unit="USD"),
                   Column(title="Status", most=9), Column(title="Score", unit="score"),
                   Column(title="Pipeline", most=18), Column(title="Model", most=20)]  # fmt: skip
        rows = [
            [
                q.time,
                q.query,
                q.response_time,
                q.cost,
                q.status.replace("_", " "),
                q.accuracy_score,
                q.pipeline,
                q.model,
            ]
            for q in queries
        ]
    kept = [i for i, column in enumerate(columns) if column.title in ("Time", "Query") or any(r[i] for r in rows)]
    return Table(
        title=title,
        subtitle=subtitle,
        columns=[columns[i] for i in kept],
        rows=[[_blank(row[i]) for i in kept] for row in rows],
    )


def _blank(cell: Cell) -> Cell:
    return None if cell == "" else cell


def breakdown_table(found: Breakdown, title: str, what: str, value: str, subtitle: str = "") -> Table:
    """A metric by a dimension as a table: value, n, share."""
    rows: list[list[Cell]] = []
    for part in found.parts:
        name = "all others" if part.is_other else part.key or "(not said)"
        rows.append([name, part.value, part.n, part.share])
    return Table(
        title=title,
        subtitle=subtitle,
        columns=[Column(title=what, most=32), Column(title=value, unit=found.unit), Column(title="n"),
                 Column(title="Share", unit="ratio")],
        rows=rows,
        note=found.sentence,
    )  # fmt: skip


def span_text(material: Material, window: Window) -> str:
    """The window in the shown zone: ``last 7 d`` when it ends now, else from when to when."""
    if abs((window.end - material.now()).total_seconds()) < 2:
        return f"last {duration_text(round(window.seconds / 60) * 60 or window.seconds)}"
    start, end = material.local(window.start), material.local(window.end)
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} {material.settings.timezone}"


def zoned(material: Material, moment: datetime) -> str:
    """A moment as people of the shown zone write it, with the zone."""
    return f"{material.local(moment):%Y-%m-%d %H:%M} {material.settings.timezone}"


def line_chart(
    title: str,
    subtitle: str,
    unit: str,
    series: Sequence[Series],
    window: Window,
    *,
    marks: Sequence[Mark] = (),
    incomplete: bool = False,
    from_zero: bool = True,
) -> LineChart:
    """A line chart over the window, so that the charts of a page line up."""
    return LineChart(
        title=title,
        subtitle=subtitle,
        unit=unit,
        series=list(series),
        marks=list(marks),
        incomplete_last=incomplete,
        axis_start=0.0 if from_zero else None,
        start=window.start,
        end=window.end,
    )


def against(period: str) -> str:
    """Since when a change is told: ``yesterday``, ``last week``."""
    return _AGAINST[period]
