"""The recording methods: what programs call, whether their events go over the wire or into a journal beside them.

``Client`` and the collector of a program that owns a data directory inherit them and say what becomes of an event.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import ParamSpec, TypeVar

from barograph_client.clock import Clock
from barograph_client.timing import TimedQuery, timed

P = ParamSpec("P")
R = TypeVar("R")


class Recording(ABC):
    """Each method returns the event's id. ``record_event`` says what becomes of it, and what may be raised."""

    _clock: Clock

    @abstractmethod
    def record_event(self, kind: str, fields: Mapping[str, object]) -> str:
        """Record an event of any kind that callers may send."""

    def record_query_execution(self, fields: Mapping[str, object]) -> str:
        """Record one execution of the RAG system; docs/events.md has the fields and their aliases."""
        return self.record_event("query", fields)

    def record_feedback(self, fields: Mapping[str, object]) -> str:
        """Record what a user said of an answer."""
        return self.record_event("feedback", fields)

    def record_score(self, fields: Mapping[str, object]) -> str:
        """Record a named judgement: ``name`` and ``value``."""
        return self.record_event("score", fields)

    def record_system(self, fields: Mapping[str, object]) -> str:
        """Record the state of a machine."""
        return self.record_event("system", fields)

    def record_exposure(self, fields: Mapping[str, object]) -> str:
        """Record that an experiment's arm took effect for a unit."""
        return self.record_event("exposure", fields)

    def record(self, name: str, value: float, tags: Mapping[str, object] | None = None, **more: object) -> str:
        """Record any named number. ``more`` are fields of a metric event, such as unit, pipeline or time."""
        fields: dict[str, object] = {"name": name, "value": value, **more}
        if tags is not None:
            fields["tags"] = tags
        return self.record_event("metric", fields)

    def annotate(
        self,
        title: str,
        category: str = "other",
        text: str = "",
        link: str = "",
        time: datetime | str | float | None = None,
        environment: str = "",
    ) -> str:
        """Record something people did: a deploy, a new prompt, an index rebuild. Shown on charts."""
        fields: dict[str, object] = {
            "title": title, "category": category, "text": text, "link": link, "environment": environment,
        }  # fmt: skip
        if time is not None:
            fields["time"] = time
        return self.record_event("annotation", fields)

    def query(self, **fields: object) -> TimedQuery:
        """A context manager that times one query and its stages, and records it when its block ends."""
        return TimedQuery(self.record_query_execution, self._clock, fields)

    def timed(self, **fields: object) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator that records each call of a RAG function as a query."""
        return timed(self.record_query_execution, self._clock, **fields)
