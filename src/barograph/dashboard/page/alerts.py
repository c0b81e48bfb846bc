"""What is firing, and was it right? Open alerts and what is told of them, every rule and where it stands, incidents,
and what has happened lately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from barograph.alerts.active_alert import RuleStatus
from barograph.alerts.routing.explanation import Explanation
from barograph.alerts.standing import Standing
from barograph.analytics.worst import time_of
from barograph.core.query import Window
from barograph.core.unit import counted, format_value
from barograph.core.zone import local_time, zone_of
from barograph.dashboard.material import Material
from barograph.dashboard.page.incidents import incident_parts
from barograph.dashboard.page.shapes import framed, guarded, number_in, span_text, text_in, zoned
from barograph.visualize.chart import Cell, Column, Page, Part, Table, Text, Tone
from barograph_client.errors import shorten

LISTED = 20
MOST_LABELS = 6  # of an alert from outside
_TONES: dict[str, Tone] = {"critical": "critical", "warning": "warning"}
_WORDS = {"pending": "PENDING", "firing": "ALERT"}
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
    standing = material.alerts.standing(zone)
    parts: list[Part] = []
    for one in standing[:LISTED]:
        labels = {name: value for name, value in one.labels.items() if name not in ("alertname", "severity", "project")}
        since = f"since {zoned(material, one.active_at)}"
        aside = since + (f", data until {zoned(material, one.data_at)}" if one.data_at else "")
        told_of = one.state == "firing" and not one.held_by
        tone: Tone = _TONES.get(one.labels.get("severity", ""), "plain") if told_of else "muted"
        parts.append(Text(text=f"{_WORDS[one.state]}: {_summary(one, labels)}", aside=aside, tone=tone))
        parts += [Text(text=f"{each.receiver}: {_why(each, zone)}", tone="muted") for each in one.told]
    if len(standing) > LISTED:
        more = f"{len(standing) - LISTED:,} more: `barograph alerts list` shows all."
        parts.append(Text(text=more, tone="muted"))
    return parts or [Text(text="No alert is active.", tone="good")]


def _summary(alert: Standing, labels: Mapping[str, str]) -> str:
    """The sentence of a rule's alert; one from outside may have none, so its name and labels stand before it."""
    summary = alert.annotations.get("summary", "")
    if not alert.from_outside:
        return summary
    name = shorten(alert.labels.get("alertname", "an alert without a name"))
    group = ", ".join(f"{key} {shorten(value, 40)}" for key, value in list(labels.items())[:MOST_LABELS])
    told = f"{name}{f' ({group})' if group else ''}, from outside"
    return f"{told}: {shorten(summary, 300)}" if summary else told


def _why(told: Explanation, zone: ZoneInfo) -> str:
    """Why it was told or is held, and when the next notification is due where the words do not have it."""
    next_at = local_time(told.next_at, zone) if told.next_at else ""
    return told.words if not next_at or next_at in told.words else f"{told.words}; next at {next_at}"


def _rules(material: Material, rules: list[RuleStatus]) -> Table:
    rows: list[list[Cell]] = [
        [rule.rule, _SHOWN.get(rule.state, rule.state), format_value(rule.value, rule.unit), rule.severity,
         rule.condition, _groups(rule)]
        for rule in rules
    ]  # fmt: skip
    columns = [
        Column(title="Rule", most=28), Column(title="State"), Column(title="Now", align="right"),
        Column(title="Severity"), Column(title="Condition", most=64), Column(title="Groups", most=32),
    ]  # fmt: skip
    kept = [i for i in range(len(columns)) if i < 5 or any(row[i] for row in rows)]
    notes = [f"{rule.rule}: {rule.reason}" for rule in rules if rule.reason and rule.state != "inactive"]
    note = "; ".join(notes[:3])
    default = sum(rule.source == "default" for rule in rules)
    if default:
        said = f"{default} of them are default rules: one of yours with the same name takes its place"
        note = "; ".join(filter(None, [note, said]))
    return Table(title="Rules", columns=[columns[i] for i in kept], rows=[[row[i] for i in kept] for row in rows],
                 note=note)  # fmt: skip


def _groups(rule: RuleStatus) -> str | None:
    if len(rule.groups) < 2 and sum(rule.groups.values()) < 2:
        return None
    return ", ".join(f"{count} {_SHOWN.get(state, state)}" for state, count in rule.groups.items())


def _transitions(material: Material, window: Window) -> list[Part]:
    """What has happened, from the alert events that each transition leaves behind."""
    page = material.events("alert", window, limit=LISTED)
    if not page.items:
        return [Text(text=f"No alert has changed its state in the {span_text(material, window)}.", tone="muted")]
    rows: list[list[Cell]] = []
    for item in page.items:
        before, state = text_in(item, "previous") or "–", text_in(item, "state")
        metric = text_in(item, "metric")
        unit = next((one.unit for one in material.catalogue if one.name == metric), "1")
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
