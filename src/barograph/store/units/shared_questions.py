"""Questions that units of several arms asked: chosen by one statement over numbers alone, then read by their places.

Texts are compared by a hash, so that what is kept of a query while it is looked for are its place and its value. The
second statement reads the few rows that are told.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import Any

from msgspec import Struct

from barograph.core.metric import Catalogue, Metric
from barograph.core.shared_questions import (
    BLANKS,
    LONGEST_ANSWER,
    LONGEST_QUESTION,
    MOST_QUERIES,
    ArmAnswer,
    SharedQuery,
    SharedQuestion,
    SharedQuestions,
    cut_off,
)
from barograph.core.units import UnitQuery
from barograph.store.engine import Engine
from barograph.store.filters import Parameters, from_micros, within
from barograph.store.measures import Term
from barograph.store.units.sums import ARM_BITS, check_arms, sums, two_terms, unit_of
from barograph_client.errors import InvalidQuery

MOST_QUESTIONS = 100
_JUDGING = ("feedback", "score")  # kinds of events that name the query's trace
_ROW = "cityHash64(event_id)"


def shared_questions(
    engine: Engine, catalogue: Catalogue, question: SharedQuery, complete_to: datetime, retired: Collection[date] = ()
) -> SharedQuestions:
    """Questions of several arms. ``retired`` are days of arrival whose raw queries are gone.

    Raises InvalidQuery, UnknownMetric or EngineError.
    """
    if question.of.by or not 1 <= question.most <= MOST_QUESTIONS:
        raise InvalidQuery(f"1 to {MOST_QUESTIONS} questions are told, and split by nothing", value=question.most)
    parameters = Parameters()
    choice = _choice(catalogue.get(question.of.metric), question, parameters)
    with engine.steady():
        (found,) = engine.select(choice, parameters.values)
        check_arms(len(found["names"]))
        picks = [[_Pick(*pick) for pick in one[3]] for one in found["chosen"]]
        told = _told(engine, question.of, [pick for one in picks for pick in one]) if picks else {}
    names, questions = found["names"], []
    for one in picks:
        one.sort(key=lambda pick: question.arms.index(names[pick.code - 1]))
        answers = tuple(_answer(names[pick.code - 1], pick, told[pick.place]) for pick in one)
        asked = cut_off(told[one[0].place]["question"], LONGEST_QUESTION)
        questions.append(SharedQuestion(question=asked, answers=answers))
    return SharedQuestions(
        questions=tuple(questions), queries=found["queries"], texts=found["texts"], complete_to=complete_to,
        notes=_notes(question.of, retired),
    )  # fmt: skip


def _notes(of: UnitQuery, retired: Collection[date]) -> tuple[str, ...]:
    last = max(retired, default=date.min)
    if of.window.start.date() > last:
        return ()
    return (f"queries that arrived up to {last} were retired; their questions are not told.",)


class _Pick(Struct, frozen=True):
    """The query of an arm that is told: its arm's number, where its row is, and its value."""

    code: int
    moment: int
    day: str
    row: int
    value: float | None

    @property
    def place(self) -> tuple[int, int]:
        return self.moment, self.row


def _choice(metric: Metric, question: SharedQuery, parameters: Parameters) -> str:
    """One row: how many queries there are, and the places of those that are told."""
    pair = two_terms(metric, question.of.unit_kind)
    of, where = sums(pair, question.of, parameters), _newest(question.of, parameters)
    queries = _queries(pair, question.of.unit_kind, where, parameters)
    asked = (
        f"SELECT r.*, toUInt16(bitAnd(e.place, {2**ARM_BITS - 1})) AS code, {of.at} "
        f"FROM ({queries}) AS r INNER JOIN exposed AS e ON r.unit = e.unit "
        f"WHERE code != 0 AND has(wanted, code) AND {of.counts}"
    )
    kinds = dict.fromkeys(term.kind for term in pair)
    if judging := [kind for kind in kinds if kind in _JUDGING]:
        judged = _judged(pair, judging, where, parameters)
        asked = (
            "SELECT a.* REPLACE (a.x0 + j.x0 AS x0, a.x1 + j.x1 AS x1) "
            f"FROM ({asked}) AS a LEFT JOIN ({judged}) AS j ON a.trace = j.trace"
        )
    measured = metric.aggregation != "count" and all(kind in ("query", *_JUDGING) for kind in kinds)
    value = "if(x1 = 0, NULL, x0 / x1)" if measured else "CAST(NULL, 'Nullable(Float64)')"
    arms = (
        "SELECT key, code, count() AS asked, "
        "argMax((code, moment, day, row, value), (isNotNull(value), moment, row)) AS pick "
        f"FROM (SELECT key, code, moment, day, row, {value} AS value FROM ({asked})) GROUP BY key, code"
    )
    by_question = (
        "SELECT key, sum(asked) AS asked, count() AS many, groupArray(pick) AS picks, "
        "if(count(pick.5) > 1, max(pick.5) - min(pick.5), 0) AS spread, max(pick.2) AS newest "
        f"FROM ({arms}) GROUP BY key"
    )
    wanted = f"arrayMap(name -> indexOf(arms, name), {parameters.add(list(question.arms), 'Array(String)')})"
    return (
        f"WITH {of.exposed}, {wanted} AS wanted SELECT any(arms) AS names, sum(asked) AS queries, "
        f"sumIf(asked, key != 0) AS texts, groupArraySortedIf({question.most:d})((-spread, -newest, key, picks), "
        f"key != 0 AND many > 1) AS chosen FROM ({by_question})"
    )


