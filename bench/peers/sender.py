"""Sends batches over several connections and remembers which were acknowledged.

The sender shares the cores with the server that it measures, as a client on the same machine does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPException

from bench.peers.system import Refused, System
from bench.peers.traces import SPANS, Batch

LOOK_SECONDS = 0.01


class Sender:
    """One run over the batches: ``start``, then ``wait``, or a kill of the server in between."""

    def __init__(self, system: System, batches: Sequence[Batch], connections: int) -> None:
        self.acknowledged: list[Batch] = []
        self.last = 0.0  # when the latest acknowledgement came, on the monotonic clock
        self.failure: Exception | None = None
        self._system = system
        self._left: Iterator[Batch] = iter(batches)
        self._lock, self._failed = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(connections)]

    @property
    def spans(self) -> int:
        """Acknowledged so far."""
        return SPANS * len(self.trace_ids)

    @property
    def trace_ids(self) -> list[str]:
        with self._lock:
            return [trace_id for batch in self.acknowledged for trace_id in batch.trace_ids]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def until(self, seconds: float) -> None:
        """Let so many seconds pass, and more until something is acknowledged; fewer when a connection fails."""
        self._system.clock.wait(self._failed, seconds)
        while not self.acknowledged and not self._system.clock.wait(self._failed, LOOK_SECONDS):
            pass

    def wait(self) -> None:
        """Wait until all connections have nothing left to send, or lost their server."""
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        try:
            with closing(self._system.connect()) as connection:
                while (batch := self._next()) is not None:
                    self._system.send(connection, batch.body)
                    self._acknowledge(batch)
        except (OSError, HTTPException, Refused) as error:
            with self._lock:
                self.failure = self.failure or error
                self._left = iter(())
            self._failed.set()

    def _next(self) -> Batch | None:
        with self._lock:
            return next(self._left, None)

    def _acknowledge(self, batch: Batch) -> None:
        with self._lock:
            self.acknowledged.append(batch)
            self.last = self._system.clock.monotonic()
