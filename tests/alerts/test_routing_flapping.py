"""An alert that comes and goes is told of once, and heard of again when it is stable."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.routing import World, at, seconds

from barograph.core.routing_settings import FlappingSettings
from barograph_client.errors import InvalidSettings

DAMPED = FlappingSettings(transitions=4, window="30s", stable="10s")


def flap(world: World, start: float, end: float, period: float) -> None:
    """Half of each period it fires, half it does not; steps are four times in a period."""
    second = start
    while second < end:
        world.fire("a", second)
        world.run(second, second + period / 2, period / 4)
        world.resolve("a", second + period / 2)
        world.run(second + period / 2, second + period, period / 4)
        second += period


@pytest.mark.parametrize("period", [0.5, 1, 3, 5])
def test_60_more_than_k_transitions_give_one_notice_and_then_quiet_until_stable(period: float) -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 60, period)
    flapping = [one for one in world.sent if "flapping" in one.reason]
    assert len(flapping) == 1
    assert world.sent[-1] is flapping[0]
    assert flapping[0].status == "firing"
    assert flapping[0].alerts[0].annotations["flapping"].startswith("changed more than 4 times in 30 s")
    assert len(world.sent) <= 3  # before it was known to flap
    world.run(60, 100)
    assert [(one.status, one.reason) for one in world.sent[len(world.sent) - 1 :]] == [("resolved", "all resolved")]
    assert (seconds(world.sent[-1].at) or 0) >= 60 - period / 2 + 10


def test_60_as_many_changes_as_are_allowed_are_no_flapping() -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 4, 2)
    (track,) = world.state.tracks.values()
    assert (len(track.changes), track.flapping_since) == (4, None)
    world.fire("a", 4)
    world.step(4)
    (track,) = world.state.tracks.values()
    assert (len(track.changes), track.flapping_since) == (5, at(4))


def test_60_flaps_faster_than_group_wait_are_seen_where_the_anchor_is_blind() -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 12, 0.5)
    assert [one.reason for one in world.sent] == ["1 flapping"]


def test_60_one_that_is_stable_again_and_fires_is_told_so() -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 20, 1)
    told = len(world.sent)
    world.fire("a", 20)
    world.run(20, 40)
    assert [(one.status, one.reason) for one in world.sent[told:]] == [("firing", "1 stable again")]
    assert world.explain("a", 39).words.startswith("told at 09:00:30 (1 stable again)")


def test_60_changes_between_two_steps_are_counted_by_the_start_of_the_alert() -> None:
    world = World(flapping=DAMPED)
    for second in range(0, 12, 2):
        world.fire("a", second)  # every step sees it firing, and each time it is a new firing
        world.step(second)
    assert [one.reason for one in world.sent] == ["1 new alert", "1 flapping"]


def test_60_others_of_its_group_are_told_as_ever() -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 20, 1)
    told = len(world.sent)
    world.fire("b", 20)
    flap(world, 20, 30, 1)
    (sent,) = world.sent[told:]
    assert (sent.reason, sorted(one.labels["alertname"] for one in sent.alerts)) == ("1 new alert", ["a", "b"])


def test_60_few_changes_are_told_one_by_one() -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 60, 20)
    assert [one.status for one in world.sent] == ["firing", "resolved"] * 3


def test_60_damping_can_be_switched_off() -> None:
    world = World(flapping=FlappingSettings(transitions=0))
    flap(world, 0, 48, 8)
    assert [one.status for one in world.sent] == ["firing", "resolved"] * 6
    assert all(not track.changes for track in world.state.tracks.values())


def test_60_what_flaps_is_explained() -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 20, 1)
    found = world.explain("a", 20)
    assert found.words.endswith("(1 flapping); flapping: nothing more until it has not changed for 10 s")
    assert found.next_at is None


def test_60_a_flapping_alert_can_be_silenced_and_acknowledged() -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 20, 1)
    world.state = world.router.acknowledge(world.state, world.alerts["a"].fingerprint, by="ann", now=at(20))
    told = len(world.sent)
    flap(world, 20, 40, 1)
    assert world.state.acknowledgements
    assert world.sent[told:] == []


def test_60_a_flapping_source_inhibits_all_the_time() -> None:
    world = World(flapping=DAMPED, inhibitions=({"source": ["alertname=a"], "target": ["alertname=t"]},))
    flap(world, 0, 20, 1)
    told = len(world.sent)
    world.fire("t", 20)
    flap(world, 20, 40, 1)
    assert world.sent[told:] == []
    world.run(40, 60)
    (both,) = world.sent[told:]
    assert both.reason == "1 new alert, 1 resolved"


def test_60_what_is_remembered_of_it_is_bounded_and_forgotten() -> None:
    world = World(flapping=DAMPED)
    flap(world, 0, 60, 0.5)
    (track,) = world.state.tracks.values()
    assert len(track.changes) <= DAMPED.transitions + 1
    assert len(msgspec.json.encode(world.state)) < 3000
    del world.alerts["a"]
    world.run(60, 120, 5)
    assert (world.state.tracks, world.state.groups) == ({}, {})


def test_windows_of_no_length_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="longer than 0 s"):
        World(flapping=FlappingSettings(window="0s"))
    with pytest.raises(InvalidSettings, match=r"routing.flapping.stable: not a duration"):
        World(flapping=FlappingSettings(stable="soon"))
