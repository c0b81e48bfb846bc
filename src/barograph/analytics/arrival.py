"""When a metric that rises or falls reaches a limit, if it goes on like that: for a disk that fills up.

Takes the buckets of a series; says nothing where the trend may be chance, or the limit too far off for it to tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from barograph.core.query import MetricRow
from barograph.core.unit import format_value
from barograph.stats.trend import Arrival, time_to_threshold, trend

SURE = 0.01  # the p-value up to which a trend is one
FURTHEST = 7.0  # lengths of the series that are looked ahead
_DAY, _HOUR = 86400.0, 3600.0


def arrival(rows: Sequence[MetricRow], limit: float, now: datetime, *, rising: bool = True) -> Arrival | None:
    """Seconds from ``now`` until the buckets' trend reaches the limit, with an interval of 95 %; None: not foreseen."""
    known = [row for row in rows if row.value is not None and row.n]
    if not known:
        return None
    found = trend([row.end.timestamp() for row in known], [row.value for row in known])
    until = time_to_threshold(found, limit, now.timestamp(), rising=rising)
    length = (known[-1].end - known[0].start).total_seconds()
    return until if found.p_value <= SURE and until.expected <= FURTHEST * length else None


def arrival_text(until: Arrival) -> str:
    """``in 5 d (4 d to 6.5 d)``, in hours below two days; ``now`` when it is there."""
    if until.expected <= 0:
        return "now"
    unit, name = (_DAY, "d") if until.expected >= 2 * _DAY else (_HOUR, "h")

    def told(seconds: float) -> str:
        return f"{format_value(round(seconds / unit, 1))} {name}"

    latest = f"to {told(until.latest)}" if math.isfinite(until.latest) else "at the earliest"
    return f"in {told(until.expected)} ({told(until.earliest)} {latest})"
