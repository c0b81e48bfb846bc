"""A folder of the spool: the batches of one process, in order, and the lock that says whose they are.

Used by ``spool``, which says how the folders lie and what their files are.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec

BLOCK = 4096  # bytes: what even the smallest file takes on the usual file systems
LOCK = "lock"
FILE = re.compile(r"(\d{12,18})-(\d{1,9})-(\d{1,15})\.batch")  # sequence, events, Unix time in milliseconds


class Waiting(msgspec.Struct, frozen=True):
    """A batch that waits: what its file's name and size tell."""

    path: Path
    sequence: int
    events: int
    made: int
    size: int


class Folder:
    """The batches of one process, in order, and the lock that makes them ours."""

    def __init__(self, path: Path, lock: int, waiting: deque[Waiting]) -> None:
        self.path = path
        self.lock = lock
        self.waiting = waiting

    def release(self) -> None:
        """Let go of it; an empty one is removed."""
        if not self.waiting:
            with suppress(OSError):
                os.unlink(self.path / LOCK)
            with suppress(OSError):
                self.path.rmdir()
        os.close(self.lock)


def on_disk(length: int) -> int:
    """What a file takes: whole blocks."""
    return -(-length // BLOCK) * BLOCK


def names_in(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def adopted(path: Path) -> Folder | None:
    """The folder, if nobody else has it."""
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path / LOCK).st_ino != os.fstat(lock).st_ino:  # it was removed before we had the lock
            raise FileNotFoundError
        return Folder(path, lock, deque(waiting_in(path)))
    except OSError:
        os.close(lock)
        return None


def abandoned(path: Path) -> int:
    """How many events wait in the folder of a process that has ended; nothing in it is touched."""
    try:
        lock = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return sum(int(parts[2]) for name in names_in(path) if (parts := FILE.fullmatch(name)))
    except OSError:
        return 0
    finally:
        os.close(lock)


def waiting_in(path: Path) -> list[Waiting]:
    found = []
    for name in names_in(path):
        if parts := FILE.fullmatch(name):
            with suppress(OSError):
                size = on_disk(os.stat(path / name).st_size)
                found.append(Waiting(path / name, int(parts[1]), int(parts[2]), int(parts[3]), size))
        elif name != LOCK:  # half written when its process ended
            with suppress(OSError):
                os.unlink(path / name)
    return sorted(found, key=lambda one: one.sequence)
