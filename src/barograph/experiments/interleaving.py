"""An experiment whose rankers are interleaved: whom readers prefer, from the preferences that their queries recorded.

Takes the ``UnitAnswer`` of each ranker's preference, hands a ``Comparison`` and ``Details`` to the framework, as
``analysis`` does for arms. Every unit saw all rankers: there is nothing that could be out of balance, and each ranker
is held against none, with the control as the zero. Many queries of a unit are one unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from barograph.core.metric import Metric
from barograph.core.unit import counted
from barograph.core.units import UnitAnswer
from barograph.experiments.advice import Known, overall, verdicts, waits
from barograph.experiments.analysis.families import corrected
from barograph.experiments.analysis.gate import LARGEST_SKEW, Obstacle, Obstacles
from barograph.experiments.analysis.sequential import LARGEST_ALPHA, Tuning, cut_off, day_of
from barograph.experiments.analysis.strangers import Strangers, seen_in_two
from barograph.experiments.analysis.unit_sums import UnitSums, merged
from barograph.experiments.analysis.waiting import Progress, Traffic, days_until_narrow, exposed_by_day
from barograph.experiments.comparison import Comparison, Course, Details, Finding, MetricComparison, Step
from barograph.experiments.design import Experiment
from barograph.experiments.interleaving_checks import preference_metric
from barograph.experiments.verdict import (
    about_looking,
    early_text,
    kept_from_testing,
    p_text,
    range_text,
    to_be_minded,
    why_open,
)
from barograph.stats.distributions import normal_quantile
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.interleaving import Preference, mean_preference, preference_at_any_time, sign_test
from barograph.stats.sample_ratio import SampleRatio
from barograph.stats.skewness import skewness_of_ratio
from barograph_client.experiments.definition import INTERLEAVED

SIGN_TEST = "sign test of units"
NOTHING_TO_BALANCE = "every unit saw all rankers"


class Preferred(Struct, frozen=True, kw_only=True):
    """What units say of one ranker: their sums of preferences, and how many prefer it or the control."""

    sums: UnitSums
    wins: int
    losses: int

    @classmethod
    def of(cls, answer: UnitAnswer) -> Preferred:
        """All units that were shown interleaved lists."""
        shown = [one for one in answer.arms if one.arm == INTERLEAVED]
        return cls(
            sums=merged(shown), wins=sum(one.positive_units for one in shown),
            losses=sum(one.negative_units for one in shown),
        )  # fmt: skip

    @property
    def skew(self) -> float | None:
        """Of the linearised preferences; None where it is not known."""
        return None if self.sums.cubes is None else skewness_of_ratio(self.sums.sums, self.sums.cubes)

    def sign_test(self, alpha: float) -> Preference:
        """Of the units that took sides."""
        return sign_test(self.wins, self.losses, alpha=alpha)


def compare_preferences(
    experiment: Experiment, metrics: Mapping[str, Metric], answers: Mapping[str, UnitAnswer], now: datetime
) -> Comparison:
    """Compare the rankers with the control.

    ``metrics`` and ``answers`` have an entry for each metric that the experiment names; answers are by the day of
    exposure. Pure: the same answers give the same comparison.
    """
    metric, first = metrics[experiment.primary_metric], answers[experiment.primary_metric]
    by_ranker = _by_ranker(experiment, answers)
    units = sum(one.units for one in first.arms if one.arm == INTERLEAVED)
    preferred = {key: Preferred.of(answer) for key, answer in by_ranker.items()}
    days, by_day = experiment.days_running(now), exposed_by_day(experiment, first)
    traffic = Traffic.of(by_day, units, days, first.complete_to, experiment.pauses_until(now))
    enough = _enough_units(experiment, preferred, units)
    progress = Progress(
        days=days, units=units, enough_units=enough, enough_days=_enough_days(experiment, preferred, traffic, enough),
        planned_wait=None if experiment.planned_units is None else traffic.days_until_end(experiment.planned_units),
        whole=traffic.whole if experiment.stopped_at is None else None,
    )  # fmt: skip
    compared = _compared(experiment, metric, preferred)
    known = tuple(
        _judge(experiment, metric, estimate, p_value, progress, first, preferred[estimate.arm])
        for estimate, p_value in zip(
            compared.deciding(experiment.decided_by), compared.adjusted_p_values, strict=True
        )
    )  # fmt: skip
    arm_verdicts = verdicts(experiment, progress, known)
    whole = overall(arm_verdicts, known)
    return Comparison(
        experiment=experiment.key, title=experiment.name, hypothesis=experiment.hypothesis, state=experiment.state,
        control=experiment.control, unit_kind=experiment.unit_kind, split="all", alpha=experiment.alpha,
        units={INTERLEAVED: units}, contaminated=first.contaminated, sample_ratio=_nothing_to_balance(units),
        metrics=(compared,), verdict=whole, arm_verdicts=arm_verdicts, days_running=days,
        planned_days=experiment.planned_days, planned_units=experiment.planned_units,
        needs_more_days=waits(experiment, progress, whole, known),
        enough_units=None if enough is None or math.isinf(enough) else enough,
        warnings=to_be_minded(_warnings(experiment, answers, compared, progress), arm_verdicts),
        first_exposure=first.first_exposure, complete_to=min(answer.complete_to for answer in answers.values()),
        decided_by=experiment.decided_by, stop_reason=experiment.stop_reason, exposed_by_day=by_day,
        course=_course(experiment, by_ranker),
    )  # fmt: skip


def preference_details(experiment: Experiment, answers: Mapping[str, UnitAnswer]) -> Details:
    """The sign test of each ranker as a second opinion: how many units prefer it, whatever by how much."""
    rankers = _by_ranker(experiment, answers)
    opinions = tuple(_signs(experiment, key, Preferred.of(answer)) for key, answer in rankers.items())
    return Details(
        experiment=experiment.key, courses=(), arms=(), second_opinions=opinions, sampled=False,
        warnings=("the sign test holds at the planned end, and decides nothing",),
    )  # fmt: skip


def _by_ranker(experiment: Experiment, answers: Mapping[str, UnitAnswer]) -> dict[str, UnitAnswer]:
    """The answer to each ranker's metric, but for the control's, which has none."""
    keys = [variant.key for variant in experiment.variants if variant.key != experiment.control]
    return {key: answers[preference_metric(experiment, key)] for key in keys}


def _compared(experiment: Experiment, metric: Metric, preferred: Mapping[str, Preferred]) -> MetricComparison:
    once = [
        mean_preference(one.sums.sums, alpha=experiment.alpha, names=(key, experiment.control))
        for key, one in preferred.items()
    ]
    always = [_at_any_time(experiment, key, one) for key, one in preferred.items()]
    deciding = always if experiment.decided_by == "always valid" else once
    return MetricComparison(
        metric=metric.name, title=f"Preference over {experiment.control}", unit=metric.unit, role="primary",
        better="higher", per_unit=False, estimates=tuple(once), always_valid=tuple(always),
        adjusted_p_values=tuple(corrected([one.p_value for one in deciding])),
    )  # fmt: skip


def _at_any_time(experiment: Experiment, key: str, one: Preferred) -> Estimate:
    found = preference_at_any_time(
        one.sums.sums, one.skew, alpha=min(experiment.alpha, LARGEST_ALPHA), clock=one.sums.unit_days,
        tuning_n=Tuning.of(experiment).unit_days, names=(key, experiment.control),
    )  # fmt: skip
    return cut_off(found)  # a preference lies between -1 and 1, as a difference of shares does


def _signs(experiment: Experiment, key: str, one: Preferred) -> Estimate:
    """The share of units that prefer the ranker, of those that prefer either, against a half."""
    found = one.sign_test(experiment.alpha)
    decided = found.wins + found.losses
    effect = None
    if found.value is not None and found.low is not None and found.high is not None:
        effect = Effect(value=found.value - 0.5, low=found.low - 0.5, high=found.high - 0.5, p_value=found.p_value)
    return Estimate(
        arm=key, baseline=experiment.control, arm_value=found.value, baseline_value=0.5, arm_n=decided,
        baseline_n=decided, absolute=effect, relative=None, alpha=experiment.alpha, method=SIGN_TEST,
        warnings=() if effect else ("no unit prefers either",),
    )  # fmt: skip


def _course(experiment: Experiment, answers: Mapping[str, UnitAnswer]) -> Course | None:
    """Units exposed up to each day's end, with what they preferred until now."""
    steps: list[Step] = []
    days = sorted({one.group for answer in answers.values() for one in answer.arms if day_of(one.group) is not None})
    sums = dict.fromkeys(answers, UnitSums())
    for day in days:
        for key, answer in answers.items():
            sums[key] += merged(one for one in answer.arms if one.arm == INTERLEAVED and one.group == day)
            estimate = _at_any_time(experiment, key, Preferred(sums=sums[key], wins=0, losses=0))
            steps.append(Step(label=day, arm=key, estimate=estimate, p_value=estimate.p_value))
    return Course(by="day", steps=tuple(steps)) if steps else None


