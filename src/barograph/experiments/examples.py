"""Examples of an experiment: the same question asked in several arms, with an answer of each, for people to read.

Asks a ``UnitReader`` for shared questions of the units that a comparison counts; says in a sentence how they were
chosen, or why there are none. They decide nothing.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from msgspec import Struct

from barograph.core.metric import Metric
from barograph.core.reader import UnitReader
from barograph.core.shared_questions import SharedQuery, SharedQuestion, SharedQuestions
from barograph.core.unit import counted
from barograph.experiments.analysis.arms import compared_keys
from barograph.experiments.design import Experiment
from barograph.experiments.questions import question_of

MOST_EXAMPLES = 10


class Examples(Struct, frozen=True, kw_only=True):
    """Up to ten questions that units of several arms asked, with one answer of each arm, the control's first.

    Texts are as they were recorded, cut off at a length. ``metric`` is the primary one, with its ``title`` and
    ``unit``: the answers' values are of it. ``sentence`` says how they were chosen, or why there are none.
    """

    experiment: str
    metric: str
    title: str
    unit: str
    questions: tuple[SharedQuestion, ...]
    sentence: str
    complete_to: datetime
    warnings: tuple[str, ...] = ()


def examples_of(reader: UnitReader, experiment: Experiment, metric: Metric, until: datetime) -> Examples:
    """The questions before ``until`` whose answers differ most in the metric, else the newest; none of rankers.

    Raises InvalidExperiment when it never started, else as the reader.
    """
    of = question_of(experiment, metric.name, until, by="")
    told = partial(Examples, experiment=experiment.key, metric=metric.name, title=metric.title, unit=metric.unit)
    if experiment.kind == "interleaving":
        sentence = f"Each answer is made of passages of all rankers, so that no {experiment.unit_kind} saw one alone."
        return told(questions=(), sentence=sentence, complete_to=reader.watermark())
    keys = compared_keys(experiment)
    arms = (experiment.control, *(key for key in keys if key != experiment.control))
    found = reader.shared_questions(SharedQuery(of=of, arms=arms, most=MOST_EXAMPLES))
    return told(
        questions=found.questions, sentence=_sentence(found, experiment, metric), complete_to=found.complete_to,
        warnings=found.notes,
    )  # fmt: skip


def _sentence(found: SharedQuestions, experiment: Experiment, metric: Metric) -> str:
    many, unit = len(found.questions), experiment.unit_kind
    if not found.queries:
        return f"No {unit} has asked anything since the exposure."
    if not found.texts:
        return f"No text is recorded of the {counted(found.queries, 'query', 'queries')} since the exposures."
    if not many:
        return f"None of {counted(found.texts, 'question')} was asked in more than one arm."
    if many == 1:
        return "One question was asked in more than one arm."
    asked = f"{many} questions that were asked in more than one arm"
    if not any(one.spread for one in found.questions):
        return f"{asked}, the newest first."
    first = f"{asked}, those first whose answers differ most ({metric.title})"
    return f"{first}: chosen for that, they show no usual difference." if many == MOST_EXAMPLES else f"{first}."
