"""The command that scores the detector: honest without data, and its last line is what others read."""

from __future__ import annotations

import json
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
