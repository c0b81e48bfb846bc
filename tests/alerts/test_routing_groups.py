"""Groups as they were measured on the real Alertmanager: group_wait 2 s, group_interval 4 s, repeat_interval 12 s."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace
from tests.support.routing import SHORT, World, alert, at, said, seconds

from barograph.alerts.alert import Alert
from barograph.alerts.routing.groups import MOST_ALERTS
from barograph.alerts.routing.router import RouterState
from barograph.core.routing_settings import RouteSettings


def test_36_group_wait_batches() -> None:
    world = World()
    world.fire("a", 0)
    assert world.run(0, 1) == []
    world.fire("b", 1)
    assert world.run(1, 4) == ["2 firing a+ b+"]
    assert world.sent[0].reason == "2 new alerts"


def test_36_the_wait_counts_from_when_the_alert_fired() -> None:
    world = World()
    world.step(0)
    world.fire("a", 1)
    assert world.run(2.5, 5) == ["3 firing a+"]


def test_36_an_alert_whose_wait_is_over_already_is_told_at_once() -> None:
    world = World()
    world.step(0)
    world.fire("a", 1)
    assert said(world.step(60)) == ["60 firing a+"]


def test_36_also_when_its_group_has_just_begun_to_wait() -> None:
    world = World()
    world.run(0, 10)
    world.fire("a", 10)
    world.step(10)
    world.fire("b", 0)
    assert said(world.step(10.5)) == ["10.5 firing a+ b+"]


def test_36_groups_do_not_wait_for_each_other() -> None:
    world = World()
    world.fire("a", 0, job="x")
    world.run(0, 1)
    world.fire("b", 1, job="y")
    assert world.run(1, 5) == ["2 firing a+", "3 firing b+"]
    assert [one.group_labels for one in world.sent] == [{"job": "x"}, {"job": "y"}]


def test_37_a_new_member_is_told_on_the_next_tick_with_the_full_group() -> None:
    world = World()
    world.fire("a", 0)
    world.fire("b", 0)
    world.run(0, 3)
    world.fire("c", 3)
    assert world.run(3, 10) == ["6 firing a+ b+ c+"]
    assert world.sent[-1].reason == "1 new alert"
    assert world.sent[-1].alerts[0].labels["alertname"] == "c"


def test_38_an_unchanged_group_is_silent_until_repeat_interval_and_repeated_on_a_tick() -> None:
    world = World()
    world.fire("a", 0)
    assert world.run(0, 30) == ["2 firing a+", "14 firing a+", "26 firing a+"]
    assert [one.reason for one in world.sent] == ["1 new alert", "repeated after 12 s", "repeated after 12 s"]
    assert [seconds(one.next_at) for one in world.sent] == [14, 26, 38]


def test_38_a_repeat_interval_that_is_no_multiple_waits_for_the_tick_after_it() -> None:
    world = World(replace(SHORT, repeat_interval="13s"))
    world.fire("a", 0)
    assert world.run(0, 30) == ["2 firing a+", "18 firing a+"]
    assert [seconds(one.next_at) for one in world.sent] == [18, 34]


def test_38_sending_the_same_alerts_again_changes_nothing() -> None:
    world = World()
    for second in range(12):
        world.alerts["a"] = replace(alert("a", 0), updated_at=at(second), annotations={"summary": f"it is {second}"})
        world.step(second)
    assert said(world.sent) == ["2 firing a+"]


def test_15_of_what_is_gone_is_told_what_was_said_of_it_at_its_last_tick() -> None:
    world = World()
    for second in range(12):
        world.alerts["a"] = replace(alert("a", 0), annotations={"summary": f"it is {second}"})
        world.step(second)
    del world.alerts["a"]
    assert world.run(12, 15) == ["14 resolved a-"]
    assert world.sent[-1].alerts[0].annotations == {"summary": "it is 10"}


def test_38_a_change_begins_the_repeat_interval_anew() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 3)
    world.fire("b", 3)
    assert world.run(3, 19) == ["6 firing a+ b+", "18 firing a+ b+"]


def test_40_a_resolution_is_told_once() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 3)
    world.resolve("a", 3)
    assert world.run(3, 60) == ["6 resolved a-"]
    assert world.sent[-1].reason == "all resolved"
    assert world.sent[-1].next_at is None


def test_40_also_when_it_is_kept_or_forgotten_by_whoever_sends_it() -> None:
    for forgotten in (False, True):
        world = World()
        world.fire("a", 0)
        world.run(0, 3)
        world.resolve("a", 3)
        if forgotten:
            del world.alerts["a"]
        assert world.run(3, 60) == ["6 resolved a-"]


def test_40_what_was_resolved_before_it_was_told_is_never_told() -> None:
    world = World()
    world.fire("a", 0)
    world.step(0)
    world.resolve("a", 1)
    assert world.run(1, 30) == []
    assert world.state.groups == {}


def test_40_nor_is_a_member_that_came_and_went_between_two_ticks() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 3)
    world.fire("b", 3)
    world.step(3)
    world.resolve("b", 4)
    assert world.run(4, 13) == []


def test_40_what_fires_again_is_told_again_but_not_before_the_next_tick() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 3)
    world.resolve("a", 3)
    world.run(3, 7)
    world.fire("a", 7)
    assert world.run(7, 13) == ["10 firing a+"]
    world.resolve("a", 13)
    assert world.run(13, 30) == ["14 resolved a-"]


def test_40_a_group_that_is_over_is_forgotten() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 3)
    del world.alerts["a"]
    world.run(3, 11)
    assert world.state == RouterState(started_at=at(0))
    assert world.router.next_due(world.state) is None


def test_41_a_mixed_payload_fires_and_each_alert_says_its_own() -> None:
    world = World()
    for name in "abc":
        world.fire(name, 0)
    world.run(0, 3)
    world.resolve("b", 4)
    assert world.run(3, 7) == ["6 firing a+ b- c+"]
    assert world.sent[-1].reason == "1 resolved"
    world.resolve("a", 8)
    world.resolve("c", 8)
    assert world.run(7, 30) == ["10 resolved a- c-"]  # b was told already


def test_42_a_receiver_that_wants_no_resolutions_gets_none() -> None:
    world = World(receivers={"log": False})
    world.fire("a", 0)
    world.fire("b", 0)
    world.run(0, 3)
    world.resolve("b", 3)
    assert world.run(3, 12) == []
    world.fire("c", 12)
    assert world.run(12, 15) == ["14 firing a+ c+"]
    world.resolve("a", 15)
    world.resolve("c", 15)
    assert world.run(15, 60) == []
    assert world.state.groups == {}


def test_42_what_fires_again_there_is_told() -> None:
    world = World(receivers={"log": False})
    world.fire("a", 0)
    world.run(0, 3)
    world.resolve("a", 3)
    world.run(3, 8)
    world.fire("a", 8)
    assert world.run(8, 13) == ["10 firing a+"]


def test_46_an_alert_from_outside_resolves_at_its_end_without_its_producer() -> None:
    world = World()
    world.alerts["a"] = alert("a", 0, 7, outside=True)
    assert world.run(0, 30) == ["2 firing a+", "10 resolved a-"]


def test_46_also_when_nobody_passes_it_on_any_more() -> None:
    world = World()
    world.alerts["a"] = alert("a", 0, 7, outside=True)
    assert world.run(0, 3) == ["2 firing a+"]
    world.alerts.clear()
    assert world.run(3, 30) == ["10 resolved a-"]
    assert world.sent[-1].alerts[0].ends_at == at(7)


def test_46_one_that_is_sent_again_in_time_goes_on() -> None:
    world = World()
    for second in range(12):
        world.alerts["a"] = alert("a", 0, second + 7, outside=True)
        world.step(second)
    assert said(world.sent) == ["2 firing a+"]


def test_53_a_storm_is_one_message_with_the_count_and_the_worst_and_none_is_lost() -> None:
    world = World()
    for i in range(2000):
        world.fire(str(i), 0, severity="critical" if i % 50 == 7 else "info")
    world.run(0, 3)
    (sent,) = world.sent
    assert (len(sent.alerts), sent.truncated) == (MOST_ALERTS, 2000 - MOST_ALERTS)
    assert [one.labels["severity"] for one in sent.alerts] == ["critical"] * 40 + ["info"] * 60
    assert sent.reason == "2000 new alerts; 2000 alerts, 100 of them listed, the worst first"
    (group,) = world.state.groups.values()
    assert len(group.told) == 2000
    for i in range(2000):
        world.resolve(str(i), 4)
    world.run(4, 30, 2)
    assert [(one.status, one.truncated) for one in world.sent[1:]] == [("resolved", 1900)]


def test_53_a_storm_that_grows_is_told_once_in_an_interval() -> None:
    world = World()
    for second in range(20):
        for i in range(50):
            world.fire(f"{second}-{i}", second)
        world.step(second)
    assert [seconds(one.at) for one in world.sent] == [2, 6, 10, 14, 18]
    assert world.sent[-1].reason.startswith("200 new alerts; 950 alerts")
    assert all(one.labels["alertname"].startswith(("15", "16", "17", "18")) for one in world.sent[-1].alerts)


def test_what_all_have_in_common_is_said_once() -> None:
    world = World()
    world.fire("a", 0, job="x", team="t")
    world.fire("b", 0, job="x", team="t", extra="1")
    world.run(0, 3)
    (sent,) = world.sent
    assert sent.common_labels == {"severity": "warning", "job": "x", "team": "t"}
    assert sent.common_annotations == {}


def test_missed_ticks_are_caught_up_as_one_with_what_is_true_now() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 3)
    world.fire("b", 4)
    world.resolve("a", 5)
    world.fire("c", 6)
    world.resolve("c", 9)
    assert said(world.step(61)) == ["61 firing a- b+"]
    assert world.run(61.5, 65) == []
    assert world.router.next_due(world.state) == at(66)


def test_a_step_that_is_done_again_gives_the_same_keys() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 2)
    before = world.state
    (first,) = world.step(2)
    world.state = before
    (second,) = world.step(2.5)  # the process was killed, and came back a little later
    assert first.key == second.key
    (third,) = World.step(world, 14)
    assert third.key != first.key
    assert third.group_key == first.group_key


def test_a_step_that_is_done_again_with_other_alerts_gives_another_key() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 2)
    before = world.state
    (first,) = world.step(2)
    world.state = before
    world.fire("b", 1)
    (second,) = world.step(2)
    assert first.key != second.key


def test_two_groups_and_two_ticks_never_share_a_key() -> None:
    world = World()
    for i in range(20):
        world.fire(str(i), i, job=str(i % 5))
        world.run(i, i + 1)
    assert len({one.key for one in world.sent}) == len(world.sent)


def test_a_clock_that_is_stepped_back_delays_nothing_by_more_than_an_interval() -> None:
    world = World()
    world.fire("a", 1000)
    world.run(1000, 1003)
    world.fire("b", 0)
    assert world.run(0, 5) == ["4 firing a+ b+"]
    world.resolve("a", 5)
    world.resolve("b", 5)
    assert world.run(5, 30) == ["8 resolved a- b-"]


def test_nor_does_it_delay_a_group_of_which_nothing_was_told() -> None:
    world = World()
    world.fire("a", 1000)
    world.step(1000)
    world.fire("b", 0)
    assert world.run(0, 5) == ["2 firing a+ b+"]


def test_a_clock_that_is_stepped_forward_repeats_once() -> None:
    world = World()
    world.fire("a", 0)
    world.run(0, 3)
    assert said(world.step(100_000)) == ["100000 firing a+"]
    assert world.run(100_000.5, 100_005) == []


def test_of_two_with_the_same_labels_the_one_that_was_updated_last_counts() -> None:
    world = World()
    old = alert("a", 0)
    new = replace(old, ends_at=at(4), updated_at=at(4))
    state, _ = world.router.step(RouterState(), [old], [], at(0))
    state, told = world.router.step(state, [old], [], at(2))
    assert len(told) == 1
    for order in ([old, new], [new, old]):
        assert said(world.router.step(state, order, [], at(6))[1]) == ["6 resolved a-"]


@pytest.mark.parametrize("groups", [5, 10_000])
def test_ten_thousand_alerts_are_stepped_in_well_under_a_second(groups: int) -> None:
    routes = (RouteSettings(matchers=('severity="critical"',)), RouteSettings(matchers=('n=~"9.*"',)))
    world = World(
        replace(SHORT, routes=routes),
        inhibitions=({"source": ["severity=critical"], "target": ["severity=warning"], "equal": ["job"]},),
    )
    alerts: list[Alert] = [alert(str(i), 0, job=str(i % groups), n=str(i)) for i in range(10_000)]
    took = 9.0
    state, _ = world.router.step(RouterState(), alerts, [], at(0))
    for _ in range(3):  # the best of three, in processor time: other programs run here too
        began = time.process_time()
        _, told = world.router.step(state, alerts, [], at(2))
        took = min(took, time.process_time() - began)
        assert sum(len(one.alerts) + one.truncated for one in told) == 10_000
    assert took < 1.0
