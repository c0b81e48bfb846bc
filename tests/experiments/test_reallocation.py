"""Weights that follow the data: the best arm gets the most, nobody moves, and each period is counted apart."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from tests.experiments.units_reader import moments
from tests.support.dictionary_reader import DictionaryReader

from barograph.control.database import ControlPlane
from barograph.control.experiments import ExperimentRepository
from barograph.core.metric import Catalogue
from barograph.core.units import UnitAnswer, UnitQuery
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.design import Experiment, Variant, equal_variants
from barograph.experiments.register import MOST_REWEIGHTINGS
from barograph.stats.summary import RatioSummary
from barograph_client.clock import ManualClock
from barograph_client.errors import ChangedMeanwhile, InvalidExperiment

START = datetime(2026, 11, 10, 9, tzinfo=UTC)
MODELS = Experiment(
    key="models", variants=equal_variants("large", "medium", "small"), primary_metric="response_time.mean", sticky=True
)


class Visits(DictionaryReader):
    """One visit a unit: when, in which arm, and the numbers above and below."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__([], clock.now)
        self.visits: list[tuple[datetime, str, float]] = []

    def units(self, question: UnitQuery) -> UnitAnswer:
        cells: dict[tuple[str, int], list[float]] = defaultdict(list)
        for time, arm, value in self.visits:
            cells[arm, bisect_right(question.changed_at, time)].append(value)
        summed = {cell: RatioSummary.from_values(values, [1.0] * len(values)) for cell, values in cells.items()}
        return UnitAnswer(
            arms=tuple(
                structs.replace(moments(arm, summary), period=period) for (arm, period), summary in summed.items()
            ),
            contaminated=0, first_exposure=START, last_exposure=START, complete_to=self.watermark(),
        )  # fmt: skip


class Lab:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(START)
        self.plane = ControlPlane(path, self.clock)
        self.reader = Visits(self.clock)
        self.framework = ABTestFramework(
            self.reader, ExperimentRepository(self.plane), lambda exposure: None, self.clock, Catalogue()
        )
        self.arms: dict[str, str] = {}
        self.generator = np.random.default_rng(7)

    def run(self, experiment: Experiment) -> ABTestFramework:
        self.framework.create(experiment)
        self.framework.start(experiment.key)
        return self.framework

    def day(self, units: int, means: dict[str, float], spread: float = 1.0) -> None:
        """New units, each with one number around the mean of its arm; with no spread a yes or a no."""
        self.clock.advance(3_600)
        for _ in range(units):
            unit = f"user-{len(self.arms)}"
            arm = self.arms[unit] = str(self.framework.assign("models", unit))
            drawn = self.generator.normal(means[arm], spread) if spread else self.generator.random() < means[arm]
            self.reader.visits.append((self.clock.now(), arm, float(drawn)))
        self.clock.advance(3_600)

    def shares(self, since: int) -> dict[str, float]:
        later = list(self.arms.values())[since:]
        return {arm: later.count(arm) / len(later) for arm in ("large", "medium", "small")}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "control.db")
    yield lab
    lab.plane.close()


def weights(experiment: Experiment) -> dict[str, float]:
    return {arm.key: arm.weight for arm in experiment.variants}


def test_where_lower_is_better_the_lowest_of_three_arms_gets_the_most_and_nobody_moves(lab: Lab) -> None:
    f = lab.run(MODELS)
    lab.day(600, {"large": 5.0, "medium": 4.7, "small": 4.4})
    found = weights(f.reallocate("models").experiment)
    assert found["small"] > 0.85
    assert min(found.values()) == 0.05
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    lab.day(600, {"large": 5.0, "medium": 4.7, "small": 4.4})
    assert lab.shares(600)["small"] > 0.8
    assert {unit: f.assign("models", unit) for unit in lab.arms} == lab.arms


def test_where_higher_is_better_the_highest_does_also_of_what_is_a_yes_or_a_no(lab: Lab) -> None:
    f = lab.run(structs.replace(MODELS, primary_metric="satisfaction"))
    lab.day(300, {"large": 3.0, "medium": 3.2, "small": 4.5})
    assert weights(f.reallocate("models").experiment)["small"] == 0.9
    f.stop("models")
    f.create(structs.replace(MODELS, key="errors", primary_metric="error_rate"))
    f.start("errors")
    lab.reader.visits.clear()
    lab.day(0, {})
    for arm, failed in (("large", 30), ("medium", 28), ("small", 3)):
        lab.reader.visits += [(lab.clock.now(), arm, float(n < failed)) for n in range(100)]
    assert weights(f.reallocate("errors", exploration=0.02).experiment)["small"] == 0.96


def test_again_with_the_same_floor_before_there_is_anything_new_it_changes_nothing_and_with_another_it_may(
    lab: Lab,
) -> None:
    f = lab.run(MODELS)
    lab.day(300, {"large": 5.0, "medium": 4.7, "small": 4.4})
    for exploration, times in ((0.05, 1), (0.05, 1), (0.1, 2), (0.1, 2)):
        found = f.reallocate("models", exploration=exploration).experiment
        assert min(weights(found).values()) == exploration
        assert len(found.reweighted) == times


