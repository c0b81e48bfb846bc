"""Incidents on the alerts page: which, how long, how soon they were over, and the worst queries of the newest."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from barograph.alerts.incident_queries import LOOKED_INTO, with_queries
from barograph.alerts.incidents import History, Incident, RuleHistory, history
from barograph.core.query import Window
from barograph.core.unit import format_value
from barograph.core.zone import zone_of
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import span_text
from barograph.visualize.chart import Cell, Column, Part, Table, Text
from barograph_client.errors import InvalidRule, UnknownMetric, shorten

LISTED = 20


def incident_parts(material: Material, window: Window) -> list[Part]:
    """The incidents of the window, the newest first, and what stands behind the newest of them."""
    project, now = material.settings.project, material.now()
    standing = material.alerts.conditions()
    found = history(material.reader, window, now, project=project, limit=LISTED, standing=standing)
    if not found.total.count:
        return [Text(text=f"No alert has fired in the {span_text(material, window)}.", tone="muted")]
    found = with_queries(found, material.reader, material.alerts.rule, material.catalogue, now, project=project)
    parts: list[Part] = [_incidents(material, found, window)]
    if len(found.rules) > 1:
        parts.append(_by_rule(found))
    return parts + query_parts(found, zone_of(material.settings.timezone))


def resolve_text(total: RuleHistory) -> str:
    """How soon incidents were over, and of how many that is said: ``mean time to resolve 12 min (3 resolved)``."""
    if total.mean_seconds_to_resolve is None:
        return "none is resolved yet"
    resolved = total.count - total.open - total.removed
    others = f", {left_out(total)} not counted" if left_out(total) else ""
    return f"mean time to resolve {format_value(total.mean_seconds_to_resolve, 's')} ({resolved:,} resolved{others})"


def left_out(total: RuleHistory) -> str:
    """Of which incidents the mean time is not: ``1 open and 2 ended with the rule``; '' where there are none."""
    open_, removed = f"{total.open:,} open", f"{total.removed:,} ended with the rule"
    return " and ".join(text for text, count in ((open_, total.open), (removed, total.removed)) if count)


def _incidents(material: Material, found: History, window: Window) -> Table:
    newest = f"the newest {LISTED} of {found.total.count:,}" if found.total.count > LISTED else ""
    cut = "there were more changes than are read, older incidents are missing" if found.cut else ""
    note = "; ".join(filter(None, [resolve_text(found.total), newest, cut]))
    return incident_table(found.incidents, subtitle=span_text(material, window), note=note)


def incident_table(incidents: list[Incident], *, subtitle: str = "", note: str = "") -> Table:
    """A row an incident: when, of what, how long, how bad, and of which group where rules have groups."""
    grouped = any(one.labels for one in incidents)
    rows: list[list[Cell]] = []
    for one in incidents:
        length = format_value(one.seconds, "s")
        length += ", open" if one.resolved_at is None else ", rule removed" if one.removed else ""
        row: list[Cell] = [one.fired_at, one.rule, length, format_value(one.worst, one.unit)]
        rows.append([*row, group_text(one) or "all"] if grouped else row)
    columns = [Column(title="Fired"), Column(title="Rule", most=28), Column(title="Length", align="right"),
               Column(title="Worst", align="right")]  # fmt: skip
    if grouped:
        columns.append(Column(title="Group", most=32))
    return Table(title="Incidents", subtitle=subtitle, columns=columns, rows=rows, note=note)


def _by_rule(found: History) -> Table:
    rows: list[list[Cell]] = [
        [one.rule, one.count, one.open, one.mean_seconds_to_resolve, one.resolved_seconds or None]
        for one in found.rules[:LISTED]
    ]
    columns = [Column(title="Rule", most=28), Column(title="Incidents"), Column(title="Open"),
               Column(title="Mean to resolve", unit="s"), Column(title="In all", unit="s")]  # fmt: skip
    return Table(title="Incidents by rule", columns=columns, rows=rows, note="times are of those that were resolved")


def query_parts(found: History, zone: ZoneInfo, most: int = LOOKED_INTO) -> list[Part]:
    """The queries behind the newest incidents, with what opens each."""
    looked_into = [one for one in found.incidents if one.queries_are]
    return [_queries(one, zone) for one in looked_into[:most]]


def _queries(incident: Incident, zone: ZoneInfo) -> Part:
    group = group_text(incident)
    name = f"{shorten(incident.rule, 28)}{f' ({group})' if group else ''}"
    about = f"{name}, fired {incident.fired_at.astimezone(zone):%Y-%m-%d %H:%M} {zone.key}"
    if incident.queries_problem:
        return Text(text=f"{about}: its queries cannot be asked for, {incident.queries_problem}.", tone="muted")
    if not incident.queries:
        return Text(text=f"{about}: no queries of that time stand behind it.", tone="muted")
    columns = [Column(title="Trace", most=36)]
    if incident.queries_unit:
        columns.append(Column(title="Value", align="right"))
    elif any(one.about for one in incident.queries):
        columns.append(Column(title="Error or model", most=20))
    columns.append(Column(title="Said", most=60))
    rows: list[list[Cell]] = []
    for one in incident.queries:
        why = [format_value(one.value, incident.queries_unit) if incident.queries_unit else one.about or None]
        rows.append([one.id, *(why if len(columns) > 2 else ()), one.text or None])
    note = "`barograph trace ID` opens one"
    return Table(title=incident.queries_are, subtitle=about, columns=columns, rows=rows, note=note)


def group_text(incident: Incident) -> str:
    """Which group of its rule an incident is of: ``model large-2``; '' where the rule has none."""
    return ", ".join(
        f"{name.removeprefix('tag.')} {shorten(value, 40) or '(none)'}" for name, value in incident.labels.items()
    )


def unit_of(material: Material, rule: str, metric: str) -> str:
    """What a rule's values are measured in: a ratio of two counts is a share. Of a rule that is gone, the metric's."""
    try:
        return material.alerts.rule(rule).metric.unit
    except InvalidRule:
        pass
    try:
        return material.catalogue.get(metric).unit
    except UnknownMetric:
        return "1"
