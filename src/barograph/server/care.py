"""Routes for whoever runs it, over all projects: verify, rebuild, prune, compress, doctor.

Only the command line of the server's own machine may call them: a key belongs to one project.
"""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from barograph.core.event import KINDS
from barograph.core.query import parse_duration
from barograph.dashboard.doctor import findings
from barograph.server.access import Caller
from barograph.server.asking import answer
from barograph.server.parameters import PruneBody, RebuildBody, from_body
from barograph.server.site import Site
from barograph.store.verification import Report
from barograph_client.errors import InvalidInput


async def verify(site: Site, caller: Caller, request: Request) -> Response:
    """Compare journal and engine by kind and day."""
    return _report(await site.ask(site.dashboard.store.verify))


async def rebuild(site: Site, caller: Caller, request: Request) -> Response:
    """Make the engine again from the journal, whole or one day."""
    wanted = (await from_body(request, RebuildBody, site.settings.body_seconds)).day
    try:
        day = date.fromisoformat(wanted) if wanted else None
    except ValueError:
        raise InvalidInput("not a day", hint="Write YYYY-MM-DD.", value=wanted) from None
    return _report(await site.ask(lambda: site.dashboard.store.rebuild(day)))


async def prune(site: Site, caller: Caller, request: Request) -> Response:
    """Retire raw events of old days; their rollups go on answering."""
    body = await from_body(request, PruneBody, site.settings.body_seconds)
    unknown = [kind for kind in body.kinds if kind not in KINDS]
    if unknown:
        raise InvalidInput("no such kind of event", hint=f"Use {', '.join(KINDS)}.", value=unknown[0])
    age = timedelta(seconds=parse_duration(body.older_than))
    return answer(await site.ask(lambda: site.dashboard.store.prune(age, tuple(body.kinds))))


async def compress(site: Site, caller: Caller, request: Request) -> Response:
    """Compress the journal's closed days."""
    return answer({"segments": await site.ask(site.dashboard.store.compress_closed)})


async def doctor(site: Site, caller: Caller, request: Request) -> Response:
    """Look at disk, journal, engine and rules."""
    return answer(await site.ask(lambda: findings(site.dashboard)))


def _report(found: Report) -> Response:
    return answer({"ok": found.ok, **msgspec.structs.asdict(found)})
