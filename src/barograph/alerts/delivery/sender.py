"""The sender: takes what is due out of the outbox and delivers it, each target on its own.

A worker looks for targets with something due and lets a thread run for each; a target has at most one thread, so at
most one attempt at a time, and one that hangs or fails holds up no other. What was delivered is noted in the outbox
at once; a crash between the two sends it once more, with the same key. A failure that may be over later is tried
again with exponential backoff and jitter, until it is given up; what is refused is not.

Messages go in their order. A target that failed is left alone, and then the oldest message goes first: if it is taken,
all the others follow at once, in their order. If it fails once more, another is tried beside it, the one that was tried
least: it may be the message that fails, which holds up only its own group. When that other is taken, the oldest is
tried at once again, since the target may have come back between the two.
"""

from __future__ import annotations

import logging
import random as random_numbers
import threading
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from barograph.alerts.alert import Notification
from barograph.alerts.clock_steps import ClockSteps
from barograph.alerts.delivery.outcome import Outcome
from barograph.alerts.delivery.targets import Target, Targets
from barograph.control.outbox import ByGroup, Outbox, OutboxRow
from barograph.core.prepared import prepare
from barograph.core.receiver_settings import DeliverySettings
from barograph.core.worker import SLOWEST_RETRY, Worker
from barograph_client.clock import Clock
from barograph_client.errors import BarographError, ControlError

LEAST_ATTEMPTS = 5  # before anything is given up: it may have waited while no sender ran
FORGET_SECONDS = 3600.0  # between two looks for rows that are old enough to go
NOTE_SECONDS = 0.1  # before what became of an attempt is noted again, at first

prepare(Notification)
_log = logging.getLogger("barograph.delivery")


class TargetStatus(Struct, frozen=True, kw_only=True):
    """Where a target stands. ``failures`` is how often in a row it was tried in vain, ``resting`` is for how many
    seconds it is left alone; ``last_error`` and ``last_sent_at`` are since start."""

    target: str
    receiver: str
    kind: str
    waiting: int
    sent: int
    failed: int
    failures: int
    resting: float
    last_error: str
    last_sent_at: datetime | None


Turn = Literal["due", "oldest", "another", "again"]
"""Which message goes next: the oldest that is due, at a target that took the last one; the oldest of all, at one of
which that is not known; another, beside the oldest that has failed again; the oldest again, when that other was taken.
"""


