"""Threshold rules as a rule file that Prometheus can load, as far as they have an equivalent.

Series are named as an exporter of Barograph's events would name them: ``barograph_query_total`` counts, numbers of
events are histograms such as ``barograph_query_response_time_seconds``, recorded numbers and the system's are gauges.
Takes rules that were checked; hands back the text and, for those without an equivalent, the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from barograph.alerts.matcher import Matcher
from barograph.alerts.prometheus.expression import (
    NAME,
    Aggregate,
    Aggregation,
    Binary,
    BucketQuantile,
    Node,
    Number,
    Over,
    OverFunction,
    Selector,
)
from barograph.alerts.prometheus.rules import Refusal
from barograph.alerts.prometheus.text import Yaml, duration, write, write_yaml
from barograph.alerts.rule import ThresholdRule
from barograph.core.metric import Measure, Metric
from barograph.core.query import Filter
from barograph.core.unit import format_value
from barograph_client.errors import InvalidInput, InvalidRule

GROUP = "barograph"
_GAUGES = ("system", "metric")  # kinds whose numbers are levels, not what happened
_UNITS = {"s": "_seconds", "B": "_bytes", "USD": "_usd"}
_GAUGE_FUNCTIONS: dict[str, OverFunction] = {
    "mean": "avg_over_time",
    "sum": "sum_over_time",
    "min": "min_over_time",
    "max": "max_over_time",
    "last": "last_over_time",
    "count": "count_over_time",
}
_JOINED: dict[str, Aggregation] = {"min": "min", "max": "max", "sum": "sum", "count": "sum"}  # over series; else avg


def export(rules: Sequence[ThresholdRule]) -> tuple[str, list[Refusal]]:
    """The YAML of a rule file, and the rules that are not in it."""
    made: list[Yaml] = []
    refusals: list[Refusal] = []
    notes = ["Made by Barograph. It needs an exporter of the series that it names."]
    for rule in rules:
        try:
            made.append(_rule(rule))
            notes += _differences(rule)
        except InvalidInput as error:  # also an expression that a matcher cannot have
            refusals.append(Refusal(group=GROUP, rule=rule.name, reason=error.message))
            notes.append(f"Not exported: {rule.name}: {error.message}.")
    return write_yaml({"groups": [{"name": GROUP, "rules": made}]}, notes), refusals


def _rule(rule: ThresholdRule) -> dict[str, Yaml]:
    if type(rule) is not ThresholdRule:
        raise InvalidRule(f"{rule.condition} is asked here alone")
    if rule.resolve is not None:
        raise InvalidRule("Prometheus has no resolve threshold")
    exported: dict[str, Yaml] = {"alert": rule.name, "expr": write(expression(rule))}
    if rule.policy.for_seconds:
        exported["for"] = duration(rule.policy.for_seconds)
    if rule.policy.keep_firing_seconds:
        exported["keep_firing_for"] = duration(rule.policy.keep_firing_seconds)
    exported["labels"] = {"severity": rule.severity}
    exported["annotations"] = {"summary": _literally(rule.message or f"{rule.metric.title}: {rule.condition}")}
    return exported


def _literally(text: str) -> str:
    """The text with what would be a template in Prometheus made to stand for itself."""
    return text.replace("{{", '{{ "{{" }}')


def _differences(rule: ThresholdRule) -> list[str]:
    if rule.policy.missing == "prometheus" and rule.policy.no_data != "alerting":
        return []
    meaning = format_value(rule.policy.lookback_seconds, "s")
    return [
        f"{rule.name}: Prometheus resolves without data after 5 min; Barograph, when a group is gone, in {meaning}."
    ]


def expression(rule: ThresholdRule) -> Node:
    """What Prometheus has to be asked. Raises InvalidRule with the reason where there is no equivalent."""
    matchers = tuple(_matcher(condition) for condition in rule.where)
    by = tuple(_label(name) for name in rule.by)
    value, counted = _value(rule.metric, matchers, by, rule.window_seconds)
    limits = [
        Binary(operator=">" if word == "above" else "<", left=value, right=Number(limit))
        for word, limit in (("above", rule.above), ("below", rule.below))
        if limit is not None
    ]
    broken: Node = limits[0]
    for other in limits[1:]:
        broken = Binary(operator="or", left=broken, right=other)
    if rule.minimum <= 1:
        return broken
    enough = Binary(operator=">=", left=counted, right=Number(float(rule.minimum)))
    return Binary(operator="and", left=broken, right=enough)


def _value(metric: Metric, matchers: tuple[Matcher, ...], by: tuple[str, ...], seconds: float) -> tuple[Node, Node]:
    """The metric's value, and how many events were measured for it."""

    def summed(name: str, function: OverFunction = "increase", *more: Matcher, labels: tuple[str, ...] = by) -> Node:
        selector = Selector(matchers=(Matcher(NAME, "=", name), *more, *matchers))
        return Aggregate(operator="sum", of=Over(function=function, of=selector, seconds=seconds), labels=labels)

    def events(measure: Measure) -> Node:
        """How many events a side of a ratio counts."""
        if measure.where is not None and measure.where[1] == "present":
            return summed(f"{_series(Measure(measure.kind, measure.where[0]), metric)}_count")
        if measure.field:
            return summed(f"{_series(measure, metric)}_sum")
        where = () if measure.where is None else (Matcher(measure.where[0], "=", measure.where[1]),)
        return summed(f"{_series(measure, metric)}_total", "increase", *where)

    of, name = metric.of, _series(metric.of, metric)
    if of.kind in _GAUGES:
        return _gauge(metric, name, matchers, by, seconds)
    if metric.aggregation == "ratio" and metric.per is not None:
        return Binary(operator="/", left=events(of), right=events(metric.per)), events(metric.per)
    if metric.aggregation in ("count", "rate"):
        counted = events(of)
        if metric.aggregation == "count":
            return counted, counted
        return Binary(operator="/", left=counted, right=Number(seconds / 60)), counted
    counted = summed(f"{name}_count")
    if metric.aggregation == "sum":
        return summed(f"{name}_sum"), counted
    if metric.aggregation == "mean":
        return Binary(operator="/", left=summed(f"{name}_sum"), right=counted), counted
    if metric.aggregation == "quantile" and metric.level is not None:
        buckets = summed(f"{name}_bucket", "rate", labels=("le", *by))
        return BucketQuantile(level=metric.level, of=buckets), counted
    raise InvalidRule(f"{metric.name} is a {metric.aggregation}, which Prometheus cannot take over such series")


