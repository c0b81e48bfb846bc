"""What one may ask of metrics and events, and what is answered; a ``Reader`` answers it.

Windows are half-open, [start, end), in UTC. A bucket is a number of seconds or a calendar unit in a time zone.
Filters follow one grammar everywhere: ``field:op:value``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

from msgspec import Struct, field

from barograph_client.clock import as_utc
from barograph_client.errors import InvalidQuery

Period = Literal["previous", "day", "week"]
Op = Literal["eq", "ne", "in", "gte", "lte", "has", "match", "exists"]
OPS: tuple[Op, ...] = ("eq", "ne", "in", "gte", "lte", "has", "match", "exists")
LABELS = ("pipeline", "environment", "model", "status")  # what the rollups keep apart
DIMENSIONS = (*LABELS, "provider", "user_id", "session_id", "error_type", "error_stage")  # and any tag, as tag.<name>

Scalar = str | float | int | bool | None
_SPAN = re.compile(r"\A(\d+(?:\.\d+)?)(ms|s|m|h|d|w)\Z")
_LONGEST = 100 * 365.25 * 86400.0  # seconds that a duration may have: no event is older than that
_YEARS = (1900, 2299)  # what the engine's times hold
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``90s``, ``15m``, ``1h``, ``7d`` or ``2w``. Raises InvalidQuery."""
    found = _SPAN.match(text.strip())
    if not found or float(found[1]) == 0:
        raise InvalidQuery("not a duration", hint="Write a number and ms, s, m, h, d or w: 15m, 7d.", value=text)
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST:
        raise InvalidQuery("a duration of more than 100 years", hint="Ask for a shorter one.", value=text)
    return seconds


def parse_moment(text: str, now: datetime) -> datetime:
    """A moment: ISO 8601 (naive is UTC), ``now``, or a duration ago such as ``-7d``. Raises InvalidQuery."""
    text = text.strip()
    if text == "now":
        return now
    if text.startswith("-"):
        return now - timedelta(seconds=parse_duration(text[1:]))
    try:
        moment = as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):  # the latter where the zone leads out of the years 1 to 9999
        raise InvalidQuery(
            "not a moment", hint="Write ISO 8601 (2026-11-22T14:05Z), now, or a duration ago (-7d).", value=text
        ) from None
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise InvalidQuery("a moment outside the years 1900 to 2299", hint="Events have none of these.", value=text)
    return moment


