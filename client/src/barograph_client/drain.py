"""The thread that sends what the spool holds, oldest first, and adopts what processes that have ended left there.

Started by ``delivery`` when something is spooled or found. It has a connection of its own, so that a batch that takes
long does not hold up the queue, and it waits between failures as ``backoff`` says.
"""

from __future__ import annotations

import errno
import threading
from contextlib import suppress

from barograph_client.account import Account
from barograph_client.backoff import Backoff, Pace
from barograph_client.clock import Clock
from barograph_client.errors import ServerUnavailable
from barograph_client.exchange import Exchange
from barograph_client.spool import Spool, Unreadable
from barograph_client.spool_folder import Waiting

_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))


class Drain:
    """Sends the batches of a spool. ``look`` and ``wake`` are called by the queue's thread."""

    def __init__(
        self, spool: Spool, exchange: Exchange, account: Account, backoff: Backoff, pace: Pace, clock: Clock
    ) -> None:
        self._spool = spool
        self._exchange = exchange
        self._account = account
        self._backoff = backoff
        self._pace = pace
        self._clock = clock
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._thread: threading.Thread | None = None
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._not_before = 0.0
        self._looked_at: float | None = None

    def after_fork(self) -> None:
        """In the child: the thread is not here, and the connection is the parent's."""
        self._start_afresh()
        self._exchange.transport.after_fork()

    def look(self) -> None:
        """Start if there is something of other processes in the spool; looks now and then only."""
        now = self._clock.monotonic()
        if self._looked_at is None or now - self._looked_at >= self._pace.adopt:
            self._looked_at = now
            if self._thread is None and self._spool.left_behind():
                self.wake(0.0)

    def wake(self, seconds: float) -> None:
        """There is something to send, but not before so many seconds."""
        self._not_before = max(self._not_before, self._clock.monotonic() + seconds)
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run, name="barograph-spool", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no thread to be had, as at the very end of the program
                self._thread = None
        self._bell.set()

    def close(self, timeout: float) -> None:
        """End the thread, then the connection. What is left stays on disk."""
        self._stopping.set()
        self._bell.set()
        self._exchange.transport.abort()
        if self._thread is not None:
            self._thread.join(timeout)
        self._exchange.transport.close()

    def _run(self) -> None:
        wait = 0.0
        adopted_at: float | None = None
        while not self._clock.wait(self._stopping, max(wait, self._not_before - self._clock.monotonic(), 0.0)):
            wait, now = 0.0, self._clock.monotonic()
            if adopted_at is None or now - adopted_at >= self._pace.adopt:
                adopted_at = now
                with suppress(OSError):
                    self._account.adopted(self._spool.adopt())
            self._bell.clear()
            waiting = self._spool.take()
            if waiting is None:
                self._clock.wait(self._bell, self._pace.adopt)
                continue
            try:
                wait = self._send(waiting)
            except Exception:  # of ours; the batches behind it are not to suffer
                self._set_aside(waiting, "fault")

    def _send(self, waiting: Waiting) -> float:
        """Send one batch; seconds to wait before the next try."""
        try:
            answer = self._exchange.send(self._spool.read(waiting))
        except ServerUnavailable as error:
            self._spool.put_back()
            if self._stopping.is_set():
                return 0.0
            self._account.troubled(error)
            return self._backoff.after(error)
        except Unreadable:
            self._set_aside(waiting, "spool unreadable")
            return 0.0
        except OSError as error:
            if error.errno not in _SHORTAGES:
                self._set_aside(waiting, "spool unreadable")
                return 0.0
            self._spool.put_back()
            return self._pace.longest
        self._spool.done(waiting)
        self._account.answered(answer)
        self._backoff.succeeded()
        return 0.0

    def _set_aside(self, waiting: Waiting, reason: str) -> None:
        self._spool.set_aside(waiting)
        self._account.dropped(reason, waiting.events)
