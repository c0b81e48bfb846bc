"""A rule with long windows is not looked at at every tick, and nothing else is different for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.alerts.test_alert_looks import until
from tests.alerts.test_alert_manager import START, House

from barograph.alerts.prometheus.exposition import rule_series
from barograph.alerts.rule import make_rule
from barograph.alerts.schedule import Look, Looks
from barograph.core.metric import Catalogue
from barograph.core.query import MetricQuery
from barograph.core.settings import RuleSettings
from barograph_client.clock import SystemClock
from barograph_client.errors import EngineUnavailable, InvalidRule

MANY = RuleSettings(name="many", metric="queries", above=1.5, window="1d")  # looked at every five minutes


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def interval(**settings: Any) -> float:
    plain = {"name": "one", "metric": "error_rate", "above": 0.1}
    return make_rule(RuleSettings(**{**plain, **settings}), Catalogue()).interval_seconds


def test_the_longer_the_window_the_less_often_but_never_less_than_its_waits_need() -> None:
    windows = {"5m": 0, "1h": 0, "2h": 30, "6h": 60, "8h": 120, "1d": 300, "30d": 300}
    assert {window: interval(window=window) for window in windows} == windows
    assert interval(window="1d", for_="4m") == 60
    assert interval(window="1d", keep_firing_for="1m") == 0
    assert interval(window="1d", missing="prometheus", by=("model",)) == 60
    burn = {"kind": "burn_rate", "objective": 0.9, "above": 2.0, "window": "1d"}
    assert (interval(**burn), interval(**burn, short_window="5m")) == (300, 0)
    assert interval(metric="cost", kind="budget", period="month") == 300
    assert (interval(window="1d", interval="15s"), interval(interval="1m")) == (0, 60)
    expression = RuleSettings(name="one", kind="expression", expression="error_rate > 0.1", window="1d")
    assert make_rule(expression, Catalogue()).interval_seconds == 0  # whose samples are 15 s apart


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"interval": "20s"}, "no multiple of 15 s"),
        ({"interval": "10m", "window": "1d"}, "interval is too long"),
        ({"interval": "2m", "window": "1m"}, "would never be seen"),
        ({"interval": "often"}, "interval: not a duration"),
        ({"interval": "1m", "kind": "anomaly", "above": None}, "says nothing to this kind"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRule, match=said):
        interval(**settings)


def test_between_its_looks_a_rule_stands_as_it_is_and_no_tick_is_missed_or_late(house: House) -> None:
    manager = house.manager(MANY)
    house.tick(manager)  # the first tick is a look, wherever it is
    assert manager.counters.evaluations == 1
    house.query(1.0)
    house.query(1.0)
    house.tick(manager, 18)
    assert (house.manual.now() - START, house.told()) == (timedelta(seconds=285), [])
    house.tick(manager)
    assert [(alert.time - START, alert.state) for alert in house.recorded] == [(timedelta(minutes=5), "firing")]
    house.tick(manager, 19)
    assert len(manager.active()) == len(manager.alerts()) == 1
    assert [one.value for one in rule_series(manager.conditions(), "default", house.manual.now())] == [2.0]
    assert (manager.counters.evaluations, manager.counters.missed, manager.counters.late) == (2, 0, 0)


def test_a_look_that_was_missed_or_failed_is_made_at_the_next_tick(house: House) -> None:
    manager = house.manager(MANY)
    house.tick(manager)
    house.manual.advance(290)
    house.query(1.0)
    house.query(1.0)

    def refuse(question: MetricQuery) -> None:
        raise EngineUnavailable("away")

    house.reader.before = refuse
    house.tick(manager)  # at 09:05:15
    assert manager.rules()[0].error == "away"
    house.reader.before = lambda question: None
    house.tick(manager)
    assert [alert.rule for alert in manager.active()] == ["many"]
    assert (manager.counters.evaluations, manager.counters.failed) == (3, 1)


def test_for_is_counted_from_look_to_look_and_a_start_is_a_look(house: House) -> None:
    rule = RuleSettings(name="many", metric="queries", above=1.5, window="1d", for_="4m", interval="2m")
    manager = house.manager(rule)
    house.query(1.0)
    house.query(1.0)
    house.tick(manager, 9)
    manager.stop()
    again = house.manager(rule)
    house.tick(again)
    assert [alert.state for alert in house.recorded] == ["pending"]
    house.tick(again, 14)
    assert [(alert.time - START, alert.state) for alert in house.recorded[1:]] == [(timedelta(minutes=6), "firing")]


def test_a_rule_that_is_another_one_now_is_looked_at_at_once(house: House) -> None:
    looks, rule = Looks(), make_rule(MANY, Catalogue())
    looks.looked(Look(rule, START, START, False))
    soon = START + timedelta(seconds=15)
    assert looks.due([rule], soon) == []
    other = make_rule(structs.replace(MANY, above=3.0), Catalogue())
    assert looks.due([other], soon) == [other]
    looks.forget()
    assert looks.due([rule], soon) == [rule]


def test_what_a_look_beside_the_watch_has_found_is_shown_until_the_watch_has_looked(tmp_path: Path) -> None:
    live = House(tmp_path, SystemClock())
    try:
        manager = live.manager(MANY, interval=0.05, delay=0.0)
        manager.start()
        until(lambda: manager.counters.ticks > 1)
        live.query(1.0)
        live.query(1.0)
        assert [alert.rule for alert in manager.check()] == ["many"]
        ticks = manager.counters.ticks
        until(lambda: manager.counters.ticks > ticks + 3)
        assert [alert.rule for alert in manager.active()] == ["many"]
        assert live.recorded == [] or manager.counters.evaluations > 1  # but at the end of five minutes
    finally:
        live.close()
