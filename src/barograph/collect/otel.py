"""From the spans of one trace to the query event that they are, or the reason why they are none.

``assembler`` calls ``query_of`` when a trace is complete, ``otlp`` calls ``kind_of_span`` for every span that comes
in. Pure functions: equal spans give an equal event, in whatever order and however often they came. The dialects are
read by the modules beside this one: ``otel_kinds`` (what a span is), ``otel_tree`` (stages), ``otel_texts`` (question
and answer), ``otel_documents`` and ``otel_passages``, ``otel_numbers`` (times, tokens, cost), ``otel_labels`` and
``otel_errors``. What becomes what is told in docs/integrate/traces.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from barograph.collect.otel_documents import documents_of
from barograph.collect.otel_errors import Failure, failure_of
from barograph.collect.otel_kinds import indexes, kind_of_span, writes_vectors
from barograph.collect.otel_labels import (
    environment_of,
    metadata_of,
    pipeline_of,
    session_of,
    tags_of,
    user_of,
    variants_of,
)
from barograph.collect.otel_numbers import first_token, stage_times, usage_of
from barograph.collect.otel_texts import answer_of, question_of
from barograph.collect.otel_tree import Tree, is_root
from barograph.collect.otel_values import LABEL, TEXT, Attributes, cut, first
from barograph.core.event import MAX_SECONDS, Query, Span, Status
from barograph_client.identifiers import derived_id
from barograph_client.limits import MAX_LINE

__all__ = ["NotAQuery", "is_root", "kind_of_span", "query_of"]

Reason = Literal["no spans", "indexing", "embedding only", "evaluation only", "no retrieval and no generation"]

_MODELS = (  # as it was asked for: a call that failed has no model that answered, and is that model's error as well
    "gen_ai.request.model", "llm.request.model_name", "llm.model_name", "llm.request.model",
    "gen_ai.response.model", "llm.response.model_name", "traceloop.association.properties.ls_model_name",
)  # fmt: skip
_PROVIDERS = (  # under OpenLLMetry the provider of a model in LangChain is LangChain, but for the notes of LangChain
    "llm.provider", "traceloop.association.properties.ls_provider", "gen_ai.provider.name", "gen_ai.system",
    "llm.system", "llm.vendor",
)  # fmt: skip
_STATUSES: dict[str, Status] = {"ok": "ok", "no_answer": "no_answer", "error": "error"}
_NO_FAILURE = Failure("", "", "")
_LINE_ROOM = MAX_LINE - 4096  # what the journal and later processors add
_SURELY_FITS = 150_000  # characters that fit a line whatever they are: six bytes each at most


class NotAQuery(msgspec.Struct, frozen=True):
    """A trace that is no execution of a RAG system."""

    reason: Reason


def query_of(spans: Sequence[Span], *, incomplete: bool = False) -> Query | NotAQuery:
    """The query that the spans of one trace are; ``incomplete`` says that more of them were expected."""
    if not spans:
        return NotAQuery("no spans")
    tree = Tree(spans)
    reason = _why_not(tree)
    if reason is not None:
        return NotAQuery(reason)
    top = tree.top.span
    resource = _resource(tree)
    answer = answer_of(tree)
    failure = failure_of(tree, bool(answer))
    status = _status(tree, answer, failure)
    model, provider = _model(tree)
    metadata = metadata_of(tree)
    times = stage_times(tree.nodes)
    usage = usage_of(tree.nodes)
    documents = documents_of(tree.nodes)
    missing = "no root span" if tree.root is None else "spans are missing" if incomplete else ""
    response_time = top.duration if tree.root is not None and top.duration is not None else tree.extent
    error = (failure or _NO_FAILURE) if status == "error" else _NO_FAILURE
    query = Query(
        event_id=derived_id(f"{top.project}/{top.trace_id}", "query"),
        time=top.time if tree.root is not None else tree.nodes[0].span.time,
        project=top.project,
        origin="internal",
        tags=tags_of(tree, metadata, resource, missing),
        trace_id=top.trace_id,
        session_id=session_of(tree, metadata),
        user_id=user_of(tree, metadata),
        query=cut(question_of(tree), TEXT),
        answer=cut(answer or "", TEXT),
        pipeline=pipeline_of(resource),
        environment=environment_of(resource),
        model=model,
        provider=provider,
        status=status,
        error_type=error.type,
        error_stage=error.stage,
        error_message=error.message,
        response_time=min(max(response_time, 0.0), MAX_SECONDS),
        embedding_time=times.get("embedding"),
        retrieval_time=times.get("retrieval"),
        rerank_time=times.get("rerank"),
        generation_time=times.get("generation"),
        time_to_first_token=first_token(tree),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cost=usage.cost,
        documents=documents,
        document_count=None if documents is None else len(documents),
        variants=variants_of(tree.nodes, metadata),
    )
    return _fitting(query)


def _why_not(tree: Tree) -> Reason | None:
    kinds = {node.kind for node in tree.nodes if node.inside != "evaluation"}
    retrieves = "RETRIEVER" in kinds or "RERANKER" in kinds
    if not retrieves and indexes(tree.top.span.name):
        return "indexing"
    if retrieves or "LLM" in kinds or "AGENT" in kinds:
        return None
    for node in tree.nodes:
        if writes_vectors(node.attributes, node.span.name) or indexes(node.span.name):
            return "indexing"
    if "EMBEDDING" in kinds:
        return "embedding only"
    if any(node.inside == "evaluation" for node in tree.nodes):
        return "evaluation only"
    return "no retrieval and no generation"


def _resource(tree: Tree) -> Attributes:
    """Who sent the root; of an unknown sender the first that says who it is."""
    resource = tree.top.span.resource
    if resource:
        return resource
    return next((node.span.resource for node in tree.levels if node.span.resource), resource)


def _status(tree: Tree, answer: str | None, failure: Failure | None) -> Status:
    said = _STATUSES.get(tree.top.attributes.get("barograph.status", ""))
    if said is not None:
        return said
    if failure is not None:
        return "error"
    return "no_answer" if answer == "" else "ok"


def _model(tree: Tree) -> tuple[str, str]:
    """The model of the last generation that names one, and who serves it."""
    model = provider = ""
    for node in reversed(tree.nodes):
        if node.generates:
            if not model:
                said = (node.attributes.get(name, "") for name in _MODELS)
                model = next((name for name in said if name and name != "unknown"), "")
            provider = provider or first(node.attributes, _PROVIDERS)
            if model and provider:
                break
    return cut(model, LABEL), cut(provider, LABEL)


def _fitting(query: Query) -> Query:
    """The query with its longest texts cut until its line is one that the journal takes."""
    documents = query.documents or ()
    size = len(query.query) + len(query.answer) + len(query.error_message)
    size += sum(len(document.text) + len(document.source) for document in documents)
    if size + sum(map(len, query.tags.values())) < _SURELY_FITS:
        return query
    limit = TEXT
    while limit > 1 and len(msgspec.json.encode(query)) > _LINE_ROOM:
        limit //= 4
        query = msgspec.structs.replace(
            query,
            query=cut(query.query, limit),
            answer=cut(query.answer, limit),
            error_message=cut(query.error_message, limit),
            tags={name: cut(text, limit) for name, text in query.tags.items()},
            documents=None
            if query.documents is None
            else [
                msgspec.structs.replace(document, text=cut(document.text, limit), source=cut(document.source, limit))
                for document in query.documents
            ],
        )
    return query
