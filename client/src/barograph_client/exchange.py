"""A batch goes to the server, and its answer comes back: which events were stored, refused, or there already.

Used by ``delivery``, ``drain`` and the sink of a collector. What the server would not take for now raises
ServerUnavailable; a batch that it will not take as it is, is sent in halves, down to the event at fault.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from barograph_client import __version__
from barograph_client.batch import Batch, halves
from barograph_client.clock import Clock
from barograph_client.errors import ServerUnavailable, shorten
from barograph_client.settings import Connection
from barograph_client.transport import Reply, Transport

PATH = "/api/v1/events"
MOST_REQUESTS = 256  # for one batch; a server that refuses everything is not asked about each event
_REFUSED: Final = frozenset((400, 413, 422))
_LATER: Final = frozenset((408, 425, 429))
_HINTS = {
    401: "Give a key of scope ingest as key=, or in BAROGRAPH_KEY",
    403: "Give a key of scope ingest for this project as key=, or in BAROGRAPH_KEY",
    404: "Is this the address of a Barograph server, and the path before /api right?",
    429: "It has more to take than it can; what is recorded is kept meanwhile",
    507: "The server's disk is full; what is recorded is kept meanwhile",
}


class Result(msgspec.Struct, frozen=True):
    """What became of one event."""

    outcome: str
    event_id: str = ""
    field: str = ""
    reason: str = ""
    hint: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What became of a batch; ``results`` are in its order."""

    received: int
    stored: int
    rejected: int
    duplicate: int
    results: list[Result] = []

    def __add__(self, other: Answer) -> Answer:
        return Answer(
            self.received + other.received,
            self.stored + other.stored,
            self.rejected + other.rejected,
            self.duplicate + other.duplicate,
            self.results + other.results,
        )


_decode_answer = msgspec.json.Decoder(Answer).decode


class Exchange:
    """Sends batches over a transport, one at a time."""

    def __init__(self, transport: Transport, key: str, now: Callable[[], datetime]) -> None:
        self.transport = transport
        self._headers = {**introduction(key), "Content-Type": "application/x-ndjson"}
        self._now = now

    def send(self, batch: Batch) -> Answer:
        """The server's answer. Raises ServerUnavailable if there is none for the whole of it."""
        return self._send(batch, [MOST_REQUESTS])

    def _send(self, batch: Batch, left: list[int]) -> Answer:
        left[0] -= 1
        reply = self._post(batch)
        if reply.status == 200:
            return self._understood(reply, batch)
        if reply.status not in _REFUSED:
            raise unavailable(self.transport.address, reply, self._now())
        if batch.events == 1 or left[0] < 2:
            return _refusal(reply, batch.events)
        first, second = halves(batch)
        answer = self._send(first, left)
        if left[0] < 1:
            return answer + _refusal(reply, second.events)
        return answer + self._send(second, left)

    def _post(self, batch: Batch) -> Reply:
        headers = {
            **self._headers,
            "Barograph-Client": batch.client,
            "Barograph-Sequence": str(batch.sequence),
        }
        if batch.project:
            headers["Barograph-Project"] = batch.project
        if batch.encoding:
            headers["Content-Encoding"] = batch.encoding
        return self.transport.request("POST", PATH, headers, batch.body)

    def _understood(self, reply: Reply, batch: Batch) -> Answer:
        try:
            answer = _decode_answer(reply.body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            answer = None
        if answer is not None and batch.events == answer.received == (
            answer.stored + answer.rejected + answer.duplicate
        ):
            return answer
        raise ServerUnavailable(
            f"{self.transport.address} answered, but not as a Barograph server does",
            hint="Is something else at this address, or in between?",
            away=False,
        )


def introduction(key: str) -> dict[str, str]:
    """The headers that say who asks."""
    named = {"User-Agent": f"barograph-client/{__version__}"}
    return {**named, "Authorization": f"Bearer {key}"} if key else named


def unavailable(address: object, reply: Reply, now: datetime) -> ServerUnavailable:
    """A status that is no answer, as the error that says whether and when to ask again."""
    status = reply.status
    away = status >= 500 or status in _LATER
    said = _problem(reply.body)
    return ServerUnavailable(
        f"{address} answered {status}{': ' if said.reason else ''}{said.reason}",
        hint=said.hint or _HINTS.get(status, ""),
        retry_after=asked_wait(reply.headers.get("retry-after", ""), now),
        away=away,
    )


def _refusal(reply: Reply, events: int) -> Answer:
    """A problem document about so many events as an answer."""
    said = _problem(reply.body)
    reason = said.reason or f"the server refused it with status {reply.status}"
    result = Result("rejected", "", said.field, reason, said.hint)
    return Answer(events, 0, events, 0, [result] * events)


def _problem(body: bytes) -> Result:
    """Field, reason and hint of a problem document (RFC 9457), as far as it is one."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return Result("rejected")
    errors = found.get("errors")
    if isinstance(errors, list) and len(errors) == 1 and isinstance(errors[0], dict):
        found = {**found, **errors[0]}
    reason = _text(found, "reason") or _text(found, "detail") or _text(found, "title")
    return Result("rejected", "", _text(found, "field"), reason, _text(found, "hint"))


def _text(found: dict[str, object], name: str) -> str:
    value = found.get(name)
    return shorten(value, 300) if isinstance(value, str) else ""


def asked_wait(text: str, now: datetime) -> float:
    """What a header Retry-After asks for: seconds or a date (RFC 9110, section 10.2.3); 0 when it says nothing."""
    if text.isdecimal() and len(text) < 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


def connect(connection: Connection, clock: Clock) -> Exchange:
    """An exchange over a transport of its own; it connects with the first batch."""
    transport = Transport(connection.address, connection.timeout, connection.context, connection.proxy)
    return Exchange(transport, connection.key, clock.now)
