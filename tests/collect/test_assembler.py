"""One trace, one query event: in whatever pieces and order the spans come, however often, and whoever is restarted."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from assembler_support import DISTRIBUTED, GRACE, LONG, ROOTLESS, World, assert_once, meant
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otel_support import QUESTION, START, TRACE, Trace, captured, event, listed

from barograph.collect import assembler as assembler_module
from barograph.collect import burst, open_traces
from barograph.collect.otlp_logs import EVENT_KIND
from barograph.core.event import LATE_SPANS, Span
from barograph.journal.segment import Segment
from barograph_client.errors import DiskFull, EngineUnavailable, JournalError

PROGRAMS = ("llama_index", "langchain", "openllmetry_langchain", "openllmetry_llama_index", "genai_semconv",
            "plain_opentelemetry")  # fmt: skip
REAL = [spans for program in PROGRAMS for spans in captured(program)]
OTHER = "f" * 32


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "data")
    yield made
    made.close()


def rag(trace_id: str = TRACE, project: str = "default", *, last_from: str = "") -> list[Span]:
    """Root, retrieval, generation. ``last_from`` names the service instance of the last one."""
    trace = Trace()
    root = trace.kind("CHAIN", "ask", {"input.value": QUESTION, "output.value": "Twenty."}, took=3.0)
    trace.kind("RETRIEVER", values=listed("retrieval.documents", {"id": "a", "score": 0.5}), at=0.1, inside=root)
    trace.kind("LLM", values={"llm.model_name": "m", "llm.token_count.prompt": 7}, at=1.2, inside=root)
    spans = [
        msgspec.structs.replace(one, event_id=f"{trace_id}-{project}-{number}", trace_id=trace_id, project=project)
        for number, one in enumerate(trace.spans)
    ]
    if last_from:
        spans[-1] = msgspec.structs.replace(spans[-1], resource={"service.name": "models", "host.name": last_from})
    return spans


def indexing(trace_id: str = TRACE) -> list[Span]:
    """Embeddings alone: no query."""
    trace = Trace()
    trace.kind("EMBEDDING", values={"embedding.model_name": "e"})
    return [msgspec.structs.replace(one, trace_id=trace_id, event_id=f"e-{trace_id}") for one in trace.spans]


@st.composite
def made_traces(draw: st.DrawFn) -> list[Span]:
    """Spans of several kinds and instances, with and without a root, and some whose parent never comes."""
    trace = Trace()
    kinds = ["CHAIN", "RETRIEVER", "LLM", "EMBEDDING", "TOOL", "RERANKER", ""]
    for number in range(draw(st.integers(1, 6))):
        inside = draw(st.sampled_from([None, *trace.spans])) if number else None
        trace.kind(draw(st.sampled_from(kinds)), f"step {number}", {"input.value": f"text {number}"},
                   at=draw(st.integers(0, 8)) / 4, took=draw(st.integers(0, 8)) / 4, inside=inside)  # fmt: skip
    rootless = draw(st.integers(0, 4)) == 0
    return [
        msgspec.structs.replace(
            one,
            parent_span_id=one.parent_span_id or ("00000000000000ff" if rootless else ""),
            resource={"service.name": draw(st.sampled_from(["a", "a", "a", "b"]))},
        )
        for one in trace.spans
    ]


class TestOneTraceOneQuery:
    @pytest.mark.parametrize("number", range(len(REAL)))
    def test_each_real_trace_gives_the_same_query_backwards_and_span_by_span(self, world: World, number: int) -> None:
        spans = REAL[number]
        for one in [*reversed(spans), *spans]:
            world.send(one)
            world.later(0.01)
        world.settle()
        assert_once(world, spans)
        assert world.late(spans) == set()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_in_any_order_sent_twice_with_any_delay_and_restart_it_is_one(self, data: st.DataObject) -> None:
        spans = data.draw(st.one_of(st.sampled_from(REAL), made_traces()), "trace")
        slow = data.draw(st.booleans(), "delays beyond the grace")
        with tempfile.TemporaryDirectory() as directory:
            world = World(Path(directory) / "data")
            try:
                for request in requests(data, spans):
                    world.send(*request)
                    happen(data, world, slow)
                world.store_fails = False
                world.settle()
                assert_once(world, spans)
            finally:
                world.close()

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_within_the_grace_no_span_is_late(self, data: st.DataObject) -> None:
        spans = data.draw(st.one_of(st.sampled_from(REAL), made_traces()), "trace")
        with tempfile.TemporaryDirectory() as directory:
            world = World(Path(directory) / "data")
            try:
                sent = list(requests(data, spans))
                for request in sent:
                    world.send(*request)
                    world.later(0.9 * GRACE / len(sent))
                    if data.draw(st.integers(0, 5), "restart") == 0:
                        world.restart(stopped=data.draw(st.booleans(), "stopped"))
                world.settle()
                assert world.late(spans) == set()
                assert_once(world, spans)
            finally:
                world.close()

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_many_traces_at_once_do_not_mix(self, data: st.DataObject) -> None:
        several = data.draw(
            st.lists(st.sampled_from(REAL), min_size=2, max_size=5, unique_by=lambda one: one[0].trace_id)
        )
        every = data.draw(st.permutations([one for spans in several for one in spans]))
        with tempfile.TemporaryDirectory() as directory:
            world = World(Path(directory) / "data")
            try:
                for at in range(0, len(every), 5):
                    world.send(*every[at : at + 5])
                    happen(data, world, slow=False)
                world.store_fails = False
                world.settle()
                for spans in several:
                    assert_once(world, spans)
            finally:
                world.close()


def requests(data: st.DataObject, spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """The spans in any order, twice, in requests of any size."""
    order = [*data.draw(st.permutations(spans), "order"), *data.draw(st.permutations(spans), "again")]
    while order:
        size = data.draw(st.sampled_from([1, 1, 1, 2, 5]), "size")
        yield order[:size]
        order = order[size:]


def happen(data: st.DataObject, world: World, slow: bool) -> None:
    """Time passes; perhaps the assembler is restarted, before or after its look, or the store goes or comes back."""
    what = data.draw(st.sampled_from(["", "", "", "restart", "kill", "lose", "reopen", "fail", "heal"]), "first")
    become(world, what)
    seconds = data.draw(st.sampled_from([0.0, 0.01, 0.1, *([1.0, 3.0, 9.0, 130.0] if slow else [])]), "delay")
    if data.draw(st.integers(0, 7), "die") == 0:
        world.die(seconds)
    else:
        world.later(seconds)
    become(world, data.draw(st.sampled_from(["", "", "", "restart", "kill", "lose", "reopen"]), "then"))


def become(world: World, what: str) -> None:
    if what == "fail":
        world.store_fails = True
    elif what == "heal":
        world.store_fails = False
    elif what:
        world.restart(stopped=what != "kill", lost_position=what == "lose", journal=what == "reopen")


class TestWaiting:
    def test_one_instance_is_waited_for_two_seconds_after_its_root(self, world: World) -> None:
        root, *rest = rag()
        world.send(*rest)
        world.later(60.0)
        world.send(root)
        world.later(GRACE - 0.1)
        assert not world.queries()
        world.later(0.2)
        (made,) = world.queries()
        assert made == meant([root, *rest])
        assert made.query == QUESTION

    def test_several_instances_are_waited_for_eight_seconds(self, world: World) -> None:
        spans = rag(last_from="elsewhere")
        world.send(*spans)
        world.later(DISTRIBUTED - 0.1)
        assert not world.queries()
        world.later(0.2)
        assert world.queries() == [meant(spans)]

    def test_another_instance_within_the_grace_makes_it_longer(self, world: World) -> None:
        root, retriever, model = rag(last_from="elsewhere")
        world.send(root, retriever)
        world.later(GRACE - 0.1)
        world.send(model)
        world.later(GRACE)
        assert not world.queries()
        world.later(DISTRIBUTED - 2 * GRACE + 0.2)
        assert world.queries() == [meant([root, retriever, model])]

    def test_without_a_root_it_is_incomplete_two_minutes_after_the_last_span(self, world: World) -> None:
        _, retriever, model = rag()
        world.send(retriever)
        world.later(ROOTLESS - 1)
        world.send(model)
        world.later(ROOTLESS - 1)
        assert not world.queries()
        world.later(2)
        (made,) = world.queries()
        assert made == meant([retriever, model])
        assert "incomplete" in made.tags

    def test_a_root_after_that_changes_nothing_and_is_late(self, world: World) -> None:
        root, retriever, model = rag()
        world.send(retriever, model)
        world.later(ROOTLESS + 1)
        world.send(root)
        world.settle()
        assert world.queries() == [meant([retriever, model])]
        assert world.late([root, retriever, model]) == {root.span_id}

    @pytest.mark.parametrize("lost", [False, True])
    def test_such_a_root_is_late_after_a_restart_too(self, world: World, lost: bool) -> None:
        root, retriever, model = rag()
        world.send(retriever, model)
        world.later(ROOTLESS + 1)
        world.restart(lost_position=lost)
        world.later(5)
        world.send(root)
        world.settle()
        assert len(world.queries()) == 1
        assert world.late([root, retriever, model]) == {root.span_id}

    def test_what_arrived_before_a_start_is_waited_for_from_then_on(self, world: World) -> None:
        root, retriever, model = rag()
        world.send(root, retriever)
        world.clock.advance(600)  # nobody was there; neither was the exporter's server
        world.restart(stopped=False)
        world.step()
        assert not world.queries()
        world.later(GRACE - 0.1)
        world.send(model)
        world.later(0.2)
        assert world.queries() == [meant([root, retriever, model])]

    def test_a_parent_of_zeros_is_none(self, world: World) -> None:
        root, *rest = rag()
        world.send(msgspec.structs.replace(root, parent_span_id="0" * 16), *rest)
        world.later(GRACE + 0.1)
        assert len(world.queries()) == 1

    def test_what_was_written_inside_a_span_is_no_root_and_part_of_it(self, world: World) -> None:
        trace = Trace()
        root = trace.span("chat", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
        inner = msgspec.structs.replace(
            root, event_id="inner", span_id="e" * 16, parent_span_id=root.span_id, span_kind=EVENT_KIND, duration=0.0,
            attributes={}, events=[event("gen_ai.user.message", {"content": QUESTION})],
        )  # fmt: skip
        world.send(inner)
        world.later(GRACE + 1)
        assert not world.queries()
        world.send(root)
        world.later(GRACE + 0.1)
        (made,) = world.queries()
        assert made.query == QUESTION
        unrooted = msgspec.structs.replace(inner, event_id="other", trace_id=OTHER, parent_span_id="")
        world.send(unrooted)
        world.later(GRACE + 1)
        assert world.assembler.progress().waiting == 1


class TestLateSpans:
    def test_a_late_span_changes_nothing_and_is_counted_once(self, world: World) -> None:
        root, retriever, model = rag()
        world.send(root, retriever)
        world.later(GRACE + 1)
        for _ in range(3):
            world.send(model)
            world.later(1)
        world.settle()
        assert world.queries() == [meant([root, retriever])]
        (line,) = world.metrics(LATE_SPANS)
        assert line["tags"] == {"trace_id": TRACE}
        assert (line["origin"], line["value"]) == ("internal", 1.0)
        progress = world.assembler.progress()
        assert (progress.queries, progress.not_queries, progress.late, progress.waiting) == (1, 0, 1, 0)

    def test_spans_of_a_trace_that_is_no_query_are_late_too(self, world: World) -> None:
        world.send(*indexing())
        world.later(GRACE + 1)
        later = msgspec.structs.replace(rag()[2], parent_span_id="00000000000000aa")
        world.send(later)
        world.settle()
        assert world.reasons() == {TRACE: "embedding only"}
        assert len(world.metrics(LATE_SPANS)) == 1
        assert not world.queries()

    def test_a_late_span_that_cannot_be_counted_now_is_counted_later(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root, retriever, model = rag()
        world.send(root, retriever)
        world.later(GRACE + 1)
        world.send(model)
        with monkeypatch.context() as broken:
            broken.setattr(world.journal, "append", full)
            with pytest.raises(DiskFull):
                world.assembler.step()
            world.assembler.stop()
        world.restart(stopped=False)
        world.settle()
        assert world.late([model]) == {model.span_id}
        world.restart()
        world.settle()
        assert len(world.metrics(LATE_SPANS)) == 1

    def test_one_that_arrives_next_after_the_decision_is_late_after_a_restart_too(self, world: World) -> None:
        """The decision did not see it, and its arrival is the next there can be."""
        root, retriever, model = rag()
        world.send(root, retriever)
        world.later(GRACE + 0.1)
        world.send(model)
        (made,), (*_, last) = world.lines("query"), world.lines("span")
        assert made["received_at"] < last["received_at"]
        world.restart(stopped=False, lost_position=True)
        world.settle()
        assert world.late([root, retriever, model]) == {model.span_id}


def full(*_: object) -> Any:
    raise DiskFull("no space is left")


class TestProjects:
    def test_the_same_trace_id_in_two_projects_is_two_traces(self, world: World) -> None:
        ours, theirs = rag(), rag(project="theirs")
        world.send(ours[0], theirs[1])
        world.send(theirs[0], ours[1], ours[2])
        world.later(GRACE + 0.1)
        world.send(theirs[2])
        world.settle()
        assert {one.project: one for one in world.queries()} == {
            "default": meant(ours), "theirs": meant(theirs[:2])}  # fmt: skip
        (line,) = world.metrics(LATE_SPANS)
        assert line["project"] == "theirs"
        assert len({one.event_id for one in world.queries()}) == 2

    def test_after_a_restart_the_store_is_asked_for_each_project(self, world: World) -> None:
        world.send(*rag(), *rag(project="theirs"))
        world.restart(stopped=False)
        world.settle()
        assert sorted(world.asked) == [("default", (TRACE,)), ("theirs", (TRACE,))]
        assert len(world.queries()) == 2


class TestNotAQuery:
    def test_it_leaves_a_line_that_says_why(self, world: World) -> None:
        world.send(*indexing(), *rag(OTHER))
        world.settle()
        assert world.reasons() == {TRACE: "embedding only"}
        assert [one.trace_id for one in world.queries()] == [OTHER]
        progress = world.assembler.progress()
        assert (progress.queries, progress.not_queries) == (1, 1)

    def test_it_is_decided_once_across_restarts(self, world: World) -> None:
        world.send(*indexing())
        world.later(GRACE + 1)
        world.restart(lost_position=True)
        world.settle()
        assert len(world.reasons()) == 1
        assert len(world.lines("metric")) == 1

    def test_a_trace_that_nobody_foresaw_is_told_and_holds_up_no_other(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        right = assembler_module.query_of

        def query_of(spans: Sequence[Span], **options: Any) -> Any:
            if spans[0].trace_id == TRACE:
                raise ZeroDivisionError("division by zero")
            return right(spans, **options)

        monkeypatch.setattr(assembler_module, "query_of", query_of)
        world.send(*rag(), *rag(OTHER))
        world.settle()
        assert [one.trace_id for one in world.queries()] == [OTHER]
        assert "ZeroDivisionError" in world.reasons()[TRACE]


class TestFailures:
    def test_a_journal_that_fails_while_deciding_costs_a_delay(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spans = rag()
        world.send(*spans)
        world.step()
        world.clock.advance(GRACE + 0.1)
        with monkeypatch.context() as broken:
            broken.setattr(world.journal, "append", full)
            for _ in range(5):
                with pytest.raises(DiskFull):
                    world.assembler.step()
                world.clock.advance(6)
        assert world.assembler.progress().waiting == 1
        world.later(6)
        assert world.queries() == [meant(spans)]

    def test_a_journal_that_cannot_be_read_costs_a_delay(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        spans = rag()
        world.send(*spans)
        world.step()
        world.clock.advance(GRACE + 0.1)
        with monkeypatch.context() as broken:
            broken.setattr(world.journal, "read", full)
            with pytest.raises(JournalError):
                world.assembler.step()
        world.later(6)
        assert world.queries() == [meant(spans)]

    def test_while_the_store_cannot_tell_only_those_traces_wait_that_need_it(self, world: World) -> None:
        before, after = rag(), later_than(rag(OTHER))
        world.send(*before)
        world.restart(stopped=False)
        world.later(1.0)
        world.store_fails = True
        world.send(*after)
        world.clock.advance(GRACE + 0.1)
        with pytest.raises(EngineUnavailable):
            world.assembler.step()
        assert [one.trace_id for one in world.queries()] == [OTHER]
        world.later(60, 30)
        assert world.assembler.progress().waiting == 1
        world.store_fails = False
        world.later(6)
        assert {one.trace_id for one in world.queries()} == {TRACE, OTHER}

    def test_a_trace_that_needs_the_store_does_not_keep_back_the_position_of_others_for_good(
        self, world: World
    ) -> None:
        world.send(*rag())
        world.restart(stopped=False)
        world.store_fails = True
        world.later(30, 10)
        world.store_fails = False
        world.later(10, 2)
        world.later(5, 2)
        (segment,) = [one for one in world.journal.snapshot().segments if one.kind == "span"]
        assert msgspec.json.decode(world.position.read_bytes()) == {segment.name: segment.size}

    def test_damaged_lines_are_passed_over(self, world: World) -> None:
        root, retriever, model = rag()
        world.send(root)
        world.send(retriever)
        world.send(model)
        world.assembler.stop()
        (segment,) = [one for one in world.journal.snapshot().segments if one.kind == "span"]
        path = next((world.directory / "journal" / "span").glob("*/*.jsonl"))
        first, second, third = path.read_bytes().splitlines(keepends=True)
        garbage = b"\x00\xff{" + b"x" * (len(second) - 4) + b"\n"
        path.write_bytes(first + garbage + third)
        world.restart(stopped=False)
        world.settle()
        assert segment.size == len(first + garbage + third)
        assert world.queries() == [meant([root, model])]

    def test_a_line_whose_head_alone_can_be_read_is_passed_over(self, world: World) -> None:
        root, retriever, model = rag()
        world.send(root, retriever, model)
        path = next((world.directory / "journal" / "span").glob("*/*.jsonl"))
        text = path.read_bytes()
        damaged = text.replace(
            b'"attributes":{"openinference.span.kind":"LLM"', b'"attributes":["openinference.span.kind","LLM"'
        )
        assert (len(damaged), damaged != text) == (len(text), True)
        path.write_bytes(damaged)
        world.settle()
        assert world.queries() == [meant([root, retriever])]


def later_than(spans: Sequence[Span], seconds: float = 3600.0) -> list[Span]:
    """The same spans, begun so much later."""
    return [msgspec.structs.replace(one, time=one.time + timedelta(seconds=seconds)) for one in spans]


class TestBounds:
    def test_when_too_many_traces_are_open_the_oldest_are_decided_early(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(open_traces, "MAX_OPEN", 3)
        for number in range(6):
            world.send(*rag(f"{number:032x}")[1:])
            world.step()
        assert world.assembler.progress().waiting == 3
        assert [one.trace_id for one in world.queries()] == [f"{number:032x}" for number in range(3)]
        assert all("incomplete" in one.tags for one in world.queries())
        world.settle()
        assert len(world.queries()) == 6

    def test_traces_that_wait_for_the_store_do_not_keep_the_bound_from_being_kept(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(open_traces, "MAX_OPEN", 3)
        world.send(*(one for number in range(3) for one in rag(f"{number:032x}")))
        world.restart(stopped=False)
        world.store_fails = True
        world.later(GRACE + 0.1)
        for number in range(10, 16):
            world.send(*later_than(rag(f"{number:032x}")))
            world.later(0.01)
        assert world.assembler.progress().waiting == 3
        assert len(world.queries()) == 6

    def test_a_journal_that_fails_for_long_does_not_make_the_agenda_grow(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(open_traces, "MAX_OPEN", 3)
        for number in range(6):
            world.send(*rag(f"{number:032x}")[1:])
        with monkeypatch.context() as broken:
            broken.setattr(world.journal, "append", full)
            for _ in range(100):
                with contextlib.suppress(DiskFull):
                    world.assembler.step()
                world.clock.advance(0.1)
        assert len(world.assembler._traces._agenda) <= 20
        world.settle()
        assert len(world.queries()) == 6

    def test_spans_beyond_the_most_are_late(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(open_traces, "MAX_SPANS", 2)
        spans = rag()
        world.send(*spans)
        world.settle()
        assert world.queries() == [meant(spans[:2])]
        assert world.late(spans) == {spans[2].span_id}

    def test_what_was_decided_and_is_forgotten_is_asked_for(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(open_traces, "MAX_DECIDED", 2)
        every = [rag(f"{number:032x}") for number in range(5)]
        for spans in every:
            world.send(*spans[:2])
            world.later(GRACE + 0.1)
        assert len(world.queries()) == 5
        for spans in every:
            world.send(spans[2])
        world.settle()
        assert len(world.queries()) == 5
        for spans in every:
            assert world.late(spans) == {spans[2].span_id}

    def test_a_root_that_comes_again_when_everything_is_forgotten_makes_no_second_query(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(open_traces, "MAX_DECIDED", 1)
        spans = rag()
        world.send(*spans)
        world.later(GRACE + 0.1)
        world.send(*rag(OTHER))
        world.later(GRACE + 0.1)
        again = msgspec.structs.replace(spans[0], event_id="as if the journal had forgotten its id")
        world.send(again)
        world.settle()
        assert len(world.queries()) == 2
        assert world.late([again]) == {again.span_id}


class TestPosition:
    def test_it_is_noted_and_the_next_life_reads_no_further_back(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.send(*rag())
        world.later(GRACE + 0.1)
        world.assembler.stop()
        (segment,) = [one for one in world.journal.snapshot().segments if one.kind == "span"]
        assert msgspec.json.decode(world.position.read_bytes()) == {segment.name: segment.size}
        read: list[tuple[int, int]] = []
        right = world.journal.read

        def reading(one: Any, start: int, end: int) -> bytes:
            read.append((start, end))
            return right(one, start, end)

        world.restart(stopped=False)
        monkeypatch.setattr(world.journal, "read", reading)
        world.step()
        world.asked.clear()
        world.send(*later_than(rag(OTHER)))
        world.later(GRACE + 0.1)
        assert min(start for start, _ in read) == segment.size
        assert world.asked == []  # the other trace is wholly known to this life

    def test_what_it_passes_is_durable_before_it_is_noted(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """In interval mode an append returns before the sync."""
        noted: list[bool] = []
        right = world.journal.sync

        def sync() -> None:
            noted.append(world.position.exists())
            right()

        monkeypatch.setattr(world.journal, "sync", sync)
        world.send(*rag())
        world.later(GRACE + 0.1)
        world.assembler.stop()
        assert noted == [False]
        world.assembler.stop()
        assert noted == [False]  # nothing to note, nothing to sync
        before = world.position.read_bytes()
        world.send(*rag(OTHER))
        monkeypatch.setattr(world.journal, "sync", full)
        with pytest.raises(DiskFull):
            world.later(GRACE + 0.1)
        assert world.position.read_bytes() == before

    def test_it_does_not_pass_what_an_open_trace_needs(self, world: World) -> None:
        waiting = rag()[1:]
        world.send(*waiting)
        world.send(*rag(OTHER))
        world.later(GRACE + 0.1)
        world.restart()
        assert msgspec.json.decode(world.position.read_bytes(), type=dict[str, int]).popitem()[1] == 0
        world.send(rag()[0])
        world.settle()
        assert {one.trace_id: one for one in world.queries()} == {TRACE: meant(rag()), OTHER: meant(rag(OTHER))}
        assert not world.metrics(LATE_SPANS)

    @pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'{"a": "b"}', b'{"span/2026-11-24/000001": -7}', b"\xff"])
    def test_one_that_is_damaged_is_as_good_as_none(self, world: World, text: bytes) -> None:
        world.send(*rag())
        world.later(GRACE + 0.1)
        world.assembler.stop()
        name = next(one.name for one in world.journal.snapshot().segments if one.kind == "span")
        world.position.write_bytes(text.replace(b"span/2026-11-24/000001", name.encode()))
        world.send(*rag(OTHER))
        world.restart(stopped=False)
        world.settle()
        assert [one.trace_id for one in world.queries()] == [TRACE, OTHER]
        assert not world.metrics(LATE_SPANS)

    def test_one_beyond_the_end_is_as_good_as_the_end(self, world: World) -> None:
        world.send(*rag())
        world.later(GRACE + 0.1)
        world.assembler.stop()
        (segment,) = [one for one in world.journal.snapshot().segments if one.kind == "span"]
        world.position.write_bytes(msgspec.json.encode({segment.name: 10**9, "span/1999-01-01/000001": 5}))
        world.restart(stopped=False)
        world.step()
        world.send(*rag(OTHER))
        world.settle()
        assert [one.trace_id for one in world.queries()] == [TRACE, OTHER]

    def test_a_backlog_of_many_segments_is_read_in_bounded_pieces(self, tmp_path: Path) -> None:
        class Small(World):
            def _open(self) -> Any:
                from barograph.core.settings import JournalSettings
                from barograph.journal.journal import Journal

                return Journal(self.directory, self.clock, JournalSettings(segment_bytes=4096, low_disk_bytes=0))

        world = Small(tmp_path / "data")
        world.step()
        try:
            for number in range(30):
                world.send(*rag(f"{number:032x}"))
            assert len(world.journal.snapshot().segments) > 5
            world.settle()
            assert len(world.queries()) == 30
            world.restart()
            world.settle()
            assert len(world.queries()) == 30
            assert not world.metrics(LATE_SPANS)
        finally:
            world.close()


class TestBurst:
    @pytest.fixture
    def fast(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(burst, "BYTES_A_SECOND", 5_000)

    def turn(self, world: World, *spans: Span) -> None:
        """A look at what came in the last 0.2 seconds."""
        world.send(*spans)
        world.clock.advance(0.2)
        while world.assembler._turn():
            pass

    @pytest.mark.usefixtures("fast")
    def test_it_goes_first_for_the_grace_and_no_longer(self, world: World) -> None:
        sent = [rag(f"{number:032x}") for number in range(40)]
        self.turn(world)
        waiting = []
        for spans in sent:
            self.turn(world, *spans)
            waiting.append(world.assembler.progress().waiting)
        looks = round(GRACE / 0.2)
        assert waiting[: looks - 1] == [0] * (looks - 1)  # nothing was read
        assert all(waiting[looks:])
        world.settle()
        assert sorted(one.trace_id for one in world.queries()) == [spans[0].trace_id for spans in sent]
        assert not world.metrics(LATE_SPANS)

    @pytest.mark.usefixtures("fast")
    def test_when_it_ends_all_is_taken_up_at_once_and_the_next_goes_first_again(self, world: World) -> None:
        self.turn(world)
        for number in range(2):
            self.turn(world, *rag(f"{2 * number:032x}"))
            assert world.assembler.progress().waiting == 0
            self.turn(world)
            assert world.assembler.progress().waiting == 1
            for _ in range(round(GRACE / 0.2)):
                self.turn(world)
            assert len(world.queries()) == number + 1

    def test_what_stands_in_the_journal_at_the_start_is_none(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(burst, "BYTES_A_SECOND", 1)
        self.turn(world, *rag())
        assert world.assembler.progress().waiting == 1


class TestThread:
    def test_it_follows_decides_and_outlives_what_goes_wrong(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its waits move the clock that only tests have, so it does in moments what takes seconds."""
        world.send(*rag())
        failures = iter([ZeroDivisionError("unforeseen"), EngineUnavailable("away")])
        right = world.assembler._follow

        def follow(segments: Sequence[Segment]) -> bool:
            for error in failures:
                problems.append(world.assembler.progress().problem)
                raise error
            return right(segments)

        problems: list[str] = []
        monkeypatch.setattr(world.assembler, "_follow", follow)
        world.assembler.start()
        end = START + timedelta(seconds=LONG)
        while not world.queries() and world.clock.now() < end:
            pass
        world.assembler.stop()
        assert world.queries() == [meant(rag())]
        assert "ZeroDivisionError" in problems[1]
        assert world.assembler.progress().problem == ""
        assert world.position.exists()
