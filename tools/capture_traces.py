"""Runs a program that sends OTLP and keeps what it really sent, as span events, one a line of JSON.

The files of ``tests/data/otel/`` are made with it (its README says how), so that the rules of ``collect/otel.py`` are
tested on what instrumentations send, not on what their documentation says that they send.

    python tools/capture_traces.py tests/data/otel/langchain.jsonl -- python examples/langchain_rag.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from barograph.collect import otlp
from barograph.collect.intake import Intake
from barograph.collect.otlp_spans import take_spans
from barograph.collect.validate import Validator
from barograph_client.clock import SystemClock
from barograph_client.identifiers import IdentifierSource

ROOT = Path(__file__).resolve().parent.parent
_PLACES = re.compile(rb"/[^\s\"\\\\]*/(site-packages|python3\.\d+)/")
PROTOBUF = "application/x-protobuf"


class Receiver(ThreadingHTTPServer):
    """A receiver of OTLP/HTTP that keeps every body of ``/v1/traces`` in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def address(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # noqa: N802 - the library's name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            cast(Receiver, self.server).bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Type", PROTOBUF)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def capture(command: list[str]) -> list[bytes]:
    """The bodies that the command sent, in order. Raises CalledProcessError if it fails."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    environment = os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }
    subprocess.run(command, env=environment, check=True)  # noqa: S603 - the command is the caller's
    receiver.shutdown()
    return receiver.bodies


def lines(bodies: list[bytes]) -> list[bytes]:
    """The span events of the bodies, each encoded, without this machine's paths, in the order they were sent."""
    clock = SystemClock()
    intake = Intake(Validator(clock, IdentifierSource(clock)))
    found: list[bytes] = []
    for body in bodies:
        for taken in take_spans(otlp.read("traces", body, "protobuf"), intake, "default", clock.now()):
            if taken.entry is None:
                raise SystemExit(f"a span was refused: {taken.error}")
            found.append(_anonymous(taken.entry.body + b"}"))
    return found


def _anonymous(line: bytes) -> bytes:
    """Stack traces name files; where those lie on this machine is nobody's business."""
    line = line.replace(f"{ROOT}/".encode(), b"/app/")
    return _PLACES.sub(rb"/\1/", line)


def main(arguments: list[str]) -> None:
    if len(arguments) < 3 or arguments[1] != "--":
        raise SystemExit("usage: capture_traces.py FILE -- COMMAND …")
    kept = lines(capture(arguments[2:]))
    Path(arguments[0]).write_bytes(b"\n".join(kept) + b"\n")
    print(f"{len(kept)} spans in {arguments[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
