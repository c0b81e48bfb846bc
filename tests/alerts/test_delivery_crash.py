"""SIGKILL at random moments while notifications are made and sent: none is lost, a double has the key of the first.

A process forks one life after the other (so that a life costs milliseconds, not an import). Each life is a small
router: it reads from the control plane which incidents fire, makes the next notifications, keeps them and its own
state in one transaction, and sends them to two webhooks until it is killed. Some deliveries fail on purpose. The last
life drains what is left and is ended by SIGTERM.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.support.receivers import Answer, HttpReceiver, until
from tests.support.soak import times

from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.control.outbox import Outbox
from barograph_client.clock import SystemClock

LIVES = times(usually=12, soaking=200)
SEED = 20261128

ROUTERS = """
import faulthandler, os, signal, sys, threading, time, traceback
from pathlib import Path
from sqlalchemy import select, insert, update
sys.path.insert(0, os.getcwd())
from barograph.alerts.delivery.sender import Sender
from barograph.alerts.delivery.targets import Targets
from barograph.control.alert_states import AlertState, AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.control.outbox import Outbox
from barograph.control.tables import alert_states
from barograph.core.receiver_settings import DeliverySettings, ReceiverSettings, WebhookTarget
from barograph_client.clock import SystemClock
from tests.support.receivers import sample, surroundings

path, *urls = sys.argv[1:]
quick = DeliverySettings(interval=0.005, first_wait=0.01, longest_wait=0.05)
hooks = tuple(WebhookTarget(name=f"hook{i}", url=url, timeout=5.0) for i, url in enumerate(urls))

def say(line):
    os.write(1, line.encode() + b"\\n")

def live(makes):
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clock = SystemClock()
    with ControlPlane(path, clock) as plane:
        states = AlertStateRepository(plane)
        targets = Targets([ReceiverSettings(name="team", targets=hooks)], quick, surroundings())
        sender = Sender(Outbox(plane), targets, quick, clock)
        sender.start()
        while makes and not stop.is_set():
            known = {state.rule: state.state for state in states.load("default")}
            firing = [name for name, state in known.items() if state == "firing"]
            if len(firing) > 3:  # the oldest is over
                name, status = firing[0], "resolved"
                change = update(alert_states).where(alert_states.c.rule == name).values(state=status)
            else:
                name, status = f"g{len(known):05}", "firing"
                change = insert(alert_states).values(
                    project="default", rule=name, fingerprint="f", labels={}, state=status, updated_at=clock.now())
            sender.put([sample(f"{name}:{status}", name, status)], lambda connection: connection.execute(change))
            time.sleep(0.004)
        while not makes and not stop.is_set():
            if not Outbox(plane).list("waiting"):
                say("drained")
                stop.wait()
            time.sleep(0.01)
        sender.stop()

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        faulthandler.enable()
        faulthandler.dump_traceback_later(15)  # no life is that long
        try:
            live(line.strip() == "make")
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    say(f"born {child}")
    say(f"dead {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")
"""


class Routers:
    """The process that forks the lives."""

    def __init__(self, path: Path, *urls: str) -> None:
        command = [sys.executable, "-c", ROUTERS, str(path), *urls]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def begin(self, what: str) -> int:
        """Start a life; its process id."""
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        return int(self.said("born"))

    def said(self, word: str) -> str:
        """Wait for a line that begins with the word; what stands after it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        raise AssertionError(f"never said {word}")

    def __enter__(self) -> Routers:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()


def order(key: str) -> tuple[str, bool]:
    """Incidents in turn, and each resolved after it fired."""
    name, _, status = key.partition(":")
    return name, status == "resolved"


