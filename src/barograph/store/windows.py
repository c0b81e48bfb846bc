"""Windows and buckets: which tier answers which part of a window, and where calendar buckets begin.

A window is covered by the coarsest rollup tiers that fit its buckets, and by raw rows for what is left of a
minute at either end, so that an answer is exact to the microsecond and still costs little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from barograph.core.query import Calendar, Window
from barograph.core.zone import zone_of
from barograph.store.schema import TIERS
from barograph_client.errors import InvalidQuery, InvalidSettings

RAW = "raw"
MAX_BUCKETS = 20_000
WORTH = 24  # a tier is worth a part of the statement when the window has so many of its buckets


class Piece(Struct, frozen=True):
    """A part of a window and the table that answers it: a tier of the rollups, or ``raw``."""

    table: str
    window: Window


def zone(name: str) -> ZoneInfo:
    """The time zone of that name. Raises InvalidQuery."""
    try:
        return zone_of(name)
    except InvalidSettings:
        raise InvalidQuery(
            "no such time zone", hint="Use an IANA name such as Europe/Berlin or UTC.", value=name
        ) from None


def tiers_for(every: float | Calendar | None, window: Window, zone_: ZoneInfo, offset: int = 0) -> list[str]:
    """The rollup tiers to read, coarsest first, all of them with buckets that lie wholly inside the asked ones.

    Each tier is one more part of the statement, which costs more than reading some more rows: so the coarsest
    that is worth it, the minutes at the ends, and the hours between whole days and minutes.
    """
    fits = _fitting(every, window, zone_, offset)
    coarsest = next((tier for tier in fits if TIERS[tier] * WORTH <= window.seconds), fits[-1] if fits else "")
    return [
        tier for tier in fits if tier in (coarsest, "measure_1m") or (tier, coarsest) == ("measure_1h", "measure_1d")
    ]


def _fitting(every: float | Calendar | None, window: Window, zone_: ZoneInfo, offset: int) -> list[str]:
    if every is None:
        fits = list(TIERS)
    elif isinstance(every, str):
        offsets = {_offset(moment, zone_) for moment in _days(window)}
        fits = [tier for tier, seconds in TIERS.items() if all(offset % seconds == 0 for offset in offsets)]
    else:
        fits = [tier for tier, seconds in TIERS.items() if every % seconds == 0 and offset % seconds == 0]
    return sorted(fits, key=lambda tier: -TIERS[tier])


def cover(window: Window, tiers: Sequence[str]) -> list[Piece]:
    """The window as pieces, in order: the coarsest tier in the middle, finer ones and raw rows at the ends."""
    if not tiers:
        return [Piece(RAW, window)]
    seconds = TIERS[tiers[0]]
    start = _ceil(window.start, seconds)
    end = _floor(window.end, seconds)
    if start >= end:
        return cover(window, tiers[1:])
    before = cover(Window(window.start, start), tiers[1:]) if window.start < start else []
    after = cover(Window(end, window.end), tiers[1:]) if end < window.end else []
    return [*before, Piece(tiers[0], Window(start, end)), *after]


def bucket_windows(window: Window, every: float | Calendar | None, zone_: ZoneInfo, offset: int = 0) -> list[Window]:
    """The buckets that the window falls into, cut to it. Raises InvalidQuery for none or too many of them."""
    if offset and (every is None or isinstance(every, str) or not 0 < offset < every):
        raise InvalidQuery("only buckets in seconds have an offset, less than their length", value=offset)
    if every is None:
        return [window]
    if not isinstance(every, str) and not (math.isfinite(every) and every >= 1 and every == int(every)):
        raise InvalidQuery("a bucket is a whole number of seconds", hint="Use 60, 3600 or day.", value=every)
    if not isinstance(every, str) and window.seconds / every > MAX_BUCKETS:
        raise too_many_buckets()
    found: list[Window] = []
    start = bucket_start(window.start, every, zone_, offset)
    while start < window.end:
        following = _next(start, every, zone_)
        found.append(Window(max(start, window.start), min(following, window.end)))
        start = following
        if len(found) > MAX_BUCKETS:
            raise too_many_buckets()
    return found


def too_many_buckets() -> InvalidQuery:
    """The error for an answer that nobody could look at."""
    return InvalidQuery(f"more than {MAX_BUCKETS} buckets", hint="Ask for longer buckets or a shorter window.")


def bucket_start(moment: datetime, every: float | Calendar, zone_: ZoneInfo, offset: int = 0) -> datetime:
    """The beginning of the bucket that holds a moment, in UTC."""
    if not isinstance(every, str):
        return datetime.fromtimestamp((moment.timestamp() - offset) // every * every + offset, UTC)
    day = moment.astimezone(zone_).date()
    if every == "week":
        day -= timedelta(days=day.weekday())
    elif every == "month":
        day = day.replace(day=1)
    return datetime.combine(day, time(), zone_).astimezone(UTC)


def bucket_sql(column: str, every: float | Calendar | None, zone_name: str, offset: int = 0) -> str:
    """The bucket's beginning as Unix seconds. ``zone_name`` is a placeholder of a parameter."""
    if every is None:
        return "0"
    if not isinstance(every, str):
        seconds, shift = int(every), int(offset)
        if not shift:
            return f"toFloat64(intDiv(toUnixTimestamp({column}), {seconds}) * {seconds})"
        return f"toFloat64(intDiv(toInt64(toUnixTimestamp({column})) - {shift}, {seconds}) * {seconds} + {shift})"
    if every == "day":
        return f"toFloat64(toUnixTimestamp(toStartOfDay(toTimeZone({column}, {zone_name}))))"
    first = f"toStartOfWeek({column}, 1, {zone_name})" if every == "week" else f"toStartOfMonth({column}, {zone_name})"
    return f"toFloat64(toUnixTimestamp(toDateTime({first}, {zone_name})))"


def _next(start: datetime, every: float | Calendar, zone_: ZoneInfo) -> datetime:
    if not isinstance(every, str):
        return start + timedelta(seconds=every)
    local = start.astimezone(zone_).date()
    if every == "month":
        following = (local.replace(day=28) + timedelta(days=4)).replace(day=1)
    else:
        following = local + timedelta(days=7 if every == "week" else 1)
    return datetime.combine(following, time(), zone_).astimezone(UTC)


def _offset(moment: datetime, zone_: ZoneInfo) -> int:
    offset = moment.astimezone(zone_).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _days(window: Window) -> list[datetime]:
    """A moment in every fortnight of the window: offsets that last shorter do not exist."""
    count = int(window.seconds // (14 * 86400)) + 1
    return [window.start + timedelta(days=14 * i) for i in range(count)] + [window.end]


def _floor(moment: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)


def _ceil(moment: datetime, seconds: int) -> datetime:
    floor = _floor(moment, seconds)
    return floor if floor == moment else floor + timedelta(seconds=seconds)
