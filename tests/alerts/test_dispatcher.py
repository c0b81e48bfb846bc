"""One thread routes for all projects: whatever the rules wait for, and whatever goes wrong in one of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tests.support.dictionary_reader import DictionaryReader

from barograph.alerts.alert import Alert
from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.dispatcher import LOOK_SECONDS
from barograph.alerts.notifier import LONGEST_REST, Notifier
from barograph.alerts.routing.silences import create_silence
from barograph.alerts.rule_set import RuleSet
from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.control.silences import SilenceRepository
from barograph.core.metric import Catalogue
from barograph.core.query import MetricQuery
from barograph.core.settings import RuleSettings, Settings
from barograph.dashboard.delivery import Delivery
from barograph_client.clock import Clock, ManualClock, SystemClock
from barograph_client.errors import ControlError

START = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
ROUTE = {"receiver": "log", "group_wait": "0s", "group_interval": "10s", "repeat_interval": "1h"}
RULES = [
    RuleSettings(name=name, metric="response_time.mean", above=limit, window="1m", severity="critical")
    for name, limit in (("first", 5.0), ("second", 6.0))
]


class Site:
    """A control plane, its delivery, and a notifier for each of some projects."""

    def __init__(self, path: Path, clock: Clock, projects: int = 1) -> None:
        self.plane = ControlPlane(path / "control.db", clock)
        self.delivery = Delivery(msgspec.convert({"routing": {"route": ROUTE}}, Settings), self.plane, clock, {})
        self.notifiers = [self.delivery.notifier(f"p{number}") for number in range(projects)]
        for notifier in self.notifiers:
            self.delivery.dispatcher.add(notifier)

    def told(self) -> int:
        return len(self.delivery.outbox.list())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def site(tmp_path: Path, clock: ManualClock) -> Iterator[Site]:
    made = Site(tmp_path, clock, 20)
    yield made
    made.plane.close()


def outside(name: str, now: datetime) -> Alert:
    return Alert(
        labels={"alertname": name}, starts_at=now, ends_at=now + timedelta(minutes=5), updated_at=now, from_outside=True
    )


def of_rule(name: str, now: datetime) -> Alert:
    return Alert(labels={"alertname": name}, starts_at=now, updated_at=now)


class Engine:
    """A reader that answers the first question, and hangs at the second until it is let go."""

    def __init__(self, clock: Clock) -> None:
        event = {"kind": "query", "project": "p0", "time": clock.now() - timedelta(seconds=30), "response_time": 9.0}
        self.reader = DictionaryReader([event], clock.now)
        self.reader.before = self._before
        self.hangs, self.go = threading.Event(), threading.Event()

    def _before(self, question: MetricQuery) -> None:
        if len(self.reader.asked) == 2:
            self.hangs.set()
            assert self.go.wait(20)


def until(site: Site, told: int) -> bool:
    ends = time.monotonic() + 10
    while site.told() < told and time.monotonic() < ends:
        time.sleep(0.01)
    return site.told() == told


def test_an_engine_that_hangs_holds_up_no_alert_from_outside_and_no_half_of_a_tick_is_told(tmp_path: Path) -> None:
    clock = SystemClock()
    site = Site(tmp_path, clock)
    engine = Engine(clock)
    (notifier,) = site.notifiers
    states = AlertStateRepository(site.plane)
    rules = RuleSet(Catalogue(), RULES)
    manager = AlertManager(
        engine.reader, rules, states, lambda event: None, clock, "p0", notifier=notifier, rule_seconds=30.0
    )
    site.delivery.dispatcher.start()
    manager.start()
    try:
        assert engine.hangs.wait(10)
        notifier.receive([outside("theirs", clock.now())])
        assert until(site, 1)
        assert states.load("p0") == []
        assert manager.alerts() == []  # the first rule fires, and that is not kept yet
        engine.go.set()
        assert until(site, 3)
        assert {state.rule for state in states.load("p0")} == {"first", "second"}
    finally:
        engine.go.set()
        manager.stop()
        site.delivery.stop()
        site.plane.close()


def test_one_question_a_look_finds_silences_of_all_projects_that_another_process_made(
    site: Site, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for notifier in site.notifiers:
        notifier.receive([outside("a", clock.now())])
    site.delivery.dispatcher.look()
    with ControlPlane(tmp_path / "control.db", clock) as other:
        create_silence(
            SilenceRepository(other),
            project="p7",
            matchers=["alertname=a"],
            ends_at=START + timedelta(hours=1),
            author="ann",
        )
    asked: list[object] = []
    changes = SilenceRepository.changes
    monkeypatch.setattr(SilenceRepository, "changes", lambda self: asked.append(self) or changes(self))
    clock.advance(LOOK_SECONDS)
    site.delivery.dispatcher.look()
    holds = {one.project: one.explain(one.outside(), clock.now(), ZoneInfo("UTC"))[0][0] for one in site.notifiers}
    assert [project for project, hold in holds.items() if hold] == ["p7"]
    assert len(asked) == 1


def test_a_silence_that_was_made_after_the_last_look_holds_what_is_about_to_be_told(
    site: Site, clock: ManualClock
) -> None:
    site.delivery.dispatcher.look()
    create_silence(
        site.delivery.silences,
        project="p1",
        matchers=["alertname=a"],
        ends_at=START + timedelta(hours=1),
        author="ann",
    )
    for notifier in site.notifiers[:2]:
        notifier.receive([outside("a", clock.now())])
    assert [row.project for row in site.delivery.outbox.list()] == ["p0"]


def test_one_that_fails_says_so_is_tried_again_and_stops_no_other(
    site: Site, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = site.notifiers[3], site.notifiers[4]
    alerts = [of_rule("a", START)]
    good.of_rules = bad.of_rules = lambda at: alerts

    def broken(at: datetime) -> list[Alert]:
        raise KeyError("nobody thought of it")

    bad.of_rules = broken
    site.delivery.dispatcher.look()
    assert [row.project for row in site.delivery.outbox.list()] == ["p4"]
    assert "routing of p3 failed: KeyError" in str(bad.problem)
    bad.of_rules = good.of_rules
    clock.advance(LOOK_SECONDS)
    site.delivery.dispatcher.look()
    assert {row.project for row in site.delivery.outbox.list()} == {"p3", "p4"}
    assert bad.problem is None


def test_silences_that_cannot_be_read_are_told_and_what_was_known_of_them_stands(
    site: Site, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.delivery.dispatcher.look()

    def away(self: SilenceRepository) -> int:
        raise ControlError("away")

    with monkeypatch.context() as broken:
        broken.setattr(SilenceRepository, "changes", away)
        clock.advance(LOOK_SECONDS)
        site.delivery.dispatcher.look()
        assert isinstance(site.delivery.dispatcher.problem, ControlError)
    clock.advance(LOOK_SECONDS)
    site.delivery.dispatcher.look()
    assert site.delivery.dispatcher.problem is None


def test_it_sleeps_until_a_group_is_due_and_looks_at_what_was_woken_only(
    site: Site, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = site.delivery.dispatcher
    dispatcher.look()
    assert dispatcher.look() == LOOK_SECONDS
    stepped: list[str] = []
    run_due = Notifier.run_due

    def noted(self: Notifier, now: datetime) -> int:
        stepped.append(self.project)
        return run_due(self, now)

    monkeypatch.setattr(Notifier, "run_due", noted)
    clock.advance(0.25)
    site.notifiers[5].wake()
    assert dispatcher.look() == 0.75
    assert stepped == ["p5"]
    site.notifiers[5].of_rules = lambda at: [of_rule("a", START)]
    site.notifiers[5].wake()
    dispatcher.look()
    clock.advance(9.5)
    assert dispatcher.look() == 0.5  # what is left of its group_interval


def test_alerts_that_come_of_nothing_but_time_are_seen(site: Site, clock: ManualClock) -> None:
    site.delivery.dispatcher.look()
    site.notifiers[0].of_rules = lambda at: [of_rule("blind", at)]  # nobody wakes it
    clock.advance(LONGEST_REST)
    site.delivery.dispatcher.look()
    assert site.told() == 1
