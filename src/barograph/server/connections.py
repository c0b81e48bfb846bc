"""Connections: uvicorn's HTTP protocol with bounds on how slow and how large a client may be.

A head that does not come in time or is too long ends its connection, and so does a client that does not read its
answer, or that is answered before its body is there and then takes its time with the rest. Bodies that are read have
bounds of their own (``bodies``), which answer before the one here. A connection beyond the most there may be is closed
at once.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from barograph.core.settings import ServerSettings

MAX_HEAD = 60 * 1024  # bytes before the body
UNREAD_SECONDS = 60.0  # an answer that nobody reads
_BODY_GRACE = 2.0  # seconds beyond those for a body, in which whoever reads it says that it is late
_REST_SECONDS = 5.0  # what comes of a body after its answer is let go by, so that no reset overtakes the answer
_END = b"Content-Length: 0\r\nConnection: close\r\n\r\n"
_NO_HTTP = b"HTTP/1.1 400 Bad Request\r\n" + _END
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n" + _END
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _END
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n" + _END


class Connections:
    """What all connections of one server share: their bounds and their counts."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.open = 0
        self.refused = 0  # beyond the most
        self.timed_out = 0

    def protocol(self) -> type[asyncio.Protocol]:
        """The protocol class that uvicorn is to use."""
        shared = self

        class Bounded(BoundedProtocol):
            connections_of = shared

        return Bounded


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    connections_of: Connections

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # as those of sockets are, with TLS too
        shared = self.connections_of
        shared.open += 1
        super().connection_made(transport)
        if shared.open > shared.settings.connections:
            shared.refused += 1
            transport.write(_TOO_MANY)
            transport.close()
            return
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a peer that vanished is noticed
        self._await_head(shared.settings.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections_of.open -= 1
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        self._deadline = self._unread = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            if self._deadline is None:  # the first bytes of another request on this connection
                self._await_head(self.connections_of.settings.header_seconds)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD and self.transport is not None:
            self._end(_TOO_LONG)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or has a head that is too long."""
        self._end(_TOO_LONG if self._in_head and self._head_bytes > MAX_HEAD else _NO_HTTP)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(text) for name, text in self.headers) > MAX_HEAD:
            raise OverflowError("the head is too long")  # which ends the parsing, and comes out at send_400_response
        self._in_head = False
        self._head_bytes = 0
        self._cancel_deadline()
        super().on_headers_complete()
        self._await_body()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._cancel_deadline()
        if self.cycle.response_complete:  # it was answered before its end
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        last = not self.pipeline  # the answer is that of the newest request
        super().on_response_complete()
        if last and not self._in_head and not self.transport.is_closing():
            self._cancel_deadline()
            seconds = min(_REST_SECONDS, self.connections_of.settings.body_seconds)
            self._deadline = self.loop.call_later(seconds, self._abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _await_head(self, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _await_body(self) -> None:
        self._cancel_deadline()
        seconds = self.connections_of.settings.body_seconds + _BODY_GRACE
        self._deadline = self.loop.call_later(seconds, self._body_too_slow)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self.connections_of.timed_out += 1
        self._end(_TOO_SLOW)

    def _body_too_slow(self) -> None:
        if self.pipeline or self.flow.read_paused:  # it is us who do not read
            self._await_body()
        elif self.cycle.response_started:  # no other answer can be put into it
            self._abort()
        else:
            self._too_slow()

    def _abort(self) -> None:
        self.connections_of.timed_out += 1
        self.transport.abort()

    def _end(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
