"""Slopes, tests and intervals are scipy's where it has them, hold on steady noise, and say when a threshold comes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy import stats
from tests.support.soak import times

from barograph.stats.trend import MOST_VALUES, Correction, Trend, time_to_threshold, trend
from barograph_client.errors import InvalidInput

SERIES = times(250, 4000)  # for a share of series


def noise(generator: np.random.Generator, n: int, carried: float) -> NDArray[np.float64]:
    """First-order autocorrelated noise of variance 1."""
    shocks = generator.normal(size=n + 50)
    for place in range(1, n + 50):
        shocks[place] += carried * shocks[place - 1]
    return np.asarray(shocks[50:] * math.sqrt(1 - carried**2))


@given(st.integers(0, 2**32 - 1), st.integers(5, 60), st.booleans())
@settings(max_examples=times(60, 3000))
def test_slope_interval_and_tau_are_scipys(seed: int, n: int, tied: bool) -> None:
    generator = np.random.default_rng(seed)
    when = np.sort(generator.random(n)) * 30
    what = generator.normal(size=n) * 2 + 0.05 * when
    if tied:
        what = np.round(what)
    found = trend(when.tolist(), what.tolist(), correction="none")
    theirs = stats.theilslopes(what, when, 0.95)
    assert found.slope == pytest.approx(theirs.slope, rel=1e-6, abs=1e-9)
    if math.isfinite(found.low) and math.isfinite(found.high):
        assert found.low == pytest.approx(theirs.low_slope, rel=1e-6, abs=1e-9)
        assert found.high == pytest.approx(theirs.high_slope, rel=1e-6, abs=1e-9)
    assert found.at(found.middle) == found.level == pytest.approx(np.median(what))
    if len(set(what)) == 1:
        assert found.tau == 0
        return
    kendall = stats.kendalltau(when, what, method="asymptotic")
    assert found.tau == pytest.approx(kendall.statistic, abs=1e-12)
    score = abs(round(float(np.sign(np.subtract.outer(what, what))[np.tril_indices(n, -1)].sum())))
    if score:  # theirs has no continuity correction
        deviation = score / stats.norm.isf(kendall.pvalue / 2)
        assert found.p_value == pytest.approx(min(1.0, 2 * stats.norm.sf((score - 1) / deviation)), rel=1e-6)


def test_ties_in_times_count_as_in_scipy() -> None:
    when, what = [0, 0, 1, 1, 2, 3, 3, 4, 5, 5], [1.0, 2, 2, 3, 3, 5, 4, 4, 7, 6]
    found, theirs = trend(when, what, correction="none"), stats.kendalltau(when, what, method="asymptotic")
    assert found.tau == pytest.approx(theirs.statistic)
    score = 36  # pairs that rise less those that fall, counted by hand from scipy's tau
    different = math.sqrt((45 - 4) * (45 - 3))
    assert theirs.statistic * different == pytest.approx(score)
    deviation = score / stats.norm.isf(theirs.pvalue / 2)
    assert found.p_value == pytest.approx(2 * stats.norm.sf((score - 1) / deviation))


def test_hamed_and_raos_factor_is_the_papers() -> None:
    """Their formula written out in loops: ranks of what the slope leaves, significant autocorrelations only."""
    generator = np.random.default_rng(5)
    what = noise(generator, 40, 0.6) + 0.03 * np.arange(40)
    found = trend(range(40), what.tolist(), correction="hamed-rao")
    ranks = stats.rankdata(what - found.slope * np.arange(40))
    ranks -= ranks.mean()
    total = 0.0
    for lag in range(1, 40):
        rho = sum(ranks[i] * ranks[i + lag] for i in range(40 - lag)) / sum(rank**2 for rank in ranks)
        if abs(rho) >= 1.96 / math.sqrt(40):
            total += (40 - lag) * (40 - lag - 1) * (40 - lag - 2) * rho
    assert total > 0
    assert found.inflation == pytest.approx(1 + 2 / (40 * 39 * 38) * total)


@pytest.mark.parametrize(
    ("correction", "carried", "n", "most"),
    [("ar1", 0.0, 30, 0.06), ("ar1", 0.5, 20, 0.10), ("ar1", 0.5, 60, 0.08), ("ar1", 0.8, 20, 0.18),
     ("ar1", 0.8, 100, 0.11), ("hamed-rao", 0.5, 60, 0.20), ("hamed-rao", 0.8, 100, 0.32), ("none", 0.0, 30, 0.06)],
)  # fmt: skip
def test_noise_without_a_trend_seldom_has_one(correction: Correction, carried: float, n: int, most: float) -> None:
    """0.05 is the promise; short series of steady noise break it, by so much. The interval holds zero as often."""
    generator, alarms, missed = np.random.default_rng(7), 0, 0
    for _ in range(SERIES):
        found = trend(range(n), noise(generator, n, carried).tolist(), correction=correction)
        alarms += found.p_value < 0.05
        missed += not found.low <= 0 <= found.high
    assert stats.binomtest(alarms, SERIES, most, alternative="greater").pvalue > 0.001
    assert stats.binomtest(missed, SERIES, most, alternative="greater").pvalue > 0.001


def test_a_trend_that_doubles_the_noise_is_found_in_independent_and_steady_noise() -> None:
    generator = np.random.default_rng(2)
    for carried, least in ((0.0, 0.99), (0.5, 0.85)):
        found = sum(
            trend(range(50), (noise(generator, 50, carried) + 0.06 * np.arange(50)).tolist()).p_value < 0.05
            for _ in range(100)
        )
        assert found / 100 >= least


@given(st.integers(0, 2**32 - 1), st.integers(-20, 20), st.floats(-100, 100), st.integers(-10, 10))
@settings(max_examples=times(40, 2000))
def test_scale_and_shift_and_direction_do_to_the_slope_what_they_must(
    seed: int, power: int, shift: float, later: int
) -> None:
    what = np.random.default_rng(seed).normal(size=25).cumsum()
    when = np.arange(25.0)
    plain, size = trend(when.tolist(), what.tolist()), 2.0**power
    other = trend((when * 4 + later).tolist(), ((what + shift) * size).tolist())
    assert other.slope == pytest.approx(plain.slope * size / 4, rel=1e-6, abs=1e-9 * size)
    assert other.p_value == pytest.approx(plain.p_value, rel=1e-3)
    mirrored = trend(when.tolist(), what[::-1].tolist())
    assert mirrored.slope == pytest.approx(-plain.slope, abs=1e-12)
    assert mirrored.low == pytest.approx(-plain.high, abs=1e-9)
    assert mirrored.tau == pytest.approx(-plain.tau, abs=1e-12)


@given(
    st.lists(st.tuples(st.floats(-1e307, 1e307), st.one_of(st.none(), st.floats())), max_size=30),
    st.sampled_from(["ar1", "hamed-rao", "none"]),
)
@settings(max_examples=times(100, 5000))
def test_nothing_raises_and_the_interval_holds_the_slope(
    points: list[tuple[float, float | None]], correction: Correction
) -> None:
    points.sort(key=lambda point: point[0])
    found = trend([time for time, _ in points], [value for _, value in points], correction=correction)
    assert found.low <= found.slope <= found.high
    assert 0 <= found.p_value <= 1
    assert -1 <= found.tau <= 1 + 1e-12
    arrival = time_to_threshold(found, 1.0, 0.0)
    assert 0 <= arrival.earliest <= arrival.expected <= arrival.latest


def test_gaps_are_left_out() -> None:
    when = list(range(12))
    what = [None if n in (3, 7) else math.nan if n == 8 else 2.0 * n for n in when]
    found = trend(when, what)
    assert found.n == 9
    assert found.slope == pytest.approx(2.0)
    assert found.at(20.0) == pytest.approx(40.0)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0], [None] * 9, [4.0] * 9])
def test_what_has_no_trend_says_so(values: list[float | None]) -> None:
    found = trend(range(len(values)), values)
    assert (found.slope, found.p_value) == (0.0, 1.0)
    arrival = time_to_threshold(found, 10.0, float(len(values)))
    assert arrival.expected == math.inf


def test_a_straight_line_is_as_sure_as_can_be() -> None:
    """Rounding is no noise, and its autocorrelation none of the series'."""
    for step in (0.1, 0.5, 1 / 3):
        found = trend(range(24), [70 + step * hour for hour in range(24)])
        assert found.p_value < 1e-8
        assert found.low == pytest.approx(found.high) == pytest.approx(step)


