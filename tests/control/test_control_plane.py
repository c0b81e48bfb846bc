"""The control plane keeps what people decide: whole transactions, one schema, no lost update, no leaked connection."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import inspect, select, text
from tests.support.start import START

from barograph.control import tables
from barograph.control.alert_states import AlertState, AlertStateRepository
from barograph.control.audit import AuditLog
from barograph.control.database import ControlPlane
from barograph.control.experiments import ExperimentRepository
from barograph_client.clock import ManualClock
from barograph_client.errors import ChangedMeanwhile, ControlError, InvalidExperiment


def firing(rule: str = "slow", fingerprint: str = "ab12", **changed: object) -> AlertState:
    state = AlertState(
        project="default", rule=rule, fingerprint=fingerprint, labels={"model": "gpt"}, state="firing",
        active_at=START, fired_at=START + timedelta(minutes=5), value=7.25, updated_at=START,
    )  # fmt: skip
    return structs.replace(state, **changed)


class TestTheDatabase:
    def test_is_a_file_for_the_owner_alone(self, plane: ControlPlane, tmp_path: Path) -> None:
        assert stat.S_IMODE((tmp_path / "control.db").stat().st_mode) == 0o600

    def test_migrations_make_exactly_the_tables_that_are_described(self, plane: ControlPlane) -> None:
        assert plane.table_names() == sorted(tables.metadata.tables)
        with plane.reading() as connection:
            for name, table in tables.metadata.tables.items():
                columns = {column["name"]: column["nullable"] for column in inspect(connection).get_columns(name)}
                assert columns == {column.name: column.nullable for column in table.columns}
                keys = inspect(connection).get_pk_constraint(name)["constrained_columns"]
                assert keys == [column.name for column in table.primary_key.columns]

    def test_migrations_are_numbered_without_gaps(self) -> None:
        assert [migration.version for migration in tables.MIGRATIONS] == list(range(1, len(tables.MIGRATIONS) + 1))

    def test_opens_again_with_what_it_held(self, tmp_path: Path, clock: ManualClock) -> None:
        for _ in range(2):
            with ControlPlane(tmp_path / "control.db", clock) as plane:
                assert plane.schema() == tables.MIGRATIONS[-1].version
                AlertStateRepository(plane).save([firing()])
                assert AlertStateRepository(plane).load("default") == [firing()]

    def test_experiments_that_kept_the_sum_of_their_pauses_have_these_by_the_audit_log(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        with ControlPlane(tmp_path / "control.db", clock) as plane:
            repository = ExperimentRepository(plane)
            summed = {"key": "chunks", "paused_at": None, "paused_seconds": 7200.0}
            record = repository.create("default", "chunks", summed, "draft", actor="ann")
            for action in ("start", "pause", "start", "revise", "pause", "stop"):  # an hour apart
                clock.advance(3600)
                record = repository.save(record, actor="ann", action=action)
            repository.create("default", "later", {"key": "later", "pauses": []}, "draft", actor="ann")
            with plane.writing() as connection:
                connection.execute(tables.schema_version.delete().where(tables.schema_version.c.version >= 12))
        with ControlPlane(tmp_path / "control.db", clock) as plane:
            chunks, later = (one.definition for one in ExperimentRepository(plane).list("default"))
        hours = [
            (START + timedelta(hours=n)).isoformat(timespec="microseconds").replace("+00:00", "Z") for n in range(7)
        ]
        pauses = [{"start": hours[2], "end": hours[3]}, {"start": hours[5], "end": hours[6]}]
        assert chunks == {"key": "chunks", "paused_at": None, "pauses": pauses}
        assert later == {"key": "later", "pauses": []}

    def test_of_a_newer_version_is_refused_with_a_hint(self, tmp_path: Path, clock: ManualClock) -> None:
        with ControlPlane(tmp_path / "control.db", clock) as plane, plane.writing() as connection:
            connection.execute(tables.schema_version.insert().values(version=99, name="later", applied_at=START))
        with pytest.raises(ControlError, match=r"schema 99.*newer"):
            ControlPlane(tmp_path / "control.db", clock)

    def test_that_is_no_database_is_named_in_the_error(self, tmp_path: Path, clock: ManualClock) -> None:
        (tmp_path / "control.db").write_bytes(b"not a database, but long enough to look at" * 100)
        with pytest.raises(ControlError, match="not a database"):
            ControlPlane(tmp_path / "control.db", clock)

    def test_in_a_folder_that_is_missing_says_so(self, tmp_path: Path, clock: ManualClock) -> None:
        with pytest.raises(ControlError, match="cannot be opened"):
            ControlPlane(tmp_path / "nowhere" / "control.db", clock)

    @pytest.mark.parametrize("address", ["://", "mysql://host/name", "no such thing://x"])
    def test_of_another_make_is_refused(self, address: str, clock: ManualClock) -> None:
        with pytest.raises(ControlError):
            ControlPlane(address, clock)

    def test_without_its_driver_names_what_to_install(self, clock: ManualClock) -> None:
        with pytest.raises(ControlError, match="Install psycopg"):
            ControlPlane("postgresql+pg8000://host/name", clock)

    def test_keeps_a_transaction_whole_or_not_at_all(self, plane: ControlPlane) -> None:
        def half_way() -> None:
            with plane.writing() as connection:
                connection.execute(text("DELETE FROM schema_version"))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            half_way()
        assert plane.schema() == tables.MIGRATIONS[-1].version

    def test_survives_the_death_of_its_process_with_what_was_committed(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        program = (
            "import os, signal, sys\n"
            "from barograph.control.database import ControlPlane\n"
            "from barograph.control.experiments import ExperimentRepository\n"
            "from barograph_client.clock import SystemClock\n"
            "plane = ControlPlane(sys.argv[1], SystemClock())\n"
            "ExperimentRepository(plane).create('default', 'kept', {}, 'draft', actor='a')\n"
            "with plane.writing() as connection:\n"
            "    connection.exec_driver_sql('DELETE FROM experiments')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "control.db")], check=False)
        assert done.returncode == -9
        with ControlPlane(tmp_path / "control.db", clock) as plane:
            assert ExperimentRepository(plane).get("default", "kept") is not None

    def test_refuses_work_once_closed_and_closes_twice(self, tmp_path: Path, clock: ManualClock) -> None:
        plane = ControlPlane(tmp_path / "control.db", clock)
        plane.close()
        plane.close()
        with pytest.raises(ControlError, match="closed"):
            plane.schema()

    def test_times_are_kept_to_the_microsecond_and_readable(self, plane: ControlPlane, tmp_path: Path) -> None:
        AlertStateRepository(plane).save([firing()])
        connection = sqlite3.connect(tmp_path / "control.db")
        try:
            kept = connection.execute("SELECT active_at FROM alert_states").fetchone()
        finally:
            connection.close()
        assert kept == ("2026-11-28T09:00:00.123456Z",)


class TestAlertStates:
    def test_come_back_as_they_were_saved(self, plane: ControlPlane) -> None:
        states = [firing("a", "1"), firing("a", "2", active_at=None, fired_at=None, value=None), firing("b", "1")]
        AlertStateRepository(plane).save(reversed(states))
        assert AlertStateRepository(plane).load("default") == states

    def test_replace_what_was_kept_for_the_same_alert_alone(self, plane: ControlPlane) -> None:
        repository = AlertStateRepository(plane)
        repository.save([firing("a"), firing("b")])
        repository.save([firing("b", state="pending"), firing("b", state="inactive", labels={})])
        assert [(state.rule, state.state, state.labels) for state in repository.load("default")] == [
            ("a", "firing", {"model": "gpt"}), ("b", "inactive", {}),
        ]  # fmt: skip

    def test_of_another_project_are_not_seen(self, plane: ControlPlane) -> None:
        repository = AlertStateRepository(plane)
        repository.save([firing(), firing(project="other")])
        repository.delete([firing()])
        assert repository.load("default") == []
        assert repository.load("other") == [firing(project="other")]

    def test_of_any_text_are_kept(self, plane: ControlPlane) -> None:
        repository = AlertStateRepository(plane)
        hostile = "'; DROP TABLE alert_states; -- \x1b[2J\x00 é用户"
        repository.save([firing(hostile, labels={hostile: "\ud800"}), firing("\ud800")])
        assert {state.rule for state in repository.load("default")} == {hostile, "\\ud800"}
        labels = next(state.labels for state in repository.load("default") if state.rule == hostile)
        assert labels == {hostile: "\ud800"}

    def test_saving_nothing_does_nothing(self, plane: ControlPlane) -> None:
        AlertStateRepository(plane).save([])
        AlertStateRepository(plane).delete([firing("never saved")])
        assert AlertStateRepository(plane).load("default") == []


class TestExperiments:
    def test_are_read_as_they_were_kept(self, plane: ControlPlane) -> None:
        repository = ExperimentRepository(plane)
        made = repository.create("default", "rerank", {"arms": ["a", "b"], "n": 3}, "draft", actor="ann")
        assert repository.get("default", "rerank") == made
        assert repository.get("other", "rerank") is None
        assert made.version == 1
        assert made.created_at == START

    def test_of_a_key_that_is_taken_are_refused(self, plane: ControlPlane) -> None:
        repository = ExperimentRepository(plane)
        repository.create("default", "rerank", {}, "draft", actor="ann")
        with pytest.raises(InvalidExperiment, match="exists already"):
            repository.create("default", "rerank", {}, "draft", actor="bob")
        repository.create("other", "rerank", {}, "draft", actor="bob")

    def test_are_listed_by_state_oldest_first(self, plane: ControlPlane, clock: ManualClock) -> None:
        repository = ExperimentRepository(plane)
        for key, state in (("z", "running"), ("a", "draft"), ("m", "running")):
            repository.create("default", key, {}, state, actor="ann")
            clock.advance(1)
        assert [record.key for record in repository.list("default")] == ["z", "a", "m"]
        assert [record.key for record in repository.list("default", {"running"})] == ["z", "m"]
        assert repository.list("default", ()) == []

    def test_changed_from_an_old_reading_are_refused(self, plane: ControlPlane) -> None:
        repository = ExperimentRepository(plane)
        first = repository.create("default", "rerank", {"n": 1}, "draft", actor="ann")
        second = repository.save(first, actor="ann", action="edit")
        with pytest.raises(ChangedMeanwhile, match="Read it again"):
            repository.save(first, actor="bob", action="edit")
        assert repository.get("default", "rerank") == second
        assert second.version == 2

    def test_leave_one_audit_entry_for_each_change_and_none_for_a_refused_one(
        self, plane: ControlPlane, clock: ManualClock
    ) -> None:
        repository = ExperimentRepository(plane)
        first = repository.create("default", "rerank", {}, "draft", actor="ann")
        clock.advance(60)
        repository.save(first, actor="bob", action="start", detail={"why": "ready"})
        with pytest.raises(ChangedMeanwhile):
            repository.save(first, actor="eve", action="stop")
        repository.create("default", "other", {}, "draft", actor="ann")
        history = repository.history("default", "rerank")
        assert [(entry.actor, entry.action) for entry in history] == [("bob", "start"), ("ann", "create")]
        assert history[0].detail["why"] == "ready"
        assert history[0].time == START + timedelta(seconds=60)
        assert repository.history("default", "rerank", 1) == history[:1]
        assert len(AuditLog(plane).list("default")) == 3

    def test_changed_by_eight_threads_at_once_lose_no_change(self, plane: ControlPlane) -> None:
        repository = ExperimentRepository(plane)
        repository.create("default", "rerank", {"count": 0}, "draft", actor="ann")
        refused: list[ChangedMeanwhile] = []

        def count_up() -> None:
            for _ in range(5):
                while True:
                    record = repository.get("default", "rerank")
                    assert record is not None
                    definition = {"count": int(str(record.definition["count"])) + 1}
                    changed = structs.replace(record, definition=definition)
                    try:
                        repository.save(changed, actor="t", action="count")
                    except ChangedMeanwhile as error:
                        refused.append(error)
                    else:
                        break

        threads = [threading.Thread(target=count_up) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        record = repository.get("default", "rerank")
        assert record is not None
        assert record.definition == {"count": 40}
        assert record.version == 41
        with plane.reading() as connection:
            assert len(connection.execute(select(tables.audit)).all()) == 41
