"""While a server owns the data directory, every command speaks to it: the same words, the same output and codes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.cli_support import barograph, several
from tests.support.serving import Serving

from barograph.cli import remote_desk
from barograph.cli.options import Exit
from barograph.cli.remote_desk import RemoteDesk
from barograph.journal.lock import Owner, server_of
from barograph_client.errors import ServerUnavailable

LINES = "\n".join(
    json.dumps({"query": f"question {i}", "response_time": 1 + i % 3, "model": f"m{i % 2}", "trace_id": f"t{i}"})
    for i in range(60)
)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("served") / "rag-data") as server:
        yield server
        assert server.stop() == 0, server.errors()


def test_commands_record_and_ask_through_the_server(serving: Serving) -> None:
    directory = serving.directory
    recorded = barograph("record", "-d", directory, "--json", stdin=f'{LINES}\n{{"response_time": "no"}}\n')
    assert recorded.returncode == Exit.INPUT, recorded.stderr
    assert json.loads(recorded.stdout) == {"received": 61, "stored": 60, "rejected": 1, "duplicate": 0}
    assert "event 61: response_time" in recorded.stderr

    one, feedback, note, status, overview, report, metric, by_model, verified, compressed, pruned, doctor = several([
        ["record", "-d", directory, "query=What is RAG?", "response_time=2.5", "user_id=42"],
        ["record", "-d", directory, "--kind", "feedback", "trace_id=t1", "rating=4"],
        ["annotate", "-d", directory, "a new prompt", "--category", "prompt"],
        ["status", "-d", directory, "--json"],
        ["show", "overview", "-d", directory, "--charset", "ascii", "--width", "80"],
        ["report", "-d", directory, "--hours", "1", "--json"],
        ["query", "queries", "-d", directory, "--last", "1h", "--json"],
        ["query", "response_time.mean", "-d", directory, "--by", "model", "--last", "1h"],
        ["verify", "-d", directory, "--json"],
        ["compress", "-d", directory, "--json"],
        ["prune", "-d", directory, "--older-than", "30d"],
        ["doctor", "-d", directory, "--json"],
    ])  # fmt: skip
    for finished in (one, feedback, note, status, overview, report, metric, by_model, verified, compressed, pruned):
        assert finished.returncode == 0, finished.stderr
    assert len(one.stdout.strip()) == 36
    told = json.loads(status.stdout)
    assert (told["account"]["received"], told["state"]) == (64, "healthy")
    assert max(map(len, overview.stdout.splitlines())) <= 80
    assert overview.stdout.isascii()
    assert "System Status: HEALTHY" in overview.stdout
    assert json.loads(report.stdout)
    assert json.loads(metric.stdout)["rows"][0]["value"] == 61
    assert "m0" in by_model.stdout
    assert "m1" in by_model.stdout
    assert json.loads(verified.stdout)["ok"] is True
    assert json.loads(compressed.stdout) == {"segments": 0}
    assert "No raw day is older" in pruned.stdout
    findings = json.loads(doctor.stdout)
    assert {"engine agrees with journal", "disk", "journal"} <= {one["about"] for one in findings}


def test_errors_come_back_as_what_they_are(serving: Serving) -> None:
    directory = serving.directory
    metric, page, event, elsewhere = several([
        ["query", "no_such_metric", "-d", directory],
        ["show", "nothing", "-d", directory],
        ["record", "-d", directory, "--kind", "feedback", "rating=9"],
        ["status", "-d", directory, "--project", "nowhere"],
    ])  # fmt: skip
    assert [one.returncode for one in (metric, page, event, elsewhere)] == [Exit.INPUT] * 4
    assert "no_such_metric" in metric.stderr
    assert "There are overview" in page.stderr
    assert "rating" in event.stderr
    assert "barograph project create" in elsewhere.stderr


def test_projects_are_seen_apart_through_the_server(serving: Serving) -> None:
    directory = serving.directory
    created, recorded, there, here = several([
        ["project", "create", "other", "-d", directory],
        ["record", "-d", directory, "--project", "other", "query=apart", "response_time=9"],
        ["query", "queries", "-d", directory, "--project", "other", "--json", "--last", "1h"],
        ["query", "response_time.p99", "-d", directory, "--json", "--last", "1h"],
    ])  # fmt: skip
    assert [one.returncode for one in (created, recorded, there, here)] == [0] * 4, recorded.stderr + there.stderr
    assert json.loads(there.stdout)["rows"][0]["value"] == 1
    assert json.loads(here.stdout)["rows"][0]["value"] < 9


def test_single_queries_are_listed_and_found_by_their_beginning_through_the_server(serving: Serving) -> None:
    directory = serving.directory
    slow = {"query": "the slow one", "response_time": 99, "trace_id": "abcdef0123456789abcdef0123456789"}
    assert barograph("record", "-d", directory, stdin=json.dumps(slow)).returncode == 0
    listed, told, traced, wrong = several([
        ["queries", "-d", directory, "--order", "response_time", "--limit", "1", "--width", "80"],
        ["queries", "-d", directory, "--where", "response_time:gte:90", "--json"],
        ["trace", "ABCDEF01", "-d", directory],
        ["queries", "-d", directory, "--where", "response_time"],
    ])  # fmt: skip
    assert [one.returncode for one in (listed, told, traced, wrong)] == [0, 0, 0, Exit.INPUT], listed.stderr
    assert "abcdef01  ok" in listed.stdout
    assert "the slow one" in listed.stdout
    assert "--limit" in listed.stdout
    (row,) = json.loads(told.stdout)["items"]
    assert (row["query"], row["trace_id"], row["response_time"]) == ("the slow one", slow["trace_id"], 99)
    assert "the slow one" in traced.stdout


def test_a_server_that_gives_no_answer_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (remote_desk.PATIENCE, remote_desk.CARE_PATIENCE) == (30, 3600)
    monkeypatch.setattr(remote_desk, "PATIENCE", 0.2)
    monkeypatch.setattr(remote_desk, "CARE_PATIENCE", 0.4)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with RemoteDesk(tmp_path, Owner(os.getpid(), "open", address, "token"), "") as desk:
            for ask, patience in ((desk.status, 0.2), (desk.verify, 0.4)):
                with pytest.raises(ServerUnavailable, match=f"process {os.getpid()}, gave no answer: {address}"):
                    ask()
                assert desk._transport.timeout == patience


def test_a_key_is_needed_by_others_and_not_by_the_command_line(serving: Serving) -> None:
    made = barograph("key", "create", "--scope", "ingest", "-d", serving.directory, "--json")
    assert made.returncode == 0, made.stderr
    assert serving.until(lambda: serving.ask("/api/v1/status").status == 401, 5)
    assert barograph("status", "-d", serving.directory).returncode == 0


def test_a_server_behind_a_path_of_a_proxy_is_found(tmp_path: Path) -> None:
    with Serving(tmp_path / "rag-data", "--root-path", "/barograph") as server:
        assert server.url.endswith("/barograph")
        assert barograph("status", "-d", server.directory).returncode == 0


def test_a_server_that_was_killed_is_not_asked(tmp_path: Path) -> None:
    with Serving(tmp_path / "rag-data") as server:
        assert server_of(server.directory) is not None
        assert (server.directory / "lock").stat().st_mode & 0o077 == 0  # it holds the command line's token
        server.stop(9)
        assert server_of(server.directory) is None
        assert barograph("status", "-d", server.directory).returncode == 0
