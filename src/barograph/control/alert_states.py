"""Where alerts stand, so that a restart neither forgets a firing alert nor tells of it twice.

The alert manager loads them at start and saves what changed after each evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime

from msgspec import Struct, structs
from sqlalchemy import Connection, Delete, Table, bindparam, delete, insert, select

from barograph.control import tables
from barograph.control.database import ControlPlane
from barograph.control.tables import alert_states

Identity = tuple[str, str, str]  # project, rule, fingerprint


class AlertState(Struct, frozen=True, kw_only=True):
    """One alert of a rule: ``fingerprint`` stands for its labels, ``value`` is what was measured last.

    ``since``, ``seen_at``, ``gone_since``, ``clear_since`` and ``threshold`` are those of its condition in the state
    machine; they are None in what a version before schema 3 kept, and so is ``worst`` before schema 10.
    """

    project: str
    rule: str
    fingerprint: str
    labels: dict[str, str]
    state: str
    active_at: datetime | None = None
    fired_at: datetime | None = None
    value: float | None = None
    updated_at: datetime
    since: datetime | None = None
    seen_at: datetime | None = None
    gone_since: datetime | None = None
    clear_since: datetime | None = None
    threshold: float | None = None
    worst: float | None = None


class DetectorRow(Struct, frozen=True, kw_only=True):
    """What the detector of one group of a rule has learned: ``state`` is text that its owner made and reads."""

    project: str
    rule: str
    fingerprint: str
    labels: dict[str, str]
    state: str
    updated_at: datetime


_THIS_ONE = delete(alert_states).where(
    alert_states.c.project == bindparam("this_project"),
    alert_states.c.rule == bindparam("this_rule"),
    alert_states.c.fingerprint == bindparam("this_fingerprint"),
)
_THIS_DETECTOR = delete(tables.detectors).where(
    tables.detectors.c.project == bindparam("this_project"),
    tables.detectors.c.rule == bindparam("this_rule"),
    tables.detectors.c.fingerprint == bindparam("this_fingerprint"),
)


class AlertStateRepository:
    """Loads, saves and deletes alert states; safe to share between threads."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def load(self, project: str) -> list[AlertState]:
        """All states of a project, by rule and fingerprint. Raises ControlError."""
        chosen = (
            select(alert_states)
            .where(alert_states.c.project == project)
            .order_by(alert_states.c.rule, alert_states.c.fingerprint)
        )
        with self._plane.reading() as connection:
            return [AlertState(**row) for row in connection.execute(chosen).mappings()]

    def load_detectors(self, project: str) -> list[DetectorRow]:
        """All that the detectors of a project have learned, by rule and fingerprint. Raises ControlError."""
        chosen = (
            select(tables.detectors)
            .where(tables.detectors.c.project == project)
            .order_by(tables.detectors.c.rule, tables.detectors.c.fingerprint)
        )
        with self._plane.reading() as connection:
            return [DetectorRow(**row) for row in connection.execute(chosen).mappings()]

    def save(
        self,
        states: Iterable[AlertState],
        *,
        gone: Iterable[AlertState] = (),
        detectors: Iterable[DetectorRow] = (),
        forgotten: Iterable[Identity] = (),
    ) -> None:
        """Keep these states in place of what was kept for them, and delete ``gone``: all in one transaction.

        So also ``detectors`` and ``forgotten``: an alert and what its detector knows are of the same moment.
        """
        kept = {_identity(state): state for state in states}  # the last one wins, as it would one after the other
        learned = {_identity(row): row for row in detectors}
        dropped, lost = {_identity(state) for state in gone}, set(forgotten)
        if not (kept or dropped or learned or lost):
            return
        with self._plane.writing() as connection:
            _put(connection, alert_states, _THIS_ONE, kept, dropped)
            _put(connection, tables.detectors, _THIS_DETECTOR, learned, lost)

    def delete(self, states: Iterable[AlertState]) -> None:
        """Forget these states; what is not there is no error."""
        self.save((), gone=states)


def _put(
    connection: Connection,
    table: Table,
    this_one: Delete,
    kept: Mapping[Identity, AlertState | DetectorRow],
    dropped: Set[Identity],
) -> None:
    if kept or dropped:
        connection.execute(this_one, [_named(identity) for identity in sorted({*dropped, *kept})])
    if kept:
        connection.execute(insert(table), [structs.asdict(row) for row in kept.values()])


def _identity(state: AlertState | DetectorRow) -> Identity:
    return state.project, state.rule, state.fingerprint


def _named(identity: Identity) -> dict[str, str]:
    return dict(zip(("this_project", "this_rule", "this_fingerprint"), identity, strict=True))
