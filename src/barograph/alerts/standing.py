"""Where every alert stands, for people and programs: of the rules and from outside, with what is told of it and why.

The alert manager's one list of what is open, with what the notifier says; the server, pages and commands show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import replace

from barograph.alerts.active_alert import ActiveAlert
from barograph.alerts.alert import Alert, rank_of
from barograph.alerts.notifier import Notifier
from barograph.alerts.routing.explanation import Explanation, explain_targets
from barograph.alerts.routing.silences import Hold


class Standing(Struct, frozen=True, kw_only=True):
    """One alert that waits or fires. ``active_at`` is when its breach began, ``starts_at`` when it fired.
    ``data_at`` is up to when there were data, where there are none now.

    ``held_by`` is what keeps it from being told now: a silence, maintenance or an inhibition; ``held_id`` is which: the
    id of a silence, the name of a maintenance window, the fingerprint of the alert that inhibits it. ``told`` says, a
    receiver each, why a notification was sent or is held, and when the next one is due.
    """

    fingerprint: str
    state: Literal["pending", "firing"]
    labels: dict[str, str]
    annotations: dict[str, str]
    active_at: datetime
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    updated_at: datetime
    data_at: datetime | None = None
    value: float | None = None
    generator_url: str = ""
    from_outside: bool = False
    held_by: str = ""
    held_id: str = ""
    told: list[Explanation] = field(default_factory=list)


def standings(
    told: Iterable[tuple[ActiveAlert, Alert]], notifier: Notifier | None, at: datetime, zone: ZoneInfo
) -> list[Standing]:
    """Where all alerts stand that wait or fire, of the rules and from outside, the worst and then the oldest first.

    ``told`` are those of the rules. Raises ControlError.
    """
    known = [(alert, one) for one, alert in told if one.state != "resolved"]
    found = [_standing(alert, one) for alert, one in known if one.state == "pending" or notifier is None]
    if notifier is not None:
        firing: list[tuple[Alert, ActiveAlert | None]] = [
            *((alert, one) for alert, one in known if one.state != "pending"),
            *((alert, None) for alert in notifier.outside() if alert.status(at) == "firing"),
        ]
        why = notifier.explain([alert for alert, _ in firing], at, zone)
        routed = [_standing(alert, one, *said) for (alert, one), said in zip(firing, why, strict=True)]
        found += _with_targets(routed, notifier, at, zone)
    return sorted(found, key=lambda one: (one.state == "pending", rank_of(one.labels), one.active_at))


def _standing(
    alert: Alert, active: ActiveAlert | None, hold: Hold | None = None, told: Iterable[Explanation] = ()
) -> Standing:
    """Where an alert stands; ``active`` is what is known of one of a rule. One that waits is not told."""
    pending = active is not None and active.state == "pending"
    return Standing(
        fingerprint=alert.fingerprint,
        state="pending" if pending else "firing",
        labels=alert.labels,
        annotations=alert.annotations,
        active_at=(active.active_at if active else None) or alert.starts_at,
        starts_at=None if pending else alert.starts_at,
        ends_at=alert.ends_at,
        updated_at=alert.updated_at,
        data_at=active.data_at if active else None,
        value=active.value if active else None,
        generator_url=alert.generator_url,
        from_outside=alert.from_outside,
        held_by=hold.kind if hold else "",
        held_id=hold.id if hold else "",
        told=list(told),
    )


def _with_targets(found: Iterable[Standing], notifier: Notifier, at: datetime, zone: ZoneInfo) -> list[Standing]:
    """With whom the messages about each alert have reached: one question for all of them. Raises ControlError."""
    stands = list(found)
    reached = notifier.reached({each.group_key for one in stands for each in one.told if each.told})
    return [
        replace(one, told=[explain_targets(each, reached.get(each.group_key, ()), at, zone) for each in one.told])
        for one in stands
    ]
