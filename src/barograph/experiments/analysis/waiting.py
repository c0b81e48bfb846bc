"""How far an experiment is, and how many more days it needs at the traffic that it has.

Takes the arms and the units by day of exposure, hands days to ``verdict``: to the planned end, to as many units as the
effect worth finding needs, or until a sequence is narrow enough to find it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate

from msgspec import Struct

from barograph.core.units import UnitAnswer
from barograph.experiments.analysis.arms import Arm
from barograph.experiments.analysis.sequential import LARGEST_ALPHA, Tuning, day_of
from barograph.experiments.analysis.strangers import exposed_arms
from barograph.experiments.design import Experiment, Pause
from barograph.stats.covariate import adjusted_arms
from barograph.stats.distributions import normal_quantile
from barograph.stats.planning import days_until
from barograph.stats.power import days_needed, sample_size
from barograph.stats.sequential.asymptotic import LEAST_CLOCK, confidence_sequence

LONGEST_WAIT = 3650.0  # days; more is said as "years"
ONE_DAY = timedelta(days=1)
_HOURLY = 1 / 24  # days; so finely is a wait looked for


class Progress(Struct, frozen=True, kw_only=True):
    """How far an experiment is. ``enough_days`` is how many more days the effect worth finding would take, infinite
    where it would take for ever; ``enough_units`` is how many units of all arms, None of sequences.

    ``planned_wait`` is how many more days the planned units take, or those of the next look. Both are None where nobody
    can tell. ``whole`` are the units of complete days, by which a plan of units ends. ``look`` is the number of the
    planned look that counts, 0 before the first one.
    """

    days: float
    units: int
    enough_days: float | None
    planned_wait: float | None = None
    whole: int | None = None
    look: int = 0
    enough_units: float | None = None

    def reached(self, experiment: Experiment) -> bool:
        """Whether everything that was planned has come; true when nothing was."""
        days, units = experiment.planned_days, experiment.planned_units
        counted = self.units if self.whole is None else self.whole
        return (days is None or self.days >= days) and (units is None or counted >= units)

    def decides(self, experiment: Experiment) -> bool:
        """Whether a verdict may be given: at any time, at a planned look, or at the planned end and not before."""
        if experiment.decided_by == "group sequential":
            return self.look > 0
        return experiment.decided_by == "always valid" or self.reached(experiment)

    def goes_on(self, experiment: Experiment) -> bool:
        """Whether what is still to come counts: not after the stop, nor past the planned end or the last look."""
        return experiment.stopped_at is None and not self._ended(experiment)

    def cut_short(self, experiment: Experiment) -> bool:
        """Whether it was stopped while more would have counted."""
        return experiment.stopped_at is not None and not self._ended(experiment)

    def _ended(self, experiment: Experiment) -> bool:
        if experiment.decided_by == "group sequential":
            return self.look == experiment.looks
        planned = experiment.planned_days is not None or experiment.planned_units is not None
        return experiment.decided_by == "fixed horizon" and planned and self.reached(experiment)

    def next_look(self, experiment: Experiment) -> int:
        """The number of the planned look that comes next: of those that come at the same time, the last."""
        number, days, units = self.look + 1, experiment.planned_days or 0.0, experiment.planned_units
        wait = self.more_days(experiment)
        if units is None or wait is None:
            return number
        shares = {look: look / experiment.looks for look in range(number, experiment.looks + 1)}
        come = (look for look, of in shares.items() if self.units >= of * units and self.days + wait >= of * days)
        return max(come, default=number)

    def more_days(self, experiment: Experiment) -> float | None:
        """Days to the planned end or look; past it, or without one, until the effect worth finding would be found."""
        if self.look == experiment.looks or (self.look == 0 and self.decides(experiment)):
            return self.enough_days
        share = awaited(experiment, self.look)
        waits = [0.0 if experiment.planned_days is None else max(0.0, share * experiment.planned_days - self.days)]
        if experiment.planned_units is not None:
            if self.planned_wait is None:
                return None
            waits.append(self.planned_wait)
        return max(waits)


def awaited(experiment: Experiment, look: int) -> float:
    """The share of what is planned at which the next verdict may come, when so many looks have passed."""
    return (look + 1) / experiment.looks if experiment.decided_by == "group sequential" else 1.0


class Traffic(Struct, frozen=True, kw_only=True):
    """How units come: ``upto`` counts those exposed by the end of each complete day, ``units`` all of them until now.

    ``whole`` are the units of complete days, None where days are not known; ``elapsed`` the days from the start of the
    first one until now, ``days`` those the experiment ran. Days with a pause tell nothing of how units come: they are
    in neither ``upto`` nor ``elapsed``, and their units are ``apart``. ``rest`` is what is left of the present UTC day.
    """

    units: int
    days: float
    upto: tuple[int, ...] = ()
    elapsed: float = 0.0
    whole: int | None = None
    apart: int = 0
    rest: float = 0.0

    @classmethod
    def of(
        cls, by_day: tuple[tuple[str, int], ...], units: int, days: float, complete_to: datetime,
        pauses: Sequence[Pause] = (),
    ) -> Traffic:  # fmt: skip
        """From the units exposed on each UTC day; days without any are days too."""
        counts = {moment: count for day, count in by_day if (moment := day_of(day)) is not None}
        if not counts:
            return cls(units=units, days=days)
        first = min(counts)
        complete = [first + n * ONE_DAY for n in range((complete_to - first) // ONE_DAY)]
        usual = [day for day in complete if not any(one.start < day + ONE_DAY and day < one.end for one in pauses)]
        whole = sum(counts.get(day, 0) for day in complete)
        upto = tuple(accumulate(counts.get(day, 0) for day in usual))
        return cls(
            units=units, days=days, upto=upto, whole=whole, apart=whole - (upto[-1] if upto else 0),
            rest=len(complete) + 1 - (complete_to - first) / ONE_DAY,
            elapsed=(complete_to - first) / ONE_DAY - (len(complete) - len(usual)),
        )  # fmt: skip

    def days_until(self, needed: float) -> float | None:
        """More days until so many units have come: by complete days where there are any, else a straight line."""
        if needed <= self.units:
            return 0.0
        if not self.upto:
            return days_needed(needed, self.units, self.days)
        until = days_until(needed - self.apart, self.upto)
        return None if until is None else max(0.0, until - self.elapsed)

    def days_until_end(self, needed: float) -> float | None:
        """More days until a plan of so many units ends, which it does with a UTC day."""
        wait = self.days_until(needed)
        ended = self.whole is None or self.whole >= needed
        return wait if wait is None or ended else max(wait, self.rest)

    @property
    def pace(self) -> float:
        """New units a day, as ``days_until`` foresees them, whatever came today so far; 0 where none come."""
        if not self.upto:
            return self.units / self.days if self.days else 0.0
        one, two = (days_until(self.units + more, self.upto) for more in (1, 2))
        return 0.0 if one is None or two is None else 1 / (two - one)


def exposed_by_day(experiment: Experiment, answer: UnitAnswer) -> tuple[tuple[str, int], ...]:
    """Units of all its arms by the UTC day of their first exposure, oldest first."""
    known, counts = exposed_arms(experiment), dict[str, int]()
    for one in answer.arms:
        if one.arm in known and day_of(one.group) is not None:
            counts[one.group] = counts.get(one.group, 0) + one.units
    return tuple(sorted(counts.items()))


def enough_days(experiment: Experiment, arms: Mapping[str, Arm], traffic: Traffic, units: float | None) -> float | None:
    """More days until the effect worth finding would be found, by ``enough_units`` or a sequence; None if unknown."""
    if experiment.decided_by != "always valid":
        return None if units is None else traffic.days_until(units)
    control = arms[experiment.control]
    if not _tells(control):
        return None
    treatments = [arm for key, arm in arms.items() if key != experiment.control]
    return max(_sequence_days(experiment, arm, control, traffic, len(treatments)) for arm in treatments)


def enough_units(experiment: Experiment, arms: Mapping[str, Arm], units: int) -> float | None:
    """How many units of all arms find the effect worth finding, and give each arm the fewest that a verdict needs.

    By the spread of the control that the verdict's method sees, which is less where the past is taken out (CUPED), and
    by how the ``units`` so far spread over the arms, and how many of them have a measurement. None if unknown, and
    of a sequence.
    """
    control, fewest = arms[experiment.control], min(arm.units for arm in arms.values())
    if experiment.decided_by == "always valid" or not fewest or not _tells(control):
        return None
    with_past = all(arm.pairs is not None and not arm.uneven for arm in arms.values())
    treatments, needed = [arm for key, arm in arms.items() if key != experiment.control], 0.0
    for arm in treatments:
        variance = control.unit_variance
        if with_past and arm.pairs is not None and control.pairs is not None:
            variance = adjusted_arms(arm.pairs, control.pairs)[1].mean_variance * control.units
        wanted = experiment.minimum_effect * abs(control.values.mean)
        if variance > 0 and wanted > 0:
            size = sample_size(
                wanted / math.sqrt(variance), alpha=experiment.alpha / len(treatments), power=experiment.power,
                ratio=arm.units / control.units,
            )  # fmt: skip
            needed = max(needed, size)
    return max(needed * units / control.units, units * experiment.minimum_units / fewest)


def _tells(control: Arm) -> bool:
    """Whether its values tell how large the effect worth finding is, and how they spread."""
    return control.values.n >= 2 and control.values.mean != 0 and control.values.varies


def _sequence_days(experiment: Experiment, arm: Arm, control: Arm, traffic: Traffic, treatments: int) -> float:
    wanted = experiment.minimum_effect * abs(control.values.mean)
    spread = control.unit_variance * (1 / max(arm.units, 1) + 1 / control.units)
    clock, two = arm.unit_days + control.unit_days, arm.units + control.units
    return days_until_narrow(experiment, wanted, spread, clock, two, traffic, treatments)


def days_until_narrow(
    experiment: Experiment, wanted: float, spread: float, clock: float, units: int, traffic: Traffic, treatments: int
) -> float:
    """Days until a sequence finds the effect that is ``wanted`` with the power that was asked for; infinite for ever.

    That is when its half width and ``normal_quantile(power)`` standard errors are no more than the effect. ``spread``
    is the squared error of what it is about now, from so many ``units`` with so many unit-days on their ``clock``.
    Units come at the present traffic, spread as those so far do, and each takes part for a day a day (for half of the
    days if it comes meanwhile; with an attribution window, for as long as units did so far).
    """
    tuning = Tuning.of(experiment).unit_days
    risk = min(experiment.alpha / treatments, LARGEST_ALPHA)
    power = normal_quantile(experiment.power)
    pace = traffic.pace / max(traffic.units, 1)  # new units a day, for each that there is

    def narrow(days: float) -> bool:
        growth = 1 + pace * days
        grown = clock * growth
        if experiment.attribution_days is None:
            grown = clock + units * days * (1 + pace * days / 2)
        if not grown >= LEAST_CLOCK:
            return False
        variance = spread / growth
        reach = confidence_sequence(0.0, variance, grown, alpha=risk, tuning_n=tuning).high or math.inf
        return reach + power * math.sqrt(variance) <= wanted

    if narrow(0.0):
        return 0.0
    if not narrow(LONGEST_WAIT):
        return math.inf
    low, high = 0.0, LONGEST_WAIT
    while high - low > _HOURLY:
        middle = (low + high) / 2
        low, high = (low, middle) if narrow(middle) else (middle, high)
    return high
