"""Inhibition: an alert that fires holds others back, as a critical one the warning about the same thing.

The semantics are Alertmanager's: the ``equal`` labels must be alike (a missing one is the empty text), a source counts
whether or not it is told itself, and an alert that is source and target of a rule is not held by another such one, so
none ever holds itself back. Read by ``router``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from barograph.alerts.matcher import Matcher, all_match, parse_matchers
from barograph.alerts.routing.silences import Hold
from barograph.core.routing_settings import InhibitionSettings
from barograph_client.errors import InvalidInput, InvalidSettings


class Inhibition(Struct, frozen=True, kw_only=True):
    """One rule, checked."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]

    def alike(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The values of the labels that source and target must share."""
        return tuple(labels.get(name, "") for name in self.equal)


def make_inhibitions(settings: Iterable[InhibitionSettings]) -> tuple[Inhibition, ...]:
    """The rules of those settings. Raises InvalidSettings with the place."""
    made: list[Inhibition] = []
    for number, one in enumerate(settings):
        try:
            source, target = parse_matchers(one.source), parse_matchers(one.target)
        except InvalidInput as error:
            raise InvalidSettings(
                f"routing.inhibitions[{number}]: {error.message}", hint=error.hint, value=error.value
            ) from None
        made.append(Inhibition(source=source, target=target, equal=one.equal))
    return tuple(made)


class Inhibitor:
    """The rules with all that fires at a moment; ``firing`` are labels by fingerprint."""

    def __init__(self, rules: Iterable[Inhibition], firing: Mapping[str, Mapping[str, str]]) -> None:
        self._rules: list[tuple[Inhibition, dict[tuple[str, ...], str], dict[tuple[str, ...], str]]] = []
        self._firing = firing
        for rule in rules:
            sources: dict[tuple[str, ...], str] = {}
            pure: dict[tuple[str, ...], str] = {}  # those that are not targets too
            for identity, labels in firing.items():
                if all_match(rule.source, labels):
                    alike = rule.alike(labels)
                    sources[alike] = min(identity, sources.get(alike, identity))
                    if not all_match(rule.target, labels):
                        pure[alike] = min(identity, pure.get(alike, identity))
            if sources:
                self._rules.append((rule, sources, pure))

    def hold(self, labels: Mapping[str, str]) -> Hold | None:
        """What holds an alert with these labels back, if anything does."""
        for rule, sources, pure in self._rules:
            if all_match(rule.target, labels):
                chosen = pure if all_match(rule.source, labels) else sources
                source = chosen.get(rule.alike(labels))
                if source is not None:
                    name = self._firing[source].get("alertname", source)
                    return Hold(kind="inhibition", id=source, words=f"inhibited by {name} ({source})")
        return None
