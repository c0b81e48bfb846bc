"""The command that scores the detector: honest without data, and its last line is what others read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from bench.nab import __main__ as command
from bench.nab.corpus import FOLDER

BEGAN = datetime(2026, 1, 1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "NULL_SERIES", 1)
    monkeypatch.setattr(command, "NULL_WEEKS", 2)
    monkeypatch.setattr(command, "POWER_SERIES", 1)


def corpus(folder: Path) -> Path:
    """One series of 1,000 rows whose level doubles at row 800, and one in which nothing happens."""
    values = np.random.default_rng(0).normal(10, 1, 1000)
    times = [BEGAN + row * timedelta(minutes=5) for row in range(1000)]
    for name, shift in (("kind/step.csv", 10.0), ("kind/calm.csv", 0.0)):
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            f"{at},{value + shift * (row >= 800)}" for row, (at, value) in enumerate(zip(times, values, strict=True))
        ]
        path.write_text("\n".join(["timestamp,value", *rows]) + "\n")
    windows = {"kind/step.csv": [[f"{times[790]}.000000", f"{times[850]}.000000"]], "kind/calm.csv": []}
    (folder / "labels").mkdir()
    (folder / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    return folder


Lines = list[str]
STEP, CALM = Path("data") / "kind" / "step.csv", Path("data") / "kind" / "calm.csv"
LABELS = Path("labels") / "combined_windows.json"


def edit(path: Path, change: Callable[[Lines], Lines]) -> None:
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


@pytest.mark.usefixtures("small")
def test_the_last_line_holds_the_three_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER, str(corpus(tmp_path)))
    assert command.main() == 0
    lines = capsys.readouterr().out.splitlines()
    scores = json.loads(lines[-1])
    assert list(scores) == ["standard", "reward_low_FP_rate", "reward_low_FN_rate"]
    assert all(80 < score <= 100 for score in scores.values())
    for part in (
        "kind/step.csv",
        "CPU a point",
        "state as text",
        "false alarms a series and week",
        "dropout",
        "shuffled",
    ):
        assert any(part in line for line in lines), part


@pytest.mark.parametrize("labels", [False, True])
def test_without_data_it_says_so_and_fails(
    labels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if labels:
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels" / "combined_windows.json").write_text('{"kind/gone.csv": []}')
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert command.main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Nothing was scored" in said.err
    assert FOLDER in said.err


def put(lines: Lines, line: int, text: str) -> Lines:
    """The lines with another one at that place, counted from 1."""
    return [*lines[: line - 1], text, *lines[line:]]


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (STEP, lambda lines: put(lines, 501, ",12.5"), "line 501: not a timestamp and a value: Invalid isoformat"),
        (STEP, lambda lines: put(lines, 501, ","), "line 501: not a timestamp and a value"),
        (STEP, lambda lines: put(lines, 501, f"{BEGAN},many"), "line 501: not a timestamp and a value: could not"),
        (STEP, lambda lines: put(lines, 501, f"{BEGAN},1,5"), "line 501: not a timestamp and a value: too many"),
        (STEP, lambda lines: put(lines, 501, f"{BEGAN}"), "line 501: not a timestamp and a value: not enough"),
        (CALM, lambda lines: lines[:1], "line 1: it ends without a row that has a value"),
        (CALM, lambda lines: [], "line 1: it ends without a row that has a value"),
        (CALM, lambda lines: lines[:2], "line 2: the last time is not after the first"),
        (LABELS, lambda lines: ['{"kind/step.csv": [], "kind/calm.csv": []}'], "no window is marked in any series"),
        (LABELS, lambda lines: ['{"kind/step.csv": [["2026-01-01"]]}'], "not windows by series"),
        (LABELS, lambda lines: ["{"], "not windows by series"),
        (LABELS, lambda lines: ['{"kind/step.csv": [["", "2026-01-01"]]}'], "kind/step.csv: Invalid isoformat"),
        (LABELS, lambda lines: ['{"kind/step.csv": [["2026-01-02", "2026-01-01"]]}'], "a window ends before it begins"),
        (
            LABELS,
            lambda lines: ['{"kind/step.csv": [["2026-01-01", "2026-01-03"], ["2026-01-02", "2026-01-04"]]}'],
            "kind/step.csv: two windows overlap",
        ),
    ],
)
def test_what_cannot_be_scored_is_told_with_its_place_and_nothing_is_measured(
    file: Path,
    change: Callable[[Lines], Lines],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit(corpus(tmp_path) / file, change)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert command.main() == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"Nothing was scored: {tmp_path / file}" in told.err
    assert said in told.err


@pytest.mark.usefixtures("small")
def test_what_is_left_out_is_counted_and_told_and_the_rest_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("azure", "mooncake"):  # of which the other test is
        monkeypatch.setattr(command.injection, part, lambda *folder: None)
    corpus(tmp_path)
    edit(tmp_path / STEP, lambda lines: put(put(lines, 101, ""), 201, f"{BEGAN},"))
    edit(tmp_path / LABELS, lambda lines: [lines[0].replace("kind/calm.csv", "kind/gone.csv")])
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert command.main() == 0
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "kind/step.csv: 2 rows without a value left out, the first in line 101",
        "kind/gone.csv: left out, it has windows but no file",
        "kind/calm.csv: left out, it has a file but no entry among the windows",
    ]
    assert told.out.splitlines()[0].startswith("1 series, 998 rows, ")
    assert min(json.loads(told.out.splitlines()[-1]).values()) > 80
