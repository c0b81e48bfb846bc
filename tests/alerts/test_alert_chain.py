"""What goes wrong around the rules, on the whole chain: a real server, an engine behind HTTP, and a real receiver.

The server's rules are evaluated every second, and are blind after three; all else is as it always is. The tests
share one server, break something, look, and make it whole again; each has a rule or a job of its own.
"""

from __future__ import annotations

import http.client
import random
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support import receivers
from tests.support.clickhouse_server import ClickHouseServer
from tests.support.receivers import Answer, HttpReceiver
from tests.support.serving import Serving
from tests.support.soak import LONG

from barograph.alerts.alert import Alert, Notification
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.clock import ManualClock

pytestmark = pytest.mark.slow
RULE_SECONDS = 3.0
KILLS = 30
QUICK = f"""
from functools import partial
from barograph.alerts import alert_manager, rule
from barograph.cli.main import main
from barograph.dashboard import assembly
alert_manager.STALLED_SECONDS = 3.0
rule.SHORTEST_WINDOW = 1.0
assembly.AlertManager = partial(alert_manager.AlertManager, interval=1.0, delay=0.0, rule_seconds={RULE_SECONDS})
main()
"""
TOML = """
default_rules = false
[engine]
address = "{engine}"
load_interval = 0.05
[collect]
sampler_seconds = 0
[[rules]]
name = "slow answers"
metric = "response_time.p95"
above = 5
window = "1h"
where = ["user_id:ne:driver"]
[[rules]]
name = "busy"
metric = "queries"
above = 20
window = "1h"
for = "5s"
where = ["user_id:ne:driver"]
[[rules]]
name = "a dear model"
metric = "cost_per_query"
above = 5
window = "5s"
by = ["model"]
where = ["user_id:eq:driver"]
[[rules]]
name = "unhappy"
metric = "satisfaction"
below = 3
window = "1h"
[[receivers]]
name = "hook"
targets = [{{ type = "webhook", url = "{hook}" }}]
[routing.route]
receiver = "hook"
group_by = ["alertname", "job", "model"]
group_wait = "1s"
group_interval = "1s"
repeat_interval = "1h"
routes = [{{ matchers = ["job=repeated"], repeat_interval = "2s" }}]
"""
OF_THE_RULE = "SELECT.*feedback"  # finds the question of the rule "unhappy"
until = partial(receivers.until, pace=0.1)


class Chain:
    """The server with its engine and receiver, and what is asked of it again and again."""

    def __init__(self, server: Serving, engine: ClickHouseServer, hook: HttpReceiver) -> None:
        self.server, self.engine, self.hook = server, engine, hook

    def told(self, name: str) -> list[str]:
        """The statuses of what was told of an alert, by its name or job."""
        groups = [(post.json["status"], post.json["groupLabels"].values()) for post in self.hook.posts]
        return [status for status, labels in groups if name in labels]

    def rule(self, name: str) -> Any:
        (group,) = self.server.ask("/api/v1/rules").json["data"]["groups"]
        return next(rule for rule in group["rules"] if rule["name"] == name)

    def open(self, name: str) -> Any:
        """The alert of that name that waits or fires, if there is one."""
        alerts = self.server.ask("/api/v1/alerts").json["data"]["alerts"]
        return next((alert for alert in alerts if alert["labels"]["alertname"] == name), None)

    def count(self, name: str) -> int:
        """A number of /metrics."""
        found = re.search(rf"^barograph_{name} (\d+)$", self.server.ask("/metrics").body.decode(), re.MULTILINE)
        assert found, name
        return int(found[1])

    def fire(self, job: str, **more: str) -> int:
        """An alert from outside; the status of the answer."""
        alert = {"labels": {"alertname": "theirs", "job": job}, "annotations": more}
        return self.server.ask("/api/v2/alerts", [alert]).status

    def wait_for_ticks(self, number: int) -> None:
        """Until so many more ticks were evaluated."""
        before = self.count("alert_ticks_total")
        until(lambda: self.count("alert_ticks_total") >= before + number)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One for all: with a slow answer in it, of which people know."""
    folder = tmp_path_factory.mktemp("chain")
    with ClickHouseServer(folder / "engine") as engine, HttpReceiver() as hook:
        toml = TOML.format(engine=engine.address, hook=hook.url)
        with Serving(folder / "data", toml=toml, program=("-c", QUICK)) as server:
            made = Chain(server, engine, hook)
            server.ask("/api/v1/events", [{"query": "why?", "response_time": 9.0}])
            until(lambda: made.told("slow answers") == ["firing"])
            yield made


@pytest.fixture(autouse=True)
def nothing_is_told_of_what_did_not_change(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test breaks: the answers stay slow, are told of once, and since when they are is not forgotten."""
    if "chain" not in request.fixturenames:
        yield
        return
    chain: Chain = request.getfixturevalue("chain")
    since = chain.open("slow answers")["startsAt"]
    yield
    chain.wait_for_ticks(1)
    assert chain.rule("slow answers")["state"] == "firing"
    assert chain.open("slow answers")["startsAt"] == since
    assert chain.told("slow answers") == ["firing"]


