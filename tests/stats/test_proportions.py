"""Shares: exact where numbers are small, intervals that are the tests' own, answers at 0 % and at 100 %."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from tests.support.soak import times

from barograph.stats import exact, proportion_tests
from barograph.stats.distributions import normal_tail
from barograph.stats.estimate import Effect
from barograph.stats.proportions import (
    agresti_caffo_interval,
    compare_proportions,
    miettinen_nurminen_interval,
    newcombe_interval,
    score_statistic,
    share_ratio_interval,
    wald_interval,
)
from barograph_client.errors import InvalidInput

Counts = tuple[int, int, int, int]
INTERVALS = (newcombe_interval, miettinen_nurminen_interval, agresti_caffo_interval, wald_interval)


@st.composite
def tables(draw: st.DrawFn, most: int = 60) -> Counts:
    n, m = draw(st.integers(1, most)), draw(st.integers(1, most))
    return draw(st.integers(0, n)), n, draw(st.integers(0, m)), m


def score_by_search(x: int, n: int, y: int, m: int, null: float) -> float:
    """The score statistic, its shares found by a search for the largest likelihood."""

    def loss(share: float) -> float:
        both = ((x, n, share + null), (y, m, share))
        return -sum(float(stats.binom.logpmf(hits, size, min(1.0, max(0.0, p)))) for hits, size, p in both)

    bounds = (max(0.0, -null) + 1e-12, min(1.0, 1 - null) - 1e-12)
    q = float(optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x)
    p = q + null
    return (x / n - y / m - null) / math.sqrt((p * (1 - p) / n + q * (1 - q) / m) * (n + m) / (n + m - 1))


@pytest.mark.parametrize("table", [(4, 50, 0, 50), (55, 60, 60, 60), (4000, 9000, 3, 7), (9, 10, 5, 10)])
def test_score_intervals_end_where_the_test_at_the_likeliest_shares_rejects(table: Counts) -> None:
    for bound in miettinen_nurminen_interval(*table):
        assert 2 * stats.norm.sf(abs(score_by_search(*table, bound))) == pytest.approx(0.05, rel=1e-5)


@settings(max_examples=times(30, 300))
@given(tables(), st.floats(-0.9, 0.9), st.sampled_from([0.01, 0.05, 0.2]))
def test_a_difference_is_inside_the_score_interval_as_its_test_does_not_reject_it(
    table: Counts, null: float, alpha: float
) -> None:
    low, high = miettinen_nurminen_interval(*table, alpha)
    p_value = 2 * normal_tail(abs(score_statistic(*table, null)))
    if abs(p_value - alpha) > 1e-9:
        assert (low <= null <= high) == (p_value > alpha)


@settings(max_examples=times(30, 300))
@given(tables())
def test_exchanging_the_arms_or_the_answers_mirrors_every_interval(table: Counts) -> None:
    x, n, y, m = table
    for interval in INTERVALS:
        low, high = interval(x, n, y, m)
        assert (low, high) == pytest.approx(tuple(-bound for bound in interval(y, m, x, n)[::-1]), abs=1e-9)
        assert (low, high) == pytest.approx(tuple(-b for b in interval(n - x, n, m - y, m)[::-1]), abs=1e-9)


@given(tables())
def test_the_ratio_of_shares_lies_in_its_interval_which_mirrors_with_the_arms(table: Counts) -> None:
    x, n, y, m = table
    low, high = share_ratio_interval(x, n, y, m)
    assert 0 <= low < high
    if y:
        assert low <= x / n / (y / m) * (1 + 1e-12)
        assert high >= x / n / (y / m) * (1 - 1e-12)
    if x and y:
        other_low, other_high = share_ratio_interval(y, m, x, n)
        assert (low, high) == pytest.approx((1 / other_high, 1 / other_low), rel=1e-6)
    assert math.isinf(high) == (y == 0)


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0.05, 0.02), (0.5, 0.4), (0.9, 0.97)])
def test_intervals_cover_as_often_as_stated_at_small_numbers(shares: tuple[float, float]) -> None:
    n, m = 60, 40
    weights = [stats.binom.pmf(np.arange(size + 1), size, p) for size, p in zip((n, m), shares, strict=True)]
    covered = dict.fromkeys(("difference", "score", "ratio"), 0.0)
    for x, y in itertools.product(range(n + 1), range(m + 1)):
        weight = float(weights[0][x] * weights[1][y])
        if weight < 1e-5:
            continue
        low, high = newcombe_interval(x, n, y, m)
        covered["difference"] += weight * (low <= shares[0] - shares[1] <= high)
        covered["score"] += weight * (2 * normal_tail(abs(score_statistic(x, n, y, m, shares[0] - shares[1]))) >= 0.05)
        low, high = share_ratio_interval(x, n, y, m)
        covered["ratio"] += weight * (low <= shares[0] / shares[1] <= high)
    assert min(covered.values()) > 0.93, covered


@settings(max_examples=times(30, 300))
@given(tables(12))
def test_an_exact_test_given_the_arms_sizes_never_rejects_too_often_nor_boschloo_less_than_fisher(
    table: Counts,
) -> None:
    fisher, boschloo = exact.fisher_exact(*table, "greater"), exact.boschloo_exact(*table, "greater")
    assert boschloo <= fisher * (1 + 1e-6)


def test_exact_tests_hold_their_risk_at_every_common_share() -> None:
    n, m, alpha = 6, 5, 0.1
    outcomes = list(itertools.product(range(n + 1), range(m + 1)))
    for test in (exact.barnard_exact, exact.boschloo_exact):
        rejected = [(x, y) for x, y in outcomes if test(x, n, y, m) <= alpha]
        for share in np.linspace(0.02, 0.98, 25):
            risk = sum(stats.binom.pmf(x, n, share) * stats.binom.pmf(y, m, share) for x, y in rejected)
            assert risk <= alpha + 1e-9


@given(st.integers(1, 200), st.data(), st.sampled_from([0.05, 0.01]))
def test_clopper_pearson_ends_where_the_exact_test_of_one_share_rejects(
    n: int, data: st.DataObject, alpha: float
) -> None:
    x = data.draw(st.integers(0, n))
    low, high = exact.clopper_pearson_interval(x, n, alpha)
    assert 0 <= low <= x / n <= high <= 1
    if x:
        assert stats.binom.sf(x - 1, n, low) == pytest.approx(alpha / 2, rel=1e-6)
    if x < n:
        assert stats.binom.cdf(x, n, high) == pytest.approx(alpha / 2, rel=1e-6)


@settings(max_examples=times(30, 300))
@given(tables())
def test_tests_of_a_table_agree_with_scipy_and_say_one_where_no_unit_differs(table: Counts) -> None:
    x, n, y, m = table
    pearson, likelihood = proportion_tests.pearson_test(*table), proportion_tests.log_likelihood_test(*table)
    if x + y in (0, n + m):
        assert pearson.p_value == likelihood.p_value == 1
        return
    counts = [[x, n - x], [y, m - y]]
    assert pearson.p_value == pytest.approx(stats.chi2_contingency(counts).pvalue, rel=1e-6)
    expected = stats.chi2_contingency(counts, lambda_="log-likelihood").pvalue
    assert likelihood.p_value == pytest.approx(expected, rel=1e-6)
    absolute, _ = proportion_tests.pooled_test(*table)
    assert absolute.p_value == pytest.approx(pearson.p_value, rel=1e-6)


@pytest.mark.parametrize("table", [(0, 50, 4, 50), (4, 50, 0, 50), (60, 60, 55, 60), (0, 50, 0, 50), (2, 2, 0, 2)])
def test_defect_4_an_arm_with_all_or_no_successes_is_answered_and_never_with_certainty(table: Counts) -> None:
    estimate = compare_proportions(*table)
    absolute = estimate.absolute
    assert absolute is not None
    x, n, y, m = table
    assert absolute.p_value == pytest.approx(stats.fisher_exact(np.array([[x, n - x], [y, m - y]]))[1])
    assert absolute.low is not None
    assert absolute.high is not None
    assert absolute.low < absolute.value < absolute.high or absolute.value in (-1, 1)
    if estimate.relative and estimate.relative.low is not None and estimate.relative.high is not None:
        assert estimate.relative.low < estimate.relative.high


def test_the_relative_effect_feels_how_few_successes_the_baseline_has() -> None:
    relative = compare_proportions(19, 1_000_000, 7, 1_000_000).relative
    assert isinstance(relative, Effect)
    assert relative.high is not None
    assert relative.low is not None
    # the absolute bounds over a baseline taken as known would end at 2.3
    assert relative.high > 4
    assert relative.low == pytest.approx(0.13, abs=0.05)


@pytest.mark.parametrize("table", [(1, 0, 1, 2), (1, 2, 0, 0), (3, 2, 0, 2), (-1, 2, 0, 2)])
def test_an_empty_arm_and_impossible_counts_are_refused(table: Counts) -> None:
    for answer in (
        miettinen_nurminen_interval, agresti_caffo_interval, wald_interval, share_ratio_interval,
        exact.barnard_exact, exact.boschloo_exact, proportion_tests.pearson_test, proportion_tests.wald_test,
        proportion_tests.pooled_test,
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            answer(*table)


def test_too_many_tables_for_an_exact_test_are_refused_with_another_way() -> None:
    with pytest.raises(InvalidInput, match="too many units"):
        exact.barnard_exact(5, 10_000, 7, 10_000)
