"""The AnalyticsEngine: every question of this folder from one object, for one project, up to now.

Holds a Reader, the catalogue, a clock and the settings; one file a question does the work. Handed to the dashboard
and the command line.
"""

from __future__ import annotations

from collections.abc import Sequence

from barograph.analytics.breakdown import Breakdown, breakdown
from barograph.analytics.change import nothing_to_compare
from barograph.analytics.cost import CostReport, cost_report
from barograph.analytics.overview import Overview, overview
from barograph.analytics.period import recent
from barograph.analytics.status import Facts, FiringAlert, Status, assess
from barograph.analytics.summary import MetricSummary, Percentiles, Series, percentiles, series, summarise
from barograph.analytics.worst import Concern, WorstQuery, worst_queries
from barograph.core.metric import Catalogue
from barograph.core.query import Calendar, Filter, Period, Window, earlier_window
from barograph.core.reader import Reader
from barograph.core.settings import Settings
from barograph.core.zone import zone_of
from barograph_client.clock import Clock

Span = Window | str | float  # a window of its own, a duration up to now such as "24h", or seconds


class AnalyticsEngine:
    """Status, trends, breakdowns, cost and the queries worth looking at. Safe to share between threads.

    Every ``window`` is a Window, or a duration up to now. Methods raise InvalidQuery, UnknownMetric,
    InvalidSettings or EngineError.
    """

    def __init__(self, reader: Reader, catalogue: Catalogue, clock: Clock, settings: Settings) -> None:
        self._reader = reader
        self._catalogue = catalogue
        self._clock = clock
        self._settings = settings

    def _window(self, window: Span) -> Window:
        return window if isinstance(window, Window) else recent(window, self._clock.now())

    def status(self, alerts: Sequence[FiringAlert] = (), facts: Facts | None = None) -> Status:
        """Healthy, warning, critical or no data, with the reasons."""
        return assess(self._reader, self._settings, self._clock.now(), cost=self.cost(), alerts=alerts, facts=facts)

    def overview(
        self, alerts: Sequence[FiringAlert] = (), experiments: Sequence[str] = (), facts: Facts | None = None
    ) -> Overview:
        """The facts of the overview page."""
        return overview(
            self._reader,
            self._catalogue,
            self._settings,
            self._clock.now(),
            alerts=alerts,
            experiments=experiments,
            facts=facts,
        )

    def summary(
        self,
        metric: str,
        window: Span = "24h",
        *,
        compare: Period | None = "previous",
        where: tuple[Filter, ...] = (),
    ) -> MetricSummary:
        """One metric, with its change against the period before, or the same time a day or a week earlier."""
        return summarise(
            self._reader,
            self._catalogue.get(metric),
            self._window(window),
            period=compare,
            where=where,
            timezone=self._settings.timezone,
            project=self._settings.project,
        )

    def percentiles(
        self, stage: str = "response_time", window: Span = "24h", *, where: tuple[Filter, ...] = ()
    ) -> Percentiles:
        """p50, p95, p99 and mean of a stage: response_time, retrieval_time, generation_time, …"""
        return percentiles(
            self._reader, self._catalogue, stage, self._window(window), where=where, project=self._settings.project
        )

    def series(
        self,
        metric: str,
        window: Span = "24h",
        *,
        every: float | Calendar | None = None,
        by: tuple[str, ...] = (),
        where: tuple[Filter, ...] = (),
        compare: Period | None = None,
        limit: int = 5,
    ) -> Series:
        """One metric in buckets; a usual length is chosen when none is given."""
        return series(
            self._reader,
            self._catalogue.get(metric),
            self._window(window),
            every=every,
            by=by,
            where=where,
            period=compare,
            timezone=self._settings.timezone,
            project=self._settings.project,
            limit=limit,
        )

    def nothing_to_compare(self, metric: str, window: Span, compare: Period) -> str:
        """Why the earlier period is nothing to compare with, in a sentence; '' when it is."""
        earlier = earlier_window(self._window(window), compare, zone_of(self._settings.timezone))
        return nothing_to_compare(self._reader, self._catalogue.get(metric), earlier, self._settings.project)

    def breakdown(
        self,
        metric: str,
        by: str,
        window: Span = "24h",
        *,
        top: int = 5,
        compare: Period | None = None,
        where: tuple[Filter, ...] = (),
    ) -> Breakdown:
        """One metric by model, pipeline, user_id or another dimension."""
        return breakdown(
            self._reader,
            self._catalogue.get(metric),
            by,
            self._window(window),
            top=top,
            period=compare,
            where=where,
            timezone=self._settings.timezone,
            project=self._settings.project,
        )

    def cost(self) -> CostReport:
        """Today and this month against the budget."""
        return cost_report(self._reader, self._settings, self._clock.now())

    def worst(
        self, concern: Concern, window: Span = "24h", *, limit: int = 10, where: tuple[Filter, ...] = ()
    ) -> tuple[WorstQuery, ...]:
        """The slowest, errors, no_answer, lowest_score or dearest queries."""
        return worst_queries(
            self._reader, concern, self._window(window), limit=limit, where=where, project=self._settings.project
        )
