"""Timing a block: what a TimedQuery records of its stages, of the tasks and threads below it, and of errors."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timing_support import START, Bench

from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidInput
from barograph_client.timing import TimedQuery, current_query, stage


@pytest.fixture
def bench() -> Bench:
    return Bench()


# the block


def test_a_block_becomes_one_event_with_its_times_and_its_stages(bench: Bench) -> None:
    with bench.query(query="What is a barograph?", pipeline="help") as query:
        with query.stage("retrieval"):
            bench.clock.advance(0.8)
        with query.stage("generation"):
            bench.clock.advance(0.25)
            query.first_token()
            bench.clock.advance(1.25)
            query.first_token()
        query.answer, query.model, query.cost = "An instrument.", "small", 0.02
        query.documents = [{"id": "a", "rank": 1}]
        assert bench.events == []
    assert bench.event == {
        "query": "What is a barograph?",
        "pipeline": "help",
        "time": START,
        "trace_id": query.trace_id,
        "response_time": 2.3,
        "retrieval_time": 0.8,
        "generation_time": 1.5,
        "time_to_first_token": 1.05,
        "answer": "An instrument.",
        "model": "small",
        "cost": 0.02,
        "documents": [{"id": "a", "rank": 1}],
    }


def test_durations_do_not_follow_the_wall_clock(bench: Bench) -> None:
    with bench.query() as query, query.stage("retrieval"):
        bench.clock.advance(1)
        bench.clock.step(-300)
        bench.clock.advance(1)
    assert bench.times() == {"response_time": 2.0, "retrieval_time": 2.0}


def test_what_is_set_by_hand_wins_over_what_is_measured(bench: Bench) -> None:
    moment = datetime(2026, 11, 24, 8, 59, tzinfo=UTC)
    with bench.query(time=moment, trace_id="given", response_time=9.0) as query:
        with query.stage("retrieval"):
            bench.clock.advance(1)
        query.set(retrieval_time=0.5)
    assert query.trace_id == "given"
    assert (bench.event["time"], bench.event["trace_id"]) == (moment, "given")
    assert bench.times() == {"response_time": 9.0, "retrieval_time": 0.5}


def test_what_is_set_as_an_attribute_is_recorded_or_refused_at_once(bench: Bench) -> None:
    with bench.query(query="q") as query:
        query.accuracy_score, query.user_id, query.session_id = 0.9, "u-1", "s-1"
        misspelt = "acuracy_score"
        with pytest.raises(AttributeError):
            setattr(query, misspelt, 0.9)
    told = [bench.event[name] for name in ("accuracy_score", "user_id", "session_id")]
    assert told == [0.9, "u-1", "s-1"]


def test_another_name_of_a_field_replaces_the_field_and_stops_its_measurement(bench: Bench) -> None:
    with bench.query(latency_ms=1500, question="first", answer="old", timestamp=1_764_000_000) as query:
        bench.clock.advance(4)
        query.set(query="second", response="new")
        assert query.answer == "new"
    names = set(bench.event) - {"trace_id"}
    assert names == {"latency_ms", "query", "response", "timestamp"}


def test_tokens_of_several_model_calls_add_up(bench: Bench) -> None:
    with bench.query(prompt_tokens=5) as query:
        query.tokens(input=100, output=20)
        query.tokens(input=50, output=7, cached=40)
    assert [bench.event.get(n) for n in ("input_tokens", "output_tokens", "cached_tokens")] == [155, 27, 40]
    assert "prompt_tokens" not in bench.event


def test_the_trace_id_is_known_inside_and_is_the_one_recorded(bench: Bench) -> None:
    with bench.query() as query:
        inside = query.trace_id
    with bench.query() as other:
        pass
    assert inside == query.trace_id == bench.events[0]["trace_id"]
    assert inside != other.trace_id
    assert inside[14] == "7"


def test_a_stage_of_another_name_is_kept_as_a_tag(bench: Bench) -> None:
    with bench.query() as query, query.stage("guardrail"):
        bench.clock.advance(0.125)
    assert bench.event["guardrail_time"] == 0.125


def test_a_timed_query_times_one_query(bench: Bench) -> None:
    with bench.query() as query:
        pass
    with pytest.raises(InvalidInput, match="once"), query:
        pass
    query.set(answer="too late")
    assert "answer" not in bench.event


# stages that overlap


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 20)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=8
    )
)
def test_stages_of_one_name_count_the_union_of_their_intervals(intervals: list[tuple[int, int]]) -> None:
    bench = Bench()
    moments = [(end, 1, i) for i, (_, end) in enumerate(intervals)] + [
        (start, 0, i) for i, (start, _) in enumerate(intervals)
    ]
    with bench.query() as query:
        stages = [query.stage("retrieval") for _ in intervals]
        for moment, is_end, index in sorted(moments, key=lambda one: (one[0], one[1])):
            bench.clock.advance(moment - bench.clock.monotonic())
            if is_end:
                stages[index].__exit__(None, None, None)
            else:
                stages[index].__enter__()
    union = len({second for start, end in intervals for second in range(start, end)})
    assert bench.event.get("retrieval_time", 0.0) == pytest.approx(union)
    assert ("retrieval_time" in bench.event) == bool(intervals)


def test_threads_that_search_at_once_are_not_counted_twice(bench: Bench) -> None:
    inside, leave = threading.Barrier(5), threading.Barrier(5)

    def search() -> None:
        with stage("retrieval"):
            inside.wait(10)
            leave.wait(10)

    with bench.query() as query:
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(search,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        inside.wait(10)
        bench.clock.advance(3)
        leave.wait(10)
        for thread in threads:
            thread.join(10)
        with query.stage("retrieval"):
            bench.clock.advance(0.5)
    assert bench.times() == {"response_time": 3.5, "retrieval_time": 3.5}


def test_eight_threads_on_one_query_lose_no_token_and_no_stage() -> None:
    bench, rounds = Bench(), 300
    query = TimedQuery(bench.record, SystemClock(), {"time": START})

    def work() -> None:
        for _ in range(rounds):
            with query.stage("retrieval"):
                query.tokens(input=1)

    with query:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert bench.event["input_tokens"] == 8 * rounds
    retrieval, response = bench.event["retrieval_time"], bench.event["response_time"]
    assert isinstance(retrieval, float)
    assert isinstance(response, float)
    assert 0 < retrieval <= response


def test_a_stage_that_outlives_the_query_counts_up_to_its_end(bench: Bench) -> None:
    with bench.query() as query:
        late = query.stage("generation")
        late.__enter__()
        bench.clock.advance(2)
    bench.clock.advance(5)
    late.__exit__(None, None, None)
    assert bench.times() == {"response_time": 2.0, "generation_time": 2.0}


# the current query


def test_outside_of_a_query_a_stage_does_nothing() -> None:
    assert current_query() is None
    with stage("retrieval") as running:
        assert running is not None
    with pytest.raises(KeyError), stage("retrieval"):
        raise KeyError

    async def search() -> str:
        async with stage("retrieval"):
            return "found"

    assert asyncio.run(search()) == "found"


def test_a_stage_far_below_finds_the_innermost_query(bench: Bench) -> None:
    def search() -> None:
        with stage("retrieval"):
            bench.clock.advance(1)

    with bench.query(query="outer") as outer:
        with bench.query(query="inner"):
            search()
        search()
        search()
        assert current_query() is outer
    assert current_query() is None
    assert [(e["query"], e["retrieval_time"]) for e in bench.events] == [("inner", 1.0), ("outer", 2.0)]


def test_tasks_time_stages_of_the_query_that_started_them(bench: Bench) -> None:
    async def search(gate: asyncio.Event) -> None:
        async with stage("retrieval"):
            await gate.wait()

    async def answer(question: str) -> None:
        async with bench.query(query=question):
            gate = asyncio.Event()
            tasks = [asyncio.create_task(search(gate)) for _ in range(3)]
            await asyncio.sleep(0)
            bench.clock.advance(1)
            gate.set()
            await asyncio.gather(*tasks)

    async def main() -> None:
        await answer("one")
        await asyncio.gather(answer("two"), answer("three"))

    asyncio.run(main())
    assert current_query() is None
    by_question = {event["query"]: event for event in bench.events}
    assert by_question["one"]["retrieval_time"] == 1.0
    # Of the two that ran at once each saw the clock move once or twice; none counted its three searches one by one.
    assert all(by_question[question]["retrieval_time"] in (1.0, 2.0) for question in ("two", "three"))


def test_to_thread_carries_the_query_along(bench: Bench) -> None:
    def search() -> None:
        with stage("retrieval"):
            bench.clock.advance(2)

    async def main() -> None:
        async with bench.query():
            await asyncio.to_thread(search)

    asyncio.run(main())
    assert bench.event["retrieval_time"] == 2.0


# errors


def test_an_error_is_recorded_with_the_innermost_stage_and_goes_on(bench: Bench) -> None:
    with (
        pytest.raises(TimeoutError, match="index is slow") as caught,
        bench.query() as query,
        query.stage("generation"),
        query.stage("retrieval"),
    ):
        raise TimeoutError("index is slow")
    assert caught.value.args == ("index is slow",)
    assert bench.event["status"] == "error"
    assert bench.event["error_type"] == "TimeoutError"
    assert bench.event["error_message"] == "index is slow"
    assert bench.event["error_stage"] == "retrieval"


def test_an_error_outside_of_all_stages_names_none(bench: Bench) -> None:
    def answer() -> None:
        with bench.query() as query:
            with query.stage("retrieval"):
                pass
            raise ValueError("late")

    with pytest.raises(ValueError):
        answer()
    assert "error_stage" not in bench.event


def test_an_error_that_the_program_survived_is_not_the_one_that_failed_it(bench: Bench) -> None:
    def survived() -> None:
        try:
            with stage("rerank"):
                raise OSError("reranker down")
        except OSError:
            pass

    def answer(failing: str) -> None:
        with bench.query():
            survived()
            if failing:
                with stage(failing):
                    raise ValueError("model")
            raise ValueError("elsewhere")

    with bench.query():
        survived()
    with pytest.raises(ValueError, match="model"):
        answer("generation")
    with pytest.raises(ValueError, match="elsewhere"):
        answer("")
    assert [e.get("status") for e in bench.events] == [None, "error", "error"]
    assert [e.get("error_stage") for e in bench.events] == [None, "generation", None]


def test_a_wrapped_error_still_names_its_stage(bench: Bench) -> None:
    def answer() -> None:
        with bench.query():
            try:
                with stage("embedding"):
                    raise OSError("connection refused")
            except OSError as error:
                raise RuntimeError("could not answer") from error

    with pytest.raises(RuntimeError):
        answer()
    assert (bench.event["error_type"], bench.event["error_stage"]) == ("RuntimeError", "embedding")


def test_a_group_of_errors_names_the_stage_that_one_of_them_came_out_of(bench: Bench) -> None:
    async def search(works: bool) -> None:
        async with stage("retrieval"):
            await asyncio.sleep(0)
            if not works:
                raise LookupError("no such index")

    async def main() -> None:
        async with bench.query(), asyncio.TaskGroup() as group:
            group.create_task(search(True))
            group.create_task(search(False))

    with pytest.raises(ExceptionGroup):
        asyncio.run(main())
    assert (bench.event["error_type"], bench.event["error_stage"]) == ("ExceptionGroup", "retrieval")


def test_a_cancelled_query_is_recorded_and_stays_cancelled(bench: Bench) -> None:
    async def answer() -> None:
        async with bench.query(), stage("generation"):
            await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(answer())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (bench.event["error_type"], bench.event["error_stage"]) == ("CancelledError", "generation")


def test_an_error_that_cannot_be_told_is_still_recorded(bench: Bench) -> None:
    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(HostileError), bench.query():
        raise HostileError
    with pytest.raises(ValueError), bench.query():
        raise ValueError("half a pair \ud83d" + "x" * 10_000)
    assert "HostileError" in str(bench.events[0]["error_message"])
    assert str(bench.events[1]["error_message"]).startswith("half a pair \\ud83dxx")
    assert len(str(bench.events[1]["error_message"])) == 4096


def test_an_error_outweighs_a_success_that_was_claimed_before(bench: Bench) -> None:
    def answer() -> None:
        with bench.query(success=True) as query:
            query.set(error="still fine")
            raise ValueError("not fine")

    with pytest.raises(ValueError):
        answer()
    assert bench.event["status"] == "error"
    assert "success" not in bench.event
    assert bench.event["error"] == "still fine"


def broken(fields: Mapping[str, object]) -> object:
    raise OSError("disk full")


def test_a_failure_to_record_never_hides_the_programs_own_error(bench: Bench) -> None:
    with pytest.raises(ValueError, match="mine") as caught, TimedQuery(broken, bench.clock, {}):
        raise ValueError("mine")
    assert any("disk full" in note for note in caught.value.__notes__)


def test_a_failure_to_record_is_raised_when_there_is_no_other_error(bench: Bench) -> None:
    with pytest.raises(OSError, match="disk full"), TimedQuery(broken, bench.clock, {}):
        pass
    assert current_query() is None


def test_a_recorded_error_keeps_no_frame_alive(bench: Bench) -> None:
    class Big:
        pass

    def fail(query: TimedQuery) -> None:
        big = Big()
        with query.stage("generation"):
            raise ValueError(repr(big))

    query = bench.query()
    with pytest.raises(ValueError), query:
        fail(query)
    gc.collect()
    assert not any(isinstance(one, Big) for one in gc.get_objects())
