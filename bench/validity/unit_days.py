"""Units that go on acting after their exposure, looked at every day: does a sequence keep its rate by unit-days?

Users with 1 to 200 queries, some of them heavy and some light; nothing differs between the arms. A part of
docs/validity.md, and in a small form of the tests.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from barograph.experiments.analysis.guardrail_checks import EARLY
from barograph.experiments.analysis.sequential import USUAL_DAYS, USUAL_UNITS, Tuning
from barograph.stats.distributions import normal_tail
from barograph.stats.sequential.asymptotic import compare_means
from barograph.stats.summary import RatioSummary, Summary
from bench.validity.methods import ALPHA
from bench.validity.report import Section, table
from bench.validity.study import Rate

DAYS, UNITS = 42, 500
MOST_QUERIES = 200
PLANNED = Tuning(units=USUAL_UNITS, unit_days=USUAL_UNITS * USUAL_DAYS / 2)

Floats = NDArray[np.float64]


class Setting(NamedTuple):
    """How users come and act. ``joining``: over so many days; ``heavy``: how uneven they are, 0 for all alike.

    ``activity`` multiplies what a user does by this to the power of a week since the exposure.
    """

    name: str
    joining: int
    heavy: float
    activity: float = 1.0


SETTINGS = (
    Setting("from the first day, all alike", 1, 0.0),
    Setting("from the first day", 1, 1.0),
    Setting("join over four weeks", 28, 1.0),
    Setting("join over four weeks, do more each week", 28, 1.0, 1.5),
    Setting("join over four weeks, do less each week", 28, 1.0, 0.4),
)
METRICS = ("queries a user", "seconds a query")


class Wrong(NamedTuple):
    """How often each way was wrong: the sequence, the one-sided one of a guardrail, and the test of one look."""

    sequence: Rate
    guardrail: Rate
    daily: Rate


def measured(repetitions: int) -> Section:
    """The section of docs/validity.md."""
    found = {(metric, one): wrong(metric, one, repetitions) for metric in METRICS for one in SETTINGS}
    faults = [
        f"{metric}, {one.name}: {rate}"
        for (metric, one), told in found.items()
        for rate in (told.sequence, told.guardrail)
        if rate.exceeds()
    ]
    rows = [
        [metric, one.name, *(f"{rate.value:.1%}" for rate in (told.sequence, told.guardrail, told.daily))]
        for (metric, one), told in found.items()
    ]
    text = "\n\n".join(
        (
            "## Units that go on acting",
            f"{UNITS} users with 1 to {MOST_QUERIES} queries in {DAYS} days, heavy and light ones unless all are "
            f"alike, looked at every day; {repetitions:,} repetitions, no effect, α = {ALPHA:g}. The sequence runs by "
            f"unit-days (days that users took part, summed) and is tightest at {PLANNED.unit_days:,.0f} of them; that "
            "of a guardrail is one-sided, and tightest at a twentieth. The test of one look, made every day, stands "
            "beside them.",
            table(["Metric", "Users", "sequence", "guardrail's", "one look, every day"], rows),
        )
    )
    return Section(text, tuple(faults))


def wrong(metric: str, setting: Setting, repetitions: int) -> Wrong:
    """So many experiments, each looked at on every day."""
    counts = [0, 0, 0]
    for seed in range(repetitions):
        for place, smallest in enumerate(_smallest(metric, setting, np.random.default_rng(seed))):
            counts[place] += smallest < ALPHA
    sequence, guardrail, daily = (Rate(count, repetitions) for count in counts)
    return Wrong(sequence, guardrail, daily)


def _smallest(metric: str, setting: Setting, generator: np.random.Generator) -> tuple[float, float, float]:
    """The smallest p-value of all days, by each way."""
    joined = generator.integers(0, setting.joining, UNITS)
    age = np.arange(DAYS) - joined[:, None]
    appetite = np.exp(generator.normal(0.0, setting.heavy, UNITS)).clip(1 / DAYS, MOST_QUERIES / DAYS)[:, None]
    queries = generator.poisson(appetite * setting.activity ** (np.maximum(age, 0) / 7)) * (age >= 0)
    habit = generator.normal(2.0, 0.3 * setting.heavy, UNITS)[:, None]
    seconds = (habit * queries + generator.normal(0.0, 1.0, queries.shape) * np.sqrt(queries)).cumsum(axis=1)
    upto = queries.cumsum(axis=1).astype(np.float64)
    taken_part = np.clip(age + 0.5, 0.0, None)
    treated = generator.random(UNITS) < 0.5
    smallest = (1.0, 1.0, 1.0)
    for day in range(DAYS):
        here = age[:, day] >= 0
        arms = [
            _values(metric, seconds[chosen, day], upto[chosen, day])
            for chosen in (here & treated, here & np.logical_not(treated))
        ]
        clock = float(taken_part[:, day].sum())
        both = compare_means(arms[0], arms[1], (0.0, 0.0), tuning_n=PLANNED.unit_days, clock=clock).absolute
        if both is None or both.p_value is None or both.statistic is None:
            continue
        early = compare_means(
            arms[0], arms[1], (0.0, 0.0), tuning_n=PLANNED.part(EARLY).unit_days, clock=clock, alternative="greater"
        ).p_value
        here_p = both.p_value, 1.0 if early is None else early, 2 * normal_tail(abs(both.statistic))
        smallest = (min(smallest[0], here_p[0]), min(smallest[1], here_p[1]), min(smallest[2], here_p[2]))
    return smallest


def _values(metric: str, seconds: Floats, queries: Floats) -> Summary:
    if metric == METRICS[0]:
        return Summary.from_values(queries)
    pairs = RatioSummary.from_values(seconds, queries)
    return pairs.linearised() if pairs.ratio is not None else Summary()
