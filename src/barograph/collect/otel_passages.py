"""The documents that one span lists, wherever its dialect puts them.

Used by ``otel_documents``. They are indexed attributes (OpenInference), a JSON attribute (OpenTelemetry GenAI), events
(vector stores under OpenLLMetry), or the JSON of the span's output (LangChain, LlamaIndex, Haystack).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from barograph.collect.otel_tree import Node
from barograph.collect.otel_values import HIDDEN, LABEL, Attributes, Json, cut, json_of, label, number, structure_of
from barograph.core.event import MAX_DOCUMENTS, MAX_NUMBER, Document, SpanEvent

PASSAGE = 2000  # characters of a passage that are kept with the query; all of it stays in its span
_SOURCE = 2000

_LISTS = ("gen_ai.retrieval.documents", "retrieval.documents", "reranker.output_documents", "output.documents")
_OUTPUTS = (
    "output.value", "traceloop.entity.output", "gen_ai.task.output", "haystack.component.output", "documents",
    "retrieved_documents", "contexts",
)  # fmt: skip
_ROWS = ("db.response.returned_rows", "db.milvus.search.result_count")
_IDS = ("id", "document_id", "doc_id", "chunk_id", "node_id", "id_", "_id", "source_id")
_TEXTS = ("content", "page_content", "text", "document", "body", "snippet", "chunk", "passage")
_SCORES = ("score", "relevance_score", "similarity", "similarity_score", "_score", "rerank_score", "relevance")
_SOURCES = ("source", "url", "file_path", "file_name", "filename", "path", "title", "name", "uri")
_HOLDERS = (
    "documents", "nodes", "source_nodes", "results", "matches", "hits", "chunks", "outputs", "output", "context",
)  # fmt: skip
_NODE = re.compile(r"<NodeWithScore\(node=\w{1,64}\(id_=([^()]{1,256})\), score=([^()]{1,32})\)>")
_DEPTH = 5  # how deep a list of documents may lie in an output


class Passage:
    """A document while it is put together."""

    __slots__ = ("id", "rank", "rerank_rank", "rerank_score", "retriever", "score", "source", "text")

    def __init__(self, identifier: str, text: str, score: float | None, source: str) -> None:
        self.id = identifier
        self.text = text
        self.score = score
        self.source = source
        self.rank: int | None = None
        self.retriever = ""
        self.rerank_rank: int | None = None
        self.rerank_score: float | None = None

    def document(self) -> Document:
        """As the query event has it."""
        return Document(
            id=self.id,
            source=self.source,
            retriever=self.retriever,
            rank=self.rank,
            score=self.score,
            rerank_rank=self.rerank_rank,
            rerank_score=self.rerank_score,
            text=self.text,
        )


Passages = list[Passage]


def listed_by(node: Node, prefix: str) -> Passages | None:
    """The documents that a span lists, wherever it does, with their ranks; none when it does not tell."""
    found: Passages | None = indexed(node, prefix)
    if found:
        if not all(passage.id for passage in found):  # LangChain's ids are in the output only
            found = complete(found, _listed_elsewhere(node) or [])
        return found
    found = _listed_elsewhere(node)
    if found:
        for rank, passage in enumerate(found, 1):
            passage.rank = rank
    return found


def _listed_elsewhere(node: Node) -> Passages | None:
    attributes = node.attributes
    if node.span.events:
        found = _from_events(node.span.events)
        if found:
            return found
    for name in (*_LISTS, *_OUTPUTS):
        text = attributes.get(name)
        if text and text != HIDDEN:
            listed = _from_json(structure_of(text), 0)
            if listed is not None:
                return listed
    found = indexed(node, "output.documents")
    if found:
        return found
    return [] if any(attributes.get(name) == "0" for name in _ROWS) else None


_Keys = tuple[str, str, str, str, str, str]


def _keys(prefix: str) -> list[_Keys]:
    at = [f"{prefix}.{i}.document." for i in range(MAX_DOCUMENTS)]
    return [(f"{p}id", f"{p}content", f"{p}score", f"{p}metadata", f"{p}url", f"{p}name") for p in at]


_KEYS = {
    prefix: _keys(prefix)
    for prefix in ("retrieval.documents", "reranker.input_documents", "reranker.output_documents", "output.documents")
}


def indexed(node: Node, prefix: str) -> Passages:
    """Attributes such as ``retrieval.documents.0.document.id``. An index that is left out keeps its rank."""
    attributes = node.attributes
    get = attributes.get
    found: Passages = []
    if prefix not in node.names:
        return found
    last = MAX_DOCUMENTS
    said = 0
    for place, keys in enumerate(_KEYS[prefix]):
        identifier = get(keys[0])
        text = get(keys[1])
        score = get(keys[2])
        metadata = get(keys[3])
        if identifier is not None or text is not None or score is not None or metadata is not None:
            passage = _passage(identifier, text, score, metadata, get(keys[4]) or get(keys[5]))
            passage.rank = place + 1
            found.append(passage)
            said += (identifier is not None) + (text is not None) + (score is not None) + (metadata is not None)
        elif last == MAX_DOCUMENTS:
            if node.names.count(prefix) == said:
                break  # the usual case: no number is left out
            last = _last_index(attributes, f"{prefix}.")
        if place >= last:
            break
    return found


def _last_index(attributes: Attributes, prefix: str) -> int:
    length = len(prefix)
    indexes = [name[length:].partition(".")[0] for name in attributes if name.startswith(prefix)]
    return max((int(index) for index in indexes if index.isdecimal() and len(index) < 4), default=-1)


def _passage(
    identifier: str | None, text: str | None, score: str | float | None, metadata: str | None, source: str | None
) -> Passage:
    if metadata:
        known = json_of(metadata)
        if isinstance(known, dict):
            source = _named(known, _SOURCES) or source
            identifier = identifier or _named(known, _IDS)
            score = score if score is not None else _score(known)
    if text == HIDDEN:
        text = ""
    return Passage(
        identifier[:LABEL] if identifier else "",
        text[:PASSAGE] if text else "",
        None if score is None else number(score, MAX_NUMBER),
        source[:_SOURCE] if source else "",
    )


def _from_events(events: Iterable[SpanEvent]) -> Passages:
    """One event a document: what vector stores under OpenLLMetry write, or an event named after a document."""
    found = []
    for event in events:
        if event.name in ("db.query.result", "db.search.result"):
            values = {name.removeprefix(f"{event.name}."): text for name, text in event.attributes.items()}
        elif "document" in event.name:
            values = {name.rpartition("document.")[2]: text for name, text in event.attributes.items()}
        else:
            continue
        passage = _from_mapping(dict(values))
        if passage is not None:
            found.append(passage)
    return found


def _from_json(value: Json, depth: int) -> Passages | None:
    """The documents in an output, if it is a list of them or holds one."""
    if depth > _DEPTH:
        return None
    if isinstance(value, list):
        if not value:
            return []
        found = [_from_mapping(item) if isinstance(item, dict) else _from_text(item) for item in value[:MAX_DOCUMENTS]]
        passages = [passage for passage in found if passage is not None]
        if passages:
            return passages
        return _from_json(value[0], depth + 1) if len(value) == 1 else None
    if isinstance(value, dict):
        for name in _HOLDERS:
            if name in value and isinstance(value[name], list | dict):
                listed = _from_json(value[name], depth + 1)
                if listed is not None:
                    return listed
    return None


def _from_text(item: Json) -> Passage | None:
    if not isinstance(item, str) or not item:
        return None
    inner = structure_of(item)  # LlamaIndex under OpenLLMetry lists its nodes as texts of JSON
    if isinstance(inner, dict):
        return _from_mapping(inner)
    if item.startswith("<"):  # what Python prints of an object; of LlamaIndex's nodes it has id and score
        node = _NODE.match(item)
        return Passage(cut(node[1], LABEL), "", number(node[2], MAX_NUMBER), "") if node else None
    return Passage("", cut(item, PASSAGE), None, "")


def _from_mapping(item: dict[str, Json]) -> Passage | None:
    """A document in JSON: plain, a LangChain constructor, or a LlamaIndex node with its score."""
    score = _score(item)
    for wrapper in ("node", "kwargs", "document", "payload", "entity"):
        inner = item.get(wrapper)
        if isinstance(inner, dict):
            outer = item
            item = {**{name: outer[name] for name in _IDS if name in outer and wrapper != "kwargs"}, **inner}
            score = _score(item) if score is None else score
            break
    metadata = item.get("metadata") or item.get("meta")
    if isinstance(metadata, str):
        metadata = structure_of(metadata)
    text = _named(item, _TEXTS)
    identifier = _named(item, _IDS)
    source = _named(item, _SOURCES)
    if isinstance(metadata, dict):
        source = source or _named(metadata, _SOURCES)
        identifier = identifier or _named(metadata, _IDS)
        score = _score(metadata) if score is None else score
    if not (text or identifier or (source and score is not None)):
        return None
    return Passage(cut(identifier, LABEL), cut(text, PASSAGE), score, cut(source, _SOURCE))


def _score(item: dict[str, Json]) -> float | None:
    for name in _SCORES:
        found = number(item.get(name), MAX_NUMBER)
        if found is not None:
            return found
    distance = number(item.get("distance"), MAX_NUMBER)
    return None if distance is None else 1.0 - distance  # of cosine distances the similarity; nearer is always more


def _named(item: dict[str, Json], names: Iterable[str]) -> str:
    for name in names:
        value = item.get(name)
        if isinstance(value, str) and value:
            return value if value != HIDDEN else ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return label(value)
    return ""


def complete(listed: Passages, inner: Passages) -> Passages:
    """A retriever's own list, with what only the search inside it told."""
    find = Finder(inner)
    for passage in listed:
        for match in find(passage)[:1]:
            passage.id = passage.id or match.id
            passage.text = passage.text or match.text
            passage.source = passage.source or match.source
            if passage.score is None:
                passage.score = match.score
    return listed


class Finder:
    """Finds the passages of a list that are another one: by id where both have one, else by text."""

    def __init__(self, passages: Passages) -> None:
        self._by_id: dict[str, Passages] = {}
        self._by_text: dict[str, Passages] = {}
        for passage in passages:
            if passage.id:
                self._by_id.setdefault(passage.id, []).append(passage)
            if passage.text:
                self._by_text.setdefault(passage.text, []).append(passage)

    def __call__(self, passage: Passage) -> Passages:
        if passage.id and passage.id in self._by_id:
            return self._by_id[passage.id]
        alike = self._by_text.get(passage.text, []) if passage.text else []
        return [other for other in alike if not (other.id and passage.id)]
