"""TLS: with a certificate the server answers over https and gRPC alike; files that do not fit keep it from starting."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import msgspec
import pytest
from otlp_support import kept, span, traces
from test_otlp_grpc import METHODS, SECONDS, GrpcServing, run
from tests.cli.cli_support import barograph
from tests.support.serving import Serving

from barograph.cli.remote_desk import RemoteDesk
from barograph.journal.lock import server_of
from barograph_client.errors import ServerUnavailable

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine that signs itself, and its key."""
    return signed(tmp_path_factory.mktemp("tls"), "server")


def signed(folder: Path, name: str, *more: str) -> tuple[Path, Path]:
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", chain,
         *(more or ("-nodes",))],
        check=True, capture_output=True,
    )  # fmt: skip
    return chain, key


@pytest.fixture(scope="module")
def server(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcServing]:
    chain, key = map(str, files)
    with GrpcServing(tmp_path_factory.mktemp("served") / "data", "--certificate", chain, "--private-key", key) as one:
        yield one


class TestServed:
    def test_it_answers_over_https_and_not_in_the_clear(self, server: Serving, files: tuple[Path, Path]) -> None:
        assert server.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(files[0]))
        with urllib.request.urlopen(f"{server.url}/healthz", timeout=SECONDS, context=trusting) as reply:
            assert reply.status == 200
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"{server.url}/healthz", timeout=SECONDS)
        with pytest.raises(OSError):
            urllib.request.urlopen(server.url.replace("https", "http") + "/healthz", timeout=SECONDS)

    def test_the_commands_of_this_machine_speak_tls_and_trust_that_certificate_alone(
        self, server: GrpcServing, tmp_path: Path
    ) -> None:
        asked = barograph("status", "-d", server.directory, "--json")
        assert asked.returncode == 0, asked.stderr
        owner = server_of(server.directory)
        assert owner is not None
        stranger, _ = signed(tmp_path, "stranger")
        with (
            RemoteDesk(server.directory, msgspec.structs.replace(owner, certificate=str(stranger)), "") as desk,
            pytest.raises(ServerUnavailable, match="not trusted"),
        ):
            desk.status()

    def test_spans_are_taken_over_https_and_grpc(
        self, server: GrpcServing, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which the exporter's library would prefer
            monkeypatch.delenv(name, raising=False)
        provider = TracerProvider()
        exporter = OTLPSpanExporter(f"{server.url}/v1/traces", certificate_file=str(files[0]))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.get_tracer("tests").start_span("over https").end()
        provider.shutdown()
        assert len(kept(server, "span", name="over https")) == 1

        trusted = grpc.ssl_channel_credentials(files[0].read_bytes())
        with grpc.secure_channel(server.target, trusted) as channel:
            request = traces(span("over grpc")).SerializeToString()
            assert channel.unary_unary(METHODS["traces"])(request, timeout=SECONDS) == b""
        assert len(kept(server, "span", name="over grpc")) == 1
        with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary(METHODS["traces"])(b"", timeout=5)


class TestFilesThatDoNotFit:
    def test_one_without_the_other(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        assert_told(run(tmp_path, "--certificate", str(files[0])), "TLS needs both files")

    def test_a_file_that_is_not_there(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        missing = str(tmp_path / "missing.pem")
        assert_told(run(tmp_path, "--certificate", missing, "--private-key", str(files[1])), missing)
        assert_told(run(tmp_path, "--certificate", str(files[0]), "--private-key", missing), missing)

    def test_a_file_that_is_no_certificate(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        wrong = tmp_path / "wrong.pem"
        wrong.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
        told = run(tmp_path, "--certificate", str(wrong), "--private-key", str(files[1]))
        assert_told(told, "no certificate chain with its private key")

    def test_a_key_of_another_certificate(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        _, key = signed(tmp_path, "other")
        told = run(tmp_path, "--certificate", str(files[0]), "--private-key", str(key))
        assert_told(told, "no certificate chain with its private key")

    def test_a_key_with_a_password(self, tmp_path: Path) -> None:
        chain, key = signed(tmp_path, "locked", "-passout", "pass:secret")
        told = run(tmp_path, "--certificate", str(chain), "--private-key", str(key))
        assert_told(told, "the key has no password")


def assert_told(finished: subprocess.CompletedProcess[str], text: str) -> None:
    """Refused input, in a line that says what is wrong and none that says where in the code."""
    assert finished.returncode == 3, finished.stderr
    assert text in finished.stderr
    assert "Traceback" not in finished.stderr
