"""Interleaving against an A/B test of the same two retrievers on FeedbackQA: how many queries each needs.

The retrievers are those of ``examples/experiments/interleaving_feedbackqa.py``. Queries are drawn with replacement from
the data set's, and readers judge as those who rated the passages for it did.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from barograph.stats.estimate import Estimate
from barograph.stats.interleaving import mean_preference, preference_at_any_time, sign_test
from barograph.stats.sequential.asymptotic import skewness
from barograph.stats.summary import RatioSummary
from barograph_client.experiments.interleaving import interleave
from bench.validity.methods import ALPHA
from bench.validity.report import Section, rate_text, table
from bench.validity.single import Line
from bench.validity.study import POWER, Rate, generator_for

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "experiments" / "interleaving_feedbackqa.py"
READERS = 32  # a question: their ratings and their lots
USUAL = "ratings, by place"  # what an A/B test would measure: the discounted cumulative gain
SIZES = (125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000)  # queries
RESAMPLES = 2_000  # of the questions
USERS, MOST_QUERIES, LOOKS = 1_000, 20, 10  # of the users without a preference

Floats = NDArray[np.float64]


class Judged(NamedTuple):
    """What ``READERS`` readers of each question say, of shape (questions, readers).

    ``preference`` is that for BM25 where both are interleaved, ``gains`` what a list alone is worth to them, by what is
    measured, for BM25 and for TF-IDF.
    """

    preference: Floats
    gains: dict[str, tuple[Floats, Floats]]


class Needed(NamedTuple):
    """A design, what it decides by, its power by ``SIZES``, and the queries that ``POWER`` takes."""

    design: str
    decided_by: str
    power: tuple[float, ...]
    queries: float


def measured(repetitions: int) -> Section:
    """The section of docs/validity.md, its power from so many repetitions."""
    program = example()
    found = judged(program, program.load())
    told, times, lines = needed(found, repetitions), factors(found), without_preference(repetitions)
    faults = [f"{line.name}: {line.rate}" for line in lines if line.fails]
    if times[USUAL][1] <= 1:
        faults.append(f"interleaving may need as many queries as an A/B test does: {times[USUAL]}")
    return Section(_text(told, times, lines, found, repetitions), tuple(faults))


def example() -> ModuleType:
    """The example program, as a module."""
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{EXAMPLE} is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def judged(program: ModuleType, asked: Sequence[object], readers: int = READERS) -> Judged:
    """All questions, judged by so many readers each."""
    shape = len(asked), readers
    names = program.TREATMENT, program.CONTROL
    preference = np.zeros(shape)
    gains = {name: (np.zeros(shape), np.zeros(shape)) for name in _MEASURES}
    for row, one in enumerate(asked):
        for column in range(readers):
            ratings = one.judged(random.Random(f"{row} {column}"))
            lists = [one.found[name] for name in names]
            merged = interleave(*lists, names=names, control=names[1], seed=f"{row} {column}", length=program.SHOWN)
            preference[row, column] = merged.shown.credit(ratings=ratings, grades=(0, 1))[names[0]]
            for name, measure in _MEASURES.items():
                for side, found in zip(gains[name], lists, strict=True):
                    side[row, column] = measure([ratings.get(passage, 0.0) for passage in found])
    return Judged(preference, gains)


_MEASURES = {
    USUAL: lambda values: sum(value / np.log2(place + 2) for place, value in enumerate(values)),
    "sum of ratings": sum,
    "best rating": lambda values: max(values, default=0.0),
    "rating of the first": lambda values: values[0] if values else 0.0,
}


def needed(found: Judged, repetitions: int) -> list[Needed]:
    """Power and queries of each design, by drawing queries and readers anew."""
    generator = generator_for("interleaving", "power")
    flat = found.preference.ravel()
    told = [
        _needed("interleaving", "mean preference", [_t_power(flat, n, repetitions, generator) for n in SIZES]),
        _needed("interleaving", "sign test", [_sign_power(flat, n, repetitions, generator) for n in SIZES]),
    ]
    for name, (arm, control) in found.gains.items():
        sides = arm.ravel(), control.ravel()
        told.append(_needed("A/B test", name, [_welch_power(sides, n, repetitions, generator) for n in SIZES]))
    return told


def factors(found: Judged, resamples: int = RESAMPLES) -> dict[str, tuple[float, float, float]]:
    """By what an A/B test measures: how many times the queries of interleaving it needs, and a 95 % interval.

    Questions are resampled (percentile bootstrap), and for each resample the normal approximation says what both need
    for the same power: variance over squared effect. "" is the A/B test that needs the fewest, chosen in each resample.
    """
    generator = generator_for("interleaving", "factors")
    questions = found.preference.shape[0]
    weights = np.vstack((np.ones(questions), generator.multinomial(questions, [1 / questions] * questions, resamples)))
    weights /= questions
    mean, variance = _moments(found.preference, weights)
    own = variance / mean**2
    ratios = {}
    for name, (arm, control) in found.gains.items():
        (m1, v1), (m0, v0) = _moments(arm, weights), _moments(control, weights)
        ratios[name] = 2 * (v1 + v0) / (m1 - m0) ** 2 / own
    ratios[""] = np.min(list(ratios.values()), axis=0)
    return {
        name: (float(one[0]), float(np.quantile(one[1:], 0.025)), float(np.quantile(one[1:], 0.975)))
        for name, one in ratios.items()
    }


def without_preference(repetitions: int) -> list[Line]:
    """Users who each like one retriever more, and all of them together none: how often a test says otherwise."""
    generator = generator_for("interleaving", "users")
    wrong = dict.fromkeys(("mean", "sign", "looks", "naive"), 0)
    for _ in range(repetitions):
        queries = generator.integers(1, MOST_QUERIES, USERS, endpoint=True)
        wins = generator.binomial(queries, generator.uniform(0, 1, USERS))
        sums = (2 * wins - queries).astype(np.float64)
        units = RatioSummary.from_values(sums, queries)
        wrong["mean"] += _rejects(mean_preference(units, alpha=ALPHA).p_value)
        signs = int((sums > 0).sum()), int((sums < 0).sum())
        wrong["sign"] += _rejects(sign_test(*signs, alpha=ALPHA).p_value)
        wrong["naive"] += _rejects(sign_test(int(wins.sum()), int((queries - wins).sum()), alpha=ALPHA).p_value)
        wrong["looks"] += any(
            _rejects(_looked_at(sums[:upto], queries[:upto]).p_value)
            for upto in range(USERS // LOOKS, USERS + 1, USERS // LOOKS)
        )
    return [
        Line("mean preference, fixed horizon, by user", Rate(wrong["mean"], repetitions)),
        Line("sign test, fixed horizon, by user", Rate(wrong["sign"], repetitions)),
        Line(f"mean preference, sequence, by user, {LOOKS} looks", Rate(wrong["looks"], repetitions)),
        Line("sign test by query: naive, offered nowhere", Rate(wrong["naive"], repetitions), claims=False),
    ]


def _looked_at(sums: Floats, queries: Floats) -> Estimate:
    units = RatioSummary.from_values(sums, queries)
    linear = sums - (units.ratio or 0.0) * queries
    return preference_at_any_time(units, skewness(linear), alpha=ALPHA)


def _rejects(p_value: float | None) -> bool:
    return p_value is not None and p_value < ALPHA


def _moments(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of a reader's value under each row of weights of the questions."""
    mean = weights @ values.mean(axis=1)
    return mean, weights @ (values**2).mean(axis=1) - mean**2


