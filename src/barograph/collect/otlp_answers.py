"""What goes back to an exporter: an OTLP response, or a google.rpc.Status, as protobuf or as JSON.

Used by the server, over HTTP and gRPC. https://opentelemetry.io/docs/specs/otlp/ has both.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from barograph.collect.otlp_messages import Form, Signal

_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
_ANSWERS: dict[Signal, tuple[type[Any], str]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
}


def answer(signal: Signal, form: Form, rejected: int, reason: str) -> bytes:
    """The response's body: empty for complete success, else how many were refused and why."""
    kind, count_name = _ANSWERS[signal]
    if form == "json":
        camel = "".join(part.capitalize() if i else part for i, part in enumerate(count_name.split("_")))
        partial = {"partialSuccess": {camel: str(rejected), "errorMessage": reason}} if rejected else {}
        return msgspec.json.encode(partial)
    message = kind()
    if rejected:
        setattr(message.partial_success, count_name, rejected)
        message.partial_success.error_message = reason
    data: bytes = message.SerializeToString()
    return data


def failure(form: Form, code: int, message: str, retry_after: float | None = None) -> bytes:
    """The body of an answer that is no success: a google.rpc.Status, as OTLP asks for.

    ``retry_after`` seconds go into its details as a RetryInfo, for gRPC, which has no header for them.
    """
    if form == "json":
        return msgspec.json.encode({"code": code, "message": message})
    status = b"\x08" + _varint(code) + _part(2, message.encode("utf-8", "replace"))
    if retry_after is None:
        return status
    delay = b"\x08" + _varint(max(1, math.ceil(retry_after)))  # a Duration of whole seconds
    return status + _part(3, _part(1, _RETRY_INFO) + _part(2, _part(1, delay)))


def _part(number: int, data: bytes) -> bytes:
    """A field of protobuf that has a length."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    """A number in protobuf's variable length."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
