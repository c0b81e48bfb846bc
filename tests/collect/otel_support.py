"""What the tests of spans share: traces written down in a few words, and the ones that real programs sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from barograph.collect.otel import NotAQuery, kind_of_span, query_of
from barograph.core.event import Query, Span, SpanEvent

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
CAPTURED = Path(__file__).parent.parent / "data" / "otel"
QUESTION = "How many books may I borrow?"
ANSWER = "You may borrow twenty books."


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """Attributes as the OTLP decoder hands them on: strings as they are, the rest as JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


class Trace:
    """The spans of one trace, made one after the other. Times are seconds from the trace's start."""

    def __init__(self, service: str = "library", **resource: str) -> None:
        self.resource = {"service.name": service, **resource}
        self.spans: list[Span] = []

    def span(
        self,
        name: str,
        attributes: Mapping[str, object] | None = None,
        *,
        at: float = 0.0,
        took: float | None = 1.0,
        inside: Span | None = None,
        status: Literal["unset", "ok", "error"] = "unset",
        message: str = "",
        events: Sequence[SpanEvent] = (),
    ) -> Span:
        """A span; its kind is what the decoder would find."""
        written = texts(attributes or {})
        number = len(self.spans) + 1
        made = Span(
            event_id=f"00000000-0000-8000-8000-{number:012x}",
            time=START + timedelta(seconds=at),
            trace_id=TRACE,
            span_id=f"{number:016x}",
            parent_span_id=inside.span_id if inside else "",
            name=name,
            span_kind=kind_of_span(name, written, ""),
            duration=took,
            status=status,
            status_message=message,
            attributes=written,
            resource=self.resource,
            events=list(events),
        )
        self.spans.append(made)
        return made

    def kind(self, kind: str, name: str = "", values: Mapping[str, object] | None = None, **more: object) -> Span:
        """A span of OpenInference."""
        attributes = {"openinference.span.kind": kind, **(values or {})}
        return self.span(name or kind.lower(), attributes, **more)  # type: ignore[arg-type]

    def query(self) -> Query:
        """The query that these spans are."""
        return query(self.spans)

    def reason(self) -> str:
        """Why these spans are no query."""
        found = query_of(self.spans)
        assert isinstance(found, NotAQuery)
        return found.reason


def query(spans: Sequence[Span]) -> Query:
    """The query that the spans are; it keeps the bounds of its fields."""
    found = query_of(spans)
    assert isinstance(found, Query), found
    return valid(found)


def valid(found: Query) -> Query:
    """The query as it comes back from its line in the journal."""
    again = msgspec.json.decode(msgspec.json.encode(found), type=Query)
    assert again == found
    return found


def event(name: str, attributes: Mapping[str, object] | None = None, at: float = 0.0) -> SpanEvent:
    """Something that happened in a span."""
    return SpanEvent(time=START + timedelta(seconds=at), name=name, attributes=texts(attributes or {}))


def exception(kind: str, message: str, at: float = 0.0) -> SpanEvent:
    """What OpenTelemetry records of an exception."""
    return event("exception", {"exception.type": kind, "exception.message": message}, at)


def listed(prefix: str, *documents: Mapping[str, object]) -> dict[str, object]:
    """Documents as OpenInference numbers them."""
    return {
        f"{prefix}.{i}.document.{name}": value for i, given in enumerate(documents) for name, value in given.items()
    }


def captured(program: str) -> list[list[Span]]:
    """The traces that a real program sent, in the order in which they began."""
    traces: dict[str, list[Span]] = {}
    for line in (CAPTURED / f"{program}.jsonl").read_bytes().splitlines():
        made = msgspec.json.decode(line, type=Span)
        kind = kind_of_span(made.name, made.attributes, made.scope)  # as the decoder finds it today
        made = msgspec.structs.replace(made, span_kind=kind)
        traces.setdefault(made.trace_id, []).append(made)
    return sorted(traces.values(), key=lambda spans: min(span.time for span in spans))
