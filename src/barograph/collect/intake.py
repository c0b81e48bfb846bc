"""One event's way through the collector: validate, process, encode; what comes out is an entry or a rejection.

Used by ``metrics_collector`` and ``background``, which hand the result to a sink.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from barograph.collect.processors import Processor
from barograph.collect.scrub import Scrub
from barograph.collect.sinks import EventSink
from barograph.collect.validate import Validator, decode, encode
from barograph.core.event import Event, kind_of
from barograph.journal.entry import Entry, Outcome, Receipt, Rejection
from barograph_client.errors import InvalidEvent, shorten
from barograph_client.plain import original

SAMPLED_FIELD = "sample"
SAMPLED_REASON = "sampled out"
_NO_KIND = "unknown"  # what a rejection is filed under if its kind is none of ours


class Taken(NamedTuple):
    """What became of one input: an entry for the journal, or a rejection with the error that tells why.

    A sampled-out event is a rejection without an error.
    """

    event_id: str
    entry: Entry | None = None
    rejection: Rejection | None = None
    error: InvalidEvent | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the callers' events in this process.

    ``received = stored + rejected + duplicate``, as in the journal's account; ``sampled`` tells how many of the
    rejected were sampled out; ``dropped`` counts, by reason, what background mode had to let go before that.
    """

    received: int = 0
    stored: int = 0
    rejected: int = 0
    duplicate: int = 0
    sampled: int = 0
    dropped: Mapping[str, int] = {}


class Intake:
    """Makes entries of inputs. Raises nothing but what a processor raises that is no Exception.

    They are of the validator's project. What names another one is refused: whoever may send to one project cannot
    reach a second one through it.
    """

    def __init__(self, validator: Validator, processors: Sequence[Processor] = ()) -> None:
        self._validator = validator
        self._project = validator.project
        self._processors = tuple(processors)
        self._scrub = Scrub(self._processors)

    def take(self, kind: str, raw: object, moment: datetime | None = None, event_id: str = "") -> Taken:
        """Validate, process and encode a mapping of a kind; ``moment`` and ``event_id`` are for one without."""
        try:
            event = self._validator.event(kind, raw, moment, event_id)
            if event.project != self._project:
                raise _foreign(event.project, self._project)
            if self._processors:
                kept = self._process(event)
                if kept is None:
                    return self._sampled_out(kind, event.event_id)
                event = kept
            return Taken(event.event_id, Entry(kind, event.event_id, encode(event), False, event.project))
        except InvalidEvent as error:
            return self._refused(kind, raw, error)

    def take_item(self, item: object, kind: str | None, event_id: str = "") -> Taken:
        """The same for an item of a batch: a mapping, or a line of JSON; without ``kind`` it may name its own.

        ``event_id`` is for one that has none.
        """
        raw = item
        if isinstance(item, bytes | bytearray | memoryview | str):
            try:
                raw = decode(item)
            except InvalidEvent as error:
                return self._refused(kind or _NO_KIND, item, error)
        if kind is None:
            own = raw.get("kind", "query") if type(raw) is dict else "query"
            if type(own) is not str:
                return self._refused(_NO_KIND, item, InvalidEvent("kind", "must be text", value=own))
            taken = self.take(own, raw, event_id=event_id)
        else:
            taken = self.take(kind, raw, event_id=event_id)
        if taken.error is not None and raw is not item:  # the line itself is what is kept
            return self._refused(taken.rejection.kind if taken.rejection else _NO_KIND, item, taken.error)
        return taken

    def take_ready(self, event: Event) -> Taken:
        """Process and encode an event that is made already, from another format than ours."""
        kind = kind_of(event)
        try:
            if event.project != self._project:
                raise _foreign(event.project, self._project)
            kept = self._process(event) if self._processors else event
            if kept is None:
                return self._sampled_out(kind, event.event_id)
            return Taken(kept.event_id, Entry(kind, kept.event_id, encode(kept), False, kept.project))
        except InvalidEvent as error:
            return self.refuse(kind, event.event_id, error)

    def refuse(self, kind: str, original: str, error: InvalidEvent, project: str = "") -> Taken:
        """The rejection of what came in another format, with the original as far as it may be kept."""
        rejection = Rejection(kind, error.field, error.reason, self._scrub(original), project or self._project)
        return Taken("", None, rejection, error)

    def _refused(self, kind: object, raw: object, error: InvalidEvent) -> Taken:
        """The rejection of an input, with the original as far as it can and may be kept."""
        error.__traceback__ = error.__context__ = None  # results are kept by the thousand; frames hold what was sent
        name = kind if isinstance(kind, str) else _NO_KIND
        rejection = Rejection(shorten(name), error.field, error.reason, self._scrub(original(raw)), self._project)
        return Taken("", None, rejection, error)

    def _sampled_out(self, kind: str, event_id: str) -> Taken:
        text = msgspec.json.encode({"event_id": event_id.encode("utf-8", "replace").decode()})
        return Taken(event_id, None, Rejection(kind, SAMPLED_FIELD, SAMPLED_REASON, text, self._project))

    def _process(self, event: Event) -> Event | None:
        current: Event | None = event
        for processor in self._processors:
            try:
                current = processor(current) if current is not None else None
            except InvalidEvent:
                raise
            except Exception as error:
                encode(event)  # a text that is no Unicode is the usual reason, and has a better name
                name = getattr(processor, "__name__", type(processor).__name__)
                reason = f"the processor {shorten(name, 60)} failed with {type(error).__name__}"
                raise InvalidEvent("", reason, value=error) from error
        return current


