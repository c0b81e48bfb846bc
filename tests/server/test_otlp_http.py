"""OTLP over HTTP against a real server: what comes in either format is kept as it was meant, or told as refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_DELTA as DELTA,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus
from otlp_support import (
    JSON,
    PROTOBUF,
    as_json,
    attributes,
    kept,
    logs,
    make_projects,
    metrics,
    nanos,
    packed,
    rejected_of,
    send,
    span,
    traces,
    value,
)
from tests.support.serving import Reply, Serving

from barograph.collect import otlp, otlp_crowd
from barograph_client.errors import InvalidInput

FORMS = (PROTOBUF, JSON)
BODY, PLAIN = 200_000, 2_000_000
EVERY_KIND = {
    "text": "How many books? 🐳 \u0000",
    "no text": "",
    "yes": True,
    "no": False,
    "whole": -(2**63),
    "zero": 0,
    "float": 0.1,
    "whole float": 3.0,
    "largest": 1.7976931348623157e308,
    "bytes": b"\x00\xff\xfe",
    "list": ["a", 1, 2.5, True, b"\x01", ["inner", []], None],
    "no list": [],
    "map": {"a": 1, "b": {"c": [1, 2]}, "d": ""},
    "no map": {},
    "nothing": None,
}


CROWDS = [
    ("traces", '{"resourceSpans":[%s]}'),
    ("traces", '{"resourceSpans":[{"scopeSpans":[%s]}]}'),
    ("traces", '{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}'),
    ("logs", '{"resourceLogs":[{"scopeLogs":[{"logRecords":[%s]}]}]}'),
    ("metrics", '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[%s]}]}]}'),
    *(
        ("metrics", f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"{kind}":{{"dataPoints":[%s]}}}}]}}]}}]}}')
        for kind in ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    toml = (
        f"default_rules = false\n[server]\nbody_bytes = {BODY}\nplain_bytes = {PLAIN}\nbatch_events = 500\n"
        "[traces]\ngrace = 0.3\n"
    )
    with Serving(tmp_path_factory.mktemp("otlp") / "data", toml=toml) as running:
        make_projects(running.directory, ("protobuf", "quoted", "unquoted"))
        yield running


def full_span() -> Span:
    """A span with something in every field."""
    made = span(
        "retrieve",
        EVERY_KIND,
        parent_span_id=bytes(range(1, 9)),
        kind=Span.SPAN_KIND_CLIENT,
        status=SpanStatus(code=SpanStatus.STATUS_CODE_ERROR, message="no such index"),
    )
    made.events.add(name="exception", time_unix_nano=nanos(-0.5), attributes=attributes(EVERY_KIND))
    made.links.add(trace_id=bytes(range(16)), span_id=bytes(range(8)))
    return made


def without(line: dict[str, Any], *names: str) -> str:
    return json.dumps({name: one for name, one in line.items() if name not in names})


def status_of(reply: Reply) -> tuple[int, str]:
    """The google.rpc.Status of an answer, in the format of the request."""
    if reply.headers["content-type"] == JSON:
        return reply.json["code"], reply.json["message"]
    found = Status.FromString(reply.body)
    return found.code, found.message


class TestFormats:
    def test_protobuf_and_json_give_the_same_event_byte_for_byte(self, server: Serving) -> None:
        request = traces(full_span(), service={"service.name": "library", "host": {"cpus": 4}}, scope="by hand")
        bodies = {
            "protobuf": (request.SerializeToString(), PROTOBUF),
            "quoted": (as_json(request), JSON),
            "unquoted": (as_json(request, numbers=True), JSON),
        }
        found = {}
        for project, (body, form) in bodies.items():
            assert rejected_of(send(server, "traces", body, form, barograph_project=project)) == (0, "")
            (line,) = kept(server, "span", project=project)
            found[project] = without(line, "project", "received_at")
        assert found["protobuf"] == found["quoted"] == found["unquoted"]

    def test_a_span_is_kept_as_it_was_sent(self, server: Serving) -> None:
        made = full_span()
        assert send(server, "traces", traces(made, service={"service.name": "library"}, scope="by hand")).status == 200
        (line,) = kept(server, "span", span_id=made.span_id.hex())
        assert line["trace_id"] == made.trace_id.hex()
        assert line["parent_span_id"] == "0102030405060708"
        assert line["duration"] == pytest.approx((made.end_time_unix_nano - made.start_time_unix_nano) / 1e9)
        assert (line["name"], line["otel_kind"], line["scope"]) == ("retrieve", "client", "by hand")
        assert (line["status"], line["status_message"]) == ("error", "no such index")
        assert line["resource"] == {"service.name": "library"}
        assert line["links"] == [{"trace_id": bytes(range(16)).hex(), "span_id": bytes(range(8)).hex()}]
        (event,) = line["events"]
        assert event["name"] == "exception"
        assert event["attributes"] == line["attributes"]
        assert line["attributes"] == {
            "text": "How many books? 🐳 \u0000",
            "no text": "",
            "yes": "true",
            "no": "false",
            "whole": "-9223372036854775808",
            "zero": "0",
            "float": "0.1",
            "whole float": "3.0",
            "largest": "1.7976931348623157e308",
            "bytes": "AP/+",
            "list": '["a",1,2.5,true,"AQ==",["inner",[]],null]',
            "no list": "[]",
            "map": '{"a":1,"b":{"c":[1,2]},"d":""}',
            "no map": "{}",
            "nothing": "",
        }

    def test_enums_may_come_by_name_and_ids_in_capitals(self, server: Serving) -> None:
        made = span("named", kind=Span.SPAN_KIND_SERVER, status=SpanStatus(code=SpanStatus.STATUS_CODE_OK),
                    trace_id=b"\xab" * 16)  # fmt: skip
        body = json.loads(as_json(traces(made)))
        one = body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        one |= {"kind": "SPAN_KIND_SERVER", "traceId": one["traceId"].upper()}
        one["status"] = {"code": "STATUS_CODE_OK"}
        assert rejected_of(send(server, "traces", json.dumps(body).encode(), JSON)) == (0, "")
        (line,) = kept(server, "span", name="named")
        assert (line["otel_kind"], line["status"], line["trace_id"]) == ("server", "ok", "ab" * 16)

    def test_json_may_have_null_and_unknown_fields(self, server: Serving) -> None:
        """As the JSON of protobuf may: null is the field's default, and what is not known is passed over."""
        body = json.loads(as_json(traces(span("with nulls"))))
        one = body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        one |= {"parentSpanId": None, "attributes": None, "events": None, "status": {"message": None}, "new": {"a": 1}}
        assert rejected_of(send(server, "traces", json.dumps(body).encode(), JSON)) == (0, "")
        (line,) = kept(server, "span", name="with nulls")
        assert "attributes" not in line

    def test_a_parent_of_zeros_is_none(self, server: Serving) -> None:
        assert rejected_of(send(server, "traces", traces(span("orphan", parent_span_id=bytes(8))))) == (0, "")
        (line,) = kept(server, "span", name="orphan")
        assert "parent_span_id" not in line

    @pytest.mark.parametrize("encoding", ["gzip", "zstd"])
    @pytest.mark.parametrize("form", FORMS)
    def test_bodies_may_be_compressed(self, server: Serving, form: str, encoding: str) -> None:
        name = f"{form} {encoding}"
        reply = send(server, "traces", traces(span(name)), form, encoding=encoding)
        assert (reply.status, reply.headers["content-type"]) == (200, form)
        assert len(kept(server, "span", name=name)) == 1

    @pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
    def test_an_empty_request_is_taken(self, server: Serving, signal: str) -> None:
        for body, form in ((b"", PROTOBUF), (b"{}", JSON)):
            reply = send(server, signal, body, form)
            assert (reply.status, reply.headers["content-type"]) == (200, form)
            assert reply.body == body


