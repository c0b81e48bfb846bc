"""A silence is on disk once it is acknowledged, ends when it says or when somebody ends it, and leaves a trail."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.start import START

from barograph.control.audit import AuditLog
from barograph.control.database import ControlPlane
from barograph.control.silences import KEPT, MOST_MATCHERS, Silence, SilenceRepository
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidInput

HOUR = timedelta(hours=1)


def make(plane: ControlPlane, project: str = "default", hours: float = 2, **more: datetime) -> Silence:
    return SilenceRepository(plane).create(
        project=project, matchers=['alertname="errors"', 'pipeline=~"a|b"'], ends_at=START + hours * HOUR,
        author="ann", comment="deploy – ü", **more,
    )  # fmt: skip


def test_50_a_silence_is_durable_once_acknowledged(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
from datetime import UTC, datetime, timedelta
from barograph.control.database import ControlPlane
from barograph.control.silences import SilenceRepository
from barograph_client.clock import SystemClock
plane = ControlPlane({str(tmp_path / "control.db")!r}, SystemClock())
made = SilenceRepository(plane).create(
    project="default", matchers=['a="b"'], ends_at=datetime.now(UTC) + timedelta(hours=1), author="ann"
)
sys.stdout.write(made.id)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -9, done.stderr
    with ControlPlane(tmp_path / "control.db", ManualClock(datetime.now(UTC))) as plane:
        assert [silence.id for silence in SilenceRepository(plane).current("default")] == [done.stdout]


def test_a_silence_is_read_as_it_was_made(plane: ControlPlane) -> None:
    made = make(plane)
    assert SilenceRepository(plane).list("default") == [made]
    assert made.matchers == ('alertname="errors"', 'pipeline=~"a|b"')
    assert (made.starts_at, made.until, made.created_at) == (START, START + 2 * HOUR, START)


def test_a_silence_holds_from_its_start_up_to_its_end(plane: ControlPlane) -> None:
    made = make(plane, starts_at=START + HOUR)
    at = [made.is_active(START + hours * HOUR) for hours in (0.99, 1, 1.99, 2)]
    assert at == [False, True, True, False]


def test_a_silence_that_is_ended_before_it_begins_is_over(plane: ControlPlane, clock: ManualClock) -> None:
    made = make(plane, starts_at=START + HOUR)
    assert [made.state(START + hours * HOUR) for hours in (0, 1, 2)] == ["pending", "active", "expired"]
    ended = SilenceRepository(plane).end(made.id, actor="bob", project="default")
    assert ended.state(clock.now()) == "expired"


def test_a_silence_can_be_ended_early_and_once_only(plane: ControlPlane, clock: ManualClock) -> None:
    silences = SilenceRepository(plane)
    made = make(plane)
    clock.advance(60)
    ended = silences.end(made.id, actor="bob", project="default")
    assert (ended.ended_at, ended.ended_by) == (START + timedelta(seconds=60), "bob")
    assert not ended.is_active(clock.now())
    clock.advance(60)
    with pytest.raises(InvalidInput, match=r"over already: it ended at 2026-11-28T09:01:00\+00:00 by bob"):
        silences.end(made.id, actor="eve", project="default")
    assert silences.current("default") == []
    assert silences.list("default") == [ended]


def test_one_that_has_not_begun_can_be_ended_too(plane: ControlPlane) -> None:
    made = make(plane, starts_at=START + HOUR)
    ended = SilenceRepository(plane).end(made.id, actor="bob", project="default")
    assert not ended.is_active(START + 1.5 * HOUR)


def test_one_that_is_over_is_history_and_is_not_ended_again(plane: ControlPlane, clock: ManualClock) -> None:
    silences = SilenceRepository(plane)
    made = make(plane)
    clock.advance(2 * 3600)
    assert silences.current("default") == []
    with pytest.raises(InvalidInput, match="over already"):
        silences.end(made.id, actor="bob", project="default")
    clock.advance(KEPT.total_seconds())
    assert silences.list("default") == []
    assert silences.list("default", since=START) == [made]


@pytest.mark.parametrize("project", ["default", "other"])
def test_an_unknown_id_is_an_error_and_so_is_one_of_another_project(plane: ControlPlane, project: str) -> None:
    made = make(plane, "shop")
    silences = SilenceRepository(plane)
    for unknown in ("nothing", made.id):
        with pytest.raises(InvalidInput, match="no such silence"):
            silences.end(unknown, actor="eve", project=project)
    assert silences.current(project) == []
    assert silences.current("shop") == [made]


def test_who_made_and_who_ended_it_is_in_the_audit_trail(plane: ControlPlane) -> None:
    made = make(plane)
    SilenceRepository(plane).end(made.id, actor="bob", project="default")
    ended, created = AuditLog(plane).list("default", f"silence:{made.id}")
    assert (created.actor, created.action) == ("ann", "create")
    assert created.detail["matchers"] == list(made.matchers)
    assert created.detail["comment"] == "deploy – ü"
    assert (ended.actor, ended.action) == ("bob", "end")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"matchers": []}, "1 to 50 matchers"),
        ({"matchers": ["a=b"] * (MOST_MATCHERS + 1)}, "1 to 50 matchers"),
        ({"ends_at": START}, "over already"),
        ({"starts_at": START + 2 * HOUR}, "over already"),
        ({"ends_at": START + timedelta(days=367)}, "more than 366 days"),
        ({"author": " "}, "has an author"),
        ({"author": "a" * 129}, "has an author"),
        ({"comment": "a" * 1001}, "at most 1000"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_kept(plane: ControlPlane, wrong: dict[str, object], said: str) -> None:
    good: dict[str, object] = {
        "project": "default", "matchers": ['a="b"'], "ends_at": START + HOUR, "author": "ann", "comment": "",
    }  # fmt: skip
    with pytest.raises(InvalidInput, match=said):
        SilenceRepository(plane).create(**{**good, **wrong})  # type: ignore[arg-type]
    assert SilenceRepository(plane).list("default") == []
    assert AuditLog(plane).list("default") == []


def test_an_id_that_is_taken_is_drawn_again(plane: ControlPlane) -> None:
    numbers = [7, 7, 8]
    silences = SilenceRepository(plane, lambda length: bytes([numbers.pop(0)]) * length)
    made = [
        silences.create(project="default", matchers=['a="b"'], ends_at=START + HOUR, author="ann") for _ in range(2)
    ]
    assert [silence.id for silence in made] == ["07" * 8, "08" * 8]
