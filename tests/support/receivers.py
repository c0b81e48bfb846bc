"""Real receivers of notifications on loopback: an HTTP server and a mail server that misbehave when told to.

``settings`` and ``sample`` make what the tests of delivery send.
"""

from __future__ import annotations

import base64
import json
import logging
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pytest

from barograph.alerts.alert import Alert, Notification, Status
from barograph.alerts.delivery.targets import Surroundings
from barograph_client.clock import Clock, SystemClock

AT = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


class Answer(NamedTuple):
    """What to do with one request: wait, and answer, or hang up without an answer.

    ``drip`` is how many seconds pass between two bytes of the body, or, with ``head``, of a head that never ends.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    delay: float = 0.0
    hang_up: bool = False
    drip: float = 0.0
    head: bool = False


class Post(NamedTuple):
    """What came in."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """Which notification it is."""
        return self.headers["Idempotency-Key"]

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Receiver:
    """A server on a thread of its own, until the block is left; ``_gone`` is set when it ends."""

    def __init__(self) -> None:
        self._gone = threading.Event()

    def _serve(self, server: socketserver.BaseServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class HttpReceiver(Receiver):
    """Answers as ``for_key`` says for a notification, else as ``script``, in order; then as ``always`` says."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.script: deque[Answer] = deque()
        self.always = Answer()
        self.for_key: dict[str, Answer] = {}
        self.posts: list[Post] = []
        self.taken: list[str] = []  # the keys of those that were answered with a success
        self.at_once = self.most_at_once = 0
        self.arrived = threading.Event()  # set by each request
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a sender that was killed

        server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}/hook"
        self._serve(server)

    def received(self) -> list[str]:
        """Of the notifications, in the order in which they came."""
        with self._lock:
            return [post.key for post in self.posts]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self._lock:
            self.posts.append(Post(time.monotonic(), handler.path, dict(handler.headers.items()), body))
            known = self.for_key.get(handler.headers.get("Idempotency-Key", ""))
            answer = known or (self.script.popleft() if self.script else self.always)
            self.arrived.set()
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self._gone.wait(answer.delay)
        with self._lock:
            self.at_once -= 1
            if answer.status < 300 and not answer.hang_up and not answer.head:
                self.taken.append(handler.headers.get("Idempotency-Key", ""))
        if answer.hang_up:
            return
        while answer.head and not self._gone.wait(answer.drip):
            try:
                handler.wfile.write(b"X")
            except OSError:
                return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        with suppress(OSError):
            for part in [answer.body[i : i + 1] for i in range(len(answer.body))] if answer.drip else [answer.body]:
                handler.wfile.write(part)
                handler.wfile.flush()
                if self._gone.wait(answer.drip):
                    break


class Mail(NamedTuple):
    """What was taken."""

    sender: str
    recipients: list[str]
    data: bytes

    @property
    def message(self) -> EmailMessage:
        """Read as a mail program would."""
        read = message_from_bytes(self.data, policy=policy.default)
        assert isinstance(read, EmailMessage)
        return read


