"""The same script for the real Alertmanager and for the router: the same notifications at the same ticks.

Runs where Debian's ``prometheus-alertmanager`` (0.25) is installed. All scenarios run at once, each in groups of its
own, with group_wait 2 s, group_interval 4 s and repeat_interval 9 s: the real one counts that from when the receiver
has answered, a little after the tick, so whether it keeps a multiple of group_interval or misses it by a tick is chance
(with 12 s both were seen in one run; ours keeps it, on the grid). Where the two differ for a reason, the difference is
declared in ``DIFFERENCES``, and a declared difference that is not there fails too.
"""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace
from tests.support.alertmanager import Alertmanager, needed, send
from tests.support.receivers import HttpReceiver
from tests.support.routing import SHORT, World, alert, at, silence

from barograph.alerts.alert import Alert
from barograph.core.routing_settings import FlappingSettings

pytestmark = [pytest.mark.slow, needed]
LONG = 23.0  # seconds of the script; events are a second or more away from the ticks at 2, 6, 10, …
LATE = 1.9  # seconds by which the real one may be late; less than half of an interval
CONFIG = """
route:
  receiver: hook
  group_by: [job]
  group_wait: 2s
  group_interval: 4s
  repeat_interval: 9s
receivers:
- name: hook
  webhook_configs:
  - {{url: "{url}", send_resolved: true, max_alerts: 100}}
inhibit_rules:
- {{source_matchers: ['severity="critical"'], target_matchers: ['severity="warning"'], equal: [pair]}}
"""


class Event(NamedTuple):
    """At a second an alert of a scenario fires, is resolved, or fires and ends by itself at ``end``."""

    second: float
    job: str
    name: str
    what: str
    end: float = 0.0
    labels: tuple[tuple[str, str], ...] = ()


PAIR = (("pair", "1"),)
FLAPS = (0.0, *(half + 0.6 for half in range(12)))  # each for 0.3 s, never at a tick
SCRIPT = [
    Event(0, "batch", "a", "fires"),
    Event(1, "batch", "b", "fires"),
    Event(4, "batch", "c", "fires"),
    Event(4.2, "batch", "a", "fires again"),  # the same alert sent once more changes nothing
    Event(8, "batch", "b", "resolved"),
    Event(12, "batch", "a", "resolved"),
    Event(12, "batch", "c", "resolved"),
    Event(0, "source", "s", "fires", labels=(*PAIR, ("severity", "critical"))),
    Event(0, "target", "t", "fires", labels=PAIR),
    Event(0, "unequal", "u", "fires", labels=(("pair", "2"),)),
    Event(8, "source", "s", "resolved", labels=(*PAIR, ("severity", "critical"))),
    Event(0, "short", "x", "fires"),
    Event(1, "short", "x", "resolved"),
    Event(0, "silenced", "m", "fires"),
    Event(0, "alone", "p", "ends by itself", end=8),
    Event(0, "repeated", "r", "fires"),
    Event(0, "told and silenced", "z", "fires"),
    Event(8, "told and silenced", "z", "resolved"),
    Event(0, "blink", "k", "fires"),
    Event(7, "blink", "n", "fires"),
    Event(8.5, "blink", "n", "resolved"),
    *(Event(moment, "flaps", "f", "fires") for moment in FLAPS),
    *(Event(moment + 0.3, "flaps", "f", "resolved") for moment in FLAPS),
    *(Event(0, "storm", f"{i:03}", "fires") for i in range(150)),
]
SILENCES = {"silenced": (0.0, 8.0), "told and silenced": (4.0, 600.0)}  # from and to, by job
DIFFERENCES = {
    "told and silenced": "the real one never tells the end of what was told before a silence; ours does, since whoever "
    "was woken (or an incident that was opened) is to hear the end",
    "flaps": "the real one is blind to what never holds until a tick; ours counts the changes (conformance 60)",
    "blink": "the real one tells that an alert is resolved which it never told of; ours does not (conformance 40)",
}

Said = list[tuple[float, str, tuple[str, ...]]]  # tick, status, alerts such as a+ and b-


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """What the real one told, by job."""
    with HttpReceiver() as hook:
        config = CONFIG.format(url=hook.url)
        with Alertmanager(tmp_path_factory.mktemp("alertmanager"), config) as alertmanager:
            began = play(alertmanager.url)
    found: dict[str, Said] = defaultdict(list)
    for post in hook.posts:
        found[post.json["groupLabels"]["job"]].append(told(post.at - began, post.json))
    return found


