"""The store's contract: one body, run on the embedded engine and over the wire on ClickHouse's HTTP interface.

What the engine answers is held against ``DictionaryReader``, the plain meaning of a question.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tests.store.conftest import opener
from tests.store.week_of_events import UNALIGNED, WEEK, own_metrics, week_of_events
from tests.support.soak import times
from tests.support.store_site import HOSTILE, Site, assert_same_answer, at, queries

from barograph.core.query import EventQuery, Filter, MetricAnswer, MetricQuery, Window
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidQuery, UnknownMetric


@pytest.fixture(scope="module")
def week(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a week of events that arrived over three days; nobody changes it."""
    clock = ManualClock(at("2026-10-28 23:00"))
    open_it, opened = opener(tmp_path_factory.mktemp("week"), address)
    site = open_it(clock=clock, catalogue=own_metrics(), segment_bytes=100_000)
    events = week_of_events(random.Random(7))
    for part in range(0, len(events), 100):
        site.append(events[part : part + 100])
        clock.advance(3 * 3600)
    site.append(
        queries(random.Random(8), 60, WEEK.start, WEEK.start + timedelta(hours=6), first=9000, project="beside")
    )
    site.store.flush()
    by_trace = {record["trace_id"]: record for record in site.recorded if record["kind"] == "query"}
    for record in site.recorded:  # what the attribution is to find out
        if record["kind"] in ("feedback", "score"):
            found = by_trace[record["trace_id"]]
            record.update({name: found.get(name, "") for name in ("pipeline", "model", "environment", "user_id")})
    yield site
    for one in opened:
        one.close()


def ask(site: Site, metric: str, window: Window = WEEK, **options: Any) -> MetricAnswer:
    """The store's answer, which must be the oracle's from rollups and from raw rows."""
    question = MetricQuery(metric=metric, window=window, **options)
    answer, raw = site.store.query(question), site.store.query_raw(question)
    expected = site.oracle().query(question)
    for found in (answer, raw):
        assert_same_answer(found, expected, relative=0.008 if metric.rpartition(".p")[2].isdigit() else 1e-9)
        assert found.complete_to == site.store.watermark()
    assert raw.read_from == "raw"
    return answer


