"""Experiments over HTTP: their life, what is told of them, and that programs then decide as the server does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs, to_builtins
from tests.server.access_support import control, make_key
from tests.support.serving import Reply, Serving

from barograph.control.experiments import ExperimentRepository
from barograph.control.keys import KeyRepository
from barograph.core.metric import Catalogue
from barograph.experiments.assignment import definition_of
from barograph.experiments.design import Experiment, State, Variant, validated
from barograph.server.problems import problem_of
from barograph_client import Client
from barograph_client.errors import ChangedMeanwhile
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.definition import Namespace

API = "/api/v1/experiments"
PATH = f"{API}/definitions"
RERANK = validated(
    Experiment(
        key="rerank",
        variants=(Variant(key="control", weight=0.5), Variant(key="more", weight=0.5, payload={"top_k": 20})),
        primary_metric="satisfaction",
        condition={"plan": {"$in": ["paid"]}},
        namespace=Namespace(name="retrieval", end=0.7),
        coverage=0.8,
        holdout=0.1,
    ),
    Catalogue(),
)


class Site:
    """A server, and its experiments as its command line would change them."""

    def __init__(self, server: Serving) -> None:
        self.server = server
        self.key = make_key(server.directory, "ingest")
        self.reader = make_key(server.directory, "read")
        self.admin = make_key(server.directory, "admin")

    def ask(self, **headers: str) -> Reply:
        return self.server.ask(PATH, headers={name.replace("_", "-"): value for name, value in headers.items()},
                               key=self.key)  # fmt: skip

    def api(
        self, path: str = "", body: object = None, *, key: str = "", method: str | None = None, **headers: str
    ) -> Reply:
        """A request under ``/api/v1/experiments`` with the admin key, or another one."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.ask(f"{API}{path}", body, named, key=key or self.admin, method=method)

    def exposures(self, experiment: str) -> list[str]:
        """The units that were exposed to it."""
        where = f"kind=exposure&fresh=true&limit=1000&where=experiment:eq:{experiment}"
        page = self.server.ask(f"/api/v1/events?{where}", key=self.admin).json
        return sorted(one["unit_id"] for one in page["items"])

    def keep(self, key: str, state: State) -> None:
        definition = to_builtins(structs.replace(RERANK, key=key))
        with control(self.server.directory) as plane:
            ExperimentRepository(plane).create("default", key, definition, state, actor="test")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Serving(tmp_path_factory.mktemp("experiments") / "data", toml="default_rules = false\n") as running:
        made = Site(running)
        states: tuple[State, ...] = ("draft", "running", "paused", "stopped", "archived")
        for state in states:
            made.keep(state, state)
        yield made


def test_those_that_run_rest_or_were_stopped_are_told_and_nothing_of_goals(site: Site) -> None:
    told: dict[str, Any] = site.ask().json
    assert told["project"] == "default"
    assert {one["key"]: one.get("state", "running") for one in told["experiments"]} == {
        state: state for state in ("running", "paused", "stopped")
    }
    assert "satisfaction" not in site.ask().body.decode()


def test_what_has_not_changed_is_not_sent_again(site: Site) -> None:
    first = site.ask()
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = site.ask(If_None_Match=known)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    site.keep("another", "running")
    changed = site.ask(If_None_Match=etag)
    assert (changed.status, changed.headers["etag"] == etag) == (200, False)


def test_a_client_decides_as_the_server_would(site: Site, tmp_path: Path) -> None:
    with Client(site.server.url, site.key, spool=tmp_path / "spool", environment={}) as client:
        assert client.experiments.wait(30)
        assigner = Assigner(definition_of(structs.replace(RERANK, key="running", state="running")))
        reasons = set()
        for unit in (f"user-{n}" for n in range(300)):
            ours = client.experiments.assign("running", user=unit, attributes={"plan": "paid"})
            theirs = assigner.decide({"user": unit}, {"plan": "paid"})
            assert (ours.arm, ours.reason, dict(ours.payload)) == (theirs.arm, theirs.reason, dict(theirs.payload))
            reasons.add(ours.reason)
        assert reasons == {"assigned", "not covered", "another namespace", "held out"}
        assert client.experiments.expose("running", user="user-1", attributes={"plan": "free"}).arm is None


def definition(key: str, **more: object) -> dict[str, Any]:
    arms = [{"key": "plain", "weight": 0.5}, {"key": "reranked", "weight": 0.5, "payload": {"top_k": 20}}]
    return {"key": key, "variants": arms, "primary_metric": "satisfaction", "planned_days": 14, **more}


