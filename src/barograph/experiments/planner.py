"""What an experiment would take: units, days, and the change that it can find, from the system's own past.

Reads ``Baseline``s and how many different units come by the day (``past``), hands a ``Plan`` to the framework, which
tells of days up to twice the past and of none beyond. The power is that of the tests that ``analysis`` makes: Welch's t
(noncentral t) for means and linearised ratios, the score test for shares of units, and for intervals that may be looked
at all the time the asymptotic confidence sequence on its clock of unit-days, tightest at the end that is planned for.
For these the chance to be settled by a day is taken as that of being so at its end; who was settled before and is not
any more counts too, so that the days told are rather too many. Planned looks are taken as the last one alone, by its
bound: no less is found at all of them. Several treatments share alpha (Bonferroni; the analysis corrects by Holm, which
never needs more).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
from msgspec import structs

from barograph.core.event_bounds import metric_range
from barograph.core.metric import Catalogue, Metric
from barograph.core.reader import UnitReader
from barograph.core.unit import format_value
from barograph.experiments.analysis.looks import SPENDING
from barograph.experiments.analysis.sequential import Tuning
from barograph.experiments.design import Experiment, Method, equal_variants
from barograph.experiments.metric_checks import comparable
from barograph.experiments.past import Past, ask_past, at, baselines, gated_until
from barograph.experiments.plan import (
    FORESEEN,
    LARGEST_EFFECT,
    LEAST_TO_FORESEE,
    Baseline,
    Need,
    Plan,
    PlanQuestion,
    Reach,
    check,
)
from barograph.experiments.plan_advice import advice, notes
from barograph.stats.distributions import normal_tail
from barograph.stats.planning import power_of_shares, sample_size_of_shares, units_by_day
from barograph.stats.power import power_of, sample_size
from barograph.stats.sequential.asymptotic import FEWEST_UNITS, confidence_sequence
from barograph.stats.sequential.repeated import Schedule
from barograph_client.errors import InvalidInput

LONGEST_ADVISED = 84  # twelve weeks: what takes longer meets another season, and other users
WEEK = 7
BESIDE = (0.2, 0.5, 1.0, 2.0, 4.0)  # effects that are shown, as multiples of the one asked for
DAYS = (7, 14, 28)
COVERAGES = (0.1, 0.25, 0.5, 1.0)
EFFECT_PRECISION = 1e-6  # of the effect
HALF = 0.5


def plan_from(reader: UnitReader, catalogue: Catalogue, now: datetime, question: PlanQuestion, project: str) -> Plan:
    """Ask the past and plan. Raises InvalidInput for what cannot be planned, and what the reader raises."""
    check(question)
    metric = comparable(question.metric, catalogue, question.unit_kind)
    return plan(question, metric, ask_past(question, reader, now, project))


def plan(question: PlanQuestion, metric: Metric, past: Past) -> Plan:
    """The plan; pure.

    Raises InvalidInput, with the way out, for numbers that are no plan, an effect that a share cannot have, and a past
    without units, variation or anything that is not zero.
    """
    check(question)
    known = baselines(metric, question.unit_kind, past)
    planner = _Planner(question, metric, known, past.longest.distinct_units)
    if not question.effect < planner.most_effect:
        raise InvalidInput(
            f"{metric.name} is {planner.standing}, which leaves no room for such a change",
            hint=f"Plan for less than {format_value(planner.most_effect, 'ratio')}.", value=question.effect,
        )  # fmt: skip
    need = planner.need(question.effect)
    takes = need.any_time_days if question.method == "always valid" else need.days
    days = question.days
    whole_weeks = None if takes is None or takes > LONGEST_ADVISED else -(-takes // WEEK) * WEEK
    advised = days if takes is not None and days is not None and days >= takes else whole_weeks
    shown = {one for one in (*DAYS, days) if one is not None and one <= planner.foreseen} or {planner.foreseen}
    reaches = [
        planner.reach(one, coverage) for one in sorted(shown) for coverage in sorted({*COVERAGES, question.coverage})
    ]
    effects = (question.effect * times for times in BESIDE)
    found = Plan(
        question=question, title=metric.title, unit=metric.unit, better=metric.better,
        history_from=past.until - timedelta(days=past.days), history_days=past.days, baselines=known,
        distinct_units=past.longest.distinct_units, foreseen_days=planner.foreseen, need=need,
        most_effect=planner.most_effect if math.isfinite(planner.most_effect) else None,
        needs=tuple(planner.need(effect) for effect in effects if effect <= LARGEST_EFFECT), reaches=tuple(reaches),
        days_with_everybody=planner.least_days(question.effect, question.method, coverage=1.0),
        advised_days=advised, advised_units=None if advised is None else planner.units_by(advised),
        complete_to=past.longest.complete_to,
    )  # fmt: skip
    return structs.replace(found, advice=advice(found), notes=notes(found))


class _Planner:
    """One question's numbers: the baselines, and units and unit-days by the end of each day at full coverage."""

    def __init__(
        self, question: PlanQuestion, metric: Metric, known: tuple[Baseline, ...], distinct: tuple[int, ...]
    ) -> None:
        self._question = question
        self._metric = metric
        self._known = known
        self._sign = -1 if metric.better == "lower" else 1
        self._history = len(distinct)
        self.foreseen = self._history * (FORESEEN if self._history >= LEAST_TO_FORESEE else 1)
        self._units = units_by_day(distinct, self.foreseen)
        self._unit_days = np.concatenate(([0.0], np.cumsum((self._units[1:] + self._units[:-1]) / 2)))
        self._alpha = question.alpha / (len(question.weights) - 1)
        self._kept = 1 - question.correlation**2  # of the variance, beside the pre-period (Deng and others 2013)

    @property
    def most_effect(self) -> float:
        """The change that would take the metric to the end of its range, which it cannot reach."""
        value = self._known[-1].value
        return abs(self._end - value) / abs(value)

    @property
    def standing(self) -> str:
        """Where the metric is now, and between what it stays."""
        base, unit = self._known[-1], self._metric.unit
        if base.basis == "share":
            return f"{format_value(base.value, 'ratio')} of {self._question.unit_kind}s"
        value, end = (format_value(number, unit, headed=True) for number in (base.value, self._end))
        return f"{value} and never {'below' if self._sign < 0 else 'above'} {end}"

    @property
    def _end(self) -> float:
        """The end of the metric's range in the direction of the effect."""
        ends = (0.0, 1.0) if self._known[-1].basis == "share" else metric_range(self._metric)
        return ends[0] if self._sign < 0 else ends[1]

    def units_by(self, days: int, coverage: float | None = None) -> int:
        """How many take part by the end of so many days, or of the last that is foreseen."""
        share = self._question.coverage if coverage is None else coverage
        return math.floor(float(self._units[min(days, self.foreseen)]) * share)

    def need(self, effect: float) -> Need:
        """What it takes to find the effect, each way; nothing finds one that the metric has no room for."""
        if not effect < self.most_effect:
            return Need(effect=effect, units=None, days=None, any_time_days=None, half_settled_days=None)
        fixed, settled = self.least_days(effect, "fixed horizon"), self.least_days(effect, "always valid")
        coverage, half = self._question.coverage, None
        if settled is not None:
            days = range(1, settled + 1)
            half = next((day for day in days if self._settled(effect, day, coverage, settled) >= HALF), None)
        return Need(
            effect=effect,
            units=self._needed_units(effect, self.foreseen if fixed is None else fixed),
            days=fixed,
            any_time_days=settled,
            half_settled_days=half,
        )

    def reach(self, days: int, coverage: float) -> Reach:
        """The least effect that is found; by halving, since a larger one is found more often.

        At any time means on any day up to the last: one that units spread over more the longer they are watched may be
        settled early, or not at all.
        """
        power = self._question.power
        looks = [days, *range(1, min(days, self._history + 1))]

        def found(effect: float) -> bool:
            if self._question.method != "always valid":
                return self._found(effect, days, coverage) >= power
            return any(self._settled(effect, look, coverage, days) >= power for look in looks)

        low, high = 0.0, min(LARGEST_EFFECT, self.most_effect * (1 - EFFECT_PRECISION))
        effect = high if found(high) else None
        while effect is not None and high - low > EFFECT_PRECISION * high:
            middle = (low + high) / 2
            low, high = (low, middle) if found(middle) else (middle, high)
            effect = high
        return Reach(days=days, coverage=coverage, units=self.units_by(days, coverage), effect=effect)

    def least_days(self, effect: float, method: Method, *, coverage: float | None = None) -> int | None:
        """The first whole day at whose end the effect is found with the power asked for; None where none is foreseen.

        Day by day within the past, where the spread changes with the days; beyond it by halving.
        """
        share = self._question.coverage if coverage is None else coverage

        def enough(days: int) -> bool:
            if method != "always valid":
                return self._found(effect, days, share) >= self._question.power
            return self._settled(effect, days, share, days) >= self._question.power

        within = next((days for days in range(1, self._history + 1) if enough(days)), None)
        if within is not None or not enough(self.foreseen):
            return within
        low, high = self._history, self.foreseen
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high

    def _arms(self, days: int, coverage: float) -> tuple[Baseline, float, float]:
        """The baseline; units with a value in the treatment of the smallest share, and in the control."""
        base, weights = at(self._known, days), self._question.weights
        measured = float(self._units[days]) * coverage * base.measured
        return base, measured * min(weights[1:]), measured * weights[0]

    def _found(self, effect: float, days: int, coverage: float) -> float:
        """The chance that one look at the end of that day tells the arms apart."""
        base, n, n_control = self._arms(days, coverage)
        if min(n, n_control) < self._fewest(base, "fixed horizon"):
            return 0.0
        alpha = self._alpha_at(days)
        if base.basis == "share" and self._kept == 1:
            share = base.value * (1 + self._sign * effect)
            return power_of_shares(share, base.value, n, n_control, alpha=alpha) if 0 < share < 1 else 0.0
        return power_of(self._standardised(effect, base), n, n_control, alpha=alpha)

    def _alpha_at(self, days: int) -> float:
        """What the look at the end of so many days is made at: all of alpha, or what earlier looks leave of it."""
        question = self._question
        if question.method != "group sequential":
            return self._alpha
        shares = [(look + 1) / question.looks for look in range(question.looks)]
        known = np.interp([share * days for share in shares], np.arange(self._unit_days.size), self._unit_days)
        schedule = Schedule(
            clock=tuple(shares), information=tuple(map(float, known)), spending=SPENDING[question.spending]
        )
        return schedule.bound(self._alpha).p_value

    def _settled(self, effect: float, days: int, coverage: float, planned: int) -> float:
        """The chance that an interval for any time, tightest after ``planned`` days, tells them apart at that end."""
        base, n, n_control = self._arms(days, coverage)
        if min(n, n_control) < self._fewest(base, "always valid"):
            return 0.0
        variance = changed = base.deviation**2
        if base.basis == "share":
            share = base.value * (1 + self._sign * effect)
            variance, changed = base.value * (1 - base.value), max(0.0, share * (1 - share))
        error = math.sqrt(self._kept * (changed / n + variance / n_control))
        clock = float(self._unit_days[days] / self._units[days]) * (n + n_control)
        tuning = self._tuning(planned, coverage)
        critical = confidence_sequence(0.0, 1.0, clock, alpha=self._alpha, tuning_n=tuning).high
        assert critical is not None
        return normal_tail(critical - effect * abs(base.value) / error)

    def _fewest(self, base: Baseline, method: Method) -> float:
        """Units that the smaller arm needs before the analysis says anything."""
        units = max(self._question.minimum_units, FEWEST_UNITS if method == "always valid" else 2)
        return max(units, gated_until(base, method))

    def _tuning(self, planned: int, coverage: float) -> float:
        """Where the sequences of an experiment are tightest that is declared with these days, and who comes in them."""
        question = self._question
        experiment = Experiment(
            key="planned", variants=equal_variants(*map(str, range(len(question.weights)))), planned_days=planned,
            planned_units=self.units_by(planned, coverage), primary_metric=question.metric,
        )  # fmt: skip
        return Tuning.of(experiment).unit_days

    def _standardised(self, effect: float, base: Baseline) -> float:
        return effect * abs(base.value) / (base.deviation * math.sqrt(self._kept))

    def _needed_units(self, effect: float, days: int) -> int | None:
        """Units of all arms together, measured or not, in an experiment of so many days."""
        question, base, alpha = self._question, at(self._known, days), self._alpha_at(days)
        control, treatment = question.weights[0], min(question.weights[1:])
        ratio = treatment / control
        if base.basis == "share" and self._kept == 1:
            share = base.value * (1 + self._sign * effect)
            if not 0 < share < 1:
                return None
            needed = sample_size_of_shares(share, base.value, alpha=alpha, power=question.power, ratio=ratio)
        else:
            standardised = self._standardised(effect, base)
            needed = sample_size(standardised, alpha=alpha, power=question.power, ratio=ratio)
        fewest = self._fewest(base, "fixed horizon") / min(1.0, ratio)
        units = max(needed, fewest) / control / base.measured
        return math.ceil(units) if math.isfinite(units) else None
