"""What an experiment is for a unit, as people and programs are told it over HTTP and on the command line.

Reads the framework; the client decides for itself and needs none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.design import Experiment, State
from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.assignment import Decision, Payload, Reason


class Assignment(Struct, frozen=True, kw_only=True):
    """The arm of a unit, or none, and why; ``payload`` is the arm's, or outside of the experiment the control's.

    ``in_effect`` says that programs get the same now: where the experiment does not run, it is what they would get if
    it did. ``exposed`` says that the unit is counted from now on.
    """

    experiment: str
    state: State
    unit_kind: str
    unit_id: str
    arm: str | None
    reason: Reason
    payload: dict[str, Any]
    in_effect: bool
    exposed: bool = False


def preview(
    framework: ABTestFramework, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object]
) -> Assignment:
    """What the experiment is, or would be, for the unit; nothing is kept or recorded.

    Raises UnknownExperiment, and InvalidExperiment for ids that cannot be used.
    """
    experiment = framework.get(key)
    decision = framework.preview(key, unit_ids, attributes)
    in_effect = experiment.state == "running" or decision.reason == "forced"
    return _told(experiment, decision, in_effect=in_effect, exposed=False)


def expose(
    framework: ABTestFramework, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object]
) -> Assignment:
    """What the experiment is for the unit, which is exposed to it. Raises as ``preview``, and what recording raises."""
    experiment = framework.get(key)
    decision = framework.decide_and_expose(key, unit_ids, attributes)
    return _told(experiment, decision, in_effect=True, exposed=decision.counted)


def configuration(experiment: Experiment, arm: str | None) -> dict[str, Any]:
    """The payload of an arm, or of the control where it is none of its own, as it was defined."""
    payloads = {variant.key: variant.payload for variant in experiment.variants}
    return payloads.get(arm or "", payloads[experiment.control])


def _told(experiment: Experiment, decision: Decision[Payload], *, in_effect: bool, exposed: bool) -> Assignment:
    if decision.reason == "no unit":
        raise InvalidExperiment(
            f"there is no id of a {experiment.unit_kind}, by which arms are given", field=experiment.unit_kind,
            hint=f"Name the {experiment.unit_kind}.",
        )  # fmt: skip
    return Assignment(
        experiment=experiment.key,
        state=experiment.state,
        unit_kind=decision.unit_kind,
        unit_id=decision.unit_id,
        arm=decision.arm,
        reason=decision.reason,
        payload=configuration(experiment, decision.arm),
        in_effect=in_effect,
        exposed=exposed,
    )
