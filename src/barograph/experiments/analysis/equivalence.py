"""Is an arm as good as the control, within the margin that does not matter?

Takes the ``Arm``s and the ``Sequences`` of the primary metric, hands the estimate that says so to ``verdict``.
"""

from __future__ import annotations

from collections.abc import Mapping

from barograph.experiments.analysis.arms import Arm
from barograph.experiments.analysis.looks import Looks, held_at
from barograph.experiments.analysis.methods import adjusted, fixed_horizon
from barograph.experiments.analysis.sequential import Sequences
from barograph.experiments.design import Experiment
from barograph.stats.estimate import Estimate


def within_margin(
    experiment: Experiment, arms: Mapping[str, Arm], sequences: Sequences, names: tuple[str, str], looks: Looks | None
) -> Estimate | None:
    """The estimate by which the arm is equivalent to the control; None where it is not, or nothing is said of a margin.

    Both one-sided tests at alpha are the interval at twice alpha inside the margin (TOST; Schuirmann 1987), of the
    relative effect. An interval that is valid at any time is the one at alpha, as it is shown. By each method several
    treatments share alpha (Bonferroni). With planned ``looks`` it is told at the last one: until then a difference may
    show.
    """
    margin = experiment.equivalence_margin
    early = experiment.decided_by == "group sequential" and (looks is None or looks.number < experiment.looks)
    if margin is None or early:
        return None
    alpha = experiment.alpha / (len(arms) - 1)
    arm, baseline = (arms[name] for name in names)
    if experiment.decided_by == "always valid":
        found = sequences.compare(arms, *names, alpha)
    else:
        risk = min(0.5, 2 * alpha)
        if looks is not None:
            held = held_at(looks.boundary, arms, names[1], risk)
            return _within(next(one for one in held if one.arm == names[0]), margin)
        found = adjusted(arm, baseline, names, risk) or fixed_horizon(arm, baseline, names, risk)
    return _within(found, margin)


def _within(found: Estimate, margin: float) -> Estimate | None:
    effect = found.relative
    if effect is None or effect.low is None or effect.high is None:
        return None
    return found if -margin < effect.low and effect.high < margin else None
