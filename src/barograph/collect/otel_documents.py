"""The documents of a trace: what its retrievers found, and where its rerankers put it.

``otel`` asks for them; ``otel_passages`` reads what each span lists. Every retriever that lies innermost is a leg; a
retriever around a single leg names and completes it, one around several legs has fused them, so its list is their
order after reranking, like a reranker's.
"""

from __future__ import annotations

from collections.abc import Iterable

from barograph.collect.otel_passages import Finder, Passages, complete, indexed, listed_by
from barograph.collect.otel_tree import Node
from barograph.collect.otel_values import first, label
from barograph.core.event import MAX_DOCUMENTS, Document

_FUSIONS = 16  # of retrievers inside each other


def documents_of(nodes: Iterable[Node]) -> list[Document] | None:
    """The documents in the order of the retrievals; none when no span tells which they are."""
    retrievers = [node for node in nodes if node.kind == "RETRIEVER" and node.stage == "retrieval"]
    rerankers = [node for node in nodes if node.kind == "RERANKER" and node.stage == "rerank"]
    found = _retrieved(retrievers)
    for reranker in rerankers:
        found = _rerank(found, reranker)
    return None if found is None else [passage.document() for passage in found[:MAX_DOCUMENTS]]


def _retrieved(retrievers: list[Node]) -> Passages | None:
    if len(retrievers) == 1:
        return _leg(retrievers[0], name_of(retrievers[0]))
    inside: dict[int, list[Node]] = {}
    outermost = []
    for retriever in retrievers:
        around = retriever.above
        while around is not None and around.kind != "RETRIEVER":
            around = around.above
        if around is None:
            outermost.append(retriever)
        else:
            inside.setdefault(id(around), []).append(retriever)
    found: Passages | None = None
    for retriever in outermost:
        found = _together(found, _resolve(retriever, inside, 0))
    return found


def _resolve(retriever: Node, inside: dict[int, list[Node]], depth: int) -> Passages | None:
    """What a retriever found, with the legs that lie in it."""
    name = name_of(retriever)
    chain = [retriever]
    while len(legs := inside.get(id(chain[-1]), [])) == 1:
        chain.append(legs[0])
    found: Passages | None = None
    for leg in legs:
        found = _together(found, _resolve(leg, inside, depth + 1) if depth < _FUSIONS else None)
    fused = bool(legs) and found is not None
    for node in reversed(chain):
        listed = _leg(node, name)
        if listed is None:
            continue
        if found is None:
            found = listed
        elif fused:
            found = _place(found, listed)
        else:
            found = complete(listed, found) if listed or not found else found
    return found


def name_of(node: Node) -> str:
    """What the retriever is called: its component's name, else the span's."""
    name = first(node.attributes, ("haystack.component.name", "traceloop.entity.name", "retriever.name"))
    return label(name or node.span.name)


def _leg(node: Node, name: str) -> Passages | None:
    found = listed_by(node, "retrieval.documents")
    if found:
        for passage in found:
            passage.retriever = name
    return found


def _together(one: Passages | None, other: Passages | None) -> Passages | None:
    """One list after the other; what the same retriever finds again is not listed again."""
    if one is None or other is None:
        return other if one is None else one
    seen = {(passage.retriever, passage.id or passage.text) for passage in one}
    return one + [passage for passage in other if (passage.retriever, passage.id or passage.text) not in seen]


def _place(found: Passages, listed: Passages) -> Passages:
    """Say of each passage where a later list has it; what only that list has is added."""
    find = Finder(found)
    added = []
    for passage in listed:
        matches = find(passage)
        if not matches:
            passage.rerank_rank, passage.rank = passage.rank, None
            passage.rerank_score, passage.score = passage.score, None
            added.append(passage)
        for match in matches:
            match.rerank_rank = passage.rank
            match.rerank_score = passage.score
            match.id = match.id or passage.id
            match.text = match.text or passage.text
            match.source = match.source or passage.source
    return found + added


def _rerank(found: Passages | None, reranker: Node) -> Passages | None:
    after = listed_by(reranker, "reranker.output_documents")
    if found is None or not found:
        before = indexed(reranker, "reranker.input_documents")
        if before:
            found = before
    if after is None:
        return found
    if found is None:
        found = []
    for passage in found:  # only the last reranker's places count
        passage.rerank_rank = passage.rerank_score = None
    return _place(found, after)
