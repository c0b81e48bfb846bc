"""The experiments' definitions and states, each change with its entry in the audit log.

What a definition means is known to ``experiments``; here it is a JSON object. Two people who change the same
experiment are told apart by its version: the second one is refused, not overwritten. Each change is counted before
anything else in its transaction: on PostgreSQL, too, writers wait for each other there, so that what is read
afterwards stays true.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import Connection, Select, insert, select, update

from barograph.control.audit import AuditEntry, AuditLog, write_audit
from barograph.control.changes import count_change, count_of
from barograph.control.database import ControlPlane
from barograph.control.tables import JsonObject, experiments
from barograph_client.errors import ChangedMeanwhile, InvalidExperiment


class ExperimentRecord(Struct, frozen=True, kw_only=True):
    """An experiment as it is kept. ``version`` counts its changes, from 1."""

    project: str
    key: str
    definition: JsonObject
    state: str
    version: int
    created_at: datetime
    updated_at: datetime


Check = Callable[[list[ExperimentRecord]], None]


class ExperimentRepository:
    """Creates, reads and saves experiments; safe to share between threads. All methods may raise ControlError."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._audit = AuditLog(plane)

    def create(self, project: str, key: str, definition: JsonObject, state: str, *, actor: str) -> ExperimentRecord:
        """Keep a new experiment. Raises InvalidExperiment when the project has one of that key."""
        now = self._plane.clock.now()
        record = ExperimentRecord(
            project=project, key=key, definition=definition, state=state, version=1, created_at=now, updated_at=now
        )
        with self._plane.writing() as connection:
            count_change(connection, "experiments")
            if connection.execute(_one(project, key)).first() is not None:
                raise InvalidExperiment(
                    "an experiment of that key exists already",
                    hint="Choose another key: a key that was used once stands for that experiment's exposures.",
                    value=key,
                )
            connection.execute(insert(experiments).values(structs.asdict(record)))
            write_audit(
                connection, time=now, project=project, actor=actor, action="create", subject=_subject(key),
                detail={"state": state, "definition": definition},
            )  # fmt: skip
        return record

    def changed(self) -> int:
        """A number that is another one after every change in any project, also by another process."""
        return count_of(self._plane, "experiments")

    def get(self, project: str, key: str) -> ExperimentRecord | None:
        """The experiment, or None."""
        with self._plane.reading() as connection:
            row = connection.execute(_one(project, key)).mappings().first()
        return None if row is None else ExperimentRecord(**row)

    def history(self, project: str, key: str, limit: int | None = None) -> list[AuditEntry]:
        """Who changed this experiment and how, newest first: all of it, or the last ``limit`` changes."""
        return self._audit.list(project, _subject(key), limit)

    def list(self, project: str, states: Collection[str] | None = None) -> list[ExperimentRecord]:
        """The project's experiments, oldest first, all or those in one of ``states``."""
        with self._plane.reading() as connection:
            return _listed(connection, project, states)

    def save(
        self,
        record: ExperimentRecord,
        *,
        actor: str,
        action: str,
        detail: JsonObject | None = None,
        check: Check | None = None,
    ) -> ExperimentRecord:
        """Keep the record's definition and state as the next version.

        ``record.version`` must be the version that it was read with; raises ChangedMeanwhile when it is not the
        newest any more. ``check`` is handed the project's experiments as they are before, none of which another
        writer changes until this one is kept; where it raises, nothing is.
        """
        now = self._plane.clock.now()
        saved = structs.replace(record, version=record.version + 1, updated_at=now)
        statement = (
            update(experiments)
            .where(
                experiments.c.project == record.project,
                experiments.c.key == record.key,
                experiments.c.version == record.version,
            )
            .values(definition=saved.definition, state=saved.state, version=saved.version, updated_at=now)
        )
        with self._plane.writing() as connection:
            count_change(connection, "experiments")
            if check is not None:
                check(_listed(connection, record.project))
            if connection.execute(statement).rowcount != 1:
                raise ChangedMeanwhile(
                    "the experiment was changed by somebody else, or is gone",
                    hint="Read it again and decide on what it is now.",
                    value=record.key,
                )
            write_audit(
                connection, time=now, project=record.project, actor=actor, action=action,
                subject=_subject(record.key), detail={"state": saved.state, "version": saved.version, **(detail or {})},
            )  # fmt: skip
        return saved


def _subject(key: str) -> str:
    return f"experiment:{key}"


def _listed(connection: Connection, project: str, states: Collection[str] | None = None) -> list[ExperimentRecord]:
    chosen = select(experiments).where(experiments.c.project == project)
    if states is not None:
        chosen = chosen.where(experiments.c.state.in_(states))
    chosen = chosen.order_by(experiments.c.created_at, experiments.c.key)
    return [ExperimentRecord(**row) for row in connection.execute(chosen).mappings()]


def _one(project: str, key: str) -> Select[*tuple[Any, ...]]:
    return select(experiments).where(experiments.c.project == project, experiments.c.key == key)
