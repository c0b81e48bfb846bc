"""What of an interleaving experiment's definition says nothing, or would say something else than was meant.

Asked by ``design`` when a definition is made or changed. Its arms are rankers, and each unit sees all of them: so
nothing can be told apart by arm but whose passages are preferred.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import structs

from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.definition import INTERLEAVED
from barograph_client.experiments.outcome import preference_of

if TYPE_CHECKING:
    from barograph.experiments.design import Experiment

LONGEST_NAME = 128  # characters of a score's name
WEIGHT_TOLERANCE = 1e-9
_OF_ARMS = {
    "sticky": False, "secondary_metrics": (), "guardrails": (), "caps": {}, "pre_days": 0, "slices": (),
    "equivalence_margin": None,
}  # fmt: skip


def preference_metric(experiment: Experiment, arm: str) -> str:
    """The metric by which an arm is compared with the control: the mean of the preferences that were recorded."""
    return f"score.{preference_of(experiment.key, arm)}"


def preference_metrics(experiment: Experiment) -> tuple[str, ...]:
    """The metric of each arm but the control, in their order: the first is the primary one."""
    control = experiment.control or experiment.variants[0].key
    return tuple(preference_metric(experiment, one.key) for one in experiment.variants if one.key != control)


def with_preference(experiment: Experiment) -> Experiment:
    """The experiment with its metric filled in: the preference for the first arm that is not the control.

    Experiments of the other kind are left as they are. Raises InvalidExperiment, with a hint, for what only those have.
    """
    if experiment.kind != "interleaving" or len(experiment.variants) < 2:
        return experiment
    arms = [variant.key for variant in experiment.variants]
    metric = preference_metrics(experiment)[0]
    if experiment.primary_metric not in ("", metric) or experiment.better == "lower":
        raise InvalidExperiment(
            "rankers that are interleaved are compared by what readers prefer",
            hint="Leave primary_metric and better out.", value=experiment.primary_metric, field="primary_metric",
        )  # fmt: skip
    for name, usual in _OF_ARMS.items():
        if getattr(experiment, name) != usual:
            raise InvalidExperiment(
                f"{name} is for arms that units are divided among, and here each of them sees all rankers",
                hint="Leave it out.", value=getattr(experiment, name), field=name,
            )  # fmt: skip
    if experiment.method == "group sequential":
        raise InvalidExperiment(
            "interleaved rankers are compared at the planned end or at any time, and not at planned looks",
            hint="Leave method out, or take \"always valid\".", value=experiment.method, field="method",
        )  # fmt: skip
    if any(
        not math.isclose(variant.weight, 1 / len(arms), abs_tol=WEIGHT_TOLERANCE) for variant in experiment.variants
    ):
        raise InvalidExperiment(
            "rankers have equal weights", hint="equal_variants('bm25', 'dense') makes them.", field="variants"
        )
    if INTERLEAVED in arms:
        raise InvalidExperiment(
            "no ranker can be called so", hint="All of them together are.", value=INTERLEAVED, field="variants"
        )
    longest = max((preference_of(experiment.key, arm) for arm in arms), key=len)
    if len(longest) > LONGEST_NAME:
        raise InvalidExperiment(
            f"the name of the score that tells a preference has more than {LONGEST_NAME} characters",
            hint="Give the experiment and its arms shorter keys.", value=longest, field="key",
        )  # fmt: skip
    return structs.replace(experiment, primary_metric=metric)
