"""The audit log: who changed what, when. Written in the transaction of the change itself, never on its own.

Used by the repositories of this folder; read by whoever shows the history of a thing.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, insert, select

from barograph.control.database import ControlPlane
from barograph.control.tables import JsonObject, audit


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One change. ``subject`` is what was changed, as ``experiment:<key>``; ``detail`` what exactly."""

    id: int
    time: datetime
    project: str
    actor: str
    action: str
    subject: str
    detail: JsonObject


def write_audit(
    connection: Connection,
    *,
    time: datetime,
    project: str,
    actor: str,
    action: str,
    subject: str,
    detail: JsonObject,
) -> None:
    """Add one entry to the transaction under way: the change and its entry are kept together or not at all."""
    connection.execute(
        insert(audit).values(time=time, project=project, actor=actor, action=action, subject=subject, detail=detail)
    )


class AuditLog:
    """Reads the audit log."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def list(self, project: str, subject: str | None = None, limit: int | None = None) -> list[AuditEntry]:
        """The entries of a project, or of one subject in it, newest first: all, or the newest ``limit``."""
        chosen = select(audit).where(audit.c.project == project).order_by(audit.c.id.desc()).limit(limit)
        if subject is not None:
            chosen = chosen.where(audit.c.subject == subject)
        with self._plane.reading() as connection:
            return [AuditEntry(**row) for row in connection.execute(chosen).mappings()]