def _needed(design: str, decided_by: str, power: list[float]) -> Needed:
    """The queries by a straight line between the sizes around ``POWER``, on the scale of logarithms."""
    rising = np.maximum.accumulate(power)
    queries = float(np.exp(np.interp(POWER, rising, np.log(SIZES)))) if rising[-1] >= POWER else float("inf")
    return Needed(design, decided_by, tuple(power), queries)


def _t_power(values: Floats, n: int, repetitions: int, generator: np.random.Generator) -> float:
    drawn = values[generator.integers(0, values.size, (repetitions, n))]
    statistic = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / np.sqrt(n))
    return _found(statistic, n - 1.0)


def _sign_power(values: Floats, n: int, repetitions: int, generator: np.random.Generator) -> float:
    drawn = values[generator.integers(0, values.size, (repetitions, n))]
    wins, losses = (drawn > 0).sum(axis=1), (drawn < 0).sum(axis=1)
    p_values = 2 * special.bdtr(np.minimum(wins, losses), wins + losses, 0.5)
    return float(((p_values < ALPHA) & (wins > losses)).mean())


def _welch_power(sides: tuple[Floats, Floats], n: int, repetitions: int, generator: np.random.Generator) -> float:
    drawn = [side[generator.integers(0, side.size, (repetitions, n // 2))] for side in sides]
    variances = [one.var(axis=1, ddof=1) / one.shape[1] for one in drawn]
    statistic = (drawn[0].mean(axis=1) - drawn[1].mean(axis=1)) / np.sqrt(variances[0] + variances[1])
    return _found(statistic, n - 2.0)


def _found(statistic: Floats, degrees: float) -> float:
    """How often the better one is found to be better, by a two-sided test."""
    return float((statistic > special.stdtrit(degrees, 1 - ALPHA / 2)).mean())


def _text(
    told: Sequence[Needed],
    times: dict[str, tuple[float, float, float]],
    lines: Sequence[Line],
    found: Judged,
    repetitions: int,
) -> str:
    usual = times[USUAL]
    questions, readers = found.preference.shape
    rows = []
    for one in told:
        factor = _between(times[one.decided_by]) if one.decided_by in times else ""
        rows.append([one.design, one.decided_by, f"{one.queries:,.0f}", factor, *(f"{p:.0%}" for p in one.power)])
    parts = [
        "## Interleaving against an A/B test",
        f"On FeedbackQA interleaving finds the better of two retrievers with **{usual[0]:.1f} times fewer queries** "
        f"(95 % interval {usual[1]:.1f} to {usual[2]:.1f}) than an A/B test of the same power that sums up ratings by "
        f"their place. Against the A/B test by whichever measure of four needs the fewest, which nobody knows "
        f"beforehand, it is {_between(times[''])} times.",
        f"BM25 against TF-IDF, five passages for each of {questions:,} questions, from those of the question's domain "
        "(`examples/experiments/interleaving_feedbackqa.py`). A query is a question drawn with replacement, and a "
        "reader who says of a passage what one of the people said who rated it for that question "
        f"({readers} readers a question). Only passages that were rated for the question can be liked: three for each, "
        "found by another system. All others count nothing, in both designs: nobody judged them. So how large the "
        "effect is says little of the retrievers; how many queries it takes to see it is what is compared.",
        "Interleaving is by team draft. An A/B test gives each reader one retriever's list and is decided by Welch's "
        "t; *by place* is the sum of ratings over log2(place + 1). Each query is another user's. *queries* are those "
        "for 80 % power, of both arms together, by a line between the sizes at the right; power is over "
        f"{repetitions:,} repetitions, in the right direction, two-sided at α = {ALPHA:g}. *times* is the variance "
        "over the squared effect of the A/B test, over that of the mean preference, with the percentile bootstrap's "
        f"95 % interval of {RESAMPLES:,} resamples of the questions.",
        table(["Design", "decided by", "queries", "times", *(f"{n:,}" for n in SIZES)], rows),
        f"Without any preference: {USERS:,} users of 1 to {MOST_QUERIES} queries who each like one of the two more, "
        "and all of them together neither.",
        table(
            ["What", "false positives", "repetitions"],
            ([line.name, rate_text(line.rate, line.fails), f"{line.rate.repetitions:,}"] for line in lines),
        ),
    ]
    return "\n\n".join(parts)


def _between(one: tuple[float, float, float]) -> str:
    return f"{one[0]:.1f} ({one[1]:.1f} to {one[2]:.1f})"
