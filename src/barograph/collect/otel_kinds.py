"""What a span is: one of the OpenInference kinds, whichever dialect it was written in.

``kind_of_span`` is used by ``otlp`` for every span that comes in, so it looks at a handful of attributes and
remembers names. The names come from the OpenInference specification, the OpenTelemetry GenAI and database
conventions (current and previous), OpenLLMetry and Haystack; a span that only has a name is judged by its words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from barograph.collect.otel_values import Attributes

KINDS = frozenset(("CHAIN", "RETRIEVER", "RERANKER", "EMBEDDING", "LLM", "TOOL", "AGENT", "GUARDRAIL", "EVALUATOR", ""))
_OPENINFERENCE = {"UNKNOWN": "", "PROMPT": "CHAIN", "DECISION": "CHAIN"}
_OPERATIONS = {
    "chat": "LLM",
    "text_completion": "LLM",
    "completion": "LLM",
    "generate_content": "LLM",
    "embeddings": "EMBEDDING",
    "embedding": "EMBEDDING",
    "retrieval": "RETRIEVER",
    "vector_db_retrieve": "RETRIEVER",
    "search_memory": "RETRIEVER",
    "rerank": "RERANKER",
    "execute_tool": "TOOL",
    "invoke_agent": "AGENT",
    "create_agent": "",  # to make one is not to run it
    "invoke_workflow": "CHAIN",
}
_REQUESTS = {"chat": "LLM", "completion": "LLM", "embedding": "EMBEDDING", "rerank": "RERANKER"}
_TRACELOOP = {"agent": "AGENT", "tool": "TOOL"}
_VECTOR_STORES = frozenset(
    (
        "chroma", "chromadb", "pinecone", "qdrant", "weaviate", "milvus", "marqo", "lancedb", "elasticsearch",
        "opensearch", "vespa", "vald", "turbopuffer",
    )
)  # fmt: skip
_SEARCHES = ("query", "search", "recommend", "discover", "hybrid", "near", "retrieve")
_WRITES = ("add", "upsert", "insert", "upload", "update", "delete", "create", "index", "bulk")
_DISTANCES = ("<->", "<=>", "<#>")  # pgvector's operators
_METHODS = frozenset(("get", "post", "put", "patch", "delete", "head", "options", "http", "https"))
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_GENERATION = frozenset(("generate", "generation", "generator", "completion", "completions", "synthesize"))
_WRAPPERS = frozenset(("chain", "pipeline", "workflow", "engine", "qa", "template", "builder", "parser", "splitter"))
_INDEXING = frozenset(("ingest", "ingestion", "ingesting", "indexing", "reindex", "upsert"))
_INDEXING_PAIRS = frozenset(
    f"{first} {second}"
    for first in ("build", "create", "update", "index", "from", "add", "load", "insert", "embed")
    for second in ("index", "document", "documents", "nodes", "corpus")
)
_REMEMBERED = 4096  # names of operations are few; more than these are worked out again


def kind_of_span(name: str, attributes: Attributes, scope: str) -> str:
    """The span's kind in upper case; empty when nothing tells it."""
    get = attributes.get
    kind = get("openinference.span.kind")
    if kind:
        kind = kind.strip().upper()
        return kind if kind in KINDS else _OPENINFERENCE.get(kind, "")
    traceloop = get("traceloop.span.kind")
    if traceloop == "workflow":  # before its operation: LangChain's workflows all say invoke_agent
        return _kind_of_entity(name, attributes)
    operation = get("gen_ai.operation.name")
    if operation and operation in _OPERATIONS:
        return _OPERATIONS[operation]
    request = get("llm.request.type")
    if request and request in _REQUESTS:
        return _REQUESTS[request]
    if traceloop:
        return _TRACELOOP.get(traceloop) or _kind_of_entity(name, attributes)
    if "gen_ai.system" in attributes or "gen_ai.request.model" in attributes or "llm.model_name" in attributes:
        named = _kind_of_name(name)
        return named if named in ("EMBEDDING", "RERANKER") else "LLM"
    system = get("db.system.name") or get("db.system")
    if system:
        return _kind_of_database(system, attributes, name)
    component = get("haystack.component.type")
    if component:
        return _kind_of_name(component) or "CHAIN"
    if "http.request.method" in attributes or "http.method" in attributes or "rpc.system" in attributes:
        return ""
    return _kind_of_name(name)


def _kind_of_entity(name: str, attributes: Attributes) -> str:
    """A workflow or task of OpenLLMetry, which are names for any function."""
    if "gen_ai.output.messages" in attributes:  # the model of a LlamaIndex engine
        return "LLM"
    return _kind_of_name(attributes.get("traceloop.entity.name") or name) or "CHAIN"


def _kind_of_database(system: str, attributes: Attributes, name: str) -> str:
    if system in _VECTOR_STORES or "db.vector.query.top_k" in attributes:
        operation = attributes.get("db.operation.name") or attributes.get("db.operation") or name
        return "RETRIEVER" if _searches(operation) else ""
    statement = attributes.get("db.query.text") or attributes.get("db.statement") or ""
    return "RETRIEVER" if any(sign in statement for sign in _DISTANCES) else ""


@lru_cache(_REMEMBERED)
def _searches(operation: str) -> bool:
    operation = operation.lower()
    return any(word in operation for word in _SEARCHES)


@lru_cache(_REMEMBERED)
def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORDS.findall(name[:256]))


@lru_cache(_REMEMBERED)
def _kind_of_name(name: str) -> str:
    words = _words(name)
    if words and words[-1] in ("task", "workflow") and len(words) > 1:
        words = words[:-1]  # OpenLLMetry ends names so
    if not words or words[0] in _METHODS or indexes(name):
        return ""
    if "agent" in words:
        return "AGENT"
    if "tool" in words:
        return "TOOL"
    if words[-1] in _WRAPPERS or "prompt" in words:
        return "CHAIN"
    stages = set()
    for word in words:
        if word.startswith("rerank"):
            stages.add("RERANKER")
        elif word.startswith("embed"):
            stages.add("EMBEDDING")
        elif word.startswith("retriev") or word == "search":
            stages.add("RETRIEVER")
        elif word in _GENERATION:
            stages.add("LLM")
    if stages == {"EMBEDDING", "LLM"}:
        return "EMBEDDING"  # generate_embeddings
    if stages == {"EMBEDDING", "RETRIEVER"}:
        return "RETRIEVER"  # EmbeddingRetriever
    if len(stages) > 1:
        return "CHAIN"  # retrieve_and_generate
    if stages:
        return stages.pop()
    return "LLM" if "llm" in words else ""


@lru_cache(_REMEMBERED)
def indexes(name: str) -> bool:
    """Whether an operation's name says that it fills a knowledge base."""
    words = _words(name)
    if not _INDEXING.isdisjoint(words):
        return True
    return any(f"{one} {two}" in _INDEXING_PAIRS for one, two in pairwise(words))


def writes_vectors(attributes: Attributes, name: str) -> bool:
    """Whether a span of a vector store puts something into it."""
    system = attributes.get("db.system.name") or attributes.get("db.system")
    if system not in _VECTOR_STORES:
        return False
    operation = attributes.get("db.operation.name") or attributes.get("db.operation") or name
    return any(word in operation.lower() for word in _WRITES) and not _searches(operation)
