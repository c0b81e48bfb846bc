"""The router: from all alerts at a moment to the notifications that are due, as one pure step.

Puts together the tree, groups, inhibition, silences and maintenance, flapping and acknowledgements. ``alert_manager``
steps it at every scheduled time and keeps the new state in the transaction that puts the notifications into the
outbox: a crash before that repeats the step, with the same keys, and a crash after it has lost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from barograph.alerts.alert import Alert, Notification
from barograph.alerts.routing.flapping import Track, follow, make_damping
from barograph.alerts.routing.groups import Group, Member, first_tick, tick, tick_due
from barograph.alerts.routing.inhibition import Inhibitor, make_inhibitions
from barograph.alerts.routing.silences import Hold, Silencer, make_windows
from barograph.alerts.routing.tree import Route, make_tree
from barograph.control.silences import Silence
from barograph.core.routing_settings import RoutingSettings
from barograph.core.unit import format_value
from barograph_client.clock import as_utc
from barograph_client.errors import InvalidInput

WhyOver = Callable[[Alert], str]

MOST_HOLDS = 3  # starts in a row that hold notifications back: one that crashes all the time must tell some day


class Acknowledgement(Struct, frozen=True, kw_only=True):
    """Somebody takes care of an alert; ``starts_at`` is the alert's, so that a new firing is not acknowledged."""

    by: str
    at: datetime
    starts_at: datetime
    comment: str = ""


