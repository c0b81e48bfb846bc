"""Our score of the Numenta Anomaly Benchmark is that of its official scorer, in 36 cases, to nine digits.

The results of two of its detectors on six series under three profiles (tests/data/nab_scorer_golden).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from bench.nab.corpus import parsed, read
from bench.nab.scorer import PROFILES, Profile, Series, best_threshold, normalised, points, prepared, probation, sigmoid

FOLDER = Path(__file__).parents[1] / "data" / "nab_scorer_golden"
GOLDEN: dict[str, dict[str, float]] = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
WINDOWS: dict[str, list[tuple[str, str]]] = json.loads((FOLDER / "combined_windows.json").read_text(encoding="utf-8"))
COUNTS = ("tp", "tn", "fp", "fn")


def prepared_case(detector: str, series: str, profile: str) -> Series:
    rows = read(FOLDER / f"{detector}__{series.replace('/', '__')}")
    windows = [(parsed(begin), parsed(end)) for begin, end in WINDOWS[series]]
    return prepared(rows.times, rows.values, windows, PROFILES[profile])


def test_all_of_the_golden_values_are_here() -> None:
    assert len(GOLDEN) == 36


@pytest.mark.parametrize("case", GOLDEN)
def test_points_are_those_of_the_official_scorer(case: str) -> None:
    detector, series, profile = case.split("|")
    golden = GOLDEN[case]
    found = points(prepared_case(detector, series, profile), golden["threshold"], PROFILES[profile])
    assert math.isclose(found.raw, golden["raw_score"], rel_tol=0, abs_tol=1e-9)
    assert list(found[1:]) == [golden[name] for name in COUNTS]
    assert found.rows == golden["total"]


class TestScale:
    def series(self, scores: list[float]) -> Series:
        times = [parsed(f"2026-01-01 {row // 60:02}:{row % 60:02}:00") for row in range(200)]
        return prepared(times, scores, [(times[100], times[119])], PROFILES["standard"])

    def test_a_detector_that_never_speaks_has_0_and_one_that_finds_all_at_once_100(self) -> None:
        silent = self.series([0.0] * 200)
        assert normalised([silent], 0.5, PROFILES["standard"]) == 0
        at_once = self.series([1.0 if row == 100 else 0.0 for row in range(200)])
        assert normalised([at_once], 0.5, PROFILES["standard"]) == pytest.approx(100)

    def test_a_late_hit_earns_less_and_a_false_alarm_costs(self) -> None:
        late = self.series([1.0 if row == 115 else 0.0 for row in range(200)])
        wrong = self.series([1.0 if row in (60, 100) else 0.0 for row in range(200)])
        assert 50 < normalised([late], 0.5, PROFILES["standard"]) < 95
        assert normalised([wrong], 0.5, PROFILES["standard"]) == pytest.approx(100 - 100 * 0.11 / 2)

    def test_nothing_is_scored_in_the_probation(self) -> None:
        assert (probation(200), probation(4000), probation(100_000)) == (30, 600, 750)
        early = self.series([1.0 if row < 30 else 0.0 for row in range(200)])
        assert normalised([early], 0.5, PROFILES["standard"]) == 0

    def test_the_best_threshold_is_the_one_with_the_greatest_score(self) -> None:
        series = self.series([0.9 if row == 100 else 0.4 if row % 7 == 0 else 0.0 for row in range(200)])
        at, best = best_threshold([series], PROFILES["standard"], [0.1, 0.5, 0.95])
        assert (at, round(best)) == (0.5, 100)

    def test_without_a_window_there_is_no_score(self) -> None:
        nothing = Series(np.zeros(3), np.zeros(3), np.full(3, -1), 0)
        with pytest.raises(ValueError, match="no window"):
            normalised([nothing], 0.5, Profile(1, 1, 0.11))

    def test_the_sigmoid_ends_three_widths_behind_the_window(self) -> None:
        assert sigmoid(0) == 0
        assert sigmoid(-1) == pytest.approx(0.98661, abs=1e-5)
        assert sigmoid(3.01) == -1
