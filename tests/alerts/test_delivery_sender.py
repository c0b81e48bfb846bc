"""The sender delivers once, tries again what may work later, and lets no target suffer for another."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.support.receivers import Answer, HttpReceiver, sample, surroundings, until
from tests.support.soak import times

from barograph.alerts.alert import Notification
from barograph.alerts.delivery.outcome import SENT, Outcome
from barograph.alerts.delivery.sender import LEAST_ATTEMPTS, Sender
from barograph.alerts.delivery.targets import Target, Targets
from barograph.control.database import ControlPlane
from barograph.control.outbox import Outbox, OutboxRow
from barograph.core.receiver_settings import DeliverySettings, EmailTarget, ReceiverSettings, WebhookTarget
from barograph_client.clock import SystemClock
from barograph_client.errors import ControlError, InvalidInput, InvalidSettings

QUICK: dict[str, Any] = {"interval": 0.01, "first_wait": 0.02, "longest_wait": 0.1}
Make = Callable[..., Sender]


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as made:
        yield made


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path / "control.db", SystemClock()) as opened:
        yield opened


@pytest.fixture
def outbox(plane: ControlPlane) -> Outbox:
    return Outbox(plane)


@pytest.fixture
def make(outbox: Outbox) -> Iterator[Make]:
    """Makes started senders of receiver ``team`` with webhooks, and stops them."""
    made: list[Sender] = []

    def start(*urls: str, timeout: float = 5.0, **settings: Any) -> Sender:
        hooks = [WebhookTarget(name=f"hook{i}", url=url, timeout=timeout) for i, url in enumerate(urls)]
        quick = DeliverySettings(**{**QUICK, **settings})
        targets = Targets([ReceiverSettings(name="team", targets=tuple(hooks))], quick, surroundings())
        made.append(Sender(outbox, targets, quick, SystemClock()))
        made[-1].start()
        return made[-1]

    yield start
    for sender in made:
        sender.stop()


def ended(outbox: Outbox) -> list[OutboxRow]:
    """Every row once none waits any more, the oldest first."""
    until(lambda: not outbox.list("waiting"))
    return list(reversed(outbox.list()))


class Scripted:
    """A channel that does as it is told, and the target that it belongs to."""

    def __init__(self, send: Callable[[], Outcome], name: str = "team/scripted") -> None:
        self.target = Target(name, "team", "scripted", lambda: self)
        self._send = send

    def send(self, notification: Notification) -> Outcome:
        return self._send()


def sender_of(outbox: Outbox, *channels: Scripted, **settings: Any) -> Sender:
    quick = DeliverySettings(**{**QUICK, **settings})
    targets = Targets([ReceiverSettings(name="team")], quick, surroundings())
    targets.by_id.update({channel.target.id: channel.target for channel in channels})
    targets._of["team"].extend(channel.target for channel in channels)
    return Sender(outbox, targets, quick, SystemClock())


class TestTryingAgain:
    def test_47_an_error_of_the_server_is_tried_again_and_one_success_recorded(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.script.extend(Answer(status, b"busy") for status in (500, 502, 503, 504, 429))
        make(receiver.url).put([sample("k")])
        (row,) = ended(outbox)
        assert (row.state, row.attempts, row.last_error) == ("sent", 6, "")
        time.sleep(0.1)
        assert receiver.received() == ["k"] * 6

    def test_47_a_timeout_and_a_connection_that_breaks_are_tried_again(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.script.extend([Answer(delay=5.0), Answer(hang_up=True), Answer(drip=0.05, head=True), Answer()])
        sender = make(receiver.url, timeout=0.2, first_wait=0.2, longest_wait=0.2)
        sender.put([sample("k")])
        told = []
        for attempt in (1, 2, 3):
            until(lambda attempt=attempt: outbox.list()[0].attempts == attempt)
            told.append(outbox.list()[0].last_error.partition(": ")[2])
        assert told[0] == told[2] == "no answer in 0.2 s"
        assert told[1] == "Remote end closed connection without response"
        (row,) = ended(outbox)
        assert (row.state, row.attempts) == ("sent", 4)

    def test_47_what_is_refused_is_told_and_not_tried_again(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        statuses = (301, 307, 400, 401, 403, 404, 408, 410, 413, 422)
        receiver.script.extend(
            Answer(status, b'{"error":"no such thing"}', {"Location": receiver.url}) for status in statuses
        )
        keys = [f"k{status}" for status in statuses]
        make(receiver.url).put([*map(sample, keys), sample("next")])
        *refused, taken = ended(outbox)
        for row, status in zip(refused, statuses, strict=True):
            assert (row.state, row.attempts) == ("failed", 1)
            assert f"answered {status}" in row.last_error
            assert ("no such thing" in row.last_error) == (status >= 400)
        assert taken.state == "sent"
        assert receiver.received() == [*keys, "next"]

    def test_47_waits_grow_and_a_failing_target_is_left_alone(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.script.extend([Answer(500)] * 4)
        sender = make(receiver.url, first_wait=0.05, longest_wait=10.0)
        sender.put([sample("k")])
        ended(outbox)
        times = [post.at for post in receiver.posts]
        waits = [b - a for a, b in itertools.pairwise(times)]
        for wait, bound in zip(waits, (0.05, 0.1, 0.2, 0.4), strict=True):
            assert bound / 2 <= wait

    def test_47_retry_after_is_honoured_up_to_a_bound(self, receiver: HttpReceiver, outbox: Outbox, make: Make) -> None:
        receiver.script.extend(
            [Answer(429, headers={"Retry-After": "1"}), Answer(503, headers={"Retry-After": "99999"})]
        )
        make(receiver.url, asked_wait=0.3).put([sample("k")])
        ended(outbox)
        first, second, third = (post.at for post in receiver.posts)
        assert 0.3 <= second - first < 5.0
        assert 0.3 <= third - second < 5.0

    def test_a_success_counts_even_if_the_answer_drips_or_never_ends(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.always = Answer(200, b"x" * 1000, drip=0.05)
        make(receiver.url, timeout=0.4).put([sample("k")])
        (row,) = ended(outbox)
        assert (row.state, row.attempts) == ("sent", 1)
        assert len(receiver.posts) == 1

    def test_an_answer_without_end_is_not_read_to_it(self, receiver: HttpReceiver, outbox: Outbox, make: Make) -> None:
        receiver.always = Answer(400, b"y" * 3_000_000)
        make(receiver.url).put([sample("k")])
        (row,) = ended(outbox)
        assert len(row.last_error) < 300

    def test_is_given_up_after_the_stated_time_and_says_so(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.always = Answer(500, b"on fire")
        sender = make(receiver.url, give_up=0.2)
        sender.put([sample("k")])
        (row,) = ended(outbox)
        assert row.state == "failed"
        assert row.attempts >= LEAST_ATTEMPTS
        assert f"given up after {row.attempts} attempts in 0.0 h: " in row.last_error
        assert "answered 500: on fire" in row.last_error
        (status,) = sender.status()
        assert (status.waiting, status.failed, status.sent) == (0, 1, 0)

    def test_what_waited_while_no_sender_ran_gets_its_attempts_before_it_is_given_up(
        self, receiver: HttpReceiver, outbox: Outbox, plane: ControlPlane, make: Make
    ) -> None:
        sender = make(receiver.url, give_up=1.0)
        sender.stop()
        sender.put([sample("k")])
        long_ago = SystemClock().now() - timedelta(days=2)
        with plane.writing() as connection:
            connection.exec_driver_sql("UPDATE outbox SET created_at = ?", (f"{long_ago:%Y-%m-%dT%H:%M:%S.000000Z}",))
        receiver.script.append(Answer(500))
        make(receiver.url, give_up=1.0)
        (row,) = ended(outbox)
        assert (row.state, row.attempts) == ("sent", 2)

    def test_one_notification_that_always_fails_does_not_keep_the_others_of_its_target(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.for_key["poison"] = Answer(500)
        sender = make(receiver.url)
        sender.put([sample("poison", "g1"), *(sample(f"k{i}", f"g{i}") for i in range(2, 6))])
        until(lambda: len(outbox.list("sent")) == 4)
        assert [row.key for row in outbox.list("waiting")] == ["poison"]

    @pytest.mark.parametrize("restarted", [False, True], ids=["while it ran", "over a restart"])
    def test_after_an_outage_the_oldest_goes_first_and_the_others_in_their_order(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make, restarted: bool
    ) -> None:
        receiver.always = Answer(503)
        sender = make(receiver.url, first_wait=0.5, longest_wait=0.5)
        for number in range(4):  # of groups of their own, one after the other
            sender.put([sample(f"k{number}", f"g{number}")])
            until(lambda number=number: len(receiver.posts) > number)
        assert receiver.received()[:2] == ["k0", "k0"]
        until(lambda: receiver.received()[-1] != "k0")  # the oldest has failed, and another beside it
        until(lambda: sum(row.attempts for row in outbox.list()) == len(receiver.posts))
        if restarted:
            sender.stop()
            sender.put([sample("k4", "g4")])
        receiver.always = Answer()
        if restarted:
            make(receiver.url)
        ended(outbox)
        assert receiver.taken == [f"k{number}" for number in range(4 + restarted)]

    def test_one_that_came_back_while_another_was_tried_gets_the_oldest_at_once(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.script.extend([Answer(503), Answer(503)])
        sender = make(receiver.url, first_wait=0.1, longest_wait=60.0)
        sender.put([sample("k0", "g0"), sample("k1", "g1"), sample("k2", "g2")])
        ended(outbox)
        assert receiver.received() == ["k0", "k0", "k1", "k0", "k2"]

    def test_several_that_always_fail_hold_up_no_other_for_longer_than_a_first_wait(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        poison = [f"p{number}" for number in range(3)]
        receiver.for_key.update({key: Answer(500) for key in poison})
        sender = make(receiver.url, longest_wait=0.4)
        sender.put([sample(key, key) for key in poison])
        until(lambda: len(receiver.posts) >= 9)
        keys = [f"k{number}" for number in range(6)]
        for key in keys:
            sender.put([sample(key, key)])
            until(lambda key=key: key in receiver.taken)
        assert receiver.taken == keys
        until(lambda: sorted(row.key for row in outbox.list("waiting")) == poison)  # the last is noted after its answer

    def test_one_that_waits_says_when_its_target_is_tried_again_and_never_a_time_that_is_over(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.always = Answer(503)
        sender = make(receiver.url, first_wait=0.05, longest_wait=60.0)
        sender.put([sample("k0", "g0"), sample("k1", "g1")])
        until(lambda: sender.status()[0].resting > 1 and outbox.list()[0].attempts)
        clock = SystemClock()
        rested = clock.now() + timedelta(seconds=sender.status()[0].resting)
        groups = [row.group_key for row in outbox.list()]
        for key, (one,) in sender.reached(groups).items():
            assert one.next_at is not None
            assert one.next_at >= rested - timedelta(seconds=0.1), key
        sender.stop()


class TestTargets:
    def test_52_one_that_fails_neither_blocks_nor_sends_again_to_the_others(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        with HttpReceiver() as failing:
            failing.always = Answer(500)
            sender = make(failing.url, receiver.url)
            sender.put([sample(f"k{i}") for i in range(5)])
            until(lambda: len(outbox.list("sent", "team/hook1")) == 5)
            until(lambda: len(failing.posts) >= 4)
            assert receiver.received() == [f"k{i}" for i in range(5)]
            assert set(failing.received()) == {"k0"}
            failing.always = Answer()
            until(lambda: not outbox.list("waiting"))
            assert list(dict.fromkeys(failing.received())) == receiver.received() == [f"k{i}" for i in range(5)]

    def test_52_one_that_is_left_alone_for_long_is_the_only_one(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        with HttpReceiver() as failing:
            failing.always = Answer(500)
            sender = make(failing.url, receiver.url, first_wait=120.0, longest_wait=120.0)
            sender.put([sample("k0")])
            until(lambda: sender.status()[0].resting and len(outbox.list("sent")) == 1)
            sender.put([sample(f"k{i}", f"g{i}") for i in range(1, 5)])
            until(lambda: len(outbox.list("sent", "team/hook1")) == 5)
            assert receiver.received() == [f"k{i}" for i in range(5)]
            assert failing.received() == ["k0"]
            assert [one.resting > 30 for one in sender.status()] == [True, False]

    def test_49_an_end_is_not_sent_before_its_beginning_was_taken(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.for_key["fires"] = Answer(500)
        make(receiver.url).put([sample("fires"), sample("ends", status="resolved"), sample("other", "g2")])
        until(lambda: receiver.received().count("fires") >= 3)
        assert receiver.taken == ["other"]
        del receiver.for_key["fires"]
        ended(outbox)
        assert receiver.taken == ["other", "fires", "ends"]

    def test_52_one_that_hangs_holds_up_no_other(self, receiver: HttpReceiver, outbox: Outbox, make: Make) -> None:
        with HttpReceiver() as first, HttpReceiver() as second:
            first.always = second.always = Answer(delay=30.0)
            sender = make(first.url, second.url, receiver.url, timeout=30.0)
            sender.put([sample(f"k{i}", f"g{i}") for i in range(5)])
            until(lambda: len(receiver.posts) == 5)
            until(lambda: len(first.posts) == len(second.posts) == 1)
            assert first.at_once == second.at_once == 1

    def test_52_a_mail_s_addresses_are_targets_of_their_own(self) -> None:
        mail = EmailTarget(to=("b@example.org", "a@example.org", "b@example.org"), sender="x@example.org", host="h")
        hook = WebhookTarget(url="http://localhost/x")
        targets = Targets([ReceiverSettings(name="team", targets=(mail, hook))], DeliverySettings(), surroundings())
        assert list(targets.by_id) == ["team/email/b@example.org", "team/email/a@example.org", "team/webhook"]

    def test_gets_at_most_one_attempt_at_a_time(self, receiver: HttpReceiver, outbox: Outbox, make: Make) -> None:
        receiver.always = Answer(delay=0.02)
        make(receiver.url).put([sample(f"k{i}", f"g{i}") for i in range(10)])
        ended(outbox)
        assert receiver.most_at_once == 1
        assert receiver.received() == [f"k{i}" for i in range(10)]

    def test_of_one_receiver_only_get_what_is_for_it(self, receiver: HttpReceiver, outbox: Outbox, make: Make) -> None:
        sender = make(receiver.url)
        with pytest.raises(InvalidInput, match="no such receiver"):
            sender.put([sample("k"), sample("l", receiver="others")])
        assert outbox.list() == []

    def test_that_are_gone_from_the_settings_are_given_up_at_start(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.always = Answer(500)
        first = make(receiver.url, receiver.url)
        first.put([sample("k")])
        first.stop()
        receiver.always = Answer()
        make(receiver.url)
        rows = {row.target: row for row in ended(outbox)}
        assert rows["team/hook0"].state == "sent"
        assert "no longer among the receivers" in rows["team/hook1"].last_error

    def test_must_be_told_apart_by_name(self) -> None:
        hook = WebhookTarget(url="http://localhost/x")
        with pytest.raises(InvalidSettings, match="two targets of receiver team have the same name"):
            Targets([ReceiverSettings(name="team", targets=(hook, hook))], DeliverySettings(), surroundings())
        with pytest.raises(InvalidSettings, match="two receivers have the same name"):
            Targets([ReceiverSettings(name="team")] * 2, DeliverySettings(), surroundings())

    def test_a_receiver_without_any_keeps_silent(self, outbox: Outbox) -> None:
        quick = DeliverySettings(**QUICK)
        sender = Sender(outbox, Targets([ReceiverSettings(name="team")], quick, surroundings()), quick, SystemClock())
        assert sender.put([sample("k")]) == 0


class TestTheSenderItself:
    def test_48_stopping_waits_for_the_attempt_under_way_and_sends_nothing_twice(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make
    ) -> None:
        receiver.always = Answer(delay=0.3)
        sender = make(receiver.url)
        sender.put([sample(f"k{i}") for i in range(3)])
        until(lambda: receiver.posts)
        sender.stop()
        assert [row.key for row in outbox.list("sent")] == ["k0"]
        receiver.always = Answer()
        make(receiver.url)
        ended(outbox)
        assert receiver.received() == ["k0", "k1", "k2"]

    def test_leaves_no_thread_behind(self, receiver: HttpReceiver, outbox: Outbox, make: Make) -> None:
        sender = make(receiver.url)
        sender.put([sample("k")])
        ended(outbox)
        sender.stop()
        sender.stop()
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("barograph-sender")]

    def test_what_was_delivered_is_noted_before_anything_else_is_sent_when_the_disk_is_full_for_a_while(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        noted = outbox.sent
        failures = iter([True, True, True])

        def full(row: OutboxRow) -> None:
            if next(failures, False):
                raise ControlError("the disk is full")
            noted(row)

        monkeypatch.setattr(outbox, "sent", full)
        sender = make(receiver.url)
        sender.put([sample("k"), sample("l")])
        until(lambda: sender.problem is not None)
        assert "disk is full" in str(sender.problem)
        ended(outbox)
        assert receiver.received() == ["k", "l"]
        until(lambda: sender.problem is None)

    def test_an_outbox_that_cannot_be_read_is_told_and_looked_at_again(
        self, receiver: HttpReceiver, outbox: Outbox, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look = outbox.due_targets
        away = threading.Event()

        def due_targets() -> set[str]:
            if not away.is_set():
                raise ControlError("it is locked")
            return look()

        monkeypatch.setattr(outbox, "due_targets", due_targets)
        sender = make(receiver.url)
        sender.put([sample("k")])
        until(lambda: sender.problem is not None)
        away.set()
        ended(outbox)
        until(lambda: sender.problem is None)

    def test_a_channel_that_raises_what_nobody_thought_of_is_tried_again_and_its_words_are_kept_to_itself(
        self, outbox: Outbox
    ) -> None:
        def send() -> Outcome:
            if not raised:
                raised.append(True)
                raise KeyError("hunter2-secret")
            return SENT

        raised: list[bool] = []
        sender = sender_of(outbox, Scripted(send), first_wait=0.2, longest_wait=0.2)
        sender.start()
        try:
            sender.put([sample("k")])
            until(lambda: outbox.list()[0].attempts == 1)
            assert outbox.list()[0].last_error == "the attempt failed: KeyError"
            assert sender.status()[0].failures == 1
            (row,) = ended(outbox)
            assert (row.state, row.attempts) == ("sent", 2)
            assert sender.status()[0].failures == 0
            assert sender.status()[0].last_sent_at is not None
        finally:
            sender.stop()

    def test_a_row_that_cannot_be_read_is_refused_and_holds_up_nothing(
        self, receiver: HttpReceiver, outbox: Outbox, plane: ControlPlane, make: Make
    ) -> None:
        sender = make(receiver.url)
        sender.stop()
        sender.put([sample("broken"), sample("whole")])
        with plane.writing() as connection:
            connection.exec_driver_sql("""UPDATE outbox SET body = '{"key": 1}' WHERE key = 'broken'""")
        make(receiver.url)
        broken, whole = ended(outbox)
        assert (broken.state, whole.state) == ("failed", "sent")
        assert "what was kept cannot be read" in broken.last_error

    def test_many_threads_may_read_their_first_notification_at_the_same_moment(self) -> None:
        program = (
            "import sys, threading, msgspec\n"
            "from barograph.alerts.delivery.sender import Notification\n"
            "from tests.support.receivers import sample\n"
            "body = msgspec.to_builtins(sample())\n"
            "sys.setswitchinterval(1e-6)\n"
            "gate = threading.Barrier(8)\n"
            "def read():\n"
            "    gate.wait()\n"
            "    msgspec.convert(body, Notification)\n"
            "threads = [threading.Thread(target=read) for _ in range(8)]\n"
            "for thread in threads: thread.start()\n"
            "for thread in threads: thread.join()\n"
        )
        for _ in range(times(usually=3, soaking=50)):
            assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

    def test_the_state_of_the_router_is_kept_with_what_it_sends(self, receiver: HttpReceiver, make: Make) -> None:
        written: list[Connection] = []
        assert make(receiver.url).put([sample("k")], written.append) == 1
        assert len(written) == 1
