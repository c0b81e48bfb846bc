"""From answers to shapes: how a series becomes a line or bars, a summary a tile, queries a table.

What every page needs in the same form. Reads the structs of ``analytics``; hands parts of a page to the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from barograph.analytics.breakdown import Breakdown
from barograph.analytics.period import duration_text
from barograph.analytics.summary import MetricSummary
from barograph.analytics.worst import Concern, WorstQuery, time_of
from barograph.core.query import Calendar, Filter, MetricRow, Period, Window
from barograph.core.unit import format_value
from barograph.dashboard.material import Material
from barograph.dashboard.page.welcome import welcome
from barograph.visualize.chart import (
    Bar,
    BarChart,
    Cell,
    Column,
    LineChart,
    Mark,
    Page,
    Part,
    Role,
    Series,
    Table,
    Text,
    Tile,
    Tiles,
)
from barograph_client.errors import EngineError

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SURE_TAIL = 100  # queries that a bucket needs before a percentile above p90 says anything
MOST_DAYS = 15  # bars of a day each; weeks beyond, then months
MOST_WEEKS = 15
MOST_MARKS = 9
_STEPS = (60.0, 300.0, 900.0, 3600.0, 10800.0, 21600.0, 43200.0, DAY)  # each is made of whole rollup buckets
AGAINST = {"day": "yesterday", "week": "last week", "previous": "the period before"}


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
    first, last = "first one in part" if series.cut else "", "last one so far" if series.incomplete else ""
    details = [subtitle, f"by {every}", material.settings.timezone, ", ".join(filter(None, [first, last]))]
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
    judged = change is None or change.direction != "neutral"  # a total is not, whatever its metric's polarity
    moved = change is not None and change.absolute is not None and change.before_n > 0
    if change is not None and moved and change.relative is None and change.absolute and summary.unit in ("ratio", "%"):
        before = format_value(change.before, summary.unit)  # a share that was zero: points would read like a per cent
        return Tile(title=title or summary.title, value=summary.value, unit=summary.unit, n=summary.n or None,
                    aside=f"{before} {against}".strip(), spark=spark)  # fmt: skip
    return Tile(
        title=title or summary.title,
        value=summary.value if summary.n else None,
        unit=summary.unit,
        delta=change.relative if change and moved else None,
        delta_absolute=change.absolute if change and moved else None,
        delta_against=against if moved else "",
        better=summary.better if judged else "neutral",
        significant=None if change is None or change.inside_noise is None else not change.inside_noise,
        n=summary.n if summary.n and summary.n != summary.value else None,
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


_LISTS: dict[Concern, tuple[str, ...]] = {
    "slowest": ("response", "cost", "status", "pipeline", "model"),
    "errors": ("error", "said", "pipeline"),
    "no_answer": ("pipeline", "model", "response"),
    "lowest_score": ("score", "status", "pipeline", "model"),
    "dearest": ("cost", "response", "model", "pipeline"),
}
_CONSTANT = ("pipeline", "model", "error")
_SHORT = ("response", "cost", "score", "status")


def worst_table(
    concern: Concern, title: str, queries: Sequence[WorstQuery], subtitle: str, *, short: bool = False
) -> Table:
    """Queries as a table, with what matters in that list; ``short`` leaves the room to the questions.

    A column in which nothing is known, or in which every status is ok, is left out; a pipeline or model that is the
    same in all rows is told once, below.
    """
    cells: dict[str, tuple[Column, Callable[[WorstQuery], Cell]]] = {
        "response": (Column(title="Response", unit="s"), lambda q: q.response_time),
        "cost": (Column(title="Cost", unit="USD"), lambda q: q.cost),
        "score": (Column(title="Score", unit="score"), lambda q: q.accuracy_score),
        "status": (Column(title="Status", most=9), lambda q: q.status.replace("_", " ")),
        "error": (Column(title="Error", most=24), lambda q: q.error_type or None),
        "said": (Column(title="Said", most=48), lambda q: q.error_message or None),
        "pipeline": (Column(title="Pipeline", most=16), lambda q: q.pipeline or None),
        "model": (Column(title="Model", most=20), lambda q: q.model or None),
    }
    names = [name for name in _LISTS[concern] if not short or name in _SHORT]
    told = {name: [cells[name][1](query) for query in queries] for name in names}
    names = [name for name in names if any(cell is not None and cell != "ok" for cell in told[name])]
    same = [name for name in names if name in _CONSTANT and len(queries) > 2 and len(set(told[name])) == 1]
    names = [name for name in names if name not in same]
    return Table(
        title=title,
        subtitle=subtitle,
        note=", ".join(f"{name}: {told[name][0]}" for name in same),
        columns=[Column(title="Time"), Column(title="Query", most=60), *(cells[name][0] for name in names)],
        rows=[
            [query.time, query.query or None, *(told[name][index] for name in names)]
            for index, query in enumerate(queries)
        ],
    )


def breakdown_table(
    found: Breakdown, title: str, what: str, value: str, subtitle: str = "", *, counts: bool = False
) -> Table:
    """A metric by a dimension as a table: value, n, share; where the value is a count, n would repeat it."""
    columns = [Column(title=what, most=32), Column(title=value, unit=found.unit), Column(title="n"),
               Column(title="Share", unit="ratio")]  # fmt: skip
    rows: list[list[Cell]] = []
    for part in found.parts:
        name = "all others" if part.is_other else part.key or "(not said)"
        rows.append([name, part.value, part.n, part.share])
    kept = [i for i in range(len(columns)) if not (counts and i == 2)]
    return Table(
        title=title, subtitle=subtitle, columns=[columns[i] for i in kept],
        rows=[[row[i] for i in kept] for row in rows], note=found.sentence,
    )  # fmt: skip


def span_text(material: Material, window: Window) -> str:
    """The window in the shown zone: ``last 7 d`` when it ends now, else from when to when."""
    if 0 <= (window.end - material.now()).total_seconds() <= MINUTE:
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
    cut: bool = False,
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
        incomplete_first=cut,
        incomplete_last=incomplete,
        axis_start=0.0 if from_zero else None,
        start=window.start,
        end=window.end,
    )


def earlier_period(window: Window) -> Period:
    """What a window is compared with: the same hours yesterday, the same weekdays, else the time just before."""
    if window.seconds <= DAY:
        return "day"
    return "week" if window.seconds <= 7 * DAY else "previous"


def tiles_of(material: Material, window: Window, metrics: Sequence[str]) -> Tiles:
    """Metrics over the window with their change, those left out of which nothing was measured."""
    period = earlier_period(window)
    found = [material.analytics.summary(metric, window, compare=period) for metric in metrics]
    return Tiles(tiles=[tile_of(one, against=AGAINST[period]) for one in found if one.n])


def framed(material: Material, title: str, window: Window | None, parts: Sequence[Part]) -> Page:
    """A page with its title, its time and its zone in the first line."""
    span = [span_text(material, window)] if window else []
    return Page(title=title, aside=" · ".join([*span, zoned(material, material.now())]), parts=parts)


def nothing_yet(
    material: Material, kind: str, what: str, window: Window, *, where: tuple[Filter, ...] = ()
) -> list[Part]:
    """Why there is nothing to show, and what to do: another time, or a first event; ``where`` is what makes it one."""
    newest = material.events(kind, material.always(), where=where, limit=1).items
    last = time_of(newest[0]) if newest else None
    if last is None:
        return welcome(material.account, what)
    return [
        Text(text=f"There are no {what} in the {span_text(material, window)}."),
        Text(text=f"The newest is of {zoned(material, last)}: ask for a longer time.", tone="muted"),
    ]


def text_in(item: Mapping[str, object], name: str) -> str:
    """A text of an event's row, or ''; it is as it was sent, and whoever draws it makes it safe."""
    value = item.get(name)
    return value if isinstance(value, str) else ""


def number_in(item: Mapping[str, object], name: str) -> float | None:
    """A number of an event's row, or None."""
    value = item.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
