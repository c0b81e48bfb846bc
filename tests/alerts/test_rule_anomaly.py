"""Anomaly rules: when they fire, what they say, what they know after a restart, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.alerts.test_alert_manager import START, House

from barograph.alerts.backtest import backtest
from barograph.alerts.detectors import Kept
from barograph.alerts.rule import make_rule
from barograph.alerts.rules.anomaly import AT_ONCE, POINTS
from barograph.alerts.rules.threshold import GROUP_LIMIT
from barograph.control.alert_states import AlertStateRepository, DetectorRow
from barograph.core.metric import Catalogue
from barograph.core.query import Window
from barograph.core.settings import RuleSettings
from barograph.stats.packed import from_text, to_text
from barograph_client.errors import DiskFull, InvalidRule

ODD = RuleSettings(name="odd", metric="response_time.mean", kind="anomaly", window="1m")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def queries(minutes: range, slow: range = range(0), seed: int = 5, **fields: object) -> list[dict[str, object]]:
    """A query a minute after START (before it when negative), of about 1 s, or of about 9 s where it is slow."""
    found = []
    for minute in minutes:
        noise = random.Random(seed * 100_000 + minute).uniform(-0.2, 0.2)
        time = START + minute * MINUTE + timedelta(seconds=20)
        level = 9.0 if minute in slow else 1.0
        found.append({"kind": "query", "time": time, "response_time": level + noise, **fields})
    return found


def stored(house: House) -> list[DetectorRow]:
    return AlertStateRepository(house.plane).load_detectors("default")


def pass_minutes(house: House, manager: Any, minutes: int) -> None:
    for _ in range(minutes):
        house.tick(manager, 4)


def test_it_fires_on_what_is_unlike_the_past_and_says_in_words_what_is(house: House) -> None:
    house.events += queries(range(-200, 90), slow=range(4, 14))
    manager = house.manager(structs.replace(ODD, keep_firing_for="15m"))
    pass_minutes(house, manager, 4)
    assert manager.active() == []
    pass_minutes(house, manager, 3)
    (alert,) = manager.active()
    assert alert.sentence.startswith("ALERT: Response time is unusual: ")
    assert "unusual: the last point 8.95 s, usual 998 ms (903 ms to 1.1 s), 9 times; " in alert.sentence
    assert "no daily or weekly pattern used" in alert.sentence
    assert (alert.severity, alert.threshold) == ("warning", None)
    assert alert.sentence.endswith(f"unusual: {alert.reason}")
    pass_minutes(house, manager, 83)
    assert manager.active() == []
    assert house.told() == [("inactive", "firing"), ("firing", "resolved")]
    assert house.recorded[-1].message.startswith("RESOLVED: Response time is usual again (current: ")


def test_a_point_is_taken_once_when_it_is_over_and_a_tick_in_between_repeats_the_verdict(house: House) -> None:
    house.events += queries(range(-200, 10), slow=range(2, 10))
    manager = house.manager(ODD)
    states = []
    for _ in range(5 * 4):
        house.tick(manager)
        states.append(manager.rules()[0].state)
    asked = [question.window for question in house.reader.asked]
    assert asked[0] == Window(START - POINTS * MINUTE, START)
    assert asked[1:] == [Window(START + i * MINUTE, START + (i + 1) * MINUTE) for i in range(4)]
    assert states == ["inactive"] * 12 + ["firing"] * 8  # minute 2 is over at minute 3, and known 5 s later


def test_at_the_first_start_it_learns_from_the_stored_past_by_one_question(house: House) -> None:
    house.events += queries(range(-150, 1))
    manager = house.manager(ODD)
    assert manager.check() == []
    (question,) = house.reader.asked
    assert (question.every, question.window.seconds, question.limit) == (60.0, 60.0 * POINTS, GROUP_LIMIT)
    assert manager.rules()[0].reason == ""  # it has learned enough


def test_of_many_groups_the_past_is_read_in_parts_and_each_learns_all_of_it(house: House) -> None:
    for name in ("a", "b"):
        house.events += queries(range(-3 * AT_ONCE, 1), pipeline=name)
    house.tick(house.manager(structs.replace(ODD, by=("pipeline",))), 1)
    assert [question.window.seconds for question in house.reader.asked] == [60.0 * AT_ONCE] * (POINTS // AT_ONCE)
    assert [from_text(row.state, Kept).points for row in stored(house)] == [3 * AT_ONCE] * 2


def test_while_it_learns_it_is_clear_and_says_so(house: House) -> None:
    house.events += queries(range(-40, 1), slow=range(-3, 1))
    manager = house.manager(ODD)
    assert manager.check() == []
    status = manager.rules()[0]
    assert (status.state, status.reason) == ("inactive", "learning what is usual: 40 of 100 points are known")
    assert manager.alerts() == []


def test_a_missing_point_is_not_zero_and_too_few_events_are_none(house: House) -> None:
    few = structs.replace(ODD, metric="queries", minimum=2)
    twice = queries(range(-300, 0)) * 2
    house.events += [event for event in twice if event["time"] < START - 2 * MINUTE]  # type: ignore[operator]
    manager = house.manager(few)
    assert manager.check() == []
    assert manager.rules()[0].state == "nodata"
    house.events += queries(range(1))
    house.tick(manager, 5)
    assert manager.rules()[0].reason == "1 event in the window, 2 are needed"
    assert house.recorded == []


def test_for_is_honoured_by_ticks_and_by_a_check(house: House) -> None:
    patient = structs.replace(ODD, for_="5m")
    house.events += queries(range(-200, 20), slow=range(4, 20))
    manager = house.manager(patient)
    pass_minutes(house, manager, 8)
    assert manager.rules()[0].state == "pending"
    early = house.manager(structs.replace(patient, name="looked at early"))
    early.check()
    assert early.rules()[0].state == "pending"
    pass_minutes(house, manager, 4)
    assert manager.rules()[0].state == "firing"
    late = house.manager(structs.replace(patient, name="looked at late"))
    assert [alert.rule for alert in late.check()] == ["looked at late"]


def test_a_restart_goes_on_to_the_bit(tmp_path: Path) -> None:
    found = []
    for name, restarts in (("through", ()), ("restarted", (3, 7, 8, 30, 90))):
        (tmp_path / name).mkdir()
        house = House(tmp_path / name)
        house.events += queries(range(-180, 100), slow=range(6, 12))
        manager = house.manager(ODD)
        for minute in range(100):
            if minute in restarts:
                manager.stop()
                manager = house.manager(ODD)
            house.tick(manager, 4)
        found.append((stored(house), house.recorded))
        house.close()
    assert found[0] == found[1]
    assert [alert.state for alert in found[0][1]] == ["firing", "resolved"]


def test_what_was_missed_while_it_was_away_is_taken_in_order(house: House) -> None:
    house.events += queries(range(-180, 30))
    first = house.manager(ODD)
    house.tick(first, 4)
    first.stop()
    house.manual.advance(600)
    house.tick(house.manager(ODD), 1)
    (row,) = stored(house)
    assert house.reader.asked[-1].window == Window(START, START + 11 * MINUTE)
    again = house.manager(structs.replace(ODD, name="all at once"))
    again.run_due()
    other = next(one for one in stored(house) if one.rule == "all at once")
    assert (other.state, other.updated_at) == (row.state, row.updated_at)


def test_each_group_has_a_past_of_its_own_and_one_that_vanished_is_forgotten(house: House) -> None:
    house.events += queries(range(-200, 30), slow=range(5, 30), pipeline="sales")
    house.events += queries(range(-200, 30), slow=range(-200, 30), pipeline="support")
    house.events += queries(range(-200, -1), pipeline="gone")
    manager = house.manager(structs.replace(ODD, by=("pipeline",), lookback="10m"))
    pass_minutes(house, manager, 1)
    assert {row.labels["pipeline"] for row in stored(house)} == {"sales", "support", "gone"}
    pass_minutes(house, manager, 9)
    assert [alert.labels for alert in manager.active()] == [{"pipeline": "sales"}]
    pass_minutes(house, manager, 2)
    assert {row.labels["pipeline"] for row in stored(house)} == {"sales", "support"}


def test_no_more_than_the_largest_groups_are_watched_and_it_says_so(house: House) -> None:
    house.manual.advance(60)
    for i in range(GROUP_LIMIT + 5):
        house.query(1.0, ago=30, user_id=f"user {i}")
    manager = house.manager(structs.replace(ODD, by=("user_id",)))
    manager.check()
    assert len(stored(house)) == GROUP_LIMIT
    assert [alert.labels["alertname"] for alert in manager.alerts()] == ["TooManyGroups"]


@pytest.mark.parametrize("state", ["{}", "no state", "", "YWJj", "\ud800", "of two features"])
def test_a_state_that_does_not_decode_starts_afresh(house: House, state: str) -> None:
    house.events += queries(range(-150, 5))
    first = house.manager(ODD)
    house.tick(first, 4)
    first.stop()
    (row,) = stored(house)
    if state == "of two features":  # as a version that looks at others might have kept it
        learned = from_text(row.state, Kept)
        raw = structs.replace(learned.detector.raw, past=learned.detector.raw.past[:2])
        state = to_text(structs.replace(learned, detector=structs.replace(learned.detector, raw=raw)))
    AlertStateRepository(house.plane).save((), detectors=[structs.replace(row, state=state)])
    manager = house.manager(ODD)
    house.tick(manager, 4)
    assert house.reader.asked[-1].window.seconds == 60 * POINTS
    (after,) = stored(house)
    assert after.updated_at > row.updated_at


def test_a_rule_that_asks_for_something_else_or_is_removed_keeps_nothing(house: House) -> None:
    house.events += queries(range(-150, 5))
    first = house.manager(ODD, structs.replace(ODD, name="removed"))
    house.tick(first, 4)
    first.stop()
    assert len(stored(house)) == 2
    manager = house.manager(structs.replace(ODD, where=("status:eq:error",)))
    house.tick(manager, 4)
    assert [row.rule for row in stored(house)] == ["odd"]
    assert manager.rules()[0].state == "nodata"


def test_alerts_and_detectors_are_saved_together_or_not_at_all(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.events += queries(range(-150, 5))
    manager = house.manager(ODD, RuleSettings(name="slow", metric="response_time.mean", above=0.5))

    def full(*_: object, **__: object) -> None:
        raise DiskFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr("barograph.control.alert_states.insert", full)
        house.tick(manager, 4)
    assert (stored(house), AlertStateRepository(house.plane).load("default")) == ([], [])
    house.tick(manager, 1)
    assert [row.rule for row in stored(house)] == ["odd"]
    assert [state.rule for state in AlertStateRepository(house.plane).load("default")] == ["slow"]


def test_a_clock_that_was_set_back_does_not_stop_it(house: House) -> None:
    house.events += queries(range(-300, 60))
    house.manual.advance(3600)
    first = house.manager(ODD)
    house.tick(first, 1)
    first.stop()
    house.manual.step(-3000)
    manager = house.manager(ODD)
    house.tick(manager, 8)
    assert stored(house)[0].updated_at > START + 10 * MINUTE
    assert house.reader.asked[-1].window.end < START + 20 * MINUTE


@pytest.mark.parametrize("settings", [ODD, structs.replace(ODD, window="2m", for_="3m", by=("pipeline",))])
def test_a_backtest_tells_what_the_live_rule_does(house: House, settings: RuleSettings) -> None:
    house.events += queries(range(-230, 200), slow=range(20, 40), pipeline="a")
    house.events += queries(range(-230, 200), slow=range(100, 130), pipeline="b", seed=8)
    manager = house.manager(settings, delay=0)
    for _ in range(200 * 4):
        house.manual.advance(15)
        manager.run_due()
    window = Window(START, START + 200 * MINUTE)
    played = backtest(make_rule(settings, Catalogue()), house.reader, "default", window)
    fired = [(alert.time, alert.labels) for alert in house.recorded if alert.state == "firing"]
    over = [(alert.time, alert.labels) for alert in house.recorded if alert.state == "resolved"]
    assert fired
    assert [(one.fired_at, one.labels) for one in played.firings] == fired
    assert [(one.resolved_at, one.labels) for one in played.firings if one.resolved_at] == over


def test_its_condition_says_what_a_point_is_and_how_often_it_may_be_wrong() -> None:
    assert make_rule(ODD, Catalogue()).condition == (
        "response_time.mean unusual, a point every 1 min, 1 false alarm a week"
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"above": 5.0}, "has no limit"),
        ({"below": 5.0}, "has no limit"),
        ({"resolve": 5.0}, "has no limit"),
        ({"false_alarms": 0.0}, "false_alarms"),
        ({"false_alarms": float("nan")}, "false_alarms"),
        ({"window": "1d"}, "at most 0.117"),
        ({"window": "2d"}, "a day at most"),
        ({"window": "1500ms"}, "whole seconds"),
        ({"lookback": "soon"}, "lookback"),
        ({"kind": "threshold", "above": 5.0, "false_alarms": 2.0}, 'write kind = "anomaly"'),
    ],
)
def test_what_could_not_work_is_refused_with_a_hint(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        make_rule(structs.replace(ODD, **changed), Catalogue())
    assert refused.value.hint
    assert told in f"{refused.value.message} {refused.value.hint}"
