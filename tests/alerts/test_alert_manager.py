"""The AlertManager on a Reader that counts real events and a control plane on disk."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs
from tests.support.dictionary_reader import DictionaryReader

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.default_rules import default_rules
from barograph.alerts.incidents import history
from barograph.alerts.lifecycle import VANISHED_SECONDS
from barograph.alerts.rule_set import RuleSet
from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.core.event import Alert
from barograph.core.metric import Catalogue
from barograph.core.query import MetricQuery, Window
from barograph.core.settings import RuleSettings, Settings
from barograph_client.clock import Clock, ManualClock, SystemClock
from barograph_client.errors import DiskFull, EngineUnavailable, InvalidEvent, InvalidRule

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SLOW = RuleSettings(name="slow", metric="response_time.p95", above=5.0, window="5m")


class House:
    """A clock, a list of events, a Reader over it, a control plane and what was recorded."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self.manual = ManualClock(START)
        self.clock: Clock = clock or self.manual
        self.plane = ControlPlane(directory / "control.db", self.clock)
        self.events: list[dict[str, object]] = []
        self.reader = DictionaryReader(self.events, self.clock.now)
        self.recorded: list[Alert] = []
        self.managers: list[AlertManager] = []

    def manager(self, *rules: RuleSettings, **how: Any) -> AlertManager:
        record = how.pop("record", self.recorded.append)
        how.setdefault("last_heard", self.clock.now())  # events could come until now
        states = AlertStateRepository(self.plane)
        default = default_rules(Settings()) if not rules else ()
        made = AlertManager(
            self.reader, RuleSet(Catalogue(), rules, default=default), states, record, self.clock, **how
        )
        self.managers.append(made)
        return made

    def close(self) -> None:
        for manager in self.managers:
            manager.stop()
        self.plane.close()

    def query(self, response_time: float, ago: float = 1.0, **fields: object) -> None:
        moment = self.clock.now() - timedelta(seconds=ago)
        self.events.append({"kind": "query", "time": moment, "response_time": response_time, **fields})

    def tick(self, manager: AlertManager, times: int = 1, response_time: float | None = None, **fields: object) -> None:
        """Let 15 s pass and evaluate, so many times, with a query in the middle of each interval."""
        for _ in range(times):
            self.manual.advance(15)
            if response_time is not None:
                self.query(response_time, ago=7, **fields)
            manager.run_due()

    def told(self) -> list[tuple[str, str]]:
        return [(alert.previous, alert.state) for alert in self.recorded]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def test_a_slow_system_is_told_in_the_sentence_of_the_dashboard(house: House) -> None:
    house.query(7.2)
    (alert,) = house.manager(SLOW).check()
    assert alert.sentence == "ALERT: Response time p95 exceeded 5 s threshold (current: 7.2 s)"
    (alert,) = house.manager(structs.replace(SLOW, metric="response_time.mean")).check()
    assert alert.sentence == "ALERT: Response time exceeded 5 s threshold (current: 7.2 s)"
    assert (alert.rule, alert.severity, alert.state, alert.value) == ("slow", "warning", "firing", 7.2)


def test_at_the_limit_it_does_not_fire_and_just_above_it_the_sentence_shows_the_difference(house: House) -> None:
    house.query(5.0)
    manager = house.manager(SLOW)
    assert manager.check() == []
    house.manual.advance(600)
    house.query(5.004)
    assert "exceeded 5 s threshold (current: 5.004 s)" in manager.check()[0].sentence


def test_an_event_of_this_very_moment_is_part_of_the_check(house: House) -> None:
    house.query(7.2, ago=0)
    assert len(house.manager(SLOW).check()) == 1


def test_an_empty_directory_has_no_alerts_and_says_that_it_has_no_data(house: House) -> None:
    manager = house.manager()
    assert manager.check() == []
    assert {status.state for status in manager.rules()} == {"nodata"}
    assert {status.source for status in manager.rules()} == {"default"}
    assert house.recorded == []


