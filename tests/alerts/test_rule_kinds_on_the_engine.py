"""Each kind of rule sees the same on the real engine as on the plain meaning of its questions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.support.store_site import Site, assert_same_answer, at, queries

from barograph.alerts.evaluator import Evaluator
from barograph.alerts.rule import make_rule
from barograph.core.metric import Catalogue
from barograph.core.query import MetricQuery, Window
from barograph.core.reader import Reader
from barograph.core.settings import RuleSettings
from barograph_client.clock import ManualClock

NOW = at("2026-11-24 09:00")

KINDS: list[dict[str, Any]] = [
    {"metric": "cost", "kind": "ratio", "per": "sessions", "above": 0.01, "window": "6h"},
    {"metric": "feedback", "kind": "ratio", "per": "queries", "below": 0.1, "window": "6h"},
    {"metric": "response_time.mean", "kind": "change", "compare": "day", "above": 0.05, "window": "3h"},
    {"metric": "queries", "kind": "change", "compare": "previous", "below": -0.05, "window": "3h"},
    {"metric": "queries", "kind": "absence", "window": "5m"},
    {"metric": "feedback", "kind": "absence", "window": "5m"},
    {"metric": "error_rate", "kind": "burn_rate", "objective": 0.9, "above": 2.0, "window": "6h"},
    {"metric": "retrieval.distinct_documents", "kind": "unseen", "above": 0.1, "window": "7m", "lookback": "1d"},
    {"metric": "retrieval.distinct_documents", "kind": "unseen", "above": 0.1, "window": "7h", "known": 5},
    {"metric": "cost", "kind": "budget", "period": "day", "above": 0.5, "timezone": "Europe/Berlin"},
    {"metric": "cost", "kind": "budget", "period": "month", "above": 0.5, "forecast": True},
    {"metric": "response_time.mean", "kind": "anomaly", "window": "15m"},
    {"metric": "queries", "kind": "anomaly", "window": "15m", "minimum": 2},
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("kinds"), ManualClock(NOW)) as made:
        made.append(queries(random.Random(4), 600, NOW - timedelta(days=2), NOW))
        made.store.flush()
        yield made


def outcomes(reader: Reader, settings: dict[str, Any]) -> dict[str, Any]:
    rule = make_rule(RuleSettings(name="it", **settings), Catalogue())
    evaluator = Evaluator(reader, "default", 30.0)
    try:
        reading = evaluator.observe(rule, NOW)
    finally:
        evaluator.close()
    assert reading.error == ""
    return {
        repr(labels): (seen.outcome, seen.n, None if seen.value is None else round(seen.value, 6))
        for labels, seen in reading.groups
    }


@pytest.mark.parametrize("by", [(), ("model",), ("pipeline", "environment")])
@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: f"{settings['kind']}-{settings['metric']}")
def test_a_kind_sees_what_the_events_mean(site: Site, settings: dict[str, Any], by: tuple[str, ...]) -> None:
    found = outcomes(site.store, {**settings, "by": by})
    expected = outcomes(site.oracle(), {**settings, "by": by})
    assert found == expected


@pytest.mark.parametrize("by", [(), ("pipeline", "environment")])
@pytest.mark.parametrize(("every", "trailing", "offset"), [(15, 60, 10), (60, 300, 0), (300, 86400, 7)])
def test_a_window_that_slides_is_answered_at_each_place_by_one_question(
    site: Site, every: int, trailing: int, offset: int, by: tuple[str, ...]
) -> None:
    end = NOW - timedelta(seconds=every - offset)
    window = Window(end - timedelta(seconds=20 * every), end)
    for metric in ("queries_per_minute", "error_rate", "response_time.p95", "active_users"):
        question = MetricQuery(
            metric=metric, window=window, every=every, trailing=trailing, offset=offset % every, by=by, limit=500
        )
        found = site.store.query(question)
        if metric != "active_users":
            relative = 0.008 if metric.endswith("p95") else 1e-9
            assert_same_answer(found, site.oracle().query(question), relative=relative)
        last = replace(question, window=Window.last(trailing, end), every=None, trailing=0, offset=0)
        at_end = replace(found, rows=tuple(row for row in found.rows if row.end == end))
        assert_same_answer(at_end, site.store.query(last))
