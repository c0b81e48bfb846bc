"""The outbox loses nothing and doubles nothing: one row for a key and target, in order, bounded, in one transaction."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection
from tests.support.start import START

from barograph.control import outbox as outbox_module
from barograph.control.audit import AuditLog, write_audit
from barograph.control.database import ControlPlane
from barograph.control.outbox import LONGEST_WAIT, Outbox, OutboxEntry
from barograph.control.tables import JsonObject
from barograph_client.clock import ManualClock


@pytest.fixture
def outbox(plane: ControlPlane) -> Outbox:
    return Outbox(plane)


def entry(key: str, target: str = "team/webhook", group: str = "g", project: str = "p") -> OutboxEntry:
    return OutboxEntry(
        key=key, project=project, group_key=group, receiver="team", target=target, body={"key": key}
    )  # fmt: skip


def audited(connection: Connection) -> None:
    write_audit(connection, time=START, project="p", actor="a", action="step", subject="router", detail={})


class TestPutting:
    def test_a_key_is_one_row_for_each_target_however_often_it_comes(self, outbox: Outbox) -> None:
        assert outbox.put([entry("k"), entry("k"), entry("k", "team/slack")]) == 2
        assert outbox.put([entry("k"), entry("k", "team/email")]) == 1
        assert {(row.key, row.target) for row in outbox.list()} == {
            ("k", "team/webhook"), ("k", "team/slack"), ("k", "team/email"),
        }  # fmt: skip

    def test_a_key_that_was_sent_or_failed_is_known(self, outbox: Outbox) -> None:
        outbox.put([entry("sent"), entry("failed", "team/slack")])
        for target, end in (("team/webhook", outbox.sent), ("team/slack", lambda row: outbox.failed(row, "no"))):
            row = outbox.due(target)
            assert row is not None
            end(row)
        assert outbox.put([entry("sent"), entry("failed", "team/slack")]) == 0
        assert outbox.due_targets() == set()

    def test_the_caller_s_state_is_kept_in_the_same_transaction(self, outbox: Outbox, plane: ControlPlane) -> None:
        outbox.put([entry("k")], audited)
        assert len(AuditLog(plane).list("p")) == 1

    def test_is_undone_when_the_caller_s_state_cannot_be_kept_and_the_other_way_round(
        self, outbox: Outbox, plane: ControlPlane
    ) -> None:
        def failing(connection: Connection) -> None:
            audited(connection)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            outbox.put([entry("k")], failing)
        assert outbox.list() == []
        assert AuditLog(plane).list("p") == []

    def test_many_at_once_are_known_again(self, outbox: Outbox) -> None:
        many = [entry(f"k{i}") for i in range(700)]
        assert outbox.put(many) == 700
        assert outbox.put([*many, entry("one more")]) == 1

    def test_text_that_utf_8_cannot_hold_is_kept(self, outbox: Outbox) -> None:
        body: JsonObject = {"labels": {"a": "\ud800", "b": "\x00"}}
        outbox.put([OutboxEntry(key="k", project="p", group_key="g", receiver="r", target="t", body=body)])
        (row,) = outbox.list()
        assert row.body == body

    def test_what_waits_for_one_target_is_bounded_and_the_oldest_says_that_it_was_given_up(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox_module, "MOST_WAITING", 3)
        outbox.put([entry("other", "team/slack")])
        outbox.put([entry(f"k{i}") for i in range(5)])
        assert [row.key for row in outbox.list("waiting", "team/webhook")] == ["k4", "k3", "k2"]
        told = "given up: 3 later ones of its project wait for this target"
        assert [(row.key, row.last_error) for row in outbox.list("failed")] == [("k1", told), ("k0", told)]
        assert outbox.due_targets() == {"team/webhook", "team/slack"}

    def test_a_storm_of_one_project_pushes_out_none_of_another(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox_module, "MOST_WAITING", 3)
        outbox.put([entry("quiet", project="a")])
        outbox.put([entry(f"k{i}", project="b") for i in range(9)])
        assert [row.key for row in outbox.list("waiting")] == ["k8", "k7", "k6", "quiet"]

    def test_what_waits_for_a_target_is_bounded_over_all_projects_and_the_loudest_gives_up(
        self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox_module, "MOST_OF_ALL", 6)
        outbox.put([entry(f"a{i}", project="a") for i in range(5)])
        outbox.put([entry("b0", project="b")])
        outbox.put([entry(f"c{i}", project="c") for i in range(3)])
        waiting = [row.key for row in reversed(outbox.list("waiting"))]
        assert waiting == ["a3", "a4", "b0", "c0", "c1", "c2"]  # five of a, one of b, three of c
        (first, *_) = outbox.list("failed")
        assert "no project has more there than its own" in first.last_error


class TestTheOrder:
    def keys(self, outbox: Outbox) -> list[str]:
        found = []
        while (row := outbox.due("team/webhook")) is not None:
            found.append(row.key)
            outbox.sent(row)
        return found

    def test_is_that_of_putting(self, outbox: Outbox) -> None:
        outbox.put([entry("a"), entry("b", group="h")])
        outbox.put([entry("c")])
        assert self.keys(outbox) == ["a", "b", "c"]

    def test_within_a_group_is_kept_when_an_attempt_fails(self, outbox: Outbox, clock: ManualClock) -> None:
        outbox.put([entry("a"), entry("b"), entry("c", group="h")])
        row = outbox.due("team/webhook")
        assert row is not None
        outbox.later(row, "away", 60.0)
        assert self.keys(outbox) == ["c"]
        assert outbox.due_targets() == set()
        clock.advance(60.0)
        assert outbox.due_targets() == {"team/webhook"}
        assert self.keys(outbox) == ["a", "b"]

    def test_a_group_that_was_refused_holds_up_nothing(self, outbox: Outbox) -> None:
        outbox.put([entry("a"), entry("b")])
        row = outbox.due("team/webhook")
        assert row is not None
        outbox.failed(row, "no")
        assert self.keys(outbox) == ["b"]

    @pytest.mark.parametrize("hours", [-48, 48])
    def test_a_step_of_the_clock_holds_nothing_up_for_longer_than_the_longest_wait(
        self, outbox: Outbox, clock: ManualClock, hours: int
    ) -> None:
        outbox.put([entry("a")])
        clock.step(hours * 3600)
        assert self.keys(outbox) == ["a"]
        outbox.put([entry("b")])
        clock.step(-LONGEST_WAIT.total_seconds() / 2)
        assert outbox.due_targets() == set()
        clock.advance(LONGEST_WAIT.total_seconds() / 2)
        assert self.keys(outbox) == ["b"]

    @pytest.mark.parametrize("moved", [-1800.0, 1800.0, 86400.0])
    def test_a_step_of_the_clock_that_was_seen_changes_no_wait_and_no_age(
        self, outbox: Outbox, clock: ManualClock, moved: float
    ) -> None:
        outbox.put([entry("a")])
        row = outbox.due("team/webhook")
        assert row is not None
        outbox.later(row, "away", 60.0)
        clock.step(moved)
        outbox.shift(moved)
        clock.advance(59.0)
        assert outbox.due("team/webhook") is None
        clock.advance(1.0)
        again = outbox.due("team/webhook")
        assert again is not None
        assert clock.now() - again.created_at == timedelta(seconds=60)

    def test_no_wait_is_longer_than_the_longest(self, outbox: Outbox, clock: ManualClock) -> None:
        outbox.put([entry("a")])
        row = outbox.due("team/webhook")
        assert row is not None
        outbox.later(row, "come again in a year", 365 * 86400.0)
        clock.advance(LONGEST_WAIT.total_seconds())
        assert self.keys(outbox) == ["a"]


class TestTheEnd:
    def test_is_noted_with_time_attempts_and_error(self, outbox: Outbox, clock: ManualClock) -> None:
        outbox.put([entry("a")])
        row = outbox.due("team/webhook")
        assert row is not None
        outbox.later(row, "away", 1.0)
        clock.advance(5.0)
        outbox.failed(row, "no")
        (ended,) = outbox.list("failed")
        assert (ended.attempts, ended.last_error, ended.created_at) == (2, "no", START)
        assert ended.ended_at == START + timedelta(seconds=5)
        assert outbox.counts() == {"team/webhook": {"failed": 1}}

    def test_what_was_delivered_counts_as_sent_even_if_it_was_given_up_meanwhile(self, outbox: Outbox) -> None:
        outbox.put([entry("a")])
        row = outbox.due("team/webhook")
        assert row is not None
        outbox.failed(row, "given up")
        outbox.sent(row)
        outbox.failed(row, "too late to say so")
        (ended,) = outbox.list()
        assert (ended.state, ended.last_error) == ("sent", "")

    def test_is_forgotten_after_its_time_but_what_waits_is_not(self, outbox: Outbox, clock: ManualClock) -> None:
        outbox.put([entry("old"), entry("waiting", group="h")])
        row = outbox.due("team/webhook")
        assert row is not None
        outbox.sent(row)
        clock.advance(3600.0)
        assert outbox.forget(timedelta(hours=2)) == 0
        assert outbox.forget(timedelta(minutes=30)) == 1
        assert [row.key for row in outbox.list()] == ["waiting"]

    def test_is_forgotten_beyond_a_number(self, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outbox_module, "MOST_ENDED", 2)
        outbox.put([entry(f"k{i}") for i in range(4)])
        while (row := outbox.due("team/webhook")) is not None:
            outbox.sent(row)
        assert outbox.forget(timedelta(days=7)) == 2
        assert [row.key for row in outbox.list()] == ["k3", "k2"]

    def test_what_waits_for_a_target_that_is_gone_is_given_up_and_says_so(self, outbox: Outbox) -> None:
        outbox.put([entry("a"), entry("b", "team/slack")])
        assert outbox.drop_unknown({"team/slack"}) == 1
        assert outbox.drop_unknown({"team/slack"}) == 0
        (row,) = outbox.list("failed", "team/webhook")
        assert row.last_error == "given up: its target is no longer among the receivers"
        assert [row.key for row in outbox.list(key="b")] == ["b"]


class TestWhomMessagesReached:
    def test_is_told_by_group_and_target(self, outbox: Outbox, clock: ManualClock) -> None:
        targets = ("team/a", "team/b", "team/c", "team/d")
        outbox.put([entry("1", target) for target in targets])
        for target in targets[:3]:
            row = outbox.due(target)
            assert row is not None
            outbox.sent(row)
        clock.advance(60)
        outbox.put([entry("2", target) for target in targets])
        row, other = outbox.due("team/b"), outbox.due("team/c")
        assert row is not None
        assert other is not None
        outbox.later(row, "timed out", 30.0)
        outbox.failed(other, "400: no such hook")
        found = {one.target: one for one in outbox.reached(["g", "unknown"])["g"]}
        assert list(found) == sorted(found)
        assert (found["team/a"].state, found["team/a"].delivered_at, found["team/a"].attempts) == ("waiting", START, 0)
        b = found["team/b"]
        assert (b.state, b.attempts, b.next_at, b.error) == (
            "waiting",
            1,
            clock.now() + timedelta(seconds=30),
            "timed out",
        )
        c = found["team/c"]
        assert (c.state, c.delivered_at, c.next_at, c.error) == ("failed", START, None, "400: no such hook")
        assert (found["team/d"].state, found["team/d"].delivered_at) == ("waiting", None)

    def test_of_what_waits_the_oldest_is_told_since_it_goes_first(self, outbox: Outbox) -> None:
        outbox.put([entry("1")])
        row = outbox.due("team/webhook")
        assert row is not None
        outbox.later(row, "away", 30.0)
        outbox.put([entry("2")])
        (one,) = outbox.reached(["g"])["g"]
        assert (one.attempts, one.error) == (1, "away")