def visits(means: dict[str, float], units: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Exposures to ``adaptive``, and then a query of each unit that took about the mean of its arm."""
    who = [(f"{arm}-{n}", arm, n) for n in range(units) for arm in means]
    of = {"kind": "exposure", "experiment": "adaptive", "unit_kind": "user"}
    exposures = [{**of, "arm": arm, "unit_id": unit} for unit, arm, _ in who]
    return exposures, [
        {"query": "?", "user_id": unit, "response_time": means[arm] + n % 5 / 10} for unit, arm, n in who
    ]


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels - 1):
        made = {"in": made}
    return made


class TestLife:
    def test_from_draft_to_archive_with_everybody_who_did_something_named(self, site: Site) -> None:
        made = site.api(body=definition("life", coverage=0.5))
        assert (made.status, made.json["state"], made.json["control"]) == (200, "draft", "plain"), made.body
        assert site.api("/life").json == made.json
        assert "life" in [one["key"] for one in site.api().json["experiments"]]
        for move, state in (("start", "running"), ("pause", "paused"), ("start", "running")):
            assert site.api(f"/life/{move}", method="POST").json["state"] == state
        revised = site.api("/life", {**made.json, "state": "running", "coverage": 0.8}, method="PUT")
        assert revised.status == 400  # started_at was repeated as it was, and is not any more
        assert revised.json["field"] == "started_at"
        now = site.api("/life").json
        assert site.api("/life", {**now, "coverage": 0.8}, method="PUT").json == {**now, "coverage": 0.8}
        stopped = site.api("/life/stop", {"reason": "it is enough"}).json
        assert (stopped["state"], stopped["stop_reason"]) == ("stopped", "it is enough")
        assert site.api("/life/archive", method="POST").json["state"] == "archived"
        entries = site.api("/life/history").json["entries"]
        for limit, more in ((7, False), (6, True)):
            assert site.api(f"/life/history?limit={limit}").json == {"entries": entries[:limit], "more": more}
        assert [one["action"] for one in entries] == [
            "archive", "stop", "revise", "start", "pause", "start", "create",
        ]  # fmt: skip
        with control(site.server.directory) as plane:
            known = KeyRepository(plane).find(site.admin)
        assert known is not None
        assert {one["actor"] for one in entries} == {f"key {known.id}"}
        assert entries[2]["detail"]["changed"] == {"coverage": {"from": 0.5, "to": 0.8}}

    def test_a_change_of_what_somebody_else_changed_is_refused(self, site: Site) -> None:
        seen = site.api(body=definition("seen")).headers["etag"]
        assert site.api("/seen", key=site.reader, If_None_Match=seen).status == 304
        wanted = definition("seen", title="Mine")
        changed = site.api("/seen", wanted, method="PUT", If_Match=seen)
        assert changed.status == 200
        for path, method, body in (("/seen", "PUT", wanted), ("/seen/start", "POST", None), ("/seen/stop", "POST", {})):
            refused = site.api(path, body, method=method, If_Match=seen)
            assert (refused.status, refused.json["type"]) == (412, "urn:barograph:problem:changed-meanwhile")
        assert site.api("/seen").json == changed.json
        etag = changed.headers["etag"]
        with ThreadPoolExecutor(8) as together:  # what all of them have seen
            titles = [definition("seen", title=f"{n}") for n in range(8)]
            replies = list(together.map(lambda body: site.api("/seen", body, method="PUT", If_Match=etag), titles))
        assert sorted(one.status for one in replies) == [200, *[412] * 7]
        (won,) = (one for one in replies if one.status == 200)
        assert site.api("/seen/start", method="POST", If_Match=won.headers["etag"]).status == 200

    def test_of_two_changes_at_the_same_moment_the_second_is_a_conflict(self) -> None:
        problem = problem_of(ChangedMeanwhile("somebody else was first", hint="Read it again."))
        assert (problem.status, problem.kind, problem.retry_after) == (409, "changed-meanwhile", None)

    def test_what_is_wrong_is_told_by_its_field_with_a_way_out(self, site: Site) -> None:
        arms = [{"key": "a", "weight": 0.5}, {"key": "b", "wieght": 0.5}]
        uneven = [{"key": "a", "weight": 0.5}, {"key": "b", "weight": 0.4}]
        for more, field, hint in (
            ({"variants": arms}, "variants[1].wieght", "weight"),
            ({"variants": uneven}, "variants", "shares"),
            ({"variants": []}, "variants", "control"),
            ({"primary_metric": "satisfacton"}, "primary_metric", "satisfaction"),
            ({"primary_metric": "response_time.p95"}, "primary_metric", "response_time.mean"),
            ({"guardrails": [{"metric": "cost", "margin": 1, "auto": True}]}, "guardrails[0].auto", "auto_stop"),
            ({"guardrails": [{"metric": "no_such", "margin": 0.1}]}, "guardrails", ""),
            ({"coverage": 2}, "coverage", ""), ({"alpha": "small"}, "alpha", ""), ({"alpha": 0.9}, "alpha", ""),
            ({"condition": {"plan": {"$like": "x"}}}, "condition", "operators"),
            ({"control": "c"}, "control", "plain"), ({"plan": 1}, "plan", ""),
            ({"state": "running"}, "state", "start"), ({"stop_reason": "x"}, "stop_reason", "Leave it out"),
            ({"project": "other"}, "project", "key"), ({"key": "a/b"}, "key", "slashes"), ({"key": "plan"}, "key", ""),
            ({"key": ""}, "key", "name"), ({"better": "up"}, "better", ""),
        ):  # fmt: skip
            reply = site.api(body={**definition("wrong"), **more})
            assert (reply.status, reply.json.get("field")) == (400, field), (more, reply.body)
            assert hint in reply.json["hint"], (more, reply.body)
        missing = site.api(body={"key": "wrong", "primary_metric": "satisfaction"})
        assert (missing.json["field"], missing.json["detail"]) == ("variants", "variants: is missing")
        assert site.api(body=[1]).status == 400
        assert site.api(body=b"{").json["type"] == "urn:barograph:problem:invalid-json"
        assert site.api("/wrong").status == 404

    def test_what_cannot_be_done_now_is_told_with_what_can(self, site: Site) -> None:
        assert site.api(body=definition("moves")).status == 200
        assert "exists already" in site.api(body=definition("moves")).json["detail"]
        assert site.api("/moves", definition("other"), method="PUT").json["field"] == "key"
        assert "running" in site.api("/moves/stop", {}).json["hint"]
        assert "not started" in site.api("/moves/comparison").json["detail"]
        assert site.api("/moves/start", method="POST").status == 200
        frozen = site.api("/moves", definition("moves", alpha=0.1), method="PUT").json
        assert (frozen["field"], frozen["hint"]) == ("alpha", "Stop it and start another one, under another key.")
        assert site.api("/moves/stop", {"reson": "x"}).json["field"] == "reson"
        whole = site.api("/moves/stop", ["x"])
        assert (whole.status, "field" in whole.json) == (400, False), whole.body  # no part of it is at fault

    def test_a_definition_may_be_large_and_not_boundless(self, site: Site) -> None:
        large = [{"key": f"arm-{n}", "weight": 0.1, "payload": {"prompt": "x" * 60_000}} for n in range(10)]
        assert site.api(body=definition("large", variants=large)).status == 200
        reply = site.api(body=definition("larger", hypothesis="x" * 2**22))
        assert (reply.status, reply.json["type"]) == (413, "urn:barograph:problem:too-large")
        assert site.api("/large/stop", {"reason": "x" * 5_000}).json["field"] == "reason"
        for field, deep in (("variants", nested(300)), ("variants", nested(65)), ("groups", [nested(300)])):
            arms = [{"key": "a", "weight": 0.5, "payload": deep}, {"key": "b", "weight": 0.5}]
            more = {"groups": {"some": deep}} if field == "groups" else {"variants": arms}
            refused = site.api(body=definition("deep", **more))
            assert (refused.status, refused.json.get("field")) == (400, field), refused.body
        arms = [{"key": "a", "weight": 0.5, "payload": nested(64)}, {"key": "b", "weight": 0.5}]
        assert site.api(body=definition("deep", variants=arms)).status == 200

    def test_nothing_of_it_is_there_without_an_experiment_or_the_right_key(self, site: Site) -> None:
        assert site.api(body=definition("scoped")).status == 200
        for method, path, body, scope in (
            ("GET", "", None, "read"), ("GET", "/{}", None, "read"), ("PUT", "/{}", definition("nobody"), "admin"),
            ("POST", "/{}/start", None, "admin"), ("POST", "/{}/pause", None, "admin"),
            ("POST", "/{}/stop", {}, "admin"), ("POST", "/{}/archive", None, "admin"),
            ("GET", "/{}/comparison", None, "read"), ("GET", "/{}/details", None, "read"),
            ("GET", "/{}/examples", None, "read"),
            ("GET", "/{}/history", None, "read"), ("GET", "/{}/assignment?user=u1", None, "read"),
            ("POST", "/{}/expose", {"units": {"user": "u1"}}, "ingest"),
        ):  # fmt: skip
            if path:
                nobody = site.api(path.format("nobody"), body, method=method)
                assert (nobody.status, nobody.json["type"]) == (404, "urn:barograph:problem:unknown-experiment")
            for key, scopes in ((site.key, ("ingest",)), (site.reader, ("read",))):
                allowed = site.api(path.format("scoped"), body, method=method, key=key).status != 403
                assert allowed == (scope in scopes), (method, path)


class TestUnits:
    def test_a_preview_tells_the_arm_and_why_and_leaves_nothing_behind(self, site: Site) -> None:
        paid = {"plan": "paid"}
        assert site.api(body=definition("shown", condition=paid, sticky=True)).status == 200
        asked = "/shown/assignment?user=u1&attributes=%7B%22plan%22:%22paid%22%7D"
        draft = site.api(asked, key=site.reader).json
        assert (draft["arm"] is not None, draft["reason"], draft["in_effect"]) == (True, "assigned", False)
        assert draft["payload"] == ({"top_k": 20} if draft["arm"] == "reranked" else {})
        free = site.api("/shown/assignment?user=u1").json
        assert (free["arm"], free["reason"], free["payload"]) == (None, "not targeted", {})
        assert site.api("/shown/start", method="POST").status == 200
        for _ in range(2):  # what was kept would be sticky
            now = site.api(asked).json
            assert (now["arm"], now["reason"], now["in_effect"]) == (draft["arm"], "assigned", True)
        assert site.exposures("shown") == []
        for wrong, field in (("", "user"), ("?session=s1", "user"), ("?user=u1&attributes=1", "attributes"),
                             (f"?user={'u' * 300}", "user")):  # fmt: skip
            reply = site.api(f"/shown/assignment{wrong}")
            assert (reply.status, reply.json["field"]) == (400, field)
            assert reply.json["hint"]

    def test_who_is_exposed_is_counted_once_and_compared(self, site: Site) -> None:
        assert site.api(body=definition("counted", forced={"me": "plain"}, slices=["plan"])).status == 200
        early = site.api("/counted/expose", {"units": {"user": "u0"}}, key=site.key).json
        assert (early["reason"], early["exposed"], early["arm"]) == ("not running", False, None)
        assert site.api("/counted/start", method="POST").status == 200
        arms = {}
        for n in [*range(12), *range(12)]:
            body = {"units": {"user": f"u{n}"}, "attributes": {"plan": "paid" if n % 2 else "free"}}
            found = site.api("/counted/expose", body, key=site.key).json
            assert (found["exposed"], found["in_effect"]) == (True, True)
            arms[f"u{n}"] = found["arm"]
        forced = site.api("/counted/expose", {"units": {"user": "me"}}, key=site.key).json
        assert (forced["arm"], forced["exposed"]) == ("plain", False)
        assert site.exposures("counted") == sorted(arms)
        compared = site.api("/counted/comparison?fresh=true", key=site.reader)
        told = compared.json
        assert told["units"] == {arm: list(arms.values()).count(arm) for arm in ("plain", "reranked")}
        assert (told["verdict"]["finding"], told["state"]) == ("not settled", "running")
        more = site.api("/counted/details?fresh=true", key=site.reader)
        assert {one["arm"]: one["units"] for one in more.json["arms"]} == told["units"]
        (by_plan,) = [one for one in more.json["courses"] if one["by"] == "plan"]
        assert {one["label"] for one in by_plan["steps"]} == {"paid", "free"}
        read = site.api("/counted/examples?fresh=true", key=site.reader)
        assert (read.json["questions"], read.json["metric"]) == ([], "satisfaction")
        assert read.json["sentence"] == "No user has asked anything since the exposure."
        for body in (compared.body, more.body):
            assert b"Infinity" not in body
            assert b"NaN" not in body

    def test_an_exposure_needs_an_id_that_can_be_used(self, site: Site) -> None:
        assert site.api(body=definition("ids")).status == 200
        for body, field in (
            ({"units": {}}, "user"), ({"units": {"session": "s1"}}, "user"), ({"units": {"user": 1}}, "units.user"),
            ({"units": {"user": "u" * 300}}, "units.user"), ({"user": "u1"}, "user"), ({}, "units"),
            ({"units": {"user": "u1"}, "attributes": []}, "attributes"),
        ):  # fmt: skip
            reply = site.api("/ids/expose", body)
            assert (reply.status, reply.json["field"]) == (400, field), reply.body


class TestReallocation:
    def test_what_is_likely_the_best_gets_the_most_once_for_whoever_saw_it_as_it_was(self, site: Site) -> None:
        arms = [{"key": key, "weight": 0.5} for key in ("slow", "quick")]
        body = definition("adaptive", variants=arms, primary_metric="response_time.mean", sticky=True)
        assert site.api(body=body).status == 200
        draft = site.api("/adaptive/reallocate", {})
        assert (draft.status, draft.json["hint"]) == (400, "Start it first.")
        seen = site.api("/adaptive/start", method="POST").headers["etag"]
        few = site.api("/adaptive/reallocate", {})
        assert (few.status, few.json["type"]) == (400, "urn:barograph:problem:invalid-experiment")
        assert "each arm has 30" in few.json["hint"]
        exposures, queries = visits({"slow": 5.0, "quick": 4.5}, 40)
        for events in (exposures, queries):
            assert site.server.ask("/api/v1/events", events, key=site.key).json["stored"] == 80
        path = "/adaptive/reallocate?fresh=true"
        assert site.api(path, {"exploration": 0.1}, key=site.reader, If_Match=seen).status == 403
        done = site.api(path, {"exploration": 0.1}, If_Match=seen)
        assert (done.status, done.json["before"]) == (200, {"slow": 0.5, "quick": 0.5}), done.body
        assert done.json["chances"]["quick"] > 0.99
        now = site.api("/adaptive")
        assert (now.json, now.headers["etag"]) == (done.json["experiment"], done.headers["etag"])
        assert [one["weight"] for one in now.json["variants"]] == [0.1, 0.9]
        again = site.api(path, {"exploration": 0.1}, If_Match=seen)  # as who never got the answer
        assert (again.status, again.json["type"]) == (412, "urn:barograph:problem:changed-meanwhile")
        newest = site.api("/adaptive/history").json["entries"][0]
        assert (newest["action"], newest["actor"].startswith("key ")) == ("reallocate", True)
        assert newest["detail"]["chances"] == done.json["chances"]
        assert newest["detail"]["changed"].keys() == {"variants"}

    def test_a_floor_that_cannot_be_is_refused_by_its_field(self, site: Site) -> None:
        assert site.api(body=definition("floor", sticky=True)).status == 200
        assert site.api("/floor/start", method="POST").status == 200
        for exploration in (0, 0.6, -1e300, "much", None):
            reply = site.api("/floor/reallocate", {"exploration": exploration})
            assert (reply.status, reply.json["field"]) == (400, "exploration")
            assert reply.json["hint"]
        assert site.api("/floor/reallocate", {"least": 0.1}).json["field"] == "least"


class TestAnotherProcess:
    def test_what_it_starts_and_stops_is_heeded_by_the_running_server(self, site: Site) -> None:
        def told() -> tuple[str, str, str, str]:
            """What programs, providers, the list and who exposes are told of it."""
            served = {one["key"]: one.get("state", "running") for one in site.ask().json["experiments"]}
            unit = {"context": {"targetingKey": "user-1"}}
            flags = site.server.ask("/ofrep/v1/evaluate/flags/elsewhere", unit, key=site.key).json
            known = {one["key"]: one["state"] for one in site.api().json["experiments"]}
            exposed = site.api("/elsewhere/expose", {"units": {"user": "user-1"}}, key=site.key).json
            why = flags.get("metadata", {}).get("why") or flags["errorCode"]
            return served.get("elsewhere", ""), why, known.get("elsewhere", ""), exposed.get("reason", "unknown")

        def soon(*wanted: str) -> bool:
            return bool(site.server.until(lambda: told() == wanted, 10))

        assert told() == ("", "FLAG_NOT_FOUND", "", "unknown")
        whole = structs.replace(RERANK, key="elsewhere", coverage=1.0, holdout=0.0, condition={}, namespace=None)
        with control(site.server.directory) as plane:
            repository = ExperimentRepository(plane)
            made = repository.create("default", "elsewhere", to_builtins(whole), "running", actor="another process")
            assert soon("running", "assigned", "running", "assigned"), told()
            repository.save(structs.replace(made, state="stopped"), actor="another process", action="stop")
            assert soon("stopped", "not running", "stopped", "not running"), told()
