"""Which units a process has exposed: so that each is recorded once, and what it asks later carries its arms.

Used by the client's ``Experiments`` and by the framework of a program that owns its data directory.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from barograph_client.experiments.assignment import Decision
from barograph_client.experiments.definition import Definition
from barograph_client.identifiers import derived_id

MOST_IN_SLICE = 10**18  # as a number
LONGEST_SLICE = 256  # characters of an attribute that is a slice's name; what is longer tells nothing apart
REMEMBERED_UNITS = 100_000  # whose exposures a process remembers; a forgotten one repeats the same event id


class Exposures:
    """The exposed units of a process, the ones exposed first forgotten first. Safe to share between threads."""

    def __init__(self, most: int = REMEMBERED_UNITS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._arms: dict[tuple[str, str], dict[str, str]] = {}

    def __len__(self) -> int:
        return len(self._arms)

    def is_new(self, decision: Decision[object]) -> bool:
        """Whether this process has not exposed the unit to this arm yet; from now on it has."""
        unit, arm = (decision.unit_kind, decision.unit_id), str(decision.arm)
        if self._arms.get(unit, {}).get(decision.experiment) == arm:
            return False
        with self._lock:
            before = self._arms.get(unit, {})
            if before.get(decision.experiment) == arm:
                return False
            self._arms[unit] = {**before, decision.experiment: arm}  # a new one: others may be reading the old one
            if len(self._arms) > self._most:
                del self._arms[next(iter(self._arms))]
        return True

    def forget(self, decision: Decision[object]) -> None:
        """It was not recorded after all."""
        unit = decision.unit_kind, decision.unit_id
        with self._lock:
            left = {name: arm for name, arm in self._arms.get(unit, {}).items() if name != decision.experiment}
            if left:
                self._arms[unit] = left
            else:
                self._arms.pop(unit, None)

    def of(self, unit_kind: str, unit_id: str) -> dict[str, str]:
        """Experiment to arm, for a unit. Not to be changed."""
        return self._arms.get((unit_kind, unit_id), {})

    def after_fork(self) -> None:
        """In the child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()


def exposure_id(definition: Definition, decision: Decision[object]) -> str:
    """The event's id: made of project, experiment, unit and arm, so that a repeat anywhere is the same event.

    Raises UnicodeEncodeError for a unit's id with half a character in it.
    """
    parts = [definition.project, definition.key, decision.unit_id, str(decision.arm)]
    if decision.unit_kind != definition.unit_kind:
        parts.append(decision.unit_kind)
    return derived_id("\0".join(parts), "exposure")


def slice_tags(definition: Definition, attributes: Mapping[str, object]) -> dict[str, str]:
    """The tags of an exposure: those attributes by which the experiment is shown apart, as text.

    Texts, numbers, true and false; of anything else nothing can be said.
    """
    found: dict[str, str] = {}
    for name in definition.slices:
        value = attributes.get(name)
        match value:
            case bool():
                found[name] = "true" if value else "false"
            case int() if abs(value) < MOST_IN_SLICE:
                found[name] = str(int(value))
            case float():
                found[name] = str(float(value))
            case str() if 0 < len(value) <= LONGEST_SLICE:
                found[name] = value
    return found
