"""The decorator: what is recorded of functions of every kind, and that they behave as they did without it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator

import pytest
from timing_support import START, Bench

from barograph_client.timing import current_query, stage, timed


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_plain_function_is_timed_and_its_text_is_the_answer(bench: Bench) -> None:
    @timed(bench.record, bench.clock, pipeline="help")
    def answer(top: int, question: str, style: str = "short") -> str:
        """Answers."""
        with stage("retrieval"):
            bench.clock.advance(1)
        return f"{question}: {top}"

    assert answer(3, "why?") == "why?: 3"
    assert (answer.__name__, answer.__doc__) == ("answer", "Answers.")
    event = bench.event
    assert (event["query"], event["answer"], event["pipeline"]) == ("why?", "why?: 3", "help")
    assert bench.times() == {"response_time": 1.0, "retrieval_time": 1.0}


def test_the_query_is_the_first_text_in_the_order_of_the_parameters(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    def answer(question: str, user: str) -> None: ...

    class App:
        @timed(bench.record, bench.clock)
        def answer(self, question: str) -> None: ...

    answer(user="u1", question="why?")
    App().answer("how?")
    assert [event["query"] for event in bench.events] == ["why?", "how?"]


def test_a_query_that_was_given_is_not_replaced_by_an_argument(bench: Bench) -> None:
    def answer(question: str) -> None: ...

    timed(bench.record, bench.clock, query="given")(answer)("argument")
    timed(bench.record, bench.clock, question="alias")(answer)("argument")
    assert [(event.get("query"), event.get("question")) for event in bench.events] == [
        ("given", None),
        (None, "alias"),
    ]


def test_a_dictionary_that_is_returned_fills_the_fields_it_knows(bench: Bench) -> None:
    result: dict[str, object] = {
        "response": "42",
        "trace_id": "t1",
        "cost": 0.5,
        "prompt_tokens": 10,
        "contexts": ["a passage", {"id": "b"}],
        "model": "large",
        "status": 200,
        "session_id": 7,
        "input_tokens": True,
        "headers": {"x": "y"},
        "time": "now",
        "event_id": "mine",
    }

    @timed(bench.record, bench.clock, model="small")
    def answer(question: str) -> dict[str, object]:
        bench.clock.advance(1)
        return result

    assert answer("q") is result
    event = bench.event
    assert set(event) == {
        "query", "response", "trace_id", "cost", "prompt_tokens", "contexts", "model", "time", "response_time",
    }  # fmt: skip
    assert (event["model"], event["trace_id"], event["time"]) == ("small", "t1", START)


def test_what_is_no_documents_list_does_not_cost_the_event(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    def answer(question: str) -> dict[str, object]:
        return {"answer": "a", "source_documents": [object()], "documents": ["text"], "status": "no_answer"}

    answer("q")
    assert (bench.event["answer"], bench.event["status"]) == ("a", "no_answer")
    assert "documents" not in bench.event


def test_a_trace_id_that_was_handed_out_is_not_changed_by_the_result(bench: Bench) -> None:
    seen: list[str] = []

    @timed(bench.record, bench.clock)
    def answer(question: str) -> dict[str, str]:
        query = current_query()
        assert query is not None
        seen.append(query.trace_id)
        query.answer = "set inside"
        return {"trace_id": "another", "answer": "returned"}

    answer("q")
    assert bench.event["trace_id"] == seen[0]
    assert bench.event["answer"] == "set inside"


def test_a_coroutine_function_stays_one_and_is_timed_over_its_awaits(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    async def answer(question: str) -> str:
        with stage("generation"):
            await asyncio.sleep(0)
            bench.clock.advance(2)
        return "async"

    assert inspect.iscoroutinefunction(answer)
    assert asyncio.run(answer(question="why?")) == "async"
    assert (bench.event["query"], bench.event["answer"]) == ("why?", "async")
    assert bench.times() == {"response_time": 2.0, "generation_time": 2.0}


def test_a_stream_is_timed_to_its_end_and_its_texts_are_the_answer(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    def answer(question: str) -> Iterator[object]:
        with stage("generation"):
            bench.clock.advance(0.5)
            yield "An "
            bench.clock.advance(1)
            yield "instrument."
        yield {"cost": 0.25}

    assert inspect.isgeneratorfunction(answer)
    assert list(answer("what?")) == ["An ", "instrument.", {"cost": 0.25}]
    assert (bench.event["answer"], bench.event["cost"]) == ("An instrument.", 0.25)
    assert bench.times() == {"response_time": 1.5, "generation_time": 1.5, "time_to_first_token": 0.5}


def test_an_asynchronous_stream_is_timed_likewise(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    async def answer(question: str) -> AsyncIterator[str]:
        async with stage("retrieval"):
            bench.clock.advance(0.5)
        yield "a"
        await asyncio.sleep(0)
        bench.clock.advance(1)
        yield "b"

    async def main() -> list[str]:
        parts = []
        async for part in answer("q"):
            assert current_query() is None
            parts.append(part)
        return parts

    assert inspect.isasyncgenfunction(answer)
    assert asyncio.run(main()) == ["a", "b"]
    assert bench.event["answer"] == "ab"
    assert bench.times() == {"response_time": 1.5, "retrieval_time": 0.5, "time_to_first_token": 0.5}


def test_the_reader_of_a_stream_is_not_inside_of_its_query(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    def answer(question: str) -> Iterator[str]:
        for part in "ab":
            with stage("generation"):
                bench.clock.advance(1)
            yield part

    for one, two in zip(answer("first"), answer("second"), strict=True):
        assert current_query() is None
        with stage("generation"):  # of no query
            bench.clock.advance(5)
        assert one == two
    assert [event["generation_time"] for event in bench.events] == [2.0, 2.0]


def test_a_stream_passes_on_what_is_sent_thrown_and_returned(bench: Bench) -> None:
    def conversation(question: str) -> Generator[str, object, list[object]]:
        received: list[object] = []
        try:
            received.append((yield "one"))
        except KeyError:
            received.append("thrown")
        received.append((yield "two"))
        return received

    def talk(make: Callable[[str], Generator[str, object, list[object]]]) -> object:
        generator = make("q")
        said = [next(generator), generator.throw(KeyError("k"))]
        with pytest.raises(StopIteration) as end:
            generator.send("sent")
        return said, end.value.value

    assert talk(timed(bench.record, bench.clock)(conversation)) == talk(conversation)
    assert bench.event["answer"] == "onetwo"


def test_a_stream_whose_reader_stops_is_recorded_as_far_as_it_went(bench: Bench) -> None:
    closed: list[str] = []

    @timed(bench.record, bench.clock)
    def answer(question: str) -> Iterator[str]:
        try:
            with stage("generation"):
                while True:
                    bench.clock.advance(1)
                    yield "x"
        finally:
            closed.append("plain")

    @timed(bench.record, bench.clock)
    async def stream(question: str) -> AsyncIterator[str]:
        try:
            while True:
                yield "y"
        finally:
            await asyncio.sleep(0)
            closed.append("async")

    async def main() -> None:
        generator = stream("q")
        assert inspect.isasyncgen(generator)
        assert await anext(generator) == "y"
        await generator.aclose()

    generator = answer("q")
    assert inspect.isgenerator(generator)
    assert (next(generator), next(generator)) == ("x", "x")
    generator.close()
    asyncio.run(main())
    assert closed == ["plain", "async"]
    assert [(e["answer"], e["closed_early"], "status" in e) for e in bench.events] == [
        ("xx", "true", False),
        ("y", "true", False),
    ]


def test_a_stream_that_fails_is_an_error_with_the_answer_so_far(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    def answer(question: str) -> Iterator[str]:
        with stage("generation"):
            yield "half"
            raise ConnectionError("model gone")

    with pytest.raises(ConnectionError):
        list(answer("q"))
    event = bench.event
    assert (event["status"], event["error_stage"], event["answer"]) == ("error", "generation", "half")


def test_a_stream_that_nobody_reads_is_no_query(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    def answer(question: str) -> Iterator[str]:
        yield "never"

    answer("q").__iter__()
    assert bench.events == []


def test_a_streamed_answer_without_end_is_kept_up_to_what_an_event_takes(bench: Bench) -> None:
    @timed(bench.record, bench.clock)
    def answer(question: str) -> Iterator[str]:
        for _ in range(30):
            yield "x" * 10_000

    assert sum(map(len, answer("q"))) == 300_000
    assert bench.event["answer"] == "x" * 262_144
