"""Answers up to planned looks that have passed: asked once and kept, as they change no more.

A comparison at the third look needs those up to the first and the second too. They are kept in memory for an hour: what
comes late after all, or is erased, is heeded then.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from barograph.core.reader import UnitReader
from barograph.core.units import UnitAnswer, UnitQuery

MOST_KEPT = 200  # answers; one has a few hundred bytes for each arm and day
KEPT = timedelta(hours=1)


class PastLooks:
    """Asks a reader what it has not been asked within the hour. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[UnitQuery, tuple[datetime, UnitAnswer]] = {}

    def ask(self, reader: UnitReader, question: UnitQuery, now: datetime) -> UnitAnswer:
        """The answer, from memory or from the reader. Raises as the reader does."""
        with self._lock:
            kept = self._answers.get(question)
        if kept is not None and abs(now - kept[0]) < KEPT:
            return kept[1]
        answer = reader.units(question)
        with self._lock:
            self._answers.pop(question, None)
            self._answers[question] = now, answer
            while len(self._answers) > MOST_KEPT:
                del self._answers[next(iter(self._answers))]
        return answer
