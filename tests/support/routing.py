"""A small world for tests of routing: seconds for times, letters for alerts, and a router stepped through it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import replace

from barograph.alerts.alert import Alert, Notification
from barograph.alerts.routing.explanation import Explanation, explain
from barograph.alerts.routing.router import Router, RouterState
from barograph.control.silences import Silence
from barograph.core.routing_settings import FlappingSettings, RouteSettings, RoutingSettings

START = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
OFF = FlappingSettings(transitions=0)
SHORT = RouteSettings(group_by=("job",), group_wait="2s", group_interval="4s", repeat_interval="12s")


def at(seconds: float) -> datetime:
    """The moment so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def seconds(moment: datetime | None) -> float | None:
    """And back."""
    return None if moment is None else (moment - START).total_seconds()


def alert(name: str, fired: float = 0, ended: float | None = None, *, outside: bool = False, **labels: str) -> Alert:
    """An alert that fired, and perhaps was resolved, at those seconds."""
    return Alert(
        labels={"alertname": name, "severity": "warning", **labels}, annotations={"summary": f"{name} is bad"},
        starts_at=at(fired), ends_at=None if ended is None else at(ended), updated_at=at(fired), from_outside=outside,
    )  # fmt: skip


def silence(*matchers: str, start: float = 0, end: float = 1000, ended: float | None = None) -> Silence:
    """A silence by ann between those seconds."""
    return Silence(
        id="5e1f", project="default", matchers=matchers, starts_at=at(start), ends_at=at(end), author="ann",
        comment="deploy", created_at=at(start), ended_at=None if ended is None else at(ended),
    )  # fmt: skip


class World:
    """Alerts that fire and are resolved, and the notifications about them; the state goes through JSON at each step."""

    def __init__(
        self,
        route: RouteSettings = SHORT,
        *,
        flapping: FlappingSettings = OFF,
        receivers: Mapping[str, bool] | None = None,
        **more: tuple[object, ...],
    ) -> None:
        settings = msgspec.convert(
            {**msgspec.to_builtins(RoutingSettings(route=route, flapping=flapping)), **msgspec.to_builtins(more)},
            RoutingSettings,
        )
        self.router = Router(settings, receivers or {"log": True})
        self.state = RouterState()
        self.alerts: dict[str, Alert] = {}
        self.silences: list[Silence] = []
        self.sent: list[Notification] = []

    def fire(self, name: str, second: float, **labels: str) -> Alert:
        """An alert fires (again)."""
        self.alerts[name] = replace(alert(name, second), labels={**alert(name).labels, **labels})
        return self.alerts[name]

    def resolve(self, name: str, second: float) -> None:
        """And is resolved."""
        self.alerts[name] = replace(self.alerts[name], ends_at=at(second), updated_at=at(second))

    def step(self, second: float) -> list[Notification]:
        """One step; what it tells."""
        self.state, told = self.router.step(self.state, self.alerts.values(), self.silences, at(second))
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=RouterState)
        self.sent += told
        return told

    def run(self, start: float, end: float, pace: float = 0.5) -> list[str]:
        """Steps from the start up to, not including, the end; what they tell, as ``said`` says it."""
        before = len(self.sent)
        second = start
        while second < end:
            self.step(second)
            second += pace
        return said(self.sent[before:])

    def explain(self, name: str, second: float) -> Explanation:
        """Why the alert was told or held."""
        (found,) = explain(self.router, self.state, self.alerts[name], at(second))
        return found


def said(notifications: Iterable[Notification]) -> list[str]:
    """Notifications in short: ``6 firing a+ b-`` is one at 6 s in which a fires and b is resolved."""
    return [
        f"{seconds(one.at):g} {one.status} "
        + " ".join(sorted(f"{a.labels['alertname']}{'+' if a.status(one.at) == 'firing' else '-'}" for a in one.alerts))
        for one in notifications
    ]
