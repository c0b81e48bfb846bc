"""Ranks, quantiles, trimmed and capped means, and the bootstrap: as others compute them, refused where they fail."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.support.soak import times

from barograph.stats.comparison import compare_means, compare_ratios, welch
from barograph.stats.quantiles import quantile_difference, quantile_interval, quantile_test
from barograph.stats.ranks import brunner_munzel, mann_whitney
from barograph.stats.resampling import (
    bootstrap_difference,
    weighted_mean,
    weighted_quantile,
    weighted_ratio,
)
from barograph.stats.robust import trimmed_welch, upper_cap, winsorised, winsorised_summaries
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import InvalidInput

samples = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=25)


class TestRanks:
    @settings(max_examples=times(30, 300))
    @given(samples, samples)
    def test_agree_with_scipy(self, a: list[float], b: list[float]) -> None:
        ours, theirs = mann_whitney(a, b, exact=False), stats.mannwhitneyu(a, b, method="asymptotic")
        assert ours.statistic == theirs.statistic
        if len(set(a + b)) == 1:
            assert ours.p_value == 1
        else:
            assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
        effect, why = brunner_munzel(a, b)
        if effect.p_value is not None:
            assert effect.p_value == pytest.approx(stats.brunnermunzel(b, a).pvalue, rel=1e-9)
            assert effect.statistic == pytest.approx(stats.brunnermunzel(b, a).statistic, rel=1e-9)
        else:
            assert why

    @settings(max_examples=times(30, 300))
    @given(samples, samples, st.sampled_from([math.exp, math.atan, lambda x: 3 * x - 1]))
    def test_of_another_increasing_scale_are_the_same_and_of_exchanged_arms_the_mirror(
        self, a: list[float], b: list[float], scale: object
    ) -> None:
        assert callable(scale)
        for test in (lambda x, y: mann_whitney(x, y), lambda x, y: brunner_munzel(x, y)[0]):
            plain, scaled, mirrored = test(a, b), test([*map(scale, a)], [*map(scale, b)]), test(b, a)
            assert plain.value == scaled.value == pytest.approx(1 - mirrored.value)
            assert plain.p_value == scaled.p_value
            assert (plain.p_value or 0) == pytest.approx(mirrored.p_value or 0)

    @pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (5, 4), (8, 30), (3, 100)])
    def test_the_exact_distribution_counts_every_order(self, n: int, m: int) -> None:
        values = np.random.default_rng(n * m).permutation(n + m) * 1.0
        expected = stats.mannwhitneyu(values[:n], values[n:], method="exact").pvalue
        assert mann_whitney(values[:n], values[n:]).p_value == pytest.approx(expected, rel=1e-9)

    def test_intervals_keep_their_confidence_with_unequal_spreads(self) -> None:
        generator, held = np.random.default_rng(1), 0
        for _ in range(600):
            effect, _ = brunner_munzel(generator.normal(0, 3, 20), generator.normal(0, 1, 40))
            assert effect.low is not None
            assert effect.high is not None
            held += effect.low <= 0.5 <= effect.high
        assert stats.binomtest(held, 600, 0.95).pvalue > 0.001

    def test_arms_that_do_not_overlap_get_no_number_from_a_variance_of_zero(self) -> None:
        effect, why = brunner_munzel([3.0, 5.0], [1.0, 2.0])
        assert (effect.value, effect.p_value, effect.low) == (1.0, None, None)
        assert "do not overlap" in why[0]
        assert mann_whitney([3.0, 5.0], [1.0, 2.0]).p_value == pytest.approx(1 / 3)

    def test_refuse_empty_arms_infinities_and_exact_ties(self) -> None:
        for arm, baseline in (([], [1.0]), ([1.0, math.inf], [1.0, 2.0])):
            with pytest.raises(InvalidInput):
                mann_whitney(arm, baseline)
            with pytest.raises(InvalidInput):
                brunner_munzel(arm, baseline)
        with pytest.raises(InvalidInput, match="equal values"):
            mann_whitney([1.0, 2.0], [2.0, 3.0], exact=True)


class TestQuantiles:
    @settings(max_examples=times(30, 300))
    @given(samples, st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.05, 0.2]))
    def test_agree_with_scipy(self, values: list[float], q: float, alpha: float) -> None:
        for null in (-3.0, 0.0, 4.5):
            theirs = stats.quantile_test(values, q=null, p=q)
            assert quantile_test(values, q, null) == pytest.approx(theirs.pvalue, rel=1e-9)
        interval: Any = stats.quantile_test(values, q=0.0, p=q).confidence_interval(1 - alpha)
        low, high = quantile_interval(values, q, alpha)
        assert (low, high) == (
            -math.inf if math.isnan(interval.low) else interval.low,
            math.inf if math.isnan(interval.high) else interval.high,
        )

    @given(st.lists(st.floats(-9, 9), min_size=1, max_size=40, unique=True), st.floats(0.05, 0.95))
    def test_an_interval_holds_what_its_test_does_not_reject(self, values: list[float], q: float) -> None:
        low, high = quantile_interval(values, q)
        for null in (-10.0, -1.05, 0.333, 2.22, 10.0):
            if null not in values and abs(quantile_test(values, q, null) - 0.05) > 1e-9:
                assert (low < null < high) == (quantile_test(values, q, null) > 0.05)

    def test_differences_cover_as_often_as_stated(self) -> None:
        generator, held = np.random.default_rng(2), 0
        for _ in range(300):
            effect = quantile_difference(generator.exponential(1, 150), generator.exponential(1, 90), 0.9)
            assert effect.low is not None
            assert effect.high is not None
            assert effect.low <= effect.value <= effect.high
            held += effect.low <= 0 <= effect.high
        assert held >= 0.93 * 300

    def test_of_too_few_values_have_an_open_end_and_of_none_are_refused(self) -> None:
        assert quantile_interval([1.0, 2.0, 3.0], 0.99)[1] == math.inf
        for values, q in (([], 0.5), ([1.0], 0.0), ([1.0], 1.0), ([math.nan], 0.5)):
            with pytest.raises(InvalidInput):
                quantile_interval(values, q)


class TestRobust:
    @settings(max_examples=times(30, 300))
    @given(samples, samples, st.sampled_from([0.0, 0.1, 0.2, 0.4]))
    def test_trimmed_means_agree_with_scipy(self, a: list[float], b: list[float], trim: float) -> None:
        if min(len(a) - 2 * int(trim * len(a)), len(b) - 2 * int(trim * len(b))) < 2:
            return
        effect, why = trimmed_welch(a, b, trim=trim)
        if effect.p_value is None:
            assert why
            return
        with warnings.catch_warnings():  # scipy warns of an arm that does not vary
            warnings.simplefilter("ignore")
            theirs = stats.ttest_ind(a, b, equal_var=False, trim=trim)
        assert effect.p_value == pytest.approx(theirs.pvalue, rel=1e-6)

    def test_nothing_trimmed_is_welch(self) -> None:
        a, b = [1.0, 2.0, 4.0, 9.0], [2.0, 2.5, 3.0]
        assert trimmed_welch(a, b, trim=0.0)[0] == welch(Summary.from_values(a), Summary.from_values(b))[0]

    def test_one_cap_over_the_pooled_arms_where_caps_of_their_own_turn_the_sign(self) -> None:
        arm = [1.0] * 90 + [9.0] * 10  # more of what is large: better
        baseline = [1.1] * 96 + [9.0] * 4
        own = [np.mean(winsorised(one, upper_cap(one, share=0.1))) for one in (arm, baseline)]
        assert own[0] < own[1]
        ours, theirs, cap = winsorised_summaries(arm, baseline, share=0.05)
        assert cap == 9.0
        assert compare_means(ours, theirs).absolute is not None
        assert ours.mean > theirs.mean

    @given(samples, samples, st.floats(0, 0.9))
    def test_no_more_than_the_share_lies_above_the_cap(self, a: list[float], b: list[float], share: float) -> None:
        cap = upper_cap(a, b, share=share)
        assert sum(value > cap for value in a + b) <= share * len(a + b)
        assert max(winsorised(a, cap)) <= cap

    def test_refuse_shares_and_arms_that_leave_nothing(self) -> None:
        for arm, trim in (([1.0, 2.0], 0.5), ([1.0, 2.0, 3.0], 0.4), ([], 0.1), ([1.0, math.inf, 3.0], 0.1)):
            with pytest.raises(InvalidInput):
                trimmed_welch(arm, [1.0, 2.0, 3.0, 4.0, 5.0], trim=trim)
        with pytest.raises(InvalidInput):
            upper_cap([], share=0.1)
        with pytest.raises(InvalidInput):
            upper_cap([1.0], share=1.0)


class TestBootstrap:
    def test_agrees_with_scipy_to_the_draw(self) -> None:
        generator = np.random.default_rng(0)
        a, b = generator.lognormal(size=25), generator.lognormal(size=18)
        theirs = stats.bootstrap(
            (a, b), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), n_resamples=999,
            rng=np.random.default_rng(5),
        )  # fmt: skip
        ours = bootstrap_difference(a, b, resamples=999, seed=5)
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)
        assert ours.standard_error == pytest.approx(theirs.standard_error)

    def test_the_same_seed_gives_the_same_and_exchanged_arms_nearly_the_mirror(self) -> None:
        a, b = np.random.default_rng(1).exponential(size=(2, 60))
        one, again, mirrored = (
            bootstrap_difference(*arms, weighted_quantile(0.5), seed=3) for arms in ((a, b), (a, b), (b, a))
        )
        assert one == again
        assert (one.low, one.high) == pytest.approx((-(mirrored.high or 0), -(mirrored.low or 0)), abs=0.1)

    def test_clusters_are_drawn_whole(self) -> None:
        generator = np.random.default_rng(4)
        sizes = generator.integers(1, 30, 80)
        units = np.repeat(np.arange(80), sizes)
        values = np.repeat(generator.normal(0, 1, 80), sizes) + generator.normal(0, 0.3, units.size)
        first = units < 40
        clustered = bootstrap_difference(
            values[first], values[~first], clusters=(list(units[first]), list(units[~first])), resamples=1999
        )
        naive = bootstrap_difference(values[first], values[~first], resamples=1999)
        sums, counts = np.bincount(units, values), np.bincount(units) * 1.0
        table = np.column_stack([sums, counts])
        by_unit = bootstrap_difference(table[:40], table[40:], weighted_ratio, resamples=1999)
        delta = compare_ratios(
            RatioSummary.from_values(sums[:40], counts[:40]), RatioSummary.from_values(sums[40:], counts[40:])
        ).absolute
        assert delta is not None
        assert clustered.standard_error == pytest.approx(by_unit.standard_error)
        assert clustered.standard_error == pytest.approx(delta.standard_error, rel=0.1)
        assert (naive.standard_error or 0) < 0.5 * (clustered.standard_error or 0)

    @given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.floats(0.05, 0.95))
    def test_a_weighted_quantile_is_that_of_the_values_written_out(self, counts: list[int], q: float) -> None:
        if sum(counts) == 0:
            return
        values = np.random.default_rng(len(counts)).permutation(len(counts)).astype(np.float64)
        weights = np.array([counts], dtype=np.float64)
        written_out = np.repeat(values, counts)
        assert weighted_quantile(q)(values, weights)[0] == np.quantile(written_out, q, method="inverted_cdf")
        assert weighted_mean(values, weights)[0] == pytest.approx(written_out.mean())

    def test_of_an_arm_of_thousands_leaves_groups_out_and_stays_in_bounds(self) -> None:
        a, b = np.random.default_rng(6).exponential(size=(2, 5000))
        effect = bootstrap_difference(a, b, resamples=400, alpha=0.1)
        plain, _ = welch(Summary.from_values(a), Summary.from_values(b), alpha=0.1)
        assert (effect.low, effect.high) == pytest.approx((plain.low, plain.high), abs=0.015)

    def test_refuses_what_it_cannot_bound_or_draw(self) -> None:
        good = [1.0, 2.0, 3.0]
        refusals: list[Callable[[], object]] = [
            lambda: bootstrap_difference([1.0, 2.0], good),
            lambda: bootstrap_difference([1.0, math.inf, 2.0], good),
            lambda: bootstrap_difference(good, good, resamples=10),
            lambda: bootstrap_difference(good, good, resamples=10**9),
            lambda: bootstrap_difference(good, good, clusters=([1, 2], [1, 2, 3])),
            lambda: bootstrap_difference(good, good, clusters=([1, 1, 1], [1, 2, 3])),
        ]
        for refused in refusals:
            with pytest.raises(InvalidInput):
                refused()
        zeros = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
        with pytest.raises(InvalidInput, match="not finite in every sample"):
            bootstrap_difference(zeros, zeros, weighted_ratio)
        assert bootstrap_difference([2.0] * 3, [1.0] * 3).low is None


def test_every_method_holds_the_risk_of_a_false_alarm_where_arms_are_alike() -> None:
    generator = np.random.default_rng(21)
    alarms = dict.fromkeys(("trimmed", "capped", "ranks"), 0)
    for _ in range(400):
        a, b = generator.lognormal(0, 1.5, 60), generator.lognormal(0, 1.5, 60)
        alarms["trimmed"] += (trimmed_welch(a, b)[0].p_value or 1) < 0.05
        alarms["capped"] += (compare_means(*winsorised_summaries(a, b, share=0.05)[:2]).p_value or 1) < 0.05
        alarms["ranks"] += (mann_whitney(a, b).p_value or 1) < 0.05
    for one, other in itertools.product(alarms.values(), [400]):
        assert stats.binomtest(one, other, 0.05, "greater").pvalue > 0.001, alarms
