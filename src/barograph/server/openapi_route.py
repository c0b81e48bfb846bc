"""The route that gives the OpenAPI document; made once, when it is first asked for."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from barograph.server.access import Caller
from barograph.server.site import Site


async def openapi(site: Site, caller: Caller, request: Request) -> Response:
    """The document, with the path that a proxy puts in front as its server."""
    return Response(_document(site.settings.root_path), media_type="application/json")


@lru_cache(maxsize=4)
def _document(root_path: str) -> bytes:
    from barograph.server.openapi import document  # which reads the list that this route stands in
    from barograph.server.routes import ROUTES

    return msgspec.json.encode(document(ROUTES, root_path))