def test_long_series_are_cut_into_blocks_and_keep_their_slope() -> None:
    generator, n = np.random.default_rng(4), 20 * MOST_VALUES + 7
    found = trend((np.arange(n) / 144).tolist(), (0.5 * np.arange(n) / 144 + generator.normal(size=n)).tolist())
    assert found.n == MOST_VALUES
    assert found.slope == pytest.approx(0.5, abs=0.001)
    assert found.low < 0.5 < found.high


def test_days_to_a_threshold_follow_the_line_and_its_interval() -> None:
    found = Trend(n=20, slope=2.0, low=1.0, high=4.0, middle=10.0, level=50.0, tau=1.0, p_value=0.0, inflation=1.0,
                  alpha=0.05)  # fmt: skip
    arrival = time_to_threshold(found, 90.0, 20.0)  # the lines are at 60, 70 and 90 now
    assert (arrival.earliest, arrival.expected, arrival.latest) == (0.0, 10.0, 30.0)
    assert time_to_threshold(found, 60.0, 20.0).expected == 0.0
    down = time_to_threshold(found, 40.0, 20.0, rising=False)
    assert (down.earliest, down.latest) == (math.inf, math.inf)
    unsure = time_to_threshold(replace(found, low=-1.0), 90.0, 20.0)
    assert (unsure.expected, unsure.latest) == (10.0, math.inf)


