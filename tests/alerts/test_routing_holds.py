"""What holds a notification back: inhibition, silences, maintenance, the hold after a start, acknowledgements."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.support.routing import SHORT, World, at, said, seconds, silence

from barograph.alerts.alert import Alert
from barograph.alerts.routing.router import MOST_HOLDS, RouterState
from barograph.alerts.routing.silences import Silencer, create_silence, make_windows
from barograph.control.database import ControlPlane
from barograph.control.silences import SilenceRepository
from barograph.core.routing_settings import FlappingSettings, InhibitionSettings, MaintenanceSettings, RouteSettings
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidInput, InvalidSettings

CRITICAL_HOLDS_WARNING = {"source": ["severity=critical"], "target": ["severity=warning"], "equal": ["pipeline"]}


def inhibited(*rules: dict[str, list[str]]) -> World:
    return World(inhibitions=rules or (CRITICAL_HOLDS_WARNING,))


class TestInhibition:
    def test_43_a_target_is_held_while_its_source_fires_and_told_on_the_next_tick_after(self) -> None:
        world = inhibited()
        world.fire("source", 0, severity="critical", pipeline="x", job="1")
        world.fire("target", 0, pipeline="x", job="2")
        assert world.run(0, 12) == ["2 firing source+"]
        assert world.explain("target", 11).words.startswith("inhibited by source (")
        world.resolve("source", 12)
        assert world.run(12, 20) == ["14 resolved source-", "14 firing target+"]

    def test_43_the_equal_labels_must_be_alike(self) -> None:
        world = inhibited()
        world.fire("source", 0, severity="critical", pipeline="x")
        world.fire("target", 0, pipeline="y")
        assert world.run(0, 3) == ["2 firing source+ target+"]

    def test_43_labels_that_both_lack_are_alike(self) -> None:
        world = inhibited()
        world.fire("source", 0, severity="critical")
        world.fire("target", 0)
        world.fire("other", 0, pipeline="x")
        assert world.run(0, 3) == ["2 firing other+ source+"]

    def test_43_an_alert_does_not_inhibit_itself(self) -> None:
        world = inhibited({"source": ["alertname=~.+"], "target": ["severity=~.+"], "equal": ["pipeline"]})
        world.fire("a", 0, pipeline="x")
        world.fire("b", 0, pipeline="x")  # source and target like the first: neither holds the other
        assert world.run(0, 3) == ["2 firing a+ b+"]

    def test_43_one_that_is_source_and_target_is_held_by_one_that_is_source_only(self) -> None:
        world = inhibited({"source": ["severity=~critical|warning"], "target": ["severity=~warning|info"]})
        world.fire("c", 0, severity="critical")
        world.fire("w", 0)
        world.fire("i", 0, severity="info")
        assert world.run(0, 3) == ["2 firing c+"]
        world.resolve("c", 3)
        assert world.run(3, 7) == ["6 firing c- w+"]

    def test_43_a_source_that_is_silenced_still_holds(self) -> None:
        world = inhibited()
        world.silences = [silence("alertname=source")]
        world.fire("source", 0, severity="critical")
        world.fire("target", 0)
        assert world.run(0, 30) == []

    def test_43_the_end_of_what_was_told_is_told_also_while_it_is_held(self) -> None:
        world = inhibited()
        world.fire("target", 0)
        world.run(0, 3)
        world.fire("source", 3, severity="critical")
        world.resolve("target", 9)
        assert world.run(3, 8) == ["6 firing source+"]
        assert world.run(8, 30)[0] == "10 firing source+ target-"

    def test_rules_that_cannot_be_read_are_refused_with_their_place(self) -> None:
        with pytest.raises(InvalidSettings, match=r"routing.inhibitions\[1\]: not a matcher"):
            inhibited(CRITICAL_HOLDS_WARNING, {"source": ["a=b"], "target": ["b"]})

    def test_a_rule_without_a_source_is_refused(self) -> None:
        with pytest.raises(msgspec.ValidationError, match="source"):
            msgspec.convert({"source": [], "target": ["a=b"]}, InhibitionSettings)


class TestSilences:
    @pytest.mark.parametrize(
        "matcher", ["alertname=a", "alertname!=b", "alertname=~a|x", "alertname!~b.*", 'nothing=""']
    )
    def test_44_all_four_operators_hold(self, matcher: str) -> None:
        world = World()
        world.silences = [silence(matcher, "severity=warning")]
        world.fire("a", 0)
        world.fire("b", 0, nothing="1")
        assert world.run(0, 3) == ["2 firing b+"]

    def test_44_when_it_expires_the_alert_is_told_on_the_next_tick(self) -> None:
        world = World()
        world.silences = [silence("alertname=a", end=11)]
        world.fire("a", 0)
        assert world.run(0, 20) == ["14 firing a+"]

    def test_44_also_an_alert_that_was_told_before(self) -> None:
        world = World()
        world.fire("a", 0)
        world.run(0, 3)
        world.silences = [silence("alertname=a", start=3, end=27)]
        assert world.run(3, 35) == ["30 firing a+"]
        assert world.sent[-1].reason == "1 no longer held back"

    def test_44_ended_early_it_holds_no_longer(self) -> None:
        world = World()
        world.silences = [silence("alertname=a", ended=8)]
        world.fire("a", 0)
        assert world.run(0, 12) == ["10 firing a+"]

    def test_44_one_that_has_not_begun_holds_nothing(self) -> None:
        world = World()
        world.silences = [silence("alertname=a", start=5)]
        world.fire("a", 0)
        assert world.run(0, 30) == ["2 firing a+"]

    def test_44_others_of_the_group_are_told_without_it(self) -> None:
        world = World()
        world.fire("a", 0)
        world.fire("b", 0)
        world.run(0, 3)
        world.silences = [silence("alertname=a", start=3)]
        world.fire("c", 3)
        assert world.run(3, 20) == ["6 firing b+ c+", "18 firing b+ c+"]

    def test_44_the_end_of_what_was_told_is_told_under_a_silence(self) -> None:
        world = World()
        world.fire("a", 0)
        world.run(0, 3)
        world.silences = [silence("alertname=a", start=3)]
        assert world.run(3, 8) == []
        world.resolve("a", 8)
        assert world.run(8, 40) == ["10 resolved a-"]

    def test_one_that_cannot_be_read_holds_nothing_and_stops_nothing(self) -> None:
        world = World()
        world.silences = [silence("alertname=~("), silence("alertname=b")]
        world.fire("a", 0)
        world.fire("b", 0)
        assert world.run(0, 3) == ["2 firing a+"]

    def test_of_several_the_one_that_lasts_longest_is_named(self) -> None:
        found = Silencer([silence("a=b", end=5), silence("a=~b", end=9), silence("c=d", end=20)], (), at(1))
        hold = found.hold({"a": "b"})
        assert hold is not None
        assert seconds(hold.until) == 9

    def test_many_silences_cost_an_alert_little(self) -> None:
        world = World()
        world.silences = [silence(f"pipeline=p{i}", 'severity=~"warn.*"') for i in range(2000)]
        for i in range(2000):
            world.fire(str(i), 0, pipeline=f"p{i + 1}")
        world.step(0)
        assert len(world.state.holds) == 1999

    def test_a_silence_is_read_before_it_is_kept(self, tmp_path: Path) -> None:
        with ControlPlane(tmp_path / "control.db", ManualClock(at(0))) as plane:
            repository = SilenceRepository(plane)

            def create(*matchers: str) -> None:
                create_silence(repository, project="default", matchers=matchers, ends_at=at(60), author="ann")

            for wrong in (["a"], ['a=~"("'], ["a!=b"], ['a=~".*"', 'b=""']):
                with pytest.raises(InvalidInput):
                    create(*wrong)
            assert repository.current("default") == []
            create("alertname = errors", "a!=b")
            (kept,) = repository.current("default")
            assert kept.matchers == ('alertname="errors"', 'a!="b"')


class TestMaintenance:
    def windows(self, **settings: object) -> MaintenanceSettings:
        return msgspec.convert({"name": "night", **settings}, MaintenanceSettings)

    def until(self, settings: MaintenanceSettings, moment: str) -> str | None:
        (window,) = make_windows([settings])
        found = window.until(datetime.fromisoformat(moment).replace(tzinfo=UTC))
        return None if found is None else f"{found:%a %H:%M}"

    @pytest.mark.parametrize(
        ("moment", "until"),
        [
            ("2026-11-28T20:59", None),
            ("2026-11-28T21:00", "Sun 05:00"),  # Saturday 22:00 in Berlin
            ("2026-11-29T04:59", "Sun 05:00"),
            ("2026-11-29T05:00", None),
            ("2026-11-29T22:00", None),
        ],
    )
    def test_a_weekly_window_is_of_local_days_and_may_pass_midnight(self, moment: str, until: str | None) -> None:
        weekly = self.windows(days=["sat"], start="22:00", end="06:00", timezone="Europe/Berlin")
        assert self.until(weekly, moment) == until

    def test_the_clock_change_moves_it_with_the_clock(self) -> None:
        daily = self.windows(start="08:00", end="09:00", timezone="Europe/Berlin")
        assert self.until(daily, "2026-03-28T07:30") == "Sat 08:00"
        assert self.until(daily, "2026-03-29T06:30") == "Sun 07:00"
        assert self.until(daily, "2026-03-29T07:30") is None

    def test_from_midnight_to_midnight_is_the_whole_day(self) -> None:
        day = self.windows(days=["sun"], start="00:00", end="00:00")
        assert self.until(day, "2026-11-29T23:59") == "Mon 00:00"
        assert self.until(day, "2026-11-30T00:00") is None

    def test_a_single_window_is_local_unless_it_has_an_offset(self) -> None:
        once = self.windows(begins_at="2026-12-24T22:00", ends_at="2026-12-24T22:00Z", timezone="Europe/Berlin")
        assert self.until(once, "2026-12-24T21:00") == "Thu 22:00"
        assert self.until(once, "2026-12-24T22:00") is None

    def test_what_it_holds_is_told_on_the_next_tick_after_it(self) -> None:
        once = {"name": "deploy", "matchers": ["alertname=a"], "begins_at": str(at(0)), "ends_at": str(at(15))}
        world = World(maintenance=(once,))
        world.fire("a", 0)
        world.fire("b", 0)
        assert world.run(0, 14.5) == ["2 firing b+", "14 firing b+"]
        assert world.explain("a", 14).words == "in maintenance (deploy) until 09:00:15; next at 09:00:18"
        assert world.run(14.5, 19) == ["18 firing a+ b+"]

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({}, "neither a weekly nor a single window"),
            ({"start": "10:00"}, "neither a weekly nor a single window"),
            ({"start": "10:00", "end": "11:00", "begins_at": "2026-01-01"}, "neither a weekly nor a single window"),
            ({"days": ["mon"], "begins_at": "2026-01-01", "ends_at": "2026-01-02"}, "neither a weekly"),
            ({"start": "25:00", "end": "11:00"}, "not a time of day"),
            ({"begins_at": "soon", "ends_at": "2026-01-02"}, "not a moment"),
            ({"begins_at": "2026-01-02", "ends_at": "2026-01-02"}, "ends before it begins"),
            ({"start": "10:00", "end": "11:00", "timezone": "Mars"}, "no such time zone"),
            ({"start": "10:00", "end": "11:00", "matchers": ["x"]}, "not a matcher"),
        ],
    )
    def test_windows_that_make_no_sense_are_refused(self, settings: dict[str, object], said: str) -> None:
        with pytest.raises(InvalidSettings, match=said):
            make_windows([self.windows(**settings)])


class TestStart:
    def test_51_an_inhibited_alert_is_not_leaked_at_start_up(self) -> None:
        world = inhibited()
        world.fire("target", -1000, pipeline="x")  # has waited long enough, and its source is not yet there
        assert world.run(0, 1) == []
        world.fire("source", -1000, severity="critical", pipeline="x")
        assert world.run(1, 30)[0] == "2 firing source+"
        assert not any("target" in text for text in said(world.sent))

    def test_51_nor_after_a_restart(self) -> None:
        world = inhibited()
        world.fire("source", 0, severity="critical", pipeline="x", job="1")
        world.fire("target", 0, pipeline="x", job="2")
        world.run(0, 9)
        source = world.alerts.pop("source")
        world.state = world.router.started(world.state, at(60))
        assert world.run(60, 61) == []
        world.alerts["source"] = source
        assert world.run(61, 70) == ["62 firing source+"]

    def test_51_what_was_told_is_not_resolved_because_nobody_has_sent_it_yet(self) -> None:
        world = World()
        told = world.fire("a", 0)
        world.run(0, 5)
        world.alerts.clear()
        world.state = world.router.started(world.state, at(9))
        assert world.run(9, 11) == []
        world.alerts["a"] = told
        assert world.run(11, 13) == []

    def test_51_nor_does_a_restart_take_an_acknowledgement_away_or_count_as_flapping(self) -> None:
        world = World(flapping=FlappingSettings(transitions=1))
        told = world.fire("a", 0)
        world.run(0, 5)
        world.state = world.router.acknowledge(world.state, told.fingerprint, by="ann", now=at(5))
        world.alerts.clear()
        world.state = world.router.started(world.state, at(9))
        world.run(9, 10)
        world.alerts["a"] = told
        assert world.run(10, 40) == []
        assert world.state.acknowledgements

    def test_51_nor_does_it_count_as_a_change_of_what_was_not_told_yet(self) -> None:
        world = World(flapping=FlappingSettings(transitions=1))
        found = world.fire("a", 0)
        world.step(0)
        world.alerts.clear()
        world.state = world.router.started(world.state, at(1))
        world.step(1)
        world.alerts["a"] = found
        assert world.run(1.5, 5) == ["3 firing a+"]
        assert world.sent[0].reason == "1 new alert"

    def test_51_an_alert_of_two_groups_waits_for_the_slower_one(self) -> None:
        routes = (
            RouteSettings(matchers=("alertname=a",), receiver="chat", continue_=True, group_wait="0s"),
            RouteSettings(matchers=("alertname=a",), receiver="page", group_wait="9s"),
        )
        world = World(replace(SHORT, receiver="chat", routes=routes), receivers={"chat": True, "page": True})
        world.fire("a", 0)
        assert world.run(0, 11) == ["0 firing a+", "9 firing a+"]
        world.alerts.clear()
        world.state = world.router.started(world.state, at(11))
        assert world.run(11, 19.5) == ["12 firing a+"]  # a repeat: it is not over yet
        assert world.run(19.5, 30) == ["20 resolved a-", "20 resolved a-"]

    def test_51_every_start_is_held_that_is_not_cut_short(self) -> None:
        world = World()
        for i in range(2 * MOST_HOLDS):
            world.fire(f"a{i}", 100 * i)
            world.state = world.router.started(world.state, at(100 * i + 50))
            assert world.run(100 * i + 50, 100 * i + 52) == []
            assert len(said(world.step(100 * i + 52))) == 1
        assert world.state.unsettled == 0

    def test_51_a_process_that_starts_over_and_over_tells_at_last(self) -> None:
        world = World()
        world.fire("a", 0)
        for second in range(10):
            world.state = world.router.started(world.state, at(second))
            world.step(second)
        assert seconds(world.sent[0].at) == MOST_HOLDS + 1
        assert len(world.sent) == 1

    def test_48_a_restart_keeps_the_timers_and_doubles_nothing(self) -> None:
        world = World()
        world.fire("a", 0)
        world.run(0, 6.5)
        world.state = world.router.started(world.state, at(7))
        assert world.run(7, 20) == ["14 firing a+"]


class TestAcknowledgement:
    def acknowledged(self) -> tuple[World, Alert]:
        world = World()
        found = world.fire("a", 0)
        world.run(0, 3)
        world.state = world.router.acknowledge(world.state, found.fingerprint, by="ann", now=at(3), comment="on it")
        return world, found

    def test_an_acknowledged_alert_is_not_repeated(self) -> None:
        world, _ = self.acknowledged()
        assert world.run(3, 100) == []
        assert world.explain("a", 99).words.endswith(
            "acknowledged by ann: not repeated until it resolves or fires anew"
        )
        assert world.explain("a", 99).next_at is None

    def test_its_end_is_told(self) -> None:
        world, _ = self.acknowledged()
        world.run(3, 20)
        world.resolve("a", 20)
        assert world.run(20, 40) == ["22 resolved a-"]
        assert world.state.acknowledgements == {}

    def test_when_it_fires_anew_it_is_told_again(self) -> None:
        world, _ = self.acknowledged()
        world.run(3, 19)
        world.fire("a", 19)
        assert world.run(19, 40) == ["22 firing a+", "34 firing a+"]
        assert world.sent[1].reason == "1 fired again after it was acknowledged"

    def test_others_of_its_group_are_repeated_without_it_and_told_with_it(self) -> None:
        world, _ = self.acknowledged()
        world.fire("b", 3)
        assert world.run(3, 30) == ["6 firing a+ b+", "18 firing b+"]

    def test_only_what_fires_can_be_acknowledged(self) -> None:
        world, found = self.acknowledged()
        world.resolve("a", 4)
        world.run(4, 5)
        for identity in (found.fingerprint, "0" * 16):
            with pytest.raises(InvalidInput, match="no alert of that fingerprint fires"):
                world.router.acknowledge(world.state, identity, by="ann", now=at(5))


class TestExplain:
    def test_says_what_is_waited_for_and_when_the_next_one_is_due(self) -> None:
        world = World()
        world.fire("a", 0)
        assert world.explain("a", 0).words == "new: waiting for group_wait until 09:00:02"
        world.step(0)
        found = world.explain("a", 0.5)
        assert found.words.startswith("waiting for group_wait until 09:00:02")
        assert (seconds(found.next_at), found.told) == (2, False)
        world.run(0.5, 3)
        found = world.explain("a", 3)
        assert found.words == (
            "told at 09:00:02 (1 new alert); repeated at 09:00:14 if nothing changes (repeat_interval 12 s)"
        )
        assert (seconds(found.next_at), found.told) == (14, True)
        world.fire("b", 3)
        world.step(3)
        found = world.explain("b", 3)
        assert found.words == "new in its group, which tells of changes once in 4 s: next at 09:00:06"
        assert seconds(found.next_at) == 6

    def test_says_who_silenced_it_until_when_and_why(self) -> None:
        world = World()
        world.silences = [silence("alertname=a", end=11)]
        world.fire("a", 0)
        world.run(0, 5)
        found = world.explain("a", 5)
        assert found.words == "silenced by ann: deploy until 09:00:11; next at 09:00:14"
        assert (seconds(found.next_at), found.told) == (14, False)

    def test_says_that_the_hold_is_over(self) -> None:
        world = World()
        world.fire("a", 0)
        world.run(0, 3)
        world.silences = [silence("alertname=a", start=3, end=11)]
        world.run(3, 10.5)
        assert world.explain("a", 10).words.startswith("told before, and now silenced by ann")
        world.run(10.5, 12)
        found = world.explain("a", 12)
        assert (found.words, seconds(found.next_at)) == ("no longer held back: told at 09:00:14", 14)

    def test_says_what_becomes_of_a_resolution(self) -> None:
        world = World()
        world.fire("a", 0)
        world.run(0, 3)
        world.resolve("a", 3)
        world.step(3)
        found = world.explain("a", 3)
        assert found.words == "resolved: told at the group's next tick, 09:00:06"
        world.run(3, 7)
        found = world.explain("a", 7)
        assert found.words == "resolved; the receiver does not believe that it fires, so there is nothing to tell"
        assert found.next_at is None

    def test_says_that_a_receiver_wants_no_resolutions(self) -> None:
        world = World(receivers={"log": False})
        world.fire("a", 0)
        world.run(0, 3)
        world.resolve("a", 3)
        world.step(3)
        assert world.explain("a", 3).words == "resolved; log is not told of resolutions"

    def test_says_that_it_is_held_after_the_start(self) -> None:
        world = World()
        world.fire("a", -100)
        world.step(0)
        found = world.explain("a", 0)
        assert found.words.startswith("held after the start until 09:00:02")
        assert seconds(found.next_at) == 2

    def test_what_it_says_is_due_comes_then(self) -> None:
        for hold in ([], [silence("alertname=a", end=9)]):
            for second in range(30):
                world = World()
                world.silences = hold
                world.fire("a", 0)
                world.run(0, second + 0.5)
                due = world.explain("a", second).next_at
                before = len(world.sent)
                world.run(second + 0.5, 60)
                assert due == world.sent[before].at


def test_the_first_state_is_empty_and_stays_so_without_alerts() -> None:
    world = World()
    assert world.run(0, 5) == []
    assert world.state == RouterState(started_at=at(0))
