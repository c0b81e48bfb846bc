"""Between which values a number lies, whatever happens: by this a limit that nothing, or everything, passes is found.

The bounds of an event's numbers are those of ``core.event``; a mean, a percentile and the last value lie within them.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from barograph.core.event_bounds import metric_range
from barograph.core.metric import Metric
from barograph_client.errors import InvalidRule


class Bounds(Struct, frozen=True):
    """``subject`` is never below ``least`` and never above ``greatest``; ``hint`` is how people write a limit of it."""

    subject: str
    least: float = -math.inf
    greatest: float = math.inf
    hint: str = ""

    def check(self, name: str, above: float | None, below: float | None, resolve: float | None) -> None:
        """Refuse limits that are of no use. Raises InvalidRule with the rule's name."""
        if above is not None:
            if above >= self.greatest:
                raise self.refusal(name, "can never fire", above, "above")
            if above < self.least:
                raise self.refusal(name, "would always fire", above, "below")
            if resolve is not None and resolve < self.least:
                raise self.refusal(name, "would never resolve", resolve, "below")
        if below is not None:
            if below <= self.least:
                raise self.refusal(name, "can never fire", below, "below")
            if below > self.greatest:
                raise self.refusal(name, "would always fire", below, "above")
            if resolve is not None and resolve > self.greatest:
                raise self.refusal(name, "would never resolve", resolve, "above")

    def refusal(self, name: str, what: str, limit: float, side: Literal["above", "below"]) -> InvalidRule:
        """The error for a limit at or beyond that end."""
        end = self.greatest if side == "above" else self.least
        return InvalidRule(
            f"rule {name}: it {what}, {self.subject} is never {side} {end:g}",
            hint=f"Choose a limit inside. {self.hint}".strip(),
            value=limit,
        )


ANYTHING = Bounds("it")


def bounds_of(metric: Metric) -> Bounds:
    """Those of a metric of the catalogue."""
    share = metric.aggregation == "ratio" and not metric.user_defined
    return Bounds(metric.name, *metric_range(metric), "A share is between 0 and 1: 5 % is 0.05." if share else "")


def bounds_of_quotient(subject: str, of: Metric, per: Metric) -> Bounds:
    """Those of one metric over another."""
    return Bounds(subject, 0) if bounds_of(of).least >= 0 and bounds_of(per).least >= 0 else Bounds(subject)


def bounds_of_change(subject: str, metric: Metric) -> Bounds:
    """Those of a metric's rise as a share of what it was; what was zero has none."""
    known = bounds_of(metric)
    if known.least < 0:
        return Bounds(subject)
    most = known.greatest / known.least - 1 if known.least else math.inf
    return Bounds(subject, known.least / known.greatest - 1, most, "A fall by 30 % is below = -0.3.")
