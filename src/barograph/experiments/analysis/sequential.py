"""What may be read at any time: confidence sequences of a metric, and which of them answers.

Takes the ``Arm``s, and the cohorts of units whose attribution window is over; hands back ``Estimate``s. The asymptotic
sequence runs by unit-days, as units go on acting after their exposure. Where its gate is shut, and a metric lies
between 0 and 1, the empirical Bernstein sequence over cohorts whose values are final needs no gate. Where both are on
offer each has half of alpha, as the one that answers may change from day to day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import isinf

from msgspec import Struct, structs

from barograph.core.event_bounds import number_bounds
from barograph.core.metric import Metric
from barograph.core.units import UnitAnswer, UnitMoments
from barograph.experiments.analysis.arms import Arm, compared_keys
from barograph.experiments.analysis.methods import stratified
from barograph.experiments.analysis.unit_sums import merged
from barograph.experiments.design import Experiment
from barograph.stats.estimate import Alternative, Effect, Estimate
from barograph.stats.sequential import asymptotic
from barograph.stats.sequential.bounded import compare_bounded_means
from barograph.stats.summary import Summary

LARGEST_ALPHA = 0.49  # the formula of a sequence ends at a half
USUAL_DAYS = 28.0  # a sequence is tightest at the planned end; where none is planned, after four weeks
USUAL_UNITS = asymptotic.TUNING_UNITS  # and at so many units in two arms
USUAL_INTERLEAVED = USUAL_UNITS / 5  # they need fewer by about so much: docs/validity.md


class Tuning(Struct, frozen=True, kw_only=True):
    """How many units, and unit-days, two arms are planned to have: where their sequences are tightest.

    A sequence holds with any numbers here, as long as they are fixed before the first look.
    """

    units: float
    unit_days: float

    @classmethod
    def of(cls, experiment: Experiment) -> Tuning:
        """From the plan, or what is usual. Units are taken to come evenly over the planned days."""
        interleaved = experiment.kind == "interleaving"  # then any two arms have all units
        units: float = USUAL_INTERLEAVED if interleaved else USUAL_UNITS
        if experiment.planned_units is not None:
            units = experiment.planned_units * (1 if interleaved else 2 / len(experiment.variants))
        days = USUAL_DAYS if experiment.planned_days is None else experiment.planned_days
        window = min(days, experiment.attribution_days or days)
        return cls(units=units, unit_days=max(units * (window - window * window / (2 * days)), asymptotic.LEAST_CLOCK))

    def part(self, share: float) -> Tuning:
        """Tightest that much sooner."""
        return Tuning(units=self.units * share, unit_days=max(self.unit_days * share, asymptotic.LEAST_CLOCK))


class Sequences(Struct, frozen=True, kw_only=True):
    """The sequences of one metric. ``cohorts`` are those of each arm, paired, oldest first; None: not for it.

    ``shares`` says that the metric lies between 0 and 1, ``paused`` that cohorts may have met a pause.
    """

    tuning: Tuning
    unit_kind: str
    window_days: float
    shares: bool = False
    paused: bool = False
    cohorts: dict[str, tuple[Summary, ...]] | None = None

    @classmethod
    def of(
        cls, experiment: Experiment, metric: Metric, answer: UnitAnswer, whole: UnitAnswer | None = None
    ) -> Sequences:
        """For a metric of an experiment; answers are by the day of exposure.

        Cohorts are those of the attribution window. ``whole`` is what units did in it, where pauses have cut short what
        the answer has of it. Windows that the stop cut short are never over: whoever stops it has seen what is in them.
        """
        days, final = experiment.attribution_days, whole or answer
        cohorts, shares = None, within_unit_interval(metric)
        if days is not None and shares:
            end = min(final.complete_to, experiment.stopped_at or final.complete_to)
            cohorts = _closed(final.arms, compared_keys(experiment), days, end)
        return cls(
            tuning=Tuning.of(experiment), unit_kind=experiment.unit_kind, cohorts=cohorts, window_days=days or 0.0,
            shares=shares, paused=experiment.was_paused,
        )  # fmt: skip

    def compare(
        self, arms: Mapping[str, Arm], key: str, control: str, alpha: float, alternative: Alternative = "two-sided"
    ) -> Estimate:
        """The arm against the control; "not valid here" with the reason, where no sequence answers."""
        if self.cohorts is None:
            return self.asymptotic(arms[key], arms[control], (key, control), alpha, alternative)
        found = self.asymptotic(arms[key], arms[control], (key, control), alpha / 2, alternative)
        if found.absolute is None or found.absolute.low is None:
            bounded = self.bounded(key, control, alpha / 2)
            if bounded.absolute is not None and bounded.absolute.low is not None:
                found = bounded
        return _of_two(found, alpha)

    def asymptotic(
        self, arm: Arm, baseline: Arm, names: tuple[str, str], alpha: float, alternative: Alternative = "two-sided"
    ) -> Estimate:
        """By the asymptotic sequence alone. An interval of shares is cut off where no difference can be."""
        risk = min(alpha, LARGEST_ALPHA)
        found = asymptotic.compare_means(
            arm.values, baseline.values, arm_skew(arm, baseline), alpha=risk, tuning_n=self.tuning.unit_days,
            clock=arm.unit_days + baseline.unit_days, alternative=alternative, names=names,
        )  # fmt: skip
        weak = [name for name, one in zip(names, (arm, baseline), strict=True) if one.uneven]
        if weak and found.absolute is not None and found.absolute.low is not None:
            found = structs.replace(
                found, absolute=Effect(value=found.absolute.value),
                relative=Effect(value=found.relative.value) if found.relative else None,
                warnings=(f"not valid here: few or very uneven measurements a unit in {' and '.join(weak)}",),
            )  # fmt: skip
        found = stratified(structs.replace(found, alpha=alpha), arm, baseline)
        return cut_off(found) if self.shares else found

    def bounded(self, key: str, control: str, alpha: float) -> Estimate:
        """By the sequence of bounded values alone; there are cohorts."""
        assert self.cohorts is not None
        found = compare_bounded_means(
            self.cohorts[key], self.cohorts[control], alpha=alpha, planned_n=self.tuning.units, names=(key, control)
        )
        said = (
            f"a mean over {self.unit_kind}s of each one's own mean, of those whose {self.window_days:.3g} days are over"
        )
        if self.paused:
            said += ", with what they did in pauses"
        return structs.replace(found, warnings=(*found.warnings, said))


def within_unit_interval(metric: Metric) -> bool:
    """Whether each unit's own mean lies between 0 and 1 by definition, whatever the data say."""
    if metric.aggregation == "ratio":
        return not metric.user_defined  # those of the catalogue are shares
    low, high = number_bounds(metric.of.kind).get(metric.of.field, (-1.0, 2.0))
    return metric.aggregation == "mean" and low >= 0 and high <= 1


