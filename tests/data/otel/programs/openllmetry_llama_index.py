"""examples/llama_index_rag.py as OpenLLMetry sees it; it has no user and no session without its own SDK."""

from __future__ import annotations

from llama_index_rag import run, tracing
from opentelemetry.instrumentation.llamaindex import LlamaIndexInstrumentor

if __name__ == "__main__":
    provider = tracing()
    LlamaIndexInstrumentor().instrument(tracer_provider=provider)
    run()
    provider.shutdown()
