"""What goes into the journal, and the receipt that comes back.

``collect`` makes entries and rejections from what callers sent; ``writer`` settles the receipt once their bytes are
durable, or once it is certain that they are not.
"""

from __future__ import annotations

import base64
import sys
import threading
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from barograph_client.errors import JournalError
from barograph_client.limits import MAX_LINE

Outcome = Literal["stored", "duplicate"]
WITNESS = "batch"  # the kind of a line that says of others in its commit that they are there: written behind them
DEFAULT_PROJECT = "default"  # the one that a line without a project belongs to


class Entry(NamedTuple):
    """An event as the journal takes it.

    ``body`` is the event as a JSON object, as msgspec encodes it (``kind`` first, then ``event_id``), without
    ``received_at`` and without the closing brace: the journal adds both. ``internal`` events are Barograph's own.
    ``project`` is the one that the body names.
    """

    kind: str
    event_id: str
    body: bytes
    internal: bool = False
    project: str = DEFAULT_PROJECT


class Rejection(NamedTuple):
    """An event that was refused, with the field at fault, the reason, and what was sent, as it came."""

    kind: str
    field: str
    reason: str
    original: bytes | str
    project: str = DEFAULT_PROJECT


class Receipt:
    """The promise of an answer: one outcome an entry, in order, or the error that kept them all out."""

    __slots__ = ("_callbacks", "_error", "_gate", "_outcomes")
    _registering = threading.Lock()  # shared by all receipts: held for the length of an append

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()
        self._outcomes: list[Outcome] | None = None
        self._error: JournalError | None = None
        self._callbacks: list[Callable[[Receipt], None]] = []

    def done(self) -> bool:
        """Whether the answer is there."""
        return self._outcomes is not None or self._error is not None

    def wait(self, timeout: float | None = None) -> list[Outcome]:
        """The outcomes, once they are durable. Raises the JournalError that kept the entries out.

        After ``timeout`` seconds it raises a JournalError too; the entries may still be written then.
        """
        if not self._gate.acquire(timeout=-1 if timeout is None else timeout):
            raise JournalError(
                f"no answer from the journal in {timeout:g} s",
                hint="The disk is slow; the events may still be written. Sending the same ids again is safe.",
            )
        self._gate.release()
        if self._error is not None:
            raise self._error
        return self._outcomes or []

    def add_done_callback(self, callback: Callable[[Receipt], None]) -> None:
        """Call ``callback(receipt)`` in the writer thread when the answer is there, or now if it is.

        It holds up every commit that waits behind it: it must be short, and must not wait for the journal.
        """
        with self._registering:
            if not self.done():
                self._callbacks.append(callback)
                return
        callback(self)

    def settle(self, outcomes: list[Outcome] | None, error: JournalError | None = None) -> None:
        """Give the answer. Called once, by the writer."""
        with self._registering:
            self._outcomes, self._error = outcomes, error
            callbacks, self._callbacks = self._callbacks, []
        self._gate.release()
        for callback in callbacks:
            try:
                callback(self)
            except Exception:  # the writer serves others too; the fault is reported as that of any thread
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


def rejection_body(rejection: Rejection) -> bytes:
    """The rejected record's line, without ``received_at`` and the closing brace."""
    record = {"kind": _clean(rejection.kind), **named(rejection.project)}
    told = {"field": _clean(rejection.field), "reason": _clean(rejection.reason)}
    return msgspec.json.encode({**record, **told, **kept("original", rejection.original)})[:-1]


def duplicate_body(kind: str, event_id: str, project: str = DEFAULT_PROJECT) -> bytes:
    """The line that tells of a duplicate, without ``received_at`` and the closing brace."""
    return msgspec.json.encode({"kind": kind, **named(project), "event_id": _clean(event_id)})[:-1]


def named(project: str) -> dict[str, str]:
    """The project as part of a record; a record without one belongs to ``default``, as an event does."""
    return {} if project == DEFAULT_PROJECT else {"project": _clean(project)}


def kept(name: str, content: bytes | str) -> dict[str, str]:
    """Any bytes as part of a JSON object: as text, or in base64 under ``<name>_base64`` where they are none.

    At most the length of the longest event is kept; ``<name>_bytes`` then tells the whole length.
    """
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content)
    cut = {f"{name}_bytes": str(len(data))} if len(data) > MAX_LINE else {}
    data = data[:MAX_LINE]
    try:
        return {name: data.decode("utf-8"), **cut}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode("ascii"), **cut}


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
