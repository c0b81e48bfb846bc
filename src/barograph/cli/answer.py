"""How the answer of ``query`` is shown: a chart of its buckets, a table of its groups, or a document for programs.

Reads a ``MetricAnswer``; hands a chart or a table to ``output``. A bucket that the window cuts, or that is still
filling, is marked; an earlier period is drawn fainter, and as a change only where the records reach back over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from barograph.core.query import MetricAnswer, MetricRow, Period, earlier_window
from barograph.core.unit import format_value
from barograph.dashboard.asked import Asked
from barograph.dashboard.page.shapes import step_text
from barograph.visualize.chart import Cell, Column, LineChart, Series, Table
from barograph_client.clock import SystemClock

MOST_LINES = 5  # groups drawn in one chart; more are a table
EARLIER: dict[Period, str] = {"previous": "period before", "day": "a day earlier", "week": "a week earlier"}

Group = tuple[tuple[str, str], ...]


def picture(answer: MetricAnswer, asked: Asked) -> LineChart | Table:
    """A chart where there are buckets enough and few groups, else a table."""
    groups = list(dict.fromkeys(_group(row) for row in answer.rows))
    if asked.every is None or len(groups) > MOST_LINES or len(answer.rows) <= len(groups) * 2:
        return _table(answer, asked)
    rows = {group: [row for row in answer.rows if _group(row) == group] for group in groups}
    lines = [
        Series(
            name=" ".join(value for _, value in group) or answer.metric,
            points=[(row.start, row.value) for row in of],
            role="group" if group else "main",
        )
        for group, of in rows.items()
    ]
    return LineChart(
        title=asked.title,
        subtitle=f"{step_text(asked.every)} · n={answer.n:,}",
        series=[*lines, *_earlier(answer, asked, groups)],
        unit=answer.unit,
        incomplete_first=any(asked.is_partial(of[0], answer) for of in rows.values()),
        incomplete_last=any(asked.is_partial(of[-1], answer) for of in rows.values()),
    )


def _earlier(answer: MetricAnswer, asked: Asked, groups: Sequence[Group]) -> list[Series]:
    """The earlier period of each group, moved under this one; what lies before the first record is not zero."""
    if asked.compare is None:
        return []
    later = asked.window.start - earlier_window(asked.window, asked.compare, asked.zone).start
    lines: list[Series] = []
    for group in groups:
        rows = [row for row in answer.before if _group(row) == group]
        first = next((index for index, row in enumerate(rows) if row.n), len(rows))
        name = " ".join([*(value for _, value in group), EARLIER[asked.compare]])
        points = [(row.start + later, row.value) for row in rows[first:]]
        if points:
            lines.append(Series(name=name, points=points, role="comparison"))
    return lines


def _group(row: MetricRow) -> Group:
    return tuple(row.group.items())


def _paired(answer: MetricAnswer) -> list[MetricRow | None]:
    """For each row the earlier period's row of the same group and bucket, or None."""
    waiting: dict[Group, list[MetricRow]] = {}
    for row in reversed(answer.before):
        waiting.setdefault(_group(row), []).append(row)
    paired: list[MetricRow | None] = []
    for row in answer.rows:
        same = waiting.get(_group(row))
        paired.append(same.pop() if same else None)
    return paired


def _table(answer: MetricAnswer, asked: Asked) -> Table:
    """A row for each group and bucket; the time stands above when it is the same in every row."""
    spans = {(row.start, row.end) for row in answer.rows}
    form = _form([moment for span in spans for moment in span], asked.zone)
    recorded = any(row.n for row in answer.before)
    compared = recorded and not asked.missing
    columns = [Column(title=name) for name in (answer.rows[0].group if answer.rows else ())]
    if len(spans) > 1:
        columns += [Column(title="from"), Column(title="to")]
    columns += [Column(title="value", unit=answer.unit), Column(title="n")]
    columns += [Column(title="before", unit=answer.unit)] if recorded else []
    columns += [Column(title="change", align="right")] if compared else []
    rows: list[list[Cell]] = []
    for row, earlier in zip(answer.rows, _paired(answer), strict=True):
        cells: list[Cell] = [*row.group.values()]
        if len(spans) > 1:
            cells += [f"{moment.astimezone(asked.zone):{form}}" for moment in (row.start, row.end)]
        cells += [row.value, row.n]
        cells += [earlier.value if earlier and earlier.n else None] if recorded else []
        cells += [_change(row, earlier)] if compared else []
        rows.append(cells)
    subtitle = ""
    if len(spans) == 1:
        start, end = (f"{moment.astimezone(asked.zone):{form}}" for moment in spans.pop())
        subtitle = f"{start} to {end} {asked.zone.key}"
    return Table(title=asked.title, subtitle=subtitle, columns=columns, rows=rows)


def _change(row: MetricRow, earlier: MetricRow | None) -> str | None:
    """The relative change, where there is something to divide by."""
    if row.value is None or earlier is None or not earlier.n or not earlier.value:
        return None
    return format_value((row.value - earlier.value) / abs(earlier.value), "ratio", signed=True)


def _form(moments: Sequence[datetime], zone: ZoneInfo) -> str:
    """How to write times: with the year unless all of them are in this one."""
    years = {moment.astimezone(zone).year for moment in moments}
    return "%m-%d %H:%M" if years == {SystemClock().now().astimezone(zone).year} else "%Y-%m-%d %H:%M"
