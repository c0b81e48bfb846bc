"""Algebra that must hold for any events: rollups are raw, a rebuild is before, many batches are one."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.store.conftest import START
from tests.support.soak import times
from tests.support.store_site import Site, answers, assert_same_answer, at, queries

from barograph.core.event import AHEAD_SECONDS
from barograph.core.query import Filter, MetricQuery, Window
from barograph.store import loader
from barograph.store.schema import TIERS
from barograph.store.windows import RAW, bucket_start, bucket_windows, cover, tiers_for, zone
from barograph_client.clock import ManualClock

# An example takes a second or two, so a failing one is shown as it was drawn: making it smaller would take minutes.
SLOW = settings(
    max_examples=times(4, 40),
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
FIRST = at("2026-10-24 20:00")  # the night in which Berlin's clocks go back
LAST = FIRST + timedelta(hours=40)
METRICS = (
    "queries", "queries_per_minute", "cost", "cost_per_query", "error_rate", "no_answer_rate", "priced_rate",
    "tokens.input", "accuracy", "response_time.mean", "response_time.p50", "response_time.p95", "response_time.p99",
    "retrieval.top_score", "retrieval.empty_rate", "active_users", "sessions", "retrieval.distinct_documents",
)  # fmt: skip
_numbers = itertools.count(1)


@contextmanager
def site_on(address: str, **options: Any) -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder:
        database = f"property_{next(_numbers)}"
        site = Site(Path(folder), ManualClock(START), address=address, database=database, **options)
        try:
            yield site
        finally:
            site.discard()


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Any window near the events, to the microsecond or on the minute, from a moment to all of it."""
    step = draw(st.sampled_from([timedelta(microseconds=1), timedelta(minutes=1), timedelta(minutes=15)]))
    span = (LAST - FIRST + timedelta(hours=4)) // step
    begin = draw(st.integers(0, span - 1))
    end = draw(st.integers(begin + 1, span))
    return Window(FIRST - timedelta(hours=2) + begin * step, FIRST - timedelta(hours=2) + end * step)


@st.composite
def questions(draw: st.DrawFn) -> MetricQuery:
    by = draw(st.lists(st.sampled_from(["model", "pipeline", "environment", "status"]), max_size=2, unique=True))
    where = draw(
        st.lists(
            st.sampled_from(
                ["model:eq:large", "status:ne:ok", "pipeline:in:chat,search", "environment:match:^prod", "model:has:r"]
            ),
            max_size=2,
        )
    )
    every = draw(st.sampled_from([None, 60.0 * 7, 900.0, 3600.0, 86400.0, "day", "week", "month"]))
    return MetricQuery(
        metric=draw(st.sampled_from(METRICS)),
        window=draw(windows()),
        every=every,
        offset=draw(st.sampled_from([0, 1, 60, 300])) if isinstance(every, float) else 0,
        by=tuple(by),
        where=tuple(map(Filter.parse, where)),
        timezone=draw(
            st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
        ),
    )


@SLOW
@given(seed=st.integers(0, 2**32), asked=st.lists(questions(), min_size=25, max_size=25))
def test_rollups_equal_raw(embedded: str, seed: int, asked: list[MetricQuery]) -> None:
    chance = random.Random(seed)
    with site_on(embedded) as site:
        events = queries(chance, chance.randrange(1, 400), FIRST, LAST)
        for part in range(0, len(events), 97):
            site.append(events[part : part + 97])
            site.clock.advance(40_000)  # type: ignore[attr-defined]
            site.store.flush()
        oracle = site.oracle()
        for question in asked:
            rollup, raw = site.store.query(question), site.store.query_raw(question)
            sketched = question.metric.rpartition(".p")[2].isdigit()
            assert_same_answer(rollup, raw)  # percentiles too: they come from the same counts
            if question.metric not in ("active_users", "sessions"):
                assert_same_answer(raw, oracle.query(question), relative=0.008 if sketched else 1e-9)


