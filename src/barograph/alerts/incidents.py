"""Incidents: from an alert's firing to its resolution, made again from the transitions that were recorded as events.

Asks a ``Reader`` for the alert events of a window and a month before it, and hands incidents, with how long it took to
resolve them, to the page, the API and the command line. Texts are as they were recorded: whoever shows them makes them
safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from barograph.alerts.lifecycle import Condition
from barograph.alerts.rules.threshold import ThresholdRule
from barograph.core.event import EARLIEST
from barograph.core.query import EventQuery, Filter, Window
from barograph.core.reader import Reader
from barograph_client.clock import as_utc

LOOK_BACK = timedelta(days=31)  # before the window: an incident of it that began earlier is not told
Stands = tuple[ThresholdRule, dict[str, str], Condition]

PAGE = 1_000  # events asked for at once, the most that a page has
MOST_PAGES = 10
LISTED = 50

_ENDS = ("resolved", "removed")
_BEGIN_AND_END = (Filter("state", "in", ("firing", *_ENDS)),)


class OffendingQuery(Struct, frozen=True, kw_only=True):
    """A query behind an incident, or feedback or a score about one. ``barograph trace`` opens it by either id.

    ``value`` is what makes it one of the worst, None where the newest are told; ``about`` is its error or its model.
    """

    trace_id: str
    event_id: str
    time: datetime
    value: float | None
    about: str
    text: str

    @property
    def id(self) -> str:
        """What opens it."""
        return self.trace_id or self.event_id


class Incident(Struct, frozen=True, kw_only=True):
    """One alert from ``fired_at`` to ``resolved_at``, None while it is open at the end of the window.

    ``seconds`` is its length, of an open one so far. ``labels`` say which group of the rule. ``worst`` is the value
    farthest beyond the threshold while it fired, in ``unit``; where there is no threshold, the one at which it fired.
    ``removed``: it ended because its rule was switched off, removed or grouped otherwise, not because all was well.
    ``queries_are`` says which queries stand behind it (``Slowest queries``; '' where none were looked for) and
    ``queries_problem`` why they could not be asked for.
    """

    rule: str
    labels: dict[str, str]
    severity: str
    metric: str
    fired_at: datetime
    resolved_at: datetime | None
    seconds: float
    worst: float | None
    threshold: float | None
    message: str
    removed: bool = False
    unit: str = "1"
    queries_are: str = ""
    queries_unit: str = ""
    queries: list[OffendingQuery] = field(default_factory=list)
    queries_problem: str = ""


class RuleHistory(Struct, frozen=True, kw_only=True):
    """The incidents of one rule, or of all. Times are of those that were resolved: open ones are not counted in, nor
    those ``removed`` with their rule, which nobody resolved.

    ``resolved_seconds`` is their total, ``mean_seconds_to_resolve`` their mean, None when none was resolved.
    """

    rule: str = ""
    count: int = 0
    open: int = 0
    removed: int = 0
    resolved_seconds: float = 0.0
    mean_seconds_to_resolve: float | None = None


class History(Struct, frozen=True, kw_only=True):
    """The incidents that were open at some time of the window, the newest first, at most as many as were asked for.

    ``total`` and ``rules`` (those with the most incidents first) are of all of them. ``cut`` says that there were
    more transitions than are read: the oldest are not in it.
    """

    window: Window
    total: RuleHistory
    rules: list[RuleHistory] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    cut: bool = False
    complete_to: datetime | None = None


class _Row(Struct):
    """As much of an alert event as an incident needs."""

    time: datetime
    rule: str = ""
    state: str = ""
    previous: str = ""
    severity: str = ""
    metric: str = ""
    value: float | None = None
    threshold: float | None = None
    worst: float | None = None
    labels: dict[str, str] = field(default_factory=dict)
    message: str = ""

    @property
    def order(self) -> tuple[datetime, int]:
        """By time; what fired and was resolved at one time fired first, unless it says that it fired again."""
        return self.time, 1 if self.state in _ENDS else 2 if self.previous in _ENDS else 0


def history(
    reader: Reader,
    window: Window,
    now: datetime,
    *,
    project: str = "default",
    limit: int = LISTED,
    standing: Iterable[Stands] = (),
) -> History:
    """What fired in the window, the newest ``limit`` of it one by one. Raises InvalidQuery or EngineError.

    ``standing`` is where the alerts of the rules stand now: it knows how bad it has been so far.
    """
    start = min(window.start, max(window.start, EARLIEST + LOOK_BACK) - LOOK_BACK)
    question = EventQuery(
        kind="alert", window=Window(start, window.end), where=_BEGIN_AND_END, limit=PAGE, project=project
    )
    rows: list[dict[str, Any]] = []
    page = reader.events(question)
    rows += page.items
    while page.cursor and len(rows) < PAGE * MOST_PAGES:
        page = reader.events(replace(question, cursor=page.cursor))
        rows += page.items
    found = _so_far(incidents_of(rows, window, min(window.end, max(now, window.start))), standing)
    return History(
        window=window,
        total=summed("", found),
        rules=by_rule(found),
        incidents=found[:limit],
        cut=bool(page.cursor),
        complete_to=page.complete_to,
    )


def incidents_of(items: Iterable[Mapping[str, Any]], window: Window, until: datetime) -> list[Incident]:
    """The incidents of alert events, in any order, that were open at some time of the window; the newest first.

    Each transition to firing is of one incident: it begins one, or is within the one of its rule and group that is
    open. A resolution that has no beginning among the events is of none. Open ones are as long as up to ``until``.
    """
    rows = sorted((_row(item) for item in items), key=lambda row: row.order)
    ended: list[Incident] = []
    open_now: dict[tuple[object, ...], list[_Row]] = {}
    for row in rows:
        key = (row.rule, *sorted(row.labels.items()))
        if row.state == "firing":
            open_now.setdefault(key, []).append(row)
        elif row.state in _ENDS and key in open_now:
            ended.append(_incident(open_now.pop(key), row, until))
    ended += [_incident(firing, None, until) for firing in open_now.values()]
    inside = [
        one
        for one in ended
        if one.fired_at < window.end and (one.resolved_at is None or one.resolved_at >= window.start)
    ]
    return sorted(inside, key=lambda one: one.fired_at, reverse=True)


def by_rule(incidents: Iterable[Incident]) -> list[RuleHistory]:
    """Each rule's incidents summed up, the rule with the most first."""
    rules: dict[str, list[Incident]] = {}
    for one in incidents:
        rules.setdefault(one.rule, []).append(one)
    return sorted((summed(rule, found) for rule, found in rules.items()), key=lambda one: (-one.count, one.rule))


