"""Routes for alerts: what stands, the rules, alerts from outside, silences, acknowledgements.

``/api/v1/alerts`` and ``/rules`` have the shape of Prometheus', with more members; ``/api/v2/alerts`` is
Alertmanager's, so that Prometheus can send here. An alert, a silence or an acknowledgement is on disk when its
answer comes.
https://prometheus.io/docs/prometheus/latest/querying/api/ and Alertmanager's OpenAPI have the shapes.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated as A
from typing import Any

from msgspec import Meta as M
from msgspec import Struct, field
from starlette.requests import Request
from starlette.responses import Response

from barograph.alerts.active_alert import RuleStatus
from barograph.alerts.alert import Alert
from barograph.alerts.incidents import History, history
from barograph.alerts.routing.silences import create_silence
from barograph.alerts.rule import ThresholdRule
from barograph.alerts.schedule import INTERVAL_SECONDS
from barograph.alerts.standing import Standing
from barograph.control.silences import Silence
from barograph.core.query import parse_duration
from barograph.core.zone import zone_of
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.server.access import Caller
from barograph.server.asking import answer
from barograph.server.parameters import Duration, IncidentParameters, from_address, from_body
from barograph.server.site import Site
from barograph_client.errors import InvalidInput

RESOLVE_SECONDS = 300.0  # an alert without an end is over when it was not sent again for so long
LONGEST = timedelta(days=1)  # an alert fires without being sent again at most so long
MOST_ALERTS = 2_000  # of one request
MOST_BODY = 4 * 2**20  # bytes of it
MOST_TEXT = 16_384  # characters of an alert's labels and annotations
_USUAL = "7d"  # of incidents, if nothing else is said
_LABELS, _NAME, _TEXT = 64, 128, 4_096  # labels of an alert, characters of a name and of a value

Zoned = A[datetime, M(tz=True)]
Name = A[str, M(min_length=1, max_length=_NAME)]
Texts = A[dict[Name, A[str, M(max_length=_TEXT)]], M(max_length=_LABELS)]


class SentAlert(Struct, kw_only=True, rename="camel"):
    """An alert as Prometheus sends it."""

    labels: A[Texts, M(min_length=1, description="Its identity; `alertname` by custom")]
    annotations: Texts = field(default_factory=dict)
    starts_at: A[Zoned | None, M(description="When it began; now if absent")] = None
    ends_at: A[Zoned | None, M(description="When it is over unless it is sent again; in five minutes if absent")] = None
    generator_url: A[str, M(max_length=2048)] = field(default="", name="generatorURL")

    def alert(self, now: datetime) -> Alert:
        """As we keep it. Raises InvalidInput."""
        labels = {name: value for name, value in self.labels.items() if value}
        if not labels:
            raise InvalidInput("an alert needs a label with a value", hint='Send labels such as {"alertname": "…"}.')
        ends_at = self.ends_at if self.ends_at is not None and self.ends_at.year > 1 else None
        starts_at = self.starts_at if self.starts_at is not None and self.starts_at.year > 1 else None
        if sum(len(text) for texts in (labels, self.annotations) for one in texts.items() for text in one) > MOST_TEXT:
            raise InvalidInput(f"an alert has at most {MOST_TEXT:,} characters", hint="Send shorter annotations.")
        try:
            end = min((ends_at or now + timedelta(seconds=RESOLVE_SECONDS)).astimezone(UTC), now + LONGEST)
            start = min((starts_at or now).astimezone(UTC), end)
        except OverflowError:
            raise InvalidInput("a time beyond the years 1 to 9999", hint="Send times in UTC.") from None
        return Alert(
            labels=labels,
            annotations=self.annotations,
            starts_at=start,
            ends_at=end,
            updated_at=now,
            generator_url=self.generator_url,
            from_outside=True,
        )


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
    """Who takes care of an alert."""

    fingerprint: A[str, M(min_length=16, max_length=16, description="GET /api/v1/alerts tells it")]
    comment: A[str, M(max_length=1000)] = ""
    author: A[str, M(max_length=128, description="The key's name if absent")] = ""


class SilenceEnd(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which silence to end."""

    id: A[str, M(min_length=1, max_length=64, description="GET /api/v1/silences tells it")]


async def alerts(site: Site, caller: Caller, request: Request) -> Response:
    """Every alert that waits or fires, and what is told of it."""

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        return {"alerts": [_of_prometheus(one) for one in _standing(dashboard)]}

    return _success(await _ask(site, caller, work))


async def rules(site: Site, caller: Caller, request: Request) -> Response:
    """Every rule, where it stands, and its alerts."""

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        stand = _standing(dashboard)
        listed = [
            _rule(status, dashboard.alerts.rule(status.rule), [one for one in stand if _is_of(one, status.rule)])
            for status in dashboard.alerts.rules()
        ]
        group = {"name": "barograph", "file": "barograph.toml", "interval": INTERVAL_SECONDS, "rules": listed}
        return {"groups": [group]}

    return _success(await _ask(site, caller, work))


async def incidents(site: Site, caller: Caller, request: Request) -> Response:
    """What fired in a window, for how long, and how soon it was over."""
    parameters = from_address(request.query_params, IncidentParameters)

    def work(dashboard: DashboardInterface) -> History:
        if parameters.fresh:
            dashboard.flush()
        now = site.clock.now()
        window = parameters.window(now, _USUAL)
        return history(dashboard.store, window, now, project=caller.project, limit=parameters.limit)

    return answer(await _ask(site, caller, work))


