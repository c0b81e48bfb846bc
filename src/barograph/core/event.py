"""The events: what a RAG system did, said and measured, one frozen struct a kind.

Read by ``collect`` (which validates and makes them), ``journal`` (which keeps one a line) and ``store`` (whose
columns have the same names). Each field's description, unit and bounds stand in its annotation, so validation,
``docs/events.md`` and the tests read the same text. Times are aware and in UTC; durations are seconds; money is
USD; an absent number is unknown, never zero.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated as A
from typing import Literal

from msgspec import Meta as M
from msgspec import Struct, field

from barograph.core.prepared import prepare
from barograph_client.limits import MAX_VARIANTS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # the oldest event time that is accepted
AHEAD_SECONDS = 600.0  # how far an event's time may lie ahead of the collector's clock

MAX_SECONDS = 31_536_000.0  # a year: longer than any execution, and far inside every column
MAX_NUMBER = 1e300  # sums of such numbers stay finite
MAX_TAGS = 64
MAX_TAG_TEXT = 65_536  # an unknown field, such as a whole prompt, is kept as a tag
MAX_DOCUMENTS = 200
MAX_ATTRIBUTES = 2048  # of a span: 200 documents with ten each
MAX_SPAN_EVENTS = 256

LATE_SPANS = "trace.late_spans"  # the metric that counts a span that came after its trace was decided
NOT_A_QUERY = "trace.not_a_query"  # and the one that says why a trace is no query

Identifier = A[str, M(max_length=256)]
Label = A[str, M(max_length=256)]
Name = A[str, M(min_length=1, max_length=128)]
Text = A[str, M(max_length=262_144)]
Seconds = A[float, M(ge=0, le=MAX_SECONDS)]
Tokens = A[int, M(ge=0, le=1_000_000_000)]
Dollars = A[float, M(ge=0, le=1_000_000.0)]
Fraction = A[float, M(ge=0, le=1)]
Percent = A[float, M(ge=0, le=100)]
Number = A[float, M(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Count = A[int, M(ge=0, le=1_000_000_000)]
Bytes = A[int, M(ge=0, le=2**62)]
Tags = A[dict[Name, A[str, M(max_length=MAX_TAG_TEXT)]], M(max_length=MAX_TAGS)]
Attributes = A[dict[Name, Text], M(max_length=MAX_ATTRIBUTES)]
Variants = A[dict[Name, Label], M(max_length=MAX_VARIANTS)]

Status = Literal["ok", "no_answer", "error"]
Origin = Literal["caller", "internal"]


class Document(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One retrieved passage, with where each step of the retrieval put it."""

    id: A[Identifier, M(description="The document's or chunk's id in the knowledge base")] = ""
    source: A[Text, M(description="Where it comes from: a path, a URL, a title")] = ""
    retriever: A[Label, M(description="Which retriever or hybrid leg found it")] = ""
    rank: A[Count | None, M(description="Its place in the retriever's list, from 1")] = None
    score: A[Number | None, M(description="The retriever's score, on the retriever's own scale")] = None
    rerank_rank: A[Count | None, M(description="Its place after reranking, from 1")] = None
    rerank_score: A[Number | None, M(description="The reranker's score")] = None
    in_context: A[bool | None, M(description="Whether it was put into the prompt")] = None
    cited: A[bool | None, M(description="Whether the answer cites it")] = None
    text: A[Text, M(description="The passage itself, if it may be kept")] = ""


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="kind"):
    """What every kind has in common. ``received_at`` is added by the journal, once, when it writes the line."""

    event_id: A[Identifier, M(min_length=1, description="Unique; UUIDv7 when made here. A retry repeats it")]
    time: A[datetime, M(tz=True, description="When it happened (UTC), 2000-01-01 to ten minutes ahead")]
    project: A[Name, M(description="The project it belongs to")] = "default"
    origin: A[Origin, M(description="'caller', or 'internal' for what Barograph records of itself")] = "caller"
    tags: A[Tags, M(description="Free labels; unknown fields of the input are kept here")] = field(default_factory=dict)


