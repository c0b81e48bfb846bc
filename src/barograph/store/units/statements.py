"""The statements about the units of an experiment: over each unit's sums, by arm, group and period, or by age."""

from __future__ import annotations

from barograph.core.units import MOST_VALUES, REST, UnitQuery
from barograph.store.filters import Parameters
from barograph.store.units.moments import PRE_NUMBERS, aggregates
from barograph.store.units.sums import DAY, Sums

_PLACE = ("code", "grp", "period")
_UNIT = ("n", "d", "p", "q", "at", "until", "early")  # a unit's numbers
_FACTS = f"sum(until - at) / {DAY} AS unit_days, countIf(early) AS early_units, min(at) AS first_at, max(at) AS last_at"


def unit_counts(of: Sums) -> str:
    """How many units each arm has."""
    return (
        f"SELECT m.*, names.name AS arm FROM (SELECT code, count() AS units FROM ({of.exposed}) WHERE code != 0 "
        f"GROUP BY code) AS m {_named(of)}"
    )


def values_by_arm(of: Sums) -> str:
    """Each arm's numerators and denominators as arrays."""
    return (
        f"WITH exposed AS ({of.exposed}) SELECT code, groupArray(n) AS numerators, groupArray(d) AS denominators "
        f"FROM ({_units(of, pre=False)}) WHERE code != 0 GROUP BY code"
    )


def by_arm(of: Sums, question: UnitQuery, parameters: Parameters) -> str:
    """Moments of each arm, group and period."""
    pre, values, cap, tops = question.pre_days > 0, "0", "NULL", ""
    units = _units(of, pre=pre)
    if question.by.startswith("tag."):
        frequent = f"groupArraySorted({MOST_VALUES})((-toInt64(c), grp))"
        counted = "SELECT grp, count() AS c FROM exposed WHERE code != 0 GROUP BY grp"
        tops, values = f", (SELECT ({frequent}.2, count()) FROM ({counted})) AS tops", "any(tops.2)"
        group = f"if(has(tops.1, grp), grp, {parameters.add(REST, 'String')})"
        units = f"SELECT * REPLACE ({group} AS grp) FROM ({units})"
    if question.cap is not None:
        units, cap = _capped(units, question.cap, pre, parameters), "any(cap)"
    place = ", ".join(_PLACE)
    return (
        f"WITH exposed AS ({of.exposed}){tops} SELECT m.*, names.name AS arm FROM ("
        f"SELECT 0 AS part, {place}, {aggregates(pre=pre)}, {_FACTS}, {values} AS values, {cap} AS cap "
        f"FROM ({units}) GROUP BY {place}) AS m {_named(of)}"
    )


def by_age(of: Sums) -> str:
    """Moments over what units did on each day of age, and how many reached it: who did nothing then has no row.

    Part 1 are sums of units that did something, by age, and at -1 those that came early; part 0 are all units by the
    age that they reached, with the days of their first and last day.
    """
    age = f"intDiv(r.moment, {DAY}) - intDiv(e.at, {DAY})"
    active = (
        f"SELECT any(e.code) AS code, any(e.period) AS period, if({of.counts}, {age}, -1) AS age, "
        f"sum(r.x0) AS n, sum(r.x1) AS d FROM ({of.rows}) AS r INNER JOIN exposed AS e ON r.unit = e.unit "
        f"WHERE {of.counts} OR {of.early} GROUP BY e.unit, age"
    )
    last = f"intDiv(until - 1, {DAY}) - intDiv(at, {DAY})"
    parts = [
        f"SELECT 1 AS part, code, period, age, {aggregates(pre=False)}, 0. AS first_days, 0. AS last_days, "
        f"toInt64(0) AS first_at, toInt64(0) AS last_at FROM ({active}) GROUP BY code, period, age",
        f"SELECT 0 AS part, code, period, {last} AS age, {aggregates(pre=False)}, "
        f"sum(least(until, (intDiv(at, {DAY}) + 1) * {DAY}) - at) / {DAY} AS first_days, "
        f"sum(until - intDiv(until - 1, {DAY}) * {DAY}) / {DAY} AS last_days, min(at) AS first_at, max(at) AS last_at "
        f"FROM (SELECT *, 0. AS n, 0. AS d FROM exposed) GROUP BY code, period, age",
    ]
    both = " UNION ALL ".join(parts)
    return f"WITH exposed AS ({of.exposed}) SELECT m.*, names.name AS arm FROM ({both}) AS m {_named(of)}"


def _units(of: Sums, *, pre: bool) -> str:
    """A row a unit: where it belongs, and its sums. Only rows of its time count; without any they are zero."""
    before = f", sumIf(r.x0, {of.earlier}) AS p, sumIf(r.x1, {of.earlier}) AS q" if pre else ""
    return (
        f"SELECT {', '.join(f'any(e.{name}) AS {name}' for name in _PLACE)}, any(e.at) AS at, any(e.until) AS until, "
        f"sumIf(r.x0, {of.counts}) AS n, sumIf(r.x1, {of.counts}) AS d{before}, max({of.early}) AS early "
        f"FROM ({of.rows}) AS r RIGHT JOIN exposed AS e ON r.unit = e.unit GROUP BY e.unit"
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
    one = f"SELECT {quantile} AS cap, groupArray(({arm})) AS arms FROM ({gathered})"
    fields = ", ".join(f"arm.{index + 1} AS {name}" for index, name in enumerate(_PLACE))
    spread = ", ".join(f"arm.{index + 1 + len(_PLACE)} AS {name}" for index, name in enumerate(numbers))
    rows = f"SELECT cap, {fields}, {spread} FROM (SELECT cap, arrayJoin(arms) AS arm FROM ({one}))"
    return f"SELECT * REPLACE (least(n, cap) AS n) FROM ({rows}) ARRAY JOIN {', '.join(numbers)}"


def _named(of: Sums) -> str:
    return f"LEFT JOIN ({of.names}) AS names ON names.code = m.code"
