"""The store's care for what it holds, on both engines: verified, made again, retired, attributed, never doubled."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.store.conftest import START, OpenSite, opener
from tests.store.week_of_events import UNALIGNED, WEEK, own_metrics, week_of_events
from tests.support.store_site import Site, answers, assert_same_answer, at, queries

from barograph.core.event import Exposure, Feedback, Query, Score
from barograph.core.query import EventQuery, MetricQuery, Window
from barograph.core.units import UnitQuery
from barograph_client.clock import ManualClock

QUESTIONS = tuple(
    MetricQuery(metric=metric, window=window, by=by, every=every)
    for metric in (
        "queries",
        "cost",
        "response_time.p95",
        "satisfaction",
        "active_users",
        "retrieval.distinct_documents",
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


class Kept(NamedTuple):
    """A site and what it answered when nothing had been done to it."""

    site: Site
    answers: list[Any]
    units: list[Any]


def four_days(open_site: OpenSite) -> Site:
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


def units(site: Site) -> list[Any]:
    answer = site.store.units(UnitQuery(experiment="reranker", metric="response_time.mean", window=WEEK))
    found = []
    for arm in answer.arms:
        values = [*msgspec.structs.astuple(arm), *(arm.cubes or ())]
        found.append([float(f"{one:.9g}") if isinstance(one, float) else one for one in values if one != arm.cubes])
    return found


@pytest.fixture(scope="module")
def kept(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A site, and what it answered at first: every test leaves it with the same answers."""
    open_it, opened = opener(tmp_path_factory.mktemp("kept"), address)
    site = four_days(open_it)
    yield Kept(site, answers(site, QUESTIONS), units(site))
    for one in opened:
        one.discard()


class TestCare:
    """Verification, rebuilding, retention: the answers stay what they were."""

    def test_verification_agrees_with_the_journal(self, kept: Kept) -> None:
        report = kept.site.store.verify()
        assert report.ok
        assert report.journal == report.engine
        assert sum(report.journal.values()) == kept.site.journal.count()
        assert report.days == 5

    def test_a_rebuild_gives_the_same_answers(self, kept: Kept) -> None:
        lines = kept.site.journal.count()
        assert kept.site.store.rebuild().ok
        assert same(answers(kept.site, QUESTIONS), kept.answers)
        assert units(kept.site) == kept.units
        assert kept.site.journal.count() == lines  # nothing was decided again

    def test_a_rebuilt_day_gives_the_same_answers(self, kept: Kept) -> None:
        for day in (date(2026, 10, 31), date(2026, 11, 2)):
            assert kept.site.store.rebuild(day).ok
        assert same(answers(kept.site, QUESTIONS), kept.answers)
        assert units(kept.site) == kept.units

    def test_a_day_that_was_damaged_is_found_and_made_again(self, kept: Kept) -> None:
        store, engine = kept.site.store, kept.site.store._engine
        engine.command("ALTER TABLE query DELETE WHERE arrived = '2026-10-31' AND event_id LIKE '%7'")
        engine.command("ALTER TABLE measure_15m DELETE WHERE arrived = '2026-11-01' AND name = ''")
        engine.command("ALTER TABLE unit_day DELETE WHERE arrived = '2026-11-02' AND kind = 'query'")
        engine.command("ALTER TABLE trace_place DELETE WHERE arrived = '2026-11-02' AND trace % 5 = 0")
        report = store.verify()
        assert not report.ok
        assert {(difference.day, difference.table) for difference in report.differences} >= {
            (date(2026, 10, 31), "query"),
            (date(2026, 11, 1), "measure_15m"),
            (date(2026, 11, 2), "unit_day"),
            (date(2026, 11, 2), "trace_place"),
        }
        for difference in report.differences:
            assert str(difference.day) in str(difference)
            assert difference.table in str(difference)
        for day in {difference.day for difference in report.differences}:
            store.rebuild(day)
        assert store.verify().ok
        assert same(answers(kept.site, QUESTIONS), kept.answers)

    def test_archived_days_are_loaded_like_others(self, kept: Kept) -> None:
        assert kept.site.store.compress_closed() > 4
        assert kept.site.store.rebuild().ok
        assert same(answers(kept.site, QUESTIONS), kept.answers)

    def test_what_was_retired_stays_in_the_answers_and_in_a_rebuild(self, open_site: OpenSite) -> None:
        site = four_days(open_site)
        before = answers(site, QUESTIONS)
        stored = site.journal.account().stored
        pruned = site.store.prune(timedelta(days=2), ("query", "feedback", "score", "system", "attribution"))
        assert {(one.kind, one.day) for one in pruned} >= {("query", date(2026, 10, 30)), ("query", date(2026, 10, 31))}
        assert site.journal.account().stored == stored
        assert same(answers(site, QUESTIONS), before)
        assert site.store.verify().ok
        assert site.store.rebuild().ok
        assert same(answers(site, QUESTIONS), before)
        assert site.store.rebuild(date(2026, 10, 31)).ok
        assert site.store.rebuild(date(2026, 11, 2)).ok
        assert same(answers(site, QUESTIONS), before)
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

    def test_a_store_goes_on_where_the_last_one_ended_or_makes_a_torn_schema_again(self, open_site: OpenSite) -> None:
        site = four_days(open_site)
        before = answers(site, QUESTIONS)
        options = {"clock": site.clock, "database": site.store._engine.database, "catalogue": site.catalogue}
        site.close()
        again = open_site(site.directory, **options)
        again.store.flush()
        assert again.store._loader.bytes_loaded == 0
        assert same(answers(again, QUESTIONS), before)
        assert again.store.rebuild(date(2026, 10, 31)).ok
        again.recorded += site.recorded
        again.append(queries(random.Random(5), 50, WEEK.start, WEEK.end, first=5000))
        again.store.flush()
        assert again.store.verify().ok
        cost = MetricQuery(metric="cost", window=WEEK)
        assert_same_answer(again.store.query(cost), again.oracle().query(cost))
        before = answers(again, QUESTIONS)
        again.store._engine.command("ALTER TABLE schema_version DELETE WHERE done AND version > 3")  # were cut off
        again.close()
        whole = open_site(site.directory, **options)
        whole.store.flush()
        assert whole.store._loader.bytes_loaded > 0  # by a migration that was cut off, everything is made again
        assert same(answers(whole, QUESTIONS), before)


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

    def test_one_flush_is_enough_also_where_the_journal_syncs_by_interval(self, open_site: OpenSite) -> None:
        moment = START - timedelta(hours=1)
        site = open_site(durability="interval")

        def models() -> set[str]:
            rows = site.store.events(EventQuery(kind="attribution", window=Window(moment, START))).items
            return {row["model"] for row in rows}

        for number, model in enumerate(("small", "large")):  # found by the start, and from memory
            name = str(number)
            site.append([Query(event_id=f"q{name}", time=moment, trace_id=name, model=model)])
            site.append([Feedback(event_id=f"f{name}", time=moment, trace_id=name, rating=5.0)])
            site.store.flush()
            assert model in models()


class TestWatermark:
    def test_it_covers_what_is_loaded_and_never_goes_back(self, open_site: OpenSite) -> None:
        clock = ManualClock(START)
        site = open_site(clock=clock)
        assert site.store.watermark() == datetime(1970, 1, 1, tzinfo=UTC)
        site.append(queries(random.Random(1), 10, WEEK.start, WEEK.end))
        first = site.store.flush()
        assert START <= first < START + timedelta(milliseconds=1)  # the clock stands still, but no two moments are one
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
