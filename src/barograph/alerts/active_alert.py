"""What the alert manager tells: alerts with their sentence, where each rule stands, and what it has counted.

Made by ``alert_manager``; handed to status, pages and the command line. Group values come from users and are shown
cut to a bounded length, with control characters made visible.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from barograph.alerts.alert import Alert, KeptBack
from barograph.alerts.lifecycle import Condition, State, is_active
from barograph.alerts.prometheus.names import label_names
from barograph.alerts.rule import Severity, ThresholdRule
from barograph.alerts.rule_set import BrokenRule, Source
from barograph.core.metric import Metric
from barograph.core.unit import format_value
from barograph_client.errors import shorten

TOO_MANY_GROUPS = "TooManyGroups"  # the name of the alert that a rule has more groups than are watched
NOT_EVALUATED = "RulesNotEvaluated"  # the name of the alert that no rule could be evaluated for some minutes
RULE_ERROR = "RuleError"  # the name of the alert that a rule cannot be evaluated
_LABEL_LENGTH = 60
_MESSAGE_LENGTH = 500
_WORST: tuple[State, ...] = ("firing", "error", "pending", "nodata", "resolved", "inactive")


class ActiveAlert(Struct, frozen=True, kw_only=True):
    """One alert of a rule, or about the rules, as people are told of it.

    ``state`` is firing or pending; or nodata or error, when nothing could be seen since it fired or its rule cannot be
    evaluated. ``sentence`` begins with ``ALERT:`` or ``PENDING:``, or with what keeps people from being told of it
    again, ``HELD:`` or ``ACKNOWLEDGED:``. ``labels`` say which group of the rule; ``data_at`` is up to when there were
    data, where there are none now.
    """

    rule: str
    metric: str
    severity: Severity
    state: State
    labels: dict[str, str] = field(default_factory=dict)
    value: float | None = None
    threshold: float | None = None
    unit: str = "1"
    active_at: datetime | None = None
    fired_at: datetime | None = None
    data_at: datetime | None = None
    sentence: str
    reason: str = ""
    kept_back: KeptBack = ""


class RuleStatus(Struct, frozen=True, kw_only=True):
    """Where a rule stands: its worst group's state, how many groups stand in which, and what was seen last.

    ``error`` says why it cannot be evaluated, also while something fires that fired before.
    """

    rule: str
    metric: str
    condition: str
    for_seconds: float = 0.0
    severity: Severity
    state: State
    groups: dict[str, int] = field(default_factory=dict)
    value: float | None = None
    unit: str = "1"
    reason: str = ""
    error: str = ""
    evaluated_at: datetime | None = None
    source: Source = "file"


def rule_status(rule: ThresholdRule, conditions: Sequence[Condition], note: str, source: Source) -> RuleStatus:
    """Where a rule stands whose groups stand there; ``note`` says why these are not all."""
    worst = min(conditions, key=lambda condition: _WORST.index(condition.state), default=None)
    return RuleStatus(
        rule=rule.name,
        metric=rule.metric.name,
        condition=rule.condition,
        for_seconds=rule.for_seconds,
        severity=rule.severity,
        state=worst.state if worst else "inactive",
        groups=dict(Counter(str(condition.state) for condition in conditions)),
        value=worst.value if worst else None,
        unit=rule.metric.unit,
        reason=(worst.reason if worst else "not evaluated yet") or note,
        error=next((condition.reason for condition in conditions if condition.state == "error"), ""),
        evaluated_at=max((c.evaluated_at for c in conditions if c.evaluated_at is not None), default=None),
        source=source,
    )


def held_for(condition: str, for_seconds: float) -> str:
    """The condition, and how long it must hold before the rule fires."""
    return f"{condition}, for {format_value(for_seconds, 's')}" if for_seconds else condition


def broken_status(broken: BrokenRule) -> RuleStatus:
    """Where a rule stands that cannot even be made."""
    settings = broken.settings
    return RuleStatus(
        rule=settings.name,
        metric=settings.metric,
        condition="cannot be used",
        severity=settings.severity,
        state="error",
        reason=broken.problem,
        error=broken.problem,
        source="kept",
    )


class AlertCounters(Struct, frozen=True, kw_only=True):
    """What the evaluator has done since start.

    ``missed`` ticks were skipped (a later one was due already), ``late`` ones evaluated more than half an interval
    after their time, ``held`` are evaluations left out after a step of the clock, ``failed`` rule evaluations ended
    in an error, ``unrecorded`` transitions still wait to be written. ``evaluated_to`` is the last tick.
    """

    ticks: int = 0
    missed: int = 0
    late: int = 0
    held: int = 0
    evaluations: int = 0
    failed: int = 0
    unrecorded: int = 0
    evaluated_to: datetime | None = None
    last_error: str = ""


def active_alert(rule: ThresholdRule, labels: dict[str, str], condition: Condition, at: datetime) -> ActiveAlert:
    """A condition at ``at`` as people are told of it."""
    return ActiveAlert(
        rule=rule.name,
        metric=rule.metric.name,
        severity="warning" if condition.state == "error" and not condition.has_fired else rule.severity,
        state=condition.state,
        labels=labels,
        value=condition.value,
        threshold=condition.threshold,
        unit=rule.metric.unit,
        active_at=condition.active_at or condition.since,
        fired_at=condition.fired_at,
        data_at=condition.data_at,
        sentence=say(rule, labels, condition, at),
        reason=condition.reason,
    )


def worst_first(
    found: Iterable[tuple[ActiveAlert, Alert]], back: Mapping[str, KeptBack], at: datetime
) -> list[ActiveAlert]:
    """The alerts as people are told of them, the worst and then the oldest first; ``back`` is by fingerprint."""
    told = [(alert.rank, _kept_back(one, back.get(alert.fingerprint, ""))) for one, alert in found]
    return [one for _, one in sorted(told, key=lambda pair: (pair[0], pair[1].active_at or at, pair[1].rule))]


def _kept_back(one: ActiveAlert, why: KeptBack) -> ActiveAlert:
    if not why:
        return one
    return replace(one, kept_back=why, sentence=f"{why.upper()}: {one.sentence.partition(': ')[2]}")


def about_rules(alert: Alert) -> ActiveAlert:
    """An alert about the rules themselves as people are told of it."""
    return ActiveAlert(
        rule=alert.labels.get("rule", alert.labels["alertname"]),
        metric="",
        severity="critical" if alert.labels["severity"] == "critical" else "warning",
        state="firing",
        active_at=alert.starts_at,
        fired_at=alert.starts_at,
        sentence=f"ALERT: {alert.annotations['summary']}",
    )


def as_alert(
    rule: ThresholdRule, labels: Mapping[str, str], condition: Condition, project: str, at: datetime
) -> Alert | None:
    """A condition at ``at`` as an alert: one that waits, fires or was resolved; None where nobody cares.

    A rule that cannot be evaluated, for as long as its ``for``, is an alert of its own, named ``RuleError``.
    """
    if condition.has_fired or condition.state in ("pending", "resolved"):
        named = {"alertname": rule.name, "severity": rule.severity}
    elif is_active(condition, rule.for_seconds):
        named = {"alertname": RULE_ERROR, "rule": rule.name, "severity": "warning"}
    else:
        return None
    sentence = say(rule, labels, condition, at)
    value = math.nan if condition.value is None else condition.value
    whole = {**rule.labels, **{name: text for name, text in labels.items() if text}, **named, "project": project}
    told = _filled(rule, labels, whole, value) if rule.annotations else {}
    told |= {"runbook_url": rule.runbook} if rule.runbook else {}
    return Alert(
        labels=whole,
        annotations={"summary": sentence.partition(": ")[2], "condition": rule.condition, **told},
        starts_at=condition.fired_at or condition.active_at or condition.since or at,
        ends_at=condition.since if condition.state == "resolved" else None,
        updated_at=condition.evaluated_at or at,
    )


def _filled(rule: ThresholdRule, labels: Mapping[str, str], whole: Mapping[str, str], value: float) -> dict[str, str]:
    """The rule's annotations; a template may call ``tag.team`` also ``tag_team``, as it has to."""
    plain = {called: labels.get(name, "") for name, called in label_names(rule.by).items()}
    return {name: template.fill(plain | {**whole}, value) for name, template in rule.annotations.items()}


