"""The statements about the units of an experiment: over each unit's sums, by arm, group and period, or by age."""

from __future__ import annotations

from barograph.core.units import EARLY_SECONDS, HOUR_SECONDS, MOST_VALUES, REST, UnitQuery
from barograph.store.filters import Parameters
from barograph.store.units.counted_time import DAY, micros
from barograph.store.units.moments import PRE_NUMBERS, aggregates
from barograph.store.units.sums import ARM_BITS, Sums

_PLACE = ("code", "grp", "period")
_UNIT = ("n", "d", "p", "q", "at", "until", "before")  # a unit's numbers
_CODE = f"toUInt16(bitAnd(place, {2**ARM_BITS - 1})) AS code"
_NAMED = "m.*, if(code = 0, '', arms[code]) AS arm, length(arms) AS all_arms"
_BEFORE = "countIf(before >= 3) AS just_before, countIf(before >= 2) AS hour_before, countIf(before >= 1) AS any_before"
_SECOND = 1_000_000  # microseconds


def unit_counts(of: Sums) -> str:
    """How many units each arm has."""
    return (
        f"WITH {of.exposed} SELECT {_NAMED} FROM "
        f"(SELECT {_CODE}, count() AS units FROM exposed WHERE code != 0 GROUP BY code) AS m"
    )


def values_by_arm(of: Sums, question: UnitQuery) -> str:
    """Each arm's numerators and denominators as arrays."""
    return (
        f"WITH {of.exposed} SELECT code, groupArray(n) AS numerators, groupArray(d) AS denominators "
        f"FROM ({_units(of, question, pre=False)}) WHERE code != 0 GROUP BY code"
    )


def by_arm(of: Sums, question: UnitQuery, parameters: Parameters) -> str:
    """Moments of each arm, group and period."""
    pre, values, cap, tops = question.pre_days > 0, "0", "NULL", ""
    units = _with_before(_units(of, question, pre=pre), question, parameters)
    if question.by.startswith("tag."):
        frequent = f"groupArraySorted({MOST_VALUES})((-toInt64(c), tag))"
        counted = f"SELECT tag, count() AS c FROM (SELECT tag, {_CODE} FROM exposed) WHERE code != 0 GROUP BY tag"
        tops, values = f", (SELECT ({frequent}.2, count()) FROM ({counted})) AS tops", "any(tops.2)"
        group = f"if(has(tops.1, grp), grp, {parameters.add(REST, 'String')})"
        units = f"SELECT * REPLACE ({group} AS grp) FROM ({units})"
    if question.cap is not None:
        units, cap = _capped(units, question.cap, pre, parameters), "any(cap)"
    place, days = ", ".join(_PLACE), f"sum({of.pauses.without('at', 'until')}) / {DAY} AS unit_days"
    facts = f"{_BEFORE}, min(at) AS first_at, max(at) AS last_at"
    return (
        f"WITH {of.exposed}{tops} SELECT {_NAMED} FROM ("
        f"SELECT 0 AS part, {place}, {aggregates(pre=pre)}, {days}, {facts}, {values} AS values, {cap} AS cap "
        f"FROM ({units}) GROUP BY {place}) AS m"
    )


def by_age(of: Sums, question: UnitQuery) -> str:
    """Moments over what units did on each day of age, and how many reached it: who did nothing then has no row.

    Part 1 are sums of units that did something, by age; part 0 are all units by their first day and the age that they
    reached, with the days of their first and last day, and of how many these count.
    """
    days = f"intDiv(moment, {DAY}) - intDiv(at, {DAY})"
    active = (
        f"SELECT unit, any(place) AS place, {days} AS age, sum(x0) AS n, sum(x1) AS d "
        f"FROM ({_met(of, question, 'INNER')}) WHERE {of.counts} GROUP BY unit, age"
    )
    born, last = f"intDiv(at, {DAY})", f"intDiv(until - 1, {DAY})"
    first_time = of.pauses.without("at", f"least(until, ({born} + 1) * {DAY})")
    last_time = of.pauses.without(f"{last} * {DAY}", "until")
    place = f"{_CODE}, {of.at}, {of.period} AS period"
    none = " ".join(f"toUInt64(0) AS {name}," for name in ("first_units", "last_units"))
    parts = [
        f"SELECT 1 AS part, code, period, age, toInt64(0) AS born, {aggregates(pre=False)}, 0. AS first_days, "
        f"0. AS last_days, {none} toInt64(0) AS first_at, toInt64(0) AS last_at "
        f"FROM (SELECT {place}, age, n, d FROM ({active})) GROUP BY code, period, age",
        f"SELECT 0 AS part, code, period, {last} - {born} AS age, {born} AS born, {aggregates(pre=False)}, "
        f"sum({first_time}) / {DAY} AS first_days, sum({last_time}) / {DAY} AS last_days, "
        f"countIf({first_time} > 0) AS first_units, countIf({last_time} > 0) AS last_units, "
        f"min(at) AS first_at, max(at) AS last_at "
        f"FROM (SELECT {place}, 0. AS n, 0. AS d FROM exposed) GROUP BY code, period, age, born",
    ]
    return f"WITH {of.exposed} SELECT {_NAMED} FROM ({' UNION ALL '.join(parts)}) AS m"


