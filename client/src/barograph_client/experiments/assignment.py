"""Which arm a unit gets: a hash, what the definition asks for, and for sticky experiments what the unit got before.

``Assigner`` is made of one ``Definition`` and decides without network, engine or numpy. Without sticky buckets an arm
is a pure function of definition, ids and attributes: the same in every process and at any time. The order in which
things are looked at is that of GrowthBook's SDK specification: https://docs.growthbook.io/lib/build-your-own.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.conditions import Attributes, Fits, compiled
from barograph_client.experiments.definition import INTERLEAVED, LONGEST_UNIT_ID, Definition, Namespace
from barograph_client.experiments.hashing import Places, growthbook_positions
from barograph_client.experiments.ranges import bucket_ranges, choose_variation, in_namespace
from barograph_client.experiments.sticky import StickyStore

Reason = Literal[
    "assigned", "sticky", "forced", "not covered", "not targeted", "another namespace", "held out", "not running",
    "blocked", "no unit", "unusable unit", "unknown experiment", "payload does not fit", "fault",
]  # fmt: skip
Payload = Mapping[str, object]
UnitIds = Mapping[str, str]
P = TypeVar("P", covariant=True)
_OUTSIDE = -1  # the index of no arm
_NO_ATTRIBUTES: Attributes = MappingProxyType({})


class Decision(msgspec.Struct, Generic[P], frozen=True):
    """What an experiment is for a unit: its arm, if any, what the arm stands for, and why.

    ``payload`` is the arm's; outside of the experiment it is the control's, which everybody else gets. It cannot be
    changed. ``unit_kind`` and ``unit_id`` say by which id it was decided.
    """

    experiment: str
    arm: str | None
    payload: P
    reason: Reason
    unit_kind: str = ""
    unit_id: str = ""

    @property
    def in_experiment(self) -> bool:
        """Whether an arm takes effect."""
        return self.arm is not None

    @property
    def counted(self) -> bool:
        """Whether the unit takes part in the analysis: it is in an arm, and chance put it there."""
        return self.arm is not None and self.reason != "forced"


class _Before(NamedTuple):
    """What sticky buckets say of a unit: the arm's index, or none; ``blocked`` when it may not take part."""

    arm: int
    blocked: bool
    kept: bool  # under the id that decides, and not only under the other one


class Assigner:
    """The arms of one experiment. Immutable; safe to share between threads.

    ``fits`` decides in the place of the definition's condition. Raises InvalidExperiment for a definition without
    arms, or with a hash that this version does not know.
    """

    def __init__(self, definition: Definition, fits: Fits | None = None) -> None:
        if not any(arm.weight > 0 for arm in definition.arms):
            raise InvalidExperiment("no arm has any weight", hint="Give two arms a share.", value=definition.key)
        self.definition = definition
        self._index = {arm.key: index for index, arm in enumerate(definition.arms)}
        self._payloads = tuple(_read_only(arm.payload) for arm in definition.arms)
        self._keys = tuple(arm.key for arm in definition.arms)
        self._control = self._index.get(definition.control, 0)
        self._given = self._keys, self._payloads
        if definition.kind == "interleaving":
            arms = len(definition.arms)
            self._given = (INTERLEAVED,) * arms, (self._payloads[self._control],) * arms
        self._choose = _CHOICES[definition.hash_version](definition)
        self._held = Places(f"{definition.project}\0holdout") if definition.holdout > 0 else None
        self._fits = fits or (compiled(definition.condition, definition.groups) if definition.condition else None)
        self._within = None if definition.namespace is None else _part(definition.namespace)
        self._asks = bool(definition.namespace or definition.condition or self._held)
        self._bucket = f"{definition.key}__"

    @property
    def control(self) -> str:
        """The arm that the others are compared with."""
        return self._keys[self._control]

    def decide(
        self, unit_ids: UnitIds, attributes: Attributes = _NO_ATTRIBUTES, sticky: StickyStore | None = None
    ) -> Decision[Payload]:
        """What it is for the unit whose ids are given by kind: ``{"user": "u1"}``.

        Raises InvalidExperiment for an id that cannot be used. Keeps what is new in ``sticky``, if the experiment is.
        """
        definition = self.definition
        kind = definition.unit_kind
        unit_id = unit_ids.get(kind)
        if not unit_id and sticky is not None and definition.sticky and definition.fallback_unit_kind:
            kind = definition.fallback_unit_kind
            unit_id = unit_ids.get(kind)
        if not isinstance(unit_id, str) or not 0 < len(unit_id) <= LONGEST_UNIT_ID:
            if unit_id is None or unit_id == "":
                return self._outside("no unit", kind, "")
            raise unusable(unit_id)
        if unit_id in definition.forced:
            index = self._index.get(definition.forced[unit_id])
            if index is not None:
                return self._inside(index, "forced", kind, unit_id)
        if definition.state != "running":
            return self._outside("not running", kind, unit_id)
        if sticky is not None and definition.sticky:
            return self._sticky(unit_ids, kind, unit_id, attributes, sticky)
        if self._asks and (refused := self._refusal(unit_ids, unit_id, attributes)):
            return self._outside(refused, kind, unit_id)
        index = self._choose(unit_id)
        if index < 0:
            return self._outside("not covered", kind, unit_id)
        keys, payloads = self._given
        return Decision(definition.key, keys[index], payloads[index], "assigned", kind, unit_id)

    def force(self, arm: str) -> Decision[Payload] | None:
        """The decision for whoever is given an arm by hand; None when there is no such arm."""
        index = self._index.get(arm)
        return None if index is None else self._inside(index, "forced", "", "")

    def refuse(self, reason: Reason) -> Decision[Payload]:
        """The decision for whom nothing can be decided."""
        return self._outside(reason, "", "")

    def payload_of(self, arm: str | None) -> dict[str, object]:
        """The configuration of an arm, or of the control where it is none of its own, as it was defined."""
        return self.definition.arms[self._index.get(arm or "", self._control)].payload

    def _sticky(
        self, unit_ids: UnitIds, kind: str, unit_id: str, attributes: Attributes, sticky: StickyStore
    ) -> Decision[Payload]:
        before = self._before(unit_ids, kind, unit_id, sticky)
        if before.arm == _OUTSIDE and (refused := self._refusal(unit_ids, unit_id, attributes)):
            return self._outside(refused, kind, unit_id)
        if before.blocked:
            return self._outside("blocked", kind, unit_id)
        index = before.arm if before.arm != _OUTSIDE else self._choose(unit_id)
        if index == _OUTSIDE:
            return self._outside("not covered", kind, unit_id)
        if not before.kept:
            name = f"{self._bucket}{self.definition.bucket_version}"
            index = self._index.get(sticky.keep(kind, unit_id, name, self._keys[index]), index)
        return self._inside(index, "assigned" if before.arm == _OUTSIDE else "sticky", kind, unit_id)

    def _before(self, unit_ids: UnitIds, kind: str, unit_id: str, sticky: StickyStore) -> _Before:
        definition = self.definition
        own = sticky.of(kind, unit_id)
        other_id = unit_ids.get(definition.fallback_unit_kind, "")
        other = sticky.of(definition.fallback_unit_kind, other_id) if other_id else {}
        for version in range(definition.min_bucket_version):
            if f"{self._bucket}{version}" in own or f"{self._bucket}{version}" in other:
                return _Before(_OUTSIDE, blocked=True, kept=False)
        name = f"{self._bucket}{definition.bucket_version}"
        arm = own.get(name) or other.get(name, "")
        return _Before(self._index.get(arm, _OUTSIDE), blocked=False, kept=name in own)

    def _refusal(self, unit_ids: UnitIds, unit_id: str, attributes: Attributes) -> Reason | None:
        if self._held is not None and self._held.of(unit_id)[0] < self.definition.holdout:
            return "held out"
        if self._within is not None and not self._within(unit_id):
            return "another namespace"
        if self._fits is not None and not self._fits({**unit_ids, **attributes}):
            return "not targeted"
        return None

    def _inside(self, index: int, reason: Reason, kind: str, unit_id: str) -> Decision[Payload]:
        return Decision(self.definition.key, self._keys[index], self._payloads[index], reason, kind, unit_id)

    def _outside(self, reason: Reason, kind: str, unit_id: str) -> Decision[Payload]:
        return Decision(self.definition.key, None, self._payloads[self._control], reason, kind, unit_id)


