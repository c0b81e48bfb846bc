"""One metric by model, pipeline, user or any other dimension: value, n, share and change of each, and the rest.

Asks a Reader for the groups and for the whole; ``other`` is the whole less what is listed, where the metric's kind
lets it be computed, and otherwise has no value.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from barograph.analytics.change import Change, compare, nothing_to_compare
from barograph.core.metric import Metric
from barograph.core.query import Filter, MetricAnswer, MetricQuery, MetricRow, Period, Window, earlier_window
from barograph.core.reader import Reader
from barograph.core.zone import zone_of
from barograph_client.errors import InvalidQuery

OTHER = "other"
MOST_GROUPS = 1000  # asked for; the largest by count when there are more

_ADDS_UP = ("count", "sum", "rate")
_WEIGHTED = ("mean", "ratio")


class Part(Struct, frozen=True, kw_only=True):
    """One group. ``share`` is its part of the whole: of the amount where amounts add up, of the events elsewhere.

    ``key`` is '' for events that do not carry the dimension; ``is_other`` marks all that is not listed.
    """

    key: str
    value: float | None
    n: int
    share: float | None
    change: Change | None = None
    is_other: bool = False


class Breakdown(Struct, frozen=True, kw_only=True):
    """The parts, the largest first, ``other`` last, and the whole."""

    metric: str
    title: str
    unit: str
    by: str
    window: Window
    parts: tuple[Part, ...]
    total: float | None
    n: int
    sentence: str = ""


def breakdown(
    reader: Reader,
    metric: Metric,
    by: str,
    window: Window,
    *,
    top: int = 5,
    period: Period | None = None,
    where: tuple[Filter, ...] = (),
    timezone: str = "UTC",
    project: str = "default",
) -> Breakdown:
    """The metric by one dimension. Raises InvalidQuery or EngineError."""
    if top < 1:
        raise InvalidQuery("at least one group must be shown", value=top)
    question = MetricQuery(metric=metric.name, window=window, where=where, project=project)
    whole = reader.query(question)
    total, n = whole.value, whole.n
    if n == 0:
        return Breakdown(
            metric=metric.name, title=metric.title, unit=metric.unit, by=by, window=window, parts=(), total=None, n=0,
            sentence=f"{metric.title}: nothing was measured, so there is nothing to break down.",
        )  # fmt: skip
    earlier = earlier_window(window, period, zone_of(timezone)) if period else None
    answer = reader.query(replace(question, by=(by,), compare=earlier, limit=MOST_GROUPS))
    measured = sorted((row for row in answer.rows if row.n), key=lambda row: _order(metric, row, by))
    listed = measured[:top]
    changes = _changes(reader, metric, listed, by, answer, earlier, project) if earlier else {}
    parts = [
        Part(
            key=row.group.get(by, ""),
            value=row.value,
            n=row.n,
            share=_share(metric, row, total, n),
            change=changes.get(row.group.get(by, "")),
        )
        for row in listed
    ]
    rest = _other(metric, listed, total, n)
    if rest is not None:
        parts.append(rest)
    hidden = len(measured) - top
    return Breakdown(
        metric=metric.name, title=metric.title, unit=metric.unit, by=by, window=window, parts=tuple(parts),
        total=total, n=n, sentence=f"{hidden} more are in '{OTHER}'." if hidden > 0 else "",
    )  # fmt: skip


def _order(metric: Metric, row: MetricRow, by: str) -> tuple[float, int, str]:
    """The largest amount first, where amounts add up; elsewhere the most events."""
    first = -(row.value or 0.0) if metric.aggregation in _ADDS_UP else -row.n
    return first, -row.n, row.group.get(by, "")


def _changes(
    reader: Reader,
    metric: Metric,
    rows: Sequence[MetricRow],
    by: str,
    answer: MetricAnswer,
    earlier: Window,
    project: str,
) -> dict[str, Change]:
    """Each group against itself in the earlier period, or why there is nothing to compare with."""
    missing = nothing_to_compare(reader, metric, earlier, project)
    before = {row.group.get(by, ""): row for row in answer.before}
    keys = [row.group.get(by, "") for row in rows]
    return {
        key: Change(before=None, before_n=0, window=earlier, note=missing)
        if missing
        else compare(metric, row, before.get(key), earlier)
        for key, row in zip(keys, rows, strict=True)
    }


def _share(metric: Metric, row: MetricRow, total: float | None, n: int) -> float | None:
    if metric.aggregation not in _ADDS_UP:
        return row.n / n
    return row.value / total if row.value is not None and total else None


def _other(metric: Metric, listed: list[MetricRow], total: float | None, n: int) -> Part | None:
    rest = n - sum(row.n for row in listed)
    if rest <= 0 or total is None:
        return None
    value: float | None = None
    if metric.aggregation in _ADDS_UP:
        value = total - sum(row.value or 0.0 for row in listed)
    elif metric.aggregation in _WEIGHTED:
        value = (total * n - sum((row.value or 0.0) * row.n for row in listed)) / rest
    adds_up = metric.aggregation in _ADDS_UP
    share = (value / total if value is not None and total else None) if adds_up else rest / n
    return Part(key=OTHER, value=value, n=rest, share=share, is_other=True)
