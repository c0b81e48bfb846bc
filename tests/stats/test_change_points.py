"""Change points are where the level steps, do not depend on scale, shift or direction, and say how sure they are."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from tests.support.soak import times

from barograph.stats.change_points import ChangePoint, Method, change_points, largest_of_bridge
from barograph.stats.distributions import chi_squared_exceeded, f_tail
from barograph_client.errors import InvalidInput

METHODS: tuple[Method, ...] = ("binseg", "pelt")
STEP = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 3.0, 3.1, 2.9, 3.0, 3.05, 2.95]
SERIES = times(200, 4000)  # for a share of series
ANYTHING = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


def places(found: tuple[ChangePoint, ...]) -> list[int]:
    return [point.index for point in found]


def noise(generator: np.random.Generator, n: int, carried: float = 0.0) -> NDArray[np.float64]:
    """First-order autocorrelated noise of variance 1."""
    shocks = generator.normal(size=n + 50)
    for place in range(1, n + 50):
        shocks[place] += carried * shocks[place - 1]
    return np.asarray(shocks[50:] * math.sqrt(1 - carried**2))


@st.composite
def series(draw: st.DrawFn, most: int = 60) -> NDArray[np.float64]:
    """Noise with some steps, in which no two sums are equal."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.lists(st.integers(1, most // 3), min_size=1, max_size=4))
    parts = [generator.normal(generator.normal(0, 4), 1, length) for length in lengths]
    return np.concatenate(parts)


@pytest.mark.parametrize("method", METHODS)
class TestBothMethods:
    def test_a_step_is_found_at_its_first_value_with_the_means_of_both_sides(self, method: Method) -> None:
        (point,) = change_points(STEP, method=method)
        assert point.index == 6
        assert point.before == pytest.approx((1.0,))
        assert point.after == pytest.approx((3.0,))
        assert point.p_value < 1e-4

    def test_gaps_do_not_move_the_place(self, method: Method) -> None:
        holed = [None, *STEP[:3], math.nan, *STEP[3:6], None, math.inf, *STEP[6:]]
        (point,) = change_points(holed, method=method)
        assert point.index == 10
        assert point.after == pytest.approx((3.0,))

    def test_a_step_in_one_of_several_dimensions_is_found(self, method: Method) -> None:
        generator = np.random.default_rng(1)
        table = np.column_stack([generator.normal(size=80), np.full(80, 7.0), generator.normal(size=80)])
        table[50:, 2] += 5
        (point,) = change_points(table, method=method)
        assert point.index == 50
        assert (len(point.before), len(point.after)) == (3, 3)
        assert point.after[2] - point.before[2] == pytest.approx(5, abs=0.7)
        assert point.before[1] == point.after[1] == 7.0
        assert point.p_value < 1e-6

    @pytest.mark.parametrize(
        "values",
        [[], [1.0], [None], [1.0, 2.0], [5.0] * 40, [0.1 + 0.2, 0.3] * 20, [None] * 9, [0.0] * 9, [[]] * 5,
         [[1.0, None], [None, 1.0]] * 5],
    )  # fmt: skip
    def test_series_that_are_short_or_constant_or_empty_have_none(
        self, method: Method, values: list[float | None]
    ) -> None:
        assert change_points(values, method=method) == ()

    @pytest.mark.parametrize("size", [5e307, 1e-300, 5e-324 * 1000, 1e150, -1e200])
    def test_size_does_not_matter(self, method: Method, size: float) -> None:
        (point,) = change_points([value * size for value in STEP], method=method)
        assert point.index == 6
        assert point.before == pytest.approx((size,), rel=2e-3)

    @given(st.lists(ANYTHING, max_size=40), st.integers(1, 4))
    @settings(max_examples=times(60, 3000))
    def test_nothing_raises_and_points_are_in_order_and_apart(
        self, method: Method, values: list[float | None], least: int
    ) -> None:
        found = change_points(values, method=method, penalty=0.5, least=least)
        kept = [place for place, value in enumerate(values) if value is not None and math.isfinite(value)]
        bounds = [0, *(kept.index(point.index) for point in found), len(kept)]
        assert all(after - before >= least for before, after in itertools.pairwise(bounds)) or not found
        assert all(0 <= point.p_value <= 1 for point in found)
        assert all(math.isfinite(mean) for point in found for mean in (*point.before, *point.after))

    @given(series(), st.floats(-1000, 1000), st.integers(-30, 30), st.sampled_from([1, -1]))
    @settings(max_examples=times(60, 3000))
    def test_shift_and_scale_change_nothing(
        self, method: Method, values: NDArray[np.float64], shift: float, power: int, sign: int
    ) -> None:
        plain, moved = (change_points(one, method=method) for one in (values, (values + shift) * sign * 2.0**power))
        assert places(plain) == places(moved)
        for one, other in zip(plain, moved, strict=True):
            assert one.p_value == pytest.approx(other.p_value, rel=1e-4, abs=1e-12)

    @given(series())
    @settings(max_examples=times(60, 3000))
    def test_backwards_the_same_places_are_found(self, method: Method, values: NDArray[np.float64]) -> None:
        backwards = places(change_points(values[::-1], method=method))
        assert places(change_points(values, method=method)) == sorted(len(values) - place for place in backwards)

    def test_what_is_no_series_is_refused(self, method: Method) -> None:
        for values in (["a", "b"], [[1.0], [1.0, 2.0]], [[[1.0]]], 3.0):
            with pytest.raises(InvalidInput):
                change_points(values, method=method)  # type: ignore[arg-type]
        for wrong in (-1.0, math.nan, math.inf):
            with pytest.raises(InvalidInput):
                change_points(STEP, method=method, penalty=wrong)
        with pytest.raises(InvalidInput):
            change_points(STEP, method=method, least=0)

    def test_steps_of_three_deviations_are_found_within_two_places(self, method: Method) -> None:
        generator, found = np.random.default_rng(4), 0
        for _ in range(SERIES):
            points = change_points(noise(generator, 60) + 3 * (np.arange(60) >= 25), method=method)
            found += any(abs(point.index - 25) <= 2 and point.p_value < 0.01 for point in points)
        assert found / SERIES > 0.95  # 0.98 measured

    @pytest.mark.parametrize(("carried", "n", "most"), [(0.0, 60, 0.04), (0.5, 60, 0.09), (0.5, 168, 0.09),
                                                        (0.8, 168, 0.22)])  # fmt: skip
    def test_noise_without_a_step_has_few_sure_ones(self, method: Method, carried: float, n: int, most: float) -> None:
        """0.05 is the promise; autocorrelation that wanders for long breaks it, by so much."""
        generator = np.random.default_rng(8)
        alarms = sum(
            any(point.p_value < 0.05 for point in change_points(noise(generator, n, carried), method=method))
            for _ in range(SERIES)
        )
        assert stats.binomtest(alarms, SERIES, most, alternative="greater").pvalue > 0.001


