"""Days, months and recent windows in the time zone that people see; used by every question of this folder.

A local day has 23, 24 or 25 hours. Windows are handed on in UTC, half-open.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from barograph.core.query import Calendar, Window, parse_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The moment at which that local day begins, in UTC; where the clock skips midnight, the first moment after."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def day_of(now: datetime, zone: ZoneInfo) -> Window:
    """The whole local calendar day that ``now`` lies in."""
    today = now.astimezone(zone).date()
    return Window(midnight(today, zone), midnight(today + timedelta(days=1), zone))


def month_of(now: datetime, zone: ZoneInfo) -> Window:
    """The whole local calendar month that ``now`` lies in."""
    first = now.astimezone(zone).date().replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Window(midnight(first, zone), midnight(following, zone))


def week_of(now: datetime, zone: ZoneInfo) -> Window:
    """The whole local calendar week, from Monday on, that ``now`` lies in."""
    today = now.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday())
    return Window(midnight(monday, zone), midnight(monday + timedelta(days=7), zone))


def bucket_of(moment: datetime, every: float | Calendar, zone: ZoneInfo) -> Window:
    """The whole bucket that the moment lies in: so many seconds counted from 1970 on, or a local calendar unit."""
    if isinstance(every, str):
        return {"day": day_of, "week": week_of, "month": month_of}[every](moment, zone)
    start = datetime.fromtimestamp(moment.timestamp() // every * every, UTC)
    return Window(start, start + timedelta(seconds=every))


def up_to(now: datetime, step: timedelta = timedelta(minutes=1)) -> datetime:
    """The end of a window that has everything up to and including ``now``; a whole minute, as the rollups have it."""
    return now - (now - _EPOCH) % step + step


def recent(duration: float | str, now: datetime) -> Window:
    """The last so many seconds, or a duration such as ``24h``, up to and including ``now``. Raises InvalidQuery.

    It ends with the running minute, when it is shorter than an hour with the running second.
    """
    seconds = parse_duration(duration) if isinstance(duration, str) else duration
    return Window.last(seconds, up_to(now, timedelta(minutes=1) if seconds >= 3600 else timedelta(seconds=1)))


def duration_text(seconds: float) -> str:
    """A window's length in words: ``15 min``, ``24 h``, ``7 d``."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= (2 * length if unit == "d" else length) and seconds % length == 0:
            return f"{seconds / length:.0f} {unit}"
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
