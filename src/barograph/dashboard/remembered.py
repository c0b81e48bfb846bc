"""A Reader that asks each question once, and many of them together: the parts of a page share their answers.

Made for a single page and thrown away with it; it is not a cache between pages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar, cast

from barograph.core.query import EventPage, EventQuery, MetricAnswer, MetricQuery
from barograph.core.reader import StoreReader
from barograph.core.shared_questions import SharedQuery, SharedQuestions
from barograph.core.units import PopulationAnswer, PopulationQuery, UnitAnswer, UnitQuery, UnitValues
from barograph_client.errors import BarographError

A = TypeVar("A")
ROUNDS = 6  # times that a page is made in order to learn what it asks


class RememberedReader:
    """Answers from another Reader, and from memory when the same question comes again."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._answers: dict[Hashable, object] = {}
        self._wanted: dict[MetricQuery | EventQuery, None] | None = None  # while it is learned what is asked

    def with_foresight(self, build: Callable[[], A]) -> A:
        """What ``build`` returns, its metric questions asked together instead of one after the other.

        It runs several times: as long as it asks something new it is given blank answers, and what it made of them is
        thrown away. So it must do nothing but ask and make. Raises what it raises, and what its questions raise.
        """
        for _ in range(ROUNDS):
            self._wanted = {}
            try:
                made = build()
                if not self._wanted:
                    return made
            except Exception:  # blank answers may be more than it can bear; the real ones are still to come
                if not self._wanted:
                    raise
            finally:
                wanted, self._wanted = list(self._wanted), None
            if not self._answer(wanted):
                break
        return build()

    def _answer(self, wanted: Sequence[MetricQuery | EventQuery]) -> bool:
        """Ask all of it, metrics together and pages of events beside them. Whether the metrics could be."""
        metrics = [question for question in wanted if isinstance(question, MetricQuery)]
        with ThreadPoolExecutor(1, "barograph-page") as pool:
            pages = [pool.submit(self._remember, q) for q in wanted if isinstance(q, EventQuery)]
            try:
                self._answers.update(zip(metrics, self._reader.query_many(metrics) if metrics else (), strict=True))
            except BarographError:  # one of them; asked alone it is told where it belongs
                return False
            finally:
                for page in pages:
                    page.result()
        return True

    def _remember(self, question: EventQuery) -> None:
        with contextlib.suppress(BarographError):  # it is raised where it is asked
            self._once(question, lambda: self._reader.events(question))

    def query(self, question: MetricQuery) -> MetricAnswer:
        if self._wanted is not None and question not in self._answers:
            self._wanted[question] = None
            return MetricAnswer(metric=question.metric, unit="1", rows=(), complete_to=self.watermark())
        return self._once(question, lambda: self._reader.query(question))

    def events(self, question: EventQuery) -> EventPage:
        if self._wanted is not None and question not in self._answers:
            self._wanted[question] = None
            return EventPage(items=(), cursor="", complete_to=self.watermark())
        return self._once(question, lambda: self._reader.events(question))

    def units(self, question: UnitQuery) -> UnitAnswer:
        return self._once(question, lambda: self._reader.units(question))

    def unit_values(self, question: UnitQuery, most: int) -> tuple[UnitValues, ...]:
        return self._once(("values", question, most), lambda: self._reader.unit_values(question, most))

    def population(self, question: PopulationQuery) -> PopulationAnswer:
        return self._once(question, lambda: self._reader.population(question))

    def shared_questions(self, question: SharedQuery) -> SharedQuestions:
        return self._once(question, lambda: self._reader.shared_questions(question))

    def watermark(self) -> datetime:
        return self._once("watermark", self._reader.watermark)

    def _once(self, question: Hashable, ask: Callable[[], A]) -> A:
        if question not in self._answers:
            try:
                self._answers[question] = ask()
            except BarographError as error:  # it would cost as much again to hear it once more
                self._answers[question] = error
        answer = self._answers[question]
        if isinstance(answer, BarographError):
            raise answer
        return cast(A, answer)
