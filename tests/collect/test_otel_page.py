"""docs/integrate/traces.md says what the code does, and its program becomes the query that it promises."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_support import ANSWER, QUESTION, Trace, query, texts

from barograph.collect.otel import Reason, kind_of_span
from barograph.collect.otel_passages import PASSAGE
from barograph.core.event import Query, Span

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "integrate" / "traces.md").read_text(encoding="utf-8")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/barograph/collect").glob("otel*.py"))
PREFIXES = ("gen_ai.", "llm.", "traceloop.", "db.", "openinference.", "langfuse.", "barograph.")
NAMES = sorted({name for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", PAGE) if name.startswith(PREFIXES)})


@pytest.mark.parametrize("name", NAMES)
def test_every_attribute_on_the_page_is_read(name: str) -> None:
    assert f'"{name}"' in CODE or f'"{name}.' in CODE


def test_every_reason_for_not_being_a_query_is_on_the_page() -> None:
    assert [reason for reason in get_args(Reason) if reason != "no spans" and f"| `{reason}` |" not in PAGE] == []


@pytest.mark.parametrize(
    "field", [*re.findall(r"`([a-z_]+)`", PAGE[PAGE.index("| Field |") : PAGE.index("User, session")])]
)
def test_every_field_on_the_page_is_one_of_the_query_or_a_source_of_it(field: str) -> None:
    sources = {"question", "metadata", "user_id", "operation", "agent", "data_source", "response_model", "thread_id"}
    assert field.rstrip("_") in {*Query.__struct_fields__, *sources, "error", "tags"}


def test_the_length_of_kept_passages_is_on_the_page() -> None:
    assert f"The first {PASSAGE:,} characters" in PAGE


def test_the_program_on_the_page_becomes_a_query() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    reply = SimpleNamespace(text=ANSWER, model="m1", prompt_tokens=70, completion_tokens=20)
    program = {
        "tracer": provider.get_tracer("test"),
        "question": QUESTION,
        "user": "ada",
        "visit": "s1",
        "search": lambda question: [SimpleNamespace(id="loans", score=0.75), SimpleNamespace(id="rooms", score=0.5)],
        "generate": lambda question, passages: reply,
    }
    block = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None

    exec(block[1], program)

    made = query([received(one) for one in exporter.get_finished_spans()])
    assert (made.query, made.answer, made.user_id, made.session_id) == (QUESTION, ANSWER, "ada", "s1")
    assert (made.model, made.input_tokens, made.output_tokens) == ("m1", 70, 20)
    assert [(one.id, one.rank, one.score) for one in made.documents or ()] == [("loans", 1, 0.75), ("rooms", 2, 0.5)]
    assert None not in (made.response_time, made.retrieval_time, made.generation_time)


def received(one: object) -> Span:
    """A span of the SDK as the OTLP decoder hands it on."""
    context, parent, attributes = one.context, one.parent, texts(one.attributes)  # type: ignore[attr-defined]
    start, end, name = one.start_time, one.end_time, one.name  # type: ignore[attr-defined]
    return Span(
        event_id=f"{context.span_id:016x}",
        time=datetime.fromtimestamp(start / 1e9, UTC),
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_span_id=f"{parent.span_id:016x}" if parent else "",
        name=name,
        span_kind=kind_of_span(name, attributes, "test"),
        duration=(end - start) / 1e9,
        attributes=attributes,
        resource=Trace().resource,
    )
