"""The spool: batches that could not be sent wait on disk, also beyond the end of the process.

Layout: a folder a process, named by its client id, with a file ``lock`` that it holds while it lives, and a file a
batch. A folder whose lock is free was left by a process that has ended: whoever takes the lock adopts it, and sends
its batches under their own client id and sequence number. A file is written beside its name, synced and renamed, so
it is whole or not there; one that the disk has damaged all the same goes to ``set-aside``. ``delivery`` appends,
``drain`` takes.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from barograph_client.batch import Batch
from barograph_client.clock import Clock
from barograph_client.spool_folder import (
    LOCK,
    Folder,
    Waiting,
    abandoned,
    adopted,
    names_in,
    on_disk,
)

SET_ASIDE = "set-aside"
MOST_SET_ASIDE = 100  # files; more are deleted
_SERVER = "server"  # a file beside the folders of the processes: the address that their batches are for
_NEW = ".new-"  # before the name of a folder that is not locked yet
_FOLDER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Dropped = Callable[[str, int], None]  # called with a reason and a number of events


class Unreadable(Exception):
    """The file of a batch is not what was written."""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    client: str
    sequence: int
    project: str
    events: int
    encoding: str
    length: int
    checksum: int  # CRC-32 of the body


class Spool:
    """The batches that this process answers for: its own and those it adopted. Safe to share between threads.

    ``dropped`` is told what had to go: the oldest, when all is more than ``most_bytes``, or older than
    ``most_seconds``.
    """

    def __init__(
        self, directory: Path, client: str, clock: Clock, most_bytes: int, most_seconds: float, dropped: Dropped
    ) -> None:
        self.directory = directory
        self.server = ""  # noted on disk with the first batch, for ``elsewhere``
        self._clock = clock
        self._most_bytes = most_bytes
        self._most_milliseconds = int(most_seconds * 1000)
        self._dropped = dropped
        self._start(client)

    def _start(self, client: str) -> None:
        self._guard = threading.RLock()
        self._client = client
        self._own: Folder | None = None
        self._adopted: list[Folder] = []
        self._taken: Path | None = None  # what the drain is sending
        self._events = self._size = 0
        self._closed = False

    def after_fork(self, client: str) -> None:
        """In the child: the folders are the parent's. Closing what was inherited does not unlock them."""
        for folder in self._folders():
            with suppress(OSError):
                os.close(folder.lock)
        self._start(client)

    # what waits

    def _folders(self) -> Iterator[Folder]:
        yield from self._adopted
        if self._own is not None:
            yield self._own

    @property
    def backlog(self) -> bool:
        """Whether batches of this process wait: what comes next must wait behind them."""
        own = self._own
        return own is not None and bool(own.waiting)

    @property
    def events(self) -> int:
        """How many events wait."""
        return self._events

    @property
    def size(self) -> int:
        """How many bytes of disk they take."""
        return self._size

    def left_behind(self) -> bool:
        """Whether there are folders of other processes, alive or not."""
        ours = {folder.path.name for folder in self._folders()}
        return any(name not in ours for name in names_in(self.directory) if _FOLDER.fullmatch(name))

    def elsewhere(self) -> dict[Path, int]:
        """Spools beside this one with batches for the same server that no living process holds; events of each."""
        found: dict[Path, int] = {}
        for name in sorted(names_in(self.directory.parent)):
            other = self.directory.parent / name
            try:
                if other == self.directory or (other / _SERVER).read_text() != self.server:
                    continue
            except (OSError, ValueError):
                continue
            events = sum(abandoned(other / process) for process in names_in(other) if _FOLDER.fullmatch(process))
            if events:
                found[other] = events
        return found

    # in

    def append(self, batch: Batch) -> None:
        """Keep a batch; durable on return. Raises OSError."""
        made = int(self._clock.now().timestamp() * 1000)
        header = _Header(
            client=batch.client,
            sequence=batch.sequence,
            project=batch.project,
            events=batch.events,
            encoding=batch.encoding,
            length=len(batch.body),
            checksum=zlib.crc32(batch.body),
        )
        content = msgspec.json.encode(header) + b"\n" + batch.body
        folder = self._open_own()
        path = folder.path / f"{batch.sequence:012d}-{batch.events}-{made}.batch"
        _write(path, content)
        with self._guard:
            one = Waiting(path, batch.sequence, batch.events, made, on_disk(len(content)))
            folder.waiting.append(one)
            self._count(one, 1)
            self._bound()

    def _open_own(self) -> Folder:
        own = self._own
        if own is not None and own.path.is_dir():
            return own
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.directory / (_NEW + self._client)
        new.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(new / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.server:
                (self.directory / _SERVER).write_text(self.server)
            new.rename(self.directory / self._client)
            _sync_directory(self.directory)
        except OSError:
            os.close(lock)
            raise
        with self._guard:
            if own is not None:  # somebody deleted the folder
                os.close(own.lock)
                while own.waiting:
                    self._drop(own, 0, "spool unreadable")
            self._own = Folder(self.directory / self._client, lock, deque())
            return self._own

    def adopt(self) -> int:
        """Take over what processes that have ended left; how many events that is."""
        events = 0
        ours = {folder.path.name for folder in self._folders()}
        for name in sorted(names_in(self.directory)):
            if name in ours or name == self._client or not _FOLDER.fullmatch(name):
                continue
            folder = adopted(self.directory / name)
            if folder is None:
                continue
            if not folder.waiting:
                folder.release()
                continue
            events += sum(one.events for one in folder.waiting)
            with self._guard:
                self._adopted.append(folder)
                for one in folder.waiting:
                    self._count(one, 1)
        with self._guard:
            self._bound()
        return events

    # out

    def take(self) -> Waiting | None:
        """The next batch to send, adopted ones first.

        It is not dropped until ``done``, ``put_back`` or ``set_aside``.
        """
        with self._guard:
            self._expire()
            for folder in self._folders():
                if folder.waiting:
                    self._taken = folder.waiting[0].path
                    return folder.waiting[0]
        return None

    def read(self, waiting: Waiting) -> Batch:
        """The batch of a file. Raises Unreadable if it is damaged or gone, OSError if it cannot be opened now."""
        try:
            content = waiting.path.read_bytes()
        except FileNotFoundError:
            raise Unreadable from None
        head, _, body = content.partition(b"\n")
        try:
            header = msgspec.json.decode(head, type=_Header)
        except (msgspec.MsgspecError, ValueError):
            raise Unreadable from None
        if header.version != 1 or header.length != len(body) or header.checksum != zlib.crc32(body):
            raise Unreadable
        if header.events != waiting.events:
            raise Unreadable
        return Batch(header.client, header.sequence, header.project, header.events, header.encoding, body)

    def done(self, waiting: Waiting) -> None:
        """The batch was taken by the server: its file goes."""
        with suppress(OSError):
            os.unlink(waiting.path)
        self._remove(waiting)

    def put_back(self) -> None:
        """The batch could not be sent, and stays the first."""
        with self._guard:
            self._taken = None
            self._bound()

    def set_aside(self, waiting: Waiting) -> None:
        """The batch cannot be used: its file is kept for whoever wants to look at it."""
        aside = self.directory / SET_ASIDE
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            if len(names_in(aside)) < MOST_SET_ASIDE:
                waiting.path.rename(aside / f"{waiting.path.parent.name}-{waiting.path.name}")
            else:
                os.unlink(waiting.path)
        except OSError:
            with suppress(OSError):
                os.unlink(waiting.path)
        self._remove(waiting)

    def _remove(self, waiting: Waiting) -> None:
        with self._guard:
            self._taken = None
            for folder in self._folders():
                if folder.waiting and folder.waiting[0].path == waiting.path:
                    folder.waiting.popleft()
                    self._count(waiting, -1)
                    break
            else:
                if self._closed:  # it was on its way when the folders were let go
                    self._events -= waiting.events
            for folder in [folder for folder in self._adopted if not folder.waiting]:
                self._adopted.remove(folder)
                folder.release()

    def close(self) -> None:
        """Let go of the folders: what is left in them is the next process's to send. ``events`` still tells it."""
        with self._guard:
            for folder in self._folders():
                folder.release()
            self._own, self._adopted = None, []
            self._size = 0
            self._closed = True

    # bounds; the lock is held

    def _count(self, one: Waiting, sign: int) -> None:
        self._events += sign * one.events
        self._size += sign * one.size

    def _bound(self) -> None:
        while self._size > self._most_bytes and (found := self._oldest()) is not None:
            self._drop(*found, "spool full")

    def _expire(self) -> None:
        oldest = int(self._clock.now().timestamp() * 1000) - self._most_milliseconds
        while (found := self._oldest()) is not None and found[0].waiting[found[1]].made < oldest:
            self._drop(*found, "spool expired")

    def _oldest(self) -> tuple[Folder, int] | None:
        """Where the oldest batch is that nobody is sending."""
        best: tuple[Folder, int] | None = None
        for folder in self._folders():
            place = 1 if folder.waiting and folder.waiting[0].path == self._taken else 0
            if place < len(folder.waiting) and (
                best is None or folder.waiting[place].made < best[0].waiting[best[1]].made
            ):
                best = folder, place
        return best

    def _drop(self, folder: Folder, place: int, reason: str) -> None:
        one = folder.waiting[place]
        del folder.waiting[place]
        self._count(one, -1)
        with suppress(OSError):
            os.unlink(one.path)
        self._dropped(reason, one.events)


def _write(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(part, path)
        _sync_directory(path.parent)
    except OSError:
        for name in (part, path):
            with suppress(OSError):
                os.unlink(name)
        raise


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
