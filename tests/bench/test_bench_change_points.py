"""The scores of change points are those of the paper's formulas, counted by hand, and no folder is no failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.change_points import FOLDER, covering, f1, marked, matched, measure
from bench.part import Run

from barograph_client.clock import SystemClock


class TestF1:
    def test_no_change_is_right_for_who_marked_none(self) -> None:
        assert f1({"a": [], "b": []}, []) == 1.0

    def test_is_counted_by_hand(self) -> None:
        """Marked {0,20,50}, {0,22}; found {0,21,70}. Precision 2 of 3; recall (2/3 + 2/2) / 2 = 5/6."""
        assert f1({"a": [20, 50], "b": [22]}, [21, 70]) == pytest.approx(2 * (2 / 3) * (5 / 6) / (2 / 3 + 5 / 6))

    def test_finding_nothing_keeps_its_precision_and_loses_recall(self) -> None:
        """Precision 1 of 1 (place 0); recall (1/3 + 1/2) / 2 = 5/12."""
        assert f1({"a": [20, 50], "b": [22]}, []) == pytest.approx(2 * (5 / 12) / (1 + 5 / 12))

    def test_the_margin_is_five_places_and_no_more(self) -> None:
        assert f1({"a": [20]}, [25]) == 1.0
        assert f1({"a": [20]}, [26]) == pytest.approx(0.5)

    def test_a_point_serves_one_mark_only_and_a_mark_one_point(self) -> None:
        assert matched([20, 22], [21], 5) == 1
        assert matched([20], [19, 21], 5) == 1
        assert f1({"a": [20]}, [19, 21]) == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))

    def test_points_are_dealt_out_so_that_most_marks_have_one(self) -> None:
        """The nearest to 10 is 12, but then 17 would have none."""
        assert matched([10, 17], [6, 12], 5) == 2
        assert matched([0, 3, 30], [2, 4, 5, 29], 5) == 3


class TestCovering:
    def test_the_same_stretches_cover_each_other_wholly(self) -> None:
        assert covering({"a": [3, 7], "b": [3, 7]}, [3, 7], 10) == 1.0

    def test_is_counted_by_hand(self) -> None:
        """Marked [0,4) and [4,10), found [0,5) and [5,10): 4 · 4/5 and 6 · 5/6 of 10. One whole: 10 · 5/10 of 10."""
        assert covering({"a": [4]}, [5], 10) == pytest.approx((3.2 + 5) / 10)
        assert covering({"a": [4], "b": []}, [5], 10) == pytest.approx((0.82 + 0.5) / 2)

    def test_no_change_covers_by_the_longest_stretch(self) -> None:
        """[0,4) and [4,10) lie in the whole: 4 · 4/10 and 6 · 6/10 of 10."""
        assert covering({"a": [4]}, [], 10) == pytest.approx((1.6 + 3.6) / 10)

    def test_marks_at_the_ends_make_no_empty_stretch(self) -> None:
        assert covering({"a": [0, 10]}, [], 10) == 1.0


def run(directory: Path) -> Run:
    return Run(directory=directory, scale=0.001, large=False, clock=SystemClock())


def test_a_folder_that_is_not_there_is_said_and_times_are_measured_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "not-there"))
    names = [figure.name for figure in measure(run(tmp_path))]
    assert names == ["100 values with binseg", "100 values with pelt"]
    assert FOLDER in capsys.readouterr().err


def test_a_folder_of_series_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    step = [1.0, 1.1, 0.9, None, 1.0, 1.05, 0.95, 3.0, 3.1, 2.9, 3.0, 3.05, 2.95]
    (tmp_path / "step.json").write_text(json.dumps({"name": "step", "series": [{"raw": step}]}))
    (tmp_path / "annotations.json").write_text(json.dumps({"step": {"6": [7]}, "not-shipped": {"6": [1]}}))
    (one,) = marked(tmp_path)
    assert (one.name, len(one.rows), one.people) == ("step", 13, {"6": [7]})
    figures = {figure.name: figure.median for figure in measure(run(tmp_path))}
    assert figures["annotated series"] == 1
    assert figures["Binseg, 3 log n (built in): F1"] == figures["PELT, 3 log n: covering"] == 1
    assert figures["no change at all: F1"] == pytest.approx(2 / 3)
    assert figures["no change at all: covering"] == pytest.approx((49 + 36) / 169)
