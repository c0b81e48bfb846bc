"""What the past says to a plan: the baseline and the spread of units, as experiments of several lengths would see them.

Reads what ``UnitReader.population`` answers, hands ``Baseline``s to ``planner``. A window of so many days of the past
is what an experiment of so many days sees when every unit is exposed with its first act: a unit's sums grow with the
days that it is watched, and so does its spread, each metric in its own way. So the past is asked for several lengths;
between two of them a straight line is drawn, below the shortest it is taken itself. Beyond the longest the spread goes
on to grow as it did, if it did.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct, structs

from barograph.core.metric import Metric
from barograph.core.query import Window
from barograph.core.reader import UnitReader
from barograph.core.unit import counted
from barograph.core.units import PopulationAnswer, PopulationQuery
from barograph.experiments.analysis import gate
from barograph.experiments.analysis.arms import Arm, plain_arms
from barograph.experiments.analysis.unit_sums import UnitSums
from barograph.experiments.design import Method
from barograph.experiments.plan import Baseline, PlanQuestion
from barograph.stats.sequential import asymptotic
from barograph_client.errors import InvalidInput

LENGTHS = (7, 14, 28)  # days of the past that are asked for, where there are so many


class Past(Struct, frozen=True):
    """What units did in the last days ``until`` (exclusive), by how many days; the longest has the count by the day."""

    until: date
    answers: dict[int, PopulationAnswer]

    @property
    def days(self) -> int:
        """How many days the longest has."""
        return max(self.answers)

    @property
    def longest(self) -> PopulationAnswer:
        """What units did in all of them."""
        return self.answers[self.days]


def ask_past(question: PlanQuestion, reader: UnitReader, now: datetime, project: str) -> Past:
    """The past up to the last whole UTC day, in several lengths, none of which reaches back beyond the first record.

    Raises InvalidInput where there is no whole day of it, and what the reader raises.
    """
    end = now.replace(hour=0, minute=0, second=0, microsecond=0)

    def ask(days: int) -> PopulationAnswer:
        window = Window(end - timedelta(days=days), end)
        return reader.population(
            PopulationQuery(metric=question.metric, window=window, unit_kind=question.unit_kind, project=project)
        )

    whole = ask(question.history_days)
    distinct = tuple(units for units in whole.distinct_units if units)  # it counts up: zeros come before all records
    if not distinct:
        raise InvalidInput(
            f"no {question.unit_kind} was active on the last {counted(question.history_days, 'whole day')} (UTC): "
            "there is no past to plan by",
            hint=f"Record queries with {_named(question.unit_kind)} for a week or two, or take a longer history.",
        )
    lengths = {*LENGTHS, *([] if question.days is None else [question.days])}
    answers = {days: ask(days) for days in sorted(lengths) if days < len(distinct)}
    return Past(end.date(), answers | {len(distinct): structs.replace(whole, distinct_units=distinct)})


def baselines(metric: Metric, unit_kind: str, past: Past) -> tuple[Baseline, ...]:
    """Those that can be planned by, the shortest first. Raises InvalidInput where the longest cannot."""
    units = {days: answer.moments.units for days, answer in past.answers.items()}
    arms = plain_arms(metric, {str(days): UnitSums.of(answer.moments) for days, answer in past.answers.items()})
    found = {days: _baseline(metric, days, units[days], arms[str(days)]) for days in units}
    if _unusable(found[past.days]):
        raise _refusal(metric, unit_kind, found[past.days])
    return tuple(found[days] for days in sorted(found) if not _unusable(found[days]))


def at(known: Sequence[Baseline], days: int) -> Baseline:
    """The baseline of an experiment of so many days: between two known ones, the shortest, or beyond the longest."""
    above = bisect.bisect_left([one.days for one in known], days)
    if above == len(known):
        return _later(known, days)
    if above == 0:
        return known[0]
    left, right = known[above - 1 : above + 1]
    share = (days - left.days) / (right.days - left.days)

    def between(a: float, b: float) -> float:
        return a + (b - a) * share

    skewness = None
    if left.skewness is not None and right.skewness is not None:
        skewness = between(left.skewness, right.skewness)
    return Baseline(
        days=days, units=round(between(left.units, right.units)), measured=between(left.measured, right.measured),
        value=between(left.value, right.value), deviation=between(left.deviation, right.deviation), basis=right.basis,
        skewness=skewness,
    )  # fmt: skip


def _later(known: Sequence[Baseline], days: int) -> Baseline:
    """The longest, spread over more days: beside the value by a straight line in the logarithm of the days.

    The line goes through the longest of half as many days, or the shortest. Spread that falls is left as it is, since
    it falls ever less.
    """
    last = known[-1]
    first = next((one for one in reversed(known) if 2 * one.days <= last.days), known[0])
    grown = _relative(last) - _relative(first)
    if not grown > 0:
        return structs.replace(last, days=days)
    more = grown * math.log(days / last.days) / math.log(last.days / first.days)
    return structs.replace(last, days=days, deviation=last.deviation + more * abs(last.value))


def _relative(baseline: Baseline) -> float:
    return baseline.deviation / abs(baseline.value)


def gated_until(baseline: Baseline, method: Method) -> int:
    """Units of the smaller arm until its mean is not too skewed for a verdict by the analysis; 0 where none is needed.

    The skewness of a mean is that of the units over the root of their number. Looks at shares need no normal means,
    where they are planned.
    """
    if baseline.skewness is None or (method != "always valid" and baseline.basis == "share"):
        return 0
    largest = asymptotic.LARGEST_SKEW if method == "always valid" else gate.LARGEST_SKEW
    return math.ceil((baseline.skewness / largest) ** 2)


def _named(unit_kind: str) -> str:
    """Under which name an event says whose it is."""
    return f"{unit_kind}_id" if unit_kind in ("user", "session") else f"the tag {unit_kind}_id"


def _baseline(metric: Metric, days: int, units: int, arm: Arm) -> Baseline:
    per_unit = metric.aggregation in ("count", "sum")
    return Baseline(
        days=days, units=units, measured=arm.units / units if units else 0.0, value=arm.values.mean,
        deviation=math.sqrt(arm.values.variance) if arm.values.varies else 0.0,
        basis="share" if arm.successes is not None else "mean" if per_unit else "ratio", skewness=arm.skew,
    )  # fmt: skip


def _unusable(baseline: Baseline) -> bool:
    return baseline.units * baseline.measured < 2 or baseline.value == 0 or baseline.deviation == 0


def _refusal(metric: Metric, unit_kind: str, baseline: Baseline) -> InvalidInput:
    where = f"on the last {counted(baseline.days, 'whole day')} (UTC)"
    measured = round(baseline.units * baseline.measured)
    if measured < 2:
        whom = f"no {unit_kind} has" if measured == 0 else f"one {unit_kind} alone has"
        return InvalidInput(
            f"{whom} a value of {metric.name} {where}, and a plan needs the spread of several",
            hint=f"{counted(baseline.units, unit_kind)} had records: record the metric for them, or take a longer "
            "history.",
        )  # fmt: skip
    if baseline.value == 0:
        return InvalidInput(
            f"{metric.name} is zero for all {unit_kind}s together {where}: there is no change of nothing",
            hint="Take a metric of something that happens, or a longer history.",
        )
    return InvalidInput(
        f"every {unit_kind} has the same {metric.name} {where}, so that no spread can be told",
        hint="Take a metric that differs from one to the other, or a longer history.", value=baseline.value,
    )  # fmt: skip
