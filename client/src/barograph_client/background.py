"""Background mode: the program appends to a queue and goes on; a thread prepares and delivers what waits.

Used by the client, which delivers over the wire, and by the collector of a program that owns a data directory, which
delivers to its journal. ``put`` never blocks and never raises; the queue is bounded by count and by bytes, and
what does not fit is dropped and counted. Waking a thread costs more than all the rest of ``put``, so the thread looks
for itself while there is work, and is woken only after a while without any.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from barograph_client.clock import Clock
from barograph_client.errors import BarographError, ServerRefused, ServerUnavailable
from barograph_client.exit_flush import ExitFlush

QUEUE_BYTES = 64 * 2**20  # texts that wait, about
BATCH = 1000
EXIT_SECONDS = 5.0  # how long the end of the program waits for the disk
_RETRY_SECONDS = 1.0  # between tries while it cannot be delivered
_LOOK_SECONDS = 0.05  # between looks at the queue while there is work
_LOOKS = 40  # without any work, before the thread sleeps until it is woken
_EVENT_BYTES = 512  # what an event takes in memory besides its texts, about

_REASONS = ("queue full", "queue bytes", "closed", "unreadable", "fault")

Item = tuple[str, object, datetime, str, int]  # kind, fields, time, event id, size
_Mark = threading.Event  # set when all that was put before it is settled
_Queue = deque[Item | _Mark | None]  # None ends the thread
Prepared = TypeVar("Prepared")


class Destination(Protocol[Prepared]):
    """Where the queue goes. Called by the queue's thread only, but for ``after_fork``."""

    refused: str  # the reason under which is counted what could not be delivered up to the end

    def prepare(self, batch: Sequence[Item]) -> Prepared:
        """Make of a batch what is delivered; called once a batch."""
        ...

    def deliver(self, prepared: Prepared) -> str:
        """Deliver it; returns nothing, or the reason for which it is dropped.

        Raises BarographError when it is to be tried again, ServerRefused when that would not help.
        """
        ...

    def after_fork(self) -> None:
        """In the child: what was counted so far is the parent's."""
        ...


