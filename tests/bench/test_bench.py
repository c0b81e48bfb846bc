"""The measurements run, at a thousandth of their size, and what they write can be read and is not lost by the next."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench.__main__ import QUESTIONS
from bench.figure import Figure, Series, quantile, readable
from bench.report import HEADER, SECTIONS, Block, table, write

ROOT = Path(__file__).resolve().parent.parent.parent
DEFAULT, LARGE = SECTIONS
AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def block(title: str, value: float = 1.0) -> Block:
    figure = Figure(name="a figure", unit="ms", samples=(value, value + 1, value + 2), at_most=10.0)
    return Block(title=title, about="What was done.", at=AT, seconds=1.0, load=0.1, figures=(figure,))


def tables(text: str) -> dict[str, list[list[str]]]:
    """The rows of each question's table, by its title; every row must have all the columns."""
    found = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = part.partition("\n")
        lines = [line for line in rest.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        assert all(len(row) == len(HEADER) for row in rows), title
        found[title] = rows[2:]
    return found


@pytest.mark.slow
def test_every_question_is_measured_at_a_tiny_scale_and_leaves_nothing_but_its_results(tmp_path: Path) -> None:
    fast = [question.name for question in QUESTIONS if question.part and question.name != "demo"]
    results, data = tmp_path / "results.md", tmp_path / "data"
    runs = {
        "fast": ["--scale", "0.001", *(part for name in fast for part in ("--only", name)), "--results", str(results)],
        "demo": ["--scale", "0.001", "--only", "demo", "--results", str(tmp_path / "demo.md")],
        "large": ["--scale", "0.00005", "--large", "--only", "queries-large", "--results", str(tmp_path / "large.md")],
    }
    started = {  # at the same time, because most of it is starting up
        name: subprocess.Popen(
            [sys.executable, "-m", "bench", "--dir", str(data), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, arguments in runs.items()
    }
    for process in started.values():
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, out + err
    texts = [path.read_text(encoding="utf-8") for path in (results, tmp_path / "demo.md", tmp_path / "large.md")]
    measured = {title: rows for text in texts for title, rows in tables(text).items()}
    same = {question.part for question in QUESTIONS if question.part}  # a large form of a part that ran already
    assert measured.keys() == {question.title for question in QUESTIONS if question.large not in same}
    for title, rows in measured.items():
        assert rows, title
        for name, median, _, rounds, goal, met in rows:
            assert name
            assert re.match(r"[\d,.]+", median), (title, name, median)
            assert int(rounds) >= 1
            assert met in (("yes", "**no**") if goal else ("",)), (title, name)
    assert list(data.iterdir()) == []


def test_one_run_does_not_erase_what_another_found(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    order = ["first", "second", "third"]
    write(path, DEFAULT, [block("first", 1), block("third", 2)], order)
    write(path, LARGE, [block("second", 3)], order)
    write(path, DEFAULT, [block("third", 4)], order)
    text = path.read_text(encoding="utf-8")
    default, large = text.split(f"## {LARGE}")
    assert [rows[0][1] for rows in tables(default).values()] == ["2.00 ms", "5.00 ms"]
    assert [*tables(default)] == ["first", "third"]
    assert tables(large)["second"][0][1] == "4.00 ms"
    write(path, DEFAULT, [block("third", 4)], order)
    assert path.read_text(encoding="utf-8") == text


def test_figures_of_another_machine_do_not_stand_beside_those_of_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.md"
    write(path, DEFAULT, [block("first")], ["first", "second"])
    path.write_text(path.read_text(encoding="utf-8").replace(" cores (", "0 cores ("), encoding="utf-8")
    write(path, DEFAULT, [block("second")], ["first", "second"])
    assert [*tables(path.read_text(encoding="utf-8"))] == ["second"]
    assert "another machine" in capsys.readouterr().err


def test_a_missed_goal_is_said_and_a_failure_is_told() -> None:
    figures = [
        Figure(name="met", unit="ms", samples=(5.0, 6.0, 100.0), at_most=10.0),
        Figure(name="missed", unit="events/s", samples=(59_000.0,), at_least=60_000.0),
        Figure(name="with | in it", unit="", samples=(0.00123,)),
    ]
    rows = tables("### all\n" + table(figures))["all"]
    assert rows == [
        ["met", "6.00 ms", "5.00 – 100", "3", "≤ 10 ms", "yes"],
        ["missed", "59,000 events/s", "", "1", "≥ 60,000 events/s", "**no**"],
        ["with / in it", "0.00123", "", "1", "", ""],
    ]
    failed = Block(title="t", about="a.", at=AT, seconds=1, load=0, figures=(), failure="the part ended with code 3.")
    assert "could not be measured: the part ended with code 3." in failed.text()


def test_a_goal_for_a_figure_that_is_not_there_is_an_error() -> None:
    series = Series()
    series.add("there", "ms", 1.0)
    with pytest.raises(KeyError, match="spelled otherwise"):
        series.figures(at_most={"spelled otherwise": 1.0})


def test_an_unknown_question_is_refused_with_the_list() -> None:
    command = [sys.executable, "-m", "bench", "--only", "nothing"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "there are journal, ingest" in ran.stderr


def test_quantiles_are_values_that_were_measured_and_numbers_are_readable() -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert quantile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert [readable(value) for value in (1234567.8, 99.96, 9.876, 0.012345, 0.0)] == [
        "1,234,568", "100.0", "9.88", "0.0123", "0",
    ]  # fmt: skip
