"""The account: received = stored + rejected + duplicate, recounted by anyone from the files, through any crash."""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import date
from pathlib import Path

import pytest
from journal_support import Open, crash, entries, entry

from barograph.journal.accounts import Account
from barograph.journal.entry import Rejection
from barograph.journal.journal import Journal
from barograph_client.clock import ManualClock
from barograph_client.limits import MAX_LINE


def recount(directory: Path) -> tuple[int, int, int]:
    """Stored, rejected and duplicate, as ``wc -l`` would count them."""

    def lines(pattern: str) -> int:
        return sum(path.read_bytes().count(b"\n") for path in directory.glob(pattern))

    return (
        lines("journal/*/*/[0-9][0-9][0-9][0-9][0-9][0-9].jsonl"),
        lines("rejected/*.jsonl"),
        lines("rejected/duplicates/*.jsonl"),
    )


def test_the_page_on_the_format_counts_right(open_journal: Open, tmp_path: Path):
    journal = open_journal()
    for n in range(3):
        work(journal, n * 10)
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
    counted = {}
    for line in page.split("## Counting")[1].split("```")[1].splitlines():
        command, _, what = line.partition("#")
        if command.startswith("cat "):
            done = subprocess.run(["sh", "-c", command], cwd=tmp_path / "data", capture_output=True, check=True)
            counted[what.strip()] = int(done.stdout)
    assert counted == {
        "stored, in plain segments": 15,
        "Barograph's own": 3,
        "rejected": 9,
        "duplicates": 6,
    }


def work(journal: Journal, first: int) -> None:
    journal.submit(
        [*entries(first, 5), *entries(first, 2), entry(f"own {first}", "metric", internal=True)],
        [Rejection("query", "cost", "must not be negative", b'{"cost": -1}')] * 3,
    ).wait()


def test_the_account_is_exact_and_agrees_with_the_files(open_journal: Open, tmp_path: Path, clock: ManualClock):
    journal = open_journal()
    assert journal.account() == Account(received=0, stored=0, rejected=0, duplicate=0, internal={}, set_aside=0)
    for n in range(4):
        work(journal, n * 10)
        expected = Account(
            received=10 * (n + 1),
            stored=5 * (n + 1),
            rejected=3 * (n + 1),
            duplicate=2 * (n + 1),
            internal={"metric": n + 1},
            set_aside=0,
        )
        assert journal.account() == expected
        assert recount(tmp_path / "data") == (expected.stored, expected.rejected, expected.duplicate)
        clock.advance(40_000)


@pytest.mark.parametrize("clean", [True, False], ids=["closed", "killed"])
def test_the_account_survives_a_restart(open_journal: Open, clean: bool, clock: ManualClock):
    journal = open_journal()
    for n in range(4):
        work(journal, n * 10)
        before = journal.account() if n % 2 else None  # counted early or late
        if clean:
            journal.close()
        else:
            crash(journal)
        journal = open_journal()
        assert before in (None, journal.account())
        clock.advance(40_000)
    work(journal, 100)
    account = journal.account()
    assert (account.received, account.stored, account.rejected, account.duplicate) == (50, 25, 15, 10)
    assert account.internal == {"metric": 5}


def test_what_was_rejected_is_kept_as_it_came(open_journal: Open, tmp_path: Path):
    journal = open_journal()
    originals: list[bytes | str] = [
        b'{"cost": -1}',
        "tab\tand \x1b[31m",
        b"\xff\xfe",
        "lone \ud800",
        "x" * (MAX_LINE + 5),
    ]
    journal.reject([Rejection("query", "co\ud800st", "bad", original) for original in originals])
    records = [json.loads(line) for line in (tmp_path / "data/rejected/2026-11-24.jsonl").read_bytes().splitlines()]
    assert [record["reason"] for record in records] == ["bad"] * 5
    assert {record["received_at"] for record in records} == {"2026-11-24T09:00:00.000000Z"}
    assert [record.get("original") for record in records[:2]] == ['{"cost": -1}', originals[1]]
    assert base64.b64decode(records[2]["original_base64"]) == b"\xff\xfe"
    assert base64.b64decode(records[3]["original_base64"]) == "lone \ud800".encode("utf-8", "surrogatepass")
    assert records[4]["original"] == "x" * MAX_LINE
    assert records[4]["original_bytes"] == str(MAX_LINE + 5)
    assert journal.account().rejected == 5


def test_a_line_that_was_set_aside_is_told_once_with_its_place_and_stays_where_it_is(
    open_journal: Open, tmp_path: Path
):
    journal = open_journal()
    journal.append([entry("a"), entry("b")])
    (segment,) = journal.snapshot().segments
    line = journal.read(segment, 0, 60)
    journal.set_aside(segment, 0, line, "the engine: number out of range")
    journal.set_aside(segment, 0, line, "the engine: number out of range")
    journal.set_aside(segment, 61, b"\xff\x00", "not UTF-8")
    crash(journal)
    again = open_journal()
    again.set_aside(segment, 0, line, "told again after a crash")
    assert [(record.segment, record.offset, record.reason) for record in again.set_aside_lines("query")] == [
        ("query/2026-11-24/000001", 0, "the engine: number out of range"),
        ("query/2026-11-24/000001", 61, "not UTF-8"),
    ]
    assert again.set_aside_lines("score") == []
    assert again.set_aside_lines("query", date(2026, 11, 25)) == []
    account = again.account()
    assert (account.received, account.stored, account.rejected, account.set_aside) == (2, 2, 0, 2)
    records = [
        json.loads(line) for line in (tmp_path / "data/rejected/set-aside/2026-11-24.jsonl").read_bytes().splitlines()
    ]
    assert records[0]["line"] == line.decode()
    assert base64.b64decode(records[1]["line_base64"]) == b"\xff\x00"
