"""The load: traces of a RAG application as OTLP/HTTP protobuf bodies, made from a seed: every system gets the same.

A trace has three spans with OpenInference names: a chain (question, answer, session, user, metadata), a retriever with
five documents, and an LLM call with its messages and token counts; about 5.9 kB. Start times go evenly over the hours
before ``end``, oldest first. Two questions in a hundred hold an e-mail address, so that redaction finds something; two
chains in a hundred end with an error.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

PROJECT = "peers"
HOURS = 24
SPANS = 3  # a trace
DOCUMENTS = 5
QUESTION_WORDS, ANSWER_WORDS, PASSAGE_WORDS = 13, 82, 57
SEED = 11
_MS = 1_000_000  # nanoseconds
_TEXT = """
pressure barometer needle drum paper ink storm front isobar gauge mercury altitude calibration reading hourly trend
falling rising steady forecast harbour sailor vessel logbook station sensor archive chart scale unit correction
maintenance spring clockwork lever arm cylinder humidity temperature wind sea level observer manual service cover
"""
_WORDS = _TEXT.split()
_MODELS = ("gpt-4o-mini", "gpt-4o", "claude-haiku")

Value = str | int | float


class Batch(NamedTuple):
    """One request's body, and the traces in it (lower-case hex)."""

    body: bytes
    trace_ids: tuple[str, ...]

    @property
    def spans(self) -> int:
        return SPANS * len(self.trace_ids)


def batches(traces: int, end: datetime, per_batch: int = 100, seed: int = SEED) -> list[Batch]:
    """So many traces, ``per_batch`` in each body; the same arguments give the same bytes."""
    chance = random.Random(seed)
    last = int(end.timestamp()) * 10**9
    step = HOURS * 3600 * 10**9 // traces
    starts = [last - HOURS * 3600 * 10**9 + step * number for number in range(traces)]
    return [_batch(starts[first : first + per_batch], chance) for first in range(0, traces, per_batch)]


def some_of(whole: Sequence[Batch], traces: int) -> list[Batch]:
    """About so many traces of the same batches, two batches at least, at even distances: they span the same hours."""
    wanted = max(2, min(len(whole), round(traces / len(whole[0].trace_ids))))
    return [whole[place * len(whole) // wanted] for place in range(wanted)]


def _batch(starts: Sequence[int], chance: random.Random) -> Batch:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(_attributes({"service.name": "rag-app", "openinference.project.name": PROJECT}))
    scope = resource.scope_spans.add()
    scope.scope.name = "bench.peers"
    ids = []
    for start in starts:
        trace_id = chance.randbytes(16)
        ids.append(trace_id.hex())
        scope.spans.extend(_trace(trace_id, start, chance))
    return Batch(request.SerializeToString(), tuple(ids))


def _trace(trace_id: bytes, start: int, chance: random.Random) -> Iterator[Span]:
    """Chain, retriever, LLM; the retriever begins a millisecond after the chain and the LLM call follows it."""
    retrieval = int(chance.lognormvariate(4.2, 0.6) * _MS)
    generation = int(chance.lognormvariate(7.1, 0.5) * _MS)
    question, answer = _text(chance, QUESTION_WORDS), _text(chance, ANSWER_WORDS)
    if chance.random() < 0.02:
        question += f" reply to {chance.choice(_WORDS)}{chance.randrange(1000)}@example.org"
    failed = chance.random() < 0.02
    root_id = chance.randbytes(8)
    yield Span(
        trace_id=trace_id,
        span_id=root_id,
        name="answer",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=start,
        end_time_unix_nano=start + retrieval + generation + 2 * _MS,
        attributes=_attributes(_chain(question, answer, chance)),
        status=Status(code=Status.STATUS_CODE_ERROR, message="deadline exceeded")
        if failed
        else Status(code=Status.STATUS_CODE_OK),
    )
    began = start + _MS
    for name, taken, attributes in (
        ("retrieve", retrieval, _retriever(question, chance)),
        ("generate", generation, _llm(question, answer, chance)),
    ):
        yield Span(
            trace_id=trace_id,
            span_id=chance.randbytes(8),
            parent_span_id=root_id,
            name=name,
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=began,
            end_time_unix_nano=began + taken,
            attributes=_attributes(attributes),
        )
        began += taken


def _chain(question: str, answer: str, chance: random.Random) -> dict[str, Value]:
    metadata = {"variant": chance.choice("AB"), "tenant": f"tenant-{chance.randrange(10)}"}
    return {
        "openinference.span.kind": "CHAIN",
        "input.value": question,
        "output.value": answer,
        "session.id": f"session-{chance.randrange(4000)}",
        "user.id": f"user-{chance.randrange(1000)}",
        "metadata": msgspec.json.encode(metadata).decode(),
    }


def _retriever(question: str, chance: random.Random) -> dict[str, Value]:
    found: dict[str, Value] = {"openinference.span.kind": "RETRIEVER", "input.value": question}
    scores = sorted((round(chance.uniform(0.3, 0.95), 4) for _ in range(DOCUMENTS)), reverse=True)
    for rank, score in enumerate(scores):
        document = f"retrieval.documents.{rank}.document"
        found[f"{document}.id"] = f"passage-{chance.randrange(100_000):05d}"
        found[f"{document}.content"] = _text(chance, PASSAGE_WORDS)
        found[f"{document}.score"] = score
    return found


def _llm(question: str, answer: str, chance: random.Random) -> dict[str, Value]:
    prompt, completion = chance.randint(400, 1600), chance.randint(60, 400)
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": chance.choice(_MODELS),
        "llm.provider": "openai",
        "llm.token_count.prompt": prompt,
        "llm.token_count.completion": completion,
        "llm.token_count.total": prompt + completion,
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": question,
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": answer,
        "input.value": question,
        "output.value": answer,
    }


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(_WORDS, k=words))


def _attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(double_value=value)
