"""Who looks changes nothing: a look beside a watch, one where nobody watches, and what the next tick makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs
from tests.alerts.test_alert_manager import SLOW, START, House

from barograph.alerts.alert_manager import AlertManager
from barograph.control.alert_states import AlertStateRepository
from barograph.core.settings import RuleSettings
from barograph.core.zone import zone_of
from barograph_client.clock import SystemClock

UTC_ZONE = zone_of("UTC")
SELDOM = 86_400.0  # seconds between ticks: the first is due at once, and there is no other


class SteppedClock(SystemClock):
    """The machine's clock, which a test sets."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def live(tmp_path: Path, clock: SteppedClock) -> Iterator[House]:
    made = House(tmp_path, clock)
    yield made
    made.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def watched(house: House, *rules: RuleSettings) -> AlertManager:
    """A manager whose watch has looked once, or has what was kept."""
    manager = house.manager(*rules, interval=SELDOM)
    manager.start()
    restored = bool(manager.active())
    until(lambda: restored or len(AlertStateRepository(house.plane).load("default")) >= len(rules))
    return manager


def kept(house: House, manager: AlertManager) -> object:
    """All that an evaluation leaves behind."""
    states = AlertStateRepository(house.plane)
    return states.load("default"), states.load_detectors("default"), list(house.recorded), manager.counters


def test_a_look_beside_a_watch_shows_what_is_there_now_and_keeps_nothing_of_it(live: House) -> None:
    unusual = RuleSettings(name="unusual", metric="response_time.mean", kind="anomaly", window="1s")
    manager = watched(live, SLOW, structs.replace(SLOW, name="patient", for_="5m"), unusual)
    before = kept(live, manager)
    live.query(9.0)
    (alert,) = manager.check()
    assert alert.sentence == "ALERT: Response time p95 exceeded 5 s threshold (current: 9 s)"
    assert manager.active() == [alert]
    assert [(one.labels["alertname"], one.state) for one in manager.standing(UTC_ZONE)] == [
        ("slow", "firing"), ("patient", "pending"),
    ]  # fmt: skip
    assert {status.rule: status.state for status in manager.rules()} == {
        "slow": "firing", "patient": "pending", "unusual": "nodata",
    }  # fmt: skip
    assert manager.alerts() == []  # nobody is told
    assert kept(live, manager) == before


def test_what_fires_for_the_watch_is_shown_until_the_watch_ends_it(live: House) -> None:
    mean = structs.replace(SLOW, metric="response_time.mean")
    live.query(9.0)
    assert len(live.manager(mean).check()) == 1
    manager = watched(live, mean)
    for _ in range(20):
        live.query(0.1)
    (alert,) = manager.check()
    assert (alert.state, alert.value) == ("firing", 9.0)
    assert [state for _, state in live.told()] == ["firing"]


def test_what_a_look_has_shown_stays_until_the_watch_has_come_as_far(live: House) -> None:
    manager = live.manager(SLOW, interval=0.05, delay=0.3)
    manager.start()
    until(lambda: manager.counters.ticks)
    live.query(9.0, ago=0)
    assert len(manager.check()) == 1
    until(lambda: len(manager.active()) != 1 or live.recorded)
    ticks = manager.counters.ticks
    until(lambda: manager.counters.ticks > ticks + 2)
    assert len(manager.active()) == 1
    assert [state for _, state in live.told()] == ["firing"]


def test_34_a_look_after_a_step_of_the_clock_neither_fires_nor_resolves(live: House, clock: SteppedClock) -> None:
    silent = RuleSettings(name="silent", metric="queries", kind="absence", window="10m")
    failing = RuleSettings(name="failing", metric="error_rate", above=0.1, by=("model",))
    live.query(9.0)
    assert len(live.manager(SLOW, silent, failing).check()) == 1
    manager = watched(live, SLOW, silent, failing)
    before = [alert.sentence for alert in manager.check()]
    assert len(before) == 1
    recorded = len(live.recorded)
    for hours in (24, -24):
        clock.ahead = timedelta(hours=hours)
        assert [alert.sentence for alert in manager.check()] == before
        assert [alert.status(clock.now()) for alert in manager.alerts()] == ["firing"]
    assert len(live.recorded) == recorded


def test_34_what_is_resolved_stays_so_when_the_clock_is_set_back(house: House) -> None:
    manager = house.manager(structs.replace(SLOW, window="15s"))
    house.tick(manager, 1, response_time=9.0)
    house.tick(manager, 2, response_time=1.0)
    house.manual.step(-3600)
    for _ in range(2):  # before the watch has noticed, and after it
        assert manager.active() == manager.standing(UTC_ZONE) == []
        assert manager.check() == []
        house.tick(manager)


def test_34_a_step_of_the_clock_does_not_say_that_rules_were_not_looked_at(live: House, clock: SteppedClock) -> None:
    manager = watched(live, SLOW)
    clock.ahead = timedelta(hours=1)
    assert manager.alerts() == []
    assert manager.check() == []


def test_where_nobody_watches_the_next_tick_does_not_take_back_what_a_look_has_found(house: House) -> None:
    busy = RuleSettings(name="busy", metric="queries", above=2.5, window="15s")
    manager = house.manager(busy)
    for second in (4, 6, 12):
        house.query(1.0, ago=-second)
    house.manual.advance(13)
    assert len(manager.check()) == 1
    house.manual.advance(3)
    again = house.manager(busy)  # a server is started: its first tick would judge less than the look did
    for one in (manager, again):
        assert not one.run_due()
        assert [alert.rule for alert in one.active()] == ["busy"]
    assert house.told() == [("inactive", "firing")]
    house.tick(again, 1, response_time=1.0)
    assert again.active() == []


def test_where_nobody_watches_a_second_look_says_what_the_first_one_said(house: House) -> None:
    rule = structs.replace(SLOW, metric="response_time.mean", window="1m", resolve=2.0)
    house.query(9.0)
    assert len(house.manager(rule).check()) == 1
    house.manual.advance(61)
    house.query(4.0)  # between the two limits: whether it fires is a question of what was before
    (alert,) = house.manager(rule).check()
    assert (alert.active_at, alert.value) == (START, 4.0)
    house.manual.advance(600)
    (alert,) = house.manager(rule).check()
    assert alert.sentence.endswith("(last: 4 s, no data for 9 min)")  # to the minute
    assert house.told() == [("inactive", "firing"), ("firing", "nodata")]
