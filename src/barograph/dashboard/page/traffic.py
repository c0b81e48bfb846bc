"""Queries over time by status, and response time: the charts that several pages share.

One question (queries by status) answers how many, how many failed and how many had no answer; it also says which
bucket holds enough queries for a percentile. Asks ``analytics``; hands charts to the pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from barograph.analytics.level_steps import level_steps
from barograph.analytics.summary import Series as Found
from barograph.core.query import MetricRow, Period, Window
from barograph.core.unit import format_value
from barograph.core.zone import zone_of
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import (
    DAY,
    HOUR,
    SURE_TAIL,
    line_chart,
    line_of,
    step_for,
    step_text,
)
from barograph.visualize.chart import LineChart, Mark, Part, Role, Series

STATUSES = ("ok", "no_answer", "error")
LEAST_PART = 6  # of a bucket that must lie inside the window for its rate to be drawn
_LONGEST_HOURLY = 8 * DAY
_TAIL_STEPS = (900.0, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY)


class Traffic(Struct, frozen=True, kw_only=True):
    """Queries in buckets of ``every`` seconds: all of them, by status, and those of the earlier period."""

    window: Window
    every: float
    times: tuple[tuple[datetime, datetime], ...]
    counts: tuple[float, ...]
    by_status: dict[str, tuple[float, ...]]
    before: tuple[MetricRow, ...] = ()
    later: float = 0.0  # seconds from the earlier period to this one
    cut: bool = False  # the first bucket began before the window
    incomplete: bool = False

    @property
    def total(self) -> int:
        return round(sum(self.counts))

    def rows(self, status: str | None = None) -> list[MetricRow]:
        """The buckets of one status, or of all, as rows."""
        values = self.counts if status is None else self.by_status.get(status, (0.0,) * len(self.counts))
        return [
            MetricRow(start=start, end=end, value=value, n=round(value))
            for (start, end), value in zip(self.times, values, strict=True)
        ]

    def share(self, status: str) -> list[MetricRow]:
        """A status as a share of all, in each bucket that has a query."""
        part = self.rows(status)
        return [
            replace(row, value=(row.value or 0.0) / whole if whole else None, n=round(whole))
            for row, whole in zip(part, self.counts, strict=True)
        ]


def traffic(material: Material, window: Window, compare: Period | None = "week") -> Traffic:
    """Queries over the window by status, hourly up to a week, beside the week before."""
    every = HOUR if DAY < window.seconds <= _LONGEST_HOURLY else step_for(window)
    found = material.analytics.series("queries", window, every=every, by=("status",), compare=compare)
    starts: dict[datetime, datetime] = {}
    values: dict[str, dict[datetime, float]] = {}
    for row in found.rows:
        starts[row.start] = row.end
        of = values.setdefault(row.group.get("status", ""), {})
        of[row.start] = of.get(row.start, 0.0) + (row.value or 0.0)
    earlier: dict[datetime, MetricRow] = {}
    for row in found.before:
        seen = earlier.get(row.start)
        n, value = row.n + (seen.n if seen else 0), (row.value or 0.0) + ((seen.value or 0.0) if seen else 0.0)
        earlier[row.start] = MetricRow(start=row.start, end=row.end, value=value, n=n)
    times = tuple(sorted(starts.items()))
    by_status = {
        status: tuple(of.get(start, 0.0) for start, _ in times)
        for status, of in sorted(values.items(), key=lambda item: _place(item[0]))
    }
    return Traffic(
        window=window,
        every=every,
        times=times,
        counts=tuple(map(sum, zip(*by_status.values(), strict=True))) if by_status else (),
        by_status=by_status,
        before=tuple(earlier[start] for start in sorted(earlier)),
        later={None: 0.0, "previous": window.seconds, "day": DAY, "week": 7 * DAY}[compare],
        cut=bool(times) and times[0][0].timestamp() % every > 0,
        incomplete=bool(times) and times[-1][1] > found.answer.complete_to,
    )


def _place(status: str) -> int:
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)


def volume_chart(seen: Traffic) -> LineChart:
    """How many queries an hour, beside the week before as far as it reaches back."""
    coarse = coarser(seen, 3 * HOUR)
    lines: list[Series] = []
    first = next((row.start for row in coarse.before if row.n), None)
    if first is not None:
        known = [
            _hourly(row, coarse.every) for row in coarse.before if row.start >= first
        ]  # before the first query is not zero
        lines.append(line_of("last week", known, "comparison", later=seen.later, least=0))
    lines.append(line_of("queries", [_hourly(row, coarse.every) for row in coarse.rows()], "main", least=0))
    lines = [replace(line, n=()) for line in lines]  # a count is not a sample
    details = f"{step_text(coarse.every)} · n={seen.total:,}"
    return line_chart("Queries an hour", details, "1", lines, seen.window, incomplete=seen.incomplete)


def _hourly(row: MetricRow, every: float) -> MetricRow:
    """An hour's share of the bucket; a sliver of one at the window's edge says nothing."""
    seconds = (row.end - row.start).total_seconds()
    return replace(row, value=(row.value or 0.0) / seconds * HOUR if seconds >= every / LEAST_PART else None)


def status_chart(seen: Traffic, marks: Sequence[Mark] = ()) -> LineChart:
    """How many queries ended well, without an answer, or in an error."""
    lines = [
        replace(line_of(status.replace("_", " "), seen.rows(status), "group", least=0), n=())
        for status in seen.by_status
    ]
    totals = ", ".join(
        f"{round(sum(counts)):,} {status.replace('_', ' ')}" for status, counts in seen.by_status.items()
    )
    return line_chart(
        "Queries by status", f"{step_text(seen.every)} · {totals}", "1", lines[:6], seen.window, marks=marks,
        cut=seen.cut, incomplete=seen.incomplete,
    )  # fmt: skip


def errors_chart(seen: Traffic, marks: Sequence[Mark] = ()) -> list[Part]:
    """Shares of failed and unanswered queries over time; nothing while there are none."""
    lines: list[Series] = []
    coarse = coarser(seen, 6 * HOUR)
    names = {"error": "errors", "no_answer": "no answer"}
    for status, name in names.items():
        if any(seen.by_status.get(status, ())):
            lines.append(line_of(name, coarse.share(status), "group"))
    if not lines:
        return []
    totals = ", ".join(
        f"{round(sum(seen.by_status[status])):,} {name}" for status, name in names.items() if status in seen.by_status
    )
    return [
        line_chart(
            "Errors and no answer",
            f"share of queries · {step_text(coarse.every)} · {totals}",
            "ratio",
            lines,
            seen.window,
            marks=marks,
            incomplete=seen.incomplete,
        )
    ]


def coarser(seen: Traffic, every: float) -> Traffic:
    """The same counts in longer buckets, for shares that a few queries cannot carry."""
    if every <= seen.every or seen.window.seconds < 2 * DAY:
        return seen
    starts: dict[float, tuple[datetime, datetime]] = {}
    sums: dict[str, dict[float, float]] = {status: {} for status in seen.by_status}
    for index, (start, end) in enumerate(seen.times):
        slot = start.timestamp() // every
        first = starts.get(slot, (start, end))[0]
        starts[slot] = (first, end)
        for status, values in seen.by_status.items():
            sums[status][slot] = sums[status].get(slot, 0.0) + values[index]
    earlier: dict[float, MetricRow] = {}
    for row in seen.before:
        slot = row.start.timestamp() // every
        first_row = earlier.get(slot)
        value = (row.value or 0.0) + ((first_row.value or 0.0) if first_row else 0.0)
        start, n = (first_row.start, first_row.n) if first_row else (row.start, 0)
        earlier[slot] = MetricRow(start=start, end=row.end, value=value, n=row.n + n)
    slots = sorted(starts)
    by_status = {status: tuple(of[slot] for slot in slots) for status, of in sums.items()}
    return Traffic(
        window=seen.window,
        every=every,
        times=tuple(starts[slot] for slot in slots),
        counts=tuple(map(sum, zip(*by_status.values(), strict=True))) if by_status else (),
        by_status=by_status,
        before=tuple(earlier[slot] for slot in sorted(earlier)),
        later=seen.later,
        incomplete=seen.incomplete,
    )


def latency_chart(
    material: Material, seen: Traffic, marks: Sequence[Mark] = (), stage: str = "response_time", title: str = ""
) -> LineChart:
    """p50, p95 and p99 in buckets that hold enough queries; a tail that rests on too few is a gap."""
    every = _tail_step(seen)
    window = seen.window
    lines: list[Series] = []
    steps: list[Mark] = []
    total, hidden, incomplete = 0, 0, False
    for level in ("p50", "p95", "p99"):
        beside: Period | None = "week" if level == "p95" and seen.later else None
        found = material.analytics.series(f"{stage}.{level}", window, every=every, compare=beside)
        role: Role = "p50" if level == "p50" else "p95" if level == "p95" else "p99"
        least = 1 if level == "p50" else SURE_TAIL
        lines.append(line_of(level, found.rows, role, least=least))
        if any(row.n >= least for row in found.before):
            lines.append(line_of("p95 last week", found.before, "comparison", later=seen.later, least=least))
        if level != "p99":  # few queries make it
            steps = _steps(material, level, found, least) or steps  # of the median, when the tail has none
        total = sum(row.n for row in found.rows)
        hidden = sum(0 < row.n < least for row in found.rows)
        incomplete = found.incomplete
    lines = [line for line in lines if line.role == "p50" or any(y is not None for _, y in line.points)]
    note = f"p95, p99 from {SURE_TAIL} queries a bucket on" if hidden else ""
    details = [
        ", ".join(line.name for line in lines if line.role != "comparison"),
        step_text(every),
        f"n={total:,}",
        note,
    ]
    return line_chart(
        title or "Response time",
        " · ".join(text for text in details if text),
        "s",
        lines,
        window,
        marks=[*marks, *steps],
        incomplete=incomplete,
    )


def _steps(material: Material, level: str, found: Found, least: int) -> list[Mark]:
    """The moments since which a percentile is another one, as marks at the bucket that began it; of whole buckets."""
    rows = found.rows[found.cut : len(found.rows) - found.incomplete]
    marks = []
    for step in level_steps(rows, zone_of(material.settings.timezone), least=least):
        before, after = (format_value(value, found.unit) for value in (step.before, step.after))
        label = f"{level} from {before} to {after} within {step_text(found.every)}"
        marks.append(Mark(x=step.at, label=label, kind="other"))
    return marks


def _tail_step(seen: Traffic) -> float:
    """The shortest bucket, of about sixty at most, in which most hold enough queries for p99; a day at most."""
    shortest = step_for(seen.window)
    busy = [count for count in seen.counts if count]
    if not busy:
        return shortest
    rate = median(busy) / seen.every
    usable = [step for step in _TAIL_STEPS if step >= shortest and seen.window.seconds / step >= 6] or [shortest]
    return next((step for step in usable if rate * step >= 1.2 * SURE_TAIL), shortest)
