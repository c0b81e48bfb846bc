"""A web application that follows OpenTelemetry's conventions for generative AI, by hand, as they stood in autumn 2026.

The root is the web framework's span, which knows the user and the session but not the question; the agent's span below
it repeats the sum of its tokens, as the conventions allow. Texts are in the JSON of ``gen_ai.input.messages``.
"""

from __future__ import annotations

import json
from typing import Any

from library import LOWEST_SCORE, MODEL, PASSAGES, QUESTIONS, Question, count_tokens, embed, reply
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

PROVIDER = "library"
EMBEDDING_MODEL = "library-words"
tracer = trace.get_tracer("library.web")


def messages(role: str, text: str, **more: str) -> str:
    """One message as the conventions write it."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}], **more}])


def retrieve(question: Question) -> list[tuple[str, float]]:
    with tracer.start_as_current_span(f"embeddings {EMBEDDING_MODEL}", kind=SpanKind.CLIENT) as span:
        span.set_attributes(
            {
                "gen_ai.operation.name": "embeddings",
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.request.model": EMBEDDING_MODEL,
                "gen_ai.usage.input_tokens": count_tokens(question.text),
            }
        )
        asked = embed(question.text)
    with tracer.start_as_current_span("retrieval leaflet", kind=SpanKind.CLIENT) as span:
        scores = {name: sum(a * b for a, b in zip(embed(text), asked, strict=True)) for name, text in PASSAGES.items()}
        found = [(name, score) for name, score in scores.items() if score >= LOWEST_SCORE and question.language == "en"]
        found.sort(key=lambda one: -one[1])
        span.set_attributes(
            {
                "gen_ai.operation.name": "retrieval",
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.data_source.id": "leaflet",
                "gen_ai.request.top_k": 3,
                "gen_ai.retrieval.query.text": question.text,
                "gen_ai.retrieval.documents": json.dumps([{"id": name, "score": score} for name, score in found[:3]]),
            }
        )
        return found[:3]


def chat(question: Question, found: list[tuple[str, float]]) -> tuple[str, dict[str, Any]]:
    system = "Answer from these passages only.\n\n" + "\n\n".join(PASSAGES[name] for name, _ in found)
    with tracer.start_as_current_span(f"chat {MODEL}", kind=SpanKind.CLIENT, record_exception=False) as span:
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.request.model": MODEL,
                "gen_ai.request.temperature": 0.1,
                "gen_ai.conversation.id": question.session,
                "gen_ai.system_instructions": json.dumps([{"type": "text", "content": system}]),
                "gen_ai.input.messages": messages("user", question.text),
            }
        )
        try:
            text = reply(f"{system}\n\nQuestion: {question.text}")
        except TimeoutError as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            raise
        usage = {
            "gen_ai.usage.input_tokens": count_tokens(system) + count_tokens(question.text),
            "gen_ai.usage.output_tokens": count_tokens(text),
            "gen_ai.usage.cache_read.input_tokens": 5,
        }
        span.set_attributes(
            usage
            | {
                "gen_ai.response.model": f"{MODEL}-2026-11",
                "gen_ai.response.id": "answer-1",
                "gen_ai.response.finish_reasons": ["stop"],
                "gen_ai.output.messages": messages("assistant", text, finish_reason="stop"),
            }
        )
        return text, usage


def agent(question: Question) -> str:
    with tracer.start_as_current_span("invoke_agent librarian", record_exception=False) as span:
        span.set_attributes(
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.agent.name": "librarian",
                "gen_ai.agent.id": "librarian-1",
                "gen_ai.conversation.id": question.session,
                "gen_ai.request.model": MODEL,
                "gen_ai.input.messages": messages("user", question.text),
            }
        )
        try:
            text, usage = chat(question, retrieve(question))
        except TimeoutError as error:
            span.set_attribute("error.type", type(error).__name__)
            raise
        span.set_attributes(usage | {"gen_ai.output.messages": messages("assistant", text, finish_reason="stop")})
        return text


def handle(question: Question) -> int:
    """One request of the web application; the status code that it answers."""
    with tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER) as span:
        span.set_attributes(
            {
                "http.request.method": "POST",
                "http.route": "/ask",
                "url.path": "/ask",
                "user.id": question.user,
                "session.id": question.session,
            }
        )
        try:
            print(f"{question.text} -> {agent(question)}")
            status = 200
        except TimeoutError as error:
            print(f"{question.text} -> failed: {error}")
            status = 504
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", str(status))
        span.set_attribute("http.response.status_code", status)
        return status


if __name__ == "__main__":
    resource = Resource.create({"service.name": "library-web", "deployment.environment.name": "staging"})
    tracer_provider = TracerProvider(resource=resource)
    tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracer_provider)
    for one in QUESTIONS:
        handle(one)
    tracer_provider.shutdown()
