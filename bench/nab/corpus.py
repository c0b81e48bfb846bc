"""The series of the benchmark and the windows that people marked in them, as its repository lays them out.

``data/<kind>/<series>.csv`` with the columns ``timestamp`` and ``value``, and ``labels/combined_windows.json``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

FOLDER = "BAROGRAPH_NAB_DATA"
WINDOWS = Path("labels") / "combined_windows.json"


class Labelled(NamedTuple):
    """A series: its name, its rows, and the windows in which detections are right."""

    name: str
    times: list[datetime]
    values: list[float]
    windows: list[tuple[datetime, datetime]]


def labelled(folder: Path) -> Iterator[Labelled]:
    """Every series of the folder that has its entry among the windows, in the order of the names.

    Raises FileNotFoundError, which names what is missing: the windows, or any series that they speak of.
    """
    if not (folder / WINDOWS).is_file():
        raise FileNotFoundError(f"there is no {WINDOWS} in {folder}")
    marks = msgspec.json.decode((folder / WINDOWS).read_bytes(), type=dict[str, list[tuple[str, str]]])
    names = [name for name in sorted(marks) if (folder / "data" / name).is_file()]
    if not names:
        raise FileNotFoundError(f"there is none of the series of {WINDOWS} in {folder / 'data'}")
    for name in names:
        times, values = read(folder / "data" / name)
        yield Labelled(name, times, values, [(parsed(begin), parsed(end)) for begin, end in marks[name]])


def read(path: Path) -> tuple[list[datetime], list[float]]:
    """The two columns of a file with one line of headings."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [parsed(row[0]) for row in rows], [float(row[1]) for row in rows]


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
