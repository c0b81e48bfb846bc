"""What pages are made from: the components, and what is known beside them.

Filled by ``dashboard_interface``; read by the pages and by ``report``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from barograph.alerts.alert_manager import AlertManager
from barograph.analytics.analytics_engine import AnalyticsEngine
from barograph.analytics.period import recent
from barograph.analytics.status import Facts
from barograph.core.event import EARLIEST
from barograph.core.metric import Catalogue
from barograph.core.query import EventPage, EventQuery, Filter, Window
from barograph.core.reader import Reader
from barograph.core.settings import Settings
from barograph.core.zone import zone_of
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.visualize.chart import Page
from barograph_client.clock import Clock


@dataclass(frozen=True)
class Material:
    """One open data directory, as pages see it.

    ``facts`` are about the machine, ``health`` are sentences about the journal and the store, empty when all is well;
    ``account`` counts the callers' events: received, stored, rejected, duplicate. ``retired`` is the last day
    of arrival of queries whose raw events are gone.
    """

    analytics: AnalyticsEngine
    reader: Reader
    alerts: AlertManager
    experiments: ABTestFramework
    catalogue: Catalogue
    settings: Settings
    clock: Clock
    facts: Facts = field(default_factory=Facts)
    health: tuple[str, ...] = ()
    account: Mapping[str, int] = field(default_factory=dict)
    retired: date | None = None

    def retired_note(self, window: Window) -> str:
        """What a page over the window cannot hold because raw events were retired, in a sentence; '' when it can."""
        if self.retired is None or window.start.date() > self.retired:
            return ""
        return (
            f"Raw queries that arrived up to {self.retired} were retired: what is told by user, by document or of "
            "single queries covers what came later; totals and trends cover all of it."
        )

    def now(self) -> datetime:
        return self.clock.now()

    def local(self, moment: datetime) -> datetime:
        """The moment in the zone that people see."""
        return moment.astimezone(zone_of(self.settings.timezone))

    def recent(self, duration: float | str) -> Window:
        """The last so many seconds, or a duration such as ``7d``, up to now."""
        return recent(duration, self.now())

    def events(
        self,
        kind: str,
        window: Window,
        *,
        where: tuple[Filter, ...] = (),
        order: str = "time",
        descending: bool = True,
        limit: int = 50,
    ) -> EventPage:
        """Some events of a kind, the newest first unless told otherwise."""
        return self.reader.events(
            EventQuery(
                kind=kind,
                window=window,
                where=where,
                order=order,
                descending=descending,
                limit=limit,
                project=self.settings.project,
            )
        )

    def always(self) -> Window:
        """All the time in which events can lie, up to now."""
        return Window(EARLIEST, self.recent(1.0).end)


@dataclass(frozen=True)
class PageSpec:
    """A page: its name, the question that it answers, the time it looks at, and what makes it.

    ``one`` makes a page of a single thing that the page lists, by its key, where there is such a page.
    """

    name: str
    title: str
    question: str
    span: str
    build: Callable[[Material, Window], Page]
    one: Callable[[Material, Window, str], Page] | None = None
