"""One POST to a URL that the operator chose: in bounded time, without redirects, with a bounded answer.

Used by the channels that speak HTTP. What is prevented of server-side request forgery: a URL is http or https and has
no user; redirects are not followed, so that the other side cannot send the request elsewhere; nothing from an alert
gets into URL or header names; of the answer no more than one cleaned line is ever shown. What is not prevented: the
settings may name any host and port, those of the machine and its network included, because receivers are usually
there; and a name may resolve to another address at each attempt. Who may write the settings decides where messages
go.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from barograph.alerts.delivery.channels.deadline import Deadline
from barograph.alerts.delivery.outcome import SENT, Outcome
from barograph.alerts.delivery.secrets import MOST_BYTES, Secret, hide
from barograph_client.address import Address, proxy_for
from barograph_client.errors import InvalidSettings, shorten
from barograph_client.exchange import asked_wait

ANSWER_BYTES = 4096  # of the answer are read; whether it was taken is in the status
_PORTS = {"http": 80, "https": 443}
_UNSAFE = frozenset('\\"<>^`{|}')


class Endpoint(NamedTuple):
    """Where to post to; ``target`` is path and query, which may hold a secret and are never shown."""

    address: Address
    target: str


class Reply(NamedTuple):
    """What came back: the status and the beginning of the text. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


def parse_endpoint(url: Secret, what: str) -> Endpoint:
    """The endpoint that a URL names. Raises InvalidSettings, which does not repeat the URL."""
    text = url.reveal()
    hint = "It looks like https://example.org/path; a password or token goes into a setting of its own."
    if not text.isascii() or not text.isprintable() or " " in text or _UNSAFE & set(text):
        raise InvalidSettings(f"{what} holds a character that no URL has", hint=hint)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidSettings(f"{what} cannot be read as a URL", hint=hint) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InvalidSettings(f"{what} must be a URL of http or https, with a host", hint=hint)
    if parts.username is not None or parts.password is not None:
        raise InvalidSettings(f"{what} must name no user", hint=hint)
    address = Address(parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port)
    return Endpoint(address, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Certificates are checked, against the system's authorities or those of the file. Raises InvalidSettings."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError):
        raise InvalidSettings(
            "the file of trusted certificates cannot be used", hint="It holds certificates as PEM.", value=ca_file
        ) from None


class Poster:
    """Posts to one endpoint. ``timeout`` is how many seconds an attempt may take in all, looking up the name excepted.

    ``secrets`` are taken out of whatever is told. Raises InvalidSettings.
    """

    def __init__(
        self, endpoint: Endpoint, *, timeout: float, ca_file: str, environment: Mapping[str, str], secrets: list[Secret]
    ) -> None:
        self._address, self._target = endpoint
        self._timeout = timeout
        self._context = tls_context(ca_file) if self._address.scheme == "https" else None
        self._proxy = proxy_for(self._address, environment)
        self._secrets = secrets

    def post(self, headers: Mapping[str, str], body: bytes) -> Reply | Outcome:
        """The reply, or the outcome when there was none."""
        try:
            return self._once(headers, body)
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate is not trusted: {error.verify_message}"
        except TimeoutError:
            reason = f"no answer in {self._timeout:g} s"
        except (OSError, http.client.HTTPException, ValueError) as error:
            told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            reason = told or type(error).__name__
        return Outcome("later", self.told(reason))

    def told(self, reason: str) -> str:
        """A reason on one line, with the host it is about and without secrets."""
        return f"{self._address.origin}: {shorten(hide(reason, self._secrets), 200)}"

    def judge(self, reply: Reply, now: Callable[[], datetime]) -> Outcome:
        """2xx is sent; 429 and 5xx are tried again, as late as the other side asks; all else is refused."""
        if 200 <= reply.status < 300:
            return SENT
        said = f"answered {reply.status}"
        if 300 <= reply.status < 400:
            return Outcome("refused", self.told(f"{said}, a redirect, which is not followed"))
        told = self.told(f"{said}: {reply.text}" if reply.text.strip() else said)
        if reply.status == 429 or reply.status >= 500:
            return Outcome("later", told, asked_wait(reply.headers.get("retry-after", ""), now()))
        return Outcome("refused", told)

    def _once(self, headers: Mapping[str, str], body: bytes) -> Reply:
        connection = self._connection()
        with Deadline(self._timeout) as deadline:
            try:
                connection.connect()
                deadline.hold(connection.sock)
                target = self._target
                if self._proxy is not None and self._context is None:
                    target = self._address.origin + target
                with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before reading all
                    connection.request("POST", target, body, dict(headers))
                with connection.getresponse() as response:
                    names = {name.lower(): value for name, value in response.getheaders()}
                    return Reply(response.status, names, self._beginning(response))
            except (OSError, http.client.HTTPException):
                if deadline.over:
                    raise TimeoutError from None
                raise
            finally:
                connection.close()

    def _beginning(self, response: http.client.HTTPResponse) -> str:
        """The first of the answer's text, without secrets, also without one that was cut in the middle."""
        data = b""
        with suppress(OSError, http.client.HTTPException):  # the status is known, and that is what counts
            data = response.read(ANSWER_BYTES + MOST_BYTES)
        text = hide(data.decode("utf-8", "replace"), self._secrets)
        return text if len(data) <= ANSWER_BYTES else text[:-MOST_BYTES]

    def _connection(self) -> http.client.HTTPConnection:
        host, port = (self._proxy or self._address)[1:3]
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        if self._proxy is not None:
            connection.set_tunnel(self._address.host, self._address.port)
        return connection