def test_a_rule_that_fails_is_told_and_the_others_go_on(chain: Chain) -> None:
    chain.engine.faults(fail_rate=1.0, match="SELECT.*(feedback|response_time)")
    try:
        for name, state in (("unhappy", "inactive"), ("slow answers", "firing")):
            until(lambda name=name: chain.rule(name)["health"] == "err")
            assert "503" in chain.rule(name)["lastError"]
            assert chain.rule(name)["state"] == state, "what fired goes on to fire"
        chain.wait_for_ticks(2)
        assert chain.rule("busy")["health"] == "ok"
        until(lambda: chain.told("RuleError") == ["firing"])
        assert "rule unhappy cannot be evaluated" in chain.open("RuleError")["annotations"]["summary"]
    finally:
        chain.engine.faults()
    until(lambda: chain.told("RuleError") == ["firing", "resolved"])
    assert chain.rule("unhappy")["health"] == "ok"


def test_a_slow_question_holds_up_nothing_that_is_told(chain: Chain) -> None:
    missed = chain.count("alert_ticks_missed_total")
    hang = partial(chain.engine.faults, latency_ms=1000 * (RULE_SECONDS + 1), match=OF_THE_RULE)
    before = hang().get("latency", 0)
    try:
        until(lambda: hang().get("latency", 0) > before)
        assert chain.fire("hasty") == 200
        until(lambda: chain.told("hasty") == ["firing"])
        assert chain.rule("unhappy")["health"] == "ok", "it was told only after the answer was given up"
        until(lambda: chain.rule("unhappy")["health"] == "err")
        assert chain.rule("unhappy")["lastError"] == "not answered within 3 s"
        chain.wait_for_ticks(1)
    finally:
        chain.engine.faults()
    assert chain.count("alert_ticks_missed_total") > missed
    until(lambda: chain.rule("unhappy")["health"] == "ok")


def test_rules_that_are_blind_are_told_and_change_nothing(chain: Chain) -> None:
    assert chain.fire("repeated") == 200
    until(lambda: chain.told("repeated"))
    before = chain.told("RulesNotEvaluated")
    chain.engine.kill()
    try:
        until(lambda: chain.told("RulesNotEvaluated") == [*before, "firing"])
        assert chain.open("RulesNotEvaluated")["labels"]["severity"] == "critical"
        assert chain.open("slow answers")["state"] == "firing"
        assert chain.fire("meanwhile") == 200
        until(lambda: chain.told("meanwhile") == ["firing"])
        repeated = len(chain.told("repeated"))
        until(lambda: len(chain.told("repeated")) > repeated)
        assert chain.server.ask("/api/v1/events", [{"query": "and now?", "response_time": 9.0}]).status == 200
    finally:
        chain.engine.start()
    until(lambda: chain.told("RulesNotEvaluated") == [*before, "firing", "resolved"])
    assert set(chain.told("repeated")) == {"firing"}


@contextmanager
def full_disk(server: Serving) -> Iterator[None]:
    """No file of the server's takes a byte more."""
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of another process can be set on Linux alone")
def test_a_full_disk_refuses_and_what_stands_is_told_when_there_is_room(chain: Chain) -> None:
    chain.server.ask("/api/v1/events", [{"query": f"{n}?", "response_time": 1.0} for n in range(20)])
    until(lambda: chain.open("busy") is not None)
    chain.wait_for_ticks(2)
    until(lambda: chain.count("engine_behind_bytes") == 0)  # what is acknowledged is loaded: else the rules are blind
    assert chain.open("busy")["state"] == "pending"
    assert chain.fire("accepted") == 200
    with full_disk(chain.server):
        refused = chain.server.ask("/api/v2/alerts", [{"labels": {"alertname": "theirs", "job": "refused"}}])
        assert refused.status == 503
        assert chain.server.ask("/api/v1/events", [{"query": "?"}]).status == 507
        until(lambda: chain.open("busy")["state"] == "firing")
        chain.wait_for_ticks(2)
        page = chain.server.ask("/api/v1/pages/alerts").body.decode()
        assert "wait to be written down" in page
        time.sleep(1.5)
        told = [chain.told(name) for name in ("accepted", "busy", "refused")]
        assert told == [[], [], []], "it was told before it was kept"
    until(lambda: chain.told("accepted") and chain.told("busy"))
    until(lambda: "wait to be written down" not in chain.server.ask("/api/v1/pages/alerts").body.decode())
    assert chain.fire("refused") == 200
    until(lambda: chain.told("refused"))
    told = [chain.told(name) for name in ("accepted", "busy", "refused")]
    assert told == [["firing"], ["firing"], ["firing"]]
    incidents = chain.server.ask("/api/v1/incidents?fresh=true").json["incidents"]
    assert [one["rule"] for one in incidents].count("busy") == 1