class Window(Struct, frozen=True):
    """The time from ``start`` up to, not including, ``end``; both aware and in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise InvalidQuery("a window needs times with a zone", value=self.start)
        if self.end <= self.start:
            raise InvalidQuery("a window must end after it starts", value=f"{self.start} .. {self.end}")

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    def shifted(self, seconds: float) -> Window:
        """The same window, so many seconds later (earlier when negative). Raises InvalidQuery."""
        return Window(_later(self.start, seconds), _later(self.end, seconds))

    @classmethod
    def last(cls, duration: float | str, now: datetime) -> Window:
        """The window of that many seconds, or of a duration such as ``7d``, up to now. Raises InvalidQuery."""
        seconds = parse_duration(duration) if isinstance(duration, str) else duration
        return cls(_later(now, -seconds), now)


def _later(moment: datetime, seconds: float) -> datetime:
    try:
        return moment + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        raise InvalidQuery(
            "a window beyond the years 1 to 9999",
            hint="Ask for a shorter or later one.",
            value=f"{moment} {seconds:+} s",
        ) from None


def earlier_window(window: Window, period: Period, zone: tzinfo) -> Window:
    """The period just before, or the same wall-clock times a day or a week earlier in a time zone.

    Raises InvalidQuery where there is no such time.
    """
    if period == "previous":
        return window.shifted(-window.seconds)
    seconds = 86400.0 * (7 if period == "week" else 1)
    start, end = (_later(moment.astimezone(zone), -seconds).astimezone(UTC) for moment in (window.start, window.end))
    return Window(start, end)


class Filter(Struct, frozen=True):
    """Keep events whose ``field`` stands in relation ``op`` to ``values``.

    ``field`` is a dimension, ``tag.<name>``, ``variant.<experiment>`` or a number of the event. ``in`` takes
    several values, ``exists`` none; ``has`` is a substring, ``match`` an RE2 regular expression.
    """

    field: str
    op: Op
    values: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Filter:
        """From ``field:op:value`` (``in`` takes ``a,b,c``). Raises InvalidQuery."""
        name, _, rest = text.partition(":")
        op, _, value = rest.partition(":")
        if not name or op not in OPS or (op != "exists" and not rest.count(":")):
            raise InvalidQuery(
                "not a filter", hint=f"Write field:op:value with op one of {', '.join(OPS)}.", value=text
            )
        values = () if op == "exists" else tuple(value.split(",")) if op == "in" else (value,)
        return cls(name, op, values)


Calendar = Literal["day", "week", "month"]


class MetricQuery(Struct, frozen=True, kw_only=True):
    """One metric over a window, in buckets, by group, filtered, beside an earlier period.

    ``every`` is a bucket in seconds, a calendar unit in ``timezone``, or None for one number. ``compare`` is the
    period just before (``previous``), the same wall-clock time a day or a week earlier, or a window of its own.
    Buckets in seconds begin ``offset`` whole seconds after the multiples of ``every`` since 1970; the same question
    with several offsets gives a window that slides. With ``trailing`` seconds, a multiple of ``every``, each row is of
    so many seconds up to the end of its bucket: every place of a window that slides, in one question. ``limit`` bounds
    the number of groups; the largest by count are kept.
    """

    metric: str
    window: Window
    every: float | Calendar | None = None
    offset: int = 0
    trailing: int = 0
    by: tuple[str, ...] = ()
    where: tuple[Filter, ...] = ()
    compare: Period | Window | None = None
    timezone: str = "UTC"
    project: str = "default"
    limit: int = 50


class MetricRow(Struct, frozen=True, kw_only=True):
    """A metric's value in one bucket and group; ``value`` is None where nothing was measured.

    ``n`` is the number of events that carry the measure (for a ratio: of its denominator).
    """

    start: datetime
    end: datetime
    value: float | None
    n: int
    group: dict[str, str] = field(default_factory=dict)


class MetricAnswer(Struct, frozen=True, kw_only=True):
    """The rows, the earlier period's rows when asked for, and up to when the data is complete.

    ``read_from`` says what answered: ``rollup``, ``raw`` or ``both``. ``notes`` are sentences for people.
    """

    metric: str
    unit: str
    rows: tuple[MetricRow, ...]
    complete_to: datetime
    before: tuple[MetricRow, ...] = ()
    read_from: str = "rollup"
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> float | None:
        """The one number of an ungrouped question without buckets; None when nothing was measured."""
        return self.rows[0].value if self.rows else None

    @property
    def n(self) -> int:
        """How many events were measured, over all rows."""
        return sum(row.n for row in self.rows)


class EventQuery(Struct, frozen=True, kw_only=True):
    """Events themselves: a page of one kind, newest first unless ``order`` names a number of the kind.

    ``order`` is a field; ``descending`` its direction. ``cursor`` continues after the page that returned it.
    """

    kind: str
    window: Window
    where: tuple[Filter, ...] = ()
    order: str = "time"
    descending: bool = True
    limit: int = 50
    cursor: str = ""
    project: str = "default"


class EventPage(Struct, frozen=True, kw_only=True):
    """Rows as dictionaries named like the event's fields, and the cursor of the next page ('' at the end)."""

    items: tuple[dict[str, Any], ...]
    cursor: str
    complete_to: datetime


def buckets(window: Window, seconds: float, offset: int = 0) -> Iterator[Window]:
    """The buckets of a fixed length, from ``offset`` after the Unix epoch, that overlap the window, cut to it."""
    start = datetime.fromtimestamp((window.start.timestamp() - offset) // seconds * seconds + offset, UTC)
    step = timedelta(seconds=seconds)
    while start < window.end:
        yield Window(max(start, window.start), min(start + step, window.end))
        start += step
