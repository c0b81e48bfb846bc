"""Rules in a file, looked at one by one: every problem with its line, not only the first.

Used by ``barograph alerts check`` and ``export``, and to try a rule that is not in use yet. The file is a
``barograph.toml``, or holds ``[[rules]]`` alone.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from barograph.alerts.default_rules import default_rules
from barograph.alerts.pattern import Pattern
from barograph.alerts.prometheus.export import export
from barograph.alerts.routing.router import Router
from barograph.alerts.rule import make_rule
from barograph.alerts.rule_set import RuleSet
from barograph.alerts.rules.function import load_function
from barograph.core.metric import Catalogue
from barograph.core.settings import MetricSettings, RuleSettings, Settings
from barograph.dashboard.assembly import check_rule, metric_of, rule_lines
from barograph.dashboard.delivery import LOG
from barograph_client.clock import SystemClock
from barograph_client.errors import BarographError, InvalidSettings, shorten


class RuleProblem(Struct, frozen=True, kw_only=True):
    """What is wrong with one rule. ``line`` is where it begins in the file, 0 where that cannot be told."""

    rule: str
    line: int
    problem: str
    hint: str = ""


class RuleFile(Struct, frozen=True, kw_only=True):
    """What a file holds: the rules that are right, and the problems of the others.

    ``places`` say where each of ``rules`` begins: ``draft.toml, line 4``.
    """

    path: str
    rules: tuple[RuleSettings, ...]
    places: tuple[str, ...]
    problems: tuple[RuleProblem, ...]

    def rule(self, name: str) -> RuleSettings:
        """The rule of that name. Raises InvalidSettings, with its problem if it has one."""
        for rule in self.rules:
            if rule.name == name:
                return rule
        for problem in self.problems:
            if problem.rule == name:
                raise InvalidSettings(f"{self.path}, line {problem.line}: {problem.problem}", hint=problem.hint)
        names = ", ".join(shorten(rule.name, 40) for rule in self.rules[:10]) or "none"
        raise InvalidSettings(f"{self.path} has no rule of that name", hint=f"It has: {names}.", value=name)


def read_rules(path: Path) -> RuleFile:
    """Look at every rule of a file. Raises InvalidSettings for one that cannot be read or is no TOML."""
    return _looked_at(path)[0]


def export_rules(path: Path) -> str:
    """The rules that the file puts in force, as a rule file of Prometheus.

    Raises InvalidSettings where a rule is wrong.
    """
    found, catalogue, tree = _looked_at(path)
    for problem in found.problems:
        raise InvalidSettings(f"{path}, line {problem.line}: {problem.problem}", hint=problem.hint)
    return export(RuleSet(catalogue, found.rules, default=_default(tree, path), load=load_function).rules)


def _looked_at(path: Path) -> tuple[RuleFile, Catalogue, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror}", hint="Name a file with [[rules]].") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path}: {error}", hint="See docs/settings.md for a whole example.") from None
    given = tree.get("rules", [])
    if not isinstance(given, list):
        raise InvalidSettings(f"{path}: rules is no list", hint="Write each rule under [[rules]].")
    catalogue = _catalogue(tree.get("metrics", []), path)
    rules: list[RuleSettings] = []
    places: list[str] = []
    problems: list[RuleProblem] = []
    for line, one in zip(rule_lines(text, len(given)), given, strict=True):
        name = str(one.get("name", "")) if isinstance(one, dict) else ""
        try:
            rule = _rule(one, catalogue)
            if any(other.name == rule.name for other in rules):
                raise InvalidSettings("another rule has the same name", hint="Give each its own.")
        except BarographError as error:
            problem = error.message.removeprefix(f"rule {shorten(name)}: ")
            problems.append(RuleProblem(rule=name, line=line, problem=problem, hint=error.hint))
        else:
            rules.append(rule)
            places.append(f"{path}, line {line}" if line else str(path))
    problems += _routing(tree)
    found = RuleFile(path=str(path), rules=tuple(rules), places=tuple(places), problems=tuple(problems))
    return found, catalogue, tree


def _default(tree: dict[str, Any], path: Path) -> tuple[RuleSettings, ...]:
    """The default rules that the file leaves in force. Raises InvalidSettings."""
    given = {name: tree[name] for name in ("default_rules", "budget", "timezone") if name in tree}
    try:
        return default_rules(msgspec.convert(given, Settings))
    except msgspec.ValidationError as error:
        raise InvalidSettings(f"{path}: {error}", hint="See docs/settings.md.") from None


def _routing(tree: dict[str, Any]) -> list[RuleProblem]:
    """What is wrong with the receivers and routes of the file; secrets are not looked for."""
    given = {name: tree[name] for name in ("receivers", "routing") if name in tree}
    try:
        settings = msgspec.convert(given, Settings)
        receivers = {LOG.name: True} | {one.name: one.send_resolved for one in settings.receivers}
        Router(settings.routing, receivers)
    except msgspec.ValidationError as error:
        return [RuleProblem(rule="receivers and routing", line=0, problem=str(error), hint="See docs/settings.md.")]
    except BarographError as error:
        return [RuleProblem(rule="receivers and routing", line=0, problem=error.message, hint=error.hint)]
    return []


def _rule(one: Any, catalogue: Catalogue) -> RuleSettings:
    try:
        settings = msgspec.convert(one, RuleSettings)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        field = where.strip("`").removeprefix(".")
        raise InvalidSettings(f"{field}: {reason}" if field else reason, hint="See docs/settings.md.") from None
    if not settings.enabled:
        return settings
    function = load_function(settings.name, settings.function) if settings.kind == "function" else None
    rule = make_rule(settings, catalogue, function)
    check_rule(catalogue, SystemClock(), rule)
    for filter_ in rule.where:
        if filter_.op == "match":
            Pattern(filter_.values[0])
    return settings


def _catalogue(given: Any, path: Path) -> Catalogue:
    """The metrics that the rules may be about. Raises InvalidSettings."""
    try:
        return Catalogue(metric_of(own) for own in msgspec.convert(given, list[MetricSettings]))
    except msgspec.ValidationError as error:
        raise InvalidSettings(f"{path}: metrics: {error}", hint="See docs/settings.md.") from None
