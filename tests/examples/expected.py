"""What the example programs should leave behind: made from ``examples/library.py``, not from what was recorded."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from tests.examples.running_server import EXAMPLES

SECONDS = ("EMBEDDING_SECONDS", "THINKING_SECONDS", "WORD_SECONDS")


def _load() -> tuple[ModuleType, dict[str, float]]:
    spec = importlib.util.spec_from_file_location("examples_library", EXAMPLES / "library.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    seconds = {name: getattr(module, name) for name in SECONDS}
    for name in SECONDS:
        setattr(module, name, 0.0)  # nobody waits for the stand-ins here
    return module, seconds


library, seconds = _load()
Passages = list[tuple[str, float]]  # ids and scores, best first


def alike(question: library.Question, most: int, least: float = -1.0) -> Passages:  # type: ignore[name-defined]
    """The passages that a retriever should find."""
    if question.language != "en":
        return []
    asked = library.embed(question.text)
    found = [
        (name, sum(a * b for a, b in zip(library.embed(text), asked, strict=True)))
        for name, text in library.PASSAGES.items()
    ]
    return sorted((one for one in found if one[1] >= least), key=lambda one: -one[1])[:most]


@dataclass(frozen=True)
class Program:
    """One example: what it finds, what it puts into its prompt, and what can be seen of it."""

    name: str
    pipeline: str
    model_side: str  # the provider that it names
    most: int
    least: float
    dropped_below: float  # what it found but left out of the prompt
    prompt: Callable[[str, str], str]
    statuses: tuple[str, ...]
    stages: frozenset[str]
    first_token: frozenset[int]  # the questions whose first token can be seen, by number
    environment: str = ""

    def retrieved(self, number: int) -> Passages:
        """What it should have found for a question."""
        return alike(library.QUESTIONS[number], self.most, self.least)

    def input_tokens(self, number: int) -> int:
        """How long its prompt should have been."""
        names = [name for name, score in self.retrieved(number) if score >= self.dropped_below]
        context = "\n\n".join(library.PASSAGES[name] for name in names)
        return int(library.count_tokens(self.prompt(context, library.QUESTIONS[number].text)))


def _llama_index(context: str, question: str) -> str:
    return (
        f"Context information is below.\n-----\n{context}\n-----\nGiven the context information and not prior "
        f"knowledge, answer the query.\nQuery: {question}\nAnswer: "
    )


def _instructed(context: str, question: str) -> str:
    return f"Answer from these passages only.\n\n{context}\n\nQuestion: {question}"


def _bare(context: str, question: str) -> str:
    return f"{context}\n\nQuestion: {question}"


_ALL = frozenset(("embedding", "retrieval", "generation"))
_TOLD = ("ok", "ok", "ok", "no_answer", "no_answer", "error")  # the program says, or shows, that it has no answer
_UNTOLD = ("ok", "ok", "ok", "ok", "ok", "error")  # the model says it in words

PROGRAMS = (
    Program("llama_index_rag", "library-llama-index", "", 2, -1.0, library.LOWEST_SCORE, _llama_index, _TOLD, _ALL,
            frozenset((2,))),
    Program("langchain_rag", "library-langchain", "librarymodel", 2, library.LOWEST_SCORE, 0.0, _instructed, _UNTOLD,
            _ALL - {"embedding"}, frozenset()),
    Program("custom_pipeline_opentelemetry", "library-pipeline", "library", 3, library.LOWEST_SCORE / 2, 0.0,
            _instructed, _TOLD, _ALL | {"rerank"}, frozenset(range(5)), "production"),
    Program("plain_python", "library-plain", "", 3, library.LOWEST_SCORE, 0.0, _bare, _TOLD, _ALL,
            frozenset(range(5)), "production"),
)  # fmt: skip
