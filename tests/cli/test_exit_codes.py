"""A script learns from the exit code what became of its command, and a person from one line on standard error."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.cli_support import barograph, command, environment, lines, several, shell

from barograph.cli import questions
from barograph.cli.main import GROUPS, app
from barograph.cli.options import Exit
from barograph.dashboard import pages

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def test_a_command_that_worked_ends_with_0(data: Path) -> None:
    finished = barograph("query", "queries", "-d", data)
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr


def test_what_a_command_looks_for_and_finds_ends_with_1(tmp_path: Path) -> None:
    failed = '{"query": "x", "response_time": 1.0, "status": "error", "error_type": "Timeout"}\n' * 100
    assert barograph("record", "-d", tmp_path, stdin=failed).returncode == 0
    status, doctor = several([["status", "-d", tmp_path], ["doctor", "-d", tmp_path]])
    assert status.returncode == Exit.FOUND, status
    assert "CRITICAL" in status.stdout
    assert doctor.returncode == 0, doctor
    (tmp_path / "barograph.toml").write_text("timezone = 5\n", encoding="utf-8")
    ill = barograph("doctor", "-d", tmp_path)
    assert ill.returncode == Exit.FOUND, ill.stderr
    assert "PROBLEM" in ill.stdout


def test_a_wrong_command_line_ends_with_2_and_says_how_it_goes() -> None:
    wrong = [
        [], ["nonsense"], ["query"], ["status", "--nonsense"], ["query", "cost", "--limit", "0"],
        ["show", "--width", "5"], ["report", "--hours", "nan"], ["sta"], ["status", "--js"],
    ]  # fmt: skip
    for finished in several(wrong):
        assert finished.returncode == Exit.USAGE, finished
        assert finished.stderr.startswith("Usage: barograph")
        assert "Traceback" not in finished.stderr
        assert not finished.stdout


def test_help_and_version_end_with_0() -> None:
    for finished in several([["--help"], ["query", "-h"], ["--version"]]):
        assert finished.returncode == 0, finished
        assert "barograph" in finished.stdout


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["metrics"], ["show", "--help"], ["status", "-d", "gone"]]
)
def test_what_needs_no_data_loads_neither_engine_nor_tables_nor_numpy(tmp_path: Path, words: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "heavy = {'chdb', 'clickhouse_connect', 'numpy', 'scipy', 'sqlalchemy', 'barograph.dashboard'}\n"
        "atexit.register(lambda: print(sorted(heavy & sys.modules.keys()), file=sys.stderr))\n"
        "from barograph.cli.main import main\n"
        "main()"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment(), check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert finished.returncode == (Exit.INPUT if "gone" in words else 0), finished.stderr
    assert finished.stderr.splitlines()[-1] == "[]"


def test_the_help_names_the_pages_there_are() -> None:
    assert tuple(spec.name for spec in pages.PAGES) == questions.PAGES


def test_refused_input_ends_with_3_and_a_hint(data: Path) -> None:
    refused = [
        ["query", "nonsense"], ["query", "cost", "--last", "99999999999d"], ["show", "--last", "9999999d"],
        ["query", "cost", "--from", "0001-01-01T00:00+14:00"], ["show", "--from", "0001-01-01"],
        ["prune", "--older-than", "9999999d"], ["record", "response_time=fast"], ["record", "nothing.jsonl"],
        ["show", "--format", "xml"], ["report", "--format", "xml"],
    ]  # fmt: skip
    for finished in several([[*words, "-d", data] for words in refused]):
        assert finished.returncode == Exit.INPUT, finished
        assert finished.stderr.startswith("barograph: ")
        assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["clickhouse://[::1", "clickhouse://host:99999"])
def test_an_address_that_is_none_ends_with_3(data: Path, address: str) -> None:
    finished = barograph("status", "-d", data, BAROGRAPH_ENGINE__ADDRESS=address)
    assert finished.returncode == Exit.INPUT, finished.stderr
    assert "engine.address" in finished.stderr


def test_a_place_where_no_directory_can_be_ends_with_3(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for finished in several([[word, "-d", tmp_path / "file" / "x"] for word in ("init", "demo", "record")]):
        assert finished.returncode == Exit.INPUT, finished


def test_a_directory_in_use_ends_with_4_and_no_demo_is_deleted_under_its_owner(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    directory.mkdir()
    (directory / ".barograph-demo").touch()
    with subprocess.Popen(
        command("record", "-d", directory), stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=environment(),
    ) as owner:  # fmt: skip
        assert owner.stdin is not None
        while not (directory / "control.db").exists():
            assert owner.poll() is None
        for finished in several([[*words, "-d", directory] for words in (["status"], ["demo", "--remove"], ["demo"])]):
            assert finished.returncode == Exit.LOCKED, finished.stderr
            assert f"process {owner.pid}" in finished.stderr
        said, _ = owner.communicate(lines(3))
        assert "stored 3" in said
        assert owner.returncode == 0
    assert barograph("demo", "--remove", "-d", directory).returncode == 0
    assert not directory.exists()


def test_events_that_could_not_be_made_durable_end_with_5_and_the_account_of_those_that_were(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(lines(20_000), encoding="utf-8")
    assert barograph("init", "-d", tmp_path / "data").returncode == 0
    finished = shell('ulimit -f 400; $B record -d "$1" "$2"', tmp_path / "data", events)
    assert finished.returncode == Exit.JOURNAL, finished.stderr
    assert "no space is left" in finished.stderr
    stored = int(re.findall(r"stored (\d+)", finished.stdout)[0])
    assert 0 < stored < 20_000
    again = barograph("status", "-d", tmp_path / "data")
    assert f"stored {stored} " in again.stdout


def test_a_directory_that_may_not_be_written_ends_with_5_and_a_way_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert barograph("record", "-d", data, stdin=lines(3)).returncode == 0
    if os.geteuid():
        (data / "lock").chmod(0o400)
    else:  # whom permissions do not stop: a file that the kernel lets nobody write
        (data / "lock").unlink()
        (data / "lock").symlink_to("/sys/kernel/notes")
    for finished in several([[*words, "-d", data] for words in (["show"], ["query", "queries"], ["status"])]):
        assert finished.returncode == Exit.JOURNAL, finished
        assert f"{data} cannot be used, because it may not be written" in finished.stderr
        assert f"cp -r {data} COPY" in finished.stderr
        assert len(finished.stderr.splitlines()) == 1


def test_an_engine_that_does_not_answer_ends_with_6_and_events_are_still_taken(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there, and nobody else can
        address = f"clickhouse://127.0.0.1:{held.getsockname()[1]}"
        taken = barograph("record", "-d", tmp_path / "data", stdin=lines(5), BAROGRAPH_ENGINE__ADDRESS=address)
        assert taken.returncode == 0, taken.stderr
        finished = barograph("query", "queries", "-d", tmp_path / "data", BAROGRAPH_ENGINE__ADDRESS=address)
    assert finished.returncode == Exit.ENGINE, finished.stderr
    assert "journaled is safe" in finished.stderr


def test_a_fault_ends_with_70_its_traceback_and_a_request_to_report_it() -> None:
    code = (
        "from barograph.cli.main import app, exit_codes, main\n"
        "@app.command()\n"
        "@exit_codes()\n"
        "def broken() -> None: raise ZeroDivisionError('on purpose')\n"
        "main()"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "broken"], capture_output=True, text=True, env=environment(), check=False
    )
    assert finished.returncode == Exit.FAILED
    assert "ZeroDivisionError: on purpose" in finished.stderr
    assert "please report it" in finished.stderr.splitlines()[-1]


def test_a_reader_who_has_seen_enough_is_no_error(data: Path) -> None:
    finished = shell('$B show --format json -d "$1" | head -1; echo "${PIPESTATUS[0]}"', data)
    assert finished.stdout.splitlines() == ["{", "0"]
    assert finished.stderr == ""


def test_every_command_and_every_exit_code_is_documented() -> None:
    names = [info.callback.__name__ for info in app.registered_commands if info.callback is not None]
    names += [f"{name} {verb}" for name, _, verbs in GROUPS for verb in verbs]
    assert len(names) >= 19
    for name in names:
        row = re.search(rf"^\| `barograph {name}` \|.*\| (0[^|]*) \|$", DOCUMENT, re.MULTILINE)
        assert row, name
        assert {int(code) for code in re.findall(r"\d+", row[1])} <= set(Exit)
    assert [int(code) for code in re.findall(r"^\| (\d+) \| ", DOCUMENT, re.MULTILINE)] == sorted(Exit)
