"""OTLP over gRPC against a real server: the same as over HTTP, with gRPC's own words for what went wrong."""

from __future__ import annotations

import gzip
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint
from otlp_support import (
    as_json,
    free_port,
    kept,
    kept_in,
    logs,
    make_key,
    make_projects,
    metrics,
    nanos,
    rejected_in,
    send,
    span,
    traces,
    value,
)
from tests.support.serving import Serving

from barograph.server.otlp_grpc import SERVICES

METHODS = {signal: f"/{name}/Export" for name, signal in SERVICES.items()}
SECONDS = 30.0
BODY, PLAIN = 200_000, 2_000_000
TOML = (
    f"default_rules = false\n[server]\nbody_bytes = {BODY}\nplain_bytes = {PLAIN}\nbody_seconds = 1.0\n"
    "[traces]\ngrace = 0.3\n"
)


class GrpcServing(Serving):
    """A server that answers gRPC too, on ``target``."""

    def __init__(self, directory: Path, *arguments: str, toml: str = "") -> None:
        self.target = f"127.0.0.1:{free_port()}"
        super().__init__(directory, "--grpc-port", self.target.rpartition(":")[2], *arguments, toml=toml)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().decode().strip() == f"OTLP/gRPC: {self.target}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcServing]:
    with GrpcServing(tmp_path_factory.mktemp("grpc") / "data", toml=TOML) as running:
        yield running


@pytest.fixture(scope="module")
def channel(server: GrpcServing) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target, options=[("grpc.max_send_message_length", -1)]) as opened:
        yield opened


def call(channel: grpc.Channel, signal: str, body: Any, **options: Any) -> bytes:
    """Send a message, or bytes, as the exporters do; the answer's bytes."""
    data = body if isinstance(body, bytes) else body.SerializeToString()
    metadata = tuple(options.pop("metadata", {}).items())
    answer: bytes = channel.unary_unary(METHODS[signal])(data, timeout=SECONDS, metadata=metadata, **options)
    return answer


def refusal(channel: grpc.Channel, signal: str, body: Any, **options: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, signal, body, **options)
    return caught.value


def retry_seconds(error: Any) -> int | None:
    """What a RetryInfo in an answer says, if there is one."""
    (details,) = [one for name, one in error.trailing_metadata() if name == "grpc-status-details-bin"]
    status = Status.FromString(details)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    for detail in status.details:
        info = RetryInfo()
        assert detail.Unpack(info)
        return int(info.retry_delay.seconds)
    return None


class TestSignals:
    def test_grpc_and_http_give_the_same_event(self, server: GrpcServing, channel: grpc.Channel) -> None:
        make_projects(server.directory, ("by-grpc",))
        request = traces(span("both", {"a": 1, "b": ["c"]}), service={"service.name": "library"})
        assert send(server, "traces", request).status == 200
        assert call(channel, "traces", request, metadata={"barograph-project": "by-grpc"}) == b""
        (first,) = kept(server, "span", name="both", project="by-grpc")
        (second,) = [one for one in kept(server, "span", name="both") if "project" not in one]
        assert {**second, "project": "by-grpc", "received_at": ""} == {**first, "received_at": ""}

    def test_metrics_and_logs_are_taken(self, server: GrpcServing, channel: grpc.Channel) -> None:
        data = [NumberDataPoint(time_unix_nano=nanos(), as_double=2.5)]
        assert call(channel, "metrics", metrics(Metric(name="by grpc", gauge=Gauge(data_points=data)))) == b""
        assert kept(server, "metric", name="by grpc")[0]["value"] == 2.5
        inside = span()
        record = LogRecord(time_unix_nano=nanos(), trace_id=inside.trace_id, span_id=inside.span_id,
                           event_name="gen_ai.user.message", body=value("Hello"))  # fmt: skip
        assert call(channel, "logs", logs(record)) == b""
        assert kept(server, "span", trace_id=inside.trace_id.hex())[0]["span_kind"] == "EVENT"

    @pytest.mark.parametrize("signal", METHODS)
    def test_an_empty_request_is_taken(self, channel: grpc.Channel, signal: str) -> None:
        assert call(channel, signal, b"") == b""

    def test_what_is_refused_of_a_batch_is_counted_with_its_reason(
        self, server: GrpcServing, channel: grpc.Channel
    ) -> None:
        answer = call(channel, "traces", traces(span("bad", trace_id=bytes(16)), span("grpc beside bad")))
        count, why = rejected_in(answer)
        assert count == 1
        assert "trace_id" in why
        assert len(kept(server, "span", name="grpc beside bad")) == 1
        count, why = rejected_in(call(channel, "logs", logs(LogRecord(time_unix_nano=nanos()))), "logs")
        assert count == 1
        assert "gen_ai" in why

    def test_a_batch_sent_over_both_ways_is_kept_once(self, server: GrpcServing, channel: grpc.Channel) -> None:
        request = traces(span("both ways"))
        call(channel, "traces", request)
        assert send(server, "traces", request).status == 200
        call(channel, "traces", request, compression=grpc.Compression.Gzip)
        assert len(kept(server, "span", name="both ways")) == 1

    def test_calls_at_the_same_time_are_all_taken(self, server: GrpcServing, channel: grpc.Channel) -> None:
        calls = [
            channel.unary_unary(METHODS["traces"]).future(traces(span("crowd")).SerializeToString(), timeout=SECONDS)
            for _ in range(50)
        ]
        assert {one.result() for one in calls} == {b""}
        assert len(kept(server, "span", name="crowd")) == 50


