"""Questions that units of several arms of an experiment asked, with an answer of each arm: what a reader tells of them.

Asked by ``experiments`` through a ``UnitReader``, answered by ``store``. Every text is as it was recorded, as far as
``cut_off`` leaves it: whoever shows it makes it safe.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from barograph.core.units import UnitQuery

MOST_QUERIES = 1_000_000  # of the window, the newest, among which questions are looked for
LONGEST_QUESTION = 300  # characters that are told of a question, the ellipsis of one that is cut off among them
LONGEST_ANSWER = 600
BLANKS = " \t\n\r\v\f"  # around a question, they do not make it another one


class SharedQuery(Struct, frozen=True, kw_only=True):
    """Which shared questions are asked for: by units that ``of`` counts, in two of the ``arms`` at least.

    ``of`` is split by nothing; its metric says by what answers differ. ``most`` questions are told.
    """

    of: UnitQuery
    arms: tuple[str, ...]
    most: int = 10


class ArmAnswer(Struct, frozen=True, kw_only=True):
    """A query that a unit of the arm made after its exposure.

    ``value`` is what the query alone has of the metric: its own number, or that of the ratings and scores that name its
    trace. It is None where there is none, and for a metric that counts.
    """

    arm: str
    time: datetime
    event_id: str
    trace_id: str
    answer: str
    status: str
    error_type: str
    response_time: float | None
    value: float | None


class SharedQuestion(Struct, frozen=True, kw_only=True):
    """A question, and for each arm that was asked it the newest query that has a value, else the newest.

    Two questions are the same where they differ by blanks around them and by upper and lower case alone.
    """

    question: str
    answers: tuple[ArmAnswer, ...]

    @property
    def spread(self) -> float | None:
        """How far the arms' values lie apart; None where fewer than two have one."""
        values = [one.value for one in self.answers if one.value is not None]
        return max(values) - min(values) if len(values) > 1 else None


class SharedQuestions(Struct, frozen=True, kw_only=True):
    """The questions of largest ``spread`` first, none known as none at all, and newer ones before older ones.

    ``queries`` counts what the units of these arms asked since their exposure, ``texts`` those of them whose question
    is recorded: of the newest ``MOST_QUERIES`` of the window, with ratings and scores since the oldest of these.
    Answers are in the order of the arms.
    """

    questions: tuple[SharedQuestion, ...]
    queries: int
    texts: int
    complete_to: datetime
    notes: tuple[str, ...] = ()


def cut_off(text: str, most: int) -> str:
    """The text in so many characters; one that is longer ends with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