def test_fewer_events_than_the_minimum_say_nothing(house: House) -> None:
    rule = RuleSettings(name="errors", metric="error_rate", above=0.1, window="10m", minimum=20)
    manager = house.manager(rule)
    for _ in range(19):
        house.query(1.0, status="error")
    assert manager.check() == []
    assert manager.rules()[0].state == "nodata"
    assert "19 events in the window, 20 are needed" in manager.rules()[0].reason
    house.query(1.0, status="error")
    (alert,) = manager.check()
    assert alert.sentence == "ALERT: Error rate exceeded 10\u202f% threshold (current: 100\u202f%)"


def test_each_group_is_an_alert_of_its_own_and_is_named(house: House) -> None:
    manager = house.manager(RuleSettings(name="slow", metric="response_time.p95", above=5.0, by=("pipeline",)))
    house.query(9.0, pipeline="support")
    house.query(1.0, pipeline="sales")
    house.query(6.0, pipeline="\x1b[31mevil\n" + "x" * 300)
    support, evil = sorted(manager.check(), key=lambda alert: alert.labels["pipeline"], reverse=True)
    assert support.sentence == "ALERT: Response time p95 (pipeline support) exceeded 5 s threshold (current: 9 s)"
    assert evil.sentence.isprintable()
    assert len(evil.sentence) < 160


def test_filters_and_both_directions_hold(house: House) -> None:
    rule = RuleSettings(name="unhappy", metric="satisfaction", below=3.0, window="1h", where=("user_id:ne:tester",))
    manager = house.manager(rule)
    for user, rating in (("tester", 5.0), ("ann", 2.0), ("bob", 3.0)):
        moment = house.manual.now() - timedelta(minutes=5)
        house.events.append({"kind": "feedback", "time": moment, "user_id": user, "rating": rating})
    (alert,) = manager.check()
    assert alert.sentence == "ALERT: User satisfaction fell below 3.0/5.0 threshold (current: 2.5/5.0)"


def test_01_a_rule_waits_for_its_for_on_the_grid_and_tells_nobody_meanwhile(house: House) -> None:
    rule = RuleSettings(name="slow", metric="response_time.p95", above=5.0, window="1m", for_="40s")
    manager = house.manager(rule)
    house.tick(manager, 3, response_time=9.0)
    assert manager.active() == []
    house.tick(manager, 1, response_time=9.0)
    (alert,) = manager.active()
    assert alert.active_at == START + timedelta(seconds=15)
    assert alert.fired_at == START + timedelta(seconds=60)
    house.tick(manager, 6, response_time=0.5)
    assert manager.active() == []
    assert house.told() == [("inactive", "pending"), ("pending", "firing"), ("firing", "resolved")]
    assert house.recorded[2].message.startswith("RESOLVED: Response time p95 is back within its threshold (current: ")


def test_one_check_sees_what_watching_would_have_seen(house: House) -> None:
    rule = RuleSettings(name="slow", metric="response_time.p95", above=5.0, window="1m", for_="2m")
    for ago in range(1, 400, 10):
        house.query(9.0, ago=ago)
    (alert,) = house.manager(rule).check()
    assert alert.active_at == START - timedelta(minutes=2)


def test_one_check_does_not_invent_what_watching_would_not_have_seen(house: House) -> None:
    rule = RuleSettings(name="slow", metric="response_time.p95", above=5.0, window="1m", for_="2m")
    house.query(9.0)
    manager = house.manager(rule)
    assert manager.check() == []
    assert manager.rules()[0].state == "pending"


def test_a_tick_waits_until_the_data_up_to_it_are_complete(house: House) -> None:
    house.query(9.0)
    manager = house.manager(SLOW)
    manager.run_due()
    house.reader.complete_to = START
    house.manual.advance(16)
    assert not manager.run_due()
    house.reader.complete_to = START + timedelta(seconds=15)
    assert manager.run_due()
    assert manager.counters.evaluated_to == START + timedelta(seconds=15)
    assert house.reader.asked[-1].window.end == START + timedelta(seconds=10)


