"""Open alerts as they are listed: chosen, counted by name, the worst of each first; and the one that somebody names.

Reads where every alert stands from the alert manager; the server, the alerts page and the command line show it. The
members of an alert are those of Prometheus' API, and ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated as A
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Meta as M
from msgspec import Struct, field

from barograph.alerts.active_alert import ActiveAlert
from barograph.alerts.alert import rank_of
from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.matcher import all_match, parse_matchers
from barograph.alerts.rule import RESERVED, ThresholdRule
from barograph.alerts.standing import Standing
from barograph_client.errors import InvalidInput, InvalidRule, shorten

SHORTEST = 4  # digits of a fingerprint that name an alert
FULL = 16  # digits of a whole one
_CANDIDATES = 5  # that a message names

Chosen = Literal["pending", "firing", "held"]


class Telling(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a receiver was told of an alert, or is not, and when the next notification is due."""

    receiver: str
    told: bool
    why: str
    next_at: datetime | None


class OpenAlert(Struct, frozen=True, kw_only=True, rename="camel"):
    """An alert that waits or fires. ``held_by`` is what holds it back, ``held_id`` which silence, window or alert."""

    labels: dict[str, str]
    annotations: dict[str, str]
    state: Literal["pending", "firing"]
    active_at: datetime
    value: A[str, M(description="A number as Prometheus writes it")]
    unit: A[str, M(description="Of the value: s, ratio, USD, …; 1 where there is none")]
    data_at: A[datetime | None, M(description="Up to when there were data, where there are none now")]
    fingerprint: str
    starts_at: datetime | None
    from_outside: bool
    held_by: A[str, M(description="silence, maintenance or inhibition while one holds it back")]
    held_id: A[str, M(description="The silence's id, the window's name, the fingerprint of the alert that inhibits")]
    told: list[Telling]

    @property
    def name(self) -> str:
        """Its rule, or what it is called where it comes from."""
        return self.labels.get("alertname", "")


class OpenCount(Struct, frozen=True, kw_only=True, rename="camel"):
    """How many alerts of a name are open. Those that are held fire too."""

    alertname: str
    pending: int = 0
    firing: int = 0
    held: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.pending + self.firing


class OpenAlerts(Struct, frozen=True, kw_only=True, rename="camel"):
    """The alerts that were asked for, the worst first; ``total`` and ``by_name`` count also what a limit left out."""

    alerts: list[OpenAlert]
    total: int = 0
    by_name: list[OpenCount] = field(default_factory=list)


class Choice(Struct, frozen=True, kw_only=True):
    """Which open alerts: all, unless something is said. ``each`` is how many of a name at most, ``limit`` in all."""

    rule: str = ""
    state: Chosen | None = None
    matchers: Sequence[str] = ()
    limit: int | None = None
    each: int | None = None


def open_alerts(alerts: AlertManager, zone: ZoneInfo, choice: Choice | None = None) -> OpenAlerts:
    """The open alerts that were asked for. Times in the words are of ``zone``.

    Raises InvalidInput for a rule that there is not and a matcher that cannot be read, ControlError.
    """
    choice = choice or Choice()
    everything = alerts.standing(zone)
    names = {one.labels.get("alertname", "") for one in everything}
    if choice.rule and choice.rule not in names:
        _known(alerts, choice.rule, names)
    matchers = parse_matchers(choice.matchers)
    found = [
        one
        for one in everything
        if (not choice.rule or one.labels.get("alertname") == choice.rule)
        and choice.state in (None, one.state, "held" if one.held_by else None)
        and all_match(matchers, one.labels)
    ]
    by_name: dict[str, list[Standing]] = {}
    for one in found:
        by_name.setdefault(one.labels.get("alertname", ""), []).append(one)
    rules = {name: rule for name in by_name if (rule := _rule(alerts, name)) is not None}
    shown: list[Standing] = []
    for name, of_name in by_name.items():
        shown += _worst_first(of_name, rules.get(name))[: choice.each]
    active = alerts.active()
    return OpenAlerts(
        alerts=[
            open_alert(one, rules.get(one.labels.get("alertname", "")), _data_until(one, active))
            for one in shown[: choice.limit]
        ],
        total=len(found),
        by_name=[_count(name, of_name) for name, of_name in by_name.items()],
    )


def open_alert(one: Standing, rule: ThresholdRule | None, data_at: datetime | None = None) -> OpenAlert:
    """An alert as it is listed; ``rule`` is the one that it is of."""
    return OpenAlert(
        labels=one.labels,
        annotations=one.annotations,
        state=one.state,
        active_at=one.active_at,
        value=_number(one.value),
        unit=rule.metric.unit if rule is not None else "1",
        data_at=data_at,
        fingerprint=one.fingerprint,
        starts_at=one.starts_at,
        from_outside=one.from_outside,
        held_by=one.held_by,
        held_id=one.held_id,
        told=[
            Telling(receiver=each.receiver, told=each.told, why=each.words, next_at=each.next_at) for each in one.told
        ],
    )


