"""Routes for whoever watches the server: ``/healthz``, ``/readyz`` and ``/metrics``.

Healthy is a process that answers. Ready is one that can keep events (the journal can be written) and answer questions
(the engine is there and not far behind). The numbers are in Prometheus' text format.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from barograph.alerts.prometheus.exposition import ABOUT, ABOUT_MEASURED, measured_series, rule_series
from barograph.alerts.prometheus.template import go_number
from barograph.core.durations import Durations
from barograph.server.access import Caller
from barograph.server.asking import answer
from barograph.server.site import Site

TEXT = "text/plain; version=0.0.4; charset=utf-8"


async def healthz(site: Site, caller: Caller, request: Request) -> Response:
    """The process answers."""
    return answer({"status": "ok"})


async def readyz(site: Site, caller: Caller, request: Request) -> Response:
    """Whether it can take events and answer questions; 503 with the reasons where it cannot."""
    reasons = await site.ask(lambda: unready(site))
    return answer({"status": "unready" if reasons else "ready", "reasons": reasons}, 503 if reasons else 200)


def unready(site: Site) -> list[str]:
    """Why it is not ready, in sentences that tell nothing of anybody's data."""
    reasons: list[str] = []
    if site.stopping:
        reasons.append("The server is stopping.")
    trouble = site.probe.trouble()
    if trouble:
        reasons.append(trouble)
    health = site.dashboard.store.health()
    if health.problem:
        reasons.append("The engine does not answer.")
    elif not health.ready:
        reasons.append("The engine is being opened.")
    lag = lag_seconds(site)
    if health.ready and lag > site.settings.lag_seconds:
        reasons.append(f"The engine is {lag:.0f} s behind the journal.")
    return reasons


def lag_seconds(site: Site) -> float:
    """How far the engine is behind the journal."""
    health = site.dashboard.store.health()
    if not health.bytes_behind:
        return 0.0
    return max(0.0, (site.clock.now() - health.complete_to).total_seconds())


async def metrics(site: Site, caller: Caller, request: Request) -> Response:
    """The numbers: those of the caller's project, or all there are for one who is bound to none."""
    return Response(await site.ask(lambda: _text(site, caller)), media_type=TEXT)