def _gauge(
    metric: Metric, name: str, matchers: tuple[Matcher, ...], by: tuple[str, ...], seconds: float
) -> tuple[Node, Node]:
    selector = Selector(matchers=(Matcher(NAME, "=", name), *matchers))
    function = _GAUGE_FUNCTIONS.get(metric.aggregation)
    if function is None:
        raise InvalidRule(
            f"{metric.name} is a {metric.aggregation} of a level, which Prometheus cannot take over series"
        )
    over: Node = Over(function=function, of=selector, seconds=seconds)
    joined = _JOINED.get(metric.aggregation, "avg")
    counted = Over(function="count_over_time", of=selector, seconds=seconds)
    return (
        Aggregate(operator=joined, of=over, labels=by),
        Aggregate(operator="sum", of=counted, labels=by),
    )


def _series(measure: Measure, metric: Metric) -> str:
    """The name of a measure's series; a recorded number has its own."""
    if measure.kind == "metric" and measure.name:
        return _label(measure.name)
    parts = ["barograph", measure.kind, measure.name, measure.field if measure.field != "value" else ""]
    unit = _UNITS.get(metric.unit, "") if measure.field else ""
    return _label("_".join(part for part in parts if part)) + unit


def _whole(pattern: str) -> str:
    """The regular expression that matches a whole text in which that one is found."""
    alone = "|" not in pattern
    before, after = not (alone and pattern.startswith("^")), not (alone and pattern.endswith("$"))
    inner = pattern[0 if before else 1 : None if after else -1]
    return f"{'.*' if before else ''}(?:{inner}){'.*' if after else ''}"


def _label(name: str) -> str:
    cleaned = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return f"_{cleaned}" if cleaned[:1].isdigit() else cleaned


def _matcher(condition: Filter) -> Matcher:
    label, values = _label(condition.field), condition.values
    if condition.field.startswith("variant.") or condition.op in ("gte", "lte"):
        raise InvalidRule(f"the filter {condition.field}:{condition.op} asks for more than a label")
    if condition.op == "eq":
        return Matcher(label, "=", values[0])
    if condition.op == "ne":
        return Matcher(label, "!=", values[0])
    if condition.op == "exists":
        return Matcher(label, "!=", "")
    if condition.op == "match":
        return Matcher(label, "=~", _whole(values[0]))
    texts = "|".join(re.escape(value) for value in values)
    return Matcher(label, "=~", texts if condition.op == "in" else f".*{texts}.*")
