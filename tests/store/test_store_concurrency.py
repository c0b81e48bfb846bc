"""Eight writers and two readers at once: the account is exact, and no answer is ever wrong behind its watermark."""

from __future__ import annotations

import bisect
import random
import threading
import time
from datetime import datetime, timedelta

import pytest
from tests.store.conftest import START, OpenSite
from tests.support.store_site import queries

from barograph.core.event import Metric
from barograph.core.query import EventQuery, Filter, MetricQuery, Window
from barograph_client.clock import SystemClock
from barograph_client.errors import EngineUnavailable, InvalidQuery, QueryTooExpensive

WINDOW = Window(START - timedelta(days=2, hours=1, seconds=7.25), START + timedelta(seconds=3))
WRITERS, BATCHES = 8, 60


def test_no_reader_ever_sees_a_wrong_sum(open_site: OpenSite) -> None:
    """Each batch adds pairs that are zero together; what was acknowledged before the watermark is in the answer.

    The two of a pair happened at different times, so that different tiers hold them: a block that is in one of the
    tables and not yet in the next would show.
    """
    site = open_site(clock=SystemClock(), load_interval=0.01)
    site.store.start()
    wrong: list[object] = []
    acknowledged: list[datetime] = []
    lock, done = threading.Lock(), threading.Event()

    def write(thread: int) -> None:
        chance = random.Random(thread)
        for number in range(BATCHES):
            value = chance.choice((0.5, 1.0, 1000.25))
            pair = [
                Metric(
                    event_id=f"{thread}-{number}-{sign}",
                    time=WINDOW.start + timedelta(seconds=chance.choice((0, 3600, 48 * 3600)) + chance.random() * 3600),
                    name="balance",
                    value=sign * value,
                    model="ab"[sign > 0],
                )
                for sign in (1, -1)
            ]
            site.append(pair)
            if number % 3 == 0:
                site.append(pair)  # a retry
            with lock:
                acknowledged.append(site.clock.now())
            time.sleep(chance.random() * 0.02)

    def read(by: tuple[str, ...]) -> None:
        seen = 0
        while not done.is_set():
            try:
                answer = site.store.query(MetricQuery(metric="metric.balance", window=WINDOW, by=by))
            except EngineUnavailable as error:
                wrong.append(error)
                return
            total = sum((row.value or 0.0) * row.n for row in answer.rows)
            with lock:
                before = bisect.bisect_right(sorted(acknowledged), answer.complete_to)
            if abs(total) > 1e-6 or answer.n % 2 or answer.n < max(seen, 2 * before):
                wrong.append((total, answer.n, seen, before))
            seen = answer.n

    writers = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    readers = [threading.Thread(target=read, args=(by,)) for by in ((), ("model",))]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join()
    site.store.flush()
    done.set()
    for thread in readers:
        thread.join()
    assert not wrong
    account = site.journal.account()
    repeated = 2 * WRITERS * len(range(0, BATCHES, 3))
    assert (account.stored, account.duplicate) == (2 * WRITERS * BATCHES, repeated)
    assert account.received == account.stored + account.duplicate
    assert site.store.query(MetricQuery(metric="metric.balance", window=WINDOW)).n == account.stored
    assert site.store.verify().ok


def test_a_block_is_in_all_tables_of_an_answer_or_in_none(open_site: OpenSite) -> None:
    """Large blocks, whose pairs lie in different tiers: the engine is long between one table and the next."""
    site = open_site(clock=SystemClock(), load_interval=0.01)
    site.store.start()
    chance, done, wrong, asked = random.Random(1), threading.Event(), [], 0

    def read() -> None:
        nonlocal asked
        while not done.is_set():
            answer = site.store.query(MetricQuery(metric="metric.balance", window=WINDOW))
            asked += 1
            if answer.n % 2 or abs((answer.value or 0.0) * answer.n) > 1e-6:
                wrong.append((answer.n, answer.value))

    def at(hours: tuple[float, ...]) -> datetime:
        return WINDOW.start + timedelta(hours=chance.choice(hours) + 0.4 * chance.random())

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for batch in range(12):
        pairs = [((1, at((0.0, 0.5))), (-1, at((2.0, 40.0)))) for _ in range(2000)]
        site.append(
            Metric(event_id=f"{batch}-{number}-{sign}", time=moment, name="balance", value=float(sign))
            for number, pair in enumerate(pairs)
            for sign, moment in pair
        )
        site.store.flush()
    done.set()
    for thread in readers:
        thread.join()
    assert not wrong
    assert asked > 4
    assert site.store.query(MetricQuery(metric="metric.balance", window=WINDOW)).n == 12 * 4000


def test_one_trace_is_found_while_a_block_is_being_loaded(open_site: OpenSite) -> None:
    """A large block takes the engine half a second; who looks one trace up, or a page of spans, is not kept so long."""
    site = open_site()
    events = list(queries(random.Random(2), 40, START - timedelta(days=1), START))
    site.append(events)
    site.store.flush()
    wanted = Filter("trace_id", "eq", (events[7].trace_id,))
    found: list[list[str]] = []

    def ask() -> None:
        page = site.store.events(EventQuery(kind="query", window=WINDOW, where=(wanted,)))
        found.append([row["event_id"] for row in page.items])
        found.append([row["event_id"] for row in site.store.events(EventQuery(kind="span", window=WINDOW)).items])

    with site.store._engine.changing():  # as a block that is on its way holds it
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join(30)
        assert not asking.is_alive()
    assert found == [[events[7].event_id], []]


def test_a_question_over_its_limits_is_refused_and_the_next_one_answered(open_site: OpenSite) -> None:
    site = open_site(query_rows=50, query_memory=8 * 2**20, query_seconds=1.5)
    site.append(queries(random.Random(1), 300, START - timedelta(days=1), START))
    site.store.flush()
    for number in range(6):  # more often than there are connections
        with pytest.raises(QueryTooExpensive) as told:
            site.store._engine.select("SELECT number FROM numbers(1000)")
        assert told.value.hint
        with pytest.raises(QueryTooExpensive):
            site.store._engine.select("SELECT groupArray(number) FROM numbers(100000000)")
        if number == 0:  # this one keeps a core busy for as long as it may
            endless = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1 SETTINGS max_threads = 1"
            with pytest.raises(QueryTooExpensive):
                site.store._engine.select(endless)
        with pytest.raises(InvalidQuery):
            site.store.query(MetricQuery(metric="cost", window=WINDOW, where=(Filter("model", "match", ("(?=a)",)),)))
        assert site.store.query(MetricQuery(metric="queries", window=WINDOW)).value == 300


def test_closing_waits_for_the_questions_and_refuses_the_next(open_site: OpenSite) -> None:
    site = open_site(query_seconds=30)
    site.append(queries(random.Random(1), 50, START - timedelta(days=1), START))
    site.store.flush()
    said: list[object] = []

    def ask() -> None:
        while True:
            try:
                said.append(site.store.query(MetricQuery(metric="queries", window=WINDOW)).value)
            except EngineUnavailable as error:
                said.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(said) < 20:
        time.sleep(0.01)
    site.store.close()
    for thread in threads:
        thread.join()
    assert {one for one in said if isinstance(one, float)} == {50.0}
    assert sum(isinstance(one, EngineUnavailable) for one in said) == 8
    with pytest.raises(EngineUnavailable):
        site.store.flush()
