"""A breached guardrail stops its experiment, everybody gets the control's configuration, and people are told why."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from tests.client.scripted_server import ScriptedServer
from tests.support.dictionary_reader import DictionaryReader
from tests.support.receivers import until

from barograph.control.database import ControlPlane
from barograph.control.experiments import ExperimentRepository
from barograph.core.metric import Catalogue
from barograph.core.units import UnitAnswer, UnitMoments, UnitQuery
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.design import Experiment, Guardrail, Variant
from barograph.experiments.guardrails import TOLD, GuardrailWatch, stopped_lately
from barograph_client import Client
from barograph_client.backoff import Pace
from barograph_client.clock import ManualClock, SystemClock
from barograph_client.errors import ChangedMeanwhile, EngineUnavailable, shorten
from barograph_client.experiments.sticky import MemoryStickyStore

START = datetime(2026, 11, 10, 9, tzinfo=UTC)
UNITS = 4_000
CHUNKS = Experiment(
    key="chunks",
    variants=(
        Variant(key="control", weight=0.5, payload={"size": 512}),
        Variant(key="small", weight=0.5, payload={"size": 64}),
    ),
    primary_metric="satisfaction",
    guardrails=(
        Guardrail(metric="error_rate", margin=0.01, relative=False),
        Guardrail(metric="no_answer_rate", margin=0.02, relative=False, auto_stop=False),
    ),
)
HEALTHY, BROKEN = {"control": 80, "small": 84}, {"control": 80, "small": 400}  # units with an error, of UNITS


class Size(msgspec.Struct, frozen=True):
    """What an arm stands for."""

    size: int = 0


class Failures(DictionaryReader):
    """Answers with so many units of each arm that met an error.

    ``questions`` are up to now, and ``meanwhile`` is called with them; ``checkpoints`` are the others.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__([], clock.now)
        self.failed: dict[str, int] = HEALTHY
        self.before: dict[str, int] = {}  # units that did something in the hour before their exposure
        self.questions: list[UnitQuery] = []
        self.checkpoints: list[UnitQuery] = []
        self.meanwhile: Callable[[UnitQuery], object] = lambda question: None

    def units(self, question: UnitQuery) -> UnitAnswer:
        failed = self.failed
        if question.by == "day":
            self.questions.append(question)
            self.meanwhile(question)
        else:
            self.checkpoints.append(question)
        return UnitAnswer(
            arms=tuple(structs.replace(arm(key, failed[key]), hour_before=self.before.get(key, 0)) for key in failed),
            contaminated=0, first_exposure=START, last_exposure=START, complete_to=self.watermark(),
        )  # fmt: skip


def arm(key: str, successes: int, units: int = UNITS) -> UnitMoments:
    """Units of one query each, of which so many failed."""
    share = successes / units
    return UnitMoments(
        arm=key, units=units, numerator_mean=share, denominator_mean=1, numerator_m2=units * share * (1 - share),
        denominator_m2=0, cross_m2=0, measured_units=units, cubes=(share, share, share, 1.0), own_mean=share,
        own_m2=units * share * (1 - share), positive_units=successes, unit_days=units / 2.0, group="2026-11-10",
    )  # fmt: skip


