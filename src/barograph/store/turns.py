"""Turns between those who read and one who changes: a statement over several tables sees an insert in all or none.

The engine puts a block into a table and its rollups one after the other, so a statement that reads two of them in
between would add up halves. Readers share a turn; a change has one alone. Neither starves: who waits to change goes
before readers that come later, and after a change all that wait to read go before the next.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Turns:
    """A fair lock with shared and exclusive holders. Neither may be taken twice by one thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reading = 0
        self._changing = False
        self._waiting_to_change = 0
        self._waiting_to_read = 0
        self._let_in = 0  # readers that waited during a change and go before the next

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Hold a turn together with other readers."""
        with self._changed:
            if self._changing or self._waiting_to_change:
                self._wait_to_read()
            self._reading += 1
        try:
            yield
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()

    def _wait_to_read(self) -> None:
        self._waiting_to_read += 1
        try:
            self._changed.wait_for(lambda: self._let_in or not (self._changing or self._waiting_to_change))
        finally:  # an interrupted wait too must not keep the next change waiting for it
            self._waiting_to_read -= 1
            self._let_in = min(max(0, self._let_in - 1), self._waiting_to_read)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold a turn alone."""
        with self._changed:
            self._waiting_to_change += 1
            try:
                self._changed.wait_for(lambda: not (self._changing or self._reading or self._let_in))
            finally:
                self._waiting_to_change -= 1
                self._changed.notify_all()
            self._changing = True
        try:
            yield
        finally:
            with self._changed:
                self._changing = False
                self._let_in = self._waiting_to_read
                self._changed.notify_all()