def _part(space: Namespace) -> Callable[[str], bool]:
    """Whether a unit is in the experiment's part of a namespace."""
    start, end = space.start, space.end
    if space.hash_version == "growthbook-v1":
        return lambda unit_id: in_namespace(unit_id, space.name, start, end)
    of = Places(f"{space.name}\0namespace").of
    return lambda unit_id: start <= of(unit_id)[0] < end


def _barograph(definition: Definition) -> Callable[[str], int]:
    """Our own hash: a unit stands once in the coverage and once, independently, among the arms."""
    of, coverage, arms = Places(definition.salt).of, definition.coverage, definition.arms
    last = max(index for index, arm in enumerate(arms) if arm.weight > 0)
    weights = [arm.weight for arm in arms]
    # From the last arm of positive weight on the bound is one, so that no rounding of the sum leaves a gap.
    bounds = [1.0 if index >= last else math.fsum(weights[: index + 1]) for index in range(len(arms))]

    def choose(unit_id: str) -> int:
        standing, among_arms = of(unit_id)
        return _OUTSIDE if standing >= coverage else bisect_right(bounds, among_arms)

    return choose


def _growthbook(version: Literal[1, 2]) -> Callable[[Definition], Callable[[str], int]]:
    def made(definition: Definition) -> Callable[[str], int]:
        position = growthbook_positions(definition.salt, version)
        ranges = bucket_ranges(len(definition.arms), definition.coverage, [arm.weight for arm in definition.arms])

        return lambda unit_id: choose_variation(position(unit_id), ranges)

    return made


_CHOICES: Mapping[str, Callable[[Definition], Callable[[str], int]]] = {
    "barograph": _barograph, "growthbook-v1": _growthbook(1), "growthbook-v2": _growthbook(2),
}  # fmt: skip


def _read_only(value: dict[str, object]) -> Payload:
    return MappingProxyType({name: _frozen(one) for name, one in value.items()})


def _frozen(value: object) -> object:
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(one) for name, one in value.items()})
    return tuple(_frozen(one) for one in value) if isinstance(value, list | tuple) else value


def unusable(unit_id: object) -> InvalidExperiment:
    """Why an id cannot be a unit's."""
    if not isinstance(unit_id, str):
        return InvalidExperiment("a unit's id must be text", hint="Write str(id).", value=unit_id)
    if not unit_id:
        return InvalidExperiment("a unit's id is empty", hint="Give the user's or the session's id.")
    return InvalidExperiment(
        f"a unit's id has {len(unit_id):,} characters, more than {LONGEST_UNIT_ID}",
        hint="Hash it before it is handed over.",
        value=unit_id,
    )
