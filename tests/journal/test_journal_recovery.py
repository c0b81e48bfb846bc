"""The start after a crash or a power cut: a valid prefix is served, and no durable line is missing from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_support import START, Open, crash, entries, entry, served, served_ids, uuid

from barograph.core.settings import JournalSettings
from barograph.journal import disk, recovery, stream
from barograph.journal.entry import Entry, Rejection
from barograph.journal.journal import Journal
from barograph_client.clock import ManualClock, SystemClock
from barograph_client.errors import DirectoryLocked

SEGMENT = Path("journal/query/2026-11-24/000001.jsonl")
LINE = b'{"kind":"query","event_id":"torn","query":"","received_at":"2026-11-24T09:00:00.000000Z"}\n'


def test_a_start_after_a_crash_is_noticed_and_one_after_a_close_is_not(open_journal: Open):
    first = open_journal()
    first.append([entry("a")])
    crash(first)
    second = open_journal()
    assert second.unclean_start
    second.close()
    assert not open_journal().unclean_start


def test_a_torn_last_line_is_cut_off_and_kept_aside(open_journal: Open, tmp_path: Path):
    with open_journal() as journal:
        journal.append([entry("a")])
    file = tmp_path / "data" / SEGMENT
    with file.open("ab") as append:
        append.write(LINE[:40])
    again = open_journal()
    assert served_ids(again) == ["a"]
    assert again.count() == 1
    (torn,) = again.recovered
    assert (torn.bytes, Path(torn.kept).read_bytes()) == (40, LINE[:40])
    assert Path(torn.kept).parent == tmp_path / "data" / "rejected" / "torn"
    assert again.append([entry("b")]) == ["stored"]
    assert served_ids(again) == ["a", "b"]
    assert [json.loads(line)["event_id"] for line in file.read_bytes().splitlines()] == ["a", "b"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 5000,
        b"\0" * 100 + b"\n",
        LINE[:50] + b"\0" * 39 + b"\n",
        b"\xff\xfe\n{}\n[]\n",
        b"\n\n\n",
        LINE.replace(b'"query":""', b'"query":"\xff"'),
        b"x" * 700_000,
    ],
    ids=[
        "zeros",
        "zeros and a line feed",
        "a line half zeros",
        "no events",
        "empty lines",
        "no UTF-8",
        "longer than one look",
    ],
)
def test_garbage_behind_the_last_line_is_cut_off_and_kept_aside(open_journal: Open, tmp_path: Path, garbage: bytes):
    first = open_journal()
    first.append([entry("a"), entry("b")])
    crash(first)
    with (tmp_path / "data" / SEGMENT).open("ab") as append:
        append.write(garbage)
    again = open_journal()
    assert served_ids(again) == ["a", "b"]
    assert Path(again.recovered[0].kept).read_bytes() == garbage
    again.append([entry("c")])
    assert served_ids(again) == ["a", "b", "c"]


def test_two_tails_torn_at_one_place_are_both_kept(open_journal: Open, tmp_path: Path):
    for tail in (b"one", b"another", b"another"):
        with open_journal() as journal:
            journal.append([entry("a")])
        with (tmp_path / "data" / SEGMENT).open("ab") as append:
            append.write(tail)
    open_journal()
    kept = sorted(path.read_bytes() for path in (tmp_path / "data/rejected/torn").iterdir())
    assert kept == [b"another", b"one"]


def test_a_torn_record_of_what_was_rejected_is_cut_off_too(open_journal: Open, tmp_path: Path):
    with open_journal() as journal:
        journal.reject([Rejection("query", "cost", "negative", b"{}")])
    with (tmp_path / "data/rejected/2026-11-24.jsonl").open("ab") as append:
        append.write(b'{"kind":"que')
    again = open_journal()
    again.reject([Rejection("query", "cost", "negative", b"{}")])
    assert again.account().rejected == 2
    lines = (tmp_path / "data/rejected/2026-11-24.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["negative", "negative"]


def test_a_tail_that_cannot_be_kept_aside_does_not_stop_the_start(open_journal: Open, tmp_path: Path):
    with open_journal() as journal:
        journal.append([entry("a")])
    with (tmp_path / "data" / SEGMENT).open("ab") as append:
        append.write(b"torn")
    (tmp_path / "data" / "rejected").write_text("in the way of the folder")
    again = open_journal()
    assert served_ids(again) == ["a"]
    (tmp_path / "data" / "rejected").unlink()
    again.append([entry("b")])
    assert served_ids(again) == ["a", "b"]
    assert [path.read_bytes() for path in (tmp_path / "data/rejected/torn").iterdir()] == [b"torn"]


@settings(max_examples=60)
@given(
    batches=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    keep=st.floats(0, 1),
    garbage=st.one_of(st.binary(max_size=300), st.just(b"\0" * 4096), st.integers(1, 90).map(lambda n: LINE[:-n])),
)
def test_any_cut_and_any_garbage_leave_a_valid_prefix_with_every_line_before_it(
    batches: list[int], keep: float, garbage: bytes
):
    directory = Path(tempfile.mkdtemp())
    try:
        journal = Journal(directory, ManualClock(START), JournalSettings())
        first = 0
        for size in batches:
            journal.append(entries(first, size, text='ü"\\'))
            first += size
        crash(journal)
        whole = (directory / SEGMENT).read_bytes()
        cut = whole[: int(len(whole) * keep)]
        (directory / SEGMENT).write_bytes(cut + garbage)
        left = cut.count(b"\n")
        with Journal(directory, ManualClock(START), JournalSettings()) as again:
            ids = served_ids(again)
            assert ids[:left] == [uuid(n) for n in range(left)]
            assert len(ids) <= left + 1  # garbage may happen to complete the line that was cut
            assert again.count() == len(ids)
            assert again.append(entries(0, first)) == ["duplicate"] * len(ids) + ["stored"] * (first - len(ids))
            assert sorted(served_ids(again)) == sorted(uuid(n) for n in range(first))
        with Journal(directory, ManualClock(START), JournalSettings()) as clean:
            assert clean.recovered == []
    finally:
        shutil.rmtree(directory)


class Disk:
    """A disk that can lose power: it remembers what was synced and can show what would be left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: dict[int, int] = {}  # by inode
        self.names: dict[Path, set[str]] = {}
        real_file, real_directory = disk.sync_file, disk.sync_directory

        def sync_file(descriptor: int) -> None:
            real_file(descriptor)
            state = os.fstat(descriptor)
            self.sizes[state.st_ino] = state.st_size

        def sync_directory(path: Path) -> None:
            real_directory(path)
            self.names[path] = set(os.listdir(path))

        for module in (disk, stream, recovery):
            monkeypatch.setattr(module, "sync_file", sync_file)
            monkeypatch.setattr(module, "sync_directory", sync_directory)

    def after_power_cut(self, root: Path, copy: Path, filler: bytes) -> None:
        """Copy what is left: synced bytes of files whose names are synced, then maybe garbage in place of the rest."""
        for path in root.rglob("*"):
            named = all(
                parent.name in self.names.get(parent.parent, ())
                for parent in (path, *path.parents)
                if root in parent.parents
            )
            if path.is_file() and named:
                data = path.read_bytes()
                durable = self.sizes.get(path.stat().st_ino, 0)
                rest = (filler * len(data))[: len(data) - durable] if filler else b""
                target = copy / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data[:durable] + rest)


