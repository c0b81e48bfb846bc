"""From the records of an OTLP logs request to events, or the reason why a record is none.

Used by the server's ``/v1/logs``. Barograph keeps no logs. It takes the records that belong to a trace's generative
AI operations: an evaluation result becomes a score, and a message or the details of an inference become a span of
no length under the span that they were written in, so that the query event finds the question and the answer there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from barograph.collect.intake import Intake, Taken
from barograph.collect.otlp import Attributes, identifier, moment, original
from barograph.collect.otlp_spans import event_id_of
from barograph.core.event import AHEAD_SECONDS, EARLIEST, MAX_ATTRIBUTES, MAX_TAGS, Event, Score, Span, SpanEvent
from barograph_client.errors import InvalidEvent
from barograph_client.identifiers import content_id

EVENT_KIND = "EVENT"  # the span_kind of a record that was written inside a span
_LABEL = 256
_RESOURCE = 128
_EVALUATION = "gen_ai.evaluation.result"


def take_records(message: Any, intake: Intake, project: str, now: datetime) -> Iterator[Taken]:
    """What becomes of each record of a request, in order."""
    latest = now + timedelta(seconds=AHEAD_SECONDS)
    for of_resource in message.resource_logs:
        resource = Attributes().read(of_resource.resource.attributes, _RESOURCE)
        for of_scope in of_resource.scope_logs:
            for record in of_scope.log_records:
                try:
                    event = _event(record, resource, of_scope.scope.name[:_LABEL], project, latest)
                except InvalidEvent as error:
                    yield intake.refuse("log", original(record), error, project)
                else:
                    yield intake.take_ready(event)


def _event(record: Any, resource: dict[str, str], scope: str, project: str, latest: datetime) -> Event:
    reader = Attributes()
    attributes = reader.read(record.attributes, MAX_ATTRIBUTES)
    name = record.event_name or attributes.get("event.name", "")
    if not name.startswith("gen_ai."):
        raise InvalidEvent("event_name", "only records of generative AI (gen_ai.…) are kept, no other logs", value=name)
    time = moment(record.time_unix_nano or record.observed_time_unix_nano)
    if not EARLIEST <= time <= latest:
        raise InvalidEvent("time_unix_nano", "lies before 2000 or more than ten minutes ahead", value=time)
    trace_id = identifier(record.trace_id, 16, "trace_id")
    if name == _EVALUATION:
        return _score(attributes, trace_id, time, project)
    span_id = identifier(record.span_id, 8, "span_id")
    details = _body(record.body, reader) | attributes
    own = hashlib.blake2b(msgspec.json.encode([span_id, name, details, time]), digest_size=8).hexdigest()
    return Span(
        event_id=event_id_of(trace_id, own),
        time=time,
        project=project,
        tags=reader.tags(),
        trace_id=trace_id,
        span_id=own,
        parent_span_id=span_id,
        name=name[:_LABEL],
        span_kind=EVENT_KIND,
        duration=0.0,
        scope=scope,
        resource=resource,
        events=[SpanEvent(time=time, name=name[:_LABEL], attributes=details)],
    )


def _body(body: Any, reader: Attributes) -> dict[str, str]:
    """What a record says, by name; a body without names, such as a text, is ``body``."""
    if body.WhichOneof("value") == "kvlist_value":
        return reader.read(body.kvlist_value.values, MAX_TAGS)
    found = reader.read([_Named("body", body)], 1)
    return found if found["body"] else {}


class _Named:
    """A body in the shape of an attribute."""

    def __init__(self, key: str, value: Any) -> None:
        self.key = key
        self.value = value


def _score(attributes: dict[str, str], trace_id: str, time: datetime, project: str) -> Score:
    """https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/#event-gen_aievaluationresult"""
    name = attributes.get("gen_ai.evaluation.name", "")
    text = attributes.get("gen_ai.evaluation.score.value", "")
    try:
        value = float(text)
    except ValueError:
        reason = "is missing" if not text else "is no number"
        raise InvalidEvent("gen_ai.evaluation.score.value", reason, value=text or None) from None
    label = attributes.get("gen_ai.evaluation.score.label", "")
    score = {
        "event_id": content_id(msgspec.json.encode([trace_id, name, text, label, time])),
        "time": time,
        "project": project,
        "name": name,
        "value": value,
        "trace_id": trace_id,
        "comment": attributes.get("gen_ai.evaluation.explanation", ""),
        "tags": {"label": label} if label else {},
    }
    try:
        return msgspec.convert(score, Score)
    except msgspec.ValidationError as error:
        raise InvalidEvent("gen_ai.evaluation.name", str(error)) from None
