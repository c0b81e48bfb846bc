"""examples/langchain_rag.py as OpenLLMetry sees it; user and session are metadata of the call."""

from __future__ import annotations

from langchain_rag import QUESTIONS, build_chain, build_store, tracing
from opentelemetry.instrumentation.langchain import LangchainInstrumentor

if __name__ == "__main__":
    provider = tracing()
    LangchainInstrumentor().instrument(tracer_provider=provider)
    store = build_store()
    for question in QUESTIONS:
        chain = build_chain(store, question.language)
        config = {"metadata": {"user_id": question.user, "session_id": question.session}}
        try:
            if question.streamed:
                answer = "".join(chain.stream(question.text, config))
            else:
                answer = chain.invoke(question.text, config)
        except TimeoutError as error:
            answer = f"failed: {error}"
        print(f"{question.text} -> {answer}")
    provider.shutdown()
