"""Is it healthy now? One word, and the reasons in sentences.

Looks at errors and response time of the last window, at the budget, at how long there has been no query, and at what
it is told: firing alerts and the state of the disk. Too few queries say nothing, and nothing at all is "no data".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol

from msgspec import Struct

from barograph.analytics.cost import CostReport
from barograph.analytics.period import duration_text, recent, up_to
from barograph.analytics.worst import time_of
from barograph.core.event import EARLIEST
from barograph.core.query import EventQuery, MetricQuery, Window
from barograph.core.reader import Reader
from barograph.core.settings import Settings
from barograph.core.unit import counted, format_value
from barograph.core.zone import zone_of

Level = Literal["healthy", "warning", "critical"]
State = Literal["healthy", "warning", "critical", "no data"]

_RANK: dict[Level, int] = {"healthy": 0, "warning": 1, "critical": 2}
_LOOK_BACK = (3600.0, 86400.0, 30 * 86400.0)  # for the last query, before all of time is searched
_DAY, _WEEK = 86400.0, 7 * 86400.0


class FiringAlert(Protocol):
    """What status needs of an alert."""

    @property
    def severity(self) -> str: ...

    @property
    def sentence(self) -> str: ...


class Facts(Struct, frozen=True, kw_only=True):
    """What the caller knows and a Reader does not."""

    low_disk: bool = False
    free_bytes: int | None = None


class Reason(Struct, frozen=True, kw_only=True):
    """One finding: what it is about, how bad it is, and a sentence."""

    about: Literal["errors", "response time", "budget", "alert", "silence", "disk", "data"]
    level: Level
    sentence: str


class Status(Struct, frozen=True, kw_only=True):
    """The state and every finding, the worst first. ``last_query`` is None when there never was one."""

    state: State
    reasons: tuple[Reason, ...]
    window: Window
    queries: int
    last_query: datetime | None
    complete_to: datetime


def assess(
    reader: Reader,
    settings: Settings,
    now: datetime,
    *,
    cost: CostReport | None = None,
    alerts: Sequence[FiringAlert] = (),
    facts: Facts | None = None,
) -> Status:
    """The state at ``now``. Raises InvalidQuery (a bad ``status.window``) or EngineError."""
    window = recent(settings.status.window, now)
    last = last_query(reader, settings.project, now)
    reasons: list[Reason] = []
    queries = 0
    if last is not None:
        queries = reader.query(MetricQuery(metric="queries", window=window, project=settings.project)).n
        reasons += _traffic(reader, settings, window, queries)
        reasons += _silence(reader, settings, now, last)
    if cost is not None:
        reasons += [_budget(spend.state, spend.sentence) for spend in (cost.day, cost.month) if spend.budget]
    for alert in alerts:
        levels: dict[str, Level] = {"critical": "critical", "warning": "warning"}
        reasons.append(Reason(about="alert", level=levels.get(alert.severity, "healthy"), sentence=alert.sentence))
    if facts is not None and facts.low_disk:
        left = f"only {format_value(facts.free_bytes, 'B')} free" if facts.free_bytes is not None else "nearly full"
        reasons.append(Reason(about="disk", level="warning", sentence=f"The disk of the data directory has {left}."))
    reasons.sort(key=lambda reason: -_RANK[reason.level])
    worst: Level = reasons[0].level if reasons else "healthy"
    state: State = worst
    if last is None:
        reasons.append(Reason(about="data", level="healthy", sentence="No query has been recorded yet."))
        state = "no data" if worst == "healthy" else worst
    return Status(
        state=state, reasons=tuple(reasons), window=window, queries=queries, last_query=last,
        complete_to=reader.watermark(),
    )  # fmt: skip


def last_query(reader: Reader, project: str, now: datetime) -> datetime | None:
    """When the newest query was, or None. Counts are looked at first: they come from rollups and are cheap."""
    end = up_to(now)
    everything = Window(EARLIEST, end)
    for window in (*(Window.last(seconds, end) for seconds in _LOOK_BACK), everything):
        if reader.query(MetricQuery(metric="queries", window=window, project=project)).n:
            page = reader.events(EventQuery(kind="query", window=window, limit=1, project=project))
            return time_of(page.items[0]) if page.items else window.start
    return None


def _traffic(reader: Reader, settings: Settings, window: Window, queries: int) -> list[Reason]:
    limits = settings.status
    length = duration_text(window.seconds)
    if queries < limits.minimum:
        told = f"{counted(queries, 'query', 'queries') if queries else 'No queries'} in the last {length}"
        return [Reason(about="data", level="healthy", sentence=f"{told}: too few to judge by.")]
    errors = reader.query(MetricQuery(metric="error_rate", window=window, project=settings.project))
    slow = reader.query(MetricQuery(metric="response_time.p95", window=window, project=settings.project))
    found = [
        _limited(
            "errors",
            "Error rate",
            errors.value,
            "ratio",
            limits.error_rate_warning,
            limits.error_rate_critical,
            f"over {counted(queries, 'query', 'queries')} in the last {length}",
        )
    ]
    if slow.n >= limits.minimum:
        found.append(
            _limited(
                "response time",
                "Response time p95",
                slow.value,
                "s",
                limits.response_time_warning,
                limits.response_time_critical,
                f"in the last {length}",
            )
        )
    return found


def _limited(
    about: Literal["errors", "response time"],
    name: str,
    value: float | None,
    unit: str,
    warning: float,
    critical: float,
    where: str,
) -> Reason:
    """A value against its two limits; above means strictly greater."""
    level: Level = "healthy"
    passed = ""
    if value is not None:
        level = "critical" if value > critical else "warning" if value > warning else "healthy"
    if level != "healthy":
        limit = critical if level == "critical" else warning
        passed = f", above the {level} limit of {format_value(limit, unit)}"
    return Reason(about=about, level=level, sentence=f"{name} {format_value(value, unit)} {where}{passed}.")


def _budget(state: str, sentence: str) -> Reason:
    return Reason(about="budget", level="warning" if state == "over" else "healthy", sentence=sentence)


def _silence(reader: Reader, settings: Settings, now: datetime, last: datetime) -> list[Reason]:
    """Whether queries have stopped: none for longer than the window, where a day and a week ago there were plenty.

    Both must have been busy at this time (only yesterday, when there is no week of history), so that a night or a
    weekend is not an incident.
    """
    silent = (now - last).total_seconds()
    if silent < recent(settings.status.window, now).seconds:
        return []
    zone = zone_of(settings.timezone)
    since = f"No query for {_roughly(silent)}, since {last.astimezone(zone):%Y-%m-%d %H:%M} {zone.key}"
    quiet = Window(max(last, now - timedelta(seconds=_DAY)), up_to(now))

    def before(seconds: float) -> int:
        question = MetricQuery(metric="queries", window=quiet.shifted(-seconds), project=settings.project)
        return reader.query(question).n

    yesterday, last_week = before(_DAY), before(_WEEK)
    history = Window(EARLIEST, now - timedelta(seconds=_WEEK))
    has_week = bool(reader.query(MetricQuery(metric="queries", window=history, project=settings.project)).n)
    usual = min(yesterday, last_week) if has_week else yesterday
    if silent >= _DAY or usual < settings.status.minimum:
        level: Level = "warning" if silent >= _WEEK else "healthy"
        return [Reason(about="silence", level=level, sentence=f"{since}.")]
    return [Reason(about="silence", level="warning", sentence=f"{since}; at this time there are usually {usual}.")]


def _roughly(seconds: float) -> str:
    return format_value(round(seconds / 60) * 60.0, "s") if seconds < 2 * _DAY else f"{seconds / _DAY:.0f} d"
