"""Bounds of two means of values in [0, 1] at one look: never wrong more often than alpha, at any number of units."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammainccinv, rel_entr
from scipy.stats import binom

from barograph.stats.chernoff import difference_bounds, ratio_bounds
from barograph.stats.summary import Summary
from barograph_client.errors import InvalidInput

Floats = NDArray[np.float64]


def of(n: int, mean: float) -> Summary:
    return Summary(n, mean, 0.0)


@pytest.mark.parametrize(("n", "m"), [(5, 11), (9, 3)])
@pytest.mark.parametrize(
    ("bounds", "true"), [(difference_bounds, lambda p, q: p - q), (ratio_bounds, lambda p, q: p / q)]
)
def test_each_bound_is_wrong_with_probability_alpha_at_most(
    bounds: Callable[..., tuple[float, float]], true: Callable[[float, float], float], n: int, m: int
) -> None:
    """All that coins can show, with its probability, at many pairs of chances."""
    cases = [*product(range(n + 1), range(m + 1))]
    alpha = 0.2
    found = np.array([bounds([(of(n, i / n), of(m, j / m))], alpha=alpha) for i, j in cases])
    for p, q in product(np.linspace(0, 1, 15), np.linspace(0.001, 1, 15)):
        chance = np.outer(binom.pmf(range(n + 1), n, p), binom.pmf(range(m + 1), m, q)).ravel()
        truth = true(float(p), float(q))
        assert chance[found[:, 0] > truth + 1e-12].sum() <= alpha
        assert chance[found[:, 1] < truth - 1e-12].sum() <= alpha


@pytest.mark.parametrize(
    ("arm", "baseline"),
    [((40, 1.0), (30, 0.0)), ((25, 0.52), (60, 0.0)), ((50, 0.3), (20, 0.25)), ((9, 0.0), (7, 1.0))],
)
def test_they_are_the_ends_of_what_the_two_entropies_allow(arm: tuple[int, float], baseline: tuple[int, float]) -> None:
    alpha, grid = 0.01, np.linspace(0, 1, 1_001)

    def against(n: int, found: float, wrong: NDArray[np.bool_]) -> Floats:
        return np.asarray(np.where(wrong, n * (rel_entr(found, grid) + rel_entr(1 - found, 1 - grid)), 0.0))

    high = against(*arm, arm[1] > grid)[:, None] + against(*baseline, baseline[1] < grid)
    low = against(*arm, arm[1] < grid)[:, None] + against(*baseline, baseline[1] > grid)
    differences = np.subtract.outer(grid, grid)
    expected = differences[high < gammainccinv(2, alpha)].min(), differences[low < gammainccinv(2, alpha)].max()
    assert difference_bounds([(of(*arm), of(*baseline))], alpha=alpha) == pytest.approx(expected, abs=0.003)


def test_units_of_any_values_between_are_never_surer_than_coins() -> None:
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(60):
        arm, baseline = generator.beta(0.1, 0.9, 30), generator.beta(0.1, 0.9, 80)
        low, high = difference_bounds([(of(30, arm.mean()), of(80, baseline.mean()))], alpha=0.1)
        wrong += low > 0 or high < 0
    assert wrong <= 12


def test_a_baseline_without_a_single_case_has_a_ratio_with_one_end() -> None:
    low, high = ratio_bounds([(of(60, 0.5), of(60, 0.0))], alpha=0.001)
    assert low > 3
    assert high == np.inf
    assert ratio_bounds([(of(60, 0.0), of(60, 0.0))]) == (0, np.inf)


def test_the_other_way_round_they_are_turned() -> None:
    one, other = of(50, 0.7), of(40, 0.2)
    low, high = difference_bounds([(one, other)])
    assert difference_bounds([(other, one)]) == pytest.approx((-high, -low))
    low, high = ratio_bounds([(one, other)])
    assert ratio_bounds([(other, one)]) == pytest.approx((1 / high, 1 / low))


def test_more_units_and_more_periods_narrow_them() -> None:
    few, many = (of(50, 0.6), of(50, 0.2)), (of(500, 0.6), of(500, 0.2))
    lows = [difference_bounds(pairs)[0] for pairs in ([few], [few, few], [many], [many, (Summary(), of(9, 1.0))])]
    assert lows == sorted(lows)
    assert lows[2] == lows[3]
    assert lows[3] < 0.4


def test_nothing_is_known_of_an_empty_arm() -> None:
    assert difference_bounds([(of(30, 1.0), Summary())]) == (-1, 1)
    assert ratio_bounds([]) == (0, np.inf)


def test_what_is_not_between_0_and_1_is_refused() -> None:
    with pytest.raises(InvalidInput, match="0 to 1"):
        difference_bounds([(of(3, 1.5), of(3, 0.5))])
    with pytest.raises(InvalidInput, match="alpha"):
        difference_bounds([(of(3, 0.5), of(3, 0.5))], alpha=0.0)