def too_many(rule: ThresholdRule, note: str, project: str, since: datetime, at: datetime) -> Alert:
    """The one alert of a rule that has more groups than are watched: what is not watched is never passed over."""
    return Alert(
        labels={"alertname": TOO_MANY_GROUPS, "rule": rule.name, "severity": "warning", "project": project},
        annotations={"summary": f"Rule {shorten(rule.name, _LABEL_LENGTH)}: {note}", "condition": rule.condition},
        starts_at=since,
        updated_at=at,
    )


def unusable(broken: BrokenRule, project: str, since: datetime, at: datetime) -> Alert:
    """The alert that a kept rule cannot be used as things are."""
    name = broken.settings.name
    return Alert(
        labels={"alertname": RULE_ERROR, "rule": name, "severity": "warning", "project": project},
        annotations={"summary": f"Rule {shorten(name, _LABEL_LENGTH)} cannot be used: {broken.problem}"},
        starts_at=since,
        updated_at=at,
    )


def not_evaluated(seconds: float, project: str, since: datetime, at: datetime) -> Alert:
    """The alert that the rules see nothing, because the data were not complete for so long: silence is no good news."""
    told = f"No rule was evaluated for {_length(seconds)}: the engine is away, or far behind the journal"
    return Alert(
        labels={"alertname": NOT_EVALUATED, "severity": "critical", "project": project},
        annotations={"summary": told},
        starts_at=since,
        updated_at=at,
    )


