"""Are answers good, for whom, and is the change real? Ratings, scores, who is unhappy and about what."""

from __future__ import annotations

from collections import Counter

from barograph.analytics.worst import time_of
from barograph.core.query import Filter, Window
from barograph.core.unit import counted
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import (
    DAY,
    breakdown_table,
    calendar_bars,
    framed,
    guarded,
    line_chart,
    line_of,
    nothing_yet,
    number_in,
    span_text,
    step_for,
    step_text,
    text_in,
    tiles_of,
    worst_table,
)
from barograph.visualize.chart import Bar, BarChart, Cell, Column, Page, Panel, Part, Series, Table

NEWEST = 200  # ratings and scores looked at one by one
MOST_SCORES = 4
LISTED = 10
BAD = 2.0  # ratings up to it are low


def quality_page(material: Material, window: Window) -> Page:
    """Satisfaction and scores over time and by segment, and the low ratings in the users' own words."""
    ratings = material.events("feedback", window, limit=NEWEST).items
    names = _score_names(material, window)
    accuracy = material.analytics.summary("accuracy", window, compare=None)
    if not ratings and not names and not accuracy.n:
        return framed(material, "Quality", window, nothing_yet(material, "feedback", "ratings or scores", window))
    shown = [*(["satisfaction", "low_rating_rate", "feedback"] if ratings else []),
             *(["accuracy"] if accuracy.n else []), *names]  # fmt: skip
    parts: list[Part] = [tiles_of(material, window, shown)]
    if ratings:
        over_time: list[Part] = [
            *guarded(lambda: [calendar_bars(material, "satisfaction", "Satisfaction", window, subtitle="mean rating")]),
            _distribution(ratings),
        ]
        parts.append(Panel(title="Ratings by users", parts=over_time, side_by_side=True))
        parts += guarded(lambda: _segments(material, window, "satisfaction", "rating"))
    if names or accuracy.n:
        parts += guarded(lambda: _scores(material, window, [*(["accuracy"] if accuracy.n else []), *names]))
    parts += guarded(lambda: _low_ratings(material, ratings, window))
    lowest = material.analytics.worst("lowest_score", window, limit=LISTED) if accuracy.n else ()
    if lowest:
        parts.append(worst_table("lowest_score", "Lowest accuracy", lowest, span_text(material, window)))
    return framed(material, "Quality", window, parts)


def _score_names(material: Material, window: Window) -> list[str]:
    """The metrics of the scores that the newest score events carry, the most frequent first."""
    found = Counter(text_in(item, "name") for item in material.events("score", window, limit=NEWEST).items)
    return [f"score.{name}" for name, _ in found.most_common(MOST_SCORES) if name]


def _distribution(ratings: tuple[dict[str, object], ...]) -> BarChart:
    """How often each rating was given, among the newest."""
    found = [rating for item in ratings if (rating := number_in(item, "rating")) is not None]
    counts = Counter(max(1, min(5, round(rating))) for rating in found)
    return BarChart(
        title="How often each rating was given",
        subtitle=f"{'newest ' if len(ratings) == NEWEST else ''}{counted(len(found), 'rating')}",
        bars=[Bar(label=f"{stars} of 5", value=float(counts[stars])) for stars in range(5, 0, -1)],
    )


def _segments(material: Material, window: Window, metric: str, value: str) -> list[Part]:
    tables: list[Part] = []
    for by, what in (("pipeline", "Pipeline"), ("model", "Model")):
        found = material.analytics.breakdown(metric, by, window)
        if len(found.parts) > 1:
            tables.append(breakdown_table(found, f"{found.title} by {by}", what, f"Mean {value}"))
    return [Panel(title="", parts=tables, side_by_side=True)] if tables else []


def _scores(material: Material, window: Window, names: list[str]) -> list[Part]:
    """Each score over time; together, because they are all between 0 and 1, or they would not share an axis."""
    step = DAY if window.seconds >= 7 * DAY else step_for(window, 28)  # scores are few: short buckets show noise
    lines: dict[bool, list[Series]] = {True: [], False: []}
    incomplete = False
    for name in names[: MOST_SCORES + 1]:
        found = material.analytics.series(name, window, every=step)
        incomplete = incomplete or found.incomplete
        values = [row.value for row in found.rows if row.value is not None]
        if values:
            lines[min(values) >= 0 and max(values) <= 1].append(line_of(found.title, found.rows, "group"))
    charts: list[Part] = []
    for share, title in ((True, "Scores"), (False, "Scores on other scales")):
        if lines[share]:
            charts.append(
                line_chart(title, f"mean · {step_text(step)}", "score", lines[share], window, incomplete=incomplete,
                           from_zero=False)
            )  # fmt: skip
    for name in names[:MOST_SCORES]:
        charts += _segments(material, window, name, "score")
    return charts


def _low_ratings(material: Material, ratings: tuple[dict[str, object], ...], window: Window) -> list[Part]:
    """The newest low ratings, those with a comment first, beside the question they are about."""
    low = [item for item in ratings if (rating := number_in(item, "rating")) is not None and rating <= BAD]
    low = sorted(low, key=lambda item: not text_in(item, "comment"))[:LISTED]
    if not low:
        return []
    asked = _questions(material, [text_in(item, "trace_id") for item in low], window)
    rows: list[list[Cell]] = [
        [time_of(item), number_in(item, "rating"), text_in(item, "comment") or None,
         asked.get(text_in(item, "trace_id"))]
        for item in low
    ]  # fmt: skip
    columns = [Column(title="Time"), Column(title="Rating", unit="rating"), Column(title="Comment", most=60),
               Column(title="Question", most=60)]  # fmt: skip
    return [Table(title="Low ratings", subtitle=span_text(material, window), columns=columns, rows=rows)]


def _questions(material: Material, traces: list[str], window: Window) -> dict[str, str]:
    """The question of each trace, where it is known: asked in the window or in the week before it."""
    named = tuple(dict.fromkeys(trace for trace in traces if trace))
    if not named:
        return {}
    wide = Window(window.shifted(-7 * DAY).start, window.end)
    page = material.events("query", wide, where=(Filter("trace_id", "in", named),), limit=100)
    return {text_in(item, "trace_id"): text_in(item, "query") for item in page.items}