@pytest.mark.parametrize(("late", "same"), [(0.9, True), (4.9, True), (6.1, False)])
def test_35_data_that_come_late_but_within_the_delay_give_the_same_result_as_data_on_time(
    house: House, tmp_path: Path, late: float, same: bool
) -> None:
    """A window that is as long as a tick sees every event once: what it misses comes back in no later one."""

    def watched(where: House, late: float) -> list[tuple[str, float | None]]:
        manager = where.manager(structs.replace(SLOW, metric="response_time.mean", window="15s", for_="30s"))
        coming = [(START + timedelta(seconds=s + 0.5), 9.0 + s / 7 if 20 <= s < 75 else 1.0) for s in range(120)]
        found = []
        for tick in range(1, 9):
            where.manual.advance(15)
            come = [one for one in coming if one[0] + timedelta(seconds=late) <= where.clock.now()]
            where.events[:] = [{"kind": "query", "time": time, "response_time": value} for time, value in come]
            manager.run_due()
            assert manager.counters.ticks == tick
            found.append((str(manager.rules()[0].state), manager.rules()[0].value))
        return found

    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other")
    on_time = watched(other, 0.0)
    other.close()
    assert [state for state, _ in on_time] == [
        "inactive", "inactive", "pending", "pending", "firing", "firing", "resolved", "resolved",
    ]  # fmt: skip
    assert (watched(house, late) == on_time) is same


def test_31_skipped_ticks_are_counted_and_neither_resolve_nor_reset(house: House) -> None:
    rule = RuleSettings(name="slow", metric="response_time.p95", above=5.0, window="5m", for_="1m")
    manager = house.manager(rule)
    house.query(9.0)
    house.tick(manager)
    house.manual.advance(75)
    house.query(9.0, ago=10)
    manager.run_due()
    assert manager.counters.missed == 4
    (alert,) = manager.active()
    assert alert.active_at == START + timedelta(seconds=15)


def test_30_an_evaluation_long_after_its_tick_is_counted_as_late_and_keeps_its_scheduled_time(house: House) -> None:
    manager = house.manager(SLOW)
    house.query(9.0)
    house.manual.advance(29)
    manager.run_due()
    assert manager.counters.late == 1
    assert house.recorded[0].time == START + timedelta(seconds=15)


def test_26_missing_data_do_not_resolve(house: House) -> None:
    manager = house.manager(SLOW)
    house.query(9.0)
    house.tick(manager, 40)
    (alert,) = manager.active()
    assert alert.state == "nodata"
    assert alert.sentence == "ALERT: Response time p95 exceeded 5 s threshold (last: 9 s, no data for 10 min)"
    assert alert.data_at == START  # the end of the minute of the only query, not that of an evaluation
    assert house.recorded[-1].message.endswith("(last: 9 s, no data for 5 min)")
    house.tick(manager, 1, response_time=1.0)
    assert manager.active() == []
    assert house.told() == [("inactive", "firing"), ("firing", "nodata"), ("nodata", "resolved")]


def test_a_check_long_after_tells_when_data_were_last_there_not_when_it_looked(house: House) -> None:
    manager = house.manager(structs.replace(SLOW, by=("model",)))
    house.query(9.0, model="a")
    house.query(1.0, model="b")
    assert len(manager.check()) == 1
    house.manual.advance(3 * 86400)
    house.query(1.0, model="b")
    (alert,) = manager.check()
    assert alert.sentence.endswith("(model a) exceeded 5 s threshold (last: 9 s, no data for 3 d)")
    assert alert.data_at == START
    again = house.manager(structs.replace(SLOW, by=("model",)))  # the time is not kept: it is asked for again
    again.check()
    assert [one.data_at for one in again.active()] == [START]


