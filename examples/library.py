"""What the example programs talk about: a town library's leaflet, and the two models that stand in for real ones.

Imported by the programs beside it. ``embed`` places a text by its words, so that alike texts lie close together;
``reply`` answers with the first passage that it finds in the prompt. Both are deterministic and need no network,
so every number that a program prints can be compared with what Barograph shows.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

MODEL = "library-mock-1"
NOTHING = "I found nothing about that in the leaflet."
UNLUCKY = "fax"  # a prompt with this word is not answered: the model raises
EMBEDDING_SECONDS = 0.01  # how long the stand-ins take
THINKING_SECONDS = 0.05
WORD_SECONDS = 0.005
LOWEST_SCORE = 0.3  # a passage that is less alike than this is not used

PASSAGES = {
    "hours": "Opening hours. The library is open from 9 to 19 on weekdays and from 10 to 16 on Saturday.",
    "sunday": "Sunday. On Sunday only the reading room is open, from 13 to 17, without the desk.",
    "loans": "Loans. You may borrow twenty books at a time, each for four weeks.",
    "renewal": "Renewal. A loan can be renewed twice online, unless somebody else has reserved the book.",
    "fines": "Fines. A book that is late costs ten cents a day, and never more than five euros.",
    "printing": "Printing. Printing costs ten cents a page; the printer and the fax stand on the first floor.",
    "rooms": "Rooms. A group can reserve a study room for two hours a day with a library card.",
}


@dataclass(frozen=True)
class Question:
    """One question, and who asks it in which visit."""

    text: str
    user: str
    session: str
    streamed: bool = False
    language: str = "en"  # passages in another language are not searched; there are only English ones


QUESTIONS = (
    Question("How many books may I borrow?", "ada", "ada-monday"),
    Question("Can a loan be renewed online?", "ada", "ada-monday"),
    Question("Is the reading room open on Sunday?", "grace", "grace-monday", streamed=True),
    Question("How heavy does a blue whale get?", "grace", "grace-monday"),
    Question("Combien de livres puis-je emprunter ?", "simone", "simone-monday", language="fr"),
    Question("Where does the fax stand?", "edsger", "edsger-monday"),
)

_DIMENSIONS = 120
_WORD = re.compile("[a-z]+")
_COMMON = frozenset(
    _WORD.findall("a all an and at be by can does each for from get how i in is it may more of on or the to with you")
)


def embed(text: str) -> list[float]:
    """A vector of length one in which each word that says something has its own direction."""
    time.sleep(EMBEDDING_SECONDS)
    vector = [0.0] * _DIMENSIONS
    for word in _WORD.findall(text.lower()):
        if word not in _COMMON:
            vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % _DIMENSIONS] += 1.0
    length = math.sqrt(sum(number * number for number in vector)) or 1.0
    return [number / length for number in vector]


def reply(prompt: str) -> str:
    """The answer to a prompt that holds passages. Raises TimeoutError as a provider's client would."""
    time.sleep(THINKING_SECONDS)
    question = re.split(r"(?:Question|Query):", prompt)[-1]
    if UNLUCKY in question:
        raise TimeoutError("the model did not answer within 30 seconds")
    found = [(prompt.index(text), text) for text in PASSAGES.values() if text in prompt]
    return min(found)[1].partition(". ")[2] if found else NOTHING


def words(text: str) -> Iterator[str]:
    """The text in pieces, as a model that streams gives it."""
    for number, word in enumerate(text.split(" ")):
        time.sleep(WORD_SECONDS)
        yield f" {word}" if number else word


def count_tokens(text: str) -> int:
    """How many tokens a text has for these models: one a word."""
    return len(text.split())
