"""A stream: lines of one sort, appended to one file after the other.

The writer has one for each kind and origin of events and one for each sort of record in ``rejected/``. A stream
knows when to go to the next file and how to take back what could not be made durable.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

from barograph.journal.disk import make_directories, sync_directory, sync_file, write_all
from barograph.journal.duplicates import Key
from barograph.journal.recovery import cut, torn_name
from barograph.journal.segment import Lines, LogFile


class Mark(NamedTuple):
    """How far a file was written at a moment."""

    written: int
    lines: int
    keys: int
    lines_of: Lines


class AppendFile:
    """A file open for appending.

    ``written`` counts the bytes handed to the system, ``log.size`` those that are durable; ``lines``, ``lines_of``
    and ``keys`` are what lies between the two.
    """

    def __init__(self, log: LogFile, torn: Path) -> None:
        self.log = log
        self.lines = 0
        self.lines_of: Lines = {}
        self.keys: list[Key] = []
        self.excess = False  # bytes behind ``written`` that could not be taken back yet
        make_directories(log.path.parent)
        self._descriptor = os.open(log.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(self._descriptor).st_size
            if size == 0:
                sync_directory(log.path.parent)
            if size < log.size:
                log.sealed = True
                raise OSError(errno.EIO, "the file is shorter than it was", str(log.path))
            if size > log.size:
                cut(log.path, log.size, torn, torn_name(log))
        except OSError:
            self.close()
            raise
        self.written = log.size

    def append(self, data: bytes, lines: int, keys: Sequence[Key], lines_of: Lines) -> None:
        """Hand lines to the system. Raises OSError, after which ``roll_back`` is due."""
        write_all(self._descriptor, data)
        self.written += len(data)
        self.lines += lines
        self.keys += keys
        if lines_of:
            self.lines_of = added(self.lines_of, lines_of)

    def sync(self) -> None:
        """Make what is written durable. Raises OSError; then nothing behind ``log.size`` can be relied on."""
        try:
            sync_file(self._descriptor)
            if os.fstat(self._descriptor).st_nlink == 0:
                raise OSError(errno.ENOENT, "the file was removed while it was written", str(self.log.path))
        except OSError:
            self.log.sealed = True
            raise

    def mark(self) -> Mark:
        """Where to roll back to."""
        return Mark(self.written, self.lines, len(self.keys), self.lines_of)

    def durable_mark(self) -> Mark:
        """The mark of the last sync."""
        return Mark(self.log.size, 0, 0, {})

    def roll_back(self, mark: Mark) -> list[Key]:
        """Take back what was written since; returns its keys. What the disk refuses is tried again by ``repair``."""
        self.written, self.lines, self.lines_of = mark.written, mark.lines, mark.lines_of
        keys, self.keys = self.keys[mark.keys :], self.keys[: mark.keys]
        self.excess = True
        with suppress(OSError):  # no line is written anywhere until it succeeds
            self.repair()
        return keys

    def repair(self) -> None:
        """Shorten the file to what it should hold. Raises OSError."""
        if self.excess:
            os.ftruncate(self._descriptor, self.written)
            if self.log.sealed:  # a sync failed: nothing will be written behind this, so nothing else syncs it
                sync_file(self._descriptor)
            self.excess = False

    def publish(self) -> list[Key]:
        """After a sync: what is written is durable. The caller holds the journal's lock. Returns the new keys."""
        self.log.size = self.written
        self.log.added += self.lines
        if self.lines_of:
            self.log.added_of = added(self.log.added_of, self.lines_of)
        self.lines, self.lines_of = 0, {}
        keys, self.keys = self.keys, []
        return keys

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def added(one: Lines, other: Lines) -> Lines:
    """Both together; neither is changed."""
    return {project: one.get(project, 0) + other.get(project, 0) for project in {**one, **other}}


class Stream:
    """The file that lines of one sort go to now. ``next_log`` names it for a day."""

    def __init__(self, next_log: Callable[[date], LogFile], limit: int, torn: Path) -> None:
        self._next_log = next_log
        self._limit = limit
        self._torn = torn
        self.file: AppendFile | None = None

    def ready(self, day: date) -> AppendFile:
        """The file to append to. Raises OSError if it cannot be opened."""
        file = self.file
        if file and file.log.day == day and file.written < self._limit and not file.log.sealed:
            return file
        if file:
            file.log.sealed = True
            if not file.lines and not file.excess:
                file.close()  # else the writer closes it when it is synced
        self.file = None
        log = self._next_log(day)
        self.file = AppendFile(log, self._torn)
        return self.file
