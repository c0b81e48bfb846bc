"""How the effect goes along days, ages and slices, and what other methods say: shown, and never more than is known."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray
from tests.experiments.unit_moments import CATALOGUE, START, answer_of, experiment, moments_of

from barograph.core.units import UnitAnswer, UnitMoments, UnitValues
from barograph.experiments.analysis import second_opinions
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.analysis.detail import detail
from barograph.experiments.comparison import Comparison, Course, Details
from barograph.experiments.design import Experiment, Reweighting, equal_variants
from barograph.experiments.questions import question_of
from barograph.stats.covariate import compare_lin
from barograph.stats.estimate import Estimate
from barograph.stats.joint import PairSummary
from barograph.stats.multiplicity import benjamini_hochberg, holm

Floats = NDArray[np.float64]


def by_group(effects: dict[str, float], units: int = 150, deviation: float = 0.5) -> UnitAnswer:
    generator = np.random.default_rng(3)
    arms: list[UnitMoments] = []
    for group, effect in effects.items():
        for key, shift in (("control", 0.0), ("reranked", effect)):
            noise = generator.normal(0, deviation, units)
            arms.append(moments_of(key, 4.0 + shift + noise - noise.mean(), group=group))
    return answer_of(arms, START + timedelta(days=12))


def details(
    defined: Experiment,
    by_age: UnitAnswer | None = None,
    values: tuple[UnitValues, ...] = (),
    whole: UnitAnswer | None = None,
    **tags: UnitAnswer,
) -> Details:
    metric, nothing = CATALOGUE.get(defined.primary_metric), answer_of([])
    return detail(defined, metric, whole or nothing, by_age or nothing, tags, values)


def course_of(found: Details, by: str) -> Course:
    return next(course for course in found.courses if course.by == by)


class TestDays:
    def compare(self, effects: dict[str, float], days: float = 5) -> Comparison:
        name = "satisfaction"
        return analyse(
            experiment(), {name: CATALOGUE.get(name)}, {name: by_group(effects)}, START + timedelta(days=days)
        )

    def test_each_step_has_all_units_exposed_up_to_its_day(self) -> None:
        found = self.compare({f"2026-11-1{day}": 0.3 for day in range(4)})
        assert found.course is not None
        assert [step.label for step in found.course.steps] == ["2026-11-10", "2026-11-11", "2026-11-12", "2026-11-13"]
        assert [step.estimate.n for step in found.course.steps] == [300, 600, 900, 1200]
        assert all(step.estimate.method == "asymptotic confidence sequence" for step in found.course.steps)
        assert found.course.steps[-1].estimate == found.primary.always_valid[0]
        assert found.exposed_by_day == tuple((f"2026-11-1{day}", 300) for day in range(4))

    def test_without_days_there_is_no_course(self) -> None:
        found = self.compare({"": 0.3})
        assert found.course is None
        assert found.exposed_by_day == ()

    def test_a_wait_goes_by_the_days_on_which_units_came_and_not_by_those_before(self) -> None:
        name, planned = "satisfaction", experiment(planned_days=None, planned_units=4200, method="fixed horizon")
        days = {f"2026-11-2{day}": 0.0 for day in range(2)}  # nobody came in the first ten days
        answer = structs.replace(by_group(days), complete_to=START + timedelta(days=12))
        found = analyse(planned, {name: CATALOGUE.get(name)}, {name: answer}, START + timedelta(days=12))
        assert found.needs_more_days == pytest.approx((4200 - 600) / 300)


class TestAges:
    def said(self, *effects: float, deviation: float = 0.5) -> str:
        found = details(
            experiment(), by_group({str(age): effect for age, effect in enumerate(effects)}, deviation=deviation)
        )
        return course_of(found, "age").sentence

    def test_a_novelty_that_fades_is_told_with_its_p_value(self) -> None:
        said = self.said(0.5, 0.4, 0.25, 0.1, 0.02)
        assert said.startswith("The effect fades with the days since exposure (p = ")
        assert "+0.5" in said
        assert "on day 5" in said

    def test_an_effect_that_grows_or_turns_around_is_told_as_that(self) -> None:
        assert "grows" in self.said(0.05, 0.1, 0.3, 0.5)
        assert "grows" in self.said(-0.05, -0.1, -0.3, -0.5)
        assert "fades" in self.said(-0.5, -0.3, -0.2, -0.05)
        assert "turns around" in self.said(0.5, 0.2, -0.2, -0.5)

    def test_an_effect_that_stays_is_not_said_to_fade(self) -> None:
        assert self.said(0.3, 0.3, 0.3, 0.3).startswith("No sign that the effect changes")
        assert self.said(0.3, 0.1, 0.2, 0.15, deviation=4.0).startswith("No sign that the effect changes")

    def test_a_trend_is_told_wrongly_no_more_often_than_alpha(self) -> None:
        generator, wrong = np.random.default_rng(1), 0
        for _ in range(200):
            habit = generator.normal(4, 1, (2, 40))  # the same users on every day
            arms = [
                moments_of(key, habit[arm] + generator.normal(0, 1, 40), group=str(age))
                for age in range(6)
                for arm, key in enumerate(("control", "reranked"))
            ]
            wrong += not details(experiment(), answer_of(arms)).courses[0].sentence.startswith("No sign")
        assert wrong <= 200 * 0.05

    def test_too_few_days_say_nothing(self) -> None:
        assert self.said(0.5, 0.1).startswith("Too few days")
        assert details(experiment()).courses[0].sentence.startswith("Too few days")

    def test_are_asked_for_without_cap_and_past_which_no_day_has(self) -> None:
        defined = experiment(primary_metric="cost", caps={"cost": 0.99}, pre_days=7)
        by_day, by_age = (question_of(defined, "cost", START, by=by) for by in ("day", "age"))
        assert (by_day.cap, by_day.pre_days) == (0.99, 7)
        assert (by_age.cap, by_age.pre_days) == (None, 0)

    def test_ages_are_in_the_order_of_their_numbers(self) -> None:
        found = details(experiment(), by_group({"10": 0.1, "9": 0.1, "0": 0.1}))
        assert [step.label for step in course_of(found, "age").steps] == ["0", "9", "10"]


class TestSlices:
    def test_p_values_are_corrected_over_values_and_arms(self) -> None:
        defined = experiment(slices=("plan",))
        found = course_of(details(defined, plan=by_group({"free": 0.13, "paid": 0.0, "": 0.05})), "plan")
        plain = {step.label: step.estimate.p_value for step in found.steps}
        corrected = {step.label: step.p_value for step in found.steps}
        assert set(plain) == {"free", "paid", "(none)"}
        assert plain["free"] is not None
        assert corrected["free"] == pytest.approx(3 * plain["free"])
        assert plain["free"] < 0.05 < 3 * plain["free"]
        said = "An effect shows in 0 of 3 slices, corrected for their number."
        assert found.sentence == f"{said} That holds for one look, at the planned end."
        always = experiment(slices=("plan",), method="always valid")
        assert course_of(details(always, plan=by_group({"free": 0.13, "paid": 0.0})), "plan").sentence.endswith(
            "number."
        )

    def test_several_arms_in_a_slice_are_not_counted_as_slices(self) -> None:
        three = experiment(slices=("plan",), variants=equal_variants("control", "reranked", "other"))
        cells = [
            moments_of(key, 4 + more + np.tile([-0.5, 0.5], 75), group=value)
            for value in ("free", "paid")
            for key, more in (("control", 0.0), ("reranked", 1.0), ("other", 0.0))
        ]
        found = details(three, answer_of(cells), plan=answer_of(cells))
        said = course_of(found, "plan").sentence
        assert said.startswith("An effect shows in 2 of 4 pairs of slice and arm, corrected for their number.")
        ages = [structs.replace(one, group=str(age)) for age in (0, 1) for one in cells[:3]]
        assert course_of(details(three, answer_of(ages)), "age").sentence.count("Too few days") == 1

    def test_they_are_corrected_as_was_declared(self) -> None:
        slices = by_group({"free": 0.13, "paid": 0.12, "": 0.05})
        for correction, correct in (("holm", holm), ("benjamini-hochberg", benjamini_hochberg)):
            defined = experiment(slices=("plan",), correction=correction)
            steps = course_of(details(defined, plan=slices), "plan").steps
            plain = [step.estimate.p_value for step in steps]
            assert [step.p_value for step in steps] == correct([p for p in plain if p is not None])

    def test_the_most_frequent_values_are_shown_and_the_others_counted(self) -> None:
        effects = {f"value-{number}": 0.0 for number in range(25)}
        found = course_of(details(experiment(slices=("plan",)), plan=by_group(effects, units=10)), "plan")
        assert len(found.steps) == 20
        assert "The 5 rarest values are left out." in found.sentence

    def test_always_valid_experiments_have_always_valid_slices(self) -> None:
        defined = experiment(slices=("plan",), method="always valid")
        found = course_of(details(defined, plan=by_group({"free": 0.2})), "plan")
        assert found.steps[0].estimate.method == "asymptotic confidence sequence"


class TestSecondOpinions:
    def values(self, effect: float, n: int = 300, units: int | None = None) -> tuple[UnitValues, ...]:
        generator = np.random.default_rng(12)
        found = []
        for key, shift in (("control", 0.0), ("reranked", effect)):
            d = generator.integers(1, 6, n).astype(float)
            mine = (4.0 + shift + generator.normal(0, 0.5, n)) * d
            found.append(UnitValues(arm=key, units=units or n, numerators=tuple(mine), denominators=tuple(d)))
        return tuple(found)

    def test_every_method_has_its_say_and_agrees_on_a_clear_effect(self) -> None:
        found = details(experiment(), values=self.values(0.5))
        by_method = {one.method: one for one in found.second_opinions}
        assert list(by_method) == [
            second_opinions.MANN_WHITNEY, second_opinions.BRUNNER_MUNZEL, second_opinions.YUEN,
            second_opinions.WINSORISED, second_opinions.MEDIAN, second_opinions.BOOTSTRAP,
        ]  # fmt: skip
        for method, one in by_method.items():
            nothing = 0.5 if "chance" in method else 0.0
            assert one.absolute is not None
            assert one.absolute.value > nothing
            assert one.absolute.low is None or one.absolute.low > nothing
        assert not found.sampled

    def test_without_an_effect_no_interval_leaves_it_out(self) -> None:
        for one in details(experiment(), values=self.values(0.0)).second_opinions:
            assert one.absolute is not None
            nothing = 0.5 if "chance" in one.method else 0.0
            if one.absolute.low is not None and one.absolute.high is not None:
                assert one.absolute.low < nothing < one.absolute.high

    def test_a_ratio_is_bootstrapped_by_units_as_a_ratio_of_sums(self) -> None:
        control, reranked = self.values(0.5)
        bootstrap = details(experiment(), values=(control, reranked)).second_opinions[-1]
        ratio = [sum(one.numerators) / sum(one.denominators) for one in (control, reranked)]
        assert bootstrap.absolute is not None
        assert bootstrap.absolute.value == pytest.approx(ratio[1] - ratio[0])

    def test_units_without_a_measurement_have_no_mean_of_their_own(self) -> None:
        control, reranked = self.values(0.5)
        more = structs.replace(
            control, numerators=(*control.numerators, 0.0), denominators=(*control.denominators, 0.0), units=301
        )
        found = details(experiment(), values=(more, reranked))
        assert found.second_opinions[0].baseline_n == 300
        assert found.arms[0].units == 301

    def test_the_spread_is_told_by_quantiles(self) -> None:
        found = details(experiment(primary_metric="cost"), values=self.values(0.5))
        mine = np.array(self.values(0.5)[0].numerators)
        assert found.arms[0].quantiles == pytest.approx(np.quantile(mine, np.linspace(0, 1, 21)))
        assert found.arms[0].mean == pytest.approx(mine.mean())

    def test_a_sample_is_said_to_be_one(self) -> None:
        found = details(experiment(), values=self.values(0.5, units=90_000))
        assert found.sampled
        assert any("of a sample" in warning for warning in found.warnings)

    @pytest.mark.parametrize("n", [0, 1, 9])
    def test_too_few_units_have_no_second_opinion_and_are_no_error(self, n: int) -> None:
        found = details(experiment(), values=self.values(0.5, n=n))
        assert found.second_opinions == ()
        assert len(found.arms) == 2

    def test_equal_values_everywhere_are_no_error(self) -> None:
        same = tuple(UnitValues(arm=key, units=50, numerators=(1.0,) * 50, denominators=(1.0,) * 50)
                     for key in ("control", "reranked"))  # fmt: skip
        found = details(experiment(), values=same)
        assert all(told_nothing(one) for one in found.second_opinions)

    def test_after_a_change_of_weights_there_are_none_and_that_is_said(self) -> None:
        changed = (Reweighting(at=START, before={"control": 0.4, "reranked": 0.6}),)
        found = details(experiment(reweighted=changed), values=self.values(0.5))
        assert found.second_opinions == ()
        assert any("left out" in warning for warning in found.warnings)

    def test_with_a_pre_period_the_regression_on_it_has_its_say(self) -> None:
        generator = np.random.default_rng(2)
        pre, ones = generator.normal(3, 1, (2, 200)), np.ones(200)
        since = pre * [[1.0], [1.5]] + generator.normal(0, 0.2, (2, 200))
        arms = [moments_of(key, since[arm], pre=(pre[arm], ones)) for arm, key in enumerate(("control", "reranked"))]
        lin = details(experiment(pre_days=7), values=self.values(0.5), whole=answer_of(arms)).second_opinions[-1]
        expected = compare_lin(PairSummary.from_values(pre[1], since[1]), PairSummary.from_values(pre[0], since[0]))
        assert lin.method == expected.method
        assert lin.p_value == pytest.approx(expected.p_value, rel=1e-6)

    def test_many_units_are_not_bootstrapped(self) -> None:
        found = details(experiment(), values=self.values(0.1, n=6000))
        assert second_opinions.BOOTSTRAP not in [one.method for one in found.second_opinions]


def told_nothing(estimate: Estimate) -> bool:
    effect = estimate.absolute
    return effect is None or effect.value in (0.0, 0.5)
