"""A journal and a store on one directory for tests, events made by a seeded generator, and their plain meaning.

``Site`` journals event structs as the collector does and remembers them, so that a test can ask ``oracle`` (a
reader over dictionaries) what the engine should have said.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
from tests.support.dictionary_reader import DictionaryReader

from barograph.core.event import Document, Event, Query, kind_of
from barograph.core.metric import Catalogue
from barograph.core.query import MetricAnswer, MetricQuery
from barograph.core.settings import EngineSettings, JournalSettings
from barograph.journal.entry import Entry
from barograph.journal.journal import Journal
from barograph.store.data_store import DataStore
from barograph_client.clock import Clock

HOSTILE = "'; DROP TABLE query; -- {p0:String} \\ \" %s \u202e\x1b[31m\t\n\x01 =1+1"
_encode = msgspec.json.Encoder().encode


def entry(event: Event, *, internal: bool = False) -> Entry:
    """The event as the collector hands it to the journal."""
    return Entry(kind_of(event), event.event_id, _encode(event)[:-1], internal, event.project)


def crash(journal: Journal) -> None:
    """Leave the directory as SIGKILL leaves it: what was written stands there, nothing was closed."""
    journal._writer.close()
    journal._owner.release(clean=False)


class Site:
    """A data directory with its journal and its store, both open."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        address: str = "chdb://",
        database: str = "barograph",
        catalogue: Catalogue | None = None,
        segment_bytes: int = 64 * 2**20,
        durability: Literal["fsync", "interval"] = "fsync",
        **engine: Any,
    ) -> None:
        """In interval mode nothing is synced for a minute, unless somebody asks for it."""
        self.directory = directory
        self.clock = clock
        self.recorded: list[dict[str, object]] = []
        self.catalogue = catalogue or Catalogue()
        kept = JournalSettings(segment_bytes=segment_bytes, durability=durability, sync_interval=60)
        self.journal = Journal(directory, clock, kept)
        settings = EngineSettings(address=address, database=database, **engine)
        self.store = DataStore(self.journal, clock, settings, self.catalogue)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.store.close()
        self.journal.close()

    def discard(self) -> None:
        """Close it and drop its database: an engine that many tests share gets slower with each that is left in it."""
        self.close()
        engine = self.store._engine
        if not engine.in_data_directory:
            with engine._outside() as client:
                client.command(f"DROP DATABASE IF EXISTS `{engine.database}` SYNC")

    def append(self, events: Iterable[Event]) -> None:
        """Journal events and remember them."""
        events = list(events)
        self.journal.append([entry(event) for event in events])
        for event in events:
            self.recorded.append(msgspec.to_builtins(event, builtin_types=(datetime,)))

    def oracle(self) -> DictionaryReader:
        """What the recorded events mean."""
        ordered = sorted(self.recorded, key=lambda event: event["time"])
        return DictionaryReader(ordered, self.clock.now, self.catalogue)


def assert_same_answer(found: MetricAnswer, expected: MetricAnswer, *, relative: float = 1e-9) -> None:
    """The same buckets, groups, counts and values; groups in which nothing was measured may be left out."""

    def rows(answer: MetricAnswer) -> dict[Any, Any]:
        wanted = {tuple(row.group.items()) for row in answer.rows if row.n or not row.group}
        return {
            (row.start, row.end, tuple(row.group.items())): row
            for row in answer.rows
            if tuple(row.group.items()) in wanted
        }

    mine, theirs = rows(found), rows(expected)
    assert mine.keys() == theirs.keys(), found.metric
    for key, row in mine.items():
        other = theirs[key]
        assert row.n == other.n, (found.metric, key, row, other)
        if row.value is None or other.value is None:
            assert row.value is other.value, (found.metric, key, row, other)
        else:
            assert math.isclose(row.value, other.value, rel_tol=relative, abs_tol=1e-9), (found.metric, key, row, other)


def queries(
    chance: random.Random, count: int, start: datetime, end: datetime, *, first: int = 0, **fixed: Any
) -> list[Query]:
    """Query events at random moments: with and without every number, good and bad, with hostile text among them."""

    def perhaps(value: Any) -> Any:
        return value if chance.random() < 0.8 else None

    span = (end - start) / timedelta(microseconds=1)
    found = []
    for number in range(first, first + count):
        documents = [
            Document(id=f"d{i}", rank=i + 1, score=round(chance.random(), 3), in_context=i < 2)
            for i in range(chance.randrange(4))
        ]
        fields: dict[str, Any] = {
            "event_id": f"query-{number:08d}",
            "time": start + timedelta(microseconds=chance.randrange(int(span))),
            "trace_id": f"trace-{number}",
            "user_id": f"user-{chance.randrange(12)}" if chance.random() < 0.9 else "",
            "session_id": f"session-{chance.randrange(30)}",
            "query": HOSTILE if chance.random() < 0.1 else f"question {number}",
            "pipeline": chance.choice(("chat", "search", "", HOSTILE[:20])),
            "environment": chance.choice(("production", "staging")),
            "model": chance.choice(("small", "large", "größer")),
            "provider": chance.choice(("here", "there")),
            "status": chance.choice(("ok", "ok", "ok", "error", "no_answer")),
            "error_type": chance.choice(("", "Timeout")),
            "response_time": perhaps(round(chance.lognormvariate(0, 1), 6)),
            "retrieval_time": perhaps(round(chance.random(), 6)),
            "input_tokens": perhaps(chance.randrange(4000)),
            "output_tokens": perhaps(chance.randrange(600)),
            "cost": perhaps(round(chance.random() / 50, 6)),
            "accuracy_score": perhaps(round(chance.random(), 4)),
            "documents": perhaps(documents),
            "variants": {"reranker": chance.choice(("on", "off"))} if chance.random() < 0.7 else {},
            "tags": {"tenant": chance.choice(("a", "b", HOSTILE))},
        }
        if fields["documents"] is not None:  # the collector counts them
            fields["document_count"] = len(fields["documents"])
        found.append(Query(**{**fields, **fixed}))
    return found


def window_days(first: datetime, days: float) -> tuple[datetime, datetime]:
    """Start and end of so many days."""
    return first, first + timedelta(days=days)


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def answers(site: Site, questions: Sequence[MetricQuery]) -> list[list[tuple[Any, ...]]]:
    """Every answer as plain rows, for comparing before and after."""
    return [
        [(row.start, tuple(row.group.items()), row.n, row.value) for row in answer.rows]
        for answer in site.store.query_many(questions)
    ]