def without_rule(alert: Alert, gone: Callable[[str], str]) -> str:
    """What is said at its end of an alert whose rule is in force no more; '' where it is, or where there is none."""
    name = alert.labels["alertname"]
    if name == NOT_EVALUATED:
        return ""
    rule = alert.labels.get("rule", name) if name in (RULE_ERROR, TOO_MANY_GROUPS) else name
    why = gone(rule)
    last = alert.annotations.get("summary", "")
    return f"The rule {shorten(rule, _LABEL_LENGTH)} {why}. Last: {last}" if why else ""


def say(rule: ThresholdRule, labels: Mapping[str, str], condition: Condition, at: datetime) -> str:
    """Where the alert stands at ``at``: ``ALERT: Response time exceeded 5 s threshold (current: 7.2 s)``."""
    group = _group(labels)
    subject = f"{_subject(rule.metric)}{group}"
    state = condition.state
    if state == "error" and not condition.has_fired:
        return f"ALERT: rule {shorten(rule.name, _LABEL_LENGTH)}{group} cannot be evaluated: {condition.reason}"
    if state == "nodata" and not condition.has_fired:
        return f"NO DATA: {subject}: {condition.reason}"
    aside = _aside(rule, condition, at)
    if state in ("resolved", "inactive"):
        end = rule.back if rule.has_limit else rule.wording[1]
        return f"{'RESOLVED' if state == 'resolved' else 'OK'}: {subject} {end} ({aside})"
    word = "PENDING" if state == "pending" else "ALERT"
    if rule.message:
        return f"{word}: {shorten(rule.message, _MESSAGE_LENGTH)}{group}{f' ({aside})' if state != 'firing' else ''}"
    if not rule.has_limit:
        return f"{word}: {subject} {rule.wording[0]}: {aside}"
    threshold = _threshold(rule, condition)
    if threshold is None:
        return f"{word}: {subject}: {condition.reason}"
    verb = "fell below" if rule.above is None or threshold != rule.above else "exceeded"
    limit, _ = _told_apart(threshold, condition.value, rule.metric.unit)
    return f"{word}: {subject} {verb} {limit} threshold ({aside})"


def _threshold(rule: ThresholdRule, condition: Condition) -> float | None:
    """The limit that was passed; None where missing data count as a breach. After a restart the rule tells it."""
    if condition.threshold is not None or condition.value is None:
        return condition.threshold
    return rule.crossed(condition.value)


def _aside(rule: ThresholdRule, condition: Condition, at: datetime) -> str:
    """What stands in brackets: the current value, or the last one and for how long there has been none."""
    _, value = _told_apart(_threshold(rule, condition), condition.value, rule.metric.unit)
    if condition.state not in ("nodata", "error"):
        return condition.reason or f"current: {value}"
    since = condition.data_at if condition.state == "nodata" else condition.since
    length = f" for {_length((at - since).total_seconds())}" if since and since < at else ""
    return f"last: {value}, {'no data' if condition.state == 'nodata' else 'not evaluated'}{length}"


def _length(seconds: float) -> str:
    """A time that has passed; in whole minutes where it has any, so that it is the same in every time zone."""
    return format_value(round(seconds / 60) * 60.0 if seconds >= 60 else round(seconds), "s")


def _told_apart(threshold: float | None, value: float | None, unit: str) -> tuple[str, str]:
    """Both as text; with more digits where they would read the same although they differ."""
    limit, seen = format_value(threshold, unit), format_value(value, unit)
    if limit == seen and threshold != value:
        return format_value(threshold, unit, precise=True), format_value(value, unit, precise=True)
    return limit, seen


def _subject(metric: Metric) -> str:
    """The metric's title as the subject of a sentence: with its percentile, without what is usual, the mean."""
    title = shorten(metric.title or metric.name)
    percentile = f"p{metric.level * 100:g}" if metric.level else ""
    if percentile and percentile not in title.split():
        title = f"{title} {percentile}"
    if metric.aggregation == "mean":
        title = title.removeprefix("Average ")
    return title[:1].upper() + title[1:]


def _group(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    told = (
        f"{name.removeprefix('tag.')} {shorten(value, _LABEL_LENGTH) or '(none)'}" for name, value in labels.items()
    )
    return f" ({', '.join(told)})"
