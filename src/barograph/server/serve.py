"""``barograph serve``: one process that owns a data directory and answers for it over HTTP.

Loader, evaluator and assembler run inside. The first SIGTERM or Ctrl-C stops it well: no new connections, what is
under way is answered, everything durable is loaded, the directory is let go. A second one ends it at once, which
loses nothing that was acknowledged: that is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import resource
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from barograph.control.keys import KeyRepository
from barograph.core.settings import ServerSettings
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.server.access import is_loopback
from barograph.server.application import application
from barograph.server.connections import Connections
from barograph.server.site import Site
from barograph.visualize.hostile import clean
from barograph_client.errors import InvalidSettings

if TYPE_CHECKING:  # an extra, which may be missing
    from barograph.server.otlp_grpc import OtlpGrpc

log = logging.getLogger("barograph.server")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TOKEN_BYTES = 32
_COLLECTED_AFTER = (50_000, 20, 100)  # new objects; rounds of the young; rounds of the middle-aged
_BACKLOG = 2048
_FILES_BESIDE = 1024  # descriptors that the engine and the journal may need beside the connections


class Server(uvicorn.Server):
    """uvicorn's server; signals are handled outside, for as long as the whole process takes to end.

    What listens ``beside`` it is stopped with it.
    """

    beside: OtlpGrpc | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.gather(super().shutdown(sockets), *([self.beside.stop()] if self.beside else []))


def serve(
    data_dir: Path, environment: Mapping[str, str], say: Callable[[str], None], settings: Mapping[str, object]
) -> None:
    """Serve a data directory until a signal. ``say`` is told where it listens and how it ends.

    ``settings`` are the server's that win over file and environment.
    Raises DirectoryLocked, InvalidSettings or JournalError.
    """
    _log_to_standard_error()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would log what any stranger sends
    signals = _Signals(say)
    with (
        signals.handled(),
        DashboardInterface(data_dir, environment=environment, background=False, server=settings) as dashboard,
    ):
        bounds = dashboard.settings.server
        check(bounds, keys_exist=KeyRepository(dashboard.parts.control).any())
        _allow_files(bounds.connections)
        listener = listen(bounds)
        token = secrets.token_hex(_TOKEN_BYTES)
        connections = Connections(bounds)
        app, site = application(dashboard, connections, token)
        server = Server(configuration(app, connections, bounds))

        def stop() -> None:
            site.stopping = True
            server.should_exit = True
            under_way = (
                f"{len(server.server_state.tasks)} requests under way, {bounds.stop_seconds:g} s for them at most"
            )
            _tell(f"Stopping: {under_way}; once more ends it now, and loses nothing that was acknowledged.")

        signals.on_first = stop
        dashboard.parts.start()

        async def answer() -> None:
            if bounds.grpc_port:
                server.beside = otlp_grpc(site)
                await server.beside.start()
            address = address_of(bounds, listener)
            shown = str(Path(bounds.certificate).absolute()) if bounds.certificate else ""
            dashboard.parts.journal.tell_address(address.removesuffix(bounds.root_path), token, shown)
            say(f"Barograph listens on {address}")
            if server.beside:
                say(f"OTLP/gRPC: {server.beside.address}")
            say(f"  data in {dashboard.parts.directory}; {_who_may(dashboard)}")
            say(f"  OpenTelemetry: {address}/v1/traces; look with `barograph show` or {address}/api/v1/pages/overview")
            if signals.count:
                stop()
            _keep_from_the_collector()
            await server.serve(sockets=[listener])

        with listener, contextlib.closing(site.conditions):
            asyncio.run(answer())
        dashboard.parts.journal.tell_address("", "")
    say("Stopped.")


def _keep_from_the_collector() -> None:
    """What is there for good is not looked through again and again; what a request makes goes by its count.

    With the usual thresholds a fifth of the time of a burst goes into looking for cycles that are not there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)


def _who_may(dashboard: DashboardInterface) -> str:
    if KeyRepository(dashboard.parts.control).any():
        return "every request needs a key"
    return "no key is needed on this machine"


def _tell(text: str) -> None:
    """A line on standard output from within a signal handler, which must not wait for a lock of the stream's."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), f"{text}\n".encode())


def check(settings: ServerSettings, *, keys_exist: bool) -> None:
    """Refuse what would be open to strangers or could not work. Raises InvalidSettings."""
    if not is_loopback(settings.host) and not keys_exist:
        raise InvalidSettings(
            "an address that others can reach needs a key first",
            hint="Make one in this data directory (--data-dir) with `barograph key create --scope ingest`, "
            "another with --scope read to look from elsewhere, or listen on 127.0.0.1.",
            value=settings.host,
        )
    if bool(settings.certificate) != bool(settings.private_key):
        raise InvalidSettings(
            "TLS needs both files", hint="Give server.certificate and server.private_key, or neither."
        )
    for path in filter(None, (settings.certificate, settings.private_key)):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise InvalidSettings(f"a TLS file cannot be read: {error.strerror}", value=path) from None
    if settings.certificate:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                settings.certificate, settings.private_key, password=lambda: ""
            )
        except (ssl.SSLError, ValueError) as error:
            raise InvalidSettings(
                f"the TLS files are no certificate chain with its private key: {error}",
                hint="Both are PEM; the key has no password and belongs to the first certificate.",
                value=settings.certificate,
            ) from None


def otlp_grpc(site: Site) -> OtlpGrpc:
    """What answers OTLP/gRPC. Raises InvalidSettings where it cannot listen, or is not installed."""
    try:
        from barograph.server.otlp_grpc import OtlpGrpc
    except ImportError as error:
        raise InvalidSettings(
            f"OTLP/gRPC needs the extra grpc: {error}",
            hint="pip install 'barograph[grpc]', or leave server.grpc_port at 0.",
        ) from None
    return OtlpGrpc(site)


def listen(settings: ServerSettings) -> socket.socket:
    """The listening socket. Raises InvalidSettings where it cannot listen."""
    host = settings.host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise InvalidSettings(
            f"cannot listen there: {error.strerror or error}",
            hint="Another program may have the port; choose one with --port, or 0 for a free one.",
            value=f"{settings.host}:{settings.port}",
        ) from None
    return listener


def address_of(settings: ServerSettings, listener: socket.socket) -> str:
    """Where it is reached from this machine."""
    host, port = listener.getsockname()[:2]
    found = ipaddress.ip_address(host)
    if found.is_unspecified:  # every address of the machine, loopback too
        host = "127.0.0.1" if found.version == 4 else "::1"
    scheme = "https" if settings.certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"


def configuration(app: Callable[..., Any], connections: Connections, settings: ServerSettings) -> uvicorn.Config:
    """How uvicorn runs the application."""
    return uvicorn.Config(
        app,
        http=connections.protocol(),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        root_path=settings.root_path,
        timeout_keep_alive=int(settings.idle_seconds),
        timeout_graceful_shutdown=int(settings.stop_seconds),
        ssl_certfile=settings.certificate or None,
        ssl_keyfile=settings.private_key or None,
    )


class _Signals:
    """What SIGTERM and Ctrl-C do, from the start to the very end of the process."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.count = 0
        self.on_first: Callable[[], None] = lambda: None
        self._say = say

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            os._exit(128 + number)  # at once: what was acknowledged is on disk
        self.on_first()


def _allow_files(connections: int) -> None:
    """Raise the limit of open files to what so many connections need, as far as one may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


class _Clean(logging.Formatter):
    """Log lines that cannot steer a terminal, whatever they repeat."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(clean(line) for line in super().format(record).split("\n"))


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Clean("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("barograph", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.WARNING)
        logger.propagate = False