class TestBounds:
    def test_gzip_is_unpacked(self, server: GrpcServing, channel: grpc.Channel) -> None:
        request = traces(span("packed", {"text": "x" * 200_000}))
        call(channel, "traces", request, compression=grpc.Compression.Gzip)
        assert len(kept(server, "span", name="packed")) == 1

    def test_a_message_too_large_is_refused(self, channel: grpc.Channel) -> None:
        error = refusal(channel, "traces", b"\n" * (BODY + 1))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(BODY) in error.details()
        assert not [name for name, _ in error.trailing_metadata() if name == "grpc-status-details-bin"]  # not again

    def test_a_message_that_unpacks_to_too_much_is_refused(self, channel: grpc.Channel) -> None:
        body = b"\n" * (50 * PLAIN)
        assert len(gzip.compress(body, 6)) < BODY
        error = refusal(channel, "traces", body, compression=grpc.Compression.Gzip)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "decompressed" in error.details()
        assert retry_seconds(error) is None

    @pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x1f\x8bno gzip", as_json(traces(span()))])
    def test_garbage_is_refused(self, channel: grpc.Channel, body: bytes) -> None:
        error = refusal(channel, "traces", body)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert retry_seconds(error) is None

    def test_a_call_without_a_message_is_refused(self, channel: grpc.Channel) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(METHODS["traces"])(iter(()), timeout=SECONDS)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]

    def test_a_message_that_does_not_come_is_not_waited_for(self, channel: grpc.Channel) -> None:
        never = threading.Event()

        def messages() -> Iterator[bytes]:
            never.wait(SECONDS)
            yield from ()

        try:
            with pytest.raises(grpc.RpcError) as caught:
                channel.stream_unary(METHODS["traces"])(messages(), timeout=SECONDS)
        finally:
            never.set()
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
        assert "within 1 s" in caught.value.details()  # type: ignore[attr-defined]

    def test_another_service_is_unknown(self, channel: grpc.Channel) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Import")(b"", timeout=SECONDS)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]

    def test_a_full_queue_says_when_to_try_again(self, tmp_path: Path) -> None:
        """Before the message is read: a call that has a place keeps it while its message is under way."""
        toml = "[server]\nrequests = 1\n"
        with GrpcServing(tmp_path / "data", toml=toml) as small, grpc.insecure_channel(small.target) as channel:
            go_on = threading.Event()

            def slow() -> Iterator[bytes]:
                go_on.wait(SECONDS)
                yield traces(span("slow")).SerializeToString()

            waiting = channel.stream_unary(METHODS["traces"]).future(slow(), timeout=SECONDS)
            assert small.until(lambda: b"barograph_requests_working 1" in small.ask("/metrics").body)
            with grpc.insecure_channel(small.target, options=[("grpc.use_local_subchannel_pool", 1)]) as other:
                error = refusal(other, "traces", traces(span("turned away")))
                assert send(small, "traces", traces(span())).status == 503  # the bound is that of both
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert retry_seconds(error) == 1
            go_on.set()
            assert waiting.result() == b""
            assert len(kept(small, "span", name="slow")) == 1
            assert not kept(small, "span", name="turned away")
            assert call(channel, "traces", traces(span())) == b""

    def test_calls_beyond_the_most_on_one_connection_are_told_to_wait_and_taken_when_they_come_again(
        self, server: GrpcServing, channel: grpc.Channel
    ) -> None:
        bodies = [traces(*(span("rush") for _ in range(20))).SerializeToString() for _ in range(200)]
        turned_away = 0
        while bodies:
            export = channel.unary_unary(METHODS["traces"])
            waiting = [(body, export.future(body, timeout=SECONDS)) for body in bodies]
            refused = [(body, one.exception()) for body, one in waiting if one.exception() is not None]
            assert {error.code() for _, error in refused} <= {grpc.StatusCode.UNAVAILABLE}
            assert {retry_seconds(error) for _, error in refused} <= {1}
            turned_away += len(refused)
            bodies = [body for body, _ in refused]
        told = server.ask("/metrics").body.decode()
        assert f"barograph_requests_turned_away_total {turned_away}\n" in told
        assert len({one["event_id"] for one in kept(server, "span", name="rush")}) == 4000
        assert len(kept(server, "span", name="rush")) == 4000

    def test_too_many_bytes_at_a_time_are_told_to_wait(self, tmp_path: Path) -> None:
        toml = "[server]\nwaiting_bytes = 1048576\n"
        with GrpcServing(tmp_path / "data", toml=toml) as small, grpc.insecure_channel(small.target) as channel:
            request = traces(span(given={"x": "y" * 1_100_000}))
            for compression in (None, grpc.Compression.Gzip):
                error = refusal(channel, "traces", request, compression=compression)
                assert error.code() == grpc.StatusCode.UNAVAILABLE
                assert retry_seconds(error) == 1
            assert not kept(small, "span")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GrpcServing, dict[str, str]]]:
    with GrpcServing(tmp_path_factory.mktemp("grpc-keys") / "data") as running:
        make_projects(running.directory, ("shop",))
        yield (
            running,
            {
                "ingest": make_key(running.directory, "ingest", "shop"),
                "read": make_key(running.directory, "read", "shop"),
                "admin": make_key(running.directory, "admin"),
            },
        )


