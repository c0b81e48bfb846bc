"""The route tree: which receiver an alert goes to, in which group, and on which timers.

Made once from the settings; what a route does not say it has from its parent. Read by ``router``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from barograph.alerts.matcher import Matcher, all_match, parse_matchers
from barograph.core.query import parse_duration
from barograph.core.routing_settings import RouteSettings
from barograph_client.errors import InvalidInput, InvalidQuery, InvalidSettings, shorten

EVERY_LABEL = "..."
LONGEST_TIMER = 30 * 86400.0  # seconds
SHORTEST_INTERVAL = 1.0  # seconds
_DEEPEST = 20
_ROOT = RouteSettings(
    receiver="log", group_by=("alertname",), group_wait="30s", group_interval="5m", repeat_interval="4h"
)
_ZERO = re.compile(r"0+(\.0+)?(ms|s|m|h|d|w)?")


class Route(Struct, frozen=True, kw_only=True):
    """A route with all that it inherits. ``id`` is the same as long as its matchers and those above it are."""

    id: str
    receiver: str
    matchers: tuple[Matcher, ...]
    continues: bool
    group_by: tuple[str, ...]
    group_wait: timedelta
    group_interval: timedelta
    repeat_interval: timedelta
    children: tuple[Route, ...]

    def find(self, labels: Mapping[str, str]) -> list[Route]:
        """The routes of an alert that is here: of the first child that matches (and, where one continues, of those
        after it), or this one when there is none."""
        found: list[Route] = []
        for child in self.children:
            if all_match(child.matchers, labels):
                found.extend(child.find(labels))
                if not child.continues:
                    break
        return found or [self]

    def group_labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels that make the alert's group, sorted; one that the alert does not have is left out."""
        names = labels if EVERY_LABEL in self.group_by else self.group_by
        return {name: labels[name] for name in sorted(names) if name in labels}

    def group_key(self, group_labels: Mapping[str, str]) -> str:
        """What stands for the group: receiver, route and labels."""
        return f"{self.receiver}/{self.id}:{json.dumps(group_labels, sort_keys=True, ensure_ascii=False)}"

    def walk(self) -> Iterator[Route]:
        """This route and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def make_tree(settings: RouteSettings, receivers: Collection[str]) -> Route:
    """The tree of those settings; ``receivers`` are the names there are. Raises InvalidSettings with the place."""
    if settings.matchers:
        raise InvalidSettings(
            "routing.route: the root takes every alert", hint="Put the matchers into a child.", value=settings.matchers
        )
    return _make(settings, None, "routing.route", "", frozenset(receivers), 0)


def _make(
    own: RouteSettings, parent: Route | None, place: str, route_id: str, receivers: frozenset[str], depth: int
) -> Route:
    if depth > _DEEPEST:
        raise InvalidSettings(f"{place}: more than {_DEEPEST} routes within each other")
    above = parent or _make_root(receivers)
    receiver = own.receiver or above.receiver
    if receiver not in receivers:
        known = ", ".join(sorted(receivers)) or "none"
        raise InvalidSettings(
            f"{place}: there is no such receiver", hint=f"Those there are: {shorten(known, 300)}.", value=receiver
        )
    try:
        matchers = parse_matchers(own.matchers)
    except InvalidInput as error:
        raise InvalidSettings(f"{place}.matchers: {error.message}", hint=error.hint, value=error.value) from None
    if parent is not None and not matchers:
        raise InvalidSettings(
            f"{place}: a route without matchers takes every alert", hint="Give it matchers, or change its parent."
        )
    group_by = above.group_by if own.group_by is None else own.group_by
    if EVERY_LABEL in group_by and len(group_by) > 1:
        raise InvalidSettings(
            f"{place}.group_by: '...' is every label and stands alone", hint="Leave the others out.", value=group_by
        )
    route = Route(
        id=route_id,
        receiver=receiver,
        matchers=matchers,
        continues=own.continue_,
        group_by=group_by,
        group_wait=_timer(own.group_wait, above.group_wait, f"{place}.group_wait"),
        group_interval=_timer(own.group_interval, above.group_interval, f"{place}.group_interval", SHORTEST_INTERVAL),
        repeat_interval=_timer(own.repeat_interval, above.repeat_interval, f"{place}.repeat_interval"),
        children=(),
    )
    if route.repeat_interval < route.group_interval:
        raise InvalidSettings(
            f"{place}: repeat_interval ({_told(route.repeat_interval)}) is shorter than group_interval "
            f"({_told(route.group_interval)}), so it could not be kept",
            hint="A group is looked at once in a group_interval: make repeat_interval as long or longer, or "
            "group_interval shorter. Both may be inherited.",
        )
    return _with_children(route, own, place, receivers, depth)


def _with_children(route: Route, own: RouteSettings, place: str, receivers: frozenset[str], depth: int) -> Route:
    children: list[Route] = []
    ids: dict[str, int] = {}
    for number, child in enumerate(own.routes):
        text = "{" + ",".join(child.matchers) + "}"
        ids[text] = ids.get(text, 0) + 1
        child_id = f"{route.id}/{text}" + (f"#{ids[text]}" if ids[text] > 1 else "")
        children.append(_make(child, route, f"{place}.routes[{number}]", child_id, receivers, depth + 1))
    return replace(route, children=tuple(children))


def _make_root(receivers: frozenset[str]) -> Route:
    """What the root has when it says nothing."""
    return Route(
        id="",
        receiver=_ROOT.receiver,
        matchers=(),
        continues=False,
        group_by=_ROOT.group_by or (),
        group_wait=seconds_of(_ROOT.group_wait or "", "group_wait"),
        group_interval=seconds_of(_ROOT.group_interval or "", "group_interval"),
        repeat_interval=seconds_of(_ROOT.repeat_interval or "", "repeat_interval"),
        children=(),
    )


def _timer(text: str | None, inherited: timedelta, place: str, least: float = 0.0) -> timedelta:
    if text is None:
        return inherited
    found = seconds_of(text, place)
    if not least <= found.total_seconds() <= LONGEST_TIMER:
        raise InvalidSettings(f"{place}: between {least:g} s and 30 d", value=text)
    return found


def seconds_of(text: str, place: str) -> timedelta:
    """The duration of a setting; ``0s`` is one too. Raises InvalidSettings with the place."""
    if _ZERO.fullmatch(text.strip()):
        return timedelta(0)
    try:
        return timedelta(seconds=parse_duration(text))
    except InvalidQuery as error:
        raise InvalidSettings(f"{place}: {error.message}", hint=error.hint, value=text) from None


def _told(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"
