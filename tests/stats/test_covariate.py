"""The pre-period takes noise away and nothing else; where it cannot, the plain answer stands with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.support.soak import times

from barograph.stats.comparison import compare_means, compare_ratios, log_relative_difference
from barograph.stats.covariate import (
    adjusted_arms,
    common_slope,
    compare_cuped,
    compare_lin,
    covariate_health,
)
from barograph.stats.estimate import Effect
from barograph.stats.joint import PairSummary, RatioPairSummary
from barograph.stats.regression import cluster_robust, regression_adjustment
from barograph.stats.summary import RatioSummary
from barograph_client.errors import InvalidInput

pairs = st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=4, max_size=20)


def of(effect: Effect | None) -> Effect:
    assert effect is not None
    return effect


def summary(rows: list[tuple[float, float]]) -> PairSummary:
    return PairSummary.from_values([pre for pre, _ in rows], [post for _, post in rows])


def drawn(
    generator: np.random.Generator, n: int, effect: float, slope: float = 1.0
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    pre = generator.normal(10, 2, n)
    return pre, 5 + slope * pre + effect + generator.normal(0, 1, n)


@settings(max_examples=times(30, 300))
@given(pairs, pairs, st.floats(0.1, 10), st.floats(-50, 50))
def test_scale_and_shift_of_the_metric_scale_the_effect_and_leave_the_p_value(
    a: list[tuple[float, float]], b: list[tuple[float, float]], scale: float, shift: float
) -> None:
    moved = [[(pre * 3 + 7, post * scale + shift) for pre, post in rows] for rows in (a, b)]
    for compare in (compare_cuped, compare_lin):
        plain, other = compare(summary(a), summary(b)), compare(summary(moved[0]), summary(moved[1]))
        error = of(plain.absolute).standard_error
        if error is None or error < 1e-3 or min(summary(a).pre.m2, summary(b).pre.m2) < 1e-3:
            continue
        assert of(other.absolute).value == pytest.approx(scale * of(plain.absolute).value, abs=1e-6 * scale * 100)
        assert of(other.absolute).p_value == pytest.approx(of(plain.absolute).p_value, abs=1e-5)


@settings(max_examples=times(30, 300))
@given(pairs, pairs)
def test_exchanging_the_arms_exchanges_the_sign_and_every_interval_holds_its_value(
    a: list[tuple[float, float]], b: list[tuple[float, float]]
) -> None:
    for compare in (compare_cuped, compare_lin):
        one, other = compare(summary(a), summary(b)), compare(summary(b), summary(a))
        assert of(one.absolute).value == pytest.approx(-of(other.absolute).value, abs=1e-7)
        for effect in (one.absolute, one.relative, other.relative):
            if effect is not None and effect.low is not None and effect.high is not None:
                assert effect.low <= effect.value <= effect.high


def test_takes_the_share_of_the_variance_away_that_the_past_explains() -> None:
    generator = np.random.default_rng(3)
    arm, baseline = (PairSummary.from_values(*drawn(generator, 2000, effect)) for effect in (0.2, 0.0))
    health = covariate_health(arm, baseline)
    assert health.correlation == pytest.approx(np.sqrt(0.8), abs=0.02)
    assert health.variance_kept == pytest.approx(0.2, abs=0.02)
    assert health.warnings == ()
    plain, adjusted = compare_means(arm.post, baseline.post), compare_cuped(arm, baseline)
    assert of(adjusted.absolute).standard_error == pytest.approx(
        np.sqrt(0.2) * (of(plain.absolute).standard_error or 0), rel=0.05
    )
    assert adjusted.baseline_value == baseline.post.mean
    assert adjusted.arm_value == pytest.approx(baseline.post.mean + of(adjusted.absolute).value)


def test_a_past_that_does_not_vary_falls_back_to_the_plain_answer() -> None:
    post = [[1.0, 2.0, 4.0, 3.0, 2.5], [2.0, 2.5, 1.0, 1.5, 0.5]]
    arm, baseline = (PairSummary.from_values([5.0] * 5, one) for one in post)
    plain = compare_means(arm.post, baseline.post)
    assert common_slope(arm, baseline) == 0
    for compare in (compare_cuped, compare_lin):
        estimate = compare(arm, baseline)
        assert of(estimate.absolute) == of(plain.absolute)
        assert any("does not vary" in warning for warning in estimate.warnings)


def test_arms_that_differed_before_are_named_and_a_past_that_says_nothing_too() -> None:
    generator = np.random.default_rng(4)
    pre, post = generator.normal(0, 1, 500), generator.normal(0, 1, 500)
    fault = covariate_health(PairSummary.from_values(pre + 1, post), PairSummary.from_values(pre[::-1], post))
    assert any("before the experiment began" in warning for warning in fault.warnings)
    assert any("says little" in warning for warning in fault.warnings)


@pytest.mark.parametrize("rows", [[], [(1.0, 2.0)], [(1.0, 2.0), (2.0, 2.0), (3.0, 2.0), (4.0, 2.0)]])
def test_arms_too_small_or_constant_get_no_interval_and_a_reason(rows: list[tuple[float, float]]) -> None:
    for compare in (compare_cuped, compare_lin):
        estimate = compare(summary(rows), summary(rows))
        assert estimate.p_value is None
        assert estimate.warnings


@pytest.mark.parametrize("pre", [[1.0] * 5, [0.1 + 0.2, 0.3, 0.3, 0.3, 0.3], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_the_rounding_of_equal_values_is_not_taken_for_variation(pre: list[float]) -> None:
    arm = PairSummary.from_values(pre, [0.1 + 0.2, 0.3, 0.3, 0.3, 0.3])
    for compare in (compare_cuped, compare_lin):
        estimate = compare(arm, PairSummary.from_values(pre, [0.5] * 5))
        assert estimate.p_value is None
        assert any("no test applies" in warning for warning in estimate.warnings)


@pytest.mark.parametrize("slopes", [(1.0, 1.0), (2.0, 0.5)])
def test_intervals_cover_the_effect_as_often_as_stated_also_with_slopes_of_their_own(
    slopes: tuple[float, float],
) -> None:
    generator = np.random.default_rng(11)
    effect = 0.3 + 10 * (slopes[0] - slopes[1])  # at the mean of the past, which is ten
    covered, relative = {"cuped": 0, "lin": 0}, 0
    for _ in range(600):
        arm = PairSummary.from_values(*drawn(generator, 80, 0.3, slopes[0]))
        baseline = PairSummary.from_values(*drawn(generator, 50, 0.0, slopes[1]))
        for name, compare in (("cuped", compare_cuped), ("lin", compare_lin)):
            estimate = compare(arm, baseline, alpha=0.1)
            absolute = of(estimate.absolute)
            assert absolute.low is not None
            assert absolute.high is not None
            covered[name] += absolute.low <= effect <= absolute.high
        share = of(compare_lin(arm, baseline, alpha=0.1).relative)
        assert share.low is not None
        assert share.high is not None
        relative += share.low <= effect / (5 + 10 * slopes[1]) <= share.high
    for count in (*covered.values(), relative):
        assert stats.binomtest(count, 600, 0.9, "less").pvalue > 0.001, covered
    assert stats.binomtest(covered["lin"], 600, 0.9).pvalue > 0.001


def test_lin_from_moments_is_what_hc2_estimates_from_values() -> None:
    generator = np.random.default_rng(8)
    arm, baseline = drawn(generator, 400, 0.5), drawn(generator, 700, 0.0)
    by_unit = regression_adjustment(*arm, *baseline)
    by_moments = of(compare_lin(PairSummary.from_values(*arm), PairSummary.from_values(*baseline)).absolute)
    assert by_moments.value == pytest.approx(by_unit.value, rel=1e-9)
    assert by_moments.standard_error == pytest.approx(by_unit.standard_error, rel=0.03)


def test_ratios_are_adjusted_as_means_are_and_lose_the_noise_of_their_units() -> None:
    generator = np.random.default_rng(6)

    def arm(n: int, effect: float) -> tuple[RatioPairSummary, RatioSummary]:
        quality = generator.normal(3, 1, n)
        before, since = generator.integers(1, 30, n) * 1.0, generator.integers(1, 30, n) * 1.0
        above = since * (quality + effect) + generator.normal(0, 1, n)
        pre = before * quality + generator.normal(0, 1, n)
        return RatioPairSummary.from_values(pre, before, above, since), RatioSummary.from_values(above, since)

    (treated, plain_treated), (control, plain_control) = arm(600, 0.2), arm(500, 0.0)
    adjusted = compare_cuped(treated.linearised(), control.linearised())
    plain = compare_ratios(plain_treated, plain_control)
    assert adjusted.baseline_value == pytest.approx(plain.baseline_value)
    assert of(adjusted.absolute).value == pytest.approx(0.2, abs=0.1)
    assert (of(adjusted.absolute).standard_error or 1) < 0.7 * (of(plain.absolute).standard_error or 0)


def test_the_logarithmic_effect_comes_from_the_adjusted_arms() -> None:
    generator = np.random.default_rng(9)
    arm, baseline = (PairSummary.from_values(*drawn(generator, 200, effect)) for effect in (1.0, 0.0))
    relative, _ = log_relative_difference(*adjusted_arms(arm, baseline))
    assert of(relative).value == pytest.approx(1 / 15, abs=0.02)


class TestRegressions:
    def test_refuse_what_they_cannot_fit(self) -> None:
        with pytest.raises(InvalidInput, match="each unit"):
            regression_adjustment([1.0], [1.0, 2.0], [1.0], [1.0])
        with pytest.raises(InvalidInput, match="more units"):
            regression_adjustment([1.0, 2.0], [1.0, 2.0], [1.0], [1.0])
        with pytest.raises(InvalidInput, match="varies in each arm"):
            regression_adjustment([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 3, [1.0, 3.0, 2.0])
        with pytest.raises(InvalidInput, match="finite"):
            regression_adjustment([1.0, np.inf, 2.0], [1.0, 2.0, 3.0], [1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
        with pytest.raises(InvalidInput, match="one unit alone"):
            regression_adjustment([0.0, 0.0, 0.0, 1.0], [1.0, 2.0, 3.0, 9.0], [1.0, 2.0, 4.0], [1.0, 3.0, 2.0])

    @pytest.mark.parametrize("at", [0.0, 1e9])
    def test_a_large_mean_takes_no_digits(self, at: float) -> None:
        generator = np.random.default_rng(3)
        arm, baseline = drawn(generator, 50, 0.5), drawn(generator, 60, 0.0)
        plain = regression_adjustment(*arm, *baseline, covariance="HC3")
        moved = regression_adjustment(arm[0] + at, arm[1] + at, baseline[0] + at, baseline[1] + at, covariance="HC3")
        assert moved.value == pytest.approx(plain.value, rel=1e-6)
        assert moved.standard_error == pytest.approx(plain.standard_error, rel=1e-6)

    def test_clustered_errors_are_those_of_units_and_not_of_queries(self) -> None:
        generator = np.random.default_rng(12)
        units = generator.integers(1, 200, 80) * 1.0
        quality = generator.normal(0.5, 0.2, 80)
        arm, baseline = (
            RatioSummary.from_values((units * quality)[part], units[part]) for part in (slice(40), slice(40, 80))
        )
        clustered, delta = cluster_robust(arm, baseline), of(compare_ratios(arm, baseline).absolute)
        assert clustered.value == pytest.approx(delta.value)
        assert clustered.standard_error == pytest.approx(delta.standard_error, rel=0.02)
        with pytest.raises(InvalidInput, match="two units"):
            cluster_robust(RatioSummary.from_values([1.0], [2.0]), baseline)
