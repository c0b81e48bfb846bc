"""Guardrails: may the arm be worse than the control by more than the margin? Settled at the end, or at any time.

``state`` is a test of non-inferiority at one look. ``stopping`` is what may be looked at every minute, and stop an
experiment: two one-sided sequences, each at alpha over the number of guardrails and treatments. They are tightest long
before the planned end, as harm is to be seen in the first hours. It does not wait for the sample ratio or the minimum
of units: a treatment that harms is stopped, whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import structs

from barograph.core.metric import Metric
from barograph.experiments.analysis.arms import Arm
from barograph.experiments.analysis.methods import fixed_horizon
from barograph.experiments.analysis.sequential import Sequences
from barograph.experiments.comparison import GuardrailCheck, GuardrailState
from barograph.experiments.design import Experiment, Guardrail, direction_of
from barograph.stats.comparison import CLOSE_TO_ZERO
from barograph.stats.estimate import Alternative, Effect, Estimate

# Of the planned unit-days: the bounds are a tenth wider at the end than they could be, and in the first hours less than
# half as wide.
EARLY = 1 / 20

Bounds = tuple[float | None, float | None]


def check(
    arms: Mapping[str, Arm],
    sequences: Sequences,
    key: str,
    experiment: Experiment,
    metric: Metric,
    guardrail: Guardrail,
) -> GuardrailCheck:
    """One arm against a guardrail, by both tests."""
    higher = direction_of(experiment, metric) == "higher"
    bounds, reason = _stopping_bounds(arms, sequences, key, experiment, guardrail, higher)
    stopping: Literal["held", "breached", "open", "not valid"] = "not valid"
    if not reason:
        stopping = settled(bounds, guardrail.margin)
    return GuardrailCheck(
        arm=key, state=_at_the_end(arms, key, experiment, guardrail, higher), margin=guardrail.margin,
        relative=guardrail.relative, stopping=stopping, worsening_low=bounds[0], worsening_high=bounds[1],
        auto_stop=guardrail.auto_stop, reason=reason,
    )  # fmt: skip


def settled(bounds: Bounds, margin: float) -> GuardrailState:
    """What bounds on how much worse it got say of the margin."""
    low, high = bounds
    if high is not None and high < margin:
        return "held"
    return "breached" if low is not None and low > margin else "open"


def _at_the_end(
    arms: Mapping[str, Arm], key: str, experiment: Experiment, guardrail: Guardrail, higher: bool
) -> GuardrailState:
    """Non-inferiority: both one-sided tests at alpha are the two-sided interval at twice alpha (Schuirmann 1987)."""
    names = key, experiment.control
    estimate = fixed_horizon(arms[key], arms[experiment.control], names, min(0.5, 2 * experiment.alpha))
    effect = estimate.relative if guardrail.relative else estimate.absolute
    return settled(_worsening(effect, higher), guardrail.margin)


def _stopping_bounds(
    arms: Mapping[str, Arm],
    sequences: Sequences,
    key: str,
    experiment: Experiment,
    guardrail: Guardrail,
    higher: bool,
) -> tuple[Bounds, str]:
    """By how much it got worse, at least and at most, at any time; and why that is not known."""
    early = structs.replace(sequences, tuning=sequences.tuning.part(EARLY))
    risk = experiment.alpha / (len(experiment.guardrails) * (len(arms) - 1))
    both = guardrail.relative and early.cohorts is not None
    below, above = (
        _one_sided(arms, early, key, experiment.control, risk / 2 if both else risk, side, guardrail.relative)
        for side in _SIDES
    )  # fmt: skip
    low, high = _effect(below, guardrail), _effect(above, guardrail)
    reason = ""
    if low is None or high is None or low.low is None or high.high is None:
        reason = "; ".join(below.warnings) or "not valid here: there is no relative effect"
    elif guardrail.relative and CLOSE_TO_ZERO in below.warnings:
        reason = f"not valid here: {CLOSE_TO_ZERO}"
    else:
        return ((-high.high, -low.low) if higher else (low.low, high.high)), ""
    found = _relative_to_bounded(early, key, experiment.control, risk / 2, guardrail.margin, higher) if both else None
    return ((None, None), reason) if found is None else (found, "")


_SIDES: tuple[Alternative, Alternative] = ("greater", "less")


def _relative_to_bounded(
    sequences: Sequences, key: str, control: str, risk: float, margin: float, higher: bool
) -> Bounds | None:
    """What the sequence of values from 0 to 1 says of a relative margin: of the control's mean plus or less that share.

    The control may be without a single case of what is bad: no ratio is estimated, but the sign of a difference. With
    c the control's mean, at most 1, a difference d beyond the margin is one of d / c, so of d at least. A bound that is
    on the other side of the margin is None; None instead of both where there is no answer.
    """
    worst = 1 - margin if higher else 1 + margin  # times the control's mean
    if worst <= 0:
        return None
    scales = (1.0, worst) if higher else (1 / worst, 1.0)
    found = sequences.bounded(key, control, risk, scales).absolute
    if found is None or found.low is None or found.high is None:
        return None
    low, high = (-found.high, -found.low) if higher else (found.low * worst, found.high * worst)
    return (margin + low if low > 0 else None), (margin + high if high < 0 else None)


def _one_sided(
    arms: Mapping[str, Arm], sequences: Sequences, key: str, control: str, risk: float, side: Alternative,
    relative: bool,
) -> Estimate:  # fmt: skip
    """The sequence of bounded values knows no relative effect: where that is asked for, it takes none of the risk."""
    if relative:
        return sequences.asymptotic(arms[key], arms[control], (key, control), risk, side)
    return sequences.compare(arms, key, control, risk, side)


def _effect(estimate: Estimate, guardrail: Guardrail) -> Effect | None:
    return estimate.relative if guardrail.relative else estimate.absolute


def _worsening(effect: Effect | None, higher: bool) -> Bounds:
    if effect is None or effect.low is None or effect.high is None:
        return None, None
    return (-effect.high, -effect.low) if higher else (effect.low, effect.high)
