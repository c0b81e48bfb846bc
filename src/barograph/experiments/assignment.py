"""What programs must know of experiments to assign their arms: ``definition_of`` one, and the document of a project.

The assignment itself is the client's (``barograph_client.experiments``), so that a program which sends over the wire
and one that owns its data directory decide by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import structs

from barograph.experiments.design import Experiment
from barograph_client.experiments.assignment import Assigner, Decision, Payload
from barograph_client.experiments.definition import Allocation, Arm, Definition, Definitions, State
from barograph_client.experiments.sticky import StickyStore

SERVED: tuple[State, ...] = ("running", "paused", "stopped")  # a stopped one still says what its control is


def definition_of(experiment: Experiment) -> Definition:
    """The part of an experiment that decides arms. A draft, or one that was put away, is like one that was stopped."""
    shared = {name: getattr(experiment, name) for name in Allocation.__struct_fields__}
    return Definition(
        arms=tuple(Arm(key=one.key, weight=one.weight, payload=one.payload) for one in experiment.variants),
        salt=experiment.salt,
        slices=experiment.slices,
        state=experiment.state if experiment.state in SERVED else "stopped",
        **shared,
    )


def definitions_of(project: str, experiments: Iterable[Experiment]) -> Definitions:
    """What the server tells the programs of a project."""
    served = tuple(definition_of(one) for one in experiments if one.state in SERVED)
    return Definitions(project=project, experiments=served)


def previewed(
    experiment: Experiment,
    unit_ids: Mapping[str, str],
    attributes: Mapping[str, object],
    sticky: StickyStore,
    assigner: Callable[[Definition], Assigner] = Assigner,
) -> Decision[Payload]:
    """What it is for a unit while it runs, also of one that does not run; ``sticky`` is read and not written.

    Raises InvalidExperiment for an id that cannot be used, and what the ``assigner`` raises.
    """
    running = structs.replace(definition_of(experiment), state="running")
    return assigner(running).decide(unit_ids, attributes, _Unwritten(sticky))


class _Unwritten:
    """A sticky store that is only looked at."""

    def __init__(self, store: StickyStore) -> None:
        self._store = store

    def of(self, unit_kind: str, unit_id: str) -> Mapping[str, str]:
        return self._store.of(unit_kind, unit_id)

    def keep(self, unit_kind: str, unit_id: str, experiment: str, arm: str) -> str:
        return arm

    def close(self) -> None:
        """Whoever owns the store closes it."""