def _nothing_to_balance(units: int) -> SampleRatio:
    p_value = 1.0 if units else None
    return SampleRatio(counts=(units,), expected=(float(units),), p_value=p_value, method=NOTHING_TO_BALANCE)


def _judge(
    experiment: Experiment,
    metric: Metric,
    estimate: Estimate,
    p_value: float | None,
    progress: Progress,
    answer: UnitAnswer,
    preferred: Preferred,
) -> Known:
    def known(finding: Finding, text: str) -> Known:
        return Known(arm=estimate.arm, finding=finding, text=text, p_value=p_value)

    kept_back = _obstacles(experiment, answer, preferred, progress.goes_on(experiment))
    instead = kept_from_testing(experiment, kept_back, estimate, p_value).verdict()
    if instead is not None:
        finding, text, repair = instead
        return Known(arm=estimate.arm, finding=finding, text=text, repair=repair)
    effect = estimate.absolute
    assert effect is not None  # that, and no p-value, would have been an obstacle
    assert p_value is not None
    if not progress.decides(experiment):
        return known("not settled", early_text(experiment, metric, estimate, progress))
    seen = range_text(experiment, metric, estimate)
    if p_value >= experiment.alpha or effect.value == 0:
        said = f"Not settled: {experiment.unit_kind}s may prefer either, the preference for {estimate.arm} is {seen}"
        return known("not settled", f"{said}{why_open(experiment, estimate, p_value, progress)}")
    signs = preferred.sign_test(experiment.alpha)
    ranker, other, wins = estimate.arm, estimate.baseline, signs.wins
    if effect.value < 0:
        ranker, other, wins = other, ranker, signs.losses
    finding = "better" if effect.value > 0 else "worse"
    sides = f"{wins:,} of the {counted(signs.wins + signs.losses, experiment.unit_kind)} who took sides do"
    if signs.p_value is not None and experiment.decided_by == "fixed horizon":
        sides += f" (sign test, {p_text(signs.p_value)})"
    return known(
        finding,
        f"{finding.capitalize()}: {experiment.unit_kind}s prefer {ranker} to {other} (preference for {estimate.arm} "
        f"{seen}, {p_text(p_value)}); {sides}",
    )