def test_the_audit_log_has_the_weights_before_and_after_and_the_chances(lab: Lab) -> None:
    f = lab.run(MODELS)
    lab.day(300, {"large": 5.0, "medium": 4.9, "small": 4.8})
    told = f.reallocate("models", actor="ann")
    after = told.experiment
    newest = f.history("models")[0]
    assert (newest.action, newest.actor) == ("reallocate", "ann")
    detail: Any = newest.detail
    old, new = detail["changed"]["variants"].values()
    assert [one["weight"] for one in old] == [1 / 3] * 3
    assert {one["key"]: one["weight"] for one in new} == weights(after)
    assert sum(detail["chances"].values()) == pytest.approx(1, abs=1e-6)
    assert (told.before, told.chances) == (weights(MODELS), detail["chances"])
    assert [one.before for one in after.reweighted] == [weights(MODELS)]


def test_an_arm_that_had_more_units_on_the_good_day_is_not_taken_for_a_good_arm(lab: Lab) -> None:
    lopsided = tuple(
        Variant(key=key, weight=weight) for key, weight in (("large", 0.1), ("medium", 0.1), ("small", 0.8))
    )
    f = lab.run(structs.replace(MODELS, variants=lopsided))
    lab.day(1_000, {"large": 2.0, "medium": 2.5, "small": 2.5})  # a quick day, with four of five units in small
    f.revise(structs.replace(f.get("models"), variants=equal_variants("large", "medium", "small")))
    lab.day(1_000, {"large": 5.0, "medium": 5.5, "small": 5.5})
    pooled = {arm: np.mean([value for _, one, value in lab.reader.visits if one == arm]) for arm in ("large", "small")}
    assert pooled["small"] < pooled["large"]
    assert weights(f.reallocate("models").experiment)["large"] == 0.9


def test_two_changes_are_two_periods_in_their_order_whatever_the_clock_says(lab: Lab) -> None:
    f = lab.run(MODELS)
    for shares in ((0.2, 0.2, 0.6), (0.1, 0.1, 0.8)):
        arms = tuple(structs.replace(one, weight=w) for one, w in zip(MODELS.variants, shares, strict=True))
        f.revise(structs.replace(f.get("models"), variants=arms))
        lab.clock.step(-3_600)
    first, second = f.get("models").reweighted
    assert (first.at, second.at) == (START, START + timedelta(microseconds=1))
    assert (first.before["small"], second.before["small"]) == (1 / 3, 0.6)
    paid = tuple(structs.replace(one, payload={"top_k": 3}) for one in f.get("models").variants)
    with pytest.raises(InvalidExperiment, match="the payload of arm large is another"):
        f.revise(structs.replace(f.get("models"), variants=paid))
    with pytest.raises(InvalidExperiment, match="arm small was removed"):
        f.revise(structs.replace(f.get("models"), variants=equal_variants("large", "medium", "tiny")))


def test_after_a_hundred_changes_the_weights_stay_as_they_are(lab: Lab) -> None:
    f = lab.run(MODELS)
    repository = ExperimentRepository(lab.plane)
    record = repository.get("default", "models")
    assert record is not None
    change = {"at": START.isoformat(), "before": weights(MODELS)}
    repository.save(
        structs.replace(record, definition={**record.definition, "reweighted": [change] * MOST_REWEIGHTINGS}),
        actor="test", action="revise",
    )  # fmt: skip
    arms = tuple(structs.replace(one, weight=w) for one, w in zip(MODELS.variants, (0.2, 0.2, 0.6), strict=True))
    with pytest.raises(InvalidExperiment, match="were changed 100 times"):
        f.revise(structs.replace(f.get("models"), variants=arms))


def test_somebody_who_changes_it_meanwhile_is_not_overwritten(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    f = lab.run(MODELS)
    lab.day(300, {"large": 5.0, "medium": 4.9, "small": 4.8})
    answer = lab.reader.units

    def meanwhile(question: UnitQuery) -> UnitAnswer:
        f.stop("models", actor="ann")
        return answer(question)

    monkeypatch.setattr(lab.reader, "units", meanwhile)
    with pytest.raises(ChangedMeanwhile):
        f.reallocate("models")
    assert (f.get("models").state, f.get("models").reweighted) == ("stopped", ())


def test_where_nothing_can_be_learnt_it_says_why(lab: Lab) -> None:
    f = lab.run(MODELS)
    lab.day(60, {"large": 5.0, "medium": 4.9, "small": 4.8})
    with pytest.raises(InvalidExperiment, match="too few to learn from") as few:
        f.reallocate("models")
    assert "each arm has 30" in few.value.hint
    lab.day(240, {"large": 5.0, "medium": 4.9, "small": 4.8})
    for exploration in (0.0, 0.4, float("nan")):
        with pytest.raises(InvalidExperiment, match="no share that each arm can have"):
            f.reallocate("models", exploration=exploration)
    f.pause("models")
    with pytest.raises(InvalidExperiment, match="is paused: no user comes"):
        f.reallocate("models")
    f.create(structs.replace(MODELS, key="firm", sticky=False))
    f.start("firm")
    with pytest.raises(InvalidExperiment, match="it is not sticky"):
        f.reallocate("firm")
    f.create(structs.replace(MODELS, key="still"))
    f.start("still")
    lab.reader.visits = [(lab.clock.now(), arm.key, 2.0) for arm in MODELS.variants for _ in range(50)]
    with pytest.raises(InvalidExperiment, match=r"has the same response_time\.mean"):
        f.reallocate("still")
