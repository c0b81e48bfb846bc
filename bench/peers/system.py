"""What all measured systems have in common: a server on loopback in a directory of its own, that takes OTLP/HTTP.

``phoenix``, ``mlflow`` and ``barograph`` each say how theirs is started and asked; ``measure`` uses nothing else.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import ClassVar

import msgspec

from barograph_client.clock import Clock
from bench.peers.environment import NotThere, reason
from bench.peers.process import Tree
from bench.peers.traces import HOURS

START_SECONDS = 180.0
STOP_SECONDS = 60.0
ANSWER_SECONDS = 300.0
BUSY_SECONDS = 0.1  # between two tries of a batch that the server was too busy for
BUSY = (429, 503)
_OTLP = {"Content-Type": "application/x-protobuf"}
_FOREIGN = ("BAROGRAPH_", "PHOENIX_", "MLFLOW_", "OTEL_", "PYTHON", "VIRTUAL_ENV")


class Refused(Exception):
    """A server answered with something else than what was asked for."""


class System(ABC):
    """One server and its data. ``start`` may be called again after ``stop`` or ``kill``: the data stay."""

    health: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory
        self.clock = clock
        self.busy = 0  # answers that said to come again
        self._never = threading.Event()
        self._port = 0
        self._tree: Tree | None = None

    @abstractmethod
    def command(self, port: int) -> Sequence[str]:
        """What starts the server on this port of 127.0.0.1."""

    @abstractmethod
    def environment(self, port: int) -> dict[str, str]:
        """The variables it needs beside the ordinary ones."""

    @abstractmethod
    def durable(self) -> int:
        """How many spans stand in its files now, read past the server."""

    @abstractmethod
    def kept(self) -> Counter[str]:
        """How many spans of each trace stand in its files."""

    @abstractmethod
    def visible(self) -> int:
        """How many spans the server itself counts when asked."""

    @abstractmethod
    def hourly(self, end: datetime) -> int:
        """Ask for p50, p95 and p99 of the traces' duration by the hour over the load; how many hours had a p95."""

    def queries(self) -> int | None:
        """How many query events have been made from the traces; None for a system that makes none."""
        return None

    @property
    def tree(self) -> Tree:
        if self._tree is None:
            raise RuntimeError("the server was not started")
        return self._tree

    def start(self) -> float:
        """Start it and wait until it answers; the seconds that took. Raises NotThere with what it said last."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(_FOREIGN) and "proxy" not in name.lower()
        }
        home = {"HOME": str(self.directory), "DO_NOT_TRACK": "1"}
        began = self.clock.monotonic()
        self._tree = Tree(
            self.command(self._port),
            {**inherited, **home, **self.environment(self._port)},
            self.directory,
            self.directory.with_suffix(".log"),
        )
        while not self._answers():
            taken = self.clock.monotonic() - began
            if self._tree.ended is not None or taken > START_SECONDS:
                how = f"took more than {START_SECONDS:.0f} s" if self._tree.ended is None else "ended at once"
                self._tree.kill()
                raise NotThere(f"the server {how}: {reason(self._tree.said())}")
            self.pause(0.05)
        return self.clock.monotonic() - began

    def pause(self, seconds: float) -> None:
        self.clock.wait(self._never, seconds)

    def stop(self) -> None:
        """SIGTERM; SIGKILL for what has not ended a minute later."""
        self.tree.terminate(STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL to the server and all that it started."""
        self.tree.kill()

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)

    def send(self, connection: HTTPConnection, body: bytes) -> None:
        """One batch, again and again while the server is too busy; returns when it is acknowledged."""
        while True:
            connection.request("POST", "/v1/traces", body, {**_OTLP, **self.headers})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status == 200:
                return
            if answer.status not in BUSY:
                raise Refused(f"a batch was answered with {answer.status}: {_readable(said)}")
            self.busy += 1
            self.pause(BUSY_SECONDS)

    def ask(self, path: str, question: object = None) -> bytes:
        """GET, or POST of a question as JSON; the answer's body."""
        with closing(self.connect()) as connection:
            if question is None:
                connection.request("GET", path, headers=self.headers)
            else:
                body = msgspec.json.encode(question)
                connection.request("POST", path, body, {"Content-Type": "application/json", **self.headers})
            answer = connection.getresponse()
            said = answer.read()
        if answer.status != 200:
            raise Refused(f"{path} answered {answer.status}: {_readable(said)}")
        return said

    def size(self) -> int:
        """Bytes that its directory takes on disk."""
        return sum(path.stat().st_blocks * 512 for path in self.directory.rglob("*") if path.is_file())

    def _answers(self) -> bool:
        try:
            with closing(HTTPConnection("127.0.0.1", self._port, timeout=5.0)) as connection:
                connection.request("GET", self.health)
                return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def window(end: datetime) -> tuple[datetime, datetime]:
    """The hours of the load, and the one that has begun."""
    return end - timedelta(hours=HOURS), end + timedelta(hours=1)


def rows(database: Path, question: str) -> list[tuple[object, ...]]:
    """The answer of an SQLite file to a question, read only."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        return connection.execute(question).fetchall()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _readable(said: bytes) -> str:
    return " ".join(said[:300].decode("utf-8", "replace").split())
