"""The writer: one thread that makes durable what many threads submit, and answers each of them.

Group commit: it takes all that waits, appends it with one write a file, syncs every file once, and then settles
all the receipts. A commit is kept whole or not at all: when the disk refuses, every file is cut back to where it
was, every waiter gets the error, and the next commit tries anew. Fed by ``journal``; hands to ``stream``.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial

from barograph.core.durations import Durations
from barograph.core.settings import JournalSettings
from barograph.journal.catalogue import Catalogue
from barograph.journal.commit import WITNESSES, Commit, Target, Work, line_end
from barograph.journal.disk import journal_error
from barograph.journal.duplicates import DuplicateWindow, recent_ids
from barograph.journal.entry import Receipt
from barograph.journal.rejected import TORN, RejectedFiles
from barograph.journal.stream import AppendFile, Mark, Stream
from barograph_client.clock import Clock
from barograph_client.errors import JournalClosed, JournalError

WAITING_BYTES = 64 * 2**20  # submit blocks while more than this waits
COMMIT_BYTES = 16 * 2**20  # a commit takes no more than this, or one submit if that is larger
_TICK = timedelta(microseconds=1)
_DOING = "writing to the journal"


class Writer:
    """The thread, its queue, and the two times it keeps: the last arrival and the watermark.

    ``lock`` is the journal's own: it guards the queue, the sizes of the files and the watermark, so that a snapshot
    is of one moment.
    """

    def __init__(
        self,
        clock: Clock,
        settings: JournalSettings,
        lock: threading.Lock,
        catalogue: Catalogue,
        rejected: RejectedFiles,
        last: datetime,
    ) -> None:
        self.lost = 0  # lines acknowledged in interval mode and then refused by a sync
        self.sync_times = Durations()
        self._clock = clock
        self._settings = settings
        self._catalogue = catalogue
        self._rejected = rejected
        self._always_sync = settings.durability == "fsync"
        self._window = DuplicateWindow(settings.duplicate_window, settings.duplicate_seconds)
        self._remembers = False  # whether the window was filled from the journal
        self._streams: dict[Target, Stream] = {}
        self._unsynced: dict[AppendFile, None] = {}
        self._unsynced_since = 0.0  # monotonic
        self._damaged: list[AppendFile] = []
        # guarded by the lock
        self._lock = lock
        self._work = threading.Condition(lock)
        self._space = threading.Condition(lock)
        self._queue: deque[Work] = deque()
        self._waiting = 0
        self._closing = False
        self._last = last
        self._told = last - _TICK  # the latest watermark that was given out
        self._pending: datetime | None = None  # the earliest arrival that is stamped and not durable yet
        self._thread = threading.Thread(target=self._run, name="barograph-journal", daemon=True)
        self._thread.start()

    # from any thread

    def submit(self, work: Work) -> Receipt:
        """Queue a work. Blocks while too much waits. Raises JournalClosed."""
        with self._lock:
            while self._waiting and self._waiting + work.size > WAITING_BYTES and not self._closing:
                if threading.current_thread() is self._thread:
                    break  # a callback that submits must not wait for itself
                self._space.wait()
            if self._closing:
                raise closed()
            self._queue.append(work)
            self._waiting += work.size
            self._work.notify()
        return work.receipt

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were submitted and are not settled yet."""
        return self._waiting

    def watermark(self) -> datetime:
        """The time up to which everything is durable. The caller holds the lock. Later commits lie behind it."""
        time = self._pending - _TICK if self._pending else max(self._clock.now(), self._last)
        self._told = max(self._told, time)
        return self._told

    def today(self) -> date:
        """The day of arrival now. No line will be written to an earlier day."""
        with self._lock:
            self._last = max(self._last, self._clock.now())
            return self._last.date()

    def close(self) -> bool:
        """Write and sync what was submitted, then end; true if nothing is left that a start would have to mend."""
        with self._lock:
            self._closing = True
            self._work.notify()
            self._space.notify_all()
        self._thread.join()
        for stream in self._streams.values():
            if stream.file:
                stream.file.close()
        return not self._damaged and not self._unsynced and not self.lost

    def abandon(self) -> None:
        """In a forked child: the thread is not there; its descriptors are closed, nothing is written."""
        for file in [*self._unsynced, *(stream.file for stream in self._streams.values() if stream.file)]:
            file.close()

    # the thread

    def _run(self) -> None:
        while True:
            works, idle, last = self._take()
            if works:
                self._commit(works)
            if self._unsynced and (idle or last or self._sync_is_due()):
                self._sync_interval()
            if last and not works:
                return

    def _take(self) -> tuple[list[Work], bool, bool]:
        """What waits, whether the wait for it ended without any, and whether the journal closes."""
        with self._lock:
            while not self._queue and not self._closing:
                if not self._work.wait(self._settings.sync_interval if self._unsynced else None):
                    return [], True, False
            works: list[Work] = []
            size = 0
            while self._queue and (not works or size + self._queue[0].size <= COMMIT_BYTES):
                works.append(self._queue.popleft())
                size += works[-1].size
            return works, False, self._closing

    def _sync_is_due(self) -> bool:
        return self._clock.monotonic() - self._unsynced_since >= self._settings.sync_interval

    def _commit(self, works: list[Work]) -> None:
        moment = self._stamp()
        marks: dict[AppendFile, Mark] = {}
        try:
            if any(work.entries for work in works):
                self._remember()
            commit = Commit(works, self._window)
            self._write(commit, moment, marks)
            if self._always_sync or any(work.sync for work in works):
                self._sync_all(marks)
        except Exception as error:  # whatever it was, the waiters must hear of it and the thread must live
            self._roll_back(marks)
            self._settle(works, None, error)
            return
        self._settle(works, commit, None)

    def _stamp(self) -> datetime:
        """The time of arrival of this commit: never before the last one, always behind the watermark told."""
        with self._lock:
            moment = max(self._clock.now(), self._last, self._told + _TICK)
            self._last = moment
            self._pending = self._pending or moment
            return moment

    def _remember(self) -> None:
        """Before the first event: the ids of the journal's tail."""
        if not self._remembers:
            self._window.restore(recent_ids(self._catalogue))
            self._remembers = True

    def _write(self, commit: Commit, moment: datetime, marks: dict[AppendFile, Mark]) -> None:
        for file in list(self._damaged):
            file.repair()
            self._damaged.remove(file)
            self._close_if_left(file)
        end = line_end(moment)
        for target, group in commit.ordered():
            if target == WITNESSES and self._always_sync:
                for file in marks:
                    file.sync()  # a power cut must not leave the witness alone
            file = self._stream(target).ready(moment.date())
            marks[file] = file.mark()
            if not self._unsynced:
                self._unsynced_since = self._clock.monotonic()
            self._unsynced[file] = None
            file.append(end.join([*group.bodies, b""]), len(group.bodies), group.keys, group.lines)
            self._window.hold(group.keys)

    def _stream(self, target: Target) -> Stream:
        stream = self._streams.get(target)
        if stream is None:
            limit = self._settings.segment_bytes
            torn = self._rejected.directory / TORN
            if isinstance(target, str):
                stream = Stream(partial(self._rejected.for_append, target), 2**62, torn)
            else:
                kind, internal = target
                stream = Stream(lambda day: self._catalogue.for_append(kind, internal, day, limit), limit, torn)
            self._streams[target] = stream
        return stream

    def _sync_all(self, marks: dict[AppendFile, Mark]) -> None:
        """Sync what is written and make it visible. In fsync mode it is all or nothing."""
        failed: dict[AppendFile, OSError] = {}
        began = self._clock.monotonic()
        for file in self._unsynced:
            try:
                file.sync()
            except OSError as error:
                failed[file] = error
        self.sync_times.add(self._clock.monotonic() - began)
        if failed and self._always_sync:
            raise next(iter(failed.values()))
        self._publish([file for file in self._unsynced if file not in failed])
        for file in failed:  # acknowledged on the word of the page cache, which the disk did not keep
            self.lost += file.lines
            self._take_back(file, file.durable_mark())
            marks.pop(file, None)
        if failed:
            raise next(iter(failed.values()))

    def _sync_interval(self) -> None:
        with suppress(OSError):  # counted in ``lost``; there is nobody left to tell
            self._sync_all({})
        with self._lock:
            self._pending = None

    def _publish(self, files: list[AppendFile]) -> None:
        with self._lock:
            keys = [key for file in files for key in file.publish()]
        for file in files:
            del self._unsynced[file]
            self._close_if_left(file)
        self._window.confirm(keys, self._last)

    def _roll_back(self, marks: dict[AppendFile, Mark]) -> None:
        for file, mark in marks.items():
            if file in self._unsynced:
                self._take_back(file, mark)

    def _take_back(self, file: AppendFile, mark: Mark) -> None:
        self._window.forget(file.roll_back(mark))
        if not file.lines:
            del self._unsynced[file]
        if file.excess:
            self._damaged.append(file)
        else:
            self._close_if_left(file)

    def _close_if_left(self, file: AppendFile) -> None:
        """Close a file that its stream has gone on from."""
        if not file.lines and all(stream.file is not file for stream in self._streams.values()):
            file.close()

    def _settle(self, works: list[Work], commit: Commit | None, error: Exception | None) -> None:
        with self._lock:
            if not self._unsynced:
                self._pending = None
            self._waiting -= sum(work.size for work in works)
            self._space.notify_all()
        for position, work in enumerate(works):
            if commit is not None:
                work.receipt.settle(commit.outcomes[position])
            elif isinstance(error, JournalError):
                work.receipt.settle(None, error)
            else:
                work.receipt.settle(None, journal_error(error or OSError(), _DOING))


def closed() -> JournalError:
    """The error for an event that came too late."""
    return JournalClosed("the journal is closed", hint="Open it again with Journal(directory, …) and send it again.")
