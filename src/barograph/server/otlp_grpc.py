"""OTLP over gRPC, on a port of its own beside HTTP: the Export methods of the trace, metrics and logs services.

Needs the extra ``grpc``, so only ``serve`` imports it, and only where ``server.grpc_port`` asks for it. It runs in
the event loop of the HTTP server and hands what it gets to ``otlp_routes``: keys, bounds, decoding and answers are the
same. A call's message is read only once the caller is known and has a place, and it is unpacked here and not by
gRPC, which knows no bound for what a compressed message becomes.
https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
from starlette.requests import Request

from barograph.collect.otlp_answers import failure
from barograph.collect.otlp_messages import Signal
from barograph.core.settings import ServerSettings
from barograph.server.access import PROJECT_HEADER
from barograph.server.bodies import Admitted, decompress
from barograph.server.otlp_routes import keep_records, refusal_of
from barograph.server.problems import Problem, fault, problem_of
from barograph.server.site import Site
from barograph_client.errors import BarographError, InvalidSettings

log = logging.getLogger("barograph.server")

_PACKAGE = "opentelemetry.proto.collector"
SERVICES: dict[str, Signal] = {
    f"{_PACKAGE}.trace.v1.TraceService": "traces",
    f"{_PACKAGE}.metrics.v1.MetricsService": "metrics",
    f"{_PACKAGE}.logs.v1.LogsService": "logs",
}
_DETAILS = "grpc-status-details-bin"  # where a google.rpc.Status with RetryInfo goes
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_GZIP = b"\x1f\x8b"  # no protobuf message begins so: it would be a field of a type that there is not
_IDENTITY_AND_GZIP = 0b101
_STREAMS = 16  # calls of one connection for each that is worked on; what is beyond is reset without a word by gRPC
_PING_SECONDS = 10  # how often an idle client may ask whether the server is there
_SILENT_SECONDS = 60  # after which a client is asked

Context = grpc.aio.ServicerContext[bytes, bytes]
Handler = Callable[[AsyncIterator[bytes], Context], Awaitable[bytes]]


class OtlpGrpc:
    """The gRPC server of one site. For the event loop that it is started in. Raises InvalidSettings."""

    def __init__(self, site: Site) -> None:
        settings = site.settings
        self._grace = settings.stop_seconds
        self._server = grpc.aio.server(options=_options(settings))
        self._server.add_generic_rpc_handlers([_service(site, name, signal) for name, signal in SERVICES.items()])
        host = settings.host.strip("[]")
        self.address = f"{f'[{host}]' if ':' in host else host}:{settings.grpc_port}"
        try:
            if settings.certificate:
                self._server.add_secure_port(self.address, _credentials(settings))
            else:
                self._server.add_insecure_port(self.address)
        except RuntimeError:
            raise InvalidSettings(
                "OTLP/gRPC cannot listen there",
                hint="Another program may have the port; choose one with --grpc-port, or 0 for none.",
                value=self.address,
            ) from None

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """No new calls; those under way are answered, within ``server.stop_seconds``."""
        await self._server.stop(self._grace)


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    """https://grpc.github.io/grpc/core/group__grpc__arg__keys.html"""
    return [
        ("grpc.max_receive_message_length", settings.body_bytes),
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
        ("grpc.max_concurrent_streams", _STREAMS * settings.requests),
        ("grpc.server_handshake_timeout_ms", int(1000 * settings.header_seconds)),
        ("grpc.max_connection_idle_ms", int(1000 * settings.idle_seconds)),
        ("grpc.keepalive_time_ms", 1000 * _SILENT_SECONDS),
        ("grpc.http2.min_ping_interval_without_data_ms", 1000 * _PING_SECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.so_reuseport", 0),  # two servers on one port would share its calls, and nobody would know
    ]


def _credentials(settings: ServerSettings) -> grpc.ServerCredentials:
    chain, key = Path(settings.certificate).read_bytes(), Path(settings.private_key).read_bytes()
    return grpc.ssl_server_credentials([(key, chain)])


def _service(site: Site, name: str, signal: Signal) -> grpc.GenericRpcHandler:
    """One service. As a stream of messages, which looks the same on the wire, since that is read when we say so."""
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(_export(site, signal))
    return grpc.method_handlers_generic_handler(name, {"Export": handler})


def _export(site: Site, signal: Signal) -> Handler:
    async def export(messages: AsyncIterator[bytes], context: Context) -> bytes:
        try:
            caller = await site.access.caller(_as_request(context), "ingest")
            async with site.admission.request() as admitted:
                admitted.work()
                body = await _message(messages, site.settings, admitted)
                if body.startswith(_GZIP):
                    body = await site.decode(lambda: decompress(body, "gzip", site.settings.plain_bytes))
                    admitted.hold(len(body))
                return await keep_records(site, caller, signal, "protobuf", body)
        except Problem as error:
            problem = error
        except BarographError as error:
            problem = problem_of(error)
        except Exception:  # the caller is told that it is our fault, and nothing of what was inside
            log.exception("a fault while answering OTLP/gRPC %s", signal)
            problem = fault()
        _, code, text, retry_after = refusal_of(problem)
        details = failure("protobuf", code, text, retry_after)
        await context.abort(_CODES[code], text, ((_DETAILS, details),))
        raise AssertionError("abort raises")

    return export


def _as_request(context: Context) -> Request:
    """What ``access`` looks at. No browser speaks gRPC, so there is no other site's page to be kept out."""
    headers = [(b"host", b"localhost")]
    for name, value in context.invocation_metadata() or ():
        if name in ("authorization", PROJECT_HEADER):
            headers.append((name.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace")))
    return Request({"type": "http", "method": "POST", "path": "", "query_string": b"", "headers": headers})


async def _message(messages: AsyncIterator[bytes], settings: ServerSettings, admitted: Admitted) -> bytes:
    """The call's one message, as it was sent. Raises Problem."""
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for body in messages:
                admitted.hold(len(body))
                return body
    except TimeoutError:
        raise Problem(408, "too-slow", f"the message did not come within {settings.body_seconds:g} s",
                      hint="Send smaller batches.") from None  # fmt: skip
    raise Problem(400, "no-body", "there is no message in the call", hint="Send an Export…ServiceRequest.")
