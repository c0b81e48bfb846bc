"""Routes for alerts: what stands, the rules, incidents, silences, acknowledgements.

``/api/v1/alerts`` and ``/rules`` have the shape of Prometheus', with more members; ``alertmanager_api`` has those of
Alertmanager. A silence or an acknowledgement is on disk when its answer comes.
https://prometheus.io/docs/prometheus/latest/querying/api/ has the shapes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated as A

from msgspec import Meta as M
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from barograph.alerts.active_alert import RuleStatus
from barograph.alerts.incidents import History
from barograph.alerts.routing.silences import create_silence
from barograph.alerts.rule import ThresholdRule
from barograph.alerts.schedule import INTERVAL_SECONDS
from barograph.alerts.standing import Standing
from barograph.control.silences import Silence
from barograph.core.query import parse_duration
from barograph.core.settings import RuleSettings
from barograph.core.zone import zone_of
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.dashboard.incident_history import incident_history
from barograph.dashboard.open_alerts import FULL, NamedAlert, OpenAlerts, named, open_alert, open_alerts
from barograph.server.access import Caller
from barograph.server.asking import answer, ask
from barograph.server.parameters import AlertParameters, Duration, IncidentParameters, from_address, from_body
from barograph.server.site import Site

_USUAL = "7d"  # of incidents, if nothing else is said
_TEXT = 4_096  # characters of a matcher


class SilenceBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to hold back, for how long, and why."""

    matchers: A[
        list[A[str, M(max_length=_TEXT)]],
        M(min_length=1, max_length=50, description='Such as severity="info"; =, !=, =~ and !~'),
    ]
    lasts: Duration = "1h"
    comment: A[str, M(max_length=1000)] = ""
    author: A[str, M(max_length=128, description="The key's name if absent")] = ""


class Acknowledgement(Struct, kw_only=True, forbid_unknown_fields=True):
    """Who takes care of an alert, or no longer does."""

    fingerprint: A[
        str,
        M(min_length=1, max_length=FULL, description="GET /api/v1/alerts tells it; four digits of it will often do"),
    ]
    comment: A[str, M(max_length=1000)] = ""
    author: A[str, M(max_length=128, description="The key's name if absent")] = ""


