"""The score of the Numenta Anomaly Benchmark, from its formula: what a detection is worth where it falls.

Takes anomaly scores and labelled windows, hands back points. Source: Lavin and Ahmad, "Evaluating Real-time Anomaly
Detection Algorithms: the Numenta Anomaly Benchmark" (2015), section II, and version 1.1 of the benchmark for what the
paper leaves open: the tail behind a window ends at three widths, and a window includes both of its edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PROBATION_SHARE = 0.15  # of the rows, at the start: the detector learns and is not scored
PROBATION_ROWS = 5000  # of which the share is taken at most
STEEPNESS = 5.0  # of the sigmoid
FAR_BEHIND = 3.0  # widths behind a window from which a false positive costs all of its weight

Floats = NDArray[np.float64]


class Profile(NamedTuple):
    """What counts how much: a window that was hit, one that was missed, a row of false alarm."""

    hit: float
    missed: float
    false_positive: float


PROFILES = {
    "standard": Profile(1.0, 1.0, 0.11),
    "reward_low_FP_rate": Profile(1.0, 1.0, 0.22),
    "reward_low_FN_rate": Profile(1.0, 2.0, 0.11),
}


class Points(NamedTuple):
    """The points of one series, and its rows by kind; ``rows`` leaves the probation out."""

    raw: float
    true_positives: int
    true_negatives: int
    false_positives: int
    false_negatives: int

    @property
    def rows(self) -> int:
        return sum(self[1:])


class Series(NamedTuple):
    """Rows that are scored, in their order: anomaly score, the row's worth, its window's number (-1: none).

    ``windows`` counts the labelled windows of the series.
    """

    scores: Floats
    worth: Floats
    window: NDArray[np.int64]
    windows: int


def sigmoid(position: float) -> float:
    """From 1 at a window's beginning (position -1) over 0 at its end (0) to -1 behind it."""
    return -1.0 if position > FAR_BEHIND else 2 / (1 + math.exp(STEEPNESS * position)) - 1


def probation(rows: int) -> int:
    """So many rows at the start are not scored."""
    return int(min(math.floor(PROBATION_SHARE * rows), PROBATION_SHARE * PROBATION_ROWS))


def prepared(
    times: Sequence[datetime], scores: Sequence[float], windows: Sequence[tuple[datetime, datetime]], profile: Profile
) -> Series:
    """What each row is worth under the profile, should it be detected. Windows are in their order and apart."""
    count = len(times)
    worth = np.full(count, -profile.false_positive)
    window = np.full(count, -1, dtype=np.int64)
    edges = [(_first(times, begin), _first(times, end)) for begin, end in windows]
    for number, (left, right) in enumerate(edges):
        width = right - left + 1
        inside = np.arange(left, right + 1)
        window[inside] = number
        worth[inside] = [profile.hit * sigmoid(-(right - row + 1) / width) / sigmoid(-1.0) for row in inside]
        until = edges[number + 1][0] if number + 1 < len(edges) else count
        for row in range(right + 1, until):
            worth[row] = profile.false_positive * sigmoid((row - right) / max(1, width - 1))
    skipped = probation(count)
    return Series(np.asarray(scores, dtype=np.float64)[skipped:], worth[skipped:], window[skipped:], len(edges))


def _first(times: Sequence[datetime], at: datetime) -> int:
    """The first row of that time: a clock that was set back brings some times twice."""
    return next((row for row, time in enumerate(times) if time >= at), len(times) - 1)


def points(series: Series, threshold: float, profile: Profile) -> Points:
    """What the detections at ``threshold`` or above earn: each window its best row, each false positive its cost."""
    detected, inside = series.scores >= threshold, series.window >= 0
    raw = float(series.worth[detected & ~inside].sum())
    for number in np.unique(series.window[inside]):
        worth = series.worth[detected & (series.window == number)]
        raw += float(worth.max()) if worth.size else -profile.missed
    return Points(
        raw,
        int((detected & inside).sum()),
        int((~detected & ~inside).sum()),
        int((detected & ~inside).sum()),
        int((~detected & inside).sum()),
    )


def normalised(corpus: Sequence[Series], threshold: float, profile: Profile) -> float:
    """The benchmark's figure: 0 for a detector that never speaks, 100 for one that finds all at once and only that.

    ``corpus`` was prepared with the same profile. Raises ValueError when no window is labelled in it.
    """
    windows = sum(series.windows for series in corpus)
    if not windows:
        raise ValueError("no window is labelled: there is nothing to score against")
    null = sum(points(series, math.inf, profile).raw for series in corpus)
    raw = sum(points(series, threshold, profile).raw for series in corpus)
    return 100 * (raw - null) / (profile.hit * windows - null)


def best_threshold(corpus: Sequence[Series], profile: Profile, candidates: Iterable[float]) -> tuple[float, float]:
    """The threshold among the candidates with the greatest figure, and that figure."""
    return max(
        ((threshold, normalised(corpus, threshold, profile)) for threshold in candidates), key=lambda pair: pair[1]
    )
