"""Where the ticks go: round steps on a value axis, calendar-aligned moments on a time axis.

Reads numbers and a time zone; hands ``ValueAxis`` and ``Tick`` to the renderers. A tick of the value axis lies
exactly in the middle of a row of text, so that a label never stands beside a line it does not mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from zoneinfo import ZoneInfo

from msgspec import Struct

from barograph.visualize.units import axis_labels, axis_scale

_MANTISSAS = (1.0, 2.0, 2.5, 5.0)
_SIXTIES = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0)  # a step of minutes, or of hours in minutes
_LARGEST, _SMALLEST = 1e290, 1e-290  # beyond them steps overflow or vanish
_MOST_STEPS = 5  # ticks of a value axis, less one
_DAY = 86400
_DAYS_WITH_CLOCK_NOTE = 400  # a longer axis does not say when the clocks changed


class ValueAxis(Struct, frozen=True):
    """From ``low`` (the last row) to ``high`` (the first), a tick every ``spacing`` rows from the bottom.

    The first row need not have a tick: up to one step less than a whole one is added where values reach there.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    rows: int
    spacing: int

    def height(self, value: float) -> float:
        """How far down from the middle of the first row the value lies, in rows."""
        value = min(max(value, self.low), self.high)
        half = self.high / 2 - self.low / 2  # halves do not overflow
        return (self.high / 2 - value / 2) / half * (self.rows - 1)

    def row_of_tick(self, index: int) -> int:
        return self.rows - 1 - index * self.spacing

    def labels(self, unit: str, *, ascii_only: bool) -> dict[int, str]:
        """The label of each row that has one."""
        texts = axis_labels(self.ticks, unit, ascii_only=ascii_only)
        return {self.row_of_tick(index): text for index, text in enumerate(texts)}