class RouterState(Struct, frozen=True, kw_only=True):
    """All that is remembered between steps: JSON-serialisable, and no larger than what fires, flaps or was told.

    ``groups`` are by key; ``tracks``, ``holds`` (what is held back now, and by what) and ``acknowledgements`` by
    fingerprint. ``started_at`` begins the hold after a start, ``unsettled`` counts starts whose hold was cut short.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    tracks: dict[str, Track] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    acknowledgements: dict[str, Acknowledgement] = field(default_factory=dict)
    started_at: datetime | None = None
    unsettled: int = 0


def no_reason(alert: Alert) -> str:
    """Nothing is known of why an alert is not there any more."""
    return ""


class Router:
    """Routing as the settings have it. Holds no state: every method that moves something returns the new one.

    ``receivers`` has the names of the receivers there are, and whether each is told of resolutions. Raises
    InvalidSettings.
    """

    def __init__(self, settings: RoutingSettings, receivers: Mapping[str, bool]) -> None:
        self._send_resolved = dict(receivers)
        self.tree = make_tree(settings.route, receivers)
        self.routes = {route.id: route for route in self.tree.walk()}
        self._inhibitions = make_inhibitions(settings.inhibitions)
        self._windows = make_windows(settings.maintenance)
        self.damping = make_damping(settings.flapping)

    def started(self, state: RouterState, now: datetime) -> RouterState:
        """The state after a start of the process: for one group_wait nothing is told.

        By then the alerts that inhibit others have been seen again, and what is not there is really gone.
        """
        if state.unsettled >= MOST_HOLDS:
            return state
        return replace(state, started_at=as_utc(now), unsettled=state.unsettled + 1)

    def acknowledge(
        self, state: RouterState, fingerprint: str, *, by: str, now: datetime, comment: str = ""
    ) -> RouterState:
        """Somebody takes care: the alert is not repeated until it resolves or fires anew. Raises InvalidInput."""
        track = state.tracks.get(fingerprint)
        if track is None or (track.status == "resolved" and track.flapping_since is None):
            raise InvalidInput(
                "no alert of that fingerprint fires", hint="Look at the open alerts.", value=fingerprint[:40]
            )
        made = Acknowledgement(by=by, at=as_utc(now), starts_at=track.starts_at, comment=comment)
        return replace(state, acknowledgements={**state.acknowledgements, fingerprint: made})

    def withdraw(self, state: RouterState, fingerprint: str) -> RouterState:
        """Nobody takes care any more: it is repeated again as if nobody had. Raises InvalidInput."""
        if fingerprint not in state.acknowledgements:
            raise InvalidInput(
                "nobody has acknowledged an alert of that fingerprint",
                hint="The open alerts say who takes care of which.",
                value=fingerprint[:40],
            )
        left = {key: one for key, one in state.acknowledgements.items() if key != fingerprint}
        return replace(state, acknowledgements=left)

    def step(
        self,
        state: RouterState,
        alerts: Iterable[Alert],
        silences: Iterable[Silence],
        now: datetime,
        why_over: WhyOver = no_reason,
    ) -> tuple[RouterState, list[Notification]]:
        """What is told at ``now``, and the state after it. Pure: the same input gives the same output.

        ``alerts`` are all that fire, and those resolved that the caller still knows: one that was told and is no
        longer there is resolved (one from outside at its ``ends_at``), with what ``why_over`` says of it as summary.
        Their order does not matter. Ticks that were missed are caught up as one, with what is true now.
        """
        now = as_utc(now)
        state = _steadied(state, now, self.routes, self.tree)
        present = self._present(state, _newest(alerts), now, why_over)
        state = replace(state, groups={key: _ended(group, present) for key, group in state.groups.items()})
        tracks = self._follow(state, present, now)
        fires = {
            identity: alert
            for identity, alert in present.items()
            if alert.status(now) == "firing" or _flaps(tracks.get(identity))
        }
        holds = self._held(fires, silences, now)
        acknowledgements = {
            identity: one
            for identity, one in state.acknowledgements.items()
            if identity in fires and (_flaps(tracks.get(identity)) or tracks[identity].starts_at == one.starts_at)
        }
        members: dict[str, dict[str, Member]] = {key: {} for key in state.groups}
        groups = dict(state.groups)
        for identity, alert in present.items():
            member = Member(
                alert=alert,
                fires=identity in fires,
                hold=holds.get(identity),
                flapping=self._flapping_words(tracks.get(identity)),
                acknowledged=identity in acknowledgements,
            )
            self._join(state, groups, members, identity, member, now)
        settled, notifications = self._tick(state, groups, members, now)
        over = now >= self._held_until(state, self.tree)
        after = RouterState(
            groups=settled,
            tracks=tracks,
            holds=holds,
            acknowledgements=acknowledgements,
            started_at=state.started_at,
            unsettled=0 if over else state.unsettled,
        )
        return after, notifications

    def ahead(
        self, state: RouterState, alerts: Collection[Alert], silences: Iterable[Silence], now: datetime
    ) -> RouterState:
        """The state, also with what holds those back that no step has seen fire yet; ``alerts`` are all there are."""
        tracks = state.tracks
        fires = {
            identity: alert
            for alert in alerts
            if _flaps(tracks.get(identity := alert.fingerprint)) or alert.status(now) == "firing"
        }
        unseen = {identity for identity in fires if identity not in tracks or tracks[identity].status != "firing"}
        if not unseen:
            return state
        held = self._held(fires, silences, now)
        return replace(state, holds={**state.holds, **{key: held[key] for key in sorted(unseen & held.keys())}})

    @property
    def receivers(self) -> tuple[str, ...]:
        """The names of the receivers that there are."""
        return tuple(self._send_resolved)

    def tells_resolved(self, receiver: str) -> bool:
        """Whether that receiver is told of resolutions."""
        return self._send_resolved.get(receiver, False)

    def next_due(self, state: RouterState) -> datetime | None:
        """When the next tick of any group is due; a step before that tells nothing. None when there are no groups."""
        return min((self.due_at(state, group) for group in state.groups.values()), default=None)

    def due_at(self, state: RouterState, group: Group) -> datetime:
        """When the group's next tick is due, with the hold after a start."""
        return max(group.next_at, self._held_until(state, self._route(group)))

    def _route(self, group: Group) -> Route:
        """Its route; where the tree was changed and has it no more, the root's timers."""
        return self.routes.get(group.route, self.tree)

    def _held_until(self, state: RouterState, route: Route) -> datetime:
        return (state.started_at + route.group_wait) if state.started_at else _LONG_AGO

    def _present(
        self, state: RouterState, current: dict[str, Alert], now: datetime, why_over: WhyOver
    ) -> dict[str, Alert]:
        """The alerts that are there and those that were told and are not, by fingerprint, in its order."""
        found = dict(current)
        for group in state.groups.values():
            starting = now < self._held_until(state, self._route(group))
            for identity, told in group.told.items():
                if identity in current:
                    continue
                alert = told.alert
                if not starting and not (alert.from_outside and alert.ends_at is not None):
                    alert = _gone(alert, now, why_over)
                if identity not in found or found[identity].status(now) == "resolved":
                    found[identity] = alert
        for identity, track in state.tracks.items():
            if track.flapping_since is not None and track.alert is not None and identity not in found:
                found[identity] = replace(track.alert, ends_at=min(track.alert.ends_at or now, now))
        return {identity: found[identity] for identity in sorted(found)}

    def _follow(self, state: RouterState, present: Mapping[str, Alert], now: datetime) -> dict[str, Track]:
        starting = now < self._held_until(state, self.tree)
        followed: dict[str, Track] = {}
        for identity in sorted({*present, *state.tracks}):
            track, alert = state.tracks.get(identity), present.get(identity)
            after = track if starting and alert is None else follow(track, alert, self.damping, now)
            if after is not None:
                followed[identity] = after
        return followed

    def _held(self, fires: Mapping[str, Alert], silences: Iterable[Silence], now: datetime) -> dict[str, Hold]:
        silencer = Silencer(silences, self._windows, now)
        inhibitor = Inhibitor(self._inhibitions, {identity: alert.labels for identity, alert in fires.items()})
        held: dict[str, Hold] = {}
        for identity, alert in fires.items():
            hold = silencer.hold(alert.labels) or inhibitor.hold(alert.labels)
            if hold is not None:
                held[identity] = hold
        return held

    def _flapping_words(self, track: Track | None) -> str:
        if track is None or track.flapping_since is None:
            return ""
        window, stable = (format_value(one.total_seconds(), "s") for one in (self.damping.window, self.damping.stable))
        return (
            f"changed more than {self.damping.most} times in {window}; "
            f"nothing more is told of it until it has not changed for {stable}"
        )

    def _join(
        self,
        state: RouterState,
        groups: dict[str, Group],
        members: dict[str, dict[str, Member]],
        identity: str,
        member: Member,
        now: datetime,
    ) -> None:
        """Put the alert into the groups of its routes; one that fires begins a group where there is none.

        A group that waits for its first tick waits no longer than the oldest of those that are new to it.
        """
        alert, track = member.alert, state.tracks.get(identity)
        known = track is not None and track.status == "firing"
        for route in self.tree.find(alert.labels):
            labels = route.group_labels(alert.labels)
            key = route.group_key(labels)
            group = groups.get(key)
            waits = group is None or (not group.ticked and not (known and key in state.groups))
            if member.fires and waits:
                first = first_tick(alert.starts_at, route, now)
                if group is None:
                    group = Group(key=key, receiver=route.receiver, route=route.id, labels=labels, next_at=first)
                groups[key] = replace(group, next_at=min(first, group.next_at))
            if key in groups:
                members.setdefault(key, {})[identity] = member

    def _tick(
        self, state: RouterState, groups: Mapping[str, Group], members: Mapping[str, dict[str, Member]], now: datetime
    ) -> tuple[dict[str, Group], list[Notification]]:
        kept: dict[str, Group] = {}
        told: list[Notification] = []
        for key in sorted(groups):
            group = groups[key]
            if group.receiver not in self._send_resolved:  # the settings have it no more
                continue
            route = self._route(group)
            at = tick_due(group, route.group_interval, now)
            if at is None or now < self._held_until(state, route):
                kept[key] = group
                continue
            here = {**_left(group, members[key], now), **members[key]}
            send_resolved = self._send_resolved[group.receiver]
            after, notification = tick(group, route, here, at, now, send_resolved=send_resolved)
            if after is not None:
                kept[key] = after
            if notification is not None:
                told.append(notification)
        return kept, told


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _flaps(track: Track | None) -> bool:
    return track is not None and track.flapping_since is not None


