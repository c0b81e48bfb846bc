"""The wire format of OpenTelemetry (OTLP 1): what arrives as protobuf or as JSON, as messages of one shape.

Used by the server. ``otlp_spans``, ``otlp_metrics`` and ``otlp_logs`` make events of the messages, ``otlp_answers`` has
what goes back, ``otlp_messages`` the structs that JSON is read into.
https://opentelemetry.io/docs/specs/otlp/ and opentelemetry-proto have the format.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from barograph.collect.otlp_crowd import TooManyRecords, is_crowded, is_crowded_json
from barograph.collect.otlp_messages import Form, LogsRequest, MetricsRequest, Signal, TracesRequest
from barograph.core.event import EPOCH, MAX_TAG_TEXT
from barograph_client.errors import InvalidEvent, InvalidInput

MAX_NAME = 128  # characters of an attribute's name
MAX_TEXT = 262_144  # and of its text
_KEPT_ORIGINAL = 4096  # characters of a refused record that are kept
_DEEPEST = 16  # levels of a list or a map in an attribute
_HEXADECIMAL = re.compile("[0-9a-f]+")  # and no white space, which bytes.fromhex takes

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


def read(signal: Signal, body: bytes, form: Form, most: int = 2**31) -> Any:
    """The request's message. Raises InvalidInput for a body that is none.

    Raises TooManyRecords for one of more than ``most`` records, before it builds them: an empty one takes two bytes.
    """
    try:
        if (is_crowded if form == "protobuf" else is_crowded_json)(signal, body, most):
            raise TooManyRecords(f"a request has at most {most:,} records")
        if form == "json":
            return _read_json(signal, body)
        message = _PROTOBUF[signal]()
        message.ParseFromString(body)
        return message
    except (DecodeError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        hint = f"Send an OTLP {_PROTOBUF[signal].DESCRIPTOR.name} with the matching Content-Type."
        raise InvalidInput(f"the body is no OTLP {form}: {error}", hint=hint) from None


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