def test_28_a_group_that_is_gone_is_resolved_after_an_hour_and_not_before(house: House) -> None:
    rule = RuleSettings(name="slow", metric="response_time.p95", above=5.0, window="1m", by=("model",))
    manager = house.manager(rule, interval=60.0)
    house.query(9.0, model="old")
    manager.check()
    for _ in range(int(VANISHED_SECONDS / 60)):
        house.manual.advance(60)
        house.query(1.0, model="new", ago=30)
        manager.run_due()
        assert [alert.labels for alert in manager.active()] == [{"model": "old"}]
    for _ in range(2):
        house.manual.advance(60)
        house.query(1.0, model="new", ago=30)
        manager.run_due()
    assert manager.active() == []
    assert house.recorded[-1].state == "resolved"
    assert "missing series" in house.recorded[-1].message


def test_a_failing_rule_is_an_error_with_its_reason_and_the_others_go_on(house: House) -> None:
    def refuse(question: MetricQuery) -> None:
        if question.metric == "error_rate":
            raise EngineUnavailable("the engine is away", hint="Wait.")

    house.reader.before = refuse
    house.query(9.0)
    manager = house.manager(RuleSettings(name="errors", metric="error_rate", above=0.1, for_="1m"), SLOW)
    house.tick(manager, 2, response_time=9.0)
    assert [alert.rule for alert in manager.active()] == ["slow"]
    assert manager.rules()[0].state == "error"
    assert "the engine is away" in manager.rules()[0].reason
    house.tick(manager, 4, response_time=9.0)
    errors = [alert for alert in manager.active() if alert.rule == "errors"]
    assert [alert.sentence for alert in errors] == ["ALERT: rule errors cannot be evaluated: the engine is away. Wait."]
    assert manager.counters.failed == 6


def test_29_a_grouped_rule_that_fails_is_one_error_and_its_groups_stand_as_they_were(house: House) -> None:
    manager = house.manager(RuleSettings(name="slow", metric="response_time.p95", above=5.0, by=("model",)))
    house.query(9.0, model="a")
    house.query(9.0, model="b")
    house.tick(manager, 1, response_time=1.0)
    recorded = len(house.recorded)

    def refuse(question: MetricQuery) -> None:
        raise EngineUnavailable("the engine is away")

    house.reader.before = refuse
    house.tick(manager, 3)
    assert sorted((alert.state, str(alert.labels.get("model"))) for alert in manager.active()) == [
        ("error", "None"),
        ("firing", "a"),
        ("firing", "b"),
    ]
    assert [alert.state for alert in house.recorded[recorded:]] == ["error"]
    (status,) = manager.rules()
    assert (status.state, status.error) == ("firing", "the engine is away")
    house.reader.before = lambda question: None
    house.tick(manager)
    assert [alert.state for alert in manager.active()] == ["firing", "firing"]
    assert manager.rules()[0].error == ""
    assert "nothing" not in manager.rules()[0].reason


def test_a_rule_that_hangs_does_not_stop_the_others(house: House) -> None:
    let_go = threading.Event()

    def hang(question: MetricQuery) -> None:
        if question.metric == "queries":
            let_go.wait(20)

    house.reader.before = hang
    house.query(9.0)
    manager = house.manager(RuleSettings(name="hangs", metric="queries", above=1.0), SLOW, rule_seconds=0.2)
    try:
        began = time.monotonic()
        house.tick(manager, 5, response_time=9.0)
        assert time.monotonic() - began < 2.0
        assert {status.rule: status.state for status in manager.rules()} == {"hangs": "error", "slow": "firing"}
        assert manager.counters.missed == 0
    finally:
        let_go.set()
    time.sleep(0.1)
    house.tick(manager, 1, response_time=9.0)
    assert manager.rules()[0].state == "firing"
    manager.stop()


