"""The ASGI application of one open data directory: the routes, with who may ask and what errors become.

Used by ``serve`` and by tests. Whatever goes wrong is an answer with a hint; what nobody foresaw is one line for the
caller and a traceback in the server's log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from barograph.control.keys import KeyRepository
from barograph.core.prepared import prepare
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.server.access import Access
from barograph.server.connections import Connections
from barograph.server.ofrep import EXPOSE_HEADER, ofrep_problem
from barograph.server.otlp_routes import form_of, otlp_problem
from barograph.server.problems import Problem, fault, problem_of
from barograph.server.routes import ROUTES, Route
from barograph.server.site import Site
from barograph_client.errors import BarographError

log = logging.getLogger("barograph.server")
_PATHS = tuple(dict.fromkeys(route.path for route in ROUTES))
prepare(*(one for route in ROUTES for one in (route.parameters, route.body) if one is not None))
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def application(dashboard: DashboardInterface, connections: Connections, token: str) -> tuple[Starlette, Site]:
    """The application and what its handlers work on. ``token`` opens everything to this machine's command line."""
    parts, settings = dashboard.parts, dashboard.settings
    access = Access(
        KeyRepository(parts.control),
        parts.projects,
        parts.clock,
        default_project=settings.project,
        token=token,
        names=settings.server.names,
        origins=settings.server.origins,
    )
    site = Site(dashboard, access, connections)
    middleware = []
    if settings.server.origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(settings.server.origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                "Authorization", "Content-Type", "Content-Encoding", "Barograph-Project", EXPOSE_HEADER, "If-Match",
                "If-None-Match",
            ],
            expose_headers=["ETag"],
        )  # fmt: skip
        middleware.append(cors)
    app = Starlette(
        routes=[_of_path(site, path, [one for one in ROUTES if one.path == path]) for path in _PATHS],
        middleware=middleware,
        exception_handlers={HTTPException: _unknown},
    )
    app.router.redirect_slashes = False  # a client that follows a redirect leaves its key behind
    return app, site


def _of_path(site: Site, path: str, routes: Sequence[Route]) -> StarletteRoute:
    """All methods of a path as one route, so that what is told of an unknown method names them all."""
    endpoints = {route.method: _endpoint(site, route) for route in routes}

    async def endpoint(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return StarletteRoute(path, endpoint, methods=list(endpoints))


def _endpoint(site: Site, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            caller = await site.access.caller(request, route.scope)
            response = await route.handler(site, caller, request)
        except Problem as error:
            problem = error
        except BarographError as error:
            problem = problem_of(error)
        except Exception:  # the caller is told that it is our fault, and nothing of what was inside
            log.exception("a fault while answering %s %s", route.method, route.path)
            problem = fault()
        else:
            response.headers.update(_HEADERS)
            return response
        site.refused.count(problem.status)
        told = _told(problem, route, request)
        told.headers.update(_HEADERS)
        return told

    return endpoint


def _told(problem: Problem, route: Route, request: Request) -> Response:
    """What went wrong, in the form that callers of the route read."""
    match route.refuses:
        case "otlp":
            return otlp_problem(problem, form_of(request))
        case "ofrep":
            return ofrep_problem(problem, request.path_params.get("key"))
        case "sentence":
            return problem.sentence()
        case "problem":
            return problem.response()


def _unknown(request: Request, error: Exception) -> Response:
    """What no route answers."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        problem = Problem(
            405, "method-not-allowed", "this address takes another method", hint="Allow names those it takes."
        )
    else:
        problem = Problem(
            404, "unknown-address", "nothing is served here", hint="GET /api/v1/openapi.json lists it all."
        )
    response = problem.response()
    response.headers.update({**(error.headers or {}), **_HEADERS})
    return response
