"""The sample ratio looked at again and again: false alarms, and how soon it sees an arm that loses units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from barograph.stats.distributions import normal_quantile
from barograph.stats.sample_ratio import MISMATCH_ALPHA, chi_squared
from barograph.stats.sequential.sample_ratio import CONCENTRATIONS, sequential_sample_ratio
from bench.validity.methods import ALPHA
from bench.validity.report import Section, table
from bench.validity.study import Rate, generator_for

EVEN = (0.5, 0.5)
DAYS, UNITS_A_DAY = 30, 500
STEP, MOST_UNITS = 25, 20_000  # units between looks where an arm loses units, and in all
SHARES = (0.62, 0.55, 0.53)  # of the units seen, of the arm that loses none
TIMES = 1.5  # the units that it may take, over those with the concentration that fits best
PART = 10  # one repetition of an arm that loses units for so many without a mismatch


class Delay(NamedTuple):
    """The median of units to the alarm, and with the one concentration that is the best for this share."""

    share: float
    units: float
    at_best: float

    @property
    def blind(self) -> bool:
        return not self.units <= TIMES * self.at_best


def measured(repetitions: int) -> Section:
    """The section of docs/validity.md."""
    sequential, repeated = false_alarms(repetitions)
    losing = max(repetitions // PART, 1)
    found = delays(losing)
    text = "\n\n".join(
        (
            "## Sample ratio at any time",
            f"Two arms of equal weight, looked at after each of {DAYS} days of {UNITS_A_DAY} units, {repetitions:,} "
            f"repetitions: the sequence is below α = {ALPHA:g} on any day in {sequential.value:.4f}, the chi-squared "
            f"test of one look, made each day, in **{repeated.value:.4f}**.",
            f"An arm that loses units, looked at each {STEP} units, at {MISMATCH_ALPHA:g} as in the gate of a verdict, "
            f"{losing:,} repetitions: the median of units in both arms to the alarm; with the one "
            "concentration that would be the best for this share, which nobody knows beforehand; and the units with "
            "which a test made once alarms half of the time.",
            table(
                ["Shares seen", "lost of one arm", "units to the alarm", "best concentration", "test made once"],
                [
                    [
                        f"{one.share:.0%} : {1 - one.share:.0%}", f"{2 - 1 / one.share:.0%}", _told(one.units),
                        _told(one.at_best), f"{once(one.share):,.0f}",
                    ]
                    for one in found
                ],
            ),
        )
    )  # fmt: skip
    faults = [f"sample ratio at any time, no mismatch: {sequential}"] if sequential.exceeds() else []
    faults += [f"sample ratio at any time, {one.share:.0%}: {_told(one.units)} units" for one in found if one.blind]
    return Section(text, tuple(faults))


def false_alarms(repetitions: int) -> tuple[Rate, Rate]:
    """Below ``ALPHA`` on any day: the sequence, and chi-squared made each day."""
    generator = generator_for("sample ratio")
    sequential, repeated = 0, 0
    for _ in range(repetitions):
        days = generator.multinomial(UNITS_A_DAY, EVEN, DAYS)
        sequential += sequential_sample_ratio(days.tolist(), EVEN, alpha=ALPHA).mismatch
        repeated += any(chi_squared(day.tolist(), EVEN)[2] < ALPHA for day in days.cumsum(axis=0))
    return Rate(sequential, repetitions), Rate(repeated, repetitions)


def delays(repetitions: int) -> list[Delay]:
    """Units to the alarm where an arm loses units."""
    generator = generator_for("sample ratio mismatch")
    found = []
    for share in SHARES:
        drawn = generator.binomial(STEP, share, (repetitions, MOST_UNITS // STEP))
        experiments = [np.column_stack([one, STEP - one]).tolist() for one in drawn]
        singly = [_median(experiments, [one]) for one in CONCENTRATIONS]
        found.append(Delay(share, _median(experiments, CONCENTRATIONS), min(singly)))
    return found


def once(share: float) -> float:
    """The units of a test made once that finds these shares in one of two experiments."""
    return (normal_quantile(1 - MISMATCH_ALPHA / 2) / (2 * share - 1)) ** 2


def _median(experiments: Sequence[Sequence[Sequence[int]]], concentrations: Sequence[float]) -> float:
    units = []
    for one in experiments:
        p_values = np.array(sequential_sample_ratio(one, EVEN, concentrations=concentrations).p_values)
        below = p_values < MISMATCH_ALPHA
        units.append((int(below.argmax()) + 1) * STEP if below.any() else math.inf)
    return float(np.median(units))


def _told(units: float) -> str:
    return f"{units:,.0f}" if math.isfinite(units) else f"above {MOST_UNITS:,}"
