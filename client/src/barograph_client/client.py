"""``Client``: records what a RAG application does and sends it to a Barograph server; never blocks, never raises.

The same methods as a ``MetricsCollector`` has. The parts, in the order in which an event meets them: ``background``
(the queue), ``wire`` (a line of JSON), ``delivery`` (send or keep), ``spool`` and ``drain`` (on disk while the server
is away), ``exchange`` and ``transport`` (over HTTP), ``account`` (what became of it).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from barograph_client.clock import Clock, SystemClock
from barograph_client.errors import InvalidEvent
from barograph_client.recording import Recording

if TYPE_CHECKING:
    from barograph_client.account import Counts, Refusal
    from barograph_client.backoff import Pace
    from barograph_client.experiments.experiments import Experiments

QUEUE = 10_000  # events in memory
BATCH = 1_000  # events a request
SPOOL_BYTES = 256 * 2**20
SPOOL_DAYS = 7.0
TIMEOUT = 10.0  # seconds a server may be silent
CLOSE_SECONDS = 30.0  # how long close waits for what is still in memory

Result = str | InvalidEvent


class Client(Recording):
    """Sends events of one project to a server. Safe to share between threads and to fork; a context manager.

    ``url``, ``key`` and ``project`` come from BAROGRAPH_URL, BAROGRAPH_KEY and BAROGRAPH_PROJECT where they are not
    given. The record methods return the event's id at once and raise nothing; ``counts`` tells what became of the
    events, ``rejections`` what the server refused and why, ``problem`` what keeps it from them, and ``flush`` waits.
    While the server is away, events go to ``spool``: a directory, False for none, or by default a folder in the
    user's cache (BAROGRAPH_SPOOL names another, or ``off``). docs/client.md has the rest. Raises InvalidSettings for
    arguments that cannot be used.
    """

    def __init__(
        self,
        url: str = "",
        key: str = "",
        *,
        project: str = "",
        spool: str | os.PathLike[str] | bool | None = None,
        spool_bytes: int = SPOOL_BYTES,
        spool_days: float = SPOOL_DAYS,
        queue: int = QUEUE,
        batch: int = BATCH,
        timeout: float = TIMEOUT,
        ca_file: str = "",
        pace: Pace | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        from barograph_client.assembly import assemble  # what speaks HTTP is half of the time that an import takes

        self._clock = clock if clock is not None else SystemClock()
        parts = assemble(
            self._clock,
            random,
            pace,
            url=url,
            key=key,
            project=project,
            spool=spool,
            spool_bytes=spool_bytes,
            spool_days=spool_days,
            queue=queue,
            batch=batch,
            timeout=timeout,
            ca_file=ca_file,
            environment=os.environ if environment is None else environment,
        )
        self._account, self._spool, self._drain = parts.account, parts.spool, parts.drain
        self._delivery, self._background = parts.delivery, parts.background
        self._definitions = parts.definitions
        self._experiments: Experiments | None = None
        self._making = threading.Lock()
        _clients.add(self)
        given = os.environ if environment is None else environment
        if self._spool is not None and (spool is None or spool is True) and not given.get("BAROGRAPH_SPOOL"):
            self._spool.server = self._delivery.server
            self._account.found_elsewhere(self._spool.server, self._spool.elsewhere())
        if self._drain is not None:
            self._drain.look()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # one event

    def record_event(self, kind: str, fields: Mapping[str, object]) -> str:
        """Record an event of any kind that callers may send."""
        if self._experiments is not None and kind == "query":
            fields = self._experiments.tagged(fields)
        return self._background.put(kind, fields)

    # many events

    def record_many(self, items: Iterable[object], kind: str | None = None) -> list[Result]:
        """Record mappings or lines of JSON; per item its event id, or why it was not taken into the queue.

        Without ``kind`` an item may name its own in ``kind``, else it is a query. More items than the queue has room
        for are dropped: hand in a part, ``flush``, and go on with the next.
        """
        results: list[Result] = []
        try:
            results.extend(self._take(item, kind) for item in items)
        except Exception as error:  # of the iterable
            results.append(InvalidEvent("", f"the items cannot be read on: {type(error).__name__}"))
        return results

    def _take(self, item: object, kind: str | None) -> Result:
        fields = item
        if isinstance(item, str | bytes | bytearray | memoryview):
            try:
                fields = msgspec.json.decode(item)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                fields = item  # the server says what is wrong with it, and keeps it
        own = kind
        if own is None:
            named = fields.get("kind", "query") if isinstance(fields, dict) else "query"
            own = named if isinstance(named, str) else "unknown"
        if self._experiments is not None and own == "query" and isinstance(fields, dict):
            fields = self._experiments.tagged(fields)
        event_id, reason = self._background.offer(own, fields)
        return InvalidEvent("", f"was dropped: {reason}") if reason else event_id

    # experiments

    @property
    def experiments(self) -> Experiments:
        """The project's experiments: which arm a unit gets. The first use begins to fetch their definitions."""
        if self._experiments is None:
            from barograph_client.experiments.experiments import Experiments

            with self._making:
                if self._experiments is None:
                    self._experiments = Experiments(self._definitions(), self.record_event)
        return self._experiments

    # what became of it

    @property
    def counts(self) -> Counts:
        """What became of the events of this process."""
        queue = self._background
        spooled = self._spool.events if self._spool is not None else 0
        return self._account.counts(queue.offered, queue.waiting, spooled, queue.dropped)

    @property
    def rejections(self) -> list[Refusal]:
        """The last events that were refused, oldest first, with field, reason and hint."""
        return self._account.refusals

    @property
    def problem(self) -> str:
        """What keeps events from the server now, in a sentence; empty when nothing does."""
        return self._account.problem

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was recorded so far is answered for, on disk in the spool, or dropped; false if that took
        longer. Without a spool it waits for the server."""
        return self._background.flush(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Flush; what is recorded later is dropped. What is in the spool is sent by the next process that uses it."""
        if self._experiments is not None:
            self._experiments.close(timeout)
        self._background.close(timeout)
        if self._drain is not None:
            self._drain.close(timeout)
        if self._spool is not None:
            self._spool.close()
        self._delivery.close()

    def _after_fork(self) -> None:
        self._background.after_fork()
        self._making = threading.Lock()
        if self._experiments is not None:
            self._experiments.after_fork()


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


os.register_at_fork(after_in_child=_after_fork)
