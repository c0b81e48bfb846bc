"""Rules over series, in groups: read from a Prometheus rule file, and evaluated tick by tick over samples.

``read_groups`` makes them from the parsed file and says what it cannot translate, and why. A ``Watch`` evaluates one
group: its rules in their order, each seeing what those before it have recorded in the same tick. The states of alerts
are moved by ``lifecycle`` with ``missing: prometheus``; a rule that cannot be evaluated keeps them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from barograph.alerts.alert import fingerprint
from barograph.alerts.lifecycle import INACTIVE as NEW
from barograph.alerts.lifecycle import LOOKBACK_SECONDS, Condition, Observation, Policy, step
from barograph.alerts.prometheus.expression import NAME, Node, selectors
from barograph.alerts.prometheus.kernel import Vector, evaluate
from barograph.alerts.prometheus.parser import parse
from barograph.alerts.prometheus.samples import STALE, Samples
from barograph.alerts.prometheus.template import Template
from barograph.alerts.prometheus.tokens import parse_seconds
from barograph_client.errors import InvalidRule

ALERT_NAME = "alertname"
STATES, SINCE = "ALERTS", "ALERTS_FOR_STATE"  # the series that Prometheus makes of its alerts

_FIELDS = {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}
_GROUP_FIELDS = {"name", "interval", "limit", "rules"}


class SeriesRule(Struct, frozen=True, kw_only=True):
    """One rule: an alert, or with ``records`` a series that later rules can ask for.

    ``text`` is the expression as it was written, ``asks`` the same as a tree.
    """

    name: str
    text: str
    asks: Node
    records: bool = False
    for_seconds: float = 0.0
    keep_firing_seconds: float = 0.0
    labels: dict[str, Template] = field(default_factory=dict)
    annotations: dict[str, Template] = field(default_factory=dict)


class SeriesGroup(Struct, frozen=True, kw_only=True):
    """Rules that are evaluated together, in order; more active alerts of one than ``limit`` (if any) are an error."""

    name: str
    rules: tuple[SeriesRule, ...]
    limit: int = 0


class Refusal(Struct, frozen=True, kw_only=True):
    """A rule that has no equivalent here, and why."""

    group: str
    rule: str
    reason: str


def read_groups(document: Mapping[str, Any]) -> tuple[list[SeriesGroup], list[Refusal]]:
    """The groups of a rule file (the mapping that a YAML or JSON reader gives), and the rules that are not in them."""
    groups: list[SeriesGroup] = []
    refusals: list[Refusal] = []
    lost: dict[str, str] = {}  # series that nobody records here, by the name of the rule that would have
    for group in document.get("groups") or ():
        name, unknown = str(group.get("name", "")), sorted(set(group) - _GROUP_FIELDS)
        rules: list[SeriesRule] = []
        for rule in group.get("rules") or ():
            title = str(rule.get("alert") or rule.get("record") or "")
            try:
                if unknown:
                    raise InvalidRule(f"the group has {', '.join(unknown)}, which is not known here")
                made = _read_rule(rule)
                _check_sources(made, lost)
                rules.append(made)
            except InvalidRule as error:
                refusals.append(Refusal(group=name, rule=title, reason=error.message))
                lost |= {title: title} if "record" in rule else {STATES: title, SINCE: title}
        groups.append(SeriesGroup(name=name, rules=tuple(rules), limit=int(group.get("limit") or 0)))
    return groups, refusals


def _read_rule(rule: Mapping[str, Any]) -> SeriesRule:
    unknown = sorted(set(rule) - _FIELDS)
    if unknown:
        raise InvalidRule(f"it has {', '.join(unknown)}, which is not known here")
    text = str(rule.get("expr", ""))
    return SeriesRule(
        name=str(rule.get("alert") or rule.get("record") or ""),
        text=text,
        asks=parse(text),
        records="record" in rule,
        for_seconds=parse_seconds(str(rule.get("for") or "0")),
        keep_firing_seconds=parse_seconds(str(rule.get("keep_firing_for") or "0")),
        labels={name: Template(str(value)) for name, value in (rule.get("labels") or {}).items()},
        annotations={name: Template(str(value)) for name, value in (rule.get("annotations") or {}).items()},
    )


def _check_sources(rule: SeriesRule, lost: Mapping[str, str]) -> None:
    for selector in selectors(rule.asks):
        for matcher in selector.matchers:
            if matcher.name == NAME and matcher.operator == "=" and matcher.value in lost:
                raise InvalidRule(f"it asks for {matcher.value}, and rule {lost[matcher.value]} cannot be translated")


class SeriesAlert(Struct, frozen=True, kw_only=True):
    """One alert of a rule: its labels (``alertname`` among them), what is said of it, and where it stands."""

    labels: dict[str, str]
    annotations: dict[str, str]
    condition: Condition


class Watch:
    """One group over samples, and where its alerts stand. Not shared between threads."""

    def __init__(self, group: SeriesGroup, samples: Samples, lookback: float = LOOKBACK_SECONDS) -> None:
        self._group = group
        self._samples = samples
        self._lookback = lookback
        self._alerts: list[dict[str, SeriesAlert]] = [{} for _ in group.rules]
        self._recorded: list[dict[str, dict[str, str]]] = [{} for _ in group.rules]
        self.errors: dict[str, str] = {}

    def tick(self, at: datetime) -> None:
        """Evaluate every rule at the scheduled time ``at``; ``errors`` then holds what could not be, by its name."""
        self.errors = {}
        for place, rule in enumerate(self._group.rules):
            try:
                found = evaluate(rule.asks, self._samples, at.timestamp(), self._lookback)
                recorded = self._series(rule, found) if rule.records else self._alert(place, rule, found, at)
            except InvalidRule as error:
                self.errors[rule.name] = error.message
                continue
            self._record(place, recorded, at.timestamp())

    def active(self) -> list[SeriesAlert]:
        """What is pending or fires now."""
        alerts = (alert for one in self._alerts for alert in one.values())
        return [alert for alert in alerts if alert.condition.state in ("pending", "firing")]

    def _alert(self, place: int, rule: SeriesRule, found: Vector, at: datetime) -> list[tuple[dict[str, str], float]]:
        """Move the rule's alerts by the elements that were found. Raises InvalidRule, then nothing has moved."""
        known = self._alerts[place]
        policy = _policy(rule)
        after: dict[str, SeriesAlert] = {}
        for labels, value in found:
            there = {name: text for name, text in labels.items() if name != NAME}
            named = there | {name: template.fill(labels, value) for name, template in rule.labels.items()}
            named = {name: text for name, text in named.items() if text} | {ALERT_NAME: rule.name}
            key = fingerprint(named)
            if key in after:
                raise InvalidRule("two alerts have the same labels", hint="Leave them a label that tells them apart.")
            before = known[key].condition if key in known else NEW
            condition, _ = step(before, Observation(outcome="breach", value=value), at, policy)
            annotations = {name: template.fill(labels, value) for name, template in rule.annotations.items()}
            after[key] = SeriesAlert(labels=named, annotations=annotations, condition=condition)
        for key, alert in known.items():
            if key not in after:
                condition, _ = step(
                    alert.condition, Observation(outcome="gone", value=alert.condition.value), at, policy
                )
                after[key] = SeriesAlert(labels=alert.labels, annotations=alert.annotations, condition=condition)
        active = {key: alert for key, alert in after.items() if alert.condition.state in ("pending", "firing")}
        self._alerts[place] = {}
        self._check_limit(len(active), "alerts")  # Prometheus forgets them all
        self._alerts[place] = active
        return [sample for alert in active.values() for sample in _as_series(rule, alert)]

    def _series(self, rule: SeriesRule, found: Vector) -> list[tuple[dict[str, str], float]]:
        """The samples of a rule that records. Raises InvalidRule."""
        samples: dict[str, tuple[dict[str, str], float]] = {}
        for labels, value in found:
            named = {name: text for name, text in labels.items() if name != NAME}
            named |= {name: template.text for name, template in rule.labels.items()}
            named = {name: text for name, text in named.items() if text} | {NAME: rule.name}
            if fingerprint(named) in samples:
                raise InvalidRule("two recorded series have the same labels", hint="Leave them a label that differs.")
            samples[fingerprint(named)] = (named, value)
        self._check_limit(len(samples), "series")
        return list(samples.values())

    def _check_limit(self, count: int, what: str) -> None:
        if 0 < self._group.limit < count:
            raise InvalidRule(f"{count} {what} are more than the limit of {self._group.limit}")

    def _record(self, place: int, samples: Sequence[tuple[dict[str, str], float]], at: float) -> None:
        """Keep what a rule has recorded, and mark the end of the series that it does not record any more."""
        series = {fingerprint(labels): labels for labels, _ in samples}
        for labels, value in samples:
            self._samples.add(labels, at, value)
        for key, labels in self._recorded[place].items():
            if key not in series:
                self._samples.add(labels, at, STALE)
        self._recorded[place] = series


def _policy(rule: SeriesRule) -> Policy:
    """As Prometheus: an element that is not there is clear at once, because selectors have looked back already."""
    return Policy(
        for_seconds=rule.for_seconds,
        keep_firing_seconds=rule.keep_firing_seconds,
        missing="prometheus",
        lookback_seconds=0.0,
        outage_seconds=math.inf,
    )


def _as_series(rule: SeriesRule, alert: SeriesAlert) -> Iterator[tuple[dict[str, str], float]]:
    """The samples that Prometheus makes of an alert. A label that was filled with nothing has its template there."""
    condition = alert.condition
    labels = {name: template.text for name, template in rule.labels.items() if template.text} | alert.labels
    yield {**labels, NAME: STATES, "alertstate": condition.state}, 1.0
    if condition.active_at is not None:
        yield {**labels, NAME: SINCE}, condition.active_at.timestamp()
