"""One row of an answer as an observation: what a group shows, compared with its rule's limits.

Read by ``evaluator``, which asks live, by ``detectors``, which judge a series, and by ``backtest``.
"""

from __future__ import annotations

import math

from barograph.alerts.lifecycle import Observation
from barograph.alerts.rules.expression import ExpressionRule
from barograph.alerts.rules.threshold import ThresholdRule
from barograph.core.query import MetricRow
from barograph.core.unit import counted


def look(rule: ThresholdRule, row: MetricRow) -> Observation:
    """One row against the rule's limits. NaN, None and fewer events than the minimum are no data; ±inf compares.

    To a rule that takes missing data as Prometheus does, NaN passes no limit, and nothing measured is a series gone.
    An element of an expression is a breach, whatever its value is.
    """
    value = row.value
    if isinstance(rule, ExpressionRule):  # it has compared already
        return Observation(outcome="breach", value=value, n=row.n)
    as_prometheus = rule.policy.missing == "prometheus"
    if value is None:
        return Observation(outcome="gone" if as_prometheus else "nodata", n=row.n, reason=rule.nothing)
    if math.isnan(value):
        return Observation(outcome="clear" if as_prometheus else "nodata", n=row.n, reason=rule.nothing)
    if row.n < rule.minimum:
        return Observation(
            outcome="nodata",
            value=value,
            n=row.n,
            reason=f"{counted(row.n, 'event')} in the window, {rule.minimum} are needed",
        )
    threshold = rule.crossed(value)
    if threshold is not None:
        return Observation(outcome="breach", value=value, n=row.n, threshold=threshold)
    return Observation(outcome="between" if rule.is_between(value) else "clear", value=value, n=row.n)


def labels_of(rule: ThresholdRule, row: MetricRow) -> dict[str, str]:
    """The group that a row is of."""
    return {name: row.group.get(name, "") for name in rule.by}