class Background(Generic[Prepared]):
    """The queue of at most ``limit`` events, and its thread, which prepares up to ``batch`` of them together.

    ``new_id`` makes event ids. ``on_stopping`` is called, in the thread that ends the program or closes, when from
    then on what waits is tried once and then dropped. ``gather`` says how many
    seconds it may take at least between two looks at the queue.
    """

    def __init__(
        self,
        destination: Destination[Prepared],
        clock: Clock,
        new_id: Callable[[], str],
        limit: int,
        *,
        batch: int = BATCH,
        on_stopping: Callable[[], None] | None = None,
        gather: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._destination = destination
        self._clock = clock
        self._new_id = new_id
        self._limit = limit
        self._batch = batch
        self._on_stopping = on_stopping
        self._gather = gather
        self._start_afresh()
        self._exit = ExitFlush(self._flush_at_exit)

    def _start_afresh(self) -> None:
        self.dropped = dict.fromkeys(_REASONS, 0)
        self._ended = False
        self._queue: _Queue = deque()  # its append and popleft are atomic
        self._bell: SimpleQueue[None] = SimpleQueue()  # may be rung from a signal handler, unlike an Event
        self._asleep = False
        self._giving = threading.RLock()  # the thread takes it for drops only; a handler that records may take it twice
        self._thread: threading.Thread | None = None
        self._closed = False
        self._stopping = threading.Event()
        self._given = self._given_bytes = self._turned_away = 0  # written under the lock
        self._settled = self._settled_bytes = 0  # written by the thread

    def after_fork(self) -> None:
        """In the child: the parent's queue is the parent's to write, and its thread is not here."""
        closed = self._closed
        self._start_afresh()
        self._closed = closed
        self._destination.after_fork()

    # in the caller's thread

    def put(self, kind: str, fields: object) -> str:
        """Queue an event, or drop and count it; its id."""
        return self.offer(kind, fields)[0]

    def offer(self, kind: str, fields: object) -> tuple[str, str]:
        """The same; the id, and the reason why it was dropped if it was."""
        try:
            copy: object = dict(fields) if type(fields) is dict or isinstance(fields, Mapping) else fields
            event_id = _given_id(copy) or self._new_id()
            item = (kind, copy, self._clock.now(), event_id, _size(copy))
            reason = self._try_put(item)
        except Exception:  # a mapping that cannot be read, or no memory
            event_id, reason = "", "unreadable"
        if reason:
            with self._giving:
                self._turned_away += 1
                self._drop(reason)
        return event_id, reason

    def _try_put(self, item: Item) -> str:
        with self._giving:
            if self._closed:
                return "closed"
            if self._given - self._settled >= self._limit:
                return "queue full"
            waiting = self._given_bytes - self._settled_bytes
            if waiting and waiting + item[4] > QUEUE_BYTES:
                return "queue bytes"
            if self._thread is None:
                self._start()
            self._given += 1
            self._given_bytes += item[4]
            self._queue.append(item)
        if self._asleep:
            self._ring()
        return ""

    def _ring(self) -> None:
        self._asleep = False
        self._bell.put(None)

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, args=(self._queue, self._bell), name="barograph-collect", daemon=True
        )
        self._thread = thread  # before it runs: a signal handler that records must not start a second one
        try:
            thread.start()
        except RuntimeError:
            self._thread = None
            raise
        with suppress(Exception):  # of multiprocessing, half imported; the thread is there and goes on
            self._exit.watch_child()

    def _drop(self, reason: str, events: int = 1) -> None:
        with self._giving:
            if reason not in self.dropped:
                self.dropped[reason] = 0
            self.dropped[reason] += events  # without a call in it, so that a signal handler cannot come in between

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was put so far is settled; false if that took longer."""
        if self._given == self._settled:
            return True
        mark = threading.Event()
        self._queue.append(mark)
        self._ring()
        return self._given == self._settled if self._ended else mark.wait(timeout)

    @property
    def offered(self) -> int:
        """How many events came, also those that were dropped at once."""
        return self._given + self._turned_away

    @property
    def waiting(self) -> int:
        """How many events are not settled yet."""
        return self._given - self._settled

    def _flush_at_exit(self) -> bool:
        if self.flush(EXIT_SECONDS / 2):
            return True
        self._stop()
        return self.flush(EXIT_SECONDS / 2)

    def _stop(self) -> None:
        """One more try of what waits, then it is dropped."""
        if self._on_stopping is not None:
            self._on_stopping()
        self._stopping.set()

    def close(self, timeout: float) -> None:
        """Flush, and end the thread. What comes later is dropped."""
        with self._giving:
            self._closed = True
            thread = self._thread
        self.flush(timeout)
        self._stop()
        if thread is not None:
            self._queue.append(None)
            self._ring()
            thread.join(timeout)
        self._exit.remove()

    # the thread

    def _run(self, queue: _Queue, bell: SimpleQueue[None]) -> None:
        idle = 0
        while True:
            batch, mark, last = _next_batch(queue, self._batch)
            if batch:
                self._settle(batch)
            if mark is not None:
                mark.set()
            if last:
                self._end(queue)
                return
            idle = 0 if batch else idle + 1
            if len(batch) < self._batch and mark is None:  # what comes meanwhile shares the next commit
                self._wait(queue, bell, idle >= _LOOKS)

    def _end(self, queue: _Queue) -> None:
        """What nobody will settle any more is dropped; whoever waits for a mark from now on finds ``_ended``."""
        self._ended = True
        while queue:
            batch, mark, _ = _next_batch(queue, self._batch)
            self._finish(batch, "closed")
            if mark is not None:
                mark.set()

    def _wait(self, queue: _Queue, bell: SimpleQueue[None], long: bool) -> None:
        """Until the bell rings, or for a moment. Who puts something in looks whether this sleeps, after putting it."""
        self._asleep = long
        if long and queue:
            self._asleep = False
            return
        with suppress(Empty):
            bell.get(timeout=None if long else max(_LOOK_SECONDS, self._gather()))

    def _settle(self, batch: list[Item]) -> None:
        try:
            reason = self._deliver(self._destination.prepare(batch))
        except Exception:  # nothing that goes wrong here may end the thread or reach the program
            reason = "fault"
        self._finish(batch, reason)

    def _finish(self, batch: list[Item], reason: str) -> None:
        if reason and batch:
            self._drop(reason, len(batch))
        self._settled_bytes += sum(item[4] for item in batch)
        self._settled += len(batch)

    def _deliver(self, prepared: Prepared) -> str:
        """Deliver a batch, again and again while that fails; why it was dropped, if it was."""
        while True:
            last = self._stopping.is_set()
            try:
                return self._destination.deliver(prepared)
            except BarographError as error:
                if last or isinstance(error, ServerRefused):
                    return self._destination.refused
                seconds = error.retry_after if isinstance(error, ServerUnavailable) else 0.0
                self._clock.wait(self._stopping, seconds or _RETRY_SECONDS)


def _next_batch(queue: _Queue, most: int) -> tuple[list[Item], _Mark | None, bool]:
    """What waits, up to a mark or the end."""
    batch: list[Item] = []
    while queue and len(batch) < most:
        item = queue.popleft()
        if item is None:
            return batch, None, True
        if isinstance(item, _Mark):
            return batch, item, False
        batch.append(item)
    return batch, None, False


def _given_id(fields: object) -> str:
    """The id that the caller gave, if any; whether it is a good one is seen later."""
    if type(fields) is not dict:
        return ""
    given = fields.get("event_id") or fields.get("id")
    return given if type(given) is str else ""


def _size(fields: object) -> int:
    """About how many bytes wait: texts down to those of the documents."""
    if type(fields) is not dict:
        return _EVENT_BYTES + (len(fields) if isinstance(fields, str | bytes | bytearray) else 0)
    size = _EVENT_BYTES
    for value in fields.values():
        kind = type(value)
        if kind is str:
            size += len(value)
        elif kind is list:
            size += _size_of_list(value)
        elif kind is dict:
            size += 64 * len(value) + sum(len(text) for text in value.values() if type(text) is str)
        elif kind is bytes:
            size += len(value)
    return size


def _size_of_list(items: list[object]) -> int:
    size = 64 * len(items)
    for item in items:
        if type(item) is dict:
            size += 64 * len(item)
            for text in item.values():
                if type(text) is str:
                    size += len(text)
        elif type(item) is str:
            size += len(item)
    return size
