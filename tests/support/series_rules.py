"""A Prometheus rule file over given series, by the parser, kernel and state machine that expression rules have.

``read_groups`` makes groups from the parsed file and says what it cannot translate, and why. A ``Watch`` evaluates one
group as Prometheus does: its rules in their order, each seeing what those before it have recorded in the same tick.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from barograph.alerts.alert import fingerprint
from barograph.alerts.lifecycle import INACTIVE as NEW
from barograph.alerts.lifecycle import LOOKBACK_SECONDS, Condition, Observation, Policy, step
from barograph.alerts.matcher import all_match
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
    """A rule that has no equivalent here, and why; with ``records`` one that would have recorded a series."""

    group: str
    rule: str
    reason: str
    records: bool = False
    labels: dict[str, str] = field(default_factory=dict)  # as they are written


def read_groups(document: Mapping[str, Any]) -> tuple[list[SeriesGroup], list[Refusal]]:
    """The groups of a rule file (the mapping that a YAML or JSON reader gives), and the rules that are not in them."""
    made: list[tuple[str, int, list[SeriesRule | Refusal]]] = []
    for group in document.get("groups") or ():
        name, unknown = str(group.get("name", "")), sorted(set(group) - _GROUP_FIELDS)
        rules: list[SeriesRule | Refusal] = []
        for rule in group.get("rules") or ():
            try:
                if unknown:
                    raise InvalidRule(f"the group has {', '.join(unknown)}, which is not known here")
                rules.append(_read_rule(rule))
            except InvalidRule as error:
                title, labels = str(rule.get("alert") or rule.get("record") or ""), rule.get("labels") or {}
                written = {label: str(text) for label, text in labels.items()}
                rules.append(
                    Refusal(group=name, rule=title, reason=error.message, records="record" in rule, labels=written)
                )
        made.append((name, int(group.get("limit") or 0), rules))
    while _refuse_dependents(made):  # one that is refused may leave others without what they ask for
        pass
    groups = [
        SeriesGroup(name=name, rules=tuple(one for one in rules if isinstance(one, SeriesRule)), limit=limit)
        for name, limit, rules in made
    ]
    return groups, [one for _, _, rules in made for one in rules if isinstance(one, Refusal)]


def _refuse_dependents(made: Sequence[tuple[str, int, list[SeriesRule | Refusal]]]) -> bool:
    """Refuse each rule that asks for what one that was refused would have given; whether there was any."""
    lost = [one for _, _, rules in made for one in rules if isinstance(one, Refusal)]
    found = False
    for group, _, rules in made:
        for place, rule in enumerate(rules):
            if isinstance(rule, SeriesRule) and (why := _lost_source(rule, lost)):
                labels = {name: template.text for name, template in rule.labels.items()}
                rules[place] = Refusal(group=group, rule=rule.name, reason=why, records=rule.records, labels=labels)
                found = True
    return found


def _lost_source(rule: SeriesRule, lost: Iterable[Refusal]) -> str:
    """Why a rule cannot be evaluated although it was translated; nothing where it can."""
    for selector in selectors(rule.asks):
        for one in lost:
            for series in _given(one):
                known = [matcher for matcher in selector.matchers if matcher.name in series]
                if all_match(known, series):
                    return f"it asks for {series[NAME]}, and rule {one.rule} cannot be translated"
    return ""


def _given(refused: Refusal) -> list[dict[str, str]]:
    """The labels that are known of the series which a refused rule would have given."""
    if refused.records:
        return [{NAME: refused.rule}]
    return [{NAME: name, ALERT_NAME: refused.rule} for name in (STATES, SINCE)]


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
