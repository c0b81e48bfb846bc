"""Routes that answer: metrics over time, queries and their traces, status, account, pages, reports.

Every answer is about the caller's project alone and says up to when the data is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from barograph.alerts.backtest import Backtest
from barograph.core.query import EventQuery, MetricAnswer, MetricQuery
from barograph.core.zone import zone_of
from barograph.dashboard.asked import Asked, document
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.dashboard.trace import Trace, trace_of, trace_page
from barograph.server.access import Caller
from barograph.server.parameters import (
    BacktestQuestion,
    Drawn,
    EventSearchParameters,
    FreshParameters,
    MetricQuestion,
    PageParameters,
    ReportParameters,
    SearchParameters,
    TraceParameters,
    caller_kind,
    filters,
    from_address,
    from_body,
)
from barograph.server.problems import Problem
from barograph.server.site import Site
from barograph.visualize.visualizer import Visualizer
from barograph_client.errors import InvalidInput

T = TypeVar("T")
_USUAL = "24h"
_TRIED = "30d"  # a rule, if nothing else is said
_OF_ALL_PROJECTS = ("bytes_behind", "undecided")  # of the store, not for one who is bound to a project
_MEDIA = {"text": "text/plain", "json": "application/json", "csv": "text/csv"}


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer; times in ISO 8601, UTC."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def ask(
    site: Site, caller: Caller, fresh: bool, work: Callable[[DashboardInterface], T], *, rules: bool = False
) -> T:
    """Ask the caller's project in a thread; where it is to be fresh, after loading what is durable.

    ``rules`` is whether the answer shows alerts, so that to be fresh these are looked at, too.
    """

    def asked() -> T:
        dashboard = site.dashboard.for_project(caller.project)
        if fresh:
            dashboard.flush()
            if rules:
                dashboard.check_alerts()
        return work(dashboard)

    return await site.ask(asked)


async def query(site: Site, caller: Caller, request: Request) -> Response:
    """One metric over a window."""
    question = await from_body(request, MetricQuestion, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        names = [question.metric] if isinstance(question.metric, str) else question.metric
        asked = MetricQuery(
            metric="",
            window=question.window(site.clock.now(), _USUAL),
            every=question.bucket(),
            by=tuple(question.by),
            where=filters(question.where, "query"),
            compare=question.compare,
            timezone=question.timezone or dashboard.settings.timezone,
            project=caller.project,
            limit=question.limit,
        )
        answers = dashboard.store.query_many([replace(asked, metric=name) for name in names])
        documents = [_metric_document(dashboard, asked, found) for found in answers]
        return documents[0] if isinstance(question.metric, str) else {"answers": documents}

    return answer(await ask(site, caller, question.fresh, work))


def _metric_document(dashboard: DashboardInterface, question: MetricQuery, found: MetricAnswer) -> dict[str, object]:
    period = question.compare if isinstance(question.compare, str) else None
    missing = dashboard.analytics.nothing_to_compare(found.metric, question.window, period) if period else ""
    title = dashboard.parts.catalogue.get(found.metric).title
    asked = Asked(
        title=title,
        window=question.window,
        zone=zone_of(question.timezone),
        every=question.every,
        compare=period,
        missing=missing,
    )
    told = {"title": title, "timezone": question.timezone, **({"missing": missing} if missing else {})}
    return {**document(found, asked), **told}


async def backtest(site: Site, caller: Caller, request: Request) -> Response:
    """What a rule would have done in a window."""
    question = await from_body(request, BacktestQuestion, site.settings.body_seconds)
    if bool(question.rule) == (question.definition is not None):
        raise InvalidInput("name a rule, or define one", hint="Send either `rule` or `definition`.")

    def work(dashboard: DashboardInterface) -> Backtest:
        window = question.window(site.clock.now(), _TRIED)
        return dashboard.backtest(question.definition or question.rule, window)

    return answer(await ask(site, caller, question.fresh, work))


async def queries(site: Site, caller: Caller, request: Request) -> Response:
    """A page of queries."""
    return await _search(site, caller, from_address(request.query_params, SearchParameters), "query")


async def events(site: Site, caller: Caller, request: Request) -> Response:
    """A page of events of any kind."""
    parameters = from_address(request.query_params, EventSearchParameters)
    return await _search(site, caller, parameters, caller_kind(parameters.kind))


async def _search(site: Site, caller: Caller, parameters: SearchParameters, kind: str) -> Response:
    def work(dashboard: DashboardInterface) -> dict[str, object]:
        page = dashboard.store.events(
            EventQuery(
                kind=kind,
                window=parameters.window(site.clock.now(), _USUAL),
                where=filters([*parameters.f, *parameters.where], kind),
                order=parameters.order,
                descending=not parameters.ascending,
                limit=parameters.limit,
                cursor=parameters.cursor,
                project=caller.project,
            )
        )
        items = [_unknown_stays_so(item) for item in page.items] if kind == "query" else page.items
        return {"items": items, "cursor": page.cursor, "complete_to": page.complete_to}

    return answer(await ask(site, caller, parameters.fresh, work))


def _unknown_stays_so(query: dict[str, Any]) -> dict[str, Any]:
    """The engine has no list that is absent; whether passages were told stands in their count."""
    return query if query["documents"] or query["document_count"] is not None else {**query, "documents": None}


async def query_detail(site: Site, caller: Caller, request: Request) -> Response:
    """One query by its trace id or its event id, with the spans of its trace and what was said of it."""
    parameters = from_address(request.query_params, TraceParameters)
    wanted = request.path_params["id"]

    def work(dashboard: DashboardInterface) -> Trace | str | None:
        found = trace_of(dashboard.store, caller.project, wanted, site.clock.now())
        if found is None or parameters.format == "json":
            return found
        page = trace_page(found, dashboard.settings.timezone)
        return _visualizer(parameters, dashboard).draw(page, parameters.format)

    found = await ask(site, caller, parameters.fresh, work)
    if found is None:
        raise Problem(404, "unknown-query", "there is no query and no trace of that id",
                      hint="What has just been sent is there within a second, a trace after its grace.")  # fmt: skip
    return _drawn(found, parameters.format) if isinstance(found, str) else answer(found)


async def status(site: Site, caller: Caller, request: Request) -> Response:
    """Healthy, warning, critical or no data, with the reasons."""
    fresh = from_address(request.query_params, FreshParameters).fresh
    return answer(await ask(site, caller, fresh, lambda dashboard: status_document(dashboard, caller), rules=True))


def status_document(dashboard: DashboardInterface, caller: Caller) -> dict[str, object]:
    """The status for programs."""
    found = dashboard.status()
    store = msgspec.structs.asdict(dashboard.store.health())
    if not caller.everywhere:
        for name in _OF_ALL_PROJECTS:
            del store[name]
    return {
        "state": found.state,
        "reasons": found.reasons,
        "alerts": dashboard.alerts.active(),
        "account": dashboard.account(),
        "complete_to": dashboard.store.watermark(),
        "store": store,
        "timezone": dashboard.settings.timezone,
    }


async def stats(site: Site, caller: Caller, request: Request) -> Response:
    """What became of every event that was received: received = stored + rejected + duplicate."""

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        account, health = dashboard.account(), dashboard.store.health()
        return {
            **account,
            "project": caller.project,
            "complete_to": health.complete_to,
            **({"bytes_behind": health.bytes_behind} if caller.everywhere else {}),
        }

    return answer(await ask(site, caller, False, work))


async def metrics(site: Site, caller: Caller, request: Request) -> Response:
    """The catalogue of metrics."""
    names = ("name", "title", "unit", "aggregation", "better", "sentence", "user_defined")
    catalogue = site.dashboard.parts.catalogue
    return answer({"items": [{name: getattr(metric, name) for name in names} for metric in catalogue]})


async def page(site: Site, caller: Caller, request: Request) -> Response:
    """A page of the dashboard, drawn."""
    parameters = from_address(request.query_params, PageParameters)
    name = request.path_params["page"]

    def work(dashboard: DashboardInterface) -> str:
        asked = None if not (parameters.from_ or parameters.to or parameters.last) else True
        window = parameters.window(site.clock.now(), _USUAL) if asked else None
        made = dashboard.page(name, window, experiment=parameters.experiment)
        return _visualizer(parameters, dashboard).draw(made, parameters.format)

    return _drawn(await ask(site, caller, parameters.fresh, work, rules=True), parameters.format)


async def report(site: Site, caller: Caller, request: Request) -> Response:
    """A report on the last hours, drawn."""
    parameters = from_address(request.query_params, ReportParameters)

    def work(dashboard: DashboardInterface) -> str:
        made = dashboard.report_page(parameters.hours)
        return _visualizer(parameters, dashboard).draw(made, parameters.format)

    return _drawn(await ask(site, caller, parameters.fresh, work, rules=True), parameters.format)


def _visualizer(parameters: Drawn, dashboard: DashboardInterface) -> Visualizer:
    return Visualizer(parameters.charset, parameters.width, parameters.colour, dashboard.settings.timezone)


def _drawn(text: str, format: str) -> Response:
    return Response(f"{text.rstrip()}\n", media_type=f"{_MEDIA[format]}; charset=utf-8")
