"""What is printed suits its reader: a terminal, a pipe, a program; nobody is steered by what events carry."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.cli_support import barograph, command, environment, lines, several, shell
from wcwidth import wcswidth

from barograph_client.clock import SystemClock

HOSTILE = "a\x9b2Jb\u202ec\x1b[31md"


def readable(descriptor: int) -> bool:
    """Whether something comes within a minute; descriptors above 1,023, which select refuses, are told as well."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(60_000))


def on_a_terminal(words: list[str], **variables: str) -> str:
    """What a command writes to a terminal that is both its standard output and its standard error."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment(**variables)
    ) as process:
        os.close(theirs)
        parts = []
        while readable(ours):
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
        assert process.wait(60) == 0
    os.close(ours)
    return b"".join(parts).decode()


def test_the_progress_bar_is_for_terminals_only(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(lines(3_000), encoding="utf-8")
    shown = on_a_terminal(command("record", "-d", tmp_path / "one", events))
    assert re.search(r"recording .* kB", shown)
    finished = barograph("record", "-d", tmp_path / "two", events)
    assert finished.stderr == ""
    assert finished.stdout == "received 3000 = stored 3000 + rejected 0 + duplicate 0\n"


def test_the_live_demo_fits_the_terminal_and_gives_it_back_on_ctrl_c(tmp_path: Path) -> None:
    rows, columns = 20, 70
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (rows, columns))
    seen = b""
    with subprocess.Popen(
        command("demo", "--live", "-d", tmp_path / "demo"), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=environment(),
    ) as process:  # fmt: skip
        os.close(theirs)
        while readable(ours):
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if seen.endswith(b"\x1b[J"):
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    os.close(ours)
    _, entered, rest = seen.decode().partition("\x1b[?1049h\x1b[?25l\x1b[H")
    frame, left, after = rest.partition("\x1b[?25h\x1b[?1049l")
    assert entered
    assert left
    assert "interrupted" in after
    drawn = frame.partition("\x1b[J")[0].split("\r\n")
    assert len(drawn) == rows
    assert "System Status" in drawn[0]
    assert re.search(r"^\d+ more lines; barograph show", drawn[-1])
    assert all(wcswidth(re.sub(r"\x1b\[[\d;]*[mK]", "", line)) <= columns for line in drawn)


def test_colours_are_for_terminals_and_no_color_is_obeyed() -> None:
    words = command("metrics")
    assert "\x1b[" in on_a_terminal(words)
    assert "\x1b[" not in on_a_terminal(words, NO_COLOR="1")
    assert "\x1b[" not in barograph("metrics").stdout


def test_in_the_c_locale_everything_drawn_is_ascii(data: Path) -> None:
    finished = shell('for c in show metrics; do LANG=C $B $c -d "$1"; done', data)
    assert "Response time" in finished.stdout, finished.stderr
    assert "response_time" in finished.stdout, finished.stderr
    assert finished.stdout.isascii()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hostile")
    event = {"query": HOSTILE, "response_time": 1.0, "model": HOSTILE, "event_id": "hostile"}
    assert barograph("record", "-d", directory, stdin=json.dumps(event)).returncode == 0
    return directory


def steers(text: str) -> list[str]:
    return [char for char in text if not char.isprintable() and char != "\n"]


def test_json_keeps_a_hostile_value_and_no_output_steers_the_terminal(hostile: Path) -> None:
    asked, shown, table, sheet, recorded = several([
        ["query", "queries", "--by", "model", "-d", hostile, "--json"],
        ["show", "queries", "-d", hostile, "--json"],
        ["query", "queries", "--by", "model", "-d", hostile],
        ["show", "queries", "--format", "csv", "-d", hostile],
        ["record", f"event_id={HOSTILE}", "query=x", "-d", hostile],
    ])  # fmt: skip
    assert json.loads(asked.stdout)["rows"][0]["group"]["model"] == HOSTILE
    assert "\\u009b2J" in shown.stdout
    assert json.loads(shown.stdout)
    for finished in (asked, shown, table, sheet, recorded):
        assert finished.returncode in (0, 3), finished
        assert "2Jb" in finished.stdout + finished.stderr or "u009b2J" in finished.stdout, finished
        assert not steers(finished.stdout + finished.stderr)


def test_a_table_says_its_time_once_and_with_the_year_where_it_is_not_this_one(data: Path) -> None:
    this_year = SystemClock().now().year
    short, long = several([
        ["query", "queries", "--by", "model", "--last", "1h", "-d", data],
        ["query", "queries", "--from", f"{this_year - 2}-03-01", "-d", data],
    ])  # fmt: skip
    title, columns, *_ = short.stdout.splitlines()
    assert title.startswith("Queries  ")
    assert " to " in title
    assert columns.split() == ["model", "value", "n"]
    assert f"{this_year - 2}-03-01 00:00 to {this_year}-" in long.stdout


def test_the_times_of_a_text_are_in_the_zone_of_the_settings(data: Path) -> None:
    finished = barograph(
        "query", "queries", "--from", "2025-01-01T00:00Z", "-d", data, BAROGRAPH_TIMEZONE="Asia/Kathmandu"
    )
    assert "2025-01-01 05:45 to" in finished.stdout
    assert "Asia/Kathmandu" in finished.stdout
    told = barograph("status", "-d", data, BAROGRAPH_TIMEZONE="Asia/Kathmandu")
    assert "UTC" not in told.stdout
    assert re.search(r"data complete to [\d-]+ [\d:]+ Asia/Kathmandu", told.stdout)
    assert (
        "Z"
        in json.loads(barograph("status", "-d", data, "--json", BAROGRAPH_TIMEZONE="Asia/Kathmandu").stdout)[
            "complete_to"
        ]
    )


def days(first: datetime, count: int) -> str:
    """A query every two hours for so many days."""
    moments = [first + timedelta(hours=2 * index) for index in range(12 * count)]
    return "".join(json.dumps({"query": "?", "time": moment.isoformat(), "cost": 0.5}) + "\n" for moment in moments)


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days, up to the beginning of the second of November 2025."""
    directory = tmp_path_factory.mktemp("weeks") / "data"
    assert barograph("record", "-d", directory, stdin=days(datetime(2025, 10, 23, tzinfo=UTC), 10)).returncode == 0
    return directory


