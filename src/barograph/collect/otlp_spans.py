"""From the spans of an OTLP request to span events: one event a span, or the reason why it is none.

Used by the server's ``/v1/traces``. What is too long is shortened and says so in a tag: a prompt of a megabyte is no
reason to lose the trace. The event's id is made from the ids of trace and span, so a batch that is exported twice
is kept once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from barograph.collect.intake import Intake, Taken
from barograph.collect.otel import kind_of_span
from barograph.collect.otlp import Attributes, identifier, moment, original
from barograph.core.event import (
    AHEAD_SECONDS,
    EARLIEST,
    MAX_ATTRIBUTES,
    MAX_SECONDS,
    MAX_SPAN_EVENTS,
    MAX_TAGS,
    Span,
    SpanEvent,
    SpanLink,
)
from barograph_client.errors import InvalidEvent
from barograph_client.identifiers import content_id

_LABEL = 256  # characters of a name
_MESSAGE = 65_536  # characters of a status message
_RESOURCE = 128  # attributes of a resource
_FITTING = (65_536, 16_384, 4_096, 512)  # lengths tried, one after the other, for the texts of a span that is too large

_KINDS = ("", "internal", "server", "client", "producer", "consumer")
_KIND_NAMES = {f"SPAN_KIND_{name.upper()}": name for name in _KINDS if name}
_STATUSES: tuple[Literal["unset", "ok", "error"], ...] = ("unset", "ok", "error")
_STATUS_NAMES = {f"STATUS_CODE_{name.upper()}": name for name in _STATUSES}
_NO_PARENT = frozenset(("", b"", bytes(8), "0" * 16))  # zeros are against the specification, and sent


def take_spans(message: Any, intake: Intake, project: str, now: datetime) -> Iterator[Taken]:
    """What becomes of each span of a request, in order."""
    latest = now + timedelta(seconds=AHEAD_SECONDS)
    for of_resource in message.resource_spans:
        reader = Attributes()
        resource = reader.read(of_resource.resource.attributes, _RESOURCE)
        for of_scope in of_resource.scope_spans:
            scope = of_scope.scope.name[:_LABEL]
            for one in of_scope.spans:
                try:
                    span = _span(one, resource, scope, project, latest)
                except InvalidEvent as error:
                    yield intake.refuse("span", original(one), error, project)
                    continue
                taken = intake.take_ready(span)
                for length in _FITTING:
                    if taken.error is None:
                        break
                    taken = intake.take_ready(_shortened(span, length))
                yield taken


def event_id_of(trace_id: str, span_id: str) -> str:
    """The id of a span's event: the same for the same span, whenever it is sent (a UUID version 8)."""
    return content_id(f"{trace_id}{span_id}".encode())


def _span(one: Any, resource: dict[str, str], scope: str, project: str, latest: datetime) -> Span:
    trace_id = identifier(one.trace_id, 16, "trace_id")
    span_id = identifier(one.span_id, 8, "span_id")
    parent = "" if one.parent_span_id in _NO_PARENT else identifier(one.parent_span_id, 8, "parent_span_id")
    start = moment(one.start_time_unix_nano)
    if not EARLIEST <= start <= latest:
        raise InvalidEvent("start_time_unix_nano", "lies before 2000 or more than ten minutes ahead", value=start)
    try:
        seconds = (int(one.end_time_unix_nano) - int(one.start_time_unix_nano)) / 1e9
    except ValueError:
        raise InvalidEvent("end_time_unix_nano", "is no time in nanoseconds", value=one.end_time_unix_nano) from None
    if not 0 <= seconds <= MAX_SECONDS:
        raise InvalidEvent("end_time_unix_nano", "lies before the start, or more than a year behind it", value=seconds)
    reader = Attributes()
    attributes = reader.read(one.attributes, MAX_ATTRIBUTES)
    name = one.name[:_LABEL]
    events = [_event(event, reader) for event in one.events[:MAX_SPAN_EVENTS]] if one.events else []
    links = [
        SpanLink(trace_id=_link(link.trace_id), span_id=_link(link.span_id)) for link in one.links[:MAX_SPAN_EVENTS]
    ]
    if len(one.events) > MAX_SPAN_EVENTS:
        reader.cut.append("events")
    return Span(
        event_id=event_id_of(trace_id, span_id),
        time=start,
        project=project,
        tags=reader.tags(),
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent,
        name=name,
        span_kind=kind_of_span(name, attributes, scope),
        duration=seconds,
        status=_status(one.status.code),
        status_message=one.status.message[:_MESSAGE],
        otel_kind=_kind(one.kind),
        scope=scope,
        attributes=attributes,
        resource=resource,
        events=events,
        links=links,
    )


def _event(event: Any, reader: Attributes) -> SpanEvent:
    attributes = reader.read(event.attributes, MAX_TAGS)
    return SpanEvent(time=moment(event.time_unix_nano), name=event.name[:_LABEL], attributes=attributes)


def _link(raw: bytes | str) -> str:
    return raw.hex() if isinstance(raw, bytes) else raw[:_LABEL].lower()


def _status(code: int | str) -> Literal["unset", "ok", "error"]:
    if isinstance(code, str):
        return next((status for name, status in zip(_STATUS_NAMES, _STATUSES, strict=True) if name == code), "unset")
    return _STATUSES[code] if 0 <= code < len(_STATUSES) else "unset"


def _kind(kind: int | str) -> str:
    if isinstance(kind, str):
        return _KIND_NAMES.get(kind, "")
    return _KINDS[kind] if 0 <= kind < len(_KINDS) else ""


def _shortened(span: Span, length: int) -> Span:
    """The span with texts of at most that length, told in its tag."""
    long = [name for name, text in span.attributes.items() if len(text) > length]
    events = [
        msgspec.structs.replace(one, attributes={name: text[:length] for name, text in one.attributes.items()})
        for one in span.events
    ]
    told = ", ".join([*filter(None, [span.tags.get("shortened", "")]), *long])[: 16 * length]
    return msgspec.structs.replace(
        span,
        attributes={name: text[:length] for name, text in span.attributes.items()},
        events=events,
        status_message=span.status_message[:length],
        tags=span.tags | {"shortened": told or "events"},
    )