@settings(SLOW, max_examples=times(3, 30))
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    block=st.integers(15, 50),
    rounds=st.sampled_from([200, 2**26]),
    segment=st.sampled_from([20_000, 2**26]),
)
def test_any_split_of_a_stream_equals_one_batch(
    embedded: str, seed: int, sizes: list[int], block: int, rounds: int, segment: int
) -> None:
    events = queries(random.Random(seed), sum(sizes), FIRST, LAST)
    window = Window(FIRST, LAST)
    asked = [
        MetricQuery(metric=metric, window=window, every=every, by=by)
        for metric in METRICS[::2]
        for every, by in ((None, ()), (3600.0, ()), (None, ("model", "status")))
    ]
    with site_on(embedded) as site:
        site.append(events)
        site.store.flush()
        whole = answers(site, asked)
    with pytest.MonkeyPatch.context() as patch, site_on(embedded, segment_bytes=segment) as site:
        patch.setattr(loader, "BLOCK_LINES", block)
        patch.setattr(loader, "ROUND_BYTES", rounds)
        start = 0
        for number, size in enumerate(sizes):
            site.append(events[start : start + size])
            start += size
            if number % 3 == 0:
                site.store.flush()
        site.store.flush()
        assert site.store.verify().ok
        assert_rows(answers(site, asked), whole)
        site.store.rebuild(START.date())
        assert_rows(answers(site, asked), whole)
        site.store.rebuild()
        assert_rows(answers(site, asked), whole)


def assert_rows(found: list[list[tuple[Any, ...]]], expected: list[list[tuple[Any, ...]]]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert [row[:3] for row in mine] == [row[:3] for row in theirs]
        for row, other in zip(mine, theirs, strict=True):
            assert row[3] == (None if other[3] is None else pytest.approx(other[3], rel=1e-9))


def test_nothing_arrives_a_day_before_its_time() -> None:
    """What ``filters.within`` relies on when it leaves out days of arrival."""
    assert AHEAD_SECONDS < 86_400


MICROS = st.integers(946_684_800_000_000, 1_900_000_000_000_000)


@settings(max_examples=300)
@given(
    a=MICROS, length=st.integers(1, 10**13), every=st.sampled_from([None, 60, 420, 900, 5400, 86400, "day", "month"])
)
def test_pieces_cover_a_window_exactly(a: int, length: int, every: Any) -> None:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=a)
    window = Window(start, start + timedelta(microseconds=length))
    tiers = tiers_for(every, window, zone("Asia/Kathmandu"))
    pieces = cover(window, tiers)
    assert pieces[0].window.start == window.start
    assert pieces[-1].window.end == window.end
    for piece, following in itertools.pairwise(pieces):
        assert piece.window.end == following.window.start
    for piece in pieces:
        if piece.table != RAW:
            for edge in (piece.window.start, piece.window.end):
                assert edge.microsecond == 0
                assert int(edge.timestamp()) % TIERS[piece.table] == 0
    if tiers:
        assert sum(piece.window.seconds for piece in pieces if piece.table == RAW) < 120


@settings(max_examples=200)
@given(
    a=MICROS,
    hours=st.integers(1, 24 * 70),
    every=st.sampled_from(["day", "week", "month"]),
    name=st.sampled_from(["Europe/Berlin", "Africa/Cairo", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_calendar_buckets_partition_a_window_at_local_midnights(a: int, hours: int, every: Any, name: str) -> None:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=a)
    window, place = Window(start, start + timedelta(hours=hours)), ZoneInfo(name)
    found = bucket_windows(window, every, place)
    assert (found[0].start, found[-1].end) == (window.start, window.end)
    for bucket, following in itertools.pairwise(found):
        assert bucket.end == following.start
        assert bucket_start(following.start, every, place) == following.start
        assert bucket_start(following.start - timedelta(microseconds=1), every, place) < following.start


def test_the_engine_s_calendar_is_ours(open_embedded: Any) -> None:
    """Where midnight does not exist or comes twice, both must still begin the day at the same moment."""
    site = open_embedded()
    for name, day in (
        ("Africa/Cairo", "2026-04-24 00:00"),
        ("America/Havana", "2026-11-01 00:00"),
        ("America/Havana", "2026-03-08 00:00"),
        ("Asia/Beirut", "2026-03-29 00:00"),
        ("Australia/Lord_Howe", "2026-04-05 00:00"),
        ("Europe/Berlin", "2026-03-29 00:00"),
    ):
        start = at(day) - timedelta(days=2)
        events = []
        for hour in range(24 * 4):
            begin = start + timedelta(hours=hour)
            events += queries(random.Random(hour), 1, begin, begin + timedelta(minutes=59), first=next(_numbers) * 1000)
        site.append(events)
        site.store.flush()
        window = Window(start, start + timedelta(days=4))
        for every in ("day", "week", "month"):
            question = MetricQuery(metric="queries", window=window, every=every, timezone=name)
            rows = site.store.query(question).rows
            assert sum(row.n for row in rows) >= len(events), (name, every)
            times = [record["time"] for record in site.recorded]
            for row in rows:
                assert row.n == sum(row.start <= time < row.end for time in times), (name, every, row)
            assert site.store.query_raw(question).rows == rows
