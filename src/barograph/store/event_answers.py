"""Pages of events: newest first or ordered by a number, with a cursor that neither repeats nor skips.

A question is led to its rows, so that it does not cost more with every event there is: a trace by its place, the
newest or the largest by the hours that can hold them (``event_hours``).
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from datetime import date, datetime
from typing import Any

import msgspec

from barograph.core.event import KINDS
from barograph.core.query import EventPage, EventQuery, Window
from barograph.store.engine import Engine
from barograph.store.event_hours import hours_to_read
from barograph.store.filters import (
    NUMBERS,
    Parameters,
    columns_of,
    condition,
    from_micros,
    trace_place,
    within,
)
from barograph_client.errors import InvalidQuery

MAX_PAGE = 1000
_EXTRA_COLUMNS = {"query": ("top_score",)}
_TIMES = ("time", "received_at")


def event_page(
    engine: Engine, question: EventQuery, complete_to: datetime, retired: Collection[date] = ()
) -> EventPage:
    """The page. ``retired`` are days of arrival whose events are gone.

    Raises InvalidQuery for an unknown kind, order, filter or cursor.
    """
    if question.kind not in KINDS:
        raise InvalidQuery("no such kind of event", hint=f"Use one of {', '.join(KINDS)}.", value=question.kind)
    if question.order != "time" and question.order not in columns_of(question.kind):
        raise InvalidQuery(f"{question.kind} events have no {question.order} to order by", value=question.order)
    if not 1 <= question.limit <= MAX_PAGE:
        raise InvalidQuery(f"a page has 1 to {MAX_PAGE} rows", value=question.limit)
    rows = engine.select(*_statement(question, hours_to_read(engine, question, retired)))
    more = len(rows) > question.limit
    rows = rows[: question.limit]
    cursor = _cursor(question, rows[-1]) if more else ""
    return EventPage(items=tuple(_row(row) for row in rows), cursor=cursor, complete_to=complete_to)


def _statement(question: EventQuery, windows: list[Window]) -> tuple[str, dict[str, Any]]:
    parameters = Parameters()
    kind, order = question.kind, question.order
    fields = [name for name in KINDS[kind].__struct_fields__ if name != "time"]
    columns = ", ".join([*fields, *_EXTRA_COLUMNS.get(kind, ())])
    by = f"toUnixTimestamp64Micro({order})" if order in _TIMES else order
    direction, comparison = ("DESC", "<") if question.descending else ("ASC", ">")
    where = [
        f"project = {parameters.add(question.project, 'String')}",
        within("time", windows, parameters),
        *_places(question, parameters),
        *(condition(filter_, kind, parameters) for filter_ in question.where),
        f"isNotNull({by})",
    ]
    if question.cursor:
        last, event_id = _read_cursor(question)
        if not isinstance(last, int if order in _TIMES else (int, float) if order in NUMBERS else str):
            raise _not_ours(question.cursor)
        kept = "String" if isinstance(last, str) else "Float64" if isinstance(last, float) else "Int64"
        mark, id_mark = parameters.add(last, kept), parameters.add(event_id, "String")
        where.append(f"({by}, event_id) {comparison} ({mark}, {id_mark})")
    sql = (
        f"SELECT {columns}, toUnixTimestamp64Micro(time) AS time_micros, "
        f"toUnixTimestamp64Micro(received_at) AS received_micros, {by} AS order_by "
        f"FROM {kind} WHERE {' AND '.join(where)} "
        f"ORDER BY {by} {direction}, event_id {direction} LIMIT {question.limit + 1}"
    )
    return sql, parameters.values


def _places(question: EventQuery, parameters: Parameters) -> list[str]:
    """The condition that leads to the queries of the traces that are asked for."""
    asked = [filter_.values for filter_ in question.where if filter_.field == "trace_id" and filter_.op in ("eq", "in")]
    if question.kind != "query" or not asked or not all(asked[0]):
        return []
    project, traces = parameters.add(question.project, "String"), parameters.add(list(asked[0]), "Array(String)")
    return [trace_place(project, traces)]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the event was: times as aware datetimes, nothing of our ordering."""
    del row["order_by"]
    row["time"] = from_micros(row.pop("time_micros"))
    row["received_at"] = from_micros(row.pop("received_micros"))
    return row


def _order(question: EventQuery) -> str:
    """Which way a cursor goes on; it is good for no other."""
    return f"{question.kind} {question.order} {'down' if question.descending else 'up'}"


def _cursor(question: EventQuery, row: dict[str, Any]) -> str:
    mark = [_order(question), row["order_by"], row["event_id"]]
    return base64.urlsafe_b64encode(msgspec.json.encode(mark)).decode()


def _read_cursor(question: EventQuery) -> tuple[str | int | float, str]:
    try:
        raw = base64.urlsafe_b64decode(question.cursor.encode())
        order, last, event_id = msgspec.json.decode(raw, type=tuple[str, str | int | float, str])
    except (ValueError, msgspec.MsgspecError):
        raise _not_ours(question.cursor) from None
    if order != _order(question):
        raise _not_ours(question.cursor)
    return last, event_id


def _not_ours(cursor: str) -> InvalidQuery:
    return InvalidQuery("not a cursor of ours", hint="Take it from the page before, unchanged.", value=cursor)
