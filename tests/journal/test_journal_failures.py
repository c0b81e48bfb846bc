"""When the disk refuses: the caller gets an error that says what to do, what was acknowledged stays, work goes on."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from journal_support import Open, entries, entry, served_ids, uuid

from barograph.core.settings import JournalSettings
from barograph.journal import stream
from barograph.journal.entry import Receipt, Rejection
from barograph.journal.journal import Journal
from barograph_client.clock import ManualClock, SystemClock
from barograph_client.errors import DiskFull, JournalError, JournalReadOnly

NOBODY = 65534


class SmallDisk:
    """A place with about a megabyte of room, and a way to make more."""

    def __init__(self, directory: Path, mounted: bool) -> None:
        self.directory = directory
        self._mounted = mounted

    def grow(self) -> None:
        if self._mounted:
            subprocess.run(["mount", "-o", "remount,size=64m", str(self.directory)], check=True)
        else:
            _limit_file_size(resource.RLIM_INFINITY)


def _limit_file_size(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def small_disk(directory: Path, *, mount: bool) -> Iterator[SmallDisk]:
    """A file system of one megabyte where it may be mounted, else a limit on the size of a file."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    mounted = mount and subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not mounted:
        _limit_file_size(2**20)
    try:
        yield SmallDisk(directory, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", str(directory)], check=True)
        else:
            _limit_file_size(resource.RLIM_INFINITY)


@pytest.mark.parametrize("mount", [True, False], ids=["a full disk", "a file at its limit"])
def test_a_full_disk_is_told_and_survived(tmp_path: Path, clock: ManualClock, mount: bool):
    with small_disk(tmp_path / "disk", mount=mount) as disk:
        journal = Journal(disk.directory, clock, JournalSettings())
        acknowledged: list[str] = []

        def fill() -> None:
            for n in range(0, 10_000, 10):
                batch = entries(n, 10, text="x" * 500)
                journal.append(batch)
                acknowledged.extend(event.event_id for event in batch)

        with pytest.raises(DiskFull, match="no space is left") as caught:
            fill()
        assert len(acknowledged) > 500
        assert "send it again" in caught.value.hint
        refused = entries(len(acknowledged), 3, text="x" * 9000)
        with pytest.raises(DiskFull):
            journal.append(refused)
        assert served_ids(journal) == acknowledged
        assert journal.count() == len(acknowledged)
        disk.grow()
        assert journal.append([*refused, entry(acknowledged[0])]) == ["stored"] * 3 + ["duplicate"]
        everything = acknowledged + [event.event_id for event in refused]
        assert served_ids(journal) == everything
        assert journal.account().received == len(everything) + 1
        journal.close()
        with Journal(disk.directory, clock, JournalSettings()) as again:
            assert again.recovered == []
            assert not again.unclean_start
            assert served_ids(again) == everything


def test_everyone_who_waits_for_a_commit_that_fails_is_told(open_journal: Open, monkeypatch: pytest.MonkeyPatch):
    journal = open_journal()
    journal.append([entry("before")])
    reached, go = threading.Event(), threading.Event()
    real = stream.sync_file

    def slow_sync(descriptor: int) -> None:
        reached.set()
        assert go.wait(10)
        real(descriptor)

    monkeypatch.setattr(stream, "sync_file", slow_sync)
    first = journal.submit([entry("first")])
    assert reached.wait(10)
    receipts: list[Receipt] = [journal.submit([entry(f"{n}", "score")]) for n in range(8)]
    receipts.append(journal.submit([], [Rejection("query", "cost", "negative", b"{}")]))

    def full(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stream, "write_all", full)
    go.set()
    assert first.wait(10) == ["stored"]
    for receipt in receipts:
        with pytest.raises(DiskFull):
            receipt.wait(10)
    monkeypatch.undo()
    assert served_ids(journal) == ["before", "first"]
    assert journal.account().received == 2
    assert journal.append([entry("0", "score")]) == ["stored"]


def test_a_sync_that_fails_takes_the_commit_back_and_goes_to_a_new_segment(
    open_journal: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal()
    journal.append([entry("a"), entry("b", "score")])
    real = stream.sync_file
    failures = [OSError(errno.EIO, "Input/output error")]

    def failing_sync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real(descriptor)

    monkeypatch.setattr(stream, "sync_file", failing_sync)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.append([entry("c"), entry("d", "score")])
    assert sorted(served_ids(journal)) == ["a", "b"]
    assert journal.append([entry("c"), entry("d", "score")]) == ["stored", "stored"]
    assert sorted(served_ids(journal)) == ["a", "b", "c", "d"]
    assert [segment.name for segment in journal.snapshot().segments] == [
        "query/2026-11-24/000001",
        "query/2026-11-24/000002",
        "score/2026-11-24/000001",
    ]
    assert (tmp_path / "data/journal/query/2026-11-24/000001.jsonl").read_bytes().count(b"\n") == 1
    journal.close()
    again = open_journal()
    assert not again.unclean_start
    assert sorted(served_ids(again)) == ["a", "b", "c", "d"]


def test_while_a_failed_write_cannot_be_taken_back_nothing_is_written(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal()
    journal.append([entry("a")])
    with monkeypatch.context() as broken:

        def no_sync(descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        def no_truncate(descriptor: int, size: int) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        broken.setattr(stream, "sync_file", no_sync)
        broken.setattr(stream.os, "ftruncate", no_truncate)
        with pytest.raises(JournalError, match="Input/output error"):
            journal.append([entry("b")])
        with pytest.raises(JournalReadOnly):
            journal.append([entry("b")])
        with pytest.raises(JournalReadOnly):
            journal.append([entry("c", "score")])
        assert served_ids(journal) == ["a"]
    assert journal.append([entry("b")]) == ["stored"]
    assert served_ids(journal) == ["a", "b"]
    journal.close()
    assert served_ids(open_journal()) == ["a", "b"]


def test_a_journal_that_closes_over_a_damaged_file_is_not_called_clean(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal()
    journal.append([entry("a")])
    with monkeypatch.context() as broken:

        def refuse(*arguments: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        broken.setattr(stream, "sync_file", refuse)
        broken.setattr(stream.os, "ftruncate", refuse)
        with pytest.raises(JournalError):
            journal.append([entry("b")])
        journal.close()
    assert open_journal().unclean_start


def test_interval_mode_counts_what_a_failing_sync_lost_and_takes_it_again(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal(durability="interval", sync_interval=60)
    journal.append([entry("a")])
    journal.sync()
    journal.append([entry("b"), entry("c")])
    real = stream.sync_file
    failures = [OSError(errno.EIO, "Input/output error")]

    def failing_sync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real(descriptor)

    monkeypatch.setattr(stream, "sync_file", failing_sync)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.sync()
    assert journal.lost == 2
    assert journal.append([entry("b"), entry("a")]) == ["stored", "duplicate"]
    journal.sync()
    assert served_ids(journal) == ["a", "b"]
    assert journal.account().stored == 2


@contextmanager
def as_anyone(directory: Path) -> Iterator[None]:
    """Root may do everything, so root becomes nobody for a while; the directory becomes nobody's."""
    if os.geteuid() != 0:
        yield
        return
    shutil.chown(directory, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that any user can reach."""
    directory = Path(tempfile.mkdtemp(prefix="journal-"))
    directory.chmod(0o755)
    yield directory
    for path in [directory, *directory.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(directory)


def test_permission_lost_is_told_and_writing_goes_on_when_it_is_back(open_place: Path, clock: ManualClock):
    with as_anyone(open_place), Journal(open_place, clock, JournalSettings()) as journal:
        journal.append([entry("a")])
        folder = open_place / "journal" / "query"
        folder.chmod(0o555)
        clock.advance(86400)  # the next day needs a folder of its own
        with pytest.raises(JournalReadOnly, match="not allowed") as caught:
            journal.append([entry("b")])
        assert "permissions" in caught.value.hint
        assert served_ids(journal) == ["a"]
        folder.chmod(0o755)
        assert journal.append([entry("b")]) == ["stored"]
        assert served_ids(journal) == ["a", "b"]


def test_a_directory_that_may_not_be_written_is_told_at_the_start(open_place: Path, clock: ManualClock):
    with as_anyone(open_place):
        open_place.chmod(0o555)
        with pytest.raises(JournalReadOnly, match="lock"):
            Journal(open_place, clock, JournalSettings())
        with pytest.raises(JournalReadOnly):
            Journal(open_place / "new", clock, JournalSettings())
        open_place.chmod(0o755)
        Journal(open_place, clock, JournalSettings()).close()


def test_a_file_that_somebody_shortened_is_left_and_a_new_segment_begun(open_journal: Open, tmp_path: Path):
    with open_journal() as journal:
        journal.append(entries(0, 10))
    again = open_journal()
    file = tmp_path / "data/journal/query/2026-11-24/000001.jsonl"
    os.truncate(file, 10)
    with pytest.raises(JournalError, match="shorter"):
        again.append(entries(10, 1))
    assert again.append(entries(10, 1)) == ["stored"]
    assert [segment.number for segment in again.snapshot().segments] == [1, 2]
    assert uuid(10) in (tmp_path / "data/journal/query/2026-11-24/000002.jsonl").read_text()


def test_an_entry_that_breaks_the_writer_fails_alone_and_the_thread_lives(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal()
    with monkeypatch.context() as broken:
        broken.setattr("barograph.journal.writer.line_end", lambda moment: 1 / 0)
        with pytest.raises(JournalError, match="division by zero"):
            journal.append([entry("a")])
    assert journal.append([entry("a")]) == ["stored"]


def test_low_disk_is_told(open_journal: Open):
    journal = open_journal(low_disk_bytes=0)
    assert not journal.low_disk
    assert journal.free_bytes() > 0
    journal.close()
    assert open_journal(low_disk_bytes=2**62).low_disk


def test_reading_what_is_gone_is_an_error_with_a_hint(open_journal: Open, tmp_path: Path):
    journal = open_journal(clock=SystemClock())
    journal.append([entry("a")])
    (segment,) = journal.snapshot().segments
    shutil.rmtree(tmp_path / "data" / "journal" / "query")
    with pytest.raises(JournalError, match=segment.name):
        journal.read(segment, 0, segment.size)


def test_files_removed_under_a_running_journal_are_noticed_and_writing_goes_on(open_journal: Open, tmp_path: Path):
    journal = open_journal()
    journal.append([entry("a")])
    shutil.rmtree(tmp_path / "data" / "journal")
    with pytest.raises(JournalError, match="was removed"):
        journal.append([entry("b")])
    assert journal.append([entry("b")]) == ["stored"]
    assert '"b"' in (tmp_path / "data/journal/query/2026-11-24/000002.jsonl").read_text()


def test_in_interval_mode_a_write_that_fails_takes_back_only_itself(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal(durability="interval", sync_interval=60)
    journal.append([entry("a")])
    with monkeypatch.context() as broken:

        def full(descriptor: int, data: bytes) -> None:
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        broken.setattr(stream, "write_all", full)
        with pytest.raises(DiskFull):
            journal.append([entry("b")])
    assert journal.append([entry("b"), entry("a")]) == ["stored", "duplicate"]
    journal.sync()
    assert served_ids(journal) == ["a", "b"]
    assert journal.lost == 0