class Lab:
    """Projects of one control plane, and a reader that each asks."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(START)
        self.plane = ControlPlane(path, self.clock)
        self.reader = Failures(self.clock)
        self.framework = self.project("default")

    def project(self, name: str) -> ABTestFramework:
        return ABTestFramework(
            self.reader, ExperimentRepository(self.plane), lambda exposure: None, self.clock, Catalogue(), name,
            sticky=MemoryStickyStore(),
        )  # fmt: skip

    def running(self, key: str = "chunks", project: ABTestFramework | None = None) -> ABTestFramework:
        framework = project or self.framework
        framework.create(structs.replace(CHUNKS, key=key))
        framework.start(key)
        self.clock.advance(86_400)
        return framework

    def watch(self, *others: ABTestFramework, patience: float = 10.0) -> GuardrailWatch:
        return GuardrailWatch(lambda: (self.framework, *others), self.clock, 300, patience=patience)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "control.db")
    yield lab
    lab.plane.close()


class TestABreach:
    def test_is_found_after_the_planned_end_in_what_came_since(self, lab: Lab) -> None:
        lab.framework.create(structs.replace(CHUNKS, planned_days=3.0))
        lab.framework.start("chunks")
        lab.clock.advance(5 * 86_400)
        lab.framework.guard("chunks")
        assert lab.reader.questions[0].window.end > lab.clock.now()
        assert START + timedelta(days=4) < lab.reader.checkpoints[0].window.end <= lab.clock.now()
        lab.framework.compare("chunks")
        assert START + timedelta(days=2) < lab.reader.checkpoints[-1].window.end <= START + timedelta(days=3)

    def test_stops_the_experiment_and_says_why_with_the_numbers(self, lab: Lab) -> None:
        f = lab.running()
        before = f.assign("chunks", "user-1")
        assert f.guard("chunks").state == "running"
        lab.reader.failed = BROKEN
        found = f.guard("chunks")
        assert (before is not None, found.state, found.breached) == (True, "stopped", ("error_rate",))
        assert found == f.get("chunks")
        assert found.stop_reason.replace("\u202f", " ") == (
            "error_rate of small is worse than that of control by 6.28 to 9.72 points (bounds for any number of "
            "looks), and the margin is 1 point."
        )
        assert shorten(found.stop_reason, 400) == found.stop_reason  # as in verdicts: no sign of it is escaped
        newest = f.history("chunks")[0]
        assert (newest.action, newest.actor, newest.detail["reason"]) == ("stop", "guardrail", found.stop_reason)

    def test_by_clocks_that_differ_between_the_arms_stops_it_too_and_says_so(self, lab: Lab) -> None:
        f = lab.running()
        lab.reader.failed, lab.reader.before = BROKEN, {"small": 3_000}
        found = f.guard("chunks")
        assert found.state == "stopped"
        assert "and the margin is 1 point. But 3,000 of 4,000 users of small did something" in (
            found.stop_reason.replace("\u202f", " ")
        )
        assert found.stop_reason.endswith("the clocks differ by arm, or one is exposed after what it is about.")

    def test_of_what_the_control_never_does_has_one_bound_alone(self, lab: Lab) -> None:
        lab.framework.create(structs.replace(CHUNKS, guardrails=(Guardrail(metric="error_rate", margin=0.1),)))
        lab.framework.start("chunks")
        lab.clock.advance(3 * 86_400)
        lab.reader.failed = {"control": 0, "small": 400}
        why = lab.framework.guard("chunks").stop_reason
        assert re.search(r" by at least \d+(\.\d+)?\s% \(relative, bounds for any number of looks\)", why)

    def test_asks_for_the_guardrails_that_stop_and_for_nothing_else(self, lab: Lab) -> None:
        lab.running().guard("chunks")
        for asked in (lab.reader.questions, lab.reader.checkpoints):
            assert [(one.experiment, one.metric) for one in asked] == [("chunks", "error_rate")]

    def test_gives_everybody_the_configuration_of_the_control_at_once(self, lab: Lab) -> None:
        f = lab.running()
        assert {f.assign("chunks", f"user-{n}") for n in range(50)} == {"control", "small"}
        lab.reader.failed = BROKEN
        f.guard("chunks")
        decisions = [f.decide("chunks", {"user": f"user-{n}"}) for n in range(50)]
        assert {(one.arm, one.reason, one.payload["size"]) for one in decisions} == {(None, "not running", 512)}

    def test_reaches_other_programs_when_they_ask_for_the_definitions(self, lab: Lab, tmp_path: Path) -> None:
        f, server = lab.running(), ScriptedServer()
        server.definitions = msgspec.json.encode(f.definitions())
        with Client(server.url, spool=tmp_path / "spool", environment={}, pace=Pace(refresh=0.05)) as client:
            assert client.experiments.wait(30)
            arms = {client.experiments.assign("chunks", user=f"user-{n}").arm for n in range(50)}
            assert arms == {"control", "small"}
            lab.reader.failed = BROKEN
            f.guard("chunks")
            server.definitions = msgspec.json.encode(f.definitions())
            until(lambda: client.experiments.assign("chunks", user="user-1").reason == "not running")
            found = [client.experiments.assign("chunks", user=f"user-{n}", default=Size()) for n in range(50)]
        server.stop()
        assert {(one.arm, one.reason, one.payload.size) for one in found} == {(None, "not running", 512)}

    def test_is_told_until_somebody_archives_it_or_a_week_has_gone(self, lab: Lab) -> None:
        f = lab.running()
        lab.reader.failed = BROKEN
        why = f.guard("chunks").stop_reason
        stopped_at = lab.clock.now()
        assert stopped_lately(lab.project("default").known(), stopped_at) == {"chunks": why}
        assert stopped_lately(f.known(), stopped_at + TOLD - timedelta(seconds=1)) == {"chunks": why}
        assert stopped_lately(f.known(), stopped_at + TOLD) == {}
        f.archive("chunks")
        assert stopped_lately(f.known(), stopped_at) == {}

    def test_of_one_that_a_person_stopped_nothing_is_told(self, lab: Lab) -> None:
        f = lab.running()
        assert f.stop("chunks", reason="enough seen", actor="ann").stop_reason == "enough seen"
        assert stopped_lately(f.known(), lab.clock.now()) == {}

    def test_is_looked_for_only_in_what_runs_and_has_a_guardrail_that_stops(self, lab: Lab) -> None:
        f = lab.running()
        lab.reader.failed = BROKEN
        f.pause("chunks")
        mild = tuple(structs.replace(one, auto_stop=False) for one in CHUNKS.guardrails)
        f.create(structs.replace(CHUNKS, key="mild", guardrails=mild))
        f.start("mild")
        assert {f.guard(key).state for key in ("chunks", "mild")} == {"paused", "running"}
        assert lab.reader.questions == []


class TestSomebodyElseAtTheSameTime:
    def test_who_stops_it_first_keeps_the_reason(self, lab: Lab) -> None:
        f, watch = lab.running(), lab.watch()
        lab.reader.failed = BROKEN
        lab.reader.meanwhile = lambda question: f.stop("chunks", reason="a bug", actor="ann")
        with pytest.raises(ChangedMeanwhile):
            f.guard("chunks")
        assert (f.get("chunks").stop_reason, f.get("chunks").breached) == ("a bug", ())
        watch.look()
        assert watch.problem("default") == ""
        assert [entry.action for entry in f.history("chunks")] == ["stop", "start", "create"]
        watch.stop()

    def test_a_revision_in_between_is_kept_and_the_experiment_stopped(self, lab: Lab) -> None:
        f, watch = lab.running(), lab.watch()
        lab.reader.failed = BROKEN
        notes = iter(["a note"])

        def revise(question: UnitQuery) -> None:
            for note in notes:
                f.revise(structs.replace(f.get("chunks"), hypothesis=note), actor="ann")

        lab.reader.meanwhile = revise
        watch.look()
        watch.stop()
        found = f.get("chunks")
        assert (found.state, found.hypothesis, watch.problem("default")) == ("stopped", "a note", "")

    def test_what_was_breached_is_judged_anew_as_who_switched_the_stopping_off_in_between_wants(self, lab: Lab) -> None:
        f, watch = lab.running(), lab.watch()
        lab.reader.failed = BROKEN
        shown = tuple(structs.replace(one, auto_stop=False) for one in CHUNKS.guardrails)
        lab.reader.meanwhile = lambda question: (
            None
            if f.get("chunks").guardrails == shown
            else f.revise(structs.replace(f.get("chunks"), guardrails=shown))
        )
        watch.look()
        watch.stop()
        assert f.get("chunks").state == "running"

    def test_who_changes_it_without_end_makes_it_wait_for_the_next_look(self, lab: Lab) -> None:
        f, watch = lab.running(), lab.watch()
        lab.reader.failed = BROKEN
        lab.reader.meanwhile = lambda question: f.revise(
            structs.replace(f.get("chunks"), hypothesis=f"note {len(lab.reader.questions)}")
        )
        watch.look()
        assert (f.get("chunks").state, watch.problem("default")) == ("running", "")
        lab.reader.meanwhile = lambda question: None
        watch.look()
        watch.stop()
        assert f.get("chunks").state == "stopped"


class TestTheWatch:
    def test_looks_at_every_project(self, lab: Lab) -> None:
        shop = lab.project("shop")
        lab.running()
        lab.running(project=shop)
        watch = lab.watch(shop)
        watch.look()
        lab.reader.failed = BROKEN
        watch.look()
        assert (lab.framework.get("chunks").state, shop.get("chunks").state) == ("stopped", "stopped")
        assert [one.project for one in lab.reader.questions] == ["default", "shop"] * 2
        watch.look()
        watch.stop()
        assert (len(lab.reader.questions), watch.counts.checked, watch.counts.failed) == (4, 4, 0)

    def test_one_that_fails_is_told_in_its_project_and_the_others_go_on(self, lab: Lab) -> None:
        shop = lab.project("shop")
        for key in ("a", "b"):
            lab.running(key)
        lab.running("c", shop)
        lab.reader.failed = BROKEN

        def fail(question: UnitQuery) -> None:
            if question.experiment == "a":
                raise EngineUnavailable("the engine is away")

        lab.reader.meanwhile = fail
        watch = lab.watch(shop)
        watch.look()
        assert [lab.framework.get("a").state, lab.framework.get("b").state, shop.get("c").state] == [
            "running", "stopped", "stopped",
        ]  # fmt: skip
        assert "experiment a: the engine is away" in watch.problem("default")
        assert (watch.problem("shop"), watch.counts.failed) == ("", 1)
        lab.reader.meanwhile = lambda question: None
        watch.look()
        watch.stop()
        assert (lab.framework.get("a").state, watch.problem("default")) == ("stopped", "")

    def test_one_that_is_slow_holds_up_no_other_and_is_not_asked_twice(self, lab: Lab) -> None:
        for key in ("slow", "quick"):
            lab.running(key)
        lab.reader.failed = BROKEN
        answered = threading.Event()
        lab.reader.meanwhile = lambda question: question.experiment == "quick" or answered.wait(30)
        watch = lab.watch(patience=0.05)
        watch.look()
        assert (lab.framework.get("slow").state, lab.framework.get("quick").state) == ("running", "stopped")
        assert "experiment slow: not answered within 50" in watch.problem("default")
        watch.look()
        assert "an earlier look has not been answered yet" in watch.problem("default")
        assert len(lab.reader.questions) == 2
        answered.set()
        until(lambda: lab.framework.get("slow").state == "stopped")

        def answered_in_time() -> bool:  # the thread that stopped it may have a little left to do
            watch.look()
            return watch.problem("default") == ""

        until(answered_in_time)
        watch.stop()

    def test_runs_until_it_is_stopped(self, lab: Lab) -> None:
        lab.running()
        lab.reader.failed = BROKEN
        watch = GuardrailWatch(lambda: (lab.framework,), SystemClock(), 0.01)
        watch.start()
        until(lambda: lab.framework.get("chunks").state == "stopped")
        watch.stop()
