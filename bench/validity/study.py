"""Each part of the table: what is drawn, what is counted. All of it has fixed seeds and runs a part a process."""

from __future__ import annotations

import math
import zlib
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import special

from bench.validity.draws import DISTRIBUTIONS, SPLITS, Distribution, bernoulli, looks_at, normal, run
from bench.validity.methods import ALPHA, METHODS, Method

UNITS = 11_000  # in both arms
FIRST_LOOKS = (2, 10, 100, 500)  # units in the smaller arm
CHUNK = 500  # repetitions drawn at once
SURELY = 0.001  # of the one-sided bound that a rate is held against
POWER = 0.8  # of the fixed-horizon test, which the effects are made for
SEED = 20261128


class Rate(NamedTuple):
    """So many of ``repetitions`` were wrong."""

    wrong: int
    repetitions: int

    @property
    def value(self) -> float:
        return self.wrong / self.repetitions if self.repetitions else 0.0

    def exceeds(self, alpha: float = ALPHA) -> bool:
        """Whether the rate is above alpha for sure: the one-sided bound of Clopper and Pearson at 99.9 %."""
        if self.wrong == 0:
            return False
        lower = special.betaincinv(self.wrong, self.repetitions - self.wrong + 1, SURELY)
        return bool(lower > alpha)


class Cell(NamedTuple):
    """One method in one setting, from one first look on; it reported in ``reported`` of the repetitions."""

    distribution: str
    split: tuple[int, int]
    first_look: int
    method: str
    claims: bool
    rate: Rate
    reported: int

    @property
    def fails(self) -> bool:
        return self.claims and self.rate.exceeds()


class Found(NamedTuple):
    """Power, the units it took and the coverage when one stops at the first look that settles it."""

    setting: str
    split: tuple[int, int]
    method: str
    claims: bool
    power: float
    fixed_power: float
    units: float
    missed: Rate

    @property
    def fails(self) -> bool:
        return self.claims and self.missed.exceeds()


def generator_for(*names: object) -> np.random.Generator:
    """A generator of its own for each part, the same in every run."""
    return np.random.default_rng([SEED, zlib.crc32(repr(names).encode())])


def applies(method: Method, distribution: Distribution) -> bool:
    """Whether the method is for such values at all."""
    return distribution.bounded or not method.bounded_only


def peeking(distribution: Distribution, split: tuple[int, int], repetitions: int, units: int = UNITS) -> list[Cell]:
    """False positives of each method that is looked at again and again, where there is no effect."""
    counts = looks_at(units, split)
    generator = generator_for("peeking", distribution.name, split)
    wrong = np.zeros((len(METHODS), len(FIRST_LOOKS)), dtype=int)
    reported = np.zeros_like(wrong)
    for start in range(0, repetitions, CHUNK):
        drawn = run((distribution, distribution), counts, min(CHUNK, repetitions - start), generator)
        for row, method in enumerate(METHODS):
            if not applies(method, distribution):
                continue
            answer = method.answer(drawn, 0.0)
            for column, first in enumerate(FIRST_LOOKS):
                looked = counts.min(axis=0) >= first
                reported[row, column] += int(answer.reports[looked].any(axis=0).sum())
                wrong[row, column] += int((answer.reports & answer.out)[looked].any(axis=0).sum())
    return [
        Cell(
            distribution.name, split, first, method.name, method.claims,
            Rate(int(wrong[row, column]), repetitions), int(reported[row, column]),
        )
        for row, method in enumerate(METHODS)
        for column, first in enumerate(FIRST_LOOKS)
    ]  # fmt: skip


def settings() -> list[tuple[str, Distribution, Distribution, tuple[int, int]]]:
    """Name, arm, baseline and split of the settings with an effect that a fixed-horizon test finds in 80 %."""
    found = []
    by_name = {one.name: one for one in DISTRIBUTIONS}
    for name, split in (("normal", (1, 1)), ("normal", (10, 1)), ("Bernoulli 0.5", (1, 1)), ("Bernoulli 0.02", (1, 1))):
        baseline = by_name[name]
        counts = looks_at(UNITS, split)[:, -1]
        reach = float(special.ndtri(1 - ALPHA / 2) + special.ndtri(POWER))
        effect = reach * baseline.deviation * math.sqrt((1 / counts).sum())
        mean = baseline.mean + effect
        draw = partial(bernoulli if baseline.bounded else normal, mean=mean)
        arm = baseline._replace(name=f"{name}, {effect:+.3g}", draw=draw, mean=mean)
        found.append((arm.name, arm, baseline, split))
    return found


def finding(
    name: str, arm: Distribution, baseline: Distribution, split: tuple[int, int], repetitions: int
) -> list[Found]:
    """Power and coverage where there is an effect, and one stops at the first look that is sure of one."""
    counts = looks_at(UNITS, split)
    total = counts.sum(axis=0)
    generator = generator_for("finding", name, split)
    effect = arm.mean - baseline.mean
    found = {method.name: [0, 0.0, 0, 0] for method in METHODS}  # settled, units, missed, reported
    fixed = 0
    for start in range(0, repetitions, CHUNK):
        drawn = run((arm, baseline), counts, min(CHUNK, repetitions - start), generator)
        for method in METHODS:
            if not applies(method, baseline):
                continue
            answer = method.answer(drawn, 0.0)
            settled = answer.reports & answer.out
            stop = np.where(settled.any(axis=0), settled.argmax(axis=0), total.size - 1)
            each = np.arange(stop.size)
            truth = method.answer(drawn, effect)
            tally = found[method.name]
            tally[0] += int(settled.any(axis=0).sum())
            tally[1] += float(total[stop].sum())
            tally[2] += int((truth.reports & truth.out)[stop, each].sum())
            tally[3] += int(truth.reports[stop, each].sum())
            if method.name == METHODS[-1].name:
                fixed += int(answer.out[-1].sum())
    return [
        Found(
            name, split, method.name, method.claims, found[method.name][0] / repetitions, fixed / repetitions,
            found[method.name][1] / repetitions / float(total[-1]),
            Rate(int(found[method.name][2]), int(found[method.name][3])),
        )
        for method in METHODS
        if method.offered and applies(method, baseline)
    ]  # fmt: skip


def cells() -> list[tuple[Distribution, tuple[int, int]]]:
    """All settings without an effect."""
    return [(distribution, split) for distribution in DISTRIBUTIONS for split in SPLITS]
