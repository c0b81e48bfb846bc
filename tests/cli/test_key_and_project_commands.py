"""Keys and projects from the command line: shown once, made while a server runs, and every command takes a project."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from tests.cli.cli_support import barograph, lines, several

from barograph.cli import keys
from barograph.cli.options import Exit
from barograph.control.database import CONTROL, ControlPlane
from barograph.control.keys import SCOPES, KeyRepository
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.clock import SystemClock


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    assert barograph("init", "-d", tmp_path).returncode == 0
    return tmp_path


class TestKeys:
    def test_are_printed_once_alone_on_standard_output_and_open_the_project(self, empty: Path) -> None:
        made, listed, told = several([
            ["key", "create", "--scope", "ingest", "--name", "checkout", "-d", empty],
            ["key", "list", "-d", empty],
            ["key", "list", "--json", "-d", empty],
        ])  # fmt: skip
        text = made.stdout.strip()
        assert re.fullmatch(r"barograph_ingest_[0-9a-f]{12}_[0-9a-f]{64}", text)
        assert "shown this once" in made.stderr
        assert "may send events and read nothing" in made.stderr
        (key,) = json.loads(told.stdout)
        assert (key["name"], key["scope"], key["project"], key["valid"]) == ("checkout", "ingest", "default", True)
        secret = text.rpartition("_")[2]
        assert secret not in listed.stdout + told.stdout
        with ControlPlane(empty / CONTROL, SystemClock()) as plane:
            found = KeyRepository(plane).find(text)
        assert found is not None
        assert found.id == key["id"]

    def test_are_told_as_json_with_their_text_only_when_they_are_made(self, empty: Path) -> None:
        made, revoked = several([
            ["key", "create", "--scope", "read", "--expires", "90d", "--json", "-d", empty],
            ["key", "list", "--json", "-d", empty],
        ])  # fmt: skip
        key = json.loads(made.stdout)
        assert key["key"].startswith(f"barograph_read_{key['id']}_")
        assert key["expires_at"]
        assert "key" not in json.loads(revoked.stdout)[0]

    def test_open_nothing_once_they_are_revoked(self, empty: Path) -> None:
        key = json.loads(barograph("key", "create", "--scope", "admin", "--json", "-d", empty).stdout)
        revoked, again, listed = several([
            ["key", "revoke", key["id"], "-d", empty],
            ["key", "revoke", key["id"], "-d", empty],
            ["key", "list", "-d", empty],
        ])  # fmt: skip
        assert (revoked.returncode, again.returncode) == (0, 0)
        assert "revoked 20" in listed.stdout
        with ControlPlane(empty / CONTROL, SystemClock()) as plane:
            assert KeyRepository(plane).find(key["key"]) is None

    def test_say_with_the_first_that_everybody_needs_one_now(self, empty: Path) -> None:
        create = ["key", "create", "--scope", "ingest", "-d", str(empty)]
        first, second = several([[*create, "--json"], create])
        assert keys.FIRST in first.stderr
        assert json.loads(first.stdout)["key"]
        assert keys.FIRST not in second.stderr

    def test_are_revoked_by_their_whole_text_which_is_never_repeated(self, empty: Path) -> None:
        text = barograph("key", "create", "--scope", "admin", "-d", empty).stdout.strip()
        secret = text.rpartition("_")[2]
        unknown = f"barograph_admin_{'0' * 12}_{secret}"
        tried = several([["key", "revoke", one, "-d", empty] for one in (secret, text[:-2] + "!", unknown, text)])
        assert [one.returncode for one in tried] == [Exit.INPUT] * 3 + [0]
        assert not any(secret[:8] in one.stdout + one.stderr for one in tried)
        with ControlPlane(empty / CONTROL, SystemClock()) as plane:
            assert KeyRepository(plane).find(text) is None

    def test_that_cannot_be_made_or_found_are_refused_with_a_hint(self, empty: Path) -> None:
        wrong = [
            ["key", "create", "--scope", "root"], ["key", "create", "--scope", "read", "--expires", "soon"],
            ["key", "create", "--scope", "read", "--project", "gone"], ["key", "revoke", "gone"],
            ["key", "list", "--project", "gone"], ["key", "create", "--scope", "read", "--expires", "9999999999d"],
        ]  # fmt: skip
        for finished in several([[*words, "-d", empty] for words in wrong]):
            assert finished.returncode == Exit.INPUT, finished
            assert finished.stderr.startswith("barograph: ")
            assert len(finished.stderr.splitlines()) == 1
        assert json.loads(barograph("key", "list", "--json", "-d", empty).stdout) == []

    def test_of_nothing_are_told_where_to_begin(self, tmp_path: Path) -> None:
        for finished in several([
            ["key", "create", "--scope", "read", "-d", tmp_path / "gone"], ["project", "list", "-d", tmp_path / "gone"],
        ]):  # fmt: skip
            assert finished.returncode == Exit.INPUT
            assert "barograph init" in finished.stderr
        assert not (tmp_path / "gone").exists()

    def test_of_every_scope_are_explained(self) -> None:
        assert tuple(keys.MAY) == SCOPES

    def test_whose_names_are_hostile_cannot_steer_the_terminal(self, empty: Path) -> None:
        _, listed = several([
            ["key", "create", "--scope", "read", "--name", "\x1b[2J\x07", "-d", empty], ["key", "list", "-d", empty],
        ])  # fmt: skip
        assert not {"\x1b", "\x07"} & set(listed.stdout)
        assert "[2J" in listed.stdout

    def test_and_projects_are_made_while_another_process_has_the_directory(self, empty: Path) -> None:
        with DashboardInterface(empty, environment={}, background=False) as owner:
            made, keyed, record = several([
                ["project", "create", "shop", "-d", empty],
                ["key", "create", "--scope", "ingest", "--project", "shop", "-d", empty],
                ["record", "query=x", "-d", empty],
            ])  # fmt: skip
            assert (made.returncode, keyed.returncode) == (0, 0), (made.stderr, keyed.stderr)
            assert record.returncode == Exit.LOCKED
            found = KeyRepository(owner.parts.control).find(keyed.stdout.strip())
            assert found is not None
            assert found.project == "shop"
            assert owner.for_project("shop").account()["received"] == 0


class TestProjects:
    def test_are_made_and_listed(self, empty: Path) -> None:
        made, again, listed, told = several([
            ["project", "create", "shop", "-d", empty],
            ["project", "create", "shop", "-d", empty],
            ["project", "list", "-d", empty],
            ["project", "list", "--json", "-d", empty],
        ])  # fmt: skip
        assert "--project shop" in made.stdout
        assert (again.returncode, "exists already" in again.stderr) == (Exit.INPUT, True)
        assert "always there" in listed.stdout
        assert [(one["name"], one["own"]) for one in json.loads(told.stdout)] == [("default", True), ("shop", False)]

    def test_are_recorded_into_and_asked_apart(self, empty: Path) -> None:
        three = str(empty / "three.jsonl")
        Path(three).write_text(lines(3), encoding="utf-8")
        done = several([
            ["project", "create", "shop", "-d", empty],
            ["record", three, "--project", "shop", "-d", empty],
            ["record", three, "--project", "shop", "-d", empty],
            ["record", "query=Why?", "event_id=q0", "cost=7", "-d", empty],
            ["annotate", "deploy", "--project", "shop", "-d", empty],
            ["status", "--json", "--project", "shop", "-d", empty],
            ["status", "--json", "-d", empty],
            ["query", "queries", "--json", "--project", "shop", "-d", empty],
            ["query", "queries", "--json", "-d", empty],
            ["show", "cost", "--project", "shop", "-d", empty],
            ["report", "--project", "shop", "-d", empty],
            ["verify", "-d", empty],
        ])  # fmt: skip
        assert [one.returncode for one in done] == [0] * len(done), [one.stderr for one in done]
        assert done[1].stdout == "received 3 = stored 3 + rejected 0 + duplicate 0\n"
        assert done[2].stdout == "received 3 = stored 0 + rejected 0 + duplicate 3\n"
        shop, ours = json.loads(done[5].stdout)["account"], json.loads(done[6].stdout)["account"]
        assert (shop["stored"], shop["duplicate"], ours["stored"], ours["duplicate"]) == (4, 3, 1, 0)
        assert [json.loads(one.stdout)["rows"][0]["value"] for one in done[7:9]] == [3.0, 1.0]
        assert "$7" not in done[9].stdout
        assert "Project shop" in done[10].stdout

    def test_that_are_missing_are_told_with_the_way_out(self, empty: Path) -> None:
        words = [["record", "query=x"], ["annotate", "x"], ["status"], ["show"], ["report"], ["query", "queries"]]
        for finished in several([[*one, "--project", "gone", "-d", empty] for one in words]):
            assert finished.returncode == Exit.INPUT, finished
            assert "barograph project create gone" in finished.stderr

    def test_may_be_named_by_the_environment(self, empty: Path) -> None:
        assert barograph("record", "query=x", "-d", empty, BAROGRAPH_PROJECT="shop").returncode == 0
        asked = barograph("status", "--json", "-d", empty, BAROGRAPH_PROJECT="shop")
        assert json.loads(asked.stdout)["account"]["stored"] == 1
        assert json.loads(barograph("status", "--json", "-d", empty).stdout)["account"]["stored"] == 0


def test_a_group_alone_says_what_it_can_do() -> None:
    for finished in several([["key"], ["project"], ["key", "-h"], ["project", "create", "-h"]]):
        assert finished.returncode in (0, Exit.USAGE)
        assert "Usage: barograph" in finished.stdout + finished.stderr
    assert os.environ.get("BAROGRAPH_PROJECT") is None
