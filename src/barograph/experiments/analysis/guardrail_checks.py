"""Guardrails: may the arm be worse than the control by more than the margin? Settled at the end, or at any time.

``state`` is a test of non-inferiority at one look. ``stopping`` is what may be looked at every minute, and stop an
experiment: two one-sided sequences, each at alpha over the number of guardrails and treatments. They are tightest long
before the planned end, as harm is to be seen in the first hours. Where they refuse, what lies between 0 and 1 (rates,
scores) is tested at the last of the ``checkpoints``, which needs neither a hundred units nor that they differ; each of
the two ways has half of the risk. Neither waits for the sample ratio or the minimum of units: a treatment that harms is
stopped, whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Literal

from msgspec import structs

from barograph.core.metric import Metric
from barograph.experiments.analysis.arms import Arm
from barograph.experiments.analysis.checkpoints import Checkpoint
from barograph.experiments.analysis.methods import fixed_horizon
from barograph.experiments.analysis.sequential import Sequences
from barograph.experiments.comparison import GuardrailCheck, GuardrailState
from barograph.experiments.design import Experiment, Guardrail, direction_of
from barograph.stats.chernoff import difference_bounds, ratio_bounds
from barograph.stats.comparison import CLOSE_TO_ZERO
from barograph.stats.estimate import Alternative, Effect, Estimate
from barograph.stats.summary import Summary

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
    checkpoint: Checkpoint | None,
) -> GuardrailCheck:
    """One arm against a guardrail, by both tests; the checkpoint has an answer for a metric between 0 and 1."""
    higher = direction_of(experiment, metric) == "higher"
    bounds, reason = _stopping_bounds(arms, sequences, key, experiment, guardrail, higher, checkpoint)
    stopping: Literal["held", "breached", "open", "not yet"] = "not yet"
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
    checkpoint: Checkpoint | None,
) -> tuple[Bounds, str]:
    """By how much it got worse, at least and at most, at any time; and why that is not known."""
    early = structs.replace(sequences, tuning=sequences.tuning.part(EARLY))
    risk = experiment.alpha / (len(experiment.guardrails) * (len(arms) - 1)) / (2 if early.shares else 1)
    names = key, experiment.control
    below, above = (early.asymptotic(arms[key], arms[experiment.control], names, risk, side) for side in _SIDES)
    low, high = _effect(below, guardrail), _effect(above, guardrail)
    if low is None or high is None or low.low is None or high.high is None:
        reason = "; ".join(below.warnings) or "not valid here: there is no relative effect"
    elif guardrail.relative and CLOSE_TO_ZERO in below.warnings:
        reason = f"not valid here: {CLOSE_TO_ZERO}"
    else:
        return ((-high.high, -low.low) if higher else (low.low, high.high)), ""
    if early.shares and checkpoint is not None:
        pairs = checkpoint.pairs(guardrail.metric, *names)
        if any(min(one.n, other.n) > 0 for one, other in pairs):
            return _at_checkpoint(pairs, risk * checkpoint.share, guardrail, higher), ""
    return (None, None), reason


_SIDES: tuple[Alternative, Alternative] = ("greater", "less")


def _at_checkpoint(pairs: Sequence[tuple[Summary, Summary]], risk: float, guardrail: Guardrail, higher: bool) -> Bounds:
    """The bounds at one time; there is none on the side on which a ratio has no end."""
    if guardrail.relative:
        low, high = (one - 1 for one in ratio_bounds(pairs, alpha=risk))
    else:
        low, high = difference_bounds(pairs, alpha=risk)
    low, high = (-high, -low) if higher else (low, high)
    return low if isfinite(low) else None, high if isfinite(high) else None


def _effect(estimate: Estimate, guardrail: Guardrail) -> Effect | None:
    return estimate.relative if guardrail.relative else estimate.absolute


def _worsening(effect: Effect | None, higher: bool) -> Bounds:
    if effect is None or effect.low is None or effect.high is None:
        return None, None
    return (-effect.high, -effect.low) if higher else (effect.low, effect.high)
