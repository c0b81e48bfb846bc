"""The literal list of routes: what each answers, who may ask, what it takes and gives.

``application`` serves it and ``openapi`` describes it, so what is described is what is served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, NamedTuple

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from barograph.alerts.backtest import Backtest
from barograph.alerts.incidents import History
from barograph.collect.otlp_messages import LogsRequest, MetricsRequest, TracesRequest
from barograph.core.settings import RuleSettings
from barograph.dashboard.open_alerts import NamedAlert
from barograph.experiments.comparison import Comparison, Details
from barograph.experiments.design import Experiment
from barograph.experiments.examples import Examples
from barograph.experiments.plan import Plan, PlanQuestion
from barograph.experiments.preview import Assignment
from barograph.experiments.reallocation import Reallocation
from barograph.server import alerting, alertmanager_api, asking, care, experiments, health, ofrep, planning
from barograph.server.access import Caller, Scope
from barograph.server.alertmanager_shapes import (
    AlertmanagerAlert,
    AlertmanagerAlerts,
    AlertmanagerGroup,
    AlertmanagerNow,
    AlertmanagerReceiver,
    AlertmanagerSilence,
    AlertmanagerSilences,
    MadeSilence,
    SentAlert,
    SentSilence,
)
from barograph.server.answers import (
    AlertsNow,
    Catalogue,
    Compressed,
    EventsPage,
    ExperimentHistory,
    Experiments,
    Healthy,
    MetricRows,
    QueryDetail,
    Readiness,
    RuleInForce,
    RulesNow,
    SilencesNow,
    Stats,
    StatusNow,
    Verified,
)
from barograph.server.ingest import Answer, take_events
from barograph.server.openapi_route import openapi
from barograph.server.otlp_routes import take_otlp
from barograph.server.parameters import (
    AlertParameters,
    BacktestQuestion,
    EventSearchParameters,
    FreshParameters,
    IncidentParameters,
    MetricQuestion,
    PageParameters,
    PruneBody,
    RebuildBody,
    ReportParameters,
    SearchParameters,
)
from barograph.server.site import Site
from barograph_client.experiments.definition import Definitions

Handler = Callable[[Site, Caller, Request], Awaitable[Response]]
Refusal = Literal["problem", "otlp", "sentence", "ofrep"]


class Route(NamedTuple):
    """One route. ``takes`` is the kind of events of a body, ``body`` its struct (``many``: an array of them)."""

    method: str
    path: str
    scope: Scope
    handler: Handler
    summary: str
    parameters: type[Struct] | None = None
    body: type[Struct] | None = None
    many: bool = False  # whether the body is an array of them
    takes: str = ""  # a kind of event, "events" for any, "otlp"
    gives: type[Struct] | None = None
    gives_many: bool = False  # whether the answer is an array of them
    refuses: Refusal = "problem"  # the form in which it tells what went wrong
    media: tuple[str, ...] = ("application/json",)
    changes: bool = False  # whether it changes what somebody else may change meanwhile


def _events(path: str, kind: str | None, summary: str) -> Route:
    return Route("POST", f"/api/v1/{path}", "ingest", partial(take_events, kind=kind), summary,
                 takes=kind or "events", gives=Answer)  # fmt: skip


_DRAWN = ("text/plain", "application/json", "text/csv")
_OTLP = ("application/x-protobuf", "application/json")

ROUTES: tuple[Route, ...] = (
    Route("GET", "/healthz", "open", health.healthz, "Whether the process answers", gives=Healthy),
    Route("GET", "/readyz", "open", health.readyz, "Whether it can take events and answer questions",
          gives=Readiness),
    Route("GET", "/metrics", "read", health.metrics, "Its own numbers, for Prometheus", media=("text/plain",)),
    Route("POST", "/v1/traces", "ingest", partial(take_otlp, signal="traces"), "Spans, as OTLP", takes="otlp",
          body=TracesRequest, refuses="otlp", media=_OTLP),
    Route("POST", "/v1/metrics", "ingest", partial(take_otlp, signal="metrics"), "Metric points, as OTLP",
          takes="otlp", body=MetricsRequest, refuses="otlp", media=_OTLP),
    Route("POST", "/v1/logs", "ingest", partial(take_otlp, signal="logs"), "Generative AI records, as OTLP",
          takes="otlp", body=LogsRequest, refuses="otlp", media=_OTLP),
    _events("events", None, "Events of any kind: one, an array, or one a line"),
    _events("feedback", "feedback", "What users said of answers"),
    _events("scores", "score", "Judgements of answers"),
    _events("annotations", "annotation", "Deploys, new prompts, index rebuilds"),
    Route("GET", "/api/v1/events", "read", asking.events, "A page of events of a kind", EventSearchParameters,
          gives=EventsPage),
    Route("POST", "/api/v1/query", "read", asking.query, "One metric over time", body=MetricQuestion, gives=MetricRows),
    Route("GET", "/api/v1/queries", "read", asking.queries, "A page of queries", SearchParameters, gives=EventsPage),
    Route("GET", "/api/v1/queries/{id}", "read", asking.query_detail,
          "One query by its trace or event id, with its spans, feedback and scores", FreshParameters,
          gives=QueryDetail),
    Route("GET", "/api/v1/alerts", "read", alerting.alerts, "What waits and fires, and what is told of it",
          AlertParameters, gives=AlertsNow),
    Route("GET", "/api/v1/rules", "read", alerting.rules, "The alert rules, and where they stand", gives=RulesNow),
    Route("POST", "/api/v1/rules", "admin", alerting.keep_rule, "Make a rule, or replace a kept or a default one",
          body=RuleSettings, gives=RuleInForce),
    Route("POST", "/api/v1/rules/remove", "admin", alerting.remove_rule, "Remove a kept rule",
          body=alerting.RuleName, gives=RuleInForce),
    Route("GET", "/api/v1/incidents", "read", alerting.incidents,
          "What fired in a window, for how long, and the mean time to resolve", IncidentParameters, gives=History),
    Route("POST", "/api/v1/alerts/acknowledge", "admin", alerting.acknowledge, "Somebody takes care of an alert",
          body=alerting.Acknowledgement, gives=NamedAlert),
    Route("POST", "/api/v1/alerts/unacknowledge", "admin", alerting.withdraw, "Nobody takes care of it any more",
          body=alerting.Acknowledgement, gives=NamedAlert),
    Route("GET", "/api/v1/silences", "read", alerting.silences, "Silences, also those of the last 30 days",
          gives=SilencesNow),
    Route("POST", "/api/v1/silences", "admin", alerting.silence, "Hold alerts back for a while",
          body=alerting.SilenceBody),
    Route("POST", "/api/v1/silences/end", "admin", alerting.end_silence, "End a silence", body=alerting.SilenceEnd),
    Route("POST", "/api/v1/alerts/test", "admin", asking.backtest, "What a rule would have done on stored data",
          body=BacktestQuestion, gives=Backtest),
    Route("GET", "/api/v2/status", "read", alertmanager_api.status,
          "What answers here and how alerts are routed, as Alertmanager tells it",
          gives=AlertmanagerNow, refuses="sentence"),
    Route("GET", "/api/v2/receivers", "read", alertmanager_api.receivers, "The receivers, as Alertmanager tells them",
          gives=AlertmanagerReceiver, gives_many=True, refuses="sentence"),
    Route("GET", "/api/v2/alerts", "read", alertmanager_api.alerts, "What fires, as Alertmanager tells it",
          AlertmanagerAlerts, gives=AlertmanagerAlert, gives_many=True, refuses="sentence"),
    Route("POST", "/api/v2/alerts", "ingest", alertmanager_api.receive, "Alerts from outside, as Prometheus sends them",
          body=SentAlert, many=True, refuses="sentence"),
    Route("GET", "/api/v2/alerts/groups", "read", alertmanager_api.groups,
          "What fires in its groups, as Alertmanager tells it",
          AlertmanagerAlerts, gives=AlertmanagerGroup, gives_many=True, refuses="sentence"),
    Route("GET", "/api/v2/silences", "read", alertmanager_api.silences, "Silences, as Alertmanager tells them",
          AlertmanagerSilences, gives=AlertmanagerSilence, gives_many=True, refuses="sentence"),
    Route("POST", "/api/v2/silences", "admin", alertmanager_api.make_silence, "Hold alerts back, as amtool asks it",
          body=SentSilence, gives=MadeSilence, refuses="sentence"),
    Route("GET", "/api/v2/silence/{id}", "read", alertmanager_api.silence, "One silence, as Alertmanager tells it",
          gives=AlertmanagerSilence, refuses="sentence"),
    Route("DELETE", "/api/v2/silence/{id}", "admin", alertmanager_api.end_silence, "End a silence, as amtool asks it",
          refuses="sentence"),
    Route("GET", "/api/v1/experiments", "read", experiments.experiments, "The experiments of the project",
          gives=Experiments),
    Route("POST", "/api/v1/experiments", "admin", experiments.create, "Make an experiment, as a draft",
          body=Experiment, gives=Experiment),
    Route("GET", "/api/v1/experiments/definitions", "ingest", experiments.definitions,
          "What a program must know to assign the arms of experiments itself; with an ETag", gives=Definitions),
    Route("POST", "/api/v1/experiments/plan", "read", planning.plan,
          "What an experiment would take, by the records of the past", FreshParameters, body=PlanQuestion, gives=Plan),
    Route("GET", "/api/v1/experiments/{key}", "read", experiments.experiment, "One experiment; with an ETag",
          gives=Experiment),
    Route("PUT", "/api/v1/experiments/{key}", "admin", experiments.revise,
          "Revise an experiment; once it has started, only what moves no unit and no goal", body=Experiment,
          gives=Experiment, changes=True),
    Route("POST", "/api/v1/experiments/{key}/start", "admin", experiments.start,
          "Start an experiment, or go on after a pause", gives=Experiment, changes=True),
    Route("POST", "/api/v1/experiments/{key}/pause", "admin", experiments.pause,
          "Assign nobody until it is started again", gives=Experiment, changes=True),
    Route("POST", "/api/v1/experiments/{key}/stop", "admin", experiments.stop, "Stop an experiment for good",
          body=experiments.StopBody, gives=Experiment, changes=True),
    Route("POST", "/api/v1/experiments/{key}/reallocate", "admin", experiments.reallocate,
          "Share later units out by how likely each arm is the best", FreshParameters,
          body=experiments.ReallocateBody, gives=Reallocation, changes=True),
    Route("POST", "/api/v1/experiments/{key}/archive", "admin", experiments.archive,
          "Put a draft or a stopped experiment away", gives=Experiment, changes=True),
    Route("GET", "/api/v1/experiments/{key}/comparison", "read", experiments.comparison,
          "The arms compared: the verdict, the sample ratio, every metric", FreshParameters, gives=Comparison),
    Route("GET", "/api/v1/experiments/{key}/details", "read", experiments.details,
          "Courses, slices, the arms' spread and second opinions", FreshParameters, gives=Details),
    Route("GET", "/api/v1/experiments/{key}/examples", "read", experiments.examples,
          "Questions that were asked in several arms, with an answer of each", FreshParameters, gives=Examples),
    Route("GET", "/api/v1/experiments/{key}/history", "read", experiments.history,
          "Who changed an experiment and how", experiments.HistoryParameters, gives=ExperimentHistory),
    Route("GET", "/api/v1/experiments/{key}/assignment", "read", experiments.assignment,
          "What it is, or would be, for a unit; nothing is recorded", experiments.AssignmentParameters,
          gives=Assignment),
    Route("POST", "/api/v1/experiments/{key}/expose", "ingest", experiments.exposure,
          "What it is for a unit, which is exposed to it", body=experiments.ExposureBody, gives=Assignment),
    Route("POST", "/ofrep/v1/evaluate/flags", "ingest", ofrep.evaluate_all,
          "What every experiment is for a unit, as OpenFeature's providers ask; with an ETag",
          body=ofrep.EvaluationRequest, gives=ofrep.Evaluations, refuses="ofrep"),
    Route("POST", "/ofrep/v1/evaluate/flags/{key}", "ingest", ofrep.evaluate,
          "What an experiment is for a unit, as OpenFeature's providers ask",
          body=ofrep.EvaluationRequest, gives=ofrep.Evaluation, refuses="ofrep"),
    Route("GET", "/api/v1/status", "read", asking.status, "Healthy, warning, critical or no data", FreshParameters,
          gives=StatusNow),
    Route("GET", "/api/v1/stats", "read", asking.stats, "received = stored + rejected + duplicate", gives=Stats),
    Route("GET", "/api/v1/metrics", "read", asking.metrics, "The catalogue of metrics", gives=Catalogue),
    Route("GET", "/api/v1/pages/{page}", "read", asking.page, "A page of the dashboard, drawn", PageParameters,
          media=_DRAWN),
    Route("GET", "/api/v1/report", "read", asking.report, "A report on the last hours", ReportParameters,
          media=_DRAWN),
    Route("POST", "/api/v1/care/verify", "owner", care.verify, "Compare journal and engine", gives=Verified),
    Route("POST", "/api/v1/care/rebuild", "owner", care.rebuild, "Make the engine again", body=RebuildBody,
          gives=Verified),
    Route("POST", "/api/v1/care/prune", "owner", care.prune, "Retire old raw events", body=PruneBody),
    Route("POST", "/api/v1/care/compress", "owner", care.compress, "Compress closed days", gives=Compressed),
    Route("POST", "/api/v1/care/doctor", "owner", care.doctor, "Look at disk, journal, engine and rules"),
    Route("GET", "/api/v1/openapi.json", "open", openapi, "This description, OpenAPI 3.1"),
)  # fmt: skip
