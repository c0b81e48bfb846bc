"""An alert rule from its settings, of its kind.

The kinds stand in ``rules``, a module each. What could never work is refused here, with the rule's name and a hint.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from barograph.alerts.prometheus.names import label_names
from barograph.alerts.prometheus.template import Template, labels_in
from barograph.alerts.rules.absence import make_absence
from barograph.alerts.rules.anomaly import make_anomaly
from barograph.alerts.rules.budget import make_budget
from barograph.alerts.rules.burn_rate import make_burn_rate
from barograph.alerts.rules.change import make_change
from barograph.alerts.rules.expression import make_expression
from barograph.alerts.rules.function import RuleFunction, make_function
from barograph.alerts.rules.interval import interval_of
from barograph.alerts.rules.ratio import make_ratio
from barograph.alerts.rules.threshold import (
    GROUP_LIMIT,
    Severity,
    ThresholdRule,
    make_threshold,
    metric_of,
)
from barograph.alerts.rules.unseen import make_unseen
from barograph.core.metric import Catalogue, Metric
from barograph.core.settings import RuleSettings
from barograph_client.errors import InvalidRule, shorten

__all__ = ["GROUP_LIMIT", "Severity", "ThresholdRule", "make_rule"]

_KINDS: dict[str, Callable[[RuleSettings, Metric, Catalogue], ThresholdRule]] = {
    "threshold": lambda settings, metric, catalogue: make_threshold(settings, metric),
    "ratio": make_ratio,
    "change": make_change,
    "absence": make_absence,
    "burn_rate": make_burn_rate,
    "unseen": make_unseen,
    "budget": make_budget,
    "anomaly": make_anomaly,
}
_ONLY = {  # settings that say something to one kind alone
    "per": "ratio",
    "compare": "change",
    "objective": "burn_rate",
    "short_window": "burn_rate",
    "period": "budget",
    "forecast": "budget",
    "timezone": "budget",
    "known": "unseen",
    "false_alarms": "anomaly",
    "function": "function",
    "expression": "expression",
}
_PLAIN = RuleSettings(name="-")
_WINDOWS = {"burn_rate": "1h", "unseen": "7d"}
USUAL_WINDOW = "5m"
RESERVED = ("alertname", "severity", "project")  # labels that every alert has


def make_rule(settings: RuleSettings, catalogue: Catalogue, function: RuleFunction | None = None) -> ThresholdRule:
    """The rule of those settings; one of kind ``function`` asks that function.

    Raises InvalidRule, with the rule's name and what to write instead.
    """
    for field, kind in _ONLY.items():
        if settings.kind != kind and getattr(settings, field) != getattr(_PLAIN, field):
            raise InvalidRule(
                f"rule {shorten(settings.name)}: {field} says nothing to a rule of kind {settings.kind}",
                hint=f'Leave it out, or write kind = "{kind}".',
            )
    settings = replace(settings, window=settings.window or _WINDOWS.get(settings.kind, USUAL_WINDOW))
    if settings.kind == "function":
        return _told(make_function(settings, catalogue, function), settings)
    if function is not None:
        raise InvalidRule(
            f"rule {shorten(settings.name)}: a function says nothing to a rule of kind {settings.kind}",
            hint='Write kind = "function".',
        )
    if settings.kind == "expression":
        return _told(make_expression(settings, catalogue), settings)
    return _told(_KINDS[settings.kind](settings, metric_of(settings, settings.metric, catalogue), catalogue), settings)


def _told(rule: ThresholdRule, settings: RuleSettings) -> ThresholdRule:
    """The rule with how often it is looked at, and what its alerts say beside the measured. Raises InvalidRule."""
    name = shorten(settings.name)
    taken = [label for label in settings.labels if label in RESERVED or label in settings.by or not label]
    if taken:
        hint = f"Not {', '.join(RESERVED)}, nor one of `by`."
        raise InvalidRule(f"rule {name}: that label is set already", hint=hint, value=taken[0])
    if settings.runbook and not settings.runbook.startswith(("http://", "https://")):
        raise InvalidRule(f"rule {name}: runbook is no address", hint="Write https://…", value=settings.runbook)
    try:
        annotations = {key: Template(text) for key, text in settings.annotations.items()}
    except InvalidRule as error:
        raise InvalidRule(f"rule {name}: {error.message}", hint=error.hint, value=error.value) from None
    known = {*RESERVED, *settings.by, *label_names(settings.by).values(), *settings.labels}
    unknown = [label for text in settings.annotations.values() for label in labels_in(text) if label not in known]
    if unknown:
        hint = f"There are {', '.join(sorted(known))}."
        raise InvalidRule(f"rule {name}: an annotation names a label that there is not", hint=hint, value=unknown[0])
    labels = {label: text for label, text in settings.labels.items() if label not in rule.by}  # those are of the group
    interval = interval_of(rule, settings)
    return replace(rule, labels=labels, annotations=annotations, runbook=settings.runbook, interval_seconds=interval)
