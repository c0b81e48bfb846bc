"""The experiments of a project in memory, as assignment reads them, and how what another process changed gets there.

A table that is replaced whole, never changed in place. One small question to the control plane, a second apart, tells
whether any experiment has changed; only then are they read again. Used by ``register`` and ``ab_test_framework``.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec

from barograph.control.experiments import ExperimentRecord, ExperimentRepository
from barograph.experiments.assignment import definition_of
from barograph.experiments.design import Experiment
from barograph_client.clock import Clock
from barograph_client.errors import ControlError, InvalidExperiment
from barograph_client.experiments.assignment import Assigner

LOOK_SECONDS = 1.0  # between looks: the question takes a tenth of a millisecond, an assignment microseconds

Table = Mapping[str, tuple[Experiment, Assigner]]


class KnownExperiments:
    """What is known of a project's experiments, by key, oldest first. Safe to share between threads.

    One whose definition cannot be read, or nobody can be assigned by, is not known: it assigns nobody, and keeps no
    other from being what it is.
    """

    def __init__(self, repository: ExperimentRepository, clock: Clock, project: str) -> None:
        self._repository = repository
        self._clock = clock
        self._project = project
        self._looking = threading.Lock()
        self._number: int | None = None  # the repository's when the table was read
        self._due = -math.inf  # when the next look is, by the monotonic clock
        self._table: Table = {}

    def table(self) -> Table:
        """The table, at most about ``LOOK_SECONDS`` behind other processes.

        Asked for on the way of every assignment: one caller looks, the others go on with what is known; and while the
        control plane does not answer, so do all. Raises nothing.
        """
        if self._clock.monotonic() >= self._due and self._looking.acquire(blocking=False):
            try:
                with suppress(ControlError):
                    self._look()
            finally:
                self._looking.release()
        return self._table

    def refresh(self) -> None:
        """Look now. Raises ControlError."""
        with self._looking:  # one after the other, so that an older reading never replaces a newer one
            self._look()

    def _look(self) -> None:
        try:
            number = self._repository.changed()  # before the reading, which then has all changes up to it
            if number != self._number:
                self._table = {one.key: (one, assigner) for one, assigner in self._readable()}
                self._number = number
        finally:
            self._due = self._clock.monotonic() + LOOK_SECONDS

    def _readable(self) -> Iterator[tuple[Experiment, Assigner]]:
        for record in self._repository.list(self._project):
            with suppress(ControlError, InvalidExperiment):
                experiment = experiment_of(record)
                yield experiment, Assigner(definition_of(experiment))


def experiment_of(record: ExperimentRecord) -> Experiment:
    """The experiment that is kept so. Raises ControlError for one that cannot be read."""
    try:
        return msgspec.convert({**record.definition, "state": record.state}, Experiment)
    except msgspec.ValidationError as error:
        raise ControlError(
            f"the definition of experiment {record.key} cannot be read: {error}",
            hint="It was written by another version, or by hand.",
        ) from None