def _obstacles(experiment: Experiment, answer: UnitAnswer, preferred: Preferred, goes_on: bool) -> Obstacles:
    """Why no verdict may be given. ``goes_on`` says that later data will count."""
    kind = experiment.unit_kind
    faults: list[Obstacle] = []
    strangers = Strangers.of(experiment, answer)
    if strangers.many:
        faults.append(Obstacle(
            f"{strangers.units:,} of {strangers.everyone:,} {kind}s were exposed to {', '.join(strangers.arms)} alone, "
            "and not to interleaved lists",
            "call interleave and no other exposure, and start a new experiment",
        ))  # fmt: skip
    if seen_in_two(answer):
        faults.append(Obstacle(
            f"{answer.contaminated:,} of {strangers.everyone:,} {kind}s were seen with another arm too",
            "call interleave and no other exposure, and start a new experiment",
        ))  # fmt: skip
    measured, fewest = preferred.sums.sums.measured_units, experiment.minimum_units
    if measured < fewest:
        few = f"{counted(measured, kind)} with a credited query, of {fewest} at least"
        return Obstacles(faults=tuple(faults), waits=(Obstacle(few),))
    skewed: list[Obstacle] = []
    if experiment.decided_by == "fixed horizon" and preferred.skew is not None:
        left = abs(preferred.skew) / math.sqrt(measured)
        if left > LARGEST_SKEW:
            skewed.append(Obstacle(
                f"a few {kind}s decide (skewness of the mean {left:.2g}, of {LARGEST_SKEW} at most)",
                f"give a new experiment more {kind}s",
            ))  # fmt: skip
    if goes_on:
        return Obstacles(faults=tuple(faults), waits=tuple(skewed))
    return Obstacles(faults=(*faults, *skewed))


