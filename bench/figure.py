"""Figures: what a measurement found, round by round, and the goal it is held against.

Questions yield them, ``part`` carries them between processes, ``report`` writes them. The median of the rounds stands
for the figure; the least and the greatest round are its spread, because machines are shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from msgspec import Struct


class Figure(Struct, frozen=True, kw_only=True):
    """One number, measured in several rounds. ``at_most`` or ``at_least`` is its goal; ``unit`` stands behind it."""

    name: str
    unit: str
    samples: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None without a goal."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least


class Series:
    """The rounds of several figures while they come in, in the order in which they were first told."""

    def __init__(self) -> None:
        self._samples: dict[str, list[float]] = {}
        self._units: dict[str, str] = {}

    def add(self, name: str, unit: str, value: float) -> None:
        """One more round of a figure."""
        self._samples.setdefault(name, []).append(value)
        self._units[name] = unit

    def median(self, name: str) -> float:
        return median(self._samples[name])

    def figures(
        self, *, at_most: dict[str, float] | None = None, at_least: dict[str, float] | None = None
    ) -> list[Figure]:
        """All of them; the goals go by name. Raises KeyError for a goal of a figure that was not measured."""
        for name in (*(at_most or {}), *(at_least or {})):
            self._samples[name]  # a goal that was spelled differently must not vanish
        return [
            Figure(
                name=name,
                unit=self._units[name],
                samples=tuple(samples),
                at_most=(at_most or {}).get(name),
                at_least=(at_least or {}).get(name),
            )
            for name, samples in self._samples.items()
        ]


def quantile(values: Iterable[float], level: float) -> float:
    """The smallest value that at least a share ``level`` of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(level * len(ordered)) - 1)]


def readable(value: float) -> str:
    """Three significant digits, and whole numbers from a hundred on."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