class _Page:
    """Lines of the exposition format."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def head(self, name: str, kind: str, about: str) -> None:
        self.lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]

    def value(self, name: str, value: float, /, **labels: str) -> None:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        self.lines.append(f"{name}{f'{{{inside}}}' if inside else ''} {go_number(float(value))}")

    def one(self, name: str, kind: str, about: str, value: float) -> None:
        self.head(name, kind, about)
        self.value(name, value)

    def durations(self, name: str, about: str, measured: Durations) -> None:
        self.head(name, "histogram", about)
        for bound, count in measured.cumulative():
            self.value(f"{name}_bucket", count, le="+Inf" if bound is None else f"{bound:g}")
        self.value(f"{name}_sum", measured.total)
        self.value(f"{name}_count", measured.count)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _rules(site: Site, page: _Page) -> None:
    """What the alert rules measure: ``barograph alerts export --prometheus`` writes rules over these."""
    standing = site.dashboard.alerts.conditions()
    series = list(rule_series(standing, site.dashboard.project, site.clock.now()))
    series += measured_series(site.dashboard.alerts.samples(), site.dashboard.project, site.clock.now())
    for name in dict.fromkeys([*ABOUT, *(one.name for one in series)]):
        page.head(name, "gauge", ABOUT.get(name, ABOUT_MEASURED))
        for one in series:
            if one.name == name:
                page.value(name, one.value, **one.labels)


def _text(site: Site, caller: Caller) -> str:
    page, parts = _Page(), site.dashboard.parts
    projects = [project.name for project in parts.projects.list()] if caller.everywhere else [caller.project]
    accounts = {project: parts.journal.account(project) for project in projects}
    for name, about in (
        ("received", "Events that came in"),
        ("stored", "Events that are in the journal"),
        ("rejected", "Events that were refused, with a reason"),
        ("duplicate", "Events that came again"),
    ):
        page.head(f"barograph_events_{name}_total", "counter", f"{about}.")
        for project, account in accounts.items():
            page.value(f"barograph_events_{name}_total", getattr(account, name), project=project)
    traces, health = parts.assembler.progress(), parts.store.health()
    page.one("barograph_engine_ready", "gauge", "Whether the engine is open and has caught up once.", health.ready)
    page.one("barograph_engine_lag_seconds", "gauge", "How far the engine is behind the journal.", lag_seconds(site))
    if caller.everywhere or caller.project == site.dashboard.project:
        _rules(site, page)
    if not caller.everywhere:  # what follows counts the work of other projects too
        return "\n".join([*page.lines, ""])
    alerts, guardrails = site.dashboard.alerts.counters, parts.guardrails.counts
    for name, kind, about, value in (
        ("trace_queries_total", "counter", "Query events made of traces by this process.", traces.queries),
        ("trace_not_queries_total", "counter", "Traces that were no query.", traces.not_queries),
        ("trace_late_spans_total", "counter", "Spans that came after their trace was decided.", traces.late),
        ("traces_waiting", "gauge", "Traces that are still coming in.", traces.waiting),
        ("engine_behind_bytes", "gauge", "Durable bytes that are not in the engine yet.", health.bytes_behind),
        ("attribution_waiting", "gauge", "Feedback and scores whose query is still looked for.", health.undecided),
        ("journal_free_bytes", "gauge", "Free on the disk of the data directory.", parts.journal.free_bytes()),
        ("journal_queue_bytes", "gauge", "Bytes that wait for the journal.", parts.journal.waiting_bytes),
        ("requests_working", "gauge", "Requests with events that are worked on.", site.admission.requests),
        ("requests_held_bytes", "gauge", "Bytes of bodies that are held.", site.admission.bytes),
        ("requests_turned_away_total", "counter", "Requests told to come again.", site.admission.turned_away),
        ("connections_open", "gauge", "Open connections.", site.connections.open),
        ("connections_refused_total", "counter", "Connections beyond the most.", site.connections.refused),
        ("connections_timed_out_total", "counter", "Connections of clients too slow.", site.connections.timed_out),
        ("alert_ticks_total", "counter", "Evaluations of the alert rules.", alerts.ticks),
        ("alert_ticks_missed_total", "counter", "Ticks that were left out.", alerts.missed),
        ("alert_evaluations_failed_total", "counter", "Rule evaluations that ended in an error.", alerts.failed),
        ("guardrail_checks_total", "counter", "Looks at the guardrails of an experiment.", guardrails.checked),
        ("guardrail_checks_failed_total", "counter", "Of these, those that failed.", guardrails.failed),
        ("conditions_asked_total", "counter", "Targeting conditions to evaluate apart.", site.conditions.asked),
        ("conditions_undecided_total", "counter", "Of these, those given up.", site.conditions.undecided),
    ):
        page.one(f"barograph_{name}", kind, about, float(value))
    targets = parts.delivery.sender.status()
    for state, about in (
        ("waiting", "Messages that are to be sent to a target."),
        ("sent", "Messages that a target took, of those that are remembered."),
        ("failed", "Messages that were refused or given up, of those that are remembered."),
    ):
        page.head(f"barograph_notifications_{state}", "gauge", about)
        for target in targets:
            page.value(f"barograph_notifications_{state}", getattr(target, state), target=target.target)
    page.head("barograph_requests_refused_total", "counter", "Requests that were not answered with success.")
    for status, count in sorted(site.refused.by_status.items()):
        page.value("barograph_requests_refused_total", count, status=str(status))
    page.head("barograph_events_dropped_total", "counter", "Acknowledged events that are gone; by what took them.")
    page.value("barograph_events_dropped_total", parts.journal.lost, reason="disk failed in interval mode")
    page.durations("barograph_fsync_seconds", "Time of one sync of the journal.", parts.journal.sync_times)
    page.durations("barograph_engine_query_seconds", "Time of one question to the engine.", parts.store.query_times)
    return "\n".join([*page.lines, ""])
