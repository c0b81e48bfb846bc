"""What the OTLP tests share: requests in a few words, in each of the formats, and what the journal made of them."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.support.serving import Reply, Serving

from barograph.control.database import ControlPlane
from barograph.control.keys import KeyRepository, Scope
from barograph.control.projects import ProjectRepository
from barograph_client.clock import SystemClock

PROTOBUF, JSON = "application/x-protobuf", "application/json"
RESPONSES: dict[str, type[Message]] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}
_IDS = ("traceId", "spanId", "parentSpanId")
_LONG = ("timeUnixNano", "startTimeUnixNano", "endTimeUnixNano", "observedTimeUnixNano", "intValue", "asInt", "count")
_numbers = iter(range(1, 10**9))


def nanos(seconds: float = 0.0) -> int:
    """So many seconds from now, in whole microseconds."""
    return round((time.time() + seconds) * 1e6) * 1000


def value(given: object) -> AnyValue:
    """A Python value as OTLP has it."""
    match given:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=given)
        case str():
            return AnyValue(string_value=given)
        case int():
            return AnyValue(int_value=given)
        case float():
            return AnyValue(double_value=given)
        case bytes():
            return AnyValue(bytes_value=given)
        case Mapping():
            return AnyValue(kvlist_value=KeyValueList(values=attributes(given)))
        case Sequence():
            return AnyValue(array_value=ArrayValue(values=[value(one) for one in given]))
    raise AssertionError(given)


def attributes(given: Mapping[str, object] | None) -> list[KeyValue]:
    return [KeyValue(key=name, value=value(one)) for name, one in (given or {}).items()]


def span(name: str = "ask", given: Mapping[str, object] | None = None, **more: Any) -> Span:
    """A span of a trace of its own, which just ended."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "trace_id": (0xACE << 64 | number).to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "start_time_unix_nano": nanos(-1),
        "end_time_unix_nano": nanos(),
        "kind": Span.SPAN_KIND_INTERNAL,
        **more,
    }
    return Span(name=name, attributes=attributes(given), **fields)


def traces(*spans: Span, service: Mapping[str, object] | None = None, scope: str = "tests") -> Message:
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add(resource=Resource(attributes=attributes(service)))
    of_resource.scope_spans.add(scope=InstrumentationScope(name=scope), spans=spans)
    return request


def metrics(*given: Metric, service: Mapping[str, object] | None = None) -> Message:
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add(resource=Resource(attributes=attributes(service)))
    of_resource.scope_metrics.add(metrics=given)
    return request


def logs(*given: LogRecord, service: Mapping[str, object] | None = None) -> Message:
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add(resource=Resource(attributes=attributes(service)))
    of_resource.scope_logs.add(scope=InstrumentationScope(name="tests"), log_records=given)
    return request


def as_json(message: Message, *, numbers: bool = False) -> bytes:
    """OTLP/JSON: ids in hexadecimal, enums as numbers; ``numbers`` writes 64-bit numbers without quotes."""
    return json.dumps(_otlp(MessageToDict(message, use_integers_for_enums=True), numbers)).encode()


def _otlp(given: Any, numbers: bool) -> Any:
    if isinstance(given, list):
        return [_otlp(one, numbers) for one in given]
    if not isinstance(given, dict):
        return given
    found = {}
    for name, one in given.items():
        if name in _IDS:
            found[name] = base64.b64decode(one).hex()
        elif numbers and name in _LONG and isinstance(one, str):
            found[name] = int(one)
        else:
            found[name] = _otlp(one, numbers)
    return found


def packed(body: bytes, encoding: str) -> bytes:
    return {"": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[encoding](body)


def send(
    server: Serving, signal: str, body: Message | bytes, form: str = PROTOBUF, *, encoding: str = "", **headers: str
) -> Reply:
    """Send a request, as protobuf or JSON."""
    if isinstance(body, Message):
        body = body.SerializeToString() if form == PROTOBUF else as_json(body)
    every = {"Content-Type": form, **({"Content-Encoding": encoding} if encoding else {})}
    every |= {name.replace("_", "-"): text for name, text in headers.items()}
    return server.ask(f"/v1/{signal}", packed(body, encoding), every)


def rejected_of(reply: Reply, signal: str = "traces") -> tuple[int, str]:
    """How many the answer says were refused, and why."""
    assert reply.status == 200, reply.body
    if reply.headers["content-type"] == JSON:
        partial = reply.json.get("partialSuccess", {})
        count = next((int(one) for name, one in partial.items() if name.startswith("rejected")), 0)
        return count, partial.get("errorMessage", "")
    return rejected_in(reply.body, signal)


def rejected_in(body: bytes, signal: str = "traces") -> tuple[int, str]:
    answer: Any = RESPONSES[signal].FromString(body)
    partial = answer.partial_success
    name = next(field.name for field in partial.DESCRIPTOR.fields if field.name.startswith("rejected"))
    return getattr(partial, name), partial.error_message


def kept(server: Serving, kind: str, **having: object) -> list[dict[str, Any]]:
    """The journal's lines of a kind that have these values."""
    return kept_in(server.directory, kind, **having)


def kept_in(directory: Path, kind: str, **having: object) -> list[dict[str, Any]]:
    paths = sorted((directory / "journal" / kind).glob("*/[0-9]*.jsonl"))
    found = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    return [one for one in found if all(one.get(name) == wanted for name, wanted in having.items())]


def with_control(directory: Path, work: Callable[[KeyRepository, ProjectRepository], str]) -> str:
    """Make keys and projects beside a server that runs."""
    plane = ControlPlane(directory / "control.db", SystemClock())
    try:
        return work(KeyRepository(plane), ProjectRepository(plane))
    finally:
        plane.close()


def make_projects(directory: Path, names: Iterable[str]) -> None:
    for name in names:
        with_control(directory, lambda _, projects, name=name: projects.create(name, actor="tests").name)  # type: ignore[misc]


def make_key(directory: Path, scope: Scope, project: str = "default") -> str:
    return with_control(directory, lambda keys, _: keys.create(scope=scope, project=project, actor="tests")[1])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
