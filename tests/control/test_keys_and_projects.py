"""Keys are shown once, kept as a hash, and open one project for one purpose; projects have names that are safe."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import event
from tests.support.start import START

from barograph.collect.redact import Redact
from barograph.control.audit import AuditLog
from barograph.control.database import ControlPlane
from barograph.control.keys import SCOPES, USED_EVERY, Key, KeyRepository
from barograph.control.projects import NAME_LENGTH, Project, ProjectRepository
from barograph_client.clock import ManualClock
from barograph_client.errors import ControlError, InvalidInput


def counting() -> object:
    """Random bytes that are none: 1, 2, 3, … repeated to the length."""
    numbers = itertools.count(1)
    return lambda length: bytes([next(numbers) % 256]) * length


class TestKeys:
    def test_are_found_by_their_text_and_by_no_other(self, plane: ControlPlane) -> None:
        keys = KeyRepository(plane)
        made = [keys.create(scope=scope, name=scope, actor="ann") for scope in SCOPES]
        for key, text in made:
            found = keys.find(text)
            assert found is not None
            assert structs.replace(found, last_used_at=None) == key
            digit = "1" if text[-1] == "0" else "0"
            assert keys.find(text[:-1] + digit) is None
            assert keys.find(f"{text} ") is None
            assert keys.find(f"{text}\n") is None
        (_, one), (other, _), _ = made
        assert keys.find(f"barograph_ingest_{other.id}_{one.rpartition('_')[2]}") is None
        assert keys.find(one.replace("_ingest_", "_admin_")) is None

    @pytest.mark.parametrize("text", ["", "barograph", "barograph_read_", "x" * 10**6, "ключ", "\ud800", "a\x00b"])
    def test_that_are_no_key_at_all_open_nothing(self, plane: ControlPlane, text: str) -> None:
        assert KeyRepository(plane).find(text) is None

    def test_are_kept_as_a_hash_only(self, plane: ControlPlane, tmp_path: Path) -> None:
        _, text = KeyRepository(plane).create(scope="read", name="grafana", actor="ann")
        plane.close()
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"grafana" in kept
        assert text.rpartition("_")[2].encode() not in kept

    def test_have_256_bits_from_the_source_they_are_given(self, plane: ControlPlane) -> None:
        key, text = KeyRepository(plane, counting()).create(scope="ingest", name="", actor="ann")  # type: ignore[arg-type]
        assert key.id == "01" * 6
        assert text == f"barograph_ingest_{'01' * 6}_{'02' * 32}"

    def test_whose_id_is_taken_get_another(self, plane: ControlPlane) -> None:
        def bytes_of(numbers: list[int]) -> object:
            return lambda length: bytes([numbers.pop(0)]) * length

        first, _ = KeyRepository(plane, bytes_of([7, 1])).create(scope="read", actor="a")  # type: ignore[arg-type]
        second, _ = KeyRepository(plane, bytes_of([7, 8, 1])).create(scope="read", actor="a")  # type: ignore[arg-type]
        assert (first.id, second.id) == ("07" * 6, "08" * 6)

    @pytest.mark.parametrize(
        ("scope", "allowed"),
        [("ingest", ["ingest"]), ("read", ["read"]), ("admin", ["ingest", "read", "admin"])],
    )
    def test_allow_what_their_scope_says_and_no_more(self, plane: ControlPlane, scope: str, allowed: list[str]) -> None:
        key, _ = KeyRepository(plane).create(scope=scope, actor="ann")  # type: ignore[arg-type]
        assert [one for one in SCOPES if key.allows(one)] == allowed

    def test_that_are_revoked_open_nothing_from_then_on(self, plane: ControlPlane, clock: ManualClock) -> None:
        keys = KeyRepository(plane)
        (key, text), (_, other) = keys.create(scope="read", actor="a"), keys.create(scope="read", actor="a")
        assert keys.find(text)
        clock.advance(5)
        assert keys.revoke(key.id, "bob").revoked_at == clock.now()
        clock.advance(5)
        assert keys.revoke(key.id, "eve").revoked_at == clock.now() - timedelta(seconds=5)
        assert keys.find(text) is None
        assert keys.find(other)

    def test_that_nobody_made_cannot_be_revoked(self, plane: ControlPlane) -> None:
        with pytest.raises(InvalidInput, match=r"no such key.*key list"):
            KeyRepository(plane).revoke("nothing", "ann")

    def test_of_another_project_cannot_be_revoked_from_within_one(self, plane: ControlPlane) -> None:
        keys = KeyRepository(plane)
        key, text = keys.create(project="shop", scope="admin", actor="ann")
        with pytest.raises(InvalidInput, match="no such key"):
            keys.revoke(key.id, "eve", project="other")
        assert keys.find(text)
        assert keys.revoke(key.id, "ann", project="shop").revoked_at

    def test_that_expire_open_until_then(self, plane: ControlPlane, clock: ManualClock) -> None:
        keys = KeyRepository(plane)
        _, text = keys.create(scope="read", actor="ann", expires_at=START + timedelta(days=1))
        clock.advance(86_399)
        assert keys.find(text)
        clock.advance(1)
        assert keys.find(text) is None
        with pytest.raises(InvalidInput, match="expired already"):
            keys.create(scope="read", actor="ann", expires_at=clock.now())

    def test_of_an_unknown_scope_or_a_name_without_bounds_are_refused(self, plane: ControlPlane) -> None:
        keys = KeyRepository(plane)
        with pytest.raises(InvalidInput, match="no such scope"):
            keys.create(scope="root", actor="ann")  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="at most 128"):
            keys.create(scope="read", name="x" * 129, actor="ann")
        assert not keys.any()

    def test_are_listed_by_project_oldest_first(self, plane: ControlPlane, clock: ManualClock) -> None:
        keys = KeyRepository(plane)
        made: list[Key] = []
        for project in ("default", "shop", "default"):
            made.append(keys.create(project=project, scope="read", actor="ann")[0])
            clock.advance(1)
        keys.revoke(made[0].id, "ann")
        assert [key.id for key in keys.list()] == [key.id for key in made]
        assert [key.id for key in keys.list("default")] == [made[0].id, made[2].id]
        assert keys.list("nothing") == []

    def test_that_were_all_revoked_do_not_open_a_server_to_everybody(self, plane: ControlPlane) -> None:
        keys = KeyRepository(plane)
        assert not keys.any()
        keys.revoke(keys.create(scope="read", actor="ann")[0].id, "ann")
        assert keys.any()

    def test_cost_at_most_one_write_a_minute(self, plane: ControlPlane, clock: ManualClock) -> None:
        keys = KeyRepository(plane)
        key, text = keys.create(scope="read", actor="ann")
        writes: list[str] = []
        event.listen(
            plane._engine, "before_cursor_execute",
            lambda *call: writes.append(call[2]) if call[2].startswith("UPDATE") else None,
        )  # fmt: skip
        for _ in range(30):
            assert keys.find(text)
            clock.advance(2)
        assert len(writes) == 1
        assert [one.last_used_at for one in keys.list()] == [START]
        assert keys.find(text)
        assert len(writes) == 2
        assert [one.last_used_at for one in keys.list()] == [START + USED_EVERY]
        assert key.last_used_at is None

    def test_open_also_when_their_use_cannot_be_noted(
        self, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = KeyRepository(plane)
        _, text = keys.create(scope="read", actor="ann")

        def full() -> None:
            raise ControlError("the disk is full")

        monkeypatch.setattr(plane, "writing", full)
        assert keys.find(text)

    def test_leave_an_audit_entry_that_does_not_tell_them(self, plane: ControlPlane) -> None:
        keys = KeyRepository(plane)
        key, text = keys.create(project="shop", scope="ingest", name="till", actor="ann")
        keys.revoke(key.id, "bob")
        keys.revoke(key.id, "bob")
        entries = AuditLog(plane).list("shop", f"key:{key.id}")
        assert [(entry.actor, entry.action) for entry in entries] == [("bob", "revoke"), ("ann", "create")]
        assert entries[1].detail == {"scope": "ingest", "name": "till", "expires_at": None}
        assert text not in str(entries)

    def test_in_a_text_are_redacted(self, plane: ControlPlane) -> None:
        _, text = KeyRepository(plane).create(scope="ingest", actor="ann")
        assert Redact(("key",)).text(f"I set BAROGRAPH_KEY={text}, and?") == "I set BAROGRAPH_KEY=[key], and?"
        assert Redact(("key",)).text("see barograph_read_the_manual_page_12") == "see barograph_read_the_manual_page_12"


class TestProjects:
    def test_that_always_exist_are_default_and_the_settings_own(self, plane: ControlPlane) -> None:
        projects = ProjectRepository(plane, "Our Shop")
        assert [project.name for project in projects.list()] == ["default", "Our Shop"]
        assert projects.exists("default")
        assert projects.exists("Our Shop")
        assert not ProjectRepository(plane).exists("Our Shop")

    def test_exist_once_they_are_created(self, plane: ControlPlane) -> None:
        projects = ProjectRepository(plane)
        assert projects.create("shop", actor="ann") == Project(name="shop", created_at=START, created_by="ann")
        assert projects.exists("shop")
        projects.require("shop")
        assert [project.name for project in projects.list()] == ["default", "shop"]
        assert [project.name for project in ProjectRepository(plane, "shop").list()] == ["default", "shop"]
        assert [(entry.actor, entry.action) for entry in AuditLog(plane).list("shop")] == [("ann", "create")]

    @pytest.mark.parametrize("taken", ["default", "own", "shop"])
    def test_of_a_name_that_is_taken_are_refused(self, plane: ControlPlane, taken: str) -> None:
        projects = ProjectRepository(plane, "own")
        projects.create("shop", actor="ann")
        with pytest.raises(InvalidInput, match="exists already"):
            projects.create(taken, actor="ann")

    @pytest.mark.parametrize("name", ["a", "7", "shop-eu", "v1.2_b", "x" * NAME_LENGTH])
    def test_may_be_called_what_is_safe_in_a_url_and_a_header(self, plane: ControlPlane, name: str) -> None:
        ProjectRepository(plane).create(name, actor="ann")
        assert re.fullmatch(r"[!-~]+", name)

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "-x", "Shop", "a b", "a/b", "a\n", "a%", "é", "a\r\nX: y", "a:b", "x" * (NAME_LENGTH + 1)],
    )
    def test_may_not_be_called_anything_else(self, plane: ControlPlane, name: str) -> None:
        projects = ProjectRepository(plane)
        with pytest.raises(InvalidInput, match="lower-case letters"):
            projects.create(name, actor="ann")
        with pytest.raises(InvalidInput, match="no such project"):
            projects.require(name)
        assert len(projects.list()) == 1

    def test_that_are_missing_are_told_with_the_way_out(self, plane: ControlPlane) -> None:
        with pytest.raises(InvalidInput, match="barograph project create shop"):
            ProjectRepository(plane).require("shop")


class TestTwoProcesses:
    def test_make_keys_and_projects_in_one_file_at_the_same_time(self, tmp_path: Path, clock: ManualClock) -> None:
        program = (
            "import sys\n"
            "from barograph.control.database import ControlPlane\n"
            "from barograph.control.keys import KeyRepository\n"
            "from barograph.control.projects import ProjectRepository\n"
            "from barograph_client.clock import SystemClock\n"
            "for number in range(20):\n"
            "    with ControlPlane(sys.argv[1], SystemClock()) as plane:\n"  # as the command line: open, do, close
            "        ProjectRepository(plane).create(f'theirs{number}', actor='they')\n"
            "        key, text = KeyRepository(plane).create(scope='ingest', project=f'theirs{number}', actor='they')\n"
            "        print(text, flush=True)\n"
        )
        found: list[str | None] = []
        with ControlPlane(tmp_path / "control.db", clock) as plane:
            keys, projects = KeyRepository(plane), ProjectRepository(plane)
            other = subprocess.Popen(
                [sys.executable, "-c", program, str(tmp_path / "control.db")], stdout=subprocess.PIPE, text=True
            )
            assert other.stdout is not None

            def make() -> None:
                for number in range(20):
                    projects.create(f"ours{number}", actor="we")
                    keys.create(scope="read", project=f"ours{number}", actor="we")

            worker = threading.Thread(target=make)
            worker.start()
            for line in other.stdout:  # each works in the other process as soon as it was shown
                key = keys.find(line.strip())
                found.append(key.project if key is not None else None)
                if key is not None:
                    keys.revoke(key.id, "we")
            worker.join()
            assert other.wait(30) == 0
            other.stdout.close()
            assert found == [f"theirs{number}" for number in range(20)]
            assert len(keys.list()) == 40
            assert len(projects.list()) == 41
            assert sum(key.revoked_at is not None for key in keys.list()) == 20
