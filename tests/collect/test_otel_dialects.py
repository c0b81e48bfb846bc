"""Each dialect, in its current and its previous names, says the same."""

from __future__ import annotations

import json

import pytest
from otel_support import ANSWER, QUESTION, Trace, event

from barograph.collect.otel import kind_of_span
from barograph.core.event import Query

ASKED = [{"role": "user", "parts": [{"type": "text", "content": QUESTION}]}]
ANSWERED = [{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": "stop"}]


def model_call(values: dict[str, object], **more: object) -> Query:
    trace = Trace()
    trace.span("call", values, **more)  # type: ignore[arg-type]
    return trace.query()


@pytest.mark.parametrize(
    "values",
    [
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "m1",
            "llm.provider": "openai",
            "llm.token_count.prompt": 70,
            "llm.token_count.completion": 20,
            "llm.token_count.prompt_details.cache_read": 10,
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": QUESTION,
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": ANSWER,
        },
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "m1",
            "llm.system": "openai",
            "llm.token_count.prompt": 70,
            "llm.token_count.completion": 20,
            "llm.token_count.prompt_details.cache_read": 10,
            "input.value": json.dumps({"messages": [{"role": "user", "content": QUESTION}], "model": "m1"}),
            "input.mime_type": "application/json",
            "output.value": json.dumps({"choices": [{"message": {"role": "assistant", "content": ANSWER}}]}),
            "output.mime_type": "application/json",
        },
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "m1",
            "gen_ai.response.model": "m1",
            "gen_ai.usage.input_tokens": 70,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 10,
            "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
            "gen_ai.input.messages": ASKED,
            "gen_ai.output.messages": ANSWERED,
        },
        {
            "gen_ai.system": "openai",
            "gen_ai.request.model": "m1",
            "gen_ai.usage.prompt_tokens": 70,
            "gen_ai.usage.completion_tokens": 20,
            "gen_ai.usage.cache_read_input_tokens": 10,
            "gen_ai.prompt": json.dumps([{"role": "user", "content": QUESTION}]),
            "gen_ai.completion": json.dumps([{"role": "assistant", "content": ANSWER}]),
        },
        {
            "llm.request.type": "chat",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "m1",
            "gen_ai.usage.input_tokens": 70,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read_input_tokens": 10,
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be brief.",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": json.dumps([{"type": "text", "text": QUESTION}]),
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": ANSWER,
        },
        {
            "llm.request.type": "completion",
            "llm.vendor": "openai",
            "llm.request.model": "m1",
            "llm.usage.prompt_tokens": 70,
            "llm.usage.completion_tokens": 20,
            "gen_ai.usage.cache_read_input_tokens": 10,
            "llm.prompts.0.content": QUESTION,
            "llm.completions.0.content": ANSWER,
        },
    ],
    ids=["openinference", "openinference json", "gen_ai", "gen_ai before", "openllmetry", "openllmetry before"],
)
def test_a_models_call_says_the_same_in_every_dialect(values: dict[str, object]) -> None:
    made = model_call(values)
    assert (made.query, made.answer) == (QUESTION, ANSWER)
    assert (made.model, made.provider) == ("m1", "openai")
    assert (made.input_tokens, made.output_tokens, made.cached_tokens) == (70, 20, 10)
    assert made.generation_time == 1.0


