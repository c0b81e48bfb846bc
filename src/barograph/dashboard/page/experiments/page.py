"""Did it work, may I ship it? The list of experiments, what is known of each, and one of them in full.

Asks ``experiments`` for comparisons; what costs further questions is asked only for the one that is shown in full.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from barograph.core.query import Window
from barograph.core.unit import format_value
from barograph.dashboard.material import Material
from barograph.dashboard.page.experiments.courses import age_course, day_course, slice_parts
from barograph.dashboard.page.experiments.examples import example_parts
from barograph.dashboard.page.experiments.intervals import interval_plot
from barograph.dashboard.page.experiments.readings import (
    belief_table,
    method_table,
    second_opinions,
    spread_parts,
)
from barograph.dashboard.page.experiments.summary import (
    DECIDED,
    arrival_bars,
    experiment_parts,
    guardrail_table,
    head,
    mind,
    numbers,
)
from barograph.dashboard.page.experiments.words import in_each_list, more_days, split_of
from barograph.dashboard.page.shapes import framed
from barograph.experiments.comparison import Comparison, Details
from barograph.experiments.design import Experiment
from barograph.visualize.chart import Cell, Column, Page, Panel, Part, Table, Text
from barograph_client.errors import BarographError, UnknownMetric

MOST_SHOWN = 10  # experiments that are compared for a page, with a panel each
STARTED = ("running", "paused", "stopped")
_ORDER = {"running": 0, "paused": 1, "stopped": 2, "draft": 3, "archived": 4}

Compared = Mapping[str, Comparison | BarographError]


def experiments_page(material: Material, window: Window) -> Page:
    """The list, then every running, paused or stopped experiment with what is known of it; a single one in full."""
    known = material.experiments.list()
    if not known:
        told = [
            Text(text="No experiment is defined. An experiment settles whether a change made things better:"),
            Text(text="dashboard.experiments.create(Experiment(key=..., variants=..., primary_metric=...))"),
            Text(text="then start it, expose users, and read the verdict here.", tone="muted"),
        ]
        return framed(material, "Experiments", None, told)
    known = sorted(known, key=_place)
    started = [one for one in known if one.state in STARTED]
    compared = {one.key: _comparison(material, one.key) for one in started[:MOST_SHOWN]}
    parts: list[Part] = [_list(known, compared)]
    if len(started) == 1:
        parts.append(Panel(title=_title(started[0]), parts=_all_of(material, started[0], compared[started[0].key])))
    else:
        parts += [
            Panel(
                title=_title(one), parts=experiment_parts(found) if isinstance(found, Comparison) else _refused(found)
            )
            for one in started[:MOST_SHOWN]
            for found in [compared[one.key]]
        ]
    return framed(material, "Experiments", None, parts)


def experiment_page(material: Material, window: Window, key: str) -> Page:
    """One experiment in full, whatever its state. Raises InvalidExperiment, which lists those that there are."""
    one = material.experiments.get(key)
    if one.started_at is None:
        return framed(material, _title(one), None, _definition(material, one))
    return framed(material, _title(one), None, _all_of(material, one, _comparison(material, key)))


def comparison_of(material: Material, key: str) -> Comparison | None:
    """The comparison, or None where it cannot be made now."""
    found = _comparison(material, key)
    return found if isinstance(found, Comparison) else None


def _comparison(material: Material, key: str) -> Comparison | BarographError:
    try:
        return material.experiments.compare(key)
    except BarographError as error:
        return error


def _place(one: Experiment) -> tuple[int, float, str]:
    """Running ones first, of those that are over the last."""
    ended = one.stopped_at.timestamp() if one.stopped_at else 0.0
    return _ORDER[one.state], -ended, one.key


def _title(one: Experiment) -> str:
    return f"{one.name} ({one.state})"


def _refused(error: BarographError) -> list[Part]:
    return [Text(text=f"It cannot be compared now: {error}", tone="warning")]


def _list(known: Sequence[Experiment], compared: Compared) -> Table:
    rows: list[list[Cell]] = []
    for one in known:
        found = compared.get(one.key)
        told = found if isinstance(found, Comparison) else None
        rows.append(
            [one.key, one.state, split_of(one), round(told.days_running, 1) if told else None,
             sum(told.units.values()) if told else None, told.verdict.finding if told else None,
             more_days(told.needs_more_days) if told and one.state == "running" else None,
             one.title or None]
        )  # fmt: skip
    columns = [
        Column(title="Key", most=64, whole=True), Column(title="State"), Column(title="Split", most=16),
        Column(title="Days"), Column(title="Units"), Column(title="Verdict"), Column(title="Needs", align="right"),
        Column(title="Title", most=36),
    ]  # fmt: skip
    note = "`barograph show experiments --experiment KEY` shows one in full." if len(known) > 1 else ""
    return Table(title="Experiments", columns=columns, rows=rows, note=note)


def _all_of(material: Material, one: Experiment, found: Comparison | BarographError) -> list[Part]:
    """All that is known of one experiment, what costs further questions included."""
    if not isinstance(found, Comparison):
        return [*_refused(found), *_definition(material, one)]
    if not sum(found.units.values()):
        return in_full(one, found)
    try:
        parts = in_full(one, found, material.experiments.details(one.key))
    except BarographError as error:
        parts = [*in_full(one, found), _unanswered(error)]
    try:
        return [*parts, *example_parts(material.experiments.examples(one.key))]
    except BarographError as error:
        return [*parts, _unanswered(error)]


def _unanswered(error: BarographError) -> Text:
    return Text(text=f"Not answered: {error}", tone="warning")


def in_full(one: Experiment, found: Comparison, details: Details | None = None) -> list[Part]:
    """All that a comparison tells, and its details."""
    parts = [*head(found), *arrival_bars(found), *mind(found.warnings), _arms(one, found), *interval_plot(found),
             *guardrail_table(found), *numbers(found), *day_course(found)]  # fmt: skip
    if not sum(found.units.values()):
        return parts
    if details is not None:
        for course in details.courses:
            parts += age_course(found, course) if course.by == "age" else slice_parts(found, course)
        parts += spread_parts(found, details)
    parts += method_table(found)
    if details is not None:
        parts += second_opinions(found, details)
    parts += belief_table(found)
    return [*parts, *mind(details.warnings)] if details is not None else parts


def _arms(one: Experiment, found: Comparison | None) -> Table:
    """What each arm stands for, and what it was promised and got."""
    due = dict(zip(found.units, found.sample_ratio.expected, strict=True)) if found else {}
    got = found.units if found else {}
    rankers = one.kind == "interleaving"
    rows: list[list[Cell]] = [
        [variant.key, None if rankers else format_value(variant.weight, "ratio"), got.get(variant.key),
         round(due[variant.key]) if variant.key in due else None, _payload(variant.payload)]
        for variant in one.variants
    ]  # fmt: skip
    columns = [
        Column(title="Ranker" if rankers else "Arm", most=20, wraps=True),
        Column(title="Share now" if one.reweighted else "Share", align="right"),
        Column(title=f"{one.unit_kind}s", most=20), Column(title="Due"), Column(title="Configuration", most=48),
    ]  # fmt: skip
    kept = [at for at in range(len(columns)) if any(row[at] is not None for row in rows)]
    return Table(
        title="Rankers" if rankers else "Arms", columns=[columns[at] for at in kept],
        rows=[[row[at] for at in kept] for row in rows],
        note=f"Nobody is given one ranker alone: {in_each_list(one)}." if rankers else "",
    )  # fmt: skip


def _payload(payload: Mapping[str, object]) -> str | None:
    return json.dumps(payload, ensure_ascii=False)[:400] if payload else None


def _metric_title(material: Material, name: str) -> str:
    """The title; the name, where the metric is no more."""
    try:
        return material.catalogue.get(name).title
    except UnknownMetric:
        return name


def _definition(material: Material, one: Experiment) -> list[Part]:
    """What is going to be asked: the goal, what is watched beside it, and how long."""

    def titles(names: Sequence[str]) -> str:
        return ", ".join(_metric_title(material, name) for name in names)

    lines = [
        f"Hypothesis: {one.hypothesis}" if one.hypothesis else "",
        f"Goal: {titles([one.primary_metric])}.",
        f"Also told: {titles(one.secondary_metrics)}." if one.secondary_metrics else "",
        f"Guardrails: {titles([guardrail.metric for guardrail in one.guardrails])}." if one.guardrails else "",
        f"{DECIDED[one.decided_by].capitalize()}.",
        "It has not started: nothing is assigned, and there is nothing to compare." if one.state == "draft" else "",
    ]
    return [*(Text(text=line) for line in lines if line), _arms(one, None)]
