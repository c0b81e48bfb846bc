"""The framework from definition to verdict: on a control plane on disk and a Reader that counts real events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from msgspec import structs
from tests.experiments.units_reader import UnitsReader

from barograph.control.database import ControlPlane
from barograph.control.experiments import ExperimentRepository
from barograph.core.event import Exposure
from barograph.core.metric import Catalogue
from barograph.experiments import register
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.design import Experiment, Guardrail, Pause, Variant, equal_variants
from barograph_client.clock import ManualClock
from barograph_client.errors import ChangedMeanwhile, ControlError, DiskFull, InvalidExperiment
from barograph_client.experiments.definition import Namespace
from barograph_client.experiments.exposures import Exposures
from barograph_client.experiments.sticky import StickyFile

START = datetime(2026, 11, 10, 9, tzinfo=UTC)
RERANK = Experiment(
    key="rerank",
    title="Reranker comparison",
    variants=(
        Variant(key="control", weight=0.5, payload={"reranker": None}),
        Variant(key="reranked", weight=0.5, payload={"reranker": "cross-encoder", "top_k": 20}),
    ),
    primary_metric="satisfaction",
    secondary_metrics=("error_rate",),
    guardrails=(Guardrail(metric="response_time.mean", margin=0.2),),
    planned_days=7,
)


class Lab:
    """A framework, its clock, and the events that it and its users have made."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(START)
        self.plane = ControlPlane(path, self.clock)
        self.events: list[dict[str, object]] = []
        self.exposures: list[Exposure] = []
        self.reader = UnitsReader(self.events, self.clock.now)
        self.framework = self.another()

    def another(self) -> ABTestFramework:
        """The framework of another process on the same control plane."""
        return ABTestFramework(self.reader, ExperimentRepository(self.plane), self.record, self.clock, Catalogue())

    def record(self, exposure: Exposure) -> None:
        self.exposures.append(exposure)
        if exposure.event_id not in {event.get("event_id") for event in self.events}:
            self.events.append({"kind": "exposure", **structs.asdict(exposure)})

    def begin(self, experiment: Experiment, users: int, lift: float) -> np.random.Generator:
        """Start the experiment and serve so many users; the generator that chance comes from."""
        generator = np.random.default_rng(5)
        self.framework.create(experiment)
        self.framework.start(experiment.key)
        for number in range(users):
            self.serve(f"user-{number}", lift, generator)
        return generator

    def serve(self, unit: str, lift: float, generator: np.random.Generator) -> None:
        """One visit: exposure, some queries, perhaps a rating."""
        arm = self.framework.expose("rerank", unit)
        treated = lift if arm == "reranked" else 0.0
        self.clock.advance(1)
        common = {"time": self.clock.now(), "user_id": unit, "project": "default"}
        for _ in range(int(generator.integers(1, 6))):
            self.events.append({"kind": "query", "response_time": float(generator.gamma(4, 0.5)), **common})
        self.events.append(
            {"kind": "feedback", "rating": float(np.clip(generator.normal(3.5 + treated, 1), 1, 5)), **common}
        )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "control.db")
    yield lab
    lab.plane.close()


