"""The queries worth looking at: the slowest, the failed, the unanswered, the lowest scored, the dearest.

Asks a Reader for events; their texts are as users wrote them, and whoever shows them makes them safe.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from barograph.core.event import EPOCH
from barograph.core.query import EventQuery, Filter, Window
from barograph.core.reader import Reader
from barograph_client.clock import as_utc
from barograph_client.errors import InvalidQuery

Concern = Literal["slowest", "errors", "no_answer", "lowest_score", "dearest"]

# what each orders by, whether the largest come first, and what it keeps
_QUESTIONS: dict[Concern, tuple[str, bool, tuple[Filter, ...]]] = {
    "slowest": ("response_time", True, (Filter("response_time", "exists"),)),
    "errors": ("time", True, (Filter("status", "eq", ("error",)),)),
    "no_answer": ("time", True, (Filter("status", "eq", ("no_answer",)),)),
    "lowest_score": ("accuracy_score", False, (Filter("accuracy_score", "exists"),)),
    "dearest": ("cost", True, (Filter("cost", "exists"),)),
}


class WorstQuery(Struct, frozen=True, kw_only=True):
    """One query event, in short. Numbers are None where the event has none; texts are hostile."""

    event_id: str
    trace_id: str
    time: datetime
    query: str
    pipeline: str
    model: str
    status: str
    response_time: float | None
    cost: float | None
    accuracy_score: float | None
    error_type: str
    error_message: str


def worst_queries(
    reader: Reader,
    concern: Concern,
    window: Window,
    *,
    limit: int = 10,
    where: tuple[Filter, ...] = (),
    project: str = "default",
) -> tuple[WorstQuery, ...]:
    """The worst first (errors and unanswered: the newest); empty when there are none. Raises InvalidQuery."""
    if concern not in _QUESTIONS:
        raise InvalidQuery("no such list of queries", hint=f"Use {', '.join(_QUESTIONS)}.", value=concern)
    order, descending, kept = _QUESTIONS[concern]
    page = reader.events(
        EventQuery(
            kind="query",
            window=window,
            where=(*kept, *where),
            order=order,
            descending=descending,
            limit=limit,
            project=project,
        )
    )
    return tuple(_short(item) for item in page.items)


def _short(item: dict[str, object]) -> WorstQuery:
    return WorstQuery(
        event_id=_text(item, "event_id"),
        trace_id=_text(item, "trace_id"),
        time=time_of(item) or EPOCH,
        query=_text(item, "query"),
        pipeline=_text(item, "pipeline"),
        model=_text(item, "model"),
        status=_text(item, "status") or "ok",
        response_time=_number(item, "response_time"),
        cost=_number(item, "cost"),
        accuracy_score=_number(item, "accuracy_score"),
        error_type=_text(item, "error_type"),
        error_message=_text(item, "error_message"),
    )


def time_of(item: dict[str, object]) -> datetime | None:
    """The event's time, whether the Reader gives it as a datetime or as ISO 8601."""
    moment = item.get("time")
    if isinstance(moment, str):
        return as_utc(datetime.fromisoformat(moment))
    return as_utc(moment) if isinstance(moment, datetime) else None


def _text(item: dict[str, object], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _number(item: dict[str, object], name: str) -> float | None:
    value = item.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
