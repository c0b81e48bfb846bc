"""The measures of a line chart's plot: its axes, how many cells go to what, and its series made ready to be drawn.

Made by ``line``, read there and by ``band``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct

from barograph.visualize.axes import ValueAxis
from barograph.visualize.chart import Series


class Line(Struct, frozen=True):
    """A series made ready: where its points are, and how it is drawn."""

    series: Series
    key: str
    style: str
    rank: int


class Frame(Struct, frozen=True):
    """The plot's measures: its axes, and how many cells go to what."""

    axis: ValueAxis
    start: float
    end: float
    timed: bool
    whole: bool  # all points of what was measured lie at whole numbers
    gutter: int
    columns: int
    right: int

    def column(self, x: datetime | float) -> float:
        return (position(x) - self.start) / (self.end - self.start) * (self.columns - 1)


def position(x: datetime | float) -> float:
    """Where on the x axis: seconds since 1970 for a time."""
    return x.timestamp() if isinstance(x, datetime) else x


def values_of(series: Series) -> Iterator[float]:
    """All that the value axis should reach to: the points that were measured, and the ends of their intervals."""
    bands = series.band or [(None, None)] * len(series.points)
    for (_, y), ends in zip(series.points, bands, strict=True):
        if y is not None:
            yield from (end for end in (y, *ends) if end is not None)
