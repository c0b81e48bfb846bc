"""Answers about the units of an experiment: moments by arm, by group and period, and units one by one.

Each question is one statement over ``sums``; the sample of ``unit_values`` needs to know first how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from barograph.core.event import EPOCH
from barograph.core.metric import Catalogue
from barograph.core.units import EARLY_SECONDS, MOST_VALUES, REST, UnitAnswer, UnitMoments, UnitQuery, UnitValues
from barograph.store.engine import Engine, Rows
from barograph.store.filters import Parameters, from_micros
from barograph.store.units.counted_time import share_of_day
from barograph.store.units.moments import NOBODY, moments, too_large, with_silent
from barograph.store.units.statements import by_age, by_arm, unit_counts, values_by_arm
from barograph.store.units.sums import check_arms, sums, two_terms
from barograph_client.errors import InvalidQuery

NOTED_EARLY = 0.01  # the share of units from which it is said that they came early


def unit_answer(engine: Engine, catalogue: Catalogue, question: UnitQuery, complete_to: datetime) -> UnitAnswer:
    """Moments by arm, group and period. Raises InvalidQuery, UnknownMetric or EngineError."""
    _check(question)
    parameters = Parameters()
    of = sums(two_terms(catalogue.get(question.metric), question.unit_kind), question, parameters)
    statement = by_age(of, question) if question.by == "age" else by_arm(of, question, parameters)
    with engine.steady():
        rows = engine.select(statement, parameters.values)
    check_arms(rows[0]["all_arms"] if rows else 0)
    everyone = [row for row in rows if row["part"] == 0]
    clean = [row for row in rows if row["code"] != 0]
    arms = _ages(clean, question) if question.by == "age" else _arms(clean, question)
    arms.sort(key=lambda one: (one.arm, one.period, len(one.group) if question.by == "age" else 0, one.group))
    units = sum(row["units"] for row in everyone)
    return UnitAnswer(
        arms=tuple(arms),
        contaminated=units - sum(row["units"] for row in everyone if row["code"] != 0),
        first_exposure=from_micros(min(row["first_at"] for row in everyone)) if everyone else None,
        last_exposure=from_micros(max(row["last_at"] for row in everyone)) if everyone else None,
        complete_to=complete_to,
        cap=next((row["cap"] for row in rows), None) if question.cap is not None else None,
        notes=(*_tag_note(question, rows), *_early_note(sum(one.just_before for one in arms), units)),
    )


def _tag_note(question: UnitQuery, rows: Rows) -> list[str]:
    values = next((row["values"] for row in rows), 0) if question.by.startswith("tag.") else 0
    if values <= MOST_VALUES:
        return []
    return [
        f"{question.by} has {values:,} values: the {MOST_VALUES} with most units stand alone, "
        f"the others together as {REST}."
    ]


def _early_note(early: int, units: int) -> list[str]:
    if early <= NOTED_EARLY * units:
        return []
    return [
        f"{early:,} of {units:,} units did something in the {EARLY_SECONDS} seconds before their exposure, which is "
        "not counted: clocks differ, or the exposure is recorded after what it is about."
    ]


def unit_values(engine: Engine, catalogue: Catalogue, question: UnitQuery, most: int) -> tuple[UnitValues, ...]:
    """Units one by one, or a sample of about ``most`` of them. Raises InvalidQuery, UnknownMetric or EngineError."""
    _check(question)
    if most < 1:
        raise InvalidQuery("a sample has one unit at least", value=most)
    pair = two_terms(catalogue.get(question.metric), question.unit_kind)
    counting, parameters = Parameters(), Parameters()
    all_units = unit_counts(sums(pair, question, counting))
    with engine.steady():
        arms = engine.select(all_units, counting.values)
        check_arms(arms[0]["all_arms"] if arms else 0)
        share = min(1.0, most / max(1, sum(arm["units"] for arm in arms)))
        values = values_by_arm(sums(pair, question, parameters, share=share), question)
        rows = engine.select(values, parameters.values)
    sampled = {row["code"]: row for row in rows}
    found = []
    for arm in sorted(arms, key=lambda arm: str(arm["arm"])):
        row = sampled.get(arm["code"], {"numerators": [], "denominators": []})
        numerators, denominators = tuple(row["numerators"]), tuple(row["denominators"])
        if None in numerators or None in denominators:
            raise too_large(question.metric)
        found.append(UnitValues(arm=arm["arm"], units=arm["units"], numerators=numerators, denominators=denominators))
    return tuple(found)


def _check(question: UnitQuery) -> None:
    """Refuse what is no question. Raises InvalidQuery."""
    by, days, cap = question.by, question.attribution_days, question.cap
    if by not in ("", "day", "age") and not (by.startswith("tag.") and by != "tag."):
        raise InvalidQuery("units are split by day, age or tag.<name>", value=by)
    if days is not None and not 0 < days < math.inf:
        raise InvalidQuery("attribution_days must be above 0", value=days)
    if question.pre_days < 0:
        raise InvalidQuery("pre_days must be 0 or more", value=question.pre_days)
    if cap is not None and not 0 < cap < 1:
        raise InvalidQuery("a cap is a quantile between 0 and 1", value=cap)
    if any(one.end > other.start for one, other in pairwise(question.pauses)):
        raise InvalidQuery("pauses are in their order, and have no time in common", value=question.pauses)
    if by == "age" and (cap is not None or question.pre_days):
        raise InvalidQuery("what units did by age has neither a pre-period nor a cap", value=by)


def _arms(rows: Rows, question: UnitQuery) -> list[UnitMoments]:
    return [
        moments(
            row, question.metric, arm=row["arm"], group=_group(question.by, row["grp"]), period=row["period"],
            unit_days=row["unit_days"], just_before=row["just_before"], hour_before=row["hour_before"],
            any_before=row["any_before"],
        )
        for row in rows
    ]  # fmt: skip


def _group(by: str, value: int | str) -> str:
    if by == "day":
        return date.fromordinal(EPOCH.toordinal() + int(value)).isoformat()
    return str(value) if by else ""


def _ages(rows: Rows, question: UnitQuery) -> list[UnitMoments]:
    """Who reached an age and did nothing on it is counted in, with zeros; not who spent all of that day in pauses."""
    found = []
    acted = {(row["code"], row["period"], row["age"]): row for row in rows if row["part"] == 1}
    reached: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        if row["part"] == 0:
            reached.setdefault((row["code"], row["period"]), []).append(row)
    for (code, period), members in reached.items():
        for age in range(max(row["age"] for row in members) + 1):
            there = [_on(age, row, question) for row in members if row["age"] >= age]
            units, days = sum(units for units, _ in there), sum(days for _, days in there)
            if units:
                known = {"arm": members[0]["arm"], "group": str(age), "period": period, "unit_days": days}
                row = acted.get((code, period, age), NOBODY)
                found.append(with_silent(moments(row, question.metric, **known), units - row["units"]))
    return found


def _on(age: int, row: Mapping[str, Any], question: UnitQuery) -> tuple[int, float]:
    """Of how many of a row's units a day of age counts, and the sum of what counts of these days."""
    if age == 0:
        return row["first_units"], row["first_days"]
    if age == row["age"]:
        return row["last_units"], row["last_days"]
    share = share_of_day(row["born"] + age, question.pauses)
    return (row["units"], row["units"] * share) if share else (0, 0.0)
