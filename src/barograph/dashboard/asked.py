"""A metric question as people asked it, and its answer as a document for programs.

The command line draws its picture from the same; the server answers with the document.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from msgspec import Struct

from barograph.analytics.period import bucket_of
from barograph.core.query import Calendar, MetricAnswer, MetricRow, Period, Window


class Asked(Struct, frozen=True, kw_only=True):
    """The question as far as its picture needs it; ``missing`` says why the earlier period is not to be compared."""

    title: str
    window: Window
    zone: ZoneInfo
    every: float | Calendar | None = None
    compare: Period | None = None
    missing: str = ""

    def is_partial(self, row: MetricRow, answer: MetricAnswer) -> bool:
        """Whether the row is only a part of its bucket: cut by the window, or with data still to come."""
        if self.every is None:
            return False
        whole = bucket_of(row.start, self.every, self.zone)
        return whole.start < row.start or row.end < whole.end or row.end > answer.complete_to


def document(answer: MetricAnswer, asked: Asked) -> dict[str, object]:
    """The answer for programs; docs/cli.md tells its form."""

    def plain(row: MetricRow) -> dict[str, object]:
        return {
            "from": row.start,
            "to": row.end,
            "value": row.value,
            "n": row.n,
            **({"partial": True} if asked.is_partial(row, answer) else {}),
            **({"group": row.group} if row.group else {}),
        }

    notes = [*answer.notes, *filter(None, [asked.missing])]
    return {
        "metric": answer.metric,
        "unit": answer.unit,
        "rows": [plain(row) for row in answer.rows],
        "complete_to": answer.complete_to,
        **({"before": [plain(row) for row in answer.before]} if answer.before else {}),
        **({"notes": notes} if notes else {}),
    }
