"""A Reader that asks each question once: the parts of a page share their answers, all as of one moment.

Made for a single page and thrown away with it; it is not a cache between pages.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import TypeVar, cast

from barograph.core.query import EventPage, EventQuery, MetricAnswer, MetricQuery, Reader, UnitAnswer, UnitQuery

A = TypeVar("A")


class RememberedReader:
    """Answers from another Reader, and from memory when the same question comes again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._answers: dict[Hashable, object] = {}

    def query(self, question: MetricQuery) -> MetricAnswer:
        return self._once(question, lambda: self._reader.query(question))

    def events(self, question: EventQuery) -> EventPage:
        return self._once(question, lambda: self._reader.events(question))

    def units(self, question: UnitQuery) -> UnitAnswer:
        return self._once(question, lambda: self._reader.units(question))

    def watermark(self) -> datetime:
        return self._once("watermark", self._reader.watermark)

    def _once(self, question: Hashable, ask: Callable[[], A]) -> A:
        if question not in self._answers:
            self._answers[question] = ask()
        return cast(A, self._answers[question])
