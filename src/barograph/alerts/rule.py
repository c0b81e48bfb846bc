"""An alert rule from its settings, of its kind.

The kinds stand in ``rules``, a module each. What could never work is refused here, with the rule's name and a hint.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec.structs import replace

from barograph.alerts.prometheus.names import is_label_name, label_names
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
    make_limit,
    metric_of,
)
from barograph.alerts.rules.unseen import make_unseen
from barograph.alerts.schedule import INTERVAL_SECONDS
from barograph.core.metric import Catalogue, Metric
from barograph.core.settings import RuleSettings
from barograph.core.unit import format_value
from barograph_client.errors import InvalidRule, shorten

__all__ = ["GROUP_LIMIT", "Severity", "ThresholdRule", "make_rule"]

_KINDS: dict[str, Callable[[RuleSettings, Metric, Catalogue], ThresholdRule]] = {
    "threshold": lambda settings, metric, catalogue: make_limit(settings, metric),
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
_NOTHING = {"window": "budget", "minimum": "absence"}  # and those that say nothing to one kind
_PLAIN = RuleSettings(name="-")
_WINDOWS = {"burn_rate": "1h", "unseen": "7d"}
USUAL_WINDOW = "5m"
SHORTEST_WINDOW = INTERVAL_SECONDS
_ADDRESS = re.compile(r"https?://[^\s/?#]+\S*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
RESERVED = ("alertname", "severity", "project")  # labels that every alert has


def make_rule(settings: RuleSettings, catalogue: Catalogue, function: RuleFunction | None = None) -> ThresholdRule:
    """The rule of those settings; one of kind ``function`` asks that function.

    Raises InvalidRule, with the rule's name and what to write instead.
    """
    _check_settings(settings)
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


def _check_settings(settings: RuleSettings) -> None:
    """Refuse what is of no use whatever the kind, or to this one. Raises InvalidRule."""
    name = shorten(settings.name)
    if not settings.name.strip() or _CONTROL.search(settings.name):
        raise InvalidRule(
            f"rule {name}: a name is a line of text", hint="Leave out tabs and line breaks.", value=settings.name
        )
    if len(set(settings.by)) != len(settings.by):
        raise InvalidRule(f"rule {name}: by names a group twice", hint="Leave one out.", value=", ".join(settings.by))
    useless = {field: f', or write kind = "{kind}"' for field, kind in _ONLY.items() if settings.kind != kind}
    useless |= {field: "" for field, kind in _NOTHING.items() if settings.kind == kind}
    for field, other in useless.items():
        if getattr(settings, field) != getattr(_PLAIN, field):
            raise InvalidRule(
                f"rule {name}: {field} says nothing to a rule of kind {settings.kind}", hint=f"Leave it out{other}."
            )


def _told(rule: ThresholdRule, settings: RuleSettings) -> ThresholdRule:
    """The rule with how often it is looked at, and what its alerts say beside the measured. Raises InvalidRule."""
    name = shorten(settings.name)
    taken = [label for label in settings.labels if label in RESERVED or label in settings.by]
    if taken:
        hint = f"Not {', '.join(RESERVED)}, nor one of `by`."
        raise InvalidRule(f"rule {name}: that label is set already", hint=hint, value=taken[0])
    wrong = next((label for label in settings.labels if not is_label_name(label)), None)
    if wrong is not None:
        raise InvalidRule(f"rule {name}: not the name of a label", hint="Use letters, digits and _.", value=wrong)
    fixed = next((text for text in settings.labels.values() if "{{" in text and settings.kind != "expression"), None)
    if fixed is not None:
        hint = 'Say it as an annotation; labels are filled in where kind = "expression".'
        raise InvalidRule(
            f"rule {name}: a label of this kind of rule is the same for all its alerts", hint=hint, value=fixed
        )
    if settings.runbook and not _ADDRESS.fullmatch(settings.runbook):
        hint = "Write https://host/…"
        raise InvalidRule(f"rule {name}: runbook is no address", hint=hint, value=settings.runbook)
    if rule.window_seconds < SHORTEST_WINDOW and settings.kind != "anomaly":  # whose points are all looked at
        hint = f"Choose a window of {format_value(SHORTEST_WINDOW, 's')} or more."
        raise InvalidRule(
            f"rule {name}: what comes between two windows would never be seen", hint=hint, value=settings.window
        )
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
