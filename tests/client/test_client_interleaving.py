"""A program interleaves its rankers for the units of an experiment, and records which of them readers prefer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_support import WAIT, Open
from scripted_server import ScriptedServer

from barograph_client.client import Client
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.definition import INTERLEAVED, Definition

RANKERS: dict[str, Any] = {
    "key": "ranking", "kind": "interleaving", "salt": "s", "control": "bm25",
    "arms": [{"key": "bm25", "weight": 0.5, "payload": {"k": 1}}, {"key": "dense", "weight": 0.5, "payload": {"k": 2}}],
}  # fmt: skip
BM25, DENSE = [{"id": name} for name in "abc"], [{"id": name} for name in "xyz"]
LISTS: Mapping[str, list[dict[str, str]]] = {"bm25": BM25, "dense": DENSE}


@pytest.fixture
def client(server: ScriptedServer, open_client: Open) -> Client:
    return knowing(server, open_client)


def knowing(server: ScriptedServer, open_client: Open, **changes: Any) -> Client:
    """A client that knows the experiment, with these fields of its own."""
    server.definitions = json.dumps({"project": "default", "experiments": [{**RANKERS, **changes}]}).encode()
    client = open_client()
    assert client.experiments.wait(WAIT)
    return client


def events(server: ScriptedServer, client: Client, kind: str) -> list[dict[str, Any]]:
    assert client.flush(WAIT)
    return [event for event in server.events.values() if event["kind"] == kind]


def test_the_same_query_shows_the_same_list_and_the_unit_is_exposed_once(
    server: ScriptedServer, client: Client
) -> None:
    shown = [client.experiments.interleave("ranking", LISTS, user="u", query_id="q1", length=4) for _ in range(2)]
    client.experiments.interleave("ranking", LISTS, user="u", query_id="q2")
    assert shown[0].interleaved
    assert shown[0].items == shown[1].items
    assert sorted(shown[0].teams.values()) == ["bm25", "bm25", "dense", "dense"]
    (exposure,) = events(server, client, "exposure")
    assert (exposure["arm"], exposure["unit_id"]) == (INTERLEAVED, "u")
    client.record_query_execution({"user_id": "u"})
    assert events(server, client, "query")[0]["variants"] == {"ranking": INTERLEAVED}


def test_the_first_credit_of_a_query_is_a_score_of_its_user_and_later_ones_are_told_only(
    server: ScriptedServer, client: Client, open_client: Open
) -> None:
    outcome = client.experiments.interleave("ranking", LISTS, user="u", query_id="q1", length=6)
    assert outcome.clicked("x") == {"dense": 1.0}
    assert outcome.rated({"a": 5, "x": 3}) == pytest.approx({"dense": -1 / 3})
    (score,) = events(server, client, "score")
    expected = {"name": "preference.ranking.dense", "value": 1.0, "trace_id": "q1", "user_id": "u", "judge": "clicks"}
    assert expected.items() <= score.items()
    again = open_client()
    assert again.experiments.wait(WAIT)
    again.experiments.interleave("ranking", LISTS, user="u", query_id="q1").cited("a")
    again.experiments.interleave("ranking", LISTS, user="u", query_id="q1").cited(["a"])
    assert len(events(server, again, "score")) == 1  # the same event, of which the first counts
    assert "ids come in a list" in again.experiments.problem


def test_units_that_no_field_is_for_are_named_by_a_tag(server: ScriptedServer, open_client: Open) -> None:
    client = knowing(server, open_client, unit_kind="tenant")
    client.experiments.interleave("ranking", LISTS, tenant="t", query_id="q1").clicked("x")
    (score,) = events(server, client, "score")
    assert score["tags"] == {"tenant": "t"}
    assert "user_id" not in score


def test_citations_come_from_the_querys_documents(client: Client) -> None:
    outcome = client.experiments.interleave("ranking", LISTS, user="u", query_id="q1", length=6)
    documents = [{**one, "cited": one["id"] in ("a", "b", "x")} for one in outcome.items]
    assert outcome.cited(documents) == pytest.approx({"dense": -1 / 3})


def test_a_click_may_come_in_another_process(server: ScriptedServer, client: Client, open_client: Open) -> None:
    saved = client.experiments.interleave("ranking", LISTS, user="u", query_id="q1", length=6).saved()
    server.events.clear()
    other = open_client()
    assert other.experiments.outcome(saved).clicked("x") == {"dense": 1.0}
    assert [one["value"] for one in events(server, other, "score")] == [1.0]
    assert other.experiments.outcome("{}").clicked("x") == {}
    assert "cannot be read" in other.experiments.problem


@pytest.mark.parametrize(
    ("changes", "unit", "reason"),
    [
        ({"coverage": 0.0}, {"user": "u"}, "not covered"),
        ({"condition": {"plan": "paid"}}, {"user": "u"}, "not targeted"),
        ({"state": "stopped"}, {"user": "u"}, "not running"),
        ({"key": "another"}, {"user": "u"}, "unknown experiment"),
        ({}, {"session": "s"}, "no unit"),
    ],
)
def test_outside_of_the_experiment_the_controls_list_comes_back_as_it_is(
    server: ScriptedServer, open_client: Open, changes: dict[str, Any], unit: dict[str, str], reason: str
) -> None:
    client = knowing(server, open_client, **changes)
    outcome = client.experiments.interleave("ranking", LISTS, query_id="q", length=1, **unit)
    assert (list(outcome.items), outcome.reason, outcome.interleaved) == (BM25, reason, False)
    assert outcome.clicked("x") == outcome.teams == {}
    assert outcome.saved() == ""
    assert client.flush(WAIT)
    assert server.events == {}


def test_a_forced_ranker_shows_its_own_list_and_nothing_is_recorded(server: ScriptedServer, client: Client) -> None:
    client.experiments.force("ranking", "dense")
    assert list(client.experiments.interleave("ranking", LISTS, user="u", query_id="q").items) == DENSE
    client.experiments.force("ranking", INTERLEAVED)
    assert client.experiments.interleave("ranking", LISTS, user="u", query_id="q", length=6).clicked("x")
    assert client.flush(WAIT)
    assert server.events == {}


@pytest.mark.parametrize(
    ("changes", "lists", "query_id", "says"),
    [
        ({"kind": "arms"}, LISTS, "q", "compares arms and not rankers"),
        ({}, {"bm25": BM25}, "q", "a ranker has no list"),
        ({}, {"bm25": [object()], "dense": DENSE}, "q", "a passage has no id"),
        ({}, LISTS, "", "the query has no id"),
        ({}, LISTS, "q\ud800", "UnicodeEncodeError"),
    ],
)
def test_what_cannot_be_interleaved_is_the_controls_list_and_is_told(
    server: ScriptedServer, open_client: Open, changes: dict[str, Any], lists: Any, query_id: str, says: str
) -> None:
    client = knowing(server, open_client, **changes)
    outcome = client.experiments.interleave("ranking", lists, user="u", query_id=query_id)
    assert (list(outcome.items), outcome.reason) == (list(lists["bm25"]), "fault")
    assert says in client.experiments.problem
    assert client.flush(WAIT)
    assert server.events == {}


def test_whoever_asks_for_an_arm_is_told_that_all_rankers_are_shown() -> None:
    assigner = Assigner(msgspec.convert(RANKERS, Definition))
    decision = assigner.decide({"user": "u"})
    assert (decision.arm, decision.payload) == (INTERLEAVED, {"k": 1})
    assert assigner.payload_of(INTERLEAVED) == {"k": 1}
    forced = Assigner(msgspec.convert({**RANKERS, "forced": {"u": "dense"}}, Definition)).decide({"user": "u"})
    assert (forced.arm, forced.payload, forced.counted) == ("dense", {"k": 2}, False)


def test_the_pages_program_runs(server: ScriptedServer, open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    section = page.partition("\n## Interleaving\n")[2].partition("\n## ")[0]
    definition, program = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    exec(definition, names)
    assert names["experiment"].kind == RANKERS["kind"]
    known = knowing(server, open_client)
    monkeypatch.setattr("barograph_client.Client", lambda: known)
    exec(program, names)
    assert names["passages"].interleaved
    assert len(names["passages"].items) == 3
    (score,) = events(server, known, "score")
    assert score["value"] == -1
    (query,) = events(server, known, "query")
    assert (query["variants"], query["trace_id"]) == ({"ranking": INTERLEAVED}, score["trace_id"])
