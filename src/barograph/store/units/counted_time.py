"""The time of units that counts: all but the pauses of their experiment. As expressions, and as a share of a day.

Moments are microseconds since the beginning of 1970. Each pause is a comparison of its own, as the engine compiles
these; with arrays of bounds the same takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from barograph.core.event import EPOCH
from barograph.core.query import Window
from barograph.store.filters import Parameters

DAY = 86_400_000_000  # microseconds


class Pauses(Struct, frozen=True):
    """Pauses as placeholders: of each one the beginning of its first UTC day, its start and its end."""

    bounds: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, pauses: Sequence[Window], parameters: Parameters) -> Pauses:
        """With their moments as parameters."""
        bounds = []
        for one in pauses:
            start, end = micros(one.start), micros(one.end)
            first, start_, end_ = (parameters.add(moment, "Int64") for moment in (start // DAY * DAY, start, end))
            bounds.append((first, start_, end_))
        return cls(tuple(bounds))

    def hold(self, moment: str) -> str:
        """The condition that a moment is in one of them."""
        return " OR ".join(f"{moment} >= {start} AND {moment} < {end}" for _, start, end in self.bounds)

    def touch(self, midnight: str) -> str:
        """The condition that a part of the UTC day that begins then is in one of them."""
        return " OR ".join(f"{midnight} >= {first} AND {midnight} < {end}" for first, _, end in self.bounds)

    def without(self, low: str, high: str) -> str:
        """How long it is from one moment to a later one, without what is in one of them."""
        inside = (f" - greatest(0, least({high}, {end}) - greatest({low}, {start}))" for _, start, end in self.bounds)
        return f"{high} - {low}{''.join(inside)}"


def share_of_day(day: int, pauses: Sequence[Window]) -> float:
    """How much of a UTC day is in no pause. It is told by its number since the beginning of 1970."""
    low, high = day * DAY, (day + 1) * DAY
    inside = sum(max(0, min(high, micros(one.end)) - max(low, micros(one.start))) for one in pauses)
    return (DAY - inside) / DAY


def micros(moment: datetime) -> int:
    """Microseconds since the beginning of 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)
