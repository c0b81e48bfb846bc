"""Who may do what: keys, scopes, projects, and the checks that keep browsers of other sites out.

Every route asks ``Access.caller`` before it does anything. Without any key in the control plane, a server that
listens on loopback takes whoever can reach it, but only under a name of this machine, so that no web site can make a
browser speak to it (DNS rebinding); as soon as there is a key, a key is needed. The command line of this machine
shows a token that it reads from the lock file of the data directory, which only its owner may read.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from barograph.control.keys import Key, KeyRepository
from barograph.control.projects import ProjectRepository
from barograph.server.problems import Problem
from barograph_client.clock import Clock

Scope = Literal["open", "ingest", "read", "admin", "owner"]  # what a route asks for; owner: this machine's command line

PROJECT_HEADER = "barograph-project"
REMEMBERED_SECONDS = 1.0  # a revoked key is refused after at most so long
_MOST_REMEMBERED = 2_000
_GRANTS: dict[str, frozenset[str]] = {
    "ingest": frozenset({"ingest"}),
    "read": frozenset({"read"}),
    "admin": frozenset({"ingest", "read", "admin"}),
}
_EVERYTHING = frozenset({"ingest", "read", "admin"})
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")


class Caller(NamedTuple):
    """Who asks: the project it is about, and what it may do there. ``actor`` is what the audit log says."""

    project: str
    may: frozenset[str]
    actor: str
    everywhere: bool = False  # bound to no project: sees the whole instance


class Access:
    """Decides for each request. For one event loop; key look-ups go to a thread."""

    def __init__(
        self,
        keys: KeyRepository,
        projects: ProjectRepository,
        clock: Clock,
        *,
        default_project: str,
        token: str,
        names: Collection[str],
        origins: Collection[str],
    ) -> None:
        self._keys = keys
        self._projects = projects
        self._clock = clock
        self._default = default_project
        self._token = token
        self._names = frozenset(name.lower() for name in (*_LOOPBACK_NAMES, *names))
        self._origins = frozenset(origins)
        self._remembered: dict[str, tuple[float, Key | None]] = {}
        self._any: tuple[float, bool] = (-REMEMBERED_SECONDS, False)
        self._known_projects: dict[str, float] = {}

    async def caller(self, request: Request, scope: Scope) -> Caller:
        """Who asks for this route. Raises Problem 400, 401, 403 or 404."""
        self._check_origin(request)
        if scope == "open":
            return Caller(self._default, frozenset(), "anybody")
        caller = await self._who(request)
        if scope == "owner":
            if caller.actor != "command line":
                raise Problem(403, "forbidden", "this is for the command line of the server's own machine",
                              hint="Run the command where the data directory is.")  # fmt: skip
        elif scope not in caller.may:
            raise Problem(403, "forbidden", f"this needs a key of the scope {scope}",
                          hint=f"`barograph key create --scope {scope}` makes one.")  # fmt: skip
        return caller

    async def _who(self, request: Request) -> Caller:
        given = request.headers.get("authorization", "")
        method, _, secret = given.partition(" ")
        if given and method.lower() != "bearer":
            raise Problem(401, "unauthorized", "the Authorization header is no Bearer token",
                          hint="Send Authorization: Bearer <key>.")  # fmt: skip
        secret = secret.strip()
        if secret and hmac.compare_digest(secret.encode("utf-8", "replace"), self._token.encode()):
            return Caller(await self._project(request), _EVERYTHING, "command line", everywhere=True)
        if secret:
            key = await self._key(secret)
            if key is None:
                raise Problem(401, "unauthorized", "this key is not known, or was revoked, or has expired",
                              hint="`barograph key list` shows those there are.")  # fmt: skip
            return self._bound(request, key)
        if await self._keys_exist():
            raise Problem(401, "unauthorized", "this server needs a key",
                          hint="Send Authorization: Bearer <key>; `barograph key create` makes one.")  # fmt: skip
        self._check_host(request)
        return Caller(await self._project(request), _EVERYTHING, "loopback", everywhere=True)

    @staticmethod
    def _bound(request: Request, key: Key) -> Caller:
        asked = _asked_project(request)
        if asked and asked != key.project:
            raise Problem(403, "forbidden", "this key belongs to another project",
                          hint="Leave the project out: the key says which it is.")  # fmt: skip
        return Caller(key.project, _GRANTS[key.scope], f"key {key.id}")

    async def _project(self, request: Request) -> str:
        asked = _asked_project(request) or self._default
        if asked == self._default:
            return asked
        now = self._clock.monotonic()
        if self._known_projects.get(asked, -REMEMBERED_SECONDS) + REMEMBERED_SECONDS < now:
            if not await run_in_threadpool(self._projects.exists, asked):
                raise Problem(404, "unknown-project", "there is no such project",
                              hint="`barograph project create NAME` makes it.")  # fmt: skip
            if len(self._known_projects) > _MOST_REMEMBERED:
                self._known_projects.clear()
            self._known_projects[asked] = now
        return asked

    async def _key(self, secret: str) -> Key | None:
        now = self._clock.monotonic()
        remembered = self._remembered.get(secret)
        if remembered is not None and now - remembered[0] < REMEMBERED_SECONDS:
            return remembered[1]
        key = await run_in_threadpool(self._keys.find, secret)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[secret] = (now, key)
        return key

    async def _keys_exist(self) -> bool:
        now = self._clock.monotonic()
        if now - self._any[0] >= REMEMBERED_SECONDS:
            self._any = (now, await run_in_threadpool(self._keys.any))
        return self._any[1]

    def _check_host(self, request: Request) -> None:
        host = request.headers.get("host", "").lower()
        name = host if host in self._names else host.rpartition(":")[0] or host
        if name not in self._names:
            raise Problem(403, "unknown-host", "without a key this server answers under names of this machine only",
                          hint="Use http://localhost, or list the name in server.names, or make a key.")  # fmt: skip

    def _check_origin(self, request: Request) -> None:
        """A browser tells which site a request comes from; another site's may not change anything here."""
        origin = request.headers.get("origin")
        if origin is None or request.method in _SAFE_METHODS or origin in self._origins:
            return
        if origin == "null" or urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
            raise Problem(403, "other-origin", "this request comes from a page of another site",
                          hint="List the site in server.origins to allow it.")  # fmt: skip


def _asked_project(request: Request) -> str:
    return request.headers.get(PROJECT_HEADER, "") or request.query_params.get("project", "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
