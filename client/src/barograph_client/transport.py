"""One connection to a server, kept alive between requests: bytes go out, a status, headers and bytes come back.

Used by ``exchange`` and by whatever else speaks to a server. It knows no events. One thread at a time uses a transport;
``abort`` may come from another one. Everything that keeps an answer away is a ServerUnavailable.
"""

from __future__ import annotations

import codecs
import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from barograph_client.address import Address
from barograph_client.errors import ServerUnavailable, shorten

CONNECT_SECONDS = 3.0  # a server that is there answers sooner
ANSWER_BYTES = 64 * 2**20  # a longer answer is not ours
_BROKEN = (ConnectionError, http.client.BadStatusLine, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Reply(NamedTuple):
    """What a server answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Requests to one address, in turn. ``timeout`` is how many seconds the server may be silent."""

    def __init__(
        self, address: Address, timeout: float, context: ssl.SSLContext | None = None, proxy: Address | None = None
    ) -> None:
        self.address = address
        self.timeout = self._timeout = timeout
        self._context = context
        self._proxy = proxy
        self._connection: http.client.HTTPConnection | None = None
        self._used = False  # whether the connection has carried an answer, and may have been closed since
        self._aborted = False
        codecs.lookup("idna")  # which a connection would import; a fork in the middle of an import hangs the child

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """Send a request and read the answer. Raises ServerUnavailable."""
        try:
            again = self._used
            try:
                return self._once(method, path, headers, body)
            except _BROKEN:
                self.close()
                if not again or self._aborted:
                    raise
                return self._once(method, path, headers, body)  # the server had closed an idle connection
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise ServerUnavailable(
                f"the certificate of {self.address} is not trusted: {shorten(error.verify_message)}",
                hint="Give the certificate authority's file as ca_file=",
                away=False,
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise ServerUnavailable(
                f"{self.address} cannot be reached: {_said(error)}",
                hint="What is recorded is kept meanwhile; is the server running?",
            ) from None

    def _once(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        connection = self._connection or self._connect()
        if self._aborted:
            raise ConnectionAbortedError
        assert connection.sock is not None
        connection.sock.settimeout(self.timeout)
        target = self.address.path + path
        if self._proxy is not None and self.address.scheme == "http":
            target = self.address.origin + target
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered, and hung up, before reading all
            connection.request(method, target, body, dict(headers))
        with connection.getresponse() as response:
            content = response.read(ANSWER_BYTES + 1)
            if len(content) > ANSWER_BYTES:
                raise http.client.HTTPException("the answer is too long")
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            names = {name.lower(): value for name, value in response.getheaders()}
            self._used = True
            if response.will_close:
                self.close()
            return Reply(response.status, names, content)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = (self._proxy or self.address)[1:3]
        seconds = min(CONNECT_SECONDS, self.timeout)
        connection: http.client.HTTPConnection
        if self._context is not None:
            connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=self._context)
            if self._proxy is not None:
                connection.set_tunnel(self.address.host, self.address.port)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=seconds)
        connection.connect()
        connection.auto_open = 0  # a connection that was lost is not to be made again without our knowing
        self._connection = connection
        return connection

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        connection, self._connection, self._used = self._connection, None, False
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def after_fork(self) -> None:
        """In the child: the connection is the parent's."""
        self.close()
        self._aborted, self.timeout = False, self._timeout

    def abort(self) -> None:
        """Let the request that another thread is waiting for fail now, and all that follow."""
        self._aborted = True
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shorten(text or type(error).__name__)
