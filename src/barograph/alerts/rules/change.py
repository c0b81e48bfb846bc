"""Change rules: a metric against itself in an earlier period, as a share of what it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import asdict, replace

from barograph.alerts.rules.bounds import bounds_of_change
from barograph.alerts.rules.threshold import ThresholdRule, grouped, inside, make_threshold
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import MetricAnswer, MetricQuery, MetricRow, Period
from barograph.core.settings import RuleSettings
from barograph_client.errors import InvalidRule, shorten

_WORDS: dict[Period, str] = {"previous": "the window before", "day": "the day before", "week": "the week before"}


class ChangeRule(ThresholdRule, frozen=True, kw_only=True):
    """How much the metric rose since the earlier period: 0.5 is half more, -0.5 half of it.

    ``minimum`` holds for both periods. What was zero, or not measured, has no change.
    """

    compare: Period

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """The metric beside the earlier period."""
        return (replace(self.question(end, project), compare=self.compare),)

    def rows(self, answers: Sequence[MetricAnswer]) -> Sequence[MetricRow]:
        """The relative change of each group that is in both periods; ``n`` is that of the smaller one."""
        before = grouped(answers[0].before)
        return [_changed(row, before.get(tuple(row.group.values()))) for row in answers[0].rows]

    @property
    def nothing(self) -> str:
        """There is a change only from what was."""
        return f"nothing to compare: no data now, or none but zero in {_WORDS[self.compare]}"

    @property
    def condition(self) -> str:
        """The rule in short."""
        return self.stated(f"change of {self.metric.name} against {_WORDS[self.compare]}")


def _changed(row: MetricRow, before: MetricRow | None) -> MetricRow:
    if before is None or not before.value or row.value is None:
        return replace(row, value=None, n=0 if before is None else min(row.n, before.n))
    change = (row.value - before.value) / abs(before.value)
    return replace(row, value=change, n=min(row.n, before.n))


def make_change(settings: RuleSettings, metric: Metric, catalogue: Catalogue) -> ChangeRule:
    """The change rule of those settings. Raises InvalidRule."""
    name = shorten(settings.name)
    if settings.compare is None:
        raise InvalidRule(f"rule {name}: a change needs compare", hint='Write compare = "previous", "day" or "week".')
    shown = replace(metric, title=f"Change of {inside(metric)} against {_WORDS[settings.compare]}", unit="ratio")
    made = make_threshold(settings, shown, bounds_of_change(f"the change of {metric.name}", metric))
    return ChangeRule(**asdict(made), compare=settings.compare)
