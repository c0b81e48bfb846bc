"""Set times at which guardrails of rates are tested by all that units did until then, however few or alike they are.

The times are fixed by the start alone, so that it makes no difference how often anybody looks: at any moment the last
one that has passed counts. Each has its share of the risk, and the shares add up to one (Bonferroni). A test at one
time needs no sequence: what a unit has done so far is one value from 0 to 1, whatever it does later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from barograph.core.units import UnitAnswer
from barograph.experiments.analysis.unit_sums import merged
from barograph.stats.summary import Summary

FIRST = timedelta(minutes=5)  # after the start
GROWTH = 1.25  # from one to the next: of the time that finding something takes, at most so much is for waiting
FLAT = 20  # so many have about the same share of the risk, those of the first six hours


class Checkpoint(Struct, frozen=True, kw_only=True):
    """One of the times, and what units did until then, by metric; ``share`` is of the risk of all."""

    at: datetime
    share: float
    answers: Mapping[str, UnitAnswer] = {}

    def pairs(self, metric: str, key: str, control: str) -> list[tuple[Summary, Summary]]:
        """Units' own means in the arm and in the control, by period of constant weights."""
        arms = self.answers[metric].arms
        return [
            (_own(self.answers[metric], key, period), _own(self.answers[metric], control, period))
            for period in sorted({one.period for one in arms})
        ]


def last_checkpoint(started: datetime, until: datetime) -> Checkpoint | None:
    """The last one that has come by ``until``; None before the first.

    The shares 1 / (FLAT + k) - 1 / (FLAT + k + 1), times FLAT, add up to 1 over k = 0, 1, 2, ... without an end.
    """
    since = (until - started) / FIRST
    if since < 1:
        return None
    number = int(math.log(since) / math.log(GROWTH))
    while _time(started, number + 1) <= until:  # logarithms are rounded
        number += 1
    while _time(started, number) > until:
        number -= 1
    return Checkpoint(at=_time(started, number), share=FLAT / ((FLAT + number) * (FLAT + number + 1)))


def _time(started: datetime, number: int) -> datetime:
    return started + FIRST * GROWTH**number


def _own(answer: UnitAnswer, arm: str, period: int) -> Summary:
    return merged(one for one in answer.arms if (one.arm, one.period) == (arm, period)).own
