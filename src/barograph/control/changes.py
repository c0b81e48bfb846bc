"""How often a kind of thing changed in the control plane, so that who keeps it in memory knows when to read it again.

The number rises in the transaction of the change itself: who reads the number first and the things after it has all
changes up to that number. Used by the repositories of this folder.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, select, update

from barograph.control.database import ControlPlane
from barograph.control.tables import changes

Subject = Literal["experiments", "rules", "silences"]


def count_change(connection: Connection, subject: Subject) -> None:
    """Count one more change, in the transaction under way."""
    connection.execute(update(changes).where(changes.c.subject == subject).values(number=changes.c.number + 1))


def count_of(plane: ControlPlane, subject: Subject) -> int:
    """The number now. Raises ControlError."""
    with plane.reading() as connection:
        return int(connection.execute(select(changes.c.number).where(changes.c.subject == subject)).scalar_one())
