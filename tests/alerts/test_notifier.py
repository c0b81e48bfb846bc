"""From a rule that fires to the outbox, and from there to people: once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tests.support.dictionary_reader import DictionaryReader

from barograph.alerts.alert import Alert, Notification
from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.notifier import KEPT, Notifier
from barograph.alerts.routing.silences import create_silence
from barograph.alerts.rule_set import RuleSet
from barograph.alerts.standing import standings
from barograph.control import routing
from barograph.control.alert_states import AlertStateRepository
from barograph.control.audit import AuditLog
from barograph.control.database import ControlPlane
from barograph.control.outbox import Outbox
from barograph.core.metric import Catalogue
from barograph.core.settings import RuleSettings, Settings
from barograph.dashboard.delivery import Delivery
from barograph_client.clock import ManualClock
from barograph_client.errors import ControlError, InvalidInput, InvalidSettings

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
ROUTE = {"receiver": "log", "group_wait": "30s", "group_interval": "1m", "repeat_interval": "1h"}
SLOW = RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="1m", severity="critical")
UTC_ZONE = ZoneInfo("UTC")


class Site:
    """A clock, a control plane and the delivery of a directory; ``notifier`` is made anew for another life."""

    def __init__(self, directory: Path, route: dict[str, str] = ROUTE, **routing: object) -> None:
        self.clock = ManualClock(START)
        self.plane = ControlPlane(directory / "control.db", self.clock)
        self.settings = msgspec.convert({"routing": {"route": route, **routing}}, Settings)
        self.delivery = Delivery(self.settings, self.plane, self.clock, {})
        self.notifier = self.delivery.notifier("default")

    def step(self, *of_rules: Alert, notifier: Notifier | None = None) -> None:
        """A tick at which those alerts of rules stand."""
        chosen = notifier or self.notifier
        chosen.of_rules = lambda at: of_rules
        chosen.step(self.clock.now())

    def run(self, seconds: int, *of_rules: Alert) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.step(*of_rules)

    def told(self) -> list[tuple[str, str, list[str]]]:
        """What is in the outbox, oldest first: status, key, and the alerts with their status."""
        rows = reversed(self.delivery.outbox.list(limit=1000))
        bodies = [msgspec.convert(row.body, Notification) for row in rows]
        return [
            (one.status, one.key, [f"{alert.labels['alertname']} {alert.status(one.at)}" for alert in one.alerts])
            for one in bodies
        ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.plane.close()


def alert(name: str, since: datetime = START, **more: object) -> Alert:
    fields = {"labels": {"alertname": name}, "starts_at": since, "updated_at": since, **more}
    return msgspec.convert(msgspec.to_builtins(fields), Alert)


def test_a_rule_that_fires_and_resolves_is_told_once_each_with_its_sentence(site: Site) -> None:
    events: list[dict[str, object]] = []
    states, recorded = AlertStateRepository(site.plane), []
    reader = DictionaryReader(events, site.clock.now)
    manager = AlertManager(
        reader, RuleSet(Catalogue(), [SLOW]), states, recorded.append, site.clock, notifier=site.notifier
    )  # fmt: skip
    for tick in range(80):
        site.clock.advance(15)
        slow = 10 <= tick < 20
        moment = site.clock.now() - timedelta(seconds=7)
        events.append({"kind": "query", "time": moment, "response_time": 9.0 if slow else 1.0})
        manager.run_due()
        site.notifier.run_due(site.clock.now())
    manager.stop()
    assert [(status, alerts) for status, _, alerts in site.told()] == [
        ("firing", ["slow firing"]),
        ("resolved", ["slow resolved"]),
    ]
    first = msgspec.convert(site.delivery.outbox.list()[-1].body, Notification)
    assert first.common_labels == {"alertname": "slow", "severity": "critical", "project": "default"}
    assert first.alerts[0].annotations["summary"].startswith("Response time exceeded 5 s threshold (current: ")
    assert first.alerts[0].starts_at == next(one.time for one in recorded if one.state == "firing")


def test_an_element_that_is_gone_is_told_as_it_ended_also_when_the_tick_of_its_group_comes_long_after(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path, {**ROUTE, "group_interval": "30m"})
    rule = RuleSettings(
        name="slow", kind="expression", expression="response_time_mean > 5", window="15s", by=("model",), lookback="0s"
    )
    events: list[dict[str, object]] = []
    reader, states = DictionaryReader(events, site.clock.now), AlertStateRepository(site.plane)
    manager = AlertManager(
        reader, RuleSet(Catalogue(), [rule]), states, lambda event: None, site.clock, notifier=site.notifier
    )
    for tick in range(140):
        site.clock.advance(15)
        moment = site.clock.now() - timedelta(seconds=7)
        events.append({"kind": "query", "time": moment, "response_time": 9.0 if tick < 10 else 1.0, "model": "m1"})
        manager.run_due()
        site.notifier.run_due(site.clock.now())
    manager.stop()
    assert [(status, alerts) for status, _, alerts in site.told()] == [
        ("firing", ["slow firing"]),
        ("resolved", ["slow resolved"]),
    ]
    (ended,) = msgspec.convert(site.delivery.outbox.list()[0].body, Notification).alerts
    assert ended.annotations["summary"] == "Expression response_time_mean > 5 (model m1) holds no more (last: 9)"
    assert ended.ends_at == START + timedelta(seconds=15 * 11)
    site.plane.close()


def test_one_that_is_held_or_somebodys_is_not_called_a_plain_alert(site: Site) -> None:
    events = [{"kind": "query", "time": START - timedelta(seconds=7), "response_time": 9.0}]
    rules = [msgspec.structs.replace(SLOW, name=name) for name in "abc"]
    manager = AlertManager(
        DictionaryReader(events, site.clock.now), RuleSet(Catalogue(), rules), AlertStateRepository(site.plane),
        lambda event: None, site.clock, notifier=site.notifier,
    )  # fmt: skip
    assert [one.sentence.partition(":")[0] for one in manager.check()] == ["ALERT"] * 3
    until = START + timedelta(hours=1)
    create_silence(site.delivery.silences, project="default", matchers=["alertname=a"], ends_at=until, author="ann")
    site.delivery.dispatcher.look()
    site.clock.advance(1)
    site.notifier.step(site.clock.now())
    fingerprints = {one.labels["alertname"]: one.fingerprint for one in manager.alerts()}
    site.notifier.acknowledge(fingerprints["b"], by="ann")
    told = {one.rule: (one.kept_back, one.sentence.partition(":")[0]) for one in manager.active()}
    assert told == {"a": ("held", "HELD"), "b": ("acknowledged", "ACKNOWLEDGED"), "c": ("", "ALERT")}
    manager.stop()


def test_15_a_repetition_tells_the_newest_annotations_and_the_wait_of_the_rule_is_not_begun_again(
    tmp_path: Path,
) -> None:
    """The whole chain: a value that changes at every tick, said in an annotation."""
    site = Site(tmp_path, {**ROUTE, "repeat_interval": "1m"})
    rule = msgspec.structs.replace(SLOW, window="15s", for_="45s", annotations={"seen": "{{ $value }}"})
    events: list[dict[str, object]] = []
    manager = AlertManager(
        DictionaryReader(events, site.clock.now), RuleSet(Catalogue(), [rule]), AlertStateRepository(site.plane),
        lambda event: None, site.clock, notifier=site.notifier, delay=0.0,
    )  # fmt: skip
    for tick in range(1, 19):
        site.clock.advance(15)
        moment = site.clock.now() - timedelta(seconds=7)
        events.append({"kind": "query", "time": moment, "response_time": 10.0 + tick if tick < 15 else 1.0})
        manager.run_due()
        site.notifier.run_due(site.clock.now())
    manager.stop()
    bodies = [msgspec.convert(row.body, Notification) for row in reversed(site.delivery.outbox.list())]
    assert [((one.at - START).total_seconds(), one.status, one.alerts[0].annotations["seen"]) for one in bodies] == [
        (90, "firing", "16"),
        (150, "firing", "20"),
        (210, "firing", "24"),
        (270, "resolved", "1"),
    ]
    assert {one.alerts[0].starts_at for one in bodies} == {START + timedelta(seconds=60)}
    assert len({one.alerts[0].fingerprint for one in bodies}) == 1
    site.plane.close()


def test_a_crash_between_any_two_steps_tells_nothing_twice_and_loses_nothing(site: Site) -> None:
    firing = alert("a")
    for second in range(200):
        site.clock.advance(1)
        if second % 3 == 0:  # another life, which reads what the one before has kept
            site.notifier = site.delivery.notifier("default")
        site.step(*[firing] if second < 120 else [])
    site.run(120)
    told = site.told()
    assert [status for status, _, _ in told] == ["firing", "resolved"]
    assert len({key for _, key, _ in told}) == 2


def test_what_cannot_be_kept_is_not_told_and_is_told_when_it_can_be(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run(10, alert("a"))
    with monkeypatch.context() as broken:

        def full(*_: object) -> None:
            raise ControlError("the disk is full", value="control.db")

        broken.setattr(routing.RoutingRepository, "write_state", full)
        for _ in range(60):
            site.clock.advance(1)
            try:
                site.step(alert("a"))
            except ControlError:
                continue
        assert site.told() == []  # the notification went back with the state
        assert isinstance(site.notifier.problem, ControlError)
    site.run(1, alert("a"))
    assert [status for status, _, _ in site.told()] == ["firing"]
    assert site.notifier.problem is None


def test_the_same_alert_of_two_projects_is_told_for_both(site: Site) -> None:
    other = site.delivery.notifier("other")
    for _ in range(120):
        site.clock.advance(1)
        for notifier in (site.notifier, other):
            site.step(alert("a"), notifier=notifier)
    keys = [key for _, key, _ in site.told()]
    assert [key.partition("/")[0] for key in sorted(keys)] == ["default", "other"]


class TestFromOutside:
    def test_it_is_on_disk_when_it_is_acknowledged_and_told_by_the_next_life(self, site: Site) -> None:
        sent = alert("theirs", ends_at=START + timedelta(minutes=5), from_outside=True)
        site.notifier.receive([sent])
        site.notifier = site.delivery.notifier("default")
        (kept,) = site.notifier.outside()
        assert kept == msgspec.structs.replace(sent, labels={"alertname": "theirs", "project": "default"})
        for _ in range(100):
            site.clock.advance(1)
            site.notifier.run_due(site.clock.now())
        assert [alerts for _, _, alerts in site.told()] == [["theirs firing"]]

    def test_46_it_resolves_at_its_end_unless_it_is_sent_again(self, site: Site) -> None:
        def send(end: timedelta) -> None:
            now = site.clock.now()
            site.notifier.receive([alert("theirs", now, ends_at=now + end, updated_at=now, from_outside=True)])

        send(timedelta(minutes=2))
        for second in range(400):
            site.clock.advance(1)
            if second == 60:
                send(timedelta(minutes=3))  # until 241
            site.notifier.run_due(site.clock.now())
            if second == 200:
                assert site.notifier.outside()[0].starts_at == START  # as it was said first
                assert [status for status, _, _ in site.told()] == ["firing"]
        assert [status for status, _, _ in site.told()] == ["firing", "resolved"]
        site.clock.advance(KEPT.total_seconds() + 600)
        site.notifier.run_due(site.clock.now())
        site.step()
        assert site.notifier.outside() == []

    def test_more_than_there_may_be_are_refused_as_a_whole(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(routing, "MOST_OUTSIDE", 3)
        many = [alert(f"a{n}", ends_at=START + timedelta(minutes=5), from_outside=True) for n in range(4)]
        with pytest.raises(InvalidInput, match="at most 3"):
            site.notifier.receive(many)
        assert site.notifier.outside() == []
        site.notifier.receive(many[:3])
        assert len(site.delivery.notifier("default").outside()) == 3


@pytest.mark.parametrize("step", [-7200.0, -40.0, 40.0, 7200.0])
class TestAStepOfTheWallClock:
    def real(self, site: Site, seconds: int) -> list[str]:
        """So many seconds pass; what was told in them, and after how many."""
        before, seconds_told = len(site.told()), []
        for second in range(1, seconds + 1):
            site.clock.advance(1)
            seconds_told += [second] * site.notifier.run_due(site.clock.now())
        statuses = [status for status, _, _ in site.told()[before:]]
        return [f"{second} {status}" for second, status in zip(seconds_told, statuses, strict=True)]

    def send(self, site: Site) -> None:
        now = site.clock.now()
        site.notifier.receive(
            [alert("theirs", now, ends_at=now + timedelta(minutes=5), updated_at=now, from_outside=True)]
        )

    def test_34_neither_resolves_nor_fires_an_alert_from_outside_nor_shortens_group_wait(
        self, site: Site, step: float
    ) -> None:
        self.send(site)
        self.real(site, 10)
        site.clock.step(step)
        assert self.real(site, 280) == ["20 firing"]  # thirty after it came
        site.clock.step(step)
        assert self.real(site, 70) == ["40 resolved"]  # at its end, ten seconds on, the next tick of its group
        site.clock.step(step)
        assert self.real(site, 400) == []

    def test_34_changes_no_repetition(self, site: Site, step: float) -> None:
        site.notifier.of_rules = lambda at: [firing]
        firing = alert("a")
        assert self.real(site, 60) == ["31 firing"]  # of the tick at thirty
        site.clock.step(step)
        assert self.real(site, 3600) == ["3570 firing"]  # an hour after that tick

    def test_34_does_not_bring_back_what_was_resolved(self, site: Site, step: float) -> None:
        firing = alert("a")
        over = msgspec.structs.replace(firing, ends_at=START + timedelta(seconds=50))
        site.notifier.of_rules = lambda at: [firing if site.clock.monotonic() < 50 else over]
        assert self.real(site, 100) == ["31 firing", "90 resolved"]
        site.clock.step(step)
        assert self.real(site, 200) == []

    def test_34_is_known_to_the_next_life(self, site: Site, step: float) -> None:
        self.send(site)
        self.real(site, 60)
        site.clock.step(step)
        self.real(site, 10)
        ends_at = site.notifier.outside()[0].ends_at
        assert ends_at == START + timedelta(seconds=300 + step)
        assert routing.RoutingRepository(site.plane).outside("default")[0].ends_at == ends_at


class TestAStart:
    """Who sends an alert cannot send it again while nobody listens: it is waited for."""

    def sent(self, site: Site, lasts: float) -> None:
        now = site.clock.now()
        site.notifier.receive(
            [alert("theirs", now, ends_at=now + timedelta(seconds=lasts), updated_at=now, from_outside=True)]
        )

    def live(self, site: Site, seconds: int) -> None:
        for _ in range(seconds):
            site.clock.advance(1)
            site.notifier.run_due(site.clock.now())

    @pytest.mark.parametrize("looked", [False, True])
    @pytest.mark.parametrize("away", [1, 3600])
    def test_49_a_one_shot_alert_inside_group_wait_is_told_however_long_we_were_away(
        self, site: Site, away: int, looked: bool
    ) -> None:
        if looked:
            self.live(site, 1)
        self.sent(site, 300)
        self.live(site, 9 if looked else 0)
        site.clock.advance(away)  # kill -9
        site.notifier = site.delivery.notifier("default")
        self.live(site, 32)
        assert [status for status, _, _ in site.told()] == ["firing"]
        self.live(site, 400)
        assert [status for status, _, _ in site.told()] == ["firing", "resolved"]

    def test_an_alert_that_was_told_is_not_resolved_because_nobody_could_send_it_meanwhile(self, site: Site) -> None:
        self.sent(site, 240)
        self.live(site, 60)
        site.clock.advance(600)
        site.notifier = site.delivery.notifier("default")
        self.live(site, 60)
        self.sent(site, 240)
        self.live(site, 200)
        assert [status for status, _, _ in site.told()] == ["firing"]

    def test_what_its_sender_has_ended_or_was_seen_to_end_stays_over(self, site: Site) -> None:
        self.live(site, 1)
        self.sent(site, 240)
        self.live(site, 60)
        self.sent(site, 0)
        self.live(site, 700)
        for _ in range(3):
            site.notifier = site.delivery.notifier("default")
            self.live(site, 100)
        assert [status for status, _, _ in site.told()] == ["firing", "resolved"]

    def test_one_that_is_over_before_its_group_is_told_is_not_told(self, site: Site) -> None:
        """As Alertmanager has it: group_wait is there for what passes. What comes and goes is told as flapping."""
        self.live(site, 1)
        self.sent(site, 10)
        self.live(site, 200)
        assert site.told() == []


@pytest.mark.parametrize("restart", [False, True])
def test_51_an_inhibited_alert_is_not_leaked_by_a_life_that_has_not_seen_its_source_yet(
    tmp_path: Path, restart: bool
) -> None:
    """What was held is there at once; what holds it, and was told, only after some seconds."""
    holds = {"source": ["alertname=database"], "target": ["alertname=errors"]}
    site = Site(tmp_path, inhibitions=[holds])
    source = alert("database")
    site.notifier.receive([alert("errors", ends_at=START + timedelta(hours=1), from_outside=True)])
    if restart:
        site.run(60, source)
        assert [alerts for _, _, alerts in site.told()] == [["database firing"]]
    site.clock.advance(300)  # kill -9, and a new start: all waits of groups are over
    site.notifier = site.delivery.notifier("default")
    site.run(20)
    site.run(300, source)
    assert [(status, alerts) for status, _, alerts in site.told()] == [("firing", ["database firing"])]
    site.run(120)
    assert [alerts for _, _, alerts in site.told()[1:]] == [["database resolved"], ["errors firing"]]
    site.plane.close()


def test_50_a_silence_holds_from_the_moment_it_is_acknowledged_and_says_so(site: Site) -> None:
    firing = alert("a")
    site.run(20, firing)
    create_silence(
        site.delivery.silences,
        project="default",
        matchers=["alertname=a"],
        ends_at=site.clock.now() + timedelta(minutes=5),
        author="ann",
        comment="index rebuild",
    )
    site.notifier = site.delivery.notifier("default")  # kill -9, and a new start
    site.run(200, firing)
    assert site.told() == []
    ((hold, (why,)),) = site.notifier.explain([firing], site.clock.now(), UTC_ZONE)
    assert hold is not None
    assert hold.kind == "silence"
    assert "index rebuild" in why.words
    site.run(300, firing)
    assert [status for status, _, _ in site.told()] == ["firing"]


def test_a_list_of_alerts_says_whom_each_has_reached_in_one_question(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, now = site.delivery.outbox, site.clock.now
    names = [f"a{number}" for number in range(9)]
    site.notifier.receive([alert(name, ends_at=START + timedelta(hours=5), from_outside=True) for name in names])
    site.run(40)
    rows = {row.group_key: row for row in outbox.list("waiting")}
    of = {name: next(row for key, row in rows.items() if f'"{name}"' in key) for name in names}
    outbox.sent(of["a0"])
    outbox.later(of["a1"], "the connection was refused", 60.0)
    outbox.failed(of["a2"], "400: no such hook")
    asked: list[object] = []
    reached = Outbox.reached
    monkeypatch.setattr(Outbox, "reached", lambda self, keys: asked.append(keys) or reached(self, keys))
    stands = standings((), site.notifier, now(), UTC_ZONE)
    why = {one.labels["alertname"]: one.told[0].words for one in stands}
    assert len(asked) == 1
    assert why["a0"].endswith("; delivered at 09:00:40")
    assert why["a1"].endswith(
        "; not yet delivered to log/log, 1 attempt, the next at 09:01:40: the connection was refused"
    )
    assert why["a2"].endswith("; not delivered to log/log: 400: no such hook")
    assert why["a3"].endswith("; waits to be sent to log/log")


def test_what_holds_an_alert_back_is_said_of_one_that_no_step_has_seen_yet(site: Site) -> None:
    hour = timedelta(hours=1)
    create_silence(
        site.delivery.silences, project="default", matchers=["alertname=a"], ends_at=START + hour, author="ann"
    )
    site.delivery.dispatcher.look()
    seen, unseen = alert("b"), alert("a")
    site.step(seen)
    ((_, (why,)), (hold, (held,))) = site.notifier.explain([seen, unseen], site.clock.now(), UTC_ZONE)
    assert why.words.startswith("waiting for group_wait until")
    assert hold is not None
    assert (hold.kind, held.words) == ("silence", "silenced by ann until 10:00:00; next at 10:00:30")
    assert held.next_at == START + hour + timedelta(seconds=30)


def test_an_acknowledged_alert_is_not_repeated(site: Site) -> None:
    firing = alert("a")
    site.run(60, firing)
    site.notifier.acknowledge(firing.fingerprint, by="ann")
    site.notifier = site.delivery.notifier("default")
    for _ in range(4):
        site.clock.advance(3600)
        site.step(firing)
    assert [status for status, _, _ in site.told()] == ["firing"]
    with pytest.raises(InvalidInput, match="no alert of that fingerprint"):
        site.notifier.acknowledge("0" * 16, by="ann")


def test_an_acknowledgement_that_is_withdrawn_is_as_if_nobody_had_given_it(site: Site) -> None:
    firing = alert("a")
    site.run(60, firing)
    site.notifier.acknowledge(firing.fingerprint, by="ann")
    site.notifier.withdraw(firing.fingerprint, by="ben", comment="ann went home")
    site.notifier = site.delivery.notifier("default")
    site.run(60, firing)
    assert len(site.told()) == 1  # taking it back is no news
    site.clock.advance(3600)
    site.step(firing)
    assert [status for status, _, _ in site.told()] == ["firing", "firing"]
    with pytest.raises(InvalidInput, match="nobody has acknowledged"):
        site.notifier.withdraw(firing.fingerprint, by="ben")
    trail = AuditLog(site.plane).list("default", f"alert:{firing.fingerprint}")
    assert [(entry.actor, entry.action) for entry in trail] == [("ben", "withdraw"), ("ann", "acknowledge")]


def test_a_route_to_nobody_and_a_secret_that_is_not_there_are_refused_at_the_start(site: Site) -> None:
    wrong = {
        "routing": {"route": {"receiver": "nobody"}},
        "receivers": [{"name": "chat", "targets": [{"type": "slack", "url_env": "SLACK_URL"}]}],
    }
    for name, tree in wrong.items():
        with pytest.raises(InvalidSettings) as told:
            Delivery(msgspec.convert({name: tree}, Settings), site.plane, site.clock, {}).start()
        assert {"routing": "nobody", "receivers": "SLACK_URL"}[name] in str(told.value)


def test_a_state_that_another_version_wrote_is_begun_anew(site: Site) -> None:
    kept = routing.RoutingRepository(site.plane)
    with site.plane.writing() as connection:
        kept.write_state(connection, "default", {"groups": "of another shape"})
    notifier: Notifier = site.delivery.notifier("default")
    assert notifier.outside() == []
    site.notifier = notifier
    site.run(60, alert("a"))
    assert [status for status, _, _ in site.told()] == ["firing"]


class TestWhatAReviewFound:
    def test_a_rule_s_alert_is_not_resolved_before_the_rules_were_looked_at_again(self, site: Site) -> None:
        """After a start the engine may take minutes; what the last life knew still stands."""
        firing = alert("a")
        site.run(60, firing)
        site.notifier = site.delivery.notifier("default")
        site.notifier.of_rules = lambda at: [firing]  # as the book restored it; no tick has come yet
        for _ in range(300):
            site.clock.advance(1)
            site.notifier.run_due(site.clock.now())
        assert [status for status, _, _ in site.told()] == ["firing"]

    def test_a_step_that_failed_is_done_again_at_the_next_look(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.run(40)
        site.notifier.of_rules = lambda at: [alert("a", site.clock.now())]
        with monkeypatch.context() as broken:

            def away(*_: object) -> None:
                raise ControlError("away", value="control.db")

            broken.setattr(routing.RoutingRepository, "write_state", away)
            with pytest.raises(ControlError):
                site.notifier.step(site.clock.now())
        for _ in range(60):  # no tick comes any more
            site.clock.advance(1)
            site.notifier.run_due(site.clock.now())
        assert [status for status, _, _ in site.told()] == ["firing"]

    def test_a_resolution_from_outside_is_told_however_late_the_group_s_tick_is(self, tmp_path: Path) -> None:
        site = Site(tmp_path, {**ROUTE, "group_interval": "1h", "repeat_interval": "2h"})
        day = START + timedelta(hours=20)
        site.notifier.receive([alert("theirs", ends_at=day, from_outside=True)])
        for second in range(4 * 3600):
            site.clock.advance(1)
            if second == 120:
                now = site.clock.now()
                site.notifier.receive([alert("theirs", ends_at=now, updated_at=now, from_outside=True)])
            if second % 7 == 0:
                site.notifier.run_due(site.clock.now())
        assert [status for status, _, _ in site.told()] == ["firing", "resolved"]
        site.plane.close()

    def test_an_alert_from_outside_cannot_resolve_one_of_a_rule_nor_be_another_project_s(self, site: Site) -> None:
        ours = alert("a", labels={"alertname": "a", "project": "default"})
        site.run(60, ours)
        for _ in range(120):
            site.clock.advance(1)
            now = site.clock.now()
            site.notifier.receive(
                [alert("a", labels=ours.labels, ends_at=now, updated_at=now, from_outside=True)]
            )  # fmt: skip
            site.step(ours)
        assert [status for status, _, _ in site.told()] == ["firing"]
        site.notifier.receive(
            [alert("b", labels={"alertname": "b", "project": "other"}, ends_at=START, from_outside=True)]
        )
        assert {one.labels["project"] for one in site.notifier.outside()} == {"default"}

    def test_60_an_alert_that_comes_and_goes_between_two_looks_is_told_as_flapping(self, site: Site) -> None:
        site.step()
        for _ in range(50):
            for end in (timedelta(minutes=5), timedelta()):
                site.clock.advance(0.4)
                now = site.clock.now()
                site.notifier.receive([alert("flaps", now, ends_at=now + end, updated_at=now, from_outside=True)])
        assert site.told()

    def test_a_command_s_acknowledgement_is_no_start(self, site: Site) -> None:
        firing = alert("a")
        site.run(60, firing)
        for _ in range(5):
            site.delivery.notifier("default").acknowledge(firing.fingerprint, by="ann")
        site.notifier = site.delivery.notifier("default")
        site.step()  # the rule's alert is not seen yet: for one group_wait nothing is told
        site.clock.advance(2)
        site.step()
        assert [status for status, _, _ in site.told()] == ["firing"]