class TestPartialSuccess:
    @pytest.mark.parametrize("form", FORMS)
    def test_what_is_no_span_is_counted_with_its_reason_and_the_rest_is_kept(self, server: Serving, form: str) -> None:
        name = f"beside bad ones {form}"
        bad = [
            span("bad", trace_id=bytes(16)),
            span("bad", trace_id=bytes(16)),
            span("bad", span_id=bytes(8)),
            span("bad", span_id=b"\x01"),
            span("bad", start_time_unix_nano=nanos(5), end_time_unix_nano=nanos(-5)),
            span("bad", start_time_unix_nano=nanos(700), end_time_unix_nano=nanos(701)),
        ]
        before = server.ask("/api/v1/stats").json
        count, why = rejected_of(send(server, "traces", traces(*bad, span(name)), form))
        after = server.ask("/api/v1/stats").json
        assert count == 6
        assert why.startswith("2 x ")
        for reason in ("trace_id", "span_id", "end_time_unix_nano", "start_time_unix_nano"):
            assert reason in why
        assert len(kept(server, "span", name=name)) == 1
        assert not kept(server, "span", name="bad")
        assert after["rejected"] - before["rejected"] == 6
        assert after["stored"] - before["stored"] == 1

    def test_an_id_that_is_no_hexadecimal_is_refused(self, server: Serving) -> None:
        body = as_json(traces(made := span())).replace(made.trace_id.hex().encode(), b"zz" * 16)
        count, why = rejected_of(send(server, "traces", body, JSON))
        assert count == 1
        assert "hexadecimal" in why

    def test_an_id_with_white_space_is_refused(self, server: Serving) -> None:
        body = as_json(traces(made := span())).replace(made.span_id.hex().encode(), b"ab cd ef 01 2345")
        count, why = rejected_of(send(server, "traces", body, JSON))
        assert count == 1
        assert "hexadecimal" in why

    def test_a_time_that_is_no_number_costs_one_span(self, server: Serving) -> None:
        body = json.loads(as_json(traces(span("good"), span("no time"), span("no end"))))
        of = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
        of[1]["startTimeUnixNano"] = "yesterday"
        of[2]["endTimeUnixNano"] = "soon"
        count, why = rejected_of(send(server, "traces", json.dumps(body).encode(), JSON))
        assert count == 2, why

    def test_a_number_that_is_none_stays_the_text_that_it_is(self, server: Serving) -> None:
        body = json.loads(as_json(traces(span("odd", {"a": 1, "b": [1.5, 2], "c": 2.5}), service={"d": [7]})))
        of = body["resourceSpans"][0]
        first, second, third = of["scopeSpans"][0]["spans"][0]["attributes"]
        first["value"]["intValue"] = second["value"]["arrayValue"]["values"][1]["intValue"] = "many"
        second["value"]["arrayValue"]["values"][0]["doubleValue"] = "NaN"
        third["value"]["doubleValue"] = "2.5"
        of["resource"]["attributes"][0]["value"]["arrayValue"]["values"][0]["intValue"] = "seven"
        assert rejected_of(send(server, "traces", json.dumps(body).encode(), JSON)) == (0, "")
        (line,) = kept(server, "span", name="odd")
        assert line["attributes"] == {"a": "many", "b": '[null,"many"]', "c": "2.5"}
        assert line["resource"] == {"d": '["seven"]'}

    def test_many_reasons_are_told_in_a_few(self, server: Serving) -> None:
        bad = [span(span_id=bytes([number])) for number in range(1, 21)]
        count, why = rejected_of(send(server, "traces", traces(*bad)))
        assert count == 20
        assert "other reasons" in why
        assert len(why) < 2000

    def test_a_batch_sent_twice_is_all_duplicates(self, server: Serving) -> None:
        request = traces(span("twice"), span("twice"))
        before = server.ask("/api/v1/stats").json
        for _ in range(2):
            assert rejected_of(send(server, "traces", request)) == (0, "")
        after = server.ask("/api/v1/stats").json
        assert len(kept(server, "span", name="twice")) == 2
        assert after["duplicate"] - before["duplicate"] == 2

    def test_what_is_too_long_is_shortened_and_tells_so(self, server: Serving) -> None:
        made = span("n" * 300, {"long": "x" * 400_000, "short": "y", "k" * 200: "z"})
        assert rejected_of(send(server, "traces", traces(made), encoding="gzip")) == (0, "")
        (line,) = kept(server, "span", span_id=made.span_id.hex())
        assert line["name"] == "n" * 256
        assert 0 < len(line["attributes"]["long"]) < 400_000
        assert line["attributes"]["short"] == "y"
        assert line["attributes"]["k" * 128] == "z"
        assert "long" in line["tags"]["shortened"]
        assert "k" * 128 in line["tags"]["shortened"]

    def test_more_attributes_than_there_may_be_are_told(self, server: Serving) -> None:
        made = span("crowded", {f"a{number}": number for number in range(2100)})
        made.events.extend(Span.Event(name="e", time_unix_nano=nanos()) for _ in range(300))
        assert rejected_of(send(server, "traces", traces(made), encoding="gzip")) == (0, "")
        (line,) = kept(server, "span", name="crowded")
        assert len(line["attributes"]) == 2048
        assert len(line["events"]) == 256
        assert "a2048" in line["tags"]["shortened"]
        assert "events" in line["tags"]["shortened"]


