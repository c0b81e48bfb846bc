"""What programs must know of experiments to assign their arms: ``definition_of`` one, and the document of a project.

The assignment itself is the client's (``barograph_client.experiments``), so that a program which sends over the wire
and one that owns its data directory decide by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable

from barograph.experiments.design import Experiment
from barograph_client.experiments.definition import Allocation, Arm, Definition, Definitions, State

SERVED: tuple[State, ...] = ("running", "paused", "stopped")  # a stopped one still says what its control is


def definition_of(experiment: Experiment) -> Definition:
    """The part of an experiment that decides arms. A draft, or one that was put away, is like one that was stopped."""
    shared = {name: getattr(experiment, name) for name in Allocation.__struct_fields__}
    return Definition(
        arms=tuple(Arm(key=one.key, weight=one.weight, payload=one.payload) for one in experiment.variants),
        salt=experiment.salt,
        state=experiment.state if experiment.state in SERVED else "stopped",
        **shared,
    )


def definitions_of(project: str, experiments: Iterable[Experiment]) -> Definitions:
    """What the server tells the programs of a project."""
    served = tuple(definition_of(one) for one in experiments if one.state in SERVED)
    return Definitions(project=project, experiments=served)
