"""A LangChain application, instrumented by OpenInference, that sends its traces to Barograph.

It runs offline: LangChain's own fake chat model, subclassed so that it says something, and its in-memory vector store.

    pip install langchain-core openinference-instrumentation-langchain opentelemetry-exporter-otlp-proto-http
    barograph serve --data-dir ./rag-data &
    python examples/langchain_rag.py

Another address: ``OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4318``.
A key: ``OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20<key>"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore, VectorStoreRetriever
from library import LOWEST_SCORE, MODEL, PASSAGES, QUESTIONS, Question, count_tokens, embed, reply, words
from openinference.instrumentation import using_attributes
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Answer from these passages only.\n\n{passages}"), ("human", "Question: {question}")]
)


def tracing() -> TracerProvider:
    """Where the spans go: to OTEL_EXPORTER_OTLP_ENDPOINT, or to port 4318 of this machine."""
    provider = TracerProvider(resource=Resource.create({"service.name": "library-langchain"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class WordEmbedding(Embeddings):
    """Vectors that tell texts apart."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [embed(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return embed(text)


class ScoredRetriever(VectorStoreRetriever):
    """A retriever that tells each document's score in its metadata, where traces show it, and drops the worst."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        found = self.vectorstore.similarity_search_with_score(query, **self.search_kwargs)
        return [
            Document(id=document.id, page_content=document.page_content, metadata=document.metadata | {"score": score})
            for document, score in found
            if score >= LOWEST_SCORE
        ]


class LibraryModel(ParrotFakeChatModel):
    """LangChain's fake chat model, with answers, and with token counts where a provider's response has them."""

    model_name: str = MODEL

    def _answer(self, messages: list[BaseMessage]) -> tuple[str, UsageMetadata]:
        prompt = "\n".join(message.text for message in messages)
        text = reply(prompt)
        asked, said = count_tokens(prompt), count_tokens(text)
        return text, UsageMetadata(input_tokens=asked, output_tokens=said, total_tokens=asked + said)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        text, usage = self._answer(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text, usage_metadata=usage))])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        text, usage = self._answer(messages)
        for piece in words(text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage, chunk_position="last"))


def build_store() -> InMemoryVectorStore:
    """The leaflet in LangChain's in-memory vector store."""
    store = InMemoryVectorStore(WordEmbedding())
    store.add_documents(
        [Document(id=name, page_content=text, metadata={"language": "en"}) for name, text in PASSAGES.items()]
    )
    return store


def build_chain(store: InMemoryVectorStore, language: str) -> Runnable[str, str]:
    """Retrieval, prompt, model and parser, as one chain from a question to an answer."""
    retriever = ScoredRetriever(
        vectorstore=store,
        search_kwargs={"k": 2, "filter": lambda document: document.metadata["language"] == language},
    )
    return (
        {"passages": retriever | join_passages, "question": RunnablePassthrough()}
        | PROMPT
        | LibraryModel()
        | StrOutputParser()
    )


def join_passages(documents: list[Document]) -> str:
    """The documents as one text for the prompt."""
    return "\n\n".join(document.page_content for document in documents)


def ask(store: InMemoryVectorStore, question: Question) -> str:
    """Answers one question."""
    chain = build_chain(store, question.language)
    with using_attributes(
        session_id=question.session,
        user_id=question.user,
        metadata={"language": question.language},
        tags=["library", "langchain"],
    ):
        return "".join(chain.stream(question.text)) if question.streamed else chain.invoke(question.text)


def run() -> None:
    """Asks all questions and prints the answers; one of them fails in the model."""
    store = build_store()
    for question in QUESTIONS:
        try:
            answer = ask(store, question)
        except TimeoutError as error:
            answer = f"failed: {error}"
        print(f"{question.user}: {question.text} -> {answer}")


def main() -> None:
    provider = tracing()
    LangChainInstrumentor().instrument(tracer_provider=provider)
    run()
    provider.shutdown()  # sends what is still waiting


if __name__ == "__main__":
    main()