def value_axis(low: float, high: float, unit: str, rows: int, start: float | None = 0.0) -> ValueAxis:
    """The axis for values from ``low`` to ``high`` in about so many rows.

    It begins at ``start`` or lower, near ``low`` when ``start`` is None, on a round number, and reaches to ``high``
    or a little beyond. Of the round steps the one is taken that leaves least empty room at about the wished height.
    """
    low, high = _tamed(low), _tamed(high)
    if start is not None:
        start = _tamed(start)
        low = min(low, start)
        high = max(high, start)
    if high - low <= max(abs(high), abs(low)) * 1e-9:
        low, high = _widened(low, high, unit)
    divisor, _ = axis_scale(max(abs(low), abs(high)), unit)
    best: tuple[float, ValueAxis] | None = None
    for step in _steps((high / 2 - low / 2) / divisor * 2, unit, divisor):
        size = step * divisor
        first = math.floor(low / size + 1e-9)
        needed = high / size - first  # steps from the lowest tick up to the highest value
        for spacing in range(2, 5):
            height = max(math.ceil(needed * spacing - 1e-6), spacing) + 1
            count = (height - 1) // spacing
            if not 1 <= count <= _MOST_STEPS or height > rows + 2:
                continue
            waste = 1 - (high / size - low / size) * spacing / (height - 1)
            few = max(0, min(3, (rows - 1) // 2) - count)
            cost = 1.5 * waste + abs(height - rows) / rows + 0.15 * few + 0.2 * _is_odd(step)
            if best is None or cost < best[0]:
                ticks = tuple((first + index) * size for index in range(count + 1))
                top = ticks[0] + (height - 1) / spacing * size
                best = (cost, ValueAxis(ticks[0], top, ticks, height, spacing))
    if best is None:
        return ValueAxis(low, high, (low, high), rows, rows - 1)
    return best[1]


def _tamed(value: float) -> float:
    """The value without the extremes at which steps overflow or vanish."""
    return 0.0 if abs(value) < _SMALLEST else max(-_LARGEST, min(value, _LARGEST))


def _widened(low: float, high: float, unit: str) -> tuple[float, float]:
    """A range around one single value: from zero where that shows something, one unit where all is zero."""
    if high > 0:
        return (0.0, high) if low >= 0 else (low, high)
    if low < 0:
        return low, 0.0
    return 0.0, 0.01 if unit == "ratio" else 1.0


def _steps(span: float, unit: str, divisor: float) -> Iterator[float]:
    """Round steps, in the axis's own scale, that cut the span into one to about eight."""
    if unit == "s" and divisor in (60.0, 3600.0) and 1 < span < 60:
        parts = 60.0 if span < 4 else 1.0
        yield from (step / parts for step in _SIXTIES if 0.9 < span / (step / parts) < 10)
    whole = unit in ("1", "tokens", "B") and divisor == 1.0 and span >= 1
    exponent = math.floor(math.log10(span)) - 1
    for power in range(exponent, exponent + 3):
        for mantissa in _MANTISSAS:
            step = mantissa * 10.0**power
            if whole and step != int(step):
                continue
            if span / step < 10:
                yield step


def _is_odd(step: float) -> bool:
    """Whether a step is of the 2.5 family, whose labels need a digit more than those of 1, 2 and 5."""
    return math.isclose(step / math.pow(10, math.floor(math.log10(step))), 2.5)


class Tick(Struct, frozen=True):
    """A labelled position on the x axis: seconds since 1970 for a time."""

    x: float
    label: str


# Steps of a time axis: seconds up to a day, then days, then months.
_SECOND_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY_STEPS = (1, 2, 7, 14)
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)


def time_ticks(start: float, end: float, zone: ZoneInfo, cells: int) -> list[Tick]:
    """Calendar-aligned ticks of the zone between two moments, as many as fit on so many cells with their labels."""
    span = max(end - start, 1.0)
    for second in _SECOND_STEPS:
        label = 8 if second < 60 else 5
        if span / second * (label + 3) <= cells:
            return list(_within_days(start, end, zone, second))
    for days in _DAY_STEPS:
        if span / (days * _DAY) * 7 <= cells:
            return list(_by_days(start, end, zone, days))
    for months in _MONTH_STEPS:
        if span / (months * 30.4 * _DAY) * 10 <= cells:
            break
    return list(_by_months(start, end, zone, months))


def _within_days(start: float, end: float, zone: ZoneInfo, step: int) -> Iterator[Tick]:
    """Ticks at wall-clock times; midnight shows the date. An hour that comes twice has its ticks twice."""
    day = datetime.fromtimestamp(start, zone).date()
    last = datetime.fromtimestamp(end, zone).date()
    while day <= last:
        first = _begin(day, zone).timestamp()
        after = _begin(day + timedelta(days=1), zone).timestamp()
        low, high = max(start, first), min(end, after - 1)
        moment = first
        if step <= 900 and low > first:  # no offset moves the quarter hours of a day
            moment = first + (low - first) // step * step
        while moment <= high:
            local = datetime.fromtimestamp(moment, zone)
            second = local.hour * 3600 + local.minute * 60 + local.second
            if second % step:  # the clocks changed since midnight: go on to the next round time
                moment += min(step - second % step, 3600)
                continue
            if moment >= low:
                form = "%m-%d" if second == 0 else "%H:%M" if step >= 60 else "%H:%M:%S"
                yield Tick(moment, local.strftime(form))
            moment += min(step, 3600)
        day += timedelta(days=1)


def _begin(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a day: not always midnight, which some changes of the clock skip."""
    naive = datetime.combine(day, wall_time())
    moment = naive.replace(tzinfo=zone)
    there = moment.astimezone(UTC).astimezone(zone)
    return moment if there.replace(tzinfo=None) == naive else there


def _by_days(start: float, end: float, zone: ZoneInfo, step: int) -> Iterator[Tick]:
    """Ticks at the beginning of days; weeks begin on Monday."""
    day = datetime.fromtimestamp(start, zone).date()
    day -= timedelta(days=(day.toordinal() - 1) % step)  # day 1 of the calendar was a Monday
    while (moment := _begin(day, zone).timestamp()) <= end:
        if moment >= start:
            yield Tick(moment, day.strftime("%m-%d"))
        day += timedelta(days=step)


def _by_months(start: float, end: float, zone: ZoneInfo, step: int) -> Iterator[Tick]:
    """Ticks at the beginning of months, quarters, years."""
    first = datetime.fromtimestamp(start, zone).date()
    month = (first.year * 12 + first.month - 1) // step * step
    while month // 12 <= 9999:
        day = date(month // 12, month % 12 + 1, 1)
        moment = _begin(day, zone).timestamp()
        if moment > end:
            return
        if moment >= start:
            yield Tick(moment, f"{day.year:04d}" if step >= 12 else f"{day.year:04d}-{day.month:02d}")
        month += step


def number_ticks(start: float, end: float, cells: int, *, whole: bool = False) -> list[Tick]:
    """Ticks on an x axis of plain numbers; ``whole`` ones only, where nothing lies between them."""
    if end - start <= 0:
        return [Tick(start, axis_labels([start], "")[0])]
    for step in _steps(end - start, "", 1.0):
        if whole and step != int(step):
            continue
        first = math.ceil(start / step - 1e-9)
        xs = [index * step for index in range(first, math.floor(end / step + 1e-9) + 1)]
        labels = axis_labels(xs, "")
        if xs and sum(len(label) + 3 for label in labels) <= cells and len(xs) <= 12:
            return [Tick(x, label) for x, label in zip(xs, labels, strict=True)]
    return [Tick(start, axis_labels([start], "")[0])]


def clock_changes(start: float, end: float, zone: ZoneInfo) -> list[str]:
    """The days between two moments on which the zone's clocks change, as ``2026-10-25``."""
    if end - start > _DAYS_WITH_CLOCK_NOTE * _DAY or _offset(start, zone) == _offset(end, zone):
        return []
    day = datetime.fromtimestamp(start, zone).date()
    last = datetime.fromtimestamp(end, zone).date()
    found: list[str] = []
    while day <= last:
        here = max(start, _begin(day, zone).timestamp())
        there = min(end, _begin(day + timedelta(days=1), zone).timestamp())
        if _offset(here, zone) != _offset(there, zone):
            found.append(day.isoformat())
        day += timedelta(days=1)
    return found


def _offset(moment: float, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(moment, zone).utcoffset()