def _with_before(units: str, question: UnitQuery, parameters: Parameters) -> str:
    """The units with ``before`` for ``latest``: a byte, which is cheap to keep. The ``latest`` of many is 0."""
    first = parameters.add(max(1, micros(question.window.start) - HOUR_SECONDS * _SECOND), "Int64")
    hour, early = (f"at - latest <= {seconds * _SECOND}" for seconds in (HOUR_SECONDS, EARLY_SECONDS))
    return f"SELECT * EXCEPT latest, toUInt8((latest >= {first}) + ({hour}) + ({early})) AS before FROM ({units})"


def _met(of: Sums, question: UnitQuery, join: str) -> str:
    """Rows where they meet their units."""
    tag = ", e.tag AS tag" if question.by.startswith("tag.") else ""
    return (
        f"SELECT e.unit AS unit, e.place AS place{tag}, r.moment AS moment, r.start AS start, "
        f"r.whole AS whole, r.x0 AS x0, r.x1 AS x1, {of.at} "
        f"FROM ({of.rows}) AS r {join} JOIN exposed AS e ON r.unit = e.unit"
    )


def _units(of: Sums, question: UnitQuery, *, pre: bool) -> str:
    """A row a unit: where it belongs, and its sums. Only rows of its time count; without any they are zero."""
    numbers = {"n": f"sumIf(x0, {of.counts})", "d": f"sumIf(x1, {of.counts})", "latest": f"maxIf(moment, {of.before})"}
    if pre:
        numbers |= {"p": f"sumIf(x0, {of.earlier})", "q": f"sumIf(x1, {of.earlier})"}
    tag = ", any(tag) AS tag" if question.by.startswith("tag.") else ""
    sums = ", ".join(f"{sum_} AS {name}" for name, sum_ in numbers.items())
    return (
        f"SELECT {_CODE}, {of.at}, {of.group} AS grp, {of.period} AS period, {', '.join(numbers)} FROM ("
        f"SELECT any(place) AS place{tag}, {sums} FROM ({_met(of, question, 'RIGHT')}) GROUP BY unit)"
    )


def _capped(units: str, level: float, pre: bool, parameters: Parameters) -> str:
    """The units with their numerators cut off at one quantile over all clean ones, which is in ``cap``.

    They are gathered in arrays, so that their sums are made once for the quantile and for what follows.
    """
    numbers = [name for name in _UNIT if pre or name not in PRE_NUMBERS]
    arrays = ", ".join(f"groupArray({name}) AS a_{name}" for name in numbers)
    place = ", ".join(_PLACE)
    gathered = f"SELECT {place}, {arrays} FROM ({units}) GROUP BY {place}"
    quantile = f"quantileExactInclusiveArrayIf({parameters.add(level, 'Float64')})(a_n, code != 0)"
    arm = f"{place}, {', '.join(f'a_{name}' for name in numbers)}"
    one = f"SELECT {quantile} AS cap, groupArray(({arm})) AS arms_of FROM ({gathered})"
    fields = ", ".join(f"arm_of.{index + 1} AS {name}" for index, name in enumerate(_PLACE))
    spread = ", ".join(f"arm_of.{index + 1 + len(_PLACE)} AS {name}" for index, name in enumerate(numbers))
    rows = f"SELECT cap, {fields}, {spread} FROM (SELECT cap, arrayJoin(arms_of) AS arm_of FROM ({one}))"
    return f"SELECT * REPLACE (least(n, cap) AS n) FROM ({rows}) ARRAY JOIN {', '.join(numbers)}"