class NamedAlert(Struct, frozen=True, kw_only=True):
    """The alert that was named: its whole fingerprint, and its rule and group in words; none where it is not open."""

    fingerprint: str
    alert: str = ""


def named(alerts: AlertManager, beginning: str, zone: ZoneInfo) -> NamedAlert:
    """The one alert that fires and whose fingerprint begins so; of a whole one, whatever is of it.

    Raises InvalidInput, with those that begin so where there are several.
    """
    wanted = beginning.strip().lower()
    if len(wanted) < SHORTEST:
        raise InvalidInput(
            f"the beginning of a fingerprint has {SHORTEST} digits or more",
            hint="`barograph alerts list` shows them.",
            value=beginning,
        )
    found = [one for one in alerts.standing(zone) if one.fingerprint.startswith(wanted) and one.state == "firing"]
    if not found and len(wanted) == FULL:
        return NamedAlert(fingerprint=wanted)
    if not found:
        raise InvalidInput(
            "no alert fires whose fingerprint begins so", hint="`barograph alerts list` shows them.", value=beginning
        )
    if len(found) > 1:
        candidates = "; ".join(_candidate(one) for one in found[:_CANDIDATES])
        more = f"; and {len(found) - _CANDIDATES:,} more" if len(found) > _CANDIDATES else ""
        raise InvalidInput(
            f"{len(found):,} alerts have a fingerprint that begins so",
            hint=f"Write more of it: {candidates}{more}.",
            value=beginning,
        )
    return NamedAlert(fingerprint=found[0].fingerprint, alert=_words(found[0]))


def group_words(labels: Mapping[str, str]) -> str:
    """Which group of its rule an alert is of: its labels but those that every alert has, as matchers have them."""
    told = (f"{name}={shorten(value, 40)}" for name, value in labels.items() if name not in RESERVED)
    return ", ".join(told)


def _candidate(one: Standing) -> str:
    return f"{one.fingerprint} {_words(one)}"


def _words(one: Standing) -> str:
    group = group_words(one.labels)
    return f"{shorten(one.labels.get('alertname', ''), 40)}{f' ({shorten(group, 60)})' if group else ''}"


def _known(alerts: AlertManager, wanted: str, names: set[str]) -> None:
    """Nothing, if there is a rule of that name, though no alert of it is open. Raises InvalidInput."""
    rules = [status.rule for status in alerts.rules()]
    if wanted in rules:
        return
    close = get_close_matches(wanted, {*rules, *names}, n=3)
    known = ", ".join(shorten(name, 40) for name in rules[:10])
    hint = f"Did you mean {' or '.join(close)}?" if close else f"The rules are: {known}." if known else ""
    raise InvalidInput("there is no rule of that name, and no alert", hint=hint, value=wanted)


def _rule(alerts: AlertManager, name: str) -> ThresholdRule | None:
    """The rule, if there is one of that name: there are alerts from outside, and about the rules themselves."""
    try:
        return alerts.rule(name)
    except InvalidRule:
        return None


def _data_until(alert: Standing, active: Sequence[ActiveAlert]) -> datetime | None:
    """Up to when there were data, where there are none now: known of the rule's group that the alert is of."""
    if alert.from_outside:
        return None
    of_it = [
        one
        for one in active
        if one.rule == alert.labels.get("alertname")
        and all(alert.labels.get(name, "") == value for name, value in one.labels.items())
    ]
    return max(of_it, key=lambda one: len(one.labels)).data_at if of_it else None


def _worst_first(alerts: list[Standing], rule: ThresholdRule | None) -> list[Standing]:
    """Those that fire, by severity; of one severity what is farthest beyond the limit, and then the oldest."""
    return sorted(
        alerts, key=lambda one: (one.state == "pending", rank_of(one.labels), -_beyond(one, rule), one.active_at)
    )


def _beyond(one: Standing, rule: ThresholdRule | None) -> float:
    """How far its value is beyond the limit; of one without a value or a limit, not at all."""
    if rule is None or one.value is None or math.isnan(one.value):
        return 0.0
    return max(
        one.value - rule.above if rule.above is not None else 0.0,
        rule.below - one.value if rule.below is not None else 0.0,
    )


def _count(name: str, alerts: Sequence[Standing]) -> OpenCount:
    pending = sum(one.state == "pending" for one in alerts)
    return OpenCount(
        alertname=name,
        pending=pending,
        firing=len(alerts) - pending,
        held=sum(bool(one.held_by) for one in alerts),
    )


def _number(value: float | None) -> str:
    """A value as Prometheus writes it."""
    if value is None or math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"
