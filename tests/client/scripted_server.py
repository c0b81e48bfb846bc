"""A real HTTP server on loopback that keeps events as Barograph's does, and misbehaves when told to.

It also tells definitions of experiments. It remembers ids and (client, sequence), so that a test can tell a loss from
a double. ``script`` holds what it does with the next requests, in order: a ``Move``; after the last one it behaves.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Move(NamedTuple):
    """What to do with one request: wait, take it or not, and answer, or hang up without an answer."""

    status: int = 200
    body: bytes | None = None  # instead of the true answer
    headers: Mapping[str, str] = {}
    delay: float = 0.0
    take: bool = False  # keep the events although the answer says otherwise
    hang_up: bool = False
    read: bool = True  # the body, before anything else
    divide: bool = False  # refuse it, and for ever, if it holds several events and was not taken before


class Request(NamedTuple):
    """What came in."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def batch(self) -> tuple[str, int]:
        """Client id and sequence number."""
        return self.headers["Barograph-Client"], int(self.headers["Barograph-Sequence"])

    @property
    def lines(self) -> list[bytes]:
        """The lines of the body."""
        packed = self.headers.get("Content-Encoding") == "gzip"
        return (zlib.decompress(self.body, 31) if packed else self.body).splitlines()


class ScriptedServer:
    """Listens until ``stop``; ``start`` takes the same port again."""

    def __init__(self) -> None:
        self.script: deque[Move] = deque()
        self.always: Move | None = None  # while it is set, every request is answered so
        self.requests: list[Request] = []
        self.events: dict[str, dict[str, Any]] = {}  # by id, in the order in which they were stored
        self.rejected: list[bytes] = []
        self.definitions = b'{"project":"default","experiments":[]}'
        self.definitions_status = 200
        self.asked: list[Request] = []  # for the definitions
        self.doubles = 0  # events that came again under another batch number
        self.lock = threading.Lock()
        self._batches: set[tuple[str, int]] = set()
        self._divided: set[tuple[str, int]] = set()
        self._server: ThreadingHTTPServer | None = None
        self._connections: set[socket.socket] = set()
        self.connections: list[object] = []  # addresses that have connected
        self.tls: ssl.SSLContext | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ids(self) -> list[str]:
        """Of the stored events, in order."""
        with self.lock:
            return list(self.events)

    def start(self) -> None:
        """Listen."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                outer._connections.add(self.connection)
                outer.connections.append(self.client_address)

            def finish(self) -> None:
                outer._connections.discard(self.connection)
                super().finish()

            def do_POST(self) -> None:
                outer._answer(self)

            def do_GET(self) -> None:
                outer._tell(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that was killed

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: nobody listens, open connections are cut."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _tell(self, handler: BaseHTTPRequestHandler) -> None:
        """The definitions of experiments, with the document itself as their ETag."""
        with self.lock:
            status, content = self.definitions_status, self.definitions
            self.asked.append(Request(time.monotonic(), handler.path, dict(handler.headers.items()), b""))
        etag = f'"{zlib.crc32(content):08x}"'
        if status == 200 and handler.headers.get("If-None-Match") == etag:
            status, content = 304, b""
        handler.send_response(status)
        handler.send_header("ETag", etag)
        if status != 304:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self.lock:
            move = self.always or (self.script.popleft() if self.script else Move(take=True))
        body = handler.rfile.read(int(handler.headers["Content-Length"])) if move.read else b""
        request = Request(time.monotonic(), handler.path, dict(handler.headers.items()), body)
        with self.lock:
            self.requests.append(request)
        with self.lock:
            if move.divide and len(request.lines) > 1 and request.batch not in self._batches:
                self._divided.add(request.batch)
            if request.batch in self._divided:
                move = Move(status=400)
            elif move.divide:
                move = Move(take=True)
        if move.delay:
            time.sleep(move.delay)
        true = self._take(request) if move.take else b""
        if move.hang_up or not move.read:
            handler.close_connection = True
        if move.hang_up:
            return
        content = move.body if move.body is not None else true
        handler.send_response(move.status)
        for name, value in move.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _take(self, request: Request) -> bytes:
        with self.lock:
            again = request.batch in self._batches
            self._batches.add(request.batch)
            results = [self._take_line(line, again) for line in request.lines]
        outcomes = [result["outcome"] for result in results]
        counts = {name: outcomes.count(name) for name in ("stored", "rejected", "duplicate")}
        return json.dumps({"received": len(results), **counts, "results": results}).encode()

    def _take_line(self, line: bytes, again: bool) -> dict[str, str]:
        event = json.loads(line)
        if not isinstance(event, dict) or event.get("cost", 0) < 0:
            if not again:
                self.rejected.append(line)
            return {"outcome": "rejected", "field": "cost", "reason": "must be at least 0", "hint": "It is in USD"}
        event_id = event.get("event_id") or event["id"]
        if again or event_id in self.events:
            self.doubles += not again
            return {"outcome": "duplicate", "event_id": event_id}
        self.events[event_id] = event
        return {"outcome": "stored", "event_id": event_id}


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)
