"""Sends lines and waits for the server's answer: for whoever wants to know that events are durable before going on.

Used by the collector's ``HttpSink``. Threads that send at the same time have a connection each; a batch that finds no
server is sent again under its number for a few seconds, the length of a restart.
"""

from __future__ import annotations

import os
import random as random_numbers
import threading
from collections import deque
from collections.abc import Sequence
from typing import Unpack

from barograph_client.backoff import Backoff, Pace
from barograph_client.batch import BODY_BYTES, Batch, pack, parted
from barograph_client.clock import Clock
from barograph_client.errors import ServerRefused, ServerUnavailable
from barograph_client.exchange import Answer, Exchange, Result, connect
from barograph_client.identifiers import IdentifierSource
from barograph_client.settings import ConnectionArguments, resolve_connection


class Sender:
    """Synchronous batches of one process. Safe to share between threads and to fork.

    ``patience`` is how many seconds a server that is away is waited for. Raises InvalidSettings.
    """

    def __init__(self, clock: Clock, patience: float, **arguments: Unpack[ConnectionArguments]) -> None:
        self._clock = clock
        self._patience = patience
        self._connection = resolve_connection(**arguments)
        self._identifiers = IdentifierSource(clock)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._pid = os.getpid()
        self._client = self._identifiers.new()
        self._sequence = 0
        self._numbering = threading.Lock()
        self._idle: deque[Exchange] = deque()  # its append and pop are atomic

    def send(self, lines: Sequence[bytes]) -> list[Result]:
        """What became of each line. Raises ServerUnavailable, or ServerRefused if the answer does not say it."""
        if self._pid != os.getpid():  # connections and numbers are the parent's
            self._start_afresh()
        results: list[Result] = []
        for part in parted(lines, BODY_BYTES):
            with self._numbering:
                self._sequence += 1
                number = self._sequence
            batch = pack(self._client, number, self._connection.project, part)
            answer = self._patiently(batch)
            if len(answer.results) != batch.events:
                raise ServerRefused("the server's answer does not tell what became of each event")
            results.extend(answer.results)
        return results

    def _patiently(self, batch: Batch) -> Answer:
        backoff = Backoff(Pace(), random_numbers.random)
        until = self._clock.monotonic() + self._patience
        never = threading.Event()
        exchange = self._idle.pop() if self._idle else connect(self._connection, self._clock)
        try:
            while True:
                try:
                    return exchange.send(batch)
                except ServerUnavailable as error:
                    wait = backoff.after(error)
                    if self._clock.monotonic() + wait > until:
                        raise
                    self._clock.wait(never, wait)
        finally:
            self._idle.append(exchange)

    def close(self) -> None:
        """Close the connections that nobody is using."""
        while self._idle:
            self._idle.pop().transport.close()
