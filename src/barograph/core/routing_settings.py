"""Settings of routing: who is told of which alerts, in which groups and how often, and what is held back when.

Part of the tree in ``settings``; ``alerts/routing`` reads and checks them. Durations are texts such as ``30s``, ``5m``
or ``4h``. Matchers are texts such as ``severity="critical"`` or ``pipeline=~"faq|search"``.
"""

from __future__ import annotations

from typing import Annotated as A
from typing import Literal

from msgspec import Meta as M
from msgspec import Struct, field

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class RouteSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"continue_": "continue"}):
    """One node of the route tree. What is not given is the parent's; the root's is given here."""

    receiver: A[
        str, M(max_length=128, description="Who is told; empty for the parent's. The root's default is log")
    ] = ""
    matchers: A[tuple[str, ...], M(description="Alerts that all of them match go here; the root takes all")] = ()
    continue_: A[bool, M(description="Whether the routes after this one are looked at too")] = False
    group_by: A[
        tuple[str, ...] | None,
        M(description="One group for each set of values of these labels; '...' for every label. Root: alertname"),
    ] = None
    group_wait: A[str | None, M(description="How long a new group waits for others. Root: 30s")] = None
    group_interval: A[str | None, M(description="How often a group may tell of changes. Root: 5m")] = None
    repeat_interval: A[str | None, M(description="When an unchanged group is told again. Root: 4h")] = None
    routes: A[tuple[RouteSettings, ...], M(description="The first child that matches takes the alert")] = ()


class InhibitionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alerts that hold others back: while a source fires, targets with the same ``equal`` labels are not told."""

    source: A[tuple[str, ...], M(min_length=1, description="Matchers of the alerts that hold others back")]
    target: A[tuple[str, ...], M(min_length=1, description="Matchers of the alerts that are held")]
    equal: A[tuple[str, ...], M(description="Labels that both have alike; one that is missing is the empty text")] = ()


class MaintenanceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time in which alerts are held: weekly (``days``, ``start``, ``end``) or once (``begins_at``, ``ends_at``)."""

    name: A[str, M(min_length=1, max_length=128, description="Shown where an alert is held by it")]
    matchers: A[tuple[str, ...], M(description="Which alerts; none for all")] = ()
    days: A[tuple[Weekday, ...], M(description="Days on which a window begins; none for every day")] = ()
    start: A[str | None, M(description="Local time of day, HH:MM")] = None
    end: A[str | None, M(description="Local time of day, HH:MM; not after start means on the next day")] = None
    begins_at: A[str | None, M(description="Of a single window: ISO 8601, local unless it has an offset")] = None
    ends_at: A[str | None, M(description="Of a single window: ISO 8601, local unless it has an offset")] = None
    timezone: A[str, M(description="The zone of these times, such as Europe/Berlin")] = "UTC"


class FlappingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an alert that comes and goes is told of once and then held until it is stable."""

    transitions: A[int, M(ge=0, le=1000, description="More than so many changes in the window; 0 switches it off")] = 6
    window: A[str, M(description="The time over which changes are counted")] = "30m"
    stable: A[str, M(description="Without a change for so long it is stable again")] = "15m"


class RoutingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of routing."""

    route: A[RouteSettings, M(description="The root of the tree")] = field(default_factory=RouteSettings)
    inhibitions: A[tuple[InhibitionSettings, ...], M(description="As [[routing.inhibitions]]")] = ()
    maintenance: A[tuple[MaintenanceSettings, ...], M(description="As [[routing.maintenance]]")] = ()
    flapping: A[FlappingSettings, M(description="Damping of alerts that come and go")] = field(
        default_factory=FlappingSettings
    )
