"""What the routes that answer questions give, as structs that describe it in the OpenAPI document.

The handlers encode what they have; the tests hold every answer against these. Members that an answer may have besides
are told by nothing here, so that a client does not take them for promised.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated as A
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec import Meta as M

from barograph.alerts.rule_set import Source
from barograph.control.audit import AuditEntry
from barograph.dashboard.open_alerts import OpenAlert, OpenAlerts
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.design import Experiment

Count = A[int, M(ge=0)]
Item = A[dict[str, Any], M(description="An event with all fields of its kind; docs/events.md tells them")]
CompleteTo = A[datetime, M(description="Every event that arrived up to then is in the answer")]


class Healthy(Struct, kw_only=True):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Struct, kw_only=True):
    """Whether it can take events and answer questions, and why not."""

    status: Literal["ready", "unready"]
    reasons: list[str]


class EventsPage(Struct, kw_only=True):
    """A page of events; an empty cursor says that it is the last one."""

    items: list[Item]
    cursor: str
    complete_to: CompleteTo


class QueryDetail(Struct, kw_only=True):
    """One query with its trace; no query where the trace has not become one."""

    query: Item | None
    trace_id: str
    spans: A[list[Item], M(description="By their start; late ones came after the query event was made")]
    feedback: list[Item]
    scores: list[Item]
    complete_to: CompleteTo


class Row(Struct, kw_only=True, rename={"from_": "from"}):
    """A metric in one bucket and group; no value where nothing was measured."""

    from_: datetime
    to: datetime
    value: float | None
    n: Count


class MetricRows(Struct, kw_only=True):
    """A metric over a window."""

    metric: str
    unit: str
    rows: list[Row]
    complete_to: CompleteTo


class AccountNow(Struct, kw_only=True):
    """received = stored + rejected + duplicate; ``internal`` counts Barograph's own events by kind."""

    received: Count
    stored: Count
    rejected: Count
    duplicate: Count
    internal: dict[str, Count]


class Stats(AccountNow, kw_only=True):
    """The account of a project, and, for one who is bound to none, how far the engine is behind."""

    project: str
    complete_to: CompleteTo
    bytes_behind: Count | UnsetType = UNSET


class Reason(Struct, kw_only=True):
    """A sentence of the status."""

    about: str
    level: str
    sentence: str


class StatusNow(Struct, kw_only=True):
    """Healthy, warning, critical or no data, with the reasons."""

    state: str
    reasons: list[Reason]
    alerts: list[dict[str, Any]]
    account: AccountNow
    complete_to: CompleteTo
    store: dict[str, Any]
    timezone: str


class MetricAbout(Struct, kw_only=True):
    """A metric of the catalogue."""

    name: str
    title: str
    unit: str
    aggregation: str
    better: str
    sentence: str
    user_defined: bool


class Catalogue(Struct, kw_only=True):
    """All metrics."""

    items: list[MetricAbout]


class Verified(Struct, kw_only=True):
    """Whether the engine holds what the journal does."""

    ok: bool


class Compressed(Struct, kw_only=True):
    """How many segments were compressed."""

    segments: Count


class AlertsNow(Struct, kw_only=True):
    """What waits and fires, in Prometheus' frame."""

    status: Literal["success"]
    data: OpenAlerts


class RuleNow(Struct, kw_only=True, rename="camel"):
    """A rule, in Prometheus' shape."""

    name: str
    query: str
    duration: float
    labels: dict[str, str]
    annotations: dict[str, str]
    alerts: list[OpenAlert]
    state: Literal["inactive", "pending", "firing"]
    health: Literal["ok", "err", "unknown"]
    last_error: str
    last_evaluation: datetime | None
    type: Literal["alerting"]
    source: Source


class RuleInForce(Struct, kw_only=True):
    """Where the rule of that name comes from now, or that there is none in force."""

    name: str
    source: Source | None


class RuleGroupNow(Struct, kw_only=True):
    """The rules that are evaluated together."""

    name: str
    file: str
    interval: float
    rules: list[RuleNow]


class RulesData(Struct, kw_only=True):
    """The groups; there is one."""

    groups: list[RuleGroupNow]


class RulesNow(Struct, kw_only=True):
    """The rules, in Prometheus' frame."""

    status: Literal["success"]
    data: RulesData


class SilenceNow(Struct, kw_only=True):
    """A silence."""

    id: str
    state: Literal["active", "pending", "expired"]
    matchers: list[str]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str


class SilencesNow(Struct, kw_only=True):
    """Silences in force, to come, and of the last 30 days."""

    silences: list[SilenceNow]


class Experiments(Struct, kw_only=True):
    """The experiments of a project, oldest first."""

    experiments: list[Experiment]


class ExperimentHistory(Struct, kw_only=True):
    """Who changed an experiment and how, newest first; ``more`` where there are older changes than these."""

    entries: list[AuditEntry]
    more: bool

    @classmethod
    def of(cls, framework: ABTestFramework, key: str, limit: int) -> ExperimentHistory:
        """Its last ``limit`` changes. Raises UnknownExperiment and ControlError."""
        framework.get(key)
        found = framework.history(key, limit + 1)
        return cls(entries=list(found[:limit]), more=len(found) > limit)
