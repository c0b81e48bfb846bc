"""Absence rules: fire when there are no events, of all together or of a group that had some."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from msgspec.structs import asdict, replace

from barograph.alerts.rules.bounds import Bounds
from barograph.alerts.rules.threshold import LONGEST_WINDOW, ThresholdRule, grouped, inside, make_threshold, seconds_of
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import MetricAnswer, MetricQuery, MetricRow, Window
from barograph.core.settings import RuleSettings
from barograph.core.unit import format_value
from barograph_client.errors import InvalidRule, shorten

REMEMBERED_SECONDS = 86400.0  # a group without an event for so long is not expected any more


class AbsenceRule(ThresholdRule, frozen=True, kw_only=True):
    """Fires when nothing was measured in the window; by group for those seen within ``remembered_seconds``."""

    remembered_seconds: float = REMEMBERED_SECONDS

    back: ClassVar[str] = "are there again"

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """The window, and for groups the longer time that says which there should be."""
        question = self.question(end, project)
        if not self.by:
            return (question,)
        return replace(question, window=Window.last(self.remembered_seconds, end)), question

    def rows(self, answers: Sequence[MetricAnswer]) -> Sequence[MetricRow]:
        """The number of events of each group that there should be; it is known to be zero, so it is never missing."""
        now = grouped(answers[-1].rows)
        if not self.by:
            row = next(iter(now.values()), None)
            count = row.n if row else 0
            end = answers[0].complete_to
            return (MetricRow(start=end, end=end, value=float(count), n=max(1, count)),)
        rows = []
        for row in answers[0].rows:
            found = now.get(tuple(row.group.values()))
            count = found.n if found else 0
            rows.append(replace(row, value=float(count), n=max(1, count)))
        return rows

    @property
    def condition(self) -> str:
        """The rule in short."""
        by = f" by {', '.join(self.by)}" if self.by else ""
        return f"no events of {self.metric.name} over {format_value(self.window_seconds, 's')}{by}"


def make_absence(settings: RuleSettings, metric: Metric, catalogue: Catalogue) -> AbsenceRule:
    """The absence rule of those settings. Raises InvalidRule."""
    name = shorten(settings.name)
    if settings.above is not None or settings.below is not None or settings.resolve is not None:
        raise InvalidRule(f"rule {name}: absence has no limit", hint="Leave above, below and resolve out.")
    remembered = seconds_of(name, "lookback", settings.lookback, LONGEST_WINDOW) if settings.lookback else None
    window = seconds_of(name, "window", settings.window, LONGEST_WINDOW)
    if remembered is not None and remembered <= window:
        raise InvalidRule(
            f"rule {name}: groups would be forgotten before they are missed",
            hint="Make lookback longer than window.",
            value=settings.lookback,
        )
    message = settings.message or f"No events of {inside(metric)} for {format_value(window, 's')}"
    made = make_threshold(
        replace(settings, below=1.0, minimum=1, lookback="", message=message),
        replace(metric, title=f"Events of {inside(metric)}", unit="1"),
        Bounds("the number of events", 0),
    )
    return AbsenceRule(**asdict(made), remembered_seconds=remembered or max(REMEMBERED_SECONDS, 2 * window))