def _newest(of: UnitQuery, parameters: Parameters) -> str:
    """The condition on events since the oldest of the window's newest queries."""
    where = f"project = {parameters.add(of.project, 'String')} AND {within('time', [of.window], parameters)}"
    newest = f"SELECT time FROM query WHERE {where} ORDER BY time DESC LIMIT {MOST_QUERIES:d}"
    return f"{where} AND time >= (SELECT min(time) FROM ({newest}))"


def _queries(pair: tuple[Term, Term], unit_kind: str, where: str, parameters: Parameters) -> str:
    """Queries: whose, when, where they lie, the hash of the question (0 without one), what they add to the terms.

    They have no ``start``: all of them are told one by one, as those on the day of an exposure are.
    """
    unit = unit_of(unit_kind, parameters)
    return (
        f"SELECT sipHash64({unit}) AS unit, toUnixTimestamp64Micro(time) AS moment, toInt64(0) AS start, "
        f"false AS whole, {_words(parameters)} AS words, if(words = '', 0, cityHash64(lowerUTF8(words))) AS key, "
        f"cityHash64(trace_id) AS trace, arrived AS day, {_ROW} AS row, {_numbers(pair, 'query', parameters)} "
        f"FROM query WHERE {where} AND {unit} != ''"
    )


def _judged(pair: tuple[Term, Term], kinds: list[str], where: str, parameters: Parameters) -> str:
    """What ratings and scores add to the queries of a trace."""
    rows = [
        f"SELECT cityHash64(trace_id) AS trace, {_numbers(pair, kind, parameters)} FROM {kind} "
        f"WHERE {where} AND trace_id != ''"
        for kind in kinds
    ]
    return f"SELECT trace, sum(x0) AS x0, sum(x1) AS x1 FROM ({' UNION ALL '.join(rows)}) GROUP BY trace"


def _numbers(pair: tuple[Term, Term], kind: str, parameters: Parameters) -> str:
    """What a row of that kind adds to each term."""
    numbers = []
    for term in pair:
        value = term.expression(attributed=False)
        if term.named:
            value = f"if(name = {parameters.add(term.name, 'String')}, {value}, NULL)"
        numbers.append(term.number(value) if term.kind == kind else "toFloat64(0)")
    return f"{numbers[0]} AS x0, {numbers[1]} AS x1"


def _words(parameters: Parameters) -> str:
    return f"trim(BOTH {parameters.add(BLANKS, 'String')} FROM query)"


def _told(engine: Engine, of: UnitQuery, picks: list[_Pick]) -> dict[tuple[int, int], dict[str, Any]]:
    """The rows of what was chosen, by their places; of a text one character more than is told, if it has more."""
    parameters = Parameters()
    days = parameters.add(sorted({pick.day for pick in picks}), "Array(Date)")
    moments = parameters.add(sorted({pick.moment for pick in picks}), "Array(Int64)")
    ids = parameters.add(sorted({pick.row for pick in picks}), "Array(UInt64)")
    rows = engine.select(
        f"SELECT toUnixTimestamp64Micro(time) AS moment, {_ROW} AS row, event_id, trace_id, status, error_type, "
        f"response_time, substringUTF8({_words(parameters)}, 1, {LONGEST_QUESTION + 1:d}) AS question, "
        f"substringUTF8(answer, 1, {LONGEST_ANSWER + 1:d}) AS said FROM query "
        f"WHERE project = {parameters.add(of.project, 'String')} AND has({days}, arrived) AND has({ids}, row) "
        f"AND time IN (SELECT fromUnixTimestamp64Micro(arrayJoin({moments}), 'UTC')) LIMIT 1 BY moment, row",
        parameters.values,
    )
    return {(row["moment"], row["row"]): row for row in rows}


def _answer(arm: str, pick: _Pick, row: dict[str, Any]) -> ArmAnswer:
    value, seconds = pick.value, row["response_time"]
    return ArmAnswer(
        arm=arm, time=from_micros(pick.moment), answer=cut_off(row["said"], LONGEST_ANSWER),
        value=None if value is None else float(value), response_time=None if seconds is None else float(seconds),
        **{name: row[name] for name in ("event_id", "trace_id", "status", "error_type")},
    )  # fmt: skip
