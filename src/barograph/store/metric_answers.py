"""Answers to metric questions: one SQL statement over rollups and raw rows, then the metric's own arithmetic.

Every part of the window yields the same partial columns (count, sum, sketch, …) whether it comes from a tier or
from raw rows; the statement merges them by bucket and group, and Python divides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from barograph.core.errors import InvalidQuery
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import LABELS, MetricAnswer, MetricQuery, MetricRow, Window, earlier_window
from barograph.store.engine import Engine
from barograph.store.filters import Parameters, condition, dimension
from barograph.store.measures import ATTRIBUTED, Term, terms
from barograph.store.windows import (
    RAW,
    Piece,
    bucket_sql,
    bucket_start,
    bucket_windows,
    cover,
    tiers_for,
    zone,
)

# What an aggregation needs beside count and sum: how a tier gives it, how raw rows do, and how it merges.
_EXTRA: dict[str, tuple[str, str, str]] = {
    "quantile": (
        "quantilesBFloat16MergeState(0.5)(sketch)",
        "quantilesBFloat16State(0.5)(greatest(least(v, 3e38), -3e38))",
        "quantilesBFloat16Merge({level})(extra)[1]",
    ),
    "distinct": (
        "uniqCombined64MergeState(15)(different)",
        "uniqCombined64State(15)(text)",
        "uniqCombined64Merge(15)(extra)",
    ),
    "last": ("argMaxMergeState(last)", "argMaxState(v, time)", "argMaxMerge(extra)"),
    "min": ("min(least)", "min(v)", "min(extra)"),
    "max": ("max(most)", "max(v)", "max(extra)"),
}
_ZERO_WHEN_EMPTY = ("count", "rate")  # nothing happened is a number; not measured is not
MAX_CELLS = 200_000  # groups times buckets of an answer


class Answerer:
    """Answers MetricQuery from one engine. ``complete_to`` of an answer is added by the data store."""

    def __init__(self, engine: Engine, catalogue: Catalogue) -> None:
        self._engine = engine
        self._catalogue = catalogue

    def check(self, question: MetricQuery) -> None:
        """Whether the question can be asked, without asking it. Raises UnknownMetric or InvalidQuery."""
        _Statement(self._catalogue.get(question.metric), question, zone(question.timezone), False)

    def answer(self, question: MetricQuery, complete_to: datetime, *, raw_only: bool = False) -> MetricAnswer:
        """Rows of the window and, when asked for, of the earlier one. ``raw_only`` is for proving the rollups."""
        metric = self._catalogue.get(question.metric)
        zone_ = zone(question.timezone)
        rows, sources = self._rows(metric, question, question.window, zone_, raw_only)
        before: tuple[MetricRow, ...] = ()
        if question.compare is not None:
            other = (
                question.compare
                if isinstance(question.compare, Window)
                else earlier_window(question.window, question.compare, zone_)
            )
            before, _ = self._rows(metric, question, other, zone_, raw_only)
        return MetricAnswer(
            metric=metric.name,
            unit=metric.unit,
            rows=rows,
            before=before,
            complete_to=complete_to,
            read_from="both" if len(sources) > 1 else next(iter(sources)),
        )

    def _rows(
        self, metric: Metric, question: MetricQuery, window: Window, zone_: ZoneInfo, raw_only: bool
    ) -> tuple[tuple[MetricRow, ...], set[str]]:
        asked = msgspec.structs.replace(question, window=window)
        windows = bucket_windows(window, question.every, zone_)
        _check(question, len(windows))
        statement = _Statement(metric, asked, zone_, raw_only)
        found = self._engine.select(*statement.build())
        if statement.needs_rest:
            found = _with_rest(found, self._engine.select(*statement.unlabelled().build()), question.by)
        rows = _shape(metric, found, asked, windows, zone_)
        return rows, {RAW if piece.table == RAW else "rollup" for piece in statement.pieces}


class _Statement:
    """One SQL statement under construction."""

    def __init__(self, metric: Metric, question: MetricQuery, zone_: ZoneInfo, raw_only: bool) -> None:
        self.metric, self.question, self.zone, self.raw_only = metric, question, zone_, raw_only
        self.terms = terms(metric)
        self.extra = _EXTRA.get(metric.aggregation)
        self.names = [*question.by, *(filter_.field for filter_ in question.where)]
        labels = all(name in LABELS for name in self.names) and not raw_only
        rollup_ops = all(filter_.op in ("eq", "ne", "in", "has", "match", "exists") for filter_ in question.where)
        tiers = tiers_for(question.every, question.window, zone_) if labels and rollup_ops else []
        self.pieces: list[Piece] = cover(question.window, tiers)
        kinds = {term.kind for term in self.terms}
        attributed = bool(kinds & set(ATTRIBUTED)) and bool(self.names)
        self.level = 1 if attributed or any(name != "environment" for name in self.names) else 0
        self.needs_rest = attributed and not question.where and metric.aggregation not in _EXTRA
        self._check_names()

    def _check_names(self) -> None:
        """Refuse a name that a kind does not have also where only rollups would be read. Raises InvalidQuery."""
        for term in self.terms:
            for name in self.question.by:
                dimension(name, self._table(term), Parameters(), asked=term.kind)
            for filter_ in self.question.where:
                condition(filter_, self._table(term), Parameters(), asked=term.kind)

    def _table(self, term: Term) -> str:
        """Where the raw rows of a term are: labelled feedback and scores are in their attribution."""
        return "attribution" if term.kind in ATTRIBUTED and self.level == 1 else term.kind

    def unlabelled(self) -> _Statement:
        """The same question without groups: what is not attributed yet is the rest."""
        plain = msgspec.structs.replace(self.question, by=())
        return _Statement(self.metric, plain, self.zone, self.raw_only)

    def build(self) -> tuple[str, dict[str, Any]]:
        parameters = Parameters()
        parts: list[str] = []
        for table in dict.fromkeys(piece.table for piece in self.pieces):
            windows = [piece.window for piece in self.pieces if piece.table == table]
            if table == RAW:
                parts += [self._raw(index, term, windows, parameters) for index, term in enumerate(self.terms)]
            else:
                parts += [self._rollup(table, terms_, windows, parameters) for terms_ in self._of_one_kind()]
        groups = "".join(f", g{i}" for i in range(len(self.question.by)))
        level = repr(float(self.metric.level or 0.5))
        extra = f", {self.extra[2].format(level=level)} AS extra_value" if self.extra else ""
        columns = ", ".join(
            f"sumIf(n, term = {i}) AS n{i}, sumIf(total, term = {i}) AS total{i}" for i in range(len(self.terms))
        )
        source = f"({' UNION ALL '.join(parts)})"
        largest, limit = self._largest(source)
        sql = (
            f"SELECT slot{groups}, {columns}{extra} FROM {source}{largest} "
            f"GROUP BY slot{groups} ORDER BY {limit or f'slot{groups}'}"
        )
        return sql, parameters.values

    def _largest(self, source: str) -> tuple[str, str]:
        """What keeps only the largest groups: a condition, or an order with a limit when a group is one row.

        Without it a question by user would fetch every user there is. What is not attributed yet is told from the
        sum over all groups, so those questions keep all of theirs.
        """
        if not self.question.by or self.needs_rest:
            return "", ""
        groups = ", ".join(f"g{i}" for i in range(len(self.question.by)))
        size = f"sumIf(n, term = {len(self.terms) - 1})"
        order = f"{size} DESC, {groups} LIMIT {self.question.limit}"
        if self.question.every is None:
            return "", order
        return f" WHERE ({groups}) IN (SELECT {groups} FROM {source} GROUP BY {groups} ORDER BY {order})", ""

    def _of_one_kind(self) -> list[list[tuple[int, Term]]]:
        """The terms, numbered, those together that one look at a tier can give."""
        numbered = list(enumerate(self.terms))
        together = len({term.kind for term in self.terms}) == 1 and len({term.name for term in self.terms}) > 1
        return [numbered] if together else [[one] for one in numbered]

    def _rollup(
        self, tier: str, numbered: list[tuple[int, Term]], windows: list[Window], parameters: Parameters
    ) -> str:
        zone_name = parameters.add(self.question.timezone, "String")
        names = [parameters.add(term.name, "String") for _, term in numbered]
        where = [
            f"project = {parameters.add(self.question.project, 'String')}",
            f"level = {self.level}",
            f"kind = {parameters.add(numbered[0][1].kind, 'String')}",
            f"name IN ({', '.join(names)})",
            _within("bucket", windows, parameters),
            *(condition(filter_, "query", parameters) for filter_ in self.question.where),
        ]
        groups = "".join(f", toString({name}) AS g{i}" for i, name in enumerate(self.question.by))
        extra = f", {self.extra[0]} AS extra" if self.extra else ""
        number = str(numbered[0][0]) if len(numbered) == 1 else f"toInt64(indexOf([{', '.join(names)}], name)) - 1"
        return (
            f"SELECT {number} AS term, {bucket_sql('bucket', self.question.every, zone_name)} AS slot{groups}, "
            f"sum(n) AS n, sum(total) AS total{extra} FROM {tier} WHERE {' AND '.join(where)} "
            f"GROUP BY term, slot{self._group_names()}"
        )

    def _raw(self, index: int, term: Term, windows: list[Window], parameters: Parameters) -> str:
        zone_name = parameters.add(self.question.timezone, "String")
        kind = self._table(term)
        attributed = kind == "attribution"
        value = term.expression(attributed=attributed)
        text = term.name if term.name in ("user_id", "session_id") else "''"
        where = [
            f"project = {parameters.add(self.question.project, 'String')}",
            _within("time", windows, parameters),
            *([f"subject = {parameters.add(term.kind, 'String')}"] if attributed else []),
            *([f"name = {parameters.add(term.name, 'String')}"] if term.named else []),
            *(condition(filter_, kind, parameters, asked=term.kind) for filter_ in self.question.where),
            "isNotNull(maybe)",
        ]
        groups = "".join(
            f", {dimension(name, kind, parameters, asked=term.kind)} AS g{i}" for i, name in enumerate(self.question.by)
        )
        carried = "".join(f", g{i}" for i in range(len(self.question.by)))
        extra = f", {self.extra[1]} AS extra" if self.extra else ""
        return (
            f"SELECT {index} AS term, slot{carried}, count() AS n, sum(v) AS total{extra} FROM ("
            f"SELECT time, {bucket_sql('toDateTime(time)', self.question.every, zone_name)} AS slot{groups}, "
            f"{value} AS maybe, assumeNotNull(maybe) AS v, {text} AS text FROM {kind} WHERE {' AND '.join(where)}) "
            f"GROUP BY slot{carried}"
        )

    def _group_names(self) -> str:
        return "".join(f", g{i}" for i in range(len(self.question.by)))


def _within(column: str, windows: list[Window], parameters: Parameters) -> str:
    """The condition that a time lies in one of the windows."""
    ranges = []
    for window in windows:
        start, end = (parameters.add(_micros(moment), "Int64") for moment in (window.start, window.end))
        begins, ends = (f"fromUnixTimestamp64Micro({mark}, 'UTC')" for mark in (start, end))
        ranges.append(f"{column} >= {begins} AND {column} < {ends}")
    return f"(({') OR ('.join(ranges)}))"


def _check(question: MetricQuery, buckets: int) -> None:
    """Refuse what cannot be shaped into an answer. Raises InvalidQuery."""
    if len(set(question.by)) != len(question.by):
        raise InvalidQuery("a group is named twice", value=question.by)
    if not 1 <= question.limit <= MAX_CELLS:
        raise InvalidQuery(f"an answer has 1 to {MAX_CELLS} groups", value=question.limit)
    if question.by and question.limit * buckets > MAX_CELLS:
        raise InvalidQuery(
            f"{question.limit} groups in {buckets} buckets are more than {MAX_CELLS} rows",
            hint="Ask for fewer groups, longer buckets or a shorter window.",
        )


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _with_rest(labelled: list[dict[str, Any]], whole: list[dict[str, Any]], by: Sequence[str]) -> list[dict[str, Any]]:
    """Add to each bucket, as the group without labels, what the attributed rows do not hold yet."""
    none = {f"g{i}": "" for i in range(len(by))}
    rows = list(labelled)
    for total in whole:
        same = [row for row in labelled if row["slot"] == total["slot"]]
        sums = [name for name in total if name.startswith(("n", "total"))]
        rest = {name: total[name] - sum(row[name] for row in same) for name in sums}
        if any(value > 0 for name, value in rest.items() if not name.startswith("total")):
            known = next((row for row in same if all(row[name] == "" for name in none)), None)
            if known is not None:
                rows.remove(known)
                rest = {name: value + known[name] for name, value in rest.items()}
            rows.append({"slot": total["slot"], **none, **rest})
    return rows


def _shape(
    metric: Metric, found: list[dict[str, Any]], question: MetricQuery, windows: list[Window], zone_: ZoneInfo
) -> tuple[MetricRow, ...]:
    """One row a bucket and group, empty buckets included, largest groups first."""
    by_group: dict[tuple[str, ...], dict[float, dict[str, Any]]] = {}
    for row in found:
        group = tuple(row[f"g{i}"] for i in range(len(question.by)))
        by_group.setdefault(group, {})[row["slot"]] = row
    if not question.by:
        by_group.setdefault((), {})
    size = {group: sum(_n(metric, row) for row in rows.values()) for group, rows in by_group.items()}
    kept = sorted(by_group, key=lambda group: (-size[group], group))[: question.limit]
    rows: list[MetricRow] = []
    for group in kept:
        labels = dict(zip(question.by, group, strict=True))
        for window in windows:
            at = 0.0 if question.every is None else bucket_start(window.start, question.every, zone_).timestamp()
            found_row = by_group[group].get(at, {})
            rows.append(
                MetricRow(
                    start=window.start,
                    end=window.end,
                    value=_value(metric, found_row, window),
                    n=_n(metric, found_row),
                    group=labels,
                )
            )
    return tuple(rows)


def _n(metric: Metric, row: dict[str, Any]) -> int:
    return int(row.get("n1" if metric.per is not None else "n0", 0))


def _value(metric: Metric, row: dict[str, Any], window: Window) -> float | None:
    n = _n(metric, row)
    if metric.aggregation in _ZERO_WHEN_EMPTY:
        return float(n) if metric.aggregation == "count" else n / (window.seconds / 60)
    if n == 0:
        return None
    if metric.aggregation == "sum":
        return float(row["total0"])
    if metric.aggregation == "mean":
        return float(row["total0"]) / n
    if metric.aggregation == "ratio":
        of, per = metric_terms(metric)
        denominator = float(row[f"{per.part}1"])
        return float(row[f"{of.part}0"]) / denominator if denominator else None
    value = row["extra_value"]
    return None if value is None or math.isnan(value) else float(value)


def metric_terms(metric: Metric) -> tuple[Term, Term]:
    """Numerator and denominator of a ratio. Raises InvalidQuery for a metric that is none."""
    found = terms(metric)
    if len(found) != 2:
        raise InvalidQuery(f"{metric.name} is not a ratio")
    return found[0], found[1]
