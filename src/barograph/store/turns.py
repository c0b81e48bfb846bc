"""Turns between those who read and one who changes: a statement over several tables sees an insert in all or none.

The engine puts a block into a table and its rollups one after the other, so a statement that reads two of them in
between would add up halves. Readers share a turn; a change has one alone. Neither starves: who waits to change goes
before readers that come later, and all that waited to read during a change go before the next. It holds for what
this process loads, as long as no insert is cut off half-way; one that was is sent again and is whole then.
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
        self._changes = 0  # how many have ended
        self._due = 0  # readers that waited during a change: they go before the next one

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
        came = self._changes
        self._waiting_to_read += 1
        try:
            self._changed.wait_for(lambda: not self._changing and (self._changes > came or not self._waiting_to_change))
        finally:  # who is interrupted while waiting must not keep a change waiting either
            self._waiting_to_read -= 1
            self._due -= self._changes > came
            self._changed.notify_all()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold a turn alone."""
        with self._changed:
            self._waiting_to_change += 1
            try:
                self._changed.wait_for(lambda: not (self._changing or self._reading or self._due))
            finally:
                self._waiting_to_change -= 1
                self._changed.notify_all()
            self._changing = True
        try:
            yield
        finally:
            with self._changed:
                self._changing = False
                self._changes += 1
                self._due = self._waiting_to_read
                self._changed.notify_all()
