"""``ABTestFramework``: experiments from definition to verdict.

Keeps definitions in the control plane's repository, assigns arms by hash, records exposures as events through the
callable it was given, and asks a ``UnitReader`` for the per-unit moments that ``analysis`` compares. Safe to share
between threads: assignment reads a table that is replaced whole, never changed in place.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

import msgspec
from msgspec import structs

from barograph.control.audit import AuditEntry
from barograph.control.experiments import ExperimentRecord, ExperimentRepository
from barograph.control.tables import JsonObject
from barograph.core.event import Exposure
from barograph.core.metric import Catalogue
from barograph.core.query import Window
from barograph.core.reader import UnitReader
from barograph.core.units import UnitQuery
from barograph.experiments.analysis import analyse
from barograph.experiments.assignment import definition_of, definitions_of, previewed
from barograph.experiments.assignment_checks import check_apart
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, Reweighting, State, check_revision, moved, validated
from barograph_client.clock import Clock
from barograph_client.errors import ControlError, InvalidExperiment, UnknownExperiment
from barograph_client.experiments.assignment import Assigner, Decision, Payload, unusable
from barograph_client.experiments.definition import Definitions
from barograph_client.experiments.exposures import Exposures, exposure_id
from barograph_client.experiments.sticky import MemoryStickyStore, StickyStore

DEFAULT_ACTOR = "python"
_INSTANT = timedelta(microseconds=1)
_KEPT_APART = ("state",)  # a column of its own in the control plane


class ABTestFramework:
    """Define, start, assign, expose, compare.

    ``record_exposure`` takes an ``Exposure`` event and returns once it is on its way; what it raises reaches the
    caller of ``expose``. ``sticky`` keeps the arms of sticky experiments; in memory, if none is given. All methods
    but ``decide``, ``assign``, ``expose`` and ``variants_for`` may raise ControlError.
    """

    def __init__(
        self,
        reader: UnitReader,
        repository: ExperimentRepository,
        record_exposure: Callable[[Exposure], object],
        clock: Clock,
        catalogue: Catalogue,
        project: str = "default",
        *,
        sticky: StickyStore | None = None,
        exposures: Exposures | None = None,
    ) -> None:
        self._reader = reader
        self._repository = repository
        self._record_exposure = record_exposure
        self._clock = clock
        self._catalogue = catalogue
        self._project = project
        self._refreshing = threading.Lock()
        self._sticky = sticky if sticky is not None else MemoryStickyStore()
        self._exposed = exposures if exposures is not None else Exposures()
        self._known: dict[str, tuple[Experiment, Assigner]] = {}
        self.refresh()

    def through(self, reader: UnitReader, clock: Clock) -> ABTestFramework:
        """The same experiments, compared through another reader and as of another clock: what a single page asks."""
        other = copy.copy(self)
        other._reader, other._clock = reader, clock
        return other

    # -- definition and life ------------------------------------------------------------------------------------

    def create(self, experiment: Experiment, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Keep a new experiment as a draft. Raises InvalidExperiment when it does not hold together."""
        draft = structs.replace(
            experiment, project=self._project, state="draft", started_at=None, paused_at=None, paused_seconds=0.0,
            stopped_at=None, stop_reason="", reweighted=(),
        )  # fmt: skip
        checked = validated(draft, self._catalogue)
        self._repository.create(self._project, checked.key, _definition(checked), "draft", actor=actor)
        self.refresh()
        return checked

    def revise(self, experiment: Experiment, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Change a definition: all of it while it is a draft, afterwards nothing that would move a unit or the goal.

        Coverage may be raised while it runs, and where it is sticky the weights may be changed. Raises
        InvalidExperiment for what is frozen.
        """
        record, before = self._load(experiment.key)
        lifecycle = {name: getattr(before, name) for name in _LIFECYCLE}
        after = validated(structs.replace(experiment, project=self._project, **lifecycle), self._catalogue)
        if not experiment.salt:
            after = structs.replace(after, salt=before.salt)
        check_revision(before, after)
        if before.state != "draft" and before.variants != after.variants:
            change = Reweighting(at=self._clock.now(), before={arm.key: arm.weight for arm in before.variants})
            after = structs.replace(after, reweighted=(*before.reweighted, change))
        old, new = _definition(before), _definition(after)
        changed = {name: {"from": old.get(name), "to": new[name]} for name in new if old.get(name) != new[name]}
        self._save(record, after, "revise", actor, {"changed": changed})
        return after

    def start(self, key: str, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Begin, or go on after a pause: from now on units are assigned."""
        return self._move(key, "running", "start", actor)

    def pause(self, key: str, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Assign nobody until it is started again; who was in an arm comes back to it."""
        return self._move(key, "paused", "pause", actor)

    def stop(self, key: str, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """End it for good; it can still be compared."""
        return self._move(key, "stopped", "stop", actor)

    def archive(self, key: str, *, actor: str = DEFAULT_ACTOR) -> Experiment:
        """Put it away; its key stays taken, because exposures carry it."""
        return self._move(key, "archived", "archive", actor)

    def get(self, key: str) -> Experiment:
        """The experiment. Raises InvalidExperiment when there is none of that key."""
        return self._load(key)[1]

    def list(self, *states: State) -> list[Experiment]:
        """The project's experiments, oldest first: all, or those in one of the states."""
        return [_experiment(record) for record in self._repository.list(self._project, states or None)]

    def history(self, key: str) -> tuple[AuditEntry, ...]:
        """Who changed the experiment and how, newest first."""
        return tuple(self._repository.history(self._project, key))

    def refresh(self) -> None:
        """Read again which experiments there are; needed only after another process has changed one."""
        with self._refreshing:  # one after the other, so that an older reading never replaces a newer one
            self._known = {
                record.key: _assigned(_experiment(record)) for record in self._repository.list(self._project)
            }

    def close(self) -> None:
        """Let go of what is held open to keep the arms of sticky experiments."""
        self._sticky.close()

    # -- assignment, in the host program's way ------------------------------------------------------------------

    def decide(
        self, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object] | None = None
    ) -> Decision[Payload]:
        """What the experiment is for the unit whose ids are given by kind, ``{"user": "u1"}``, and why.

        ``attributes`` are what its targeting condition asks for. Records nothing. Raises InvalidExperiment for an
        unknown key or an unusable id.
        """
        return self._assigner(key)[1].decide(unit_ids, attributes or {}, self._sticky)

    def preview(
        self, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object] | None = None
    ) -> Decision[Payload]:
        """What ``decide`` would be while the experiment runs, also of one that does not; nothing is kept of it.

        Raises InvalidExperiment for an unknown key or an unusable id.
        """
        return previewed(self.get(key), unit_ids, attributes or {}, self._sticky)

    def assign(self, key: str, unit_id: str, attributes: Mapping[str, object] | None = None) -> str | None:
        """The unit's arm; None when the experiment is not running or the unit takes no part.

        Records nothing. Raises InvalidExperiment for an unknown key or an unusable id.
        """
        return self._decide(key, unit_id, attributes).arm

    def expose(self, key: str, unit_id: str, attributes: Mapping[str, object] | None = None) -> str | None:
        """The unit's arm, and an exposure event the first time this process exposes the unit.

        Call it where the arm takes effect. The event's id is made of project, experiment, unit and arm: a repeat,
        here or in another process, is the same event. A forced arm is not recorded. Raises what recording raises, and
        then remembers nothing.
        """
        return self._exposed_now(self._decide(key, unit_id, attributes)).arm

    def decide_and_expose(
        self, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object] | None = None
    ) -> Decision[Payload]:
        """As ``decide``, with the exposure that ``expose`` records. Raises what both of them raise."""
        return self._exposed_now(self.decide(key, unit_ids, attributes))

    def payload(self, key: str, arm: str) -> dict[str, object]:
        """The configuration that an arm stands for. Raises InvalidExperiment when there is no such arm."""
        experiment, _ = self._assigner(key)
        for variant in experiment.variants:
            if variant.key == arm:
                return dict(variant.payload)
        raise InvalidExperiment(f"{key} has no such arm", hint=f"It has {_arm_names(experiment)}.", value=arm)

    def variants_for(
        self, unit_ids: Mapping[str, str], attributes: Mapping[str, object] | None = None
    ) -> dict[str, str]:
        """Experiment to arm for every running experiment, to tag an event with.

        ``unit_ids`` maps unit kinds to ids: ``{"user": "u1", "session": "s1"}``. Kinds that are missing, empty
        or too long to be an id take no part; nothing is recorded.
        """
        found: dict[str, str] = {}
        for key, (_, assigner) in self._known.items():
            with suppress(InvalidExperiment):
                arm = assigner.decide(unit_ids, attributes or {}, self._sticky).arm
                if arm is not None:
                    found[key] = arm
        return found

    def definitions(self) -> Definitions:
        """What programs must know to assign arms themselves: of every experiment that runs, rests or was stopped."""
        return definitions_of(self._project, self.list())

    # -- analysis -----------------------------------------------------------------------------------------------

    def compare(self, key: str) -> Comparison:
        """The arms compared on data up to now, the sample ratio first, with a verdict in a sentence.

        Raises InvalidExperiment when it never started, and what the reader raises.
        """
        experiment = self.get(key)
        if experiment.started_at is None:
            raise InvalidExperiment(
                "the experiment has not started", hint="Start it; then there is something to compare."
            )
        now = self._clock.now()
        end = experiment.stopped_at or now
        # Half-open, and never empty: what happened in the very microsecond of the end belongs to it.
        window = Window(experiment.started_at, max(end, experiment.started_at) + _INSTANT)
        names = [
            experiment.primary_metric,
            *experiment.secondary_metrics,
            *(guardrail.metric for guardrail in experiment.guardrails),
        ]
        answers = {
            name: self._reader.units(
                UnitQuery(
                    experiment=key, metric=name, window=window, unit_kind=experiment.unit_kind, project=self._project
                )
            )
            for name in names
        }
        return analyse(experiment, {name: self._catalogue.get(name) for name in names}, answers, now)

    # -- inside -------------------------------------------------------------------------------------------------

    def _assigner(self, key: str) -> tuple[Experiment, Assigner]:
        try:
            return self._known[key]
        except KeyError:
            raise _unknown(key, self._known) from None

    def _decide(self, key: str, unit_id: str, attributes: Mapping[str, object] | None) -> Decision[Payload]:
        experiment, assigner = self._assigner(key)
        decision = assigner.decide({experiment.unit_kind: unit_id}, attributes or {}, self._sticky)
        if decision.reason == "no unit":
            raise unusable(unit_id)
        return decision

    def _exposed_now(self, decision: Decision[Payload]) -> Decision[Payload]:
        if decision.counted and self._exposed.is_new(decision):
            try:
                self._record_exposure(self._exposure(decision))
            except BaseException:
                self._exposed.forget(decision)
                raise
        return decision

    def _exposure(self, decision: Decision[Payload]) -> Exposure:
        _, assigner = self._assigner(decision.experiment)
        try:
            event_id = exposure_id(assigner.definition, decision)
        except UnicodeEncodeError:
            raise InvalidExperiment(
                "a unit's id has half a character in it, which no event can carry",
                hint="Find out which client cuts its texts.",
                value=decision.unit_id,
            ) from None
        return Exposure(
            event_id=event_id, time=self._clock.now(), project=self._project, experiment=decision.experiment,
            arm=str(decision.arm), unit_id=decision.unit_id, unit_kind=decision.unit_kind,
        )  # fmt: skip

    def _load(self, key: str) -> tuple[ExperimentRecord, Experiment]:
        record = self._repository.get(self._project, key)
        if record is None:
            raise _unknown(key, self._known)
        return record, _experiment(record)

    def _move(self, key: str, state: State, action: str, actor: str) -> Experiment:
        record, before = self._load(key)
        after = moved(before, state, self._clock.now())
        if state == "running":
            check_apart(after, self.list("running", "paused"))
        self._save(record, after, action, actor, {"from": before.state})
        return after

    def _save(
        self, record: ExperimentRecord, experiment: Experiment, action: str, actor: str, detail: JsonObject
    ) -> None:
        changed = structs.replace(record, definition=_definition(experiment), state=experiment.state)
        self._repository.save(changed, actor=actor, action=action, detail=detail)
        self.refresh()


_LIFECYCLE = ("state", "started_at", "paused_at", "paused_seconds", "stopped_at", "stop_reason", "reweighted")


def _definition(experiment: Experiment) -> JsonObject:
    built: JsonObject = msgspec.to_builtins(experiment)
    return {name: value for name, value in built.items() if name not in _KEPT_APART}


def _experiment(record: ExperimentRecord) -> Experiment:
    try:
        return msgspec.convert({**record.definition, "state": record.state}, Experiment)
    except msgspec.ValidationError as error:
        raise ControlError(
            f"the definition of experiment {record.key} cannot be read: {error}",
            hint="It was written by another version, or by hand.",
        ) from None


def _assigned(experiment: Experiment) -> tuple[Experiment, Assigner]:
    return experiment, Assigner(definition_of(experiment))


def _unknown(key: str, known: Mapping[str, object]) -> UnknownExperiment:
    names = ", ".join(list(known)[:5]) or "none yet"
    return UnknownExperiment("there is no such experiment", hint=f"There are: {names}.", value=key)


def _arm_names(experiment: Experiment) -> str:
    return ", ".join(variant.key for variant in experiment.variants)
