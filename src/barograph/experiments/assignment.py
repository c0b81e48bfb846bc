"""What programs must know of experiments to assign their arms: ``definition_of`` one, and the document of a project.

The assignment itself is the client's (``barograph_client.experiments``), so that a program which sends over the wire
and one that owns its data directory decide by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable

from barograph.experiments.design import Experiment
from barograph_client.experiments.definition import Arm, Definition, Definitions, State

SERVED: tuple[State, ...] = ("running", "paused", "stopped")  # a stopped one still says what its control is


def definition_of(experiment: Experiment) -> Definition:
    """The part of an experiment that decides arms. A draft, or one that was put away, is like one that was stopped."""
    e = experiment
    return Definition(
        key=e.key,
        arms=tuple(Arm(key=one.key, weight=one.weight, payload=one.payload) for one in e.variants),
        salt=e.salt,
        project=e.project,
        state=e.state if e.state in SERVED else "stopped",
        control=e.control,
        unit_kind=e.unit_kind,
        fallback_unit_kind=e.fallback_unit_kind,
        hash_version=e.hash_version,
        coverage=e.coverage,
        condition=e.condition,
        groups=e.groups,
        namespace=e.namespace,
        holdout=e.holdout,
        forced=e.forced,
        sticky=e.sticky,
        bucket_version=e.bucket_version,
        min_bucket_version=e.min_bucket_version,
    )


def definitions_of(project: str, experiments: Iterable[Experiment]) -> Definitions:
    """What the server tells the programs of a project."""
    served = tuple(definition_of(one) for one in experiments if one.state in SERVED)
    return Definitions(project=project, experiments=served)
