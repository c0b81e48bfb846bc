"""Whatever happens, in whatever order: nothing is untold for longer than the timers allow, nothing is told twice."""

from __future__ import annotations

import random
from datetime import timedelta

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace
from tests.support.routing import alert, at, silence
from tests.support.soak import times

from barograph.alerts.alert import Alert, Notification
from barograph.alerts.routing.router import Router, RouterState
from barograph.control.silences import Silence
from barograph.core.routing_settings import FlappingSettings, InhibitionSettings, RouteSettings, RoutingSettings
from barograph_client.errors import InvalidInput

PACE = 1.0  # seconds between steps, except where the process is down
WAIT, INTERVAL, REPEAT = 3.0, 5.0, 20.0
NAMES = st.sampled_from("abcdef")
SETTINGS = RoutingSettings(
    route=RouteSettings(
        group_by=("job",), group_wait=f"{WAIT}s", group_interval=f"{INTERVAL}s", repeat_interval=f"{REPEAT}s",
        routes=(
            RouteSettings(matchers=("severity=critical",), receiver="page", continue_=True),
            RouteSettings(matchers=("job=2",), receiver="quiet", group_by=("...",)),
        ),
    ),
    inhibitions=(InhibitionSettings(source=("severity=critical",), target=("severity=warning",), equal=("job",)),),
    flapping=FlappingSettings(transitions=5, window="20s", stable="10s"),
)  # fmt: skip
RECEIVERS = {"log": True, "page": True, "quiet": False}


def make(name: str, second: float) -> Alert:
    number = "abcdef".index(name)
    severity = "critical" if name == "a" else "warning" if number % 2 else "info"
    return alert(name, second, job=str(number % 3), severity=severity)


