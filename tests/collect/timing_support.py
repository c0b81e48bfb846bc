"""What the tests of timing share: a clock that stands still, and what was recorded by it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from barograph.collect.validate import Validator
from barograph.core.event import Query
from barograph_client.clock import ManualClock
from barograph_client.identifiers import IdentifierSource
from barograph_client.timing import TimedQuery

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


class Bench:
    """A clock that stands still, and what was recorded; each event must be one that the collector takes."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.events: list[dict[str, object]] = []
        self._validator = Validator(self.clock, IdentifierSource(self.clock))

    def record(self, fields: Mapping[str, object]) -> str:
        event = self._validator.event("query", fields)
        assert isinstance(event, Query)
        self.events.append(dict(fields))
        return event.event_id

    def query(self, **fields: object) -> TimedQuery:
        return TimedQuery(self.record, self.clock, fields)

    @property
    def event(self) -> dict[str, object]:
        assert len(self.events) == 1
        return self.events[0]

    def times(self) -> dict[str, object]:
        return {name: value for name, value in self.event.items() if "time" in name and name != "time"}
