"""The journal: every accepted event as a line of JSON, durable before it is acknowledged; the truth of Barograph.

``collect`` submits entries, ``store`` reads byte ranges of the segments that ``snapshot`` shows. The pieces:
``lock`` (one owner), ``recovery`` (the start), ``writer`` (group commit), ``duplicates`` (retries), ``catalogue``
(what there is), ``archive`` (closed days), ``rejected`` (what was not stored). docs/format.md describes the files.
"""

from __future__ import annotations

import os
import shutil
import threading
import weakref
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import structs

from barograph.core.durations import Durations
from barograph.core.settings import JournalSettings
from barograph.journal.accounts import Account, Accounts
from barograph.journal.archive import pack, read_index, write_index
from barograph.journal.catalogue import Catalogue
from barograph.journal.commit import DUPLICATES, Record, Work
from barograph.journal.disk import journal_error, sync_directory
from barograph.journal.entry import Entry, Outcome, Receipt, Rejection, duplicate_body, rejection_body
from barograph.journal.heads import project_of_event
from barograph.journal.lock import DirectoryLock
from barograph.journal.recovery import Torn, recover
from barograph.journal.rejected import TORN, RejectedFiles, SetAside, set_aside_body
from barograph.journal.retired import Retired, RetiredDay
from barograph.journal.segment import KIND, LogFile, Segment, SegmentFile, Snapshot, file_stem
from barograph.journal.writer import Writer
from barograph_client.clock import Clock
from barograph_client.errors import InvalidInput, JournalClosed, JournalError

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Journal:
    """The journal of one data directory, owned by this process until ``close``. Safe to share between threads.

    Raises DirectoryLocked if the directory has an owner, JournalReadOnly or DiskFull if it cannot be opened.
    ``unclean_start`` says that the last owner did not close; ``recovered`` lists what was cut off; ``arrivals`` says
    when the last event of each kind had come by then; ``problems`` names, in sentences, files that cannot be used.
    """

    def __init__(self, directory: Path, clock: Clock, settings: JournalSettings) -> None:
        self.directory = directory
        self._settings = settings
        self._forked = False
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._set_aside: dict[tuple[str, int], SetAside] | None = None
        self._owner = DirectoryLock(directory)
        try:
            self._catalogue = Catalogue(directory, self._lock)
            self._rejected = RejectedFiles(directory, self._lock)
            self._retired = Retired(directory / "archive")
            self._accounts = Accounts(self._catalogue, self._rejected, self._retired, self._lock)
            before = bool(self._catalogue.streams())
            self.unclean_start: bool = not self._owner.was_clean if self._owner.was_clean is not None else before
            self._finish_retiring()
            torn = self._rejected.directory / TORN
            self.recovered: list[Torn]
            self.arrivals: dict[str, datetime]
            self.recovered, self.arrivals = recover(
                self._catalogue, self._rejected.open_last(), torn, unclean=self.unclean_start
            )
            last = max(self.arrivals.values(), default=_LONG_AGO)
            self._writer = Writer(clock, settings, self._lock, self._catalogue, self._rejected, last)
        except OSError as error:
            self._owner.release(clean=False)
            raise journal_error(error, f"opening the journal in {directory}") from error
        except BaseException:
            self._owner.release(clean=False)
            raise
        _open_journals.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # writing

    def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        """Hand in events, and what was refused of the same batch; one commit keeps them all, or none.

        Returns at once unless much waits already (64 MB). Raises JournalClosed, or InvalidInput for an entry that
        is not one line of a named kind.
        """
        size = 0
        for kind, _, body, _, _ in entries:
            size += len(body) + 64
            if b"\n" in body or not KIND.fullmatch(kind):
                raise InvalidInput("an entry is one line of JSON without its closing brace", value=body[:200])
        records: list[Record] = [("rejected", one.project, rejection_body(one)) for one in rejections]
        size += sum(len(body) for _, _, body in records)
        return self._submit(Work(Receipt(), entries, records, size=size))

    def _submit(self, work: Work) -> Receipt:
        self._check_process()
        if not work.entries and not work.records and not work.sync:
            work.receipt.settle([])
            return work.receipt
        return self._writer.submit(work)

    def repeat(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        """Count a batch that is known to have been taken before: its events as duplicates, its rejections again.

        For a sender that remembers longer than the window of ids does. The receipt has no outcomes.
        """
        records: list[Record] = [
            (DUPLICATES, one.project, duplicate_body(one.kind, one.event_id, one.project)) for one in entries
        ]
        records += [("rejected", one.project, rejection_body(one)) for one in rejections]
        return self._submit(Work(Receipt(), (), records, size=sum(len(body) for _, _, body in records)))

    def append(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Submit and wait. Raises JournalError if the entries could not be made durable."""
        return self.submit(entries).wait()

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Keep and count events that were refused; durable on return. Raises JournalError."""
        self.submit((), rejections).wait()

    def set_aside(self, segment: Segment, offset: int, line: bytes, reason: str) -> None:
        """Tell of a line that cannot be used; durable on return. Telling of it again changes nothing.

        The line itself stays where it is: the offsets of the lines behind it are known elsewhere.
        """
        record = SetAside(segment=segment.name, offset=offset, bytes=len(line), reason=reason)
        with self._counting:
            known = self._known_set_aside()
            if (segment.name, offset) in known:
                return
            project = project_of_event(line)
            self._submit(
                Work(Receipt(), records=[("set-aside", project, set_aside_body(record, line, project))])
            ).wait()
            known[segment.name, offset] = record

    def sync(self) -> None:
        """Return when all that was submitted is durable, also in interval mode. Raises JournalError."""
        self._submit(Work(Receipt(), sync=True)).wait()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were submitted and are not written yet."""
        return self._writer.waiting_bytes

    @property
    def sync_times(self) -> Durations:
        """How long the syncs of this process took."""
        return self._writer.sync_times

    def tell_address(self, address: str, token: str, certificate: str = "") -> None:
        """Write into the lock file where this process answers, for the command line of this machine."""
        self._owner.tell_address(address, token, certificate)

    @property
    def lost(self) -> int:
        """Lines of this process that were acknowledged in interval mode and then lost to a failing disk."""
        return self._writer.lost

    # reading

    def snapshot(self) -> Snapshot:
        """The durable segments, and the time up to which they are complete."""
        self._check_process()
        with self._lock:
            return Snapshot(segments=self._catalogue.segments(), complete_to=self._writer.watermark())

    def read(self, segment: Segment, start: int, end: int) -> bytes:
        """Bytes of a segment by plain offsets, at most to its durable end, from the archive too.

        Raises JournalError if the segment is gone or damaged.
        """
        self._check_process()
        file = self._catalogue.find(segment)
        if file is None:
            raise JournalError(f"there is no segment {segment.name}", hint="Its day was retired, or never existed.")
        try:
            return self._catalogue.read(file, start, end)
        except OSError as error:
            raise journal_error(error, f"reading segment {segment.name}") from error

    def kinds(self) -> list[str]:
        """The kinds that have lines."""
        return sorted({file.kind for file in self._catalogue.files() if file.size})

    def days(self, kind: str) -> list[date]:
        """The days on which lines of a kind arrived, as far as they are still here."""
        return sorted({file.day for file in self._catalogue.files(kind) if file.size})

    def count(self, kind: str | None = None, day: date | None = None, internal: bool | None = None) -> int:
        """The durable lines that can be read; those of retired days are not among them."""
        return self._lines(self._catalogue.files(kind, day, internal))

    def _lines(self, files: Sequence[LogFile]) -> int:
        self._check_process()
        try:
            first = sum(file.count_first() for file in files)
        except OSError as error:
            raise journal_error(error, "counting lines") from error
        with self._lock:
            return first + sum(file.added for file in files)

    def set_aside_lines(self, kind: str | None = None, day: date | None = None) -> list[SetAside]:
        """The lines that were set aside, of a kind and a day of arrival."""
        with self._counting:
            records = list(self._known_set_aside().values())
        return [
            record
            for record in records
            if kind in (None, record.segment.split("/")[0])
            and (day is None or record.segment.split("/")[1] == str(day))
        ]

    def _known_set_aside(self) -> dict[tuple[str, int], SetAside]:
        if self._set_aside is None:
            self._set_aside = {(record.segment, record.offset): record for record in self._rejected.set_aside()}
        return self._set_aside

    def account(self, project: str | None = None) -> Account:
        """What became of all events so far, or of a project's. The first call counts the lines of the plain files."""
        self._check_process()
        with self._counting:  # no day is retired between the look at the files and the look at the retired days
            return self._accounts.account(project)

    # keeping house

    def compress_closed(self) -> list[Segment]:
        """Move the segments of the days before today into the archive; returns those that were moved.

        Raises JournalError if one could not be written or read back; it stays as it was, as do those after it.
        """
        self.sync()
        today = self._writer.today()
        waiting: dict[tuple[str, date], list[SegmentFile]] = {}
        for file in self._catalogue.files():
            if file.day < today and file.packed is None and file.size:
                waiting.setdefault((file.kind, file.day), []).append(file)
        moved: list[Segment] = []
        for (kind, day), files in waiting.items():
            try:
                moved += self._compress(kind, day, files)
            except OSError as error:
                raise journal_error(error, f"compressing {kind}/{day}") from error
        return moved

    def _compress(self, kind: str, day: date, files: list[SegmentFile]) -> list[Segment]:
        folder = self._catalogue.archive / kind / str(day)
        entries = {
            file: pack(
                file.path, file.size, folder, file_stem(file.number, file.internal), self._accounts.lines_of([file])
            )
            for file in files
        }
        write_index(folder, [*read_index(folder).values(), *entries.values()])
        with self._lock:
            for file, packed in entries.items():
                file.first_lines = packed.lines - file.added
                file.packed = packed
        for file in files:
            file.path.unlink()
        plain = files[0].path.parent
        sync_directory(plain)
        if not any(plain.iterdir()):
            plain.rmdir()
        return [file.segment() for file in files]

    def retire(self, kind: str, day: date) -> int:
        """Delete a closed day's lines for good; returns how many there were. They stay in the account.

        Raises InvalidInput for a day that is not over, JournalError if the files cannot be deleted.
        """
        self._check_process()
        if day >= self._writer.today():
            raise InvalidInput(f"{day} is not over", hint="Only a day before today can be retired.", value=str(day))
        files = self._catalogue.files(kind, day)
        if not files:
            return 0
        internal = [file for file in files if file.internal]
        callers = [file for file in files if not file.internal]
        entry = RetiredDay(
            kind=kind,
            day=day,
            lines=self._lines(callers),
            internal=self._lines(internal),
            deleting=True,
            projects=self._accounts.lines_of(callers),
            internal_projects=self._accounts.lines_of(internal),
        )
        try:
            with self._counting:
                self._retired.put(entry)
                self._catalogue.remove(kind, day)
            self._delete(entry)
        except OSError as error:
            raise journal_error(error, f"retiring {kind}/{day}") from error
        return entry.lines + entry.internal

    def _delete(self, entry: RetiredDay) -> None:
        for root in (self._catalogue.plain, self._catalogue.archive):
            folder = root / entry.kind / str(entry.day)
            if folder.is_dir():
                shutil.rmtree(folder)
                sync_directory(folder.parent)
        self._retired.put(structs.replace(entry, deleting=False))

    def _finish_retiring(self) -> None:
        for (kind, day), entry in list(self._retired.days.items()):
            if entry.deleting:
                self._catalogue.remove(kind, day)
                self._delete(entry)
            elif self._catalogue.files(kind, day):
                self._retired.drop(kind, day)  # brought back from a backup: its lines count for themselves

    def free_bytes(self) -> int:
        """What is left on the disk of the data directory."""
        state = os.statvfs(self.directory)
        return state.f_bavail * state.f_frsize

    @property
    def low_disk(self) -> bool:
        """Whether less is left than ``low_disk_bytes``."""
        return self.free_bytes() < self._settings.low_disk_bytes

    @property
    def problems(self) -> list[str]:
        """Files that cannot be used, in sentences."""
        return list(self._catalogue.problems)

    def close(self) -> None:
        """Wait for what was submitted, sync it, and give the directory up. Closing again does nothing."""
        if self._forked:
            return
        clean = self._writer.close()
        self._owner.release(clean=clean)
        _open_journals.discard(self)

    def _check_process(self) -> None:
        if self._forked:
            raise JournalClosed(
                "the journal belongs to the process that opened it, not to its forked child",
                hint="Let the parent record them, or give the child a data directory of its own.",
            )

    def _abandon(self) -> None:
        self._forked = True
        self._owner.abandon()
        self._writer.abandon()


_open_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


def _after_fork() -> None:
    for journal in list(_open_journals):
        journal._abandon()


os.register_at_fork(after_in_child=_after_fork)