def cost(values: NDArray[np.float64], cuts: list[int], penalty: float) -> float:
    """Squared error of the standardised values around the stretches' means, plus the charges."""
    standard = (values - values.mean()) / values.std()
    bounds = [0, *cuts, len(values)]
    errors = sum(float(standard[a:b].var()) * (b - a) for a, b in itertools.pairwise(bounds))
    return errors + penalty * math.log(len(values)) * len(cuts)


@given(series(most=12), st.integers(1, 3), st.sampled_from([0.3, 1.0, 3.0]))
@settings(max_examples=times(60, 2000))
def test_pelt_finds_the_cheapest_cuts_of_all(values: NDArray[np.float64], least: int, penalty: float) -> None:
    values = values[:11]
    if len(values) < 2 * least:
        return
    allowed = (
        list(cuts)
        for number in range(len(values))
        for cuts in itertools.combinations(range(1, len(values)), number)
        if all(b - a >= least for a, b in itertools.pairwise([0, *cuts, len(values)]))
    )
    best = min(cost(values, cuts, penalty) for cuts in allowed)
    found = places(change_points(values, method="pelt", penalty=penalty, least=least))
    assert cost(values, found, penalty) == pytest.approx(best, abs=1e-9)
    greedy = places(change_points(values, method="binseg", penalty=penalty, least=least))
    assert cost(values, greedy, penalty) >= best - 1e-9


def test_long_series_with_many_steps_are_cut_where_they_step() -> None:
    generator, n = np.random.default_rng(2), 5000
    values = generator.normal(size=n) + 4 * (np.arange(n) // 500 % 2)
    for method in METHODS:
        found = places(change_points(values, method=method))
        assert found == pytest.approx([500 * step for step in range(1, 10)], abs=2)


def test_a_step_in_steady_noise_is_less_sure_than_in_independent_noise() -> None:
    generator = np.random.default_rng(6)
    sure = []
    for carried in (0.0, 0.7):
        found = [change_points(noise(generator, 80, carried) + 3 * (np.arange(80) >= 40)) for _ in range(30)]
        sure.append(np.median([min((point.p_value for point in points), default=1.0) for points in found]))
    assert sure[0] < 1e-6 < sure[1]


@pytest.mark.parametrize("dimensions", [1, 3])
def test_the_largest_of_a_bridge_is_as_likely_as_stated(dimensions: int) -> None:
    generator, n, rounds = np.random.default_rng(12), 200, times(2000, 20000)
    sums = generator.normal(size=(rounds, n, dimensions)).cumsum(axis=1)
    place = np.arange(1, n)
    bridge = sums[:, :-1] - place[:, np.newaxis] / n * sums[:, -1:]
    largest = ((bridge**2).sum(axis=2) / (place * (n - place) / n))[:, 1:-1].max(axis=1)
    for level in (0.1, 0.05, 0.01):
        share = float(np.mean([largest_of_bridge(float(one), dimensions, 2 / n) < level for one in largest]))
        assert 0.4 * level < share < 1.15 * level + 0.004  # a walk in steps reaches less far than a continuous one


def test_the_largest_of_a_bridge_is_a_probability() -> None:
    assert largest_of_bridge(0.0, 1, 0.1) == 1
    assert largest_of_bridge(math.inf, 1, 0.1) == 0
    assert largest_of_bridge(9.0, 1, 0.5) >= stats.chi2.sf(9.0, 1)
    tails = [largest_of_bridge(statistic, 2, 0.02) for statistic in np.linspace(0, 80, 200)]
    assert all(before >= after for before, after in itertools.pairwise(tails))


def test_distributions_agree_with_scipy() -> None:
    assert f_tail(3.7, 2, 11) == pytest.approx(stats.f.sf(3.7, 2, 11))
    assert chi_squared_exceeded(1e-40, 3) == pytest.approx(stats.chi2.isf(1e-40, 3))
    assert chi_squared_exceeded(0.0, 3) == math.inf
