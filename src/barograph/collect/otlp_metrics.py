"""From the points of an OTLP metrics request to metric events, or the reason why a point is none.

Used by the server's ``/v1/metrics``. A gauge's or a sum's point is one event. A histogram's point becomes what
Prometheus makes of one: ``<name>_count``, ``<name>_sum``, ``<name>_min``, ``<name>_max`` and, for each bound,
``<name>_bucket`` with the tag ``le`` (counts up to it). Numbers are kept as they came; the tags ``temporality``
(delta or cumulative) and ``monotonic`` tell how they add up. Exponential histograms and summaries are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from barograph.collect.intake import Intake, Taken
from barograph.collect.otlp import Attributes, identity, moment, original
from barograph.core.event import AHEAD_SECONDS, EARLIEST, MAX_NUMBER, MAX_TAGS, Metric
from barograph_client.errors import InvalidEvent
from barograph_client.identifiers import content_id

_NAME = 128
_LABEL = 256
_OWN_TAGS = 4  # temporality, monotonic, le, shortened
_MAX_BUCKETS = 512
_NO_RECORDED_VALUE = 1  # the flag of a point that says: there is none
_TEMPORALITY = {1: "delta", 2: "cumulative", "AGGREGATION_TEMPORALITY_DELTA": "delta",
                "AGGREGATION_TEMPORALITY_CUMULATIVE": "cumulative"}  # fmt: skip
_WHY = "gauges, sums and histograms are kept; {} are not"
_OTHERS = {"exponential_histogram": "exponential histograms", "summary": "summaries"}


def take_points(message: Any, intake: Intake, project: str, now: datetime) -> Iterator[list[Taken]]:
    """What becomes of each point of a request, in order: several events for a histogram's point."""
    latest = now + timedelta(seconds=AHEAD_SECONDS)
    for of_resource in message.resource_metrics:
        reader = Attributes()
        resource = reader.read(of_resource.resource.attributes, MAX_TAGS)
        whole = identity(of_resource.resource.attributes)
        for of_scope in of_resource.scope_metrics:
            source = f"{whole}\0{of_scope.scope.name}\0{of_scope.scope.version}"
            for metric in of_scope.metrics:
                yield from _metric(metric, source, resource, intake, project, latest)


def _metric(
    metric: Any, source: str, resource: dict[str, str], intake: Intake, project: str, latest: datetime
) -> Iterator[list[Taken]]:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind) if kind else None
    if data is None or kind not in ("gauge", "sum", "histogram"):
        reason = _WHY.format(_OTHERS.get(kind or "", "metrics without data"))
        for _ in data.data_points if data is not None else (None,):
            yield [intake.refuse("metric", original(metric), InvalidEvent(metric.name, reason), project)]
        return
    for point in data.data_points:
        try:
            events = _events(metric, kind, data, point, source, resource, project, latest)
        except InvalidEvent as error:
            yield [intake.refuse("metric", original(point), error, project)]
        else:
            yield [intake.take_ready(event) for event in events]


def _events(
    metric: Any,
    kind: str,
    data: Any,
    point: Any,
    source: str,
    resource: dict[str, str],
    project: str,
    latest: datetime,
) -> list[Metric]:
    if not 0 < len(metric.name) <= _NAME:
        raise InvalidEvent("name", f"has 1 to {_NAME} characters", value=metric.name)
    time = moment(point.time_unix_nano)
    if not EARLIEST <= time <= latest:
        raise InvalidEvent("time_unix_nano", "lies before 2000 or more than ten minutes ahead", value=time)
    if point.flags & _NO_RECORDED_VALUE:
        raise InvalidEvent("flags", "say that there is no value")
    reader = Attributes()
    tags = reader.read(point.attributes, MAX_TAGS - _OWN_TAGS)
    for name, text in resource.items():
        if len(tags) < MAX_TAGS - _OWN_TAGS:
            tags.setdefault(name, text)
    if kind != "gauge":
        tags["temporality"] = _TEMPORALITY.get(data.aggregation_temporality, "unspecified")
    if kind == "sum":
        tags["monotonic"] = "true" if data.is_monotonic else "false"
    series = f"{source}\0{metric.unit}"
    if reader.cut:  # what tells this point from another may be in what was cut
        tags |= reader.tags()
        series += f"\0{identity(point.attributes)}"
    labels = {
        "unit": metric.unit[:_LABEL],
        "pipeline": resource.get("service.name", "")[:_LABEL],
        "environment": (resource.get("deployment.environment.name") or resource.get("deployment.environment", ""))[
            :_LABEL
        ],
    }
    return [
        Metric(
            event_id=_event_id(name, series, all_tags, time),
            time=time,
            project=project,
            name=name,
            value=_number(value, name),
            tags=all_tags,
            **{**labels, **({"unit": "1"} if name.endswith(("_count", "_bucket")) and kind == "histogram" else {})},
        )
        for name, value, all_tags in _values(metric.name, kind, point, tags)
    ]


def _values(name: str, kind: str, point: Any, tags: dict[str, str]) -> list[tuple[str, Any, dict[str, str]]]:
    if kind != "histogram":
        which = point.WhichOneof("value")
        if which is None:
            raise InvalidEvent("value", "is missing")
        return [(name, getattr(point, which), tags)]
    if len(name) + len("_bucket") > _NAME:
        raise InvalidEvent("name", f"has at most {_NAME - len('_bucket')} characters for a histogram", value=name)
    found = [(f"{name}_count", point.count, tags)]
    found += [(f"{name}_{part}", getattr(point, part), tags) for part in ("sum", "min", "max") if point.HasField(part)]
    try:
        counts = [int(count) for count in point.bucket_counts]
        bounds = [str(float(bound)) for bound in point.explicit_bounds]
    except ValueError:
        raise InvalidEvent("bucket_counts", "and bounds are numbers") from None
    if counts and (len(counts) != len(bounds) + 1 or len(counts) > _MAX_BUCKETS):
        raise InvalidEvent("bucket_counts", f"are one more than the bounds, and at most {_MAX_BUCKETS}")
    up_to = 0
    for count, bound in zip(counts, [*bounds, "+Inf"], strict=False):
        up_to += count
        found.append((f"{name}_bucket", up_to, tags | {"le": bound}))
    return found


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidEvent(name, "is no number", value=value) from None
    if not math.isfinite(number) or abs(number) > MAX_NUMBER:
        raise InvalidEvent(name, "is no finite number", value=value)
    return number


def _event_id(name: str, series: str, tags: dict[str, str], time: datetime) -> str:
    """The same point has the same id, so a batch that is exported twice is kept once (a UUID version 8)."""
    key = "\0".join([name, series, time.isoformat(), *(f"{key}\1{text}" for key, text in sorted(tags.items()))])
    return content_id(key.encode("utf-8", "replace"))