class Routing(RuleBasedStateMachine):
    """Alerts, silences, acknowledgements, restarts and outages, against what a receiver would believe."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router(SETTINGS, RECEIVERS)
        self.state = RouterState()
        self.second = 0.0
        self.alerts: dict[str, Alert] = {}
        self.silences: list[Silence] = []
        self.believed: dict[tuple[str, str], float] = {}  # (group, fingerprint) that the receiver thinks fires: told at
        self.free_since: dict[str, float] = {}  # fingerprints that fire and nothing holds
        self.sent_at: dict[str, list[float]] = {}
        self.excused_until = 0.0  # after a start, and after an outage

    @initialize()
    def begin(self) -> None:
        self.step()

    @rule(name=NAMES)
    def fire(self, name: str) -> None:
        if name not in self.alerts or self.alerts[name].ends_at is not None:
            self.alerts[name] = make(name, self.second)

    @rule(name=NAMES, forget=st.booleans())
    def resolve(self, name: str, forget: bool) -> None:
        if name in self.alerts and forget:
            del self.alerts[name]
        elif name in self.alerts and self.alerts[name].ends_at is None:
            self.alerts[name] = replace(self.alerts[name], ends_at=at(self.second), updated_at=at(self.second))

    @rule(name=NAMES, long=st.integers(1, 40))
    def hush(self, name: str, long: int) -> None:
        self.silences = [*self.silences[-3:], silence(f"alertname={name}", start=self.second, end=self.second + long)]

    @rule(name=NAMES)
    def acknowledge(self, name: str) -> None:
        identity = make(name, 0).fingerprint
        try:
            self.state = self.router.acknowledge(self.state, identity, by="ann", now=at(self.second))
        except InvalidInput:
            assert identity not in self.free_since or self.alerts[name].starts_at == at(self.second)

    @rule(long=st.integers(1, 30))
    def restart(self, long: int) -> None:
        self.second += long
        self.state = self.router.started(self.state, at(self.second))
        self.excused_until = self.second + WAIT + PACE
        self.step()

    @rule(many=st.integers(1, 12))
    def wait(self, many: int) -> None:
        for _ in range(many):
            self.second += PACE
            self.step()

    def step(self) -> None:
        now = at(self.second)
        before = self.state
        self.state, told = self.router.step(before, self.alerts.values(), self.silences, now)
        kept = msgspec.json.decode(msgspec.json.encode(before), type=RouterState)
        mixed = random.Random(len(self.alerts)).sample([*self.alerts.values()], len(self.alerts))
        again = self.router.step(kept, mixed, self.silences, now)
        assert again == (self.state, told), "the order of alerts, or keeping the state, made a difference"
        assert msgspec.json.encode(again[0]) == msgspec.json.encode(self.state), "one state, two texts"
        assert self.router.step(self.state, self.alerts.values(), self.silences, now) == (self.state, []), "told twice"
        for one in told:
            self.hear(one)
        self.note_free()

    def hear(self, one: Notification) -> None:
        sent = self.sent_at.setdefault(one.group_key, [])
        tick = self.state.groups[one.group_key].sent_at
        assert tick is not None
        sent.append((tick - at(0)).total_seconds())
        assert len(sent) < 2 or sent[-1] - sent[-2] >= INTERVAL, "more than one in an interval"
        for found in one.alerts:
            identity = (one.group_key, found.fingerprint)
            if found.status(one.at) == "resolved":
                assert identity in self.believed, "a resolution of what was never told"
                assert RECEIVERS[one.receiver]
                del self.believed[identity]
            else:
                self.believed[identity] = self.second
        if one.status == "resolved":
            assert all(found.status(one.at) == "resolved" for found in one.alerts)

    def note_free(self) -> None:
        free: dict[str, float] = {}
        for found in self.alerts.values():
            identity = found.fingerprint
            if found.status(at(self.second)) == "firing" and identity not in self.state.holds:
                free[identity] = self.free_since.get(identity, self.second)
        self.free_since = free
        for one in [*self.believed]:  # a receiver that wants no resolutions is not asked to believe for ever
            group = self.state.groups.get(one[0])
            if one[0].startswith("quiet") and (group is None or one[1] not in group.told):
                del self.believed[one]

    @invariant()
    def nothing_is_untold_for_longer_than_the_timers_allow(self) -> None:
        if self.second < self.excused_until:
            return
        for found in self.alerts.values():
            identity = found.fingerprint
            since = self.free_since.get(identity)
            if since is None or found.ends_at is not None:
                continue
            for route in self.router.tree.find(found.labels):
                key = route.group_key(route.group_labels(found.labels))
                told = self.believed.get((key, identity))
                waited = self.second - max(since, self.excused_until - WAIT - PACE)
                if told is None:
                    assert waited <= max(WAIT, INTERVAL) + PACE, f"{found.labels['alertname']} is untold"
                elif identity not in self.state.acknowledgements and not self.flaps(identity):
                    assert min(self.second - told, waited) <= REPEAT + INTERVAL + PACE, "not repeated"

    def flaps(self, identity: str) -> bool:
        return self.state.tracks[identity].flapping_since is not None

    @invariant()
    def what_the_router_thinks_was_told_is_what_was_told(self) -> None:
        thought = {(group.key, identity) for group in self.state.groups.values() for identity in group.told}
        assert thought == set(self.believed)

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        assert len(self.state.groups) <= 12
        assert set(self.state.holds) <= set(self.state.tracks)
        assert all(len(track.changes) <= 6 for track in self.state.tracks.values())

    def teardown(self) -> None:
        """All ends: each told alert is resolved exactly once, and nothing is remembered."""
        for name in [*self.alerts]:
            self.resolve(name, forget=False)
        self.wait(60)
        assert self.believed == {}
        assert (self.state.groups, self.state.tracks, self.state.holds, self.state.acknowledgements) == ({}, {}, {}, {})


Routing.TestCase.settings = settings(max_examples=times(60, 3000), stateful_step_count=times(30, 60))
test_40_49_53_whatever_happens = Routing.TestCase


@pytest.mark.parametrize("seed", range(times(20, 500)))
def test_however_often_it_is_stepped_the_same_is_told(seed: int) -> None:
    """Steps more often than the ticks need change nothing of what is told and when on the grid."""
    chance = random.Random(seed)
    moments = sorted(chance.uniform(0, 60) for _ in range(12))
    events = [(moment, chance.choice("abcdef"), chance.random() < 0.6) for moment in moments]

    def told(pace: float) -> list[tuple[str, str, tuple[str, ...]]]:
        off = replace(SETTINGS, flapping=FlappingSettings(transitions=0))
        router, state, alerts = Router(off, RECEIVERS), RouterState(), dict[str, Alert]()
        waiting, found, second = [*events], [], 0.0
        while second < 120:
            while waiting and waiting[0][0] <= second:
                moment, name, fires = waiting.pop(0)
                if fires and (name not in alerts or alerts[name].ends_at):
                    alerts[name] = make(name, float(int(moment) + 1))
                elif not fires and name in alerts and alerts[name].ends_at is None:
                    alerts[name] = replace(alerts[name], ends_at=at(int(moment) + 1), updated_at=at(int(moment) + 1))
            due = router.next_due(state)
            on_grid = second == int(second)
            assert due is None or due > at(second) - timedelta(seconds=1)
            if on_grid or pace < 1:
                known = [one for one in alerts.values() if one.starts_at <= at(second)]
                state, sent = router.step(state, known, [], at(second))
                found += [(one.key, one.reason, tuple(a.fingerprint for a in one.alerts)) for one in sent]
            second += pace
        return found

    assert told(1.0) == told(0.25)