class _Lane:
    """What the sender remembers of a target while it runs."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.thread: threading.Thread | None = None
        self.turn: Turn = "oldest"
        self.failures = 0
        self.rests_until = 0.0  # monotonic
        self.last_error = ""
        self.last_sent_at: datetime | None = None
        self.problem: BarographError | None = None


class Sender:
    """Delivers to all targets while it runs. Safe to share between threads. ``random`` gives a number in [0, 1)."""

    def __init__(
        self,
        outbox: Outbox,
        targets: Targets,
        settings: DeliverySettings,
        clock: Clock,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self._outbox = outbox
        self._targets = targets
        self._settings = settings
        self._clock = clock
        self._random = random
        self._lanes = {target.id: _Lane(target) for target in targets.by_id.values()}
        self._stopping = threading.Event()
        self._forgets_at = 0.0
        self._clock_steps, self._moved = ClockSteps(clock), 0.0  # a step, and what of it the outbox does not know yet
        self._worker = Worker("barograph-sender", "sending notifications", self._look, clock, settings.interval)

    def put(self, notifications: Iterable[Notification], also: Callable[[Connection], object] | None = None) -> int:
        """Keep notifications for delivery, and what ``also`` writes, in one transaction. How many entries were new.

        Raises ControlError, or InvalidInput for a receiver that is not in the settings; then nothing is kept.
        """
        return self._outbox.put(self._targets.entries(notifications), also)

    def start(self) -> None:
        """Begin to deliver. What waits for targets that are no longer there is given up. Raises ControlError."""
        self._outbox.drop_unknown(self._lanes.keys())
        self._worker.start()

    def stop(self) -> None:
        """Begin no attempt any more, wait for those under way and note them. May be called again."""
        self._stopping.set()
        self._worker.stop()
        for lane in self._lanes.values():
            if lane.thread is not None:
                lane.thread.join()

    @property
    def problem(self) -> BarographError | None:
        """What keeps the sender itself from working, such as an outbox that cannot be read."""
        return next((lane.problem for lane in self._lanes.values() if lane.problem), self._worker.problem)

    def status(self) -> list[TargetStatus]:
        """Where each target stands, in the order of the settings. Raises ControlError."""
        counts = self._outbox.counts()
        now = self._clock.monotonic()
        return [
            TargetStatus(
                target=name,
                receiver=lane.target.receiver,
                kind=lane.target.kind,
                waiting=counts.get(name, {}).get("waiting", 0),
                sent=counts.get(name, {}).get("sent", 0),
                failed=counts.get(name, {}).get("failed", 0),
                failures=lane.failures,
                resting=max(0.0, lane.rests_until - now),
                last_error=lane.last_error,
                last_sent_at=lane.last_sent_at,
            )
            for name, lane in self._lanes.items()
        ]

    def reached(self, group_keys: Collection[str]) -> ByGroup:
        """What has become of the messages about those groups, as the outbox knows it. What waits for a target that is
        left alone is tried when that is over, and no attempt is due in the past. Raises ControlError."""
        now, running = self._clock.now(), self._clock.monotonic()
        rested = {
            name: now + timedelta(seconds=max(0.0, lane.rests_until - running)) for name, lane in self._lanes.items()
        }
        return {
            key: [
                one if one.next_at is None else replace(one, next_at=max(one.next_at, rested.get(one.target, now)))
                for one in targets
            ]
            for key, targets in self._outbox.reached(group_keys).items()
        }

    def _look(self) -> bool:
        """Let a thread run for each target at rest that has something due; now and then forget what is old."""
        self._moved += self._clock_steps.take()
        if self._moved:
            self._outbox.shift(self._moved)
            self._moved = 0.0
        now = self._clock.monotonic()
        if now >= self._forgets_at:
            self._outbox.forget(timedelta(seconds=self._settings.keep))
            self._forgets_at = now + FORGET_SECONDS
        for name in self._outbox.due_targets():
            lane = self._lanes.get(name)
            if lane is None or now < lane.rests_until or (lane.thread is not None and lane.thread.is_alive()):
                continue
            thread = threading.Thread(target=self._serve, args=(lane,), name=f"barograph-sender-{name}", daemon=True)
            thread.start()
            lane.thread = thread
        return False

    def _serve(self, lane: _Lane) -> None:
        """Deliver what is due to a target, one after the other, until nothing is or the target is to be left alone."""
        try:
            while not self._stopping.is_set():
                row = self._next(lane)
                if row is None:
                    break
                turn, outcome = lane.turn, self._attempt(lane.target, row)
                self._note(lane, row, outcome)
                lane.turn = _turn_after(turn, row, outcome)
                if outcome.kind == "later":
                    if lane.turn == "oldest" or outcome.retry_after:
                        break
                elif turn in ("oldest", "again"):
                    self._outbox.hasten(lane.target.id)
            lane.problem = None
        except BarographError as error:
            self._held_up(lane, error)
        except Exception as error:  # it must outlive what nobody thought of, as a worker does
            self._held_up(lane, BarographError(f"sending to {lane.target.id} failed: {type(error).__name__}: {error}"))

    def _next(self, lane: _Lane) -> OutboxRow | None:
        if lane.turn in ("oldest", "again"):
            return self._outbox.oldest(lane.target.id)
        row = self._outbox.due(lane.target.id, least_tried=lane.turn == "another")
        if row is None and lane.turn == "another":
            lane.turn = "oldest"
        return row

    def _held_up(self, lane: _Lane, error: BarographError) -> None:
        lane.problem = error
        lane.rests_until = self._clock.monotonic() + SLOWEST_RETRY

    def _attempt(self, target: Target, row: OutboxRow) -> Outcome:
        try:
            notification = msgspec.convert(row.body, Notification)
        except msgspec.ValidationError as error:
            return Outcome("refused", f"what was kept cannot be read: {error}")
        try:
            return target.open().send(notification)
        except BarographError as error:  # a secret that is not there any more; it may come back
            return Outcome("later", str(error))
        except Exception as error:  # whatever a channel did not think of; its text may hold anything
            return Outcome("later", f"the attempt failed: {type(error).__name__}")

    def _note(self, lane: _Lane, row: OutboxRow, outcome: Outcome) -> None:
        """Note what became of an attempt, before anything else is sent there: else it would be sent again."""
        lane.last_error = outcome.error
        note = self._noted(lane, row, outcome)
        pause = NOTE_SECONDS
        while True:
            try:
                note()
                return
            except ControlError as error:
                lane.problem = error
                if self._clock.wait(self._stopping, pause):
                    raise
                pause = min(2 * pause, SLOWEST_RETRY)

    def _noted(self, lane: _Lane, row: OutboxRow, outcome: Outcome) -> Callable[[], None]:
        """How to note it."""
        if outcome.kind == "sent":
            lane.failures, lane.rests_until, lane.last_sent_at = 0, 0.0, self._clock.now()
            return lambda: self._outbox.sent(row)
        if outcome.kind == "refused":
            lane.failures, lane.rests_until = 0, 0.0
            _log.error("%s did not take a notification and will not: %s", row.target, outcome.error)
            return lambda: self._outbox.failed(row, outcome.error)
        lane.failures += lane.turn != "another"
        lane.rests_until = self._clock.monotonic() + self._wait(lane.failures, outcome.retry_after)
        attempts = row.attempts + 1
        age = self._clock.now() - row.created_at
        if attempts >= LEAST_ATTEMPTS and age >= timedelta(seconds=self._settings.give_up):
            hours = age / timedelta(hours=1)
            _log.error("%s is given up for a notification: %s", row.target, outcome.error)
            return lambda: self._outbox.failed(
                row, f"given up after {attempts:,} attempts in {hours:.1f} h: {outcome.error}"
            )
        wait = self._wait(attempts, outcome.retry_after)
        return lambda: self._outbox.later(row, outcome.error, wait)

    def _wait(self, failures: int, asked: float) -> float:
        """Seconds until the next attempt: what was asked for, and between half and all of a bound that doubles."""
        bound = min(self._settings.longest_wait, self._settings.first_wait * 2.0 ** min(failures - 1, 32))
        return min(asked, self._settings.asked_wait) + bound * (1 + self._random()) / 2


def _turn_after(turn: Turn, row: OutboxRow, outcome: Outcome) -> Turn:
    """Whose turn it is after an attempt. A message that fails for the first time says that its target is away."""
    if outcome.kind != "later":
        return "again" if turn == "another" else "due"
    if turn == "again":
        return "due"
    return "another" if row.attempts and turn != "another" else "oldest"