class TestAnswers:
    @pytest.mark.parametrize(
        "metric",
        [
            "queries",
            "queries_per_minute",
            "response_time.mean",
            "response_time.p50",
            "response_time.p95",
            "response_time.p99",
            "error_rate",
            "no_answer_rate",
            "cost",
            "cost_per_query",
            "priced_rate",
            "tokens.input",
            "accuracy",
            "retrieval.documents",
            "retrieval.top_score",
            "retrieval.empty_rate",
            "satisfaction",
            "feedback",
            "low_rating_rate",
            "system.cpu",
            "system.disk",
            "score.faithfulness",
            "score.größe",
            "metric.queue",
            f"metric.{HOSTILE}",
            "longest",
            "shortest",
            "latest_queue",
            "queue_sum",
        ],
    )
    def test_every_aggregation_means_what_the_catalogue_says(self, week: Site, metric: str) -> None:
        for window in (WEEK, UNALIGNED):
            for every in (None, 3600.0 * 6):
                ask(week, metric, window, every=every)

    @pytest.mark.parametrize("metric", ["active_users", "sessions", "retrieval.distinct_documents"])
    def test_different_people_are_counted_once(self, week: Site, metric: str) -> None:
        question = MetricQuery(metric=metric, window=UNALIGNED, every="day")
        expected = [row.value for row in week.oracle().query(question).rows]
        assert [row.value for row in week.store.query(question).rows] == expected
        assert [row.value for row in week.store.query_raw(question).rows] == expected

    @pytest.mark.parametrize("metric", ["queries", "cost", "response_time.p95", "satisfaction", "error_rate"])
    @pytest.mark.parametrize(
        ("every", "timezone"),
        [("day", "Europe/Berlin"), ("day", "Asia/Kolkata"), ("week", "Europe/Berlin"), ("month", "Asia/Kathmandu")],
    )
    def test_calendar_buckets_begin_at_local_midnight(self, week: Site, metric: str, every: Any, timezone: str) -> None:
        window = Window(at("2026-10-23 22:00"), at("2026-10-27 23:00"))
        ask(week, metric, window, every=every, timezone=timezone)
        if every == "day" and timezone == "Europe/Berlin":
            rows = week.store.query(
                MetricQuery(metric=metric, window=window, every="day", timezone="Europe/Berlin")
            ).rows
            hours = [(row.end - row.start).total_seconds() / 3600 for row in rows]
            assert hours == [24, 25, 24, 24]
            assert {row.start.astimezone(ZoneInfo("Europe/Berlin")).hour for row in rows} == {0}

    @pytest.mark.parametrize("by", [("model",), ("pipeline", "status"), ("environment",)])
    def test_labels_group_from_rollups(self, week: Site, by: tuple[str, ...]) -> None:
        for metric in ("queries", "cost", "response_time.p95", "retrieval.empty_rate"):
            assert ask(week, metric, by=by).read_from == "rollup"

    @pytest.mark.parametrize("by", [("provider",), ("user_id", "model"), ("tag.tenant",), ("variant.reranker",)])
    def test_other_dimensions_group_from_raw_rows(self, week: Site, by: tuple[str, ...]) -> None:
        for metric in ("queries", "cost", "response_time.p95"):
            assert ask(week, metric, by=by, limit=1000).read_from == "raw"

    def test_feedback_and_scores_are_grouped_by_what_their_query_was(self, week: Site) -> None:
        for metric in ("satisfaction", "feedback", "low_rating_rate", "score.faithfulness"):
            ask(week, metric, by=("model",))
            ask(week, metric, by=("pipeline", "environment"), every="day")

    @pytest.mark.parametrize(
        "where",
        [
            "model:eq:large",
            "model:ne:größer",
            "model:in:small,large",
            "pipeline:exists",
            "pipeline:has:CHA",
            "status:match:^(error|no_)",
            f"pipeline:eq:{HOSTILE[:20]}",
            f"tag.tenant:eq:{HOSTILE}",
            "tag.tenant:in:a,b",
            "variant.reranker:eq:on",
            "user_id:exists",
            "response_time:gte:1.5",
            "response_time:lte:1",
            "input_tokens:gte:2000",
            "error_type:eq:Timeout",
            "retrieval_time:exists",
            "provider:ne:here",
            f"model:eq:{HOSTILE}",
        ],
    )
    def test_filters_keep_what_they_say(self, week: Site, where: str) -> None:
        one = Filter.parse(where)
        question = MetricQuery(metric="cost", window=UNALIGNED, where=(one,), every=86400.0)
        folded = msgspec.structs.replace(one, values=tuple(value.lower() for value in one.values))
        asked = msgspec.structs.replace(question, where=(folded if one.op == "has" else one,))
        expected = week.oracle().query(asked)
        assert_same_answer(week.store.query(question), expected)
        assert_same_answer(week.store.query_raw(question), expected)

    def test_an_earlier_period_stands_beside_the_asked_one(self, week: Site) -> None:
        day = Window(at("2026-10-25 23:00"), at("2026-10-26 23:00"))  # a day of Berlin, after one of 25 hours
        before = week.store.query(
            MetricQuery(metric="queries", window=day, compare="day", timezone="Europe/Berlin")
        ).before
        assert [(row.start, row.end) for row in before] == [(at("2026-10-24 22:00"), day.start)]
        told = {row.value for row in before}
        assert told == {ask(week, "queries", Window(at("2026-10-24 22:00"), day.start)).value}
        for compare in ("previous", "week", Window(at("2026-10-22 01:00"), at("2026-10-22 02:30"))):
            question = MetricQuery(metric="cost", window=day, compare=compare)
            expected = week.oracle().query(question)
            found = week.store.query(question)
            assert [row.n for row in found.before] == [row.n for row in expected.before]
            assert [row.value for row in found.before] == pytest.approx([row.value for row in expected.before])

    def test_many_questions_at_once_are_answered_like_each_alone(self, week: Site) -> None:
        """Of every aggregation, kind, window, bucket and grouping, some of which share statements."""
        questions = [
            MetricQuery(metric=metric, window=window, every=every, by=by, where=where, compare=compare)
            for metric in (
                "queries", "cost", "error_rate", "response_time.mean", "response_time.p50", "response_time.p99",
                "retrieval_time.p95", "active_users", "sessions", "longest", "shortest", "satisfaction", "feedback",
                "low_rating_rate", "score.faithfulness", "metric.queue", "latest_queue", "queue_sum", "system.cpu",
                "tokens_out", "cost_a_token",
            )
            for window in (WEEK, UNALIGNED)
            for every, by, where, compare in (
                (None, (), (), "day"),
                (7200.0, (), (), None),
                (None, ("model",), (), None),
                ("day", ("model", "pipeline"), (), "previous"),
                (None, (), (Filter("environment", "eq", ("staging",)),), None),
            )
            if not (metric.startswith("system") and "model" in by)
        ]  # fmt: skip
        questions = random.Random(3).sample(questions, times(80, len(questions)))
        for answer, question in zip(week.store.query_many(questions), questions, strict=True):
            alone = week.store.query(question)
            earlier = [msgspec.structs.replace(one, rows=one.before) for one in (answer, alone)]
            assert_same_answer(answer, alone)
            assert_same_answer(*earlier)
            assert [(row.start, row.group, row.n) for row in answer.rows] == [
                (row.start, row.group, row.n) for row in alone.rows
            ]
            assert (answer.metric, answer.unit, answer.read_from) == (alone.metric, alone.unit, alone.read_from)

    def test_brief_windows_that_overlap_and_several_projects_are_answered_like_each_alone(self, week: Site) -> None:
        """As rules ask: of windows that end together, beside those of the day before, beside the minutes or not."""
        end = WEEK.start + timedelta(hours=5, seconds=10)
        windows = [Window.last(seconds, end) for seconds in (600.0, 1800.0, 3600.0, 7200.0)]
        windows += [windows[0].shifted(-1300), Window.last(3600.0, WEEK.start + timedelta(hours=5)), windows[3]]
        asked: list[tuple[str, tuple[str, ...]]] = [("default", ()), ("beside", ()), ("nobody", ())]
        questions = [
            MetricQuery(metric=metric, window=window, by=by, project=project, compare="day")
            for metric in ("queries", "error_rate", "response_time.p95", "active_users", "longest", "cost", "feedback")
            for window in windows
            for project, by in [*asked, ("default", ("model",))]
        ]
        questions = random.Random(4).sample(questions, times(90, len(questions)))
        answers = week.store.query_many(questions)
        assert {answer.n > 0 for answer in answers} == {True, False}
        for answer, question in zip(answers, questions, strict=True):
            alone = week.store.query(question)
            assert_same_answer(answer, alone)
            assert_same_answer(*(msgspec.structs.replace(one, rows=one.before) for one in (answer, alone)))
            assert (answer.n, answer.read_from) == (alone.n, alone.read_from)

    def test_projects_do_not_see_each_other(self, week: Site) -> None:
        answer = week.store.query(MetricQuery(metric="queries", window=WEEK, project="another"))
        assert (answer.value, answer.n) == (0.0, 0)
        assert not week.store.events(EventQuery(kind="query", window=WEEK, project="another")).items

    def test_a_window_without_events_is_zero_or_unknown(self, week: Site) -> None:
        empty = Window(at("2020-01-01 00:00"), at("2020-01-03 00:00"))
        assert ask(week, "queries", empty, every="day").rows[1].value == 0
        for metric in ("cost", "response_time.p95", "error_rate", "active_users", "system.disk"):
            assert week.store.query(MetricQuery(metric=metric, window=empty)).value is None

    @pytest.mark.parametrize(
        "change",
        [
            {"metric": "no.such"},
            {"by": ("query; DROP TABLE query",)},
            {"timezone": "Mars/Olympus"},
            {"where": (Filter("model", "match", ("(",)),)},
            {"where": (Filter("model", "eq", ("\ud800",)),)},
            {"where": (Filter("response_time", "gte", ("soon",)),)},
            {"every": 0.0},
            {"every": -5.0},
            {"every": 0.001},
            {"every": float("nan")},
            {"limit": 0},
            {"where": (Filter("model", "match", ("(?=a)b",)),)},
            {"where": (Filter("response_time", "gte", ("nan",)),)},
            {"by": ("model", "model")},
            {"every": 60.0, "window": Window(at("2000-01-01 00:00"), at("2026-01-01 00:00"))},
        ],
    )
    def test_a_question_that_cannot_be_asked_says_so(self, week: Site, change: dict[str, Any]) -> None:
        with pytest.raises((InvalidQuery, UnknownMetric)) as told:
            week.store.query(MetricQuery(**{"metric": "queries", "window": WEEK, **change}))
        assert str(told.value)
        ask(week, "queries")


