"""Kinds of rules on a Reader that counts real events: when each fires, what it says, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.alerts.test_alert_manager import START, House

from barograph.alerts.backtest import backtest
from barograph.alerts.rule import make_rule
from barograph.alerts.rules.budget import period_of
from barograph.core.metric import Catalogue
from barograph.core.query import Window
from barograph.core.settings import RuleSettings
from barograph_client.errors import InvalidRule


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def rule(metric: str, kind: Any, **settings: Any) -> RuleSettings:
    return RuleSettings(name="it", metric=metric, kind=kind, **settings)


def sentences(house: House, *rules: RuleSettings) -> list[str]:
    return [alert.sentence for alert in house.manager(*rules).check()]


def condition(settings: RuleSettings) -> str:
    return make_rule(settings, Catalogue()).condition


# Ratio


def test_a_ratio_fires_on_one_metric_over_another(house: House) -> None:
    costly = rule("cost", "ratio", per="sessions", above=1.0, window="1h")
    for session, cost in (("a", 1.0), ("a", 1.5), ("b", 0.5)):
        house.query(1.0, session_id=session, cost=cost)
    assert sentences(house, costly) == ["ALERT: Cost / sessions exceeded $1.00 threshold (current: $1.50)"]
    assert condition(costly) == "cost / sessions above $1.00 over 60 min"


def test_a_ratio_is_taken_in_each_group_of_what_it_is_divided_by(house: House) -> None:
    silent = rule("feedback", "ratio", per="queries", below=0.1, by=("pipeline",), minimum=3)
    for pipeline, feedback in (("chatty", 1), ("silent", 0)):
        for _ in range(4):
            house.query(1.0, pipeline=pipeline)
        for _ in range(feedback):
            moment = house.manual.now() - timedelta(seconds=1)
            house.events.append({"kind": "feedback", "time": moment, "pipeline": pipeline, "rating": 5.0})
    house.query(1.0, pipeline="rare")
    (alert,) = house.manager(silent).check()
    assert (alert.labels, alert.value) == ({"pipeline": "silent"}, 0.0)


def test_a_ratio_to_nothing_is_no_data(house: House) -> None:
    manager = house.manager(rule("feedback", "ratio", per="queries", below=0.1))
    assert manager.check() == []
    assert manager.rules()[0].state == "nodata"


# Change


def test_a_change_fires_on_the_share_by_which_a_metric_rose_or_fell(house: House) -> None:
    for i in range(10):
        house.query(1.0, ago=3600 + 60 + i)
        house.query(2.0 if i % 2 else 1.0, ago=60 + i)
    slower = rule("response_time.mean", "change", compare="previous", above=0.4, window="1h", minimum=5)
    (alert,) = house.manager(slower).check()
    assert alert.value == 0.5
    assert alert.sentence == (
        "ALERT: Change of response time against the window before exceeded 40\u202f% threshold (current: 50\u202f%)"
    )
    fewer = rule("queries", "change", compare="day", below=-0.5, window="1h")
    for i in range(30):
        house.query(1.0, ago=86400 + 60 + i)
    (alert,) = house.manager(fewer).check()
    assert round(alert.value or 0, 3) == round(10 / 30 - 1, 3)
    assert condition(fewer) == "change of queries against the day before below −50\u202f% over 60 min"


def test_a_change_from_nothing_or_from_too_little_is_no_data(house: House) -> None:
    house.query(9.0, ago=60)
    manager = house.manager(rule("response_time.mean", "change", compare="previous", above=0.4, window="1h", minimum=5))
    assert manager.check() == []
    assert manager.rules()[0].state == "nodata"
    house.query(1.0, ago=3700)
    assert manager.check() == []
    assert manager.rules()[0].reason == "1 event in the window, 5 are needed"


# Absence


def test_absence_fires_when_there_are_no_events_and_ends_with_the_first(house: House) -> None:
    silence = rule("queries", "absence", window="10m")
    house.query(1.0, ago=300)
    manager = house.manager(silence)
    assert manager.check() == []
    house.manual.advance(600)
    (alert,) = manager.check()
    assert alert.sentence == "ALERT: No events of queries for 10 min"
    house.query(1.0)
    assert manager.check() == []
    assert condition(silence) == "no events of queries over 10 min"


def test_25_absence_honours_for(house: House) -> None:
    house.query(1.0, ago=3600)
    manager = house.manager(rule("queries", "absence", window="1m", for_="1m"))
    states = []
    for _ in range(6):
        house.tick(manager)
        states.append(manager.rules()[0].state)
    assert states == ["pending"] * 4 + ["firing"] * 2


def test_absence_by_group_misses_the_groups_that_there_were(house: House) -> None:
    for pipeline, ago in (("here", 60), ("gone", 7200), ("long ago", 2 * 86400)):
        house.query(1.0, pipeline=pipeline, ago=ago)
    (alert,) = house.manager(rule("queries", "absence", window="30m", by=("pipeline",))).check()
    assert (alert.labels, alert.value) == ({"pipeline": "gone"}, 0.0)
    both = rule("queries", "absence", window="30m", by=("pipeline",), lookback="7d")
    assert {one.labels["pipeline"] for one in house.manager(both).check()} == {"gone", "long ago"}


def test_absence_remembers_a_group_for_twice_a_long_window(house: House) -> None:
    for pipeline, ago in (("here", 60), ("gone", 48 * 3600), ("long ago", 72 * 3600)):
        house.query(1.0, pipeline=pipeline, ago=ago)
    (alert,) = house.manager(rule("queries", "absence", window="30h", by=("pipeline",))).check()
    assert alert.labels == {"pipeline": "gone"}


# Burn rate

FAST = rule("error_rate", "burn_rate", objective=0.99, above=14.4, window="1h", severity="critical")


def traffic(house: House, errors: int, good: int, ago: float) -> None:
    for i in range(errors + good):
        house.query(1.0, ago=ago, status="error" if i < errors else "ok")


def test_56_both_windows_must_burn(house: House) -> None:
    manager = house.manager(FAST)
    traffic(house, 60, 140, ago=1800)
    traffic(house, 0, 50, ago=60)
    assert manager.check() == []
    assert manager.rules()[0].state == "inactive"  # the long window burns, the last five minutes do not
    traffic(house, 50, 0, ago=60)
    (alert,) = manager.check()
    assert alert.sentence.startswith("ALERT: Burn of the error budget by error rate exceeded 14.4")
    assert alert.value is not None
    assert 14.4 < alert.value < 110 / 300 / 0.01
    house.manual.advance(300)
    traffic(house, 0, 50, ago=60)
    assert manager.check() == []
    assert condition(FAST) == "error_rate burns 14.4 × the budget of a 99\u202f% objective over 60 min and 5 min"


def test_57_a_burn_rate_that_could_never_fire_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(InvalidRule) as raised:
        make_rule(rule("error_rate", "burn_rate", objective=0.9, above=14.4, window="1h"), Catalogue())
    assert "it can never fire: 14.4 × (1 - 0.9) = 1.44" in raised.value.message
    assert raised.value.hint == "Choose above below 10, or an objective above 0.9306."
    assert make_rule(rule("error_rate", "burn_rate", objective=0.94, above=14.4, window="1h"), Catalogue())


def test_58_without_traffic_a_burn_rate_is_no_data_neither_all_nor_nothing(house: House) -> None:
    manager = house.manager(FAST)
    assert manager.check() == []
    assert manager.rules()[0].state == "nodata"
    traffic(house, 50, 0, ago=1800)  # the short window is empty
    assert manager.check() == []
    assert manager.rules()[0].state == "nodata"


def test_59_too_few_events_are_no_data_and_few_are_not_sure(house: House) -> None:
    least = rule("error_rate", "burn_rate", objective=0.99, above=14.4, window="1h", minimum=10)
    traffic(house, 2, 5, ago=60)
    manager = house.manager(least)
    assert manager.check() == []
    assert manager.rules()[0].reason == "7 events in the window, 10 are needed"
    assert house.manager(FAST).check() == []  # 2 of 7 are 28 times the budget, but may well be 8 times
    traffic(house, 6, 15, ago=60)
    assert len(house.manager(least).check()) == 1


def test_59_the_minimum_holds_for_each_window(house: House) -> None:
    least = rule("error_rate", "burn_rate", objective=0.99, above=14.4, window="1h", minimum=10)
    manager = house.manager(least)
    traffic(house, 60, 0, ago=1800)
    traffic(house, 9, 0, ago=60)
    assert manager.check() == []
    assert (manager.rules()[0].state, manager.rules()[0].reason) == ("nodata", "9 events in the window, 10 are needed")
    traffic(house, 1, 0, ago=60)
    assert [alert.value for alert in manager.check()] != []


def test_a_burn_rate_of_good_events_burns_with_the_others(house: House) -> None:
    priced = rule("priced_rate", "burn_rate", objective=0.9, above=6.0, window="1h")
    for i in range(100):
        house.query(1.0, ago=60, cost=None if i < 80 else 0.1)
    (alert,) = house.manager(priced).check()
    assert alert.value is not None
    assert 6.0 < alert.value < 8.0


# Unseen


def retrieved(house: House, ago: float, *ids: str) -> None:
    house.query(1.0, ago=ago, documents=[{"id": one, "source": f"{one}.md"} for one in ids], pipeline="faq")


def test_documents_that_are_not_found_any_more_are_a_share_of_those_that_were(house: House) -> None:
    lost = rule("retrieval.distinct_documents", "unseen", above=0.7, minimum=2)
    for i in range(10):
        retrieved(house, 20 * 86400 - i, f"d{i}")
    retrieved(house, 86400, "d0", "d1")
    manager = house.manager(lost)
    assert manager.check() == []
    assert manager.rules()[0].reason == "1 event in the window, 2 are needed"
    retrieved(house, 60, "d1")
    (alert,) = manager.check()
    assert alert.value == 0.8
    assert alert.sentence == (
        "ALERT: Share of different documents not seen exceeded 70\u202f% threshold (current: 80\u202f%)"
    )
    retrieved(house, 30, "d2", "d3", "new")
    assert manager.check() == []  # of eleven six
    assert condition(lost) == ("share of those of 30 d not in retrieval.distinct_documents above 70\u202f% over 7 d")


def test_where_it_is_known_how_many_documents_there_are_the_share_is_of_these(house: House) -> None:
    lost = rule("retrieval.distinct_documents", "unseen", above=0.7, known=20, window="1d", by=("pipeline",))
    retrieved(house, 60, "a", "b", "c", "d")
    retrieved(house, 60, "e")
    (alert,) = house.manager(lost).check()
    assert (alert.value, alert.labels) == (0.75, {"pipeline": "faq"})
    assert condition(lost).startswith("share of 20 known not in")


def test_more_documents_than_are_known_leave_none_unseen(house: House) -> None:
    retrieved(house, 60, "a", "b", "c")
    found = rule("retrieval.distinct_documents", "unseen", below=0.5, known=2)
    assert [alert.value for alert in house.manager(found).check()] == [0.0]


def test_without_retrievals_nothing_is_unseen(house: House) -> None:
    manager = house.manager(rule("retrieval.distinct_documents", "unseen", above=0.7))
    assert manager.check() == []
    assert manager.rules()[0].state == "nodata"
    retrieved(house, 20 * 86400, "a")
    assert manager.check() == []
    assert manager.rules()[0].state == "nodata"


# Budget


def test_a_budget_counts_from_the_beginning_of_the_period_in_its_zone(house: House) -> None:
    spent = rule("cost", "budget", period="day", above=10.0)
    house.query(1.0, ago=10 * 3600, cost=8.0)  # yesterday at 23:00 UTC, today in Berlin
    house.query(1.0, ago=3600, cost=7.0)
    assert sentences(house, spent) == []
    berlin = rule("cost", "budget", period="day", above=10.0, timezone="Europe/Berlin")
    assert sentences(house, berlin) == ["ALERT: Cost today exceeded $10.00 threshold (current: $15.00)"]
    assert condition(spent) == "cost above $10.00 spent in a day"


def test_a_forecast_is_what_the_period_comes_to_at_the_pace_so_far(house: House) -> None:
    forecast = rule("cost", "budget", period="day", above=10.0, forecast=True)
    house.query(1.0, ago=3600, cost=4.5)  # at 9:00, three eighths of the day
    (alert,) = house.manager(forecast).check()
    assert round(alert.value or 0, 3) == 12.0
    assert alert.sentence == "ALERT: Forecast of cost today exceeded $10.00 threshold (current: $12.00)"
    house.manual.advance(15.5 * 3600)
    house.query(1.0, cost=4.5)  # at 0:30 there is no forecast yet
    assert house.manager(forecast).check() == []


@pytest.mark.parametrize(
    ("moment", "period", "start", "hours"),
    [
        (datetime(2026, 11, 24, 9, tzinfo=UTC), "day", datetime(2026, 11, 23, 23, tzinfo=UTC), 24),
        (datetime(2026, 11, 23, 23, tzinfo=UTC), "day", datetime(2026, 11, 22, 23, tzinfo=UTC), 24),
        (datetime(2026, 3, 29, 12, tzinfo=UTC), "day", datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
        (datetime(2026, 10, 25, 12, tzinfo=UTC), "day", datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "month", datetime(2026, 12, 31, 23, tzinfo=UTC), 31 * 24),
        (datetime(2026, 2, 10, tzinfo=UTC), "month", datetime(2026, 1, 31, 23, tzinfo=UTC), 28 * 24),
    ],
)
def test_periods_are_those_of_the_calendar(moment: datetime, period: Any, start: datetime, hours: float) -> None:
    began, ends = period_of(moment, period, "Europe/Berlin")
    assert (began, (ends - began).total_seconds() / 3600) == (start, hours)


# All


@pytest.mark.parametrize(
    ("settings", "said", "hint"),
    [
        (rule("cost", "ratio", above=1.0), "a ratio needs per", "Name the metric"),
        (rule("cost", "ratio", above=1.0, per="session"), "no such metric", "sessions"),
        (rule("cost", "threshold", above=1.0, per="sessions"), "per says nothing to a rule of kind threshold", "ratio"),
        (rule("queries", "absence", forecast=True), "forecast says nothing", "budget"),
        (rule("cost", "change", above=1.0), "a change needs compare", "previous"),
        (rule("cost", "change", below=-1.0, compare="day"), "it can never fire", "-0.3"),
        (rule("satisfaction", "change", below=-0.8, compare="day"), "it can never fire", "-0.3"),
        (rule("cost", "change", compare="day"), "no limit", "above ="),
        (rule("cost", "ratio", above=-1.0, per="sessions"), "always fire, cost / sessions is never below 0", "inside"),
        (rule("queries", "absence", minimum=5), "minimum says nothing", "Leave it out."),
        (rule("error_rate", "burn_rate", above=0.0, objective=0.9), "more than 0", "14.4"),
        (rule("queries", "absence", below=1.0), "absence has no limit", "Leave"),
        (rule("queries", "absence", window="2h", lookback="1h"), "forgotten before they are missed", "longer"),
        (rule("cost", "burn_rate", above=2.0, objective=0.9), "no share of good or bad events", "error_rate"),
        (rule("error_rate", "burn_rate", above=2.0), "an objective between 0 and 1", "0.999"),
        (rule("error_rate", "burn_rate", above=2.0, objective=99.9), "an objective between 0 and 1", "0.999"),
        (rule("error_rate", "burn_rate", objective=0.9), "the limit above alone", "14.4"),
        (
            rule("error_rate", "burn_rate", above=2.0, objective=0.9, window="5m", short_window="5m"),
            "not shorter",
            "25 s",
        ),
        (rule("error_rate", "burn_rate", above=2.0, objective=0.9, short_window="5s"), "would not see 10", "15 s"),
        (
            rule("error_rate", "burn_rate", above=2.0, objective=0.9, window="1m"),
            "short window has 5 s",
            "window of 3 min",
        ),
        (rule("error_rate", "unseen", above=0.5), "nothing that could be seen again", "distinct_documents"),
        (rule("active_users", "unseen", above=1.0), "can never fire", "0.9"),
        (rule("active_users", "unseen", above=0.5, known=9, lookback="9d"), "say the same", "one of them"),
        (rule("active_users", "unseen", above=0.5, lookback="7d"), "would be what is seen", "longer than window"),
        (rule("error_rate", "budget", above=1.0, period="day"), "does not add up", "cost"),
        (rule("cost", "budget", above=1.0, period="day", window="1h"), "window says nothing", "Leave it out."),
        (rule("cost", "budget", above=1.0), "a budget needs period", "month"),
        (rule("cost", "budget", below=1.0, period="day"), "the limit above alone", "amount"),
        (rule("cost", "budget", above=1.0, period="day", timezone="Mars"), "no such time zone", "Berlin"),
    ],
)
def test_a_rule_that_cannot_work_says_which_and_what_to_write(settings: RuleSettings, said: str, hint: str) -> None:
    with pytest.raises(InvalidRule) as raised:
        make_rule(settings, Catalogue())
    assert "rule it" in raised.value.message
    assert said in raised.value.message
    assert hint in raised.value.hint


def test_a_kind_that_asks_more_than_one_window_can_be_tried_on_stored_data(house: House) -> None:
    for minute in range(120):
        house.query(1.0, ago=60 * minute + 30, status="error" if 40 <= minute < 70 else "ok")
        house.query(1.0, ago=60 * minute + 31)
    made = make_rule(rule("error_rate", "burn_rate", objective=0.9, above=3.0, window="30m", minimum=2), Catalogue())
    found = backtest(made, house.reader, "default", Window(START - timedelta(hours=2), START))
    (firing,) = found.firings
    assert found.steps == 480
    assert START - timedelta(minutes=70) < firing.fired_at < START - timedelta(minutes=45)
    assert firing.resolved_at is not None
    assert START - timedelta(minutes=40) < firing.resolved_at < START - timedelta(minutes=35)
