"""What is spent, in the days of the zone that people see; what has no price is counted, never free."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.dictionary_reader import DictionaryReader
from tests.support.rag_events import Record, spread

from barograph.analytics.cost import CostReport, cost_report
from barograph.core.settings import BudgetSettings, Settings
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidSettings


def report(events: list[Record], now: datetime, zone: str = "UTC", **budget: Any) -> CostReport:
    settings = Settings(timezone=zone, budget=BudgetSettings(**budget))
    return cost_report(DictionaryReader(events, ManualClock(now).now), settings, now)


NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MORNING = datetime(2026, 11, 24, tzinfo=UTC)


def test_within_the_budget_with_a_forecast_by_the_stated_method() -> None:
    day = report(spread("query", 100, MORNING, 12, cost=0.15), NOON, daily=40.0).day
    assert day.spent == pytest.approx(15.0)
    assert day.forecast == pytest.approx(30.0)
    assert day.state == "within"
    assert day.sentence == "$15.00 today, within the budget of $40.00. $30.00 by its end at this rate."
    assert "divided by the part of the period" in day.method


@pytest.mark.parametrize(
    ("cost", "state", "said"),
    [
        (0.25, "likely over", "likely to pass it: $50.00"),
        (0.5, "over", "over the budget of $40.00"),
        (0.4, "likely over", "within"),
    ],
)
def test_over_and_likely_over(cost: float, state: str, said: str) -> None:
    day = report(spread("query", 100, MORNING, 12, cost=cost), NOON, daily=40.0).day
    assert day.state == state
    assert said in day.sentence


def test_early_in_the_day_nothing_is_forecast() -> None:
    day = report(spread("query", 30, MORNING, 1, cost=1.0), MORNING + timedelta(hours=2), daily=40.0).day
    assert (day.forecast, day.state) == (None, "within")


def test_without_a_budget_there_is_an_amount_and_no_judgement() -> None:
    assert report(spread("query", 10, MORNING, 1, cost=1.0), NOON).day.state == "no budget"


def test_queries_without_a_price_are_counted_and_their_models_named() -> None:
    events = spread("query", 6, MORNING, 1, cost=1.0, model="known") + spread("query", 1, MORNING, 1, model="known")
    events += spread("query", 3, MORNING, 1, model="bad\x1b[2Jmodel") + spread("query", 1, MORNING, 1)
    day = report(events, NOON).day
    assert (day.queries, day.priced, day.unpriced) == (11, 6, 5)
    assert day.unpriced_models == (("bad\x1b[2Jmodel", 3), ("", 1), ("known", 1))
    assert "5 of 11 queries have no price" in day.sentence
    assert day.sentence.isascii()
    assert day.sentence.isprintable()


def test_unpriced_is_not_zero() -> None:
    day = report(spread("query", 3, MORNING, 1, model="x"), NOON, daily=1.0).day
    assert (day.spent, day.forecast, day.state) == (None, None, "no data")
    assert day.sentence.startswith("Nothing today has a price. 3 of 3 queries")
    free = report(spread("query", 3, MORNING, 1, cost=0.0), NOON, daily=1.0).day
    assert (free.spent, free.state) == (0.0, "within")


def test_an_empty_directory_has_spent_nothing_known() -> None:
    both = report([], NOON, daily=1.0, monthly=5.0)
    assert [(s.spent, s.state, s.sentence) for s in (both.day, both.month)] == [
        (None, "no data", "No queries today."),
        (None, "no data", "No queries this month."),
    ]


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
        ("Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
        ("Asia/Kolkata", datetime(2026, 11, 23, 18, 30, tzinfo=UTC), 24),
    ],
)
def test_a_day_is_the_zones_day_and_the_forecast_knows_its_length(zone: str, start: datetime, hours: int) -> None:
    before = spread("query", 4, start - timedelta(hours=1), 0.99, cost=100.0)
    inside = spread("query", hours * 4, start, hours, cost=1.0)
    after = spread("query", 4, start + timedelta(hours=hours), 1, cost=1000.0)
    end = start + timedelta(hours=hours) - timedelta(microseconds=1)
    day = report(before + inside + after, end, zone).day
    assert day.spent == hours * 4
    assert day.forecast == pytest.approx(hours * 4, rel=1e-4)
    half = report(before + inside, start + timedelta(hours=hours / 2), zone).day
    assert half.elapsed == pytest.approx(0.5)


def test_a_month_is_the_zones_month() -> None:
    edge = datetime(2026, 10, 31, 18, 30, tzinfo=UTC)
    events = spread("query", 1, edge - timedelta(seconds=1), 1, cost=5.0) + spread("query", 1, edge, 1, cost=7.0)
    assert report(events, NOON, "Asia/Kolkata", monthly=6.0).month.spent == 7.0
    assert report(events, NOON, "Asia/Kolkata", monthly=6.0).month.state == "over"
    assert report(events, NOON).month.spent is None


def test_an_unknown_zone_is_told() -> None:
    with pytest.raises(InvalidSettings):
        report([], NOON, "Mars/Olympus")
