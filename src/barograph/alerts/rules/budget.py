"""Budget rules: what was spent since the day or month began, or is forecast for all of it, against an amount."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec.structs import asdict, replace

from barograph.alerts.rules.bounds import bounds_of
from barograph.alerts.rules.threshold import ThresholdRule, inside, make_threshold
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import MetricAnswer, MetricQuery, MetricRow, Window
from barograph.core.settings import RuleSettings
from barograph.core.zone import zone_of
from barograph_client.errors import InvalidRule, InvalidSettings, shorten

LEAST_SHARE = 0.1  # of a period that must be over before a forecast is made of it
DAY = 86400.0
_LENGTHS = {"day": DAY, "month": 31 * DAY}


class BudgetRule(ThresholdRule, frozen=True, kw_only=True):
    """The metric's sum since the ``period`` began in ``timezone``.

    With ``forecast`` it is what the whole period comes to at the pace so far, once a tenth of it is over; before that
    what was spent. The period of a moment at its very beginning is the one before.
    """

    period: Literal["day", "month"]
    timezone: str = "UTC"
    forecast: bool = False

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """The period so far."""
        start, _ = period_of(end, self.period, self.timezone)
        return (replace(self.question(end, project), window=Window(start, end)),)

    def rows(self, answers: Sequence[MetricAnswer]) -> Sequence[MetricRow]:
        """What was spent, or is forecast, by group."""
        return [self._spent(row) for row in answers[0].rows] if self.forecast else answers[0].rows

    def _spent(self, row: MetricRow) -> MetricRow:
        start, stop = period_of(row.end, self.period, self.timezone)
        share = (row.end - start) / (stop - start)
        return row if row.value is None or share < LEAST_SHARE else replace(row, value=row.value / share)

    @property
    def condition(self) -> str:
        """The rule in short."""
        limits = super().stated(self.metric.name).partition(" over ")[0]
        by = f" by {', '.join(self.by)}" if self.by else ""
        return f"{limits} {'forecast for' if self.forecast else 'spent in'} a {self.period}{by}"


def period_of(moment: datetime, period: Literal["day", "month"], timezone: str) -> tuple[datetime, datetime]:
    """Beginning and end (UTC) of the calendar day or month in which the time just before ``moment`` lies."""
    zone = zone_of(timezone)
    local = (moment - timedelta(microseconds=1)).astimezone(zone)
    start = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "month":
        start = start.replace(day=1)
    later = start + timedelta(days=1 if period == "day" else 32)
    stop = later if period == "day" else later.replace(day=1)
    return start.astimezone(UTC), stop.astimezone(UTC)


def make_budget(settings: RuleSettings, metric: Metric, catalogue: Catalogue) -> BudgetRule:
    """The budget rule of those settings. Raises InvalidRule."""
    name, period = shorten(settings.name), settings.period
    if period is None:
        raise InvalidRule(f"rule {name}: a budget needs period", hint='Write period = "day" or "month".')
    if metric.aggregation not in ("sum", "count"):
        raise InvalidRule(
            f"rule {name}: {metric.name} does not add up",
            hint="Name a sum or a count, such as cost.",
            value=metric.name,
        )
    if settings.above is None or settings.below is not None or settings.above <= 0:
        raise InvalidRule(
            f"rule {name}: a budget has the limit above alone",
            hint="Write above = 100, the amount.",
            value=settings.above,
        )
    try:
        zone_of(settings.timezone)
    except InvalidSettings as error:
        raise InvalidRule(f"rule {name}: {error.message}", hint=error.hint, value=settings.timezone) from None
    when = "today" if period == "day" else "this month"
    title = f"Forecast of {inside(metric)} {when}" if settings.forecast else f"{metric.title} {when}"
    made = make_threshold(settings, replace(metric, title=title), bounds_of(metric))
    made = replace(made, window_seconds=_LENGTHS[period])
    return BudgetRule(**asdict(made), period=period, timezone=settings.timezone, forecast=settings.forecast)
