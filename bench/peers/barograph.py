"""Barograph itself, as `barograph serve` runs it: acknowledges what is synced to the disk, loads it a moment later."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path

import msgspec
from msgspec import Struct

from barograph_client.clock import Clock
from bench.peers.system import System, window

REDACTED = ("email", "phone", "card", "key")
_LEVELS = ("p50", "p95", "p99")


class _Stats(Struct):
    complete_to: datetime


class _Row(Struct):
    value: float | None


class _Rows(Struct):
    rows: list[_Row]


class _Answers(Struct):
    answers: list[_Rows]


class _Line(Struct):
    trace_id: str


class _Detail(Struct):
    spans: list[msgspec.Raw]


class Barograph(System):
    """With its default settings: nothing is redacted."""

    health = "/readyz"
    redact: tuple[str, ...] = ()

    def __init__(self, directory: Path, clock: Clock) -> None:
        super().__init__(directory, clock)
        self._data = directory / "barograph"
        self._acknowledged = clock.now()
        self._counted: dict[Path, tuple[int, int]] = {}  # bytes and lines of a segment when it was read last
        self._line = msgspec.json.Decoder(_Line)

    def command(self, port: int) -> Sequence[str]:
        address = ["--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "barograph", "serve", "--data-dir", str(self._data), *address]

    def environment(self, port: int) -> dict[str, str]:
        return {}

    def start(self) -> float:
        self._data.mkdir(parents=True, exist_ok=True)
        if self.redact:
            names = ", ".join(f'"{name}"' for name in self.redact)
            (self._data / "barograph.toml").write_text(f"[collect]\nredact = [{names}]\n", encoding="utf-8")
        taken = super().start()
        self._acknowledged = self.clock.now()
        return taken

    def send(self, connection: HTTPConnection, body: bytes) -> None:
        super().send(connection, body)
        self._acknowledged = self.clock.now()

    def durable(self) -> int:
        """Lines of the span journal."""
        total = 0
        for path in self._segments():
            size, lines = self._counted.get(path, (0, 0))
            with path.open("rb") as file:
                file.seek(size)
                while part := file.read(1 << 20):
                    size, lines = size + len(part), lines + part.count(b"\n")
            self._counted[path] = size, lines
            total += lines
        return total

    def kept(self) -> Counter[str]:
        return Counter(self._line.decode(line).trace_id for path in self._segments() for line in path.open("rb"))

    def visible(self) -> int:
        """All that is durable, once the server says that it is complete to the last acknowledgement; before, none.

        The word is tried on the trace that was journaled last: its spans must be there.
        """
        complete_to = msgspec.json.decode(self.ask("/api/v1/stats"), type=_Stats).complete_to
        if complete_to < self._acknowledged:
            return 0
        last = self._last_trace()
        if last and not msgspec.json.decode(self.ask(f"/api/v1/queries/{last}"), type=_Detail).spans:
            return 0
        return self.durable()

    def queries(self) -> int | None:
        found = self._metric("queries", {"last": "48h"})
        return int(sum(row.value or 0 for row in found))

    def hourly(self, end: datetime) -> int:
        """Three metrics in one question."""
        start, stop = window(end)
        question = {"from": start.isoformat(), "to": stop.isoformat(), "every": "1h"}
        asked = {**question, "metric": [f"response_time.{level}" for level in _LEVELS]}
        found = msgspec.json.decode(self.ask("/api/v1/query", asked), type=_Answers).answers
        return min(sum(row.value is not None for row in of.rows) for of in found)

    def _metric(self, metric: str, question: dict[str, str]) -> list[_Row]:
        return msgspec.json.decode(self.ask("/api/v1/query", {**question, "metric": metric}), type=_Rows).rows

    def _segments(self) -> Iterator[Path]:
        yield from sorted((self._data / "journal" / "span").rglob("*.jsonl"))

    def _last_trace(self) -> str:
        segments = list(self._segments())
        if not segments:
            return ""
        with segments[-1].open("rb") as file:
            file.seek(max(0, segments[-1].stat().st_size - (1 << 20)))
            lines = file.read().splitlines()
        return self._line.decode(lines[-1]).trace_id if lines else ""


class Redacting(Barograph):
    """With the redaction that is recommended for production."""

    redact = REDACTED