class Query(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="query"):
    """One execution of the RAG system: a question in, an answer, none, or an error out."""

    trace_id: A[Identifier, M(description="The trace; feedback, scores and spans name it")] = ""
    session_id: A[Identifier, M(description="The conversation or visit")] = ""
    user_id: A[Identifier, M(description="Who asked; may be a hash")] = ""
    query: A[Text, M(description="The question as asked")] = ""
    answer: A[Text, M(description="The answer as given")] = ""
    pipeline: A[Label, M(description="Which RAG application or route")] = ""
    environment: A[Label, M(description="production, staging, …")] = ""
    model: A[Label, M(description="The generating model")] = ""
    provider: A[Label, M(description="Who serves the model")] = ""
    status: A[Status, M(description="How it ended: ok, no_answer or error")] = "ok"
    error_type: A[Label, M(description="The error's class or code")] = ""
    error_stage: A[Label, M(description="The stage that failed: embedding, retrieval, rerank, generation")] = ""
    error_message: A[Text, M(description="What the error said")] = ""
    response_time: A[Seconds | None, M(description="Request to whole answer, seconds")] = None
    embedding_time: A[Seconds | None, M(description="Embedding the question, seconds")] = None
    retrieval_time: A[Seconds | None, M(description="Searching the knowledge base, seconds")] = None
    rerank_time: A[Seconds | None, M(description="Reranking, seconds")] = None
    generation_time: A[Seconds | None, M(description="Generating the answer, seconds")] = None
    time_to_first_token: A[Seconds | None, M(description="Request to first token, seconds")] = None
    input_tokens: A[Tokens | None, M(description="Tokens sent to the model")] = None
    output_tokens: A[Tokens | None, M(description="Tokens the model generated")] = None
    cached_tokens: A[Tokens | None, M(description="Input tokens served from the provider's cache")] = None
    cost: A[Dollars | None, M(description="USD; absent means unpriced, which is not zero")] = None
    accuracy_score: A[Fraction | None, M(description="Correctness of the answer, 0 to 1")] = None
    documents: A[
        A[list[Document], M(max_length=MAX_DOCUMENTS)] | None,
        M(description="The retrieved passages; an empty list says that nothing was found, absent that it is unknown"),
    ] = None
    document_count: A[
        Count | None, M(description="How many were retrieved; counted from documents when they are given")
    ] = None
    variants: A[Variants, M(description="Experiment key to arm")] = field(default_factory=dict)
    modelled: A[A[list[Name], M(max_length=32)], M(description="Fields that were modelled, not measured (replays)")] = (
        field(default_factory=list)
    )


class Feedback(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="feedback"):
    """What a user said of an answer. Pipeline, model and variants are looked up by the trace id when not given."""

    trace_id: A[Identifier, M(description="The trace of the query that is judged")] = ""
    session_id: A[Identifier, M(description="The conversation or visit")] = ""
    user_id: A[Identifier, M(description="Who judges")] = ""
    rating: A[A[float, M(ge=1, le=5)] | None, M(description="1 (bad) to 5 (excellent)")] = None
    comment: A[Text, M(description="In the user's words")] = ""
    pipeline: A[Label, M(description="If known to the caller")] = ""
    environment: A[Label, M(description="If known to the caller")] = ""
    model: A[Label, M(description="If known to the caller")] = ""
    variants: A[Variants, M(description="Experiment key to arm, if known to the caller")] = field(default_factory=dict)


class Score(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="score"):
    """A named judgement of an answer or a retrieval, by a person, a model or code."""

    name: A[Name, M(description="What was judged, such as faithfulness")]
    value: A[Number, M(description="The score, on the judge's scale")]
    trace_id: A[Identifier, M(description="The trace of the query that is judged")] = ""
    session_id: A[Identifier, M(description="The conversation or visit")] = ""
    user_id: A[Identifier, M(description="Whose query it was")] = ""
    judge: A[Label, M(description="Who judged: a person's role, a model, a function")] = ""
    comment: A[Text, M(description="The judge's reason")] = ""
    pipeline: A[Label, M(description="If known to the caller")] = ""
    environment: A[Label, M(description="If known to the caller")] = ""
    model: A[Label, M(description="If known to the caller")] = ""
    variants: A[Variants, M(description="Experiment key to arm, if known to the caller")] = field(default_factory=dict)


class System(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="system"):
    """The state of a machine and a process at one moment."""

    host: A[Label, M(description="The machine")] = ""
    environment: A[Label, M(description="production, staging, …")] = ""
    cpu_percent: A[Percent | None, M(description="All cores together, 0 to 100")] = None
    memory_percent: A[Percent | None, M(description="Memory in use, 0 to 100")] = None
    memory_used: A[Bytes | None, M(description="Memory in use, bytes")] = None
    disk_percent: A[Percent | None, M(description="The data directory's disk in use, 0 to 100")] = None
    disk_free: A[Bytes | None, M(description="Free on the data directory's disk, bytes")] = None
    process_cpu_percent: A[A[float, M(ge=0, le=100_000)] | None, M(description="This process; 100 is one core")] = None
    process_memory: A[Bytes | None, M(description="This process's resident memory, bytes")] = None
    gpu_percent: A[Percent | None, M(description="The busiest GPU, 0 to 100")] = None
    gpu_memory_percent: A[Percent | None, M(description="Its memory in use, 0 to 100")] = None


class Exposure(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="exposure"):
    """The moment at which an experiment's arm took effect for a unit."""

    experiment: A[Name, M(description="The experiment's key")]
    arm: A[Name, M(description="The arm that took effect")]
    unit_id: A[Identifier, M(min_length=1, description="The randomised unit's id")]
    unit_kind: A[Name, M(description="user, session or another unit")] = "user"


class Metric(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="metric"):
    """Any named number, with tags."""

    name: A[Name, M(description="The number's name")]
    value: A[Number, M(description="The number")]
    unit: A[Label, M(description="Its unit")] = ""
    pipeline: A[Label, M(description="Which RAG application or route")] = ""
    environment: A[Label, M(description="production, staging, …")] = ""
    model: A[Label, M(description="The model it is about")] = ""