@pytest.fixture
def opened(keys: tuple[GrpcServing, dict[str, str]]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(keys[0].target) as channel:
        yield channel


class TestKeys:
    def test_a_key_says_which_project_it_is(
        self, keys: tuple[GrpcServing, dict[str, str]], opened: grpc.Channel
    ) -> None:
        server, texts = keys
        metadata = {"authorization": f"Bearer {texts['ingest']}"}
        assert server.until(lambda: not refused(opened, metadata))
        assert call(opened, "traces", traces(span("of the shop")), metadata=metadata) == b""
        (line,) = kept(server, "span", name="of the shop")
        assert line["project"] == "shop"
        admin = {"authorization": f"bearer {texts['admin']}"}
        assert call(opened, "traces", traces(span("of no shop")), metadata=admin) == b""
        (line,) = kept(server, "span", name="of no shop")
        assert line.get("project", "default") == "default"

    @pytest.mark.parametrize(
        ("metadata", "code"),
        [
            ({}, grpc.StatusCode.UNAUTHENTICATED),
            ({"authorization": "Basic abc"}, grpc.StatusCode.UNAUTHENTICATED),
            ({"authorization": "Bearer barograph_ingest_000000000000_" + "0" * 64}, grpc.StatusCode.UNAUTHENTICATED),
            ({"authorization": "Bearer {read}"}, grpc.StatusCode.PERMISSION_DENIED),
            ({"authorization": "Bearer {ingest}", "barograph-project": "default"}, grpc.StatusCode.PERMISSION_DENIED),
        ],
    )
    def test_who_may_not_send_is_told_so(
        self,
        keys: tuple[GrpcServing, dict[str, str]],
        opened: grpc.Channel,
        metadata: dict[str, str],
        code: grpc.StatusCode,
    ) -> None:
        server, texts = keys
        given = {name: text.format(**texts) for name, text in metadata.items()}
        assert server.until(lambda: refused(opened, {}))
        error = refusal(opened, "traces", traces(span("by a stranger")), metadata=given)
        assert error.code() == code
        assert retry_seconds(error) is None
        assert not kept(server, "span", name="by a stranger")

    def test_without_keys_an_unknown_project_is_told(self, channel: grpc.Channel) -> None:
        error = refusal(channel, "traces", traces(span()), metadata={"barograph-project": "nowhere"})
        assert error.code() == grpc.StatusCode.NOT_FOUND


def refused(channel: grpc.Channel, metadata: dict[str, str]) -> bool:
    try:
        call(channel, "traces", b"", metadata=metadata)
    except grpc.RpcError:
        return True
    return False


class TestExporters:
    """OpenTelemetry's own exporter, told nothing but the address."""

    @pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
    def test_spans(self, server: GrpcServing, compression: grpc.Compression) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": "exporter"}))
        exporter = OTLPSpanExporter(f"http://{server.target}", compression=compression)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        name = f"ask {compression!r}"
        tracer = provider.get_tracer("tests")
        with (
            tracer.start_as_current_span(name, attributes={"openinference.span.kind": "CHAIN"}),
            tracer.start_as_current_span("retrieve", attributes={"openinference.span.kind": "RETRIEVER"}),
        ):
            pass
        provider.shutdown()
        (line,) = kept(server, "span", name=name)
        (made,) = server.until(lambda: kept(server, "query", trace_id=line["trace_id"]))
        assert made["pipeline"] == "exporter"

    def test_metrics(self, server: GrpcServing) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        exporter = OTLPMetricExporter(f"http://{server.target}", insecure=True)
        provider = MeterProvider([PeriodicExportingMetricReader(exporter, 1e6)])
        provider.get_meter("tests").create_counter("grpc.loans").add(3)
        assert provider.force_flush()
        provider.shutdown()
        assert kept(server, "metric", name="grpc.loans")[0]["value"] == 3.0

    def test_logs(self, server: GrpcServing) -> None:
        from opentelemetry._logs import LogRecord as SdkRecord
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        provider = LoggerProvider()
        exporter = OTLPLogExporter(f"http://{server.target}", insecure=True)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        inside = span()
        provider.get_logger("tests").emit(SdkRecord(
            timestamp=time.time_ns(), trace_id=int.from_bytes(inside.trace_id, "big"),
            span_id=int.from_bytes(inside.span_id, "big"), event_name="gen_ai.user.message", body="Hello"))  # fmt: skip
        provider.shutdown()
        assert len(kept(server, "span", trace_id=inside.trace_id.hex())) == 1


class TestStartAndStop:
    def test_what_is_under_way_when_it_stops_is_answered_and_kept(self, tmp_path: Path) -> None:
        with GrpcServing(tmp_path / "data") as server, grpc.insecure_channel(server.target) as channel:
            go_on = threading.Event()

            def slow() -> Iterator[bytes]:
                go_on.wait(SECONDS)
                yield traces(span("last")).SerializeToString()

            call(channel, "traces", b"")
            waiting = channel.stream_unary(METHODS["traces"]).future(slow(), timeout=SECONDS)
            assert server.until(lambda: b"barograph_requests_working 1" in server.ask("/metrics").body)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.process.poll() is None
            assert refused(channel, {})
            go_on.set()
            assert waiting.result() == b""
            assert server.process.wait(SECONDS) == 0
            assert len(kept_in(server.directory, "span", name="last")) == 1
            assert server.errors() == ""

    def test_a_kill_loses_nothing_that_was_answered(self, tmp_path: Path) -> None:
        with GrpcServing(tmp_path / "data") as server:
            with grpc.insecure_channel(server.target) as channel:
                for number in range(30):
                    assert call(channel, "traces", traces(span(f"number {number}"))) == b""
                server.stop(signal.SIGKILL)
            assert {one["name"] for one in kept(server, "span")} == {f"number {number}" for number in range(30)}

    def test_a_port_that_is_taken_is_told(self, server: GrpcServing, tmp_path: Path) -> None:
        port = server.target.rpartition(":")[2]
        finished = run(tmp_path, "--grpc-port", port)
        assert finished.returncode == 3
        assert "OTLP/gRPC cannot listen there" in finished.stderr
        assert "--grpc-port" in finished.stderr
        assert "Traceback" not in finished.stderr

    def test_without_the_extra_it_says_what_to_install(self, tmp_path: Path) -> None:
        hidden = tmp_path / "hidden" / "grpc"
        hidden.mkdir(parents=True)
        (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'grpc'\", name='grpc')\n")
        path = {"PYTHONPATH": str(hidden.parent)}
        finished = run(tmp_path, "--grpc-port", str(free_port()), environment=path)
        assert finished.returncode == 3
        assert "pip install 'barograph[grpc]'" in finished.stderr
        assert "Traceback" not in finished.stderr
        toml = "[server]\ngrpc_port = 0\n"
        with Serving(tmp_path / "without", toml=toml, environment=path) as running:
            assert running.ask("/healthz").status == 200

    def test_it_is_off_unless_asked_for(self, tmp_path: Path) -> None:
        with Serving(tmp_path / "data") as running:
            maps = Path(f"/proc/{running.process.pid}/maps")
            assert not maps.exists() or "cygrpc" not in maps.read_text()


def run(tmp_path: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A server that should not start."""
    import os
    import sys

    command: Sequence[str] = [
        sys.executable, "-m", "barograph", "serve", "--data-dir", str(tmp_path / "none"), "--port", "0", *arguments,
    ]  # fmt: skip
    clean = {name: text for name, text in os.environ.items() if not name.startswith("BAROGRAPH_")}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**clean, **(environment or {})}
    )