class SmtpReceiver(Receiver):
    """A mail server, as much of one as smtplib needs. ``answers`` maps a command to what it says instead of yes."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, wrapped: bool = False) -> None:
        super().__init__()
        self.answers: dict[str, str] = {}
        self.silent_after: str | None = None
        self.hang_up_after_data = 0  # so many times
        self.mails: list[Mail] = []
        self.logins: list[tuple[str, str]] = []
        self.tls = tls
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    sock = self.request
                    if tls is not None and wrapped:
                        sock = tls.wrap_socket(sock, server_side=True)
                    with sock:
                        outer._talk(sock, secure=wrapped)

        class Server(socketserver.ThreadingTCPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass

        server = Server(("127.0.0.1", 0), Handler)
        self.port = int(server.server_address[1])
        self._serve(server)

    def _talk(self, sock: socket.socket, secure: bool, banner: str = "220 here") -> None:
        sender, recipients = "", list[str]()
        file = sock.makefile("rwb", 0)
        if banner:
            self._say(file, self.answers.get("banner", banner))
        while line := file.readline().decode("utf-8", "replace").rstrip("\r\n"):
            verb = line.split(" ")[0].split(":")[0].upper()
            if verb == self.silent_after:
                self._gone.wait(60)
                return
            answer = self.answers.get(verb)
            if answer is not None:
                self._say(file, answer)
            elif verb == "EHLO":
                offered = ["250-here", "250-AUTH PLAIN"] + (["250-STARTTLS"] if self.tls and not secure else [])
                self._say(file, "\r\n".join([*offered, "250 8BITMIME"]))
            elif verb == "STARTTLS" and self.tls is not None:
                self._say(file, "220 go on")
                with self.tls.wrap_socket(sock, server_side=True) as wrapped:
                    self._talk(wrapped, secure=True, banner="")
                return
            elif verb == "AUTH":
                _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                self.logins.append((user, password))
                self._say(file, "235 welcome")
            elif verb == "MAIL":
                sender, recipients = line.partition("<")[2].partition(">")[0], []
                self._say(file, "250 yes")
            elif verb == "RCPT":
                recipients.append(line.partition("<")[2].partition(">")[0])
                self._say(file, "250 yes")
            elif verb == "DATA":
                self._say(file, "354 go on")
                data = b""
                while not data.endswith(b"\r\n.\r\n"):
                    data += file.readline()
                self.mails.append(Mail(sender, recipients, data[:-3].replace(b"\r\n..", b"\r\n.")))
                if self.hang_up_after_data:
                    self.hang_up_after_data -= 1
                    return
                self._say(file, self.answers.get("taken", "250 taken"))
            elif verb == "QUIT":
                self._say(file, "221 bye")
                return
            else:
                self._say(file, "250 yes")

    @staticmethod
    def _say(file: Any, text: str) -> None:
        file.write(text.encode() + b"\r\n")


def alert(name: str = "slow answers", *, resolved: bool = False, severity: str = "critical", **more: str) -> Alert:
    """One that fired ten minutes ago."""
    return Alert(
        labels={"alertname": name, "severity": severity, "project": "default", **more},
        annotations={
            "summary": "p95 of the response time is 12.3 s, more than 10 s",
            "value": "12.3 s",
            "runbook_url": "https://example.org/runbooks/slow?a=1&b=2",
        },
        starts_at=AT - timedelta(minutes=10),
        ends_at=AT - timedelta(minutes=1) if resolved else None,
        updated_at=AT,
        generator_url="https://barograph.example.org/alerts/slow",
    )


def sample(
    key: str = "k1", group: str = "g1", status: Status = "firing", receiver: str = "team", **more: Any
) -> Notification:
    """A notification of one alert, unless ``alerts`` gives others."""
    alerts: tuple[Alert, ...] = more.pop("alerts", (alert(resolved=status == "resolved", model="gpt"),))
    common = dict(set.intersection(*(set(each.labels.items()) for each in alerts)))
    said = dict(set.intersection(*(set(each.annotations.items()) for each in alerts)))
    return Notification(
        key=key,
        group_key=group,
        receiver=receiver,
        status=status,
        reason=more.pop("reason", "1 new alert"),
        group_labels=more.pop("group_labels", {"alertname": alerts[0].labels["alertname"]}),
        common_labels=common,
        common_annotations=said,
        alerts=alerts,
        at=AT,
        next_at=AT + timedelta(hours=4),
        **more,
    )


def surroundings(environment: Mapping[str, str] | None = None, clock: Clock | None = None) -> Surroundings:
    """What channels need; messages for a terminal go to standard error."""
    return Surroundings(clock or SystemClock(), environment or {}, logging.getLogger("barograph.alerts"), sys.stderr)


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for this machine that signs itself, and a server's context with it; skips without openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    chain, key = folder / "chain.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-nodes", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    return chain, context


def until(condition: Callable[[], object], seconds: float = 20.0, pace: float = 0.005) -> None:
    """Wait until something is so; look again after ``pace`` seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(pace)
