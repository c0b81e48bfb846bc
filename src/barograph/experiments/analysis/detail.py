"""What costs further questions, put together: courses by age and by tag, the arms' spread, second opinions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from barograph.core.metric import Metric
from barograph.core.units import UnitAnswer, UnitValues
from barograph.experiments.analysis.arms import arms_of, cells_of, compared_keys
from barograph.experiments.analysis.courses import course_by_age, course_by_tag
from barograph.experiments.analysis.second_opinions import ArmValues, by_regression, second_opinions, spread_of
from barograph.experiments.analysis.sequential import Sequences
from barograph.experiments.comparison import Details
from barograph.experiments.design import Experiment

ONLY_ONE_LOOK = "second opinions hold at the planned end, and decide nothing"


def detail(
    experiment: Experiment,
    metric: Metric,
    whole: UnitAnswer,
    by_age: UnitAnswer,
    by_tag: Mapping[str, UnitAnswer],
    values: Sequence[UnitValues],
) -> Details:
    """The details of the primary metric. ``whole`` is the answer that it was compared by; ``by_tag`` has one for each
    of the experiment's slices.

    After a change of weights there are no second opinions: ranks do not know of periods.
    """
    keys = compared_keys(experiment)
    arms = arms_of(metric, experiment, cells_of(whole.arms)).by_key
    found = {one.arm: ArmValues.of(metric, one) for one in values if one.arm in keys}
    baseline = found.get(experiment.control)
    opinions = [
        opinion
        for key in keys
        if key != experiment.control and key in found and baseline is not None and not experiment.reweighted
        for opinion in (
            *second_opinions(metric, found[key], baseline, experiment.alpha),
            *by_regression(arms[key], arms[experiment.control], (key, experiment.control), experiment.alpha),
        )
    ]
    sampled = any(len(one.numerators) < one.units for one in values)
    warnings = [ONLY_ONE_LOOK] if opinions else []
    if experiment.reweighted:
        warnings.append("the weights were changed: ranks and bootstrap cannot keep periods apart, and are left out")
    if sampled:
        warnings.append("the spread and the second opinions are of a sample of the units")
    courses = [course_by_age(experiment, metric, by_age)]
    courses += [
        course_by_tag(experiment, metric, answer, tag, Sequences.of(experiment, metric, answer))
        for tag, answer in by_tag.items()
    ]
    return Details(
        experiment=experiment.key, courses=tuple(courses), second_opinions=tuple(opinions), sampled=sampled,
        arms=tuple(spread_of(found[key]) for key in keys if key in found), warnings=tuple(warnings),
    )  # fmt: skip
