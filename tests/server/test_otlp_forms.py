"""Whatever a request holds, protobuf and JSON are read as the same, and no body of either makes the reader fail."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_support import as_json, attributes, logs, metrics, traces, value

from barograph.collect import otlp
from barograph.collect.intake import Intake, Taken
from barograph.collect.otlp_answers import failure
from barograph.collect.otlp_logs import take_records
from barograph.collect.otlp_metrics import take_points
from barograph.collect.otlp_spans import take_spans
from barograph.collect.validate import Validator
from barograph.server.otlp_routes import otlp_problem, refusal_of
from barograph.server.problems import problem_of
from barograph_client.clock import ManualClock
from barograph_client.errors import BarographError, DiskFull, InvalidInput, JournalClosed, JournalError
from barograph_client.identifiers import IdentifierSource

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
NANOS = int(NOW.timestamp()) * 10**9
SIGNALS: tuple[otlp.Signal, ...] = ("traces", "metrics", "logs")

texts = st.text(max_size=12)
floats = st.floats(width=64)
plain = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), floats, texts, st.binary(max_size=6))
values = st.recursive(
    plain, lambda one: st.lists(one, max_size=3) | st.dictionaries(texts, one, max_size=3), max_leaves=6
)
maps = st.dictionaries(texts, values, max_size=4)
moments = st.one_of(st.just(0), st.integers(NANOS - 10**13, NANOS + 10**12), st.integers(0, 2**63 - 1))
ids = st.one_of(st.binary(max_size=16), st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))


@st.composite
def spans(draw: st.DrawFn) -> Span:
    made = Span(
        trace_id=draw(ids),
        span_id=draw(ids),
        parent_span_id=draw(ids),
        name=draw(texts),
        kind=draw(st.integers(0, 7)),
        start_time_unix_nano=draw(moments),
        end_time_unix_nano=draw(moments),
        attributes=attributes(draw(maps)),
    )
    made.status.code = draw(st.integers(0, 3))  # type: ignore[assignment]
    made.status.message = draw(texts)
    for _ in range(draw(st.integers(0, 2))):
        made.events.add(time_unix_nano=draw(moments), name=draw(texts), attributes=attributes(draw(maps)))
        made.links.add(trace_id=draw(ids), span_id=draw(ids))
    return made


@st.composite
def records(draw: st.DrawFn) -> LogRecord:
    names = ["gen_ai.user.message", "gen_ai.choice", "gen_ai.evaluation.result", "", "other"]
    return LogRecord(
        time_unix_nano=draw(moments),
        observed_time_unix_nano=draw(moments),
        trace_id=draw(ids),
        span_id=draw(ids),
        event_name=draw(st.sampled_from(names)),
        body=value(draw(values)),
        attributes=attributes({**draw(maps), "gen_ai.evaluation.name": draw(texts),
                               "gen_ai.evaluation.score.value": draw(plain)}),
    )  # fmt: skip


@st.composite
def measured(draw: st.DrawFn) -> Metric:
    made = Metric(name=draw(texts), unit=draw(texts))
    if draw(st.booleans()):
        gauge = Gauge(data_points=[NumberDataPoint(
            time_unix_nano=draw(moments), as_double=draw(floats), attributes=attributes(draw(maps)),
            flags=draw(st.integers(0, 1)))])  # fmt: skip
        made.gauge.CopyFrom(gauge)
    else:
        data = HistogramDataPoint(
            time_unix_nano=draw(moments), count=draw(st.integers(0, 2**63)), sum=draw(floats),
            bucket_counts=draw(st.lists(st.integers(0, 2**40), max_size=3)),
            explicit_bounds=draw(st.lists(floats, max_size=3)),
        )  # fmt: skip
        made.histogram.CopyFrom(Histogram(data_points=[data], aggregation_temporality=draw(st.integers(0, 2))))  # type: ignore[arg-type]
    return made


def read(signal: otlp.Signal, form: otlp.Form, body: bytes) -> list[Taken]:
    """What becomes of a request's records."""
    clock = ManualClock(NOW)
    intake = Intake(Validator(clock, IdentifierSource(clock, random.Random(7).randbytes), "default"))
    message = otlp.read(signal, body, form)
    if signal == "traces":
        return list(take_spans(message, intake, "default", NOW))
    if signal == "metrics":
        return [one for point in take_points(message, intake, "default", NOW) for one in point]
    return list(take_records(message, intake, "default", NOW))


def told(taken: list[Taken]) -> list[object]:
    """What is kept, and what is told of the rest; the original is kept in the form that it came in."""
    return [(one.error.field, one.error.reason) if one.error else one.entry for one in taken]


def assert_same(signal: otlp.Signal, message: Any) -> None:
    protobuf = told(read(signal, "protobuf", message.SerializeToString()))
    assert told(read(signal, "json", as_json(message))) == protobuf
    assert told(read(signal, "json", as_json(message, numbers=True))) == protobuf


