"""The route tree: the first match, those after one that continues, the default, and timers from the parent."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from tests.support.routing import World, said

from barograph.alerts.routing.tree import Route, make_tree
from barograph.core.routing_settings import RouteSettings, RoutingSettings
from barograph_client.errors import InvalidSettings

RECEIVERS = ("log", "page", "chat")
TREE = {
    "receiver": "log",
    "group_by": ["alertname"],
    "group_wait": "10s",
    "routes": [
        {
            "receiver": "page",
            "matchers": ['severity="critical"'],
            "repeat_interval": "1h",
            "routes": [{"matchers": ['pipeline=~"faq.*"'], "receiver": "chat", "group_by": ["pipeline"]}],
        },
        {"receiver": "chat", "matchers": ['team="a"'], "continue": True, "group_wait": "0s"},
        {"receiver": "page", "matchers": ['team=~"a|b"'], "group_by": ["..."]},
    ],
}


def tree(**changed: object) -> Route:
    return make_tree(msgspec.convert({**TREE, **changed}, RouteSettings), RECEIVERS)


def receivers(**labels: str) -> list[str]:
    return [route.receiver for route in tree().find(labels)]


def test_45_the_first_child_that_matches_takes_the_alert() -> None:
    assert receivers(severity="critical", team="a") == ["page"]
    assert receivers(severity="critical", pipeline="faq-2") == ["chat"]
    assert receivers(severity="critical", pipeline="other") == ["page"]


def test_45_a_route_that_continues_lets_the_next_ones_look_too() -> None:
    assert receivers(team="a") == ["chat", "page"]
    assert receivers(team="b") == ["page"]


def test_45_what_matches_nothing_goes_to_the_default() -> None:
    assert receivers() == ["log"]
    assert receivers(team="c") == ["log"]


def test_45_timers_and_groups_are_inherited() -> None:
    critical, chat, every = tree().children
    (faq,) = critical.children
    assert critical.group_wait == faq.group_wait == every.group_wait == timedelta(seconds=10)
    assert chat.group_wait == timedelta(0)
    assert critical.repeat_interval == faq.repeat_interval == timedelta(hours=1)
    assert tree().repeat_interval == chat.repeat_interval == timedelta(hours=4)
    assert {route.group_interval for route in tree().walk()} == {timedelta(minutes=5)}
    assert (critical.group_by, faq.group_by) == (("alertname",), ("pipeline",))


def test_a_group_is_made_of_the_labels_that_are_there() -> None:
    critical, _, every = tree().children
    labels = {"alertname": "x", "b": "1", "a": "2"}
    assert critical.group_labels(labels) == {"alertname": "x"}
    assert list(every.group_labels(labels)) == ["a", "alertname", "b"]
    assert critical.group_labels({"b": "1"}) == {}


def test_the_key_of_a_group_outlives_a_route_that_is_put_before_its_own() -> None:
    before = tree().children[0]
    new = {"matchers": ['team="z"'], "receiver": "log"}
    after = tree(routes=[new, *TREE["routes"]]).children[1]
    assert before.group_key({"alertname": "ü"}) == after.group_key({"alertname": "ü"})


def test_routes_with_the_same_matchers_have_groups_of_their_own() -> None:
    twice = [{"matchers": ["a=b"], "receiver": "page", "continue": True}, {"matchers": ["a=b"], "receiver": "page"}]
    found = tree(routes=twice).find({"a": "b"})
    assert len({route.group_key({}) for route in found}) == 2


def test_39_a_repeat_interval_shorter_than_the_group_interval_is_refused() -> None:
    with pytest.raises(InvalidSettings, match=r"routing.route: repeat_interval \(60 s\).*group_interval \(300 s\)"):
        tree(repeat_interval="1m")


def test_39_also_when_one_of_them_is_inherited() -> None:
    child = {"matchers": ["a=b"], "group_interval": "5h"}
    with pytest.raises(InvalidSettings, match=r"routing.route.routes\[0\]: repeat_interval") as refused:
        tree(routes=[child])
    assert "inherited" in refused.value.hint


def test_39_equal_ones_are_no_error() -> None:
    assert tree(repeat_interval="5m", routes=[]).repeat_interval == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"receiver": "pager"}, r"routing.route: there is no such receiver \(got pager\).*chat, log, page"),
        ({"routes": [{"matchers": ["a"]}]}, r"routing.route.routes\[0\].matchers: not a matcher \(got a\)"),
        ({"routes": [{"matchers": ['a=~"("']}]}, r"routes\[0\].matchers: not a regular expression"),
        ({"routes": [{"receiver": "log"}]}, r"routes\[0\]: a route without matchers takes every alert"),
        ({"matchers": ["a=b"]}, "the root takes every alert"),
        ({"group_wait": "soon"}, r"routing.route.group_wait: not a duration"),
        ({"group_interval": "0s"}, "group_interval: between 1 s and 30 d"),
        ({"repeat_interval": "1000d"}, "repeat_interval: between 0 s and 30 d"),
        ({"group_by": ["...", "a"]}, "group_by: '...' is every label"),
    ],
)
def test_a_tree_that_could_not_work_is_refused_where_it_is_wrong(changed: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        tree(**changed)


def test_routes_within_routes_have_a_limit() -> None:
    deep = RouteSettings(matchers=("a=b",))
    for _ in range(30):
        deep = RouteSettings(matchers=("a=b",), routes=(deep,))
    with pytest.raises(InvalidSettings, match="within each other"):
        make_tree(RouteSettings(routes=(deep,)), RECEIVERS)


def test_settings_have_no_unknown_names() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `group_wiat`"):
        msgspec.convert({"route": {"group_wiat": "1s"}}, RoutingSettings)


def test_45_an_alert_of_two_routes_is_told_to_both_receivers() -> None:
    route = RouteSettings(
        group_wait="2s", routes=(
            RouteSettings(matchers=("team=a",), receiver="chat", continue_=True),
            RouteSettings(matchers=("team=~.+",), receiver="page", group_wait="3s"),
        ),
    )  # fmt: skip
    world = World(route, receivers=dict.fromkeys(RECEIVERS, True))
    world.fire("a", 0, team="a")
    assert world.run(0, 10) == ["2 firing a+", "3 firing a+"]
    assert [one.receiver for one in world.sent] == ["chat", "page"]


def test_a_receiver_that_the_settings_have_no_more_is_told_nothing() -> None:
    world = World(receivers={"log": True})
    world.fire("a", 0)
    world.run(0, 3)
    world.router = World(RouteSettings(receiver="page"), receivers={"page": True}).router
    assert said(world.step(300)) == ["300 firing a+"]
    assert [group.receiver for group in world.state.groups.values()] == ["page"]


def test_an_alert_that_another_route_takes_is_over_where_it_was() -> None:
    world = World(receivers={"log": True, "page": True})
    world.fire("a", 0, team="a")
    world.run(0, 3)
    routes = (RouteSettings(matchers=("team=a",), receiver="page"),)
    world.router = World(RouteSettings(group_by=("job",), routes=routes), receivers={"log": True, "page": True}).router
    told = world.step(300)
    assert {one.receiver: one.status for one in told} == {"log": "resolved", "page": "firing"}
