"""A treatment that fails is stopped after some dozens of units, one that does not is not, however often one looks.

Through the way that the watch goes: units come all day, ask once or many times over the following days, and at each
look a reader answers what is asked, up to the moment that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest
from bench.validity.study import Rate
from msgspec import structs
from tests.experiments.unit_moments import answer_of, moments_of
from tests.support.dictionary_reader import DictionaryReader
from tests.support.soak import LONG, times

from barograph.core.metric import Catalogue
from barograph.core.units import UnitAnswer, UnitQuery
from barograph.experiments.design import Experiment, Guardrail, equal_variants, validated
from barograph.experiments.guardrails import find_breach
from barograph_client.clock import ManualClock

START = datetime(2026, 11, 10, 2, tzinfo=UTC)
ARMS = ("control", "treatment")
CATALOGUE = Catalogue()
AN_HOUR = 40  # units, of both arms
DAYS = 14
TWO_WEEKS = DAYS * 24 * AN_HOUR


class Crowd(DictionaryReader):
    """Units at an even pace, and the rates at which the arms' queries fail, times the habit of each unit.

    Half of them ask once; the others up to twenty times, the later queries within some days.
    """

    def __init__(self, rates: tuple[float, float], seed: int, units: int = TWO_WEEKS, *, even: bool = False) -> None:
        self.clock = ManualClock(START)
        super().__init__([], self.clock.now)
        draw = np.random.default_rng([20261129, seed])
        self.arms = draw.integers(0, 2, units)
        self.came = (np.arange(units) + draw.random(units)) / AN_HOUR / 24  # days since the start
        habits = np.ones(units) if even else np.exp(draw.normal(0, 0.5, units))
        more = draw.integers(1, 20, units) * draw.integers(0, 2, units)
        unit = np.r_[np.arange(units), np.repeat(np.arange(units), more)]
        later = np.r_[np.zeros(units), draw.exponential(2.0, more.sum())]
        failing = np.minimum(np.array(rates)[self.arms] * habits, 1.0)
        failed = draw.random(unit.size) < failing[unit]
        asked = self.came[unit] + later
        order = np.argsort(asked)
        self.unit, self.asked, self.failed = unit[order], asked[order], failed[order].astype(float)
        self.until = cache(self._until)

    def units(self, question: UnitQuery) -> UnitAnswer:
        return self.until(question.window.end)

    def _until(self, end: datetime) -> UnitAnswer:
        days = (end - START) / timedelta(days=1)
        there = int(np.searchsorted(self.came, days))
        asked = int(np.searchsorted(self.asked, days))
        below = np.bincount(self.unit[:asked], minlength=there)[:there].astype(float)
        above = np.bincount(self.unit[:asked], self.failed[:asked], minlength=there)[:there]
        cells = []
        for arm, key in enumerate(ARMS):
            of = self.arms[:there] == arm
            if of.any():
                age = float((days - self.came[:there][of]).sum())
                cells.append(moments_of(key, above[of], below[of], unit_days=age, group="2026-11-10"))
        return answer_of(cells, end)


def experiment(guardrail: Guardrail) -> Experiment:
    made = Experiment(
        key="k", variants=equal_variants(*ARMS), primary_metric="satisfaction", guardrails=(guardrail,),
        planned_days=float(DAYS),
    )  # fmt: skip
    return structs.replace(validated(made, CATALOGUE), state="running", started_at=START)


def looks(*, often: bool) -> Iterator[datetime]:
    """Every five minutes in the first hours and every hour then, or less and less often."""
    now = START
    while now < START + timedelta(days=DAYS):
        since = now - START
        step = timedelta(minutes=5) if since < timedelta(hours=3 if often else 1) else timedelta(hours=1)
        now += step if often else max(step, since / 4)
        yield now


def stopped_after(crowd: Crowd, guardrail: Guardrail, *, often: bool) -> int | None:
    """How many units had come when it was stopped; None where it never was."""
    defined = experiment(guardrail)
    for now in looks(often=often):
        crowd.clock.advance((now - crowd.clock.now()).total_seconds())
        if find_breach(defined, CATALOGUE, crowd, now) is not None:
            return int(np.searchsorted(crowd.came, (now - START) / timedelta(days=1)))
    return None


ABSOLUTE = Guardrail(metric="error_rate", margin=0.05, relative=False)
RELATIVE = Guardrail(metric="error_rate", margin=0.5)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01, 0.05])
@pytest.mark.parametrize("guardrail", [structs.replace(ABSOLUTE, margin=1e-9), structs.replace(RELATIVE, margin=1e-9)])
def test_without_any_harm_it_is_stopped_no_more_often_than_alpha(guardrail: Guardrail, rate: float) -> None:
    """With no margin at all, so that no harm is as bad as may be."""
    runs = times(1, 200)
    stopped = sum(stopped_after(Crowd((rate, rate), seed), guardrail, often=LONG) is not None for seed in range(runs))
    assert not Rate(stopped, runs).exceeds(0.05)


@pytest.mark.parametrize(
    ("rates", "most"),
    [
        ((0.0, 1.0), 80),
        ((0.05, 1.0), 160),
        ((0.0, 0.5), 160),
        ((0.05, 0.5), 480),
        ((0.0, 0.2), 640),
        ((0.05, 0.2), 1_600),
    ],
)
@pytest.mark.parametrize("guardrail", [ABSOLUTE, RELATIVE], ids=["absolute", "relative"])
def test_the_worse_it_fails_the_fewer_units_meet_it(
    guardrail: Guardrail, rates: tuple[float, float], most: int
) -> None:
    for seed in range(times(1, 200)):
        stopped = stopped_after(Crowd(rates, seed, most + AN_HOUR), guardrail, often=True)
        assert stopped is not None
        assert stopped <= most
