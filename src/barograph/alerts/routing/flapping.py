"""Flapping: counts how often an alert comes and goes, so that one which does so all the time is told of once.

A timer that waits for an alert to hold is blind to one that is down half the time: it never holds long enough. Here
each change counts, whether or not anything was told in between. ``follow`` is pure; ``router`` keeps the tracks.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from barograph.alerts.alert import Alert, Status
from barograph.alerts.routing.tree import seconds_of
from barograph.core.routing_settings import FlappingSettings
from barograph_client.errors import InvalidSettings


class Damping(Struct, frozen=True, kw_only=True):
    """More than ``most`` changes within ``window`` are flapping, until there is none for ``stable``. 0: never."""

    most: int
    window: timedelta
    stable: timedelta


class Track(Struct, frozen=True, kw_only=True):
    """What an alert did lately: its status and start when last seen, its newest changes, since when it flaps.

    ``alert`` is how it was last seen, kept only while it flaps: it may be gone when its notice is due.
    """

    status: Status
    starts_at: datetime
    changes: tuple[datetime, ...] = ()
    flapping_since: datetime | None = None
    alert: Alert | None = None


def make_damping(settings: FlappingSettings) -> Damping:
    """The damping of those settings. Raises InvalidSettings."""
    made = Damping(
        most=settings.transitions,
        window=seconds_of(settings.window, "routing.flapping.window"),
        stable=seconds_of(settings.stable, "routing.flapping.stable"),
    )
    if made.most and not (made.window and made.stable):
        raise InvalidSettings(
            "routing.flapping: window and stable are longer than 0 s", hint="transitions = 0 switches it off."
        )
    return made


def follow(track: Track | None, alert: Alert | None, damping: Damping, now: datetime) -> Track | None:
    """The track after the alert was seen at ``now``, or no longer seen (None): then it counts as resolved.

    Returns None when there is nothing to remember. A start that moved on while the alert fires means that it was
    resolved in between: two changes.
    """
    status: Status = alert.status(now) if alert else "resolved"
    starts_at = alert.starts_at if alert else now
    new = 0
    if track is None:
        new = 1 if status == "firing" else 0
    elif track.status != status:
        new = 1
    elif status == "firing" and starts_at > track.starts_at:
        new = 2
    old = track.changes if track else ()
    reach = max(damping.window, damping.stable)
    kept = tuple(at for at in old if now - reach < at <= now) + (now,) * new if damping.most else ()
    since = track.flapping_since if track else None
    if since is not None and (not kept or now - kept[-1] >= damping.stable):
        since, kept = None, ()
    elif since is None and sum(now - at < damping.window for at in kept) > damping.most > 0:
        since = now
    if status == "resolved" and not kept and since is None:
        return None
    return Track(
        status=status,
        starts_at=starts_at if status == "firing" or track is None else track.starts_at,
        changes=kept[-(damping.most + 1) :],
        flapping_since=since,
        alert=None if since is None else alert or (track and track.alert) or None,
    )
