"""A pipeline of components of one's own, instrumented with plain OpenTelemetry, that sends its traces to Barograph.

Nothing of Barograph and no instrumentation package is needed: a span a component, with the attribute names of
OpenInference. The same names work from any language that OpenTelemetry has a library for.

    pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    barograph serve --data-dir ./rag-data &
    python examples/custom_pipeline_opentelemetry.py

Another address: ``OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4318``.
A key: ``OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20<key>"``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from library import LOWEST_SCORE, MODEL, NOTHING, PASSAGES, QUESTIONS, Question, count_tokens, embed, reply, words
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

Values = dict[str, Any]
tracer = trace.get_tracer("library.pipeline")


def tracing() -> TracerProvider:
    """Where the spans go: to OTEL_EXPORTER_OTLP_ENDPOINT, or to port 4318 of this machine."""
    resource = Resource.create({"service.name": "library-pipeline", "deployment.environment.name": "production"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


@dataclass(frozen=True)
class Passage:
    """A passage that was found, with the score of who found it."""

    id: str
    text: str
    score: float


def documents(prefix: str, passages: list[Passage]) -> Values:
    """The attributes that tell of a list of documents."""
    found: Values = {}
    for number, passage in enumerate(passages):
        name = f"{prefix}.{number}.document"
        found[f"{name}.id"] = passage.id
        found[f"{name}.content"] = passage.text
        found[f"{name}.score"] = passage.score
    return found


class Component(Protocol):
    """A step: takes what earlier steps left, gives more of it, and says what a trace shows of it.

    ``about`` is known beforehand, so it is there also when the step fails; ``attributes`` tells what came out.
    """

    about: ClassVar[Values]

    def run(self, values: Mapping[str, Any]) -> Values: ...

    def attributes(self, values: Mapping[str, Any]) -> Values: ...


class Embedder:
    about: ClassVar[Values] = {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "library-words"}

    def run(self, values: Mapping[str, Any]) -> Values:
        return {"vector": embed(values["question"])}

    def attributes(self, values: Mapping[str, Any]) -> Values:
        return {}


class Retriever:
    about: ClassVar[Values] = {"openinference.span.kind": "RETRIEVER"}

    def __init__(self) -> None:
        self.index = {name: embed(text) for name, text in PASSAGES.items()}

    def run(self, values: Mapping[str, Any]) -> Values:
        if values["language"] != "en":
            return {"passages": []}
        found = [
            Passage(name, PASSAGES[name], sum(a * b for a, b in zip(vector, values["vector"], strict=True)))
            for name, vector in self.index.items()
        ]
        likely = [passage for passage in found if passage.score >= LOWEST_SCORE / 2]
        return {"passages": sorted(likely, key=lambda passage: -passage.score)[:3]}

    def attributes(self, values: Mapping[str, Any]) -> Values:
        return documents("retrieval.documents", values["passages"]) or {"retrieval.documents": []}


class Ranker:
    """Puts short passages first among alike ones."""

    about: ClassVar[Values] = {"openinference.span.kind": "RERANKER", "reranker.model_name": "library-short-first"}

    def run(self, values: Mapping[str, Any]) -> Values:
        ranked = [replace(one, score=one.score + 1 / len(one.text)) for one in values["passages"]]
        return {"passages": sorted(ranked, key=lambda passage: -passage.score)}

    def attributes(self, values: Mapping[str, Any]) -> Values:
        return documents("reranker.output_documents", values["passages"])


class PromptBuilder:
    about: ClassVar[Values] = {"openinference.span.kind": "CHAIN"}

    def run(self, values: Mapping[str, Any]) -> Values:
        context = "\n\n".join(passage.text for passage in values["passages"])
        return {"prompt": f"Answer from these passages only.\n\n{context}\n\nQuestion: {values['question']}"}

    def attributes(self, values: Mapping[str, Any]) -> Values:
        return {"output.value": values["prompt"]}


class Generator:
    about: ClassVar[Values] = {
        "openinference.span.kind": "LLM",
        "llm.model_name": MODEL,
        "llm.provider": "library",
    }

    def run(self, values: Mapping[str, Any]) -> Values:
        text = ""
        for piece in words(reply(values["prompt"])):
            if not text:
                trace.get_current_span().add_event("First Token Stream Event")
            text += piece
        return {"answer": text}

    def attributes(self, values: Mapping[str, Any]) -> Values:
        return {
            "llm.token_count.prompt": count_tokens(values["prompt"]),
            "llm.token_count.completion": count_tokens(values["answer"]),
            "input.value": values["prompt"],
            "output.value": values["answer"],
        }


class Pipeline:
    """Runs its components one after the other, each in a span of its own within the span of the whole run."""

    def __init__(self, components: list[Component]) -> None:
        self.components = components

    def run(self, question: Question) -> tuple[str, str]:
        """The answer, and the trace's id, which feedback on the answer names."""
        values: Values = {"question": question.text, "language": question.language}
        with tracer.start_as_current_span("pipeline.run") as span:
            span.set_attributes(
                {
                    "openinference.span.kind": "CHAIN",
                    "input.value": question.text,
                    "session.id": question.session,
                    "user.id": question.user,
                    "tag.tags": ["library", "custom"],
                    "metadata": json.dumps({"language": question.language}),
                }
            )
            for component in self.components:
                values |= self.step(component, values)
            span.set_attribute("output.value", values["answer"])
            if values["answer"] == NOTHING:
                span.set_attribute("barograph.status", "no_answer")
            return values["answer"], format(span.get_span_context().trace_id, "032x")

    def step(self, component: Component, values: Values) -> Values:
        """One component's span. An exception that leaves it marks the span, and those around it, as failed."""
        with tracer.start_as_current_span(type(component).__name__) as span:
            span.set_attributes(component.about)
            made = component.run(values)
            span.set_attributes(component.attributes(values | made))
            return made


def main() -> None:
    provider = tracing()
    pipeline = Pipeline([Embedder(), Retriever(), Ranker(), PromptBuilder(), Generator()])
    for question in QUESTIONS:
        try:
            answer, trace_id = pipeline.run(question)
        except TimeoutError as error:
            answer, trace_id = f"failed: {error}", "no answer"
        print(f"{question.user}: {question.text} -> {answer} ({trace_id})")
    provider.shutdown()  # sends what is still waiting


if __name__ == "__main__":
    main()