@pytest.mark.parametrize("filler", [b"", b"\0", b'{"kind":"query"\n'], ids=["cut", "zeros", "garbage"])
def test_a_power_cut_takes_nothing_that_was_acknowledged(
    open_journal: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filler: bytes
):
    power = Disk(monkeypatch)
    journal = open_journal(segment_bytes=4096)
    acknowledged: list[str] = []
    for step in range(12):
        batch = entries(step * 10, 10, kind="query" if step % 3 else "score", text="x" * 40)
        journal.append([*batch, entry(uuid(0))])
        acknowledged += [event.event_id for event in batch]
        copy = tmp_path / f"copy-{step}"
        power.after_power_cut(tmp_path / "data", copy, filler)
        with Journal(copy, SystemClock(), JournalSettings()) as after:
            ids = served_ids(after)
            assert sorted(ids) == sorted(acknowledged)
            assert after.account().duplicate == step + 1
    journal.close()


def test_what_a_killed_process_left_unsynced_is_synced_before_a_retry_is_called_a_duplicate(
    open_journal: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    power = Disk(monkeypatch)
    first = open_journal()
    first.append([entry("a")])
    crash(first)
    with (tmp_path / "data" / SEGMENT).open("ab") as append:
        append.write(LINE)  # written whole, then killed before the sync
    again = open_journal()
    assert again.append([entry("torn")]) == ["duplicate"]
    power.after_power_cut(tmp_path / "data", tmp_path / "copy", b"")
    with Journal(tmp_path / "copy", SystemClock(), JournalSettings()) as after:
        assert served_ids(after) == ["a", "torn"]


def test_interval_mode_keeps_after_a_power_cut_all_that_readers_were_shown(
    open_journal: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    power = Disk(monkeypatch)
    journal = open_journal(durability="interval", sync_interval=60)
    journal.append(entries(0, 10))
    journal.sync()
    journal.append(entries(10, 10))
    shown = served_ids(journal)
    assert len(shown) == 10
    power.after_power_cut(tmp_path / "data", tmp_path / "copy", b"\0")
    with Journal(tmp_path / "copy", SystemClock(), JournalSettings()) as after:
        assert served_ids(after) == shown


HOLD = """
import sys
from pathlib import Path
from barograph_client.clock import SystemClock
from barograph.core.settings import JournalSettings
from barograph.journal.journal import Journal
journal = Journal(Path(sys.argv[1]), SystemClock(), JournalSettings())
print("open", flush=True)
sys.stdin.read()
"""


def test_a_directory_has_one_owner_and_the_error_names_it(open_journal: Open, tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(DirectoryLocked, match=f"in use by process {owner.pid}") as caught:
            open_journal()
        assert caught.value.pid == owner.pid
        assert "inside it" in caught.value.hint
        owner.kill()
        owner.wait()
    assert open_journal().unclean_start  # the lock died with its owner


def test_one_process_cannot_open_a_directory_twice(open_journal: Open):
    open_journal()
    with pytest.raises(DirectoryLocked, match="this process already") as caught:
        open_journal()
    assert caught.value.pid == os.getpid()


FORK = """
import os, sys
from pathlib import Path
from barograph_client.clock import SystemClock
from barograph_client.errors import JournalClosed
from barograph.core.settings import JournalSettings
from barograph.journal.entry import Entry
from barograph.journal.journal import Journal
journal = Journal(Path(sys.argv[1]), SystemClock(), JournalSettings())
journal.append([Entry("query", "parent", b'{"kind":"query","event_id":"parent"')])
child = os.fork()
if child == 0:
    try:
        journal.append([Entry("query", "child", b'{"kind":"query","event_id":"child"')])
    except JournalClosed as error:
        journal.close()
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
journal.append([Entry("query", "parent again", b'{"kind":"query","event_id":"parent again"')])
grandchild = os.fork()
if grandchild == 0:
    import time
    time.sleep(0.5)
    os._exit(0)
journal.close()
Journal(Path(sys.argv[1]), SystemClock(), JournalSettings()).close()
print("closed and opened while a child lives")
"""


def test_a_forked_child_writes_nothing_and_holds_no_lock(open_journal: Open, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path / "data")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["7", "closed and opened while a child lives"], done.stderr
    journal = open_journal()
    assert served_ids(journal) == ["parent", "parent again"]
    assert not journal.unclean_start


def test_the_lock_goes_with_the_close_even_if_a_child_has_a_copy_of_it(open_journal: Open):
    journal = open_journal()
    copy = os.dup(journal._owner._descriptor)  # what a child has between its fork and its first step
    journal.close()
    open_journal()
    os.close(copy)


def test_a_whole_last_line_is_never_cut_however_odd_its_text(open_journal: Open):
    odd = Entry("query", "odd", b'{"kind":"query","event_id":"odd","query":"lone \\ud800"')
    with open_journal() as journal:
        journal.append([entry("a"), odd])
    again = open_journal()
    assert again.recovered == []
    assert again.count() == 2
    assert again.append([entry("odd")]) == ["duplicate"]


def test_what_is_not_ours_in_the_folders_is_left_alone(open_journal: Open, tmp_path: Path):
    with open_journal() as journal:
        journal.append([entry("a")])
    day = tmp_path / "data/journal/query/2026-11-24"
    for stray in (day / "notes.txt", day / "1.jsonl", tmp_path / "data/journal/.DS_Store"):
        stray.write_text("mine")
    (tmp_path / "data/journal/query/2026-13-45").mkdir()
    (tmp_path / "data/journal/Not A Kind").mkdir()
    again = open_journal()
    assert [line["event_id"] for line in served(again)] == ["a"]
    assert (day / "notes.txt").read_text() == "mine"


def test_a_time_without_a_zone_written_by_hand_does_not_stop_the_start(open_journal: Open, tmp_path: Path):
    with open_journal() as journal:
        journal.append([entry("a"), entry("b", "score")])
    file = tmp_path / "data" / SEGMENT
    file.write_bytes(b'{"kind":"query","event_id":"by hand","received_at":"2026-11-24T09:00:01"}\n')
    again = open_journal()
    again.append([entry("c")])
    assert served_ids(again) == ["by hand", "c", "b"]
    assert again.append([entry("by hand")]) == ["duplicate"]
