"""A file of settings, looked at before it is in use: every problem with its line, and not only the first.

Used by ``barograph alerts check``, ``add`` and ``export``, by ``doctor``, and to try a rule that is not in use yet. The
file is a ``barograph.toml``, or holds ``[[rules]]`` alone. What is found is what would be said at a start, because
parts of the file, and at last the whole of it, are put together as at a start, in a directory that is thrown away.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from barograph.alerts.prometheus.export import export
from barograph.alerts.rule_set import Load, RuleSet
from barograph.alerts.rules.function import load_function, load_or_name
from barograph.core.mistakes import mistakes
from barograph.core.receiver_settings import ReceiverSettings
from barograph.core.routing_settings import RoutingSettings
from barograph.core.settings import MetricSettings, RuleSettings, ServerSettings, Settings, read_tree
from barograph.core.toml_lines import Place, TomlLines, dotted
from barograph.dashboard.assembly import Components, assemble
from barograph.dashboard.delivery import Delivery
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidInput, InvalidSettings, shorten

_OF_RULES = ("timezone", "budget", "default_rules")  # settings by which there are rules that are not in the file
_ITEMS = {"rules": "rule", "metrics": "metric"}  # how an error names one of them
_ROUTE = re.compile(r"routing((?:\.\w+|\[\d+\])*): ")
_FIELD = re.compile(r"(\w+)(?:: | (?=must )|(?= ))")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


class RuleProblem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong. ``rule`` is the rule's name if it is one that is, ``place`` the setting, as
    ``rules[2].above``. ``line`` is where it stands in the file, 0 where the file does not have it."""

    rule: str = ""
    place: str
    line: int
    problem: str
    hint: str = ""

    @property
    def about(self) -> str:
        """Which rule or setting it is, as the beginning of a sentence."""
        name = shorten(self.rule) or self.place
        return f"{name}: " if name else ""