@pytest.mark.slow
def test_49_kills_at_any_point_lose_nothing_and_double_only_what_was_under_way_with_the_same_key(
    tmp_path: Path,
) -> None:
    path = tmp_path / "control.db"
    chance = random.Random(SEED)
    with HttpReceiver() as steady, HttpReceiver() as shaky, Routers(path, steady.url, shaky.url) as routers:
        kills = 0
        for _ in range(LIVES):
            shaky.script.extend(  # so many fail in a row that what came later is older than what is tried again
                chance.choice([Answer(), Answer(500), Answer(429), Answer(hang_up=True)]) for _ in range(20)
            )
            steady.always = Answer(delay=chance.choice([0.0, 0.0, 0.01]))
            steady.arrived.clear()
            pid = routers.begin("make")
            if chance.random() < 0.8:  # the others die while they start
                assert steady.arrived.wait(20)
            time.sleep(chance.random() ** 2 * 0.25)
            os.kill(pid, signal.SIGKILL)
            assert routers.said("dead") == "-9"
            kills += 1
        shaky.script.clear()
        steady.always = Answer()
        pid = routers.begin("drain")
        routers.said("drained")
        os.kill(pid, signal.SIGTERM)
        assert routers.said("dead") == "0"

        with ControlPlane(path, SystemClock()) as plane:
            rows = Outbox(plane).list(limit=100_000)
            states = {state.rule: state.state for state in AlertStateRepository(plane).load("default")}
        told = [f"{name}:firing" for name in states] + [f"{n}:resolved" for n, s in states.items() if s == "resolved"]
        assert len(told) > LIVES, "too little was made to say anything"
        assert Counter(row.key for row in rows) == Counter(dict.fromkeys(told, 2)), "state and outbox differ"
        assert {row.state for row in rows} == {"sent"}
        received = Counter(steady.received())
        assert received.keys() == set(told), "lost, or never made"
        assert sum(received.values()) - len(received) <= kills, "more than one double for a kill"
        assert set(shaky.taken) == set(told)
        for keys in (steady.taken, shaky.taken):
            taken = list(dict.fromkeys(keys))
            for name in states:
                firsts = [key for key in taken if key.startswith(f"{name}:")]
                assert firsts == sorted(firsts, key=order), "resolved before it fired"


@pytest.mark.slow
def test_49_a_kill_between_sending_and_noting_doubles_once_with_the_same_key(tmp_path: Path) -> None:
    """The one place where a double cannot be avoided: the receiver has it, and the sender is killed before it knows."""
    path = tmp_path / "control.db"
    with HttpReceiver() as receiver, Routers(path, receiver.url) as routers:
        for _ in range(times(usually=3, soaking=30)):
            before = len(receiver.posts)
            receiver.always = Answer(delay=0.05)
            pid = routers.begin("make")
            until(lambda: receiver.at_once == 1)
            os.kill(pid, signal.SIGKILL)
            routers.said("dead")
            under_way = receiver.received()[-1]
            receiver.always = Answer()
            pid = routers.begin("drain")
            routers.said("drained")
            os.kill(pid, signal.SIGTERM)
            assert routers.said("dead") == "0"
            doubles = [key for key, number in Counter(receiver.received()[before:]).items() if number > 1]
            assert doubles == [under_way]
            assert Counter(receiver.received())[under_way] == 2


@pytest.mark.slow
def test_48_sigterm_and_restart_send_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    chance = random.Random(SEED)
    with HttpReceiver() as receiver, Routers(path, receiver.url) as routers:
        for _ in range(times(usually=4, soaking=40)):
            receiver.arrived.clear()
            pid = routers.begin("make")
            assert receiver.arrived.wait(20)
            receiver.always = Answer(delay=chance.choice([0.0, 0.02]))
            time.sleep(chance.random() * 0.1)
            os.kill(pid, signal.SIGTERM)
            assert routers.said("dead") == "0"
        pid = routers.begin("drain")
        routers.said("drained")
        os.kill(pid, signal.SIGTERM)
        assert routers.said("dead") == "0"
        assert set(Counter(receiver.received()).values()) == {1}
        with ControlPlane(path, SystemClock()) as plane:
            assert sorted(row.key for row in Outbox(plane).list(limit=100_000)) == sorted(receiver.received())
