"""What stands behind an incident: the queries that made its rule fire, or the feedback and scores about them.

Which they are follows from the rule's metric: the slowest where it is a time, the newest errors where it is their
share, the lowest rated where it is a rating. Read by the page, the API and the command line; texts are as recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from barograph.alerts.incidents import History, Incident, OffendingQuery
from barograph.alerts.rule import ThresholdRule
from barograph.alerts.rules.absence import AbsenceRule
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import EventQuery, Filter, Window
from barograph.core.reader import Reader
from barograph_client.clock import as_utc
from barograph_client.errors import InvalidQuery, InvalidRule, UnknownMetric

LOOKED_INTO = 5  # of the newest incidents, a question each
EACH = 3  # queries of one
MOST_BEFORE = timedelta(days=1)  # of queries that made a rule fire, whatever its window

_STATUSES = {"error": "Newest errors", "no_answer": "Newest without an answer"}
_TITLES = {  # of a field, when it is too high and when it is too low
    "response_time": ("Slowest queries", "Fastest queries"),
    "cost": ("Dearest queries", "Cheapest queries"),
    "accuracy_score": ("Highest scores", "Lowest scores"),
    "rating": ("Highest ratings", "Lowest ratings"),
    "value": ("Highest scores", "Lowest scores"),
}


class Sought(Struct, frozen=True, kw_only=True):
    """Which events: of a kind, by a field of theirs; ``unit`` is that of the field, '' for the newest."""

    title: str
    kind: Literal["query", "feedback", "score"]
    order: str = "time"
    descending: bool = True
    where: tuple[Filter, ...] = ()
    unit: str = ""


class _Item(Struct):
    """As much of an event as is told of it."""

    event_id: str
    time: datetime
    trace_id: str | None = None
    query: str | None = None
    comment: str | None = None
    error_type: str | None = None
    model: str | None = None


def sought(metric: Metric, *, high: bool) -> Sought | None:
    """Which events stand behind a metric that is too high, or too low; None where no list of them says it."""
    of = metric.of
    kept = _kept(of.where)
    if of.kind == "query":
        if of.where is not None and of.where[0] == "status":
            return Sought(title=_STATUSES.get(of.where[1], "Newest queries"), kind="query", where=kept)
        if of.field == "empty_retrieval":
            empty = Filter("document_count", "eq", ("0",))
            return Sought(title="Newest that found nothing", kind="query", where=(empty,)) if high else None
        if not of.field or metric.aggregation == "distinct":
            return Sought(title="Newest queries", kind="query", where=kept) if high else None
        if of.where == (of.field, "present"):  # a share of those that have it; those that lack it cannot be asked for
            return None
        return _by_number("query", of.field, metric, high, kept)
    if of.kind == "feedback" and of.field in ("rating", "low_rating"):
        return _by_number("feedback", "rating", metric, high and of.field == "rating", kept)
    if of.kind == "score":
        return _by_number("score", "value", metric, high, (*kept, Filter("name", "eq", (of.name,))))
    return None


def _kept(where: tuple[str, str] | None) -> tuple[Filter, ...]:
    if where is None:
        return ()
    field, value = where
    return (Filter(field, "exists"),) if value == "present" else (Filter(field, "eq", (value,)),)


def _by_number(
    kind: Literal["query", "feedback", "score"], field: str, metric: Metric, high: bool, kept: tuple[Filter, ...]
) -> Sought:
    named = _TITLES.get(field)
    words = field.replace("_", " ")
    title = named[0 if high else 1] if named else f"{'Highest' if high else 'Lowest'} {words}"
    unit = "rating" if field == "rating" else "s" if field.endswith("_time") else metric.unit
    return Sought(
        title=title, kind=kind, order=field, descending=high, where=(Filter(field, "exists"), *kept), unit=unit
    )


def with_queries(
    found: History,
    reader: Reader,
    rule_named: Callable[[str], ThresholdRule],
    catalogue: Catalogue,
    now: datetime,
    *,
    project: str,
    each: int = EACH,
) -> History:
    """The history with what stands behind the newest incidents, ``each`` queries of one. Raises EngineError."""
    incidents = list(found.incidents)
    until = min(now, found.window.end)  # of one that is open then
    looked = 0
    for place, incident in enumerate(incidents):
        rule = _rule(rule_named, incident.rule)
        shown = rule.metric if rule is not None else _metric(catalogue, incident.metric)
        if shown is None:
            continue
        incident = replace(incident, unit=shown.unit)
        metric = _metric(catalogue, shown.name) or shown  # a rule's own may be in another unit, as a ratio's is
        wanted = None if isinstance(rule, AbsenceRule) else sought(metric, high=_is_high(incident, rule, metric))
        if wanted is not None and looked < LOOKED_INTO and each:
            looked += 1
            incident = _looked_into(incident, wanted, rule, reader, until, project, each)
        incidents[place] = incident
    return replace(found, incidents=incidents)


def _looked_into(
    incident: Incident,
    wanted: Sought,
    rule: ThresholdRule | None,
    reader: Reader,
    until: datetime,
    project: str,
    each: int,
) -> Incident:
    """The incident with its queries: those between the beginning of what made the rule fire and the end."""
    before = timedelta(seconds=rule.window_seconds + rule.for_seconds) if rule else timedelta(0)
    end = max(incident.resolved_at or until, incident.fired_at + timedelta(seconds=1))
    of_group = tuple(Filter(name, "eq", (value,)) for name, value in incident.labels.items())
    question = EventQuery(
        kind=wanted.kind,
        window=Window(incident.fired_at - min(before, MOST_BEFORE), end),
        where=(*wanted.where, *(rule.where if rule else ()), *of_group),
        order=wanted.order,
        descending=wanted.descending,
        limit=each,
        project=project,
    )
    try:
        items = reader.events(question).items
    except InvalidQuery as error:  # an alert event may have been sent, with any label
        return replace(incident, queries_are=wanted.title, queries_problem=error.message)
    queries = [_query(item, wanted) for item in items]
    return replace(incident, queries_are=wanted.title, queries_unit=wanted.unit, queries=queries)


def _query(item: Mapping[str, Any], wanted: Sought) -> OffendingQuery:
    read = msgspec.convert(dict(item), _Item, strict=False)
    value = item.get(wanted.order) if wanted.unit else None
    return OffendingQuery(
        trace_id=read.trace_id or "",
        event_id=read.event_id,
        time=as_utc(read.time),
        value=float(value) if isinstance(value, int | float) else None,
        about=read.error_type or read.model or "",
        text=read.query or read.comment or "",
    )


def _is_high(incident: Incident, rule: ThresholdRule | None, metric: Metric) -> bool:
    """Whether it is about values that are too high: the limit says it, else what was seen, else what is bad."""
    if rule is not None and rule.has_limit and (rule.above is None) != (rule.below is None):
        return rule.above is not None
    if incident.worst is not None and incident.threshold is not None:
        return incident.worst >= incident.threshold
    return metric.better != "higher"


def _rule(rule_named: Callable[[str], ThresholdRule], name: str) -> ThresholdRule | None:
    """The rule, if it still is one."""
    try:
        return rule_named(name)
    except InvalidRule:
        return None


def _metric(catalogue: Catalogue, name: str) -> Metric | None:
    try:
        return catalogue.get(name)
    except UnknownMetric:
        return None