START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SLOW = {"metric": "response_time.p95", "above": 5.0, "window": "1m"}
ROUTE = {"group_wait": "1s", "group_interval": "15s", "repeat_interval": "1m"}


def outbox(dashboard: DashboardInterface) -> list[tuple[str, str]]:
    """What was told, oldest first: of which alert, and how it stood."""
    rows = reversed(dashboard.parts.delivery.outbox.list(limit=1000))
    read = [msgspec.convert(row.body, Notification) for row in rows]
    return [(one.group_labels["alertname"], one.status) for one in read]


def test_34_a_clock_that_steps_fires_and_resolves_nothing(tmp_path: Path) -> None:
    """The same parts in this process, on a clock that can be stepped."""
    clock = ManualClock(START)
    with DashboardInterface(
        tmp_path, clock=clock, environment={}, background=False, routing={"route": ROUTE}, default_rules=False,
        rules=[{"name": "fires", **SLOW}, {"name": "waits", "for": "1m", **SLOW}],
    ) as dashboard:  # fmt: skip

        def tick(times: int) -> None:
            for _ in range(times):
                clock.advance(7)
                dashboard.record_query_execution({"query": "why?", "response_time": 9.0})
                clock.advance(8)
                dashboard.flush()
                dashboard.alerts.run_due()
                dashboard.notifier.step(clock.now())

        def active() -> dict[str, datetime | None]:
            return {alert.rule: alert.active_at for alert in dashboard.alerts.active()}

        theirs = Alert(
            labels={"alertname": "theirs"}, annotations={}, starts_at=START, updated_at=START, from_outside=True,
            ends_at=START + timedelta(days=3),
        )  # fmt: skip
        dashboard.notifier.receive([theirs])
        tick(3)
        fires = {"fires": START + timedelta(seconds=15)}
        assert active() == fires
        for moved in (86_400.0, -86_400.0):
            clock.step(moved)
            tick(1)
            assert active() == fires
        assert set(outbox(dashboard)) == {("fires", "firing"), ("theirs", "firing")}
        before = outbox(dashboard).count(("theirs", "firing"))
        tick(5)  # now no window reaches across the step any more
        assert active() == {**fires, "waits": fires["fires"]}
        assert outbox(dashboard).count(("theirs", "firing")) == before + 1
        assert {status for _, status in outbox(dashboard)} == {"firing"}


class Driver(threading.Thread):
    """Queries of some models, each dear or cheap until people know it, over all lives of the server."""

    def __init__(self, chain: Chain, chance: random.Random) -> None:
        super().__init__()
        self._chain, self._chance = chain, chance
        self.expected: dict[str, list[str]] = {f"model {number}": [] for number in range(4)}
        self.last, self.over = threading.Event(), threading.Event()  # nothing changes any more; nothing is sent

    def found(self) -> dict[str, list[str]]:
        """What was told of each model, doubles apart."""
        posts = {post.key: post.json for post in self._chain.hook.posts}.values()
        told = [(post["groupLabels"].get("model", ""), post["status"]) for post in posts]
        return {model: [status for of, status in told if of == model] for model in self.expected}

    def run(self) -> None:
        while not self.over.wait(0.3):
            found = self.found()
            for model, expected in self.expected.items():
                if found[model] == expected and self._chance.random() < 0.5 and not self.last.is_set():
                    expected.append("resolved" if expected[-1:] == ["firing"] else "firing")
            costs = {model: 9.0 if told[-1:] == ["firing"] else 1.0 for model, told in self.expected.items()}
            events = [{"user_id": "driver", "query": "?", "model": model, "cost": costs[model]} for model in costs]
            with suppress(OSError, http.client.HTTPException):  # it was killed
                self._chain.server.ask("/api/v1/events", events)


@pytest.mark.skipif(not LONG, reason="the long form alone: kills in every run are in test_alertmanager_killed")
def test_49_kills_at_any_moment_lose_and_repeat_nothing_of_what_rules_see(chain: Chain) -> None:
    chance = random.Random(20261128)
    driver = Driver(chain, chance)
    driver.start()
    try:
        for _ in range(KILLS):
            chain.hook.always = Answer(delay=chance.choice([0.0, 0.02, 0.1]))
            time.sleep(chance.uniform(2, 10))
            chain.server.stop(signal.SIGKILL)
            chain.server.start()
        driver.last.set()
        chain.hook.always = Answer()
        until(lambda: driver.found() == driver.expected, 60)
        chain.wait_for_ticks(2)
    finally:
        driver.over.set()
        driver.join()
    assert driver.found() == driver.expected
    assert any(driver.expected.values()), "nothing was told at all"
    keys = chain.hook.received()
    assert len(keys) - len(set(keys)) <= KILLS


def test_what_the_documentation_says_of_failures_is_shown_by_tests_that_there_are() -> None:
    root = Path(__file__).parents[2]
    named = re.findall(r"`(test_\w+)`", (root / "docs/alerting.md").read_text(encoding="utf-8"))
    written = "".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py"))
    assert len(named) >= 8
    assert [name for name in named if f"def {name}(" not in written] == []
