"""Rates of requests as they come in life, with nothing wrong and with something put into them.

Takes the requests of the Azure LLM inference trace (shipped with the demo), and those of Mooncake's trace where that
lies in ../shared/data; draws series from them in which nothing happens, counts the alarms, and then puts steps, drifts,
spikes, dropouts and changes of variance of known size into them and counts how many are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from barograph.demo.dataset import load_trace
from barograph.stats.baseline import Detector, DetectorState, Sensitivity

Floats = NDArray[np.float64]
Fault = Callable[[Floats, float, float, float], Floats]

BUCKET = 3.0  # seconds of the trace that stand for one point: about 1,150 of them an hour
BLOCK = 30  # points that stay together when a series is drawn (moving block bootstrap, Künsch 1989)
BEGAN = datetime(2026, 1, 5, tzinfo=UTC)
INTERVAL = timedelta(minutes=5)
WEEK = 2016  # points
BEFORE = WEEK  # points without a fault, to learn from
LASTS = 100  # points that a fault lasts, but for spikes; also the time in which it must be found
REACHED = 60  # points over which a drift grows


class Drawn(NamedTuple):
    """What series are drawn from: a name and the rates, requests a bucket."""

    name: str
    rates: Floats


def azure() -> Drawn:
    return Drawn("Azure", _rates(load_trace().offsets / 1e6))


def mooncake(folder: Path) -> Drawn | None:
    """The conversations of Mooncake's trace; None when they are not there."""
    found = sorted(folder.rglob("conversation_trace.jsonl"))
    if not found:
        return None
    lines = found[0].read_bytes().splitlines()
    return Drawn("Mooncake", _rates(np.array([msgspec.json.decode(line)["timestamp"] for line in lines]) / 1e3))


def _rates(seconds: Floats) -> Floats:
    return np.bincount((seconds // BUCKET).astype(np.int64)).astype(np.float64)[:-1]


def drawn(source: Drawn, points: int, generator: np.random.Generator, block: int = BLOCK) -> Floats:
    """A series of that many points with the distribution of the source, and its dependence within a block."""
    starts = generator.integers(0, source.rates.size - block + 1, points // block + 1)
    return np.concatenate([source.rates[start : start + block] for start in starts])[:points]


def alarms_by_week(values: Floats, sensitivity: Sensitivity) -> list[int]:
    """How many alarms a series gives in each of its weeks."""
    detector = Detector(sensitivity)
    given = [detector.update(BEGAN + row * INTERVAL, float(value)).alarm for row, value in enumerate(values)]
    return [sum(given[start : start + WEEK]) for start in range(0, len(given), WEEK)]


# A fault takes a stretch of the series, its size, and the usual level and standard deviation of the series.
def _step(values: Floats, size: float, level: float, spread: float) -> Floats:
    return values + size * spread


def _drift(values: Floats, size: float, level: float, spread: float) -> Floats:
    return values + size * spread * np.minimum(1.0, np.arange(1, values.size + 1) / REACHED)


def _spike(values: Floats, size: float, level: float, spread: float) -> Floats:
    return np.concatenate([values[:1] + size * spread, values[1:]])


def _dropout(values: Floats, size: float, level: float, spread: float) -> Floats:
    return values * (1 - size)


def _variance(values: Floats, size: float, level: float, spread: float) -> Floats:
    return level + size * (values - level)


FAULTS: dict[str, tuple[Fault, str, tuple[float, ...]]] = {
    "step": (_step, "standard deviations", (0.5, 1, 1.5, 2, 3)),
    "drift": (_drift, f"standard deviations, reached in {REACHED} points", (0.5, 1, 1.5, 2, 3)),
    "spike": (_spike, "standard deviations, one point", (5, 10, 20, 40, 80)),
    "dropout": (_dropout, "share of the level that is lost", (0.25, 0.5, 0.75, 0.9, 1.0)),
    "variance": (_variance, "times the standard deviation", (1.5, 2, 2.5, 3, 4)),
}


class Power(NamedTuple):
    """A fault of one size: the share that was found, and after how many points in the median (None: none was)."""

    fault: str
    unit: str
    size: float
    found: float
    delay: float | None


def power(source: Drawn, sensitivity: Sensitivity, series: int, seed: int = 0) -> Iterator[Power]:
    """How many faults of each size are found in that many series, each after a week in which nothing happened."""
    learned: list[tuple[DetectorState, Floats]] = []
    for number in range(series):
        values = drawn(source, BEFORE + LASTS, np.random.default_rng([seed, number]))
        detector = Detector(sensitivity)
        for row, value in enumerate(values[:BEFORE]):
            detector.update(BEGAN + row * INTERVAL, float(value))
        learned.append((detector.state(), values[BEFORE:]))
    level, spread = float(np.mean(source.rates)), float(np.std(source.rates))
    for name, (fault, unit, sizes) in FAULTS.items():
        for size in sizes:
            delays = [_delay(state, fault(values, size, level, spread), sensitivity) for state, values in learned]
            found = [delay for delay in delays if delay is not None]
            yield Power(name, unit, size, len(found) / series, float(np.median(found)) if found else None)


def _delay(state: DetectorState, values: Floats, sensitivity: Sensitivity) -> int | None:
    """Points from the fault's beginning to the alarm, 1 being the first of them; None without an alarm."""
    detector = Detector(sensitivity, state)
    for row, value in enumerate(values):
        if detector.update(BEGAN + (BEFORE + row) * INTERVAL, float(value)).alarm:
            return row + 1
    return None