def asked(week: Site) -> list[dict[str, Any]]:
    """The queries of the project that is asked; another one stands beside it."""
    return [e for e in week.recorded if e["kind"] == "query" and e.get("project", "default") == "default"]


class TestEvents:
    @pytest.mark.parametrize("order", ["time", "response_time", "event_id", "cost"])
    @pytest.mark.parametrize("descending", [True, False])
    def test_pages_neither_repeat_nor_skip(self, week: Site, order: str, descending: bool) -> None:
        question = EventQuery(kind="query", window=UNALIGNED, order=order, descending=descending, limit=83)
        seen, cursor = [], ""
        while True:
            page = week.store.events(msgspec.structs.replace(question, cursor=cursor))
            seen += page.items
            if not page.cursor:
                break
            assert len(page.items) == 83
            cursor = page.cursor
        held = [e for e in asked(week) if UNALIGNED.start <= e["time"] < UNALIGNED.end]
        held = [e for e in held if e.get(order) is not None]
        held.sort(key=lambda e: (e[order], e["event_id"]), reverse=descending)
        assert [row["event_id"] for row in seen] == [e["event_id"] for e in held]

    @pytest.mark.parametrize("order", ["time", "response_time", "cost", "top_score"])
    @pytest.mark.parametrize("descending", [True, False])
    @pytest.mark.parametrize(
        "where",
        [(), ("status:eq:error",), ("model:in:small,large", "environment:eq:staging"), ("response_time:exists",)],
    )
    def test_the_first_page_is_right_whatever_led_to_it(
        self, week: Site, order: str, descending: bool, where: tuple[str, ...]
    ) -> None:
        """The hours to read come from rollups: by count for the newest, by the largest number for the largest."""
        filters = tuple(map(Filter.parse, where))
        held = [e for e in asked(week) if UNALIGNED.start <= e["time"] < UNALIGNED.end]
        for filter_ in filters:
            if filter_.op == "exists":
                held = [e for e in held if e.get(filter_.field) is not None]
            else:
                held = [e for e in held if e.get(filter_.field, "ok") in filter_.values]
        if order == "top_score":
            for e in held:
                scores = [d["score"] for d in e.get("documents") or ()]
                e[order] = max(scores, default=None)
        held = [e for e in held if e.get(order) is not None]
        held.sort(key=lambda e: (e[order], e["event_id"]), reverse=descending)
        for limit in (1, 4, 60, 1000):
            question = EventQuery(
                kind="query", window=UNALIGNED, where=filters, order=order, descending=descending, limit=limit
            )
            page = week.store.events(question)
            assert [row["event_id"] for row in page.items] == [e["event_id"] for e in held[:limit]]
            assert bool(page.cursor) == (len(held) > limit)

    def test_a_trace_is_found_wherever_it_is(self, week: Site) -> None:
        traces = [e["trace_id"] for e in asked(week)][::97]
        for ids in (traces[:1], traces, ["nobody's"], [HOSTILE, *traces[:2]]):
            where = (Filter("trace_id", "in" if len(ids) > 1 else "eq", tuple(ids)),)
            window = Window(WEEK.start - timedelta(days=1), WEEK.end + timedelta(days=1))
            page = week.store.events(EventQuery(kind="query", window=window, where=where))
            assert {row["trace_id"] for row in page.items} == set(ids) & set(traces)

    def test_an_event_comes_back_as_it_was(self, week: Site) -> None:
        hostile = next(e for e in week.recorded if e.get("query") == HOSTILE and len(e.get("documents", ())) == 3)
        where = (Filter("trace_id", "eq", (hostile["trace_id"],)),)
        window = Window(hostile["time"], hostile["time"] + timedelta(microseconds=1))
        (row,) = week.store.events(EventQuery(kind="query", window=window, where=where)).items
        for name, value in hostile.items():
            if name == "documents":
                assert [document["id"] for document in row[name]] == [document["id"] for document in value]
            elif name != "kind":
                assert row[name] == value, name
        assert row["received_at"].tzinfo is not None

    def test_every_kind_can_be_read(self, week: Site) -> None:
        for kind in ("system", "metric", "score", "feedback", "attribution", "exposure", "annotation", "span", "alert"):
            week.store.events(EventQuery(kind=kind, window=WEEK))

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "nothing"},
            {"order": "documents"},
            {"order": "1; SELECT 1"},
            {"limit": 0},
            {"limit": 10**6},
            {"cursor": "x"},
            {"cursor": "é"},
            {"cursor": "WyJhIiwgImIiXQ=="},
            {"cursor": base64.urlsafe_b64encode(b'["query time up",1,"b"]').decode()},  # of another order
        ],
    )
    def test_a_page_that_cannot_be_given_says_so(self, week: Site, change: dict[str, Any]) -> None:
        with pytest.raises(InvalidQuery):
            week.store.events(EventQuery(**{"kind": "query", "window": WEEK, **change}))
