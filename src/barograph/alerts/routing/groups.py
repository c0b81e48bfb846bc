"""A group of alerts and its timers: what is told of it at a tick, and what was told before.

    new group ──group_wait──▶ first tick ──group_interval──▶ tick ──group_interval──▶ …
    a tick tells of changes at once, and of an unchanged group when repeat_interval has passed; otherwise nothing

The semantics are Alertmanager's, except that a resolution is told exactly when its firing was told, also while a
silence or an inhibition holds the alert (whoever was woken hears the end), and that an alert which was held after it
was told is told again when nothing holds it any more. ``router`` decides what each alert is and calls ``tick``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from barograph.alerts.alert import Alert, Notification
from barograph.alerts.routing.silences import Hold
from barograph.alerts.routing.tree import Route
from barograph.core.unit import format_value

MOST_ALERTS = 100  # of a notification; the rest is counted in ``truncated``
_WORDS = {
    "new": ("1 new alert", "{} new alerts"),
    "again": ("1 fired again after it was acknowledged", "{} fired again after they were acknowledged"),
    "released": ("1 no longer held back", "{} no longer held back"),
    "flapping": ("1 flapping", "{} flapping"),
    "stable": ("1 stable again", "{} stable again"),
    "resolved": ("1 resolved", "{} resolved"),
}


class Told(Struct, frozen=True, kw_only=True):
    """An alert that the receiver believes to fire: as it last was, and whether it was held, flapping, acknowledged."""

    alert: Alert
    held: bool = False
    flapping: bool = False
    acknowledged: bool = False


class Group(Struct, frozen=True, kw_only=True):
    """Where a group stands. ``next_at`` is its next tick; ``sent_at`` the tick at which something was told last."""

    key: str
    receiver: str
    route: str
    labels: dict[str, str]
    next_at: datetime
    ticked: bool = False
    sent_at: datetime | None = None
    reason: str = ""
    told: dict[str, Told] = field(default_factory=dict)


class Member(Struct, frozen=True, kw_only=True):
    """An alert of a group at the moment of a step.

    ``fires`` is true of a flapping one all the time. ``flapping`` is in words how it flaps; empty when it does not.
    """

    alert: Alert
    fires: bool
    hold: Hold | None = None
    flapping: str = ""
    acknowledged: bool = False

    @property
    def shown(self) -> Alert:
        """The alert as it is told."""
        if not self.flapping:
            return self.alert
        return replace(self.alert, ends_at=None, annotations={**self.alert.annotations, "flapping": self.flapping})


def first_tick(starts_at: datetime, route: Route, now: datetime) -> datetime:
    """When a group that begins with this alert is told of: it has waited since it fired, not since it was seen."""
    return max(min(starts_at, now) + route.group_wait, now)


def tick_due(group: Group, interval: timedelta, now: datetime) -> datetime | None:
    """The newest tick of the group's grid that is due, or None. Those before it were missed and are not made up."""
    if now < group.next_at:
        return None
    return group.next_at + (now - group.next_at) // interval * interval


