"""Where the real Alertmanager loses by ``kill -9``: the same script for it and for a real server, ours loses nothing.

Alerts are sent, the process is ended, by SIGKILL and then by SIGTERM, and started again, and what a producer would send
then is sent. The real one (Debian's ``prometheus-alertmanager``, where it is installed) and ours run it at once, each
against receivers of its own. Ours has traffic beside it all the while, and in the long form is killed at random moments
many times more.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import random
import signal
import threading
import time
import urllib.error
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.alertmanager import BINARY, Alertmanager, needed, send
from tests.support.receivers import Answer, HttpReceiver, until
from tests.support.serving import Serving
from tests.support.soak import times

pytestmark = pytest.mark.slow
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
EXPECTED = {"stays": ["firing"], "ends": ["firing", "resolved"], "silenced": [], "once": ["firing"]}
WATCHED = 4.0  # seconds after a start: group_wait, group_interval, and looks that are late
UNDER_WAY = 5.0  # seconds after which the slow receiver answers, unless the sender is killed before
MORE_KILLS = times(usually=0, soaking=100)
SEED = 20261128
REAL = """
route:
  receiver: hook
  group_by: [job]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
  routes: [{{receiver: slow, matchers: [job=under way]}}]
receivers:
- {{name: hook, webhook_configs: [{{url: "{hook}"}}]}}
- {{name: slow, webhook_configs: [{{url: "{slow}"}}]}}
"""
OURS = """
[collect]
sampler_seconds = 0
[[receivers]]
name = "hook"
targets = [{{ type = "webhook", url = "{hook}" }}]
[[receivers]]
name = "slow"
targets = [{{ type = "webhook", url = "{slow}" }}]
[routing.route]
group_by = ["job"]
group_wait = "1s"
group_interval = "1s"
repeat_interval = "1h"
routes = [
    {{ receiver = "slow", matchers = ["job=under way"] }},
    {{ receiver = "hook", matchers = ["job=~.+"] }},
]
"""


class Told(NamedTuple):
    """What a receiver was sent about a job: the status and, of ours, the key."""

    status: str
    key: str


class Receivers:
    """One that answers at once, and one that takes its time until it is told not to."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.hook, self.slow = (stack.enter_context(HttpReceiver()) for _ in range(2))
        self.slow.always = Answer(delay=UNDER_WAY)

    def fill(self, config: str) -> str:
        return config.format(hook=self.hook.url, slow=self.slow.url)

    def know(self, *jobs: str) -> bool:
        """Whether these were told of."""
        return self.told().keys() >= set(jobs)

    def told(self) -> dict[str, list[Told]]:
        """By job, in order."""
        found: dict[str, list[Told]] = defaultdict(list)
        for post in (*self.hook.posts, *self.slow.posts):
            status, job = _read(post.body)
            found[job].append(Told(status, post.headers.get("Idempotency-Key", "")))
        return found


@functools.cache
def _read(body: bytes) -> tuple[str, str]:
    """The status of a message, and the job that it is about."""
    read = json.loads(body)
    return read["status"], read["groupLabels"]["job"]


Hush = Callable[[str, str], None]  # address, job


def hush_real(url: str, job: str) -> None:
    now = datetime.now(UTC)
    matcher = {"name": "job", "value": job, "isRegex": False, "isEqual": True}
    times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
    send(url, "/api/v2/silences", {"matchers": [matcher], "createdBy": "ann", "comment": "deploy", **times})


def hush_ours(url: str, job: str) -> None:
    send(url, "/api/v1/silences", {"matchers": [f'job="{job}"'], "comment": "deploy"})


def script(server: Alertmanager | Serving, receivers: Receivers, hush: Hush) -> None:
    """Jobs are named by what is to come, and the signal. ``under way`` is being told at the kill."""
    began: dict[str, str] = {}

    def alert(job: str, **more: str) -> dict[str, object]:
        starts_at = began.setdefault(job, datetime.now(UTC).isoformat())
        return {"labels": {"alertname": "a", "job": job}, "startsAt": starts_at, **more}

    def fire(*jobs: str) -> None:
        send(server.url, "/api/v2/alerts", [alert(job) for job in jobs])

    started = time.monotonic() - WATCHED
    for number in SIGNALS:
        stays, ends, silenced, once = (f"{job} {number.name}" for job in EXPECTED)
        fire(stays, ends, *(["under way"] if number == signal.SIGKILL else []))
        until(functools.partial(receivers.know, stays, ends))
        if number == signal.SIGKILL:
            until(lambda: receivers.slow.at_once == 1)
        time.sleep(max(1.0, started + WATCHED - time.monotonic()))  # the last end is watched, the news is noted
        hush(server.url, silenced)
        fire(once)  # nobody sends it again
        server.stop(number)
        receivers.slow.always = Answer()
        server.start()
        started = time.monotonic()
        fire(stays, silenced)
        send(server.url, "/api/v2/alerts", [alert(ends, endsAt=datetime.now(UTC).isoformat())])
    time.sleep(WATCHED)


