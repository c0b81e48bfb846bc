"""Event dictionaries for tests of what asks a Reader: spread over a window, with values as told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

Record = dict[str, object]
Value = object | Callable[[int], object]


def spread(kind: str, count: int, start: datetime, hours: float, **fields: Value) -> list[Record]:
    """``count`` events at equal distances from ``start`` on; a callable field is given the event's number."""
    step = timedelta(hours=hours) / count
    return [
        {
            "kind": kind,
            "time": start + step * i,
            "event_id": f"{kind}-{start.isoformat()}-{i}",
            **{name: value(i) if callable(value) else value for name, value in fields.items()},
        }
        for i in range(count)
    ]
