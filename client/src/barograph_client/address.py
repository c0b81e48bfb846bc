"""Where a server is, read from a URL, and the proxy that leads there, read from the environment.

Used by ``settings`` and ``transport``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from barograph_client.errors import InvalidSettings

_PORTS = {"http": 80, "https": 443}
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")
_PRINTED = re.compile(r"[\x21-\x7e]+")
_HINT = "It looks like http://127.0.0.1:4318 or https://barograph.example.org"


class Address(NamedTuple):
    """Scheme, host and port of a server; ``path`` is what its routes begin with, without a slash at the end."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def origin(self) -> str:
        """As in a URL, without the path."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def __str__(self) -> str:
        return self.origin + self.path


def parse_address(url: str) -> Address:
    """The address that a URL names. Raises InvalidSettings."""
    if not isinstance(url, str) or not _PRINTED.fullmatch(url):
        raise InvalidSettings("the server's URL holds a character that no URL has", hint=_HINT, value=url)
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise InvalidSettings(f"the server's URL cannot be read: {error}", hint=_HINT, value=url) from None
    if scheme not in _PORTS or not host:
        raise InvalidSettings("the server's URL must be one of http or https, with a host", hint=_HINT, value=url)
    if parts.query or parts.fragment:
        raise InvalidSettings("the server's URL must have no query and no fragment", hint=_HINT, value=url)
    if parts.username is not None or parts.password is not None:
        raise InvalidSettings("the server's URL must name no user", hint="Give the key as key=, or in BAROGRAPH_KEY")
    return Address(scheme, host, _PORTS[scheme] if port is None else port, parts.path.rstrip("/"))


def proxy_for(address: Address, environment: Mapping[str, str]) -> Address | None:
    """The proxy that HTTPS_PROXY or http_proxy names for the address, if NO_PROXY does not except it.

    HTTP_PROXY in capitals is not read: a web server may set it to what a client sent in a header ``Proxy``.
    """
    names = ("https_proxy", "HTTPS_PROXY") if address.scheme == "https" else ("http_proxy",)
    url = next((environment[name] for name in names if environment.get(name)), "")
    if not url or _LOOPBACK.fullmatch(address.host) or _excepted(address.host, environment):
        return None
    parts: SplitResult = urlsplit(url if "://" in url else f"http://{url}")
    try:
        if parts.scheme == "http" and parts.hostname and parts.username is None:
            return Address("http", parts.hostname, parts.port or _PORTS["http"])
    except ValueError:
        pass
    raise InvalidSettings(
        "the proxy in the environment cannot be used",
        hint="It must look like http://proxy:3128, without a user; NO_PROXY excepts hosts from it",
    )


def _excepted(host: str, environment: Mapping[str, str]) -> bool:
    for entry in (environment.get("no_proxy") or environment.get("NO_PROXY") or "").lower().split(","):
        name = entry.strip().removeprefix(".")
        if name == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return True
    return False