async def listed(site: Site, caller: Caller, request: Request) -> Response:
    """Every alert that fires, as Alertmanager tells it."""

    def work(dashboard: DashboardInterface) -> list[dict[str, object]]:
        return [_of_alertmanager(one) for one in _standing(dashboard) if one.state == "firing"]

    return answer(await _ask(site, caller, work))


async def receive(site: Site, caller: Caller, request: Request) -> Response:
    """Take alerts from outside; they are on disk when the answer comes."""
    sent = await from_body(request, list[SentAlert], site.settings.body_seconds, MOST_BODY)
    if len(sent) > MOST_ALERTS:
        raise InvalidInput(f"a request has at most {MOST_ALERTS:,} alerts", hint="Send several.")
    now = site.clock.now()
    taken = [one.alert(now) for one in sent]
    await _ask(site, caller, lambda dashboard: dashboard.notifier.receive(taken))
    return answer({})


async def silences(site: Site, caller: Caller, request: Request) -> Response:
    """Silences in force, to come, and of the last 30 days."""

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        found = dashboard.parts.delivery.silences.list(caller.project)
        return {"silences": [silence_document(one, site.clock.now()) for one in found]}

    return answer(await _ask(site, caller, work))


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

    return answer(await _ask(site, caller, work))


async def end_silence(site: Site, caller: Caller, request: Request) -> Response:
    """End a silence now."""
    body = await from_body(request, SilenceEnd, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> dict[str, object]:
        ended = dashboard.parts.delivery.silences.end(body.id, actor=caller.actor, project=caller.project)
        return silence_document(ended, site.clock.now())

    return answer(await _ask(site, caller, work))


async def acknowledge(site: Site, caller: Caller, request: Request) -> Response:
    """Somebody takes care of an alert: it is not repeated."""
    body = await from_body(request, Acknowledgement, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> None:
        dashboard.notifier.acknowledge(body.fingerprint, by=body.author or caller.actor, comment=body.comment)

    await _ask(site, caller, work)
    return answer({"fingerprint": body.fingerprint})


async def _ask(site: Site, caller: Caller, work: Any) -> Any:
    return await site.ask(lambda: work(site.dashboard.for_project(caller.project)))


def _success(data: object) -> Response:
    return answer({"status": "success", "data": data})


def _standing(dashboard: DashboardInterface) -> list[Standing]:
    return dashboard.alerts.standing(zone_of(dashboard.settings.timezone))


def _of_prometheus(one: Standing) -> dict[str, object]:
    """Prometheus' five members, and ours."""
    return {
        "labels": one.labels,
        "annotations": one.annotations,
        "state": one.state,
        "activeAt": one.active_at,
        "value": _number(one.value),
        "fingerprint": one.fingerprint,
        "startsAt": one.starts_at,
        "fromOutside": one.from_outside,
        "heldBy": one.held_by,
        "told": [
            {"receiver": each.receiver, "told": each.told, "why": each.words, "nextAt": each.next_at}
            for each in one.told
        ],
    }


def _of_alertmanager(one: Standing) -> dict[str, object]:
    held = one.held_by in ("silence", "maintenance")
    return {
        "labels": one.labels,
        "annotations": one.annotations,
        "startsAt": one.starts_at,
        "endsAt": one.ends_at or one.updated_at + timedelta(seconds=RESOLVE_SECONDS),
        "updatedAt": one.updated_at,
        "fingerprint": one.fingerprint,
        "generatorURL": one.generator_url,
        "receivers": [{"name": each.receiver} for each in one.told],
        "status": {
            "state": "suppressed" if one.held_by else "active",
            "silencedBy": [one.held_by] if held else [],
            "inhibitedBy": [one.held_by] if one.held_by and not held else [],
        },
    }


def _rule(status: RuleStatus, rule: ThresholdRule, alerts: list[Standing]) -> dict[str, object]:
    states = {"firing": "firing", "pending": "pending"}
    return {
        "name": status.rule,
        "query": status.condition,
        "duration": rule.for_seconds,
        "labels": {**rule.labels, "severity": status.severity},
        "annotations": {
            **{name: template.text for name, template in rule.annotations.items()},
            **({"runbook_url": rule.runbook} if rule.runbook else {}),
        },
        "alerts": [_of_prometheus(one) for one in alerts],
        "state": states.get(status.state, "inactive"),
        "health": "err" if status.state == "error" else "ok" if status.evaluated_at else "unknown",
        "lastError": status.reason if status.state == "error" else "",
        "lastEvaluation": status.evaluated_at,
        "type": "alerting",
    }


def _is_of(one: Standing, rule: str) -> bool:
    return not one.from_outside and rule in (one.labels.get("alertname"), one.labels.get("rule"))


def _number(value: float | None) -> str:
    """A value as Prometheus writes it."""
    if value is None or math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"


def silence_document(one: Silence, now: datetime) -> dict[str, object]:
    """A silence for programs."""
    state = "active" if one.is_active(now) else "pending" if one.starts_at > now else "expired"
    return {
        "id": one.id,
        "state": state,
        "matchers": list(one.matchers),
        "starts_at": one.starts_at,
        "ends_at": one.until,
        "author": one.author,
        "comment": one.comment,
    }
