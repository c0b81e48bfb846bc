"""Which traces are complete, and when: the bookkeeping, and the whole of it over the real store."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from otel_support import START, Trace, captured

from barograph.collect import open_traces
from barograph.collect.intake import Intake, deliver
from barograph.collect.open_traces import OpenTrace, OpenTraces, Patience, Place, SpanHead
from barograph.collect.otel import query_of
from barograph.collect.sinks import JournalSink
from barograph.collect.validate import Validator
from barograph.core.event import LATE_SPANS, Query, Span
from barograph.core.query import EventQuery, Filter, Window
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.clock import SystemClock
from barograph_client.identifiers import IdentifierSource

PATIENCE = Patience(timedelta(seconds=2), timedelta(seconds=8), timedelta(seconds=120))


def head(
    trace_id: str = "t",
    at: float = 0.0,
    *,
    parent: str = "p",
    began: float | None = None,
    project: str = "default",
    **resource: str,
) -> SpanHead:
    return SpanHead(
        event_id="e",
        trace_id=trace_id,
        received_at=START + timedelta(seconds=at),
        time=START + timedelta(seconds=at if began is None else began),
        parent_span_id=parent,
        project=project,
        resource=resource,
    )


class Book:
    """Open traces, with places made up one behind the other."""

    def __init__(self) -> None:
        self.traces = OpenTraces(PATIENCE)
        self.at = 0

    def add(self, one: SpanHead, *, recovered: bool = False, not_before: float = 0.0) -> bool:
        self.at += 10
        place = Place("segment", self.at - 10, self.at)
        return self.traces.add(one, place, START + timedelta(seconds=not_before), recovered)

    def due(self, seconds: float, most: int = 100, most_bytes: int = 10_000) -> list[str]:
        return [trace.trace_id for trace in self.found(seconds, most, most_bytes)]

    def found(self, seconds: float, most: int = 100, most_bytes: int = 10_000) -> list[OpenTrace]:
        return self.traces.due(START + timedelta(seconds=seconds), most, most_bytes)

    def decide(self, seconds: float) -> list[str]:
        found = self.found(seconds)
        self.traces.close(found)
        return [trace.trace_id for trace in found]


@pytest.fixture
def book() -> Book:
    return Book()


class TestWhenATraceIsComplete:
    def test_a_grace_after_its_root(self, book: Book) -> None:
        book.add(head(at=0))
        book.add(head(at=50, parent=""))
        assert book.due(51.9) == []
        assert book.due(52) == ["t"]

    def test_a_second_root_does_not_make_it_longer(self, book: Book) -> None:
        book.add(head(at=0, parent=""))
        book.add(head(at=1.9, parent=""))
        assert book.due(2) == ["t"]

    def test_spans_after_the_root_do_not_make_it_longer(self, book: Book) -> None:
        book.add(head(at=0, parent=""))
        for tenth in range(1, 19):
            book.add(head(at=tenth / 10))
        assert book.due(2) == ["t"]

    def test_without_a_root_a_time_after_the_last_span(self, book: Book) -> None:
        book.add(head(at=0))
        book.add(head(at=100))
        assert book.due(219) == []
        assert book.due(220) == ["t"]

    def test_several_instances_take_longer(self, book: Book) -> None:
        book.add(head(at=0, parent="", **{"service.name": "a"}))
        book.add(head(at=0, **{"service.name": "a", "telemetry.sdk.name": "x"}))
        book.add(head("u", at=0, parent="", **{"service.name": "a"}))
        book.add(head("u", at=0, **{"service.name": "a", "process.pid": "7"}))
        assert book.due(2) == ["t"]
        assert book.due(7.9) == []
        assert book.due(8) == ["u"]

    def test_what_arrived_before_the_start_is_waited_for_from_then_on(self, book: Book) -> None:
        book.add(head(at=0, parent=""), not_before=100)
        book.add(head("u", at=0), not_before=100)
        assert book.due(101.9) == []
        assert book.due(102) == ["t"]
        assert book.due(219) == []
        assert book.due(220) == ["u"]

    def test_no_more_than_asked_for_are_given_and_each_once(self, book: Book) -> None:
        for number in range(5):
            book.add(head(str(number), parent=""))
        assert book.due(10, 2) == ["0", "1"]
        assert book.due(10, 2) == ["2", "3"]
        assert book.due(10, 2) == ["4"]
        assert book.due(10, 2) == []

    def test_the_first_that_is_complete_comes_first(self, book: Book) -> None:
        book.add(head("rootless", at=0))
        book.add(head("later", at=5, parent=""))
        book.add(head("sooner", at=4, parent=""))
        assert book.due(500) == ["sooner", "later", "rootless"]

    def test_those_put_back_come_again_at_their_time(self, book: Book) -> None:
        book.add(head(parent=""))
        traces = book.found(2)
        book.traces.put_back(traces, START + timedelta(seconds=7))
        assert book.due(6.9) == []
        assert book.due(7) == ["t"]


class TestWhatIsLate:
    def test_spans_of_a_decided_trace_are_late(self, book: Book) -> None:
        book.add(head(parent=""))
        assert book.decide(2) == ["t"]
        assert not book.add(head(at=3))
        assert len(book.traces) == 0

    def test_projects_do_not_mix(self, book: Book) -> None:
        book.add(head(parent=""))
        assert book.decide(2) == ["t"]
        assert book.add(head(at=3, parent="", project="theirs"))
        assert book.due(5) == ["t"]

    def test_spans_beyond_the_most_are_late(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(open_traces, "MAX_SPANS", 2)
        assert [book.add(head()) for _ in range(3)] == [True, True, False]

    def test_the_root_is_taken_beyond_the_most(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(open_traces, "MAX_SPANS", 2)
        assert [book.add(head()) for _ in range(3)] == [True, True, False]
        assert [book.add(head(at=50, parent="")) for _ in range(2)] == [True, False]
        (found,) = book.found(52)
        assert len(found.places) == 3


class TestWhatIsUncertain:
    def test_one_that_began_with_this_process_is_certain(self, book: Book) -> None:
        book.add(head(parent=""))
        assert [book.traces.is_uncertain(trace) for trace in book.found(2)] == [False]

    def test_one_that_was_there_before_is_not(self, book: Book) -> None:
        book.add(head(parent=""), recovered=True)
        book.add(head(at=1))
        assert [book.traces.is_uncertain(trace) for trace in book.found(3)] == [True]

    def test_one_without_a_root_is_not(self, book: Book) -> None:
        book.add(head())
        assert [book.traces.is_uncertain(trace) for trace in book.found(500)] == [True]

    def test_one_that_began_before_what_is_known_is_not(self, book: Book) -> None:
        book.traces.forget_before(START)
        book.add(head("before", at=1, began=-1, parent=""))
        book.add(head("behind", at=1, began=1, parent=""))
        assert {one.trace_id: book.traces.is_uncertain(one) for one in book.found(3)} == {
            "before": True, "behind": False}  # fmt: skip

    def test_those_forgotten_for_want_of_room_are_not(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(open_traces, "MAX_DECIDED", 2)
        for number in range(4):
            book.add(head(str(number), at=number, parent=""))
        assert len(book.decide(100)) == 4
        assert not book.add(head("3", at=101))
        assert book.add(head("0", at=101, began=0, parent=""))
        assert book.add(head("new", at=101, parent=""))
        assert {one.trace_id: book.traces.is_uncertain(one) for one in book.found(200)} == {"0": True, "new": False}


class TestBounds:
    def test_no_more_bytes_than_asked_for_are_given_but_one_trace_in_any_case(self, book: Book) -> None:
        for name in ("a", "b", "c", "c", "c", "c", "d"):
            book.add(head(name, parent=""))
        assert book.due(10, most_bytes=25) == ["a", "b"]
        assert book.due(10, most_bytes=25) == ["c"]
        assert book.due(10, most_bytes=25) == ["d"]
        assert book.due(10, most_bytes=25) == []

    def test_no_more_bytes_than_asked_for_are_given_early(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(open_traces, "MAX_OPEN", 1)
        for name in ("a", "a", "a", "b", "c", "d"):
            book.add(head(name))
        assert book.due(1, most_bytes=25) == ["a"]

    def test_the_oldest_are_given_early_where_there_are_too_many(
        self, book: Book, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(open_traces, "MAX_OPEN", 3)
        for number in range(5):
            book.add(head(str(number)))
        assert book.due(1, 1) == ["0"]
        assert book.decide(1) == ["0", "1"]
        assert book.due(1) == []
        assert len(book.traces) == 3

    def test_those_put_back_are_not_given_early(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(open_traces, "MAX_OPEN", 3)
        for number in range(5):
            book.add(head(str(number)))
        book.traces.put_back(book.found(1), START + timedelta(seconds=6))
        assert book.due(1) == ["2", "3"]
        for number in range(5, 8):
            book.add(head(str(number)))
        assert book.due(1)[:2] == ["2", "3"]

    def test_the_position_needs_the_first_span_of_each_open_trace(self, book: Book) -> None:
        assert book.traces.needed_from() == {}
        book.add(head("a", parent=""))
        book.add(head("b"))
        book.add(head("a"))
        assert book.traces.needed_from() == {"segment": 0}
        assert book.decide(2) == ["a"]
        assert book.traces.needed_from() == {"segment": 10}


class TestOverTheRealStore:
    """What a program does: a data directory that is opened and closed, with its threads and its engine."""

    def opened(self, directory: Path, grace: float = 0.3) -> DashboardInterface:
        traces = {"grace": grace, "distributed_grace": 2 * grace, "rootless": 2.0}
        return DashboardInterface(
            directory, environment={}, background=True, traces=traces, collect={"sampler_seconds": 0}
        )

    def send(self, dashboard: DashboardInterface, *spans: Span) -> None:
        clock = SystemClock()
        intake = Intake(Validator(clock, IdentifierSource(clock), "default"))
        deliver(JournalSink(dashboard.parts.journal), [intake.take_ready(one) for one in spans]).wait()

    def recorded(self, dashboard: DashboardInterface, trace_id: str) -> list[object]:
        dashboard.flush()
        window = Window.last(86_400.0 * 3, SystemClock().now() + timedelta(days=1))
        where = (Filter("trace_id", "eq", (trace_id,)),)
        return list(dashboard.parts.store.events(EventQuery(kind="query", window=window, where=where)).items)

    def late(self, dashboard: DashboardInterface) -> int:
        return dashboard.parts.assembler.progress().late

    def test_closed_between_the_spans_and_the_decision_it_decides_once_when_it_is_opened_again(
        self, tmp_path: Path
    ) -> None:
        now = SystemClock().now()
        spans = [msgspec.structs.replace(one, time=now + (one.time - START)) for one in rag()]
        root, retriever, model = spans
        with self.opened(tmp_path / "data", grace=600.0) as dashboard:
            self.send(dashboard, retriever)
            self.send(dashboard, root)
            assert until(lambda: dashboard.parts.assembler.progress().waiting) == 1
            assert self.recorded(dashboard, root.trace_id) == []
        with self.opened(tmp_path / "data") as dashboard:
            until(lambda: self.recorded(dashboard, root.trace_id))
        with self.opened(tmp_path / "data") as dashboard:
            self.send(dashboard, root, retriever, model)
            assert until(lambda: self.late(dashboard)) == 1
            (found,) = self.recorded(dashboard, root.trace_id)
        expected = query_of([root, retriever])
        assert isinstance(expected, Query)
        assert found["response_time"] == expected.response_time  # type: ignore[index]
        lines = [
            line
            for path in (tmp_path / "data" / "journal" / "query").glob("*/*.jsonl")
            for line in path.read_bytes().splitlines()
        ]
        assert len(lines) == 1
        assert LATE_SPANS.encode() in b"".join(
            path.read_bytes() for path in (tmp_path / "data" / "journal" / "metric").glob("*/*.jsonl")
        )

    def test_real_traces_are_queries_within_the_grace_and_a_second(self, tmp_path: Path) -> None:
        with self.opened(tmp_path / "data") as dashboard:
            dashboard.flush()
            now = SystemClock().now()
            traces = [
                [msgspec.structs.replace(one, time=now - timedelta(minutes=1)) for one in spans]
                for spans in captured("plain_opentelemetry")
            ]
            self.send(dashboard, *(one for spans in traces for one in spans))
            sent = time.monotonic()
            expected = sum(isinstance(query_of(spans), Query) for spans in traces)
            until(lambda: dashboard.parts.assembler.progress().queries == expected)
            assert time.monotonic() - sent < 0.3 + 1.0
            assert dashboard.parts.assembler.progress().problem == ""


def rag() -> list[Span]:
    trace = Trace()
    root = trace.kind("CHAIN", "ask", {"input.value": "Q", "output.value": "A"}, took=3.0)
    trace.kind("RETRIEVER", at=0.1, inside=root)
    trace.kind("LLM", at=1.2, inside=root)
    return trace.spans


def until(ask: object, seconds: float = 30.0) -> object:
    end = time.monotonic() + seconds
    while not (found := ask()) and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.05)
    return found
