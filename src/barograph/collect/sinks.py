"""Where collected events go: the seam between the collector and whatever makes them durable.

``metrics_collector`` hands entries to an ``EventSink``. ``JournalSink`` is a journal in the same process,
``HttpSink`` a server that has one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, cast

from barograph.journal.entry import Entry, Outcome, Receipt, Rejection
from barograph_client.clock import Clock, SystemClock
from barograph_client.errors import ServerRefused

if TYPE_CHECKING:  # a program that records over another sink need not load the journal and its compression
    from barograph.journal.journal import Journal
    from barograph_client.exchange import Result

PATIENCE_SECONDS = 5.0  # for a server that is away: about what its restart takes
TIMEOUT_SECONDS = 10.0  # that it may be silent
_MOST_ORIGINAL = 65_536  # characters of a refused original that are sent


class EventSink(Protocol):
    """Takes events, and what was refused of the same batch, and answers when they are durable."""

    def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        """Hand them in, all or none. Raises JournalError here or from the receipt if they are not kept."""
        ...


class JournalSink:
    """The journal of a data directory that this process owns."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        return self._journal.submit(entries, rejections)


class HttpSink:
    """A server: the receipt is settled with its answer, which it gives when the events are in its journal.

    Arguments and environment are those of ``Client``. What the collector refused goes along as a text that is no
    event, so that the server keeps it and counts it as rejected. Raises InvalidSettings; ``submit`` raises
    ServerUnavailable if the server stays away, and ServerRefused if it would not take an event that the collector
    took (it may hold others of the batch then; they may be sent again). Barograph's own events are not for sending.
    """

    def __init__(
        self,
        url: str = "",
        key: str = "",
        *,
        project: str = "",
        timeout: float = TIMEOUT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        ca_file: str = "",
        clock: Clock | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        from barograph_client.sender import Sender  # HTTP, which a collector beside its journal has no use for

        self._sender = Sender(
            clock if clock is not None else SystemClock(),
            patience,
            url=url,
            key=key,
            project=project,
            timeout=timeout,
            ca_file=ca_file,
            environment=os.environ if environment is None else environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        lines = [entry.body + b"}\n" for entry in entries]
        results = self._sender.send(lines + [_refused_line(rejection) for rejection in rejections])
        outcomes = [result.outcome for result in results[: len(entries)]]
        if outcomes.count("rejected"):
            raise _refused(results[: len(entries)])
        receipt = Receipt()
        receipt.settle(cast("list[Outcome]", outcomes))
        return receipt

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()


def _refused_line(rejection: Rejection) -> bytes:
    """A JSON text, which the server cannot take for an event."""
    kept = rejection.original
    original = kept if isinstance(kept, str) else bytes(kept).decode("utf-8", "replace")
    why = f"{rejection.field}: {rejection.reason}" if rejection.field else rejection.reason
    return json.dumps(f"{rejection.kind} refused by the sender ({why}): {original[:_MOST_ORIGINAL]}").encode() + b"\n"


def _refused(results: Sequence[Result]) -> ServerRefused:
    refused = [result for result in results if result.outcome == "rejected"]
    first = refused[0]
    why = f"{first.field}: {first.reason}" if first.field else first.reason
    return ServerRefused(
        f"the server refused {len(refused)} of {len(results)} events, the first for {why}", hint=first.hint
    )
