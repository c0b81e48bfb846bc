"""How long questions take: a panel and a page over 30 days from rollups, the same from raw rows, a trace by its id.

One million events go through the collector and the journal, as they would have over 30 days: the clock is moved with
them, so there is a partition for each day. Twenty million are made inside the engine by ``INSERT … SELECT … FROM
numbers()``, in blocks ordered by time, into the ``query`` table with its views: 36 label sets, five documents.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from barograph.core.query import EventQuery, Filter, MetricQuery, Window
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.store.engine import Engine
from barograph_client.clock import ManualClock, SystemClock
from barograph_client.errors import InvalidEvent
from bench.figure import Figure, Series
from bench.load import EventDict, Load, in_batches, trace_id
from bench.part import Run

MILLION = 1_000_000
BLOCK = 250_000  # rows of one INSERT … SELECT
BATCH = 10_000  # events of one record_many
DAYS = 30
HOUR = 3600.0
END = datetime(2026, 11, 1, tzinfo=UTC)
START = END - timedelta(days=DAYS)
PANEL = ("response_time.p50", "response_time.p95", "response_time.p99", "queries", "cost")
PANEL_NAME = "hourly p50, p95, p99, count and cost, 30 days: five questions as a panel asks them"
PAGE_NAME, TRACE_NAME = "the whole overview page, 30 days", "a trace by its id"
RAW_NAME = "the five questions from raw rows"
GOALS = {PANEL_NAME: 100.0, PAGE_NAME: 300.0, TRACE_NAME: 50.0}  # ms

# Numbers as in `load`, drawn by hashing the row's number: the same rows every time. {from}, {n} and {all} are
# server-side parameters of the statement.
_h = "(cityHash64(number, {salt}) % 1000000 / 1000000)"
FILL = f"""
INSERT INTO query (time, received_at, event_id, trace_id, session_id, user_id, query, pipeline, environment, model,
    provider, status, response_time, retrieval_time, generation_time, time_to_first_token, input_tokens, output_tokens,
    cost, accuracy_score, document_count, documents)
SELECT
    fromUnixTimestamp64Micro({{start:Int64}} + toInt64({{span:Int64}} / {{all:Int64}} * number), 'UTC') AS t, t,
    concat('event-', toString(number)), lower(hex(sipHash128(number))), hex(cityHash64(intDiv(number, 3))),
    concat('user-', toString(toUInt32(5000 * pow({_h.format(salt=1)}, 2)))),
    concat('question number ', toString(cityHash64(number, 2) % 100000)),
    multiIf({_h.format(salt=3)} < 0.6, 'chat', {_h.format(salt=3)} < 0.9, 'search', 'assist'),
    if({_h.format(salt=4)} < 0.9, 'production', 'staging'),
    if({_h.format(salt=5)} < 0.7, 'gpt-4o-mini', 'claude-haiku'), '',
    multiIf({_h.format(salt=6)} < 0.93, 'ok', {_h.format(salt=6)} < 0.97, 'no_answer', 'error'),
    exp(0.5 + 0.6 * {_h.format(salt=7)}), exp(-1.5 + {_h.format(salt=8)}), exp(0.3 + {_h.format(salt=9)}),
    exp(-0.7 + {_h.format(salt=10)}), toUInt32(exp(7 + {_h.format(salt=11)})), toUInt32(exp(5 + {_h.format(salt=12)})),
    exp(-6 + {_h.format(salt=13)}), round({_h.format(salt=14)}, 2), 5,
    arrayMap(r -> (concat('passage-', toString(cityHash64(number, r) % 20000)), '', if(r % 2 = 1, 'dense', 'bm25'),
        toNullable(toUInt32(r)), toNullable(toFloat64(cityHash64(number, r, 1) % 10000 / 10000)), NULL, NULL,
        toNullable(r <= 3), NULL, ''), [1, 2, 3, 4, 5])
