"""MetricsCollector: the front door. Takes events in, validates, redacts, acknowledges when durable.

Synchronous mode answers when the event is on disk; background mode (``background``) never blocks or raises into the
program it runs in. Both send what ``intake`` makes of the input to an ``EventSink``.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from barograph.collect.intake import Counts, Intake, Taken, Tally, deliver, take_internal
from barograph.collect.processors import Processor
from barograph.collect.sinks import EventSink
from barograph.collect.validate import Validator
from barograph.core.event import Event
from barograph.core.settings import CollectSettings
from barograph.journal.entry import Outcome, Receipt
from barograph_client.background import Background, Item
from barograph_client.clock import Clock
from barograph_client.errors import InvalidEvent, JournalClosed, JournalError
from barograph_client.identifiers import IdentifierSource
from barograph_client.recording import Recording

BATCH = 1000  # items of record_many that share a commit
CLOSE_SECONDS = 30.0  # how long close waits for the disk
_IN_FLIGHT = 4  # batches that wait for the journal while the next is made

Result = str | InvalidEvent
_Sent = tuple[list[Taken], Receipt]


class MetricsCollector(Recording):
    """Records events of one project into a sink. Safe to share between threads; a context manager.

    The record methods return the event's id. In synchronous mode they return once it is durable (a duplicate is) and
    raise InvalidEvent for what cannot be recorded (the original is kept in ``rejected/``) or JournalError if it could
    not be made durable. In background mode they return at once and raise nothing; ``counts`` tells what became of it,
    ``flush`` waits. ``record_many``, ``stream`` and ``record_internal`` are synchronous in both.
    """

    def __init__(
        self,
        sink: EventSink,
        clock: Clock,
        identifiers: IdentifierSource,
        settings: CollectSettings,
        *,
        project: str = "default",
        processors: Sequence[Processor] = (),
        background: bool = False,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._intake = Intake(Validator(clock, identifiers, project), processors)
        self._reset()
        self._queued = _Queued(sink, self._intake)
        self._background = Background(self._queued, clock, identifiers.new, settings.queue) if background else None
        _collectors.add(self)

    def _reset(self) -> None:
        self._tally = Tally()
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # one event

    def record_event(self, kind: str, fields: Mapping[str, object]) -> str:
        """Record an event of any kind that callers may send."""
        if self._background is not None:
            return self._background.put(kind, fields)
        taken = self._intake.take(kind, fields)
        self._settle(self._send([taken]))
        if taken.error is not None:
            raise taken.error
        return taken.event_id

    def record_internal(self, event: Event) -> Outcome:
        """Record an event of Barograph's own; durable on return. Raises InvalidEvent or JournalError."""
        return self._sink.submit([take_internal(event)]).wait()[0]

    # many events

    def record_many(self, items: Iterable[object], kind: str | None = None) -> list[Result]:
        """Record mappings or lines of JSON; per item its event id or the InvalidEvent. Raises JournalError.

        Without ``kind`` an item may name its own in ``kind``, else it is a query.
        """
        return [result for batch in self.stream(items, kind) for result in batch]

    def stream(self, items: Iterable[object], kind: str | None = None) -> Iterator[list[Result]]:
        """As ``record_many``, a batch at a time, each durable when it is given out. Does nothing until iterated."""
        sent: deque[_Sent] = deque()
        batch: list[Taken] = []
        try:
            for item in items:
                batch.append(self._intake.take_item(item, kind))
                if len(batch) == BATCH:
                    sent.append(self._send(batch))
                    batch = []
                    if len(sent) > _IN_FLIGHT:
                        yield self._settle(sent.popleft())
            if batch:
                sent.append(self._send(batch))
            while sent:
                yield self._settle(sent.popleft())
        finally:  # whoever stops early, or cannot go on: what was handed in is counted all the same
            for one in sent:
                with suppress(JournalError):
                    self._settle(one)

    def _send(self, batch: list[Taken]) -> _Sent:
        return batch, deliver(self._sink, batch)

    def _settle(self, sent: _Sent) -> list[Result]:
        batch, receipt = sent
        outcomes = receipt.wait()
        with self._counting:
            self._tally.add(batch, outcomes)
        return [taken.error or taken.event_id for taken in batch]

    # what became of it

    @property
    def counts(self) -> Counts:
        """What became of the callers' events in this process."""
        waiting = self._background
        with self._counting:
            return self._tally.counts(self._queued.tally, waiting.dropped) if waiting else self._tally.counts()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was recorded so far is durable, rejected or dropped; false if that took longer."""
        return self._background is None or self._background.flush(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Flush; in background mode what is recorded later is dropped. The sink stays open."""
        if self._background is not None:
            self._background.close(timeout)

    def _after_fork(self) -> None:
        self._reset()
        if self._background is not None:
            self._background.after_fork()


class _Queued:
    """Where the background queue goes: through the intake to the sink. ``tally`` is written by its thread."""

    refused = "journal refused"

    def __init__(self, sink: EventSink, intake: Intake) -> None:
        self._sink = sink
        self._intake = intake
        self.tally = Tally()

    def prepare(self, batch: Sequence[Item]) -> list[Taken]:
        return [self._intake.take(kind, raw, at, event_id) for kind, raw, at, event_id, _ in batch]

    def deliver(self, prepared: list[Taken]) -> str:
        try:
            self.tally.add(prepared, deliver(self._sink, prepared).wait())
        except JournalClosed:
            return "journal closed"
        return ""

    def after_fork(self) -> None:
        self.tally = Tally()


_collectors: weakref.WeakSet[MetricsCollector] = weakref.WeakSet()


def _after_fork() -> None:
    for collector in list(_collectors):
        collector._after_fork()


os.register_at_fork(after_in_child=_after_fork)
