"""Whatever the spans hold and however they come, there is one answer, and it keeps the bounds of an event."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otel_support import START, TRACE, Trace, valid
from tests.support.soak import times

from barograph.collect.otel import NotAQuery, query_of
from barograph.collect.otel_kinds import KINDS
from barograph.collect.otel_numbers import stage_times, usage_of
from barograph.collect.otel_tree import Node, Tree
from barograph.core.event import MAX_ATTRIBUTES, MAX_DOCUMENTS, MAX_SPAN_EVENTS, Query, Span, SpanEvent
from barograph_client.limits import MAX_LINE

TICK = 0.25  # seconds; sums of quarters are exact
HOSTILE = [
    "", " ", "null", "true", "[]", "{}", "[[]]", '{"a":', "NaN", "-1", "1e999", "Infinity", "9" * 5000, "0", "3", "0.5",
    '"', '"text"', "[" * 2000, '{"question":' * 2000, '[{"id": 1, "score": "high", "metadata": 7}]',
    '[{"role": "user", "content": [{"type": "text"}, {"type": "image"}]}]', '[["user", "hi"], ["ai", "yes"]]',
    '{"messages": [[{"type": "human", "content": "hi"}]]}', '{"documents": [null, 1, {"node": {"text": "t"}}]}',
    '{"id": {"a": 1}, "lc": [], "kwargs": "x", "type": []}', "\x00\x1b[31m", "ünïcødé 🐳", "x" * 70_000, "\n" * 300,
    json.dumps(["y" * 400] * 600), json.dumps({"answer": "z" * 200_000}), "user", "<generator object f at 0x1>",
]  # fmt: skip
NAMES = [
    "openinference.span.kind", "gen_ai.operation.name", "traceloop.span.kind", "llm.request.type", "db.system",
    "db.operation", "input.value", "output.value", "traceloop.entity.input", "traceloop.entity.output", "metadata",
    "tag.tags", "user.id", "session.id", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.prompt",
    "gen_ai.prompt.0.role", "gen_ai.prompt.0.content", "llm.input_messages.0.message.role",
    "llm.input_messages.0.message.content", "llm.output_messages.0.message.content", "llm.token_count.prompt",
    "llm.token_count.completion", "gen_ai.usage.input_tokens", "llm.cost.total", "llm.cost.prompt", "llm.model_name",
    "gen_ai.response.time_to_first_chunk", "gen_ai.retrieval.documents", "retrieval.documents.0.document.id",
    "retrieval.documents.0.document.score", "retrieval.documents.7.document.content",
    "retrieval.documents.x.document.content", "retrieval.documents.0.document.metadata", "retrieval.documents",
    "reranker.input_documents.0.document.content", "reranker.output_documents.0.document.score",
    "reranker.output_documents.1.document.id", "db.response.returned_rows", "barograph.variant.a", "barograph.variant.",
    "barograph.status", "error.type", "traceloop.association.properties.x", "http.request.method",
]  # fmt: skip
EVENTS = ["exception", "First Token", "db.query.result", "gen_ai.choice", "gen_ai.user.message", "document", "other"]
EVENT_NAMES = [
    "exception.type", "exception.message", "db.query.result.id", "db.query.result.distance", "content", "message",
    "document.id", "document.score", "gen_ai.event.content",
]  # fmt: skip

texts = st.one_of(st.sampled_from(HOSTILE), st.sampled_from(sorted(KINDS)), st.text(max_size=20))
moments = st.integers(0, 8).map(lambda ticks: START + timedelta(seconds=ticks * TICK))
events = st.builds(
    SpanEvent,
    time=moments,
    name=st.sampled_from(EVENTS),
    attributes=st.dictionaries(st.sampled_from(EVENT_NAMES), texts, max_size=3),
)


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    """Spans of one trace: missing parents, circles and several roots among them."""
    count = draw(st.integers(1, 7))
    ids = [f"{number:016x}" for number in range(1, count + 1)]
    return [
        Span(
            event_id=span_id,
            time=draw(moments),
            trace_id=TRACE,
            span_id=span_id,
            parent_span_id=draw(st.sampled_from([*ids, "", "00000000000000ff"])),
            name=draw(st.sampled_from(["ask", "retrieve", "generate", "x" * 256, "rerank", ""])),
            span_kind=draw(st.sampled_from(sorted(KINDS))),
            duration=draw(st.one_of(st.none(), st.integers(0, 40).map(lambda ticks: ticks * TICK))),
            status=draw(st.sampled_from(["unset", "ok", "error"])),
            status_message=draw(texts),
            attributes=draw(st.dictionaries(st.sampled_from(NAMES), texts, max_size=6)),
            resource=draw(st.dictionaries(st.sampled_from(["service.name", "service.version"]), texts, max_size=2)),
            events=draw(st.lists(events, max_size=2)),
        )
        for span_id in ids
    ]


@settings(max_examples=times(60, 1000))
@given(traces(), st.randoms(use_true_random=False))
def test_the_order_of_spans_and_their_repetition_change_nothing(spans: list[Span], chance: random.Random) -> None:
    made = query_of(spans)
    shuffled = spans + chance.choices(spans, k=len(spans))
    chance.shuffle(shuffled)
    assert query_of(shuffled) == made


@settings(max_examples=times(60, 1000))
@given(traces(), traces(), st.randoms(use_true_random=False))
def test_of_two_spans_with_one_id_the_same_is_taken_in_any_order(
    spans: list[Span], others: list[Span], chance: random.Random
) -> None:
    both = spans + others
    made = query_of(both)
    chance.shuffle(both)
    assert query_of(both) == made


@settings(max_examples=times(100, 1000))
@given(traces(), st.booleans())
def test_whatever_attributes_hold_the_event_keeps_its_bounds(spans: list[Span], incomplete: bool) -> None:
    made = query_of(spans, incomplete=incomplete)
    if isinstance(made, Query):
        valid(made)
        assert len(msgspec.json.encode(made)) < MAX_LINE
        assert made.origin == "internal"
        assert "incomplete" in made.tags or not incomplete


def test_an_event_of_the_longest_texts_fits_a_line_of_the_journal() -> None:
    long = "\x01" * 262_144  # six bytes each in JSON
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": long, "output.value": long}, status="error", message=long)
    documents = {f"retrieval.documents.{i}.document.content": f"{i}{long}" for i in range(MAX_DOCUMENTS)}
    trace.kind("RETRIEVER", values=documents, inside=root)
    metadata = json.dumps({f"key{i}": long for i in range(100)})
    trace.kind("LLM", values={"metadata": metadata}, inside=root, status="error")
    made = trace.query()
    assert len(msgspec.json.encode(made)) < MAX_LINE
    assert made.document_count == MAX_DOCUMENTS
    assert made.query
    assert made.answer


@pytest.mark.parametrize("kinds", [("CHAIN",), ("RETRIEVER", "CHAIN"), ("LLM", "EMBEDDING"), ("RETRIEVER",)])
def test_a_trace_as_deep_as_it_is_long_is_read(kinds: tuple[str, ...]) -> None:
    trace = Trace()
    inside = None
    for number in range(3000):
        values = {"llm.token_count.prompt": 1, "output.value": "[]"}
        inside = trace.kind(kinds[number % len(kinds)], values=values, inside=inside)
        trace.kind("RETRIEVER" if number % 2 else "LLM", inside=inside)
    made = trace.query()
    assert made.response_time == 1.0


def test_the_largest_span_is_read() -> None:
    trace = Trace()
    documents = {f"retrieval.documents.{i}.document.other{i}": "x" for i in range(MAX_ATTRIBUTES)}
    events = [SpanEvent(time=START, name="gen_ai.choice", attributes={"content": "{"}) for _ in range(MAX_SPAN_EVENTS)]
    trace.kind("RETRIEVER", values=documents, events=events)
    assert trace.query().documents is None


@settings(max_examples=200)
@given(traces())
def test_stage_times_are_those_of_a_clock_that_ticks(spans: list[Span]) -> None:
    tree = Tree(spans)
    seconds = stage_times(tree.nodes)
    for stage in ("embedding", "retrieval", "rerank", "generation"):
        members = [node for node in tree.nodes if node.stage == stage and node.seconds is not None]
        ticks = {tick for node in members for tick in _ticks(node) if not _taken(node, stage, tick)}
        assert seconds.get(stage, 0.0) == len(ticks) * TICK
        assert (stage in seconds) == bool(members)


def _ticks(node: Node) -> range:
    return range(round(node.start / TICK), round(node.end / TICK))


def _taken(node: Node, stage: str, tick: int) -> bool:
    """Whether another stage inside the span has the moment."""
    return any(
        (child.stage not in ("", stage) and child.seconds is not None and tick in _ticks(child))
        or _taken(child, stage, tick)
        for child in node.children
    )


@settings(max_examples=times(60, 1000))
@given(st.lists(st.tuples(st.integers(0, 20), st.one_of(st.none(), st.integers(0, 50))), min_size=1, max_size=12))
def test_tokens_are_those_of_the_innermost_spans_that_report_any(shape: list[tuple[int, int | None]]) -> None:
    trace = Trace()
    for parent, count in shape:
        values = {} if count is None else {"llm.token_count.prompt": count}
        inside = trace.spans[parent % len(trace.spans)] if trace.spans else None
        trace.kind("LLM", values=values, inside=inside)
    children: dict[str, list[Span]] = {}
    for span in trace.spans:
        children.setdefault(span.parent_span_id, []).append(span)

    def total(span: Span) -> int:
        below = sum(total(child) for child in children.get(span.span_id, []))
        return below or int(span.attributes.get("llm.token_count.prompt", "0"))

    known = any(count is not None for _, count in shape)
    assert usage_of(Tree(trace.spans).nodes).input_tokens == (total(trace.spans[0]) if known else None)


def test_a_circle_of_parents_is_opened() -> None:
    trace = Trace()
    one = trace.kind("LLM", values={"output.value": "yes"})
    other = trace.kind("CHAIN", inside=one)
    circle = [msgspec.structs.replace(one, parent_span_id=other.span_id), other]
    nodes = Tree(circle).nodes
    assert [(node.depth, node.parent is None) for node in nodes] == [(1, False), (0, True)]
    made = query_of(circle)
    assert not isinstance(made, NotAQuery)
    assert made.answer == "yes"
    assert made.tags["incomplete"] == "no root span"
