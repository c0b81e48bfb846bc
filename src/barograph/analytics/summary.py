"""One metric over a window: its value, how many events it rests on, and its change against an earlier period.

Also the percentiles of a stage and a metric as a series. Asks a Reader; hands structs to ``overview``, pages and the
command line. Where nothing was measured the value is None and a sentence says so.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from barograph.analytics.change import UNJUDGED, Change, compare, nothing_to_compare, piece_seconds
from barograph.analytics.period import bucket_of, duration_text
from barograph.core.metric import Better, Catalogue, Metric
from barograph.core.query import (
    Calendar,
    Filter,
    MetricAnswer,
    MetricQuery,
    MetricRow,
    Period,
    Window,
    buckets,
    earlier_window,
)
from barograph.core.reader import Reader
from barograph.core.unit import format_value
from barograph.core.zone import zone_of
from barograph_client.errors import InvalidQuery

SURE_PERCENTILE = 100  # with fewer events p95 and p99 are little more than the largest value
MOST_BUCKETS = 60
_LADDER = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 21600.0, 43200.0)
_FROM = {"previous": "from the period before", "day": "from yesterday", "week": "from last week"}


class MetricSummary(Struct, frozen=True, kw_only=True):
    """A metric over a window. ``value`` is None where nothing was measured; ``n`` events carry the measure."""

    metric: str
    title: str
    unit: str
    better: Better
    window: Window
    value: float | None
    n: int
    change: Change | None = None
    sentence: str = ""
    complete_to: datetime | None = None


class Percentiles(Struct, frozen=True, kw_only=True):
    """A stage's percentiles and mean in seconds, over ``n`` queries that have it."""

    stage: str
    window: Window
    p50: float | None
    p95: float | None
    p99: float | None
    mean: float | None
    n: int
    sentence: str = ""


class Series(Struct, frozen=True, kw_only=True):
    """A metric in buckets; a bucket without a measurement is there and has the value None.

    ``incomplete`` says that data for the last bucket may still come, ``cut`` that the first one began before the
    window.
    """

    metric: str
    title: str
    unit: str
    every: float | Calendar
    rows: tuple[MetricRow, ...]
    before: tuple[MetricRow, ...] = ()
    incomplete: bool = False
    cut: bool = False
    answer: MetricAnswer


def summarise(
    reader: Reader,
    metric: Metric,
    window: Window,
    *,
    period: Period | None = "previous",
    where: tuple[Filter, ...] = (),
    timezone: str = "UTC",
    project: str = "default",
) -> MetricSummary:
    """The summary of one metric. Raises InvalidQuery or EngineError."""
    earlier = earlier_window(window, period, zone_of(timezone)) if period else None
    question = MetricQuery(metric=metric.name, window=window, where=where, compare=earlier, project=project)
    answer = reader.query(question)
    row = answer.rows[0] if answer.rows else MetricRow(start=window.start, end=window.end, value=None, n=0)
    change = None
    if earlier is not None:
        change = _change(reader, metric, question, row, answer, earlier)
    summary = MetricSummary(
        metric=metric.name,
        title=metric.title,
        unit=metric.unit,
        better=metric.better,
        window=window,
        value=row.value if row.n else None,
        n=row.n,
        change=change,
        complete_to=answer.complete_to,
    )
    return _with_sentence(summary, period)


def _change(
    reader: Reader, metric: Metric, question: MetricQuery, row: MetricRow, answer: MetricAnswer, earlier: Window
) -> Change:
    before = answer.before[0] if answer.before else None
    if row.n == 0 and (before is None or before.n == 0):
        n = before.n if before else 0
        return Change(before=None, before_n=n, window=earlier, note="Nothing was measured in either period.")
    missing = nothing_to_compare(reader, metric, earlier, question.project)
    if missing:
        return Change(before=None, before_n=0, window=earlier, note=missing)
    pieces, every = None, piece_seconds(question.window)
    judged = metric.aggregation not in (*UNJUDGED, "ratio")
    if judged and before is not None and before.n and row.n:
        cut = reader.query(
            MetricQuery(
                metric=metric.name,
                window=question.window,
                every=every,
                where=question.where,
                compare=earlier,
                project=question.project,
            )
        )
        pieces = (cut.rows, cut.before)
    return compare(metric, row, before if before is None or before.n else None, earlier, pieces, every)


