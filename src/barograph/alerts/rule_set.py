"""Which rules are in force in a project, and where each comes from.

They stand in the file, were added in Python, are kept in the control plane, or are the default ones. A name is one
rule: that of the first of these that has it, so that whoever writes a rule with a default one's name replaces it, and
so does one that watches the very same under another name: nobody is told twice in the same words. One that is not
``enabled`` holds its name and is not evaluated. ``alert_manager`` asks at each tick for what has changed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from barograph.alerts.rule import make_rule
from barograph.alerts.rules.function import RuleFunction
from barograph.alerts.rules.threshold import ThresholdRule
from barograph.control.rules import RuleRepository
from barograph.core.metric import Catalogue
from barograph.core.settings import RuleSettings
from barograph_client.errors import BarographError, InvalidRule, shorten

Source = Literal["file", "python", "kept", "default"]
Check = Callable[[ThresholdRule], object]
Load = Callable[[str, str], RuleFunction]

_NAMED = 10  # rules that a hint names
_WRITTEN: tuple[Source, ...] = ("file", "python")  # by whoever runs this: nobody else changes them
_ELSEWHERE: dict[Source, tuple[str, str]] = {
    "file": ("that rule stands in barograph.toml", "Change it there; it is read at the next start."),
    "python": ("that rule was added in Python", "Change the program that adds it."),
    "default": (
        "that is a default rule",
        'Keep one of its name with enabled = false, in JSON "enabled": false, to switch it off.',
    ),
}


class BrokenRule(Struct, frozen=True, kw_only=True):
    """A kept rule that cannot be used as things are, such as one about a metric that there is no more."""

    settings: RuleSettings
    problem: str


class _InForce(Struct, frozen=True, kw_only=True):
    """What is in force, all of the same moment."""

    rules: tuple[ThresholdRule, ...] = ()
    sources: dict[str, Source]
    broken: tuple[BrokenRule, ...] = ()
    off: tuple[str, ...] = ()


class RuleSet:
    """The rules of one project. Safe to share between threads.

    ``rules`` are the file's, and ``places`` say where each stands in it, for errors. ``load`` finds the function that
    one of them names; without it there are none. ``built_in`` are default ones that no settings could say, ready made.
    ``check`` is asked of every other rule whether it can be evaluated. Raises InvalidRule for one of the file's that is
    wrong.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        rules: Sequence[RuleSettings] = (),
        *,
        places: Sequence[str] = (),
        default: Iterable[RuleSettings] = (),
        built_in: Iterable[ThresholdRule] = (),
        load: Load | None = None,
        kept: RuleRepository | None = None,
        check: Check = lambda rule: None,
        project: str = "default",
    ) -> None:
        self._catalogue = catalogue
        self._repository = kept
        self._check = check
        self._project = project
        self._lock = threading.RLock()
        self._built_in = {rule.name: rule for rule in built_in}
        usual = {rule.name: rule for rule in (*default, *(RuleSettings(name=name) for name in self._built_in))}
        self._stand: dict[Source, dict[str, RuleSettings]] = {"file": {}, "python": {}, "kept": {}, "default": usual}
        self._made: dict[str, tuple[RuleSettings, ThresholdRule]] = {}
        self._read: int | None = None  # the repository's number when its rules were read
        self._unreadable: tuple[BrokenRule, ...] = ()
        for rule, place in zip(rules, places or [""] * len(rules), strict=True):
            self._of_file(rule, place, load)
        self._now = self._sorted()
        self.refresh()

    @property
    def rules(self) -> tuple[ThresholdRule, ...]:
        """Those that are evaluated: the file's, Python's, the kept ones, the default ones."""
        return self._now.rules

    @property
    def broken(self) -> tuple[BrokenRule, ...]:
        """Kept rules that cannot be used."""
        return self._now.broken

    @property
    def off(self) -> tuple[str, ...]:
        """The names that a rule holds which is switched off."""
        return self._now.off

    def gone(self, name: str) -> str:
        """What has become of a rule that was in force: ``was switched off while it fired``; '' where it still is."""
        now = self._now
        if any(rule.name == name for rule in now.rules):
            return ""
        if any(one.settings.name == name for one in now.broken):
            return "can no longer be used"
        return f"was {'switched off' if name in now.off else 'removed'} while it fired"

    def source(self, name: str) -> Source:
        """Where the rule of that name in force, or switched off, comes from."""
        return self._now.sources[name]

    def refresh(self) -> None:
        """Read the kept rules again if they have changed. Raises ControlError."""
        if self._repository is None:
            return
        with self._lock:
            number = self._repository.changed()
            if number != self._read:
                self._take(self._repository)
                self._read = number
            elif not self.broken:
                return
            self._now = self._sorted()

    def add(self, settings: RuleSettings, function: RuleFunction | None = None) -> None:
        """Add a rule for as long as this lives; one of kind ``function`` asks that function. Raises InvalidRule."""
        with self._lock:
            self._admit(settings, "python", function)
            self._now = self._sorted()

    def keep(self, *rules: RuleSettings, actor: str, places: Sequence[str] = ()) -> None:
        """Keep rules in the control plane, in place of kept or default ones of their names: all or none.

        Durable on return. One that is not ``enabled`` switches that one off. ``places`` say where each is written, for
        errors. Raises InvalidRule or ControlError.
        """
        with self._lock:
            repository = self._own_repository()
            for settings, place in zip(rules, places or [""] * len(rules), strict=True):
                with _placed(place):
                    self._check_kept(settings)
            repository.put(self._project, {one.name: _document(one) for one in rules}, actor=actor)
            self.refresh()

    def _check_kept(self, settings: RuleSettings) -> None:
        for source in _WRITTEN:
            if settings.name in self._stand[source]:
                raise self._elsewhere(settings.name, source)
        if settings.enabled:
            self._make(settings)
        elif settings.name not in self._stand["kept"] and settings.name not in self._stand["default"]:
            raise self.unknown(settings.name)

    def remove(self, name: str, *, actor: str) -> None:
        """Remove a kept rule; a default one of its name is in force again. Raises InvalidRule or ControlError."""
        with self._lock:
            if not self._own_repository().remove(self._project, name, actor=actor):
                source = next((source for source in _ELSEWHERE if name in self._stand[source]), None)
                raise self._elsewhere(name, source) if source else self.unknown(name)
            self.refresh()

    def unknown(self, name: str) -> InvalidRule:
        """The error for a name that no rule has."""
        names = [shorten(rule.name, 40) for rule in self.rules]
        near = get_close_matches(shorten(name, 40), names, n=3)
        if near:
            hint = f"Did you mean {' or '.join(near)}?"
        else:
            more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            hint = f"There are: {', '.join(names[:_NAMED]) or 'none'}{more}."
        return InvalidRule("there is no rule of that name", hint=hint, value=name)

    def _own_repository(self) -> RuleRepository:
        assert self._repository is not None, "a set of rules that are kept nowhere"
        return self._repository

    @staticmethod
    def _elsewhere(name: str, source: Source) -> InvalidRule:
        said, hint = _ELSEWHERE[source]
        return InvalidRule(said, hint=hint, value=name)

    def _of_file(self, settings: RuleSettings, place: str, load: Load | None) -> None:
        with _placed(place):
            named = settings.kind == "function" and settings.enabled
            self._admit(settings, "file", load(settings.name, settings.function) if load and named else None)

    def _admit(self, settings: RuleSettings, source: Source, function: RuleFunction | None = None) -> None:
        if any(settings.name in self._stand[other] for other in _WRITTEN):
            raise InvalidRule("two rules have the same name", hint="Give each its own.", value=settings.name)
        if settings.enabled:
            self._made[settings.name] = settings, self._make(settings, function)
        self._stand[source][settings.name] = settings

    def _make(self, settings: RuleSettings, function: RuleFunction | None = None) -> ThresholdRule:
        rule = make_rule(settings, self._catalogue, function)
        self._check(rule)
        return rule

    def _take(self, repository: RuleRepository) -> None:
        """What the control plane has; what no longer reads as a rule stands as broken."""
        found: dict[str, RuleSettings] = {}
        unreadable = []
        for row in repository.list(self._project):
            try:
                found[row.name] = msgspec.convert(row.definition, RuleSettings)
            except msgspec.ValidationError as error:
                unreadable.append(BrokenRule(settings=RuleSettings(name=row.name), problem=str(error)))
        self._stand["kept"], self._unreadable = found, tuple(unreadable)

    def _sorted(self) -> _InForce:
        """What is in force now. A rule that has not changed stays the object that it was."""
        rules: list[ThresholdRule] = []
        sources: dict[str, Source] = {}
        off: list[str] = []
        broken = [one for one in self._unreadable if not any(one.settings.name in self._stand[by] for by in _WRITTEN)]
        others = (stand for source, stand in self._stand.items() if source != "default")
        watched = [_watched(settings) for stand in others for settings in stand.values()]
        for source, stand in self._stand.items():
            for settings in stand.values():
                ready = self._built_in.get(settings.name) if source == "default" else None
                if source == "default" and ready is None and _watched(settings) in watched:
                    continue
                if sources.setdefault(settings.name, source) != source:
                    continue
                if not settings.enabled:
                    off.append(settings.name)
                    continue
                known = self._made.get(settings.name)
                try:
                    rule = ready or (known[1] if known and known[0] == settings else self._make(settings))
                except BarographError as error:
                    broken.append(BrokenRule(settings=settings, problem=str(error)))
                    continue
                self._made[settings.name] = settings, rule
                rules.append(rule)
        return _InForce(rules=tuple(rules), sources=sources, broken=tuple(broken), off=tuple(off))


def _watched(settings: RuleSettings) -> RuleSettings:
    """What a rule watches, whatever it is called and its alerts say."""
    return replace(settings, name="", severity="warning", message="", labels={}, annotations={}, runbook="")


@contextlib.contextmanager
def _placed(place: str) -> Iterator[None]:
    """Say where it is written with what is wrong with a rule."""
    try:
        yield
    except InvalidRule as error:
        message = f"{place}: {error.message}" if place else error.message
        raise InvalidRule(message, hint=error.hint, value=error.value) from None


def _document(settings: RuleSettings) -> dict[str, object]:
    """The settings as they would stand in the file, without what is usual."""
    whole, usual = msgspec.to_builtins(settings), msgspec.to_builtins(RuleSettings(name=""))
    return {key: value for key, value in whole.items() if value != usual[key]}
