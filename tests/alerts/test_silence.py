"""Silence is evidence only where somebody could have been heard: after a restart, in a new project, across a step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.alerts.test_alert_manager import START, House

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.hearing import last_heard
from barograph.core.settings import RuleSettings

SILENT = RuleSettings(name="silent", metric="queries", kind="absence", window="10m")
MINUTE = 60


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def minutes(house: House, manager: AlertManager, count: int, **how: Any) -> list[str]:
    """The states of the first rule, a minute each."""
    states = []
    for _ in range(count):
        house.tick(manager, 4, **how)
        states.append(manager.rules()[0].state)
    return states


def restarted(house: House, rule: RuleSettings, down: float, manager: AlertManager | None = None) -> AlertManager:
    """A manager after a time in which the server was down."""
    if manager is not None:
        manager.stop()
    last = house.clock.now()
    house.manual.advance(down)
    return house.manager(rule, last_heard=last)


def test_where_nothing_was_ever_measured_nothing_is_missed(house: House) -> None:
    manager = house.manager(SILENT, last_heard=None)
    assert set(minutes(house, manager, 30)) == {"nodata"}
    assert sum(question.window.seconds > 86400 for question in house.reader.asked) <= 6  # now and then
    assert manager.rules()[0].reason == "nothing was ever measured"
    house.query(1.0)
    assert minutes(house, manager, 12) == ["inactive"] * 10 + ["firing"] * 2
    asked = len(house.reader.asked)
    house.tick(manager)
    assert len(house.reader.asked) == asked + 1  # that there was something is not asked again


def test_the_time_in_which_the_server_was_down_is_no_absence_and_that_after_it_is(house: House) -> None:
    house.query(1.0)
    manager = restarted(house, SILENT, 2 * 3600)
    assert minutes(house, manager, 11) == ["nodata"] * 9 + ["firing"] * 2  # a tenth of the window may be missing
    (alert,) = manager.active()
    assert alert.sentence == "ALERT: No events of queries for 10 min"


def test_a_look_at_a_directory_that_nobody_has_open_says_that_nothing_could_come(house: House) -> None:
    house.query(1.0)
    manager = restarted(house, SILENT, 2 * 3600)
    assert manager.check() == []
    assert manager.rules()[0].reason == "nobody could send but for 0 s of the last 10 min"
    house.query(1.0, ago=300)  # with its own time, from a spool
    manager.check()
    assert manager.rules()[0].state == "inactive"


def test_a_short_restart_blinds_no_rule(house: House) -> None:
    house.query(1.0)
    manager = house.manager(SILENT)
    assert minutes(house, manager, 9)[-1] == "inactive"
    manager = restarted(house, SILENT, 50, manager)
    assert minutes(house, manager, 2) == ["firing"] * 2


def test_an_absence_that_fired_before_a_restart_is_the_same_alert_until_there_are_events(house: House) -> None:
    house.query(1.0)
    manager = house.manager(SILENT)
    minutes(house, manager, 12)
    (before,) = manager.alerts()
    recorded = len(house.recorded)
    manager = restarted(house, SILENT, 2 * 3600, manager)
    for _ in range(12):
        (now,) = manager.alerts()
        assert (now.fingerprint, now.starts_at, now.ends_at) == (before.fingerprint, before.starts_at, None)
        house.tick(manager, 4)
    assert {alert.state for alert in house.recorded[recorded:]} == {"nodata", "firing"}  # blind, then judged
    house.tick(manager, 1, response_time=1.0)
    assert manager.active() == []
    assert house.recorded[-1].state == "resolved"


@pytest.mark.parametrize(
    "settings",
    [
        {"metric": "response_time.p95", "above": 5.0, "window": "5m", "no_data": "alerting"},
        {"metric": "queries", "below": 3.0, "window": "5m", "minimum": 0},
        {"metric": "queries", "kind": "change", "compare": "day", "below": -0.5, "window": "5m", "minimum": 0},
    ],
)
def test_no_other_rule_takes_a_restart_for_bad_news(house: House, settings: dict[str, Any]) -> None:
    rule = RuleSettings(name="it", **settings)
    for ago in range(0, 90_000, 60):
        house.query(1.0, ago=ago)
    manager = restarted(house, rule, 3600, house.manager(rule))
    assert "firing" not in minutes(house, manager, 6, response_time=1.0)
    assert minutes(house, manager, 8)[-1] == "firing"


@pytest.mark.parametrize("missing", ["keep", "nodata"])
def test_a_group_does_not_vanish_while_nobody_could_send(house: House, missing: Any) -> None:
    rule = RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="5m", by=("model",),
                        missing=missing, lookback="10m")  # fmt: skip
    manager = house.manager(rule)
    house.query(9.0, model="large")
    house.query(1.0, model="small")
    minutes(house, manager, 7, model="small", response_time=1.0)
    manager = restarted(house, rule, 3600, manager)
    for _ in range(10):
        house.tick(manager, 4, response_time=1.0, model="small")
        assert [alert.labels for alert in manager.active()] == [{"model": "large"}]
    minutes(house, manager, 6, response_time=1.0, model="small")
    assert manager.active() == []


def test_as_prometheus_a_restart_is_no_excuse(house: House) -> None:
    rule = RuleSettings(name="silent", metric="queries", kind="absence", window="10m", missing="prometheus")
    assert len(restarted(house, rule, 3600).check()) == 1


def test_34_time_that_a_clock_was_set_forward_by_is_no_absence(house: House) -> None:
    rule = RuleSettings(name="silent", metric="queries", kind="absence", window="4h")
    house.query(1.0)
    manager = house.manager(rule, interval=300.0)
    for hours, fires in ((3, False), (4.1, False), (6.8, True)):  # heard for less than its window since the step
        end = START + timedelta(hours=20 * (hours > 3) + hours)
        if hours == 4.1:
            house.manual.step(20 * 3600)
        while house.clock.now() < end:
            house.manual.advance(300)
            manager.run_due()
        assert bool(manager.active()) == fires, hours


def test_what_a_command_has_recorded_since_is_no_sign_that_the_server_was_there() -> None:
    sample = START - timedelta(hours=2)
    assert last_heard({}) is None
    assert last_heard({"query": START}) is None
    assert last_heard({"system": sample, "query": sample + timedelta(minutes=1)}) == sample + timedelta(minutes=1)
    assert last_heard({"system": sample, "query": START, "feedback": sample - timedelta(hours=1)}) == sample