FROM numbers({{from:UInt64}}, {{n:UInt64}})
SETTINGS max_insert_threads = 1, min_insert_block_size_rows = 1000000, async_insert = 0
"""


def million(run: Run) -> Iterable[Figure]:
    """A million events through the collector, the journal and the loader."""
    number = run.count(MILLION, 200)
    with _dashboard(run, ManualClock(START)) as (dashboard, clock):
        load, wall = Load(5, documents=True), SystemClock()
        began, told = wall.monotonic(), 0
        for batch in in_batches(load.over(number, START, END), BATCH):
            last = batch[-1]["time"]
            assert isinstance(last, datetime)
            clock.advance((last - clock.now()).total_seconds())
            _record(dashboard, batch)
            told += len(batch)
            if told % 100_000 == 0:
                run.tell(f"{told:,} recorded")
                dashboard.flush()
        dashboard.flush()
        clock.advance((END - clock.now()).total_seconds())
        seconds = wall.monotonic() - began
        figures = list(_ask(run, dashboard, number, trace_id, rounds=15))
    yield Figure(name="made and loaded, 30 days of load", unit="events/s", samples=(number / seconds,))
    yield from figures


def twenty_million(run: Run) -> Iterable[Figure]:
    """Twenty million rows made inside the engine."""
    number = run.count(20 * MILLION, 1000)
    with _dashboard(run, ManualClock(END)) as (dashboard, _):
        dashboard.flush()
        engine = Engine(dashboard.settings.engine, run.directory / "data" / "engine" / "chdb")
        engine.open()
        wall = SystemClock()
        began = wall.monotonic()
        for first in range(0, number, BLOCK):
            rows = min(BLOCK, number - first)
            span = (END - START) // timedelta(microseconds=1)
            start = int(START.timestamp()) * 1_000_000
            engine.command(FILL, {"start": start, "span": span, "all": number, "from": first, "n": rows})
            run.tell(f"{first + rows:,} rows made")
        seconds = wall.monotonic() - began

        def trace_of(at: int) -> str:
            return str(engine.select("SELECT lower(hex(sipHash128({n:UInt64}))) AS id", {"n": at})[0]["id"])

        figures = list(_ask(run, dashboard, number, trace_of, rounds=9))
        engine.close()
    yield Figure(name="made inside the engine, rollups included", unit="rows/s", samples=(number / seconds,))
    yield from figures


@contextmanager
def _dashboard(run: Run, clock: ManualClock) -> Iterator[tuple[DashboardInterface, ManualClock]]:
    """Without background threads: the clock is moved by hand, and nothing else shall run while questions are timed."""
    directory = run.directory / "data"
    with DashboardInterface(directory, clock=clock, environment={}, background=False) as dashboard:
        yield dashboard, clock


def _record(dashboard: DashboardInterface, batch: list[EventDict]) -> None:
    for result in dashboard.collector.record_many(batch, "query"):
        if isinstance(result, InvalidEvent):
            raise result


def _ask(
    run: Run, dashboard: DashboardInterface, number: int, trace_of: Callable[[int], str], rounds: int
) -> Iterable[Figure]:
    series, wall, window = Series(), SystemClock(), Window(START, END)
    store, chance = dashboard.store, random.Random(6)
    panel = [MetricQuery(metric=metric, window=window, every=HOUR) for metric in PANEL]
    by_user = MetricQuery(metric="queries", window=window, by=("user_id",), limit=10)
    by_model = MetricQuery(metric="response_time.p95", window=window, by=("model",), limit=10)

    def timed(name: str, ask: Callable[[], object]) -> float:
        began = wall.monotonic()
        ask()
        taken = 1000 * (wall.monotonic() - began)
        series.add(name, "ms", taken)
        return taken

    counted = store.query(MetricQuery(metric="queries", window=window)).value
    if counted != number:
        raise RuntimeError(f"{number} events were recorded and {counted} are counted")
    for turn in range(run.rounds(rounds)):
        run.tell(f"questions, round {turn + 1}")
        fast = timed(PANEL_NAME, lambda: store.query_many(panel))
        timed("the same, one question after the other", lambda: [store.query(question) for question in panel])
        timed("hourly p95, 30 days: one question", lambda: store.query(panel[1]))
        timed("p95 by model, 30 days", lambda: store.query(by_model))
        timed(PAGE_NAME, lambda: dashboard.render("overview", window=window))
        wanted = trace_of(chance.randrange(number))
        question = EventQuery(kind="query", window=window, where=(Filter("trace_id", "eq", (wanted,)),), limit=10)
        if len(store.events(question).items) != 1:
            raise RuntimeError(f"the trace {wanted} was not found")
        wanted = trace_of(chance.randrange(number))  # another, so that nothing of it was read before
        question = EventQuery(kind="query", window=window, where=(Filter("trace_id", "eq", (wanted,)),), limit=10)
        timed(TRACE_NAME, partial(store.events, question))
        if turn < run.rounds(5):
            slow = timed(RAW_NAME, lambda: [store.query_raw(question) for question in panel])
            series.add("raw rows over rollups, the five questions", "x", slow / fast)
            timed("the ten users with most queries, 30 days (raw rows)", lambda: store.query(by_user))
    return series.figures(at_most=GOALS)
