"""Ratios with a weak denominator get the interval that holds as often as stated, or none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from barograph.stats.comparison import FIELLER, compare_means, compare_ratios, relative_difference
from barograph.stats.estimate import Alternative
from barograph.stats.fieller import quotient_bounds, ratio_bounds, ratio_difference, relative_bounds
from barograph.stats.summary import RatioSummary, Summary

units = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 40)), min_size=3, max_size=12)


def summary(rows: list[tuple[float, int]]) -> RatioSummary:
    return RatioSummary.from_values([quality * n for quality, n in rows], [n for _, n in rows])


@given(st.floats(-5, 5), st.floats(0.1, 9), st.floats(0.01, 4), st.floats(0.01, 4), st.floats(-0.9, 0.9))
def test_bounds_are_the_quotients_at_which_the_t_test_is_just_not_rejected(
    above: float, below: float, above_variance: float, below_variance: float, correlation: float
) -> None:
    covariance = correlation * math.sqrt(above_variance * below_variance)
    bounds = quotient_bounds(above, below, (above_variance, below_variance), covariance, 2.0)
    assert (bounds is None) == (below * below <= 4 * below_variance)
    for quotient in bounds or ():
        variance = above_variance - 2 * quotient * covariance + quotient**2 * below_variance
        assert (above - quotient * below) ** 2 == pytest.approx(4 * variance, rel=1e-6)
    if bounds:
        assert bounds[0] <= above / below <= bounds[1]


@given(units, units, st.sampled_from(["two-sided", "greater", "less"]))
def test_the_interval_holds_its_value_and_holds_zero_as_the_p_value_says(
    a: list[tuple[float, int]], b: list[tuple[float, int]], alternative: Alternative
) -> None:
    effects = ratio_difference(summary(a), summary(b), alpha=0.05, alternative=alternative)
    if effects is None:
        assert None in (ratio_bounds(summary(a), 0.05), ratio_bounds(summary(b), 0.05)) or alternative != "two-sided"
        return
    absolute, relative = effects
    assert absolute.low is not None
    assert absolute.high is not None
    assert absolute.p_value is not None
    assert absolute.low <= absolute.value <= absolute.high
    if abs(absolute.p_value - 0.05) > 1e-6 and absolute.low != absolute.high:
        assert (absolute.low <= 0 <= absolute.high) == (absolute.p_value > 0.05)
    if relative is not None and relative.low is not None and relative.high is not None:
        assert relative.low <= relative.value <= relative.high


def test_false_alarms_with_uneven_units_are_rare_where_the_delta_method_has_many() -> None:
    generator = np.random.default_rng(0)
    delta, fieller, bounded = 0, 0, 0
    for _ in range(500):
        arms = []
        for n in (15, 10):
            counts = np.ceil(generator.lognormal(1, 1.2, n))
            arms.append(RatioSummary.from_values(counts * generator.normal(0.5, 0.15, n), counts))
        estimate = compare_ratios(arms[0], arms[1])
        assert estimate.method == FIELLER
        plain = compare_means(arms[0].linearised(), arms[1].linearised())
        delta += (plain.p_value or 1) < 0.05
        if estimate.p_value is not None:
            bounded += 1
            fieller += estimate.p_value < 0.05
    assert stats.binomtest(delta, 500, 0.05, "greater").pvalue < 1e-6  # the mistake
    assert stats.binomtest(fieller, bounded, 0.05, "greater").pvalue > 0.01


def test_strong_denominators_are_left_to_the_delta_method_which_it_agrees_with() -> None:
    generator = np.random.default_rng(1)
    arms = []
    for effect in (0.2, 0.0):
        counts = generator.integers(10, 20, 400) * 1.0
        arms.append(RatioSummary.from_values(counts * generator.normal(3 + effect, 1, 400), counts))
    estimate = compare_ratios(arms[0], arms[1])
    assert estimate.method != FIELLER
    effects = ratio_difference(arms[0], arms[1], alpha=0.05, alternative="two-sided")
    assert effects is not None
    for ours, theirs in zip(effects, (estimate.absolute, estimate.relative), strict=True):
        assert ours is not None
        assert theirs is not None
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert effects[0].p_value == pytest.approx(estimate.p_value, rel=0.2)


@given(st.floats(-3, 3), st.floats(0.5, 3), st.sampled_from([-1.0, 1.0]))
def test_a_weak_baseline_has_a_relative_interval_that_agrees_with_the_difference_or_none(
    shift: float, spread: float, sign: float
) -> None:
    values = np.linspace(-1, 1, 12)
    arm, baseline = Summary.from_values(values + shift), Summary.from_values(spread * values + sign * spread / 3)
    estimate = compare_means(arm, baseline)
    assert estimate.absolute is not None
    assert estimate.relative is not None
    if estimate.relative.low is None or estimate.relative.high is None:
        assert any("cannot be told from zero" in warning for warning in estimate.warnings)
        return
    absolute = estimate.absolute
    assert absolute.low is not None
    assert absolute.high is not None
    assert estimate.relative.low <= estimate.relative.value <= estimate.relative.high
    if min(abs(absolute.low), abs(absolute.high)) > 1e-9:
        assert (absolute.low <= 0 <= absolute.high) == (estimate.relative.low <= 0 <= estimate.relative.high)


def test_relative_intervals_of_a_certain_baseline_are_those_of_the_delta_method() -> None:
    arm, baseline = Summary.from_variance(50, 11.0, 4.0), Summary.from_variance(10_000, 10.0, 1.0)
    delta, _ = relative_difference(arm, baseline)
    assert delta is not None
    assert delta.degrees is not None
    assert relative_bounds(arm, baseline, delta.degrees, 0.05) == pytest.approx((delta.low, delta.high), rel=1e-3)