def _with_sentence(summary: MetricSummary, period: Period | None) -> MetricSummary:
    length = duration_text(summary.window.seconds)
    if summary.value is None or summary.n == 0:
        text = f"{summary.title}: nothing was measured in the last {length}."
    else:
        text = f"{summary.title}: {format_value(summary.value, summary.unit)} over {length}, n={summary.n}"
        change = summary.change
        if period and change and change.relative is not None:
            sign = "+" if change.relative >= 0 else ""
            noise = ", inside noise" if change.inside_noise else ""
            text += f" ({sign}{format_value(change.relative, 'ratio')} {_FROM[period]}{noise})"
        text += "."
    return replace(summary, sentence=text)


def percentiles(
    reader: Reader,
    catalogue: Catalogue,
    stage: str,
    window: Window,
    *,
    where: tuple[Filter, ...] = (),
    project: str = "default",
) -> Percentiles:
    """p50, p95, p99 and mean of a stage such as ``response_time``. Raises UnknownMetric for another stage."""
    values: dict[str, float | None] = {}
    n = 0
    for part in ("p50", "p95", "p99", "mean"):
        metric = catalogue.get(f"{stage}.{part}")
        answer = reader.query(MetricQuery(metric=metric.name, window=window, where=where, project=project))
        values[part] = answer.value
        n = max(n, answer.n)
    told = ", ".join(f"{part} {format_value(value, 's')}" for part, value in values.items())
    sentence = f"{stage}: {told}, n={n}." if n else f"{stage}: nothing was measured."
    if 0 < n < SURE_PERCENTILE:
        sentence += f" With fewer than {SURE_PERCENTILE} queries p95 and p99 are uncertain."
    return Percentiles(
        stage=stage,
        window=window,
        p50=values["p50"],
        p95=values["p95"],
        p99=values["p99"],
        mean=values["mean"],
        n=n,
        sentence=sentence,
    )


def bucket_for(window: Window) -> float | Calendar:
    """The shortest usual bucket that cuts the window into at most sixty; days beyond that."""
    return next((length for length in _LADDER if window.seconds / length <= MOST_BUCKETS), "day")


def series(
    reader: Reader,
    metric: Metric,
    window: Window,
    *,
    every: float | Calendar | None = None,
    by: tuple[str, ...] = (),
    where: tuple[Filter, ...] = (),
    period: Period | None = None,
    timezone: str = "UTC",
    project: str = "default",
    limit: int = 5,
) -> Series:
    """The metric in buckets, over ``limit`` groups at most, beside an earlier period. Gaps are rows without a value."""
    every = bucket_for(window) if every is None else every
    if not isinstance(every, str) and every <= 0:
        raise InvalidQuery(
            "a bucket must be longer than nothing", hint="Write seconds, day, week or month.", value=every
        )
    earlier = earlier_window(window, period, zone_of(timezone)) if period else None
    answer = reader.query(
        MetricQuery(
            metric=metric.name,
            window=window,
            every=every,
            by=by,
            where=where,
            compare=earlier,
            timezone=timezone,
            project=project,
            limit=limit,
        )
    )
    rows, before = answer.rows, answer.before
    if not isinstance(every, str) and not by:
        rows = _filled(metric, rows, window, every)
        before = _filled(metric, before, earlier, every) if earlier else ()
    return Series(
        metric=metric.name,
        title=metric.title,
        unit=metric.unit,
        every=every,
        rows=rows,
        before=before,
        incomplete=bool(rows) and rows[-1].end > answer.complete_to,
        cut=bool(rows) and bucket_of(rows[0].start, every, zone_of(timezone)).start < rows[0].start,
        answer=answer,
    )


def _filled(metric: Metric, rows: tuple[MetricRow, ...], window: Window, every: float) -> tuple[MetricRow, ...]:
    """Every bucket once. Beside buckets with events a count of nothing is zero; all else not measured is None."""
    found = {row.start: row for row in rows if row.n}
    nothing = 0.0 if found and metric.aggregation in ("count", "rate") else None
    return tuple(
        found.get(part.start) or MetricRow(start=part.start, end=part.end, value=nothing, n=0)
        for part in buckets(window, every)
    )