class TestRefusals:
    @pytest.mark.parametrize(("form", "body"), [(PROTOBUF, b"\xff\xff\xff"), (JSON, b'{"resourceSpans": [{'),
                                                (JSON, b'{"resourceSpans": 7}'), (JSON, b"")])  # fmt: skip
    def test_garbage_is_an_error_in_the_format_of_the_request(self, server: Serving, form: str, body: bytes) -> None:
        reply = send(server, "traces", body, form)
        assert (reply.status, reply.headers["content-type"]) == (400, form)
        code, message = status_of(reply)
        assert code == 3
        assert "no OTLP" in message
        assert "ExportTraceServiceRequest" in message
        assert "retry-after" not in reply.headers

    def test_another_content_type_is_refused(self, server: Serving) -> None:
        reply = send(server, "traces", b"{}", "text/plain")
        assert reply.status == 415
        assert "application/x-protobuf" in reply.json["message"]

    @pytest.mark.parametrize("form", FORMS)
    def test_an_unknown_encoding_is_refused(self, server: Serving, form: str) -> None:
        reply = send(server, "traces", b"{}", form, content_encoding="br")
        assert reply.status == 415
        assert "gzip" in status_of(reply)[1]

    @pytest.mark.parametrize("form", FORMS)
    def test_a_body_too_large_is_refused(self, server: Serving, form: str) -> None:
        reply = send(server, "traces", b" " * (BODY + 1), form)
        assert reply.status == 413
        assert "smaller batches" in status_of(reply)[1]

    @pytest.mark.parametrize("encoding", ["gzip", "zstd"])
    def test_a_body_that_unpacks_to_too_much_is_refused(self, server: Serving, encoding: str) -> None:
        body = packed(b" " * 100 * PLAIN, encoding)
        assert len(body) < BODY
        reply = server.ask("/v1/traces", body, {"Content-Type": JSON, "Content-Encoding": encoding})
        assert reply.status == 413

    @pytest.mark.parametrize("encoding", ["gzip", "zstd"])
    def test_a_damaged_body_is_refused(self, server: Serving, encoding: str) -> None:
        whole = packed(traces(span()).SerializeToString(), encoding)
        for body in (whole[:-6], b"no such thing"):
            reply = server.ask("/v1/traces", body, {"Content-Type": PROTOBUF, "Content-Encoding": encoding})
            assert reply.status == 400
            assert status_of(reply)[0] == 3

    def test_too_many_records_are_refused_as_a_whole(self, server: Serving) -> None:
        reply = send(server, "traces", traces(*(span("of many") for _ in range(501))))
        assert reply.status == 413
        assert not kept(server, "span", name="of many")

    @pytest.mark.parametrize("form", ["protobuf", "json"])
    @pytest.mark.parametrize(("signal", "around"), CROWDS)
    def test_too_many_are_refused_before_they_are_built(
        self, monkeypatch: pytest.MonkeyPatch, signal: otlp.Signal, around: str, form: otlp.Form
    ) -> None:
        monkeypatch.setattr(otlp_crowd, "_FEW_BRACES", 10_000)
        messages = otlp._PROTOBUF
        bodies = {count: (around % ",".join(["{}"] * count)).encode() for count in (20, 21, 20_000)}
        if form == "protobuf":
            bodies = {
                count: json_format.Parse(body, messages[signal]()).SerializeToString() for count, body in bodies.items()
            }
        otlp.read(signal, bodies[20], form, 20)
        monkeypatch.setattr(otlp, "_PROTOBUF", {})
        monkeypatch.setattr(otlp, "_JSON", {})
        for count in (21, 20_000):
            with pytest.raises(otlp_crowd.TooManyRecords):
                otlp.read(signal, bodies[count], form, 20)

    def test_what_is_not_known_or_long_is_stepped_over(self) -> None:
        made = traces(*(span("long " * 100, {"a": "b" * 300}) for _ in range(20)), service={"a": 1}, scope="s")
        unknown = b"\x98\x06\x81\x01" + b"\x99\x06" + bytes(8) + b"\x9d\x06" + bytes(4) + b"\x9a\x06\x02\x0a\x00"
        unknown += b"\x9b\x06\x18\x01\x9c\x06"  # a group
        body = unknown + made.SerializeToString() + unknown
        assert len(otlp.read("traces", body, "protobuf", 20).resource_spans[0].scope_spans[0].spans) == 20
        with pytest.raises(otlp_crowd.TooManyRecords):
            otlp.read("traces", body, "protobuf", 19)
        with pytest.raises(InvalidInput, match="no OTLP"):
            otlp.read("traces", body[:-1], "protobuf", 20)
        with pytest.raises(otlp_crowd.TooManyRecords):
            otlp.read("traces", b"\x18\x01" * 100_000, "protobuf", 20)

    @pytest.mark.parametrize("many", [False, True])
    def test_many_in_json_are_told_as_too_many(self, server: Serving, many: bool) -> None:
        body = b'{"resourceSpans": [null, {"scopeSpans": [{"scope": null, "spans": [%s]}]}]}'
        reply = send(server, "traces", body % b",".join([b"{}"] * (60_000 if many else 501)), JSON)
        assert reply.status == 413
        assert "500 records" in status_of(reply)[1]

    @pytest.mark.parametrize("form", FORMS)
    def test_a_full_queue_says_when_to_try_again(self, tmp_path: Any, form: str) -> None:
        toml = "[server]\nwaiting_bytes = 1048576\n"
        with Serving(tmp_path / "data", toml=toml) as small:
            reply = send(small, "traces", traces(span(given={"x": "y" * 1_100_000})), form)
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) >= 1
            code, message = status_of(reply)
            assert code == 14
            assert "again" in message
            assert not kept(small, "span")
            assert send(small, "traces", traces(span()), form).status == 200


