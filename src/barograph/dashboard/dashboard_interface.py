"""``DashboardInterface``: the one object that ties the components together, for Python and for the terminal.

What it records is durable when the call returns; what it answers says up to when the data is complete. The parts
are there under their names for everything that goes further: ``collector``, ``store``, ``alerts``, ``analytics``,
``experiments``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypedDict

from barograph.alerts.active_alert import ActiveAlert
from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.backtest import Backtest, backtest
from barograph.alerts.notifier import Notifier
from barograph.alerts.rule import make_rule
from barograph.alerts.rules.function import RuleFunction
from barograph.analytics.analytics_engine import AnalyticsEngine
from barograph.analytics.period import recent
from barograph.analytics.status import Facts, Status
from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.processors import from_settings
from barograph.collect.sinks import JournalSink
from barograph.core.metric import Metric
from barograph.core.query import Calendar, Filter, MetricAnswer, MetricQuery, Window
from barograph.core.settings import RuleSettings, Settings
from barograph.dashboard.assembly import USER_KEY, Components, assemble
from barograph.dashboard.pages import Material, build_page
from barograph.dashboard.remembered import RememberedReader
from barograph.dashboard.report import build_report
from barograph.dashboard.workspace import Workspace
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.store.data_store import DataStore
from barograph.store.metric_answers import check_question
from barograph.visualize.chart import Page
from barograph.visualize.visualizer import Format, Visualizer
from barograph_client.clock import Clock, ManualClock, SystemClock
from barograph_client.errors import InvalidQuery, InvalidSettings


class Account(TypedDict):
    """``received = stored + rejected + duplicate`` of callers' events; Barograph's own by kind."""

    received: int
    stored: int
    rejected: int
    duplicate: int
    internal: dict[str, int]


class DashboardInterface:
    """A data directory, open: record events, ask, draw. A context manager; ``close`` ends it.

    ``overrides`` are settings as nested dictionaries (``journal={"durability": "interval"}``) that win over
    ``barograph.toml`` and the environment. ``background=False`` starts no threads: loading happens in ``flush`` and
    alerts in ``check_alerts``. Raises DirectoryLocked when another process has the directory, InvalidSettings,
    InvalidRule or JournalError.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        environment: Mapping[str, str] | None = None,
        background: bool = True,
        visualizer: Visualizer | None = None,
        **overrides: object,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._parts: Components = assemble(Path(data_dir).absolute(), environment, clock or SystemClock(), overrides)
        self._work: Workspace = self._parts.workspaces.own
        self._visualizer = visualizer or Visualizer(timezone=self._parts.settings.timezone)
        self._background: list[MetricsCollector] = []
        self._root = self
        if background:
            try:
                self._parts.start()
            except BaseException:
                self._parts.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def for_project(self, name: str) -> DashboardInterface:
        """The same open directory, seen from another project: it records there and answers from there alone.

        It shares the threads; closing it closes nothing but its own background collectors, and it is of no use once
        this one is closed. Raises InvalidInput when there is no such project.
        """
        view = object.__new__(DashboardInterface)
        view._parts = self._parts
        view._work = self._parts.workspaces.get(name)
        view._visualizer = self._visualizer
        view._background = []
        view._root = self._root
        return view

    # recording: durable when the call returns

    def record_query_execution(self, execution: Mapping[str, object]) -> str:
        """Record one execution of the RAG system; returns the event's id. Raises InvalidEvent or JournalError."""
        return self._work.collector.record_query_execution(execution)

    def record_feedback(self, feedback: Mapping[str, object]) -> str:
        """Record what a user said of an answer; returns the event's id. Raises InvalidEvent or JournalError."""
        return self._work.collector.record_feedback(feedback)

    def record_score(self, score: Mapping[str, object]) -> str:
        """Record a named judgement; returns the event's id. Raises InvalidEvent or JournalError."""
        return self._work.collector.record_score(score)

    def record_system(self, sample: Mapping[str, object]) -> str:
        """Record the state of a machine; returns the event's id. Raises InvalidEvent or JournalError."""
        return self._work.collector.record_system(sample)

    def record(self, name: str, value: float, tags: Mapping[str, object] | None = None) -> str:
        """Record any named number; returns the event's id. Raises InvalidEvent or JournalError."""
        return self._work.collector.record(name, value, tags)

    def annotate(
        self, title: str, *, category: str = "other", text: str = "", link: str = "", time: datetime | None = None
    ) -> str:
        """Note a deploy, a new prompt, an index rebuild; returns the event's id. Raises InvalidEvent."""
        return self._work.collector.annotate(title, category=category, text=text, link=link, time=time)

    def background_collector(self) -> MetricsCollector:
        """A collector for programs that must never wait: it queues, never blocks and never raises.

        What it has to drop is counted in its ``counts``. It is flushed and closed with this dashboard.
        """
        parts, settings = self._parts, self._work.settings
        collector = MetricsCollector(
            JournalSink(parts.journal),
            parts.clock,
            parts.identifiers,
            settings.collect,
            project=settings.project,
            processors=from_settings(settings.collect, parts.directory / USER_KEY),
            background=True,
        )
        self._background.append(collector)
        if self._root is not self:
            self._root._background.append(collector)  # which is closed last
        return collector

    def flush(self) -> datetime:
        """Make all that was recorded visible; returns up to when the data is complete. Raises EngineError."""
        return self._parts.store.flush()

    def account(self) -> Account:
        """``received = stored + rejected + duplicate`` of callers' events; Barograph's own under ``internal``.

        Of this project; ``parts.journal.account()`` tells of all.
        """
        account = self._parts.journal.account(self._work.project)
        return {
            "received": account.received,
            "stored": account.stored,
            "rejected": account.rejected,
            "duplicate": account.duplicate,
            "internal": dict(account.internal),
        }

    def add_metric(self, metric: Metric) -> None:
        """Add a metric of your own to the catalogue, for as long as this is open. Raises InvalidSettings."""
        now = self._parts.clock.now()
        self._parts.catalogue.add(metric)
        try:
            check_question(MetricQuery(metric=metric.name, window=recent("1h", now)), self._parts.catalogue)
        except InvalidQuery as error:
            self._parts.catalogue.remove(metric.name)
            raise InvalidSettings(f"metric {metric.name}: {error.message}", hint=error.hint) from None

    def add_rule(self, rule: RuleSettings, function: RuleFunction | None = None) -> None:
        """Add an alert rule to this project, for as long as this is open; one of kind ``function`` asks the function.

        Raises InvalidRule.
        """
        self._work.alerts.rule_set.add(rule, function)
        self._work.alerts.reload()

    # asking

    def status(self) -> Status:
        """Healthy, warning, critical or no data, with the reasons. Raises EngineError."""
        return self._work.analytics.status(self._work.alerts.active(), self._facts())

    def query(
        self,
        metric: str,
        *,
        last: float | str | None = "24h",
        window: Window | None = None,
        every: float | Calendar | None = None,
        by: Sequence[str] = (),
        where: Sequence[Filter | str] = (),
        compare: Literal["previous", "day", "week"] | Window | None = None,
        limit: int = 50,
        timezone: str = "",
    ) -> MetricAnswer:
        """One metric over a window (``last`` seconds or ``7d``), in buckets, by group, filtered.

        ``timezone`` is whose days the buckets are; the settings' if it is not given.
        Raises UnknownMetric, InvalidQuery or EngineError.
        """
        filters = tuple(Filter.parse(item) if isinstance(item, str) else item for item in where)
        return self._parts.store.query(
            MetricQuery(
                metric=metric,
                window=window or recent(last or "24h", self._parts.clock.now()),
                every=every,
                by=tuple(by),
                where=filters,
                compare=compare,
                timezone=timezone or self._parts.settings.timezone,
                project=self._work.project,
                limit=limit,
            )
        )

    def check_alerts(self) -> list[ActiveAlert]:
        """What is active in this project now, the worst first: every rule is evaluated. Raises EngineError.

        While rules are watched in the background nothing of it is kept; what it finds is shown until they have come as
        far.
        """
        return self._work.alerts.check()

    def backtest(
        self,
        rule: str | RuleSettings,
        window: Window,
        progress: Callable[[float], None] = lambda share: None,
        *,
        function: RuleFunction | None = None,
    ) -> Backtest:
        """What a rule would have done in a window: one that is in use, by its name, or one that is only tried.

        One of kind ``function`` that is only tried asks ``function``. ``progress`` is told the share that is done.
        Raises InvalidRule, InvalidQuery or EngineError.
        """
        known = (
            self._work.alerts.rule(rule) if isinstance(rule, str) else make_rule(rule, self._parts.catalogue, function)
        )
        return backtest(known, self._parts.store, self._work.project, window, progress)

    # drawing

    def draw_with(self, visualizer: Visualizer) -> None:
        """Draw for another terminal or width from now on."""
        self._visualizer = visualizer

    def page(self, page: str = "overview", window: Window | None = None, *, experiment: str = "") -> Page:
        """A page as a chart specification; with an experiment's key, the page of that one in full.

        Raises InvalidQuery for an unknown page, UnknownExperiment for an experiment that there is not.
        """
        reader = RememberedReader(self._parts.store)
        material = self._material(reader)
        return reader.with_foresight(lambda: build_page(page, material, window, experiment=experiment))

    def render(
        self, page: str = "overview", *, window: Window | None = None, experiment: str = "", format: Format = "text"
    ) -> str:
        """A page as text, JSON or CSV. Raises what ``page`` raises."""
        return self._visualizer.draw(self.page(page, window, experiment=experiment), format)

    def report(self, hours: float = 24.0, *, format: Format = "text") -> str:
        """A report on the last hours: findings, key numbers, charts, the experiment, the worst queries."""
        return self._visualizer.draw(self.report_page(hours), format)

    def report_page(self, hours: float = 24.0) -> Page:
        """The report as a chart specification. Raises InvalidQuery for a time it cannot be about."""
        reader = RememberedReader(self._parts.store)
        material = self._material(reader)
        return reader.with_foresight(lambda: build_report(material, hours))

    # the parts

    @property
    def project(self) -> str:
        return self._work.project

    @property
    def collector(self) -> MetricsCollector:
        return self._work.collector

    @property
    def store(self) -> DataStore:
        return self._parts.store

    @property
    def alerts(self) -> AlertManager:
        return self._work.alerts

    @property
    def notifier(self) -> Notifier:
        """What routes this project's alerts to people."""
        return self._work.notifier

    @property
    def analytics(self) -> AnalyticsEngine:
        return self._work.analytics

    @property
    def experiments(self) -> ABTestFramework:
        return self._work.experiments

    @property
    def settings(self) -> Settings:
        """The directory's settings; ``project`` is the one that this looks at."""
        return self._work.settings

    @property
    def parts(self) -> Components:
        """What all projects share, for what has no method here."""
        return self._parts

    def close(self) -> None:
        """Stop, make durable what waits, let the directory go. May be called again."""
        while self._background:
            self._background.pop().close()
        if self._root is self:
            self._parts.close()

    def _facts(self) -> Facts:
        journal = self._parts.journal
        return Facts(low_disk=journal.low_disk, free_bytes=journal.free_bytes())

    def _material(self, reader: RememberedReader) -> Material:
        """What a page is made from: the clock stands still, and each question is asked once."""
        parts, work = self._parts, self._work
        clock = ManualClock(parts.clock.now())
        own = (parts.housekeeper.problem, parts.workspaces.problem)
        problems = (
            parts.store.health().problem,
            parts.assembler.progress().problem,
            *(str(problem or "") for problem in own),
            parts.guardrails.problem(work.project),
        )
        account = parts.journal.account(work.project)
        return Material(
            analytics=AnalyticsEngine(reader, parts.catalogue, clock, work.settings),
            reader=reader,
            alerts=work.alerts,
            experiments=work.experiments.through(reader, clock),
            catalogue=parts.catalogue,
            settings=work.settings,
            clock=clock,
            facts=self._facts(),
            retired=max(parts.store.retired("query"), default=None),
            health=(*(problem for problem in problems if problem), *parts.journal.problems),
            account={
                "received": account.received,
                "stored": account.stored,
                "rejected": account.rejected,
                "duplicate": account.duplicate,
            },
        )
