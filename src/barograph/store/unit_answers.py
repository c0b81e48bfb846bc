"""Per-unit sums by arm, for experiments: one statement over the units' rollup and the raw rows of partial days.

A unit belongs to the arm of its first exposure; one that saw two arms belongs to none and is counted. Its sums
hold what it did from its first exposure to the end of the window: whole days from ``unit_1d``, the day of the
exposure and the day in which the window ends from raw rows. The engine returns centred moments over units.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from barograph.core.metric import Catalogue, Metric
from barograph.core.units import UnitAnswer, UnitMoments, UnitQuery
from barograph.store.engine import Engine
from barograph.store.filters import Parameters, from_micros
from barograph.store.measures import ATTRIBUTED, Term, terms
from barograph_client.errors import InvalidQuery

UNIT_COLUMNS = {"user": "user_id", "session": "session_id"}
_OFFERED = ("count", "sum", "mean", "ratio")


def unit_answer(engine: Engine, catalogue: Catalogue, question: UnitQuery, complete_to: datetime) -> UnitAnswer:
    """Moments by arm. Raises InvalidQuery for a metric that has no per-unit sums or an unknown unit kind."""
    metric = catalogue.get(question.metric)
    if metric.aggregation not in _OFFERED:
        raise InvalidQuery(
            f"{metric.name} is a {metric.aggregation}; experiments compare counts, sums, means and ratios",
            hint="Use the mean of the same measure.",
            value=metric.name,
        )
    if question.unit_kind not in UNIT_COLUMNS:
        raise InvalidQuery("units are users or sessions", value=question.unit_kind)
    with engine.steady():
        rows = engine.select(*_statement(metric, question))
    arms = tuple(
        UnitMoments(
            arm=row["arm"],
            units=row["units"],
            numerator_mean=row["numerator_mean"],
            denominator_mean=row["denominator_mean"],
            numerator_m2=max(0.0, row["numerator_m2"]),
            denominator_m2=max(0.0, row["denominator_m2"]),
            cross_m2=row["cross_m2"],
            measured_units=row["measured_units"],
        )
        for row in rows
        if row["clean"]
    )
    firsts = [row["first_micros"] for row in rows]
    lasts = [row["last_micros"] for row in rows]
    return UnitAnswer(
        arms=arms,
        contaminated=sum(row["units"] for row in rows if not row["clean"]),
        first_exposure=from_micros(min(firsts)) if firsts else None,
        last_exposure=from_micros(max(lasts)) if lasts else None,
        complete_to=complete_to,
    )


def _statement(metric: Metric, question: UnitQuery) -> tuple[str, dict[str, Any]]:
    parameters = Parameters()
    of, per = _two_terms(metric)
    project = parameters.add(question.project, "String")
    kind = parameters.add(question.unit_kind, "String")
    experiment = parameters.add(question.experiment, "String")
    start, end = (parameters.moment(moment) for moment in (question.window.start, question.window.end))
    exposed = (
        "SELECT unit_id, min(first) AS at, min(least_arm) AS arm, max(most_arm) AS other FROM first_exposure "
        f"WHERE project = {project} AND experiment = {experiment} AND unit_kind = {kind} "
        f"GROUP BY unit_id HAVING at >= {start} AND at < {end}"
    )
    parts = [_whole_days(index, term, project, kind, end, parameters) for index, term in enumerate((of, per))]
    parts += [_partial_days(index, term, question, project, end, parameters) for index, term in enumerate((of, per))]
    sql = f"""
WITH exposed AS ({exposed})
SELECT
    if(arm = other, arm, '') AS arm, arm = other AS clean, count() AS units,
    countIf(denominator != 0) AS measured_units,
    avg(numerator) AS numerator_mean, avg(denominator) AS denominator_mean,
    varPopStable(numerator) * count() AS numerator_m2, varPopStable(denominator) * count() AS denominator_m2,
    covarPopStable(numerator, denominator) * count() AS cross_m2,
    min(toUnixTimestamp64Micro(at)) AS first_micros, max(toUnixTimestamp64Micro(at)) AS last_micros
FROM (
    SELECT e.arm AS arm, e.other AS other, e.at AS at, s.numerator AS numerator, s.denominator AS denominator
    FROM exposed AS e
    LEFT JOIN (
        SELECT unit_id, sumIf(x, term = 0) AS numerator, sumIf(x, term = 1) AS denominator
        FROM ({" UNION ALL ".join(parts)}) GROUP BY unit_id
    ) AS s ON s.unit_id = e.unit_id
)
GROUP BY arm, clean ORDER BY arm
"""
    return sql, parameters.values


def _whole_days(index: int, term: Term, project: str, kind: str, end: str, parameters: Parameters) -> str:
    name = parameters.add(term.name, "String")
    return (
        f"SELECT {index} AS term, u.unit_id AS unit_id, sum(toFloat64(u.{term.part}[{name}])) AS x FROM unit_1d AS u "
        f"INNER JOIN exposed AS e ON e.unit_id = u.unit_id WHERE u.project = {project} AND u.unit_kind = {kind} "
        f"AND u.experiment = '' AND u.kind = {parameters.add(term.kind, 'String')} "
        f"AND u.day > toDate(e.at) AND u.day < toDate({end}) GROUP BY unit_id"
    )


def _partial_days(index: int, term: Term, question: UnitQuery, project: str, end: str, parameters: Parameters) -> str:
    attributed = term.kind in ATTRIBUTED
    table = "attribution" if attributed else term.kind
    unit = UNIT_COLUMNS[question.unit_kind]
    value = term.expression(attributed=attributed)
    counted = "1." if term.part == "n" else f"assumeNotNull({value})"
    where = [
        f"r.project = {project}",
        "r.time >= e.at",
        f"r.time < {end}",
        f"r.{unit} != ''",
        f"(toDate(r.time) = toDate(e.at) OR toDate(r.time) = toDate({end}))",
        f"isNotNull({value})",
        *([f"subject = {parameters.add(term.kind, 'String')}"] if attributed else []),
        *([f"name = {parameters.add(term.name, 'String')}"] if term.named else []),
    ]
    return (
        f"SELECT {index} AS term, r.{unit} AS unit_id, sum({counted}) AS x FROM {table} AS r "
        f"INNER JOIN exposed AS e ON e.unit_id = r.{unit} WHERE {' AND '.join(where)} GROUP BY unit_id"
    )


def _two_terms(metric: Metric) -> tuple[Term, Term]:
    """Numerator and denominator of a unit: a mean is its sum over how many it measured."""
    found = terms(metric)
    if len(found) == 2:
        return found[0], found[1]
    of = found[0]
    if metric.aggregation == "count":
        of = Term(of.kind, of.name, "n")
    return of, Term(of.kind, of.name, "n")
