"""How many records an OTLP body holds, told before they are built: an empty one takes two bytes of it.

Used by ``otlp``. A protobuf body is walked by tags and lengths alone; a JSON body is counted by its braces first.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from barograph.collect.otlp_messages import Signal
from barograph_client.errors import InvalidInput


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


class TooManyRecords(InvalidInput):
    """A request has more spans, metrics, points or log records than it may have, or more groups of them."""


def is_crowded(signal: Signal, body: bytes, most: int) -> bool:
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


def is_crowded_json(signal: Signal, body: bytes, most: int) -> bool:
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