@pytest.mark.parametrize("moved", [600.0, -600.0, 86_400.0, -86_400.0])
def test_34_a_step_of_the_clock_neither_fires_nor_resolves(house: House, moved: float) -> None:
    fires = RuleSettings(name="slow", metric="response_time.p95", above=5.0, window="5m")
    waits = RuleSettings(name="busy", metric="queries", above=1.0, window="5m", for_="1m")
    quiet = RuleSettings(name="quiet", metric="queries", below=5.0, window="5m")
    manager = house.manager(fires, waits, quiet)
    for ago in range(0, 1200, 20):
        house.query(1.0 if ago > 400 else 9.0, ago=ago)
    house.tick(manager, 2, response_time=9.0)
    before = {alert.rule for alert in manager.active()}
    assert before == {"slow"}
    recorded = len(house.recorded)
    house.manual.step(moved)
    house.tick(manager, 2, response_time=9.0)
    assert {alert.rule for alert in manager.active()} == before
    assert len(house.recorded) == recorded
    assert manager.counters.held > 0
    house.tick(manager, 25, response_time=9.0)
    assert {alert.rule for alert in manager.active()} == {"slow", "busy"}
    assert [alert.rule for alert in house.recorded[recorded:]] == ["busy"]


def test_32_states_survive_a_restart(house: House) -> None:
    rule = RuleSettings(name="slow", metric="response_time.p95", above=5.0, window="1m", for_="1m")
    first = house.manager(rule, RuleSettings(name="errors", metric="error_rate", above=0.5))
    house.query(1.0, status="error")
    house.tick(first, 3, response_time=9.0)
    assert [alert.rule for alert in first.active()] == []
    first.stop()
    second = house.manager(rule, RuleSettings(name="errors", metric="error_rate", above=0.5))
    house.tick(second, 2, response_time=9.0)
    (alert,) = second.active()
    assert (alert.rule, alert.active_at) == ("slow", START + timedelta(seconds=15))
    house.tick(second, 1, response_time=9.0)
    second.stop()
    third = house.manager(rule)
    assert [(a.active_at, a.sentence) for a in third.active()] == [(alert.active_at, alert.sentence)]
    house.tick(third, 2, response_time=9.0)
    assert house.told() == [("inactive", "pending"), ("pending", "firing")]


def test_how_bad_it_was_is_known_while_it_fires_over_a_restart_and_when_it_is_over(house: House) -> None:
    """The firing event has the value at firing alone; what is open is told with the worst value up to now."""
    rule = RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="15s")
    first = house.manager(rule)
    for seconds in (6.0, 9.0, 7.0):
        house.tick(first, 1, response_time=seconds)
    window = Window(START, START + timedelta(hours=1))

    def told(manager: AlertManager) -> list[tuple[float | None, bool]]:
        events = [{"kind": "alert", **msgspec.to_builtins(one), "time": one.time} for one in house.recorded]
        reader = DictionaryReader(events, house.clock.now)
        found = history(reader, window, house.clock.now(), standing=manager.conditions())
        return [(one.worst, one.resolved_at is None) for one in found.incidents]

    assert told(first) == [(9.0, True)]
    first.stop()
    second = house.manager(rule)
    house.tick(second, 1, response_time=6.5)
    assert told(second) == [(9.0, True)]
    house.tick(second, 1, response_time=1.0)
    assert told(second) == [(9.0, False)]
    house.tick(second, 1, response_time=6.5)
    assert told(second) == [(6.5, True), (9.0, False)]


def test_a_process_that_is_killed_leaves_its_alerts_as_they_were(house: House, tmp_path: Path) -> None:
    script = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from barograph.core.settings import RuleSettings
from tests.alerts.test_alert_manager import House

