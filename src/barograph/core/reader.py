"""The ``Reader`` that answers questions: the seam between the store and everything above it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from barograph.core.query import EventPage, EventQuery, MetricAnswer, MetricQuery
from barograph.core.shared_questions import SharedQuery, SharedQuestions
from barograph.core.units import PopulationAnswer, PopulationQuery, UnitAnswer, UnitQuery, UnitValues


class Reader(Protocol):
    """What floor 3 and above ask. ``store`` answers from the engine; tests may answer from a dictionary."""

    def query(self, question: MetricQuery) -> MetricAnswer:
        """Answer a metric question. Raises InvalidQuery, UnknownMetric or EngineError."""
        ...

    def events(self, question: EventQuery) -> EventPage:
        """A page of events. Raises InvalidQuery or EngineError."""
        ...

    def watermark(self) -> datetime:
        """Every event journaled with ``received_at`` up to here can be queried."""
        ...


class ManyReader(Reader, Protocol):
    """A Reader that can answer several metric questions at once for less than one after the other."""

    def query_many(self, questions: Sequence[MetricQuery]) -> list[MetricAnswer]:
        """The answers, in the order of the questions. Raises as ``query`` does, for any of them."""
        ...


class UnitReader(Reader, Protocol):
    """A Reader that also knows units: what experiments ask."""

    def units(self, question: UnitQuery) -> UnitAnswer:
        """Per-unit moments by arm. Raises InvalidQuery, UnknownMetric or EngineError."""
        ...

    def unit_values(self, question: UnitQuery, most: int) -> tuple[UnitValues, ...]:
        """The units one by one, by arm; of more than ``most`` a sample of about so many, the same share of every arm.

        They are as they were summed: not split, not cut off. Raises as ``units`` does.
        """
        ...

    def population(self, question: PopulationQuery) -> PopulationAnswer:
        """All units that were active in a window, exposed or not. Raises as ``units`` does."""
        ...

    def shared_questions(self, question: SharedQuery) -> SharedQuestions:
        """Questions that units of several arms asked, with an answer of each. Raises as ``units`` does."""
        ...


class StoreReader(ManyReader, UnitReader, Protocol):
    """All that the store answers: what a page may ask."""
