"""Each exposed unit's sums since its exposure, as subqueries: what every question about an experiment is made from.

A unit is in the arm of its first exposure; one that saw two arms has the arm 0. What it did on whole days comes from
``unit_day``, what it did on the day of its exposure, on the last day that counts and on those with a pause from raw
rows. Kinds of unit that the rollup does not know (a tenant) are read from raw rows alone, by the tag of that name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from barograph.core.metric import Metric
from barograph.core.query import Window
from barograph.core.units import HOUR_SECONDS, UnitQuery
from barograph.store.filters import Parameters, within
from barograph.store.measures import ATTRIBUTED, COUNT, QUERY_NUMBERS, Term, terms
from barograph.store.units.counted_time import DAY, Pauses, micros
from barograph_client.errors import InvalidQuery

ARM_BITS = 12  # of a unit's place: 52 are left for microseconds since 1970, which is up to the year 2112
MOST_ARMS = 2**ARM_BITS - 2
OFFERED = ("count", "sum", "mean", "ratio")
_COLUMNS = {"user": "user_id", "session": "session_id"}
OF_UNITS = ("query", "feedback", "score")  # kinds whose events say whose they are
_KEPT = frozenset((*QUERY_NUMBERS, "error", "no_answer", "empty_retrieval", "rating", "low_rating"))
_NO_TAG = ", '' AS tag, false AS raw"
_DAYS = (date(1970, 1, 1), date(2149, 6, 6))  # what the engine's dates hold


class Sums(Struct, frozen=True, kw_only=True):
    """The parts of a statement about units.

    ``exposed`` goes behind WITH: the names of ``arms``, and ``exposed`` with a row a unit: ``unit``, ``place`` (the
    microsecond of its exposure, and in the last ``ARM_BITS`` the arm's place among the names, 0 for one that saw two)
    and by a tag ``tag``. ``rows`` are what units did: ``unit``, ``moment`` and the ``start`` of its day (microseconds),
    ``whole`` (the sum of a whole day), ``x0``, ``x1``. The others are expressions where a row and its unit meet; ``at``
    makes ``at`` and ``until``.
    """

    exposed: str
    rows: str
    at: str
    counts: str  # it was done since the exposure, in the time that counts
    earlier: str  # it is of the pre-period
    before: str  # it is known to the microsecond, and came before the exposure
    group: str
    period: str
    pauses: Pauses


def two_terms(metric: Metric, unit_kind: str) -> tuple[Term, Term]:
    """Numerator and denominator of a unit: a mean is its sum over how many it measured. Raises InvalidQuery."""
    if metric.aggregation not in OFFERED:
        raise InvalidQuery(
            f"{metric.name} is a {metric.aggregation}; experiments compare counts, sums, means and ratios",
            hint="Use the mean of the same measure.",
            value=metric.name,
        )
    found = terms(metric)
    stray = next((term.kind for term in found if term.kind not in OF_UNITS), "")
    if stray and rolled_up(unit_kind):
        raise InvalidQuery(
            f"{metric.name} is measured on {stray} events, which belong to no {unit_kind}",
            hint="Record it as a score or on the query.",
            value=metric.name,
        )
    if len(found) == 2:
        return found[0], found[1]
    of = found[0]
    if metric.aggregation == "count":
        of = Term(of.kind, of.name, "n")
    return of, Term(of.kind, of.name, "n")


def check_arms(number: int) -> None:
    """Refuse an answer about more arms than there is room for. Raises InvalidQuery."""
    if number > MOST_ARMS:
        raise InvalidQuery(f"units were exposed to more than {MOST_ARMS} arms", hint="An arm is a name, not an id.")


def rolled_up(unit_kind: str) -> bool:
    """Whether the rollup knows units of that kind."""
    return unit_kind in _COLUMNS


def sums(pair: tuple[Term, Term], question: UnitQuery, parameters: Parameters, *, share: float = 1.0) -> Sums:
    """The subqueries of a question. With a ``share``, of so many of its units only, by the hash of their ids."""
    pre = parameters.add(question.pre_days, "UInt16")
    window, rolled = question.window, rolled_up(question.unit_kind)
    longest = timedelta(days=0 if rolled else question.pre_days + 1, seconds=HOUR_SECONDS)
    read = Window(window.start - longest, window.end)
    rows = [
        raw_rows(kind, pair, question.project, question.unit_kind, read, parameters)
        for kind in dict.fromkeys(term.kind for term in pair)
    ]
    until = parameters.add(micros(window.end), "Int64")
    if question.attribution_days is not None:
        until = f"least({until}, at + {parameters.add(round(question.attribution_days * DAY), 'Int64')})"
    pauses = Pauses.of(question.pauses, parameters)
    earlier = f"start + {DAY} <= at AND start + ({pre} + 1) * {DAY} > at"
    if rolled:
        days = (window.start - timedelta(days=question.pre_days), window.end)
        rows.append(whole_days(pair, question.project, question.unit_kind, days, parameters))
        earlier = f"whole AND {earlier}"
    source, known = _exposures(question, parameters)
    arms = f"SELECT arraySort(groupUniqArray({MOST_ARMS + 1})(toString(least_arm))) FROM exposed_unit WHERE {known}"
    exposed = _exposed(question, source, share, parameters)
    return Sums(
        exposed=f"({arms}) AS arms, arrayMap(arm -> cityHash64(arm), arms) AS codes, exposed AS ({exposed})",
        rows=" UNION ALL ".join(rows),
        at=f"toInt64(bitShiftRight(place, {ARM_BITS})) AS at, {until} AS until",
        counts=_counts(pauses, rolled=rolled),
        earlier=earlier,
        before="NOT whole AND moment < at",
        group=_group(question),
        period=_period(question, parameters),
        pauses=pauses,
    )


def _counts(pauses: Pauses, *, rolled: bool) -> str:
    """Where rolled up, whole days between those of the exposure and of the end, and events on these two.

    A day with a pause is none of the whole ones: its events count, but for those in the pause.
    """
    exact, whole = "moment >= at AND moment < until", f"moment > at AND moment + {DAY} <= until"
    exactly = f"start <= at OR start + {DAY} > until"
    if pauses.bounds:
        exact += f" AND NOT ({pauses.hold('moment')})"
        whole += f" AND NOT ({pauses.touch('start')})"
        exactly += f" OR {pauses.touch('start')}"
    return f"if(whole, {whole}, {exact} AND ({exactly}))" if rolled else exact


def _exposures(question: UnitQuery, parameters: Parameters) -> tuple[str, str]:
    """Rows of exposures, and the condition on those of this experiment."""
    values = (question.project, question.experiment, question.unit_kind)
    project, experiment, kind = (parameters.add(value, "String") for value in values)
    known = f"project = {project} AND experiment = {experiment} AND unit_kind = {kind}"
    by_tag = question.by.startswith("tag.")
    first = (
        "SELECT unit, toUnixTimestamp64Micro(first) AS moment, cityHash64(least_arm) AS least, "
        f"cityHash64(most_arm) AS most{_NO_TAG if by_tag else ''} FROM exposed_unit WHERE {known}"
    )
    if not by_tag:
        return first, known
    tag = parameters.add(question.by.removeprefix("tag."), "String")
    raw = (
        "SELECT sipHash64(unit_id) AS unit, toUnixTimestamp64Micro(time) AS moment, cityHash64(arm) AS least, "
        f"least AS most, tags[{tag}] AS tag, true AS raw FROM exposure "
        f"WHERE {known} AND {within('time', [question.window], parameters)}"
    )
    return f"{first} UNION ALL {raw}", known


def _exposed(question: UnitQuery, source: str, share: float, parameters: Parameters) -> str:
    """A row a unit. Where it belongs is one number: each more that is joined costs as much as the join."""
    start, end = (
        parameters.add(max(0, micros(moment)), "Int64") for moment in (question.window.start, question.window.end)
    )
    arm = "if(min(least(least, most)) AS low = max(greatest(least, most)), indexOf(codes, low), 0)"
    place = f"bitOr(bitShiftLeft(toUInt64(min(moment)), {ARM_BITS}), {arm})"
    tag = ""
    if question.by.startswith("tag."):  # of the first exposure, and of no later one where that was retired
        tag = ", if(minIf(moment, raw) = min(moment), argMinIf(tag, (moment, tag), raw), '') AS tag"
    chosen = "" if share >= 1 else f"WHERE unit < {parameters.add(int(share * 2**64), 'UInt64')}"
    return (
        f"SELECT unit, {place} AS place{tag} FROM ({source}) {chosen} GROUP BY unit "
        f"HAVING min(moment) >= {start} AND min(moment) < {end}"
    )


def _group(question: UnitQuery) -> str:
    if question.by.startswith("tag."):
        return "tag"
    return f"intDiv(at, {DAY})" if question.by == "day" else "0"


def _period(question: UnitQuery, parameters: Parameters) -> str:
    if not question.changed_at:
        return "0"
    changes = parameters.add([micros(moment) for moment in question.changed_at], "Array(Int64)")
    return f"arrayCount(change -> change <= at, {changes})"


def whole_days(
    pair: Sequence[Term],
    project: str,
    unit_kind: str,
    days: tuple[datetime, datetime],
    parameters: Parameters,
    also: Iterable[str] = (),
) -> str:
    """What units did on whole UTC days, from that of the first moment up to, not including, that of the second.

    Kinds of events that are read ``also`` show that a unit was active. Raises InvalidQuery for a measure that is not
    kept by unit.
    """
    first, last = (min(max(day.date(), _DAYS[0]), _DAYS[1]).isoformat() for day in days)
    measured = [(term.kind, term.name if term.named else "") for term in pair]
    read = dict.fromkeys((*measured, *((kind, "") for kind in also)))
    places = [
        f"(kind = {parameters.add(kind, 'String')} AND name = {parameters.add(name, 'String')})" for kind, name in read
    ]
    numbers = []
    for index, term in enumerate(pair):
        value = f"toFloat64({_column(term)})"
        if len(read) > 1:
            value = f"if({places[list(read).index(measured[index])]}, {value}, 0)"
        numbers.append(f"{value} AS x{index}")
    return (
        f"SELECT unit, toInt64(toUInt16(day)) * {DAY} AS moment, moment AS start, true AS whole, {', '.join(numbers)} "
        f"FROM unit_day WHERE project = {parameters.add(project, 'String')} "
        f"AND unit_kind = {parameters.add(unit_kind, 'String')} AND ({' OR '.join(places)}) "
        f"AND day >= {parameters.add(first, 'Date')} AND day < {parameters.add(last, 'Date')}"
    )


def _column(term: Term) -> str:
    """Where the rollup keeps a measure. Raises InvalidQuery where it does not."""
    if term.named or term.name == COUNT:
        return term.part
    if term.name not in _KEPT:
        raise InvalidQuery(f"{term.kind}.{term.name} is not kept by unit", hint="Use another measure.", value=term.name)
    return f"{term.part}_{term.name}"


def raw_rows(
    kind: str,
    pair: Sequence[Term],
    project: str,
    unit_kind: str,
    window: Window,
    parameters: Parameters,
    *,
    measured: bool = True,
) -> str:
    """What units did in a window, event by event, by events of one kind; by all of them, or by those measured."""
    attributed = kind in ATTRIBUTED and rolled_up(unit_kind)  # lines of attribution have no tags
    unit = unit_of(unit_kind, parameters)
    values, numbers = [], []
    for index, term in enumerate(pair):
        value = term.expression(attributed=attributed) if term.kind == kind else "CAST(NULL, 'Nullable(Float64)')"
        if term.kind == kind and term.named:
            value = f"if(name = {parameters.add(term.name, 'String')}, {value}, NULL)"
        values.append(f"isNotNull({value})")
        numbers.append(f"{term.number(value)} AS x{index}")
    where = [
        f"project = {parameters.add(project, 'String')}",
        within("time", [window], parameters),
        f"{unit} != ''",
        *([f"({' OR '.join(values)})"] if measured else []),
        *([f"subject = {parameters.add(kind, 'String')}"] if attributed else []),
    ]
    return (
        f"SELECT sipHash64({unit}) AS unit, toUnixTimestamp64Micro(time) AS moment, "
        f"intDiv(moment, {DAY}) * {DAY} AS start, false AS whole, "
        f"{', '.join(numbers)} FROM {'attribution' if attributed else kind} WHERE {' AND '.join(where)}"
    )


def unit_of(unit_kind: str, parameters: Parameters) -> str:
    """A raw row's unit: its user, its session, or its tag of that name, as the client finds it: ``<kind>_id`` first."""
    if rolled_up(unit_kind):
        return _COLUMNS[unit_kind]
    named, plain = (parameters.add(name, "String") for name in (f"{unit_kind}_id", unit_kind))
    return f"if(tags[{named}] != '', tags[{named}], tags[{plain}])"
