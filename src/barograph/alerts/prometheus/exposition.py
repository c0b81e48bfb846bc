"""What the rules measure, as series that Prometheus can scrape: ``export`` writes rules over these and no others.

Read by ``/metrics``. A series is there as long as its alert stands by it: what fired and has no data now keeps its last
value, as the alert itself goes on; what is gone, or was not looked at for five minutes when it was to be, has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from barograph.alerts.lifecycle import LOOKBACK_SECONDS, Condition
from barograph.alerts.prometheus.expression import NAME
from barograph.alerts.prometheus.measurements import Newest
from barograph.alerts.prometheus.names import label_names, plain_name
from barograph.alerts.rule import ThresholdRule

VALUE = "barograph_alert_rule_value"
BROKEN = "barograph_alert_rule_broken"
ABOUT = {
    VALUE: "What an alert rule compares with its limit, by group, in the unit of its metric.",
    BROKEN: "Whether what an alert rule without a limit watches is not as it should be, by group.",
}
MEASURED = "barograph_metric_"  # and the name that an expression gives the metric
ABOUT_MEASURED = "The metric as an alert rule's expression measures it, over the rule's window, by group."


class Series(NamedTuple):
    """One series: its name, its labels and its present value."""

    name: str
    labels: dict[str, str]
    value: float


def rule_series(
    standing: Iterable[tuple[ThresholdRule, Mapping[str, str], Condition]], project: str, now: datetime
) -> Iterator[Series]:
    """A series for each group of each rule that was measured; ``standing`` says where each stands."""
    for rule, group, condition in standing:
        if condition.value is None or not _stands(condition, now, LOOKBACK_SECONDS + rule.interval_seconds):
            continue
        names = label_names(rule.by)
        labels = {"rule": rule.name, "project": project, **{names[name]: text for name, text in group.items()}}
        if rule.has_limit:
            yield Series(VALUE, labels, condition.value)
        else:
            broken = condition.is_waiting or (condition.has_fired and condition.clear_since is None)
            yield Series(BROKEN, labels, float(broken))


def measured_series(
    samples: Iterable[tuple[ThresholdRule, int, Newest]], project: str, now: datetime
) -> Iterator[Series]:
    """A series for each of the newest samples, which are of that second, of what a rule's expression names."""
    for rule, second, newest in samples:
        if now.timestamp() - second > LOOKBACK_SECONDS:
            continue
        for named, value in newest:
            labels = {name: text for name, text in named.items() if name != NAME}
            yield Series(served_name(named[NAME]), {"rule": rule.name, "project": project, **labels}, value)


def served_name(name: str) -> str:
    """What the metric is called under ``/metrics`` that an expression calls so."""
    return f"{MEASURED}{plain_name(name)}"


def _stands(condition: Condition, now: datetime, lookback: float) -> bool:
    at = condition.evaluated_at
    if at is None or (now - at).total_seconds() > lookback:
        return False
    if condition.has_fired or condition.is_waiting:
        return True
    return condition.state in ("inactive", "resolved") and condition.gone_since is None
