"""Which hours of a window can hold the first events of a page, told by the hourly rollups.

The newest errors, or the slowest queries of a month, lie in a few of its hours. The rollups count events by the hour
and know the largest number of each, so a page reads those hours and costs no more with every event there is.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

from msgspec.structs import replace

from barograph.core.query import EventQuery, Window
from barograph.store.engine import Engine, Value
from barograph.store.filters import Parameters, condition, on_labels, within
from barograph.store.measures import COUNT, QUERY_NUMBERS

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORTH = timedelta(hours=6)  # of a shorter window, all is read
_MOST_HOURS = 100  # more that have the same largest number are not worth naming


def hours_to_read(engine: Engine, question: EventQuery, retired: Collection[date]) -> list[Window]:
    """The parts of the window that can hold the page; all of it where the rollups cannot tell.

    What they count is in the events when this returns; a page that does not ask them waits for no loading. Days of
    arrival that were ``retired`` have rollups and no events any more: they count for nothing.
    """
    window = question.window
    implied = [filter_ for filter_ in question.where if filter_.field == question.order and filter_.op == "exists"]
    question = replace(question, where=tuple(filter_ for filter_ in question.where if filter_ not in implied))
    start, end = -((_EPOCH - window.start) // _HOUR), (window.end - _EPOCH) // _HOUR
    first, last = _EPOCH + start * _HOUR, _EPOCH + end * _HOUR
    if question.kind != "query" or question.cursor or not on_labels((), question.where) or last - first < _WORTH:
        return [window]
    whole = Window(first, last)
    if question.order == "time":
        with engine.steady():
            return _first_in_time(engine, question, whole, retired)
    if question.order in QUERY_NUMBERS and question.descending:
        with engine.steady():
            return _with_largest(engine, question, whole, retired)
    return [window]


def _first_in_time(engine: Engine, question: EventQuery, whole: Window, retired: Collection[date]) -> list[Window]:
    """From one end of the window as many hours as hold the page; the cut hours at the ends count for nothing."""
    window, direction = question.window, "DESC" if question.descending else "ASC"
    hours, parameters = _hours(question, whole, COUNT, f"sum(sum(n)) OVER (ORDER BY at {direction}) AS so_far", retired)
    rows = engine.select(
        f"SELECT at FROM ({hours}) WHERE so_far > {question.limit} ORDER BY at {direction} LIMIT 1", parameters
    )
    if not rows:
        return [window]
    hour = datetime.fromtimestamp(rows[0]["at"], UTC)
    return [Window(hour, window.end) if question.descending else Window(window.start, hour + _HOUR)]


def _with_largest(engine: Engine, question: EventQuery, whole: Window, retired: Collection[date]) -> list[Window]:
    """The hours whose largest number is among the so many largest of all hours, and the cut ones at the ends.

    An event of the page is at least as large as each of those hours' largest, so none lies in another hour.
    """
    window = question.window
    sql, parameters = _hours(question, whole, question.order, "max(most) AS largest", retired)
    rows = engine.select(f"{sql} ORDER BY largest DESC LIMIT {question.limit + 1} WITH TIES", parameters)
    if len(rows) > _MOST_HOURS:
        return [window]
    hours = [datetime.fromtimestamp(at, UTC) for at in sorted(row["at"] for row in rows)]
    ends = [(window.start, whole.start), (whole.end, window.end)]
    return [*(Window(hour, hour + _HOUR) for hour in hours), *(Window(*cut) for cut in ends if cut[0] < cut[1])]


def _hours(
    question: EventQuery, whole: Window, name: str, column: str, retired: Collection[date]
) -> tuple[str, dict[str, Value]]:
    """The statement for a column of every hour that has rows of a measure, and its parameters."""
    parameters = Parameters()
    where = [
        f"project = {parameters.add(question.project, 'String')}",
        f"level = {int(any(filter_.field != 'environment' for filter_ in question.where))}",
        "kind = 'query'",
        f"name = {parameters.add(name, 'String')}",
        within("bucket", [whole], parameters),
        *(condition(filter_, "query", parameters) for filter_ in question.where),
    ]
    if retired:
        days = [day.isoformat() for day in sorted(retired)]
        where.append(f"arrived NOT IN {parameters.add(days, 'Array(Date)')}")
    sql = f"SELECT toUnixTimestamp(bucket) AS at, {column} FROM measure_1h WHERE {' AND '.join(where)} GROUP BY at"
    return sql, parameters.values
