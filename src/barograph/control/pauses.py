"""The change of data in migration 12: experiments know when they were paused, and not only for how long.

Apart from the tables of today, as every migration: it reads and writes what there was then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlalchemy import Connection, text

_DEFINITIONS = "SELECT project, key, definition FROM experiments"
_MOVES = (
    "SELECT time, action FROM audit WHERE project = :project AND subject = :subject "
    "AND action IN ('pause', 'start', 'stop') ORDER BY id"
)
_SAVE = "UPDATE experiments SET definition = :definition WHERE project = :project AND key = :key"


def pauses_from_audit(connection: Connection) -> None:
    """Put the pauses in the place of their sum, by what the audit log says of them."""
    for project, key, definition in connection.execute(text(_DEFINITIONS)).all():
        known = json.loads(definition)
        if known.pop("paused_seconds", None) is None:
            continue
        moves = connection.execute(text(_MOVES), {"project": project, "subject": f"experiment:{key}"})
        known["pauses"] = _pauses((time, action) for time, action in moves)
        changed = json.dumps(known, allow_nan=False, separators=(",", ":"))
        connection.execute(text(_SAVE), {"definition": changed, "project": project, "key": key})


def _pauses(moves: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """In their order and with no time in common; times are of one form, which sorts as time does."""
    found: list[dict[str, str]] = []
    begun, over = "", ""
    for time, action in moves:
        if begun and begun < time:
            found.append({"start": begun, "end": time})
            over = time
        begun = max(time, over) if action == "pause" else ""
    return found
