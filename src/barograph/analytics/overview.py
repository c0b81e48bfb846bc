"""The facts of the overview, ready to be drawn: nothing here knows of characters or pixels.

Rolling windows: 24 hours against the 24 before for what is quick to change, 7 days against the 7 before for ratings,
which are few. Cost is that of the local calendar day. Experiments and alerts are handed in as sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from barograph.analytics.cost import CostReport, cost_report
from barograph.analytics.period import recent
from barograph.analytics.status import Facts, FiringAlert, Status, assess
from barograph.analytics.summary import MetricSummary, summarise
from barograph.core.metric import Catalogue
from barograph.core.query import Period, Window
from barograph.core.reader import Reader
from barograph.core.settings import Settings


class AlertLine(Struct, frozen=True, kw_only=True):
    """An active alert as the overview says it."""

    severity: str
    sentence: str


class Overview(Struct, frozen=True, kw_only=True):
    """All lines of the overview. Values are None where nothing was measured; each summary has its own sentence."""

    at: datetime
    timezone: str
    complete_to: datetime
    status: Status
    queries: MetricSummary
    response_time: MetricSummary
    response_time_p95: MetricSummary
    error_rate: MetricSummary
    satisfaction: MetricSummary
    cost: CostReport
    experiments: tuple[str, ...] = ()
    alerts: tuple[AlertLine, ...] = ()


def overview(
    reader: Reader,
    catalogue: Catalogue,
    settings: Settings,
    now: datetime,
    *,
    alerts: Sequence[FiringAlert] = (),
    experiments: Sequence[str] = (),
    facts: Facts | None = None,
) -> Overview:
    """The overview at ``now``. Raises InvalidSettings, InvalidQuery or EngineError."""
    day, week = recent("24h", now), recent("7d", now)

    def summed(name: str, window: Window, period: Period) -> MetricSummary:
        metric = catalogue.get(name)
        return summarise(reader, metric, window, period=period, timezone=settings.timezone, project=settings.project)

    def daily(name: str) -> MetricSummary:
        return summed(name, day, "day")

    cost = cost_report(reader, settings, now)
    return Overview(
        at=now,
        timezone=settings.timezone,
        complete_to=reader.watermark(),
        status=assess(reader, settings, now, cost=cost, alerts=alerts, facts=facts),
        queries=daily("queries"),
        response_time=daily("response_time.mean"),
        response_time_p95=daily("response_time.p95"),
        error_rate=daily("error_rate"),
        satisfaction=summed("satisfaction", week, "week"),
        cost=cost,
        experiments=tuple(experiments),
        alerts=tuple(AlertLine(severity=alert.severity, sentence=alert.sentence) for alert in alerts),
    )
