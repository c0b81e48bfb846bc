"""Where the client's queue goes: to the server, or into the spool while the server is away or older batches wait.

Runs in the queue's thread (``background``). A batch gets its sequence number when it is made and keeps it; whatever
cannot be sent at once is on disk before the next batch is looked at, and ``drain`` sends it later. Without a spool
the batch stays in memory and is tried again, and the queue behind it fills up to its bound.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from barograph_client.account import Account, Refusal
from barograph_client.background import Item
from barograph_client.backoff import Backoff
from barograph_client.batch import BODY_BYTES, Batch, pack, parted
from barograph_client.drain import Drain
from barograph_client.errors import InvalidEvent, ServerUnavailable
from barograph_client.exchange import Exchange
from barograph_client.spool import Spool
from barograph_client.wire import line_of

GATHER_SECONDS = 0.5  # between small batches that go to disk, so that an outage of hours does not make a million files
LAST_SECONDS = 1.0  # what the last try may take when the program ends and there is no spool
AWAY = "server away"


class Delivery:
    """Batches of one process to one server. ``new_client`` makes client ids; ``sparse`` events are a small batch."""

    refused = AWAY

    def __init__(
        self,
        exchange: Exchange,
        account: Account,
        spool: Spool | None,
        drain: Drain | None,
        backoff: Backoff,
        client: str,
        new_client: Callable[[], str],
        *,
        project: str,
        sparse: int,
    ) -> None:
        self._exchange = exchange
        self._account = account
        self._spool = spool
        self._drain = drain
        self._backoff = backoff
        self._new_client = new_client
        self._project = project
        self._sparse = sparse
        self._start(client)

    def _start(self, client: str) -> None:
        self._client = client
        self._sequence = 0
        self._gathering = False
        self._ending = threading.Event()

    def after_fork(self) -> None:
        """In the child: another client, with an account, a connection and a folder in the spool of its own."""
        self._start(self._new_client())
        self._account.reset()
        self._exchange.transport.after_fork()
        if self._spool is not None:
            self._spool.after_fork(self._client)
        if self._drain is not None:
            self._drain.after_fork()

    @property
    def server(self) -> str:
        """The address that it delivers to."""
        return str(self._exchange.transport.address)

    def hurry(self) -> None:
        """The program ends: what waits goes to disk, or is tried once more, shortly, where there is no spool."""
        self._ending.set()
        if self._spool is None:
            self._exchange.transport.timeout = min(LAST_SECONDS, self._exchange.transport.timeout)
        else:
            self._exchange.transport.abort()

    def gather(self) -> float:
        """Seconds to let events gather before the next batch."""
        return GATHER_SECONDS if self._gathering else 0.0

    def close(self) -> None:
        """Close the connection; the queue's thread has ended, or is not worth waiting for."""
        self._exchange.transport.abort()
        self._exchange.transport.close()

    # called by the queue

    def prepare(self, batch: Sequence[Item]) -> deque[Batch]:
        lines: list[bytes] = []
        refused: list[Refusal] = []
        for kind, fields, moment, event_id, _ in batch:
            try:
                lines.append(line_of(kind, fields, moment, event_id))
            except InvalidEvent as error:
                refused.append(Refusal(error.field, error.reason, error.hint))
        prepared: deque[Batch] = deque()
        for part in parted(lines, BODY_BYTES):
            self._sequence += 1
            prepared.append(pack(self._client, self._sequence, self._project, part))
        self._account.refused_here(refused)
        return prepared

    def deliver(self, prepared: deque[Batch]) -> str:
        if self._drain is not None:
            self._drain.look()
        while prepared:
            batch = prepared[0]
            try:
                self._one(batch)
            except ServerUnavailable:
                raise
            except Exception:  # of ours; the batches behind it are not to suffer
                self._account.dropped("fault", batch.events)
            prepared.popleft()
        return ""

    def _one(self, batch: Batch) -> None:
        """Settle a batch, or raise ServerUnavailable if it is to be tried again."""
        spool, ending = self._spool, self._ending.is_set()
        self._gathering = False
        if spool is None or not (spool.backlog or ending):
            try:
                answer = self._exchange.send(batch)
            except ServerUnavailable as error:
                self._account.troubled(error)
                if spool is None:
                    self._keep(batch, error, ending)
                    return
                wait = self._backoff.after(error)
            else:
                self._account.answered(answer)
                self._backoff.succeeded()
                return
        else:
            wait = 0.0
        self._put(spool, batch, wait)

    def _put(self, spool: Spool, batch: Batch, wait: float) -> None:
        try:
            spool.append(batch)
        except OSError as error:
            self._account.troubled(error)
            trouble = ServerUnavailable("neither the server nor the spool takes it")
            self._keep(batch, trouble, self._ending.is_set())
            return
        if self._drain is not None:
            self._drain.wake(wait)
        self._gathering = batch.events < self._sparse

    def _keep(self, batch: Batch, error: ServerUnavailable, ending: bool) -> None:
        """In memory, to be tried again; not when the program ends."""
        if ending:
            self._account.dropped(AWAY, batch.events)
            return
        raise ServerUnavailable(error.message, hint=error.hint, retry_after=self._backoff.after(error))
