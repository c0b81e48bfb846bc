"""Summaries add up: any split of the numbers, merged in any order, is the summary of all of them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import InvalidInput

numbers = st.lists(st.floats(min_value=-1e6, max_value=1e6), max_size=40)
pairs = st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 200)), max_size=40)


def close(got: Summary, expected: Summary, scale: float) -> bool:
    return (
        got.n == expected.n
        and math.isclose(got.mean, expected.mean, rel_tol=1e-9, abs_tol=1e-9 * scale)
        and math.isclose(got.m2, expected.m2, rel_tol=1e-9, abs_tol=1e-9 * scale * scale * max(1, got.n))
    )


class TestSummary:
    @given(numbers, numbers)
    def test_merge_is_commutative_to_the_bit(self, a: list[float], b: list[float]) -> None:
        one, other = Summary.from_values(a), Summary.from_values(b)
        assert one + other == other + one

    @given(numbers, numbers, numbers)
    def test_merge_is_associative(self, a: list[float], b: list[float], c: list[float]) -> None:
        x, y, z = map(Summary.from_values, (a, b, c))
        scale = max(map(abs, (*a, *b, *c)), default=1.0)
        assert close((x + y) + z, x + (y + z), scale)

    @given(numbers)
    def test_of_nothing_changes_nothing(self, a: list[float]) -> None:
        summary = Summary.from_values(a)
        assert summary + Summary() == summary == Summary() + summary

    @given(st.lists(numbers, min_size=1, max_size=8))
    def test_of_any_split_equals_numpy_on_the_whole(self, parts: list[list[float]]) -> None:
        whole = np.array([value for part in parts for value in part])
        merged = Summary()
        for part in parts:
            merged += Summary.from_values(part)
        assert merged.n == whole.size
        if whole.size > 1:
            scale = float(np.abs(whole).max())
            assert merged.mean == pytest.approx(whole.mean(), rel=1e-9, abs=1e-9 * scale)
            assert merged.variance == pytest.approx(whole.var(ddof=1), rel=1e-9, abs=1e-12 * scale * scale)

    @given(st.lists(st.integers(-8, 8), min_size=2, max_size=30), st.integers(1, 29))
    def test_keeps_its_digits_at_a_mean_of_1e12(self, eighths: list[int], cut: int) -> None:
        values = [1e12 + eighth / 8 for eighth in eighths]  # exact in double precision
        exact = [Fraction(value) for value in values]
        mean = sum(exact) / len(exact)
        m2 = sum((value - mean) ** 2 for value in exact)
        merged = Summary.from_values(values[:cut]) + Summary.from_values(values[cut:])
        assert merged.m2 == pytest.approx(float(m2), rel=1e-3, abs=1e-6)
        assert Summary.from_values(values).m2 == pytest.approx(float(m2), rel=1e-9, abs=1e-12)
        assert merged.mean == pytest.approx(float(mean), rel=1e-15)

    def test_sum_of_squares_would_lose_all_of_that(self) -> None:
        values = np.array([1e12, 1e12 + 1, 1e12 + 2])
        naive = float((values**2).sum() - 3 * values.mean() ** 2)
        assert naive != pytest.approx(2.0, rel=0.5)
        assert Summary.from_values(values).m2 == 2.0

    @pytest.mark.parametrize("bad", [[1.0, math.nan], [math.inf], [1e308, -1e308]])
    def test_of_what_is_not_finite_is_refused(self, bad: list[float]) -> None:
        with pytest.raises(InvalidInput):
            Summary.from_values(bad)

    @pytest.mark.parametrize(
        "moments", [(-1, 0.0, 0.0), (3, 0.0, -1.0), (3, math.nan, 1.0), (3, 0.0, math.inf), (1, 2.0, 1.0)]
    )
    def test_of_impossible_moments_is_refused(self, moments: tuple[int, float, float]) -> None:
        with pytest.raises(InvalidInput):
            Summary(*moments)

    @given(st.floats(min_value=1e-9, max_value=1e9), st.integers(2, 50))
    def test_equal_numbers_do_not_vary_whatever_their_sum_rounds_to(self, value: float, n: int) -> None:
        assert not Summary.from_values([value] * n).varies
        assert not Summary(n, value, n * (4 * np.finfo(float).eps * value) ** 2).varies

    def test_a_variance_of_one_number_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="two numbers"):
            _ = Summary.from_values([3.0]).variance


class TestRatioSummary:
    @given(pairs, pairs)
    def test_merged_parts_equal_the_whole(self, a: list[tuple[float, int]], b: list[tuple[float, int]]) -> None:
        def summary(some: list[tuple[float, int]]) -> RatioSummary:
            return RatioSummary.from_values([x for x, _ in some], [y for _, y in some])

        whole, merged = summary(a + b), summary(a) + summary(b)
        assert (merged.n, merged.measured_units) == (whole.n, whole.measured_units)
        for field in ("numerator_mean", "denominator_mean", "numerator_m2", "denominator_m2", "cross_m2"):
            assert getattr(merged, field) == pytest.approx(getattr(whole, field), rel=1e-6, abs=1e-3)

    def test_linearised_is_the_delta_method(self) -> None:
        generator = np.random.default_rng(4)
        below = generator.integers(1, 20, 200).astype(float)
        above = below * generator.normal(3, 1, 200)
        ratio = above.sum() / below.sum()
        covariance = np.cov(above, below)
        by_hand = (covariance[0, 0] - 2 * ratio * covariance[0, 1] + ratio**2 * covariance[1, 1]) / below.mean() ** 2
        summary = RatioSummary.from_values(above, below).linearised()
        assert summary.mean == pytest.approx(ratio)
        assert summary.variance == pytest.approx(by_hand)

    def test_units_that_were_not_measured_do_not_change_the_ratio_or_its_error(self) -> None:
        above, below = [3.0, 5.0, 4.0, 9.0], [1.0, 2.0, 1.0, 3.0]
        without = RatioSummary.from_values(above, below).linearised()
        among_many = RatioSummary.from_values(above + [0.0] * 996, below + [0.0] * 996).linearised()
        assert among_many.n == 4
        assert among_many.mean == pytest.approx(without.mean)
        assert among_many.mean_variance == pytest.approx(without.mean_variance)

    def test_a_ratio_that_is_the_same_in_every_unit_has_no_variance_but_rounding(self) -> None:
        below = np.arange(1.0, 50.0)
        assert not RatioSummary.from_values(below * 0.1, below).linearised().varies

    def test_of_nothing_measured_has_no_ratio(self) -> None:
        summary = RatioSummary.from_values([0.0, 0.0], [0.0, 0.0])
        assert summary.ratio is None
        with pytest.raises(InvalidInput, match="denominator"):
            summary.linearised()

    def test_of_values_that_do_not_pair_is_refused(self) -> None:
        with pytest.raises(InvalidInput):
            RatioSummary.from_values([1.0], [1.0, 2.0])

    @pytest.mark.parametrize("impossible", [(10, 1.0, 1.0, 1.0, 1.0, 100.0), (10, 1.0, 1.0, 0.0, 1.0, 0.5)])
    def test_of_a_sum_of_products_that_no_pairs_have_is_refused(
        self, impossible: tuple[int, float, float, float, float, float]
    ) -> None:
        with pytest.raises(InvalidInput):
            RatioSummary(*impossible)
        assert RatioSummary(10, 1.0, 1.0, 4.0, 1.0, -2.0 * (1 + 1e-9)).cross_m2 < -2  # by what an engine rounds

    @pytest.mark.parametrize("measured", [-2, 11])
    def test_of_more_measured_units_than_there_are_is_refused(self, measured: int) -> None:
        with pytest.raises(InvalidInput):
            RatioSummary(10, 1.0, 1.0, 1.0, 1.0, 0.5, measured)
        with pytest.raises(InvalidInput):
            RatioSummary(10, 1.0, 1.0, 1.0, 1.0, 0.5, 0).linearised()
