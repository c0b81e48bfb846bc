"""Which traces are still coming in, and when each of them is complete: the bookkeeping of the assembler.

It knows spans by where they stand in the journal, not by their contents, so a hundred thousand of them are small. It
keeps no clock: ``due`` is asked with the time up to which the journal was read, so what it answers depends on the
journal alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from msgspec import Struct, field

from barograph.core.event import EPOCH

MAX_OPEN = 200_000  # traces that wait; the oldest is decided early when there are more
MAX_SPANS = 5_000  # of one trace that make its query event; the rest is kept and counted as late
MAX_DECIDED = 200_000  # traces remembered as decided, about 40 MB of them

_NO_PARENT = frozenset(("", "0" * 16))
_NO_ROOT = "EVENT"  # the kind of what was written inside a span, in a log record of its own
_INSTANCE = ("service.namespace", "service.name", "service.instance.id", "host.name", "process.pid")


class Place(NamedTuple):
    """Where a span's line stands in the journal."""

    segment: str
    start: int
    end: int


class SpanHead(Struct, frozen=True, gc=False):
    """As much of a span's line as tells where it belongs; the rest is not even decoded."""

    event_id: str
    trace_id: str
    received_at: datetime
    time: datetime
    parent_span_id: str = ""
    project: str = "default"
    span_kind: str = ""
    resource: dict[str, str] = field(default_factory=dict)


def _instance(resource: dict[str, str]) -> list[str]:
    return [resource.get(name, "") for name in _INSTANCE]


class Patience(NamedTuple):
    """How long a trace is waited for."""

    grace: timedelta  # after the root, when all spans seen come from one service instance
    distributed: timedelta  # after the root, when they do not: exporters flush every five seconds by default
    rootless: timedelta  # after the last span, when no root came


class OpenTrace:
    """A trace that is coming in. ``recovered``: it began before this process did, which may have decided it."""

    __slots__ = (
        "began", "bytes", "last_seen", "looked_at", "many_instances", "places", "project", "recovered", "resource",
        "root_seen", "trace_id", "waits",
    )  # fmt: skip

    def __init__(self, head: SpanHead, recovered: bool) -> None:
        self.project = head.project
        self.trace_id = head.trace_id
        self.places: list[Place] = []
        self.bytes = 0  # of the lines at these places
        self.began = head.time  # the earliest start of a span
        self.last_seen = head.received_at
        self.root_seen: datetime | None = None
        self.resource = head.resource  # of whichever span came first
        self.many_instances = False
        self.recovered = recovered
        self.looked_at: datetime | None = None  # when it is looked at next
        self.waits = False  # it could not be decided, and is not tried before that

    @property
    def key(self) -> str:
        return f"{self.project}\0{self.trace_id}"

    def due(self, patience: Patience) -> datetime:
        """When it is complete."""
        if self.root_seen is None:
            return self.last_seen + patience.rootless
        return self.root_seen + (patience.distributed if self.many_instances else patience.grace)


class OpenTraces:
    """The traces that are coming in, and those that are decided. For one thread."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._open: dict[str, OpenTrace] = {}
        self._agenda: list[tuple[datetime, str]] = []  # a heap: when to look at a trace
        self._decided: dict[str, datetime] = {}  # and when its first span began
        self._forgotten_until = EPOCH  # traces whose decision is no longer remembered began before this

    def __len__(self) -> int:
        return len(self._open)

    def add(self, head: SpanHead, place: Place, not_before: datetime, recovered: bool) -> bool:
        """Take a span; false when its trace is decided already, or full: it is late.

        ``not_before`` is when this process began to listen: what arrived earlier is waited for from then on.
        """
        key = f"{head.project}\0{head.trace_id}"
        if key in self._decided:
            return False
        is_root = head.parent_span_id in _NO_PARENT and head.span_kind != _NO_ROOT
        trace = self._open.get(key)
        if trace is None:
            trace = self._open[key] = OpenTrace(head, recovered)
        elif len(trace.places) >= MAX_SPANS and not (is_root and trace.root_seen is None):
            return False  # but the root, which has one place more: without it the trace would end as a rootless one
        trace.places.append(place)
        trace.bytes += place.end - place.start
        arrived = head.received_at
        if arrived < not_before:
            arrived = not_before
        if arrived > trace.last_seen:
            trace.last_seen = arrived
        if head.time < trace.began:
            trace.began = head.time
        if is_root and trace.root_seen is None:
            trace.root_seen = arrived
        if head.resource != trace.resource and not trace.many_instances:
            trace.many_instances = _instance(head.resource) != _instance(trace.resource)
        due = trace.due(self._patience)
        if trace.looked_at is None or due < trace.looked_at:
            self._look_at(key, trace, due)
        return True

    def forget_before(self, moment: datetime) -> None:
        """Nothing is known of the decisions on traces that began before that moment."""
        self._forgotten_until = max(self._forgotten_until, moment)

    def _look_at(self, key: str, trace: OpenTrace, moment: datetime) -> None:
        trace.looked_at = moment
        heapq.heappush(self._agenda, (moment, key))

    def due(self, read_to: datetime, most: int, most_bytes: int) -> list[OpenTrace]:
        """The traces that are complete at that moment, and the oldest where there are too many.

        At most so many, and as many as have so few bytes in the journal: but one in any case.
        """
        found: list[OpenTrace] = []
        size = 0
        while self._agenda and self._agenda[0][0] <= read_to and len(found) < most and size < most_bytes:
            moment, key = heapq.heappop(self._agenda)
            trace = self._open.get(key)
            if trace is None or trace.looked_at != moment:
                continue
            trace.waits = False
            due = trace.due(self._patience)
            if due > read_to:
                self._look_at(key, trace, due)
                continue
            size += trace.bytes
            if found and size > most_bytes:
                self._look_at(key, trace, moment)
                break
            trace.looked_at = None
            found.append(trace)
        if not found and len(self._open) > MAX_OPEN:
            oldest = (trace for trace in self._open.values() if not trace.waits)
            for trace in islice(oldest, min(most, len(self._open) - MAX_OPEN)):
                size += trace.bytes
                if found and size > most_bytes:
                    break
                found.append(trace)
        return found

    def put_back(self, traces: Iterable[OpenTrace], moment: datetime) -> None:
        """These could not be decided; they are looked at again at that moment."""
        for trace in traces:
            trace.waits = True
            self._look_at(trace.key, trace, moment)

    def close(self, traces: Iterable[OpenTrace]) -> None:
        """These are decided, durably: spans that come for them from now on are late."""
        for trace in traces:
            key = trace.key
            self._open.pop(key, None)
            self._decided[key] = trace.began
        while len(self._decided) > MAX_DECIDED:
            oldest = next(iter(self._decided))
            self._forgotten_until = max(self._forgotten_until, self._decided.pop(oldest))

    def is_uncertain(self, trace: OpenTrace) -> bool:
        """Whether it may have been decided before, outside this memory: then the store is asked."""
        return trace.recovered or trace.root_seen is None or trace.began <= self._forgotten_until

    def needed_from(self) -> dict[str, int]:
        """By segment, the first byte that an open trace still needs."""
        first: dict[str, int] = {}
        for trace in self._open.values():
            for place in trace.places:
                if place.start < first.get(place.segment, place.start + 1):
                    first[place.segment] = place.start
        return first
