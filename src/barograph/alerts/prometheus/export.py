"""Rules of every kind as a rule file that Prometheus can load, over the series of ``exposition``.

Barograph measures, because it has the percentiles, periods and budgets; Prometheus compares, waits and tells. Takes
rules that were checked; hands back the text, in whose comments stands what is not the same there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from barograph.alerts.matcher import Matcher
from barograph.alerts.prometheus.exposition import BROKEN, VALUE, served_name
from barograph.alerts.prometheus.expression import (
    NAME,
    Absent,
    Binary,
    BinaryOperator,
    Matching,
    Node,
    Number,
    Selector,
    with_selectors,
)
from barograph.alerts.prometheus.names import label_names, plain_name
from barograph.alerts.prometheus.text import Yaml, duration, write, write_yaml
from barograph.alerts.rule import ThresholdRule
from barograph.alerts.rules.expression import ExpressionRule
from barograph.core.unit import format_value

GROUP = "barograph"
_NOTES = (
    "Made by Barograph. A server that has these rules serves the series that they name under /metrics.",
    "Barograph measures every 15 s; Prometheus 2.42 or later compares, waits and tells. Let it scrape as often.",
)
_TAKEN = ("alertname", "alertstate", "severity", "rule", "project")  # labels that an exported alert has already


def export(rules: Sequence[ThresholdRule]) -> str:
    """The YAML of a rule file with all of the rules."""
    notes = [*_NOTES, *(note for rule in rules for note in _differences(rule))]
    return write_yaml({"groups": [{"name": GROUP, "rules": [_rule(rule) for rule in rules]}]}, notes)


def _rule(rule: ThresholdRule) -> dict[str, Yaml]:
    exported: dict[str, Yaml] = {"alert": rule.name, "expr": write(expression(rule))}
    if rule.policy.for_seconds:
        exported["for"] = duration(rule.policy.for_seconds)
    if rule.policy.keep_firing_seconds:
        exported["keep_firing_for"] = duration(rule.policy.keep_firing_seconds)
    names = _own_names(rule)
    own = {names[name]: text for name, text in rule.labels.items()}
    if isinstance(rule, ExpressionRule):
        own |= {plain_name(name): made.text for name, made in rule.filled.items()}
    exported["labels"] = {"severity": rule.severity, **own}
    known = {"alertname": rule.name, "severity": rule.severity, **rule.labels}
    told = label_names([*rule.annotations], ())
    annotations = {told[name]: _templated(made.text, known) for name, made in rule.annotations.items()}
    if rule.runbook:
        annotations["runbook_url"] = _literally(rule.runbook)
    said = rule.condition if isinstance(rule, ExpressionRule) else f"{rule.metric.title}: {rule.condition}"
    summary = _literally(rule.message or said)
    exported["annotations"] = {"summary": summary, **annotations}
    return exported


def _own_names(rule: ThresholdRule) -> dict[str, str]:
    """The rule's own labels as Prometheus can have them, beside those of its series."""
    return label_names([*rule.labels], (*_TAKEN, *label_names(rule.by).values()))


def _literally(text: str) -> str:
    """The text with what would be a template in Prometheus made to stand for itself."""
    return text.replace("{{", '{{ "{{" }}')


def _templated(text: str, known: Mapping[str, str]) -> str:
    """A template of ours as one of Prometheus, where an alert knows the labels of its series and no others."""

    def constant(found: re.Match[str]) -> str:
        return json.dumps(known[found[1]], ensure_ascii=False) if found[1] in known else found[0]

    def part(found: re.Match[str]) -> str:
        return re.sub(r"(?:\$labels|\.Labels)\.([a-zA-Z_]\w*)", constant, found[0], flags=re.ASCII)

    return re.sub(r"\{\{.*?\}\}", part, text, flags=re.DOTALL)


def _differences(rule: ThresholdRule) -> list[str]:
    if isinstance(rule, ExpressionRule):
        held = f"it holds for {format_value(rule.lookback_seconds, 's')}"
        return [
            f"{rule.name}: the last sample of a series ends with it in Prometheus, where without events here {held}."
        ]
    if rule.policy.no_data == "alerting" and rule.by:
        return [f"{rule.name}: a group without data is no alert in Prometheus, which does not know that there was one."]
    return []


def expression(rule: ThresholdRule) -> Node:
    """What Prometheus has to be asked. A rule that resolves elsewhere than at its limit looks at its own alerts."""
    if isinstance(rule, ExpressionRule):
        return with_selectors(rule.asks, lambda selector: _served(selector, rule))
    value = _series(VALUE if rule.has_limit else BROKEN, rule)
    broken: Node = Binary(operator="==", left=value, right=Number(1.0))
    if rule.has_limit:
        sides: tuple[tuple[BinaryOperator, float | None], ...] = ((">", rule.above), ("<", rule.below))
        broken, *others = [_passed(rule, value, operator, limit) for operator, limit in sides if limit is not None]
        for other in others:
            broken = Binary(operator="or", left=broken, right=other)
    if rule.policy.no_data == "alerting" and not rule.by:
        return Binary(operator="or", left=broken, right=Absent(of=value))
    return broken


def _served(selector: Selector, rule: ExpressionRule) -> Selector:
    """The series under which the server shows the samples that the rule's own selector has."""
    named, *others = sorted(selector.matchers, key=lambda one: one.name != NAME)
    served = Matcher(NAME, "=", served_name(named.value))
    return replace(selector, matchers=(served, Matcher("rule", "=", rule.name), *others))


def _passed(rule: ThresholdRule, value: Selector, operator: BinaryOperator, limit: float) -> Node:
    """The limit is passed; or the alert fires, and the value is not back at ``resolve`` yet."""
    passed = Binary(operator=operator, left=value, right=Number(limit))
    if rule.resolve is None:
        return passed
    firing = Selector(
        matchers=(
            Matcher(NAME, "=", "ALERTS"),
            Matcher("alertname", "=", rule.name),
            Matcher("alertstate", "=", "firing"),
        )
    )
    added = ("alertname", "alertstate", "severity", *_own_names(rule).values())  # to the labels of the series
    between = Binary(
        operator="and",
        left=Binary(operator=operator, left=value, right=Number(rule.resolve)),
        right=firing,
        matching=Matching(labels=added),
    )
    return Binary(operator="or", left=passed, right=between)


def _series(name: str, rule: ThresholdRule) -> Selector:
    return Selector(matchers=(Matcher(NAME, "=", name), Matcher("rule", "=", rule.name)))
