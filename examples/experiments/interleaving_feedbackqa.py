"""Two retrievers over FeedbackQA, interleaved and in an A/B test: which one do people's ratings prefer, and how soon?

    pip install barograph
    python examples/experiments/interleaving_feedbackqa.py

Each reader asks one of the 1,135 questions that come with Barograph and is shown five passages of its domain, found by
BM25, by TF-IDF, or by both in one list. Readers judge as people did: a passage that was rated for the question has one
of its ratings, any other counts nothing. Both tests may be looked at again and again, so each ends when it is sure.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

import numpy as np

from barograph.demo.dataset import load_feedback
from barograph.stats.estimate import Estimate
from barograph.stats.interleaving import preference_at_any_time
from barograph.stats.sequential.asymptotic import compare_means, skewness
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.experiments.interleaving import interleave

CONTROL, TREATMENT = "tf-idf", "bm25"
SHOWN = 5  # passages
GAINS = {"Excellent": 1.0, "Acceptable": 0.75, "Could be Improved": 0.25, "Bad": 0.0}
LOOK = 100  # readers between two looks
MOST_READERS = 30_000
COURSES = 5

Words = Counter[str]
Weigh = Callable[[Words], dict[str, float]]  # the words of a passage, by what each is worth
_WORD = re.compile(r"[a-z0-9]+")


def bm25(passages: list[Words], k1: float = 1.2, b: float = 0.75) -> Weigh:
    """Robertson and Zaragoza, "The probabilistic relevance framework: BM25 and beyond" (2009)."""
    n, with_word = len(passages), Counter(word for words in passages for word in words)
    mean = sum(words.total() for words in passages) / n
    rare = {word: math.log(1 + (n - found + 0.5) / (found + 0.5)) for word, found in with_word.items()}

    def weigh(words: Words) -> dict[str, float]:
        long = k1 * (1 - b + b * words.total() / mean)
        return {word: rare[word] * often * (k1 + 1) / (often + long) for word, often in words.items()}

    return weigh


def tf_idf(passages: list[Words]) -> Weigh:
    """The cosine of log term frequencies times idf (Salton and Buckley, 1988); a question's length changes no order."""
    n, with_word = len(passages), Counter(word for words in passages for word in words)
    rare = {word: math.log(n / found) for word, found in with_word.items()}

    def weigh(words: Words) -> dict[str, float]:
        vector = {word: (1 + math.log(often)) * rare[word] for word, often in words.items()}
        length = math.sqrt(sum(one * one for one in vector.values())) or 1.0
        return {word: one * rare[word] / length for word, one in vector.items()}

    return weigh


class Index:
    """Passages by their words, to search by the weights of one of the two."""

    def __init__(self, passages: dict[str, Words], weighing: Callable[[list[Words]], Weigh]) -> None:
        weigh = weighing(list(passages.values()))
        self._names = sorted(passages)
        found: dict[str, dict[int, float]] = {}
        for number, name in enumerate(self._names):
            for word, weight in weigh(passages[name]).items():
                found.setdefault(word, {})[number] = weight
        self._by_word = {word: (list(one), np.array(list(one.values()))) for word, one in found.items()}

    def search(self, question: str) -> list[str]:
        """The ids of the passages that fit best, the best first."""
        scores = np.zeros(len(self._names))
        for word in _words(question).elements():
            if word in self._by_word:
                passages, weights = self._by_word[word]
                scores[passages] += weights
        best = np.argsort(-scores, kind="stable")[:SHOWN]
        return [self._names[number] for number in best if scores[number] > 0]


class Asked(NamedTuple):
    """A question, what each retriever finds for it, and what people said of the passages that were rated for it."""

    question: str
    found: dict[str, list[str]]
    ratings: dict[str, tuple[float, ...]]

    def judged(self, draw: random.Random) -> dict[str, float]:
        """What one reader would say: for each rated passage what one of those who rated it did."""
        return {name: draw.choice(given) for name, given in self.ratings.items()}