def _warnings(
    experiment: Experiment, answers: Mapping[str, UnitAnswer], compared: MetricComparison, progress: Progress
) -> list[str]:
    found = [warning for one in compared.deciding(experiment.decided_by) for warning in one.warnings]
    found += [note.rstrip(".") for one in answers.values() for note in one.notes]
    contaminated = answers[experiment.primary_metric].contaminated
    strangers = Strangers.of(experiment, answers[experiment.primary_metric])
    if strangers.units and not strangers.many:
        found.append(
            f"{counted(strangers.units, experiment.unit_kind)} exposed to {', '.join(strangers.arms)} alone, and not "
            "to interleaved lists: left out"
        )
    if contaminated:
        found.append(f"{contaminated:,} {experiment.unit_kind}s were seen with another arm too and are left out")
    return [*found, *about_looking(experiment, progress)]


def _enough_units(experiment: Experiment, preferred: Mapping[str, Preferred], units: int) -> float | None:
    """How many units find a preference of ``minimum_effect`` for each ranker at one look; None if unknown.

    Those with a credited query are (z(1 - alpha/2) + z(power))² times the variance over the squared preference.
    """
    if experiment.decided_by == "always valid" or not all(map(_tells, preferred.values())):
        return None
    reach = normal_quantile(1 - experiment.alpha / len(preferred) / 2) + normal_quantile(experiment.power)
    values = [one.sums.sums.linearised() for one in preferred.values()]
    enough = max(one.variance * (reach / experiment.minimum_effect) ** 2 * units / one.n for one in values)
    return max(enough, experiment.minimum_units * units / min(one.n for one in values))


def _enough_days(
    experiment: Experiment, preferred: Mapping[str, Preferred], traffic: Traffic, units: float | None
) -> float | None:
    """More days until that preference would be found, by ``_enough_units`` or a sequence; None if unknown."""
    if experiment.decided_by != "always valid":
        return None if units is None else traffic.days_until(units)
    if not all(map(_tells, preferred.values())):
        return None
    return max(
        days_until_narrow(
            experiment, experiment.minimum_effect, one.sums.sums.linearised().mean_variance, one.sums.unit_days,
            one.sums.units, traffic, len(preferred),
        )
        for one in preferred.values()
    )  # fmt: skip


def _tells(one: Preferred) -> bool:
    """Whether its preferences tell how they spread."""
    sums = one.sums.sums
    return sums.ratio is not None and sums.measured_units >= 2 and sums.linearised().varies
