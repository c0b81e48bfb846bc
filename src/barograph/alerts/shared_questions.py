"""What the watches of all projects ask at a tick, answered together.

Every watch asks at the same times, so while one is answered the others wait, and those that wait are answered by the
next statements together, at the latest after a second: also on a busy machine there are few statements. Used by
``evaluator``, which asks each rule's own questions where this fails.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from barograph.core.query import MetricAnswer, MetricQuery
from barograph.core.reader import ManyReader

PATIENCE_SECONDS = 1.0  # after which those who wait are answered beside what was asked before
AT_ONCE = 1000  # questions

_Asked = tuple[Sequence[MetricQuery], "Future[list[MetricAnswer]]"]


class SharedQuestions:
    """Asks a Reader for many at once. Safe to share between threads."""

    def __init__(self, reader: ManyReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._turn = threading.Lock()  # of the one who asks for all that wait

    def ask(self, questions: Sequence[MetricQuery]) -> list[MetricAnswer]:
        """The answers, in the order of the questions. Raises what the Reader raises, for any that was asked with them.

        What was asked before holds it up for a second at most.
        """
        mine: _Asked = (questions, Future())
        with self._lock:
            self._waiting.append(mine)
        in_turn = self._turn.acquire(timeout=PATIENCE_SECONDS)
        try:
            self._answer(self._take(mine))
        finally:
            if in_turn:
                self._turn.release()
        return mine[1].result()

    def _take(self, mine: _Asked) -> list[_Asked]:
        """Mine and what else waits, as much as may be asked at once; nothing where another has taken it."""
        taken, count = [mine], len(mine[0])
        with self._lock:
            if mine not in self._waiting:
                return []
            self._waiting.remove(mine)
            while self._waiting and count + len(self._waiting[0][0]) <= AT_ONCE:
                taken.append(self._waiting.pop(0))
                count += len(taken[-1][0])
        return taken

    def _answer(self, taken: Sequence[_Asked]) -> None:
        if not taken:
            return
        try:
            answers = iter(self._reader.query_many([question for questions, _ in taken for question in questions]))
            for questions, answered in taken:
                answered.set_result([next(answers) for _ in questions])
        except BaseException as error:
            for _, answered in taken:
                if not answered.done():
                    answered.set_exception(error)
