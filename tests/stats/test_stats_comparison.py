"""Comparisons are right where others are known to be wrong, and say so where no answer can be given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from barograph.stats.comparison import (
    compare_means,
    compare_ratios,
    equivalence,
    log_relative_difference,
    non_inferiority,
    relative_difference,
    welch,
)
from barograph.stats.estimate import Alternative, Effect
from barograph.stats.proportions import compare_proportions, newcombe_interval
from barograph.stats.sequential import asymptotic
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import InvalidInput

samples = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


def of(effect: Effect | None) -> Effect:
    assert effect is not None
    return effect


class TestMeans:
    @given(samples, samples)
    def test_agree_with_scipy(self, a: list[float], b: list[float]) -> None:
        arm, baseline = Summary.from_values(a), Summary.from_values(b)
        estimate = compare_means(arm, baseline)
        if not (arm.varies and baseline.varies) or min(arm.m2, baseline.m2) < 1e-150:
            return  # scipy squares the variances, which vanish then
        expected = stats.ttest_ind(a, b, equal_var=False)
        assert estimate.p_value == pytest.approx(expected.pvalue, rel=1e-6)
        interval = expected.confidence_interval(0.95)
        scale = abs(of(estimate.absolute).standard_error or 0)
        assert of(estimate.absolute).low == pytest.approx(interval.low, rel=1e-6, abs=1e-6 * scale)
        assert of(estimate.absolute).high == pytest.approx(interval.high, rel=1e-6, abs=1e-6 * scale)

    def test_defect_2_a_p_value_far_out_is_small_but_not_zero(self) -> None:
        estimate = compare_means(Summary.from_variance(500, 1.5, 1.0), Summary.from_variance(500, 0.0, 1.0))
        assert estimate.p_value is not None
        assert 1e-120 < estimate.p_value < 1e-90
        assert estimate.p_value == pytest.approx(2 * stats.t.sf(1.5 / math.sqrt(2 / 500), 998), rel=1e-9)
        assert 2 * (1 - stats.t.cdf(1.5 / math.sqrt(2 / 500), 998)) == 0  # what must not be done

    def test_arms_of_the_same_number_do_not_differ_by_the_rounding_of_their_sums(self) -> None:
        arm, baseline = Summary(n=141, mean=0.01 - 2e-18), Summary(n=138, mean=0.01)
        assert arm.mean != baseline.mean
        for estimate in (compare_means(arm, baseline), asymptotic.compare_means(arm, baseline, None)):
            assert (of(estimate.absolute).value, of(estimate.relative).value) == (0.0, 0.0)
        other = compare_means(Summary(n=141, mean=0.011), baseline)
        assert of(other.relative).value == pytest.approx(0.1)

    def test_defect_3_a_difference_at_1e12_is_found_with_its_variance(self) -> None:
        exact = compare_means(
            Summary.from_values([1e12 + x for x in (3.0, 4.0, 5.0)]),
            Summary.from_values([1e12 + x for x in (1.0, 2.0, 3.0)]),
        )
        assert of(exact.absolute) == of(
            compare_means(Summary.from_values([3.0, 4.0, 5.0]), Summary.from_values([1.0, 2.0, 3.0])).absolute
        )
        generator = np.random.default_rng(1)
        estimate = compare_means(
            Summary.from_values(1e12 + 1 + generator.normal(0, 1, 400)),
            Summary.from_values(1e12 + generator.normal(0, 1, 400)),
        )
        assert of(estimate.absolute).value == pytest.approx(1, abs=0.3)
        assert estimate.p_value is not None
        assert estimate.p_value < 1e-20

    @pytest.mark.parametrize("sign", [1, -1])
    def test_defect_5_a_negative_baseline_does_not_flip_the_sign_of_the_relative_effect(self, sign: int) -> None:
        baseline = Summary.from_values([-4.0, -3.5, -4.4, -3.9])
        arm = Summary.from_values([-3.95 + sign * x for x in (1.0, 1.2, 0.8, 1.1)])
        estimate = compare_means(arm, baseline)
        relative, absolute = of(estimate.relative), of(estimate.absolute)
        assert math.copysign(1, relative.value) == math.copysign(1, absolute.value) == sign
        assert relative.low is not None
        assert relative.high is not None
        assert relative.low * sign > 0
        assert relative.high * sign > 0

    @given(samples, samples, st.sampled_from(["two-sided", "greater", "less"]))
    def test_defect_5_every_interval_holds_its_own_estimate_also_one_sided(
        self, a: list[float], b: list[float], side: Alternative
    ) -> None:
        estimate = compare_means(Summary.from_values(a), Summary.from_values(b), alternative=side)
        logarithmic, _ = log_relative_difference(Summary.from_values(a), Summary.from_values(b))
        for effect in (estimate.absolute, estimate.relative, logarithmic):
            if effect and effect.low is not None and effect.high is not None:
                assert effect.low <= effect.value <= effect.high

    @given(samples, samples)
    def test_exchanging_the_arms_exchanges_the_sign_alone(self, a: list[float], b: list[float]) -> None:
        one = compare_means(Summary.from_values(a), Summary.from_values(b))
        other = compare_means(Summary.from_values(b), Summary.from_values(a))
        assert of(one.absolute).value == -of(other.absolute).value
        assert one.p_value == pytest.approx(other.p_value) if one.p_value is not None else other.p_value is None

    @pytest.mark.parametrize(
        ("arm", "baseline", "why"),
        [
            ([], [1.0, 2.0], "empty"),
            ([1.0], [1.0, 2.0], "fewer than two"),
            ([5.0, 5.0], [5.0, 5.0, 5.0], "neither arm varies"),
            ([6.0, 6.0], [5.0, 5.0, 5.0], "neither arm varies"),
            ([0.1 + 0.2, 0.3], [0.3, 0.3], "neither arm varies"),
        ],
    )
    def test_without_an_answer_say_why_and_give_none(self, arm: list[float], baseline: list[float], why: str) -> None:
        estimate = compare_means(Summary.from_values(arm), Summary.from_values(baseline))
        assert estimate.p_value is None
        assert estimate.absolute is None or estimate.absolute.low is None
        assert [warning for warning in estimate.warnings if why in warning]
        assert len(estimate.warnings) == len(set(estimate.warnings))

    def test_one_constant_arm_leaves_the_test_to_the_other(self) -> None:
        estimate = compare_means(Summary.from_values([2.1, 2.3, 1.9, 2.2, 2.0]), Summary.from_values([2.0] * 5))
        assert estimate.p_value == pytest.approx(0.23019964108049898)
        assert "does not vary" in estimate.warnings[0]

    def test_what_a_float_cannot_hold_is_no_number_of_an_effect(self) -> None:
        tiny = Summary.from_values([1e-300] * 3)
        vast = Summary.from_values([0.0] * 20 + [1e12] * 20)
        relative = of(compare_means(tiny, vast).relative)
        assert (relative.value, relative.statistic) == (-1, None)
        alone = compare_means(Summary.from_values([1e300]), tiny)
        assert alone.relative is None

    def test_a_baseline_of_zero_has_no_relative_effect_and_a_weak_one_warns(self) -> None:
        relative, why = relative_difference(Summary.from_values([1.0, 2.0]), Summary.from_values([-1.0, 1.0]))
        assert relative is None
        assert "zero" in why[0]
        relative, why = relative_difference(Summary.from_values([1.0, 2.0]), Summary.from_values([-1.0, 1.5]))
        assert relative is not None
        assert "close to zero" in why[0]

    @pytest.mark.parametrize("alpha", [0.0, -1.0, 0.7, math.nan])
    def test_a_risk_that_is_none_is_refused(self, alpha: float) -> None:
        with pytest.raises(InvalidInput, match="alpha"):
            compare_means(Summary(9, 1, 1), Summary(9, 1, 1), alpha=alpha)

    @given(samples, samples, st.floats(0, 50), st.booleans())
    def test_non_inferiority_is_settled_where_the_one_sided_interval_ends_before_the_margin(
        self, a: list[float], b: list[float], margin: float, higher: bool
    ) -> None:
        arm, baseline = Summary.from_values(a), Summary.from_values(b)
        effect, _ = non_inferiority(arm, baseline, margin, higher_is_better=higher)
        if effect.p_value is None or effect.low is None or effect.high is None or abs(effect.p_value - 0.05) < 1e-9:
            return
        assert (effect.p_value < 0.05) == (effect.low > -margin if higher else effect.high < margin)

    @given(samples, samples, st.floats(1, 50))
    def test_equivalence_is_settled_where_the_interval_at_twice_alpha_lies_in_the_range(
        self, a: list[float], b: list[float], margin: float
    ) -> None:
        arm, baseline = Summary.from_values(a), Summary.from_values(b)
        above, below = equivalence(arm, baseline, -margin, margin)
        effect, _ = welch(arm, baseline, alpha=0.1)
        if above.p_value is None or below.p_value is None or effect.low is None or effect.high is None:
            return
        p_value = max(above.p_value, below.p_value)
        if abs(p_value - 0.05) > 1e-9:
            assert (p_value < 0.05) == (-margin < effect.low and effect.high < margin)

    @pytest.mark.parametrize("margin", [-1.0, math.inf, math.nan])
    def test_a_margin_that_is_none_is_refused(self, margin: float) -> None:
        with pytest.raises(InvalidInput, match="margin"):
            non_inferiority(Summary(9, 1, 1), Summary(9, 1, 1), margin)

    def test_equivalence_needs_a_range(self) -> None:
        with pytest.raises(InvalidInput):
            equivalence(Summary(9, 1, 1), Summary(9, 1, 1), 1, -1)

    def test_intervals_cover_the_truth_as_often_as_stated(self) -> None:
        generator = np.random.default_rng(7)
        covered = 0
        for _ in range(2000):
            arm = Summary.from_values(generator.normal(1.2, 2.0, 25))
            baseline = Summary.from_values(generator.normal(1.0, 0.5, 60))
            effect, _ = welch(arm, baseline, alpha=0.1)
            assert effect.low is not None
            assert effect.high is not None
            covered += effect.low <= 0.2 <= effect.high
        assert stats.binomtest(covered, 2000, 0.9).pvalue > 0.001


class TestRatios:
    def test_of_units_with_one_measurement_each_are_means(self) -> None:
        a, b = [1.0, 2.0, 4.0], [2.0, 3.0, 7.0, 1.0]
        ratios = compare_ratios(RatioSummary.from_values(a, [1] * 3), RatioSummary.from_values(b, [1] * 4))
        means = compare_means(Summary.from_values(a), Summary.from_values(b))
        assert ratios.p_value == pytest.approx(means.p_value)
        assert of(ratios.absolute).low == pytest.approx(of(means.absolute).low)

    def test_of_an_arm_that_measured_nothing_give_none_and_name_it(self) -> None:
        estimate = compare_ratios(
            RatioSummary.from_values([0, 0], [0, 0]), RatioSummary.from_values([1, 2], [1, 1]), names=("new", "old")
        )
        assert estimate.absolute is None
        assert estimate.baseline_value == 1.5
        assert "nothing was measured in new" in estimate.warnings[0]

    def test_with_a_weak_denominator_warn(self) -> None:
        uneven = RatioSummary.from_values([50, 1, 0, 1], [100, 1, 1, 1])
        estimate = compare_ratios(uneven, uneven)
        assert any("too uncertain" in warning for warning in estimate.warnings)
        assert of(estimate.absolute).low is None
        assert estimate.p_value is None


class TestShares:
    def test_all_or_none_is_an_answer_and_not_certainty(self) -> None:
        estimate = compare_proportions(4, 50, 0, 50)
        absolute = of(estimate.absolute)
        assert estimate.p_value == pytest.approx(0.11746329272102468)
        assert absolute.low is not None
        assert absolute.high is not None
        assert absolute.low < 0 < 0.08 < absolute.high
        assert estimate.relative is None
        assert "baseline is zero" in estimate.warnings[0]

    def test_equal_extremes_are_no_difference_within_an_interval_that_is_not_empty(self) -> None:
        estimate = compare_proportions(0, 100, 0, 100)
        assert estimate.p_value == 1
        assert (of(estimate.absolute).low, of(estimate.absolute).high) == pytest.approx(
            newcombe_interval(0, 100, 0, 100)
        )

    def test_use_the_score_test_where_it_is_good(self) -> None:
        estimate = compare_proportions(150, 1000, 120, 1000)
        assert estimate.method.startswith("score")
        assert estimate.p_value == pytest.approx(
            stats.chi2_contingency([[150, 850], [120, 880]], correction=False).pvalue
        )

    @given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
    def test_intervals_lie_between_minus_one_and_one_and_hold_the_estimate(
        self, x: int, n: int, y: int, m: int
    ) -> None:
        x, y = min(x, n), min(y, m)
        absolute = of(compare_proportions(x, n, y, m).absolute)
        assert absolute.low is not None
        assert absolute.high is not None
        assert -1 - 1e-12 <= absolute.low <= absolute.value <= absolute.high <= 1 + 1e-12
        assert absolute.low < absolute.high

    def test_of_an_empty_arm_say_so(self) -> None:
        assert compare_proportions(0, 0, 3, 9).warnings == ("an arm is empty",)

    def test_of_more_successes_than_units_are_refused(self) -> None:
        with pytest.raises(InvalidInput):
            compare_proportions(5, 4, 1, 2)
