"""Routes for experiments: what programs must know of them to assign arms themselves."""

from __future__ import annotations

import hashlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from barograph.server.access import Caller
from barograph.server.asking import ask
from barograph.server.site import Site


async def definitions(site: Site, caller: Caller, request: Request) -> Response:
    """The definitions of a project in one document; 304 where the caller has it already (RFC 9110, section 13.1.2)."""
    found = await ask(site, caller, False, lambda dashboard: dashboard.experiments.definitions())
    body = msgspec.json.encode(found)
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    known = request.headers.get("if-none-match", "").split(",")
    if etag in (one.strip().removeprefix("W/") for one in known):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
