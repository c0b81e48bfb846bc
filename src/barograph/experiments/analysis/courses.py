"""How the primary metric's effect goes along the days, the units' age, and the values of a tag.

Takes a ``UnitAnswer`` split by one of these, hands back a ``Course``: an estimate for each step and treatment, and a
sentence of what may be said of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import structs

from barograph.core.metric import Metric
from barograph.core.units import UnitAnswer, UnitMoments
from barograph.experiments.analysis.arms import Arm, arms_of, cells_of
from barograph.experiments.analysis.families import corrected
from barograph.experiments.analysis.methods import fixed_horizon, with_ends
from barograph.experiments.analysis.sequential import Sequences, day_of
from barograph.experiments.analysis.unit_sums import UnitSums
from barograph.experiments.comparison import Course, Step
from barograph.experiments.design import Experiment
from barograph.stats.distributions import normal_tail

FEWEST_AGES = 3  # days of age, before anything is said of a trend
MOST_VALUES = 20  # of a slice's tag: the most frequent ones
NO_TAG = "(none)"


def course_by_day(experiment: Experiment, metric: Metric, answer: UnitAnswer, sequences: Sequences) -> Course | None:
    """Units exposed up to each day's end, with what they did until now; None where the days are not known."""
    by_day: dict[str, list[UnitMoments]] = {}
    for one in answer.arms:
        if day_of(one.group) is not None:
            by_day.setdefault(one.group, []).append(one)
    cells: dict[tuple[str, int], UnitSums] = {}
    steps: list[Step] = []
    for day in sorted(by_day):
        for cell, sums in cells_of(by_day[day]).items():
            cells[cell] = cells[cell] + sums if cell in cells else sums
        arms = arms_of(metric, experiment, cells).by_key
        for key, names in _treatments(experiment, arms):
            estimate = sequences.asymptotic(arms[key], arms[experiment.control], names, experiment.alpha)
            steps.append(Step(label=day, arm=key, estimate=estimate, p_value=estimate.p_value))
    return Course(by="day", steps=tuple(steps)) if steps else None


def course_by_age(experiment: Experiment, metric: Metric, answer: UnitAnswer) -> Course:
    """What units did on each day since their exposure, and whether the effect changes with it (a novelty fades)."""
    by_age: dict[int, list[UnitMoments]] = {}
    for one in answer.arms:
        if one.group.isdecimal():
            by_age.setdefault(int(one.group), []).append(one)
    steps: list[Step] = []
    points: dict[str, list[tuple[float, float, float]]] = {}
    for age in sorted(by_age):
        arms = arms_of(metric, experiment, cells_of(by_age[age])).by_key
        control = arms[experiment.control]
        for key, names in _treatments(experiment, arms):
            estimate = with_ends(fixed_horizon(arms[key], control, names, experiment.alpha, exact=False))
            steps.append(Step(label=str(age), arm=key, estimate=estimate, p_value=estimate.p_value))
            if estimate.absolute is not None and arms[key].values.varies and control.values.varies:
                variance = arms[key].values.mean_variance + control.values.mean_variance
                points.setdefault(key, []).append((float(age), estimate.absolute.value, variance))
    several = len(experiment.variants) > 2
    said = [_trend(key if several else "", points[key], experiment.alpha) for key in points]
    return Course(by="age", steps=tuple(steps), sentence=" ".join(dict.fromkeys(said)) or _TOO_FEW)


def course_by_tag(experiment: Experiment, metric: Metric, answer: UnitAnswer, tag: str, sequences: Sequences) -> Course:
    """The effect in each slice by a tag of the exposure, p-values corrected over its values and the treatments."""
    by_value: dict[str, list[UnitMoments]] = {}
    for one in answer.arms:
        by_value.setdefault(one.group, []).append(one)
    sizes = {value: sum(one.units for one in moments) for value, moments in by_value.items()}
    shown = sorted(sizes, key=lambda value: (-sizes[value], value))[:MOST_VALUES]
    steps: list[Step] = []
    for value in shown:
        arms = arms_of(metric, experiment, cells_of(by_value[value])).by_key
        for key, names in _treatments(experiment, arms):
            baseline = arms[experiment.control]
            if experiment.decided_by == "always valid":
                estimate = sequences.asymptotic(arms[key], baseline, names, experiment.alpha)
            else:
                estimate = with_ends(fixed_horizon(arms[key], baseline, names, experiment.alpha, exact=False))
            steps.append(Step(label=value or NO_TAG, arm=key, estimate=estimate))
    p_values = corrected([step.estimate.p_value for step in steps], experiment.correction)
    steps = [structs.replace(step, p_value=p) for step, p in zip(steps, p_values, strict=True)]
    found = [step for step in steps if step.p_value is not None and step.p_value < experiment.alpha]
    counted = "slices" if len(experiment.variants) == 2 else "pairs of slice and arm"
    said = f"An effect shows in {len(found)} of {len(steps)} {counted}, corrected for their number."
    if experiment.decided_by != "always valid":
        said += " That holds for one look, at the planned end."
    if len(sizes) > len(shown):
        said += f" The {len(sizes) - len(shown):,} rarest values are left out."
    return Course(by=tag, steps=tuple(steps), sentence=said)


_TOO_FEW = "Too few days since exposure to say whether the effect changes with them."


def _treatments(experiment: Experiment, arms: Mapping[str, Arm]) -> list[tuple[str, tuple[str, str]]]:
    return [(key, (key, experiment.control)) for key in arms if key != experiment.control]


def _trend(arm: str, points: list[tuple[float, float, float]], alpha: float) -> str:
    """What a straight line through (age, effect, variance), weighted by precision, says of the effect.

    The slope's variance is 1 / sum(w (age - mean age)²) with w = 1 / variance (weighted least squares, variances known;
    Draper and Smith, "Applied regression analysis", 1998, 9.2), which takes days for independent. The same units act on
    all of them; where they stay as they are, the true variance is smaller, and the p-value too large rather than small.
    """
    if len(points) < FEWEST_AGES:
        return _TOO_FEW
    weights = [1 / variance for _, _, variance in points]
    whole = math.fsum(weights)
    age = math.fsum(w * at for w, (at, _, _) in zip(weights, points, strict=True)) / whole
    mean = math.fsum(w * effect for w, (_, effect, _) in zip(weights, points, strict=True)) / whole
    spread = math.fsum(w * (at - age) ** 2 for w, (at, _, _) in zip(weights, points, strict=True))
    slope = math.fsum(w * (at - age) * effect for w, (at, effect, _) in zip(weights, points, strict=True)) / spread
    p_value = 2 * normal_tail(abs(slope) * math.sqrt(spread))
    of = f" of {arm}" if arm else ""
    if not p_value < alpha:
        return f"No sign that the effect{of} changes with the days since exposure (p = {p_value:.2g})."
    first, last = (mean + slope * (points[end][0] - age) for end in (0, -1))
    if first * last < 0:
        how = "turns around"
    else:
        how = "fades" if abs(last) < abs(first) else "grows"
    return (
        f"The effect{of} {how} with the days since exposure (p = {p_value:.2g}): along a straight line it was "
        f"{first:+.3g} on the first day and is {last:+.3g} on day {points[-1][0] + 1:.0f}."
    )