def deliver(sink: EventSink, batch: Sequence[Taken]) -> Receipt:
    """Hand a batch to a sink."""
    entries = [taken.entry for taken in batch if taken.entry is not None]
    rejections = [taken.rejection for taken in batch if taken.rejection is not None]
    return sink.submit(entries, rejections)


def take_internal(event: Event) -> Entry:
    """The entry of an event of Barograph's own. Raises InvalidEvent if it breaks the bounds of its fields."""
    if event.origin != "internal":
        event = msgspec.structs.replace(event, origin="internal")
    body = encode(event)
    try:
        msgspec.convert(msgspec.to_builtins(event), type(event))
    except msgspec.ValidationError as error:
        raise InvalidEvent("", str(error)) from None
    return Entry(kind_of(event), event.event_id, body, internal=True, project=event.project)


def _foreign(project: str, own: str) -> InvalidEvent:
    return InvalidEvent(
        "project",
        f"this goes to the project {shorten(own, 60)}",
        hint="Leave the project out, or send it to the project that it names.",
        value=project,
    )


class Tally:
    """What one thread, or those that share a lock, have settled."""

    def __init__(self) -> None:
        self.stored = self.rejected = self.duplicate = self.sampled = 0

    def add(self, batch: Iterable[Taken], outcomes: Sequence[Outcome]) -> None:
        """Count a batch that is durable."""
        self.stored += outcomes.count("stored")
        self.duplicate += outcomes.count("duplicate")
        for taken in batch:
            if taken.rejection is not None:
                self.rejected += 1
                self.sampled += taken.error is None

    def counts(self, other: Tally | None = None, dropped: Mapping[str, int] | None = None) -> Counts:
        """This and another one together."""
        both = (self, other) if other is not None else (self,)
        stored, rejected, duplicate = (
            sum(getattr(tally, name) for tally in both) for name in ("stored", "rejected", "duplicate")
        )
        return Counts(
            received=stored + rejected + duplicate,
            stored=stored,
            rejected=rejected,
            duplicate=duplicate,
            sampled=sum(tally.sampled for tally in both),
            dropped={reason: events for reason, events in (dropped or {}).items() if events},
        )
