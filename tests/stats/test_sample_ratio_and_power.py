"""The sample ratio check alarms as often as stated; sizes and days answer the question that was asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from barograph.stats.power import days_needed, detectable_effect, power_of, sample_size
from barograph.stats.sample_ratio import chi_squared, multinomial_exact, sample_ratio
from barograph_client.errors import InvalidInput


class TestSampleRatio:
    def test_defect_1_an_arm_of_weight_zero_takes_no_part_and_no_degree_of_freedom(self) -> None:
        statistic, degrees, p_value = chi_squared([500, 560, 0], [0.5, 0.5, 0.0])
        assert (statistic, degrees) == (pytest.approx(60**2 / 1060), 1)
        assert p_value == pytest.approx(0.06534575162837782)
        assert p_value != pytest.approx(stats.chi2.sf(statistic, 2))  # 0.183, which must not be said
        check = sample_ratio([5000, 5600, 0], [0.5, 0.5, 0.0])
        assert check.degrees == 1
        assert check.p_value == pytest.approx(stats.chisquare([5000, 5600]).pvalue)
        assert check.expected == (5300, 5300, 0)

    def test_a_unit_in_an_arm_of_weight_zero_is_a_mismatch(self) -> None:
        check = sample_ratio([500, 500, 1], [0.5, 0.5, 0.0])
        assert check.mismatch
        assert "weight zero" in check.method

    def test_is_exact_for_few_units(self) -> None:
        check = sample_ratio([3, 9], [0.5, 0.5])
        assert check.method == "exact binomial"
        assert check.p_value == pytest.approx(0.14599609375)

    def test_of_three_arms_is_exact_for_few_units(self) -> None:
        check = sample_ratio([4, 0, 0], [1 / 3, 1 / 3, 1 / 3])
        assert check.method == "exact multinomial"
        assert check.p_value == pytest.approx(3 / 81)  # all four in one arm, whichever it is

    def test_multinomial_of_two_arms_is_the_binomial(self) -> None:
        for count in range(13):
            expected = stats.binomtest(count, 12, 0.3).pvalue
            assert multinomial_exact([count, 12 - count], [0.3, 0.7]) == pytest.approx(expected)

    def test_large_numbers_use_chi_squared_and_find_what_is_wrong(self) -> None:
        assert sample_ratio([9463, 7681], [0.5, 0.5]).mismatch
        assert sample_ratio([9463, 7681], [0.5, 0.5]).method == "chi-squared"
        assert not sample_ratio([821588, 815482], [0.5, 0.5], alpha=1e-6).mismatch

    def test_of_no_unit_is_no_mismatch(self) -> None:
        check = sample_ratio([0, 0], [0.5, 0.5])
        assert check.p_value is None
        assert not check.mismatch

    @pytest.mark.parametrize(
        ("counts", "weights"),
        [
            ([1, 2], [1.0]),
            ([1, -2], [0.5, 0.5]),
            ([1, 2], [1.0, 0.0]),
            ([1, 2], [0.5, math.nan]),
            ([1, 2], [0.5, -0.5]),
        ],
    )
    def test_of_what_makes_no_sense_is_refused(self, counts: list[int], weights: list[float]) -> None:
        with pytest.raises(InvalidInput):
            sample_ratio(counts, weights)

    @pytest.mark.parametrize(("weights", "n"), [((0.5, 0.5), 200), ((0.9, 0.1), 5000), ((0.5, 0.3, 0.2), 3000)])
    def test_false_alarms_are_as_rare_as_stated(self, weights: tuple[float, ...], n: int) -> None:
        generator = np.random.default_rng(11)
        alarms = 0
        for counts in generator.multinomial(n, weights, size=1500):
            alarms += sample_ratio([int(count) for count in counts], weights, alpha=0.05).mismatch
        assert stats.binomtest(alarms, 1500, 0.05, alternative="greater").pvalue > 0.001


class TestPower:
    def test_a_sample_of_the_size_given_has_the_power_asked_for(self) -> None:
        for effect, ratio in ((0.2, 1.0), (0.05, 3.0), (1.0, 0.25)):
            n = sample_size(effect, ratio=ratio)
            assert power_of(effect, n * ratio, n) == pytest.approx(0.8, abs=1e-9)
            assert detectable_effect(n * ratio, n) == pytest.approx(effect, rel=1e-6)

    def test_simulated_power_is_the_stated_one(self) -> None:
        generator = np.random.default_rng(3)
        n = math.ceil(sample_size(0.5))
        found = stats.ttest_ind(
            generator.normal(0.5, 1, (2000, n)), generator.normal(0, 1, (2000, n)), axis=1, equal_var=False
        ).pvalue
        assert stats.binomtest(int((found < 0.05).sum()), 2000, 0.8).pvalue > 0.001

    @pytest.mark.parametrize("effect", [0.0, math.nan, math.inf])
    def test_an_effect_that_is_none_is_refused(self, effect: float) -> None:
        with pytest.raises(InvalidInput):
            sample_size(effect)

    @pytest.mark.parametrize("n", [3, 20, 440, 5000, 10**6])
    @pytest.mark.parametrize("alpha", [0.05, 0.0001])
    def test_a_larger_effect_is_never_found_less_often_and_a_very_large_one_always(self, n: int, alpha: float) -> None:
        power = [power_of(distance / math.sqrt(n / 2), n, n, alpha=alpha) for distance in np.arange(0, 60, 0.37)]
        assert min(np.diff(power)) > -1e-9
        assert power[-1] == pytest.approx(1, abs=0.1 if n == 3 else 1e-9)

    def test_an_effect_too_small_for_any_number_needs_infinitely_many(self) -> None:
        assert sample_size(1e-12) == math.inf

    def test_power_below_the_risk_is_refused(self) -> None:
        with pytest.raises(InvalidInput):
            sample_size(0.2, alpha=0.1, power=0.05)
        with pytest.raises(InvalidInput):
            detectable_effect(1, 10)

    def test_days_follow_the_pace_so_far(self) -> None:
        assert days_needed(1000, 250, 5) == 15
        assert days_needed(100, 250, 5) == 0
        assert days_needed(1000, 0, 5) is None
        assert days_needed(math.inf, 10, 5) is None
