"""What the commands for experiments draw: the verdict first, then what it rests on, as numbers, and what to do next.

Made of the structs that the server sends, too; knows neither store nor network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from barograph.control.audit import AuditEntry
from barograph.core.unit import format_value
from barograph.core.zone import local_time
from barograph.dashboard.page.experiments.examples import example_parts
from barograph.dashboard.page.experiments.page import in_full
from barograph.dashboard.page.experiments.summary import guardrail_table, head, mind, numbers
from barograph.dashboard.page.experiments.words import in_each_list, likelihood, split_of
from barograph.experiments.comparison import Comparison, Details
from barograph.experiments.design import Experiment
from barograph.experiments.examples import Examples
from barograph.experiments.preview import Assignment
from barograph.visualize.chart import Cell, Column, Page, Part, Table, Text
from barograph_client.errors import shorten

_WHY = {  # the reasons of a decision, as sentences about a unit
    "assigned": "chance put it there, and will again",
    "sticky": "it was put there before, and stays",
    "forced": "it was put there by hand, and is not counted",
    "not covered": "it is not in the share of units that takes part (coverage)",
    "not targeted": "it does not meet the condition",
    "another namespace": "it is in another part of the namespace",
    "held out": "it is held out of all experiments",
    "blocked": "it was assigned before min_bucket_version",
}


def listing(found: Sequence[Experiment]) -> Page:
    """All experiments, those that run first."""
    if not found:
        return Page(title="Experiments", parts=[
            Text(text="There is none. `barograph experiment create --help` shows how one is made."),
        ])  # fmt: skip
    order = {"running": 0, "paused": 1, "draft": 2, "stopped": 3, "archived": 4}
    rows: list[list[Cell]] = [
        [one.key, one.state, split_of(one), one.primary_metric,
         f"{one.started_at:%Y-%m-%d}" if one.started_at else None, one.title or None]
        for one in sorted(found, key=lambda one: (order[one.state], one.key))
    ]  # fmt: skip
    columns = [
        Column(title="Key", most=64, whole=True), Column(title="State"), Column(title="Split"),
        Column(title="Metric", most=28), Column(title="Started"), Column(title="Title", most=60),
    ]  # fmt: skip
    return Page(title="Experiments", parts=[Table(title="", columns=columns, rows=rows)])


def shown(
    experiment: Experiment, found: Comparison | None, details: Details | None = None, examples: Examples | None = None
) -> Page:
    """One experiment: what is known, what that rests on, what to do next; with ``details`` all numbers there are."""
    parts: list[Part] = []
    said = [Text(text=f"Hypothesis: {experiment.hypothesis}", tone="muted")] if experiment.hypothesis else []
    who = Text(text=_declared(experiment), tone="muted")
    if found is None:
        parts += [Text(text=f"Nothing is known yet: it is {_a(experiment.state)}."), *said, who]
    elif details is None:
        told = head(replace(found, hypothesis=""))  # the verdict first
        parts += [*told, *mind(found.warnings), *said, who, *numbers(found), *guardrail_table(found)]
    else:
        parts += [*in_full(experiment, found, details), who]
    if examples is not None:
        parts += example_parts(examples)
    parts += [Text(text=line) for line in next_steps(experiment, found)]
    return Page(title=experiment.name, aside=experiment.state, parts=parts)


def next_steps(experiment: Experiment, found: Comparison | None) -> list[str]:
    """What may be done now, as commands that can be typed; a line each where they go to a terminal as they are."""
    key, command = quote(experiment.key), "barograph experiment"
    match experiment.state:
        case "draft":
            kind = experiment.unit_kind
            unit = f"--{kind} ID" if kind in ("user", "session", "tenant") else f"--unit {quote(kind)}=ID"
            return [
                f"Next: `{command} start {key}` begins it.",
                f"`{command} assign {key} {unit}` shows who gets what.",
            ]
        case "paused":
            return [f"Next: {_advice(found)}`{command} start {key}` goes on, `{command} stop {key}` ends it."]
        case "stopped":
            return [
                f"Next: {_advice(found)}once no program asks for it any more, `{command} archive {key}` "
                f"puts it away; `{command} history {key}` tells who did what."
            ]
        case "archived":
            return [f"It is put away. `{command} history {key}` tells who did what."]
        case "running":
            ways = f"`{command} stop {key} --reason WHY` ends it for good"
            if found is not None and found.verdict.finding == "not valid":
                ways += f", `{command} pause {key}` assigns nobody meanwhile"
            return [f"Next: {_advice(found) or 'look again later; '}{ways}."]


def _advice(found: Comparison | None) -> str:
    """What the verdict says is to be done."""
    return f"{found.verdict.advice}; " if found is not None and found.verdict.advice else ""


def told_assignment(found: Assignment) -> list[str]:
    """What an experiment is for a unit, and why."""
    who = f"{found.unit_kind} {shorten(found.unit_id)}"
    if found.arm is None:
        first = f"{who} takes no part in {found.experiment}: {_WHY.get(found.reason, found.reason)}."
    else:
        first = f"{who} is in {found.arm} of {found.experiment}: {_WHY.get(found.reason, found.reason)}."
    lines = [first]
    if not found.in_effect:
        lines.append(
            f"That is so while it runs; it is {_a(found.state)}, so everybody gets the control's configuration."
        )
    whose = found.arm or "the control"
    if found.payload:
        lines.append(f"Configuration of {whose}:")
        lines += [f"  {name} = {shorten(value)}" for name, value in found.payload.items()]
    return lines


def history_page(key: str, entries: Sequence[AuditEntry], zone: ZoneInfo) -> Page:
    """Who changed it and how, newest first."""
    rows: list[list[Cell]] = [
        [local_time(one.time, zone), one.actor, one.action, _what(one.detail) or None] for one in entries
    ]
    columns = [
        Column(title="When"), Column(title="Who", most=24), Column(title="Did"),
        Column(title="What", most=400, wraps=True),
    ]  # fmt: skip
    return Page(title=f"History of {shorten(key)}", parts=[Table(title="", columns=columns, rows=rows)])


def _what(detail: dict[str, Any]) -> str:
    chances = [f"{arm} {likelihood(chance)}" for arm, chance in detail.get("chances", {}).items()]
    best = [f"chance to be the best: {', '.join(chances)}"] if chances else []
    if detail.get("changed") or best:
        told: list[str] = []
        for name, one in detail["changed"].items():
            before, after = one["from"], one["to"]
            if name == "variants" and [arm["key"] for arm in before] == [arm["key"] for arm in after]:
                told += _shares(before, after)
                before, after = ([{**arm, "weight": None} for arm in arms] for arms in (before, after))
            told += _changes(name, before, after)
        return "; ".join([*told, *best])
    if detail.get("reason"):
        return str(detail["reason"])
    return f"was {detail['from']}" if "from" in detail else ""


def _shares(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> list[str]:
    """The shares of arms that got others: ``shares: plain from 50 % to 10 %, new from 50 % to 90 %``."""
    moved = [
        f"{arm['key']} from {format_value(old['weight'], 'ratio')} to {format_value(arm['weight'], 'ratio')}"
        for old, arm in zip(before, after, strict=True)
        if old["weight"] != arm["weight"]
    ]
    return [f"shares: {', '.join(moved)}"] if moved else []


def _changes(name: str, before: object, after: object) -> Iterator[str]:
    """What is another, in each place: ``guardrails[0].auto_stop from true to false``."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from _changes(f"{name}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _changes(f"{name}[{place}]", one, other)
    elif before != after:
        yield f"{name} from {_short(before)} to {_short(after)}"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "nothing" if value in (None, "", [], {}) else shorten(json.dumps(value, ensure_ascii=False), 60)


def _declared(experiment: Experiment) -> str:
    """Who takes part, in a line."""
    e = experiment
    share = "All" if e.coverage == 1 else f"{format_value(e.coverage, 'ratio')} of"
    such = " that meet the condition" if e.condition else ""
    arms = "/".join(shorten(one.key, 24) for one in e.variants)
    if e.kind == "interleaving":
        return f"{share} {e.unit_kind}s{such}; {in_each_list(e)} ({arms})."
    return f"{share} {e.unit_kind}s{such}, {e.split}{' now' if e.reweighted else ''} ({arms})."


def _a(state: str) -> str:
    return "a draft" if state == "draft" else state
