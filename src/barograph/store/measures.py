"""How a metric's measures are stored: the name in the rollups, the expression on a raw event.

The literal lists below say the same as ``migrations/0002_rollups.sql``; a property test holds both ways of
answering together.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from barograph.core.metric import Measure, Metric
from barograph_client.errors import InvalidQuery

Part = Literal["n", "total"]

QUERY_NUMBERS = (
    "response_time", "embedding_time", "retrieval_time", "rerank_time", "generation_time", "time_to_first_token",
    "input_tokens", "output_tokens", "cached_tokens", "cost", "accuracy_score", "document_count", "top_score",
)  # fmt: skip
SYSTEM_NUMBERS = (
    "cpu_percent", "memory_percent", "memory_used", "disk_percent", "disk_free", "process_cpu_percent",
    "process_memory", "gpu_percent", "gpu_memory_percent",
)  # fmt: skip
COUNT = ""  # the measure that counts events

_DOCUMENTS = (
    "arrayFilter(id -> id != '', arrayMap((id, source) -> if(id != '', id, source), documents.id, documents.source))"
)
_TEXTS = {"user_id": "[user_id]", "session_id": "[session_id]", "document_id": _DOCUMENTS}

# An event's value of a measure, Nullable(Float64), by kind and stored name.
EXPRESSIONS: dict[str, dict[str, str]] = {
    "query": {
        COUNT: "toNullable(toFloat64(1))",
        "error": "if(status = 'error', 1., NULL)",
        "no_answer": "if(status = 'no_answer', 1., NULL)",
        "empty_retrieval": "toFloat64(document_count = 0)",
        "user_id": "if(user_id = '', NULL, 1.)",
        "session_id": "if(session_id = '', NULL, 1.)",
        "document_id": f"if(empty({_DOCUMENTS}), NULL, 1.)",
        **{name: f"toFloat64({name})" for name in QUERY_NUMBERS},
    },
    "feedback": {
        COUNT: "toNullable(toFloat64(1))",
        "rating": "rating",
        "low_rating": "toFloat64(rating <= 2)",
    },
    "score": {COUNT: "toNullable(toFloat64(1))"},
    "metric": {COUNT: "toNullable(toFloat64(1))"},
    "system": {COUNT: "toNullable(toFloat64(1))", **{name: f"toFloat64({name})" for name in SYSTEM_NUMBERS}},
}
ATTRIBUTED = ("feedback", "score")  # kinds whose labels come from an attribution line
NAMED = ("score", "metric")  # kinds whose events carry their measure's name


class Measured(Struct, frozen=True):
    """One measure as it is stored: the kind of its events and its name, '' for the events themselves."""

    kind: str
    name: str

    def expression(self, *, attributed: bool) -> str:
        """The value on a raw row; ``attributed`` when the row is an attribution line."""
        if self.kind in NAMED and self.name != COUNT:
            return "toNullable(value)"
        text = EXPRESSIONS[self.kind][self.name]
        return text.replace("rating", "value") if attributed and self.name in ("rating", "low_rating") else text

    @property
    def named(self) -> bool:
        """Whether only events of this name count."""
        return self.kind in NAMED and self.name != COUNT

    @property
    def texts(self) -> str:
        """The array of texts on a raw row whose different values are counted, or ''."""
        return _TEXTS.get(self.name, "")


class Term(Measured, frozen=True):
    """A measure in a question, and whether its count or its sum is meant."""

    part: Part

    @property
    def measured(self) -> Measured:
        return Measured(self.kind, self.name)

    def number(self, value: str) -> str:
        """What a raw row adds to it, by the expression of the row's value of the measure."""
        return f"toFloat64(isNotNull({value}))" if self.part == "n" else f"toFloat64(ifNull({value}, 0))"


def term(measure: Measure) -> Term:
    """The stored measure behind a catalogue's. Raises InvalidQuery for one that is not stored."""
    if measure.kind not in EXPRESSIONS:
        raise InvalidQuery(f"events of kind {measure.kind} are not measured", hint="Ask for them as events.")
    if measure.name:
        return Term(measure.kind, measure.name, "total")
    if measure.where and measure.where[0] == "status":
        stored, part = measure.where[1], "n"
    else:
        stored, part = measure.field, "total" if measure.field and not measure.where else "n"
    if stored not in EXPRESSIONS[measure.kind]:
        raise InvalidQuery(f"{measure.kind}.{stored} is not a measured number", value=stored)
    return Term(measure.kind, stored, "n" if part == "n" else "total")


def terms(metric: Metric) -> tuple[Term, ...]:
    """The stored measures that a metric is computed from: one, or numerator and denominator of a ratio."""
    of = term(metric.of)
    return (of,) if metric.per is None else (of, term(metric.per))
