"""What another process does to an experiment is heeded by this one, without anybody telling it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import Connection
from tests.experiments.test_guardrails import BROKEN, CHUNKS, START, Failures

from barograph.control.database import ControlPlane
from barograph.control.experiments import ExperimentRecord, ExperimentRepository
from barograph.core.metric import Catalogue
from barograph.experiments import register
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.guardrails import GuardrailWatch, stopped_lately
from barograph.experiments.known import LOOK_SECONDS
from barograph_client.clock import ManualClock
from barograph_client.errors import ControlError, InvalidExperiment, UnknownExperiment
from barograph_client.experiments.definition import Namespace


class Counted(ExperimentRepository):
    """Counts what it is asked; waits for ``gate`` before it says whether something has changed."""

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__(plane)
        self.looks = self.readings = 0
        self.asked, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def changed(self) -> int:
        self.looks += 1
        self.asked.set()
        assert self.gate.wait(30)
        return super().changed()

    def list(self, project: str, states: Collection[str] | None = None) -> list[ExperimentRecord]:
        self.readings += 1
        return super().list(project, states)


class Process:
    """One of several that have the control plane open."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.clock = clock
        self.plane = ControlPlane(path, clock)
        self.repository = Counted(self.plane)
        self.reader = Failures(clock)
        self.framework = ABTestFramework(self.reader, self.repository, lambda exposure: None, clock, Catalogue())


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    clock = ManualClock(START)
    here, there = (Process(tmp_path / "control.db", clock) for _ in range(2))
    yield here, there
    here.plane.close()
    there.plane.close()


def run(process: Process) -> None:
    process.framework.create(CHUNKS)
    process.framework.start("chunks")


def test_units_are_assigned_to_what_was_started_elsewhere_and_no_longer_to_what_was_stopped(
    processes: tuple[Process, Process],
) -> None:
    here, there = processes
    with pytest.raises(UnknownExperiment):
        here.framework.assign("chunks", "user-1")
    run(there)
    here.clock.advance(LOOK_SECONDS)
    assert here.framework.assign("chunks", "user-1") in ("control", "small")
    assert here.framework.variants_for({"user": "user-1"}).keys() == {"chunks"}
    there.framework.stop("chunks")
    here.clock.advance(LOOK_SECONDS)
    assert here.framework.assign("chunks", "user-1") is None


def test_the_watch_stops_what_was_started_elsewhere_and_the_alert_tells_what_was_stopped_there(
    processes: tuple[Process, Process],
) -> None:
    here, there = processes
    watch = GuardrailWatch(lambda: (here.framework,), here.clock, 300)
    watch.look()
    run(there)
    here.clock.advance(86_400)
    here.reader.failed = BROKEN
    watch.look()
    watch.stop()
    assert there.framework.get("chunks").breached == ("error_rate",)
    there.clock.advance(LOOK_SECONDS)
    assert stopped_lately(there.framework.known(), there.clock.now()).keys() == {"chunks"}


def test_programs_are_told_of_it_at_once(processes: tuple[Process, Process]) -> None:
    here, there = processes
    run(there)
    assert [one.state for one in here.framework.definitions().experiments] == ["running"]
    there.framework.pause("chunks")
    assert [one.state for one in here.framework.definitions().experiments] == ["paused"]


def test_while_nothing_changes_a_second_costs_one_small_question_and_no_reading(
    processes: tuple[Process, Process],
) -> None:
    here, there = processes
    run(there)
    here.clock.advance(LOOK_SECONDS)
    before = here.repository.looks, here.repository.readings
    for _ in range(3):
        for unit in range(50):
            here.framework.assign("chunks", f"user-{unit}")
        here.framework.definitions()
        here.clock.advance(LOOK_SECONDS)
    assert here.repository.readings == before[1] + 1
    assert here.repository.looks <= before[0] + 6


@pytest.mark.parametrize(
    ("part", "most", "why"), [((0.4, 1.0), 200, "overlaps with that of theirs"), ((0.5, 1.0), 1, "1 experiments run")]
)
def test_of_two_that_start_at_the_same_moment_one_is_refused_where_both_may_not_run(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch, part: tuple[float, float], most: int, why: str
) -> None:
    here, there = processes
    monkeypatch.setattr(register, "MOST_RUNNING", most)
    for key, (start, end) in (("ours", part), ("theirs", (0.0, 0.5))):
        here.framework.create(structs.replace(CHUNKS, key=key, namespace=Namespace(name="n", start=start, end=end)))
    writing = here.plane.writing

    def too_late() -> AbstractContextManager[Connection]:
        there.framework.start("theirs")
        return writing()

    with monkeypatch.context() as patched:
        patched.setattr(here.plane, "writing", too_late)
        with pytest.raises(InvalidExperiment, match=why):
            here.framework.start("ours")
    assert {one.key: one.state for one in there.framework.list()} == {"ours": "draft", "theirs": "running"}
    assert [entry.action for entry in there.framework.history("ours")] == ["create"]


def test_who_asks_while_another_looks_goes_on_with_what_is_known(processes: tuple[Process, Process]) -> None:
    here, _ = processes
    run(here)
    here.clock.advance(LOOK_SECONDS)
    here.framework.assign("chunks", "user-1")
    here.repository.asked.clear()
    here.repository.gate.clear()
    here.clock.advance(LOOK_SECONDS)
    looking = threading.Thread(target=here.framework.assign, args=("chunks", "user-1"))
    looking.start()
    assert here.repository.asked.wait(30)
    assert here.framework.assign("chunks", "user-1") is not None
    here.repository.gate.set()
    looking.join(30)
    assert not looking.is_alive()


def test_units_keep_their_arms_while_the_control_plane_is_away(processes: tuple[Process, Process]) -> None:
    here, _ = processes
    run(here)
    here.clock.advance(LOOK_SECONDS)
    arm = here.framework.assign("chunks", "user-1")
    here.plane.close()
    here.clock.advance(LOOK_SECONDS)
    assert here.framework.assign("chunks", "user-1") == arm
    with pytest.raises(ControlError):
        here.framework.definitions()


@pytest.mark.parametrize(
    "broken",
    [{"variants": [{"key": "a", "weight": 0.0}]}, {"variants": []}, {"hash_version": "v9"}, {"key": 5}],
    ids=str,
)
def test_an_experiment_that_nobody_can_be_assigned_by_keeps_no_other_from_being_what_it_is(
    processes: tuple[Process, Process], broken: dict[str, object]
) -> None:
    here, there = processes
    run(there)
    there.framework.create(structs.replace(CHUNKS, key="bad"))
    record = there.repository.get("default", "bad")
    assert record is not None
    written = structs.replace(record, definition={**record.definition, **broken})
    there.repository.save(written, action="edit", actor="hand")
    here.clock.advance(LOOK_SECONDS)
    assert here.framework.assign("chunks", "user-1") in ("control", "small")
    assert [one.key for one in here.framework.definitions().experiments] == ["chunks"]
    with pytest.raises(UnknownExperiment):
        here.framework.assign("bad", "user-1")
    there.framework.stop("chunks")
    here.clock.advance(LOOK_SECONDS)
    assert here.framework.assign("chunks", "user-1") is None
