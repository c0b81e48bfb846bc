"""What a client is made of: arguments, then the environment, then defaults, checked once. Used by ``client``.

A wrong argument raises InvalidSettings; that is the only time at which the client raises anything.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, Unpack

import msgspec

from barograph_client.address import Address, parse_address, proxy_for
from barograph_client.errors import InvalidSettings
from barograph_client.limits import MAX_SPOOL_DAYS

DEFAULT_URL = "http://127.0.0.1:4318"
_OFF = frozenset(("off", "no", "none", "0", "false"))
_PRINTED = re.compile(r"[\x21-\x7e]*")
_PROJECT = re.compile(r"[\x20-\x7e]{0,128}")


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is, and as whom to speak to it."""

    address: Address
    proxy: Address | None
    context: ssl.SSLContext | None
    key: str
    project: str
    timeout: float

    @property
    def name(self) -> str:
        """A short name of the server and the project or, where no project is named, the key."""
        whose = f"project {self.project}" if self.project else f"key {self.key}"
        return hashlib.sha256(f"{self.address}\n{whose}".encode()).hexdigest()[:16]


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a client that holds together."""

    connection: Connection
    spool: Path | None
    spool_bytes: int
    spool_seconds: float
    queue: int
    batch: int


class ConnectionArguments(TypedDict):
    """What whoever speaks to a server is called with."""

    url: str
    key: str
    project: str
    timeout: float
    ca_file: str
    environment: Mapping[str, str]


class Arguments(ConnectionArguments):
    """What ``Client`` is called with."""

    spool: str | os.PathLike[str] | bool | None
    spool_bytes: int
    spool_days: float
    queue: int
    batch: int


def resolve_connection(
    *, url: str, key: str, project: str, timeout: float, ca_file: str, environment: Mapping[str, str]
) -> Connection:
    """The connection that the arguments and the environment make. Raises InvalidSettings."""
    address = parse_address(url or environment.get("BAROGRAPH_URL", "") or DEFAULT_URL)
    key = key or environment.get("BAROGRAPH_KEY", "")
    project = project or environment.get("BAROGRAPH_PROJECT", "")
    if not isinstance(key, str) or not _PRINTED.fullmatch(key):
        raise InvalidSettings("the key holds a character that no key has", hint="Was more copied than the key?")
    if not isinstance(project, str) or not _PROJECT.fullmatch(project) or project != project.strip():
        raise InvalidSettings("the project's name cannot be used", hint="It has at most 128 characters", value=project)
    _check("timeout", timeout, 0.001, 3_600)
    return Connection(
        address=address,
        proxy=proxy_for(address, environment),
        context=_context(ca_file) if address.scheme == "https" else None,
        key=key,
        project=project,
        timeout=float(timeout),
    )


def resolve(
    *,
    spool: str | os.PathLike[str] | bool | None,
    spool_bytes: int,
    spool_days: float,
    queue: int,
    batch: int,
    **given: Unpack[ConnectionArguments],
) -> ClientSettings:
    """The settings that the arguments and the environment make. Raises InvalidSettings."""
    connection = resolve_connection(**given)
    _check("queue", queue, 1, 10_000_000)
    _check("batch", batch, 1, 10_000)
    _check("spool_bytes", spool_bytes, 1, 2**50)
    _check("spool_days", spool_days, 0, MAX_SPOOL_DAYS)
    return ClientSettings(
        connection=connection,
        spool=_spool(spool, connection, given["environment"]),
        spool_bytes=int(spool_bytes),
        spool_seconds=spool_days * 86_400.0,
        queue=int(queue),
        batch=int(batch),
    )


def _check(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidSettings(f"{name} must be a number from {least:,} to {most:,}", value=value)


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise InvalidSettings(
            f"the file of the certificate authority cannot be read: {error}", hint="Is it PEM?", value=ca_file
        ) from None


def _spool(
    given: str | os.PathLike[str] | bool | None, connection: Connection, environment: Mapping[str, str]
) -> Path | None:
    if isinstance(given, bool) or given is None:
        named = environment.get("BAROGRAPH_SPOOL", "")
        if given is False or named.lower() in _OFF:
            return None
        if not named:
            return _default_spool(connection, environment)
        given = named
    try:
        return Path(given).expanduser().absolute()
    except (TypeError, ValueError, RuntimeError):
        raise InvalidSettings(
            "the spool must be a directory, or False for none", hint="Leave it out for the usual one", value=given
        ) from None


def _default_spool(connection: Connection, environment: Mapping[str, str]) -> Path | None:
    """A folder in the user's cache; None where there is none.

    Its name comes from the server and the project or, where no project is named, the key: what one project recorded is
    never sent with the key of another.
    """
    caches = environment.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):
        home = environment.get("HOME", "") or os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        caches = os.path.join(home, "Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(caches) / "barograph" / "spool" / connection.name
