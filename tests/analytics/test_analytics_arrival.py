"""A disk that fills up is foreseen with an interval, and nothing is foreseen from noise or from too little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from barograph.analytics.arrival import arrival, arrival_text
from barograph.core.query import MetricRow
from barograph.stats.trend import Arrival

NOW = datetime(2026, 11, 24, 14, tzinfo=UTC)
HOURS = 24


def rows(values: Sequence[float | None]) -> list[MetricRow]:
    """Hourly buckets, the last one ends now."""
    begin = NOW - timedelta(hours=len(values))
    return [
        MetricRow(start=begin + timedelta(hours=i), end=begin + timedelta(hours=i + 1), value=value,
                  n=0 if value is None else 4)
        for i, value in enumerate(values)
    ]  # fmt: skip


def test_a_disk_that_fills_steadily_is_full_when_the_line_is_there() -> None:
    until = arrival(rows([70.0 + 0.5 * hour for hour in range(HOURS)]), 100.0, NOW)
    assert until is not None
    assert until.expected == pytest.approx((100 - 81.5) / 0.5 * 3600, rel=1e-6)
    assert until.earliest <= until.expected <= until.latest
    falling = arrival(rows([30.0 - 0.5 * hour for hour in range(HOURS)]), 0.0, NOW, rising=False)
    assert falling is not None
    assert falling.expected == pytest.approx(until.expected)


def test_gaps_and_noise_widen_the_interval_only() -> None:
    noise = np.random.default_rng(3).normal(0, 0.5, HOURS)
    values: list[float | None] = [70.0 + 0.5 * hour + float(noise[hour]) for hour in range(HOURS)]
    values[4] = values[11] = None
    until = arrival(rows(values), 100.0, NOW)
    assert until is not None
    assert until.earliest < (100 - 81.5) / 0.5 * 3600 < until.latest
    assert until.latest - until.earliest < 12 * 3600


def test_nothing_is_foreseen_from_noise_or_a_fall_or_beyond_seven_times_the_series() -> None:
    noise = np.random.default_rng(3).normal(0, 0.5, HOURS)
    assert arrival(rows((70 + noise).tolist()), 100.0, NOW) is None
    assert arrival(rows([80.0 - 0.5 * hour for hour in range(HOURS)]), 100.0, NOW) is None
    assert arrival(rows([70.0 + 0.1 * hour for hour in range(HOURS)]), 100.0, NOW) is None  # 277 hours
    assert arrival(rows([70.0, 80.0]), 100.0, NOW) is None
    assert arrival(rows([None] * HOURS), 100.0, NOW) is None
    assert arrival([], 100.0, NOW) is None


def test_what_is_foreseen_is_said_in_words() -> None:
    day = 86400.0
    assert arrival_text(Arrival(expected=5 * day, earliest=4.04 * day, latest=6.5 * day)) == "in 5 d (4 d to 6.5 d)"
    assert arrival_text(Arrival(expected=day / 2, earliest=0.0, latest=day)) == "in 12 h (0 h to 24 h)"
    assert arrival_text(Arrival(expected=3 * day, earliest=day, latest=math.inf)) == "in 3 d (1 d at the earliest)"
    assert arrival_text(Arrival(expected=0.0, earliest=0.0, latest=0.0)) == "now"
