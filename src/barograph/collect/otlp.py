"""The wire format of OpenTelemetry (OTLP 1): what arrives as protobuf or as JSON, as messages of one shape.

Used by the server. ``otlp_spans``, ``otlp_metrics`` and ``otlp_logs`` make events of the messages, ``otlp_answers`` has
what goes back. JSON is read into structs that have the attributes of the protobuf classes, so that what walks them need
not know which it has. https://opentelemetry.io/docs/specs/otlp/ and opentelemetry-proto have the format.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from google.protobuf.message import DecodeError, Message
from msgspec import Struct, field
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from barograph.core.event import EPOCH, MAX_TAG_TEXT
from barograph_client.errors import InvalidEvent, InvalidInput

Signal = Literal["traces", "metrics", "logs"]
Form = Literal["protobuf", "json"]

MAX_NAME = 128  # characters of an attribute's name
MAX_TEXT = 262_144  # and of its text
_KEPT_ORIGINAL = 4096  # characters of a refused record that are kept
_DEEPEST = 16  # levels of a list or a map in an attribute
_HEXADECIMAL = re.compile("[0-9a-f]+")  # and no white space, which bytes.fromhex takes


class Wire(Struct, rename="camel"):
    """A message of OTLP/JSON. Numbers of 64 bits may come as text, bytes of ids come in hexadecimal."""


class AnyValue(Wire):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: ArrayValue | None = None
    kvlist_value: KeyValueList | None = None
    bytes_value: str | None = None

    def WhichOneof(self, name: str) -> str | None:  # noqa: N802 - as the protobuf class has it
        """Which of the fields is set."""
        return next((one for one in self.__struct_fields__ if getattr(self, one) is not None), None)


class KeyValue(Wire):
    key: str = ""
    value: AnyValue = field(default_factory=AnyValue)


class ArrayValue(Wire):
    values: list[AnyValue] = []


class KeyValueList(Wire):
    values: list[KeyValue] = []


class Resource(Wire):
    attributes: list[KeyValue] = []


class Scope(Wire):
    name: str = ""
    version: str = ""


class StatusOf(Wire):
    message: str = ""
    code: int | str = 0


class EventOf(Wire):
    time_unix_nano: int | str = 0
    name: str = ""
    attributes: list[KeyValue] = []


class LinkOf(Wire):
    trace_id: str = ""
    span_id: str = ""


class SpanOf(Wire):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int | str = 0
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[KeyValue] = []
    events: list[EventOf] = []
    links: list[LinkOf] = []
    status: StatusOf = field(default_factory=StatusOf)


class ScopeSpans(Wire):
    scope: Scope = field(default_factory=Scope)
    spans: list[SpanOf] = []


class ResourceSpans(Wire):
    resource: Resource = field(default_factory=Resource)
    scope_spans: list[ScopeSpans] = []


class TracesRequest(Wire):
    resource_spans: list[ResourceSpans] = []


class NumberPoint(Wire):
    attributes: list[KeyValue] = []
    start_time_unix_nano: int | str = 0
    time_unix_nano: int | str = 0
    as_double: float | str | None = None
    as_int: int | str | None = None
    flags: int = 0

    def WhichOneof(self, name: str) -> str | None:  # noqa: N802
        """Which of the two is set."""
        return "as_double" if self.as_double is not None else "as_int" if self.as_int is not None else None


class HistogramPoint(Wire):
    attributes: list[KeyValue] = []
    start_time_unix_nano: int | str = 0
    time_unix_nano: int | str = 0
    count: int | str = 0
    sum: float | str | None = None
    bucket_counts: list[int | str] = []
    explicit_bounds: list[float | str] = []
    min: float | str | None = None
    max: float | str | None = None
    flags: int = 0

    def HasField(self, name: str) -> bool:  # noqa: N802
        """Whether an optional number is there."""
        return getattr(self, name) is not None


class Gauge(Wire):
    data_points: list[NumberPoint] = []


class Sum(Wire):
    data_points: list[NumberPoint] = []
    aggregation_temporality: int | str = 0
    is_monotonic: bool = False


class Histogram(Wire):
    data_points: list[HistogramPoint] = []
    aggregation_temporality: int | str = 0


class Points(Wire):
    data_points: list[msgspec.Raw] = []


class MetricOf(Wire):
    name: str = ""
    unit: str = ""
    gauge: Gauge | None = None
    sum: Sum | None = None
    histogram: Histogram | None = None
    exponential_histogram: Points | None = None
    summary: Points | None = None

    def WhichOneof(self, name: str) -> str | None:  # noqa: N802
        """Which kind of metric it is."""
        kinds = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
        return next((one for one in kinds if getattr(self, one) is not None), None)


class ScopeMetrics(Wire):
    scope: Scope = field(default_factory=Scope)
    metrics: list[MetricOf] = []


class ResourceMetrics(Wire):
    resource: Resource = field(default_factory=Resource)
    scope_metrics: list[ScopeMetrics] = []


class MetricsRequest(Wire):
    resource_metrics: list[ResourceMetrics] = []


class LogOf(Wire):
    time_unix_nano: int | str = 0
    observed_time_unix_nano: int | str = 0
    severity_text: str = ""
    body: AnyValue = field(default_factory=AnyValue)
    attributes: list[KeyValue] = []
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


class ScopeLogs(Wire):
    scope: Scope = field(default_factory=Scope)
    log_records: list[LogOf] = []


class ResourceLogs(Wire):
    resource: Resource = field(default_factory=Resource)
    scope_logs: list[ScopeLogs] = []


class LogsRequest(Wire):
    resource_logs: list[ResourceLogs] = []


class _Empty(Struct, gc=False):
    """A record of which no more is read than that it is there."""


class _Counted(Struct, rename="camel"):
    """What is read of a message to count the records in it."""


class _ScopeShape(_Counted):
    spans: list[_Empty | None] | None = None
    log_records: list[_Empty | None] | None = None


class _ResourceShape(_Counted):
    scope_spans: list[_ScopeShape | None] | None = None
    scope_logs: list[_ScopeShape | None] | None = None


class _Shape(_Counted):
    resource_spans: list[_ResourceShape | None] | None = None
    resource_logs: list[_ResourceShape | None] | None = None


class _DataShape(_Counted):
    data_points: list[_Empty | None] | None = None


class _MetricShape(_Counted):
    gauge: _DataShape | None = None
    sum: _DataShape | None = None
    histogram: _DataShape | None = None
    exponential_histogram: _DataShape | None = None
    summary: _DataShape | None = None


class _MetricsScopeShape(_Counted):
    metrics: list[_MetricShape | None] | None = None


class _MetricsResourceShape(_Counted):
    scope_metrics: list[_MetricsScopeShape | None] | None = None


class _MetricsShape(_Counted):
    resource_metrics: list[_MetricsResourceShape | None] | None = None


_SHAPES: dict[Signal, msgspec.json.Decoder[Any]] = {
    "traces": msgspec.json.Decoder(_Shape),
    "metrics": msgspec.json.Decoder(_MetricsShape),
    "logs": msgspec.json.Decoder(_Shape),
}
_BRACES = 64  # in a record's JSON, on average, where there are most records
_FEW_BRACES = 1_000_000  # that are no reason to refuse a body

# The tags of the messages of each level: of a resource, of a scope, records; metrics have points of five kinds in them.
_RECORDS = ((0x0A,), (0x12,), (0x12,))
_LEVELS: dict[Signal, tuple[tuple[int, ...], ...]] = {
    "traces": _RECORDS,
    "metrics": (*_RECORDS, (0x2A, 0x3A, 0x4A, 0x52, 0x5A), (0x0A,)),
    "logs": _RECORDS,
}
_FIELDS = 16  # beside a record, in its scope and resource and metric, on average
_SIZES = {1: 8, 3: 0, 4: 0, 5: 4}  # of the types of field whose size is not told: groups have their fields behind them

_PROTOBUF: dict[Signal, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_JSON: dict[Signal, msgspec.json.Decoder[Any]] = {
    "traces": msgspec.json.Decoder(TracesRequest),
    "metrics": msgspec.json.Decoder(MetricsRequest),
    "logs": msgspec.json.Decoder(LogsRequest),
}


class TooManyRecords(InvalidInput):
    """A request has more spans, metrics, points or log records than it may have, or more groups of them."""


def read(signal: Signal, body: bytes, form: Form, most: int = 2**31) -> Any:
    """The request's message. Raises InvalidInput for a body that is none.

    Raises TooManyRecords for one of more than ``most`` records, before it builds them: an empty one takes two bytes.
    """
    try:
        if (_is_crowded if form == "protobuf" else _is_crowded_json)(signal, body, most):
            raise TooManyRecords(f"a request has at most {most:,} records")
        if form == "json":
            return _read_json(signal, body)
        message = _PROTOBUF[signal]()
        message.ParseFromString(body)
        return message
    except (DecodeError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        hint = f"Send an OTLP {_PROTOBUF[signal].DESCRIPTOR.name} with the matching Content-Type."
        raise InvalidInput(f"the body is no OTLP {form}: {error}", hint=hint) from None


def _is_crowded(signal: Signal, body: bytes, most: int) -> bool:
    """Whether some level of a protobuf body has more than ``most`` messages, told by tags and lengths alone.

    What is malformed is left to the parser.
    """
    levels = _LEVELS[signal]
    found = [0] * len(levels)
    fields = _FIELDS * most + 1000  # that are stepped over, known or not
    inside = [(0, len(body), 0)]
    try:
        while inside:
            at, end, level = inside.pop()
            wanted = levels[level]
            while at < end:
                fields -= 1
                if fields < 0:
                    return True
                tag = body[at]
                at += 1
                if tag > 127:
                    tag, at = _varint(body, at - 1)
                kind = tag & 7
                if kind == 2:
                    size = body[at]
                    at += 1
                    if size > 127:
                        size, at = _varint(body, at - 1)
                    if tag in wanted:
                        found[level] += 1
                        if found[level] > most:
                            return True
                        if level + 1 < len(levels):
                            inside.append((at, at + size, level + 1))
                    at += size
                elif kind == 0:
                    _, at = _varint(body, at)
                else:
                    at += _SIZES[kind]
    except (IndexError, KeyError):  # it ends too early, or has a type of field that there is not
        return False
    return False


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number that stands there, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError


def _is_crowded_json(signal: Signal, body: bytes, most: int) -> bool:
    """The same of a JSON body: a record has a brace, so few need a look; and then they are read as empty ones."""
    braces = body.count(b"{")
    if braces <= most:
        return False
    if braces > max(_BRACES * most, _FEW_BRACES):
        return True
    level: list[Any] = [_SHAPES[signal].decode(body)]
    while level and not isinstance(level[0], _Empty):
        level = [
            one
            for of in level
            for name in of.__struct_fields__
            if (inner := getattr(of, name)) is not None
            for one in (inner if isinstance(inner, list) else [inner])
            if one is not None
        ]
        if len(level) > most:
            return True
    return False


def _read_json(signal: Signal, body: bytes) -> Any:
    try:
        return _JSON[signal].decode(body)
    except msgspec.ValidationError:  # null is a field's default, as in all JSON of protobuf; few send it
        if b"null" not in body:
            raise
        return msgspec.convert(_without_null(msgspec.json.decode(body)), _JSON[signal].type)


def _without_null(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_null(one) for name, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if isinstance(value, list) else value


# parts that all signals share


class Attributes:
    """Reads attribute lists into texts, and remembers what had to be shortened."""

    def __init__(self) -> None:
        self.cut: list[str] = []  # names of what is not whole

    def read(self, items: Sequence[Any], most: int) -> dict[str, str]:
        """Names to texts: texts as they are, other values as JSON."""
        found: dict[str, str] = {}
        for item in items:
            value = item.value
            found[item.key] = value.string_value or _text(value)
        if (
            len(items) > most
            or "" in found
            or max(map(len, found), default=0) > MAX_NAME
            or max(map(len, found.values()), default=0) > MAX_TEXT
        ):
            return self._within_bounds(found, most)
        return found

    def _within_bounds(self, given: dict[str, str], most: int) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, text in given.items():
            if len(text) > MAX_TEXT or len(name) > MAX_NAME or not name or len(found) >= most:
                if len(found) >= most:
                    self.cut.append(f"{name[:MAX_NAME]} and what came behind it")
                    break
                self.cut.append(name[:MAX_NAME])
                name, text = name[:MAX_NAME] or "unnamed", text[:MAX_TEXT]
            found[name] = text
        return found

    def tags(self) -> dict[str, str]:
        """The tag that tells what was shortened, if anything was."""
        return {"shortened": ", ".join(self.cut)[:MAX_TAG_TEXT]} if self.cut else {}


def identity(items: Sequence[Any]) -> str:
    """All of an attribute list in a few characters: the same for the same names and values, in whatever order."""
    texts = sorted(f"{item.key}\1{item.value.string_value or _text(item.value)}" for item in items)
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=16).hexdigest()


def _text(value: Any) -> str:
    which = value.WhichOneof("value")
    if which == "int_value":
        return str(value.int_value)
    found = _plain(value, 0)
    return found if isinstance(found, str) else "" if found is None else msgspec.json.encode(found).decode()


def _plain(value: Any, depth: int) -> object:
    which = value.WhichOneof("value")
    if which is None or depth > _DEEPEST:
        return None
    found = getattr(value, which)
    if which in ("int_value", "double_value"):
        return _number(found, which)
    if which == "bytes_value":
        return found if isinstance(found, str) else base64.b64encode(found).decode()
    if which == "array_value":
        return [_plain(one, depth + 1) for one in found.values]
    if which == "kvlist_value":
        return {one.key: _plain(one.value, depth + 1) for one in found.values}
    if which == "string_value_strindex":  # of profiles, which have a table of texts that is not here
        return None
    return found


def _number(value: int | float | str, which: str) -> int | float | str:
    """A number that may have come as text; what is none stays the text that it is."""
    try:
        return int(value) if which == "int_value" else float(value)
    except ValueError:
        return value


def identifier(raw: bytes | str, length: int, name: str) -> str:
    """An id of so many bytes in lower-case hexadecimal. Raises InvalidEvent for one that is none."""
    if type(raw) is bytes and len(raw) == length and any(raw):
        return raw.hex()
    text = raw.hex() if isinstance(raw, bytes) else raw.lower()
    if len(text) != 2 * length or not text.strip("0"):
        raise InvalidEvent(name, f"must have {length} bytes that are not all zero", value=text)
    if not _HEXADECIMAL.fullmatch(text):
        raise InvalidEvent(name, "must be written in hexadecimal", value=raw)
    return text


def moment(nanos: int | str) -> datetime:
    """The moment so many nanoseconds after the beginning of 1970. Raises InvalidEvent."""
    try:
        return EPOCH + timedelta(microseconds=int(nanos) // 1000)
    except (ValueError, OverflowError):
        raise InvalidEvent("time", "is no time in nanoseconds", value=nanos) from None


def original(message: Any) -> str:
    """What was refused, as text that is kept with the reason."""
    text = str(message) if isinstance(message, Message) else msgspec.json.encode(message).decode("utf-8", "replace")
    return text[:_KEPT_ORIGINAL]
