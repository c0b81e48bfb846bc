"""Closed days: compressed only when proven the same, read as before, whole after a crash at any step, and retired."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import zstandard
from journal_support import Open, crash, entries, entry, served, served_ids, uuid

from barograph.journal import archive
from barograph.journal.journal import Journal
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidInput, JournalError

DAY = date(2026, 11, 24)


def two_days(open_journal: Open, clock: ManualClock, **settings: object) -> Journal:
    """A journal with a closed day of several segments and an open day."""
    journal = open_journal(segment_bytes=4096, **settings)
    for n in range(0, 90, 30):
        journal.append([*entries(n, 30, text="é" * 60), entry(f"internal {n}", internal=True)])
    clock.advance(86400)
    journal.append([entry("today"), entry("score", "score")])
    return journal


def test_a_closed_day_is_compressed_and_read_as_before(open_journal: Open, clock: ManualClock, tmp_path: Path):
    journal = two_days(open_journal, clock)
    before, shown = served(journal), journal.snapshot()
    ranges = {(s, at): journal.read(s, at, at + 777) for s in shown.segments for at in range(0, s.size, 501)}
    moved = journal.compress_closed()
    assert [segment.name for segment in moved] == [
        "query/2026-11-24/000001",
        "query/2026-11-24/000002",
        "query/2026-11-24/000003",
        "query/2026-11-24/000001-internal",
    ]
    assert all(segment.archived for segment in moved)
    assert not (tmp_path / "data/journal/query/2026-11-24").exists()
    assert served(journal) == before
    assert {key: journal.read(key[0], key[1], key[1] + 777) for key in ranges} == ranges  # by what was shown before
    assert (journal.count(), journal.count("query", DAY, False), journal.count("query", DAY, True)) == (95, 90, 3)
    assert journal.compress_closed() == []
    journal.close()
    again = open_journal()
    assert served(again) == before
    assert again.account().stored == 92
    assert again.append([entry(uuid(5)), entry("internal 0", internal=True)]) == ["duplicate", "duplicate"]


def test_the_index_tells_lines_bytes_and_the_hash_of_the_plain_file(
    open_journal: Open, clock: ManualClock, tmp_path: Path
):
    journal = two_days(open_journal, clock)
    plain = {path.stem: path.read_bytes() for path in (tmp_path / "data/journal/query/2026-11-24").iterdir()}
    journal.compress_closed()
    folder = tmp_path / "data/archive/journal/query/2026-11-24"
    index = json.loads((folder / "index.json").read_text())
    told = {entry["segment"]: (entry["lines"], entry["bytes"], entry["sha256"]) for entry in index["segments"]}
    assert told == {
        stem: (data.count(b"\n"), len(data), hashlib.sha256(data).hexdigest()) for stem, data in plain.items()
    }
    for stem, data in plain.items():
        with (folder / f"{stem}.jsonl.zst").open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            assert reader.read() == data


def test_a_long_segment_is_read_without_unpacking_all_of_it(
    open_journal: Open, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archive, "FRAME_BYTES", 1000)
    journal = two_days(open_journal, clock)
    (first, *_) = [segment for segment in journal.snapshot().segments if segment.kind == "query"]
    whole = journal.read(first, 0, first.size)
    journal.compress_closed()
    unpacked: list[int] = []
    real = archive.read_range
    monkeypatch.setattr(archive, "read_range", lambda path, a, b: unpacked.append(b - a) or real(path, a, b))
    for start, end in [
        (0, 1),
        (999, 1001),
        (1000, 2000),
        (1500, 3700),
        (0, first.size),
        (first.size - 1, 2**40),
        (5, 5),
    ]:
        assert journal.read(first, start, end) == whole[start:end]
    unpacked.clear()
    journal.read(first, 1200, 1300)
    assert len(unpacked) == 1


def broken_steps(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
    """Let the ``at``-th renaming or removal of a file fail; tells how many there were."""
    count = 0

    def wrap(name: str) -> None:
        real = getattr(Path, name)

        def step(self: Path, *arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == at:
                raise OSError(5, "Input/output error")
            return real(self, *arguments, **options)

        monkeypatch.setattr(Path, name, step)

    for name in ("replace", "unlink", "rmdir"):
        wrap(name)
    return lambda: count


def test_compression_may_be_cut_off_at_any_step(open_journal: Open, clock: ManualClock, tmp_path: Path):
    at, steps = 1, 10**9
    while at <= steps:
        home = tmp_path / f"{at}"
        journal = two_days(lambda **settings: open_journal(home, **settings), clock)  # noqa: B023
        before = served(journal)
        with pytest.MonkeyPatch.context() as monkeypatch:
            done = broken_steps(monkeypatch, at)
            try:
                journal.compress_closed()
            except JournalError:
                pass
            else:
                steps = done()
                assert at > steps
            shutil.copytree(home, tmp_path / f"{at}-copy")
        assert served(journal) == before  # it goes on serving
        journal.compress_closed()
        assert served(journal) == before
        crash(journal)
        copy = open_journal(tmp_path / f"{at}-copy", segment_bytes=4096)  # and what a crash there would have left
        assert served(copy) == before
        assert (copy.count(), copy.account().stored) == (95, 92)
        copy.compress_closed()
        assert served(copy) == before
        assert copy.problems == []
        assert not list((tmp_path / f"{at}-copy").rglob("*.tmp"))
        assert not list((tmp_path / f"{at}-copy/journal").rglob("2026-11-24/*.jsonl"))
        at += 1
    assert steps >= 10


def test_what_does_not_read_back_the_same_keeps_the_plain_file(
    open_journal: Open, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = two_days(open_journal, clock)
    before = served(journal)
    real = archive.write_all

    def bad_disk(descriptor: int, data: bytes) -> None:
        real(descriptor, zstandard.ZstdCompressor().compress(zstandard.ZstdDecompressor().decompress(data).upper()))

    with monkeypatch.context() as broken:
        broken.setattr(archive, "write_all", bad_disk)
        with pytest.raises(JournalError, match="plain file was kept"):
            journal.compress_closed()
    assert served(journal) == before
    assert not list((tmp_path / "data/archive").rglob("*.zst*"))
    assert len(journal.compress_closed()) == 4


def test_a_damaged_archive_is_an_error_that_names_the_file_and_the_rest_is_served(
    open_journal: Open, clock: ManualClock, tmp_path: Path
):
    journal = two_days(open_journal, clock)
    (first, *_) = journal.compress_closed()
    path = tmp_path / "data/archive/journal/query/2026-11-24/000001.jsonl.zst"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    journal.close()
    again = open_journal()
    with pytest.raises(JournalError, match=r"000001\.jsonl\.zst is damaged"):
        again.read(first, 0, first.size)
    last = again.snapshot().segments[-2]
    assert again.read(last, 0, last.size)
    assert again.append([entry("goes on")]) == ["stored"]


def test_an_archive_whose_index_was_lost_is_read_and_indexed_again(
    open_journal: Open, clock: ManualClock, tmp_path: Path
):
    journal = two_days(open_journal, clock)
    before = served(journal)
    journal.compress_closed()
    journal.close()
    folder = tmp_path / "data/archive/journal/query/2026-11-24"
    index = (folder / "index.json").read_text()
    (folder / "index.json").write_text("{torn")
    second = open_journal()
    assert served(second) == before
    assert (folder / "index.json").read_text() == index
    second.close()
    (folder / "index.json").unlink()
    with (folder / "000001.jsonl.zst").open("rb") as file:  # packed anew by hand, as one frame after a short one
        plain = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    pack = zstandard.ZstdCompressor(level=1).compress
    (folder / "000001.jsonl.zst").write_bytes(pack(plain[:7]) + pack(plain[7:]))
    third = open_journal()
    assert served(third) == before
    assert third.count() == 95


def test_an_archived_file_that_is_missing_is_a_problem_told_and_not_an_end(
    open_journal: Open, clock: ManualClock, tmp_path: Path
):
    journal = two_days(open_journal, clock)
    journal.compress_closed()
    journal.close()
    folder = tmp_path / "data/archive/journal/query/2026-11-24"
    (folder / "000002.jsonl.zst").unlink()
    (folder / "index.json").write_text("lost")
    (folder / "000003.jsonl.zst").write_bytes(b"not zstd")
    again = open_journal()
    assert [problem for problem in again.problems if "000003" in problem]
    assert "today" in served_ids(again)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "archived"])
def test_a_retired_day_is_gone_but_stays_counted(
    open_journal: Open, clock: ManualClock, tmp_path: Path, compressed: bool
):
    journal = two_days(open_journal, clock)
    before = journal.account()
    if compressed:
        journal.compress_closed()
    assert journal.retire("query", DAY) == 93
    assert journal.retire("query", DAY) == 0
    assert served_ids(journal) == ["today", "score"]
    assert (journal.count(), journal.count("query", DAY)) == (2, 0)
    assert journal.days("query") == [date(2026, 11, 25)]
    assert journal.account() == before
    assert not list((tmp_path / "data").rglob("2026-11-24"))
    journal.close()
    again = open_journal()
    assert again.account() == before
    assert served_ids(again) == ["today", "score"]


def test_a_day_that_is_not_over_cannot_be_retired(open_journal: Open, clock: ManualClock):
    journal = two_days(open_journal, clock)
    with pytest.raises(InvalidInput, match="not over"):
        journal.retire("query", date(2026, 11, 25))
    assert "today" in served_ids(journal)


def test_retiring_that_was_cut_off_is_finished_at_the_next_start(
    open_journal: Open, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = two_days(open_journal, clock)
    before = journal.account()
    with monkeypatch.context() as broken:

        def fail(path: Path) -> None:
            raise OSError(5, "Input/output error")

        broken.setattr(shutil, "rmtree", fail)
        with pytest.raises(JournalError):
            journal.retire("query", DAY)
    assert journal.account() == before
    crash(journal)
    assert list((tmp_path / "data/journal").rglob("2026-11-24"))
    again = open_journal()
    assert again.account() == before
    assert not list((tmp_path / "data/journal").rglob("2026-11-24"))


def test_a_retired_day_that_comes_back_from_a_backup_is_served_and_counted_once(
    open_journal: Open, clock: ManualClock, tmp_path: Path
):
    journal = two_days(open_journal, clock)
    before, events = journal.account(), served(journal)
    shutil.copytree(tmp_path / "data/journal/query/2026-11-24", tmp_path / "backup")
    journal.retire("query", DAY)
    journal.close()
    shutil.copytree(tmp_path / "backup", tmp_path / "data/journal/query/2026-11-24")
    again = open_journal()
    assert again.account() == before
    assert served(again) == events
