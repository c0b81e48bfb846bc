"""Alertmanager's API, version 2, so that Prometheus can send here, and ``amtool`` and what else speaks it can ask.

The shapes are in ``alertmanager_shapes``. An alert or a silence is on disk when its answer comes. What is refused is
told as Alertmanager tells it: a sentence, as JSON.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import barograph
from barograph.alerts.alert import Alert
from barograph.alerts.matcher import all_match, parse_matchers
from barograph.alerts.prometheus.routing import routing_yaml
from barograph.alerts.routing.silences import create_silence
from barograph.alerts.standing import Standing
from barograph.control.silences import Silence
from barograph.core.zone import zone_of
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.server.access import Caller
from barograph.server.alertmanager_shapes import (
    AlertmanagerAlert,
    AlertmanagerAlerts,
    AlertmanagerGroup,
    AlertmanagerNow,
    AlertmanagerReceiver,
    AlertmanagerSilence,
    AlertmanagerSilences,
    Cluster,
    Configuration,
    MadeSilence,
    SentAlert,
    SentSilence,
    VersionInfo,
    alert_shape,
    group_shapes,
    in_order,
    silence_shape,
)
from barograph.server.asking import answer, ask
from barograph.server.parameters import from_address, from_body
from barograph.server.problems import Problem
from barograph.server.site import Site
from barograph_client.errors import InvalidInput

ALERTMANAGER = "0.25.0"  # whose API this is
MOST_ALERTS = 2_000  # of one request
MOST_BODY = 4 * 2**20  # bytes of it


async def status(site: Site, caller: Caller, request: Request) -> Response:
    """What answers here, and how alerts are routed."""

    def work(dashboard: DashboardInterface) -> AlertmanagerNow:
        original = routing_yaml(dashboard.notifier.router, dashboard.settings.routing.inhibitions)
        return AlertmanagerNow(
            cluster=Cluster(),
            config=Configuration(original=original),
            uptime=site.started_at,
            version_info=VersionInfo(version=ALERTMANAGER, revision=barograph.__version__, branch="barograph"),
        )

    return answer(await ask(site, caller, False, work))


async def receivers(site: Site, caller: Caller, request: Request) -> Response:
    """The receivers that there are."""

    def work(dashboard: DashboardInterface) -> list[AlertmanagerReceiver]:
        return [AlertmanagerReceiver(name=name) for name in dashboard.notifier.router.receivers]

    return answer(await ask(site, caller, False, work))


async def alerts(site: Site, caller: Caller, request: Request) -> Response:
    """The alerts that fire, by their fingerprint."""
    asked = from_address(request.query_params, AlertmanagerAlerts)

    def work(dashboard: DashboardInterface) -> list[AlertmanagerAlert]:
        router = dashboard.notifier.router
        return [alert_shape(one, router) for one in asked.chosen(_standing(dashboard), router)]

    return answer(await ask(site, caller, False, work))


async def groups(site: Site, caller: Caller, request: Request) -> Response:
    """The alerts that fire, in the groups that they are told in."""
    asked = from_address(request.query_params, AlertmanagerAlerts)

    def work(dashboard: DashboardInterface) -> list[AlertmanagerGroup]:
        router = dashboard.notifier.router
        return group_shapes(asked.chosen(_standing(dashboard), router), router, asked.receiver)

    return answer(await ask(site, caller, False, work))


async def receive(site: Site, caller: Caller, request: Request) -> Response:
    """Take alerts from outside; they are on disk when the answer comes. One that is wrong holds up no other."""
    sent = await from_body(request, list[msgspec.Raw], site.settings.body_seconds, MOST_BODY)
    if len(sent) > MOST_ALERTS:
        raise InvalidInput(f"a request has at most {MOST_ALERTS:,} alerts", hint="Send several.")
    now = site.clock.now()
    taken: list[Alert] = []
    refused: list[str] = []
    for number, raw in enumerate(sent):
        try:
            taken.append(_alert(raw, now))
        except InvalidInput as error:
            refused.append(f"[{number}]: {error}")
    await ask(site, caller, False, lambda dashboard: dashboard.notifier.receive(taken))
    if refused:
        kept = f"; the other {len(taken)} are kept" if taken else ""
        raise Problem(400, "invalid-input", f"{len(refused)} of {len(sent)} alerts refused{kept}", hint=refused[0])
    return answer({})


def _alert(raw: msgspec.Raw, now: datetime) -> Alert:
    """One alert of a body. Raises InvalidInput."""
    try:
        return msgspec.json.decode(raw, type=SentAlert).alert(now)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(str(error)) from None


async def silences(site: Site, caller: Caller, request: Request) -> Response:
    """Silences in force, to come, and of the last 30 days."""
    matchers = parse_matchers(from_address(request.query_params, AlertmanagerSilences).filter)

    def work(dashboard: DashboardInterface) -> list[AlertmanagerSilence]:
        now = site.clock.now()
        found = [silence_shape(one, now) for one in dashboard.parts.delivery.silences.list(caller.project)]
        return in_order(
            [one for one in found if all_match(matchers, {matcher.name: matcher.value for matcher in one.matchers})]
        )

    return answer(await ask(site, caller, False, work))


async def silence(site: Site, caller: Caller, request: Request) -> Response:
    """One silence."""
    wanted = request.path_params["id"]

    def work(dashboard: DashboardInterface) -> AlertmanagerSilence:
        return silence_shape(_known(dashboard, caller, wanted), site.clock.now())

    return answer(await ask(site, caller, False, work))


async def make_silence(site: Site, caller: Caller, request: Request) -> Response:
    """Make a silence, or one in the place of another: that one is over when the new one holds."""
    body = await from_body(request, SentSilence, site.settings.body_seconds)

    def work(dashboard: DashboardInterface) -> MadeSilence:
        kept, now = dashboard.parts.delivery.silences, site.clock.now()
        before = _known(dashboard, caller, body.id) if body.id else None
        made = create_silence(
            kept,
            project=caller.project,
            matchers=[matcher.text() for matcher in body.matchers],
            starts_at=max(body.starts_at, now),
            ends_at=body.ends_at,
            author=body.created_by or caller.actor,
            comment=body.comment,
        )
        if before is not None and before.state(now) != "expired":
            kept.end(before.id, actor=caller.actor, project=caller.project)
        return MadeSilence(silence_id=made.id)

    return answer(await ask(site, caller, False, work))


async def end_silence(site: Site, caller: Caller, request: Request) -> Response:
    """End a silence now; one that is over stays as it ended."""
    wanted = request.path_params["id"]

    def work(dashboard: DashboardInterface) -> None:
        known = _known(dashboard, caller, wanted)
        if known.state(site.clock.now()) != "expired":
            dashboard.parts.delivery.silences.end(known.id, actor=caller.actor, project=caller.project)

    await ask(site, caller, False, work)
    return answer({})


def _known(dashboard: DashboardInterface, caller: Caller, wanted: str) -> Silence:
    """The silence of that id, of the caller's project. Raises Problem 404."""
    for one in dashboard.parts.delivery.silences.list(caller.project):
        if one.id == wanted:
            return one
    raise Problem(404, "unknown-silence", "there is no such silence", hint="GET /api/v2/silences lists them.")


def _standing(dashboard: DashboardInterface) -> list[Standing]:
    found = dashboard.alerts.standing(zone_of(dashboard.settings.timezone))
    return sorted(found, key=lambda one: one.fingerprint)
