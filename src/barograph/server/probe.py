"""Whether the data directory takes a file and its bytes: what ``/readyz`` says of the journal.

The journal itself would only tell with the next event.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from barograph.journal.disk import journal_error, sync_file, write_all
from barograph_client.clock import Clock
from barograph_client.errors import DiskFull

NAME = ".probe"
_ROOM = bytes(64 * 1024)  # what a disk must have room for
_SECONDS = 1.0  # for which what was found is good


class Probe:
    """Tries it, once a second at most. Safe to share between threads."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._path = directory / NAME
        self._clock = clock
        self._lock = threading.Lock()
        self._until = clock.monotonic()
        self._trouble = ""

    def trouble(self) -> str:
        """What is wrong, in a sentence, or nothing."""
        with self._lock:
            if self._clock.monotonic() >= self._until:
                self._trouble = self._try()
                self._until = self._clock.monotonic() + _SECONDS
            return self._trouble

    def _try(self) -> str:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, _ROOM)
                sync_file(descriptor)
            finally:
                os.close(descriptor)
                self._path.unlink(missing_ok=True)
        except OSError as error:
            full = isinstance(journal_error(error, "trying to write"), DiskFull)
            return "The disk of the data directory is full." if full else "The journal cannot be written."
        return ""
