"""``Experiments``: what a program asks for an arm. It never blocks and never raises, as the client does not.

``client.experiments`` is one. Definitions come from ``current``, the decision from ``assignment``, and an exposure goes
out as any event does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast, overload

import msgspec

from barograph_client.aliases import ALIASES
from barograph_client.errors import InvalidExperiment, shorten
from barograph_client.experiments.assignment import Assigner, Decision, Payload
from barograph_client.experiments.exposures import Exposures, exposure_id, slice_tags
from barograph_client.experiments.interleaving import Method
from barograph_client.experiments.outcome import Outcome, Record, Slip, control_list, shown_for
from barograph_client.limits import MAX_VARIANTS

if TYPE_CHECKING:
    from barograph_client.experiments.current import CurrentDefinitions

T = TypeVar("T")

_EMPTY: Payload = MappingProxyType({})
_LONGEST_FAULT = 300  # characters
_MOST_CONVERTED = 1_000  # payloads that are kept as values of a type
_VARIANTS = frozenset(("variants", *(alias.name for alias in ALIASES["query"] if alias.field == "variants")))
_decode_slip = msgspec.json.Decoder(Slip).decode


class Experiments:
    """The experiments of a project in this process. Safe to share between threads and to fork."""

    def __init__(self, definitions: CurrentDefinitions, record: Record) -> None:
        self._definitions = definitions
        self._record = record
        self._exposed = Exposures()
        self._forced: dict[str, str] = {}
        self._converted: dict[tuple[int, str | None, type], tuple[Assigner, object]] = {}
        self._fields: dict[str, tuple[str, ...]] = {}
        self._fault = ""
        definitions.start()

    @overload
    def assign(
        self, key: str, *, attributes: Mapping[str, object] | None = None, **units: str
    ) -> Decision[Payload]: ...

    @overload
    def assign(
        self, key: str, *, default: T, attributes: Mapping[str, object] | None = None, **units: str
    ) -> Decision[T]: ...

    def assign(
        self, key: str, *, default: object = _EMPTY, attributes: Mapping[str, object] | None = None, **units: str
    ) -> Decision[object]:
        """The unit's arm, what it stands for, and why; records nothing.

        ``units`` are ids by kind: ``user="u1"``, ``session="s1"``. ``attributes`` are what a targeting condition asks
        for. The payload has the type of ``default``, which it is where no definition is known, or the arm has no
        payload, or one that does not fit that type (then the unit is in no arm).
        """
        decision, assigner = self._asked(key, units, attributes)
        if default is _EMPTY or type(default) is MappingProxyType:
            return decision if decision.payload else msgspec.structs.replace(decision, payload=default)
        return self._typed(decision, assigner, default)

    @overload
    def expose(
        self, key: str, *, attributes: Mapping[str, object] | None = None, **units: str
    ) -> Decision[Payload]: ...

    @overload
    def expose(
        self, key: str, *, default: T, attributes: Mapping[str, object] | None = None, **units: str
    ) -> Decision[T]: ...

    def expose(
        self, key: str, *, default: object = _EMPTY, attributes: Mapping[str, object] | None = None, **units: str
    ) -> Decision[object]:
        """As ``assign``, and an exposure is recorded the first time that this process exposes the unit.

        Call it where the arm takes effect. The event's id is made of project, experiment, unit and arm, so a repeat,
        here or in another process, is the same event. Queries of the unit that are recorded afterwards carry the arm.
        """
        decision = self.assign(key, default=default, attributes=attributes, **units)
        if decision.counted and self._exposed.is_new(decision):
            self._expose(decision, attributes)
        return decision

    def interleave(
        self,
        key: str,
        rankers: Mapping[str, Iterable[T]],
        *,
        query_id: str,
        method: Method | None = None,
        length: int | None = None,
        id: Callable[[T], object] | None = None,
        attributes: Mapping[str, object] | None = None,
        **units: str,
    ) -> Outcome[T]:
        """One list of several rankers' for a unit that is in the experiment; the control's, as it is, for all others.

        ``rankers`` are the lists by the arms' keys, the control's first. ``query_id`` is the trace that is credited;
        the same one shows the same list again. ``method``, ``length`` and ``id`` are those of
        ``interleaving.interleave``. An exposure is recorded as by ``expose``. What keeps lists from being interleaved
        is told by ``problem``.
        """
        lists = {name: tuple(one) for name, one in rankers.items()}
        decision, assigner = self._asked(key, units, attributes)
        try:
            items, slip = shown_for(decision, assigner, lists, query_id, method, length, id)
        except Exception as error:  # of the lists, or of what tells their ids
            self._tell(f"{key} cannot be interleaved: {type(error).__name__}: {error}")
            return Outcome(control_list(assigner, lists), "fault", None, self._record, self._tell)
        if slip is not None and slip.counted and self._exposed.is_new(decision):
            self._expose(decision, attributes)
        return Outcome(items, decision.reason, slip, self._record, self._tell)

    def outcome(self, saved: str) -> Outcome[object]:
        """What ``Outcome.saved`` gave, to be credited; without passages, and crediting nothing, where it is none."""
        try:
            return Outcome((), "assigned", _decode_slip(saved), self._record, self._tell)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            self._tell(f"a saved outcome cannot be read: {error}")
            return Outcome((), "fault", None, self._record, self._tell)

    def variants_for(self, *, attributes: Mapping[str, object] | None = None, **units: str) -> dict[str, str]:
        """Experiment to arm for every experiment that the units are in, to tag an event with; records nothing."""
        decisions = (self._decide(key, units, attributes)[0] for key in {**self._definitions.table, **self._forced})
        return {one.experiment: one.arm for one in decisions if one.arm is not None}

    def force(self, key: str, arm: str | None) -> None:
        """Give every unit of this process an arm of an experiment, for a test; None for chance again.

        A forced arm is not recorded. It needs neither a server nor a definition.
        """
        if arm is None:
            self._forced.pop(key, None)
        else:
            self._forced[key] = arm

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has said what experiments there are; false if that took longer."""
        self._definitions.start()
        return self._definitions.answered.wait(timeout)

    @property
    def keys(self) -> list[str]:
        """The keys of the experiments that are known."""
        return sorted(self._definitions.table)

    @property
    def problem(self) -> str:
        """What keeps definitions or sticky buckets from being what they should, else why a call could not be decided.

        Empty when nothing does, and none was.
        """
        return self._definitions.problem or getattr(self._definitions.sticky, "problem", "") or self._fault

    # for the client

    def tagged(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        """A query with the newest arms to which its units were exposed, unless it names its own."""
        if not len(self._exposed) or not isinstance(fields, dict) or not _VARIANTS.isdisjoint(fields):
            return fields
        found: dict[str, str] = {}
        for kind, names in self._fields.items():
            for name in names:
                value = fields.get(name)
                if isinstance(value, str):
                    found.update(self._exposed.of(kind, value))
        if len(found) > MAX_VARIANTS:
            found = dict(list(found.items())[-MAX_VARIANTS:])
        return {**fields, "variants": found} if found else fields

    def close(self, timeout: float) -> None:
        """Look for changes no more; arms are decided as before."""
        self._definitions.close(timeout)

    def after_fork(self) -> None:
        """In the child: locks, thread and connections are the parent's."""
        self._exposed.after_fork()
        self._definitions.after_fork()

    # inside

    def _tell(self, fault: str) -> None:
        self._fault = shorten(fault, _LONGEST_FAULT)

    def _asked(
        self, key: str, units: Mapping[str, str], attributes: Mapping[str, object] | None
    ) -> tuple[Decision[Payload], Assigner | None]:
        """As ``_decide``; that of a call which names the experiment, so that what it lacks is told."""
        found = self._decide(key, units, attributes)
        match found[0].reason:
            case "unknown experiment":
                self._tell(f"{key} cannot be decided: no experiment of that key is known, yet or at all")
            case "no unit":
                kind = found[0].unit_kind
                self._tell(f"{key} cannot be decided: the call names no {kind}, and {kind}s get the arms")
        return found

    def _decide(
        self, key: str, units: Mapping[str, str], attributes: Mapping[str, object] | None
    ) -> tuple[Decision[Payload], Assigner | None]:
        definitions = self._definitions
        definitions.start()
        assigner = definitions.table.get(key)
        if key in self._forced:
            arm = self._forced[key]
            forced = None if assigner is None else assigner.force(arm)
            return forced or Decision(key, arm, _EMPTY, "forced"), assigner
        if assigner is None:
            return Decision(key, None, _EMPTY, "unknown experiment"), None
        try:
            return assigner.decide(units, attributes or _EMPTY, definitions.sticky), assigner
        except InvalidExperiment as error:
            self._fault = str(error)
            return assigner.refuse("unusable unit"), assigner
        except Exception as error:  # of an attribute that does not want to be compared
            self._fault = f"{key} cannot be decided: {type(error).__name__}"
            return assigner.refuse("fault"), assigner

    def _typed(self, decision: Decision[Payload], assigner: Assigner | None, default: T) -> Decision[T]:
        value = default
        if assigner is not None and decision.payload:
            wanted = type(default)
            try:
                value = self._value(assigner, decision.arm, wanted)
            except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
                self._fault = f"the payload of {decision.experiment} is no {wanted.__name__}: {error}"
                if decision.arm is not None:
                    kind, unit_id = decision.unit_kind, decision.unit_id
                    return Decision(decision.experiment, None, default, "payload does not fit", kind, unit_id)
        return Decision(
            decision.experiment, decision.arm, value, decision.reason, decision.unit_kind, decision.unit_id
        )  # fmt: skip

    def _value(self, assigner: Assigner, arm: str | None, wanted: type[T]) -> T:
        """The arm's payload as a value of a type: made once, but for what the caller could change."""
        name = id(assigner), arm, wanted
        found = self._converted.get(name)
        if found is not None and found[0] is assigner:
            return cast("T", found[1])
        value = msgspec.convert(deepcopy(assigner.payload_of(arm)), wanted)
        if getattr(getattr(wanted, "__struct_config__", None), "frozen", False):
            if len(self._converted) >= _MOST_CONVERTED:
                self._converted.clear()
            self._converted[name] = assigner, value
        return value

    def _expose(self, decision: Decision[object], attributes: Mapping[str, object] | None) -> None:
        kind = decision.unit_kind
        if kind not in self._fields:
            field = f"{kind}_id"
            named = (alias.name for alias in ALIASES["query"] if alias.field == field)
            self._fields = {**self._fields, kind: tuple(dict.fromkeys((field, *named, kind)))}
        event: dict[str, object] = {
            "experiment": decision.experiment, "arm": decision.arm, "unit_id": decision.unit_id, "unit_kind": kind,
        }  # fmt: skip
        assigner = self._definitions.table.get(decision.experiment)
        if assigner is not None:
            with suppress(UnicodeEncodeError):  # half a character: the event is refused, and counted, on its way
                event["event_id"] = exposure_id(assigner.definition, decision)
            with suppress(Exception):  # of attributes that do not want to be read
                if tags := slice_tags(assigner.definition, attributes or _EMPTY):
                    event["tags"] = tags
        self._record("exposure", event)
