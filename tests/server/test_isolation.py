"""No key of one project sees, counts or changes anything of another: every route is asked, new ones too.

Two projects hold events with the same ids; whatever belongs to the other one says so in every text it has.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from msgspec import to_builtins
from tests.server.access_support import control, make_key, make_project
from tests.support.serving import Reply, Serving

from barograph.control.experiments import ExperimentRepository
from barograph.experiments.design import Experiment, equal_variants
from barograph.server.routes import ROUTES, Route

SECRET = "ostrich"  # in every text of the other project
TRACE, QUERY, SPAN = "c0ffee" * 5 + "00", "same-query", "beef" * 4
CLIENT = str(uuid.uuid4())
OTHERS = 7  # queries of the other project


def events(word: str, queries: int) -> list[dict[str, Any]]:
    """Of many kinds, with the same ids whatever the word."""
    made: list[dict[str, Any]] = [
        {"event_id": QUERY if n == 0 else f"{QUERY}-{n}", "trace_id": TRACE if n == 0 else f"{word}-{n}",
         "query": f"{word} {n}", "answer": word, "user_id": word, "session_id": word, "model": word, "pipeline": word,
         "provider": word, "environment": word, "status": "error", "error_type": word, "response_time": 9.0,
         "cost": 5.0, "tags": {word: word}, "documents": [{"id": word, "source": word}]}
        for n in range(queries)
    ]  # fmt: skip
    about = {"trace_id": TRACE, "user_id": word, "pipeline": word}
    made += [
        {"kind": "feedback", "event_id": "same-feedback", "rating": 1, "comment": word, **about},
        {"kind": "score", "event_id": "same-score", "name": word, "value": 0.5, "comment": word, "trace_id": TRACE},
        {"kind": "annotation", "event_id": "same-annotation", "title": word, "text": word},
        {"kind": "metric", "event_id": "same-metric", "name": word, "value": 3.0},
    ]
    return made


def definition(key: str) -> dict[str, Any]:
    arms = [{"key": arm, "weight": 0.5} for arm in ("one", "two")]
    return {"key": key, "variants": arms, "primary_metric": "satisfaction"}


def spans(word: str) -> dict[str, Any]:
    now = time.time_ns()
    one = {"traceId": TRACE, "spanId": SPAN, "name": word, "startTimeUnixNano": str(now), "endTimeUnixNano": str(now)}
    attributes = [{"key": "project", "value": {"stringValue": "ours"}}, {"key": word, "value": {"stringValue": word}}]
    return {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [one]}]}]}


class Two:
    """A server with two projects; ``ours`` and ``theirs`` are admin keys."""

    def __init__(self, server: Serving) -> None:
        self.server = server
        for name in ("ours", "theirs"):
            make_project(server.directory, name)
        self.ours, self.theirs = (make_key(server.directory, "admin", name) for name in ("ours", "theirs"))

        self.silence = self.fingerprint = ""  # of theirs

    def ask(
        self, path: str, body: object = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> Reply:
        return self.server.ask(path, body, headers, method=method, key=self.ours)

    def account(self, key: str) -> dict[str, Any]:
        found = self.server.ask("/api/v1/stats", key=key).json
        return {name: found[name] for name in ("received", "stored", "rejected", "duplicate", "internal", "project")}

    def held(self) -> tuple[dict[str, Any], list[bytes]]:
        """The account of the other project, and its lines in the journal, of which everything else is made."""
        lines = b"".join(path.read_bytes() for path in (self.server.directory / "journal").rglob("*.jsonl")).split(
            b"\n"
        )
        return self.account(self.theirs), sorted(
            line for line in lines if line and json.loads(line).get("project") == "theirs"
        )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    toml = "[traces]\ngrace = 0.2\ndistributed_grace = 0.2\n[collect]\nsampler_seconds = 0\n"
    with Serving(tmp_path_factory.mktemp("two") / "data", toml=toml) as running:
        made = Two(running)
        numbered = {"Barograph-Client": CLIENT, "Barograph-Sequence": "1"}
        theirs = running.ask("/api/v1/events", events(SECRET, OTHERS), numbered, key=made.theirs)
        assert theirs.json["stored"] == OTHERS + 4, theirs.body
        assert running.ask("/v1/traces", spans(SECRET), key=made.theirs).json == {}
        running.until(lambda: SPAN in running.ask("/api/v1/events?kind=span&fresh=true", key=made.theirs).body.decode())
        alert = {"labels": {"alertname": SECRET}, "endsAt": "2100-01-01T00:00:00Z"}
        assert running.ask("/api/v2/alerts", [alert], key=made.theirs).status == 200
        fired = {"kind": "alert", "rule": SECRET, "state": "firing", "previous": "pending", "message": SECRET}
        assert running.ask("/api/v1/events", [fired], key=made.theirs).json["stored"] == 1
        incidents = running.ask("/api/v1/incidents?fresh=true", key=made.theirs).json["incidents"]
        assert [one["rule"] for one in incidents] == [SECRET]
        silence = {"matchers": [f"alertname={SECRET}"], "lasts": "1d", "comment": SECRET}
        kept = {"name": SECRET, "metric": "queries", "above": 1e9}
        assert running.ask("/api/v1/rules", kept, key=made.theirs).json == {"name": SECRET, "source": "kept"}
        with control(running.directory) as plane:
            arms = equal_variants(SECRET, f"{SECRET}-too")
            tested = Experiment(key=SECRET, variants=arms, primary_metric="satisfaction", salt=SECRET)
            ExperimentRepository(plane).create("theirs", SECRET, to_builtins(tested), "running", actor="test")
        assert SECRET in running.ask("/api/v1/experiments/definitions", key=made.theirs).body.decode()
        made.silence = running.ask("/api/v1/silences", silence, key=made.theirs).json["id"]
        (made.fingerprint,) = [one["fingerprint"] for one in running.ask("/api/v2/alerts", key=made.theirs).json
                               if one["labels"]["alertname"] == SECRET]  # fmt: skip
        time.sleep(1.0)  # what is derived of theirs is there
        assert len(made.held()[1]) > OTHERS + 4
        yield made


# What they name is the other project's, or nobody's; and a plan goes by a past that ours has not.
UNKNOWN = (
    "/api/v1/experiments/plan",
    "/api/v1/alerts/acknowledge",
    "/api/v1/alerts/unacknowledge",
    "/api/v1/silences/end",
    "/api/v1/rules/remove",
)
BODIES: dict[str, object] = {  # of routes that do not take a question
    "/api/v1/rules": {"name": "ours", "metric": "queries", "above": 1e9},
    "/api/v1/rules/remove": {"name": "nobody"},
    "/api/v2/alerts": [{"labels": {"alertname": "ours"}}],
    "/api/v1/silences": {"matchers": ["alertname=ours"]},
    "/api/v2/silences": {
        "matchers": [{"name": "alertname", "value": "ours", "isRegex": False}],
        "createdBy": "me",
        "startsAt": "2026-01-01T00:00:00Z",
        "comment": "",
        "endsAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    },
    "/api/v1/experiments": definition("ours"),
    "/api/v1/experiments/plan": {"metric": "queries"},
    "/api/v1/experiments/{key}": definition(TRACE),
    "/api/v1/experiments/{key}/stop": {"reason": "ours"},
    "/api/v1/experiments/{key}/reallocate": {"exploration": 0.1},
    "/api/v1/experiments/{key}/expose": {"units": {"user": "ours"}},
    "/ofrep/v1/evaluate/flags": {"context": {"targetingKey": "ours"}},
    "/ofrep/v1/evaluate/flags/{key}": {"context": {"targetingKey": "ours"}},
}


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def request_of(route: Route) -> tuple[str, object]:
    """Address and body of a request that would reach what the other project has."""
    path = route.path.replace("{page}", "overview")
    path = re.sub(r"{\w+}", TRACE, path)
    if route.path.endswith("{page}") or "fresh" in str(route.parameters and route.parameters.__struct_fields__):
        path += "?fresh=true"
    if route.takes == "otlp":
        return path, spans("ours")
    if route.takes:
        wanted = None if route.takes == "events" else route.takes
        return path, [one for one in events("ours", 1) if wanted in (None, one.get("kind"))]
    if route.path.endswith("/alerts/test"):  # which tells of every group that there is
        rule = {"name": "any", "metric": "queries", "above": 0.5, "by": ["pipeline"], "window": "5m"}
        return path, {"definition": rule, "last": "1d", "fresh": True}
    if route.path in BODIES:
        return path, BODIES[route.path]
    if route.body is not None or route.method == "POST":
        return path, {"metric": "queries", "by": ["pipeline"], "fresh": True}
    return path, None


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_no_route_shows_or_changes_anything_of_another_project(two: Two, route: Route) -> None:
    path, body = request_of(route)
    before = two.held()
    reply = two.ask(path, body, method=route.method)
    assert SECRET not in reply.body.decode().lower()
    assert "theirs" not in reply.body.decode().lower()
    assert two.held() == before
    wanted = (400,) if route.path in UNKNOWN else (200, 404)
    assert reply.status == 403 if route.scope == "owner" else reply.status in wanted, reply.body


def test_what_another_project_has_is_as_if_it_were_not_there(two: Two) -> None:
    for path, named_there, nowhere in (
        ("/api/v1/silences/end", {"id": two.silence}, {"id": "0" * len(two.silence)}),
        ("/api/v1/alerts/acknowledge", {"fingerprint": two.fingerprint}, {"fingerprint": "0" * 16}),
        ("/api/v1/alerts/acknowledge", {"fingerprint": two.fingerprint[:5]}, {"fingerprint": "0" * 5}),
        ("/api/v1/alerts/unacknowledge", {"fingerprint": two.fingerprint}, {"fingerprint": "0" * 16}),
        ("/api/v1/rules/remove", {"name": SECRET}, {"name": "0" * len(SECRET)}),
    ):
        replies = [two.ask(path, body) for body in (named_there, nowhere)]
        assert [reply.status for reply in replies] == [400, 400]
        told = [{name: value for name, value in reply.json.items() if name != "value"} for reply in replies]
        assert told[0] == told[1]
    replacing = dict(cast("dict[str, object]", BODIES["/api/v2/silences"]))
    for method, path, body in (
        ("GET", "/api/v2/silence/{}", None), ("DELETE", "/api/v2/silence/{}", None),
        ("POST", "/api/v2/silences", replacing),
    ):  # fmt: skip
        told = []
        for wanted in (two.silence, "0" * len(two.silence)):
            reply = two.ask(path.format(wanted), body and {**body, "id": wanted}, method=method)
            told.append((reply.status, reply.body))
        assert told[0] == told[1]
        assert told[0][0] == 404
    for method, path, body in (
        ("GET", "/api/v1/experiments/{}", None), ("PUT", "/api/v1/experiments/{}", definition),
        ("POST", "/api/v1/experiments/{}/pause", None), ("POST", "/api/v1/experiments/{}/stop", {}),
        ("POST", "/api/v1/experiments/{}/reallocate", {}),
        ("POST", "/api/v1/experiments/{}/archive", None), ("POST", "/api/v1/experiments/{}/start", None),
        ("GET", "/api/v1/experiments/{}/comparison", None), ("GET", "/api/v1/experiments/{}/history", None),
        ("GET", "/api/v1/experiments/{}/details", None), ("GET", "/api/v1/experiments/{}/examples", None),
        ("GET", "/api/v1/experiments/{}/assignment?user=u1", None),
        ("POST", "/api/v1/experiments/{}/expose", {"units": {"user": "u1"}}),
        ("POST", "/ofrep/v1/evaluate/flags/{}", {"context": {"targetingKey": "u1"}}),
    ):  # fmt: skip
        told = []
        for wanted in (SECRET, "nobody"):
            sent = body(wanted) if callable(body) else body
            reply = two.ask(path.format(wanted), sent, method=method)
            assert reply.status == 404
            told.append(reply.body.replace(wanted.encode(), b""))
        assert told[0] == told[1]
    (silence,) = two.server.ask("/api/v1/silences", key=two.theirs).json["silences"]
    assert silence["state"] == "active"
    assert two.server.ask(f"/api/v1/experiments/{SECRET}", key=two.theirs).json["state"] == "running"
    (group,) = two.server.ask("/api/v1/rules", key=two.theirs).json["data"]["groups"]
    assert SECRET in [rule["name"] for rule in group["rules"] if rule["source"] == "kept"]


@pytest.mark.parametrize("route", [one for one in ROUTES if one.scope != "open"], ids=named)
def test_a_key_cannot_name_another_project(two: Two, route: Route) -> None:
    path, body = request_of(route)
    before = two.held()
    joint = "&" if "?" in path else "?"
    for asked in (
        two.ask(path, body, {"Barograph-Project": "theirs"}, route.method),
        two.ask(f"{path}{joint}project=theirs", body, method=route.method),
    ):
        assert asked.status == 403
        assert SECRET not in asked.body.decode()
    assert two.held() == before


class TestEvents:
    def test_the_same_ids_are_events_of_their_own(self, two: Two) -> None:
        taken = two.ask("/api/v1/events", [{**one, "event_id": f"{one['event_id']}-x"} for one in events("ours", 1)])
        assert taken.json["stored"] == 5
        again = two.ask("/api/v1/events", events("ours", OTHERS)).json
        told = [one["outcome"] for one in again["results"] if one["event_id"] in ("same-query-3", "same-query-4")]
        assert told == ["stored", "stored"]  # they are there in the other project only, which nobody is told

    def test_a_numbered_batch_of_another_project_is_not_known(self, two: Two) -> None:
        numbered = {"Barograph-Client": CLIENT, "Barograph-Sequence": "1"}
        batch = [{"event_id": str(uuid.uuid4()), "query": "mine"}]
        assert two.ask("/api/v1/events", batch, numbered).json["stored"] == 1
        assert two.ask("/api/v1/events", batch, numbered).json["duplicate"] == 1
        fresh = [{"event_id": str(uuid.uuid4()), "query": SECRET}]
        later = {**numbered, "Barograph-Sequence": "2"}
        assert two.server.ask("/api/v1/events", fresh, later, key=two.theirs).json["stored"] == 1

    def test_an_event_that_names_another_project_is_refused(self, two: Two) -> None:
        before = two.held()
        for project in ("theirs", "default", "nowhere", ""):
            reply = two.ask("/api/v1/events", [{"query": "x", "project": project}, {"query": "y", "project": "ours"}])
            assert [one["outcome"] for one in reply.json["results"]] == ["rejected", "stored"], project
        assert two.held() == before

    def test_a_span_s_resource_names_no_project(self, two: Two) -> None:
        before = two.held()
        body = spans("ours")
        names = ("project", "barograph.project", "openinference.project.name", "service.namespace", "project.name")
        body["resourceSpans"][0]["resource"]["attributes"] = [
            {"key": name, "value": {"stringValue": "theirs"}} for name in names
        ]
        body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] = "dead" * 4
        assert two.ask("/v1/traces", body).json == {}
        assert two.held() == before
        mine = two.ask("/api/v1/events?kind=span&fresh=true&where=span_id:eq:" + "dead" * 4)
        if mine.status == 200:
            assert [one["project"] for one in mine.json["items"]] == ["ours"]

    def test_feedback_of_one_project_is_not_of_the_other_s_query(self, two: Two) -> None:
        found = two.ask(f"/api/v1/queries/{TRACE}?fresh=true")
        text = found.body.decode()
        assert SECRET not in text
        theirs = two.server.ask(f"/api/v1/queries/{TRACE}?fresh=true", key=two.theirs)
        assert {one["comment"] for one in theirs.json["feedback"]} == {SECRET}

    def test_counts_and_groups_are_of_one_project(self, two: Two) -> None:
        for metric in ("queries", "cost", "error_rate", "active_users", "feedback", f"metric.{SECRET}"):
            for by in ([], ["pipeline"], ["user_id"], ["tag.color"]):
                reply = two.ask("/api/v1/query", {"metric": metric, "by": by, "last": "1h", "fresh": True})
                rows = json.dumps(reply.json.get("rows", []))
                assert SECRET not in rows, (metric, by)
        theirs = two.server.ask("/api/v1/query", {"metric": "cost", "last": "1h"}, key=two.theirs).json["rows"]
        assert sum(row["value"] for row in theirs) == OTHERS * 5.0


def test_the_numbers_for_prometheus_name_the_own_project_only(two: Two) -> None:
    text = two.ask("/metrics").body.decode()
    assert set(re.findall(r'project="([^"]*)"', text)) == {"ours"}


def test_the_load_of_another_project_is_seen_in_no_number(two: Two) -> None:
    def seen() -> list[Any]:
        told = two.ask("/metrics").body.decode()
        lines = [line for line in told.splitlines() if not line.startswith("barograph_engine_lag_seconds ")]
        stats, status = two.ask("/api/v1/stats").json, two.ask("/api/v1/status").json
        for one in (stats, status, status["store"]):
            del one["complete_to"]
        return [lines, stats, status]

    before = seen()
    for _ in range(3):
        late = {"kind": "feedback", "rating": 1, "trace_id": uuid.uuid4().hex}  # of a query that never comes
        load = [*({"query": SECRET, "status": "error"} for _ in range(50)), late, {"query": 3, "status": SECRET}]
        assert two.server.ask("/api/v1/events", load, key=two.theirs).json["rejected"] == 1
        assert two.server.ask("/v1/traces", spans(SECRET), key=two.theirs).status == 200
        assert two.server.ask("/api/v1/query", {"metric": "nothing"}, key=two.theirs).status >= 400
        assert seen() == before
    time.sleep(1.0)  # what is derived of theirs is there
    assert seen() == before
