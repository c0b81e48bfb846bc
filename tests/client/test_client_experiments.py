"""A program asks its client for an arm: from the server's definitions, or the last known ones, and never waits."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from client_support import WAIT, Open
from scripted_server import ScriptedServer, until

from barograph_client.client import Client
from barograph_client.experiments import current
from barograph_client.experiments.assignment import Reason
from barograph_client.experiments.sticky import StickyFile
from barograph_client.limits import MAX_VARIANTS

ARMS = [
    {"key": "control", "weight": 0.5, "payload": {"top_k": 5}},
    {"key": "more", "weight": 0.5, "payload": {"top_k": 20, "reranker": "cross-encoder"}},
]
RERANK: dict[str, Any] = {"key": "rerank", "arms": ARMS, "salt": "s", "control": "control"}
USERS = [f"user-{n}" for n in range(50)]


class Retrieval(msgspec.Struct, frozen=True):
    """What a program makes of an arm."""

    top_k: int = 3
    reranker: str = ""


class Strict(msgspec.Struct, frozen=True):
    """What no arm has."""

    model: str


def document(*experiments: dict[str, Any], **changes: Any) -> bytes:
    listed = [{**one, **changes} for one in experiments or (RERANK,)]
    return json.dumps({"project": "default", "experiments": listed}).encode()


@pytest.fixture
def client(server: ScriptedServer, open_client: Open) -> Client:
    """A client that knows the experiment ``rerank``."""
    server.definitions = document()
    made = open_client()
    assert made.experiments.wait(WAIT)
    return made


def arms(client: Client, **more: Any) -> list[str | None]:
    return [client.experiments.assign("rerank", user=user, **more).arm for user in USERS]


class TestAssign:
    def test_tells_arm_payload_and_reason_and_records_nothing(self, server: ScriptedServer, client: Client) -> None:
        decision = client.experiments.assign("rerank", user="user-1")
        assert decision.arm in ("control", "more")
        assert decision.payload == next(one["payload"] for one in ARMS if one["key"] == decision.arm)
        assert (decision.reason, decision.in_experiment, decision.unit_id) == ("assigned", True, "user-1")
        assert set(arms(client)) == {"control", "more"}
        assert client.flush(WAIT)
        assert server.events == {}

    def test_the_payload_has_the_type_of_the_default(self, client: Client) -> None:
        found = {arm: client.experiments.assign("rerank", user=user, default=Retrieval()).payload
                 for user, arm in zip(USERS, arms(client), strict=True)}  # fmt: skip
        assert found == {"control": Retrieval(5), "more": Retrieval(20, "cross-encoder")}
        unknown = client.experiments.assign("nothing", user="u", default=Retrieval())
        assert (unknown.arm, unknown.payload, unknown.reason) == (None, Retrieval(), "unknown experiment")

    def test_a_dictionary_that_is_changed_changes_nothing(self, client: Client) -> None:
        default: dict[str, object] = {}
        client.experiments.assign("rerank", user="u", default=default).payload["top_k"] = 99
        assert client.experiments.assign("rerank", user="u").payload["top_k"] in (5, 20)

    def test_a_payload_that_does_not_fit_is_no_arm_and_is_told(self, server: ScriptedServer, client: Client) -> None:
        decision = client.experiments.expose("rerank", user="u", default=Strict("gpt"))
        assert (decision.arm, decision.payload, decision.reason) == (None, Strict("gpt"), "payload does not fit")
        assert "no Strict" in client.experiments.problem
        assert client.flush(WAIT)
        assert server.events == {}

    @pytest.mark.parametrize("unit", ["x" * 1_000_000, 7])
    def test_an_unusable_id_raises_nothing_and_is_told(self, client: Client, unit: Any) -> None:
        decision = client.experiments.expose("rerank", user=unit)
        assert (decision.arm, decision.reason, decision.payload) == (None, "unusable unit", {"top_k": 5})
        assert "a unit's id" in client.experiments.problem
        assert len(client.experiments.problem) < 400

    def test_the_last_call_that_could_not_be_decided_is_told_whatever_it_lacked(self, client: Client) -> None:
        client.experiments.assign("rerank", user="x" * 1_000_000)
        assert client.experiments.expose("retired", user="u").reason == "unknown experiment"
        assert client.experiments.problem.startswith("retired cannot be decided: no experiment of that key is known")
        assert client.experiments.assign("rerank", session="s").reason == "no unit"
        assert client.experiments.problem.startswith("rerank cannot be decided: the call names no user")
        lists = {"bm25": ["a"], "dense": ["b"]}
        assert client.experiments.interleave("other", lists, user="u", query_id="q").reason == "unknown experiment"
        told = client.experiments.problem
        assert told.startswith("other cannot be decided")
        assert client.experiments.variants_for(session="s") == {}
        assert client.experiments.assign("rerank", user="u").reason == "assigned"
        assert client.experiments.problem == told  # what was decided, and what was not asked for, change nothing

    def test_attributes_that_do_not_want_to_be_compared_raise_nothing(
        self, server: ScriptedServer, open_client: Open
    ) -> None:
        class Hostile(dict[str, object]):
            def get(self, *_: object) -> object:
                raise RuntimeError

        server.definitions = document(condition={"plan.name": "paid"})
        client = open_client()
        assert client.experiments.wait(WAIT)
        decision = client.experiments.assign("rerank", user="u", attributes={"plan": Hostile()})
        assert (decision.arm, decision.reason) == (None, "fault")

    def test_a_forced_arm_needs_neither_server_nor_definition_and_is_not_recorded(
        self, server: ScriptedServer, client: Client
    ) -> None:
        client.experiments.force("rerank", "more")
        client.experiments.force("new", "b")
        assert client.experiments.expose("rerank", user="u").payload["top_k"] == 20
        assert client.experiments.assign("new", user="u", default=Retrieval()).arm == "b"
        assert client.experiments.variants_for(user="u") == {"rerank": "more", "new": "b"}
        client.experiments.force("rerank", None)
        assert client.experiments.assign("rerank", user="u").reason == "assigned"
        assert client.flush(WAIT)
        assert server.events == {}


class TestExpose:
    def test_records_once_and_a_restart_records_the_same_event(
        self, server: ScriptedServer, client: Client, open_client: Open
    ) -> None:
        for _ in range(3):
            arm = client.experiments.expose("rerank", user="u").arm
        assert client.flush(WAIT)
        (event,) = server.events.values()
        assert (event["kind"], event["experiment"], event["arm"]) == ("exposure", "rerank", arm)
        assert (event["unit_id"], event["unit_kind"]) == ("u", "user")
        again = open_client()
        again.experiments.expose("rerank", user="u")
        assert again.flush(WAIT)
        assert (len(server.events), server.doubles) == (1, 1)

    def test_carries_the_attributes_by_which_the_experiment_is_shown_apart(
        self, server: ScriptedServer, open_client: Open
    ) -> None:
        server.definitions = document(slices=["plan", "seats", "new", "country", "tags", "essay"])
        client = open_client()
        assert client.experiments.wait(WAIT)
        told: dict[str, object] = {
            "plan": "paid",
            "seats": 12,
            "new": True,
            "tags": ["a"],
            "essay": "x" * 300,
            "secret": "s",
        }
        told["country"] = 10**5_000
        client.experiments.expose("rerank", user="user-1", attributes=told)
        client.experiments.expose("rerank", user="user-2")
        assert client.flush(WAIT)
        tags = {one["unit_id"]: one.get("tags") for one in server.events.values()}
        assert tags == {"user-1": {"plan": "paid", "seats": "12", "new": "true"}, "user-2": None}

    def test_queries_recorded_afterwards_carry_the_arm(self, server: ScriptedServer, client: Client) -> None:
        client.record_query_execution({"event_id": "before", "user_id": "u"})
        arm = client.experiments.expose("rerank", user="u").arm
        client.record_query_execution({"event_id": "after", "user_id": "u"})
        client.record_query_execution({"event_id": "by another name", "user": "u"})
        client.record_query_execution({"event_id": "somebody else's", "user_id": "v"})
        client.record_query_execution({"event_id": "its own", "user_id": "u", "variants": {"x": "y"}})
        client.record_many([{"event_id": "of many", "user_id": "u"}, b'{"event_id": "a line", "user_id": "u"}'])
        with client.query(event_id="timed", user_id="u"):
            pass
        assert client.flush(WAIT)
        carried = {name: event.get("variants") for name, event in server.events.items() if event["kind"] == "query"}
        tagged = {name: {"rerank": arm} for name in ("after", "by another name", "of many", "a line", "timed")}
        assert carried == {**tagged, "before": None, "somebody else's": None, "its own": {"x": "y"}}

    def test_a_query_carries_the_newest_arms_and_no_more_than_an_event_may(
        self, server: ScriptedServer, client: Client
    ) -> None:
        many = [f"many-{n}" for n in range(70)]
        server.definitions = document(*({**RERANK, "key": key} for key in many))
        until(lambda: len(client.experiments.keys) == len(many))
        for key in many:
            client.experiments.expose(key, user="u")
        client.record_query_execution({"event_id": "asked", "user_id": "u"})
        assert client.flush(WAIT)
        assert list(server.events["asked"]["variants"]) == many[-MAX_VARIANTS:]

    def test_half_a_character_is_refused_on_its_way_and_counted(self, client: Client) -> None:
        assert client.experiments.expose("rerank", user="u\ud800").arm is not None
        assert client.flush(WAIT)
        assert client.counts.rejected == 1
        assert "surrogate" in client.rejections[-1].reason


class TestDefinitions:
    def test_are_asked_for_only_by_a_program_that_uses_them(self, server: ScriptedServer, open_client: Open) -> None:
        client = open_client()
        client.record("x", 1)
        assert client.flush(WAIT)
        assert server.asked == []

    def test_changed_ones_are_used_without_a_restart_and_cost_nothing_unchanged(
        self, server: ScriptedServer, client: Client
    ) -> None:
        before = arms(client)
        until(lambda: len(server.asked) > 3)
        assert all("If-None-Match" in one.headers for one in server.asked[1:])
        assert arms(client) == before
        server.definitions = document(state="stopped")
        until(lambda: client.experiments.assign("rerank", user="u").reason == "not running")
        assert client.experiments.assign("rerank", user="u").payload == {"top_k": 5}
        server.definitions = document()
        until(lambda: arms(client) == before)

    def test_key_and_project_are_sent(self, server: ScriptedServer, open_client: Open) -> None:
        client = open_client(key="secret", project="shop")
        assert client.experiments.wait(WAIT)
        assert server.asked[0].headers["Authorization"] == "Bearer secret"
        assert server.asked[0].headers["Barograph-Project"] == "shop"

    def test_one_that_this_version_cannot_read_hides_no_other(self, server: ScriptedServer, open_client: Open) -> None:
        server.definitions = document(RERANK, {**RERANK, "key": "newer", "hash_version": "barograph-9"})
        client = open_client()
        assert client.experiments.wait(WAIT)
        assert client.experiments.keys == ["rerank"]
        assert "barograph-9" in client.experiments.problem

    @pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"experiments": 7}', b"\xff"])
    def test_an_answer_of_something_else_changes_nothing(
        self, server: ScriptedServer, client: Client, answer: bytes
    ) -> None:
        before = arms(client)
        server.definitions = answer
        until(lambda: "not as a Barograph server" in client.experiments.problem)
        assert arms(client) == before


class TestServerAway:
    def test_nothing_waits_and_nothing_is_in_an_experiment_before_the_first_answer(
        self, server: ScriptedServer, open_client: Open
    ) -> None:
        server.stop()
        client = open_client()
        decision = client.experiments.expose("rerank", user="u", default=Retrieval())
        assert (decision.arm, decision.payload) == (None, Retrieval())
        until(lambda: "cannot be reached" in client.experiments.problem)
        server.definitions = document()
        server.start()
        assert client.experiments.wait(WAIT)
        assert client.experiments.assign("rerank", user="u").arm is not None

    def test_the_last_known_ones_are_used_after_a_restart(
        self, server: ScriptedServer, client: Client, open_client: Open
    ) -> None:
        before = arms(client)
        server.stop()
        again = open_client()
        assert arms(again) == before
        assert again.experiments.expose("rerank", user="u").in_experiment
        assert not again.experiments.wait(0.0)

    def test_while_it_refuses_the_last_known_ones_are_used_and_the_reason_is_told(
        self, server: ScriptedServer, client: Client
    ) -> None:
        before = arms(client)
        server.definitions_status = 403
        until(lambda: "key of scope ingest" in client.experiments.problem)
        assert arms(client) == before

    def test_the_file_is_whole_private_and_bounded(
        self, server: ScriptedServer, client: Client, open_client: Open, tmp_path: Path
    ) -> None:
        (path,) = (tmp_path / "spool").glob("experiments-*.json")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not list((tmp_path / "spool").glob("experiments-*.json.*"))
        server.stop()
        content = path.read_bytes()
        for damaged in (b"", content[: len(content) // 2], b"\0" * 100, b" " * (current.MOST_BYTES + 1)):
            path.write_bytes(damaged)
            assert open_client().experiments.keys == []
        path.write_bytes(content)
        assert open_client().experiments.keys == ["rerank"]

    def test_a_folder_that_cannot_be_written_is_told_and_harms_nothing(
        self, server: ScriptedServer, open_client: Open, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("no folder")
        server.definitions = document(sticky=True)
        client = open_client(spool=tmp_path / "file")
        assert client.experiments.wait(WAIT)
        assert None not in arms(client)
        assert "cannot be kept" in client.experiments.problem


class TestStickyBuckets:
    def test_survive_a_restart_and_a_change_of_weights(
        self, server: ScriptedServer, open_client: Open, tmp_path: Path
    ) -> None:
        server.definitions = document(sticky=True)
        first = open_client()
        assert first.experiments.wait(WAIT)
        before = arms(first)
        first.close()
        others = [{**ARMS[0], "weight": 0.0}, {**ARMS[1], "weight": 1.0}]
        server.definitions = document(sticky=True, arms=others)
        again = open_client()
        assert again.experiments.wait(WAIT)
        assert arms(again) == before
        assert {again.experiments.assign("rerank", user=f"new-{n}").arm for n in range(20)} == {"more"}
        (path,) = (tmp_path / "spool").glob("sticky-*.db")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_of_processes_at_the_same_time_the_first_decides(self, tmp_path: Path) -> None:
        one, other = StickyFile(tmp_path / "sticky.db"), StickyFile(tmp_path / "sticky.db")
        assert one.of("user", "u") == other.of("user", "u") == {}
        assert one.keep("user", "u", "e__0", "a") == "a"
        assert other.keep("user", "u", "e__0", "b") == "a"
        assert other.of("user", "u") == {"e__0": "a"}
        one.close()
        other.close()


class TestProcesses:
    def test_a_fork_goes_on_by_itself(self, server: ScriptedServer, client: Client) -> None:
        before = arms(client)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                known = arms(client) == before
                looked = client.experiments.wait(10.0)
                client.experiments.expose("rerank", user="child")
                status = 0 if known and looked and client.flush(10.0) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [event["unit_id"] for event in server.events.values()] == ["child"]

    def test_a_program_without_experiments_loads_none_of_it(self) -> None:
        program = "import sys; from barograph_client import Client; Client(spool=False).close(); print(*sys.modules)"
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert not [name for name in told.stdout.split() if name.startswith("barograph_client.experiments")]

    def test_closing_ends_the_thread_and_arms_are_told_as_before(self, client: Client) -> None:
        before = arms(client)
        client.close()
        assert "barograph-experiments" not in {thread.name for thread in threading.enumerate()}
        assert arms(client) == before


def test_the_page_s_program_runs_and_its_table_has_every_reason(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    section = page.partition("\n## Assignment\n")[2].partition("\n## ")[0]
    (program,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    server.definitions = document(condition={"plan": "paid"})
    monkeypatch.setenv("BAROGRAPH_URL", server.url)
    monkeypatch.setenv("BAROGRAPH_SPOOL", "off")
    server.definitions_status = 503
    names: dict[str, Any] = {"__name__": "page"}
    exec(program, names)
    server.definitions_status = 200
    client: Client = names["client"]
    assert names["settings"] == names["Retrieval"]()  # nothing was known yet
    assert client.experiments.wait(WAIT)
    exec(program.partition("client = Client()")[2], names)
    assert client.flush(WAIT)
    client.close()
    kinds = [event["kind"] for event in server.events.values()]
    assert kinds == ["query", "exposure", "query"]
    assert names["decision"].arm is not None
    reasons = re.findall(r"^\| (`[^|]*) \|", page.partition("| `reason` |")[2].partition("\n\n")[0], re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", " ".join(reasons))) == set(get_args(Reason))
