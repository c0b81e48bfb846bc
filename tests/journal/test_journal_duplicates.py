"""A retry is the same event: it is stored once, whatever happens between the two."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_support import START, Open, crash, entries, entry, served_ids, uuid

from barograph.journal import duplicates, stream
from barograph.journal.duplicates import CAP, Block, DuplicateWindow, key_of
from barograph_client.clock import ManualClock
from barograph_client.errors import JournalError


def test_an_id_is_unique_over_batches_kinds_and_one_batch(open_journal: Open):
    journal = open_journal()
    assert journal.append([entry("a"), entry("a"), entry("b")]) == ["stored", "duplicate", "stored"]
    assert journal.append([entry("a", "score"), entry("b"), entry("c", "score")]) == [
        "duplicate",
        "duplicate",
        "stored",
    ]
    assert sorted(served_ids(journal)) == ["a", "b", "c"]


def test_duplicates_stand_in_a_file_and_in_the_account_but_barographs_own_do_not(open_journal: Open, tmp_path: Path):
    journal = open_journal()
    journal.append([entry("a"), entry("a", "score"), entry("i", internal=True)])
    assert journal.append([entry("i", internal=True)]) == ["duplicate"]
    account = journal.account()
    assert (account.received, account.stored, account.duplicate, account.internal) == (2, 1, 1, {"query": 1})
    lines = (tmp_path / "data/rejected/duplicates/2026-11-24.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"kind": "score", "event_id": "a", "received_at": "2026-11-24T09:00:00.000000Z"}
    ]


def test_a_duplicate_is_answered_only_when_the_first_is_durable(open_journal: Open, monkeypatch: pytest.MonkeyPatch):
    journal = open_journal()
    reached, go = threading.Event(), threading.Event()
    real = stream.sync_file

    def slow_sync(descriptor: int) -> None:
        reached.set()
        assert go.wait(10)
        real(descriptor)

    monkeypatch.setattr(stream, "sync_file", slow_sync)
    first = journal.submit([entry("a")])
    assert reached.wait(10)
    second = journal.submit([entry("a")])
    with pytest.raises(JournalError, match="no answer"):
        second.wait(0.05)
    go.set()
    assert (first.wait(10), second.wait(10)) == (["stored"], ["duplicate"])


def test_an_id_whose_write_failed_is_forgotten(open_journal: Open, monkeypatch: pytest.MonkeyPatch):
    journal = open_journal()
    with monkeypatch.context() as broken:

        def fail(descriptor: int) -> None:
            raise OSError(5, "Input/output error")

        broken.setattr(stream, "sync_file", fail)
        with pytest.raises(JournalError):
            journal.append([entry("a"), entry("a"), entry("b")])
    assert journal.append([entry("a"), entry("b")]) == ["stored", "stored"]
    assert journal.account().duplicate == 0


@pytest.mark.parametrize(
    "event_id",
    [
        uuid(7),
        "plain",
        'quote " and backslash \\',
        "ends in a backslash \\",
        "\\\\",
        "line\nfeed \x01",
        "Zürich 🌩",
        "",
        uuid(0xABC << 64).upper(),
        "0x" + uuid(7)[2:],
        " " + uuid(7)[1:],
        '","event_id":"x',
    ],
)
def test_every_id_is_known_again_after_a_restart(open_journal: Open, event_id: str):
    first = open_journal()
    assert first.append([entry("before"), entry(event_id, text='{"kind":"query","event_id":"not me"'), entry("after")])
    crash(first)
    again = open_journal()
    assert again.append([entry(event_id), entry("before"), entry("after")]) == ["duplicate"] * 3
    assert again.append([entry("not me"), entry(event_id + "!")]) == ["stored", "stored"]


def test_ids_come_back_from_all_streams_days_and_odd_lines(
    open_journal: Open, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(duplicates, "_CHUNK", 300)  # many looks at the files
    first = open_journal(segment_bytes=4096)
    for n in range(0, 200, 20):
        first.append(entries(n, 10))
        first.append(entries(n + 10, 10, kind="score"))
    first.append([entry("long", text="x" * 5000)])
    clock.advance(86400)
    first.append([entry("today")])
    first.compress_closed()
    first.close()
    file = tmp_path / "data/journal/query/2026-11-25/000001.jsonl"
    edited = '{ "received_at": "2026-11-25T09:00:00Z", "event_id" : "by hand", "kind": "query" }\nnot json\n'
    file.write_text(edited + file.read_text())
    again = open_journal()
    everything = [*entries(0, 200), entry("long"), entry("today"), entry("by hand")]
    assert again.append(everything) == ["duplicate"] * 203


def test_forms_of_one_uuid_are_different_ids_because_the_engine_tells_them_apart(open_journal: Open):
    journal = open_journal()
    lower = uuid(0xABCDEF)
    forms = [lower, lower.upper(), lower.replace("-", ""), f"{{{lower}}}"]
    assert journal.append([entry(form) for form in forms]) == ["stored"] * 4
    assert isinstance(key_of(lower), int)


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_ids_never_share_a_key(one: str, other: str):
    assert (key_of(one) == key_of(other)) == (one == other)


def fill(window: DuplicateWindow, first: int, count: int, seconds: float) -> None:
    keys = list(range(first, first + count))
    window.hold(keys)
    window.confirm(keys, START + timedelta(seconds=seconds))


def test_the_window_keeps_at_least_so_many_ids(monkeypatch: pytest.MonkeyPatch):
    window = DuplicateWindow(1000, 0)
    for n in range(100):
        fill(window, n * 37, 37, float(n * 100))
        newest = range(max(0, (n + 1) * 37 - 1000), (n + 1) * 37)
        assert all(key in window for key in newest)
    assert len(window) < 1400
    assert 0 not in window


def test_the_window_keeps_at_least_so_many_seconds_but_never_more_than_four_times_the_ids():
    window = DuplicateWindow(1000, 3600)
    for n in range(300):
        fill(window, n * 10, 10, float(n))
    assert len(window) == 3000
    fill(window, 3000, 5000, 301.0)  # one batch above the cap
    assert len(window) <= CAP * 1000
    assert all(key in window for key in range(7000, 8000))
    fill(window, 8000, 1, 10_000.0)
    assert len(window) <= 1000 + 251


def test_after_a_restart_the_window_holds_what_it_would_have_held(open_journal: Open, clock: ManualClock):
    first = open_journal()
    for n in range(0, 6000, 100):
        first.append(entries(n, 100))
        clock.advance(60)
    first.close()
    again = open_journal(duplicate_window=1000, duplicate_seconds=60)
    assert again.append(entries(5000, 1000)) == ["duplicate"] * 1000


def test_a_restart_does_not_read_more_ids_than_the_cap(open_journal: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duplicates, "_CHUNK", 10_000)
    first = open_journal()
    first.append(entries(0, 8000))
    first.close()
    again = open_journal(duplicate_window=1000, duplicate_seconds=3600)
    assert again.append([*entries(7000, 1000), *entries(0, 1)]) == ["duplicate"] * 1000 + ["stored"]


def test_old_ids_of_one_stream_do_not_end_the_restoring_before_the_new_ones_of_another():
    def at(seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    blocks = [
        Block(at(0), at(100), list(range(3000))),  # a stream that reaches far back, with the newest line of all
        Block(at(90), at(99), list(range(3000, 3450))),
        Block(at(90), at(98), list(range(3450, 3900))),
        Block(at(-100), at(-1), list(range(3900, 4000))),
        Block(at(-200), at(-150), list(range(4000, 9000))),
    ]
    window = DuplicateWindow(1000, 0)
    window.restore(blocks)
    assert all(key in window for key in range(3900))
    assert 8999 not in window
