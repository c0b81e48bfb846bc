"""Other names for our fields, as RAG programs have them, with the conversion that makes ours of theirs.

A literal list a kind, read by ``validate`` when it meets a field it does not know, and by the tool that writes
docs/events.md. An alias beside the field it stands for refuses the event: one of the two would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from barograph_client.errors import InvalidEvent
from barograph_client.plain import Plain


class Alias(NamedTuple):
    """``name`` stands for ``field``; ``convert(value, name)`` makes our value of theirs, as ``note`` says."""

    name: str
    field: str
    convert: Callable[[Plain, str], Plain] | None = None
    note: str = ""


def milliseconds(value: Plain, name: str) -> Plain:
    """Seconds of milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidEvent(name, f"must be a number of milliseconds, not {type(value).__name__}", value=value)
    try:
        return value / 1000
    except OverflowError:
        raise InvalidEvent(name, "is too large") from None


def truth(value: Plain, name: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InvalidEvent(name, f"must be true or false, not {type(value).__name__}", value=value)
    return value


def thumbs(value: Plain, name: str) -> Plain:
    """A rating of 5 for a thumb up, 1 for a thumb down."""
    return 5.0 if truth(value, name) else 1.0


def thumbs_down(value: Plain, name: str) -> Plain:
    """A rating of 1 for a thumb down, 5 for none."""
    return 1.0 if truth(value, name) else 5.0


def success(value: Plain, name: str) -> Plain:
    """A status of a truth value."""
    return "ok" if truth(value, name) else "error"


def passages(value: Plain, name: str) -> Plain:
    """Documents of a list of texts or of documents."""
    if not isinstance(value, list):
        raise InvalidEvent(name, f"must be a list of texts or of documents, not {type(value).__name__}", value=value)
    return [{"text": item} if isinstance(item, str) else item for item in value]


_MS = "milliseconds / 1000"
_TEXTS = "a list of texts or of documents"

_TIME = (
    Alias("timestamp", "time"),
    Alias("timestamp_ms", "time", milliseconds, "milliseconds since 1970"),
)
_WHO = (
    Alias("id", "event_id"),
    Alias("user", "user_id"),
    Alias("session", "session_id"),
    Alias("conversation_id", "session_id"),
    Alias("trace", "trace_id"),
)
_WHERE = (
    Alias("env", "environment"),
    Alias("model_name", "model"),
    Alias("pipeline_name", "pipeline"),
)

ALIASES: dict[str, tuple[Alias, ...]] = {
    "query": (
        *_TIME,
        *_WHO,
        *_WHERE,
        Alias("query_id", "trace_id"),
        Alias("question", "query"),
        Alias("query_text", "query"),
        Alias("user_query", "query"),
        Alias("response", "answer"),
        Alias("response_text", "answer"),
        Alias("generated_answer", "answer"),
        Alias("latency", "response_time", None, "seconds"),
        Alias("latency_ms", "response_time", milliseconds, _MS),
        Alias("duration", "response_time", None, "seconds"),
        Alias("duration_ms", "response_time", milliseconds, _MS),
        Alias("total_time", "response_time", None, "seconds"),
        Alias("response_time_ms", "response_time", milliseconds, _MS),
        Alias("embedding_time_ms", "embedding_time", milliseconds, _MS),
        Alias("retrieval_time_ms", "retrieval_time", milliseconds, _MS),
        Alias("retrieval_latency_ms", "retrieval_time", milliseconds, _MS),
        Alias("rerank_time_ms", "rerank_time", milliseconds, _MS),
        Alias("generation_time_ms", "generation_time", milliseconds, _MS),
        Alias("generation_latency_ms", "generation_time", milliseconds, _MS),
        Alias("ttft", "time_to_first_token", None, "seconds"),
        Alias("ttft_ms", "time_to_first_token", milliseconds, _MS),
        Alias("time_to_first_token_ms", "time_to_first_token", milliseconds, _MS),
        Alias("prompt_tokens", "input_tokens"),
        Alias("completion_tokens", "output_tokens"),
        Alias("cost_usd", "cost"),
        Alias("total_cost", "cost"),
        Alias("accuracy", "accuracy_score"),
        Alias("contexts", "documents", passages, _TEXTS),
        Alias("retrieved_documents", "documents", passages, _TEXTS),
        Alias("retrieved_contexts", "documents", passages, _TEXTS),
        Alias("source_documents", "documents", passages, _TEXTS),
        Alias("num_documents", "document_count"),
        Alias("documents_retrieved", "document_count"),
        Alias("success", "status", success, "true is ok, false is error"),
        Alias("error", "error_message"),
    ),
    "feedback": (
        *_TIME,
        *_WHO,
        *_WHERE,
        Alias("query_id", "trace_id"),
        Alias("thumbs_up", "rating", thumbs, "true is 5, false is 1"),
        Alias("thumbs_down", "rating", thumbs_down, "true is 1, false is 5"),
        Alias("stars", "rating"),
        Alias("feedback", "comment"),
        Alias("feedback_text", "comment"),
    ),
    "score": (
        *_TIME,
        *_WHO,
        *_WHERE,
        Alias("query_id", "trace_id"),
        Alias("metric", "name"),
        Alias("metric_name", "name"),
        Alias("score", "value"),
        Alias("evaluator", "judge"),
        Alias("reason", "comment"),
        Alias("explanation", "comment"),
    ),
    "system": (
        *_TIME,
        Alias("env", "environment"),
        Alias("hostname", "host"),
        Alias("cpu_usage", "cpu_percent", None, "0 to 100"),
        Alias("memory_usage", "memory_percent", None, "0 to 100"),
        Alias("disk_usage", "disk_percent", None, "0 to 100"),
    ),
    "exposure": (
        *_TIME,
        Alias("experiment_id", "experiment"),
        Alias("variant", "arm"),
        Alias("user", "unit_id"),
        Alias("user_id", "unit_id"),
    ),
    "metric": (
        *_TIME,
        *_WHERE,
        Alias("metric", "name"),
        Alias("metric_name", "name"),
    ),
    "annotation": (
        *_TIME,
        Alias("env", "environment"),
        Alias("description", "text"),
        Alias("url", "link"),
        Alias("type", "category"),
    ),
    "span": (
        *_TIME,
        Alias("start_time", "time"),
        Alias("parent_id", "parent_span_id"),
        Alias("duration_ms", "duration", milliseconds, _MS),
    ),
    "alert": _TIME,
    "document": (  # a ``metadata`` mapping is read as if its entries stood beside it
        Alias("doc_id", "id"),
        Alias("document_id", "id"),
        Alias("chunk_id", "id"),
        Alias("page_content", "text"),
        Alias("content", "text"),
        Alias("url", "source"),
        Alias("similarity", "score"),
        Alias("relevance_score", "score"),
        Alias("used", "in_context"),
    ),
}