@pytest.mark.parametrize(
    "events",
    [
        [
            event("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps([{"role": "user", "content": QUESTION}])}),
            event(
                "gen_ai.content.completion",
                {"gen_ai.completion": json.dumps([{"role": "assistant", "content": ANSWER}])},
            ),
        ],
        [
            event("gen_ai.content.prompt", {"gen_ai.prompt": QUESTION}),
            event("gen_ai.content.completion", {"gen_ai.completion": ANSWER}),
        ],
        [
            event("gen_ai.user.message", {"gen_ai.event.content": {"role": "user", "content": QUESTION}}),
            event("gen_ai.choice", {"gen_ai.event.content": {"index": 0, "message": {"content": ANSWER}}}),
        ],
        [
            event("gen_ai.user.message", {"content": QUESTION, "gen_ai.system": "openai"}),
            event("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": ANSWER}}),
        ],
        [
            event(
                "gen_ai.client.inference.operation.details",
                {"gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED},
            )
        ],
    ],
)
def test_messages_may_come_as_events(events: list[object]) -> None:
    made = model_call({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m1"}, events=events)
    assert (made.query, made.answer) == (QUESTION, ANSWER)


def test_a_workflow_of_openllmetry_is_a_query() -> None:
    trace = Trace()
    properties = {
        "traceloop.association.properties.user_id": "ada",
        "traceloop.association.properties.session_id": "s1",
        "traceloop.association.properties.tenant": "north",
        "traceloop.association.properties.ls_model_type": "chat",
    }
    values = {
        "traceloop.span.kind": "workflow",
        "traceloop.entity.name": "ask",
        "traceloop.entity.input": json.dumps({"args": [QUESTION], "kwargs": {}}),
        "traceloop.entity.output": json.dumps(ANSWER),
    }
    root = trace.span("ask.workflow", {**properties, **values}, took=3.0)
    task = {"traceloop.span.kind": "task", "traceloop.entity.name": "retrieve_passages"}
    trace.span("retrieve_passages.task", task, inside=root, took=0.5)
    made = trace.query()
    assert (made.query, made.answer, made.retrieval_time) == (QUESTION, ANSWER, 0.5)
    assert (made.user_id, made.session_id) == ("ada", "s1")
    assert made.tags == {"operation": "ask.workflow", "tenant": "north"}


def test_an_agent_of_the_gen_ai_conventions_is_a_query() -> None:
    trace = Trace()
    values = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "librarian",
        "gen_ai.conversation.id": "s1",
        "gen_ai.input.messages": ASKED,
        "gen_ai.output.messages": ANSWERED,
    }
    agent = trace.span("invoke_agent librarian", values, took=4.0)
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m1", "gen_ai.response.model": "m1-2026-11"}
    trace.span("chat m1", call, inside=agent, at=0.0)
    tool = trace.span("execute_tool search", {"gen_ai.operation.name": "execute_tool"}, inside=agent, at=1.0)
    found = {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": [{"id": "a", "score": 0.5}]}
    trace.span("retrieval leaflet", found, inside=tool, at=1.0)
    trace.span("chat m1", call, inside=agent, at=2.0)
    made = trace.query()
    assert (made.query, made.answer, made.session_id) == (QUESTION, ANSWER, "s1")
    assert (made.retrieval_time, made.generation_time, made.document_count) == (1.0, 2.0, 1)
    assert (made.model, made.tags["response_model"], made.tags["agent"]) == ("m1", "m1-2026-11", "librarian")


def test_spans_that_only_have_names_are_a_query_too() -> None:
    trace = Trace()
    root = trace.span("answer_question", {"question": QUESTION, "answer": ANSWER}, took=3.0)
    trace.span("embed_query", inside=root, at=0.0, took=0.25)
    trace.span("vector_search", {"documents": ["Twenty books.", "Two hours."]}, inside=root, at=0.25, took=0.5)
    trace.span("rerank", inside=root, at=0.75, took=0.25)
    trace.span("generate", inside=root, at=1.0, took=2.0)
    made = trace.query()
    assert (made.query, made.answer) == (QUESTION, ANSWER)
    times = (made.embedding_time, made.retrieval_time, made.rerank_time, made.generation_time)
    assert times == (0.25, 0.5, 0.25, 2.0)
    assert made.document_count == 2


@pytest.mark.parametrize(
    ("name", "attributes", "kind"),
    [
        ("x", {"openinference.span.kind": "retriever"}, "RETRIEVER"),
        ("x", {"openinference.span.kind": "PROMPT"}, "CHAIN"),
        ("x", {"openinference.span.kind": "UNKNOWN"}, ""),
        ("x", {"openinference.span.kind": "\x00"}, ""),
        ("chat m1", {"gen_ai.operation.name": "chat"}, "LLM"),
        ("x", {"gen_ai.operation.name": "text_completion"}, "LLM"),
        ("x", {"gen_ai.operation.name": "generate_content"}, "LLM"),
        ("x", {"gen_ai.operation.name": "embeddings"}, "EMBEDDING"),
        ("x", {"gen_ai.operation.name": "retrieval"}, "RETRIEVER"),
        ("x", {"gen_ai.operation.name": "execute_tool"}, "TOOL"),
        ("x", {"gen_ai.operation.name": "invoke_agent"}, "AGENT"),
        ("x", {"gen_ai.operation.name": "invoke_workflow"}, "CHAIN"),
        ("x", {"gen_ai.operation.name": "vector_db_retrieve", "traceloop.span.kind": "task"}, "RETRIEVER"),
        ("x", {"gen_ai.operation.name": "invoke_agent", "traceloop.span.kind": "workflow"}, "CHAIN"),
        ("x", {"gen_ai.operation.name": "execute_task", "traceloop.span.kind": "task"}, "CHAIN"),
        ("openai.chat", {"gen_ai.system": "openai"}, "LLM"),
        ("openai.embeddings", {"gen_ai.system": "openai", "gen_ai.request.model": "e1"}, "EMBEDDING"),
        ("cohere.rerank", {"llm.request.type": "rerank"}, "RERANKER"),
        ("VectorIndexRetriever.task", {"traceloop.span.kind": "task"}, "RETRIEVER"),
        ("x", {"traceloop.span.kind": "agent"}, "AGENT"),
        ("x", {"traceloop.span.kind": "tool"}, "TOOL"),
        ("chroma.query", {"db.system": "chroma", "db.operation": "query"}, "RETRIEVER"),
        ("chroma.add", {"db.system": "chroma", "db.operation": "add"}, ""),
        ("search leaflet", {"db.system.name": "milvus", "db.operation.name": "search"}, "RETRIEVER"),
        ("SELECT", {"db.system.name": "postgresql", "db.query.text": "SELECT * ORDER BY v <=> $1"}, "RETRIEVER"),
        ("search", {"db.system.name": "postgresql", "db.query.text": "SELECT 1"}, ""),
        ("haystack.component.run", {"haystack.component.type": "QdrantEmbeddingRetriever"}, "RETRIEVER"),
        ("haystack.component.run", {"haystack.component.type": "OpenAIGenerator"}, "LLM"),
        ("haystack.component.run", {"haystack.component.type": "PromptBuilder"}, "CHAIN"),
        ("POST /retrieve", {"http.request.method": "POST"}, ""),
        ("POST /generate http send", {}, ""),
        ("retrieve", {}, "RETRIEVER"),
        ("rag.retrieve_documents", {}, "RETRIEVER"),
        ("hybrid search", {}, "RETRIEVER"),
        ("RerankerService.rerank", {}, "RERANKER"),
        ("generate_embeddings", {}, "EMBEDDING"),
        ("generateAnswer", {}, "LLM"),
        ("llm_call", {}, "LLM"),
        ("LLMChain", {}, "CHAIN"),
        ("RetrievalQA", {}, "CHAIN"),
        ("retrieve_and_generate", {}, "CHAIN"),
        ("build_prompt", {}, "CHAIN"),
        ("support agent", {}, "AGENT"),
        ("index_documents", {}, ""),
        ("research", {}, ""),
        ("", {}, ""),
    ],
)
def test_what_a_span_is(name: str, attributes: dict[str, str], kind: str) -> None:
    assert kind_of_span(name, attributes, "") == kind
