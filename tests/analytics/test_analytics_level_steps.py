"""A level that stepped is told with its time and values; rhythms, spikes, trifles and noise are not steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from tests.support.soak import times

from barograph.analytics.level_steps import LevelStep, level_steps
from barograph.core.query import MetricRow

START = datetime(2026, 3, 9, tzinfo=UTC)
HOUR = 3600.0
BERLIN = ZoneInfo("Europe/Berlin")


def rows(values: Sequence[float | None], every: float = HOUR, n: int = 120) -> list[MetricRow]:
    begins = [START + timedelta(seconds=every * place) for place in range(len(values) + 1)]
    return [
        MetricRow(start=begins[place], end=begins[place + 1], value=value, n=0 if value is None else n)
        for place, value in enumerate(values)
    ]


def noise(seed: int, n: int = 168, carried: float = 0.0) -> NDArray[np.float64]:
    shocks = np.random.default_rng(seed).normal(size=n + 50)
    for place in range(1, n + 50):
        shocks[place] += carried * shocks[place - 1]
    return np.asarray(0.15 * shocks[50:] * math.sqrt(1 - carried**2))


def rhythm(n: int = 168) -> NDArray[np.float64]:
    return np.asarray(0.3 * np.sin(np.arange(n) * 2 * np.pi / 24))


def steps(logarithms: NDArray[np.float64]) -> tuple[LevelStep, ...]:
    return level_steps(rows(np.exp(logarithms).tolist()), BERLIN)


@pytest.mark.parametrize("with_rhythm", [False, True])
def test_a_step_is_told_with_its_time_and_both_levels(with_rhythm: bool) -> None:
    later = np.arange(168) >= 86  # 12 March, 14:00
    (step,) = steps(noise(1) + math.log(1.2) + math.log(2.9 / 1.2) * later + with_rhythm * rhythm())
    assert abs(step.at - datetime(2026, 3, 12, 14, tzinfo=UTC)) <= timedelta(hours=1)
    assert step.before == pytest.approx(1.2, rel=0.15)
    assert step.after == pytest.approx(2.9, rel=0.15)
    assert step.p_value < 1e-6


def test_a_step_at_midnight_of_the_zone_is_not_taken_for_rhythm() -> None:
    (step,) = steps(noise(2) + rhythm() + 0.8 * (np.arange(168) >= 95))  # 23:00 UTC
    assert step.at == datetime(2026, 3, 12, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("carried", "with_rhythm", "most"), [(0.0, 0, 0.01), (0.0, 1, 0.02), (0.5, 0, 0.04), (0.5, 1, 0.05)]
)
def test_noise_and_rhythm_seldom_have_a_step(carried: float, with_rhythm: int, most: float) -> None:
    rounds = times(150, 3000)
    alarms = sum(bool(steps(noise(seed, carried=carried) + with_rhythm * rhythm())) for seed in range(rounds))
    assert stats.binomtest(alarms, rounds, most, alternative="greater").pvalue > 0.001


def test_a_spike_is_no_step() -> None:
    assert steps(noise(3) + 3 * np.isin(np.arange(168), [80, 81])) == ()


def test_a_small_change_is_no_step_however_sure() -> None:
    small = 0.01 * noise(4) + math.log(1.08) * (np.arange(168) >= 80)
    assert steps(small) == ()
    assert len(steps(small * 2)) == 1


def test_less_than_three_days_have_no_steps() -> None:
    values = [1.0, 1.1, 0.9] * 11 + [3.0, 3.1, 2.9] * 13
    assert len(values) == 72
    assert level_steps(rows(values[:71]), BERLIN) == ()
    assert [step.at for step in level_steps(rows(values), BERLIN)] == [START + timedelta(hours=33)]


def test_buckets_without_or_with_few_events_count_for_none() -> None:
    values: list[float | None] = [*[1.0, 1.1, 0.9] * 30, *[3.0, 3.1, 2.9] * 26]
    thin = rows([100.0] * 168, n=99)
    told = [one if place % 5 else thin[place] for place, one in enumerate(rows(values))]
    told[7] = rows([*values[:7], None])[7]
    (step,) = level_steps(told, BERLIN, least=100)
    assert step.at == START + timedelta(hours=91)  # 90 has too few
    assert (step.before, step.after) == (1.0, 3.0)
    assert level_steps(rows([None] * 168), BERLIN) == level_steps([], BERLIN) == ()


def test_shares_that_are_sometimes_zero_are_compared_as_they_are() -> None:
    shares = [0.0, 0.01, 0.02] * 28 + [0.2, 0.22, 0.18] * 28
    (step,) = level_steps(rows(shares), BERLIN)
    assert (step.before, step.after) == (0.01, 0.2)


def test_days_are_compared_as_days() -> None:
    (step,) = level_steps(rows([1.0, 1.1, 0.9, 1.05] * 4 + [2.0, 2.1, 1.9, 2.05] * 4, every=24 * HOUR), BERLIN)
    assert step.at == START + timedelta(days=16)
