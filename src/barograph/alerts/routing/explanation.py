"""In words: why a notification about an alert was sent or is held, whom it has reached, and when the next one is due.

Says what ``router`` decided at its last step, and what it would decide of those that no step has seen yet, from the
state alone, and what the outbox knows of the messages; for pages, the API and the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from barograph.alerts.alert import Alert
from barograph.alerts.routing.groups import Group, Told, first_tick, repeat_due
from barograph.alerts.routing.remembered import is_cut
from barograph.alerts.routing.router import Acknowledgement, Router, RouterState
from barograph.alerts.routing.silences import Hold
from barograph.alerts.routing.tree import Route
from barograph.control.outbox import Reached
from barograph.core.unit import counted, format_value
from barograph.core.zone import local_time, zone_of
from barograph_client.clock import as_utc
from barograph_client.errors import shorten

MOST_MISSED = 3  # targets whose troubles are told one by one
ERROR_LENGTH = 200  # characters of what a target said


class Explanation(Struct, frozen=True, kw_only=True):
    """For one group that the alert is in (an alert has several where a route continues).

    ``told`` is whether a message that it fires was put into the outbox for the receiver, and none since that it is
    over; ``targets`` are whom the messages about its group have reached. ``next_at`` is when a notification with it is
    due if nothing changes until then, None when none is.
    """

    group_key: str
    receiver: str
    told: bool
    words: str
    next_at: datetime | None
    targets: tuple[Reached, ...] = ()


def explain_targets(explanation: Explanation, targets: Sequence[Reached], now: datetime, zone: ZoneInfo) -> Explanation:
    """The explanation of what was told with whom it has reached, and whom not and why; others as they are."""
    if not explanation.told or not targets:
        return explanation
    delivered = [one.delivered_at for one in targets if one.state == "sent" and one.delivered_at is not None]
    said = [_missed(one, now, zone) for one in targets if one.state != "sent"]
    more = [f"and {len(said) - MOST_MISSED:,} more targets were not reached"] if len(said) > MOST_MISSED else []
    if delivered:
        to = "" if len(targets) == 1 else f" to {len(delivered):,} of {len(targets):,} targets"
        said.insert(0, f"delivered{to} at {local_time(max(delivered), zone, now)}")
    shown = said[: MOST_MISSED + bool(delivered)]
    words = "; ".join((explanation.words, *shown, *more))
    return replace(explanation, words=words, targets=tuple(targets))


def _missed(one: Reached, now: datetime, zone: ZoneInfo) -> str:
    """Why the newest message is not there, and what is done about it."""
    why = f": {shorten(one.error, ERROR_LENGTH)}" if one.error else ""
    before = f" (an earlier message was, at {local_time(one.delivered_at, zone, now)})" if one.delivered_at else ""
    if one.state == "failed":
        return f"not delivered to {one.target}{before}{why}"
    if one.next_at is None or not one.attempts:
        return f"waits to be sent to {one.target}"
    tried = counted(one.attempts, "attempt")
    return f"not yet delivered to {one.target}{before}, {tried}, the next at {local_time(one.next_at, zone, now)}{why}"


def explain(
    router: Router, state: RouterState, alert: Alert, now: datetime, zone: ZoneInfo | None = None
) -> tuple[Explanation, ...]:
    """What is known of the alert, one explanation a group. Times in the words are of ``zone`` (UTC by default), those
    of the day of ``now`` without their date."""
    case = _Case(router, state, alert, as_utc(now), zone or zone_of("UTC"))
    found: list[Explanation] = []
    for route in router.tree.find(alert.labels):
        key = route.group_key(route.group_labels(alert.labels))
        group = state.groups.get(key)
        told = group.told.get(case.identity) if group else None
        words, next_at = case.say(route, group, told)
        found.append(
            Explanation(group_key=key, receiver=route.receiver, told=told is not None, words=words, next_at=next_at)
        )
    return tuple(found)


class _Case:
    """An alert and what the state says of it."""

    def __init__(self, router: Router, state: RouterState, alert: Alert, now: datetime, zone: ZoneInfo) -> None:
        self.identity = alert.fingerprint
        track = state.tracks.get(self.identity)
        self._flaps = track is not None and track.flapping_since is not None
        self._fires = self._flaps or alert.status(now) == "firing"
        self._hold: Hold | None = state.holds.get(self.identity)
        self._acknowledged: Acknowledgement | None = state.acknowledgements.get(self.identity)
        self._router, self._state, self._alert, self._now, self._zone = router, state, alert, now, zone

    def say(self, route: Route, group: Group | None, told: Told | None) -> tuple[str, datetime | None]:
        """The words, and when the next notification is due."""
        if not self._fires:
            return self._resolved(route, group, told)
        if group is None:
            first = first_tick(self._alert.starts_at, route, self._now)
            if self._hold is not None:
                return self._held(self._hold, route, first, told)
            return f"new: waiting for group_wait until {self._time(first)}", first
        due = self._router.due_at(self._state, group)
        if self._hold is not None:
            return self._held(self._hold, route, due, told)
        if told is None:
            return self._waiting(route, group, due)
        if told.held:
            return f"no longer held back: told at {self._time(due)}", due
        if self._flaps != told.flapping:
            return f"{'flapping' if self._flaps else 'stable again'}: told at {self._time(due)}", due
        words, next_at = self._told(route, group)
        cut = "; what is said of it is remembered in part, there being so much" if is_cut(told.alert) else ""
        return words + cut, next_at

    def _resolved(self, route: Route, group: Group | None, told: Told | None) -> tuple[str, datetime | None]:
        if group is None or told is None:
            return "resolved; the receiver does not believe that it fires, so there is nothing to tell", None
        if not self._router.tells_resolved(route.receiver):
            return f"resolved; {route.receiver} is not told of resolutions", None
        due = self._router.due_at(self._state, group)
        return f"resolved: told at the group's next tick, {self._time(due)}", due

    def _held(self, hold: Hold, route: Route, due: datetime, told: Told | None) -> tuple[str, datetime | None]:
        """``due`` is when its group's next tick is."""
        before = "told before, and now " if told else ""
        if hold.until is None:
            return f"{before}{hold.words} for as long as that fires", None
        steps = -((due - hold.until) // route.group_interval)
        then = due + max(steps, 0) * route.group_interval
        after = f"; next at {self._time(then)}" if then > hold.until else ""
        return f"{before}{hold.words} until {self._time(hold.until)}{after}", then

    def _waiting(self, route: Route, group: Group, due: datetime) -> tuple[str, datetime | None]:
        if due > max(group.next_at, self._now):
            return f"held after the start until {self._time(due)}, so that what inhibits it is seen first", due
        if self._flaps:
            return f"flapping: told once, at {self._time(due)}", due
        if not group.ticked:
            return f"waiting for group_wait until {self._time(due)}, so that others of its group come along", due
        interval = format_value(route.group_interval.total_seconds(), "s")
        return f"new in its group, which tells of changes once in {interval}: next at {self._time(due)}", due

    def _told(self, route: Route, group: Group) -> tuple[str, datetime | None]:
        sent = f"told at {self._time(group.sent_at)} ({group.reason})" if group.sent_at else "told"
        if self._flaps:
            stable = format_value(self._router.damping.stable.total_seconds(), "s")
            return f"{sent}; flapping: nothing more until it has not changed for {stable}", None
        if self._acknowledged is not None:
            return (
                f"{sent}; acknowledged by {self._acknowledged.by}: not repeated until it resolves or fires anew",
                None,
            )
        repeat = repeat_due(group, route)
        after = format_value(route.repeat_interval.total_seconds(), "s")
        due = f"; repeated at {self._time(repeat)} if nothing changes (repeat_interval {after})" if repeat else ""
        return f"{sent}{due}", repeat

    def _time(self, moment: datetime) -> str:
        return local_time(moment, self._zone, self._now)
