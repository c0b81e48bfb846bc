"""A skewness comes from raw third moments where these hold enough digits, and is not known elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from barograph.stats.sequential.asymptotic import skewness
from barograph.stats.skewness import Cubes, skewness_of_ratio, skewness_of_sums
from barograph.stats.summary import RatioSummary, Summary

Floats = NDArray[np.float64]


def of_sums(values: Floats) -> float | None:
    return skewness_of_sums(Summary.from_values(values), float((values**3).mean()))


def of_ratio(n: Floats, d: Floats) -> float | None:
    cubes: Cubes = (float((n**3).mean()), float((n * n * d).mean()), float((n * d * d).mean()), float((d**3).mean()))
    return skewness_of_ratio(RatioSummary.from_values(n, d), cubes)


@pytest.fixture
def skewed() -> Floats:
    return np.random.default_rng(5).exponential(1.0, 2000)


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-9, 1e9, 1e60])
def test_sums_have_the_skewness_of_their_values_at_any_scale(skewed: Floats, scale: float) -> None:
    assert of_sums(skewed * scale) == pytest.approx(skewness(skewed * scale), rel=1e-9)


@pytest.mark.parametrize(("mean", "known"), [(1e2, True), (3e3, True), (1e5, False), (1e9, False)])
def test_it_is_known_only_where_the_numbers_vary_beside_their_mean(skewed: Floats, mean: float, known: bool) -> None:
    found = of_sums(skewed + mean)
    if known:
        assert found == pytest.approx(skewness(skewed), abs=0.05)
    else:
        assert found is None


def test_numbers_whose_cubes_are_beyond_a_float_have_no_known_skewness() -> None:
    assert skewness_of_sums(Summary(100, 1e110, 99 * 1e220), 1e308) is None
    assert skewness_of_ratio(RatioSummary(100, 1e110, 1.0, 99e220, 99.0, 0.0), (1e308, 1e220, 1e110, 1.0)) is None


def test_numbers_that_do_not_vary_are_not_skewed() -> None:
    assert of_sums(np.full(50, 3.0)) == 0.0


def test_a_ratio_has_the_skewness_of_its_linearised_values_over_measured_units() -> None:
    generator = np.random.default_rng(6)
    d = generator.integers(0, 40, 3000).astype(float)
    n = generator.binomial(d.astype(int), 0.03).astype(float)
    ratio, measured = n.sum() / d.sum(), d > 0
    linear = ratio + (n - ratio * d)[measured] / d[measured].mean()
    assert linear.size < n.size
    assert of_ratio(n, d) == pytest.approx(skewness(linear), rel=1e-9)


def test_a_ratio_of_large_and_nearly_equal_numbers_says_that_its_skewness_is_not_known() -> None:
    d = np.full(500, 1.0)
    n = 1e6 + np.random.default_rng(7).exponential(1.0, 500)
    assert of_ratio(n, d) is None


def test_nothing_measured_has_no_skewness_and_what_does_not_vary_has_none() -> None:
    assert skewness_of_ratio(RatioSummary(measured=0), (0.0, 0.0, 0.0, 0.0)) is None
    assert of_ratio(np.full(20, 6.0), np.full(20, 3.0)) == 0.0
