"""The desk of a data directory that this process opens itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec

from barograph.alerts.backtest import Backtest
from barograph.alerts.incident_queries import EACH
from barograph.alerts.incidents import History
from barograph.alerts.rules.function import load_function
from barograph.cli.control import actor
from barograph.cli.desk import (
    COUNTED,
    UNKNOWN_TRACE,
    Drawing,
    Listed,
    Question,
    Search,
    Span,
    Told,
    Trial,
)
from barograph.cli.experiment_desk import LocalExperiments
from barograph.cli.options import visualizer_for, window_of
from barograph.core.query import Calendar, EventQuery, MetricAnswer, Period, Window, parse_duration
from barograph.core.zone import zone_of
from barograph.dashboard.asked import Asked
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.dashboard.doctor import Finding, findings
from barograph.dashboard.incident_history import incident_history
from barograph.dashboard.open_alerts import Choice, NamedAlert, OpenAlerts, named, open_alerts
from barograph.dashboard.trace import trace_of, trace_page
from barograph.store.retention import Pruned
from barograph.store.verification import Report
from barograph.visualize.exports import json_text
from barograph.visualize.visualizer import Format
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidEvent, InvalidQuery


class LocalDesk:
    """Asks the open dashboard; see ``Desk``."""

    live = False

    def __init__(self, directory: Path, dashboard: DashboardInterface) -> None:
        self.directory = directory
        self._dashboard = dashboard
        self._before = self._account()

    @property
    def experiments(self) -> LocalExperiments:
        return LocalExperiments(self._dashboard, actor())

    def _account(self) -> dict[str, int]:
        account = self._dashboard.account()
        return {name: cast("dict[str, int]", account)[name] for name in COUNTED}

    def status(self) -> Told:
        dashboard = self._dashboard
        complete_to = dashboard.flush()
        alerts = dashboard.check_alerts()
        found = dashboard.status()
        return Told(
            state=found.state,
            reasons=list(found.reasons),
            alerts=list(alerts),
            account=dict(dashboard.account()),
            complete_to=complete_to,
            store=dashboard.store.health(),
            timezone=dashboard.settings.timezone,
        )

    def page(self, name: str, span: Span, experiment: str, drawing: Drawing) -> str:
        self._look(drawing)
        window = window_of(span.last, span.start, span.end)
        form = cast("Format", drawing.format)
        return self._dashboard.render(name, window=window, experiment=experiment, format=form)

    def trace(self, wanted: str, drawing: Drawing) -> str:
        self._look(drawing)
        dashboard = self._dashboard
        found = trace_of(dashboard.store, dashboard.project, wanted, SystemClock().now())
        if found is None:
            raise InvalidQuery("there is no query and no trace of that id", hint=UNKNOWN_TRACE, value=wanted)
        if drawing.format == "json":
            return json_text(msgspec.to_builtins(found))
        page = trace_page(found, dashboard.settings.timezone)
        look = visualizer_for(dashboard.settings, drawing.charset, drawing.width)
        return look.draw(page, cast("Format", drawing.format))

    def report(self, hours: float, drawing: Drawing) -> str:
        self._look(drawing)
        return self._dashboard.report(hours, format=cast("Format", drawing.format))

    def _look(self, drawing: Drawing) -> None:
        dashboard = self._dashboard
        dashboard.draw_with(visualizer_for(dashboard.settings, drawing.charset, drawing.width))
        dashboard.flush()
        dashboard.check_alerts()

    def query(self, question: Question) -> tuple[MetricAnswer, Asked]:
        dashboard = self._dashboard
        dashboard.flush()
        window = Window(*question.window)
        period = cast("Period | None", question.compare)
        every = cast("float | Calendar | None", question.every)
        answer = dashboard.query(
            question.metric, window=window, every=every, by=question.by, where=question.where, compare=period,
            limit=question.limit,
        )  # fmt: skip
        missing = dashboard.analytics.nothing_to_compare(question.metric, window, period) if period else ""
        asked = Asked(
            title=dashboard.parts.catalogue.get(question.metric).title,
            window=window,
            zone=zone_of(dashboard.settings.timezone),
            every=every,
            compare=period,
            missing=missing,
        )
        return answer, asked

    def events(self, search: Search) -> Listed:
        from barograph.server.parameters import filters  # which knows the other names of fields, as the server does

        dashboard = self._dashboard
        dashboard.flush()
        page = dashboard.store.events(
            EventQuery(
                kind=search.kind,
                window=Window(*search.window),
                where=filters(search.where, search.kind),
                order=search.order,
                descending=not search.ascending,
                limit=search.limit,
                project=dashboard.project,
            )
        )
        return Listed(
            items=list(page.items),
            more=bool(page.cursor),
            complete_to=page.complete_to,
            timezone=dashboard.settings.timezone,
        )

    def record(self, kind: str, fields: dict[str, object]) -> str:
        return self._dashboard.collector.record_event(kind, fields)

    def record_lines(self, lines: Sequence[bytes], kind: str | None) -> Sequence[str | InvalidEvent]:
        return self._dashboard.collector.record_many(lines, kind)

    def counts(self) -> dict[str, int]:
        now = self._account()
        return {name: now[name] - self._before[name] for name in COUNTED}

    def verify(self) -> Report:
        return self._dashboard.store.verify()

    def rebuild(self, day: date | None) -> Report:
        return self._dashboard.store.rebuild(day)

    def prune(self, older_than: str, kinds: Sequence[str]) -> Sequence[Pruned]:
        return self._dashboard.store.prune(timedelta(seconds=parse_duration(older_than)), tuple(kinds))

    def compress(self) -> int:
        return self._dashboard.store.compress_closed()

    def findings(self) -> Sequence[Finding]:
        return findings(self._dashboard)

    def backtest(self, trial: Trial, progress: Callable[[float], None]) -> tuple[Backtest, str]:
        self._dashboard.flush()
        tried = trial.definition
        function = load_function(tried.name, tried.function) if tried and tried.kind == "function" else None
        window = Window(*trial.window)
        found = self._dashboard.backtest(tried or trial.rule, window, progress, function=function)
        return found, self._dashboard.settings.timezone

    def alerts(self, choice: Choice) -> tuple[OpenAlerts, str]:
        dashboard = self._dashboard
        dashboard.flush()
        dashboard.check_alerts()
        timezone = dashboard.settings.timezone
        return open_alerts(dashboard.alerts, zone_of(timezone), choice), timezone

    def history(self, window: tuple[datetime, datetime], limit: int) -> tuple[History, str]:
        dashboard = self._dashboard
        dashboard.flush()
        dashboard.check_alerts()
        dashboard.flush()  # what the look has recorded
        now = SystemClock().now()
        found = incident_history(dashboard, Window(*window), now, limit=limit, each=EACH)
        return found, dashboard.settings.timezone

    def acknowledge(self, beginning: str, by: str, comment: str) -> NamedAlert:
        alert = self._named(beginning)
        self._dashboard.notifier.acknowledge(alert.fingerprint, by=by, comment=comment)
        return alert

    def withdraw(self, beginning: str, by: str, comment: str) -> NamedAlert:
        alert = self._named(beginning)
        self._dashboard.notifier.withdraw(alert.fingerprint, by=by, comment=comment)
        return alert

    def _named(self, beginning: str) -> NamedAlert:
        dashboard = self._dashboard
        return named(dashboard.alerts, beginning, zone_of(dashboard.settings.timezone))
