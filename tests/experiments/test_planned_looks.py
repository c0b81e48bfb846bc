"""Planned looks: alpha is held over all of them together, more is found than at any time, and a crossing stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
import pytest
from bench.validity import looks
from bench.validity.looks import GOAL, START, at_any_time
from bench.validity.study import Rate
from msgspec import structs
from tests.experiments.unit_moments import answer_of, moments_of
from tests.support.soak import times

from barograph.core.metric import Catalogue
from barograph.core.units import UnitAnswer
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.analysis.arms import arms_of, cells_of
from barograph.experiments.analysis.gate import check_sample_ratio
from barograph.experiments.analysis.looks import NOTHING_NEW, Boundary, Looks
from barograph.experiments.comparison import REPEATED, Comparison
from barograph.experiments.design import Experiment, Guardrail
from barograph_client.errors import InvalidExperiment

CATALOGUE = Catalogue()
LOOKS = 4
TIME = "response_time.mean"


def experiment(*weights: float, **values: Any) -> Experiment:
    return looks.experiment(weights or (0.5, 0.5), **values)


def seen(
    defined: Experiment, seed: int, *, units: int = 1_000, lift: float = 0.0, until: int = 10
) -> Iterator[UnitAnswer]:
    return islice(looks.seen(defined, seed, units=units, effect=lift), until)


def looks_of(defined: Experiment, answers: Iterable[UnitAnswer]) -> Looks:
    return Looks.of(defined, GOAL, enumerate(answers, start=1))


def compared(defined: Experiment, answers: list[UnitAnswer], day: float) -> Comparison:
    """As the framework does it."""
    names = dict.fromkeys(defined.metrics)
    passed = looks_of(defined, answers) if answers else None
    metrics = {name: CATALOGUE.get(name) for name in names}
    now: datetime = START + timedelta(days=day)
    last = next(seen(defined, 0)) if passed is None else answers[passed.number - 1]
    return analyse(defined, metrics, dict.fromkeys(names, last), now, looks=passed)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.8, 0.2), (0.4, 0.3, 0.3)], ids=["1:1", "4:1", "three arms"])
def test_all_looks_together_keep_alpha(weights: tuple[float, ...], spending: str) -> None:
    defined, runs = experiment(*weights, spending=spending), times(8, 4_000)
    wrong = sum(bool(looks_of(defined, seen(defined, seed)).settled) for seed in range(runs))
    assert not Rate(wrong, runs).exceeds(defined.alpha)


@pytest.mark.timeout(3600)
def test_more_is_found_than_at_any_time_and_a_large_effect_at_an_early_look() -> None:
    runs = times(12, 500)
    defined = experiment()
    early, whole, always = 0, 0, 0
    for seed in range(runs):
        answers = list(seen(defined, seed, lift=0.15))
        settled = looks_of(defined, answers).settled
        whole += bool(settled)
        early += any(one.look < LOOKS for one in settled.values())
        p_values = [at_any_time(defined, one).p_value for one in answers]
        always += any(p_value is not None and p_value < defined.alpha for p_value in p_values)
    assert whole >= early > always
    strong = looks_of(defined, seen(defined, 1, lift=0.5))
    assert strong.settled["arm-1"].look == strong.number == 2


class TestACrossing:
    def test_stays_whatever_comes_later(self) -> None:
        defined = experiment()
        answers = [*seen(defined, 1, lift=0.5, until=2), *list(seen(defined, 2, lift=-0.5))[2:]]
        then = compared(defined, answers[:2], 14)
        assert then.verdict.finding == "better"
        assert then.look == 2
        for passed, day in ((3, 22), (4, 28), (4, 90)):
            later = compared(defined, answers[:passed], day)
            assert (later.verdict, later.metrics, later.units) == (then.verdict, then.metrics, then.units)

    def test_asks_for_no_later_look(self) -> None:
        defined = experiment()
        answers = seen(defined, 1, lift=0.5)
        assert looks_of(defined, answers).number == 2
        assert len(list(answers)) == LOOKS - 2

    def test_of_one_arm_stays_while_the_other_goes_on(self) -> None:
        defined = experiment(0.4, 0.3, 0.3)
        two = list(seen(defined, 1, units=1_500))
        lifted = list(seen(defined, 1, units=1_500, lift=0.5))
        answers = [
            structs.replace(one, arms=(*one.arms[:2], other.arms[2])) for one, other in zip(two, lifted, strict=True)
        ]
        back = [*answers[:2], *two[2:]]  # what the arm showed is gone again
        then, later = compared(defined, answers[:2], 15), compared(defined, back, 28)
        assert [one.finding for one in then.arm_verdicts] == ["not settled", "better"]
        assert then.arm_verdicts[1].sentence.startswith("Better at look 2 of 4: arm-2 raises")
        assert (later.look, later.arm_verdicts[1].finding) == (4, "better")
        assert later.primary.repeated[1] == then.primary.repeated[1]
        assert "at look 2 of 4" in later.arm_verdicts[1].sentence
        assert later.arm_verdicts[0].sentence.startswith("Not settled at look 4 of 4")

    def test_says_at_which_value_the_sums_of_its_own_look_were_cut_off(self) -> None:
        defined = experiment(0.4, 0.3, 0.3, caps={GOAL.name: 0.99})
        two, lifted = (list(seen(defined, 1, units=1_500, lift=lift)) for lift in (0.0, 0.5))
        answers = [
            structs.replace(one, arms=(*one.arms[:2], other.arms[2]), cap=30.0 + look)
            for look, (one, other) in enumerate(zip(two, lifted, strict=True), start=1)
        ]
        still, settled = compared(defined, answers, 28).primary.repeated
        assert f"{REPEATED}, sums a unit up to 34" in still.method
        assert f"{REPEATED}, sums a unit up to 32" in settled.method

    def test_needs_an_open_gate_at_its_own_look(self) -> None:
        defined = experiment(minimum_units=450)
        found = looks_of(defined, seen(defined, 1, lift=0.5))
        assert found.settled["arm-1"].look == 4  # of 500 units an arm, 375 have come at the third


class TestBoundary:
    def test_the_interval_leaves_zero_out_exactly_when_the_p_value_is_below_alpha(self) -> None:
        defined = experiment(spending="pocock")
        ends = []
        for seed in range(6):
            answers = list(seen(defined, seed, lift=0.05 * seed))
            for number in range(1, LOOKS + 1):
                shown = looks_of(defined, answers[:number]).number
                (one,) = compared(defined, answers[:shown], 28).primary.repeated
                effect = one.absolute
                assert effect is not None
                assert effect.p_value is not None
                assert effect.low is not None
                assert effect.high is not None
                assert (effect.low > 0 or effect.high < 0) == (effect.p_value < defined.alpha)
                ends.append(effect.p_value < defined.alpha)
        assert {True, False} == set(ends)

    def test_of_the_first_looks_is_far_out_and_that_of_the_last_near_the_one_of_a_single_look(self) -> None:
        answers = list(seen(experiment(), 1))
        arms = {look: arms_of(GOAL, experiment(), cells_of(one.arms)).by_key for look, one in enumerate(answers, 1)}

        def z(spending: str, passed: int) -> float:
            schedule = Boundary.of(
                experiment(spending=spending), {look: arms[look] for look in range(1, passed + 1)}
            ).schedules["arm-1"]
            assert schedule is not None
            return schedule.bound(0.05).z

        # by the calendar, whatever the information: 2 - 2 Phi(z / sqrt(1/4)) of alpha is spent at the first look
        assert z("obrien-fleming", 1) == pytest.approx(4.333, abs=1e-3)
        assert z("obrien-fleming", 4) == pytest.approx(2.05, abs=0.02)
        assert z("pocock", 1) == pytest.approx(2.368, abs=1e-3)
        assert z("pocock", 4) == pytest.approx(2.47, abs=0.02)

    def test_a_look_at_which_nothing_new_came_decides_nothing_and_spends_at_the_next(self) -> None:
        defined = experiment()
        first, second, third, _ = seen(defined, 1, lift=0.5)
        stuck = looks_of(defined, [first, first])
        assert (stuck.number, stuck.settled, stuck.boundary.schedules) == (2, {}, {"arm-1": None})
        told = compared(defined, [first, first], 15)
        assert NOTHING_NEW in told.verdict.sentence
        assert looks_of(defined, [first, first, second, third]).settled["arm-1"].look == 3

    def test_the_past_is_taken_out_where_it_is_known(self) -> None:
        defined, generator = experiment(pre_days=7), np.random.default_rng(3)
        before = generator.normal(3.5, 1, (2, 400))
        since = before + 0.2 * generator.standard_normal((2, 400)) + [[0.0], [0.05]]
        ones = np.ones(400)
        arms = [moments_of(f"arm-{i}", since[i], ones, pre=(before[i], ones)) for i in (0, 1)]
        found = compared(defined, [answer_of(arms, START + timedelta(days=7))], 8)
        (one,) = found.deciding
        assert one.method.endswith(f"(CUPED), {REPEATED}")
        assert "repeated 95 % interval" in found.verdict.sentence
        assert "adjusted by the days before" in found.verdict.sentence


class TestWhatIsSaid:
    def test_the_next_look_is_told_with_its_time(self) -> None:
        defined = experiment(guardrails=(Guardrail(metric=TIME, margin=0.2),), secondary_metrics=("accuracy",))
        before = compared(defined, [], 3)
        assert before.early
        assert before.needs_more_days == pytest.approx(4)
        assert "it is before the first look (3 of 28 planned days)" in before.verdict.sentence
        assert before.verdict.sentence.endswith("; leave it running until look 1 of 4, which comes in about 4 days.")
        assert any("before the first planned look" in warning for warning in before.warnings)
        first = compared(defined, list(seen(defined, 3, until=1)), 12.5)
        assert (first.look, first.planned_looks, first.early) == (1, 4, False)
        assert first.verdict.sentence.startswith("Not settled at look 1 of 4: arm-1 may change")
        assert "repeated 95 % interval" in first.verdict.sentence
        assert first.verdict.sentence.endswith("; leave it running until look 2 of 4, which comes in about 2 days.")
        assert first.needs_more_days == pytest.approx(1.5)
        assert first.metrics[1].adjusted_p_values == (first.metrics[1].repeated[0].p_value,)
        last = compared(defined, list(seen(defined, 3)), 28)
        assert last.verdict.sentence.startswith("Not settled at look 4 of 4: ")
        assert "comes" not in last.verdict.sentence

    def test_of_a_plan_of_units_the_next_look_comes_when_they_have_come(self) -> None:
        defined = experiment(planned_days=None, planned_units=2_000)
        (answer,) = seen(defined, 3, until=1)
        day = structs.replace(
            answer, arms=tuple(structs.replace(one, group=f"{START:%Y-%m-%d}") for one in answer.arms),
            complete_to=START + timedelta(days=1),
        )  # fmt: skip
        found = compared(defined, [day], 1.5)
        assert found.needs_more_days is not None
        assert 2 < found.needs_more_days < 4  # 250 came in a day, of 1,000, half a day ago
        assert "look 2 of 4, which comes in about" in found.verdict.sentence

    def test_of_looks_that_come_at_the_same_midnight_the_last_is_told(self) -> None:
        defined = experiment(planned_days=None, planned_units=200)
        (answer,) = seen(defined, 3, until=1)
        day = structs.replace(
            answer, arms=tuple(structs.replace(one, group=f"{START:%Y-%m-%d}") for one in answer.arms),
            complete_to=START.replace(hour=18),
        )  # fmt: skip
        names = dict.fromkeys(defined.metrics)
        metrics = {name: CATALOGUE.get(name) for name in names}
        found = analyse(defined, metrics, dict.fromkeys(names, day), day.complete_to)
        assert found.verdict.sentence.endswith("; leave it running until look 4 of 4, which comes within a day.")
        assert found.needs_more_days == pytest.approx(0.25)  # 250 have come, and the day ends in six hours

    def test_a_stopped_experiment_has_no_look_to_come(self) -> None:
        defined = structs.replace(experiment(), state="stopped", stopped_at=START + timedelta(days=9))
        for answers in ([], list(seen(defined, 3, until=1))):
            said = compared(defined, answers, 30).verdict.sentence
            assert "comes" not in said
            assert "it was stopped" in said

    def test_equivalent_is_said_at_the_last_look_only(self) -> None:
        defined = experiment(equivalence_margin=0.05)
        answers = list(seen(defined, 3))
        assert compared(defined, answers[:3], 21).verdict.finding == "not settled"
        assert compared(defined, answers, 28).verdict.sentence.startswith("Equivalent at look 4 of 4: arm-1")

    def test_the_sample_ratio_is_held_against_its_threshold_over_all_looks(self) -> None:
        defined = experiment()
        (answer,) = seen(defined, 3, units=3_000, until=1)
        for units, mismatch in ((475, False), (490, True)):  # beside 375
            more = answer_of([answer.arms[0], structs.replace(answer.arms[1], units=units)], answer.complete_to)
            by_looks, once = (check_sample_ratio(one, more) for one in (defined, experiment(method=None)))
            assert once.p_value is not None
            assert by_looks.p_value == pytest.approx(LOOKS * once.p_value)
            assert (by_looks.mismatch, once.mismatch) == (mismatch, True)
            assert by_looks.method == f"{once.method}, one of 4 looks"
            assert (compared(defined, [more], 8).verdict.finding == "not valid") == mismatch


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"planned_days": None}, "need planned_days or planned_units"), ({"looks": 1}, "2 to 10"),
        ({"looks": 11}, "2 to 10"), ({"spending": "evenly"}, "well-formed"),
        ({"method": None, "looks": 5}, "are for method"), ({"method": "always valid", "spending": "pocock"}, "are for"),
    ],
)  # fmt: skip
def test_a_plan_of_looks_that_is_none_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidExperiment, match=says):
        experiment(**values)
