"""The messages of OTLP/JSON, as structs that have the attributes of the protobuf classes.

Read by ``otlp``, so that what walks a request need not know in which form it came; the OpenAPI document has them too.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct, field

Signal = Literal["traces", "metrics", "logs"]
Form = Literal["protobuf", "json"]


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