def repeat_due(group: Group, route: Route) -> datetime | None:
    """The first tick at which the group is repeated if nothing changes, or None when nothing was told."""
    if group.sent_at is None:
        return None
    first = group.sent_at + route.repeat_interval
    steps = -((group.next_at - first) // route.group_interval)
    return group.next_at + max(steps, 0) * route.group_interval


def tick(
    group: Group, route: Route, members: Mapping[str, Member], at: datetime, now: datetime, *, send_resolved: bool
) -> tuple[Group | None, Notification | None]:
    """The group after its tick ``at``, and what is told; no group when it is over.

    ``members`` has, by fingerprint, every alert of the group and every one that was told. A group whose end was told
    stays for one more tick, so that what fires again meanwhile waits for the interval.
    """
    changed: dict[str, str] = {}
    listed: dict[str, Member] = {}
    told: dict[str, Told] = {}
    for identity, member in members.items():
        before = group.told.get(identity)
        change = _change(before, member)
        if change == "resolved" and not send_resolved:
            continue
        if change is not None:
            changed[identity] = change
        if member.fires and (before is not None or member.hold is None):
            told[identity] = _remember(before, member)
        if change is not None or (member.fires and member.hold is None):
            listed[identity] = member
    reason = _reason(changed, listed)
    if not changed and _is_repeat(group, route, at):
        listed = {identity: member for identity, member in listed.items() if _nags(member)}
        if listed:
            waited = (at - group.sent_at).total_seconds() if group.sent_at else 0.0
            reason = f"repeated after {format_value(waited, 's')}"
    after = replace(group, next_at=at + route.group_interval, ticked=True, told=told)
    if not reason:
        alive = told or any(member.fires for member in members.values())
        return (after if alive else None), None
    after = replace(after, sent_at=at, reason=reason)
    nagging = any(_nags(member) for member in listed.values())
    next_at = repeat_due(after, route) if nagging else None
    return after, _notification(after, changed, listed, at, now, next_at)


def _change(before: Told | None, member: Member) -> str | None:
    """What there is to tell of the alert, if anything."""
    if not member.fires:
        return "resolved" if before is not None else None
    if member.hold is not None:
        return None
    if before is None:
        return "flapping" if member.flapping else "new"
    if bool(member.flapping) != before.flapping:
        return "flapping" if member.flapping else "stable"
    if before.held:
        return None if member.flapping else "released"
    if before.acknowledged and not member.acknowledged and member.alert.starts_at > before.alert.starts_at:
        return None if member.flapping else "again"
    return None


def _remember(before: Told | None, member: Member) -> Told:
    if member.hold is not None and before is not None:  # told before it was held: what was said of it stands
        return replace(before, alert=member.alert, held=True)
    return Told(alert=member.alert, flapping=bool(member.flapping), acknowledged=member.acknowledged)


def _nags(member: Member) -> bool:
    """Whether it is repeated while nothing changes."""
    return member.fires and member.hold is None and not member.acknowledged and not member.flapping


def _is_repeat(group: Group, route: Route, at: datetime) -> bool:
    return group.sent_at is not None and at - group.sent_at >= route.repeat_interval


def _reason(changed: Mapping[str, str], listed: Mapping[str, Member]) -> str:
    counts = Counter(changed.values())
    if not counts:
        return ""
    if not any(member.fires for member in listed.values()):
        return "all resolved"
    parts = [
        one if counts[kind] == 1 else more.format(counts[kind]) for kind, (one, more) in _WORDS.items() if counts[kind]
    ]
    return ", ".join(parts)


def _notification(
    group: Group,
    changed: Mapping[str, str],
    listed: Mapping[str, Member],
    at: datetime,
    now: datetime,
    next_at: datetime | None,
) -> Notification:
    def order(identity: str) -> tuple[bool, int, bool, datetime, str]:
        member = listed[identity]
        return not member.fires, member.alert.rank, identity not in changed, member.alert.starts_at, identity

    shown = [listed[identity].shown for identity in sorted(listed, key=order)]
    firing = any(member.fires for member in listed.values())
    more = len(shown) - MOST_ALERTS
    storm = f"; {len(shown)} alerts, {MOST_ALERTS} of them listed, the worst first" if more > 0 else ""
    return Notification(
        key=_key(group.key, at, listed),
        group_key=group.key,
        receiver=group.receiver,
        status="firing" if firing else "resolved",
        reason=group.reason + storm,
        group_labels=group.labels,
        common_labels=_common(alert.labels for alert in shown),
        common_annotations=_common(alert.annotations for alert in shown),
        alerts=tuple(shown[:MOST_ALERTS]),
        truncated=max(more, 0),
        at=now,
        next_at=next_at,
    )


def _key(group_key: str, at: datetime, listed: Mapping[str, Member]) -> str:
    """Of the group, the tick on its grid, and what is told: the same step done again gives the same key."""
    told = (
        f"{identity} {member.fires} {member.alert.starts_at.isoformat()}" for identity, member in sorted(listed.items())
    )
    text = "\n".join((group_key, at.isoformat(), *told))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _common(several: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What is the same in all of them."""
    found: dict[str, str] | None = None
    for one in several:
        found = dict(one) if found is None else {k: v for k, v in found.items() if one.get(k) == v}
    return found or {}
