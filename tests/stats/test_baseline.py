"""The detector keeps its promises: online, restorable to the bit, as many false alarms as asked for, and in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from bench.nab import injection
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.soak import times

from barograph.stats import reservoir
from barograph.stats.baseline import (
    ACCEPTED,
    LEARNING,
    REFRACTORY,
    START,
    STEP,
    Detector,
    DetectorState,
    Sensitivity,
    Verdict,
)
from barograph.stats.evidence import LARGEST_Z
from barograph.stats.explanation import explain
from barograph.stats.packed import from_text, rounded, to_text
from barograph.stats.reservoir import CAPACITY
from barograph_client.errors import InvalidInput

BEGAN = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
FIVE_MINUTES = timedelta(minutes=5)
WEEK = 2016  # points
HOSTILE = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1e-40, 1e37, -1e38, 1.7e308, -1.7e308, math.nan, math.inf]),
    st.none(),
)


def noise(points: int, seed: int = 0, level: float = 10.0, spread: float = 1.0) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).normal(level, spread, points)]


def watched(
    values: Sequence[float | None],
    detector: Detector | None = None,
    *,
    first: int = 0,
    interval: timedelta = FIVE_MINUTES,
) -> list[Verdict]:
    detector = detector or Detector(Sensitivity(interval=interval))
    return [detector.update(BEGAN + (first + row) * interval, value) for row, value in enumerate(values)]


def restored(detector: Detector) -> Detector:
    return Detector(Sensitivity(), msgspec.json.decode(msgspec.json.encode(detector.state()), type=DetectorState))


def daily(days: int, seed: int = 0, flat: int | None = None) -> list[float]:
    """Noise around a working day from 9 to 18 o'clock, which one day does not see."""
    hours = np.arange(days * 288) / 12 % 24
    day = np.arange(days * 288) // 288
    busy = (hours >= 9) & (hours < 18) & (day != flat)
    values = 20 + 60 * busy + np.random.default_rng(seed).normal(0, 2, days * 288)
    return [float(value) for value in values]


