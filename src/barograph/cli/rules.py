"""Commands for rules that are kept beside those of the file: they open ``control.db`` alone, and work while a server
runs, which heeds them at its next look."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from barograph.cli.control import actor
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, Json, ProjectName, existing
from barograph.cli.output import draw, print_json, say
from barograph.core.settings import FILE_NAME, load_settings
from barograph.visualize.chart import Cell, Column, Page, Table, Text
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidSettings, shorten

if TYPE_CHECKING:
    from barograph.alerts.rule_set import RuleSet

_FROM = {"file": FILE_NAME, "kept": "kept", "default": "default"}


class RuleLine(Struct, frozen=True, kw_only=True):
    """One rule, where it comes from, and what keeps a kept one from being used.

    One that is ``off`` is not evaluated, and has nothing to tell but its name.
    """

    name: str
    source: str
    severity: str
    condition: str
    for_seconds: float = 0.0
    problem: str = ""
    off: bool = False


@contextlib.contextmanager
def rules_of(directory: Path, project: str | None) -> Iterator[RuleSet]:
    """The rules of a project, from the settings and the control plane. Raises InvalidInput, InvalidRule, ControlError.

    A function that a rule names is not imported, and its module need not be there.
    """
    from barograph.alerts.default_rules import default_rules
    from barograph.alerts.rule_set import RuleSet
    from barograph.alerts.rules.function import name_function
    from barograph.alerts.rules.guardrail import guardrail_rule
    from barograph.control.database import CONTROL, ControlPlane
    from barograph.control.projects import ProjectRepository
    from barograph.control.rules import RuleRepository
    from barograph.core.metric import Catalogue
    from barograph.dashboard.assembly import check_rule, metric_of

    settings = load_settings(existing(directory), os.environ)
    clock = SystemClock()
    catalogue = Catalogue(metric_of(own) for own in settings.metrics)
    with ControlPlane(directory / CONTROL, clock) as plane:
        wanted = project or settings.project
        ProjectRepository(plane, settings.project).require(wanted)
        yield RuleSet(
            catalogue,
            settings.rules,
            default=default_rules(settings),
            built_in=(guardrail_rule(lambda at: {}),),
            load=name_function,
            kept=RuleRepository(plane),
            check=partial(check_rule, catalogue, clock),
            project=wanted,
        )


def listed(project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """List the rules and where each comes from: the file, kept, or a default one. One that is switched off is "off".

    \b
    barograph alerts rules
    """
    with rules_of(data_dir, project) as rules:
        lines = [
            RuleLine(
                name=rule.name, source=rules.source(rule.name), severity=rule.severity, condition=rule.condition,
                for_seconds=rule.for_seconds,
            )
            for rule in rules.rules
        ] + [
            RuleLine(
                name=one.settings.name, source="kept", severity=one.settings.severity, condition="", problem=one.problem
            )
            for one in rules.broken
        ] + [
            RuleLine(name=name, source=rules.source(name), severity="", condition="", off=True) for name in rules.off
        ]  # fmt: skip
    if json:
        print_json(lines)
        return
    columns = [
        Column(title="Rule", wraps=True),
        Column(title="From"),
        Column(title="Severity"),
        Column(title="Condition", most=160, wraps=True),
    ]
    rows: list[list[Cell]] = [[one.name, _FROM[one.source], one.severity or None, _condition(one)] for one in lines]
    title = "In force, and switched off" if any(one.off for one in lines) else "In force"
    told = Table(title=title, columns=columns, rows=rows) if rows else Text(text="No rule is in force.")
    draw(Page(title="Rules", parts=[told]))


def _condition(line: RuleLine) -> str:
    if line.off:
        return "off"
    if line.problem:
        return f"cannot be used: {line.problem}"
    from barograph.alerts.active_alert import held_for

    return held_for(line.condition, line.for_seconds)


def add(
    file: Annotated[Path, typer.Argument(help="A file with [[rules]]; `barograph alerts check` looks at it first.")],
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
) -> None:
    """Keep the rules of a file, all or none, in place of kept or default ones with their names.

    A server heeds them in 15 s.

    \b
    barograph alerts add draft.toml
    A rule with `enabled = false` switches the default one with its name off.
    """
    from barograph.dashboard.rule_file import read_rules, refused

    found = read_rules(file)
    for wrong in found.problems:
        raise refused(found, wrong)
    if not found.rules:
        raise InvalidSettings(f"{file} has no rules", hint="Write each under [[rules]].")
    with rules_of(data_dir, project) as rules:
        rules.keep(*found.rules, actor=actor(), places=found.places)
    for one in found.rules:
        say(f"{shorten(one.name)} is {'in force' if one.enabled else 'switched off'}.")


def remove(
    name: Annotated[str, typer.Argument(metavar="RULE", help="Its name, which `barograph alerts rules` shows.")],
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
) -> None:
    """Remove a kept rule. What fired of it is resolved; a default one with its name is in force again.

    \b
    barograph alerts remove "slow answers"
    """
    with rules_of(data_dir, project) as rules:
        rules.remove(name, actor=actor())
        back = any(rule.name == name for rule in rules.rules)
    say(f"{shorten(name)} is removed{'; the default rule of that name is in force' if back else ''}.")