def test_buckets_that_the_window_cuts_are_marked_and_the_earlier_period_is_drawn(weeks: Path) -> None:
    span = ["--from", "2025-10-29T12:00Z", "--to", "2025-11-02", "--every", "1d", "-d", weeks]
    chart, plain, document = several([
        ["query", "cost", *span, "--compare", "day", "--charset", "ascii"],
        ["query", "cost", *span, "--charset", "ascii"],
        ["query", "cost", *span, "--compare", "day", "--json"],
    ])  # fmt: skip
    assert "~ the first bucket is incomplete" in chart.stdout
    assert "- a day earlier" in chart.stdout
    assert "a day earlier" not in plain.stdout
    answer = json.loads(document.stdout)
    assert [row.get("partial", False) for row in answer["rows"]] == [True, False, False, False]
    assert [row["value"] for row in answer["before"]] == [3.0, 6.0, 6.0, 6.0]
    assert "notes" not in answer


def test_a_period_that_the_records_do_not_reach_back_over_is_no_change(weeks: Path) -> None:
    ends = ["--to", "2025-11-02", "--compare", "previous", "-d", weeks]
    whole, part, none, document = several([
        ["query", "cost", "--from", "2025-10-30", *ends],
        ["query", "cost", "--from", "2025-10-24T12:00", *ends],
        ["query", "cost", "--from", "2025-10-20", *ends],
        ["query", "cost", "--from", "2025-10-20", *ends, "--json"],
    ])  # fmt: skip
    assert whole.stdout.splitlines()[-1].split() == ["$18.00", "36", "$18.00", "0", "%"]
    assert part.stdout.splitlines()[-1].split() == ["$51.00", "102", "$9.00"]
    assert "The records begin inside the earlier period" in part.stderr
    assert none.stdout.splitlines()[-1].split() == ["$60.00", "120"]
    assert "There are no records of the earlier period to compare with." in none.stderr
    assert json.loads(document.stdout)["notes"] == ["There are no records of the earlier period to compare with."]
