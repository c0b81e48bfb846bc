"""An assembler on a real journal whose clock the test moves; a function that reads the journal plays the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from otel_support import START

from barograph.collect.assembler import Assembler
from barograph.collect.otel import NotAQuery, query_of
from barograph.collect.validate import encode
from barograph.core.event import LATE_SPANS, NOT_A_QUERY, Query, Span
from barograph.core.settings import JournalSettings, TraceSettings
from barograph.journal.entry import Entry, Outcome
from barograph.journal.journal import Journal
from barograph_client.clock import ManualClock
from barograph_client.errors import EngineUnavailable
from barograph_client.identifiers import derived_id

GRACE, DISTRIBUTED, ROOTLESS = 2.0, 8.0, 120.0
LONG = 10 * ROOTLESS


class Killed(BaseException):
    """The end of the process."""


class World:
    """A data directory with one assembler; ``restart`` gives it another one, as a new process would have."""

    def __init__(self, directory: Path, settings: TraceSettings | None = None) -> None:
        self.directory = directory
        self.settings = settings or TraceSettings()
        self.clock = ManualClock(START)
        self.position = directory / "engine" / "traces.json"
        self.store_fails = False
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.journal = self._open()
        self.assembler = self._assembler()

    def _open(self) -> Journal:
        return Journal(self.directory, self.clock, JournalSettings(low_disk_bytes=0))

    def _assembler(self) -> Assembler:
        return Assembler(self.journal, self.clock, self.settings, self.position, self.decisions)

    def restart(self, *, stopped: bool = True, lost_position: bool = False, journal: bool = False) -> None:
        """A new assembler: after a good end or in the middle of things, with or without the noted position."""
        if stopped:
            self.assembler.stop()
        if lost_position:
            self.position.unlink(missing_ok=True)
        if journal:
            self.journal.close()
            self.journal = self._open()
        self.assembler = self._assembler()

    def die(self, seconds: float) -> None:
        """Killed after that time, in the moment in which what it wrote has become durable and it does not know yet."""
        right = self.journal.append

        def append(entries: Sequence[Entry]) -> list[Outcome]:
            right(entries)
            raise Killed

        self.journal.append = append  # type: ignore[method-assign]
        try:
            self.later(seconds)
        except Killed:
            pass
        finally:
            self.journal.append = right  # type: ignore[method-assign]
        self.restart(stopped=False)

    def close(self) -> None:
        self.journal.close()

    # what happens

    def send(self, *spans: Span) -> list[Outcome]:
        """One request."""
        return self.journal.append([Entry("span", one.event_id, encode(one), False, one.project) for one in spans])

    def step(self) -> None:
        """Until there is nothing to do at once; what the store cannot tell is left for later."""
        try:
            while self.assembler.step():
                pass
        except EngineUnavailable:
            assert self.store_fails

    def later(self, seconds: float, parts: int = 1) -> None:
        """Let time pass, and have the assembler look at the end of each part of it."""
        for _ in range(parts):
            self.clock.advance(seconds / parts)
            self.step()

    def decisions(self, project: str, traces: Sequence[str]) -> Mapping[str, datetime]:
        """What the store would tell."""
        if self.store_fails:
            raise EngineUnavailable("the engine is away")
        self.asked.append((project, tuple(traces)))
        found: dict[str, datetime] = {}
        for line in [*self.lines("query"), *self.metrics(NOT_A_QUERY)]:
            trace_id = line.get("trace_id") or line["tags"]["trace_id"]
            if line.get("project", "default") == project and trace_id in traces:
                found.setdefault(trace_id, datetime.fromisoformat(line["received_at"]))
        return found

    # what became of it

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """The durable lines of a kind, whatever is damaged left out."""
        found = []
        for segment in self.journal.snapshot().segments:
            if segment.kind == kind:
                for line in self.journal.read(segment, 0, segment.size).splitlines():
                    try:
                        found.append(json.loads(line))
                    except ValueError:
                        continue
        return found

    def metrics(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines("metric") if line["name"] == name]

    def queries(self) -> list[Query]:
        return [without_arrival(line) for line in self.lines("query")]

    def reasons(self) -> dict[str, str]:
        return {line["tags"]["trace_id"]: line["tags"]["reason"] for line in self.metrics(NOT_A_QUERY)}

    def late(self, spans: Iterable[Span]) -> set[str]:
        """The ids of those spans that are counted as late."""
        ids = [line["event_id"] for line in self.metrics(LATE_SPANS)]
        assert len(ids) == len(set(ids))
        return {one.span_id for one in spans if derived_id(one.event_id, "late") in ids}

    def settle(self) -> None:
        """Long enough that everything is decided and nothing is under way any more."""
        self.later(LONG, 4)
        assert self.assembler.progress().waiting == 0


def without_arrival(line: dict[str, Any]) -> Query:
    given = {name: value for name, value in line.items() if name != "received_at"}
    return msgspec.convert(given, Query)


def meant(spans: Iterable[Span]) -> Query | str:
    """The query that spans are, or the reason why they are none."""
    spans = list(spans)
    found = query_of(spans, incomplete=all(one.parent_span_id for one in spans))
    if isinstance(found, NotAQuery):
        return found.reason
    return msgspec.json.decode(msgspec.json.encode(found), type=Query)


def assert_once(world: World, spans: Sequence[Span]) -> None:
    """The trace is decided once; each of its spans is in the decision, or counted as late, and in no case both."""
    (trace_id,) = {one.trace_id for one in spans}
    late = world.late(spans)
    expected = meant(one for one in spans if one.span_id not in late)
    found = [one for one in world.queries() if one.trace_id == trace_id]
    if isinstance(expected, str):
        assert not found
        assert [line["tags"]["reason"] for line in world.metrics(NOT_A_QUERY)
                if line["tags"]["trace_id"] == trace_id] == [expected]  # fmt: skip
    else:
        assert len(found) == 1, (len(found), sorted(late), world.reasons())
        different = [name for name in expected.__struct_fields__
                     if getattr(found[0], name) != getattr(expected, name)]  # fmt: skip
        assert not different, (different, sorted(late), [one.span_id for one in spans if not one.parent_span_id])
        assert trace_id not in world.reasons()
