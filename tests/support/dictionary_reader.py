"""A Reader that answers from a list of event dictionaries: exact counts, sums, means, quantiles and distincts.

It is the plain meaning of a MetricQuery, without an engine, so what is built on a Reader is tested with real numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from barograph.core.metric import Catalogue, Measure, Metric
from barograph.core.query import (
    EventPage,
    EventQuery,
    Filter,
    MetricAnswer,
    MetricQuery,
    MetricRow,
    Window,
    buckets,
    earlier_window,
)
from barograph.core.shared_questions import SharedQuery, SharedQuestions
from barograph.core.units import PopulationAnswer, PopulationQuery, UnitAnswer, UnitQuery, UnitValues

Record = dict[str, object]


class DictionaryReader:
    """Answers from ``events``, a list that the test may go on filling.

    ``delay`` holds the watermark back behind ``now``; ``before`` is called with each question and may raise or wait.
    """

    def __init__(self, events: list[Record], now: Callable[[], datetime], catalogue: Catalogue | None = None) -> None:
        self.recorded = events
        self.now = now
        self.catalogue = catalogue or Catalogue()
        self.complete_to: datetime | None = None
        self.before: Callable[[MetricQuery], None] = lambda question: None
        self.asked: list[MetricQuery] = []

    def watermark(self) -> datetime:
        return self.now() if self.complete_to is None else self.complete_to

    def query(self, question: MetricQuery) -> MetricAnswer:
        self.asked.append(question)
        self.before(question)
        metric = self.catalogue.get(question.metric)
        earlier = _earlier(question)
        return MetricAnswer(
            metric=metric.name,
            unit=metric.unit,
            rows=tuple(self._rows(metric, question, question.window)),
            before=tuple(self._rows(metric, question, earlier)) if earlier else (),
            complete_to=self.watermark(),
            read_from="raw",
        )

    def _rows(self, metric: Metric, question: MetricQuery, window: Window) -> Iterator[MetricRow]:
        events = [e for e in self.recorded if e.get("project", "default") == question.project]
        events = [e for e in events if all(matches(e, one) for one in question.where)]
        kinds = {metric.of.kind} | ({metric.per.kind} if metric.per else set())
        start = window.start - timedelta(
            seconds=max(0.0, question.trailing - float(question.every or 0)) if question.trailing else 0.0
        )
        events = [e for e in events if e["kind"] in kinds and start <= _time(e) < window.end]
        groups: dict[tuple[str, ...], list[Record]] = {} if question.by else {(): events}
        if question.by:
            for event in events:
                groups.setdefault(tuple(_label(event, name) for name in question.by), []).append(event)
        largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[: question.limit]
        for key, members in largest:
            for bucket in _buckets(window, question):
                part = bucket
                if question.trailing:
                    part = Window(bucket.end - timedelta(seconds=question.trailing), bucket.end)
                inside = [e for e in members if part.start <= _time(e) < part.end]
                value, n = measure(metric, inside, part)
                group = dict(zip(question.by, key, strict=True))
                yield MetricRow(start=part.start, end=part.end, value=value, n=n, group=group)

    def events(self, question: EventQuery) -> EventPage:
        window = question.window
        found = [
            e
            for e in self.recorded
            if e["kind"] == question.kind
            and e.get("project", "default") == question.project
            and window.start <= _time(e) < window.end
            and all(matches(e, one) for one in question.where)
        ]
        if question.order == "time":
            found.sort(key=_time, reverse=question.descending)
        else:
            found = [e for e in found if e.get(question.order) is not None]
            found.sort(key=lambda e: float(str(e[question.order])), reverse=question.descending)
        return EventPage(items=tuple(found[: question.limit]), cursor="", complete_to=self.watermark())

    def units(self, question: UnitQuery) -> UnitAnswer:
        raise NotImplementedError("experiments are not asked here")

    def unit_values(self, question: UnitQuery, most: int) -> tuple[UnitValues, ...]:
        raise NotImplementedError("experiments are not asked here")

    def population(self, question: PopulationQuery) -> PopulationAnswer:
        raise NotImplementedError("experiments are not asked here")

    def shared_questions(self, question: SharedQuery) -> SharedQuestions:
        raise NotImplementedError("experiments are not asked here")


def measure(metric: Metric, events: Iterable[Record], window: Window) -> tuple[float | None, int]:
    """The metric over those events, and how many of them carry it."""
    events = list(events)
    values = [v for e in events if (v := number(e, metric.of)) is not None]
    aggregation = metric.aggregation
    if metric.of.field == "document_id":
        found = [ids for e in events if (ids := _documents(e))]
        return (float(len(set().union(*found))) if found else None), len(found)
    if aggregation == "distinct":
        different = {str(e[metric.of.field]) for e in events if e["kind"] == metric.of.kind and e.get(metric.of.field)}
        return float(len(different)), len(events)
    if aggregation == "ratio":
        assert metric.per is not None
        base = [v for e in events if (v := number(e, metric.per)) is not None]
        per = sum(base) if metric.per.field == "" else float(len(base))
        return (sum(values) / per if per else None), len(base)
    if aggregation in ("count", "rate"):
        minutes = window.seconds / 60 if aggregation == "rate" else 1.0
        return len(values) / minutes, len(values)
    if not values:
        return None, 0
    n = len(values)
    ordered = sorted(values)
    by = {
        "sum": math.fsum(values),
        "mean": math.fsum(values) / n,
        "last": values[-1],
        "min": ordered[0],
        "max": ordered[-1],
        "quantile": ordered[max(0, math.ceil((metric.level or 0.5) * n) - 1)],
    }
    return by[aggregation], n


def _documents(event: Record) -> set[str]:
    documents = event.get("documents")
    known = documents if isinstance(documents, list) else []
    return {text for one in known if (text := one.get("id") or one.get("source"))}


def number(event: Record, of: Measure) -> float | None:
    """What the measure reads from one event; None when the event does not carry it."""
    if event["kind"] != of.kind or (of.name and event.get("name") != of.name):
        return None
    if of.where is not None:
        field, wanted = of.where
        present = event.get(field) is not None
        default = "ok" if field == "status" else None
        if not (present if wanted == "present" else event.get(field, default) == wanted):
            return None
    if of.field == "" or (of.where is not None and of.where == (of.field, "present")):
        return 1.0
    documents = event.get("documents")
    rating = event.get("rating")
    if of.field in ("document_count", "empty_retrieval", "top_score"):
        if not isinstance(documents, list):
            return None
        scores = [float(d["score"]) for d in documents if d.get("score") is not None]
        if of.field == "top_score":
            return max(scores, default=None)
        return float(len(documents)) if of.field == "document_count" else float(not documents)
    if of.field == "low_rating":
        return None if rating is None else float(float(str(rating)) <= 2)
    value = event.get(of.field)
    return float(value) if isinstance(value, int | float) else None


def matches(event: Record, one: Filter) -> bool:
    """Whether the event passes the filter."""
    value = _label(event, one.field)
    if one.op == "exists":
        return value != ""
    if one.op in ("eq", "in"):
        return value in one.values
    if one.op == "ne":
        return value not in one.values
    if one.op == "has":
        return one.values[0] in value
    if one.op == "match":
        return re.search(one.values[0], value) is not None
    if value == "":
        return False
    return float(value) >= float(one.values[0]) if one.op == "gte" else float(value) <= float(one.values[0])


def _label(event: Record, name: str) -> str:
    family, _, rest = name.partition(".")
    if family in ("tag", "variant") and rest:
        held = event.get("tags" if family == "tag" else "variants")
        return str(held.get(rest, "")) if isinstance(held, dict) else ""
    value = event.get(name, "ok" if name == "status" else "")
    return "" if value is None else str(value)


def _time(event: Record) -> datetime:
    moment = event["time"]
    assert isinstance(moment, datetime)
    return moment


def _earlier(question: MetricQuery) -> Window | None:
    if question.compare is None or isinstance(question.compare, Window):
        return question.compare
    return earlier_window(question.window, question.compare, ZoneInfo(question.timezone))


def _buckets(window: Window, question: MetricQuery) -> Iterator[Window]:
    if question.every is None:
        yield window
    elif isinstance(question.every, str):
        zone = ZoneInfo(question.timezone)
        start = window.start
        while start < window.end:
            local = start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
            days = {"day": 1, "week": 7 - local.weekday(), "month": 32 - local.day}[question.every]
            following = local + timedelta(days=days)
            following = following.replace(day=1) if question.every == "month" else following
            end = min(following.replace(tzinfo=zone).astimezone(UTC), window.end)
            yield Window(start, end)
            start = end
    else:
        yield from buckets(window, question.every, question.offset)
