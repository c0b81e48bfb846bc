"""New weights for the arms of a running experiment, by how likely each is the best (Thompson sampling).

Asked by ``ab_test_framework.reallocate``; takes what the units of the primary metric came to. Periods between changes
of the weights are taken apart and combined by ``analysis.arms``, so that an arm that had more units on good days is not
taken for a good arm.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs

from barograph.core.metric import Metric
from barograph.core.units import UnitAnswer
from barograph.experiments.analysis.arms import Arm, arms_of, cells_of, compared_keys
from barograph.experiments.design import Experiment, direction_of
from barograph.experiments.register import weights_of
from barograph.stats.bandit import NormalBelief, chance_best_beta, chance_best_normal, thompson_weights
from barograph.stats.bayes import BetaPosterior
from barograph_client.errors import InvalidExperiment

LEAST_EXPLORATION = 0.01  # an arm without units is not compared any more, and could never come back
PLACES = 10_000  # weights are multiples of a ten-thousandth, as buckets are


class Reallocation(Struct, frozen=True, kw_only=True):
    """An experiment with its new weights; each arm's weight before, and its chance to be the best, by key.

    An arm that has no weight has no chance among ``chances``, and gets none.
    """

    experiment: Experiment
    before: dict[str, float]
    chances: dict[str, float]


def reallocated(experiment: Experiment, metric: Metric, answer: UnitAnswer, exploration: float) -> Reallocation:
    """The weights for the next period.

    Sources as for ``stats.bandit``: the chances are exact for shares of units in one period, from uniform priors, and
    by the normal distribution else. Raises InvalidExperiment for what ``check_adaptive`` does not allow, and while an
    arm has fewer than ``minimum_units`` units or units that are all alike.
    """
    check_adaptive(experiment, exploration)
    arms = arms_of(metric, experiment, cells_of(answer.arms)).by_key
    chances = _chances(experiment, metric, arms)
    weights = _rounded(thompson_weights(list(chances.values()), exploration=exploration))
    new = dict(zip(chances, weights, strict=True))
    variants = tuple(structs.replace(one, weight=new.get(one.key, 0.0)) for one in experiment.variants)
    return Reallocation(
        experiment=structs.replace(experiment, variants=variants), before=weights_of(experiment.variants),
        chances=chances,
    )  # fmt: skip


def check_adaptive(experiment: Experiment, exploration: float) -> None:
    """Whether its weights may follow the data, and no arm get less than that share. Raises InvalidExperiment."""
    if experiment.kind != "arms":
        raise InvalidExperiment(
            "rankers that are interleaved have no weights",
            hint="Each list is made of all of them, so there is nothing to share out.",
            value=experiment.kind,
        )
    if not experiment.sticky:
        raise InvalidExperiment(
            f"it is not sticky: {experiment.unit_kind}s would change their arms with the weights",
            hint="Stop it and start another one, under another key, that is sticky from the beginning.",
        )
    if experiment.state != "running":
        is_ = "a draft" if experiment.state == "draft" else experiment.state
        raise InvalidExperiment(
            f"the experiment is {is_}: no {experiment.unit_kind} comes who could be shared out",
            hint="Start it first." if experiment.state in ("draft", "paused") else "It keeps its weights for good.",
        )
    most = 1 / len(compared_keys(experiment))
    if not LEAST_EXPLORATION <= exploration <= most:
        raise InvalidExperiment(
            "exploration is no share that each arm can have",
            hint=f"Choose one from {LEAST_EXPLORATION} to {most:.3g}.",
            value=exploration,
            field="exploration",
        )


def _chances(experiment: Experiment, metric: Metric, arms: Mapping[str, Arm]) -> dict[str, float]:
    for key, arm in arms.items():
        if arm.units < experiment.minimum_units:
            raise InvalidExperiment(
                f"{key} has {arm.units:,} {experiment.unit_kind}s with a measurement, too few to learn from",
                hint=f"Wait until each arm has {experiment.minimum_units:,}, its minimum_units.",
            )
    higher = direction_of(experiment, metric) == "higher"
    if all(arm.successes is not None for arm in arms.values()):
        posteriors = [BetaPosterior.of(arm.successes or 0, arm.units) for arm in arms.values()]
        return dict(zip(arms, chance_best_beta(posteriors, higher_is_better=higher), strict=True))
    still = next((key for key, arm in arms.items() if not arm.values.varies), None)
    if still is not None:
        raise InvalidExperiment(
            f"every {experiment.unit_kind} of {still} has the same {metric.name}: nothing can be learnt",
            hint=f"Wait until they differ, or find out what records {metric.name}.",
        )
    beliefs = [NormalBelief.of(arm.values) for arm in arms.values()]
    return dict(zip(arms, chance_best_normal(beliefs, higher_is_better=higher), strict=True))


def _rounded(weights: tuple[float, ...]) -> list[float]:
    """The weights in ten-thousandths; what rounding leaves is the largest one's."""
    parts = [round(weight * PLACES) for weight in weights]
    parts[parts.index(max(parts))] += PLACES - sum(parts)
    return [part / PLACES for part in parts]
