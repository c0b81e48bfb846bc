"""Planned looks: what an estimate is held against at each of them, and at which look an arm was settled.

Takes the ``UnitAnswer`` of the primary metric at each look that has passed, hands ``Looks`` to ``analyse``. Alpha is
spent by the share of the planned time that a look stands at (calendar time; Lan and DeMets 1989), so that what is spent
depends on no data. How looks hang together is told by the information between them, the unit-days of both arms: what a
unit does from day to day is independent at the roughest, and a smoother course crosses a bound less often (Slepian
1962, for each side, at half of alpha). So alpha is held over all looks of an arm, and by Holm over the arms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct, structs

from barograph.core.metric import Metric
from barograph.core.units import UnitAnswer
from barograph.experiments.analysis.arms import Arm, arms_of, cells_of
from barograph.experiments.analysis.families import corrected
from barograph.experiments.analysis.gate import check_sample_ratio, obstacles
from barograph.experiments.analysis.methods import adjusted, capped, fixed_horizon, with_ends
from barograph.experiments.comparison import REPEATED
from barograph.experiments.design import Experiment
from barograph.experiments.design import Spending as SpendingName
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.sequential.group_sequential import Spending, obrien_fleming, pocock
from barograph.stats.sequential.repeated import LEAST_NEW, Schedule

SPENDING: dict[SpendingName, Callable[[float], Spending]] = {"obrien-fleming": obrien_fleming, "pocock": pocock}
NOTHING_NEW = "next to nothing came since the look before"


class Boundary(Struct, frozen=True, kw_only=True):
    """What the estimates of one look are held against, by arm; None where it has no information of its own."""

    schedules: dict[str, Schedule | None]

    @classmethod
    def of(cls, experiment: Experiment, looks: Mapping[int, Mapping[str, Arm]]) -> Boundary:
        """At the last of the looks; by number each has the arms as they were at it."""
        treatments = [key for key in next(iter(looks.values())) if key != experiment.control]
        return cls(schedules={key: _schedule(experiment, looks, key) for key in treatments})

    def hold(self, key: str, made: Callable[[float], Estimate], alpha: float) -> Estimate:
        """The arm's estimate with its repeated interval and p-value. ``made`` makes that of one look at an alpha."""
        schedule = self.schedules[key]
        if schedule is None:
            return _untold(made(alpha))
        found = with_ends(made(schedule.bound(alpha).p_value))
        return structs.replace(
            found, alpha=alpha, absolute=_repeated(found.absolute, schedule),
            relative=_repeated(found.relative, schedule), method=f"{found.method}, {REPEATED}",
        )  # fmt: skip


class Settled(Struct, frozen=True, kw_only=True):
    """An arm that crossed its bound: the number of the look, and the estimate as of then."""

    look: int
    estimate: Estimate


class Looks(Struct, frozen=True, kw_only=True):
    """The looks so far: the ``number`` of the last that counts, its boundary, and the arms that are settled by then.

    Once every arm is settled no later look counts.
    """

    number: int
    boundary: Boundary
    settled: dict[str, Settled]

    @classmethod
    def of(cls, experiment: Experiment, metric: Metric, answers: Iterable[tuple[int, UnitAnswer]]) -> Looks:
        """From the number of each look that has passed, and the primary metric's answer up to it; there is one.

        No more of them are taken than are needed. An arm is settled at the first look at which its p-value, by Holm
        over the arms, is below alpha and the gate is open, and keeps that p-value in the family at later ones.
        """
        number, seen = 0, dict[int, dict[str, Arm]]()
        settled: dict[str, Settled] = {}
        boundary = Boundary(schedules={})
        for number, answer in answers:
            arms = arms_of(metric, experiment, cells_of(answer.arms)).by_key
            seen[number] = arms
            boundary = Boundary.of(experiment, seen)
            ratio = check_sample_ratio(experiment, answer)
            if obstacles(experiment, answer, ratio, arms).verdict() is None:
                found = [
                    settled[one.arm].estimate if one.arm in settled else one
                    for one in capped(held_at(boundary, arms, experiment.control, experiment.alpha), metric, answer.cap)
                ]
                for one, p_value in zip(found, corrected([one.p_value for one in found]), strict=True):
                    crossed = p_value is not None and p_value < experiment.alpha
                    if crossed and one.absolute is not None and one.absolute.value != 0 and one.arm not in settled:
                        settled[one.arm] = Settled(look=number, estimate=one)
            if len(settled) == len(boundary.schedules):
                break
        return cls(number=number, boundary=boundary, settled=settled)


def held_at(boundary: Boundary, arms: Mapping[str, Arm], control: str, alpha: float) -> tuple[Estimate, ...]:
    """Every treatment's estimate held against the boundary: the one adjusted by the past, where all have one."""
    treatments = list(boundary.schedules)

    def with_past(key: str, risk: float) -> Estimate | None:
        return adjusted(arms[key], arms[control], (key, control), risk)

    known = all(with_past(key, alpha) is not None for key in treatments)

    def made(key: str) -> Callable[[float], Estimate]:
        def at(risk: float) -> Estimate:
            found = with_past(key, risk) if known else None
            return found or fixed_horizon(arms[key], arms[control], (key, control), risk)

        return at

    return tuple(boundary.hold(key, made(key), alpha) for key in treatments)


def _schedule(experiment: Experiment, looks: Mapping[int, Mapping[str, Arm]], key: str) -> Schedule | None:
    """Of the looks that have information of their own; None where the last has none."""
    clock: list[float] = []
    information: list[float] = []
    own = False
    for number, arms in looks.items():
        days = arms[key].unit_days, arms[experiment.control].unit_days
        now = days[0] * days[1] / sum(days) if min(days) > 0 else 0.0
        own = now > 0 and (not information or now >= information[-1] * (1 + LEAST_NEW))
        if own:
            clock.append(number / experiment.looks)
            information.append(now)
    if not own:
        return None
    return Schedule(clock=tuple(clock), information=tuple(information), spending=SPENDING[experiment.spending])


def _repeated(effect: Effect | None, schedule: Schedule) -> Effect | None:
    if effect is None or effect.p_value is None:
        return effect
    return structs.replace(effect, p_value=schedule.p_value(effect.p_value))


def _untold(estimate: Estimate) -> Estimate:
    """The values alone."""
    absolute, relative = (
        None if one is None else Effect(value=one.value) for one in (estimate.absolute, estimate.relative)
    )
    return structs.replace(estimate, absolute=absolute, relative=relative, warnings=(*estimate.warnings, NOTHING_NEW))