def _newest(alerts: Iterable[Alert]) -> dict[str, Alert]:
    """The alerts by fingerprint; of several with the same labels the one that was updated last."""
    found: dict[str, Alert] = {}
    for alert in alerts:
        identity = alert.fingerprint
        other = found.get(identity)
        if other is None or _age(alert) > _age(other):
            found[identity] = alert
    return found


def _age(alert: Alert) -> tuple[datetime, datetime, bool, str]:
    return alert.updated_at, alert.starts_at, alert.ends_at is None, repr(alert)


def _gone(alert: Alert, now: datetime, why_over: WhyOver) -> Alert:
    """One that was told and is not there any more, as it ended."""
    why = why_over(alert) if alert.ends_at is None else ""
    annotations = {**alert.annotations, "summary": why} if why else alert.annotations
    return replace(alert, annotations=annotations, ends_at=min(alert.ends_at or now, now))


def _ended(group: Group, present: Mapping[str, Alert]) -> Group:
    """The group with its alerts as they ended: by the tick at which that is told they may be there no more."""
    turned = {
        identity: replace(told, alert=present[identity])
        for identity, told in group.told.items()
        if identity in present and (told.alert.ends_at is None) != (present[identity].ends_at is None)
    }
    return replace(group, told={**group.told, **turned}) if turned else group


