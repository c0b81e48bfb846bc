"""All units that were active in a window, exposed or not: what a plan is made from."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import accumulate

from barograph.core.metric import Catalogue
from barograph.core.query import Window
from barograph.core.units import PopulationAnswer, PopulationQuery
from barograph.store.engine import Engine
from barograph.store.filters import Parameters
from barograph.store.units.counted_time import DAY, micros
from barograph.store.units.moments import NOBODY, aggregates, moments
from barograph.store.units.sums import OF_UNITS, raw_rows, rolled_up, two_terms, whole_days
from barograph_client.errors import InvalidQuery

MOST_DAYS = 3660


def population(
    engine: Engine, catalogue: Catalogue, question: PopulationQuery, complete_to: datetime
) -> PopulationAnswer:
    """Moments over the window's active units. Raises InvalidQuery, UnknownMetric or EngineError."""
    window = _whole(question.window)
    days = round(window.seconds / 86400)
    if days > MOST_DAYS:
        raise InvalidQuery(f"a population of more than {MOST_DAYS} days", hint="Ask for a shorter window.", value=days)
    parameters = Parameters()
    pair = two_terms(catalogue.get(question.metric), question.unit_kind)
    asked = (question.project, question.unit_kind)
    if rolled_up(question.unit_kind):
        rows = whole_days(pair, *asked, (window.start, window.end), parameters, also=OF_UNITS)
    else:
        kinds = dict.fromkeys((*(term.kind for term in pair), *OF_UNITS))
        rows = " UNION ALL ".join(raw_rows(kind, pair, *asked, window, parameters, measured=False) for kind in kinds)
    start, end = (parameters.add(micros(moment), "Int64") for moment in (window.start, window.end))
    with engine.steady():
        found = engine.select(
            f"SELECT {aggregates(pre=False)}, sum({end} - first) / {DAY} AS unit_days, "
            f"sumMap(map(toUInt32(intDiv(first - {start}, {DAY})), toUInt64(1))) AS firsts FROM (SELECT unit, "
            f"intDiv(min(moment), {DAY}) * {DAY} AS first, sum(x0) AS n, sum(x1) AS d FROM ({rows}) GROUP BY unit) "
            "HAVING units > 0",
            parameters.values,
        )
    row = found[0] if found else {**NOBODY, "unit_days": 0.0, "firsts": {}}
    distinct = accumulate(row["firsts"].get(str(day), 0) for day in range(days))
    return PopulationAnswer(
        moments=moments(row, question.metric, arm="", unit_days=row["unit_days"]),
        distinct_units=tuple(distinct),
        complete_to=complete_to,
    )


def _whole(window: Window) -> Window:
    """The UTC days that a window touches."""
    last = window.end - timedelta(microseconds=1)
    start, end = (datetime.combine(moment.astimezone(UTC).date(), time(), UTC) for moment in (window.start, last))
    return Window(start, end + timedelta(days=1))
