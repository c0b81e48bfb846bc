"""The same question, answered in each arm: how the answers of an experiment read beside each other.

Reads ``Examples``; hands parts to ``page``. Their texts are hostile: whoever draws the parts makes them harmless.
"""

from __future__ import annotations

from collections.abc import Sequence

from barograph.core.shared_questions import ArmAnswer, SharedQuestion, cut_off
from barograph.dashboard.page.experiments.summary import mind
from barograph.experiments.examples import Examples
from barograph.visualize.chart import Cell, Column, Panel, Part, Table, Text
from barograph_client.errors import shorten

LONGEST_SHOWN = 360  # characters of an answer, the ellipsis of one that is cut off among them
LONGEST_ARM = 24
LONGEST_STATUS = 40
_SHORT = {"rating": "Rating", "score": "Score"}  # what a value is, in less room than the metric's title


def example_parts(found: Examples) -> list[Part]:
    """Each question with what is known of its answers as numbers, and the answers under it."""
    lead = Text(text=found.sentence, tone="muted")
    if not found.questions:
        return [Panel(title=_title(2), parts=[lead, *mind(found.warnings)])]
    recorded = any(answer.answer.strip() for one in found.questions for answer in one.answers)
    notes = ["`barograph trace ID` shows a query in full.", *([] if recorded else ["No answer's text is recorded."])]
    parts: list[Part] = [lead, Text(text=" ".join(notes), tone="muted"), *mind(found.warnings)]
    for one in found.questions:
        answers = [_answer(answer) for answer in one.answers if recorded or answer.status != "ok"]
        parts.append(Panel(title="", parts=[Text(text=one.question, tone="title"), _numbers(found, one), *answers]))
    return [Panel(title=_title(max(len(one.answers) for one in found.questions)), parts=parts)]


def _title(arms: int) -> str:
    return f"Same question, {'both answers' if arms == 2 else 'an answer of each arm'}"


def _numbers(found: Examples, one: SharedQuestion) -> Table:
    """A row an arm, with the query's id, whole so that it can be copied; what is known of no answer is left out."""
    answers = one.answers
    values, seconds = [answer.value for answer in answers], [answer.response_time for answer in answers]
    goal = Column(title=_SHORT.get(found.unit, found.title), unit=found.unit, most=20)
    told: list[tuple[Column, Sequence[Cell]]] = [
        (Column(title="Arm", most=20), [answer.arm for answer in answers]),
        *([] if values == seconds else [(goal, values)]),  # the goal may be the response time
        (Column(title="Response", unit="s"), seconds),
        (Column(title="ID", most=64, whole=True), [answer.trace_id or answer.event_id for answer in answers]),
        (Column(title="Time"), [answer.time for answer in answers]),
    ]  # fmt: skip
    told = [(column, cells) for column, cells in told if any(cell is not None for cell in cells)]
    rows = list(zip(*(cells for _, cells in told), strict=True))
    return Table(title="", columns=[column for column, _ in told], rows=rows)


def _answer(answer: ArmAnswer) -> Text:
    """What the arm said, and how it ended where that is not well."""
    arm = shorten(answer.arm, LONGEST_ARM)
    if answer.status != "ok":
        ended = ": ".join(filter(None, (answer.status.replace("_", " "), answer.error_type)))
        arm += f" ({shorten(ended, LONGEST_STATUS)})"
    said = cut_off(answer.answer.strip(), LONGEST_SHOWN)
    return Text(text=f"{arm}: {said or 'no text recorded'}")
