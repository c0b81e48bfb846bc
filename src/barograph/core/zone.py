"""Time zones by their names, and a moment as people there write it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from barograph_client.errors import InvalidSettings


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises InvalidSettings."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # KeyError: ZoneInfoNotFoundError is one
        raise InvalidSettings(
            "timezone: no such time zone", hint="Write a name such as UTC or Europe/Berlin.", value=name
        ) from None


def local_time(moment: datetime, zone: ZoneInfo, now: datetime | None = None) -> str:
    """The moment in that zone, to the second, with the zone's name; of the day of ``now`` only the time of day."""
    there = moment.astimezone(zone)
    if now is not None and there.date() == now.astimezone(zone).date():
        return f"{there:%H:%M:%S}"
    return f"{there:%Y-%m-%d %H:%M:%S} {zone.key}"
