"""Plans keep what they promise: so many units find so large a change so often, and come in so many days."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.stats.comparison import compare_means
from barograph.stats.planning import (
    arcsine_effect,
    days_until,
    detectable_share,
    power_by_simulation,
    power_of_shares,
    sample_size_of_shares,
    units_by_day,
)
from barograph.stats.power import power_of, sample_size
from barograph.stats.proportions import score_test
from barograph.stats.ranks import mann_whitney
from barograph.stats.summary import Summary
from barograph_client.errors import InvalidInput

shares = st.floats(0.01, 0.99)


@given(shares, shares, st.sampled_from([0.01, 0.05]), st.sampled_from([0.8, 0.95]), st.sampled_from([0.25, 1.0, 3.0]))
def test_units_for_two_shares_give_the_power_asked_for(
    share: float, baseline: float, alpha: float, power: float, ratio: float
) -> None:
    if abs(share - baseline) < 1e-3:
        return
    n = sample_size_of_shares(share, baseline, alpha=alpha, power=power, ratio=ratio)
    assert power_of_shares(share, baseline, n * ratio, n, alpha=alpha) == pytest.approx(power, abs=1e-3)


def test_the_score_test_finds_the_change_as_often_as_planned() -> None:
    n = math.ceil(sample_size_of_shares(0.25, 0.15))
    counts = np.random.default_rng(1).binomial(n, (0.25, 0.15), (3000, 2))
    found = np.mean([score_test(int(x), n, int(y), n)[1] <= 0.05 for x, y in counts])
    assert found == pytest.approx(0.8, abs=0.03)


@given(shares, st.integers(20, 5000))
def test_the_detectable_shares_lie_on_either_side_and_are_detected(baseline: float, n: int) -> None:
    low, high = detectable_share(baseline, n, n)
    for share in (low, high):
        if share is not None:
            assert power_of_shares(share, baseline, n, n) == pytest.approx(0.8, abs=1e-4)
    assert low is None or low < baseline
    assert high is None or high > baseline


def test_on_the_arcsine_scale_a_difference_has_the_same_power_wherever_it_lies() -> None:
    assert arcsine_effect(0.3, 0.2) == -arcsine_effect(0.2, 0.3) == pytest.approx(arcsine_effect(0.8, 0.7))
    n = sample_size(arcsine_effect(0.12, 0.1), distribution="normal")
    assert n == pytest.approx(sample_size_of_shares(0.12, 0.1), rel=0.01)


def test_days_follow_the_past_and_not_a_straight_line_through_units_that_come_back() -> None:
    distinct = [100, 150, 180, 200]
    assert days_until(50, distinct) == 0.5
    assert days_until(150, distinct) == 2
    assert days_until(190, distinct) == 3.5
    assert days_until(260, distinct) == 7  # at twenty a day, and not at fifty
    assert days_until(0, distinct) == 0
    assert days_until(201, [100, 200, 200]) is None
    assert days_until(math.inf, distinct) is None
    for bad in ([], [10, 5]):
        with pytest.raises(InvalidInput):
            days_until(10, bad)


def test_beyond_the_past_units_come_at_the_pace_of_its_last_week_and_not_of_a_quiet_sunday() -> None:
    distinct = [100 * day for day in range(1, 14)] + [1300]
    assert days_until(1300 + 600, distinct) == 14 + 7  # 600 in the last seven days


class TestUnitsByDay:
    def test_within_the_past_are_those_of_the_past(self) -> None:
        assert units_by_day([100, 150, 180], 2).tolist() == [0, 100, 150]

    def test_come_for_ever_where_they_always_came_and_never_where_they_stopped(self) -> None:
        assert units_by_day([100 * day for day in range(1, 15)], 28).tolist() == [100 * day for day in range(29)]
        assert units_by_day([200] * 14, 28)[-1] == pytest.approx(200, abs=1)
        assert units_by_day([0] * 14, 28)[-1] == 0

    @pytest.mark.parametrize("past", [14, 28, 60])
    @pytest.mark.parametrize(("shape", "scale"), [(0.3, 0.5), (0.5, 0.2), (1.0, 0.1), (2.5, 0.1), (1e6, 5e-8)])
    def test_of_a_population_with_gamma_rates_come_as_it_has_them(self, past: int, shape: float, scale: float) -> None:
        all_days = np.arange(1, 2 * past + 1)
        come = 10_000 * -np.expm1(-shape * np.log1p(scale * all_days))
        found = units_by_day(np.rint(come[:past]).astype(int).tolist(), 2 * past)
        assert found[past + 1 :] == pytest.approx(come[past:], rel=0.01)

    @given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 80))
    def test_come_ever_more_slowly(self, more: list[int], days: int) -> None:
        units = units_by_day(np.cumsum(more).tolist(), len(more) + days)
        assert units.shape == (len(more) + days + 1,)
        later = np.diff(units[len(more) :])
        assert (later >= 0).all()
        assert (np.diff(later) <= 1e-5).all()
        assert later[0] <= max(1, sum(more)) / len(more) + 1e-5

    def test_of_a_count_that_falls_are_refused(self) -> None:
        for bad in ([], [10, 5]):
            with pytest.raises(InvalidInput):
                units_by_day(bad, 3)


class TestSimulation:
    @staticmethod
    def welch(arm: np.ndarray[tuple[int], np.dtype[np.float64]], baseline: object) -> float | None:
        assert isinstance(baseline, np.ndarray)
        return compare_means(Summary.from_values(arm), Summary.from_values(baseline)).p_value

    def test_agrees_with_the_formula_where_there_is_one(self) -> None:
        past = np.random.default_rng(2).normal(10, 2, 5000)
        found = power_by_simulation(past, lambda x: x + 1, self.welch, 60, 60, simulations=400, seed=4)
        assert found.low <= power_of(1 / past.std(), 60, 60) <= found.high
        assert found == power_by_simulation(past, lambda x: x + 1, self.welch, 60, 60, simulations=400, seed=4)

    def test_of_no_change_tells_the_rate_of_false_alarms(self) -> None:
        past = np.random.default_rng(3).lognormal(0, 1, 500)
        found = power_by_simulation(past, lambda x: x, lambda a, b: mann_whitney(a, b).p_value, 40, 40, simulations=400)
        assert found.low <= 0.05 <= found.high

    def test_refuses_an_empty_past_and_what_it_cannot_bound(self) -> None:
        for past, n, simulations in (([], 10, 10), ([1.0], 0, 10), ([1.0], 10**8, 100), ([math.nan], 10, 10)):
            with pytest.raises(InvalidInput):
                power_by_simulation(past, lambda x: x, self.welch, n, 10, simulations=simulations)


def test_shares_and_risks_that_are_none_are_refused() -> None:
    refusals: list[Callable[[], object]] = [
        lambda: power_of_shares(0.0, 0.5, 10, 10),
        lambda: power_of_shares(0.2, 0.5, 0, 10),
        lambda: sample_size_of_shares(0.5, 0.5),
        lambda: sample_size_of_shares(0.4, 0.5, ratio=0.0),
        lambda: sample_size_of_shares(0.4, math.nan),
        lambda: arcsine_effect(1.2, 0.5),
    ]
    for refused in refusals:
        with pytest.raises(InvalidInput):
            refused()
