"""Which traces were decided, and when: the query event, or the line that says why there is none.

Asked by the assembler, for traces that an earlier life of the process may have decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from barograph.store.engine import Engine
from barograph.store.filters import from_micros, trace_place

_MOST = 1_000  # traces asked for in one question
_LOOK_BACK = 8  # days of arrival of lines that say why a trace is no query


def decisions(engine: Engine, project: str, traces: Sequence[str], not_a_query: str) -> dict[str, datetime]:
    """When each of them was decided; those that were not are left out. Raises EngineError."""
    found: dict[str, datetime] = {}
    for at in range(0, len(traces), _MOST):
        rows = engine.select(
            "SELECT trace_id AS trace, min(toUnixTimestamp64Micro(received_at)) AS decided FROM query "
            "WHERE project = {project:String} AND trace_id IN {ids:Array(String)} AND origin = 'internal' "
            f"AND {trace_place('{project:String}', '{ids:Array(String)}')} GROUP BY trace "
            "UNION ALL "
            "SELECT tags['trace_id'] AS trace, min(toUnixTimestamp64Micro(received_at)) AS decided FROM metric "
            f"WHERE project = {{project:String}} AND name = {{name:String}} AND arrived >= today() - {_LOOK_BACK} "
            "AND tags['trace_id'] IN {ids:Array(String)} GROUP BY trace",
            {"project": project, "ids": list(traces[at : at + _MOST]), "name": not_a_query},
        )
        found.update({row["trace"]: from_micros(int(row["decided"])) for row in rows})
    return found
