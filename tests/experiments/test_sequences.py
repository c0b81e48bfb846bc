"""What may be read at any time: the clock keeps the promise, the gate says no, values in [0, 1] have a second way."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from bench.validity import unit_days
from msgspec import structs
from numpy.typing import NDArray
from tests.experiments.unit_moments import START, answer_of, moments_of
from tests.support.soak import times

from barograph.core.metric import Catalogue
from barograph.core.units import UnitMoments
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.analysis.arms import Arm, arms_of, cells_of
from barograph.experiments.analysis.sequential import Sequences, Tuning, within_unit_interval
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, equal_variants, validated
from barograph.stats.estimate import Estimate
from barograph.stats.exact import clopper_pearson_interval
from barograph.stats.sequential import asymptotic

CATALOGUE = Catalogue()
ALPHA = 0.05
Floats = NDArray[np.float64]


def experiment(**values: object) -> Experiment:
    base = Experiment(
        key="rerank", variants=equal_variants("control", "reranked"), primary_metric="satisfaction", state="running",
        started_at=START,
    )  # fmt: skip
    return validated(structs.replace(base, **values), CATALOGUE)


def compare(defined: Experiment, arms: list[UnitMoments], day: float = 14.0) -> Comparison:
    name, now = defined.primary_metric, START + timedelta(days=day)
    return analyse(defined, {name: CATALOGUE.get(name)}, {name: answer_of(arms, now)}, now)


def bounds(estimate: Estimate) -> tuple[float, float]:
    effect = estimate.absolute
    assert effect is not None
    assert effect.low is not None
    assert effect.high is not None
    return effect.low, effect.high


def ratings(mean: float, n: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


class TestClock:
    """Users who join over weeks and go on acting, 1 to 200 queries each, looked at every day; nothing differs."""

    @pytest.mark.parametrize("setting", unit_days.SETTINGS[:3], ids=lambda one: one.name)
    @pytest.mark.parametrize("metric", unit_days.METRICS)
    def test_a_sequence_that_runs_by_unit_days_is_wrong_no_more_often_than_alpha(
        self, setting: unit_days.Setting, metric: str
    ) -> None:
        repetitions = times(30, 2000)
        found = unit_days.wrong(metric, setting, repetitions)
        for rate in (found.sequence, found.guardrail):
            assert clopper_pearson_interval(rate.wrong, repetitions, 0.002)[0] <= ALPHA
        assert found.sequence.wrong <= ALPHA * repetitions + times(1, 0)
        assert found.daily.value > (0 if setting.heavy else 3 * ALPHA)  # made for one look, wrong when looked at daily

    def test_units_that_have_only_just_come_settle_nothing(self) -> None:
        arms = [
            moments_of(key, ratings(4.0, 200, seed), unit_days=0.5) for key, seed in (("control", 1), ("reranked", 2))
        ]
        assert "only just come" in compare(experiment(), arms).verdict.sentence

    def test_the_clock_counts_the_unit_days_of_both_arms(self) -> None:
        arms = [moments_of("control", ratings(4.0, 300, 1), unit_days=900.0)]
        arms.append(moments_of("reranked", ratings(4.1, 300, 2), unit_days=2100.0))
        defined = experiment()
        (found,) = compare(defined, arms).primary.always_valid
        assert found.absolute is not None
        assert found.absolute.standard_error is not None
        expected = asymptotic.confidence_sequence(
            found.absolute.value, found.absolute.standard_error**2, 3000, tuning_n=Tuning.of(defined).unit_days
        )
        assert found.absolute.p_value == pytest.approx(expected.p_value)
        assert found.absolute.low == pytest.approx(expected.low)

    def test_the_plan_says_where_a_sequence_is_tightest(self) -> None:
        planned = experiment(planned_days=20, planned_units=3000, method="always valid")
        assert Tuning.of(planned) == Tuning(units=3000, unit_days=30_000)
        windowed = structs.replace(planned, attribution_days=5.0)
        assert Tuning.of(windowed).unit_days == pytest.approx(
            3000 * np.minimum(5, np.linspace(0, 20, 10_001)).mean(), rel=1e-3
        )
        assert Tuning.of(experiment()).unit_days == 5000 * 14


class TestVerdict:
    def test_without_a_planned_end_a_verdict_may_be_given_at_any_time(self) -> None:
        arms = [moments_of("control", ratings(3.8, 800, 1)), moments_of("reranked", ratings(4.2, 800, 2))]
        found = compare(experiment(), arms, day=2)
        assert found.decided_by == "always valid"
        assert found.verdict.finding == "better"
        assert "always valid 95 % interval" in found.verdict.sentence
        assert found.verdict.p_value == found.primary.always_valid[0].p_value
        assert not any("no end was planned" in warning for warning in found.warnings)

    def test_it_is_the_always_valid_interval_that_decides_and_it_is_the_wider_one(self) -> None:
        arms = [moments_of("control", ratings(4.0, 400, 1)), moments_of("reranked", ratings(4.16, 400, 2))]
        fixed = compare(experiment(method="fixed horizon", planned_days=10), arms)
        always = compare(experiment(method="always valid", planned_days=10), arms)
        assert fixed.verdict.finding == "better"
        assert always.verdict.finding == "not settled"
        assert "to find a change of 5 % it needs" in always.verdict.sentence
        (low, high), (lower, higher) = bounds(fixed.deciding[0]), bounds(always.deciding[0])
        assert lower < low < high < higher

    def test_no_difference_of_shares_is_said_to_be_more_than_the_whole(self) -> None:
        """Just after the start an interval is far wider than there can be: it is cut off, and the sentence says so."""
        shares = [np.random.default_rng(seed).beta(6, 3, 120) for seed in (1, 2)]
        arms = [moments_of(key, one, unit_days=5.0) for key, one in zip(("control", "reranked"), shares, strict=True)]
        found = compare(experiment(primary_metric="accuracy"), arms, day=0.05)
        assert bounds(found.deciding[0]) == (-1.0, 1.0)
        assert found.deciding[0].p_value is not None
        assert "with an interval too wide to tell anything; " in found.verdict.sentence
        assert "interval −" not in found.verdict.sentence

    def test_a_relative_interval_wider_than_the_double_is_told_in_the_metric_s_unit(self) -> None:
        costs = [np.random.default_rng(seed).uniform(0.0, 2.0, 120) for seed in (1, 2)]
        arms = [moments_of(key, one, unit_days=5.0) for key, one in zip(("control", "reranked"), costs, strict=True)]
        found = compare(experiment(primary_metric="cost"), arms, day=0.05)
        assert "always valid 95 % interval −$" in found.verdict.sentence

    @pytest.mark.parametrize("change", ["few", "skewed", "unknown"])
    def test_where_the_sequence_refuses_nothing_is_settled_yet_and_it_says_why(self, change: str) -> None:
        generator = np.random.default_rng(3)
        arms = [moments_of(key, generator.lognormal(0, 2, 400)) for key in ("control", "reranked")]
        if change == "few":
            arms = [moments_of(key, ratings(4.0, 60, seed)) for key, seed in (("control", 1), ("reranked", 2))]
        if change == "unknown":
            arms = [structs.replace(one, cubes=None) for one in arms]
        found = compare(experiment(), arms)
        why = {"few": "100 units in each arm", "skewed": "too skewed", "unknown": "skewness of the values is not known"}
        what = {
            "few": "leave it running, and look again in a day",
            "skewed": "leave it running, or cap the metric in a new experiment",
            "unknown": "record each user's values less their usual level, in a new experiment",
        }
        assert found.verdict.finding == ("not valid" if change == "unknown" else "not settled")
        assert found.verdict.p_value is None
        assert found.needs_more_days is None or change != "unknown"
        assert found.verdict.advice == what[change]
        assert why[change] in found.verdict.sentence
        assert "not valid here" not in found.verdict.sentence
        assert not any(why[change] in warning for warning in found.warnings)  # it would be said twice
        assert any(why[change] in warning for warning in found.deciding[0].warnings)

    def test_a_ratio_whose_denominator_is_uncertain_is_refused(self) -> None:
        generator = np.random.default_rng(4)
        d = np.repeat([1.0, 30.0], (105, 15))
        arms = [moments_of(key, d * generator.normal(2, 0.1, 120), d) for key in ("control", "reranked")]
        (found,) = compare(experiment(primary_metric="response_time.mean"), arms).primary.always_valid
        assert found.p_value is None
        assert found.warnings == (
            "not valid here: few or very uneven measurements a unit in reranked and control",
        )  # fmt: skip

    def test_how_long_it_takes_is_when_the_sequence_will_be_narrow_enough(self) -> None:
        defined = experiment()
        by_day = [
            moments_of(key, ratings(4.0, 40, 100 * day + arm), unit_days=40 * (9.5 - day), group=f"2026-11-{10 + day}")
            for day in range(10)
            for arm, key in enumerate(("control", "reranked"))
        ]
        found = compare(defined, by_day, day=10)
        assert found.verdict.finding == "not settled"
        more = found.needs_more_days
        assert more is not None
        assert 1 < more < 60
        units, days = 400 + 40 * more, 10 + more
        clock = 80 * days * days / 2
        spread = np.sqrt(2 / units)
        reach = asymptotic.confidence_sequence(0.0, spread**2, clock, tuning_n=Tuning.of(defined).unit_days).high
        assert reach is not None
        assert reach + 0.8416 * spread == pytest.approx(0.05 * 4.0, rel=0.1)

    @pytest.mark.parametrize("today", [4, 60])
    def test_a_quiet_or_a_busy_morning_does_not_change_the_pace(self, today: int) -> None:
        by_day = [
            moments_of(key, ratings(4.0, 40, 100 * day), unit_days=40 * (9.5 - day), group=f"2026-11-{10 + day}")
            for day in range(10)
            for key in ("control", "reranked")
        ]
        usual = compare(experiment(), by_day, day=10).needs_more_days
        by_day += [
            moments_of(key, ratings(4.0, today, 7), unit_days=today / 10, group="2026-11-20")
            for key in ("control", "reranked")
        ]
        found = compare(experiment(), by_day, day=10.3).needs_more_days
        assert usual is not None
        assert found is not None
        assert found == pytest.approx(usual, abs=2)

    def test_more_treatments_need_more_days(self) -> None:
        waits = []
        for keys in (("control", "reranked"), ("control", "reranked", "third")):
            by_day = [
                moments_of(key, ratings(4.0, 40, 100 * day), unit_days=40 * (9.5 - day), group=f"2026-11-{10 + day}")
                for day in range(10)
                for key in keys
            ]
            waits.append(compare(experiment(variants=equal_variants(*keys)), by_day, day=10).needs_more_days)
        two, three = waits
        assert two is not None
        assert three is not None
        assert 1.05 * two < three < 2 * two


class TestClosedWindows:
    """Rates of an experiment with an attribution window: units whose window is over have their final value."""

    def by_day(self, rates: tuple[float, float], days: int = 12, units: int = 30) -> list[UnitMoments]:
        generator = np.random.default_rng(11)
        return [
            moments_of(key, generator.binomial(3, rate, units).astype(float), np.full(units, 3.0),
                       unit_days=units * 2.0, group=f"2026-11-{10 + day}")
            for day in range(days)
            for key, rate in zip(("control", "reranked"), rates, strict=True)
        ]  # fmt: skip

    def test_a_rate_too_skewed_for_the_gate_is_settled_by_units_whose_window_is_over(self) -> None:
        defined = experiment(primary_metric="error_rate", attribution_days=2.0)
        rare = self.by_day((0.004, 0.5))
        found = compare(defined, rare, day=12)
        estimate = found.deciding[0]
        assert estimate.method == "empirical Bernstein sequence by period"
        assert estimate.arm_n == estimate.baseline_n == 30 * 10  # of twelve days ten are over for two days
        assert found.verdict.finding == "worse"
        assert "points" in found.verdict.sentence
        assert any("a mean over users of each one's own mean" in warning for warning in found.warnings)

    def test_units_whose_window_is_still_open_are_not_asked(self) -> None:
        defined = experiment(primary_metric="error_rate", attribution_days=2.0)
        sequences = Sequences.of(
            defined, CATALOGUE.get("error_rate"), answer_of(self.by_day((0.1, 0.1)), START + timedelta(days=5))
        )
        assert sequences.cohorts is not None
        assert [cohort.n for cohort in sequences.cohorts["control"]] == [30, 30, 30]

    def test_a_window_that_the_stop_cut_short_is_never_over(self) -> None:
        defined = experiment(primary_metric="error_rate", attribution_days=2.0)
        stopped = structs.replace(defined, state="stopped", stopped_at=START + timedelta(days=5))
        answer = answer_of(self.by_day((0.1, 0.1), days=5), START + timedelta(days=20))
        sequences = Sequences.of(stopped, CATALOGUE.get("error_rate"), answer)
        assert sequences.cohorts is not None
        assert [cohort.n for cohort in sequences.cohorts["control"]] == [30, 30, 30]

    def test_without_a_window_no_value_is_final_and_there_is_no_second_way(self) -> None:
        found = compare(experiment(primary_metric="error_rate"), self.by_day((0.004, 0.5)), day=12)
        assert found.verdict.finding == "not settled"

    def test_both_ways_share_alpha(self) -> None:
        defined, metric = experiment(primary_metric="error_rate", attribution_days=2.0), CATALOGUE.get("error_rate")
        answer = answer_of(self.by_day((0.4, 0.44), units=100), START + timedelta(days=12))
        sequences = Sequences.of(defined, metric, answer)
        arms = arms_of(metric, defined, cells_of(answer.arms)).by_key
        shared = sequences.compare(arms, "reranked", "control", ALPHA)
        half = sequences.asymptotic(arms["reranked"], arms["control"], ("reranked", "control"), ALPHA / 2)
        assert shared.method == asymptotic.METHOD
        assert shared.alpha == ALPHA
        assert bounds(shared) == bounds(half)
        assert half.p_value is not None
        assert shared.p_value == pytest.approx(2 * half.p_value)

    def test_the_second_way_has_the_other_half(self) -> None:
        defined, metric = experiment(primary_metric="error_rate", attribution_days=2.0), CATALOGUE.get("error_rate")
        answer = answer_of(self.by_day((0.004, 0.5)), START + timedelta(days=12))
        sequences = Sequences.of(defined, metric, answer)
        arms = arms_of(metric, defined, cells_of(answer.arms)).by_key
        shared = sequences.compare(arms, "reranked", "control", ALPHA)
        half = sequences.bounded("reranked", "control", ALPHA / 2)
        assert shared.method == half.method
        assert bounds(shared) == bounds(half)

    @pytest.mark.parametrize(
        ("metric", "bounded"),
        [
            ("error_rate", True), ("accuracy", True), ("satisfaction", False), ("queries", False), ("cost", False),
            ("response_time.mean", False), ("score.faithfulness", False),
        ],
    )  # fmt: skip
    def test_only_what_lies_between_0_and_1_by_definition_goes_that_way(self, metric: str, bounded: bool) -> None:
        assert within_unit_interval(CATALOGUE.get(metric)) is bounded

    def test_a_ratio_that_somebody_defined_may_be_anything(self) -> None:
        own = structs.replace(CATALOGUE.get("error_rate"), name="answers_a_query", user_defined=True)
        assert not within_unit_interval(own)


def test_an_arm_that_nobody_measured_is_no_error() -> None:
    sequences = Sequences.of(experiment(), CATALOGUE.get("satisfaction"), answer_of([]))
    found = sequences.compare({"control": Arm(), "reranked": Arm()}, "reranked", "control", ALPHA)
    assert found.absolute is None
    assert found.warnings == ("an arm is empty",)
