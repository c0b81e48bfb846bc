"""The preference for a ranker: many queries of a unit are one unit, and a sequence holds at any time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from barograph.stats.interleaving import mean_preference, preference_at_any_time
from barograph.stats.sequential.asymptotic import skewness
from barograph.stats.summary import RatioSummary

GENERATOR = np.random.default_rng(5)
PREFERENCES = GENERATOR.choice([-1.0, 0.0, 0.5, 1.0], 200)


def test_with_a_query_a_unit_it_is_students_t_of_the_preferences() -> None:
    found = mean_preference(RatioSummary.from_values(PREFERENCES, np.ones(200)), names=("dense", "bm25"))
    expected = stats.ttest_1samp(PREFERENCES, 0.0)
    assert found.absolute is not None
    assert found.absolute.value == pytest.approx(PREFERENCES.mean())
    assert found.absolute.p_value == pytest.approx(expected.pvalue)
    assert (found.absolute.low, found.absolute.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert (found.arm, found.baseline, found.baseline_value, found.arm_n) == ("dense", "bm25", 0.0, 200)


def test_the_same_queries_asked_ten_times_by_each_unit_tell_no_more() -> None:
    once = mean_preference(RatioSummary.from_values(PREFERENCES, np.ones(200)))
    often = mean_preference(RatioSummary.from_values(10 * PREFERENCES, np.full(200, 10.0)))
    assert once.absolute is not None
    assert often.p_value == pytest.approx(once.p_value)


def test_units_without_a_judged_query_change_nothing() -> None:
    more = np.concatenate((PREFERENCES, np.zeros(300)))
    measured = np.concatenate((np.ones(200), np.zeros(300)))
    found = mean_preference(RatioSummary.from_values(more, measured))
    assert found.arm_n == 200
    assert found.p_value == pytest.approx(mean_preference(RatioSummary.from_values(PREFERENCES, np.ones(200))).p_value)


def test_at_any_time_the_interval_is_wider_and_says_so_by_the_same_value() -> None:
    units = RatioSummary.from_values(PREFERENCES, np.ones(200))
    once, always = mean_preference(units), preference_at_any_time(units, skewness(PREFERENCES))
    assert once.absolute is not None
    assert always.absolute is not None
    assert once.absolute.low is not None
    assert always.absolute.low is not None
    assert always.absolute.value == once.absolute.value
    assert always.absolute.low < once.absolute.low


@pytest.mark.parametrize(
    ("values", "skew", "clock", "says"),
    [
        ([0.5], 0.0, None, "fewer than two units"),
        ([], 0.0, None, "fewer than two units"),
        ([1.0] * 150, 0.0, None, "every unit has the same preference"),
        ([1.0, -1.0] * 40, 0.0, None, "a sequence needs 100 units"),
        ([1.0, -1.0] * 60, None, None, "skewness of the preferences is not known"),
        ([1.0, -1.0] * 60, 5.0, None, "too skewed"),
        ([1.0, -1.0] * 60, 0.0, 0.1, "only just come"),
    ],
)
def test_where_it_is_not_valid_it_says_why(
    values: list[float], skew: float | None, clock: float | None, says: str
) -> None:
    found = preference_at_any_time(RatioSummary.from_values(values, [1.0] * len(values)), skew, clock=clock)
    assert found.p_value is None
    assert says in found.warnings[0]
    assert found.absolute is None or found.absolute.low is None
