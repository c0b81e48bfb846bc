"""``Outcome``: what an interleaving experiment shows for one query, and what readers then preferred of it.

Made by ``experiments``. Its credit is recorded as scores, one for each ranker but the control, which the query's unit
carries: that is all the analysis needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

import msgspec

from barograph_client.errors import InvalidExperiment, InvalidInput
from barograph_client.experiments.assignment import Assigner, Decision
from barograph_client.experiments.definition import INTERLEAVED
from barograph_client.experiments.interleaving import GRADES, Method, Shown, interleave
from barograph_client.identifiers import derived_id

T = TypeVar("T")
Record = Callable[[str, Mapping[str, object]], object]  # the kind of an event, and its fields
Told = Callable[[str], None]
_FIELDS = {"user": "user_id", "session": "session_id"}  # units of other kinds are known by a tag


class Slip(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known to credit a query later on.

    ``counted`` is false where somebody was put into the experiment by hand. ``credit_id`` is what the scores' ids are
    derived from.
    """

    experiment: str
    unit_kind: str
    unit_id: str
    query_id: str
    counted: bool
    credit_id: str
    shown: Shown


def preference_of(experiment: str, arm: str) -> str:
    """The name of the score that tells how much readers prefer an arm to the control."""
    return f"preference.{experiment}.{arm}"


class Outcome(Generic[T]):
    """``items`` are what to show. Outside of the experiment they are the control's list, and nothing is credited.

    ``reason`` says why, as that of a decision does. ``clicked``, ``cited`` and ``rated`` tell and record the preference
    for each ranker over the control, from -1 to 1; none of them raises. A query gives one credit, the first: call one
    of them once, when the reader is done, or with the first click.
    """

    def __init__(self, items: tuple[T, ...], reason: str, slip: Slip | None, record: Record, told: Told) -> None:
        self.items = items
        self.reason = reason
        self._slip = slip
        self._record = record
        self._told = told
        self._credited = False

    @property
    def interleaved(self) -> bool:
        """Whether the list is of several rankers."""
        return self._slip is not None

    @property
    def teams(self) -> dict[str, str]:
        """The ranker that each passage is credited to, by the passage's id."""
        shown = None if self._slip is None else self._slip.shown
        return {} if shown is None else shown.named_teams

    def clicked(self, *ids: str) -> dict[str, float]:
        """The reader opened these passages; none is a tie."""
        return self._credit("clicks", lambda shown: shown.credit(clicks=ids))

    def cited(self, passages: Iterable[str | Mapping[str, object]]) -> dict[str, float]:
        """The answer cites these passages: ids, or a query's documents, of which those count that are ``cited``."""
        return self._credit("citations", lambda shown: shown.credit(citations=_cited(passages)))

    def rated(self, ratings: Mapping[str, float], grades: tuple[float, float] = GRADES) -> dict[str, float]:
        """Somebody rated passages, by id, between the worst and the best of ``grades``."""
        return self._credit("ratings", lambda shown: shown.credit(ratings=ratings, grades=grades))

    def saved(self) -> str:
        """This outcome without its passages, for ``experiments.outcome``: a click may come in another request.

        It names the unit, and whoever can change it can change what is credited: keep it on your side.
        """
        return "" if self._slip is None else msgspec.json.encode(self._slip).decode()

    def _credit(self, judge: str, made: Callable[[Shown], dict[str, float]]) -> dict[str, float]:
        slip = self._slip
        if slip is None:
            return {}
        try:
            preferences = made(slip.shown)
        except (InvalidInput, TypeError, ValueError, AttributeError) as error:
            self._told(f"a credit of {slip.experiment} cannot be used: {error}")
            return {}
        if slip.counted and not self._credited:
            self._credited = True
            for arm, value in preferences.items():
                self._record("score", _score(slip, arm, value, judge))
        return preferences


def control_list(assigner: Assigner | None, lists: Mapping[str, tuple[T, ...]]) -> tuple[T, ...]:
    """The control's list; the first one, where it is not known or has none."""
    control = "" if assigner is None else assigner.control
    return lists[control] if control in lists else next(iter(lists.values()), ())


def shown_for(
    decision: Decision[object],
    assigner: Assigner | None,
    lists: Mapping[str, tuple[T, ...]],
    query_id: str,
    method: Method | None,
    length: int | None,
    id: Callable[[T], object] | None,
) -> tuple[tuple[T, ...], Slip | None]:
    """What to show a unit, by what was decided for it, and what its credit needs: None where it sees one ranker alone.

    ``lists`` are by the rankers' keys; ``assigner`` is None where no definition is known. Raises InvalidInput for what
    cannot be interleaved, and what ``id`` raises.
    """
    if decision.arm is None:
        return control_list(assigner, lists), None
    if decision.reason == "forced" and decision.arm in lists:
        return lists[decision.arm], None
    definition = None if assigner is None else assigner.definition
    if decision.arm != INTERLEAVED or (definition is not None and definition.kind != "interleaving"):
        raise InvalidExperiment("it compares arms and not rankers", hint="Its kind must be interleaving.")
    if not isinstance(query_id, str) or not query_id:
        raise InvalidExperiment("the query has no id", hint="Write query_id=query.trace_id.", value=query_id)
    arms, project, control, salt = list(lists), "", "", decision.experiment
    if assigner is not None and definition is not None:
        arms = [arm.key for arm in definition.arms]
        project, control, salt = definition.project, assigner.control, definition.salt
    missing = [arm for arm in arms if arm not in lists]
    if missing:
        raise InvalidExperiment("a ranker has no list", hint=f"Give {', '.join(arms)}.", value=missing[0])
    merged = interleave(
        *(lists[arm] for arm in arms), names=arms, control=control, method=method, length=length, id=id,
        seed="\0".join((salt, decision.unit_id, query_id)),
    )  # fmt: skip
    parts = project, decision.experiment, decision.unit_kind, decision.unit_id, query_id
    return merged.items, Slip(
        experiment=decision.experiment, unit_kind=decision.unit_kind, unit_id=decision.unit_id, query_id=query_id,
        counted=decision.counted, credit_id=derived_id("\0".join(parts), "preference"), shown=merged.shown,
    )  # fmt: skip


def _score(slip: Slip, arm: str, value: float, judge: str) -> dict[str, object]:
    field = _FIELDS.get(slip.unit_kind)
    return {
        "event_id": derived_id(slip.credit_id, arm),  # told again, here or in another process, it is the same event
        "name": preference_of(slip.experiment, arm), "value": value, "judge": judge, "trace_id": slip.query_id,
        "variants": {slip.experiment: INTERLEAVED},
        **({field: slip.unit_id} if field else {"tags": {slip.unit_kind: slip.unit_id}}),
    }  # fmt: skip


def _cited(passages: Iterable[str | Mapping[str, object]]) -> list[str]:
    if isinstance(passages, str):
        raise InvalidInput("ids come in a list", hint=f"Write [{passages!r}].")
    ids = []
    for one in passages:
        if not isinstance(one, Mapping):
            ids.append(str(one))
        elif one.get("cited"):
            ids.append(str(one.get("id")))
    return ids
