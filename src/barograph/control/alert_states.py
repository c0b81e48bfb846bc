"""Where alerts stand, so that a restart neither forgets a firing alert nor tells of it twice.

The alert manager loads them at start and saves what changed after each evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct, structs
from sqlalchemy import bindparam, delete, insert, select

from barograph.control.database import ControlPlane
from barograph.control.tables import alert_states


class AlertState(Struct, frozen=True, kw_only=True):
    """One alert of a rule: ``fingerprint`` stands for its labels, ``value`` is what was measured last.

    ``since``, ``seen_at``, ``gone_since``, ``clear_since`` and ``threshold`` are those of its condition in the state
    machine; they are None in what a version before schema 3 kept.
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


_THIS_ONE = delete(alert_states).where(
    alert_states.c.project == bindparam("this_project"),
    alert_states.c.rule == bindparam("this_rule"),
    alert_states.c.fingerprint == bindparam("this_fingerprint"),
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

    def save(self, states: Iterable[AlertState], *, gone: Iterable[AlertState] = ()) -> None:
        """Keep these states in place of what was kept for them, and delete ``gone``: all in one transaction."""
        kept = {_identity(state): state for state in states}  # the last one wins, as it would one after the other
        dropped = {_identity(state) for state in gone}
        if not kept and not dropped:
            return
        with self._plane.writing() as connection:
            connection.execute(_THIS_ONE, [_named(identity) for identity in sorted(dropped.union(kept))])
            if kept:
                connection.execute(insert(alert_states), [structs.asdict(state) for state in kept.values()])

    def delete(self, states: Iterable[AlertState]) -> None:
        """Forget these states; what is not there is no error."""
        self.save((), gone=states)


def _identity(state: AlertState) -> tuple[str, str, str]:
    return state.project, state.rule, state.fingerprint


def _named(identity: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("this_project", "this_rule", "this_fingerprint"), identity, strict=True))
