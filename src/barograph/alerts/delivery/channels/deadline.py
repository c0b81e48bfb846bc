"""A time limit for a whole conversation: a socket's own timeout is for each read, and a slow drip passes it for ever.

Used by the channels that speak over a network.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType


class Deadline:
    """A context manager that shuts the sockets it holds down after so many seconds; ``over`` says that it did.

    What was being read or written then fails with an OSError or as if the other side had hung up.
    """

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._held: list[socket.socket] = []
        self.over = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def hold(self, sock: socket.socket | None) -> None:
        """Shut this one down too when the time is over. Raises TimeoutError if it is over already."""
        with self._lock:
            if self.over:
                raise TimeoutError
            if sock is not None:
                self._held.append(sock)

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for sock in self._held:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
