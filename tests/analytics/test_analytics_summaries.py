"""What a metric is, how it changed, and whether the change is more than noise: all in numbers one can check."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.dictionary_reader import DictionaryReader
from tests.support.rag_events import Record, spread

from barograph.analytics.analytics_engine import AnalyticsEngine
from barograph.analytics.change import FEW
from barograph.core.metric import Catalogue
from barograph.core.query import Filter
from barograph.core.settings import Settings
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidQuery, UnknownMetric

NOW = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
TODAY = NOW - timedelta(hours=24) + timedelta(seconds=62)  # windows of hours end with the running minute
YESTERDAY = TODAY - timedelta(hours=24)


def engine(events: list[Record], **settings: Any) -> AnalyticsEngine:
    clock = ManualClock(NOW)
    return AnalyticsEngine(DictionaryReader(events, clock.now), Catalogue(), clock, Settings(**settings))


def test_a_summary_tells_value_n_and_change_from_the_period_before() -> None:
    events = spread("query", 100, TODAY, 23.9, response_time=1.9) + spread(
        "query", 50, YESTERDAY, 23.9, response_time=2.0
    )
    summary = engine(events).summary("response_time.mean", "24h", compare="day")
    assert summary.value == pytest.approx(1.9)
    assert summary.n == 100
    assert summary.change is not None
    assert summary.change.before == 2.0
    assert summary.change.before_n == 50
    assert summary.change.relative == pytest.approx(-0.05)
    assert summary.change.direction == "better"
    assert summary.sentence.startswith("Average response time: 1.9 s over 24 h, n=100 (−5\u202f% from yesterday")


@pytest.mark.parametrize(
    ("metric", "now", "before", "direction"),
    [
        ("response_time.mean", 3.0, 2.0, "worse"),
        ("response_time.mean", 2.0, 2.0, "same"),
        ("accuracy", 0.9, 0.8, "better"),
        ("accuracy", 0.7, 0.8, "worse"),
        ("retrieval.documents", 5, 3, "neutral"),
    ],
)
def test_good_and_bad_follow_the_metrics_polarity(metric: str, now: float, before: float, direction: str) -> None:
    def events(start: datetime, value: float) -> list[Record]:
        documents = [{"id": str(i)} for i in range(int(value))]
        return spread("query", 30, start, 23, response_time=value, accuracy_score=value, documents=documents)

    change = engine(events(TODAY, now) + events(YESTERDAY, before)).summary(metric, compare="previous").change
    assert change is not None
    assert change.direction == direction


@pytest.mark.parametrize("metric", ["cost", "queries", "tokens.input"])
def test_a_total_is_never_better_or_worse_by_itself(metric: str) -> None:
    events = spread("query", 100, TODAY, 23, cost=0.1, input_tokens=9)
    events += spread("query", 400, YESTERDAY, 23, cost=0.1, input_tokens=9)
    totals, each = engine(events).summary(metric).change, engine(events).summary("cost_per_query").change
    assert totals is not None
    assert each is not None
    assert totals.relative == pytest.approx(-0.75)
    assert (totals.direction, each.direction) == ("neutral", "same")


@pytest.mark.parametrize(("hours", "compared"), [(0, "both"), (6, "the mean"), (23, "neither")])
def test_what_the_records_do_not_reach_back_over_is_not_compared(hours: float, compared: str) -> None:
    begun = YESTERDAY + timedelta(hours=hours)
    events = spread("query", 400, TODAY, 23, cost=0.1, model="a")
    events += spread("query", 40, begun, 0.9, cost=0.2, model="a")
    asked = engine(events)
    total, mean = asked.summary("cost").change, asked.summary("cost_per_query").change
    (by_model,) = (part.change for part in asked.breakdown("cost", "model", compare="previous").parts)
    assert total is not None
    assert mean is not None
    assert by_model is not None
    assert (total.absolute is None, mean.absolute is None) == (compared != "both", compared == "neither")
    assert (by_model.absolute is None) == (total.absolute is None)
    if compared != "both":
        assert total.note == "The records begin inside the earlier period: there is no whole one to compare with."


def test_a_change_from_zero_has_no_relative_size() -> None:
    events = spread("query", 30, TODAY, 23, cost=0.5) + spread("query", 30, YESTERDAY, 23, cost=0.0)
    change = engine(events).summary("cost").change
    assert change is not None
    assert (change.absolute, change.relative) == (15.0, None)


def test_without_an_earlier_period_there_is_a_value_and_no_change() -> None:
    summary = engine(spread("query", 30, TODAY, 23, response_time=1.0)).summary("response_time.mean")
    assert summary.value == 1.0
    assert summary.change is not None
    assert (summary.change.before, summary.change.absolute, summary.change.relative) == (None, None, None)
    assert summary.change.note == "There are no records of the earlier period to compare with."


def test_few_events_are_noise_whatever_they_say() -> None:
    events = spread("query", FEW - 1, TODAY, 23, response_time=9.0) + spread(
        "query", 500, YESTERDAY, 23, response_time=1.0
    )
    change = engine(events).summary("response_time.mean").change
    assert change is not None
    assert change.inside_noise is True
    assert "Fewer than 20" in change.note


def test_a_large_change_is_not_noise_and_no_change_is_rarely_called_one() -> None:
    random.seed(20261124)

    def noisy(i: int) -> float:
        return random.lognormvariate(0, 0.6)

    false_alarms = 0
    for _ in range(100):
        events = spread("query", 240, TODAY, 23.9, response_time=noisy)
        events += spread("query", 240, YESTERDAY, 23.9, response_time=noisy)
        change = engine(events).summary("response_time.mean").change
        assert change is not None
        false_alarms += change.inside_noise is False
    assert false_alarms <= 12  # 5 are expected; more than 12 would come once in 700 runs
    events = spread("query", 240, TODAY, 23.9, response_time=lambda i: random.lognormvariate(0.5, 0.6))
    events += spread("query", 240, YESTERDAY, 23.9, response_time=noisy)
    for metric in ("response_time.mean", "response_time.p95"):
        change = engine(events).summary(metric).change
        assert change is not None
        assert change.inside_noise is False


def test_error_rates_are_compared_as_shares() -> None:
    def failing(every: int, start: datetime) -> list[Record]:
        return spread("query", 400, start, 23, status=lambda i: "error" if i % every == 0 else "ok")

    same = engine(failing(20, TODAY) + failing(19, YESTERDAY)).summary("error_rate").change
    worse = engine(failing(5, TODAY) + failing(20, YESTERDAY)).summary("error_rate").change
    assert same is not None
    assert worse is not None
    assert (same.inside_noise, worse.inside_noise) == (True, False)
    assert worse.direction == "worse"
    assert worse.absolute == pytest.approx(0.15)


def test_twice_the_traffic_is_not_noise_and_neither_good_nor_bad() -> None:
    events = spread("query", 480, TODAY, 23.7) + spread("query", 240, YESTERDAY, 23.6)
    change = engine(events).summary("queries").change
    assert change is not None
    assert change.relative == pytest.approx(1.0, abs=0.02)
    assert (change.direction, change.inside_noise) == ("neutral", False)


def test_distinct_values_are_not_judged_and_say_so() -> None:
    users = {"user_id": lambda i: f"u{i % 7}"}
    events = spread("query", 50, TODAY, 23, **users) + spread("query", 50, YESTERDAY, 23, user_id="one")
    summary = engine(events).summary("active_users")
    assert summary.value == 7
    assert summary.change is not None
    assert (summary.change.inside_noise, summary.change.absolute) == (None, 6)


@pytest.mark.parametrize(
    "metric", ["response_time.mean", "queries", "cost", "error_rate", "active_users", "system.disk"]
)
def test_nothing_measured_is_none_and_a_sentence_never_zero(metric: str) -> None:
    summary = engine([]).summary(metric, "7d", compare="week")
    assert (summary.value, summary.n) == (None, 0)
    assert summary.change is not None
    assert summary.change.absolute is None
    assert "nothing was measured in the last 7 d" in summary.sentence


def test_filters_apply_to_both_periods() -> None:
    events = spread("query", 30, TODAY, 23, response_time=3.0, model="a") + spread(
        "query", 30, TODAY, 23, response_time=9.0
    )
    events += spread("query", 30, YESTERDAY, 23, response_time=2.0, model="a") + spread(
        "query", 9, YESTERDAY, 23, response_time=9
    )
    summary = engine(events).summary("response_time.mean", where=(Filter("model", "eq", ("a",)),))
    assert summary.value == 3.0
    assert summary.change is not None
    assert summary.change.before == 2.0


def test_percentiles_are_those_of_the_events_and_few_events_are_said_to_be_few() -> None:
    events = spread("query", 200, TODAY, 23, retrieval_time=lambda i: (i + 1) / 100)
    found = engine(events).percentiles("retrieval_time")
    assert (found.p50, found.p95, found.p99, found.n) == (1.0, 1.9, 1.98, 200)
    assert "uncertain" not in found.sentence
    assert "uncertain" in engine(events[:20]).percentiles("retrieval_time").sentence
    nothing = engine([]).percentiles()
    assert (nothing.p50, nothing.mean, nothing.n) == (None, None, 0)
    assert nothing.sentence == "response_time: nothing was measured."
    with pytest.raises(UnknownMetric):
        engine([]).percentiles("lunch_time")


def test_a_series_has_gaps_where_nothing_was_measured_and_knows_its_last_bucket_is_not_over() -> None:
    events = spread("query", 6, NOW - timedelta(hours=3), 1, response_time=2.0)
    found = engine(events).series("response_time.mean", "4h", every=3600.0)
    assert [row.value for row in found.rows] == [None, 2.0, None, None, None]
    assert found.incomplete
    assert [row.value for row in engine(events).series("queries", "4h", every=3600.0).rows] == [0, 6, 0, 0, 0]
    assert [row.value for row in engine([]).series("queries", "4h", every=3600.0).rows] == [None] * 5


def test_a_series_chooses_a_bucket_that_a_line_can_show() -> None:
    lengths = [engine([]).series("queries", window).every for window in ("15m", "24h", "7d", "30d", "90d")]
    assert lengths == [60.0, 1800.0, 14400.0, 43200.0, "day"]
    with pytest.raises(InvalidQuery):
        engine([]).series("queries", every=0.0)


def test_a_series_of_local_days_follows_the_clock_changes() -> None:
    events = spread("query", 25 * 60, datetime(2026, 10, 24, 22, tzinfo=UTC), 25)
    clock = ManualClock(datetime(2026, 10, 26, 12, tzinfo=UTC))
    asked = AnalyticsEngine(
        DictionaryReader(events, clock.now), Catalogue(), clock, Settings(timezone="Europe/Berlin")
    ).series("queries", "72h", every="day")
    assert [row.n for row in asked.rows] == [0, 0, 1500, 0]
    assert max((row.end - row.start).total_seconds() for row in asked.rows) == 25 * 3600


def test_a_breakdown_adds_up_to_the_whole() -> None:
    events = [e for i, name in enumerate("abcdefg") for e in spread("query", 10, TODAY, 23, model=name, cost=i + 1.0)]
    found = engine(events).breakdown("cost", "model", top=3)
    assert [(part.key, part.value) for part in found.parts] == [("g", 70.0), ("f", 60.0), ("e", 50.0), ("other", 100.0)]
    assert sum(part.share or 0 for part in found.parts) == pytest.approx(1.0)
    assert sum(part.n for part in found.parts) == found.n == 70
    assert found.sentence == "4 more are in 'other'."


def test_the_rest_of_a_mean_is_the_mean_of_the_rest_and_of_a_percentile_unknown() -> None:
    events = spread("query", 30, TODAY, 23, pipeline="big", response_time=1.0)
    events += spread("query", 20, TODAY, 23, pipeline="mid", response_time=2.0)
    events += spread("query", 10, TODAY, 23, response_time=6.0)
    events += spread("query", 10, TODAY, 23, pipeline="tiny", response_time=3.0)
    found = engine(events).breakdown("response_time.mean", "pipeline", top=2)
    assert [(part.key, part.value, part.n) for part in found.parts] == [
        ("big", 1.0, 30),
        ("mid", 2.0, 20),
        ("other", 4.5, 20),
    ]
    assert engine(events).breakdown("response_time.p95", "pipeline", top=2).parts[2].value is None


def test_a_breakdown_compares_each_group_with_itself() -> None:
    events = spread("query", 30, TODAY, 23, model="a", cost=2.0) + spread("query", 30, TODAY, 23, model="new", cost=1.0)
    events += spread("query", 30, YESTERDAY, 23, model="a", cost=1.0)
    old, new = engine(events).breakdown("cost", "model", compare="day").parts
    assert old.change is not None
    assert new.change is not None
    assert (old.change.relative, new.change.relative) == (1.0, None)


def test_a_breakdown_by_a_tag_and_of_nothing() -> None:
    events = spread("query", 4, TODAY, 23, tags={"route": "faq"}) + spread("query", 1, TODAY, 23)
    assert [(p.key, p.value, p.share) for p in engine(events).breakdown("queries", "tag.route").parts] == [
        ("faq", 4, 0.8),
        ("", 1, 0.2),
    ]
    nothing = engine([]).breakdown("cost", "user_id")
    assert (nothing.parts, nothing.total, nothing.n) == ((), None, 0)
    assert "nothing to break down" in nothing.sentence
