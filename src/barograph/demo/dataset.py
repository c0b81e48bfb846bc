"""The two packed data sets as values: when requests came and how large they were, and what was asked and rated.

Reads ``data/*.json.zst``, which ``tools/pack_replay.py`` writes; hands arrays and structs to ``replay``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import NamedTuple

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray


class Trace(NamedTuple):
    """The requests of one hour: microseconds since the first, and tokens in and out."""

    began: datetime
    offsets: NDArray[np.int64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]

    @property
    def microseconds(self) -> int:
        """From the first request to the last."""
        return int(self.offsets[-1])


class Passage(msgspec.Struct, frozen=True):
    """A section of a page; ``id`` is the domain and the passage's number in the data set."""

    id: str
    uri: str
    title: str
    text: str


class Answer(msgspec.Struct, frozen=True):
    """A passage (its index) shown as the answer, with what people said of it: pairs of a word and a comment."""

    passage: int
    ratings: tuple[tuple[str, str], ...]


class Question(msgspec.Struct, frozen=True):
    """What was asked, in which domain, and the passages that were retrieved for it."""

    domain: str
    question: str
    answers: tuple[Answer, ...]


class Feedback(msgspec.Struct, frozen=True):
    """FeedbackQA, as far as it is shipped."""

    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]


class _PackedTrace(msgspec.Struct):
    began: datetime
    gap_us: list[int]
    input_tokens: list[int]
    output_tokens: list[int]


def _unpack(name: str) -> bytes:
    packed = resources.files("barograph.demo").joinpath("data", f"{name}.json.zst").read_bytes()
    return zstandard.ZstdDecompressor().decompress(packed)


@cache
def load_trace() -> Trace:
    """The Azure LLM inference trace 2023, conversations."""
    packed = msgspec.json.decode(_unpack("trace"), type=_PackedTrace)
    return Trace(
        packed.began.replace(tzinfo=UTC),
        np.cumsum(packed.gap_us, dtype=np.int64),
        np.array(packed.input_tokens, dtype=np.int64),
        np.array(packed.output_tokens, dtype=np.int64),
    )


@cache
def load_feedback() -> Feedback:
    """FeedbackQA's validation and test questions, with their passages and ratings."""
    return msgspec.json.decode(_unpack("feedbackqa"), type=Feedback)
