"""Unseen rules: of all the different ones that are known (documents, users), the share that the window did not see.

How many are known is told by the rule, or counted over ``lookback`` before the end of the window, which is longer.
Where what is asked for stays as it is, at most 1 - window / lookback of them are expected to be missing: that of what
comes once in that time. A limit above it is passed when some are really not found any more, or traffic fell.
"""

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

LOOKBACK = "30d"


class UnseenRule(ThresholdRule, frozen=True, kw_only=True):
    """The share of ``known`` different ones, or of those of ``lookback_seconds``, that are not in the window.

    Both numbers are counted by sketches, to about 1 %. ``minimum`` counts the window's events.
    """

    known: int = 0
    lookback_seconds: float

    slides: ClassVar[bool] = False

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """The window, and unless it is told how many are known the longer one that ends with it."""
        question = self.question(end, project)
        if self.known:
            return (question,)
        return replace(question, window=Window.last(self.lookback_seconds, end)), question

    def rows(self, answers: Sequence[MetricAnswer]) -> Sequence[MetricRow]:
        """The share of each group; None where nothing is known. A group that the window has nothing of has n = 0."""
        if self.known:
            return [self._share(row, float(self.known), row) for row in answers[0].rows]
        seen = grouped(answers[1].rows)
        return [self._share(row, row.value, seen.get(tuple(row.group.values()))) for row in answers[0].rows]

    @staticmethod
    def _share(row: MetricRow, known: float | None, seen: MetricRow | None) -> MetricRow:
        if not known or seen is None or seen.value is None:
            return replace(row, value=None, n=0)
        return replace(row, value=max(0.0, 1 - seen.value / known), n=seen.n)

    @property
    def condition(self) -> str:
        """The rule in short."""
        of = f"{self.known:,} known" if self.known else f"those of {format_value(self.lookback_seconds, 's')}"
        return self.stated(f"share of {of} not in {self.metric.name}")


def make_unseen(settings: RuleSettings, metric: Metric, catalogue: Catalogue) -> UnseenRule:
    """The unseen rule of those settings. Raises InvalidRule."""
    name = shorten(settings.name)
    if metric.aggregation != "distinct":
        raise InvalidRule(
            f"rule {name}: {metric.name} counts nothing that could be seen again",
            hint="Name a count of different ones, such as retrieval.distinct_documents.",
            value=metric.name,
        )
    if settings.known and settings.lookback:
        raise InvalidRule(f"rule {name}: known and lookback say the same", hint="Leave one of them out.")
    lookback = seconds_of(name, "lookback", settings.lookback or LOOKBACK, LONGEST_WINDOW)
    shown = replace(metric, title=f"Share of {inside(metric)} not seen", unit="ratio")
    made = make_threshold(
        replace(settings, lookback=""), shown, Bounds("a share", 0, 1, "Nine out of ten are above = 0.9.")
    )
    if not settings.known and lookback <= made.window_seconds:
        raise InvalidRule(
            f"rule {name}: what is known would be what is seen",
            hint="Make lookback longer than window.",
            value=settings.lookback or LOOKBACK,
        )
    return UnseenRule(**asdict(made), known=settings.known, lookback_seconds=lookback)
