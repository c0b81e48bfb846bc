"""One word for the state, with reasons in sentences; and the facts of the overview."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.dictionary_reader import DictionaryReader
from tests.support.rag_events import Record, spread

from barograph.analytics.analytics_engine import AnalyticsEngine
from barograph.analytics.overview import AlertLine
from barograph.analytics.status import Facts, Status
from barograph.core.metric import Catalogue
from barograph.core.settings import BudgetSettings, Settings, StatusSettings
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidQuery

NOW = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
LATELY = NOW - timedelta(minutes=10)


def engine(events: list[Record], now: datetime = NOW, **settings: Any) -> AnalyticsEngine:
    clock = ManualClock(now)
    return AnalyticsEngine(DictionaryReader(events, clock.now), Catalogue(), clock, Settings(**settings))


def said(status: Status, about: str) -> tuple[str, str]:
    (reason,) = (reason for reason in status.reasons if reason.about == about)
    return reason.level, reason.sentence


def queries(count: int, start: datetime = LATELY, hours: float = 0.1, **fields: Any) -> list[Record]:
    return spread("query", count, start, hours, **{"response_time": 1.0, **fields})


def test_an_empty_directory_has_no_data() -> None:
    status = engine([]).status()
    assert (status.state, status.queries, status.last_query) == ("no data", 0, None)
    assert [reason.sentence for reason in status.reasons] == ["No query has been recorded yet."]


def test_good_queries_are_healthy_and_the_reasons_say_why() -> None:
    status = engine(queries(40, status=lambda i: "error" if i == 0 else "ok")).status()
    assert status.state == "healthy"
    assert said(status, "errors") == ("healthy", "Error rate 2.5\u202f% over 40 queries in the last 15 min.")
    assert said(status, "response time") == ("healthy", "Response time p95 1 s in the last 15 min.")


@pytest.mark.parametrize(
    ("errors", "seconds", "state"),
    [(5, 1.0, "healthy"), (6, 1.0, "warning"), (20, 1.0, "warning"), (21, 1.0, "critical"),
     (0, 10.0, "healthy"), (0, 10.1, "warning"), (0, 30.1, "critical")],
)  # fmt: skip
def test_the_limits_are_passed_when_greater_not_when_equal(errors: int, seconds: float, state: str) -> None:
    events = queries(100, response_time=seconds, status=lambda i: "error" if i < errors else "ok")
    assert engine(events).status().state == state


def test_the_limits_and_the_window_are_those_of_the_settings() -> None:
    events = queries(100, start=NOW - timedelta(minutes=50), status=lambda i: "error" if i < 3 else "ok")
    strict = StatusSettings(window="1h", error_rate_warning=0.01)
    assert engine(events, status=strict).status().state == "warning"
    level, sentence = said(engine(events, status=strict).status(), "errors")
    assert level == "warning"
    assert sentence == "Error rate 3\u202f% over 100 queries in the last 1 h, above the warning limit of 1\u202f%."
    with pytest.raises(InvalidQuery):
        engine([], status=StatusSettings(window="soon")).status()


def test_too_few_queries_say_nothing() -> None:
    status = engine(queries(19, status="error")).status()
    assert status.state == "healthy"
    assert said(status, "data")[1] == "19 queries in the last 15 min: too few to judge by."


def test_a_budget_that_is_passed_is_a_warning() -> None:
    status = engine(queries(40, cost=1.0), budget=BudgetSettings(daily=39.0)).status()
    assert status.state == "warning"
    assert said(status, "budget")[1].startswith("$40.00 today, over the budget of $39.00.")


@pytest.mark.parametrize(("severity", "state"), [("critical", "critical"), ("warning", "warning"), ("info", "healthy")])
def test_alerts_count_as_they_are_severe(severity: str, state: str) -> None:
    status = engine(queries(40)).status(alerts=[AlertLine(severity=severity, sentence="ALERT: it is slow")])
    assert status.state == state
    assert said(status, "alert")[1] == "ALERT: it is slow"


def test_a_disk_that_fills_up_is_a_warning_even_before_the_first_query() -> None:
    status = engine([]).status(facts=Facts(low_disk=True, free_bytes=500_000_000))
    assert status.state == "warning"
    assert said(status, "disk")[1] == "The disk of the data directory has only 500 MB free."


def test_silence_at_a_busy_time_is_a_warning_and_at_a_quiet_time_is_not() -> None:
    busy = queries(240, start=NOW - timedelta(days=1, hours=6), hours=6)
    status = engine([*busy, *queries(5, start=NOW - timedelta(hours=4))]).status()
    level, sentence = said(status, "silence")
    assert (status.state, level) == ("warning", "warning")
    assert sentence.startswith("No query for 3 h 55 min, since 2026-11-24 10:09 UTC; at this time there are usually")
    night = queries(240, start=NOW - timedelta(days=1, hours=12), hours=6)
    assert engine([*night, *queries(5, start=NOW - timedelta(hours=4))]).status().state == "healthy"


def test_a_weekend_is_not_an_incident() -> None:
    yesterday = queries(240, start=NOW - timedelta(days=1, hours=6), hours=6)
    older = queries(5, start=NOW - timedelta(days=20))
    assert engine([*older, *yesterday, *queries(5, start=NOW - timedelta(hours=4))]).status().state == "healthy"


def test_a_week_of_silence_is_a_warning() -> None:
    status = engine(queries(50, start=NOW - timedelta(days=12))).status()
    assert status.state == "warning"
    assert said(status, "silence") == ("warning", "No query for 12 d, since 2026-11-12 14:10 UTC.")


def test_the_overview_has_every_line() -> None:
    day, yesterday = NOW - timedelta(hours=23), NOW - timedelta(hours=47)
    events = queries(200, start=day, hours=22.9, response_time=1.2, cost=0.07)
    events += queries(200, start=yesterday, hours=22.9, response_time=1.3, cost=0.1)
    events += spread("feedback", 60, NOW - timedelta(days=6), 24 * 5, rating=lambda i: 4 if i % 2 else 5)
    events += spread("feedback", 60, NOW - timedelta(days=13), 24 * 5, rating=4)
    found = engine(events, budget=BudgetSettings(daily=40.0)).overview(
        alerts=[AlertLine(severity="warning", sentence="ALERT: a")], experiments=["Vector DB comparison"]
    )
    assert found.response_time.value == pytest.approx(1.2)
    assert found.response_time.change is not None
    assert found.response_time.change.relative == pytest.approx(-0.1 / 1.3)
    assert found.response_time_p95.value == pytest.approx(1.2)
    assert (found.error_rate.value, found.queries.value) == (0.0, 200)
    assert (found.satisfaction.value, found.satisfaction.n) == (4.5, 60)
    assert found.satisfaction.change is not None
    assert found.satisfaction.change.relative == pytest.approx(0.125)
    assert found.cost.day.state == "within"
    assert found.status.state == "warning"
    assert (found.experiments, found.alerts[0].sentence) == (("Vector DB comparison",), "ALERT: a")


def test_the_overview_of_an_empty_directory_has_no_numbers_and_does_not_fail() -> None:
    found = engine([]).overview()
    for summary in (found.queries, found.response_time, found.response_time_p95, found.error_rate, found.satisfaction):
        assert summary.value is None
        assert "nothing was measured" in summary.sentence
    assert (found.cost.day.spent, found.status.state) == (None, "no data")


def test_the_worst_queries_come_first() -> None:
    events = queries(
        20, response_time=lambda i: float(i), cost=lambda i: 20.0 - i, accuracy_score=lambda i: abs(i - 7) / 20
    )
    events += queries(2, status="error", error_type="Timeout", error_message="too slow", response_time=None)
    events += queries(1, status="no_answer", query="what is\x1b[2J this?")
    asked = engine(events)
    assert [query.response_time for query in asked.worst("slowest", limit=3)] == [19.0, 18.0, 17.0]
    assert [query.cost for query in asked.worst("dearest", limit=2)] == [20.0, 19.0]
    assert [query.accuracy_score for query in asked.worst("lowest_score", limit=2)] == [0.0, 0.05]
    assert [(query.error_type, query.response_time) for query in asked.worst("errors")] == [("Timeout", None)] * 2
    assert [query.query for query in asked.worst("no_answer")] == ["what is\x1b[2J this?"]
    assert engine([]).worst("slowest") == ()
    with pytest.raises(InvalidQuery, match="no such list"):
        asked.worst("best")  # type: ignore[arg-type]


def test_projects_do_not_mix() -> None:
    events = queries(100, status="error", project="other")
    assert engine(events).status().state == "no data"
    assert engine(events, project="other").status().state == "critical"
