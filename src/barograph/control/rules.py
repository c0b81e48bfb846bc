"""Alert rules that are kept here and not in the file: made, replaced and removed while Barograph runs.

A definition is kept as it would stand under ``[[rules]]``, without what is usual. ``alerts.rule_set`` reads and checks
them; every change is in the audit log. A number that rises with each change tells a reader whether to read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import delete, func, insert, select

from barograph.control.audit import write_audit
from barograph.control.changes import count_change, count_of
from barograph.control.database import ControlPlane
from barograph.control.tables import JsonObject, rules
from barograph_client.errors import InvalidRule

MOST_RULES = 500  # of a project


class KeptRule(Struct, frozen=True, kw_only=True):
    """A rule's definition, who wrote it and when."""

    project: str
    name: str
    definition: JsonObject
    author: str
    updated_at: datetime


class RuleRepository:
    """Keeps, removes and lists rules; safe to share between threads. All methods may raise ControlError."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def changed(self) -> int:
        """A number that is another one after every change, also by another process."""
        return count_of(self._plane, "rules")

    def list(self, project: str) -> list[KeptRule]:
        """The project's rules, by name."""
        chosen = select(rules).where(rules.c.project == project).order_by(rules.c.name)
        with self._plane.reading() as connection:
            return [KeptRule(**row) for row in connection.execute(chosen).mappings()]

    def put(self, project: str, definitions: Mapping[str, JsonObject], *, actor: str) -> None:
        """Keep rules by name, each in place of what had it: all or none. Durable on return. Raises InvalidRule."""
        now = self._plane.clock.now()
        with self._plane.writing() as connection:
            for name, definition in definitions.items():
                this = (rules.c.project == project) & (rules.c.name == name)
                before = connection.execute(delete(rules).where(this)).rowcount
                row = KeptRule(project=project, name=name, definition=definition, author=actor, updated_at=now)
                connection.execute(insert(rules).values(asdict(row)))
                write_audit(
                    connection, time=now, project=project, actor=actor, action="replace" if before else "create",
                    subject=f"rule:{name}", detail=definition,
                )  # fmt: skip
            count = connection.execute(select(func.count()).where(rules.c.project == project)).scalar_one()
            if count > MOST_RULES:
                raise InvalidRule(f"a project keeps at most {MOST_RULES} rules", hint="Remove one, or group with by.")
            count_change(connection, "rules")

    def remove(self, project: str, name: str, *, actor: str) -> bool:
        """Remove a rule; whether there was one. Durable on return."""
        now = self._plane.clock.now()
        this = (rules.c.project == project) & (rules.c.name == name)
        with self._plane.writing() as connection:
            row = connection.execute(select(rules.c.definition).where(this)).first()
            if row is None:
                return False
            connection.execute(delete(rules).where(this))
            count_change(connection, "rules")
            write_audit(
                connection, time=now, project=project, actor=actor, action="remove", subject=f"rule:{name}",
                detail=row.definition,
            )  # fmt: skip
        return True
