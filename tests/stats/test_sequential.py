"""Sequences that may be looked at again: they answer as their formulas say, and refuse what they cannot answer."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from barograph.stats.estimate import Alternative
from barograph.stats.sequential import asymptotic, betting, bounded, mixtures
from barograph.stats.sequential.group_sequential import (
    FARTHEST,
    Spending,
    group_sequential_bounds,
    obrien_fleming,
    pocock,
    power_family,
)
from barograph.stats.sequential.quantiles import quantile_p_value
from barograph.stats.sequential.repeated import LEAST_P_VALUE, Schedule
from barograph.stats.sequential.sample_ratio import CONCENTRATIONS, sequential_sample_ratio
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import InvalidInput

NONE = (0.0, 0.0)


def summary(n: int, mean: float, variance: float = 1.0) -> Summary:
    return Summary.from_variance(n, mean, variance)


def answers(successes: int, n: int) -> Summary:
    return Summary.from_values([1.0] * successes + [0.0] * (n - successes))


class TestAsymptotic:
    @settings(max_examples=40)
    @given(st.floats(-6, 6), st.sampled_from(["two-sided", "greater", "less"]), st.integers(2, 100_000))
    def test_the_p_value_is_below_alpha_just_where_the_interval_leaves_out_the_null(
        self, value: float, alternative: Alternative, n: int
    ) -> None:
        found = asymptotic.confidence_sequence(value, 1.0, n, alternative=alternative)
        assert found.low is not None
        assert found.high is not None
        assert found.p_value is not None
        assert found.low <= value <= found.high
        assert 0 <= found.p_value <= 1
        outside = found.low > 0 or found.high < 0
        edge = min(abs(found.low), abs(found.high))
        assert outside == (found.p_value < 0.05) or edge < 1e-9

    def test_is_wider_than_the_interval_of_one_look(self) -> None:
        found = asymptotic.compare_means(summary(1000, 9.1), summary(1000, 9.0), NONE)
        assert found.absolute is not None
        assert found.absolute.high is not None
        assert found.absolute.high - 0.1 > 1.96 * math.sqrt(2 / 1000)
        assert not found.warnings

    @pytest.mark.parametrize(
        ("arm", "skew", "why"),
        [
            (summary(99, 0.1), NONE, "100 units"),
            (summary(1000, 0.1), (20.0, 20.0), "too skewed"),
            (summary(1000, 0.1), (math.nan, 0.0), "too skewed"),
            (summary(1000, 0.1), (0.0, math.nan), "too skewed"),
            (summary(1000, 0.1), None, "not known"),
            (summary(1000, 0.1, 0.0), NONE, "are alike"),
            (Summary(), NONE, "empty"),
            (summary(1, 0.1, 0.0), NONE, "100 units"),
            (summary(1000, 1e307, 0.0), NONE, "are alike"),
            (summary(1000, 1e200, 1e304), NONE, "are alike"),
        ],
    )
    def test_says_not_valid_here_and_gives_no_interval(
        self, arm: Summary, skew: tuple[float, float] | None, why: str
    ) -> None:
        found = asymptotic.compare_means(arm, summary(1000, 0.0), skew)
        assert why in found.warnings[0]
        assert found.absolute is None or (found.absolute.low is None and found.absolute.p_value is None)
        assert found.relative is None or found.relative.low is None

    def test_more_units_open_the_gate_to_skewed_values(self) -> None:
        skew = (0.0, -5.0)  # the larger counts for both
        assert asymptotic.burn_in(summary(1111, 0.0), summary(9999, 0.0), skew)
        assert not asymptotic.burn_in(summary(1112, 0.0), summary(9999, 0.0), skew)

    def test_a_share_of_a_negative_baseline_has_the_sign_of_the_difference(self) -> None:
        found = asymptotic.compare_means(summary(1000, -1.0), summary(1000, -2.0), NONE)
        assert found.relative is not None
        assert found.relative.value == pytest.approx(0.5)

    def test_a_share_of_nothing_is_left_out_and_said_so(self) -> None:
        for mean in (0.0, 1e-300):
            found = asymptotic.compare_means(summary(1000, 1.0), summary(1000, mean), NONE)
            assert found.relative is None
            assert "no relative effect" in found.warnings[0]
            assert found.absolute is not None
            assert found.absolute.low is not None

    def test_ratios_are_compared_by_unit(self) -> None:
        generator = np.random.default_rng(3)
        queries = generator.integers(1, 200, (2, 500)).astype(float)
        sums = queries * generator.normal(1.0, 0.2, (2, 500))
        arms = [RatioSummary.from_values(sums[arm], queries[arm]) for arm in (0, 1)]
        found = asymptotic.compare_ratios(arms[0], arms[1], NONE)
        assert found.absolute is not None
        assert found.absolute.standard_error == pytest.approx(
            math.sqrt(sum(one.linearised().mean_variance for one in arms))
        )
        assert "empty" in asymptotic.compare_ratios(RatioSummary(), arms[1], NONE).warnings[0]

    def test_values_around_1e12_are_compared_by_their_differences(self) -> None:
        x = np.random.default_rng(1).normal(size=(2, 400))
        arms = [[Summary.from_values(row + offset) for row in x] for offset in (0.0, 1e12)]
        near, far = (asymptotic.compare_means(one, other, NONE).absolute for one, other in arms)
        assert near is not None
        assert far is not None
        assert far.high == pytest.approx(near.high, abs=1e-3)

    def test_the_skewness_of_answers_is_that_of_their_values(self) -> None:
        values = [1.0] * 30 + [0.0] * 70
        assert asymptotic.skewness(values) == pytest.approx(asymptotic.skewness_of_share(30, 100))
        assert asymptotic.skewness([3.0, 3.0]) == asymptotic.skewness_of_share(5, 5) == 0

    def test_refuses_alphas_and_variances_that_are_none(self) -> None:
        with pytest.raises(InvalidInput):
            asymptotic.mixing_rate(0.6, 5000)
        with pytest.raises(InvalidInput):
            asymptotic.confidence_sequence(1.0, 0.0, 10)


class TestBounded:
    def test_finds_the_difference_of_two_arms_from_moments_by_day(self) -> None:
        generator = np.random.default_rng(5)
        days = [[Summary.from_values(generator.random(200) < share) for _ in range(20)] for share in (0.6, 0.5)]
        found = bounded.compare_bounded_means(days[0], days[1])
        assert found.absolute is not None
        assert found.absolute.low is not None
        assert found.absolute.high is not None
        assert found.absolute.p_value is not None
        assert 0 < found.absolute.low < 0.1 < found.absolute.high
        assert found.absolute.p_value < 0.001

    def test_none_of_50_against_4_of_50_is_neither_certain_nor_nothing(self) -> None:
        found = bounded.compare_bounded_means([answers(4, 50)], [answers(0, 50)]).absolute
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low < 0 < 0.08 < found.high <= 1

    def test_a_day_without_units_in_an_arm_is_joined_to_the_next(self) -> None:
        apart = bounded.compare_bounded_means([answers(10, 30), answers(9, 30)], [Summary(), answers(5, 60)])
        whole = bounded.compare_bounded_means([answers(19, 60)], [answers(5, 60)])
        assert apart.absolute is not None
        assert whole.absolute is not None
        assert apart.absolute.low == pytest.approx(whole.absolute.low)

    def test_the_p_value_and_the_interval_agree(self) -> None:
        for wins in range(10, 60, 5):
            found = bounded.compare_bounded_means([answers(wins, 60)] * 3, [answers(10, 60)] * 3).absolute
            assert found is not None
            assert found.low is not None
            assert found.p_value is not None
            assert (found.low > 0) == (found.p_value < 0.05)

    def test_swapped_arms_swap_the_interval(self) -> None:
        one, other = [answers(20, 50), answers(30, 70)], [answers(10, 40), answers(11, 60)]
        there = bounded.compare_bounded_means(one, other).absolute
        back = bounded.compare_bounded_means(other, one).absolute
        assert there is not None
        assert back is not None
        assert there.low is not None
        assert back.high == pytest.approx(-there.low)

    def test_where_an_effect_turns_around_no_interval_is_claimed(self) -> None:
        days = [[answers(400, 400)] * 5 + [answers(0, 400)] * 5, [answers(0, 400)] * 5 + [answers(400, 400)] * 5]
        found = bounded.compare_bounded_means(days[0], days[1])
        assert found.absolute is not None
        assert found.absolute.low is None
        assert "changes with time" in found.warnings[0]

    def test_of_no_units_knows_nothing(self) -> None:
        assert bounded.compare_bounded_means([], []).absolute is None
        assert bounded.interval(bounded.played([], []), 0.05) == (-1.0, 1.0)

    @pytest.mark.parametrize(
        "arm", [summary(10, 0.5, 0.3), summary(10, 1.2, 0.0), summary(10, -0.1, 0.0), summary(10, 1e300, 0.0)]
    )
    def test_refuses_moments_that_no_values_from_0_to_1_have(self, arm: Summary) -> None:
        with pytest.raises(InvalidInput):
            bounded.compare_bounded_means([arm], [answers(5, 10)])
        with pytest.raises(InvalidInput):
            bounded.compare_bounded_means([answers(5, 10)], [])


class TestBetting:
    def test_sequences_hold_the_mean_and_narrow(self) -> None:
        x = np.random.default_rng(11).beta(2, 5, 800)
        for sequence in (
            betting.hedged_betting(x, grid=200),
            betting.empirical_bernstein(x),
            betting.conjugate_bernstein(x, 10.0),
            betting.hoeffding(x),
        ):
            assert (sequence.low <= 2 / 7).all()
            assert (sequence.high >= 2 / 7).all()
            assert sequence.high[-1] - sequence.low[-1] < 0.25 < sequence.high[20] - sequence.low[20]

    def test_sequences_of_several_rows_are_those_of_each(self) -> None:
        x = np.random.default_rng(12).random((3, 40))
        rows = betting.empirical_bernstein(x)
        assert rows.low[1] == pytest.approx(betting.empirical_bernstein(x[1]).low)

    def test_refuses_values_beyond_0_and_1(self) -> None:
        for x in (np.array([0.5, 1.5]), np.array([math.nan])):
            with pytest.raises(InvalidInput):
                betting.hedged_betting(x)

    def test_a_share_is_unknown_before_the_first_unit(self) -> None:
        assert mixtures.bernoulli_sequence(0, 0, 100) == (0.0, 1.0)
        with pytest.raises(InvalidInput):
            mixtures.bernoulli_sequence(3, 2, 100)


class TestMixtures:
    @settings(max_examples=40)
    @given(st.floats(1, 1e6), st.floats(0.001, 0.2))
    def test_a_bound_is_where_its_mixture_reaches_one_over_alpha(self, v: float, alpha: float) -> None:
        for one_sided in (True, False):
            bound = mixtures.normal_mixture_bound(v, 100.0, alpha=alpha, one_sided=one_sided)
            assert mixtures.normal_log_mixture(bound, v, 100.0, one_sided=one_sided) == pytest.approx(-math.log(alpha))

    def test_refuses_what_is_no_time_and_no_risk(self) -> None:
        for v, alpha in ((0.0, 0.05), (math.inf, 0.05), (1.0, 0.0), (1.0, 1.0)):
            with pytest.raises(InvalidInput):
                mixtures.normal_mixture_bound(v, 100.0, alpha=alpha)
        with pytest.raises(InvalidInput):
            mixtures.gamma_exponential_bound(-1.0, 10.0)
        with pytest.raises(InvalidInput):
            mixtures.stitched_bound(1.0, 1.0, eta=1.0)


class TestQuantiles:
    def test_equal_arms_and_empty_ones_are_no_evidence(self) -> None:
        x = np.arange(50.0)
        assert quantile_p_value(x, x, 0.5) == 1
        assert quantile_p_value(x, np.array([]), 0.5) == 1

    def test_arms_far_apart_are_and_in_either_order(self) -> None:
        x = np.random.default_rng(2).normal(size=(2, 200)) + np.array([[0.0], [2.0]])
        assert quantile_p_value(x[0], x[1], 0.9) == quantile_p_value(x[1], x[0], 0.9) < 1e-6

    def test_ties_speak_for_equality(self) -> None:
        assert quantile_p_value(np.zeros(100), np.r_[np.zeros(60), np.ones(40)], 0.5) == 1

    def test_refuses_what_is_no_quantile(self) -> None:
        with pytest.raises(InvalidInput):
            quantile_p_value(np.ones(3), np.ones(3), 1.0)
        with pytest.raises(InvalidInput):
            quantile_p_value(np.array([math.inf]), np.ones(3), 0.5)


class TestGroupSequential:
    def test_the_bounds_of_five_looks_are_those_that_were_published(self) -> None:
        # Reboussin, DeMets, Kim, Lan (2000): O'Brien-Fleming-like, two-sided 0.05
        bounds = group_sequential_bounds([0.2, 0.4, 0.6, 0.8, 1.0])
        assert [b.z for b in bounds] == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=1e-3)
        assert bounds[-1].spent == pytest.approx(0.025)

    def test_a_single_look_is_the_normal_test(self) -> None:
        (bound,) = group_sequential_bounds([1.0])
        assert bound.z == pytest.approx(1.959964)
        assert bound.p_value == pytest.approx(0.05)

    def test_a_look_too_early_has_no_bound_and_costs_next_to_nothing(self) -> None:
        bounds = group_sequential_bounds([0.001, 1.0])
        assert bounds[0].z == 8
        assert bounds[1].z == pytest.approx(1.959964, abs=1e-5)

    def test_a_second_look_at_the_same_data_is_the_same_look(self) -> None:
        bounds = group_sequential_bounds([0.5, 0.5, 1.0], spending=power_family(1))
        assert bounds[0] == bounds[1]

    @pytest.mark.parametrize("information", [(0.5, 0.51), (0.5, 0.5002), (0.9, 0.901)])
    def test_two_looks_close_to_each_other_spend_what_they_say(self, information: tuple[float, float]) -> None:
        first, second = group_sequential_bounds(information)
        reach = 12 * second.increment
        nodes, weights = np.polynomial.legendre.leggauss(200)  # of the sums below the first bound, above the second
        x = first.score + reach * (nodes - 1) / 2
        density = np.exp(-0.5 * (x / first.deviation) ** 2) / (first.deviation * math.sqrt(2 * math.pi))
        spent = reach / 2 * weights @ (density * special.ndtr((x - second.score) / second.increment))
        assert second.spent_here == pytest.approx(spent, rel=0.005)

    def test_looks_very_close_to_each_other_need_little_memory(self) -> None:
        tracemalloc.start()
        try:
            bounds = group_sequential_bounds([0.5, 0.50015, 0.5003, 1.0])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert [one.z for one in bounds] == pytest.approx([2.9626, 2.9884, 2.9989, 1.9686], abs=1e-3)
        assert peak < 50e6
        assert group_sequential_bounds([0.5, 0.50005, 1.0])[1] == bounds[0]

    def test_spends_all_of_alpha_at_the_end_whatever_the_function(self) -> None:
        for spending in (power_family(2), obrien_fleming(0.05), pocock(0.05)):
            assert spending(1.0) == pytest.approx(1.0)

    @pytest.mark.parametrize("information", [[], [0.0, 1.0], [0.5, 0.4], [0.5, 1.1], [math.nan]])
    def test_refuses_looks_that_do_not_go_on(self, information: list[float]) -> None:
        with pytest.raises(InvalidInput):
            group_sequential_bounds(information)
        with pytest.raises(InvalidInput):
            group_sequential_bounds([1.0], sides=3)


class TestRepeated:
    @pytest.mark.parametrize("spending", [obrien_fleming, pocock])
    @pytest.mark.parametrize("information", [(1.0, 2.0, 3.0, 4.0), (1.0, 8.0, 9.0, 40.0)])
    def test_walks_cross_any_bound_as_often_as_alpha_says(
        self, spending: Callable[[float], Spending], information: tuple[float, ...]
    ) -> None:
        steps = (
            np.random.default_rng(5).standard_normal((4, 100_000)) * np.sqrt(np.diff(information, prepend=0))[:, None]
        )
        z = np.cumsum(steps, axis=0) / np.sqrt(information)[:, None]
        looks = schedules(information, spending)
        crossed = np.abs(z) >= np.array([one.bound(0.1).z for one in looks])[:, None]
        assert crossed.any(axis=0).mean() == pytest.approx(0.1, abs=0.004)
        assert crossed[0].mean() == pytest.approx(0.1 * spending(0.1)(0.25), abs=0.003)  # by the clock

    def test_looks_that_hang_together_more_than_was_reckoned_with_cross_less_often(self) -> None:
        information = np.array([1.0, 2.0, 3.0, 4.0])
        steps = (
            np.random.default_rng(6).standard_normal((4, 100_000))
            * np.sqrt(np.diff(information**2, prepend=0))[:, None]
        )
        z = np.cumsum(steps, axis=0) / information[:, None]
        looks = schedules(tuple(information**3), obrien_fleming)
        crossed = np.abs(z) >= np.array([one.bound(0.1).z for one in looks])[:, None]
        assert 0.08 < crossed.any(axis=0).mean() < 0.1

    @pytest.mark.parametrize("spending", [obrien_fleming, pocock])
    def test_a_p_value_is_the_least_alpha_that_is_crossed_and_its_smallest_holds_over_all_looks(
        self, spending: Callable[[float], Spending]
    ) -> None:
        for one in schedules((1.0, 2.0, 3.0, 4.0), spending):
            for alpha in (0.2, 0.05, 0.01):
                bound = one.bound(alpha)
                told = LEAST_P_VALUE if bound.z == FARTHEST else pytest.approx(alpha, rel=1e-5)
                assert one.p_value(bound.p_value) == told
            assert one.p_value(0.9) == 1
            assert one.p_value(0.0) == LEAST_P_VALUE
            assert one.p_value(0.04) >= 0.04

    def test_a_single_look_is_the_normal_test(self) -> None:
        assert Schedule(clock=(1.0,), information=(7.0,)).p_value(0.03) == pytest.approx(0.03, rel=1e-5)

    def test_refuses_what_is_no_look_and_no_p_value(self) -> None:
        for clock, information in (((), ()), ((1.0,), (0.0,)), ((0.5, 1.0), (2.0, 1.0)), ((0.5,), (1.0, 2.0))):
            with pytest.raises(InvalidInput):
                Schedule(clock=clock, information=information).bound(0.05)
        with pytest.raises(InvalidInput):
            Schedule(clock=(1.0,), information=(1.0,)).p_value(math.nan)


def schedules(information: tuple[float, ...], spending: Callable[[float], Spending]) -> list[Schedule]:
    """At each look of four, by the calendar."""
    clock = (0.25, 0.5, 0.75, 1.0)
    return [
        Schedule(clock=clock[:passed], information=information[:passed], spending=spending) for passed in (1, 2, 3, 4)
    ]


class TestSampleRatio:
    def test_steps_do_not_matter_but_their_order_of_looks_does(self) -> None:
        steps = sequential_sample_ratio([[60, 40], [130, 70]], [0.5, 0.5])
        whole = sequential_sample_ratio([[190, 110]], [0.5, 0.5])
        assert steps.log_evidence[-1] == pytest.approx(whole.log_evidence[-1])

    def test_a_unit_in_an_arm_of_weight_zero_is_a_mismatch(self) -> None:
        found = sequential_sample_ratio([[5, 5, 0], [5, 5, 1]], [1, 1, 0])
        assert found.mismatch
        assert found.p_values[0] == 1
        assert found.p_values[1] == 0

    def test_alarms_late_counts_that_drift_and_none_that_do_not(self) -> None:
        assert sequential_sample_ratio([[600, 400]] * 5, [0.5, 0.5]).mismatch
        assert not sequential_sample_ratio([[500, 500]] * 5, [0.5, 0.5]).mismatch
        assert not sequential_sample_ratio([], [0.5, 0.5]).mismatch

    @pytest.mark.parametrize("counts", [(293, 162), (250, 100), (606, 327), (200, 0), (50, 150), (50_800, 49_200)])
    def test_sees_a_large_mismatch_of_few_units_and_a_small_one_of_many(self, counts: tuple[int, int]) -> None:
        assert sequential_sample_ratio([counts], [0.5, 0.5]).mismatch

    def test_several_concentrations_cost_no_more_evidence_than_their_number(self) -> None:
        steps = [[30, 20], [300, 260], [3000, 2900]]
        mixed = sequential_sample_ratio(steps, [0.5, 0.5]).log_evidence
        singly = [
            sequential_sample_ratio(steps, [0.5, 0.5], concentrations=[one]).log_evidence for one in CONCENTRATIONS
        ]
        for step, evidence in enumerate(mixed):
            each = [one[step] for one in singly]
            assert evidence == pytest.approx(math.log(np.mean(np.exp(each))))
            assert evidence > max(each) - math.log(len(CONCENTRATIONS)) - 1e-9

    def test_looked_at_after_each_unit_it_alarms_for_nothing_less_often_than_alpha(self) -> None:
        generator, weights = np.random.default_rng(4), (0.7, 0.2, 0.1)
        alarms = 0
        for _ in range(200):
            arms = np.eye(3, dtype=int)[generator.choice(3, 1000, p=weights)]
            alarms += sequential_sample_ratio(arms.tolist(), weights, alpha=0.05).mismatch
        assert alarms <= 10

    @pytest.mark.parametrize(
        ("increments", "weights"),
        [([[1, -1]], [1, 1]), ([[1, 1]], [1, 0]), ([[1, 1]], [1, math.nan]), ([[1, 1, 1, 1]], [1, 1])],
    )
    def test_refuses_counts_and_weights_that_are_none(self, increments: list[list[int]], weights: list[float]) -> None:
        with pytest.raises(InvalidInput):
            sequential_sample_ratio(increments, weights)

    @pytest.mark.parametrize("concentrations", [(), (0.0,), (10.0, math.nan), (math.inf,)])
    def test_refuses_concentrations_that_are_none(self, concentrations: tuple[float, ...]) -> None:
        with pytest.raises(InvalidInput):
            sequential_sample_ratio([[1, 1]], [1, 1], concentrations=concentrations)
