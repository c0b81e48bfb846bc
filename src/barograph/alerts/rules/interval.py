"""How often a rule is looked at: every tick, or every so many of them where its windows are long.

A window of a day hardly moves in 15 s, and to ask for it costs as much as for one of five minutes. Between its looks a
rule stands as it is.
"""

from __future__ import annotations

from barograph.alerts.rules.anomaly import AnomalyRule
from barograph.alerts.rules.expression import ExpressionRule
from barograph.alerts.rules.threshold import ThresholdRule, seconds_of
from barograph.alerts.schedule import INTERVAL_SECONDS
from barograph.core.settings import RuleSettings
from barograph.core.unit import format_value
from barograph_client.errors import InvalidRule, shorten

USUAL = (30.0, 60.0, 120.0, 300.0)  # seconds, beside that of the ticks
LONGEST = USUAL[-1]
LOOKS_A_WINDOW, LOOKS_A_SHORT_WINDOW, LOOKS_A_WAIT = 240, 20, 4  # at least, unless the rule says so


def interval_of(rule: ThresholdRule, settings: RuleSettings) -> float:
    """Seconds between the looks at that rule; 0 for one at every tick. Raises InvalidRule."""
    if isinstance(rule, AnomalyRule | ExpressionRule):
        if settings.interval:
            hint = "Leave it out: a point is judged when it is over, a sample is measured every 15 s."
            raise InvalidRule(f"rule {shorten(rule.name)}: interval says nothing to this kind", hint=hint)
        return 0.0
    return _told(rule, settings) if settings.interval else _usual(rule)


def _usual(rule: ThresholdRule) -> float:
    """The longest that leaves enough looks in its windows, and in the times that a group waits for something."""
    policy = rule.policy
    waits = [policy.for_seconds, policy.keep_firing_seconds]
    if policy.missing == "prometheus":
        waits.append(policy.lookback_seconds)
    most = min(
        rule.window_seconds / LOOKS_A_WINDOW,
        rule.shortest_seconds / LOOKS_A_SHORT_WINDOW,
        *(wait / LOOKS_A_WAIT for wait in waits if wait),
    )
    return max((seconds for seconds in USUAL if seconds <= most), default=0.0)


def _told(rule: ThresholdRule, settings: RuleSettings) -> float:
    name, asked = shorten(rule.name), settings.interval
    seconds = seconds_of(name, "interval", asked, LONGEST)
    if seconds % INTERVAL_SECONDS:
        hint = f"Rules are looked at every {format_value(INTERVAL_SECONDS, 's')}, or every so many times that."
        raise InvalidRule(f"rule {name}: interval is no multiple of 15 s", hint=hint, value=asked)
    if seconds > rule.shortest_seconds:
        raise InvalidRule(
            f"rule {name}: what comes between two windows would never be seen",
            hint=f"Choose an interval of {format_value(rule.shortest_seconds, 's')} or less.",
            value=asked,
        )
    return seconds if seconds > INTERVAL_SECONDS else 0.0