class TestForms:
    @given(st.lists(spans(), max_size=3), maps)
    def test_spans(self, given_spans: list[Span], service: dict[str, object]) -> None:
        assert_same("traces", traces(*given_spans, service=service))

    @given(st.lists(measured(), max_size=3), maps)
    def test_metrics(self, given_metrics: list[Metric], service: dict[str, object]) -> None:
        assert_same("metrics", metrics(*given_metrics, service=service))

    @given(st.lists(records(), max_size=3), maps)
    def test_logs(self, given_records: list[LogRecord], service: dict[str, object]) -> None:
        assert_same("logs", logs(*given_records, service=service))


WHOLE = {
    "traces": json.loads(as_json(traces(
        Span(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=NANOS, end_time_unix_nano=NANOS,
             attributes=attributes({"a": 1, "b": [1.5], "c": {"d": b"e"}, "f": True, "g": "h"}),
             events=[Span.Event(time_unix_nano=NANOS, name="e", attributes=attributes({"a": 1}))],
             links=[Span.Link(trace_id=b"t" * 16, span_id=b"s" * 8)], status={"code": 1, "message": "m"}),
        service={"service.name": "s"}))),
    "metrics": json.loads(as_json(metrics(
        Metric(name="m", gauge=Gauge(data_points=[NumberDataPoint(time_unix_nano=NANOS, as_int=3)])),
        Metric(name="n", histogram=Histogram(data_points=[HistogramDataPoint(
            time_unix_nano=NANOS, count=3, sum=1.5, bucket_counts=[1, 2], explicit_bounds=[1])]))))),
    "logs": json.loads(as_json(logs(LogRecord(
        time_unix_nano=NANOS, trace_id=b"t" * 16, span_id=b"s" * 8, event_name="gen_ai.choice",
        body=value({"a": "b"}), attributes=attributes({"gen_ai.evaluation.score.value": 1}))))),
}  # fmt: skip
ODD = [None, "", "x", "-1", "1e5", 0, -1, 2**70, 1.5, True, [], {}, [[]], {"a": None}, "\ud800", "9" * 5000]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(found for name, one in inside for found in places(one, (*path, name)))]


class TestHostileBodies:
    @pytest.mark.parametrize("signal", SIGNALS)
    def test_any_value_in_any_place_is_taken_told_or_refused(self, signal: otlp.Signal) -> None:
        for path in places(WHOLE[signal])[1:]:
            for odd in ODD:
                tree = json.loads(json.dumps(WHOLE[signal]))
                at = tree
                for name in path[:-1]:
                    at = at[name]
                at[path[-1]] = odd
                try:
                    taken = read(signal, "json", json.dumps(tree).encode("utf-8", "surrogatepass"))
                except InvalidInput:
                    continue
                assert all(one.entry is not None or one.error is not None for one in taken), (path, odd)

    @given(st.sampled_from(SIGNALS), st.sampled_from(["json", "protobuf"]), st.binary(max_size=60))
    def test_garbage_is_refused(self, signal: otlp.Signal, form: otlp.Form, body: bytes) -> None:
        with contextlib.suppress(InvalidInput):
            read(signal, form, body)

    @given(st.data())
    def test_damaged_protobuf_is_refused_or_read(self, data: st.DataObject) -> None:
        body = bytearray(traces(data.draw(spans())).SerializeToString())
        for _ in range(data.draw(st.integers(1, 3))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(InvalidInput):
            read("traces", "protobuf", bytes(body))

    def test_a_list_in_lists_without_end_is_refused_or_cut(self) -> None:
        deep = '{"arrayValue":{"values":[' * 3000 + "]}}" * 3000
        body = json.dumps(WHOLE["traces"]).replace('{"stringValue": "h"}', deep)
        with pytest.raises(InvalidInput):
            read("traces", "json", body.encode())


class TestAnswers:
    @pytest.mark.parametrize(
        ("error", "status", "code", "again"),
        [
            (DiskFull("no space is left"), 503, 14, True),
            (JournalError("the disk failed"), 503, 14, True),
            (JournalClosed("it is closing"), 503, 14, True),
            (InvalidInput("no OTLP"), 400, 3, False),
            (BarographError("a fault"), 500, 13, False),
        ],
    )
    def test_exporters_are_told_to_try_again_where_that_can_help(
        self, error: BarographError, status: int, code: int, again: bool
    ) -> None:
        """503 and UNAVAILABLE are what they try again; a 507 they would give up on."""
        refusal = refusal_of(problem_of(error))
        assert (refusal.status, refusal.code, refusal.retry_after is not None) == (status, code, again)
        answer = otlp_problem(problem_of(error), "protobuf")
        assert (answer.status_code, "retry-after" in answer.headers) == (status, again)

    @given(st.integers(0, 16), texts, st.none() | st.floats(0, 1e6))
    def test_a_failure_is_a_status_as_google_reads_it(self, code: int, message: str, seconds: float | None) -> None:
        found = Status.FromString(failure("protobuf", code, message, seconds))
        assert (found.code, found.message) == (code, message)
        if seconds is None:
            assert not found.details
            return
        info = RetryInfo()
        assert found.details[0].Unpack(info)
        assert seconds <= info.retry_delay.seconds <= max(1, seconds + 1)

    @given(st.integers(0, 16), texts)
    def test_a_failure_in_json_has_the_same_fields(self, code: int, message: str) -> None:
        assert msgspec.json.decode(failure("json", code, message)) == {"code": code, "message": message}