class RuleFile(Struct, frozen=True, kw_only=True):
    """What a file holds: the rules that are right, and what is wrong with the rest, by line.

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
                raise refused(self, problem)
        names = ", ".join(shorten(rule.name, 40) for rule in self.rules) or "none"
        raise InvalidSettings(f"{self.path} has no rule of that name", hint=f"It has: {names}.", value=name)


def read_rules(path: Path) -> RuleFile:
    """Look at the rules of a file, and at whether all of it can be read as settings.

    Raises InvalidSettings for one that cannot be read or is no TOML.
    """
    with _Look(path).rules() as look:
        return look.found()


def check_file(path: Path, environment: Mapping[str, str], serving: Callable[[ServerSettings], object]) -> RuleFile:
    """Look for all that would keep a server from starting with that file and those variables; secrets are looked for.

    ``serving`` raises InvalidSettings where the server could not listen as the settings want. Raises as ``read_rules``.
    """
    with _Look(path).rules() as look:
        look.receivers(environment)
        look.routing(environment)
        look.start(environment, serving)
        return look.found()


def export_rules(path: Path) -> str:
    """The rules that the file puts in force, as a rule file of Prometheus.

    A function whose module is not here is only named. Raises InvalidSettings where a rule is wrong.
    """
    with _Look(path).rules(load_or_name) as look:
        found = look.found()
        for problem in found.problems:
            raise refused(found, problem)
        return export(look.rule_set.rules)


def refused(file: RuleFile, problem: RuleProblem) -> InvalidSettings:
    """The error for whoever needs the file to be right."""
    line = f", line {problem.line}" if problem.line else ""
    return InvalidSettings(f"{file.path}{line}: {problem.about}{problem.problem}", hint=problem.hint)


class _Look:
    """One look at a file. What has a problem is left out of what is looked at after it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text, self._tree = read_tree(path)
        self._lines = TomlLines(text)
        self._problems: list[RuleProblem] = []
        self._wrong: set[Place] = set()
        self._rules: list[RuleSettings] = []
        self._places: list[str] = []
        for one in mistakes(self._tree, Settings):
            got = "" if one.value is None else f" (got {shorten(one.value)})"
            self._add(one.at, one.says + got, one.instead)

    def found(self) -> RuleFile:
        problems = sorted(self._problems, key=lambda one: one.line)
        return RuleFile(
            path=str(self._path), rules=tuple(self._rules), places=tuple(self._places), problems=tuple(problems)
        )

    @property
    def rule_set(self) -> RuleSet:
        """The rules that are right, with the default ones that the file leaves in force."""
        return self._parts.workspaces.own.alerts.rule_set

    @contextlib.contextmanager
    def rules(self, load: Load = load_function) -> Iterator[_Look]:
        """Look at metrics and rules; what is put together for that stays for as long as this is entered."""
        metrics: list[MetricSettings] = []
        for place, own in self._right("metrics", MetricSettings):
            with self._told(place), _assembled({"metrics": msgspec.to_builtins([*metrics, own])}):
                metrics.append(own)
        for key in self._sound().keys() & _OF_RULES:
            with self._told((key,)), _assembled({key: self._tree[key]}):
                pass
        with _assembled(
            {key: value for key, value in self._sound().items() if key in ("metrics", *_OF_RULES)}
        ) as self._parts:
            for place, rule in self._right("rules", RuleSettings):
                with self._told(place):
                    named = rule.kind == "function" and rule.enabled
                    self.rule_set.add(rule, load(rule.name, rule.function) if named else None)
                    self._rules.append(rule)
                    self._places.append(f"{self._path}, line {self._lines.of(place)}")
            yield self

    def receivers(self, environment: Mapping[str, str]) -> None:
        """Look at each receiver and each of its targets, secrets included."""
        receivers: list[ReceiverSettings] = []
        for place, receiver in self._right("receivers", ReceiverSettings):
            for number, target in enumerate(receiver.targets):
                with self._told((*place, "targets", number)):
                    alone = replace(receiver, targets=(target,))
                    self._delivery(environment, receivers=(alone,)).check()
            with self._told(place):
                self._delivery(environment, receivers=(*receivers, receiver))
                receivers.append(receiver)

    def routing(self, environment: Mapping[str, str]) -> None:
        """Look at each part of the routing: the root, its children, and what holds back."""
        if ("routing",) in self._wrong:
            return
        routing = msgspec.convert(self._tree.get("routing", {}), RoutingSettings)
        names = [str(one.get("name", "")) for one in self._tree.get("receivers", []) if isinstance(one, dict)]
        receivers = tuple(ReceiverSettings(name=name) for name in dict.fromkeys(names) if name)
        root, usual = replace(routing.route, routes=()), RoutingSettings()
        parts: list[tuple[Place, RoutingSettings]] = [
            *((("inhibitions", n), replace(usual, inhibitions=(one,))) for n, one in enumerate(routing.inhibitions)),
            *((("maintenance", n), replace(usual, maintenance=(one,))) for n, one in enumerate(routing.maintenance)),
            (("flapping",), replace(usual, flapping=routing.flapping)),
        ]
        with self._told(("routing", "route")):
            self._delivery(environment, receivers=receivers, routing=replace(usual, route=root))
            parts += (
                (("route", "routes", number), replace(usual, route=replace(root, routes=(child,))))
                for number, child in enumerate(routing.route.routes)
            )
        for place, part in parts:
            with self._told(("routing", *place)):
                self._delivery(environment, receivers=receivers, routing=part)

    def start(self, environment: Mapping[str, str], serving: Callable[[ServerSettings], object]) -> None:
        """Put together all that is right so far, as at a start. What is refused is looked for part by part."""
        sound = self._sound()
        if any(place[0] == "receivers" for place in self._wrong):
            sound.pop("routing", None)  # which may name those that are left out

        def started(settings: Mapping[str, Any], variables: Mapping[str, str]) -> None:
            with _assembled(settings, variables) as parts:
                serving(parts.settings.server)

        try:
            started(sound, environment)
        except InvalidInput as error:
            before = len(self._problems)
            for key, value in sound.items():
                with self._told((key,)):
                    started({key: value}, {})
            if len(self._problems) == before:  # it is the variables, or two parts that do not go together
                self._tell(error, ())

    def _delivery(self, environment: Mapping[str, str], **settings: Any) -> Delivery:
        return Delivery(Settings(**settings), self._parts.control, self._parts.clock, environment)

    def _right(self, name: str, kind: type[Any]) -> Iterator[tuple[Place, Any]]:
        """The items of a list that have no mistake, each with its place."""
        if (name,) in self._wrong:
            return
        for number, one in enumerate(self._tree.get(name, ())):
            if (name, number) not in self._wrong:
                yield (name, number), msgspec.convert(one, kind)

    def _sound(self) -> dict[str, Any]:
        """The settings without what is wrong: of lists the items, else the whole table."""
        return {
            key: [one for number, one in enumerate(value) if (key, number) not in self._wrong]
            if isinstance(value, list)
            else value
            for key, value in self._tree.items()
            if (key,) not in self._wrong
        }

    @contextlib.contextmanager
    def _told(self, place: Place) -> Iterator[None]:
        """What is refused inside is a problem of that place, or of one in it that the error names."""
        try:
            yield
        except InvalidInput as error:
            self._tell(error, place)

    def _tell(self, error: InvalidInput, place: Place) -> None:
        got = "" if error.value is None else f" (got {error.value})"
        message, place = self._placed(error.message, place)
        self._add(place, message + got, error.hint)

    def _placed(self, message: str, place: Place) -> tuple[str, Place]:
        """The message without the name of the place that it begins with, and the place."""
        route = _ROUTE.match(message)
        if route:
            steps: Place = tuple(int(number) if number else name for name, number in _STEP.findall(route[1]))
            return message[route.end() :], (*place, *("routing", *steps)[len(place) :])
        item = self._at(place)
        if isinstance(item, dict) and place:
            kind = _ITEMS.get(str(place[0]))
            prefix = f"{kind} {shorten(str(item.get('name', '')))}: " if kind else f"{place[0]}."
            message = message.removeprefix(prefix)
            field = _FIELD.match(message)
            if field and field[1] in item:
                return message[field.end() if field[0] != field[1] else 0 :], (*place, field[1])
        return message.removeprefix(f"{dotted(place)}: "), place

    def _at(self, place: Place) -> Any:
        found: Any = self._tree
        for part in place:
            found = found[part]
        return found

    def _add(self, at: Place, problem: str, hint: str) -> None:
        in_list = len(at) > 1 and isinstance(self._tree.get(str(at[0])), list)
        self._wrong.add(at[:2] if in_list else at[:1])
        item = self._at(at[:2]) if in_list and at[0] == "rules" else None
        name = str(item.get("name", "")) if isinstance(item, dict) else ""
        inner = dotted(at[2:]) if at[:1] == ("rules",) else ""
        if inner and not problem.startswith(f"{inner} "):
            problem = f"{inner}: {problem}"
        self._problems.append(
            RuleProblem(rule=name, place=dotted(at), line=self._lines.of(at), problem=problem, hint=hint)
        )


@contextlib.contextmanager
def _assembled(settings: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Iterator[Components]:
    """The parts of a directory of those settings, which is not there afterwards."""
    with tempfile.TemporaryDirectory(prefix="barograph-check-") as directory:
        parts = assemble(Path(directory), environment or {}, SystemClock(), settings)
        try:
            parts.delivery.check()
            yield parts
        finally:
            parts.close()