def cut_off(estimate: Estimate) -> Estimate:
    """The estimate with its absolute interval cut off at -1 and 1, where the difference of two shares must lie.

    It holds what it held: the true difference is never in what is cut off. An open side stays open.
    """
    effect = estimate.absolute
    if effect is None or effect.low is None or effect.high is None:
        return estimate
    low, high = (bound if isinf(bound) else min(1.0, max(-1.0, bound)) for bound in (effect.low, effect.high))
    return structs.replace(estimate, absolute=structs.replace(effect, low=low, high=high))


def arm_skew(arm: Arm, baseline: Arm) -> asymptotic.Skewness | None:
    """Of both arms' values, where both are known."""
    return None if arm.skew is None or baseline.skew is None else (arm.skew, baseline.skew)


def day_of(group: str) -> datetime | None:
    """The first moment of the UTC day that a group stands for; None where it is no day."""
    try:
        return datetime.fromisoformat(group).replace(tzinfo=UTC) if group else None
    except ValueError:
        return None


def _closed(
    moments: Iterable[UnitMoments], keys: tuple[str, ...], window_days: float, complete_to: datetime
) -> dict[str, tuple[Summary, ...]]:
    """Each arm's cohorts by day and period whose windows are over, so that no value in them changes any more."""
    cells: dict[tuple[datetime, int], dict[str, list[UnitMoments]]] = {}
    for one in moments:
        day = day_of(one.group)
        if one.arm in keys and day is not None and day + timedelta(days=1 + window_days) <= complete_to:
            cells.setdefault((day, one.period), {}).setdefault(one.arm, []).append(one)
    ordered = [cells[cell] for cell in sorted(cells)]
    return {key: tuple(merged(cell.get(key, ())).own for cell in ordered) for key in keys}


def _of_two(estimate: Estimate, alpha: float) -> Estimate:
    """An estimate made at half of ``alpha`` as one of the two that share it (Bonferroni)."""

    def doubled(effect: Effect | None) -> Effect | None:
        if effect is None or effect.p_value is None:
            return effect
        return structs.replace(effect, p_value=min(1.0, 2 * effect.p_value))

    return structs.replace(
        estimate, alpha=alpha, absolute=doubled(estimate.absolute), relative=doubled(estimate.relative)
    )
