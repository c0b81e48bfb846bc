"""What was said of alerts is remembered within bounds: what is left out says so, and no alert is lost for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from barograph.alerts.alert import Alert, Notification
from barograph.alerts.routing.groups import Group, Told
from barograph.alerts.routing.remembered import CUT, bounded, count_cut
from barograph.alerts.routing.router import RouterState
from barograph.control import routing
from barograph.control.database import ControlPlane
from barograph.core.settings import Settings
from barograph.core.zone import zone_of
from barograph.dashboard.delivery import Delivery
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidInput

START = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)


def alert(name: str, **annotations: str) -> Alert:
    return Alert(
        labels={"alertname": name}, annotations=annotations, starts_at=START, updated_at=START,
        ends_at=START + timedelta(hours=1), from_outside=True,
    )  # fmt: skip


def state(*alerts: Alert) -> RouterState:
    told = {one.fingerprint: Told(alert=one) for one in alerts}
    return RouterState(groups={"g": Group(key="g", receiver="log", route="", labels={}, next_at=START, told=told)})


def said(after: RouterState) -> dict[str, dict[str, str]]:
    return {told.alert.labels["alertname"]: told.alert.annotations for told in after.groups["g"].told.values()}


def test_within_the_bound_all_of_it_is() -> None:
    whole = state(alert("a", summary="x" * 93))
    assert bounded(whole, 100) is whole


def test_beyond_it_the_long_ones_are_cut_and_say_so_and_the_short_ones_stay_whole() -> None:
    after = bounded(state(alert("short", summary="brief"), alert("a", summary="x" * 500, runbook="http://w"),
                          alert("b", summary="y" * 900)), 200)  # fmt: skip
    kept = said(after)
    assert kept["short"] == {"summary": "brief"}
    assert kept["a"]["runbook"] == "http://w"
    assert kept["a"]["summary"].endswith(CUT)
    assert set(kept["b"]["summary"].removesuffix(CUT)) == {"y"}
    assert 150 < sum(len(name) + len(text) for one in kept.values() for name, text in one.items()) <= 200
    assert count_cut(after) == 2


def test_what_has_no_room_at_all_is_counted() -> None:
    kept = said(bounded(state(alert("a", **{f"{'n' * 90}{i}": "x" for i in range(7)})), 120))
    assert kept["a"]["cut"] == f"6 more{CUT}"  # one name finds room


def test_the_same_state_is_cut_the_same_way_again() -> None:
    once = bounded(state(alert("a", summary="x" * 500), alert("b", summary="y" * 900)), 200)
    assert bounded(once, 200) == once


@pytest.fixture
def delivery(tmp_path: Path) -> Iterator[Delivery]:
    clock = ManualClock(START)
    with ControlPlane(tmp_path / "control.db", clock) as plane:
        settings = msgspec.convert({"routing": {"route": {"receiver": "log", "group_wait": "0s"}}}, Settings)
        yield Delivery(settings, plane, clock, {})


def test_the_whole_of_it_is_told_and_the_end_with_what_is_left(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barograph.alerts.notifier.bounded", lambda after: bounded(after, 100))
    notifier = delivery.notifier("default")
    firing = replace(alert("a", summary="x" * 5000), ends_at=None, from_outside=False)
    notifier.of_rules = lambda at: [firing]
    notifier.step(START)
    assert notifier.cut == 1
    ((_, (why,)),) = notifier.explain([firing], START, zone_of("UTC"))
    assert "is remembered in part" in why.words
    notifier.of_rules = lambda at: []
    notifier.step(START + timedelta(hours=1))
    first, last = (msgspec.convert(row.body, Notification) for row in reversed(delivery.outbox.list()))
    assert first.alerts[0].annotations == {"summary": "x" * 5000}
    assert (last.status, last.alerts[0].annotations["summary"][-len(CUT) :]) == ("resolved", CUT)


def test_more_than_may_be_kept_of_alerts_from_outside_is_refused_as_a_whole(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "MOST_CHARACTERS", 1000)
    notifier = delivery.notifier("default")
    notifier.receive([alert("a", summary="x" * 500)])
    with pytest.raises(InvalidInput, match="at most 1,000 characters of alerts from outside"):
        notifier.receive([alert("b"), alert("c", summary="x" * 500)])
    assert [one.labels["alertname"] for one in notifier.outside()] == ["a"]
