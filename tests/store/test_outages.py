"""A remote engine that is away, cuts requests or swallows replies: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.store.conftest import START
from tests.support.clickhouse_server import ClickHouseServer
from tests.support.soak import times
from tests.support.store_site import Site, queries

from barograph.core.event import Event, Feedback
from barograph.core.query import EventQuery, MetricQuery, Window
from barograph.core.units import UnitQuery
from barograph.store import loader
from barograph_client.clock import ManualClock, SystemClock
from barograph_client.errors import EngineUnavailable

WINDOW = Window(START - timedelta(days=2), START)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ClickHouseServer]:
    with ClickHouseServer(tmp_path / "server") as running:
        yield running


def mixed(chance: random.Random, count: int, first: int) -> list[Event]:
    events: list[Event] = list(queries(chance, count, WINDOW.start, WINDOW.end, first=first))
    events += [
        Feedback(event_id=f"f-{first + n}", time=WINDOW.start, trace_id=f"trace-{first + n}", rating=float(n % 5 + 1))
        for n in range(0, count, 5)
    ]
    chance.shuffle(events)
    return events


def assert_exact(site: Site) -> None:
    """What Python adds up from the events is what the engine says, in every tier."""
    site.store.flush()
    report = site.store.verify()
    assert report.ok, [str(difference) for difference in report.differences]
    for metric in ("queries", "cost", "tokens.input", "feedback", "satisfaction"):
        for window in (WINDOW, Window(WINDOW.start + timedelta(minutes=7), WINDOW.end - timedelta(seconds=1.5))):
            question = MetricQuery(metric=metric, window=window)
            expected = site.oracle().query(question)
            for answer in (site.store.query(question), site.store.query_raw(question)):
                assert answer.n == expected.n
                assert answer.value == pytest.approx(expected.value)


def test_an_outage_of_an_hour_costs_a_delay_and_no_event(own_server: ClickHouseServer, tmp_path: Path) -> None:
    chance, clock = random.Random(1), ManualClock(START)
    with Site(tmp_path / "data", clock, address=own_server.address) as site:
        site.append(mixed(chance, 50, 0))
        complete_to = site.store.flush()
        own_server.kill()
        for minute in range(60):
            site.append(mixed(chance, 10, 100 + 10 * minute))  # acknowledged all the time
            clock.advance(60)
            if minute % 20 == 0:
                with pytest.raises(EngineUnavailable):
                    site.store.flush()
        asks = (
            lambda: site.store.query(MetricQuery(metric="queries", window=WINDOW)),
            lambda: site.store.events(EventQuery(kind="query", window=WINDOW)),
            lambda: site.store.units(UnitQuery(experiment="x", metric="queries", window=WINDOW)),
            lambda: site.store.verify(),
        )
        for ask in asks:
            with pytest.raises(EngineUnavailable, match="journaled is safe"):
                ask()
        assert site.store.watermark() == complete_to
        assert site.store.health().bytes_behind > 0
        own_server.start()
        assert_exact(site)
        assert site.store.watermark() >= START + timedelta(hours=1)


def test_a_store_that_starts_before_its_engine_answers_when_it_comes(
    own_server: ClickHouseServer, tmp_path: Path
) -> None:
    own_server.kill()
    with Site(tmp_path / "data", SystemClock(), address=own_server.address, load_interval=0.02) as site:
        site.append(mixed(random.Random(2), 50, 0))
        site.store.start()
        wait_for(lambda: site.store.health().problem != "")
        assert "journaled is safe" in site.store.health().problem
        with pytest.raises(EngineUnavailable):
            site.store.query(MetricQuery(metric="queries", window=WINDOW))
        own_server.start()
        wait_for(lambda: site.store.health().problem == "" and site.store.health().ready)
        assert_exact(site)


@pytest.mark.parametrize("seed", range(times(2, 10)))
def test_lost_replies_cut_requests_and_refusals_lose_and_double_nothing(
    own_server: ClickHouseServer, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "BLOCK_LINES", 40)
    chance, clock = random.Random(seed), ManualClock(START)
    with Site(tmp_path / "data", clock, address=own_server.address, segment_bytes=30_000) as site:
        site.store.flush()
        failures = 0
        for number in range(4):
            site.append(mixed(chance, 150, 1000 * number))
            faults = chance.choice(
                [
                    {"lose_reply_rate": 0.6}, {"fail_rate": 0.6}, {"drop_after_bytes": chance.randrange(500, 20_000)},
                    {"lose_reply_rate": 0.3, "fail_rate": 0.3, "drop_after_bytes": 9000},
                ]
            )  # fmt: skip
            own_server.faults(match="INSERT INTO (query|feedback|attribution)", count=chance.randrange(2, 9), **faults)
            for _ in range(20):
                try:
                    site.store.flush()
                    break
                except EngineUnavailable:
                    failures += 1
            if chance.random() < 0.5:
                own_server.kill()
                own_server.start()
        injected = own_server.faults()
        assert failures or injected
        assert_exact(site)


def test_faults_while_a_day_is_made_again_leave_it_whole(own_server: ClickHouseServer, tmp_path: Path) -> None:
    chance, clock = random.Random(9), ManualClock(START)
    with Site(tmp_path / "data", clock, address=own_server.address) as site:
        for number in range(3):
            site.append(mixed(chance, 60, 1000 * number))
            clock.advance(86400)
        site.store.flush()
        for match in ("REPLACE PARTITION", "INSERT INTO unit_day"):
            for fault in ("fail_rate", "lose_reply_rate"):
                own_server.faults(match=match, count=1, **{fault: 1.0})
                try:
                    site.store.rebuild(START.date())
                except EngineUnavailable:
                    own_server.faults()
                assert_exact(site)
                site.append(mixed(chance, 5, chance.randrange(10**7)))


def wait_for(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
