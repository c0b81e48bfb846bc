"""Ratio rules: one metric over another, such as the cost of a session or the errors of one pipeline among all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import asdict, replace

from barograph.alerts.rules.bounds import bounds_of_quotient
from barograph.alerts.rules.threshold import ThresholdRule, grouped, inside, make_threshold, metric_of
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import MetricAnswer, MetricQuery, MetricRow
from barograph.core.settings import RuleSettings
from barograph_client.errors import InvalidRule, shorten


class RatioRule(ThresholdRule, frozen=True, kw_only=True):
    """The metric divided by ``per`` in the same window and group. ``minimum`` counts the events of ``per``."""

    per: Metric

    def questions(self, end: datetime, project: str) -> tuple[MetricQuery, ...]:
        """The metric, and what it is divided by."""
        question = self.question(end, project)
        return question, replace(question, metric=self.per.name)

    def rows(self, answers: Sequence[MetricAnswer]) -> Sequence[MetricRow]:
        """One row for each group of ``per``; a count without events is zero, any other metric is not measured."""
        of, per = grouped(answers[0].rows), answers[1].rows
        nothing = 0.0 if self.metric.aggregation in ("count", "sum", "rate") else None
        rows = []
        for row in per:
            found = of.get(tuple(row.group.values()))
            value = nothing if found is None else found.value
            rows.append(replace(row, value=value / row.value if value is not None and row.value else None))
        return rows

    @property
    def condition(self) -> str:
        """The rule in short."""
        return self.stated(f"{self.metric.name} / {self.per.name}")


def make_ratio(settings: RuleSettings, metric: Metric, catalogue: Catalogue) -> RatioRule:
    """The ratio rule of those settings. Raises InvalidRule."""
    if not settings.per:
        raise InvalidRule(f"rule {shorten(settings.name)}: a ratio needs per", hint="Name the metric to divide by.")
    per = metric_of(settings, settings.per, catalogue)
    unit = "ratio" if metric.unit == per.unit else metric.unit
    shown = replace(metric, title=f"{metric.title} / {inside(per)}", unit=unit)
    bounds = bounds_of_quotient(f"{metric.name} / {per.name}", metric, per)
    return RatioRule(**asdict(make_threshold(settings, shown, bounds)), per=per)
