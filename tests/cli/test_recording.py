"""Recording from a pipe: a pause keeps nothing back, and a signal loses nothing that was read."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.cli_support import barograph, command, environment, lines

SECONDS = 20.0


@contextmanager
def recording(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command("record", "-d", directory), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    ) as process:  # fmt: skip
        yield process


def write(process: subprocess.Popen[bytes], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.flush()


def wait_for(directory: Path, count: int) -> None:
    """Until so many lines are in the journal, as anybody can see."""
    until = time.monotonic() + SECONDS
    while (found := sum(path.read_bytes().count(b"\n") for path in directory.rglob("*.jsonl"))) < count:
        assert time.monotonic() < until, f"{found} of {count} lines"
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_pause_keeps_nothing_back_and_a_signal_ends_recording_with_the_account(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with recording(tmp_path) as process:
        write(process, lines(2_500))
        wait_for(tmp_path / "journal", 2_500)  # the writer is still there: no batch waits to be full
        write(process, lines(1, first=2_500) + '{"query": "cut off')
        wait_for(tmp_path / "journal", 2_501)
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == code
    assert out.decode() == "received 2501 = stored 2501 + rejected 0 + duplicate 0\n"
    told, kept = err.decode().splitlines()
    assert told.startswith("the last line had no end")
    assert kept.endswith("; what was acknowledged is kept")


def test_a_signal_in_the_middle_of_a_stream_loses_no_line_that_was_read(tmp_path: Path) -> None:
    """What is stored is a whole beginning of the stream: recording the same stream again adds the rest exactly."""
    events = tmp_path / "events.jsonl"
    events.write_text(lines(60_000), encoding="utf-8")
    data = tmp_path / "data"
    with subprocess.Popen(
        command("record", "-d", data, events), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        wait_for(data / "journal", 1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    stored = int(out.split()[4])
    assert 0 < stored < 60_000
    again = barograph("record", "-d", data, events)
    assert again.stdout == f"received 60000 = stored {60_000 - stored} + rejected 0 + duplicate {stored}\n"


def test_the_last_line_needs_no_line_feed_and_what_is_refused_is_told_and_ends_with_3(tmp_path: Path) -> None:
    finished = barograph("record", "-d", tmp_path, stdin='\n{"query": "a"}\r\nno json\n\n{"query": "b"}')
    assert finished.stdout == "received 3 = stored 2 + rejected 1 + duplicate 0\n"
    assert finished.stderr.startswith("event 2: ")
    assert finished.returncode == 3