class TestLife:
    def test_from_draft_to_archive_with_every_step_in_the_audit_log(self, lab: Lab) -> None:
        f = lab.framework
        assert f.create(RERANK, actor="ann").state == "draft"
        for step in (f.start, f.pause, f.start, f.stop, f.archive):
            lab.clock.advance(86400)
            step("rerank", actor="bob")
        history = f.history("rerank")
        assert [entry.action for entry in history] == ["archive", "stop", "start", "pause", "start", "create"]
        assert {entry.actor for entry in history[:-1]} == {"bob"}
        assert history[1].detail["from"] == "running"
        assert f.get("rerank").started_at == START + timedelta(days=1)
        assert f.get("rerank").pauses == (Pause(start=START + timedelta(days=2), end=START + timedelta(days=3)),)
        assert f.get("rerank").paused_seconds == 86400

    def test_survives_a_restart_with_the_same_arms(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        units = [f"user-{n}" for n in range(100)]
        arms = [lab.framework.assign("rerank", unit) for unit in units]
        again = lab.another()
        assert [again.assign("rerank", unit) for unit in units] == arms
        assert again.get("rerank") == lab.framework.get("rerank")
        assert set(arms) == {"control", "reranked"}

    def test_a_key_is_taken_for_good(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        with pytest.raises(InvalidExperiment, match="exists already"):
            lab.framework.create(RERANK)

    def test_a_definition_that_does_not_hold_leaves_no_trace(self, lab: Lab) -> None:
        with pytest.raises(InvalidExperiment):
            lab.framework.create(structs.replace(RERANK, variants=equal_variants("one")))
        assert lab.framework.list() == []

    def test_a_definition_cannot_claim_to_run_already(self, lab: Lab) -> None:
        made = lab.framework.create(structs.replace(RERANK, state="running", started_at=START))
        assert (made.state, made.started_at) == ("draft", None)
        assert lab.framework.assign("rerank", "user-1") is None

    def test_lists_by_state(self, lab: Lab) -> None:
        for key in ("a", "b"):
            lab.framework.create(structs.replace(RERANK, key=key))
        lab.framework.start("b")
        assert [e.key for e in lab.framework.list()] == ["a", "b"]
        assert [e.key for e in lab.framework.list("running", "paused")] == ["b"]

    def test_an_unknown_key_names_what_there_is(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        for call in (
            lab.framework.get,
            lab.framework.start,
            lab.framework.compare,
            lambda k: lab.framework.assign(k, "u"),
        ):
            with pytest.raises(InvalidExperiment, match="There are: rerank"):
                call("rerankk")

    def test_a_change_behind_ones_back_is_refused_not_overwritten(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        repository = ExperimentRepository(lab.plane)
        old = repository.get("default", "rerank")
        assert old is not None
        lab.framework.start("rerank")
        with pytest.raises(ChangedMeanwhile):
            repository.save(old, actor="late", action="edit")
        assert lab.framework.get("rerank").state == "running"

    def test_a_reason_is_kept_with_the_stop_and_told_in_the_audit_log(self, lab: Lab) -> None:
        f = lab.framework
        f.create(RERANK)
        f.start("rerank")
        with pytest.raises(InvalidExperiment, match="the reason is longer than 4096 characters"):
            f.stop("rerank", reason="x" * 4097)
        f.stop("rerank", reason="the index was rebuilt")
        assert lab.another().get("rerank").stop_reason == "the index was rebuilt"
        assert f.history("rerank")[0].detail["reason"] == "the index was rebuilt"

    def test_more_experiments_than_may_run_are_refused_until_one_is_stopped(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(register, "MOST_RUNNING", 2)
        f = lab.framework
        for key in ("a", "b", "c"):
            f.create(structs.replace(RERANK, key=key))
        f.start("a")
        f.start("b")
        with pytest.raises(InvalidExperiment, match="2 experiments run in this project") as refused:
            f.start("c")
        assert refused.value.hint == "Stop or pause one first, such as a."
        f.pause("a")
        f.start("c")
        with pytest.raises(InvalidExperiment, match="2 experiments run"):
            f.start("a")

    def test_one_that_cannot_be_read_keeps_no_other_from_being_assigned_and_stopped(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        repository = ExperimentRepository(lab.plane)
        repository.create("default", "newer", {"key": "newer", "variants": "of another version"}, "running", actor="x")
        f = lab.another()
        assert f.assign("rerank", "user-1") in ("control", "reranked")
        assert [one.key for one in f.definitions().experiments] == ["rerank"]
        f.stop("rerank")
        assert f.assign("rerank", "user-1") is None
        with pytest.raises(ControlError, match="the definition of experiment newer cannot be read"):
            f.get("newer")


class TestRevise:
    def test_coverage_may_rise_while_it_runs_and_moves_nobody(self, lab: Lab) -> None:
        f = lab.framework
        f.create(structs.replace(RERANK, coverage=0.3))
        f.start("rerank")
        units = [f"user-{n}" for n in range(500)]
        before = {unit: f.assign("rerank", unit) for unit in units}
        f.revise(structs.replace(RERANK, coverage=0.6), actor="ann")
        after = {unit: f.assign("rerank", unit) for unit in units}
        assert all(after[unit] == arm for unit, arm in before.items() if arm is not None)
        assert sum(arm is None for arm in after.values()) < sum(arm is None for arm in before.values())
        newest = f.history("rerank")[0]
        assert newest.detail["changed"] == {"coverage": {"from": 0.3, "to": 0.6}}
        assert f.get("rerank").state == "running"

    def test_arms_and_weights_are_frozen_once_it_runs(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        with pytest.raises(InvalidExperiment, match="variants is frozen"):
            lab.framework.revise(structs.replace(RERANK, variants=equal_variants("control", "renamed")))
        assert [entry.action for entry in lab.framework.history("rerank")] == ["start", "create"]

    def test_of_a_sticky_one_the_weights_may_change_and_nobody_moves(self, lab: Lab) -> None:
        f = lab.framework
        f.create(structs.replace(RERANK, sticky=True))
        f.start("rerank")
        units = [f"user-{n}" for n in range(200)]
        before = [f.expose("rerank", unit) for unit in units]
        arms = tuple(structs.replace(one, weight=w) for one, w in zip(RERANK.variants, (0.05, 0.95), strict=True))
        f.revise(structs.replace(RERANK, sticky=True, variants=arms))
        assert [f.assign("rerank", unit) for unit in units] == before
        late = [f.assign("rerank", f"late-{n}") for n in range(200)]
        assert late.count("reranked") > 170
        assert [change.at for change in f.get("rerank").reweighted] == [START]

    def test_where_arms_are_kept_in_a_file_a_restart_between_changes_nothing(self, lab: Lab, tmp_path: Path) -> None:
        def opened() -> ABTestFramework:
            return ABTestFramework(
                lab.reader, ExperimentRepository(lab.plane), lab.record, lab.clock, Catalogue(),
                sticky=StickyFile(tmp_path / "sticky.db"),
            )  # fmt: skip

        first = opened()
        first.create(structs.replace(RERANK, sticky=True))
        first.start("rerank")
        before = [first.assign("rerank", f"user-{n}") for n in range(50)]
        arms = tuple(structs.replace(one, weight=w) for one, w in zip(RERANK.variants, (0.01, 0.99), strict=True))
        first.revise(structs.replace(RERANK, sticky=True, variants=arms))
        first.close()
        again = opened()
        assert [again.assign("rerank", f"user-{n}") for n in range(50)] == before
        again.close()

    def test_after_a_change_of_weights_units_are_held_against_those_under_which_they_came(self, lab: Lab) -> None:
        f = lab.framework
        f.create(structs.replace(RERANK, sticky=True))
        f.start("rerank")
        for n in range(20):
            lab.serve(f"user-{n}", 0.0, np.random.default_rng(n))
        arms = tuple(structs.replace(one, weight=w) for one, w in zip(RERANK.variants, (0.2, 0.8), strict=True))
        f.revise(structs.replace(RERANK, sticky=True, variants=arms))
        assert f.compare("rerank").sample_ratio.expected == (10.0, 10.0)


class TestNamespaces:
    def test_an_experiment_whose_part_is_taken_cannot_start(self, lab: Lab) -> None:
        f = lab.framework
        parts = {"a": (0.0, 0.5), "b": (0.4, 1.0), "c": (0.5, 1.0)}
        for key, (start, end) in parts.items():
            space = Namespace(name="retrieval", start=start, end=end)
            f.create(structs.replace(RERANK, key=key, namespace=space))
        f.start("a")
        with pytest.raises(InvalidExperiment, match="overlaps with that of a"):
            f.start("b")
        f.start("c")
        both = [f.variants_for({"user": f"user-{n}"}) for n in range(200)]
        assert {len(one) for one in both} == {1}
        f.stop("a")
        f.stop("c")
        f.start("b")

    def test_one_namespace_has_one_kind_of_units_and_one_hash(self, lab: Lab) -> None:
        f = lab.framework
        f.create(structs.replace(RERANK, key="a", namespace=Namespace(name="n", end=0.5)))
        f.start("a")
        for key, other in (("b", {"unit_kind": "session"}), ("c", {})):
            hashed: Any = "growthbook-v1" if key == "c" else "barograph"
            space = Namespace(name="n", start=0.5, hash_version=hashed)
            f.create(structs.replace(RERANK, key=key, namespace=space, **other))
            with pytest.raises(InvalidExperiment, match="all experiments of a namespace must"):
                f.start(key)


class TestAssignAndExpose:
    def test_a_decision_tells_arm_payload_and_reason(self, lab: Lab) -> None:
        f = lab.framework
        f.create(structs.replace(RERANK, condition={"plan": "paid"}))
        f.start("rerank")
        inside = f.decide("rerank", {"user": "user-1"}, {"plan": "paid"})
        assert inside.payload == f.payload("rerank", str(inside.arm))
        outside = f.decide("rerank", {"user": "user-1"}, {"plan": "free"})
        assert (outside.arm, outside.reason, outside.payload) == (None, "not targeted", {"reranker": None})
        assert f.expose("rerank", "user-1") is None
        assert f.expose("rerank", "user-1", {"plan": "paid"}) == inside.arm
        assert len(lab.exposures) == 1

    def test_a_forced_arm_takes_effect_and_is_not_recorded(self, lab: Lab) -> None:
        f = lab.framework
        f.create(structs.replace(RERANK, forced={"tester": "reranked"}))
        f.start("rerank")
        assert f.expose("rerank", "tester") == "reranked"
        assert lab.exposures == []

    def test_assigning_records_nothing_and_exposing_records_once(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        arm = lab.framework.assign("rerank", "user-1")
        assert lab.exposures == []
        assert [lab.framework.expose("rerank", "user-1") for _ in range(3)] == [arm] * 3
        (event,) = lab.exposures
        assert (event.experiment, event.arm, event.unit_id, event.unit_kind) == ("rerank", arm, "user-1", "user")
        assert event.time == START

    def test_another_process_makes_the_same_event_so_that_it_counts_once(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        lab.framework.expose("rerank", "user-1")
        lab.another().expose("rerank", "user-1")
        first, second = lab.exposures
        assert first.event_id == second.event_id
        lab.framework.expose("rerank", "user-2")
        assert lab.exposures[2].event_id != first.event_id

    @pytest.mark.parametrize("state", ["draft", "paused", "stopped", "archived"])
    def test_only_a_running_experiment_assigns(self, lab: Lab, state: str) -> None:
        f = lab.framework
        f.create(RERANK)
        steps = {"draft": [], "paused": [f.start, f.pause], "stopped": [f.start, f.stop],
                 "archived": [f.start, f.stop, f.archive]}  # fmt: skip
        for step in steps[state]:
            step("rerank")
        assert f.assign("rerank", "user-1") is None
        assert f.expose("rerank", "user-1") is None
        assert f.variants_for({"user": "user-1"}) == {}
        assert lab.exposures == []

    def test_an_exposure_that_was_not_recorded_is_tried_again(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        healthy, full = lab.record, [True]

        def record(exposure: Exposure) -> None:
            if full[0]:
                raise DiskFull("no space", hint="Make room.")
            healthy(exposure)

        framework = ABTestFramework(lab.reader, ExperimentRepository(lab.plane), record, lab.clock, Catalogue())
        with pytest.raises(DiskFull):
            framework.expose("rerank", "user-1")
        full[0] = False
        framework.expose("rerank", "user-1")
        assert len(lab.exposures) == 1

    def test_remembers_a_bounded_number_of_units(self, lab: Lab) -> None:
        remembered = Exposures(10)
        f = ABTestFramework(
            lab.reader, ExperimentRepository(lab.plane), lab.record, lab.clock, Catalogue(), exposures=remembered
        )
        f.create(RERANK)
        f.start("rerank")
        for n in range(25):
            f.expose("rerank", f"user-{n}")
        assert len(remembered) == 10
        f.expose("rerank", "user-24")
        assert len(lab.exposures) == 25
        f.expose("rerank", "user-0")
        assert lab.exposures[-1].event_id == lab.exposures[0].event_id

    @pytest.mark.parametrize("unit", ["", "x" * 257, "x" * 1_000_000, None])
    def test_an_unusable_id_is_refused(self, lab: Lab, unit: str) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        for call in (lab.framework.assign, lab.framework.expose):
            with pytest.raises(InvalidExperiment, match="unit's id"):
                call("rerank", unit)

    def test_half_a_character_is_assigned_but_cannot_be_exposed(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        assert lab.framework.assign("rerank", "user-\ud800") in ("control", "reranked")
        with pytest.raises(InvalidExperiment, match="half a character"):
            lab.framework.expose("rerank", "user-\ud800")
        assert lab.exposures == []

    def test_payloads_come_back_typed_and_cannot_be_changed_from_outside(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        payload = lab.framework.payload("rerank", "reranked")
        assert payload == {"reranker": "cross-encoder", "top_k": 20}
        payload["top_k"] = 1
        assert lab.framework.payload("rerank", "reranked")["top_k"] == 20
        with pytest.raises(InvalidExperiment, match="no such arm"):
            lab.framework.payload("rerank", "nobody")

    def test_variants_for_tags_every_running_experiment_of_the_units_at_hand(self, lab: Lab) -> None:
        f = lab.framework
        for key, kind in (("by-user", "user"), ("by-session", "session"), ("idle", "user")):
            f.create(structs.replace(RERANK, key=key, unit_kind=kind))
        f.start("by-user")
        f.start("by-session")
        assert f.variants_for({"user": "u1", "session": "s1"}) == {
            "by-user": f.assign("by-user", "u1"), "by-session": f.assign("by-session", "s1"),
        }  # fmt: skip
        assert set(f.variants_for({"user": "u1", "session": ""})) == {"by-user"}
        assert f.variants_for({"user": "x" * 300}) == {}
        assert lab.exposures == []

    def test_eight_threads_expose_each_unit_once(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        threads = [
            threading.Thread(target=lambda: [lab.framework.expose("rerank", f"user-{n}") for n in range(200)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(e.unit_id for e in lab.exposures) == sorted(f"user-{n}" for n in range(200))


class TestCompare:
    def test_before_the_start_is_refused(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        with pytest.raises(InvalidExperiment, match="has not started"):
            lab.framework.compare("rerank")

    def test_right_after_the_start_says_that_there_is_nothing_yet(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.framework.start("rerank")
        found = lab.framework.compare("rerank")
        assert found.units == {"control": 0, "reranked": 0}
        assert found.verdict.finding == "not settled"
        assert found.days_running == 0

    def test_details_are_of_the_primary_metric_by_age_and_with_other_methods(self, lab: Lab) -> None:
        generator = np.random.default_rng(5)
        lab.framework.create(structs.replace(RERANK, slices=("plan",)))
        with pytest.raises(InvalidExperiment, match="has not started"):
            lab.framework.details("rerank")
        lab.framework.start("rerank")
        for n in range(60):
            lab.serve(f"user-{n}", 0.7, generator)
        found = lab.framework.details("rerank")
        assert [course.by for course in found.courses] == ["age", "plan"]
        assert {step.label for course in found.courses for step in course.steps} == {"0", "(none)"}
        assert sum(arm.units for arm in found.arms) == 60
        assert len(found.second_opinions) == 6

    def test_a_real_lift_is_settled_when_the_plan_is_through(self, lab: Lab) -> None:
        generator = lab.begin(RERANK, 250, 0.7)
        lab.clock.advance(3 * 86400)
        early = lab.framework.compare("rerank")
        assert early.verdict.finding == "not settled"
        assert early.needs_more_days == pytest.approx(4, abs=0.1)
        assert "needs about 4 more days" in early.verdict.sentence
        for n in range(250, 500):
            lab.serve(f"user-{n}", 0.7, generator)
        lab.clock.advance(4 * 86400)
        found = lab.framework.compare("rerank")
        assert found.verdict.finding == "better"
        assert found.title == "Reranker comparison"
        assert found.split == "50/50"
        assert [metric.role for metric in found.metrics] == ["primary", "secondary", "guardrail"]
        assert found.metrics[2].guardrails[0].state == "held"
        assert sum(found.units.values()) == 500
        assert found.first_exposure == START
        assert found.complete_to == START + timedelta(days=7)

    @pytest.mark.parametrize("plan", [{"planned_days": 7}, {"planned_days": None, "planned_units": 300}])
    def test_what_comes_after_the_planned_end_is_not_counted_so_that_looking_again_is_no_other_test(
        self, lab: Lab, plan: dict[str, Any]
    ) -> None:
        generator = lab.begin(structs.replace(RERANK, **plan), 300, 0.0)
        lab.clock.advance(7 * 86400)
        then = lab.framework.compare("rerank")
        assert sum(then.units.values()) == 300
        for n in range(250, 600):
            lab.serve(f"user-{n}", 2.0, generator)
        lab.clock.advance(3 * 86400)
        later = lab.framework.compare("rerank")
        assert (later.verdict, later.metrics, later.units) == (then.verdict, then.metrics, then.units)
        assert any("after the planned end, 1" in warning for warning in later.warnings)
        lab.framework.stop("rerank")
        assert lab.framework.compare("rerank").metrics == then.metrics

    @pytest.mark.parametrize("plan", [{"planned_days": 7}, {"planned_days": None, "planned_units": 300}])
    def test_the_verdict_waits_until_the_store_knows_all_that_came_before_the_planned_end(
        self, lab: Lab, plan: dict[str, Any]
    ) -> None:
        lab.begin(structs.replace(RERANK, **plan), 300, 1.0)
        lab.clock.advance(10 * 86400)
        lab.reader.complete_to = START + timedelta(hours=3)
        behind = lab.framework.compare("rerank")
        assert behind.verdict.finding == "not settled"
        assert behind.complete_to == START + timedelta(hours=3)
        lab.reader.complete_to = None
        assert lab.framework.compare("rerank").verdict.finding == "better"

    @pytest.mark.parametrize("plan", [{"planned_days": 7}, {"planned_days": None, "planned_units": 300}])
    def test_what_happens_at_the_very_instant_of_the_planned_end_is_past_it(
        self, lab: Lab, plan: dict[str, Any]
    ) -> None:
        lab.begin(structs.replace(RERANK, **plan), 300, 0.0)
        end = START + timedelta(days=7) if "planned_units" not in plan else datetime(2026, 11, 11, tzinfo=UTC)
        lab.clock.advance((end - lab.clock.now()).total_seconds())
        then, details = lab.framework.compare("rerank"), lab.framework.details("rerank")
        assert sum(then.units.values()) == 300
        for n in range(300, 340):
            lab.framework.expose("rerank", f"user-{n}")
        for n in range(340):
            lab.events.append({
                "kind": "feedback", "rating": 5.0, "time": end, "user_id": f"user-{n}", "project": "default"
            })  # fmt: skip
        assert lab.framework.compare("rerank") == then
        lab.clock.advance(86400)
        later = lab.framework.compare("rerank")
        assert (later.verdict, later.metrics, later.units) == (then.verdict, then.metrics, then.units)
        assert lab.framework.details("rerank").arms == details.arms

    def test_a_plan_of_units_ends_with_the_day_of_the_last_and_not_in_its_midst(self, lab: Lab) -> None:
        lab.begin(structs.replace(RERANK, planned_days=None, planned_units=300), 310, 2.0)
        lab.clock.advance(1)
        with patch.object(lab.reader, "units", wraps=lab.reader.units) as asked:
            found = lab.framework.compare("rerank")
        assert found.verdict.finding == "not settled"
        assert asked.call_count == len(found.metrics)  # also to know whether the end has come
        lab.clock.advance(15 * 3600)
        assert lab.framework.compare("rerank").verdict.finding == "better"

    def test_only_what_came_after_the_exposure_counts(self, lab: Lab) -> None:
        lab.framework.create(RERANK)
        lab.events.append(
            {"kind": "feedback", "rating": 1.0, "user_id": "user-1", "time": START + timedelta(seconds=1)}
        )
        lab.framework.start("rerank")
        lab.clock.advance(10)
        arm = lab.framework.expose("rerank", "user-1")
        lab.clock.advance(10)
        lab.events.append({"kind": "feedback", "rating": 5.0, "user_id": "user-1", "time": lab.clock.now()})
        estimate = lab.framework.compare("rerank").estimates[0]
        assert (estimate.arm_value if arm == "reranked" else estimate.baseline_value) == 5.0

    def test_a_unit_seen_in_two_arms_is_left_out_and_counted(self, lab: Lab) -> None:
        lab.begin(RERANK, 200, 0.0)
        arm = lab.framework.assign("rerank", "user-7")
        other = "control" if arm == "reranked" else "reranked"
        lab.record(Exposure(event_id="x", time=lab.clock.now(), experiment="rerank", arm=other, unit_id="user-7"))
        lab.clock.advance(1)
        found = lab.framework.compare("rerank")
        assert found.contaminated == 1
        assert sum(found.units.values()) == 199

    def test_a_stopped_experiment_does_not_see_what_comes_later(self, lab: Lab) -> None:
        lab.begin(RERANK, 100, 0.0)
        lab.framework.stop("rerank")
        then = lab.framework.compare("rerank")
        lab.clock.advance(86400)
        lab.events.append({"kind": "feedback", "rating": 1.0, "user_id": "user-1", "time": lab.clock.now()})
        later = lab.framework.compare("rerank")
        assert later.estimates == then.estimates
        assert later.days_running == then.days_running


class TestPlannedLooks:
    LOOKED_AT = structs.replace(RERANK, planned_days=8, method="group sequential", minimum_units=20)

    def test_a_verdict_comes_at_a_look_and_stays_whatever_is_seen_later(self, lab: Lab) -> None:
        generator = lab.begin(self.LOOKED_AT, 120, 0.5)
        lab.clock.advance(86400)
        before = lab.framework.compare("rerank")
        assert (before.look, before.verdict.finding) == (0, "not settled")
        assert before.verdict.sentence.endswith("; leave it running until look 1 of 4, which comes within a day.")
        lab.clock.advance(86400)
        first = lab.framework.compare("rerank")
        assert (first.look, first.verdict.finding) == (1, "not settled")
        for n in range(120, 300):
            lab.serve(f"user-{n}", 0.5, generator)
        between = lab.framework.compare("rerank")
        assert (between.metrics[:2], between.units) == (first.metrics[:2], first.units)
        lab.clock.advance(2 * 86400)
        second = lab.framework.compare("rerank")
        assert second.verdict.sentence.startswith("Better at look 2 of 4: reranked raises")
        assert any("what came after look 2 of 4, 14 November 09:00 UTC" in warning for warning in second.warnings)
        assert second.complete_to == START + timedelta(days=4)
        for n in range(300, 400):
            lab.serve(f"user-{n}", -4.0, generator)
        for days in (2, 9):
            lab.clock.advance(days * 86400)
            later = lab.framework.compare("rerank")
            assert later.verdict.sentence.startswith(second.verdict.sentence.split(";")[0].rstrip("."))
            assert (later.metrics[:2], later.units) == (second.metrics[:2], second.units)
        lab.framework.stop("rerank")
        assert lab.another().compare("rerank").metrics[:2] == second.metrics[:2]
        assert sum(arm.units for arm in lab.framework.details("rerank").arms) == 300

    def test_guardrails_are_told_as_they_are_now_also_when_a_look_has_settled_the_goal(self, lab: Lab) -> None:
        generator = lab.begin(structs.replace(self.LOOKED_AT, planned_days=2), 160, 0.8)
        lab.clock.advance(86400)
        first = lab.framework.compare("rerank")
        assert first.metrics[2].guardrails[0].stopping == "not yet"
        assert "; not yet known to be within its guardrail: Average response time; " in first.verdict.sentence
        assert first.verdict.advice.startswith("do not ship reranked yet: leave it running until it is known")
        for n in range(160, 500):
            lab.serve(f"user-{n}", 0.8, generator)
        later = lab.framework.compare("rerank")
        assert (later.look, later.units) == (first.look, first.units)
        assert later.metrics[2].guardrails[0].stopping == "held"
        assert later.metrics[2].guardrails[0].state == first.metrics[2].guardrails[0].state
        assert later.verdict.sentence == f"{first.verdict.sentence.split(';')[0]}; {later.verdict.advice}."
        assert later.verdict.advice == "stop the experiment and ship reranked"

    def test_looks_that_have_passed_are_asked_for_once_and_again_after_an_hour(self, lab: Lab) -> None:
        lab.begin(structs.replace(self.LOOKED_AT, secondary_metrics=(), guardrails=()), 100, 0.0)
        lab.clock.advance(5 * 86400)
        with patch.object(lab.reader, "units", wraps=lab.reader.units) as asked:
            first = lab.framework.compare("rerank")
            assert (first.look, asked.call_count) == (2, 2)
            assert lab.framework.compare("rerank") == first
            assert asked.call_count == 2
            lab.clock.advance(3601)
            lab.framework.compare("rerank")
            assert asked.call_count == 4

    def test_a_look_has_not_come_before_the_store_knows_all_of_it(self, lab: Lab) -> None:
        lab.begin(self.LOOKED_AT, 100, 0.0)
        lab.clock.advance(5 * 86400)
        for known, look in ((1, 0), (3, 1), (4, 2)):
            lab.reader.complete_to = START + timedelta(days=known)
            assert lab.framework.compare("rerank").look == look

    def test_a_pause_puts_off_the_looks_to_come_and_none_that_has_passed(self, lab: Lab) -> None:
        lab.begin(self.LOOKED_AT, 100, 0.0)
        lab.clock.advance(3 * 86400)
        first = lab.framework.compare("rerank")
        assert (first.look, first.complete_to) == (1, START + timedelta(days=2))
        lab.framework.pause("rerank")
        lab.clock.advance(5 * 86400)
        lab.framework.start("rerank")
        again = lab.framework.compare("rerank")
        assert (again.look, again.complete_to, again.units) == (1, first.complete_to, first.units)
        lab.clock.advance(86400)
        assert lab.framework.compare("rerank").look == 2

    def test_of_a_plan_of_units_looks_on_the_same_day_are_one(self, lab: Lab) -> None:
        generator = np.random.default_rng(5)
        units = structs.replace(self.LOOKED_AT, planned_days=None, planned_units=400)
        lab.framework.create(units)
        lab.framework.start("rerank")
        for n in range(220):
            lab.serve(f"user-{n}", 1.5, generator)
        assert lab.framework.compare("rerank").look == 0
        lab.clock.advance(86400)
        found = lab.framework.compare("rerank")
        assert found.verdict.sentence.startswith("Better at look 2 of 4")

    def test_what_looks_are_planned_is_frozen_by_the_start(self, lab: Lab) -> None:
        lab.framework.create(self.LOOKED_AT)
        lab.framework.start("rerank")
        for changed in ({"looks": 5}, {"spending": "pocock"}, {"method": None}, {"planned_days": 4.0}):
            with pytest.raises(InvalidExperiment, match=f"{next(iter(changed))} is frozen"):
                lab.framework.revise(structs.replace(self.LOOKED_AT, **changed))
