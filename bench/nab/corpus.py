"""The series of the benchmark and the windows that people marked in them, as its repository lays them out.

``data/<kind>/<series>.csv`` with the columns ``timestamp`` and ``value``, and ``labels/combined_windows.json``. A row
without a value is no measurement: it is left out and counted. What cannot be read ends the reading, with its place.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

FOLDER = "BAROGRAPH_NAB_DATA"
WINDOWS = Path("labels") / "combined_windows.json"
_HINT = f"Name the folder in {FOLDER}."

Windows = list[tuple[datetime, datetime]]


class CorpusError(Exception):
    """What is missing or cannot be read: in which file, and in which line where there is one."""


class Rows(NamedTuple):
    """The rows of a file that have a value, in its order; the lines of those that have none."""

    times: list[datetime]
    values: list[float]
    without: list[int]


class Labelled(NamedTuple):
    """A series: its name, its rows, and the windows in which detections are right, in their order and apart."""

    name: str
    rows: Rows
    windows: Windows


class Corpus(NamedTuple):
    """The series that have both a file and an entry among the windows, by name; the names of those that lack one."""

    series: list[Labelled]
    without_file: list[str]
    without_entry: list[str]


def load(folder: Path) -> Corpus:
    """Every series of the folder. Raises CorpusError, also when no window is marked in any series: nothing to score."""
    marks = _marks(folder / WINDOWS)
    data = folder / "data"
    files = {path.relative_to(data).as_posix() for path in data.rglob("*.csv")}
    names = sorted(marks.keys() & files)
    if not names:
        raise CorpusError(f"there is none of the series of {WINDOWS} in {data}. {_HINT}")
    series = [Labelled(name, read(data / name), marks[name]) for name in names]
    if not any(marks[name] for name in names):
        raise CorpusError(f"{folder / WINDOWS}: no window is marked in any series of {data}")
    return Corpus(series, sorted(marks.keys() - files), sorted(files - marks.keys()))


def read(path: Path) -> Rows:
    """The two columns of a file with one line of headings. Raises CorpusError."""
    rows = Rows([], [], [])
    number = 1
    try:
        for number, cells in _cells(path):
            if number == 1:
                continue
            if not cells or (len(cells) == 2 and cells[0].strip() and not cells[1].strip()):
                rows.without.append(number)
                continue
            time, value = cells
            rows.times.append(parsed(time))
            rows.values.append(float(value))
    except (ValueError, csv.Error) as error:
        raise CorpusError(f"{path}, line {number}: not a timestamp and a value: {error}") from None
    if not rows.times:
        raise CorpusError(f"{path}, line {number}: it ends without a row that has a value")
    if rows.times[-1] <= rows.times[0]:
        raise CorpusError(f"{path}, line {number}: the last time is not after the first")
    return rows


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        for cells in reader:
            yield reader.line_num, cells


def _marks(path: Path) -> dict[str, Windows]:
    """The windows of each series that the file names."""
    if not path.is_file():
        raise CorpusError(f"there is no {path}. {_HINT}")
    try:
        marks = msgspec.json.decode(path.read_bytes(), type=dict[str, list[tuple[str, str]]])
    except msgspec.DecodeError as error:
        raise CorpusError(f"{path}: not windows by series: {error}") from None
    return {name: _windows(f"{path}: {name}", edges) for name, edges in marks.items()}


def _windows(place: str, edges: list[tuple[str, str]]) -> Windows:
    try:
        windows = sorted((parsed(begin), parsed(end)) for begin, end in edges)
    except ValueError as error:
        raise CorpusError(f"{place}: {error}") from None
    if any(end < begin for begin, end in windows):
        raise CorpusError(f"{place}: a window ends before it begins")
    if any(after <= end for (_, end), (after, _) in pairwise(windows)):
        raise CorpusError(f"{place}: two windows overlap")
    return windows
