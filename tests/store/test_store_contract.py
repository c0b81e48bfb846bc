"""The store's contract: one body, run on the embedded engine and over the wire on ClickHouse's HTTP interface.

What the engine answers is held against ``DictionaryReader``, the plain meaning of a question.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tests.store.conftest import START, OpenSite, opener
from tests.support.store_site import HOSTILE, Site, answers, assert_same_answer, at, queries

from barograph.core.event import Exposure, Feedback, Metric, Query, Score, System
from barograph.core.metric import Catalogue, Measure
from barograph.core.metric import Metric as CatalogueMetric
from barograph.core.query import EventQuery, Filter, MetricAnswer, MetricQuery, UnitQuery, Window
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidQuery, UnknownMetric

WEEK = Window(at("2026-10-22 00:00"), at("2026-10-29 00:00"))  # Berlin goes back to winter time on the 25th
UNALIGNED = Window(at("2026-10-22 03:17:29.123456"), at("2026-10-28 21:44:01.000001"))


def own_metrics() -> Catalogue:
    """The built-in metrics and some of each aggregation that they do not use."""

    def own(name: str, aggregation: Any, of: Measure) -> CatalogueMetric:
        return CatalogueMetric(
            name=name,
            title=name,
            unit="1",
            aggregation=aggregation,
            better="neutral",
            sentence=name,
            of=of,
            user_defined=True,
        )

    return Catalogue(
        [
            own("longest", "max", Measure("query", "response_time")),
            own("shortest", "min", Measure("query", "response_time")),
            own("latest_queue", "last", Measure("metric", "value", name="queue")),
            own("queue_sum", "sum", Measure("metric", "value", name="queue")),
            own("tokens_out", "sum", Measure("query", "output_tokens")),
            msgspec.structs.replace(
                own("cost_a_token", "ratio", Measure("query", "cost")), per=Measure("query", "output_tokens")
            ),
        ]
    )


def week_of_events(chance: random.Random) -> list[Any]:
    """Queries and other kinds over the week and a little around it."""
    start, end = WEEK.start - timedelta(hours=5), WEEK.end + timedelta(hours=5)
    events: list[Any] = list(queries(chance, 900, start, end))
    seconds = (end - start).total_seconds()

    def moment() -> datetime:
        return start + timedelta(seconds=round(chance.random() * seconds, 6))

    for number in range(150):
        events.append(
            System(
                event_id=f"system-{number}",
                time=moment(),
                host="here",
                cpu_percent=round(chance.random() * 100, 3),
                disk_percent=float(number % 90),
                environment="production",
            )
        )
        events.append(
            Metric(
                event_id=f"metric-{number}",
                time=moment(),
                name=chance.choice(("queue", HOSTILE)),
                value=round(chance.gauss(0, 100), 4),
                pipeline="chat",
            )
        )
        events.append(
            Score(
                event_id=f"score-{number}",
                time=moment(),
                name=chance.choice(("faithfulness", "größe")),
                value=round(chance.random(), 4),
                trace_id=f"trace-{number}",
            )
        )
        events.append(
            Feedback(
                event_id=f"feedback-{number}",
                time=moment(),
                trace_id=f"trace-{number * 3}",
                rating=float(chance.randrange(1, 6)) if chance.random() < 0.8 else None,
            )
        )
    chance.shuffle(events)
    return events


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

    @pytest.mark.parametrize("metric", ["active_users", "sessions"])
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
        random.Random(3).shuffle(questions)
        for answer, question in zip(week.store.query_many(questions), questions, strict=True):
            alone = week.store.query(question)
            earlier = [msgspec.structs.replace(one, rows=one.before) for one in (answer, alone)]
            assert_same_answer(answer, alone)
            assert_same_answer(*earlier)
            assert [(row.start, row.group, row.n) for row in answer.rows] == [
                (row.start, row.group, row.n) for row in alone.rows
            ]
            assert (answer.metric, answer.unit, answer.read_from) == (alone.metric, alone.unit, alone.read_from)

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
        held = [e for e in week.recorded if e["kind"] == "query" and UNALIGNED.start <= e["time"] < UNALIGNED.end]
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
        held = [e for e in week.recorded if e["kind"] == "query" and UNALIGNED.start <= e["time"] < UNALIGNED.end]
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
        traces = [e["trace_id"] for e in week.recorded if e["kind"] == "query"][::97]
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


class TestCare:
    """Verification, rebuilding, retention: the answers stay what they were."""

    QUESTIONS = tuple(
        MetricQuery(metric=metric, window=window, by=by, every=every)
        for metric in (
            "queries",
            "cost",
            "response_time.p95",
            "satisfaction",
            "active_users",
            "system.disk",
            "error_rate",
        )
        for window, by, every in (
            (WEEK, (), None),
            (WEEK, ("model",), 86400.0),
            (Window(at("2026-10-23 00:00"), at("2026-10-27 00:15")), (), 900.0 * 96),
        )
        if not (by and metric == "system.disk")
    )

    def site(self, open_site: OpenSite) -> Site:
        """A site whose events arrived on four days of two months."""
        clock = ManualClock(at("2026-10-30 10:00"))
        site = open_site(clock=clock, catalogue=own_metrics())
        events = week_of_events(random.Random(11))[:800]
        for part in range(4):
            site.append(events[part * 200 : part * 200 + 200])
            if part == 2:
                site.store.flush()
            clock.advance(86400)
        site.append(
            [
                Exposure(event_id=f"x{n}", time=WEEK.start, experiment="reranker", arm="ab"[n % 2], unit_id=f"user-{n}")
                for n in range(12)
            ]
        )
        site.store.flush()
        return site

    def units(self, site: Site) -> Any:
        answer = site.store.units(UnitQuery(experiment="reranker", metric="response_time.mean", window=WEEK))
        return [
            [round(value, 9) if isinstance(value, float) else value for value in msgspec.structs.astuple(arm)]
            for arm in answer.arms
        ]

    def test_verification_agrees_with_the_journal(self, open_site: OpenSite) -> None:
        site = self.site(open_site)
        report = site.store.verify()
        assert report.ok
        assert report.journal == report.engine
        assert sum(report.journal.values()) == site.journal.count()
        assert report.days == 5

    def test_a_rebuild_gives_the_same_answers(self, open_site: OpenSite) -> None:
        site = self.site(open_site)
        before, units = answers(site, self.QUESTIONS), self.units(site)
        lines = site.journal.count()
        assert site.store.rebuild().ok
        assert same(answers(site, self.QUESTIONS), before)
        assert self.units(site) == units
        assert site.journal.count() == lines  # nothing was decided again

    def test_a_rebuilt_day_gives_the_same_answers(self, open_site: OpenSite) -> None:
        site = self.site(open_site)
        before, units = answers(site, self.QUESTIONS), self.units(site)
        for day in (date(2026, 10, 31), date(2026, 11, 2)):
            assert site.store.rebuild(day).ok
        assert same(answers(site, self.QUESTIONS), before)
        assert self.units(site) == units
        site.append(queries(random.Random(5), 50, WEEK.start, WEEK.end, first=5000))
        site.store.flush()
        assert site.store.verify().ok
        assert_same_answer(
            site.store.query(MetricQuery(metric="cost", window=WEEK)),
            site.oracle().query(MetricQuery(metric="cost", window=WEEK)),
        )

    def test_a_day_that_was_damaged_is_found_and_made_again(self, open_site: OpenSite) -> None:
        site = self.site(open_site)
        before = answers(site, self.QUESTIONS)
        engine = site.store._engine
        engine.command("ALTER TABLE query DELETE WHERE arrived = '2026-10-31' AND event_id LIKE '%7'")
        engine.command("ALTER TABLE measure_15m DELETE WHERE arrived = '2026-11-01' AND name = ''")
        engine.command("ALTER TABLE unit_1d DELETE WHERE arrived = '2026-11-02' AND kind = 'query' AND experiment = ''")
        engine.command("ALTER TABLE trace_place DELETE WHERE arrived = '2026-11-02' AND trace % 5 = 0")
        report = site.store.verify()
        assert not report.ok
        assert {(difference.day, difference.table) for difference in report.differences} >= {
            (date(2026, 10, 31), "query"),
            (date(2026, 11, 1), "measure_15m"),
            (date(2026, 11, 2), "unit_1d"),
            (date(2026, 11, 2), "trace_place"),
        }
        for difference in report.differences:
            assert str(difference.day) in str(difference)
            assert difference.table in str(difference)
        for day in {difference.day for difference in report.differences}:
            site.store.rebuild(day)
        assert site.store.verify().ok
        assert same(answers(site, self.QUESTIONS), before)

    def test_what_was_retired_stays_in_the_answers_and_in_a_rebuild(self, open_site: OpenSite) -> None:
        site = self.site(open_site)
        before = answers(site, self.QUESTIONS)
        stored = site.journal.account().stored
        pruned = site.store.prune(timedelta(days=2), ("query", "feedback", "score", "system", "attribution"))
        assert {(one.kind, one.day) for one in pruned} >= {("query", date(2026, 10, 30)), ("query", date(2026, 10, 31))}
        assert site.journal.account().stored == stored
        assert same(answers(site, self.QUESTIONS), before)
        assert site.store.verify().ok
        assert site.store.rebuild().ok
        assert same(answers(site, self.QUESTIONS), before)
        assert site.store.rebuild(date(2026, 10, 31)).ok
        assert site.store.rebuild(date(2026, 11, 2)).ok
        assert same(answers(site, self.QUESTIONS), before)
        note = site.store.query(MetricQuery(metric="queries", window=UNALIGNED)).notes
        assert any("retired" in one for one in note)
        assert not site.store.query(MetricQuery(metric="queries", window=WEEK)).notes
        assert site.store.prune(timedelta(days=2), ("query",)) == []
        self.pages_hold_what_is_left(site)

    def pages_hold_what_is_left(self, site: Site) -> None:
        """Hours whose events were retired have rollups still, and must not lead a page to nothing."""
        everything = Window(at("2026-10-01 00:00"), at("2026-12-01 00:00"))
        for order in ("time", "response_time", "cost"):
            for descending in (True, False):
                question = EventQuery(kind="query", window=everything, order=order, descending=descending, limit=1000)
                left = site.store.events(question).items
                assert left
                for limit in (1, 5, 40):
                    page = site.store.events(msgspec.structs.replace(question, limit=limit))
                    assert page.items == left[:limit]

    def test_archived_days_are_loaded_like_others(self, open_site: OpenSite) -> None:
        site = self.site(open_site)
        before = answers(site, self.QUESTIONS)
        assert site.store.compress_closed() > 4
        assert site.store.rebuild().ok
        assert same(answers(site, self.QUESTIONS), before)

    def test_a_store_goes_on_where_the_last_one_ended_or_makes_a_torn_schema_again(self, open_site: OpenSite) -> None:
        site = self.site(open_site)
        before = answers(site, self.QUESTIONS)
        options = {"clock": site.clock, "database": site.store._engine.database, "catalogue": site.catalogue}
        site.close()
        again = open_site(site.directory, **options)
        again.store.flush()
        assert again.store._loader.bytes_loaded == 0
        assert same(answers(again, self.QUESTIONS), before)
        assert again.store.verify().ok
        again.store._engine.command("ALTER TABLE schema_version DELETE WHERE done AND version > 3")  # were cut off
        again.close()
        whole = open_site(site.directory, **options)
        whole.store.flush()
        assert whole.store._loader.bytes_loaded > 0  # by a migration that was cut off, everything is made again
        assert same(answers(whole, self.QUESTIONS), before)


def same(found: list[Any], before: list[Any]) -> bool:
    """Whether the answers are the same; sums may differ in the last digits, as the order of adding does."""
    for new, old in zip(found, before, strict=True):
        assert [row[:3] for row in new] == [row[:3] for row in old]
        for row, other in zip(new, old, strict=True):
            assert row[3] == (None if other[3] is None else pytest.approx(other[3], rel=1e-9))
    return True


class TestAttribution:
    def test_feedback_finds_its_query_before_and_after_it_and_says_when_there_is_none(
        self, open_site: OpenSite
    ) -> None:
        clock = ManualClock(START)
        site = open_site(clock=clock)
        moment = START - timedelta(hours=1)
        window = Window(START - timedelta(hours=2), START)

        def query(name: str, model: str) -> Query:
            return Query(event_id=f"q-{name}", time=moment, trace_id=name, model=model, user_id=f"user of {name}")

        def feedback(name: str, **fields: Any) -> Feedback:
            return Feedback(event_id=f"f-{name}", time=moment, trace_id=name, rating=4.0, **fields)

        def by_model() -> dict[str, int]:
            answer = site.store.query(MetricQuery(metric="feedback", window=window, by=("model",)))
            return {row.group["model"]: row.n for row in answer.rows if row.n}

        site.append([query("early", "small"), feedback("early"), feedback("late"), feedback("never")])
        site.append([Feedback(event_id="f-none", time=moment, rating=2.0, user_id="u"), feedback("given", model="own")])
        site.store.flush()
        assert site.store.query(MetricQuery(metric="feedback", window=window)).value == 5
        assert by_model() == {"small": 1, "": 4}
        assert site.store.health().undecided == 3
        clock.advance(10)
        site.append([query("late", "large"), query("given", "large")])
        site.store.flush()
        assert by_model() == {"small": 1, "large": 1, "own": 1, "": 2}
        clock.advance(120)
        site.store.flush()
        assert site.store.health().undecided == 0
        rows = site.store.events(EventQuery(kind="attribution", window=window)).items
        assert {row["subject_id"]: row["found"] for row in rows} == {
            "f-early": True,
            "f-late": True,
            "f-given": True,
            "f-never": False,
            "f-none": False,
        }
        assert {row["user_id"] for row in rows} == {"user of early", "user of late", "user of given", "u", ""}
        assert by_model() == {"small": 1, "large": 1, "own": 1, "": 2}
        assert site.journal.account().internal == {"attribution": 5}
        assert site.store.verify().ok

    def test_what_was_undecided_at_the_end_is_decided_after_the_next_start(self, open_site: OpenSite) -> None:
        clock = ManualClock(START)
        site = open_site(clock=clock)
        moment = START - timedelta(hours=1)
        site.append([Feedback(event_id="f", time=moment, trace_id="t", rating=5.0)])
        site.append([Score(event_id="s", time=moment, trace_id="t", name="x", value=1.0)])
        site.store.flush()
        database = site.store._engine.database
        site.close()
        again = open_site(site.directory, clock=clock, database=database)
        again.append([Query(event_id="q", time=moment, trace_id="t", model="small")])
        again.store.flush()
        rows = again.store.events(EventQuery(kind="attribution", window=Window(moment, START))).items
        assert sorted((row["subject"], row["model"]) for row in rows) == [("feedback", "small"), ("score", "small")]
        again.store.flush()
        assert again.journal.count("attribution") == 2


class TestUnits:
    @pytest.mark.parametrize("metric", ["response_time.mean", "queries", "cost", "error_rate", "satisfaction"])
    def test_moments_over_units_are_those_of_their_sums(self, open_site: OpenSite, metric: str) -> None:
        chance = random.Random(3)
        site = open_site(catalogue=own_metrics())
        window = Window(at("2026-10-20 06:30"), at("2026-10-28 17:45"))
        exposures = [
            Exposure(
                event_id=f"x{n}",
                time=window.start + timedelta(hours=chance.randrange(100), minutes=n),
                experiment="reranker",
                arm="ab"[n % 2],
                unit_id=f"user-{n}",
            )
            for n in range(12)
        ]
        again = [
            msgspec.structs.replace(e, event_id=f"y{e.event_id}", time=e.time + timedelta(days=1)) for e in exposures
        ]
        both = Exposure(
            event_id="both", time=window.end - timedelta(hours=1), experiment="reranker", arm="b", unit_id="user-0"
        )
        silent = Exposure(event_id="silent", time=window.start, experiment="reranker", arm="a", unit_id="nobody")
        late = Exposure(event_id="late", time=window.end, experiment="reranker", arm="a", unit_id="too late")
        events = queries(chance, 700, at("2026-10-20 00:00"), at("2026-10-29 00:00"))
        ratings = [
            Feedback(event_id=f"f{n}", time=e.time + timedelta(minutes=1), trace_id=e.trace_id, rating=1.0 + n % 5)
            for n, e in enumerate(events[:300])
        ]
        site.append([*exposures, *again, both, silent, late, *events, *ratings])
        site.store.flush()
        answer = site.store.units(UnitQuery(experiment="reranker", metric=metric, window=window))
        assert answer.contaminated == 1
        first = min(e.time for e in [*exposures, silent])
        assert (answer.first_exposure, answer.last_exposure) == (first, max(e.time for e in exposures))
        users = {e.trace_id: e.user_id for e in events}
        for arm in answer.arms:
            units = {e.unit_id: e.time for e in [*exposures, silent] if e.arm == arm.arm and e.unit_id != "user-0"}
            sums = [unit_sums(metric, unit, since, window.end, events, ratings, users) for unit, since in units.items()]
            assert arm.units == len(units)
            for place, (mean, m2) in enumerate(
                [(arm.numerator_mean, arm.numerator_m2), (arm.denominator_mean, arm.denominator_m2)]
            ):
                values = [pair[place] for pair in sums]
                average = sum(values) / len(values)
                assert mean == pytest.approx(average)
                assert m2 == pytest.approx(sum((value - average) ** 2 for value in values), abs=1e-9)
            means = [sum(pair[place] for pair in sums) / len(sums) for place in (0, 1)]
            cross = sum((x - means[0]) * (y - means[1]) for x, y in sums)
            assert arm.cross_m2 == pytest.approx(cross, abs=1e-9)
            assert arm.measured_units == sum(1 for _, y in sums if y)
        assert [arm.arm for arm in answer.arms] == ["a", "b"]


def unit_sums(
    metric: str,
    unit: str,
    since: datetime,
    end: datetime,
    events: list[Query],
    ratings: list[Feedback],
    users: dict[str, str],
) -> tuple[float, float]:
    """Numerator and denominator of one unit, from its first exposure to the end."""
    own = [e for e in events if e.user_id == unit and since <= e.time < end]
    if metric == "satisfaction":
        rated = [r.rating or 0.0 for r in ratings if users[r.trace_id] == unit and since <= r.time < end]
        return sum(rated), len(rated)
    if metric == "queries":
        return len(own), len(own)
    if metric == "error_rate":
        return sum(e.status == "error" for e in own), len(own)
    values = [e.cost if metric == "cost" else e.response_time for e in own]
    known = [value for value in values if value is not None]
    return sum(known), len(known)


class TestWatermark:
    def test_it_covers_what_is_loaded_and_never_goes_back(self, open_site: OpenSite) -> None:
        clock = ManualClock(START)
        site = open_site(clock=clock)
        assert site.store.watermark() == datetime(1970, 1, 1, tzinfo=UTC)
        site.append(queries(random.Random(1), 10, WEEK.start, WEEK.end))
        first = site.store.flush()
        assert first == START
        clock.step(-3600)  # the clock is set back
        site.append(queries(random.Random(2), 10, WEEK.start, WEEK.end, first=100))
        question = MetricQuery(metric="queries", window=WEEK)
        assert site.store.query(question).complete_to == first
        second = site.store.flush()
        assert second > first
        answer = site.store.query(question)
        assert (answer.value, answer.complete_to) == (20.0, second)

    def test_an_event_is_visible_when_the_watermark_has_passed_its_arrival(self, open_site: OpenSite) -> None:
        site = open_site()
        for number in range(5):
            site.append(queries(random.Random(number), 3, WEEK.start, WEEK.end, first=number * 3))
            site.clock.advance(1)  # type: ignore[attr-defined]
            site.store.flush()
            rows = site.store.events(EventQuery(kind="query", window=WEEK)).items
            assert len(rows) == 3 * number + 3
            assert max(row["received_at"] for row in rows) <= site.store.watermark()
