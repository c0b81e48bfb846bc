"""``ABTestFramework``: experiments from definition to verdict.

Their definitions and their life are the ``register``'s; here arms are assigned by hash, exposures recorded as events
through the callable it was given, and a ``UnitReader`` asked for the per-unit moments that ``analysis`` compares. Safe
to share between threads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TypeVar

from msgspec import structs

from barograph.control.experiments import ExperimentRepository
from barograph.core.event import Exposure
from barograph.core.metric import Catalogue
from barograph.core.reader import UnitReader
from barograph.core.units import UnitAnswer
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.analysis.detail import detail
from barograph.experiments.analysis.second_opinions import MOST_UNITS
from barograph.experiments.assignment import previewed
from barograph.experiments.comparison import Comparison, Details
from barograph.experiments.design import Experiment
from barograph.experiments.examples import Examples, examples_of
from barograph.experiments.guardrails import ACTOR, checks_now, find_breach
from barograph.experiments.interleaving import compare_preferences, preference_details
from barograph.experiments.past_looks import PastLooks
from barograph.experiments.plan import Plan, PlanQuestion
from barograph.experiments.planner import plan_from
from barograph.experiments.questions import (
    Look,
    answers_of,
    checkpoint_of,
    just_after,
    look_at,
    question_of,
    whole_windows,
)
from barograph.experiments.reallocation import Reallocation, check_adaptive, reallocated
from barograph.experiments.register import DEFAULT_ACTOR, ExperimentRegister, unknown
from barograph.stats.bandit import EXPLORATION
from barograph_client.clock import Clock
from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.assignment import Assigner, Decision, Payload, unusable
from barograph_client.experiments.definition import Definition
from barograph_client.experiments.exposures import Exposures, exposure_id, slice_tags
from barograph_client.experiments.interleaving import Method as Interleaving
from barograph_client.experiments.outcome import Outcome, shown_for
from barograph_client.experiments.sticky import MemoryStickyStore, StickyStore

T = TypeVar("T")


class ABTestFramework(ExperimentRegister):
    """Define, start, assign, expose, compare.

    ``record_exposure`` takes an ``Exposure`` event and returns once it is on its way; what it raises reaches the
    caller of ``expose``. ``record_score`` takes the fields of a score: the credit of interleaved lists. ``sticky``
    keeps the arms of sticky experiments; in memory, if none is given. All methods but ``decide``, ``assign``,
    ``expose``, ``interleave`` and ``variants_for`` may raise ControlError.
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
        record_score: Callable[[Mapping[str, object]], object] | None = None,
    ) -> None:
        super().__init__(repository, clock, catalogue, project)
        self._reader = reader
        self._record_exposure = record_exposure
        self._record_score = record_score
        self._sticky = sticky if sticky is not None else MemoryStickyStore()
        self._past_looks = PastLooks()
        self._exposed = exposures if exposures is not None else Exposures()
        self._bounded: Callable[[Definition], Assigner] | None = None

    def through(self, reader: UnitReader, clock: Clock) -> ABTestFramework:
        """The same experiments, compared through another reader and as of another clock: what a single page asks."""
        other = copy.copy(self)
        other._reader, other._clock = reader, clock
        return other

    def bounded(self, assigner: Callable[[Definition], Assigner]) -> ABTestFramework:
        """The same experiments for one request, by an assigner whose conditions take a bounded time.

        ``decide``, ``preview`` and what exposes then raise ConditionUndecided too, where that was not enough.
        """
        other = copy.copy(self)
        other._bounded = assigner
        return other

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
        return previewed(self.get(key), unit_ids, attributes or {}, self._sticky, self._bounded or Assigner)

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
        return self._exposed_now(self._decide(key, unit_id, attributes), attributes).arm

    def decide_and_expose(
        self, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object] | None = None
    ) -> Decision[Payload]:
        """As ``decide``, with the exposure that ``expose`` records. Raises what both of them raise."""
        return self._exposed_now(self.decide(key, unit_ids, attributes), attributes)

    def interleave(
        self,
        key: str,
        rankers: Mapping[str, Iterable[T]],
        unit_ids: Mapping[str, str],
        *,
        query_id: str,
        method: Interleaving | None = None,
        length: int | None = None,
        id: Callable[[T], object] | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> Outcome[T]:
        """One list of several rankers' for a unit in the experiment, with its exposure; the control's for all others.

        As a client's ``experiments.interleave``, but for what it raises, and its outcome too: InvalidExperiment for
        what cannot be decided, interleaved or credited, and what recording raises.
        """
        decision = self.decide(key, unit_ids, attributes)
        lists = {name: tuple(one) for name, one in rankers.items()}
        items, slip = shown_for(decision, self._assigner(key)[1], lists, query_id, method, length, id)
        if slip is not None:
            self._exposed_now(decision, attributes)
        return Outcome(items, decision.reason, slip, self._record_credit, _refuse)

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
        for key, (_, assigner) in self._known.table().items():
            with suppress(InvalidExperiment):
                arm = assigner.decide(unit_ids, attributes or {}, self._sticky).arm
                if arm is not None:
                    found[key] = arm
        return found

    # -- analysis -----------------------------------------------------------------------------------------------

    def plan(self, question: PlanQuestion) -> Plan:
        """What an experiment would take: units, days, and the change that it can find, by the records of the past.

        Raises InvalidInput for what cannot be planned, and what the reader raises.
        """
        return plan_from(self._reader, self._catalogue, self._clock.now(), question, self._project)

    def compare(self, key: str) -> Comparison:
        """The arms compared on data up to now, the sample ratio first, with a verdict in a sentence.

        At a fixed horizon the data are those up to the planned end, with planned looks those up to the last look that
        counts, but for the guardrails' test for any time. Raises InvalidExperiment when it never started, and what the
        reader raises.
        """
        experiment = self.get(key)
        metrics = {name: self._catalogue.get(name) for name in experiment.metrics}
        look = self._look_at(experiment)
        answers = answers_of(self._reader, experiment, metrics, look)
        if experiment.kind == "interleaving":
            return compare_preferences(experiment, metrics, answers, look.at)
        whole = whole_windows(self._reader, experiment, metrics, look.until)
        checkpoint = checkpoint_of(self._reader, experiment, metrics, look.until)
        guarded = {one.metric: metrics[one.metric] for one in experiment.guardrails}
        guards = checks_now(experiment, guarded, self._reader, look.at) if look.looks else None
        return analyse(experiment, metrics, answers, look.at, whole, look.looks, checkpoint, guards)

    def details(self, key: str) -> Details:
        """What costs further questions: the effect by the units' age and in slices, their spread, second opinions.

        All of the primary metric. Raises as ``compare`` does.
        """
        experiment = self.get(key)
        name, look = experiment.primary_metric, self._look_at(experiment)
        if experiment.kind == "interleaving":
            return preference_details(experiment, answers_of(self._reader, experiment, experiment.metrics, look))

        def asked(by: str) -> UnitAnswer:
            return self._reader.units(question_of(experiment, name, look.until, by=by))

        values = self._reader.unit_values(question_of(experiment, name, look.until, by=""), MOST_UNITS)
        by_tag = {tag: asked(f"tag.{tag}") for tag in experiment.slices}
        return detail(experiment, self._catalogue.get(name), asked("day"), asked("age"), by_tag, values)

    def examples(self, key: str) -> Examples:
        """Questions that were asked in several arms, with an answer of each: for people to read, they decide nothing.

        Those before the end of what ``compare`` counts. Raises as ``compare`` does.
        """
        experiment = self.get(key)
        metric = self._catalogue.get(experiment.primary_metric)
        return examples_of(self._reader, experiment, metric, self._look_at(experiment).until)

    def guard(self, key: str) -> Experiment:
        """Stop a running experiment if a guardrail that is to stop it is breached; the experiment as it is then.

        Everybody gets the control's configuration again, ``stop_reason`` says why, and the audit log that it was
        "guardrail". Raises ChangedMeanwhile when somebody changed the experiment while it was looked at, and what the
        reader raises.
        """
        record, before = self._load(key)
        if not before.is_guarded:
            return before
        found = find_breach(before, self._catalogue, self._reader, self._clock.now())
        return self._stop(record, before, found.sentence, ACTOR, found.metrics) if found else before

    def reallocate(self, key: str, *, exploration: float = EXPLORATION, actor: str = DEFAULT_ACTOR) -> Reallocation:
        """Share later units out by how likely each arm is the best (Thompson sampling).

        No arm gets less than ``exploration``, a share. Nobody who was assigned moves, and the analysis takes the time
        before apart. Raises InvalidExperiment where it is not sticky, does not run or has too few units,
        ChangedMeanwhile, and what the reader raises.
        """
        record, before = self._load(key)
        check_adaptive(before, exploration)
        metric = self._catalogue.get(before.primary_metric)
        answer = self._reader.units(question_of(before, metric.name, just_after(self._clock.now())))
        found = reallocated(before, metric, answer, exploration)
        after = self._revised(record, before, found.experiment, "reallocate", actor, chances=found.chances)
        return structs.replace(found, experiment=after)

    # -- inside -------------------------------------------------------------------------------------------------

    def _look_at(self, experiment: Experiment) -> Look:
        metric = self._catalogue.get(experiment.primary_metric)
        return look_at(self._reader, experiment, metric, self._clock.now(), self._past_looks)

    def _assigner(self, key: str) -> tuple[Experiment, Assigner]:
        table = self._known.table()
        try:
            experiment, assigner = table[key]
        except KeyError:
            raise unknown(key, table) from None
        return experiment, self._bounded(assigner.definition) if self._bounded else assigner

    def _decide(self, key: str, unit_id: str, attributes: Mapping[str, object] | None) -> Decision[Payload]:
        experiment, assigner = self._assigner(key)
        decision = assigner.decide({experiment.unit_kind: unit_id}, attributes or {}, self._sticky)
        if decision.reason == "no unit":
            raise unusable(unit_id)
        return decision

    def _exposed_now(self, decision: Decision[Payload], attributes: Mapping[str, object] | None) -> Decision[Payload]:
        if decision.counted and self._exposed.is_new(decision):
            try:
                self._record_exposure(self._exposure(decision, attributes or {}))
            except BaseException:
                self._exposed.forget(decision)
                raise
        return decision

    def _record_credit(self, kind: str, fields: Mapping[str, object]) -> None:
        if self._record_score is None:
            raise InvalidExperiment(f"nobody records a {kind} here", hint="Give the framework a record_score.")
        self._record_score(fields)

    def _exposure(self, decision: Decision[Payload], attributes: Mapping[str, object]) -> Exposure:
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
            tags=slice_tags(assigner.definition, attributes),
        )  # fmt: skip


def _arm_names(experiment: Experiment) -> str:
    return ", ".join(variant.key for variant in experiment.variants)


def _refuse(fault: str) -> None:
    raise InvalidExperiment(fault)