def point(number: float | None = None, **more: Any) -> NumberDataPoint:
    which = {} if number is None else {"as_int" if isinstance(number, int) else "as_double": number}
    return NumberDataPoint(time_unix_nano=nanos(), **which, **more)


class TestMetrics:
    @pytest.mark.parametrize("form", FORMS)
    def test_gauges_and_sums_become_metric_events(self, server: Serving, form: str) -> None:
        name = f"of {form}"
        request = metrics(
            Metric(name=f"gauge {name}", unit="{book}", gauge=Gauge(data_points=[
                point(2.5, attributes=attributes({"shelf": 3})), point(7)])),
            Metric(name=f"sum {name}", unit="1", sum=Sum(
                data_points=[point(12)], is_monotonic=True, aggregation_temporality=CUMULATIVE)),
            Metric(name=f"delta {name}", sum=Sum(
                data_points=[point(-1.5)], aggregation_temporality=DELTA)),
            service={"service.name": "library", "deployment.environment.name": "staging"},
        )  # fmt: skip
        assert rejected_of(send(server, "metrics", request, form), "metrics") == (0, "")
        service = {"service.name": "library", "deployment.environment.name": "staging"}
        first, second = kept(server, "metric", name=f"gauge {name}")
        assert (first["value"], first["unit"], first["pipeline"], first["environment"]) == (
            2.5, "{book}", "library", "staging")  # fmt: skip
        assert first["tags"] == {"shelf": "3", **service}
        assert (second["value"], second["tags"]) == (7.0, service)
        (total,) = kept(server, "metric", name=f"sum {name}")
        assert (total["value"], total["tags"]) == (12.0, {**service, "temporality": "cumulative", "monotonic": "true"})
        (delta,) = kept(server, "metric", name=f"delta {name}")
        assert (delta["value"], delta["tags"]) == (-1.5, {**service, "temporality": "delta", "monotonic": "false"})

    @pytest.mark.parametrize("form", FORMS)
    def test_a_histogram_becomes_its_count_sum_extremes_and_buckets(self, server: Serving, form: str) -> None:
        name = f"wait of {form}"
        data = HistogramDataPoint(time_unix_nano=nanos(), count=6, sum=9.5, min=0.1, max=4.0,
                                  bucket_counts=[1, 2, 3], explicit_bounds=[0.5, 1])  # fmt: skip
        request = metrics(Metric(name=name, unit="s", histogram=Histogram(
            data_points=[data], aggregation_temporality=DELTA)))  # fmt: skip
        assert rejected_of(send(server, "metrics", request, form), "metrics") == (0, "")
        found = {part: kept(server, "metric", name=f"{name}_{part}") for part in ("count", "sum", "min", "max")}
        assert {part: (one["value"], one["unit"]) for part, (one,) in found.items()} == {
            "count": (6.0, "1"), "sum": (9.5, "s"), "min": (0.1, "s"), "max": (4.0, "s")}  # fmt: skip
        buckets = kept(server, "metric", name=f"{name}_bucket")
        assert [(one["tags"]["le"], one["value"]) for one in buckets] == [("0.5", 1.0), ("1.0", 3.0), ("+Inf", 6.0)]
        assert {one["tags"]["temporality"] for one in buckets} == {"delta"}

    def test_a_point_sent_twice_is_kept_once(self, server: Serving) -> None:
        request = metrics(Metric(name="again", gauge=Gauge(data_points=[point(1.0)])))
        for form in (PROTOBUF, JSON, PROTOBUF):
            assert rejected_of(send(server, "metrics", request, form), "metrics") == (0, "")
        assert len(kept(server, "metric", name="again")) == 1

    def test_points_that_differ_in_scope_unit_or_what_no_tag_tells_are_all_kept(self, server: Serving) -> None:
        def one(name: str = "alike", unit: str = "1", scope: str = "", last: int = 0) -> Any:
            service = {f"a{number:03}": number for number in range(99)} | {"z": last}
            made = metrics(Metric(name=name, unit=unit, gauge=Gauge(data_points=[data])), service=service)
            made.resource_metrics[0].scope_metrics[0].scope.name = scope
            return made

        data = point(1.0)
        for request in (one(), one(unit="s"), one(scope="a"), one(scope="b"), one(last=1)):
            for form in (PROTOBUF, JSON):
                assert rejected_of(send(server, "metrics", request, form), "metrics") == (0, "")
        assert len(kept(server, "metric", name="alike")) == 5

    @pytest.mark.parametrize("form", FORMS)
    def test_what_is_not_understood_is_told_as_rejected(self, server: Serving, form: str) -> None:
        exponential = ExponentialHistogram(
            data_points=[ExponentialHistogramDataPoint(time_unix_nano=nanos(), count=3)] * 2
        )
        request = metrics(
            Metric(name="unfit", exponential_histogram=exponential),
            Metric(name="unfit", summary=Summary(data_points=[SummaryDataPoint(time_unix_nano=nanos(), count=3)])),
            Metric(name="unfit"),
            Metric(name="unfit", gauge=Gauge(data_points=[
                point(), point(float("nan")), point(float("inf")), point(1.0, flags=1)])),
            Metric(name="fit", gauge=Gauge(data_points=[point(1.0)])),
        )  # fmt: skip
        count, why = rejected_of(send(server, "metrics", request, form), "metrics")
        assert count == 8
        assert "exponential histograms" in why
        assert "summarys" not in why
        assert not kept(server, "metric", name="unfit")

    def test_a_histogram_whose_buckets_do_not_fit_its_bounds_is_refused_whole(self, server: Serving) -> None:
        data = HistogramDataPoint(time_unix_nano=nanos(), count=3, bucket_counts=[1, 2], explicit_bounds=[1, 2, 3])
        count, why = rejected_of(send(server, "metrics", metrics(
            Metric(name="crooked", histogram=Histogram(data_points=[data]))), PROTOBUF), "metrics")  # fmt: skip
        assert count == 1
        assert "bounds" in why
        assert not kept(server, "metric", name="crooked_count")

    def test_numbers_in_json_that_are_none_cost_one_point(self, server: Serving) -> None:
        data = HistogramDataPoint(time_unix_nano=nanos(), count=3, bucket_counts=[1, 2], explicit_bounds=[1])
        body = json.loads(as_json(metrics(
            Metric(name="no bucket", histogram=Histogram(data_points=[data, data, data])),
            Metric(name="no number", gauge=Gauge(data_points=[point(1), point(2)])))))  # fmt: skip
        histogram, gauge = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
        histogram["histogram"]["dataPoints"][0]["bucketCounts"][0] = "few"
        histogram["histogram"]["dataPoints"][1]["explicitBounds"][0] = "low"
        histogram["histogram"]["dataPoints"][2]["count"] = "three"
        gauge["gauge"]["dataPoints"][0]["asInt"] = "one"
        gauge["gauge"]["dataPoints"][1]["timeUnixNano"] = "today"
        count, why = rejected_of(send(server, "metrics", json.dumps(body).encode(), JSON), "metrics")
        assert count == 5, why