class TestOnline:
    def test_a_point_is_judged_by_the_past_only(self) -> None:
        values = [*noise(400), *noise(200, level=15)]
        whole = watched(values)
        assert watched(values[:450]) == whole[:450]
        assert watched([*values[:450], *[1e9] * 50])[:450] == whole[:450]

    def test_the_same_points_give_the_same_scores(self) -> None:
        assert watched(noise(300)) == watched(noise(300))

    @settings(max_examples=times(40, 400))
    @given(st.lists(HOSTILE, max_size=60), st.lists(HOSTILE, max_size=60), st.lists(HOSTILE, min_size=1, max_size=20))
    def test_restored_from_json_it_goes_on_to_the_bit(
        self, before: list[float | None], after: list[float | None], cycle: list[float | None]
    ) -> None:
        history = [*before, *(cycle * (150 // len(cycle)))]
        detector = Detector(Sensitivity())
        watched(history, detector)
        copy = restored(detector)
        assert watched(after, copy, first=len(history)) == watched(after, detector, first=len(history))
        assert copy.state() == detector.state()

    @pytest.mark.parametrize("cut", [1, 99, 1100, 1501, 2402])
    def test_restored_amid_a_pattern_and_a_thinned_past_it_goes_on_to_the_bit(self, cut: int) -> None:
        values = daily(9)
        detector = Detector(Sensitivity())
        watched(values[:cut], detector)
        copy = restored(detector)
        assert watched(values[cut:], copy, first=cut) == watched(values[cut:], detector, first=cut)

    def test_the_state_stays_small_and_is_text_when_asked_for(self) -> None:
        detector = Detector(Sensitivity())
        sizes = []
        for week in range(3):
            watched(daily(7), detector, first=week * WEEK)
            state = detector.state()
            sizes.append(len(to_text(state)))
            assert from_text(to_text(state), DetectorState) == state
        assert state.pattern == "daily"
        assert len(msgspec.json.encode(state)) < 52_000
        assert max(sizes) < 24_000

    def test_a_point_costs_log_n_comparisons_of_the_past_that_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """n is what is kept, at most 1,000 values a feature: the cost does not grow with the series."""
        seen: list[int] = []

        class Counted(float):
            def __lt__(self, other: float) -> bool:
                seen[-1] += 1
                return float(self) < other

        monkeypatch.setattr(reservoir, "rounded", lambda value: Counted(rounded(value)))
        detector = Detector(Sensitivity())
        for row, value in enumerate(noise(3 * CAPACITY)):
            seen.append(0)
            detector.update(BEGAN + row * FIVE_MINUTES, value)
        features = 4
        assert max(seen[CAPACITY // 2 :]) <= features * 2 * math.ceil(math.log2(CAPACITY + 1))
        assert max(seen) > features


class TestHostile:
    @settings(max_examples=times(60, 600))
    @given(st.lists(HOSTILE, min_size=1, max_size=60), st.integers(1, 6))
    def test_no_float_makes_it_raise_or_gives_a_score_that_is_no_number(
        self, values: list[float | None], often: int
    ) -> None:
        for verdict in watched(values * often):
            assert 0 <= verdict.score <= math.log1p(LARGEST_Z)
            assert math.isfinite(verdict.threshold)
            assert explain(verdict, str)

    @settings(max_examples=times(30, 300))
    @given(st.lists(HOSTILE, min_size=1, max_size=80), st.integers(1, 8))
    def test_whatever_comes_alarms_stay_within_the_bound(self, values: list[float | None], often: int) -> None:
        sensitivity = Sensitivity()
        detector = Detector(sensitivity)
        verdicts = watched(values * often, detector)
        allowed = sensitivity.rate * len(verdicts) + (detector.state().threshold - START) / STEP
        assert sum(verdict.alarm for verdict in verdicts) <= allowed + 1e-9

    def test_missing_points_are_neither_zero_nor_learned(self) -> None:
        values = noise(600)
        full = watched(values)
        gaps: list[float | None] = [None if row % 3 == 1 else value for row, value in enumerate(values)]
        assert not any(verdict.alarm for verdict in watched([*values, *[None] * 200, math.nan])[600:])
        detector = Detector(Sensitivity())
        for row, value in enumerate(value for value in gaps if value is not None):
            detector.update(BEGAN + row * FIVE_MINUTES, value)
        spread = Detector(Sensitivity())
        watched(gaps, spread)
        assert detector.state().raw == spread.state().raw
        assert full[-1].findings

    def test_times_that_stand_or_go_back_are_taken(self) -> None:
        detector = Detector(Sensitivity())
        for row, value in enumerate(noise(400)):
            detector.update(BEGAN + timedelta(hours=row % 7 - row % 3), value)

    def test_a_constant_series_is_silent_and_a_change_of_it_is_not(self) -> None:
        verdicts = watched([45.0] * 500 + [46.0] * 30)
        assert not any(verdict.alarm for verdict in verdicts[:500])
        assert any(verdict.alarm for verdict in verdicts[500:])

    def test_a_restart_within_an_incident_does_not_alarm_again(self) -> None:
        detector = Detector(Sensitivity())
        before = watched([*noise(500), *noise(30, level=20)], detector)
        after = watched(noise(30, seed=1, level=20), restored(detector), first=530)
        assert sum(verdict.alarm for verdict in before[500:]) == 1
        assert all(verdict.anomalous and not verdict.alarm for verdict in after)


class TestFalseAlarms:
    """The bounds: nothing happens, so each week after the first should bring what was asked for."""

    @pytest.mark.parametrize("kind", ["normal", "lognormal", "poisson", "autocorrelated", "azure", "azure shuffled"])
    def test_about_as_many_as_were_asked_for(self, kind: str) -> None:
        count, weeks = times(2, 8), times(4, 12)
        series = [self._series(kind, weeks * WEEK, np.random.default_rng(seed)) for seed in range(count)]
        alarms = [injection.alarms_by_week(values, Sensitivity(false_alarms_per_week=2)) for values in series]
        later = sum(sum(weekly[1:]) for weekly in alarms) / (count * (weeks - 1))
        assert 0.4 <= later <= 3
        assert max(weekly[0] for weekly in alarms) <= 8

    def _series(self, kind: str, points: int, generator: np.random.Generator) -> injection.Floats:
        if kind.startswith("azure"):
            return injection.drawn(injection.azure(), points, generator, injection.BLOCK if kind == "azure" else 1)
        if kind == "poisson":
            return generator.poisson(1, points).astype(np.float64)
        if kind == "lognormal":
            return generator.lognormal(0, 1, points)
        values = generator.normal(0, 1, points)
        if kind == "autocorrelated":
            for row in range(1, points):
                values[row] += 0.9 * values[row - 1]
        return values

    @pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, 1e6])
    def test_a_rate_that_cannot_be_is_refused_with_the_most_that_can(self, rate: float) -> None:
        with pytest.raises(InvalidInput, match=r"at most 33\.6"):
            Sensitivity(false_alarms_per_week=rate)

    def test_an_interval_that_is_none_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="positive"):
            Sensitivity(interval=timedelta())


class TestPower:
    def test_what_is_plain_to_see_is_found_and_larger_faults_are_found_sooner(self) -> None:
        found = {(one.fault, one.size): one for one in injection.power(injection.azure(), Sensitivity(), times(4, 20))}
        for fault, size in (("step", 3), ("drift", 3), ("spike", 40), ("dropout", 1.0), ("variance", 4)):
            assert found[fault, size].found == 1, (fault, size)
        step, larger = found["step", 2].delay, found["step", 3].delay
        assert step is not None
        assert larger is not None
        assert larger <= step <= REFRACTORY

    def test_the_first_points_teach_and_do_not_alarm(self) -> None:
        verdicts = watched([*noise(50), 1e6, *noise(LEARNING - 51), *noise(100, level=1e5)])
        assert all(verdict.learning and not verdict.alarm for verdict in verdicts[:LEARNING])
        assert any(verdict.alarm for verdict in verdicts[LEARNING:])


class TestEpisodes:
    @pytest.mark.parametrize(("points", "spreads"), [(1, 40), (3, 10), (10, 5), (10, 8), (10, 20), (25, 3)])
    def test_one_spike_is_one_episode_though_the_means_keep_it_for_sixty_points(
        self, points: int, spreads: float
    ) -> None:
        for seed in range(times(4, 40)):
            values = noise(900, seed)
            values[700 : 700 + points] = [value + spreads for value in values[700 : 700 + points]]
            verdicts = watched(values)[690 : 700 + points + 2 * REFRACTORY]
            begins = [after.anomalous and not before.anomalous for before, after in itertools.pairwise(verdicts)]
            assert begins == [verdict.alarm for verdict in verdicts[1:]]
            assert sum(begins) == 1, seed

    def test_what_is_worse_than_the_last_episode_is_told_at_once_though_the_means_still_hold_that(self) -> None:
        for seed in range(times(4, 40)):
            values = noise(900, seed)
            values[700:703] = [value + 10 for value in values[700:703]]
            values[755:] = [value + 100 for value in values[755:]]
            alarms = [row for row, verdict in enumerate(watched(values)) if verdict.alarm and row >= 690]
            assert len(alarms) == 2, seed
            assert 755 <= alarms[1] < 758, seed

    def test_what_is_hot_while_it_learns_is_told_when_it_lasts(self) -> None:
        lasting = watched([*noise(LEARNING - 5), *noise(30, level=30)])
        assert [row for row, verdict in enumerate(lasting) if verdict.alarm] == [LEARNING]
        assert not any(verdict.alarm for verdict in watched([*noise(LEARNING - 40), 300.0, *noise(100, seed=1)]))

    def test_an_episode_alarms_once_and_is_over_when_the_score_has_come_down(self) -> None:
        verdicts = watched([*noise(500), *noise(100, level=20), *noise(300, seed=2)])
        assert sum(verdict.alarm for verdict in verdicts[500:700]) == 1
        assert all(verdict.anomalous for verdict in verdicts[510:600])
        assert not verdicts[-1].anomalous

    def test_a_level_that_stays_becomes_the_usual_one_and_the_next_is_found(self) -> None:
        again = 3000 + ACCEPTED + 200
        verdicts = watched([*noise(3000), *noise(ACCEPTED + 200, level=40), *noise(50, level=80)])
        assert all(verdict.anomalous for verdict in verdicts[3010 : 2990 + ACCEPTED])
        assert not any(verdict.anomalous for verdict in verdicts[again - 50 : again])
        assert any(verdict.alarm for verdict in verdicts[again:])


class TestPatterns:
    def test_a_working_day_that_does_not_begin_is_found_though_each_of_its_values_is_usual(self) -> None:
        verdicts = watched(daily(12, flat=10))
        morning = 10 * 288 + 9 * 12
        assert verdicts[morning].pattern == "daily"
        assert any(verdict.alarm for verdict in verdicts[morning : morning + 24])
        assert not any(verdict.alarm for verdict in verdicts[7 * 288 : morning])

    def test_a_week_is_told_from_a_day(self) -> None:
        hours = np.arange(24 * 7 * 6)
        level = 20 + 60 * (hours % 168 < 120) * (hours % 24 >= 9)
        values = (level + np.random.default_rng(0).normal(0, 2, hours.size)).tolist()
        assert watched(values, interval=timedelta(hours=1))[-1].pattern == "weekly"

    def test_a_pattern_follows_the_clock_of_its_zone_over_the_change_to_summer_time(self) -> None:
        quarter = timedelta(minutes=15)
        utc = [datetime(2026, 3, 19, tzinfo=UTC) + row * quarter for row in range(96 * 14)]  # the change is on the 29th
        local = [at.astimezone(ZoneInfo("Europe/Berlin")) for at in utc]
        bump = np.random.default_rng(0).normal(0, 2, len(utc))
        values = [20 + 60 * (9 <= at.hour < 18) + float(more) for at, more in zip(local, bump, strict=True)]
        shown = {}
        for zone, clock in (("local", local), ("utc", utc)):
            detector = Detector(Sensitivity(interval=quarter))
            verdicts = [detector.update(at, value) for at, value in zip(clock, values, strict=True)]
            shown[zone] = [
                at for at, verdict in zip(utc, verdicts, strict=True) if verdict.alarm and at.day in (29, 30)
            ]
        assert shown["local"] == []
        assert shown["utc"]

    @pytest.mark.parametrize("walk", [False, True])
    def test_noise_and_random_walks_have_no_pattern(self, walk: bool) -> None:
        values = np.array(noise(2 * WEEK))
        verdicts = watched((np.cumsum(values - 10) if walk else values).tolist())
        assert all(verdict.pattern is None for verdict in verdicts)


class TestWords:
    def test_an_alarm_says_what_it_saw_with_numbers(self) -> None:
        alarm = next(verdict for verdict in watched([*noise(500, level=1.1, spread=0.1), *[2.9] * 20]) if verdict.alarm)
        assert alarm.findings
        text = explain(alarm, lambda value: f"{value:.1f} s")
        assert "the last point 2.9 s, usual 1.1 s (1.0 s to 1.2 s), 2.6 times" in text
        assert "no daily or weekly pattern used" in text

    def test_a_mean_that_moved_in_small_steps_is_named(self) -> None:
        verdict = watched([*noise(800, level=1.1, spread=0.1), *noise(60, level=1.5, spread=0.1)])[-1]
        text = explain(verdict, lambda value: f"{value:.2f} s")
        assert "mean of the last 60 points 1.5" in text
        assert "variance normal" in text

    def test_a_pattern_that_was_taken_off_is_named(self) -> None:
        verdicts = watched(daily(12, flat=10))
        alarm = next(verdict for verdict in verdicts[10 * 288 :] if verdict.alarm)
        text = explain(alarm, lambda value: f"{value:.0f}")
        assert "less the daily pattern" in text
        assert "daily pattern taken off" in text

    def test_more_variance_is_told_as_a_standard_deviation(self) -> None:
        verdict = watched([*noise(800), *noise(40, spread=5)])[-1]
        text = explain(verdict, lambda value: f"{value:.1f} ms")
        assert "standard deviation of the last 35 points" in text
        assert "times" in text

    def test_a_missing_point_and_a_new_series_are_said_to_be_that(self) -> None:
        (first,) = watched([1.0])
        assert explain(first, str) == "too few points to say what is usual"
        assert explain(watched([*noise(200), None])[-1], str) == "the point is missing"
