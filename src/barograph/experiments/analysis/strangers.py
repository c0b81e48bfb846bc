"""Units that were exposed to arms that the definition does not have: an exposure sent by hand, or by another version.

They are in no arm that is compared. A few are left out and told; many mean that something assigns by other rules.
Asked by the gates of arms and of interleaved lists.
"""

from __future__ import annotations

from msgspec import Struct

from barograph.core.units import UnitAnswer
from barograph.experiments.design import Experiment
from barograph_client.errors import shorten
from barograph_client.experiments.definition import INTERLEAVED

MOST_LEFT_OUT = 0.01  # above this share of units, leaving them out is itself a bias
MOST_NAMED = 3


class Strangers(Struct, frozen=True, kw_only=True):
    """How many units of ``everyone`` they are, and the arms they were exposed to."""

    units: int
    everyone: int
    arms: tuple[str, ...]

    @classmethod
    def of(cls, experiment: Experiment, answer: UnitAnswer) -> Strangers:
        """Of the units of an experiment; those that were seen in two arms are among everyone, and not among them."""
        known = exposed_arms(experiment)
        found = [one for one in answer.arms if one.arm not in known and one.units]
        return cls(
            units=sum(one.units for one in found), everyone=units_in_all(answer),
            arms=tuple(sorted({shorten(one.arm, 40) for one in found})[:MOST_NAMED]),
        )  # fmt: skip

    @property
    def many(self) -> bool:
        """Whether they are too many to be left out."""
        return self.units > MOST_LEFT_OUT * self.everyone


def exposed_arms(experiment: Experiment) -> frozenset[str]:
    """The arms that exposures of the experiment may name."""
    return frozenset(
        [INTERLEAVED] if experiment.kind == "interleaving" else [variant.key for variant in experiment.variants]
    )


def units_in_all(answer: UnitAnswer) -> int:
    """All units that were exposed, also those in two arms or in one that is not known."""
    return answer.contaminated + sum(one.units for one in answer.arms)


def seen_in_two(answer: UnitAnswer) -> bool:
    """Whether too many units were seen in two arms to be left out."""
    return answer.contaminated > MOST_LEFT_OUT * units_in_all(answer)
