"""The route that plans an experiment from the records of the past."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from barograph.experiments.plan import PlanQuestion
from barograph.server.access import Caller
from barograph.server.asking import answer, ask
from barograph.server.parameters import FreshParameters, from_address, from_body
from barograph.server.site import Site


async def plan(site: Site, caller: Caller, request: Request) -> Response:
    """What an experiment would take: units, days, and the change that it can find."""
    question = await from_body(request, PlanQuestion, site.settings.body_seconds)
    fresh = from_address(request.query_params, FreshParameters).fresh
    return answer(await ask(site, caller, fresh, lambda dashboard: dashboard.experiments.plan(question)))