def test_falling_to_a_threshold_is_the_mirror_of_rising_to_it() -> None:
    generator = np.random.default_rng(8)
    what = generator.normal(size=30) + np.arange(30)
    rising = time_to_threshold(trend(range(30), what.tolist()), 60.0, 29.0)
    falling = time_to_threshold(trend(range(30), (-what).tolist()), -60.0, 29.0, rising=False)
    assert rising.expected == pytest.approx(31, abs=3)
    assert (falling.earliest, falling.expected, falling.latest) == pytest.approx(
        (rising.earliest, rising.expected, rising.latest)
    )


@pytest.mark.parametrize(("carried", "least"), [(0.0, 0.92), (0.5, 0.88)])
def test_the_interval_of_days_holds_the_day_about_as_often_as_stated(carried: float, least: float) -> None:
    """0.95 is the promise; 0.95 measured on independent, 0.93 on steady noise of 50 values."""
    generator, held = np.random.default_rng(11), 0
    for _ in range(SERIES):
        what = noise(generator, 50, carried) + 0.1 * np.arange(50)
        arrival = time_to_threshold(trend(range(50), what.tolist()), 10.0, 49.0)
        held += arrival.earliest <= 51.0 <= arrival.latest
    assert stats.binomtest(held, SERIES, least, alternative="less").pvalue > 0.001


def test_what_is_no_series_is_refused() -> None:
    for when in ([1.0], [2.0, 1.0], [0.0, math.nan], [0.0, math.inf], [-1.7e308, 1.7e308]):
        with pytest.raises(InvalidInput):
            trend(when, [1.0, 2.0])
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(InvalidInput):
            trend([0.0, 1.0], [1.0, 2.0], alpha=alpha)
