"""Appending: what is acknowledged is on disk, in order, once, in the file of its day."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from journal_support import Open, entries, entry, served, served_ids, uuid

from barograph.journal import stream, writer
from barograph.journal.entry import Entry, Receipt
from barograph_client.clock import ManualClock, SystemClock
from barograph_client.errors import InvalidInput, JournalClosed, JournalError


def test_an_acknowledged_event_is_a_line_of_json_in_the_file_of_its_kind_and_day(open_journal: Open, tmp_path: Path):
    journal = open_journal()
    assert journal.append([entry("a"), entry("b", "feedback"), entry("c", internal=True)]) == ["stored"] * 3
    files = {
        str(path.relative_to(tmp_path / "data")): json.loads(path.read_text())
        for path in (tmp_path / "data" / "journal").rglob("*.jsonl")
    }
    arrival = "2026-11-24T09:00:00.000000Z"
    assert files == {
        "journal/query/2026-11-24/000001.jsonl": {
            "kind": "query", "event_id": "a", "query": "", "received_at": arrival,
        },
        "journal/feedback/2026-11-24/000001.jsonl": {
            "kind": "feedback", "event_id": "b", "query": "", "received_at": arrival,
        },
        "journal/query/2026-11-24/000001-internal.jsonl": {
            "kind": "query", "event_id": "c", "query": "", "received_at": arrival,
        },
    }  # fmt: skip
    names = [(segment.name, segment.internal) for segment in journal.snapshot().segments]
    assert names == [
        ("feedback/2026-11-24/000001", False),
        ("query/2026-11-24/000001", False),
        ("query/2026-11-24/000001-internal", True),
    ]


def test_the_answer_comes_after_the_sync_and_readers_see_nothing_before_it(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal()
    reached, go = threading.Event(), threading.Event()
    real = stream.sync_file

    def slow_sync(descriptor: int) -> None:
        reached.set()
        assert go.wait(10)
        real(descriptor)

    monkeypatch.setattr(stream, "sync_file", slow_sync)
    receipt = journal.submit([entry("a")])
    assert reached.wait(10)
    assert not receipt.done()
    assert served_ids(journal) == []
    assert journal.count() == 0
    with pytest.raises(JournalError, match="no answer"):
        receipt.wait(timeout=0.01)
    go.set()
    assert receipt.wait(10) == ["stored"]
    assert served_ids(journal) == ["a"]


def test_all_that_waits_shares_one_sync_a_file(open_journal: Open, monkeypatch: pytest.MonkeyPatch):
    journal = open_journal()
    journal.append([entry("first")])
    syncs: list[int] = []
    reached, go = threading.Event(), threading.Event()
    real = stream.sync_file

    def counting_sync(descriptor: int) -> None:
        syncs.append(descriptor)
        reached.set()
        assert go.wait(10)
        real(descriptor)

    monkeypatch.setattr(stream, "sync_file", counting_sync)
    receipts = [journal.submit([entry("opens the commit")])]
    assert reached.wait(10)
    receipts += [journal.submit([entry(f"{n}")]) for n in range(100)]
    go.set()
    assert [receipt.wait(10) for receipt in receipts] == [["stored"]] * 101
    assert len(syncs) == 2
    assert served_ids(journal) == ["first", "opens the commit", *[f"{n}" for n in range(100)]]


def test_eight_threads_lose_and_double_nothing(open_journal: Open):
    journal = open_journal(clock=SystemClock(), segment_bytes=8192)
    outcomes: dict[int, list[str]] = {}

    def run(thread: int) -> None:
        got: list[str] = []
        for n in range(0, 200, 4):
            batch = entries(thread * 1000 + n, 4, kind="feedback" if n % 8 else "query")
            got += journal.append([*batch, entry(f"shared-{n}")])
        outcomes[thread] = got

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while any(thread.is_alive() for thread in threads):
        account = journal.account()
        assert account.received == account.stored + account.rejected + account.duplicate
        seen.append(len(served_ids(journal)))
        threads[0].join(0.02)
    for thread in threads:
        thread.join()
    assert seen == sorted(seen)
    ids = served_ids(journal)
    expected = {uuid(thread * 1000 + n) for thread in range(8) for n in range(200)} | {
        f"shared-{n}" for n in range(0, 200, 4)
    }
    assert len(ids) == len(set(ids))
    assert set(ids) == expected
    account = journal.account()
    assert (account.received, account.stored, account.duplicate) == (8 * 250, 1650, 350)
    assert sum(got.count("duplicate") for got in outcomes.values()) == 350


def test_arrival_never_goes_back_when_the_clock_does(open_journal: Open, clock: ManualClock):
    journal = open_journal()
    journal.append([entry("a")])
    clock.step(-3 * 86400)
    journal.append([entry("b")])
    journal.close()
    again = open_journal()
    again.append([entry("c")])
    assert [line["received_at"] for line in served(again)] == sorted(line["received_at"] for line in served(again))
    assert {segment.day.isoformat() for segment in again.snapshot().segments} == {"2026-11-24"}


def test_nothing_arrives_at_or_before_a_watermark_that_was_told(open_journal: Open, clock: ManualClock):
    journal = open_journal()
    journal.append([entry("before")])
    told = journal.snapshot().complete_to
    assert told == clock.now()
    journal.append([entry("same instant")])
    later = [line["received_at"] for line in served(journal) if line["event_id"] == "same instant"]
    assert datetime.fromisoformat(later[0]) > told
    assert journal.snapshot().complete_to >= datetime.fromisoformat(later[0])


def test_the_watermark_stands_still_while_a_commit_is_under_way(
    open_journal: Open, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal()
    journal.append([entry("a")])
    reached, go = threading.Event(), threading.Event()
    real = stream.sync_file

    def slow_sync(descriptor: int) -> None:
        reached.set()
        assert go.wait(10)
        real(descriptor)

    monkeypatch.setattr(stream, "sync_file", slow_sync)
    clock.advance(1)
    arrival = clock.now()
    receipt = journal.submit([entry("b")])
    assert reached.wait(10)
    clock.advance(60)
    assert journal.snapshot().complete_to < arrival
    go.set()
    receipt.wait(10)
    assert journal.snapshot().complete_to == clock.now()


def test_a_segment_is_closed_at_its_size_and_at_midnight(open_journal: Open, clock: ManualClock):
    journal = open_journal(segment_bytes=4096)
    for n in range(3):
        journal.append(entries(n * 100, 50))  # more than a segment each
    clock.advance(15 * 3600)
    journal.append([entry("next day")])
    names = [segment.name for segment in journal.snapshot().segments]
    assert names == [f"query/2026-11-24/{n:06d}" for n in (1, 2, 3)] + ["query/2026-11-25/000001"]
    assert journal.days("query") == [datetime(2026, 11, day, tzinfo=UTC).date() for day in (24, 25)]
    assert journal.kinds() == ["query"]


def test_a_restart_goes_on_in_the_last_segment_of_the_day(open_journal: Open):
    for n in range(3):
        with open_journal() as journal:
            assert not journal.unclean_start
            journal.append([entry(f"{n}")])
    again = open_journal()
    assert [segment.name for segment in again.snapshot().segments] == ["query/2026-11-24/000001"]
    assert served_ids(again) == ["0", "1", "2"]


def test_a_full_segment_is_not_continued_after_a_restart(open_journal: Open):
    with open_journal(segment_bytes=4096) as journal:
        journal.append(entries(0, 100))
    again = open_journal(segment_bytes=4096)
    again.append([entry("more")])
    assert [segment.number for segment in again.snapshot().segments] == [1, 2]


def test_interval_mode_answers_after_the_write_and_shows_only_what_is_synced(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
):
    journal = open_journal(durability="interval", sync_interval=60, segment_bytes=4096)
    assert journal.append([entry("a")]) == ["stored"]
    assert journal.append([entry("a")]) == ["duplicate"]
    journal.append(entries(0, 100))  # fills the segment: it is left before it is synced
    journal.append([entry("b")])
    shown = journal.snapshot()
    assert sum(segment.size for segment in shown.segments) == 0
    journal.sync()
    assert len(served_ids(journal)) == 102
    assert journal.snapshot().complete_to > shown.complete_to
    assert [segment.number for segment in journal.snapshot().segments] == [1, 2]


def test_interval_mode_syncs_by_itself(open_journal: Open):
    journal = open_journal(durability="interval", sync_interval=0.01, clock=SystemClock())
    deadline = threading.Event()
    journal.append([entry("a")])
    for _ in range(1000):
        if served_ids(journal) == ["a"]:
            break
        deadline.wait(0.01)
    assert served_ids(journal) == ["a"]


def test_submit_blocks_while_too_much_waits_and_goes_on_afterwards(open_journal: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "WAITING_BYTES", 10_000)
    journal = open_journal()
    reached, go = threading.Event(), threading.Event()
    real = stream.sync_file

    def slow_sync(descriptor: int) -> None:
        reached.set()
        assert go.wait(10)
        real(descriptor)

    monkeypatch.setattr(stream, "sync_file", slow_sync)
    first = journal.submit([entry("large", text="x" * 9000)])
    assert reached.wait(10)
    receipts: list[Receipt] = []
    blocked = threading.Thread(target=lambda: receipts.append(journal.submit([entry("too much", text="x" * 9000)])))
    blocked.start()
    blocked.join(0.1)
    assert blocked.is_alive()
    go.set()
    blocked.join(10)
    assert first.wait(10) == ["stored"]
    assert receipts[0].wait(10) == ["stored"]


def test_closing_waits_for_what_was_submitted_and_refuses_what_comes_later(open_journal: Open):
    journal = open_journal()
    receipts = [journal.submit([entry(f"{n}")]) for n in range(500)]
    journal.close()
    assert all(receipt.done() and receipt.wait() == ["stored"] for receipt in receipts)
    with pytest.raises(JournalClosed, match="closed"):
        journal.append([entry("late")])
    journal.close()


def test_a_callback_runs_once_and_its_fault_harms_nobody(open_journal: Open, monkeypatch: pytest.MonkeyPatch):
    faults: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: faults.append(str(args.exc_value)))
    journal = open_journal()
    called: list[list[str]] = []
    ready = threading.Event()

    def bad(receipt: Receipt) -> None:
        raise ValueError("a fault of the caller's")

    def good(receipt: Receipt) -> None:
        called.append(list(receipt.wait()))
        ready.set()

    receipt = journal.submit([entry("a")])
    receipt.add_done_callback(bad)
    receipt.add_done_callback(good)
    assert ready.wait(10)
    receipt.add_done_callback(good)  # at once, since the answer is there
    assert called == [["stored"], ["stored"]]
    assert journal.append([entry("b")]) == ["stored"]
    assert faults in ([], ["a fault of the caller's"])  # empty when the answer was there before the callback


@pytest.mark.parametrize(
    "bad", [Entry("query", "a", b'{"a":1\n'), Entry("../x", "a", b'{"a":1'), Entry("", "a", b'{"a":1')]
)
def test_what_would_break_the_files_is_refused(open_journal: Open, bad: Entry):
    journal = open_journal()
    with pytest.raises(InvalidInput):
        journal.submit([bad])
    assert journal.account().received == 0


def test_an_empty_batch_is_answered(open_journal: Open):
    assert open_journal().append([]) == []
