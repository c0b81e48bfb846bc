"""Incidents on the alerts page: which, how long, how soon they were over, and the worst queries of the newest."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from barograph.alerts.incidents import History, Incident, RuleHistory, history
from barograph.alerts.rule import ThresholdRule
from barograph.analytics.worst import Concern, WorstQuery, worst_queries
from barograph.core.metric import Metric
from barograph.core.query import Filter, Window
from barograph.core.unit import format_value
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import guarded, span_text, zoned
from barograph.visualize.chart import Cell, Column, Part, Table, Text
from barograph_client.errors import InvalidQuery, InvalidRule, UnknownMetric, shorten

LISTED = 20
LOOKED_INTO = 3  # of the newest incidents the worst queries are asked for, a question each
WORST = 3  # queries of each
MOST_BEFORE = timedelta(days=1)  # of queries that made a rule fire, whatever its window

_CONCERNS: dict[str, Concern] = {"cost": "dearest", "accuracy_score": "lowest_score", "response_time": "slowest"}
_STATUSES: dict[str, Concern] = {"error": "errors", "no_answer": "no_answer"}
_TITLES: dict[Concern, str] = {
    "slowest": "Slowest queries", "errors": "Newest errors", "no_answer": "Newest without an answer",
    "lowest_score": "Lowest scores", "dearest": "Dearest queries",
}  # fmt: skip
_COLUMNS: dict[Concern, Column] = {
    "slowest": Column(title="Response", unit="s"), "errors": Column(title="Error", most=20),
    "no_answer": Column(title="Model", most=16), "lowest_score": Column(title="Score", unit="score"),
    "dearest": Column(title="Cost", unit="USD"),
}  # fmt: skip


def incident_parts(material: Material, window: Window) -> list[Part]:
    """The incidents of the window, the newest first, and what stands behind the newest of them."""
    found = history(
        material.reader, window, material.now(), project=material.settings.project, limit=LISTED
    )  # fmt: skip
    if not found.total.count:
        return [Text(text=f"No alert has fired in the {span_text(material, window)}.", tone="muted")]
    parts: list[Part] = [_incidents(material, found, window)]
    if len(found.rules) > 1:
        parts.append(_by_rule(found))
    looked_into = [one for one in found.incidents if concern_of(_metric(material, one.rule, one.metric)) is not None]
    for incident in looked_into[:LOOKED_INTO]:
        parts += guarded(partial(_worst, material, incident))
    return parts


def resolve_text(total: RuleHistory) -> str:
    """How soon incidents were over, and of how many that is said: ``mean time to resolve 12 min (3 resolved)``."""
    if total.mean_seconds_to_resolve is None:
        return "none is resolved yet"
    still = f", {total.open:,} open not counted" if total.open else ""
    return (
        f"mean time to resolve {format_value(total.mean_seconds_to_resolve, 's')} "
        f"({total.count - total.open:,} resolved{still})"
    )


def _incidents(material: Material, found: History, window: Window) -> Table:
    grouped = any(one.labels for one in found.incidents)
    rows: list[list[Cell]] = []
    for one in found.incidents:
        length = format_value(one.seconds, "s") + ("" if one.resolved_at else ", open")
        unit = unit_of(material, one.rule, one.metric)
        row: list[Cell] = [one.fired_at, one.rule, length, format_value(one.worst, unit)]
        rows.append([*row, group_text(one) or "all"] if grouped else row)
    columns = [Column(title="Fired"), Column(title="Rule", most=28), Column(title="Length", align="right"),
               Column(title="Worst", align="right")]  # fmt: skip
    if grouped:
        columns.append(Column(title="Group", most=32))
    newest = f"the newest {LISTED} of {found.total.count:,}" if found.total.count > LISTED else ""
    cut = "there were more changes than are read, older incidents are missing" if found.cut else ""
    note = "; ".join(filter(None, [resolve_text(found.total), newest, cut]))
    return Table(title="Incidents", subtitle=span_text(material, window), columns=columns, rows=rows, note=note)


def _by_rule(found: History) -> Table:
    rows: list[list[Cell]] = [
        [one.rule, one.count, one.open, one.mean_seconds_to_resolve, one.resolved_seconds or None]
        for one in found.rules[:LISTED]
    ]
    columns = [Column(title="Rule", most=28), Column(title="Incidents"), Column(title="Open"),
               Column(title="Mean to resolve", unit="s"), Column(title="In all", unit="s")]  # fmt: skip
    return Table(title="Incidents by rule", columns=columns, rows=rows, note="times are of those that were resolved")


def _worst(material: Material, incident: Incident) -> list[Part]:
    """The worst queries between the beginning of what made the rule fire and the end."""
    metric = _metric(material, incident.rule, incident.metric)
    concern = concern_of(metric)
    if concern is None:
        return []
    rule = _rule(material, incident.rule)
    before = timedelta(seconds=rule.window_seconds + rule.for_seconds) if rule else timedelta(0)
    end = max(incident.resolved_at or material.recent(1.0).end, incident.fired_at + timedelta(seconds=1))
    of_group = tuple(Filter(name, "eq", (value,)) for name, value in incident.labels.items())
    group = group_text(incident)
    name = f"{shorten(incident.rule, 28)}{f' ({group})' if group else ''}"
    about = f"{name}, fired {zoned(material, incident.fired_at)}"
    try:
        queries = worst_queries(
            material.reader,
            concern,
            Window(incident.fired_at - min(before, MOST_BEFORE), end),
            limit=WORST,
            where=(*(rule.where if rule else ()), *of_group),
            project=material.settings.project,
        )
    except InvalidQuery as error:  # an alert event may have been sent, with any label
        return [Text(text=f"{about}: its queries cannot be asked for, {error.message}.", tone="muted")]
    if not queries:
        return [Text(text=f"{about}: no queries of that time stand behind it.", tone="muted")]
    columns = [Column(title="Trace", most=36), _COLUMNS[concern], Column(title="Query", most=60)]
    rows: list[list[Cell]] = [[one.trace_id or one.event_id, _cell(concern, one), one.query or None] for one in queries]
    return [
        Table(title=_TITLES[concern], subtitle=about, columns=columns, rows=rows, note="`barograph trace ID` opens one")
    ]


def _cell(concern: Concern, query: WorstQuery) -> Cell:
    """What makes it one of the worst."""
    cells: dict[Concern, Cell] = {
        "slowest": query.response_time, "errors": query.error_type or None, "no_answer": query.model or None,
        "lowest_score": query.accuracy_score, "dearest": query.cost,
    }  # fmt: skip
    return cells[concern]


def concern_of(metric: Metric | None) -> Concern | None:
    """Which queries stand behind a metric that is too high or too low; None where no list of queries says it."""
    if metric is None or metric.of.kind != "query":
        return None
    if metric.of.where is not None and metric.of.where[0] == "status":
        return _STATUSES.get(metric.of.where[1])
    return _CONCERNS.get(metric.of.field)


def group_text(incident: Incident) -> str:
    """Which group of its rule an incident is of: ``model large-2``; '' where the rule has none."""
    return ", ".join(
        f"{name.removeprefix('tag.')} {shorten(value, 40) or '(none)'}" for name, value in incident.labels.items()
    )


def unit_of(material: Material, rule: str, metric: str) -> str:
    """What a rule's values are measured in: a ratio of two counts is a share. Of a rule that is gone, the metric's."""
    found = _metric(material, rule, metric)
    return found.unit if found else "1"


def _metric(material: Material, rule: str, metric: str) -> Metric | None:
    known = _rule(material, rule)
    if known is not None:
        return known.metric
    try:
        return material.catalogue.get(metric)
    except UnknownMetric:
        return None


def _rule(material: Material, name: str) -> ThresholdRule | None:
    """The rule, if it still is one."""
    try:
        return material.alerts.rule(name)
    except InvalidRule:
        return None
