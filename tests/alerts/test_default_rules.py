"""The default rules wake nobody for little or healthy traffic, and each sees what it is there for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.alerts.test_alert_manager import House

from barograph.alerts.default_rules import default_rules
from barograph.core.settings import BudgetSettings, Settings

HOUR, DAY = 3600.0, 86400.0
Breaks = Callable[[House], None]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def ask(house: House, count: int, first: float, seconds: float, response_time: float = 12.0, **fields: object) -> None:
    """So many queries, evenly over the seconds that end ``first`` seconds ago."""
    for i in range(count):
        house.query(response_time, first + i * seconds / count, **fields)


def documents(*ids: str, score: float = 0.8) -> list[dict[str, object]]:
    return [{"id": one, "score": score} for one in ids]


def rate(house: House, count: int, first: float, rating: float) -> None:
    for i in range(count):
        moment = house.manual.now() - timedelta(seconds=first + i)
        house.events.append({"kind": "feedback", "time": moment, "rating": rating})


def fired(house: House) -> set[str]:
    return {alert.rule for alert in house.manager().check()}


def healthy(house: House) -> None:
    for day in range(10):
        ask(house, 300, day * DAY + 1, DAY, documents=documents(f"d{day}", "often"))
        rate(house, 120, day * DAY + 1, 3.0 if day % 2 else 3.1)


def test_healthy_traffic_fires_nothing(house: House) -> None:
    healthy(house)
    assert fired(house) == set()


def test_a_handful_of_the_worst_queries_fires_nothing(house: House) -> None:
    ask(house, 8, 1, 300, response_time=90.0, status="error", documents=[])
    rate(house, 8, 1, 1.0)
    assert fired(house) == set()


BREAKS: dict[str, list[Breaks]] = {
    "errors": [lambda house: ask(house, 30, 1, 500, status="error")],
    "error budget": [lambda house: ask(house, 300, 1, 5 * HOUR, status="error")],
    "slow responses": [lambda house: ask(house, 40, 1, 1500, response_time=45.0)],
    "slower than yesterday": [
        lambda house: ask(house, 200, DAY, 2 * HOUR, response_time=2.0), lambda house: ask(house, 200, 1, 2 * HOUR)
    ],
    "no answers": [lambda house: ask(house, 80, 1, HOUR, status="no_answer")],
    "empty retrievals": [lambda house: ask(house, 80, 1, HOUR, documents=[])],
    "top score fell": [
        lambda house: ask(house, 200, DAY, 2 * HOUR, documents=documents("a")),
        lambda house: ask(house, 200, 1, 2 * HOUR, documents=documents("a", score=0.4)),
    ],
    "documents not found any more": [
        lambda house: ask(house, 20, 20 * DAY, DAY, documents=documents(*(f"d{i}" for i in range(40)))),
        lambda house: ask(house, 1200, 1, 6 * DAY, documents=documents("d0", "d1")),
    ],
    "users less satisfied": [lambda house: rate(house, 200, DAY + 1, 4.0), lambda house: rate(house, 200, 1, 3.0)],
}  # fmt: skip


def test_each_is_put_to_the_test() -> None:
    assert set(BREAKS) == {rule.name for rule in default_rules(Settings())}


@pytest.mark.parametrize("name", BREAKS)
def test_each_sees_what_it_is_there_for(house: House, name: str) -> None:
    for step in BREAKS[name]:
        step(house)
    assert name in fired(house)


def test_budgets_have_rules_where_there_are_budgets() -> None:
    usual = len(default_rules(Settings()))
    found = default_rules(Settings(budget=BudgetSettings(daily=5.0, monthly=90.0), timezone="Europe/Berlin"))[usual:]
    assert [(rule.name, rule.above, rule.period, rule.forecast, rule.timezone) for rule in found] == [
        ("daily budget", 5.0, "day", False, "Europe/Berlin"),
        ("monthly budget", 90.0, "month", False, "Europe/Berlin"),
        ("monthly budget forecast", 90.0, "month", True, "Europe/Berlin"),
    ]
    assert default_rules(Settings(default_rules=False, budget=BudgetSettings(daily=5.0))) == ()
