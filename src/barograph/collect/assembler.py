"""The assembler: from the spans in the journal to one query event a trace, journaled as a derived line.

It follows the journal's spans from a position it keeps in a small file, decides each trace when ``open_traces`` says
that it is complete, and has ``otel`` make the query of it. What it decides is durable before the position moves
past the spans, and its id is made of the trace's, so a crash between the two loses nothing and doubles nothing. A
trace that is no query leaves a line that says why; a span that comes after the decision changes no number: it is
kept, and counted by a line of its own. Run by a thread of the open data directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from barograph.collect.burst import LOOK_SECONDS, Burst
from barograph.collect.intake import take_internal
from barograph.collect.open_traces import OpenTrace, OpenTraces, Patience, Place, SpanHead
from barograph.collect.otel import query_of
from barograph.collect.otlp_logs import EVENT_KIND
from barograph.collect.validate import encode
from barograph.core.event import EPOCH, LATE_SPANS, NOT_A_QUERY, Event, Metric, Query, Span
from barograph.core.settings import TraceSettings
from barograph.core.worker import Worker
from barograph.journal.disk import write_new
from barograph.journal.entry import Entry
from barograph.journal.journal import Journal
from barograph.journal.segment import Segment
from barograph_client.clock import Clock
from barograph_client.errors import BarographError, JournalError, shorten
from barograph_client.identifiers import derived_id

_CHUNK = 4 * 2**20  # bytes read at a time
_GAP = 64 * 2**10  # bytes between two spans that are read rather than sought
_BATCH = 2_000  # traces decided in one commit
_BATCH_BYTES = 32 * 2**20  # of their lines, which are all in memory then
_SAVE_SECONDS = 2.0  # between two notes of the position
_AGAIN = timedelta(seconds=5)  # a trace that could not be decided waits so long
_FIRST_SEGMENTS = 2  # looked back over when no position is known

Decisions = Callable[[str, Sequence[str]], Mapping[str, datetime]]

_head = msgspec.json.Decoder(SpanHead).decode
_span = msgspec.json.Decoder(Span).decode  # which checks no more than the collector has checked already


class Progress(Struct, frozen=True, kw_only=True):
    """What the assembler did in this process's life, and what waits."""

    queries: int
    not_queries: int
    late: int
    waiting: int
    problem: str


