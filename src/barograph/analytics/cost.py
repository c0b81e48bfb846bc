"""What is spent today and this month, against the budget, and where it is heading.

Days and months are those of the display time zone. A query without a price is counted and its model named, never
taken as free. Asks a Reader; hands structs to ``status``, ``overview`` and the cost page.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from barograph.analytics.period import day_of, month_of, up_to
from barograph.core.query import MetricQuery, Window
from barograph.core.reader import Reader
from barograph.core.settings import Settings
from barograph.core.unit import counted, format_value
from barograph.core.zone import zone_of
from barograph_client.errors import shorten

BudgetState = Literal["no data", "no budget", "within", "likely over", "over"]

EARLIEST_FORECAST = 0.25  # of the period must have passed: less says more about the hour than about the day
METHOD = "spent so far, divided by the part of the period that has passed"
MOST_MODELS = 20


class Spend(Struct, frozen=True, kw_only=True):
    """One calendar period: ``spent`` is USD over ``priced`` of its ``queries``; None when none has a price.

    ``window`` is the whole period; ``forecast`` is for its end, by ``method``, or None when it is too early.
    ``unpriced_models`` are the models of the queries without a price, the most frequent first.
    """

    period: Literal["day", "month"]
    window: Window
    spent: float | None
    queries: int
    priced: int
    unpriced: int
    unpriced_models: tuple[tuple[str, int], ...] = ()
    budget: float | None = None
    elapsed: float = 0.0
    forecast: float | None = None
    method: str = METHOD
    state: BudgetState = "no data"
    sentence: str = ""


class CostReport(Struct, frozen=True, kw_only=True):
    """Today and the month to date, in the time zone that days are counted in."""

    day: Spend
    month: Spend
    timezone: str


def cost_report(reader: Reader, settings: Settings, now: datetime) -> CostReport:
    """Both periods. Raises InvalidSettings for an unknown time zone, or EngineError."""
    zone = zone_of(settings.timezone)
    return CostReport(
        day=_spend(reader, settings.project, "day", day_of(now, zone), settings.budget.daily, now),
        month=_spend(reader, settings.project, "month", month_of(now, zone), settings.budget.monthly, now),
        timezone=settings.timezone,
    )


def _spend(
    reader: Reader, project: str, period: Literal["day", "month"], whole: Window, budget: float | None, now: datetime
) -> Spend:
    so_far = Window(whole.start, min(up_to(now), whole.end))
    cost = reader.query(MetricQuery(metric="cost", window=so_far, project=project))
    queries = reader.query(MetricQuery(metric="queries", window=so_far, project=project)).n
    spent = cost.value if cost.n else None
    unpriced = max(0, queries - cost.n)
    elapsed = (now - whole.start).total_seconds() / whole.seconds
    forecast = spent / elapsed if spent is not None and elapsed >= EARLIEST_FORECAST else None
    state = _state(spent, budget, forecast)
    models = _unpriced_models(reader, project, so_far) if unpriced else ()
    return Spend(
        period=period,
        window=whole,
        spent=spent,
        queries=queries,
        priced=cost.n,
        unpriced=unpriced,
        unpriced_models=models,
        budget=budget,
        elapsed=elapsed,
        forecast=forecast,
        state=state,
        sentence=_sentence(period, spent, queries, budget, forecast, state) + _unpriced(unpriced, queries, models),
    )


def _state(spent: float | None, budget: float | None, forecast: float | None) -> BudgetState:
    if spent is None:
        return "no data"
    if budget is None:
        return "no budget"
    if spent > budget:
        return "over"
    return "likely over" if forecast is not None and forecast > budget else "within"


def _unpriced_models(reader: Reader, project: str, window: Window) -> tuple[tuple[str, int], ...]:
    question = MetricQuery(metric="priced_rate", window=window, by=("model",), project=project, limit=1000)
    counted = [
        (row.group.get("model", ""), row.n - round((row.value or 0.0) * row.n)) for row in reader.query(question).rows
    ]
    counted.sort(key=lambda item: (-item[1], item[0]))
    return tuple(item for item in counted if item[1] > 0)[:MOST_MODELS]


def _sentence(
    period: str, spent: float | None, queries: int, budget: float | None, forecast: float | None, state: BudgetState
) -> str:
    when = "today" if period == "day" else "this month"
    if spent is None:
        return f"No queries {when}." if queries == 0 else f"Nothing {when} has a price."
    amount, limit = format_value(spent, "USD"), format_value(budget, "USD")
    heading = f" {format_value(forecast, 'USD')} by its end at this rate." if forecast is not None else ""
    if state == "no budget":
        return f"{amount} {when}.{heading}"
    relation = "over the budget of" if state == "over" else "within the budget of"
    likely = " and likely to pass it:" if state == "likely over" else "."
    return f"{amount} {when}, {relation} {limit}{likely}{heading}"


def _unpriced(unpriced: int, queries: int, models: tuple[tuple[str, int], ...]) -> str:
    if not unpriced:
        return ""
    named = ", ".join(f"{shorten(model, 60) or 'no model named'}: {count}" for model, count in models[:3])
    more = f", and {counted(len(models) - 3, 'more model')}" if len(models) > 3 else ""
    some = f"{unpriced:,} of {counted(queries, 'query', 'queries')} {'has' if unpriced == 1 else 'have'} no price"
    return f" {some} ({named}{more}): the true cost is higher."
