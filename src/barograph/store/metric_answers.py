"""Answers to metric questions: statements over rollups and raw rows, then each metric's own arithmetic.

Questions that can share a statement do (``metric_statement``); whatever tables a statement reads, an insert is in all
of them or in none. The engine merges by bucket and group, and Python divides.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from barograph.core.metric import Catalogue
from barograph.core.query import MetricAnswer, MetricQuery, MetricRow, Window, earlier_window
from barograph.store.engine import Engine
from barograph.store.metric_statement import STATES, Part, Statement, grouped
from barograph.store.windows import RAW, bucket_start, bucket_windows, zone
from barograph_client.errors import InvalidQuery

_ZERO_WHEN_EMPTY = ("count", "rate")  # nothing happened is a number; not measured is not
AT_ONCE = 2  # statements; their time is planning, which is one thread's work
MAX_CELLS = 200_000  # groups times buckets of an answer
MAX_TRAILING = 2_000_000  # buckets times those within a window that trails: so often is a group's bucket added up
Rows = list[dict[str, Any]]


class Answerer:
    """Answers MetricQuery from one engine."""

    def __init__(self, engine: Engine, catalogue: Catalogue) -> None:
        self._engine = engine
        self._catalogue = catalogue

    def answers(
        self, questions: Sequence[MetricQuery], complete_to: datetime, *, raw_only: bool = False
    ) -> list[MetricAnswer]:
        """Rows of each window and, when asked for, of the earlier one. ``raw_only`` is for proving the rollups."""
        asked = [_parts(question, self._catalogue, raw_only=raw_only) for question in questions]
        rows = self._ask([part for parts in asked for part in parts])
        return [
            MetricAnswer(
                metric=now.metric.name,
                unit=now.metric.unit,
                rows=rows[now],
                before=rows[before[0]] if before else (),
                complete_to=complete_to,
                read_from=_read_from(now.tables),
            )
            for now, *before in asked
        ]

    def _ask(self, parts: Sequence[Part]) -> dict[Part, tuple[MetricRow, ...]]:
        """One statement for all parts that go together, several statements at a time."""
        groups = grouped(parts)
        if len(groups) == 1:
            return self._ask_together(groups[0])
        with ThreadPoolExecutor(AT_ONCE, "barograph-question") as pool:
            answered = list(pool.map(self._ask_together, groups))
        return {part: rows for those in answered for part, rows in those.items()}

    def _ask_together(self, parts: Sequence[Part]) -> dict[Part, tuple[MetricRow, ...]]:
        statement = Statement(parts)
        several = len({piece.table for piece in statement.pieces}) > 1 or statement.needs_rest
        with self._engine.steady() if several else contextlib.nullcontext():  # one table is whole by itself
            found = self._engine.select(*statement.build())
            if statement.needs_rest:
                whole = self._engine.select(*Statement([part.unlabelled() for part in parts]).build())
                found = _with_rest(found, whole, parts[0].question.by)
        rows: dict[tuple[str, int], Rows] = {}
        for row in found:
            rows.setdefault((row.get("owner", statement.question.project), row["period"]), []).append(row)
        return {
            part: _shape(part, statement, rows.get((part.question.project, statement.period(part.question.window)), []))
            for part in parts
        }


def check_question(question: MetricQuery, catalogue: Catalogue) -> None:
    """Whether the question can be asked, without asking it. Raises UnknownMetric or InvalidQuery."""
    _parts(question, catalogue, raw_only=False)


def _parts(question: MetricQuery, catalogue: Catalogue, *, raw_only: bool) -> list[Part]:
    """The metric over the window and, when there is a comparison, over the earlier one."""
    metric, zone_ = catalogue.get(question.metric), zone(question.timezone)
    windows = [question.window]
    if isinstance(question.compare, Window):
        windows.append(question.compare)
    elif question.compare is not None:
        windows.append(earlier_window(question.window, question.compare, zone_))
    for window in windows:
        _check(question, len(bucket_windows(window, question.every, zone_, question.offset)))
    return [Part(metric, replace(question, window=window), zone_, raw_only=raw_only) for window in windows]


def _read_from(tables: set[str]) -> str:
    if RAW not in tables:
        return "rollup"
    return RAW if len(tables) == 1 else "both"


def _check(question: MetricQuery, buckets: int) -> None:
    """Refuse what cannot be shaped into an answer. Raises InvalidQuery."""
    if len(set(question.by)) != len(question.by):
        raise InvalidQuery("a group is named twice", value=question.by)
    if not 1 <= question.limit <= MAX_CELLS:
        raise InvalidQuery(f"an answer has 1 to {MAX_CELLS} groups", value=question.limit)
    if question.trailing:
        _check_trailing(question, buckets)
    if question.by and question.limit * buckets > MAX_CELLS:
        raise InvalidQuery(
            f"{question.limit} groups in {buckets} buckets are more than {MAX_CELLS} rows",
            hint="Ask for fewer groups, longer buckets or a shorter window.",
        )


def _check_trailing(question: MetricQuery, buckets: int) -> None:
    every, whole = question.every, (question.window.start.timestamp() - question.offset, question.window.seconds)
    if not isinstance(every, int | float) or question.compare is not None:
        raise InvalidQuery("a window that trails needs buckets in seconds, and is compared with none", value=every)
    if question.trailing < every or question.trailing % every or any(seconds % every for seconds in whole):
        raise InvalidQuery(
            "a window that trails is whole buckets, from the beginning of one", value=f"{question.trailing} s"
        )
    if buckets * (question.trailing / every) > MAX_TRAILING:
        raise InvalidQuery(
            f"{question.trailing / every:g} buckets in each of {buckets} windows are more than {MAX_TRAILING:,}",
            hint="Ask for longer buckets, or a shorter window.",
        )


def _with_rest(labelled: Rows, whole: Rows, by: Sequence[str]) -> Rows:
    """Add to each bucket, as the group without labels, what the attributed rows do not hold yet."""
    none = {f"g{i}": "" for i in range(len(by))}
    rows = list(labelled)
    for total in whole:
        same = [row for row in labelled if (row["period"], row["slot"]) == (total["period"], total["slot"])]
        sums = [name for name in total if name.rstrip("0123456789") in ("n", "total")]
        rest = {name: total[name] - sum(row[name] for row in same) for name in sums}
        if any(value > 0 for name, value in rest.items() if not name.startswith("total")):
            known = next((row for row in same if all(row[name] == "" for name in none)), None)
            if known is not None:
                rows.remove(known)
                rest = {name: value + known[name] for name, value in rest.items()}
            rows.append({"period": total["period"], "slot": total["slot"], **none, **rest})
    return rows


def _shape(part: Part, statement: Statement, found: Rows) -> tuple[MetricRow, ...]:
    """One row a bucket and group, empty buckets included, largest groups first, from the rows of its window."""
    question, cells = part.question, _Cells(part, statement)
    by_group: dict[tuple[str, ...], dict[float, dict[str, Any]]] = {}
    for row in found:
        group = tuple(row[f"g{i}"] for i in range(len(question.by)))
        if cells.holds(row):
            by_group.setdefault(group, {})[row["slot"]] = row
    if not question.by:
        by_group.setdefault((), {})
    size = {group: sum(cells.n(row) for row in rows.values()) for group, rows in by_group.items()}
    kept = sorted(by_group, key=lambda group: (-size[group], group))[: question.limit]
    windows = bucket_windows(question.window, question.every, part.zone, question.offset)
    slots = [_slot(window, part) for window in windows]
    measured = [_trailing(window, question.trailing) for window in windows] if question.trailing else windows
    rows: list[MetricRow] = []
    for group in kept:
        labels = dict(zip(question.by, group, strict=True))
        for slot, window in zip(slots, measured, strict=True):
            row = by_group[group].get(slot, {})
            rows.append(
                MetricRow(
                    start=window.start, end=window.end, value=cells.value(row, window), n=cells.n(row), group=labels
                )
            )
    return tuple(rows)


def _trailing(bucket: Window, seconds: int) -> Window:
    return Window(bucket.end - timedelta(seconds=seconds), bucket.end)


def _slot(window: Window, part: Part) -> float:
    """What the engine calls the bucket."""
    every = part.question.every
    return 0.0 if every is None else bucket_start(window.start, every, part.zone, part.question.offset).timestamp()


class _Cells:
    """Reads a metric from the columns that a statement gave its measures."""

    def __init__(self, part: Part, statement: Statement) -> None:
        self._metric = part.metric
        self._of, self._per = part.terms[0], part.terms[-1]
        self._of_number, self._per_number = statement.number(self._of), statement.number(self._per)
        self._level = statement.levels[self._of_number].index(part.metric.level or 0.5) if part.quantile else 0

    def holds(self, row: dict[str, Any]) -> bool:
        """Whether the row has anything of this metric, and not only of another one of the statement."""
        return bool(row[f"n{self._of_number}"] or row[f"n{self._per_number}"])

    def n(self, row: dict[str, Any]) -> int:
        """How many events were measured; of a ratio, in its denominator."""
        return int(row.get(f"n{self._per_number}", 0))

    def value(self, row: dict[str, Any], window: Window) -> float | None:
        n, aggregation = self.n(row), self._metric.aggregation
        if aggregation in _ZERO_WHEN_EMPTY:
            return float(n) if aggregation == "count" else n / (window.seconds / 60)
        if n == 0:
            return None
        if aggregation in STATES:
            state = row[f"{aggregation}{self._of_number}"]
            value = state[self._level] if aggregation == "quantile" else state
            return None if value is None or math.isnan(value) else float(value)
        if aggregation == "ratio":
            under = float(row[f"{self._per.part}{self._per_number}"])
            return float(row[f"{self._of.part}{self._of_number}"]) / under if under else None
        total = float(row[f"total{self._of_number}"])
        return total if aggregation == "sum" else total / n
