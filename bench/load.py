"""The load: query events as a RAG application sends them, made from a seed, so that every run sends the same.

Questions are FeedbackQA's, as packed for the demo; numbers are drawn. Labels come in 36 sets (3 pipelines, 2
environments, 2 models, 3 outcomes), as unequally as in life. ``short`` events are the README's example; ``documents``
events also name five passages by id, rank and score, without their texts. Nothing here belongs to what is measured:
events are copies of a pool, which costs about a microsecond each; a history (``over``) costs more.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TypeVar

import msgspec

from barograph.demo.dataset import load_feedback
from barograph.journal.entry import Entry
from barograph_client.clock import SystemClock
from barograph_client.identifiers import IdentifierSource

T = TypeVar("T")
EventDict = dict[str, object]

POOL = 4096
USERS = 5_000
PASSAGES = 20_000
VISIT = 3  # queries of a session
DOCUMENTS = 5

_LABELS: tuple[tuple[str, tuple[str, ...], tuple[float, ...]], ...] = (
    ("pipeline", ("chat", "search", "assist"), (0.6, 0.3, 0.1)),
    ("environment", ("production", "staging"), (0.9, 0.1)),
    ("model", ("gpt-4o-mini", "claude-haiku"), (0.7, 0.3)),
    ("status", ("ok", "no_answer", "error"), (0.93, 0.04, 0.03)),
)
_encode = msgspec.json.Encoder().encode


class Load:
    """Events of one sort. ``pool`` is after how many of them texts and numbers come again; ids never do."""

    def __init__(self, seed: int, *, documents: bool, pool: int = POOL) -> None:
        self._chance = random.Random(seed)
        self._documents = documents
        self._questions = [question.question for question in load_feedback().questions]
        self._words = sorted({word for question in self._questions for word in question.split()})
        self._pool = [self._event() for _ in range(pool)]
        self._encoded = [_encode(event)[1:] for event in self._pool]
        self._new_id = IdentifierSource(SystemClock()).new
        self._serial = 0

    def dicts(self, count: int) -> Iterator[EventDict]:
        """So many events of now, without an event id: the collector gives time and id."""
        for number in self._numbers(count):
            event = dict(self._pool[number % len(self._pool)])
            if self._documents:
                event["trace_id"], event["session_id"] = trace_id(number), _session(number)
            yield event

    def lines(self, count: int) -> Iterator[bytes]:
        """So many JSON lines with an event id each, as a client writes them."""
        for number in self._numbers(count):
            head = f'{{"event_id":"{self._new_id()}",'
            if self._documents:
                head += f'"trace_id":"{trace_id(number)}","session_id":"{_session(number)}",'
            yield head.encode() + self._encoded[number % len(self._pool)]

    def over(self, count: int, start: datetime, end: datetime) -> Iterator[EventDict]:
        """So many events, evenly spread from start to end, oldest first; no two take equally long, as in life."""
        step = (end - start) / count
        for number, event in enumerate(self.dicts(count)):
            event["time"] = start + step * number
            taken = event["response_time"]
            assert isinstance(taken, float)
            event["response_time"] = taken + number / 1e9
            yield event

    def entries(self, count: int, start: datetime, end: datetime) -> Iterator[Entry]:
        """The same as the journal takes them."""
        for event in self.over(count, start, end):
            event_id = self._new_id()
            yield Entry("query", event_id, _encode({"kind": "query", "event_id": event_id, **event})[:-1])

    def _numbers(self, count: int) -> range:
        first, self._serial = self._serial, self._serial + count
        return range(first, self._serial)

    def _event(self) -> EventDict:
        chance = self._chance
        retrieval, generation = chance.lognormvariate(-1.5, 0.5), chance.lognormvariate(0.3, 0.5)
        text = f"{chance.choice(self._questions)} {chance.choice(self._words)} {chance.choice(self._words)}"
        event: EventDict = {
            "query": text[-120:],  # no two alike
            "response_time": round(retrieval + generation + 0.05, 4),
            "retrieval_time": round(retrieval, 4),
            "generation_time": round(generation, 4),
            "cost": round(chance.lognormvariate(-6.0, 0.7), 6),
            "user_id": f"user-{int(USERS * chance.random() ** 2):04d}",
            "accuracy_score": round(chance.betavariate(8, 2), 2),
        }
        return {**event, **self._details()} if self._documents else event

    def _details(self) -> EventDict:
        chance = self._chance
        labels: EventDict = {name: chance.choices(values, weights)[0] for name, values, weights in _LABELS}
        scores = sorted((round(chance.betavariate(6, 3), 4) for _ in range(DOCUMENTS)), reverse=True)
        return {
            **labels,
            "input_tokens": int(chance.lognormvariate(7.0, 0.6)),
            "output_tokens": int(chance.lognormvariate(5.0, 0.6)),
            "time_to_first_token": round(chance.lognormvariate(-0.7, 0.4), 4),
            "documents": [
                {
                    "id": f"passage-{chance.randrange(PASSAGES):05d}",
                    "retriever": "dense" if rank % 2 else "bm25",
                    "rank": rank,
                    "score": score,
                    "in_context": rank <= 3,
                }
                for rank, score in enumerate(scores, 1)
            ],
            "document_count": DOCUMENTS,
        }


def trace_id(number: int) -> str:
    """The trace id of a load's event of that number, counted from 0: as random as a real one, and known."""
    return hashlib.blake2b(number.to_bytes(8), digest_size=16).hexdigest()


def _session(number: int) -> str:
    return hashlib.blake2b((number // VISIT).to_bytes(8), digest_size=8).hexdigest()


def in_batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` items, the last one shorter."""
    while batch := list(islice(items, size)):
        yield batch