class Traffic(threading.Thread):
    """What sends alerts and silences over all lives of a server, and again what got no answer.

    An alert fires, and may end once it was told, or it is silenced before it fires.
    """

    def __init__(self, server: Serving, receivers: Receivers) -> None:
        super().__init__()
        self._server, self._receivers, self._chance = server, receivers, random.Random(SEED)
        self._fired: dict[str, str] = {}  # job, and when it began
        self._ended: dict[str, str] = {}
        self._silenced: set[str] = set()
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(0.1 * self._chance.random()):
            actions = self._chosen()
            while actions:
                try:
                    actions[0](self._server.url)
                except urllib.error.HTTPError:
                    raise  # it lives, and has not taken it
                except (OSError, http.client.HTTPException):
                    time.sleep(0.02)  # it died; what it took is not known
                else:
                    del actions[0]

    def _chosen(self) -> list[Callable[[str], None]]:
        """What to do next, in order; each may be done twice."""
        now, job = datetime.now(UTC).isoformat(), f"job {len(self._fired)}"
        told = self._receivers.told()
        match self._chance.choice(("new", "new", "end", "again", "silence")):
            case "end" if here := [one for one in self._fired if one in told and one not in self._ended]:
                over = self._chance.choice(here)
                self._ended[over] = now
                return [functools.partial(self._send, [over])]
            case "again":
                still = [one for one in self._fired if one not in self._ended]
                return [functools.partial(self._send, still[-50:])]
            case "silence":
                self._fired[job] = now
                self._silenced.add(job)
                return [lambda url: hush_ours(url, job), functools.partial(self._send, [job])]
        self._fired[job] = now
        return [functools.partial(self._send, [job])]

    def _send(self, jobs: list[str], url: str) -> None:
        ends = {job: {"endsAt": self._ended[job]} for job in jobs if job in self._ended}
        alerts = [
            {"labels": {"alertname": "a", "job": job}, "startsAt": self._fired[job], **ends.get(job, {})}
            for job in jobs
        ]
        send(url, "/api/v2/alerts", alerts)

    def expected(self) -> dict[str, list[str]]:
        """What is to be told, by job."""
        told = {job: ["firing"] for job in self._fired if job not in self._silenced}
        return {job: [*first, "resolved"] if job in self._ended else first for job, first in told.items()}

    def found(self) -> dict[str, list[str]]:
        """What was told, doubles apart."""
        told = self._receivers.told()
        return {job: statuses(list(dict.fromkeys(told[job]))) for job in told if job.startswith("job ")}


class Run(NamedTuple):
    """What was told by job, and of the traffic what was to be told, what was, and by how many messages too many."""

    told: dict[str, list[Told]]
    expected: dict[str, list[str]]
    found: dict[str, list[str]]
    doubles: int


Runs = dict[str, Run]


def run_real(folder: Path) -> Run:
    with contextlib.ExitStack() as stack:
        receivers = Receivers(stack)
        script(stack.enter_context(Alertmanager(folder, receivers.fill(REAL))), receivers, hush_real)
    return Run(receivers.told(), {}, {}, 0)


def run_ours(folder: Path) -> Run:
    chance = random.Random(SEED)
    with contextlib.ExitStack() as stack:
        receivers = Receivers(stack)
        server = stack.enter_context(Serving(folder, toml=receivers.fill(OURS)))
        traffic = Traffic(server, receivers)
        traffic.start()
        try:
            script(server, receivers, hush_ours)
            for _ in range(MORE_KILLS):
                receivers.hook.always = Answer(delay=chance.choice([0.0, 0.02, 0.05]))
                time.sleep(chance.uniform(0.2, 3.0))
                server.stop(signal.SIGKILL)
                server.start()
        finally:
            traffic.stopping.set()
            traffic.join()
        receivers.hook.always = Answer()
        server.until(lambda: traffic.found() == traffic.expected(), 10 + MORE_KILLS)
        time.sleep(1.5)  # nothing more comes
        keys = receivers.hook.received()
        return Run(receivers.told(), traffic.expected(), traffic.found(), len(keys) - len(set(keys)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Of ours and of the real one."""
    with ThreadPoolExecutor() as pool:
        systems = {"ours": run_ours, **({} if BINARY is None else {"real": run_real})}
        started = {who: pool.submit(run, tmp_path_factory.mktemp(who) / "data") for who, run in systems.items()}
    return {who: one.result() for who, one in started.items()}


def statuses(told: list[Told]) -> list[str]:
    return [one.status for one in told]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("job", EXPECTED)
def test_48_49_50_ours_loses_and_doubles_nothing(job: str, number: signal.Signals, runs: Runs) -> None:
    assert statuses(runs["ours"].told[f"{job} {number.name}"]) == EXPECTED[job]


def test_49_what_is_under_way_at_a_kill_is_told_once_more_with_the_same_key(runs: Runs) -> None:
    first, again = runs["ours"].told["under way"]
    assert first == again
    assert first.key


@needed
@pytest.mark.parametrize(
    ("job", "told"),
    [
        pytest.param("stays", ["firing", "firing"], id="it tells twice, with no key to know it by"),
        pytest.param("ends", ["firing"], id="it never tells the end"),
        pytest.param("silenced", ["firing"], id="it has lost the silence"),
        pytest.param("once", [], id="it never tells what it has taken"),
    ],
)
def test_49_50_the_real_one_loses_all_four_by_a_kill(job: str, told: list[str], runs: Runs) -> None:
    assert runs["real"].told[f"{job} SIGKILL"] == [Told(status, "") for status in told]


@needed
def test_48_after_a_clean_end_both_tell_the_same_but_for_what_is_sent_once(runs: Runs) -> None:
    ours, real = ({job: statuses(runs[who].told[f"{job} SIGTERM"]) for job in EXPECTED} for who in ("ours", "real"))
    assert real == {**ours, "once": []}


def test_49_50_of_the_traffic_nothing_is_lost_and_at_most_one_message_a_kill_is_doubled(runs: Runs) -> None:
    ours = runs["ours"]
    assert len(ours.expected) > 10, "too little was sent to say anything"
    assert ours.found == ours.expected
    assert ours.doubles <= 1 + MORE_KILLS