class RuleName(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which rule to remove."""

    name: A[str, M(min_length=1, max_length=128, description="GET /api/v1/rules tells which are kept")]


class SilenceEnd(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which silence to end."""

    id: A[str, M(min_length=1, max_length=64, description="GET /api/v1/silences tells it")]


async def alerts(site: Site, caller: Caller, request: Request) -> Response:
    """Every alert that waits or fires, or those that are asked for, and what is told of each."""
    choice = from_address(request.query_params, AlertParameters).choice()

    def work(dashboard: DashboardInterface) -> OpenAlerts:
        return open_alerts(dashboard.alerts, zone_of(dashboard.settings.timezone), choice)

    return _success(await ask(site, caller, False, work))


async def rules(site: Site, caller: Caller, request: Request) -> Response:
    """Every rule, where it stands, and its alerts."""

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        stand = _standing(dashboard)
        in_force = {rule.name: rule for rule in dashboard.alerts.rule_set.rules}
        listed = [
            _rule(status, in_force.get(status.rule), [one for one in stand if _is_of(one, status.rule)])
            for status in dashboard.alerts.rules()
        ]
        group = {"name": "barograph", "file": "barograph.toml", "interval": INTERVAL_SECONDS, "rules": listed}
        return {"groups": [group]}

    return _success(await ask(site, caller, False, work))


async def keep_rule(site: Site, caller: Caller, request: Request) -> Response:
    """Make a rule, or replace a kept or a default one; it is in force, and on disk, when the answer comes."""
    body = await from_body(request, RuleSettings, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        dashboard.alerts.rule_set.keep(body, actor=caller.actor)
        return _in_force(dashboard, body.name)

    return answer(await ask(site, caller, False, work))


async def remove_rule(site: Site, caller: Caller, request: Request) -> Response:
    """Remove a kept rule; what fired of it is resolved."""
    body = await from_body(request, RuleName, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        dashboard.alerts.rule_set.remove(body.name, actor=caller.actor)
        return _in_force(dashboard, body.name)

    return answer(await ask(site, caller, False, work))


def _in_force(dashboard: DashboardInterface, name: str) -> dict[str, object]:
    dashboard.alerts.reload()
    rules = dashboard.alerts.rule_set
    there = any(rule.name == name for rule in rules.rules)
    return {"name": name, "source": rules.source(name) if there else None}


async def incidents(site: Site, caller: Caller, request: Request) -> Response:
    """What fired in a window, for how long, and how soon it was over."""
    parameters = from_address(request.query_params, IncidentParameters)

    def work(dashboard: DashboardInterface) -> History:
        now = site.clock.now()
        window = parameters.window(now, _USUAL)
        return incident_history(dashboard, window, now, limit=parameters.limit, each=parameters.queries)

    return answer(await ask(site, caller, parameters.fresh, work))


async def silences(site: Site, caller: Caller, request: Request) -> Response:
    """Silences in force, to come, and of the last 30 days."""

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        found = dashboard.parts.delivery.silences.list(caller.project)
        return {"silences": [silence_document(one, site.clock.now()) for one in found]}

    return answer(await ask(site, caller, False, work))


async def silence(site: Site, caller: Caller, request: Request) -> Response:
    """Make a silence."""
    body = await from_body(request, SilenceBody, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        made = create_silence(
            dashboard.parts.delivery.silences,
            project=caller.project,
            matchers=body.matchers,
            ends_at=site.clock.now() + timedelta(seconds=parse_duration(body.lasts)),
            author=body.author or caller.actor,
            comment=body.comment,
        )
        return silence_document(made, site.clock.now())

    return answer(await ask(site, caller, False, work))


async def end_silence(site: Site, caller: Caller, request: Request) -> Response:
    """End a silence now."""
    body = await from_body(request, SilenceEnd, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        ended = dashboard.parts.delivery.silences.end(body.id, actor=caller.actor, project=caller.project)
        return silence_document(ended, site.clock.now())

    return answer(await ask(site, caller, False, work))


async def acknowledge(site: Site, caller: Caller, request: Request) -> Response:
    """Somebody takes care of an alert: it is not repeated."""
    body = await from_body(request, Acknowledgement, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> NamedAlert:
        alert = _named(dashboard, body)
        dashboard.notifier.acknowledge(alert.fingerprint, by=body.author or caller.actor, comment=body.comment)
        return alert

    return answer(await ask(site, caller, False, work))


async def withdraw(site: Site, caller: Caller, request: Request) -> Response:
    """Nobody takes care of an alert any more: it is repeated again."""
    body = await from_body(request, Acknowledgement, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> NamedAlert:
        alert = _named(dashboard, body)
        dashboard.notifier.withdraw(alert.fingerprint, by=body.author or caller.actor, comment=body.comment)
        return alert

    return answer(await ask(site, caller, False, work))


def _named(dashboard: DashboardInterface, body: Acknowledgement) -> NamedAlert:
    return named(dashboard.alerts, body.fingerprint, zone_of(dashboard.settings.timezone))


def _success(data: object) -> Response:
    return answer({"status": "success", "data": data})


def _standing(dashboard: DashboardInterface) -> list[Standing]:
    return dashboard.alerts.standing(zone_of(dashboard.settings.timezone))


def _rule(status: RuleStatus, rule: ThresholdRule | None, alerts: list[Standing]) -> dict[str, object]:
    """The rule's status; of one that cannot be used there is no more to tell."""
    annotations = {name: template.text for name, template in rule.annotations.items()} if rule else {}
    states = {one.state for one in alerts if one.labels["alertname"] == status.rule}  # not those about the rule itself
    return {
        "name": status.rule,
        "query": status.condition,
        "duration": status.for_seconds,
        "labels": {**(rule.labels if rule else {}), "severity": status.severity},
        "annotations": {**annotations, **({"runbook_url": rule.runbook} if rule and rule.runbook else {})},
        "alerts": [open_alert(one, rule) for one in alerts],
        "state": next((state for state in ("firing", "pending") if state in states), "inactive"),
        "health": "err" if status.error else "ok" if status.evaluated_at else "unknown",
        "lastError": status.error,
        "lastEvaluation": status.evaluated_at,
        "type": "alerting",
        "source": status.source,
    }


def _is_of(one: Standing, rule: str) -> bool:
    return not one.from_outside and rule in (one.labels.get("alertname"), one.labels.get("rule"))


def silence_document(one: Silence, now: datetime) -> dict[str, object]:
    """A silence for programs."""
    return {
        "id": one.id,
        "state": one.state(now),
        "matchers": list(one.matchers),
        "starts_at": one.starts_at,
        "ends_at": one.until,
        "author": one.author,
        "comment": one.comment,
    }