house = House(Path(sys.argv[1]))
house.query(9.0)
manager = house.manager(RuleSettings(name="slow", metric="response_time.p95", above=5.0))
house.tick(manager, 1, response_time=9.0)
print([alert.active_at.isoformat() for alert in manager.active()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=root, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    moment = START + timedelta(seconds=15)
    assert killed.stdout == f"['{moment.isoformat()}']\n"
    manager = house.manager(SLOW)
    assert [alert.active_at for alert in manager.active()] == [moment]
    house.tick(manager, 2, response_time=9.0)
    assert house.recorded == []


def test_the_alerts_of_a_rule_that_was_removed_are_resolved_and_forgotten(house: House) -> None:
    first = house.manager(SLOW)
    house.query(9.0)
    first.check()
    house.manager(RuleSettings(name="other", metric="queries", above=1e6)).check()
    assert [(a.rule, a.state) for a in house.recorded] == [("slow", "firing"), ("slow", "removed")]
    assert [state.rule for state in AlertStateRepository(house.plane).load("default")] == []


def test_a_repeated_transition_has_the_same_event_id_and_is_barographs_own(house: House, tmp_path: Path) -> None:
    house.query(9.0)
    house.manager(SLOW).check()
    other = tmp_path / "other"
    other.mkdir()
    again = House(other)
    again.query(9.0)
    again.manager(SLOW).check()
    (one,), (two,) = house.recorded, again.recorded
    assert one == two
    assert (one.origin, one.time, one.value, one.threshold) == ("internal", START, 9.0, 5.0)
    again.close()


def test_a_transition_that_could_not_be_recorded_is_recorded_later_and_the_alert_is_active_meanwhile(
    house: House,
) -> None:
    full = True

    def record(alert: Alert) -> None:
        if full:
            raise DiskFull("no space is left")
        house.recorded.append(alert)

    manager = house.manager(SLOW, record=record)
    house.query(9.0)
    house.tick(manager)
    assert len(manager.active()) == 1
    assert manager.counters.unrecorded == 1
    assert "no space" in manager.counters.last_error
    full = False
    house.tick(manager)
    assert house.told() == [("inactive", "firing")]
    assert manager.counters.unrecorded == 0


def test_a_transition_that_is_refused_does_not_hold_up_the_next(house: House) -> None:
    def record(alert: Alert) -> None:
        if alert.rule == "slow":
            raise InvalidEvent("message", "cannot be kept")
        house.recorded.append(alert)

    manager = house.manager(SLOW, RuleSettings(name="busy", metric="queries", above=0.5), record=record)
    house.query(9.0)
    house.tick(manager)
    assert [alert.rule for alert in house.recorded] == ["busy"]
    assert manager.counters.unrecorded == 0
    assert "cannot be kept" in manager.counters.last_error


def test_a_quiet_night_writes_nothing(house: House) -> None:
    manager = house.manager(SLOW)
    house.tick(manager, 2)
    before = AlertStateRepository(house.plane).load("default")
    house.tick(manager, 20)
    assert AlertStateRepository(house.plane).load("default") == before


def test_an_infinite_value_fires_and_can_be_recorded(house: House) -> None:
    house.query(float("inf"))
    (alert,) = house.manager(SLOW).check()
    assert alert.sentence.endswith("(current: ∞)")
    assert house.recorded[0].value == 1e300


def test_a_message_of_the_users_own_is_said_instead(house: House) -> None:
    house.query(9.0)
    manager = house.manager(
        RuleSettings(name="slow", metric="response_time.p95", above=5.0, message="Call \x07the team", by=("model",))
    )
    assert manager.check()[0].sentence == "ALERT: Call \\x07the team (model (none))"


def test_a_bad_rule_is_refused_at_start(house: House) -> None:
    with pytest.raises(InvalidRule):
        house.manager(RuleSettings(name="bad", metric="nothing", above=1.0))


def test_other_projects_do_not_count(house: House) -> None:
    house.query(9.0, project="other")
    assert house.manager(SLOW).check() == []


def test_the_background_thread_evaluates_tells_and_stops(tmp_path: Path) -> None:
    house = House(tmp_path, SystemClock())
    house.query(9.0)
    failures = 3

    def stumble(question: MetricQuery) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError("a bug in a reader")

    house.reader.before = stumble
    manager = house.manager(SLOW, interval=0.05, delay=0.0)
    manager.start()
    manager.start()
    deadline = time.monotonic() + 10
    while not any(alert.state == "firing" for alert in manager.active()) and time.monotonic() < deadline:
        time.sleep(0.02)
    manager.stop()
    ticks = manager.counters.ticks
    assert [alert.rule for alert in manager.active()] == ["slow"]
    assert ticks >= 4
    assert "a bug in a reader" in manager.counters.last_error
    time.sleep(0.2)
    assert manager.counters.ticks == ticks
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("barograph-rule")]
    house.close()


def test_checks_from_many_threads_beside_the_background_thread_tell_one_alert_once(tmp_path: Path) -> None:
    house = House(tmp_path, SystemClock())
    house.query(9.0)
    manager = house.manager(SLOW, interval=0.02, delay=0.0)
    manager.start()
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.extend(len(manager.check()) for _ in range(10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager.stop()
    assert set(seen) == {1}
    assert house.told() == [("inactive", "firing")]
    house.close()


def test_20_more_groups_than_are_watched_are_one_alert_and_not_silence(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest are watched; that there are more is told, with how many of the watched ones fire."""
    monkeypatch.setattr("barograph.alerts.rules.threshold.GROUP_LIMIT", 5)
    manager = house.manager(structs.replace(SLOW, metric="response_time.mean", by=("model",)), delay=0)

    def record(models: int) -> None:
        for number in range(models):
            for _ in range(models - number):
                house.query(9.0 if number < 2 else 1.0, model=f"m{number}")

    record(8)
    house.tick(manager)
    found = {alert.labels["alertname"]: alert for alert in manager.alerts()}
    assert found["TooManyGroups"].annotations["summary"] == (
        "Rule slow: only the 5 largest groups are watched; 2 of them fire"
    )
    assert found["TooManyGroups"].labels == {
        "alertname": "TooManyGroups", "rule": "slow", "severity": "warning", "project": "default",
    }  # fmt: skip
    since = found["TooManyGroups"].starts_at
    house.tick(manager)
    assert [a.starts_at for a in manager.alerts() if a.labels["alertname"] == "TooManyGroups"] == [since]
    house.manual.advance(600)
    record(3)
    house.tick(manager)
    assert "TooManyGroups" not in {alert.labels["alertname"] for alert in manager.alerts()}


def test_rules_that_see_no_data_for_minutes_are_an_alert_and_not_silence(house: House) -> None:
    """The engine is away: the watermark stands, so no tick ever comes."""
    house.reader.complete_to = START - timedelta(hours=1)
    manager = house.manager(SLOW)
    manager.start()
    until = time.monotonic() + 20
    while not (found := manager.alerts()) and time.monotonic() < until:
        time.sleep(0.01)
    manager.stop()
    (alert,) = found
    assert (alert.labels["alertname"], alert.labels["severity"]) == ("RulesNotEvaluated", "critical")
    assert "the engine is away, or far behind" in alert.annotations["summary"]
    assert alert.starts_at == START + timedelta(minutes=5)


class SetForward(SystemClock):
    """The machine's clock, and how far it was set forward."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


def test_a_clock_that_is_set_forward_does_not_make_the_rules_blind(tmp_path: Path) -> None:
    clock = SetForward()
    house = House(tmp_path, clock)
    manager = house.manager(SLOW)
    manager.start()
    until = time.monotonic() + 20
    while not manager.counters.ticks and time.monotonic() < until:
        time.sleep(0.01)
    clock.ahead = timedelta(hours=1)
    assert manager.alerts() == []
    manager.stop()
    house.close()


def test_a_group_that_the_limit_leaves_out_is_unknown_and_not_resolved(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barograph.alerts.rules.threshold.GROUP_LIMIT", 2)
    manager = house.manager(structs.replace(SLOW, window="1m", by=("model",), missing="nodata"), delay=0.0)
    house.tick(manager, 2, response_time=9.0, model="broken")
    for _ in range(60):
        for busy in ("a", "b"):
            house.query(1.0, ago=1, model=busy)
            house.query(1.0, ago=2, model=busy)
        house.tick(manager, 1, response_time=9.0, model="broken")
    (hidden,) = (alert for alert in manager.active() if alert.labels)
    assert (hidden.labels, hidden.state) == ({"model": "broken"}, "nodata")
    assert "only the 2 largest groups are watched" in hidden.reason
    house.tick(manager, 8, response_time=1.0, model="broken")
    assert manager.active() == []
    assert house.told()[-1][1] == "resolved"
