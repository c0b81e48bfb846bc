"""The experiments of a project, from draft to archive: what is kept of them, who changed what, and what may follow.

Keeps definitions in the control plane's repository, each change with its entry in the audit log; what assignment reads
is ``known`` in memory. ``ab_test_framework`` builds on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec
from msgspec import structs

from barograph.control.audit import AuditEntry
from barograph.control.experiments import Check, ExperimentRecord, ExperimentRepository
from barograph.control.tables import JsonObject
from barograph.core.metric import Catalogue
from barograph.experiments.assignment import definitions_of
from barograph.experiments.assignment_checks import check_apart
from barograph.experiments.design import (
    LONGEST_TEXT,
    Experiment,
    Reweighting,
    State,
    Variant,
    check_revision,
    moved,
    validated,
)
from barograph.experiments.known import KnownExperiments, experiment_of
from barograph_client.clock import Clock
from barograph_client.errors import InvalidExperiment, UnknownExperiment
from barograph_client.experiments.definition import Definitions

DEFAULT_ACTOR = "python"
MOST_RUNNING = 200  # experiments of a project: each costs every unit's assignment about a microsecond
MOST_REWEIGHTINGS = 100  # of an experiment: each begins a period of its own, which is analysed apart
_INSTANT = timedelta(microseconds=1)
_KEPT_APART = ("state",)  # a column of its own in the control plane
_LIFECYCLE = (
    "state", "started_at", "paused_at", "pauses", "stopped_at", "stop_reason", "breached", "reweighted",
)  # fmt: skip


class ExperimentRegister:
    """Define, start, pause, stop, archive. Safe to share between threads; all methods may raise ControlError.

    Two who change the same experiment at once are told apart: the second one gets ChangedMeanwhile.
    """

    def __init__(
        self, repository: ExperimentRepository, clock: Clock, catalogue: Catalogue, project: str = "default"
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._catalogue = catalogue
        self._project = project
        self._known = KnownExperiments(repository, clock, project)
        self.refresh()

    @property
    def project(self) -> str:
        return self._project

    def create(self, experiment: Experiment, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Keep a new experiment as a draft. Raises InvalidExperiment when it does not hold together."""
        usual = {one.name: one.default for one in structs.fields(Experiment) if one.name in _LIFECYCLE}
        checked = validated(structs.replace(experiment, project=self._project, **usual), self._catalogue)
        self._repository.create(self._project, checked.key, _definition(checked), "draft", actor=actor)
        self.refresh()
        return checked

    def revise(self, experiment: Experiment, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Change a definition: all of it while it is a draft, afterwards nothing that would move a unit or the goal.

        Coverage may be raised while it runs, and where it is sticky the weights may be changed; of guardrails only
        whether they stop it. What changes nothing is no step in the history. Raises InvalidExperiment for what is
        frozen.
        """
        record, before = self._load(experiment.key)
        return self._revised(record, before, experiment, "revise", actor)

    def start(self, key: str, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Begin, or go on after a pause: from now on units are assigned. Raises InvalidExperiment for too many."""
        return self._move(*self._load(key), "running", "start", actor)

    def pause(self, key: str, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Assign nobody until it is started again; who was in an arm comes back to it."""
        return self._move(*self._load(key), "paused", "pause", actor)

    def stop(self, key: str, *, reason: str = "", actor: str = DEFAULT_ACTOR) -> Experiment:
        """End it for good; it can still be compared. ``reason`` is kept with it, as its ``stop_reason``."""
        if len(reason) > LONGEST_TEXT:
            raise InvalidExperiment(f"the reason is longer than {LONGEST_TEXT} characters", value=reason)
        record, before = self._load(key)
        return self._stop(record, before, reason, actor)

    def archive(self, key: str, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Put it away; its key stays taken, because exposures carry it."""
        return self._move(*self._load(key), "archived", "archive", actor)

    def get(self, key: str) -> Experiment:
        """The experiment. Raises InvalidExperiment when there is none of that key."""
        return self._load(key)[1]

    def list(self, *states: State) -> list[Experiment]:
        """The project's experiments, oldest first: all, or those in one of the states."""
        return [experiment_of(record) for record in self._repository.list(self._project, states or None)]

    def known(self) -> tuple[Experiment, ...]:
        """The project's experiments as assignment knows them, from memory: about a second behind other processes."""
        return tuple(experiment for experiment, _ in self._known.table().values())

    def history(self, key: str, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """Who changed the experiment and how, newest first: all of it, or the last ``limit`` changes."""
        return tuple(self._repository.history(self._project, key, limit))

    def refresh(self) -> None:
        """Heed now what another process has changed, and not only within a second."""
        self._known.refresh()

    def definitions(self) -> Definitions:
        """What programs must know to assign arms themselves: of every experiment that runs, rests or was stopped."""
        self.refresh()
        return definitions_of(self._project, self.known())

    # -- inside -------------------------------------------------------------------------------------------------

    def _load(self, key: str) -> tuple[ExperimentRecord, Experiment]:
        record = self._repository.get(self._project, key)
        if record is None:
            raise unknown(key, self._known.table())
        return record, experiment_of(record)

    def _move(self, record: ExperimentRecord, before: Experiment, state: State, action: str, actor: str) -> Experiment:
        after = moved(before, state, self._clock.now())

        def check(kept: list[ExperimentRecord]) -> None:
            _check_room(after.key, kept)
            check_apart(after, [experiment_of(one) for one in kept if one.state in ("running", "paused")])

        self._save(record, after, action, actor, {"from": before.state}, check if state == "running" else None)
        return after

    def _stop(
        self, record: ExperimentRecord, before: Experiment, reason: str, actor: str, breached: tuple[str, ...] = ()
    ) -> Experiment:
        """Stop the experiment as it was read, for guardrails that are ``breached`` or for none."""
        after = moved(before, "stopped", self._clock.now())
        after = structs.replace(after, stop_reason=reason, breached=breached)
        self._save(record, after, "stop", actor, {"from": before.state, "reason": reason})
        return after

    def _revised(
        self, record: ExperimentRecord, before: Experiment, wanted: Experiment, action: str, actor: str,
        **detail: object,
    ) -> Experiment:  # fmt: skip
        lifecycle = {name: getattr(before, name) for name in _LIFECYCLE}
        after = validated(structs.replace(wanted, project=self._project, **lifecycle), self._catalogue)
        if not wanted.salt:
            after = structs.replace(after, salt=before.salt)
        check_revision(before, after)
        if before.state != "draft" and before.variants != after.variants:
            after = structs.replace(after, reweighted=(*before.reweighted, self._reweighting(before)))
        old, new = _definition(before), _definition(after)
        written = [name for name in new if name not in _LIFECYCLE]
        changed = {name: {"from": old.get(name), "to": new[name]} for name in written if old.get(name) != new[name]}
        if not changed and not detail:
            return before
        self._save(record, after, action, actor, {"changed": changed, **detail})
        return after

    def _reweighting(self, before: Experiment) -> Reweighting:
        """The weights up to now. Changes are in their order, whatever a clock says that was set back between two."""
        if len(before.reweighted) >= MOST_REWEIGHTINGS:
            raise InvalidExperiment(
                f"the weights were changed {MOST_REWEIGHTINGS} times, which is the most that can be analysed",
                hint="Leave them as they are, or stop it and start another one, under another key.",
            )
        now = self._clock.now()
        at = max(now, before.reweighted[-1].at + _INSTANT) if before.reweighted else now
        return Reweighting(at=at, before=weights_of(before.variants))

    def _save(
        self, record: ExperimentRecord, experiment: Experiment, action: str, actor: str, detail: JsonObject,
        check: Check | None = None,
    ) -> None:  # fmt: skip
        changed = structs.replace(record, definition=_definition(experiment), state=experiment.state)
        self._repository.save(changed, actor=actor, action=action, detail=detail, check=check)
        self.refresh()


def _check_room(key: str, kept: Iterable[ExperimentRecord]) -> None:
    running = [one.key for one in kept if one.state == "running" and one.key != key]
    if len(running) >= MOST_RUNNING:
        raise InvalidExperiment(
            f"{MOST_RUNNING} experiments run in this project, which is the most that may",
            hint=f"Stop or pause one first, such as {running[0]}.",
        )


def weights_of(variants: tuple[Variant, ...]) -> dict[str, float]:
    """Each arm's weight."""
    return {arm.key: arm.weight for arm in variants}


def unknown(key: str, known: Iterable[str]) -> UnknownExperiment:
    """The error for a key that no experiment has."""
    names = ", ".join(list(known)[:5]) or "none yet"
    return UnknownExperiment("there is no such experiment", hint=f"There are: {names}.", value=key)


def _definition(experiment: Experiment) -> JsonObject:
    built: JsonObject = msgspec.to_builtins(experiment)
    return {name: value for name, value in built.items() if name not in _KEPT_APART}