def summed(rule: str, incidents: Sequence[Incident]) -> RuleHistory:
    """How many, how many of them open or removed with their rule, and how long it took to resolve the others."""
    lengths = [one.seconds for one in incidents if one.resolved_at is not None and not one.removed]
    return RuleHistory(
        rule=rule,
        count=len(incidents),
        open=sum(one.resolved_at is None for one in incidents),
        removed=sum(one.removed for one in incidents),
        resolved_seconds=sum(lengths),
        mean_seconds_to_resolve=sum(lengths) / len(lengths) if lengths else None,
    )


def _row(item: Mapping[str, Any]) -> _Row:
    row = msgspec.convert(dict(item), _Row, strict=False)
    row.time = as_utc(row.time)
    return row


def _so_far(incidents: Iterable[Incident], standing: Iterable[Stands]) -> list[Incident]:
    """Those that are open with their worst value up to now, which no event has told yet."""
    worst = {
        (rule.name, *sorted(labels.items()), condition.fired_at): condition.worst
        for rule, labels, condition in standing
        if condition.has_fired
    }
    return [
        replace(one, worst=worst.get((one.rule, *sorted(one.labels.items()), one.fired_at), one.worst))
        if one.resolved_at is None
        else one
        for one in incidents
    ]


def _incident(firing: Sequence[_Row], resolved: _Row | None, until: datetime) -> Incident:
    first, resolved_at = firing[0], resolved.time if resolved else None
    end = max(first.time, resolved_at or until)
    return Incident(
        rule=first.rule,
        labels=first.labels,
        severity=first.severity,
        metric=first.metric,
        fired_at=first.time,
        resolved_at=resolved_at,
        seconds=(end - first.time).total_seconds(),
        worst=_worst([*(row.value for row in firing), resolved.worst if resolved else None], first.threshold),
        threshold=first.threshold,
        message=first.message,
        removed=resolved is not None and resolved.state == "removed",
    )


def _worst(told: Iterable[float | None], limit: float | None) -> float | None:
    """The value farthest beyond the limit; without a limit, the first one."""
    values = [value for value in told if value is not None]
    if not values or limit is None:
        return values[0] if values else None
    return max(values) if values[0] >= limit else min(values)