def play(address: str) -> float:
    """The script, in real time; returns when it began."""
    for job, (start, end) in SILENCES.items():
        send(address, "/api/v2/silences", hushed(job, start, end))
    began, wall = time.monotonic(), datetime.now(UTC)
    moments = sorted({event.second for event in SCRIPT})
    for moment in moments:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        send(address, "/api/v2/alerts", [posted(event, wall) for event in SCRIPT if event.second == moment])
    time.sleep(max(0.0, began + LONG - time.monotonic()))
    return began


def fired_at(event: Event) -> float:
    """When the alert fired that the event is about: one that fires again after its end is a new one."""
    same = [other for other in SCRIPT if (other.job, other.name) == (event.job, event.name)]
    ended = max(
        (other.second for other in same if other.what == "resolved" and other.second < event.second), default=-1
    )
    return min(other.second for other in same if other.second > ended)


def posted(event: Event, wall: datetime) -> dict[str, object]:
    labels = {"alertname": event.name, "job": event.job, "severity": "warning", **dict(event.labels)}
    fired = fired_at(event)
    made: dict[str, object] = {"labels": labels, "startsAt": (wall + timedelta(seconds=fired)).isoformat()}
    ends = {"resolved": event.second, "ends by itself": event.end}.get(event.what)
    return made if ends is None else {**made, "endsAt": (wall + timedelta(seconds=ends)).isoformat()}


def hushed(job: str, start: float, end: float) -> dict[str, object]:
    now = datetime.now(UTC)
    return {
        "matchers": [{"name": "job", "value": job, "isRegex": False, "isEqual": True}],
        "startsAt": (now + timedelta(seconds=start)).isoformat(),
        "endsAt": (now + timedelta(seconds=end)).isoformat(),
        "createdBy": "ann",
        "comment": "deploy",
    }


def told(second: float, body: Any) -> tuple[float, str, tuple[str, ...]]:
    names = sorted(one["labels"]["alertname"] + ("+" if one["status"] == "firing" else "-") for one in body["alerts"])
    if body["truncatedAlerts"]:
        names = [f"{len(names)} and {body['truncatedAlerts']} more"]
    tick = 2 + 4 * round((second - LATE / 2 - 2) / 4)
    assert -0.5 <= second - tick <= LATE, f"at {second:.2f} s, which is no tick"
    return tick, str(body["status"]), tuple(names)


@pytest.fixture(scope="module")
def ours() -> dict[str, Said]:
    """What the router tells, by job."""
    held = {"source": ["severity=critical"], "target": ["severity=warning"], "equal": ["pair"]}
    damped = FlappingSettings(transitions=6, window="30s", stable="8s")
    world = World(replace(SHORT, repeat_interval="9s"), inhibitions=(held,), flapping=damped)
    world.silences = [silence(f'job="{job}"', start=start, end=end) for job, (start, end) in SILENCES.items()]
    found: dict[str, Said] = defaultdict(list)
    for step in range(int(LONG * 10)):
        second = step / 10
        for event in SCRIPT:
            if round(event.second * 10) == step:
                world.alerts[f"{event.job}/{event.name}"] = of_event(event)
        for one in world.step(second):
            names = sorted(f"{a.labels['alertname']}{'+' if a.status(one.at) == 'firing' else '-'}" for a in one.alerts)
            shown = (f"{len(names)} and {one.truncated} more",) if one.truncated else tuple(names)
            found[one.group_labels["job"]].append((second, one.status, shown))
    return found


def of_event(event: Event) -> Alert:
    fired = fired_at(event)
    ends = {"resolved": event.second, "ends by itself": event.end}.get(event.what)
    made = alert(event.name, fired, ends, outside=True)
    return replace(made, labels={**made.labels, "job": event.job, **dict(event.labels)}, updated_at=at(event.second))


@pytest.mark.parametrize("job", sorted({event.job for event in SCRIPT} - set(DIFFERENCES)))
def test_36_46_the_router_tells_what_the_real_one_tells(job: str, real: dict[str, Said], ours: dict[str, Said]) -> None:
    assert ours[job] == real[job]


def test_40_the_end_of_what_was_told_is_told_under_a_silence(real: dict[str, Said], ours: dict[str, Said]) -> None:
    assert ours["told and silenced"] == [(2, "firing", ("z+",)), (10, "resolved", ("z-",))]
    assert real["told and silenced"] == [(2, "firing", ("z+",))]


def test_60_what_flaps_is_told_of_where_the_real_one_is_blind(real: dict[str, Said], ours: dict[str, Said]) -> None:
    assert [told[1:] for told in ours["flaps"]] == [("firing", ("f+",)), ("resolved", ("f-",))]
    assert real["flaps"] == []


def test_40_what_was_never_told_is_not_resolved(real: dict[str, Said], ours: dict[str, Said]) -> None:
    assert ours["blink"] == [(2, "firing", ("k+",)), (14, "firing", ("k+",))]
    assert (10, "firing", ("k+", "n-")) in real["blink"]
