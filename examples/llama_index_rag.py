"""A LlamaIndex application, instrumented by OpenInference, that sends its traces to Barograph.

It runs offline: LlamaIndex's own mock models, subclassed so that they say something, and its in-memory vector store.

    pip install llama-index-core openinference-instrumentation-llama-index opentelemetry-exporter-otlp-proto-http
    barograph serve --data-dir ./rag-data &
    python examples/llama_index_rag.py

Another address: ``OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4318``.
A key: ``OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20<key>"``.
"""

from __future__ import annotations

from typing import Any

from library import LOWEST_SCORE, MODEL, PASSAGES, QUESTIONS, Question, count_tokens, embed, reply, words
from llama_index.core import MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.llms import CompletionResponse, CompletionResponseGen, LLMMetadata, MockLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from openinference.instrumentation import using_attributes
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def tracing() -> TracerProvider:
    """Where the spans go: to OTEL_EXPORTER_OTLP_ENDPOINT, or to port 4318 of this machine."""
    provider = TracerProvider(resource=Resource.create({"service.name": "library-llama-index"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class WordEmbedding(MockEmbedding):
    """LlamaIndex's mock embedding, with vectors that tell texts apart."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return embed(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return embed(query)


class LibraryModel(MockLLM):
    """LlamaIndex's mock model, with answers, and with token counts where a provider's response has them."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=MODEL)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        text = reply(prompt)
        return CompletionResponse(text=text, raw=usage(prompt, text))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def pieces() -> CompletionResponseGen:
            text, said = reply(prompt), ""
            for piece in words(text):
                said += piece
                yield CompletionResponse(text=said, delta=piece, raw=usage(prompt, text) if said == text else None)

        return pieces()


def usage(prompt: str, text: str) -> dict[str, Any]:
    """What a provider says about tokens beside its answer; when it streams, with the last piece."""
    return {"usage": {"prompt_tokens": count_tokens(prompt), "completion_tokens": count_tokens(text)}}


def build_index() -> VectorStoreIndex:
    """The leaflet in LlamaIndex's in-memory vector store."""
    nodes = [TextNode(id_=name, text=text, metadata={"language": "en"}) for name, text in PASSAGES.items()]
    for node in nodes:
        node.excluded_embed_metadata_keys = node.excluded_llm_metadata_keys = ["language"]
    return VectorStoreIndex(nodes)


def ask(index: VectorStoreIndex, question: Question) -> str:
    """Answers one question."""
    engine = index.as_query_engine(
        similarity_top_k=2,
        filters=MetadataFilters(filters=[MetadataFilter(key="language", value=question.language)]),
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=LOWEST_SCORE)],
        streaming=question.streamed,
    )
    with using_attributes(
        session_id=question.session,
        user_id=question.user,
        metadata={"language": question.language},
        tags=["library", "llama-index"],
    ):
        return str(engine.query(question.text))


def run() -> None:
    """Asks all questions and prints the answers; one of them fails in the model."""
    Settings.llm = LibraryModel()
    Settings.embed_model = WordEmbedding(embed_dim=len(embed("")))
    index = build_index()
    for question in QUESTIONS:
        try:
            answer = ask(index, question)
        except TimeoutError as error:
            answer = f"failed: {error}"
        print(f"{question.user}: {question.text} -> {answer}")


def main() -> None:
    provider = tracing()
    LlamaIndexInstrumentor().instrument(tracer_provider=provider)
    run()
    provider.shutdown()  # sends what is still waiting


if __name__ == "__main__":
    main()