class Assembler:
    """Follows one journal. ``decisions(project, trace ids)`` tells which were decided by an earlier life, and when.

    It raises BarographError while it cannot tell; those traces wait. ``step`` does one round, ``start`` keeps doing so.
    """

    def __init__(
        self, journal: Journal, clock: Clock, settings: TraceSettings, path: Path, decisions: Decisions
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._path = path
        self._decisions = decisions
        self._traces = OpenTraces(
            Patience(
                timedelta(seconds=settings.grace),
                timedelta(seconds=settings.distributed_grace),
                timedelta(seconds=settings.rootless),
            )
        )
        self._read: dict[str, int] | None = None  # by segment of spans, the bytes that were read
        self._began = clock.now()
        self._read_to = EPOCH  # every span that arrived up to then is known
        self._recovering: dict[str, int] = {}  # by segment, the bytes that stood in it at the start
        self._queries = self._not_queries = self._late = 0
        self._burst = Burst(clock, settings.grace, self._span_bytes)
        self._saved: bytes = b""
        self._saved_at = clock.monotonic()
        self._uncounted: list[SpanHead] = []  # late spans that have no line yet
        self._unanswered: BarographError | None = None  # why the store could not tell, in this round
        self._worker = Worker("barograph-assembler", "assembling traces", self._turn, clock, LOOK_SECONDS)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """End after the round it is in, and note the position. What is open goes on in the next life."""
        self._worker.stop()
        self._save()

    def progress(self) -> Progress:
        """What became of the traces so far."""
        problem = self._worker.problem
        return Progress(
            queries=self._queries,
            not_queries=self._not_queries,
            late=self._late,
            waiting=len(self._traces),
            problem=str(problem) if problem else "",
        )

    def _turn(self) -> bool:
        """A step, unless a burst goes first."""
        if self._burst.goes_first():
            return False
        more = self.step()
        if not more:
            self._burst.all_done()
        return more

    def _span_bytes(self) -> int:
        return sum(one.size for one in self._journal.snapshot().segments if one.kind == "span")

    def step(self) -> bool:
        """Read what is new and decide what is complete; whether there is more to do at once. Raises BarographError."""
        if self._uncounted:  # from a round in which the journal failed
            self._write([])
        snapshot = self._journal.snapshot()
        segments = [one for one in snapshot.segments if one.kind == "span"]
        if self._read is None:
            self._read = self._position(segments)
            if self._recovering:
                self._traces.forget_before(self._began)
        more = self._follow(segments)
        if not more:
            self._read_to = snapshot.complete_to
        decided = self._decide({one.name: one for one in segments})
        if self._uncounted:
            self._write([])
        if self._clock.monotonic() - self._saved_at >= _SAVE_SECONDS:
            self._save()
        if self._unanswered is not None:
            raise self._unanswered
        return more or decided

    # reading

    def _position(self, segments: Sequence[Segment]) -> dict[str, int]:
        """Where to go on: the noted position, or a little before the end where there is none."""
        self._recovering = {one.name: one.size for one in segments}
        try:
            noted = msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except (OSError, ValueError, msgspec.MsgspecError):
            noted = {one.name: one.size for one in segments[:-_FIRST_SEGMENTS]}
        return {one.name: max(0, min(noted[one.name], one.size)) for one in segments if one.name in noted}

    def _follow(self, segments: Sequence[Segment]) -> bool:
        """Read on in every segment, a bounded amount; whether something is left."""
        assert self._read is not None
        budget = _CHUNK
        for segment in segments:
            start = self._read.get(segment.name, 0)
            while start < segment.size:
                if budget <= 0:
                    return True
                data = self._journal.read(segment, start, min(segment.size, start + _CHUNK))
                end = data.rfind(b"\n") + 1
                if not end:
                    raise JournalError(f"no line ends within {_CHUNK} bytes of {segment.name}, offset {start}")
                self._take(segment.name, start, data[:end])
                start += end
                budget -= end
                self._read[segment.name] = start
        return False

    def _take(self, name: str, start: int, lines: bytes) -> None:
        recovered_to = self._recovering.get(name, 0)
        head = None
        for line in lines.split(b"\n")[:-1]:
            end = start + len(line) + 1
            try:
                head = _head(line)
            except (msgspec.MsgspecError, ValueError):
                pass  # a damaged line: the loader sets it aside, and tells
            else:
                recovered = end <= recovered_to
                if not self._traces.add(head, Place(name, start, end), self._began, recovered):
                    self._uncounted.append(head)
            start = end
        if head is not None:
            self._read_to = max(self._read_to, head.received_at)

    # deciding

    def _decide(self, segments: Mapping[str, Segment]) -> bool:
        """Decide what is complete, a batch of it; whether something was."""
        self._unanswered = None
        traces = self._traces.due(self._read_to, _BATCH, _BATCH_BYTES)
        if not traces:
            return False
        try:
            uncertain = [trace for trace in traces if self._traces.is_uncertain(trace)]
            try:
                known = self._known(uncertain)
            except BarographError as error:  # these wait; the others go on
                self._unanswered = error
                self._put_back(uncertain)
                waiting = set(map(id, uncertain))
                traces, known = [trace for trace in traces if id(trace) not in waiting], {}
            spans = self._spans(traces, segments)
            late = [
                head
                for trace in traces
                if trace.key in known
                for head in self._heads(trace, segments)
                if head.received_at >= known[trace.key]  # what the decision saw had arrived before its line
            ]
            fresh = [trace for trace in traces if trace.key not in known and spans[trace.key]]
            self._write([self._decision(trace, spans[trace.key]) for trace in fresh], late)
        except BaseException:
            self._put_back(traces)
            raise
        self._traces.close(traces)
        return bool(traces)

    def _put_back(self, traces: Sequence[OpenTrace]) -> None:
        self._traces.put_back(traces, self._read_to + _AGAIN)

    def _write(self, decisions: Sequence[Entry], late: Sequence[SpanHead] = ()) -> None:
        """Make decisions durable, and the counts of late spans with them. Raises JournalError."""
        heads = [*self._uncounted, *late]
        lines = [self._line(LATE_SPANS, head.project, derived_id(head.event_id, "late"), {"trace_id": head.trace_id})
                 for head in heads]  # fmt: skip
        outcomes = self._journal.append([*decisions, *lines])
        stored = [entry.kind for entry, outcome in zip(decisions, outcomes, strict=False) if outcome == "stored"]
        self._queries += stored.count("query")
        self._not_queries += len(stored) - stored.count("query")
        self._late += outcomes[len(decisions) :].count("stored")
        self._uncounted.clear()

    def _known(self, traces: Sequence[OpenTrace]) -> dict[str, datetime]:
        """When those were decided, by key, that were decided before. Raises BarographError."""
        asked: dict[str, list[str]] = {}
        for trace in traces:
            asked.setdefault(trace.project, []).append(trace.trace_id)
        return {
            f"{project}\0{trace_id}": moment
            for project, ids in asked.items()
            for trace_id, moment in self._decisions(project, ids).items()
        }

    def _decision(self, trace: OpenTrace, spans: Sequence[Span]) -> Entry:
        try:
            found = query_of(spans, incomplete=trace.root_seen is None)
            if isinstance(found, Query):
                return Entry("query", found.event_id, encode(found), True, trace.project)
            reason: str = found.reason
        except Exception as error:  # one trace that nobody foresaw must not hold up all others; it is told
            reason = f"fault: {type(error).__name__}: {shorten(str(error))}"
        event_id = derived_id(f"{trace.project}/{trace.trace_id}", "query")
        return self._line(NOT_A_QUERY, trace.project, event_id, {"trace_id": trace.trace_id, "reason": reason})

    def _line(self, name: str, project: str, event_id: str, tags: Mapping[str, str]) -> Entry:
        event: Event = Metric(
            event_id=event_id,
            time=self._clock.now(),
            project=project,
            origin="internal",
            name=name,
            value=1.0,
            unit="1",
            tags=dict(tags),
        )
        return take_internal(event)

    # the spans of complete traces

    def _spans(self, traces: Sequence[OpenTrace], segments: Mapping[str, Segment]) -> dict[str, list[Span]]:
        """The spans of each trace, read from the journal in as few looks as possible."""
        wanted = sorted((place, trace.key) for trace in traces for place in trace.places)
        found: dict[str, list[Span]] = {trace.key: [] for trace in traces}
        at = 0
        while at < len(wanted):
            first = wanted[at][0]
            to = at
            end = first.end
            while (
                to + 1 < len(wanted)
                and wanted[to + 1][0].segment == first.segment
                and wanted[to + 1][0].start - end <= _GAP
                and wanted[to + 1][0].end - first.start <= _CHUNK
            ):
                to += 1
                end = wanted[to][0].end
            segment = segments.get(first.segment)  # gone if its day was retired meanwhile
            data = self._journal.read(segment, first.start, end) if segment else b""
            for place, key in wanted[at : to + 1] if segment else ():
                span = _read_span(data[place.start - first.start : place.end - first.start])
                if span is not None:
                    found[key].append(span)
            at = to + 1
        return {key: _with_inner_events(spans) for key, spans in found.items()}

    def _heads(self, trace: OpenTrace, segments: Mapping[str, Segment]) -> list[SpanHead]:
        return [
            _head(self._journal.read(segments[place.segment], place.start, place.end))
            for place in trace.places
            if place.segment in segments
        ]

    # the position

    def _save(self) -> None:
        """Note from where the next life reads: the first byte that an open trace needs, else what was read.

        Raises JournalError, with nothing noted.
        """
        if self._read is None or self._uncounted:
            return
        needed = self._traces.needed_from()
        position = {name: min(read, needed.get(name, read)) for name, read in self._read.items()}
        data = msgspec.json.encode(position)
        if data != self._saved:
            self._journal.sync()  # in interval mode the decisions that it lies behind are not durable by themselves
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_new(self._path, data)
            self._saved = data
        self._saved_at = self._clock.monotonic()


def _read_span(line: bytes) -> Span | None:
    try:
        return _span(line)
    except (msgspec.MsgspecError, ValueError):
        return None


def _with_inner_events(spans: list[Span]) -> list[Span]:
    """Each span once; what was written inside it, in a log record of its own, becomes an event of it."""
    spans = list({span.span_id: span for span in reversed(spans)}.values())
    inner = [span for span in spans if span.span_kind == EVENT_KIND]
    if not inner:
        return spans
    events: dict[str, list[Span]] = {}
    for one in inner:
        events.setdefault(one.parent_span_id, []).append(one)
    return [
        msgspec.structs.replace(span, events=[*span.events, *(event for one in of for event in one.events)])
        if (of := events.pop(span.span_id, None))
        else span
        for span in spans
        if span.span_kind != EVENT_KIND
    ]