def _left(group: Group, members: Mapping[str, Member], now: datetime) -> dict[str, Member]:
    """Those that were told here and go elsewhere now, because the routes were changed: here they are over."""
    return {
        identity: Member(alert=replace(told.alert, ends_at=min(told.alert.ends_at or now, now)), fires=False)
        for identity, told in group.told.items()
        if identity not in members
    }


def shifted(state: RouterState, seconds: float) -> RouterState:
    """The state after the wall clock was stepped by so much: every wait keeps the time that is really left of it."""
    by = timedelta(seconds=seconds)
    groups = {
        key: replace(
            group,
            next_at=group.next_at + by,
            sent_at=None if group.sent_at is None else group.sent_at + by,
            told={identity: replace(told, alert=lasting(told.alert, seconds)) for identity, told in group.told.items()},
        )
        for key, group in state.groups.items()
    }
    tracks = {
        identity: replace(
            track,
            changes=tuple(at + by for at in track.changes),
            flapping_since=None if track.flapping_since is None else track.flapping_since + by,
            alert=None if track.alert is None else lasting(track.alert, seconds),
        )
        for identity, track in state.tracks.items()
    }
    started_at = None if state.started_at is None else state.started_at + by
    return replace(state, groups=groups, tracks=tracks, started_at=started_at)


def lasting(alert: Alert, seconds: float) -> Alert:
    """One from outside with its end so much later; one of a rule has no end that is set beforehand."""
    if not alert.from_outside or alert.ends_at is None:
        return alert
    return replace(alert, ends_at=alert.ends_at + timedelta(seconds=seconds))


def _steadied(state: RouterState, now: datetime, routes: Mapping[str, Route], root: Route) -> RouterState:
    """The state when the clock was stepped back while no process ran: no tick is further away than its interval."""
    groups: dict[str, Group] = {}
    for key, group in state.groups.items():
        route = routes.get(group.route, root)
        latest = now + (route.group_interval if group.ticked else route.group_wait)
        if group.next_at > latest or (group.sent_at is not None and group.sent_at > now):
            sent_at = None if group.sent_at is None else min(group.sent_at, now)
            group = replace(group, next_at=min(group.next_at, latest), sent_at=sent_at)
        groups[key] = group
    return replace(state, groups=groups, started_at=min(state.started_at or now, now))
