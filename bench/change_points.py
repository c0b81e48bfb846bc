"""Change points held against what people marked, and how long they take.

The series of the Turing change point dataset with marks of five people each, from ../shared/data/tcpd or the folder in
BAROGRAPH_TCPD_DATA: ``annotations.json`` ({series: {person: [place of a first value]}}) beside a file a series
(``series[].raw``). Without the folder only times are measured. Scores, beside methods of other settings: van den Burg
and Williams, "An evaluation of change point detection algorithms" (arXiv 2003.06222), section 3.3.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import msgspec
import numpy as np

from barograph.stats.change_points import PENALTY, Method, change_points
from barograph_client.clock import SystemClock
from bench.figure import Figure
from bench.part import ROOT, Run

FOLDER = "BAROGRAPH_TCPD_DATA"
MARGIN = 5  # places that a found point may be off (van den Burg and Williams)
VALUES = 10_000
ANY = 2.0  # more than any p-value
COMPARED: dict[str, tuple[Method, float, float]] = {  # and the p-value below which a point counts
    "Binseg, 3 log n (built in)": ("binseg", PENALTY, ANY),
    "Binseg, 3 log n, p < 0.05": ("binseg", PENALTY, 0.05),
    "Binseg, 5 log n": ("binseg", 5.0, ANY),
    "PELT, 3 log n": ("pelt", 3.0, ANY),
    "PELT, 10 log n": ("pelt", 10.0, ANY),
}
People = Mapping[str, Sequence[int]]


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """A series, as rows, and what each person marked."""

    name: str
    rows: list[list[float | None]]
    people: dict[str, list[int]]


def measure(run: Run) -> Iterable[Figure]:
    """F1 and covering of each method, the means over the series; then seconds for a long series."""
    folder = Path(os.environ.get(FOLDER) or ROOT.parent / "shared" / "data" / "tcpd")
    found = list(marked(folder))
    if found:
        yield Figure(name="annotated series", unit="", samples=(float(len(found)),))
        yield from _scores("no change at all", found, [[] for _ in found])
        for name, (method, penalty, below) in COMPARED.items():
            made = [change_points(one.rows, method=method, penalty=penalty) for one in found]
            points = [[point.index for point in points if point.p_value < below] for points in made]
            yield from _scores(name, found, points)
    else:
        run.tell(f"no annotated series in {folder} (or the folder in {FOLDER}): nothing is scored")
    yield from _times(run)


def marked(folder: Path) -> Iterator[Marked]:
    """The annotated series of the folder, in the order of their names; none when there is no such folder."""
    if not (folder / "annotations.json").is_file():
        return
    annotations = msgspec.json.decode((folder / "annotations.json").read_bytes(), type=dict[str, dict[str, list[int]]])
    for name, people in sorted(annotations.items()):
        if (folder / f"{name}.json").is_file():
            document = msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=_Document)
            rows = [list(row) for row in zip(*(one.raw for one in document.series), strict=True)]
            yield Marked(name=name, rows=rows, people=people)


class _Dimension(msgspec.Struct):
    raw: list[float | None]


class _Document(msgspec.Struct):
    series: list[_Dimension]


def f1(people: People, found: Sequence[int], margin: int = MARGIN) -> float:
    """The harmonic mean of precision against all people's points together and the mean recall of each one's.

    Place 0 counts as marked by all and as found, so that "no change" can be right.
    """
    points = {0, *found}
    union = {0}.union(*people.values())
    precision = matched(union, points, margin) / len(points)
    recall = fmean(matched({0, *points_of}, points, margin) / len({0, *points_of}) for points_of in people.values())
    return 2 * precision * recall / (precision + recall)


def matched(marks: Iterable[int], found: Iterable[int], margin: int) -> int:
    """How many marks have a found point within the margin, when each point serves one mark only."""
    left = sorted(found)
    count = 0
    for mark in sorted(marks):
        while left and left[0] < mark - margin:
            left.pop(0)
        if left and left[0] <= mark + margin:
            left.pop(0)
            count += 1
    return count


def covering(people: People, found: Sequence[int], length: int) -> float:
    """How well the found stretches cover each person's: Jaccard overlap with the best, weighted by length, the mean."""
    return fmean(_covered(_stretches(points, length), _stretches(found, length)) for points in people.values())


def _covered(theirs: Sequence[range], ours: Sequence[range]) -> float:
    return sum(len(one) * max(_jaccard(one, other) for other in ours) for one in theirs) / sum(map(len, theirs))


def _jaccard(one: range, other: range) -> float:
    shared = max(0, min(one.stop, other.stop) - max(one.start, other.start))
    return shared / (len(one) + len(other) - shared)


def _stretches(points: Sequence[int], length: int) -> list[range]:
    bounds = sorted({0, *points, length})
    return [range(start, end) for start, end in pairwise(bounds)]


def _scores(name: str, series: Sequence[Marked], points: Sequence[Sequence[int]]) -> Iterator[Figure]:
    pairs = list(zip(series, points, strict=True))
    yield Figure(name=f"{name}: F1", unit="", samples=(fmean(f1(one.people, at) for one, at in pairs),))
    cover = fmean(covering(one.people, at, len(one.rows)) for one, at in pairs)
    yield Figure(name=f"{name}: covering", unit="", samples=(cover,))


def _times(run: Run) -> Iterator[Figure]:
    """Noise with a step every thousand values."""
    clock, generator = SystemClock(), np.random.default_rng(5)
    n = run.count(VALUES, 100)
    values = generator.normal(size=n) + 3 * (np.arange(n) // 1000 % 2)
    methods: tuple[Method, ...] = ("binseg", "pelt")
    for method in methods:
        samples = []
        for _ in range(run.rounds(5)):
            began = clock.monotonic()
            change_points(values, method=method)
            samples.append((clock.monotonic() - began) * 1e3)
        yield Figure(name=f"{n:,} values with {method}", unit="ms", samples=tuple(samples))
