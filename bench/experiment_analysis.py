"""How long an experiment's metric takes: ten million exposures of 4.3 million units, and what they did on whole days.

Exposures and daily sums are made inside the engine by ``INSERT … SELECT … FROM numbers()``, into the tables that the
views keep up while events are loaded: 14 days of an experiment of two arms, in which each unit comes on two or three
days, and 14 days before it. There are no raw rows, so what an analysis reads of them (the day of each unit's exposure)
is measured apart, with a query for each of so many units; and so are the questions that both arms asked among these.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial

from msgspec import structs

from barograph.core.query import Window
from barograph.core.shared_questions import SharedQuery
from barograph.core.units import PopulationQuery, UnitQuery
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.store.engine import Engine
from barograph_client.clock import ManualClock, SystemClock
from bench.figure import Figure, Series
from bench.part import Run

UNITS = 4_300_000
EXPOSURES = 10_000_000
BEFORE = 4_000_000  # days of units in the fortnight before
RAW = 1_000_000  # queries on the day of the exposure
BLOCK = 500_000  # rows of one INSERT … SELECT
DAYS = 14
START = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=DAYS))
GOAL = 2.0  # seconds
PLAIN = "one metric"
RAW_NAME = "one metric, with raw rows on the day of exposure"
SHARED = "the same questions of both arms, among raw rows"

# The first exposures of all units, and then more of some on their later days. `u` is the unit, `d` its day.
_ROWS = f"""
SELECT number, if(number < {{units:UInt64}}, number, cityHash64(number) % {{units:UInt64}}) AS u,
    cityHash64(u, 1) % {DAYS} AS first_day,
    first_day + if(number < {{units:UInt64}}, 0, cityHash64(number, 2) % ({DAYS} - first_day)) AS d
FROM numbers({{from:UInt64}}, {{n:UInt64}})
"""
_UNIT = "sipHash64(concat('user-', toString(u)))"
EXPOSED = f"""
INSERT INTO exposed_unit (project, experiment, unit_kind, unit, arrived, first, least_arm, most_arm)
SELECT 'default', 'rerank', 'user', {_UNIT} AS unit, toDate({{start:Int64}} / 1000000 + d * 86400) AS arrived,
    min(fromUnixTimestamp64Micro(
        {{start:Int64}} + toInt64(d * 86400000000 + cityHash64(number, 3) % 86400000000), 'UTC')),
    if(cityHash64(u, 4) % 2 = 0, 'control', 'reranked') AS arm, arm
FROM ({_ROWS}) GROUP BY unit, arrived, u
"""
ACTIVE = f"""
INSERT INTO unit_day (project, unit_kind, kind, name, unit, day, arrived, n, n_response_time, total_response_time,
    n_cost, total_cost, n_input_tokens, total_input_tokens)
SELECT 'default', 'user', 'query', '', {_UNIT},
    toDate({{start:Int64}} / 1000000 + {{shift:Int64}} * 86400 + d * 86400) AS day, day,
    1 + cityHash64(number, 5) % 4 AS k, k, k * exp(0.5 + cityHash64(number, 6) % 1000000 / 1000000), k,
    k * exp(-6 + cityHash64(number, 7) % 1000000 / 1000000), k, k * 1000.
FROM ({_ROWS})
"""
ASKED = f"""
INSERT INTO query (time, received_at, event_id, user_id, status, response_time, documents, query, answer)
SELECT first + toIntervalSecond(1) AS t, t, concat('event-', toString(u)), concat('user-', toString(u)), 'ok',
    1 + cityHash64(u, 8) % 1000 / 1000, [],
    concat('How do I do what was asked before, ', toString(if(u % 3 = 0, cityHash64(u, 9) % 1000, u)), '?'),
    repeat('An answer has some sentences. ', 20)
FROM (SELECT number AS u, {_UNIT} AS unit FROM numbers({{from:UInt64}}, {{n:UInt64}})) AS q
INNER JOIN (SELECT unit, min(first) AS first FROM exposed_unit GROUP BY unit) AS e USING unit
"""


def measure(run: Run) -> Iterable[Figure]:
    """Seconds an answer takes, by what is asked."""
    units, exposures = run.count(UNITS, 100), run.count(EXPOSURES, 250)
    clock, wall, series = ManualClock(WINDOW.end), SystemClock(), Series()
    with DashboardInterface(run.directory / "data", clock=clock, environment={}, background=False) as dashboard:
        dashboard.flush()
        engine = Engine(dashboard.settings.engine, run.directory / "data" / "engine" / "chdb")
        engine.open()
        try:
            for sql, rows, shift in (
                (EXPOSED, exposures, 0),
                (ACTIVE, exposures, 0),
                (ACTIVE, run.count(BEFORE), -DAYS),
            ):
                _fill(run, engine, sql, rows, units=units, start=int(START.timestamp()) * 1_000_000, shift=shift)
            question = UnitQuery(experiment="rerank", metric="response_time.mean", window=WINDOW)
            asked = {
                PLAIN: question,
                "… by day of exposure": structs.replace(question, by="day"),
                "… by day of age": structs.replace(question, by="age"),
                "… with what was before (CUPED)": structs.replace(question, pre_days=14),
                "… capped at the 99th percentile": structs.replace(question, cap=0.99),
                "… in the first week of each unit": structs.replace(question, attribution_days=7.0),
            }
            store = dashboard.store
            everyone = sum(arm.units for arm in store.units(question).arms)
            if everyone != units:
                raise RuntimeError(f"{units} units were exposed and {everyone} are counted")

            def timed(name: str, ask: partial[object]) -> None:
                began = wall.monotonic()
                ask()
                series.add(name, "s", wall.monotonic() - began)

            for turn in range(run.rounds(5)):
                run.tell(f"questions, round {turn + 1}")
                for name, one in asked.items():
                    timed(name, partial(store.units, one))
                timed("100,000 units one by one", partial(store.unit_values, question, 100_000))
                timed("the whole population", partial(store.population, PopulationQuery(metric="cost", window=WINDOW)))
            _fill(run, engine, ASKED, run.count(RAW))
            for _ in range(run.rounds(3)):
                timed(RAW_NAME, partial(store.units, question))
                timed(SHARED, partial(store.shared_questions, SharedQuery(of=question, arms=("control", "reranked"))))
        finally:
            engine.close()
    return series.figures(at_most={PLAIN: GOAL})


def _fill(run: Run, engine: Engine, sql: str, rows: int, **values: int) -> None:
    for first in range(0, rows, BLOCK):
        number = min(BLOCK, rows - first)
        engine.command(
            f"{sql} SETTINGS max_insert_threads = 1, max_memory_usage = 0, async_insert = 0",
            {**values, "from": first, "n": number},
        )
        run.tell(f"{first + number:,} of {rows:,} rows made")
