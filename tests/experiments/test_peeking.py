"""Who looks day by day, through the whole analysis: verdicts and guardrails keep alpha, and harm is stopped.

Units come every day, act on the days that count, and are compared at each look from their moments by day of exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pytest
from bench.validity.study import Rate
from msgspec import structs
from numpy.typing import NDArray
from tests.experiments.unit_moments import answer_of, moments_of
from tests.support.soak import times

from barograph.core.metric import Catalogue
from barograph.core.units import UnitAnswer
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.analysis.checkpoints import last_checkpoint
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, Guardrail, Variant, validated

Floats = NDArray[np.float64]
Act = Callable[[np.random.Generator, Floats, NDArray[np.int64]], tuple[Floats, Floats]]  # habits and arms: a day's sums

START = datetime(2026, 11, 10, tzinfo=UTC)
CATALOGUE = Catalogue()
LOOKS = (1, 2, 3, 4, 5, 7, 9, 12, 16, 21)  # days since the start
RUNS = times(4, 1_000)


class Crowd(NamedTuple):
    """How many units come a day, how they are shared out, and what they do."""

    a_day: int
    weights: tuple[float, ...]
    act: Act


def errors(rate: float, harm: float = 1.0) -> Act:
    """One or two queries a day on average, of which a share fails; ``harm`` times as often in the treatments."""

    def act(generator: np.random.Generator, habits: Floats, arms: NDArray[np.int64]) -> tuple[Floats, Floats]:
        asked = generator.poisson(1.5, habits.size)
        failing = np.minimum(habits * rate * np.where(arms > 0, harm, 1.0), 1.0)
        return generator.binomial(asked, failing).astype(np.float64), asked.astype(np.float64)

    return act


def seconds(slower: float = 1.0) -> Act:
    """Two queries a day, each of about a second, by the habit of each unit."""

    def act(generator: np.random.Generator, habits: Floats, arms: NDArray[np.int64]) -> tuple[Floats, Floats]:
        asked = generator.poisson(2.0, habits.size).astype(np.float64)
        noise = 0.3 * generator.standard_normal(habits.size) * np.sqrt(asked)
        sums: Floats = np.where(arms > 0, slower, 1.0) * (habits * asked + noise)
        return sums, asked

    return act


def experiment(crowd: Crowd, metric: str, **values: Any) -> Experiment:
    arms = tuple(Variant(key=f"arm-{i}", weight=weight) for i, weight in enumerate(crowd.weights))
    made = validated(
        Experiment(key="k", variants=arms, primary_metric=metric, method="always valid", **values), CATALOGUE
    )
    return structs.replace(made, state="running", started_at=START)


def looks(
    defined: Experiment, crowd: Crowd, metric: str, seed: int, at: tuple[int, ...] | range
) -> Iterator[Comparison]:
    """The comparison on each of these days, as if nobody had done anything since the last checkpoint before.

    A checkpoint's answer is that of the first look after it.
    """
    generator = np.random.default_rng([20261128, seed])
    arms = np.zeros(0, dtype=np.int64)
    days, habits = arms.copy(), np.zeros(0)
    sums, seen = np.zeros((2, 0)), {}  # numerators, and denominators; answers at checkpoints
    for day in range(max(at)):
        arms = np.r_[arms, generator.choice(len(crowd.weights), crowd.a_day, p=crowd.weights)]
        days = np.r_[days, np.full(crowd.a_day, day)]
        habits = np.r_[habits, np.exp(generator.normal(0, 0.3, crowd.a_day))]
        sums = np.c_[sums, np.zeros((2, crowd.a_day))] + np.array(crowd.act(generator, habits, arms))
        if day + 1 in at:
            now = START + timedelta(days=day + 1)
            checkpoint, answer = last_checkpoint(START, now), _answer(arms, days, *sums, day + 1)
            assert checkpoint is not None
            checkpoint = structs.replace(checkpoint, answers={metric: seen.setdefault(checkpoint.at, answer)})
            answers = dict.fromkeys((defined.primary_metric, metric), answer)
            metrics = {name: CATALOGUE.get(name) for name in answers}
            yield analyse(defined, metrics, answers, now, checkpoint=checkpoint)


def _answer(arms: NDArray[np.int64], days: NDArray[np.int64], above: Floats, below: Floats, now: int) -> UnitAnswer:
    cells = []
    for arm in np.unique(arms):
        for day in np.unique(days):
            here = (arms == arm) & (days == day)
            cells.append(
                moments_of(
                    f"arm-{arm}", above[here], below[here], unit_days=(now - float(day) - 0.5) * int(here.sum()),
                    group=(START + timedelta(days=int(day))).date().isoformat(),
                )
            )  # fmt: skip
    return answer_of([cell for cell in cells if cell.units], START + timedelta(days=now))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("metric", "crowd"),
    [
        ("response_time.mean", Crowd(60, (0.5, 0.5), seconds())),
        ("response_time.mean", Crowd(150, (10 / 11, 1 / 11), seconds())),
        ("error_rate", Crowd(200, (0.25, 0.25, 0.25, 0.25), errors(0.03))),
    ],
    ids=["1:1", "10:1", "four arms"],
)
def test_no_verdict_comes_from_looking_again_and_again(metric: str, crowd: Crowd) -> None:
    defined = experiment(crowd, metric)
    runs = [list(looks(defined, crowd, metric, seed, LOOKS)) for seed in range(RUNS)]
    assert any(one.primary.adjusted_p_values[0] is not None for run in runs for one in run)
    wrong = sum(any(one.verdict.finding in ("better", "worse") for one in run) for run in runs)
    assert not Rate(wrong, RUNS).exceeds(defined.alpha)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("metric", "crowd", "guardrail"),
    [
        ("error_rate", Crowd(300, (0.5, 0.5), errors(0.05, 1.1)), {"margin": 0.1}),
        ("error_rate", Crowd(400, (0.4, 0.3, 0.3), errors(0.01, 2.0)), {"margin": 0.01, "relative": False}),
        ("response_time.mean", Crowd(150, (0.8, 0.2), seconds(1.1)), {"margin": 0.1}),
    ],
    ids=["relative", "absolute, three arms", "4:1"],
)
def test_what_is_only_as_bad_as_the_margin_is_stopped_no_more_often_than_alpha(
    metric: str, crowd: Crowd, guardrail: dict[str, Any]
) -> None:
    defined = experiment(crowd, "cost_per_query", guardrails=(Guardrail(metric=metric, **guardrail),))
    stopped = sum(
        any(
            check.stopping == "breached"
            for one in looks(defined, crowd, metric, seed, LOOKS)
            for check in one.metrics[1].guardrails
        )
        for seed in range(RUNS)
    )
    assert not Rate(stopped, RUNS).exceeds(defined.alpha)


@pytest.mark.parametrize(
    ("crowd", "most"),
    [
        (Crowd(2_500, (0.5, 0.5), errors(0.05, 1.3)), 30_000),  # 30 % more failures, of 10 % that may be
        (Crowd(500, (0.5, 0.5), errors(0.05, 2.0)), 3_000),
        (Crowd(300, (0.5, 0.5), errors(0.0005, 1000.0)), 1_200),  # half of all, beside a control that hardly ever fails
    ],
    ids=["30 % more", "twice", "half of all"],
)
def test_harm_is_stopped_the_sooner_the_worse_it_is(crowd: Crowd, most: int) -> None:
    defined = experiment(crowd, "cost_per_query", guardrails=(Guardrail(metric="error_rate", margin=0.1),))
    for seed in range(times(1, 30)):
        found = looks(defined, crowd, "error_rate", seed, range(1, most // crowd.a_day + 1))
        assert any(one.metrics[1].guardrails[0].stopping == "breached" for one in found)