def load() -> list[Asked]:
    """All questions, searched among the passages of their domain."""
    data = load_feedback()
    domains: dict[str, dict[str, Words]] = {}
    for passage in data.passages:
        domain = passage.id.partition("/")[0]
        domains.setdefault(domain, {})[passage.id] = _words(f"{passage.title} {passage.text}")
    ways = {CONTROL: tf_idf, TREATMENT: bm25}
    indexes = {(domain, way): Index(domains[domain], ways[way]) for domain in domains for way in ways}
    return [
        Asked(
            one.question,
            {way: indexes[one.domain, way].search(one.question) for way in ways},
            {data.passages[a.passage].id: tuple(GAINS[word] for word, _ in a.ratings) for a in one.answers},
        )
        for one in data.questions
    ]


def gain(shown: list[str], judged: dict[str, float]) -> float:
    """What a reader has of a list, each place worth less than the one above it (Järvelin and Kekäläinen, 2002)."""
    return sum(judged.get(name, 0.0) / math.log2(place + 2) for place, name in enumerate(shown))


def interleaved(asked: list[Asked], draw: random.Random) -> Iterator[Estimate]:
    """Every reader sees both retrievers in one list; what stands at each look."""
    preferences: list[float] = []
    while True:
        for _ in range(LOOK):
            one = draw.choice(asked)
            lists = one.found[CONTROL], one.found[TREATMENT]
            merged = interleave(*lists, names=(CONTROL, TREATMENT), seed=str(draw.random()), length=SHOWN)
            preferences.append(merged.shown.credit(ratings=one.judged(draw), grades=(0, 1))[TREATMENT])
        units = RatioSummary.from_values(preferences, [1.0] * len(preferences))
        yield preference_at_any_time(units, skewness(preferences), names=(TREATMENT, CONTROL))


def divided(asked: list[Asked], draw: random.Random) -> Iterator[Estimate]:
    """Every reader sees one of them, by chance; what stands at each look."""
    gains: dict[str, list[float]] = {TREATMENT: [], CONTROL: []}
    while True:
        for _ in range(LOOK):
            one, arm = draw.choice(asked), draw.choice((CONTROL, TREATMENT))
            gains[arm].append(gain(one.found[arm], one.judged(draw)))
        treated, usual = (Summary.from_values(gains[name]) for name in (TREATMENT, CONTROL))
        skew = skewness(gains[TREATMENT]), skewness(gains[CONTROL])
        yield compare_means(treated, usual, skew, names=(TREATMENT, CONTROL))


def settled(looks: Iterator[Estimate]) -> tuple[int, str]:
    """How many readers it took until one retriever was better for sure, and which."""
    for number, found in enumerate(looks, start=1):
        if found.absolute is not None and found.p_value is not None and found.p_value < found.alpha:
            return number * LOOK, found.arm if found.absolute.value > 0 else found.baseline
        if number * LOOK >= MOST_READERS:
            break
    return MOST_READERS, "neither"


def main() -> None:
    asked = load()
    print(f"{len(asked):,} questions of FeedbackQA, {SHOWN} passages shown for each, rated by people.")
    print(f"Readers until one of two retrievers was better for sure, in {COURSES} courses:\n")
    medians: list[float] = []
    for name, course in (("interleaved", interleaved), ("A/B test", divided)):
        ends = [settled(course(asked, random.Random(seed))) for seed in range(COURSES)]
        medians.append(median(readers for readers, _ in ends))
        better = Counter(which for _, which in ends)
        print(f"{name:11}", *(f"{readers:>7,}" for readers, _ in ends), f"  median {medians[-1]:>6,.0f}")
        print(f"{'':11}", ", ".join(f"   {which} is better in {n} of {COURSES}" for which, n in better.items()))
    print(f"\nThe A/B test took {medians[1] / medians[0]:.1f} times as many. docs/validity.md has the factor at equal")
    print("power, with its interval.")


def _words(text: str) -> Words:
    return Counter(_WORD.findall(text.lower()))


if __name__ == "__main__":
    main()
