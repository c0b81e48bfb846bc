"""The cumulative sum alarms as rarely as asked, soon after a step, and can be stored between two values."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.soak import times

from barograph.stats.cusum import Cusum, Step, bound_for, watch
from barograph_client.errors import InvalidInput

BETWEEN = 500.0


def alarms(values: Iterable[float | None], bound: float) -> list[tuple[int, Step]]:
    state, found = Cusum(), []
    for place, value in enumerate(values):
        state, step = watch(state, value, bound)
        if step is not None:
            found.append((place, step))
    return found


def test_noise_alarms_about_as_seldom_as_asked() -> None:
    values = np.random.default_rng(1).normal(7, 3, times(60_000, 1_000_000))
    found = len(alarms(values.tolist(), bound_for(BETWEEN)))
    assert 0.75 < found * BETWEEN / len(values) < 1.35


def test_the_bound_is_the_textbooks() -> None:
    """Montgomery's table for an allowance of half a deviation: 168 values at a bound of 4, 465 at 5."""
    assert bound_for(168) == pytest.approx(4.0, abs=0.02)
    assert bound_for(465) == pytest.approx(5.0, abs=0.02)
    for wrong in (2.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidInput):
            bound_for(wrong)


@pytest.mark.parametrize(("size", "direction"), [(2.0, "up"), (-2.0, "down")])
def test_a_step_of_two_deviations_is_seen_within_ten_values_and_its_age_told(size: float, direction: str) -> None:
    generator, rounds = np.random.default_rng(3), times(100, 2000)
    delays, ages = [], []
    for _ in range(rounds):
        values = generator.normal(size=90) + size * (np.arange(90) >= 50)
        found = [(place, step) for place, step in alarms(values.tolist(), bound_for(BETWEEN)) if place >= 50]
        if found and found[0][1].direction == direction:
            delays.append(found[0][0] - 50)
            ages.append(found[0][0] - found[0][1].age + 1)
    assert np.mean(np.array(delays) < 10) * len(delays) / rounds > 0.9
    assert np.median(ages) == pytest.approx(50, abs=1)


def test_after_an_alarm_the_new_level_is_learned_and_no_alarm_follows() -> None:
    generator = np.random.default_rng(9)
    values = np.concatenate([generator.normal(0, 1, 60), generator.normal(8, 1, 60)])
    found = alarms(values.tolist(), bound_for(1e5))
    assert len(found) == 1
    assert found[0][0] in (60, 61)


def test_a_stored_state_goes_on_as_if_nothing_had_been() -> None:
    generator, bound = np.random.default_rng(2), bound_for(BETWEEN)
    state = stored = Cusum()
    for value in (generator.normal(size=300) + (np.arange(300) >= 200)).tolist():
        state, step = watch(state, value, bound)
        stored, same = watch(msgspec.json.decode(msgspec.json.encode(stored), type=Cusum), value, bound)
        assert (state, step) == (stored, same)


@given(st.integers(0, 2**32 - 1), st.floats(-100, 100), st.integers(-30, 30))
@settings(max_examples=times(30, 1000), deadline=None)
def test_level_and_scale_change_nothing(seed: int, shift: float, power: int) -> None:
    values = np.random.default_rng(seed).normal(size=80) + 2 * (np.arange(80) >= 40)
    assert alarms(values.tolist(), 4.5) == alarms(((values + shift) * 2.0**power).tolist(), 4.5)


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60))
@settings(max_examples=times(100, 5000), deadline=None)
def test_nothing_raises_and_the_state_stays_finite(values: list[float | None]) -> None:
    state = Cusum()
    for value in values:
        state, _ = watch(state, value, 4.5)
        assert all(math.isfinite(number) for number in (state.mean, state.m2, state.up, state.down))


def test_gaps_change_nothing_and_a_flat_series_alarms_when_it_moves() -> None:
    assert watch(Cusum(n=3, mean=1.0), None, 5.0) == (Cusum(n=3, mean=1.0), None)
    assert watch(Cusum(n=3, mean=1.0), math.nan, 5.0) == (Cusum(n=3, mean=1.0), None)
    assert alarms([0.1] * 50, 5.0) == []
    assert alarms([0.0] * 50 + [1e-9], 5.0) == [(50, Step(direction="up", age=1))]
    assert alarms([-3.0] * 50 + [-3.1], 5.0) == [(50, Step(direction="down", age=1))]
