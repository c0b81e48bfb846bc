"""Filters and groups as SQL: names come from literal lists or go in as parameters, values always as parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from barograph.core.event import KINDS
from barograph.core.query import DIMENSIONS, LABELS, Filter, Window
from barograph.store.engine import Value
from barograph_client.errors import InvalidQuery

NUMBERS = {
    name
    for kind in ("query", "feedback", "score", "metric", "system", "span", "alert")
    for name, annotation in KINDS[kind].__annotations__.items()
    if re.search(r"\b(Seconds|Tokens|Dollars|Fraction|Number|Count|Percent|Bytes|float|int)\b", str(annotation))
} | {"top_score"}
_MAX_VALUES = 1000
_MAX_PATTERN = 256
_MAPS = {"tag": "tags", "variant": "variants"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Parameters:
    """Server-side parameters under construction: ``add`` returns the placeholder for a value."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}

    def add(self, value: Value, type_name: str) -> str:
        """The placeholder ``{p3:String}`` of a new parameter."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{type_name}}}"

    def moment(self, moment: datetime) -> str:
        """A moment as the engine's, exact to the microsecond."""
        return f"fromUnixTimestamp64Micro({self.add((moment - _EPOCH) // timedelta(microseconds=1), 'Int64')}, 'UTC')"


def columns_of(kind: str) -> frozenset[str]:
    """The names that can be asked of a kind's events."""
    names = set(KINDS[kind].__struct_fields__) - {"documents", "tags", "variants", "attributes", "labels", "modelled"}
    return frozenset(names | ({"top_score"} if kind == "query" else set()) | {"received_at"})


def dimension(name: str, kind: str, parameters: Parameters, *, asked: str = "") -> str:
    """The text expression of a dimension: a column, ``tag.<name>`` or ``variant.<experiment>``. Raises InvalidQuery.

    ``asked`` is the kind that people asked for, where ``kind`` is the attribution that answers in its place.
    """
    name, asked = _stored(name, asked), asked or kind
    family, _, key = name.partition(".")
    if family in _MAPS and key:
        if family == "variant" and "variants" not in KINDS[kind].__struct_fields__:
            raise InvalidQuery(f"{asked} events carry no experiment variants", value=name)
        return f"toString({_MAPS[family]}[{parameters.add(key, 'String')}])"
    if name not in columns_of(kind) or name in ("time", "received_at", "project"):
        known = sorted(set(DIMENSIONS) & columns_of(kind))
        raise InvalidQuery(
            f"{asked} events have no dimension {name}", hint=f"Use one of {', '.join(known)}, tag.<name>.", value=name
        )
    return f"toString({name})"


def condition(filter_: Filter, kind: str, parameters: Parameters, *, asked: str = "") -> str:
    """The SQL condition of one filter; ``asked`` as in ``dimension``. Raises InvalidQuery."""
    _check(filter_)
    name = _stored(filter_.field, asked)
    if name in NUMBERS and name in columns_of(kind):
        return _number(name, filter_, parameters)
    text, op = dimension(filter_.field, kind, parameters, asked=asked), filter_.op
    if op == "exists":
        return f"{text} != ''"
    if op == "in":
        return f"{text} IN {parameters.add(list(filter_.values), 'Array(String)')}"
    if op == "match":
        return f"match({text}, {parameters.add(_pattern(filter_.values[0]), 'String')})"
    value = parameters.add(filter_.values[0], "String")
    if op == "has":
        return f"positionCaseInsensitiveUTF8({text}, {value}) > 0"
    comparison = {"eq": "=", "ne": "!=", "gte": ">=", "lte": "<="}[op]
    return f"{text} {comparison} {value}"


def _stored(name: str, asked: str) -> str:
    """A feedback's rating is the value of its attribution."""
    return "value" if asked == "feedback" and name == "rating" else name


def _number(name: str, filter_: Filter, parameters: Parameters) -> str:
    op = filter_.op
    if op == "exists":
        return f"isNotNull({name})"
    if op in ("has", "match"):
        raise InvalidQuery(f"{name} is a number", hint="Compare it with eq, ne, in, gte or lte.", value=op)
    try:
        values = [float(value) for value in filter_.values]
    except ValueError:
        raise InvalidQuery(f"{name} is compared with a number", value=filter_.values) from None
    if not all(math.isfinite(value) for value in values):
        raise InvalidQuery(f"{name} is compared with a finite number", value=filter_.values)
    if op == "in":
        return "(" + " OR ".join(f"{name} = {parameters.add(value, 'Float64')}" for value in values) + ")"
    comparison = {"eq": "=", "ne": "!=", "gte": ">=", "lte": "<="}[op]
    return f"{name} {comparison} {parameters.add(values[0], 'Float64')}"


def _check(filter_: Filter) -> None:
    count = len(filter_.values)
    expected = count == 0 if filter_.op == "exists" else 1 <= count <= _MAX_VALUES if filter_.op == "in" else count == 1
    if not expected:
        raise InvalidQuery(f"{filter_.field}:{filter_.op} has {count} values", hint="in takes up to 1000, exists none.")


def _pattern(text: str) -> str:
    if len(text) > _MAX_PATTERN:
        raise InvalidQuery(f"a pattern may have {_MAX_PATTERN} characters", value=text)
    try:
        re.compile(text)
    except re.error as error:
        raise InvalidQuery(f"not a regular expression: {error}", value=text) from None
    return text


def on_labels(by: Sequence[str], where: Sequence[Filter]) -> bool:
    """Whether the rollups can answer with these groups and filters: they hold labels, and compare them as text."""
    names = [*by, *(filter_.field for filter_ in where)]
    return all(name in LABELS for name in names) and all(filter_.op not in ("gte", "lte") for filter_ in where)


def within(column: str, windows: Sequence[Window], parameters: Parameters) -> str:
    """The condition that a time lies in one of the windows.

    It names the day of arrival as well, by which tables are partitioned: nothing arrives a day before its time
    (``AHEAD_SECONDS`` is ten minutes), so days of arrival before a window need not be opened.
    """
    ranges = [
        f"arrived >= {parameters.add(_arrival(window.start), 'Date')} AND "
        f"{column} >= {parameters.moment(window.start)} AND {column} < {parameters.moment(window.end)}"
        for window in windows
    ]
    return f"(({') OR ('.join(ranges)}))"


def _arrival(start: datetime) -> str:
    """The first day on which something of that time can have arrived, as far as the engine has days."""
    return (min(max(start.date(), date(1970, 1, 2)), date(2149, 1, 1)) - timedelta(days=1)).isoformat()


def trace_place(project: str, traces: str) -> str:
    """The condition on queries that leads to the granules of some traces; both are placeholders.

    The traces' ids must be asked for as well: their places are known by a hash.
    """
    return (
        f"(arrived, time) IN (SELECT arrived, time FROM trace_place WHERE project = {project} "
        f"AND trace IN (SELECT cityHash64(arrayJoin({traces}))))"
    )


def from_micros(micros: int) -> datetime:
    """The moment so many microseconds after the beginning of 1970."""
    return _EPOCH + timedelta(microseconds=micros)
