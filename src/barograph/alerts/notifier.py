"""The notifier: takes what fires in one project to the router, and what the router wants told into the outbox.

It asks ``alert_manager`` for the alerts of the rules at each step; others come from outside, over the API. The
``dispatcher`` steps it after each tick, when the router has something due, when a silence changes and when an alert
comes in. A step is one transaction: the router's new state and the notifications are kept together or not at all, and
then tried again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection

from barograph.alerts.alert import Alert, KeptBack, Notification
from barograph.alerts.clock_steps import ClockSteps
from barograph.alerts.routing.current_silences import CurrentSilences
from barograph.alerts.routing.explanation import Explanation, explain
from barograph.alerts.routing.remembered import bounded, count_cut
from barograph.alerts.routing.router import Router, RouterState, WhyOver, lasting, no_reason, shifted
from barograph.alerts.routing.silences import Hold
from barograph.control.audit import write_audit
from barograph.control.outbox import ByGroup
from barograph.control.routing import OutsideAlert, RoutingRepository
from barograph.control.silences import Silence
from barograph.core.prepared import prepare
from barograph_client.clock import Clock, as_utc
from barograph_client.errors import BarographError, ControlError

KEPT = timedelta(minutes=15)  # an alert from outside is known so long after it is over
_FORGET_SECONDS = 300.0  # between looks for those
AWAITED = timedelta(minutes=5)  # an alert from outside is waited for so long after a start, at most
LONGEST_REST = 20.0  # seconds between two steps: some alerts come of nothing but time, such as that of blind rules

prepare(RouterState)
Put = Callable[[Iterable[Notification], Callable[[Connection], object]], int]
OfRules = Callable[[datetime], Iterable[Alert]]


class Notifier:
    """Routing of one project. ``put`` keeps notifications and what else is to be written in one transaction;
    ``reached`` says what has become of the messages about groups.

    Safe to share between threads. Methods that write may raise ControlError.
    """

    def __init__(
        self,
        router: Router,
        put: Put,
        reached: Callable[[Collection[str]], ByGroup],
        kept: RoutingRepository,
        silences: CurrentSilences,
        clock: Clock,
        project: str = "default",
    ) -> None:
        self.router = router
        self._put = put
        self._reached = reached
        self._kept = kept
        self._silences = silences
        self._clock = clock
        self.project = project
        self._lock = threading.RLock()
        self._state: RouterState | None = None  # read when it is first needed
        self._saved: RouterState | None = None  # as it is on disk: of a start only what was kept counts
        self._outside: dict[str, Alert] = {}
        self.of_rules: OfRules = lambda at: ()  # the alerts of the rules at a time; set by who evaluates them
        self.why_over: WhyOver = no_reason  # what is said of one of those that is not there any more; set by the same
        self.on_wake: Callable[[], object] = lambda: None  # set by who steps it
        self._heeded: Sequence[Silence] = ()  # as they were at the last step
        self._due_at: datetime | None = None  # of the state, since the last step
        self._stepped, self._changed = False, True
        self._clock_steps, self._ends_moved = ClockSteps(clock), False
        self._rested_at = self._forgets_at = clock.monotonic()
        self.problem: BarographError | None = None  # why the last look failed

    def wake(self) -> None:
        """There is something new, such as a tick of the rules: step it soon. From any thread; waits for nothing."""
        self._changed = True
        self.on_wake()

    def step(self, now: datetime) -> int:
        """Take all alerts to the router; how many notifications went into the outbox."""
        with self._lock, self._told_in_problem():
            return self._step(now)

    def run_due(self, now: datetime) -> int:
        """Step if there is anything to do; how many notifications went into the outbox. Raises ControlError."""
        with self._lock, self._told_in_problem():
            self._notice_clock_step()
            if self._changed or self.rests() <= 0 or self._silences.of(self.project) is not self._heeded:
                return self._step(now)
            return 0

    def rests(self) -> float:
        """Seconds until there is something to do, unless it is woken before."""
        rest = self._rested_at + LONGEST_REST - self._clock.monotonic()
        return rest if self._due_at is None else min(rest, (self._due_at - self._clock.now()).total_seconds())

    @contextlib.contextmanager
    def _told_in_problem(self) -> Iterator[None]:
        try:
            yield
        except BarographError as error:
            self.problem = error
            raise
        except Exception as error:
            self.problem = BarographError(f"routing of {self.project} failed: {type(error).__name__}: {error}")
            raise
        self.problem = None

    def _step(self, now: datetime) -> int:
        """One step; what it changes is kept before it counts here. One that fails is tried again at the next look."""
        self._changed = False  # first: what wakes it from now on is perhaps not seen by this step
        try:
            before = self._loaded()
            rules = (_over(alert, now) for alert in self.of_rules(now))
            alerts = {alert.fingerprint: alert for alert in (*self._outside.values(), *rules)}
            silences = self._silences.of(self.project)
            after, notifications = self.router.step(before, alerts.values(), silences, now, self.why_over)
            while notifications and self._silences.look():  # one that was made just now holds what was about to be told
                silences = self._silences.of(self.project)
                after, notifications = self.router.step(before, alerts.values(), silences, now, self.why_over)
            after = bounded(after)
            if after != self._saved or notifications:
                self._keep(after, [self._of_project(one) for one in notifications])
        except BaseException:
            self._changed = True
            raise
        self._heeded, self._stepped, self._rested_at = silences, True, self._clock.monotonic()
        self._due_at = self.router.next_due(after)
        self._forget(now)
        return len(notifications)

    def _of_project(self, notification: Notification) -> Notification:
        """With the project in its keys: groups of two projects are never the same."""
        key, group_key = (f"{self.project}/{one}" for one in (notification.key, notification.group_key))
        return msgspec.structs.replace(notification, key=key, group_key=group_key, project=self.project)

    def _keep(
        self,
        after: RouterState,
        notifications: Sequence[Notification] = (),
        also: Callable[[Connection], object] = lambda connection: None,
    ) -> None:
        document = msgspec.to_builtins(after)
        outside = [_outside(alert, self.project) for alert in self._outside.values()] if self._ends_moved else None

        def write(connection: Connection) -> None:
            self._kept.write_state(connection, self.project, document)
            if outside is not None:
                self._kept.write_outside(connection, self.project, outside)
            also(connection)

        self._put(notifications, write)
        self._state = self._saved = after
        self._ends_moved = False

    def _loaded(self) -> RouterState:
        """The state, at first that of the last life; for one group_wait after a start nothing is told."""
        if self._state is None:
            kept = self._kept.state(self.project)
            try:
                state = msgspec.convert(kept.document, RouterState) if kept is not None else RouterState()
            except msgspec.ValidationError:  # another version's; what fires is told once more
                state = RouterState()
            now, known = self._clock.now(), map(_alert, self._kept.outside(self.project))
            saved_at = kept.saved_at if kept is not None else None
            self._outside = {one.fingerprint: _awaited(one, state, saved_at, now) for one in known}
            self._saved, self._state = state, self.router.started(state, now)
        self._notice_clock_step()
        return self._state

    def _notice_clock_step(self) -> None:
        """After a step of the wall clock every wait, and every alert from outside, lasts as long as it would have."""
        moved = self._clock_steps.take()
        if moved and self._state is not None:
            self._state = shifted(self._state, moved)
            self._outside = {key: lasting(alert, moved) for key, alert in self._outside.items()}
            self._ends_moved = self._changed = True

    def _forget(self, now: datetime) -> None:
        """Forget alerts from outside that are over, unless somebody still believes that they fire."""
        if self._clock.monotonic() < self._forgets_at:
            return
        self._forgets_at = self._clock.monotonic() + _FORGET_SECONDS
        told = {key for group in self._loaded().groups.values() for key in group.told}
        gone = [
            key
            for key, alert in self._outside.items()
            if key not in told and alert.ends_at is not None and alert.ends_at < now - KEPT
        ]
        if gone:
            self._kept.forget_outside(self.project, gone)
            for key in gone:
                del self._outside[key]

    def receive(self, alerts: Sequence[Alert]) -> None:
        """Take alerts from outside; they are on disk when it returns. Each has an ``ends_at``. Raises InvalidInput.

        They are of this project, whatever they say. An alert of a rule with the same labels stands before one of these.
        """
        with self._lock:
            self._loaded()
            known = [self._joined(self._ours(alert)) for alert in alerts]
            self._kept.put([_outside(alert, self.project) for alert in known])
            self._outside.update({alert.fingerprint: alert for alert in known})
            if not self._stepped:
                self._changed = True
            else:  # so that one that comes and goes between two looks is seen
                with (
                    contextlib.suppress(ControlError),
                    self._told_in_problem(),
                ):  # it is kept; the next look tries again
                    self._step(self._clock.now())
        self.on_wake()

    def _ours(self, alert: Alert) -> Alert:
        return msgspec.structs.replace(alert, labels={**alert.labels, "project": self.project})

    def _joined(self, alert: Alert) -> Alert:
        """The alert with the start of the one that fires already: who sends again need not know when it began."""
        known = self._outside.get(alert.fingerprint)
        if known is None or known.status(alert.updated_at) == "resolved":
            return alert
        return msgspec.structs.replace(alert, starts_at=min(alert.starts_at, known.starts_at))

    def outside(self) -> list[Alert]:
        """The alerts from outside that are known."""
        with self._lock:
            self._loaded()
            return list(self._outside.values())

    def acknowledge(self, fingerprint: str, *, by: str, comment: str = "") -> None:
        """Somebody takes care of an alert that fires: it is not repeated. Durable on return. Raises InvalidInput."""
        with self._lock:
            now = self._clock.now()
            after = self.router.acknowledge(self._loaded(), fingerprint, by=by, now=now, comment=comment)
            self._decided(after, "acknowledge", fingerprint, by, comment)

    def withdraw(self, fingerprint: str, *, by: str, comment: str = "") -> None:
        """Take an acknowledgement back: the alert is repeated again. Durable on return. Raises InvalidInput."""
        with self._lock:
            after = self.router.withdraw(self._loaded(), fingerprint)
            self._decided(after, "withdraw", fingerprint, by, comment)

    def _decided(self, after: RouterState, action: str, fingerprint: str, by: str, comment: str) -> None:
        """Keep what somebody decided about an alert, and who it was."""

        def audit(connection: Connection) -> None:
            write_audit(
                connection,
                time=self._clock.now(),
                project=self.project,
                actor=by,
                action=action,
                subject=f"alert:{fingerprint}",
                detail={"comment": comment},
            )

        self._keep(after, also=audit)
        self.wake()

    def explain(
        self, alerts: Collection[Alert], now: datetime, zone: ZoneInfo
    ) -> list[tuple[Hold | None, tuple[Explanation, ...]]]:
        """What holds each of all the alerts back; and why a notification about it was sent or is not, and when the
        next one is due. Raises ControlError."""
        with self._lock:
            silences = self._silences.of(self.project)
            state = self.router.ahead(self._loaded(), alerts, silences, as_utc(now))
            return [
                (state.holds.get(alert.fingerprint), explain(self.router, state, alert, now, zone)) for alert in alerts
            ]

    def kept_back(self, alerts: Collection[Alert], now: datetime) -> dict[str, KeptBack]:
        """Which of the alerts of the rules are held, and which somebody takes care of, by fingerprint.

        None, where the control plane does not answer.
        """
        try:
            with self._lock:
                silences = self._silences.of(self.project)
                state = self.router.ahead(self._loaded(), [*alerts, *self._outside.values()], silences, as_utc(now))
        except ControlError:
            return {}
        held: dict[str, KeptBack] = dict.fromkeys(state.holds, "held")
        return {**dict.fromkeys(state.acknowledgements, "acknowledged"), **held}

    @property
    def cut(self) -> int:
        """Of how many alerts that were told the annotations are remembered in part, there being so much of them."""
        with self._lock:
            return count_cut(self._loaded())

    def reached(self, group_keys: Iterable[str]) -> ByGroup:
        """What has become of the messages about those groups, by group and target, in one question."""
        ours = {f"{self.project}/{key}": key for key in group_keys}
        return {ours[key]: targets for key, targets in self._reached(ours).items()}


def _over(alert: Alert, now: datetime) -> Alert:
    """An alert of a rule; what was resolved is over, also at a wall clock that was stepped back since."""
    if alert.ends_at is None or alert.ends_at <= now:
        return alert
    return msgspec.structs.replace(alert, ends_at=now)


def _awaited(alert: Alert, state: RouterState, saved_at: datetime | None, now: datetime) -> Alert:
    """An alert from outside after a start: who sent it could not send it again meanwhile.

    One that stood when the last life saw it stands for as long as its sender gave it when he sent it last, five
    minutes at most. What nobody has looked at, since the life ended before, stood too.
    """
    track = state.tracks.get(alert.fingerprint)
    unseen = track is None and (saved_at is None or alert.updated_at > saved_at)
    if alert.ends_at is None or not (unseen or (track is not None and track.status == "firing")):
        return alert
    given = min(alert.ends_at - alert.updated_at, AWAITED)
    return msgspec.structs.replace(alert, ends_at=max(alert.ends_at, now + given)) if given > timedelta() else alert


def _alert(kept: OutsideAlert) -> Alert:
    return Alert(
        labels=kept.labels,
        annotations=kept.annotations,
        starts_at=kept.starts_at,
        ends_at=kept.ends_at,
        updated_at=kept.updated_at,
        generator_url=kept.generator_url,
        from_outside=True,
    )


def _outside(alert: Alert, project: str) -> OutsideAlert:
    assert alert.ends_at is not None
    return OutsideAlert(
        project=project,
        fingerprint=alert.fingerprint,
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        updated_at=alert.updated_at,
        generator_url=alert.generator_url,
    )