class TestLogs:
    @pytest.mark.parametrize("form", FORMS)
    def test_a_message_becomes_an_event_inside_its_span(self, server: Serving, form: str) -> None:
        inside = span()
        record = LogRecord(time_unix_nano=nanos(), trace_id=inside.trace_id, span_id=inside.span_id,
                           event_name="gen_ai.user.message", body=value({"content": "How many?", "role": "user"}),
                           attributes=attributes({"gen_ai.system": "openai"}))  # fmt: skip
        for _ in range(2):
            assert rejected_of(send(server, "logs", logs(record), form), "logs") == (0, "")
        (line,) = kept(server, "span", trace_id=inside.trace_id.hex())
        assert (line["span_kind"], line["parent_span_id"]) == ("EVENT", inside.span_id.hex())
        (event,) = line["events"]
        assert event["name"] == "gen_ai.user.message"
        assert event["attributes"] == {"gen_ai.system": "openai", "content": "How many?", "role": "user"}

    def test_the_same_message_inside_two_spans_is_two_events(self, server: Serving) -> None:
        inside = span()
        records = [
            LogRecord(time_unix_nano=inside.start_time_unix_nano, trace_id=inside.trace_id, span_id=parent,
                      event_name="gen_ai.user.message", body=value({"content": "How many?"}))
            for parent in (inside.span_id, b"\x01" * 8)
        ]  # fmt: skip
        assert rejected_of(send(server, "logs", logs(*records)), "logs") == (0, "")
        lines = kept(server, "span", trace_id=inside.trace_id.hex())
        assert {line["parent_span_id"] for line in lines} == {inside.span_id.hex(), "01" * 8}

    @pytest.mark.parametrize("form", FORMS)
    def test_an_evaluation_becomes_a_score(self, server: Serving, form: str) -> None:
        trace_id = span().trace_id
        record = LogRecord(time_unix_nano=nanos(), trace_id=trace_id, attributes=attributes({
            "event.name": "gen_ai.evaluation.result", "gen_ai.evaluation.name": "faithfulness",
            "gen_ai.evaluation.score.value": 0.75, "gen_ai.evaluation.score.label": "good",
            "gen_ai.evaluation.explanation": "It is in the passage."}))  # fmt: skip
        assert rejected_of(send(server, "logs", logs(record), form), "logs") == (0, "")
        (line,) = kept(server, "score", trace_id=trace_id.hex())
        assert (line["name"], line["value"], line["comment"]) == ("faithfulness", 0.75, "It is in the passage.")
        assert line["tags"] == {"label": "good"}

    @pytest.mark.parametrize("form", FORMS)
    def test_other_logs_are_told_as_rejected(self, server: Serving, form: str) -> None:
        records = [LogRecord(time_unix_nano=nanos(), body=value(f"line {number}")) for number in range(3)]
        records.append(
            LogRecord(time_unix_nano=nanos(), event_name="gen_ai.evaluation.result", trace_id=span().trace_id)
        )
        count, why = rejected_of(send(server, "logs", logs(*records), form), "logs")
        assert count == 4
        assert "gen_ai" in why

    def test_question_and_answer_of_logs_are_in_the_query(self, server: Serving) -> None:
        root = span("chat", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
        question = value({"role": "user", "content": "Is it open on Sunday?"})
        record = LogRecord(time_unix_nano=nanos(), trace_id=root.trace_id, span_id=root.span_id,
                           event_name="gen_ai.user.message", body=question)  # fmt: skip
        said = value({"index": 0, "finish_reason": "stop", "message": {"content": "Only to read."}})
        answer = LogRecord(time_unix_nano=nanos(), trace_id=root.trace_id, span_id=root.span_id,
                           event_name="gen_ai.choice", body=said)  # fmt: skip
        assert send(server, "logs", logs(record, answer)).status == 200
        assert send(server, "traces", traces(root)).status == 200
        (line,) = server.until(lambda: kept(server, "query", trace_id=root.trace_id.hex()))
        assert (line["query"], line["answer"]) == ("Is it open on Sunday?", "Only to read.")


class TestExporters:
    """OpenTelemetry's own exporters, told nothing but the address."""

    def test_spans(self, server: Serving) -> None:
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": "exporter"}))
        exporter = OTLPSpanExporter(f"{server.url}/v1/traces", compression=Compression.Gzip)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("tests")
        with (
            tracer.start_as_current_span("ask of sdk", attributes={"openinference.span.kind": "CHAIN"}),
            tracer.start_as_current_span("retrieve of sdk", attributes={"openinference.span.kind": "RETRIEVER"}),
        ):
            pass
        provider.shutdown()
        assert len(kept(server, "span", name="ask of sdk")) == 1
        (inner,) = kept(server, "span", name="retrieve of sdk")
        assert inner["resource"]["service.name"] == "exporter"
        (made,) = server.until(lambda: kept(server, "query", trace_id=inner["trace_id"]))
        assert made["pipeline"] == "exporter"

    def test_metrics(self, server: Serving) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{server.url}/v1/metrics"), 1e6)
        provider = MeterProvider([reader])
        meter = provider.get_meter("tests")
        meter.create_counter("sdk.loans").add(3, {"desk": "east"})
        meter.create_histogram("sdk.wait", "s").record(1.5)
        assert provider.force_flush()
        provider.shutdown()
        (counted, *_) = kept(server, "metric", name="sdk.loans")
        assert (counted["value"], counted["tags"]["desk"]) == (3.0, "east")
        assert kept(server, "metric", name="sdk.wait_sum")[0]["value"] == 1.5

    def test_logs(self, server: Serving) -> None:
        from opentelemetry._logs import LogRecord as SdkRecord
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        provider = LoggerProvider()
        provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{server.url}/v1/logs")))
        inside = span()
        provider.get_logger("tests").emit(SdkRecord(
            timestamp=time.time_ns(), trace_id=int.from_bytes(inside.trace_id, "big"),
            span_id=int.from_bytes(inside.span_id, "big"), event_name="gen_ai.user.message",
            body={"content": "Hello"}))  # fmt: skip
        provider.shutdown()
        (line,) = kept(server, "span", trace_id=inside.trace_id.hex())
        assert line["span_kind"] == "EVENT"
