"""What is firing, and was it right? Open alerts and what is told of them, every rule and where it stands, incidents,
and what has happened lately.
"""

from __future__ import annotations

from collections import Counter

from barograph.alerts.active_alert import RuleStatus, held_for
from barograph.analytics.worst import time_of
from barograph.core.query import Window
from barograph.core.unit import counted, format_value
from barograph.core.zone import zone_of
from barograph.dashboard.material import Material
from barograph.dashboard.open_alerts import Choice, open_alerts
from barograph.dashboard.page.incidents import incident_parts, unit_of
from barograph.dashboard.page.open_alerts import EACH, SHOWN, open_alert_parts
from barograph.dashboard.page.shapes import framed, guarded, number_in, span_text, text_in, zoned
from barograph.visualize.chart import Cell, Column, Page, Part, Table, Text

LISTED = 20
REASONS = 3  # under the rules
_SHOWN = {"inactive": "ok", "nodata": "no data", "error": "cannot be evaluated"}


def alerts_page(material: Material, window: Window) -> Page:
    """Alerts, rules, incidents, transitions, and whether the evaluator keeps up."""
    rules = material.alerts.rules()
    parts: list[Part] = [Text(text=_count(rules)), *_active(material)]
    if rules:
        parts.append(_rules(material, rules))
    parts += guarded(lambda: incident_parts(material, window))
    parts += guarded(lambda: _transitions(material, window))
    parts += _evaluator(material)
    return framed(material, "Alerts", window, parts)


def _count(rules: list[RuleStatus]) -> str:
    states = Counter(rule.state for rule in rules)
    told = ", ".join(f"{count} {_SHOWN.get(state, state)}" for state, count in states.most_common())
    return f"{len(rules)} {'rule' if len(rules) == 1 else 'rules'}: {told}." if rules else "No rule is defined."


def _active(material: Material) -> list[Part]:
    """What waits or fires, with what is told of it, the worst first."""
    zone = zone_of(material.settings.timezone)
    found = open_alerts(material.alerts, zone, Choice(limit=SHOWN, each=EACH))
    return open_alert_parts(found, zone) if found.total else [Text(text="No alert is active.", tone="good")]


def _rules(material: Material, rules: list[RuleStatus]) -> Table:
    rows: list[list[Cell]] = [
        [rule.rule, _standing(rule), format_value(rule.value, rule.unit), rule.severity,
         held_for(rule.condition, rule.for_seconds)]
        for rule in rules
    ]  # fmt: skip
    columns = [
        Column(title="Rule", wraps=True), Column(title="State", wraps=True), Column(title="Now", align="right"),
        Column(title="Severity"), Column(title="Condition", most=160, wraps=True),
    ]  # fmt: skip
    default = sum(rule.source == "default" for rule in rules)
    said = [f"{default} of them are default rules: one of yours with the same name takes its place"] if default else []
    note = "; ".join([*_reasons(rules), *said, *_off(material)])
    return Table(title="Rules", columns=columns, rows=rows, note=note)


def _reasons(rules: list[RuleStatus]) -> list[str]:
    """Why rules are not simply in order, the same of several said once; how many more have a reason."""
    about: dict[str, list[str]] = {}
    for rule in rules:
        if rule.reason and rule.state != "inactive":
            about.setdefault(rule.reason, []).append(rule.rule)
    told = [f"{', '.join(names)}: {reason}" for reason, names in list(about.items())[:REASONS]]
    more = sum(len(names) for names in list(about.values())[REASONS:])
    return [*told, f"and {more} more, for other reasons"] if more else told


def _off(material: Material) -> list[str]:
    off = material.alerts.rule_set.off
    return [f"switched off: {', '.join(off)}"] if off else []


def _standing(rule: RuleStatus) -> str:
    """Its state, or of several groups how many are in which."""
    if len(rule.groups) < 2 and sum(rule.groups.values()) < 2:
        return _SHOWN.get(rule.state, rule.state)
    return ", ".join(f"{count} {_SHOWN.get(state, state)}" for state, count in rule.groups.items())


def _transitions(material: Material, window: Window) -> list[Part]:
    """What has happened, from the alert events that each transition leaves behind."""
    page = material.events("alert", window, limit=LISTED)
    if not page.items:
        return [Text(text=f"No alert has changed its state in the {span_text(material, window)}.", tone="muted")]
    rows: list[list[Cell]] = []
    for item in page.items:
        before, state = text_in(item, "previous") or "–", text_in(item, "state")
        unit = unit_of(material, text_in(item, "rule"), text_in(item, "metric"))
        rows.append(
            [time_of(item), text_in(item, "rule"), f"{_SHOWN.get(before, before)} → {_SHOWN.get(state, state)}",
             format_value(number_in(item, "value"), unit), text_in(item, "message") or None]
        )  # fmt: skip
    columns = [Column(title="Time"), Column(title="Rule", most=28), Column(title="Change"),
               Column(title="Value", align="right"), Column(title="Said", most=80)]  # fmt: skip
    subtitle = f"{span_text(material, window)}{f', newest {LISTED}' if page.cursor else ''}"
    return [Table(title="What has happened", subtitle=subtitle, columns=columns, rows=rows)]


def _evaluator(material: Material) -> list[Part]:
    counters = material.alerts.counters
    if not counters.ticks and not counters.last_error:
        return []
    told = (
        f"{counted(counters.ticks, 'evaluation')} since start, {counters.missed:,} missed, {counters.failed:,} failed"
    )
    if counters.evaluated_to:
        told += f", the last at {zoned(material, counters.evaluated_to)}"
    parts: list[Part] = [Text(text=f"{told}.", tone="muted")]
    if counters.unrecorded:
        parts.append(Text(text=f"{counters.unrecorded:,} changes wait to be written down.", tone="warning"))
    if counters.last_error:
        parts.append(Text(text=f"Last problem of the evaluator: {counters.last_error}", tone="warning"))
    return parts
