"""A few planned looks, through the analysis of the product: is alpha kept over all of them, and what do they save?

Users who come over four weeks and act again and again, each by a habit. A part of docs/validity.md, and in a small form
of the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from barograph.core.metric import Catalogue
from barograph.core.units import UnitAnswer, UnitMoments
from barograph.experiments.analysis.arms import Arm, arms_of, cells_of
from barograph.experiments.analysis.looks import Looks
from barograph.experiments.analysis.methods import fixed_horizon
from barograph.experiments.analysis.sequential import Sequences
from barograph.experiments.design import SPENDINGS, Experiment, Variant, validated
from barograph.stats.estimate import Estimate
from barograph.stats.summary import RatioSummary, Summary
from bench.validity.methods import ALPHA
from bench.validity.report import Section, table
from bench.validity.study import Rate

START = datetime(2026, 11, 10, tzinfo=UTC)
DAYS, UNITS = 28, 1_000
EFFECTS = (0.0, 0.13, 0.2)  # in ratings: none, one that a single look finds in about eight of ten, and a large one
SPLITS = ((0.5, 0.5), (0.8, 0.2))
END, ANY_TIME, EACH = "one look at the end", "at any time, at these looks", "one look, at each"
WAYS = (END, *SPENDINGS, ANY_TIME, EACH)
GOAL = Catalogue().get("satisfaction")

Floats = NDArray[np.float64]


class Ended(NamedTuple):
    """How often a way found a difference, and after which part of the planned time on average (1 where it did not)."""

    found: Rate
    time: float


def experiment(weights: tuple[float, ...], **values: object) -> Experiment:
    """One that runs, by planned looks unless told otherwise."""
    arms = tuple(Variant(key=f"arm-{i}", weight=weight) for i, weight in enumerate(weights))
    defined = Experiment(key="k", variants=arms, primary_metric=GOAL.name, planned_days=DAYS, method="group sequential")
    made = validated(structs.replace(defined, **values), Catalogue())
    return structs.replace(made, state="running", started_at=START)


def seen(defined: Experiment, seed: int, *, units: int = UNITS, effect: float = 0.0) -> Iterator[UnitAnswer]:
    """What each look sees.

    Units are dealt out to the arms and come evenly, so that the information of the looks is the same in all runs.
    """
    generator = np.random.default_rng([20261129, seed])
    weights = [variant.weight for variant in defined.variants]
    arms = np.repeat(np.arange(len(weights)), [round(units * weight) for weight in weights])
    came = np.concatenate([np.linspace(0, DAYS, np.sum(arms == arm), endpoint=False) for arm in range(len(weights))])
    habits = generator.normal(3.5, 0.5, arms.size) + effect * (arms > 0)
    above, below, last = np.zeros(arms.size), np.zeros(arms.size), 0.0
    for look in range(1, defined.looks + 1):
        now = DAYS * look / defined.looks
        acted = generator.poisson(np.clip(now - np.maximum(came, last), 0, None) / 3) + ((last <= came) & (came < now))
        above += habits * acted + np.sqrt(acted) * generator.standard_normal(arms.size)
        below, last = below + acted, now
        here = [(came < now) & (arms == arm) for arm in range(len(weights))]
        yield UnitAnswer(
            arms=tuple(_moments(f"arm-{i}", above[who], below[who], now - came[who]) for i, who in enumerate(here)),
            contaminated=0, first_exposure=START, last_exposure=START, complete_to=START + timedelta(days=now),
        )  # fmt: skip


def at_any_time(defined: Experiment, answer: UnitAnswer) -> Estimate:
    """The always valid estimate of the same plan."""
    planned = structs.replace(defined, method="always valid", planned_units=UNITS)
    return Sequences.of(planned, GOAL, answer).compare(_arms(planned, answer), "arm-1", "arm-0", ALPHA)


def measured(repetitions: int) -> Section:
    """The section of docs/validity.md."""
    rows, faults = [], []
    for weights in SPLITS:
        split = "1:1" if weights[0] == weights[1] else "4:1"
        for effect in EFFECTS:
            ended = ways(weights, effect, repetitions)
            rows.append([split, f"{effect:g}" if effect else "none", *(_told(one, effect) for one in ended.values())])
            if not effect:
                faults += [
                    f"planned looks, {split}, {way}: {one.found}"
                    for way, one in ended.items()
                    if way != EACH and one.found.exceeds()
                ]
    text = "\n\n".join(
        (
            "## Planned looks",
            f"{UNITS:,} users who come over {DAYS} days and rate again and again, four looks; {repetitions:,} "
            f"repetitions, α = {ALPHA:g}, through the analysis of the product. With an effect (in ratings) beside how "
            "often it is found: after which part of the planned time on average, where not to find it takes all of it. "
            "The test of one look, made at each of the four, stands beside them.",
            table(["Split", "Effect", *WAYS], rows),
        )
    )
    return Section(text, tuple(faults))


def ways(weights: tuple[float, ...], effect: float, repetitions: int) -> dict[str, Ended]:
    """By each way, of so many experiments."""
    crossed: dict[str, list[int | None]] = {name: [] for name in WAYS}
    for seed in range(repetitions):
        defined = experiment(weights)
        answers = list(seen(defined, seed, effect=effect))
        once = [_p_value(_once(_arms(defined, one))) for one in answers]
        always = [_p_value(at_any_time(defined, one)) for one in answers]
        crossed[END].append(defined.looks if once[-1] < ALPHA else None)
        crossed[EACH].append(_first(once))
        crossed[ANY_TIME].append(_first(always))
        for spending in SPENDINGS:
            looks = Looks.of(experiment(weights, spending=spending), GOAL, enumerate(answers, start=1))
            settled = looks.settled.get("arm-1")
            crossed[spending].append(None if settled is None else settled.look)
    return {name: _ended(looks, experiment(weights).looks) for name, looks in crossed.items()}


def _moments(arm: str, above: Floats, below: Floats, days: Floats) -> UnitMoments:
    """Of units that have all rated: what each summed, how often, and since when."""
    sums, own = RatioSummary.from_values(above, below), Summary.from_values(above / below)
    cubes = (np.mean(above**3), np.mean(above**2 * below), np.mean(above * below**2), np.mean(below**3))
    return UnitMoments(
        arm=arm, units=above.size, numerator_mean=sums.numerator_mean, denominator_mean=sums.denominator_mean,
        numerator_m2=sums.numerator_m2, denominator_m2=sums.denominator_m2, cross_m2=sums.cross_m2,
        measured_units=above.size, own_mean=own.mean, own_m2=own.m2, unit_days=float(days.sum()),
        cubes=(float(cubes[0]), float(cubes[1]), float(cubes[2]), float(cubes[3])),
    )  # fmt: skip


def _arms(defined: Experiment, answer: UnitAnswer) -> dict[str, Arm]:
    return arms_of(GOAL, defined, cells_of(answer.arms)).by_key


def _once(arms: dict[str, Arm]) -> Estimate:
    return fixed_horizon(arms["arm-1"], arms["arm-0"], ("arm-1", "arm-0"), ALPHA)


def _p_value(estimate: Estimate) -> float:
    return 1.0 if estimate.p_value is None else estimate.p_value


def _first(p_values: list[float]) -> int | None:
    return next((look for look, p_value in enumerate(p_values, start=1) if p_value < ALPHA), None)


def _ended(looks: list[int | None], planned: int) -> Ended:
    times = [(look or planned) / planned for look in looks]
    return Ended(Rate(sum(look is not None for look in looks), len(looks)), float(np.mean(times)) if times else 0.0)


def _told(one: Ended, effect: float) -> str:
    return f"{one.found.value:.1%}" + (f", {one.time:.0%}" if effect else "")