class Annotation(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="annotation"):
    """Something people did that may explain a change: a deploy, a new prompt, an index rebuild."""

    title: A[A[str, M(min_length=1, max_length=256)], M(description="A few words, shown on charts")]
    category: A[Label, M(description="deploy, prompt, index, model, incident, other")] = "other"
    text: A[Text, M(description="More of it")] = ""
    link: A[Text, M(description="Where to read on")] = ""
    environment: A[Label, M(description="production, staging, …")] = ""


class SpanEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something that happened at a moment inside a span: an exception, a first token, a message."""

    time: A[datetime, M(tz=True, description="When (UTC)")]
    name: A[Label, M(description="What")] = ""
    attributes: A[Attributes, M(description="Its attributes, values as text")] = field(default_factory=dict)


class SpanLink(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Another span that this one has to do with without being its child."""

    trace_id: A[Identifier, M(description="Its trace")]
    span_id: A[Identifier, M(description="Its id")]


class Span(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="span"):
    """One step of a trace, as OpenTelemetry knows it; ``time`` is its start."""

    trace_id: A[Identifier, M(min_length=1, description="The trace")]
    span_id: A[Identifier, M(min_length=1, description="The span")]
    parent_span_id: A[Identifier, M(description="Its parent, empty for the root")] = ""
    name: A[Label, M(description="The operation")] = ""
    span_kind: A[Label, M(description="CHAIN, RETRIEVER, RERANKER, EMBEDDING, LLM, TOOL, AGENT")] = ""
    duration: A[Seconds | None, M(description="Seconds from start to end")] = None
    status: A[Literal["unset", "ok", "error"], M(description="As OpenTelemetry has it")] = "unset"
    status_message: A[Text, M(description="What the error said")] = ""
    otel_kind: A[Label, M(description="internal, server, client, producer or consumer, as OpenTelemetry has it")] = ""
    scope: A[Label, M(description="Which instrumentation made it")] = ""
    attributes: A[Attributes, M(description="The span's attributes; what is no text is JSON")] = field(
        default_factory=dict
    )
    resource: A[Attributes, M(description="Who sent it: service.name, service.instance.id, …")] = field(
        default_factory=dict
    )
    events: A[A[list[SpanEvent], M(max_length=MAX_SPAN_EVENTS)], M(description="What happened inside it")] = field(
        default_factory=list
    )
    links: A[A[list[SpanLink], M(max_length=MAX_SPAN_EVENTS)], M(description="Spans it has to do with")] = field(
        default_factory=list
    )


class Alert(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="alert"):
    """A transition of an alert from one state to another."""

    rule: A[Name, M(description="The rule's name")]
    state: A[
        Literal["inactive", "pending", "firing", "resolved", "nodata", "error", "removed"],
        M(description="The new state; removed: it fired when its rule was switched off, removed or grouped otherwise"),
    ]
    previous: A[Label, M(description="The state before")] = ""
    severity: A[Label, M(description="info, warning or critical")] = ""
    metric: A[Label, M(description="The metric the rule watches")] = ""
    value: A[Number | None, M(description="The metric's value at the transition")] = None
    threshold: A[Number | None, M(description="What it is compared with")] = None
    worst: A[Number | None, M(description="The value farthest beyond it since the alert fired")] = None
    labels: A[Variants, M(description="Which group of the rule")] = field(default_factory=dict)
    message: A[Text, M(description="The alert in a sentence")] = ""


class Attribution(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="attribution"):
    """A derived line: what a feedback or score that names only a trace belongs to. Never sent by a caller."""

    subject: A[Literal["feedback", "score"], M(description="The kind of event that is attributed")]
    subject_id: A[Identifier, M(min_length=1, description="Its event id")]
    name: A[Name, M(description="'rating', or the score's name")]
    value: A[Number | None, M(description="The rating or the score's value")] = None
    trace_id: A[Identifier, M(description="The trace it named")] = ""
    found: A[bool, M(description="Whether the trace's query was found")] = False
    user_id: A[Identifier, M(description="The user")] = ""
    session_id: A[Identifier, M(description="The session")] = ""
    pipeline: A[Label, M(description="Of the query")] = ""
    environment: A[Label, M(description="Of the query")] = ""
    model: A[Label, M(description="Of the query")] = ""
    variants: A[Variants, M(description="Of the query")] = field(default_factory=dict)


CALLER_KINDS: dict[str, type[Event]] = {
    "query": Query,
    "feedback": Feedback,
    "score": Score,
    "system": System,
    "exposure": Exposure,
    "metric": Metric,
    "annotation": Annotation,
    "span": Span,
    "alert": Alert,
}
DERIVED_KINDS: dict[str, type[Event]] = {"attribution": Attribution}
KINDS: dict[str, type[Event]] = {**CALLER_KINDS, **DERIVED_KINDS}
prepare(*KINDS.values(), Document)


def kind_of(event: Event) -> str:
    """The kind's name, as in the journal's folders."""
    return str(type(event).__struct_config__.tag)
