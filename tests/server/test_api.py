"""The JSON API as a program meets it: one server process, a project of its own for each test."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.server.access_support import make_project
from tests.support.serving import Reply, Serving

# Without rules: those of fifty projects, evaluated every 15 s, cost three times as much as all the tests.
TOML = "default_rules = false\n[traces]\ngrace = 0.2\n"
LINES = {"Content-Type": "application/x-ndjson"}
ACCOUNT = ("received", "stored", "rejected", "duplicate")
QUERIES, QUERY = "/api/v1/queries", "/api/v1/query"
_numbers = count(1)


class Api:
    """The server as one project sees it."""

    def __init__(self, server: Serving, project: str) -> None:
        self.server, self.project = server, project

    def ask(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return self.server.ask(path, body, {"Barograph-Project": self.project, **(headers or {})})

    def send(self, body: Any, path: str = "events", headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The account of a body that is taken."""
        reply = self.ask(f"/api/v1/{path}", body, headers)
        assert reply.status == 200, reply.body
        told: dict[str, Any] = reply.json
        assert told["received"] == told["stored"] + told["rejected"] + told["duplicate"] == len(told["results"])
        return told

    def page(self, *filters: str, path: str = QUERIES, **parameters: Any) -> dict[str, Any]:
        """A page of what was sent, what has just been sent too."""
        given = [*(("f", one) for one in filters), *parameters.items(), ("fresh", "true")]
        reply = self.ask(f"{path}?{urlencode(given)}")
        assert reply.status == 200, reply.body
        told: dict[str, Any] = reply.json
        assert datetime.fromisoformat(told["complete_to"]).tzinfo is not None
        return told

    def found(self, *filters: str, **parameters: Any) -> list[str]:
        """The questions on a page."""
        return [one["query"] for one in self.page(*filters, **parameters)["items"]]

    def measure(self, metric: str | list[str], **more: Any) -> dict[str, Any]:
        reply = self.ask(QUERY, {"metric": metric, "fresh": True, **more})
        assert reply.status == 200, reply.body
        told: dict[str, Any] = reply.json
        return told

    def stats(self) -> dict[str, int]:
        told = self.ask("/api/v1/stats").json
        assert told["project"] == self.project
        return {name: told[name] for name in ACCOUNT}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("api") / "data", toml=TOML) as running:
        yield running


@pytest.fixture
def api(server: Serving) -> Api:
    name = f"p{next(_numbers)}"
    make_project(server.directory, name)
    return Api(server, name)


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def outcomes(told: dict[str, Any]) -> list[str]:
    return [one["outcome"] for one in told["results"]]


def problem(reply: Reply, status: int, kind: str) -> dict[str, Any]:
    """A problem document that is whole."""
    assert reply.status == status, reply.body
    assert {name.lower(): one for name, one in reply.headers.items()}["content-type"] == "application/problem+json"
    told: dict[str, Any] = reply.json
    assert told["status"] == status
    assert told["type"] == f"urn:barograph:problem:{kind}"
    assert all(isinstance(told[name], str) and told[name] for name in ("title", "detail", "hint")), told
    return told


class TestEvents:
    def test_one_object_is_one_event(self, api: Api) -> None:
        told = api.send({"query": "What is RAG?", "event_id": "mine", "response_time": 2.5, "colour": "red"})
        assert told["results"] == [{"outcome": "stored", "event_id": "mine"}]
        (kept,) = api.page()["items"]
        assert (kept["query"], kept["response_time"], kept["tags"]) == ("What is RAG?", 2.5, {"colour": "red"})

    def test_each_event_of_an_array_has_its_result_in_order_and_the_account_adds_up(self, api: Api) -> None:
        told = api.send([
            {"query": "a", "event_id": "a"}, {"query": "b", "event_id": "b", "response_time": "soon"},
            {"query": "a", "event_id": "a"}, 7, {"query": "c", "event_id": "c"},
        ])  # fmt: skip
        assert outcomes(told) == ["stored", "rejected", "duplicate", "rejected", "stored"]
        assert [one.get("event_id") for one in told["results"]] == ["a", None, "a", None, "c"]
        assert told["results"][1]["field"] == "response_time"
        assert told["results"][1]["reason"] and told["results"][1]["hint"]  # noqa: PT018
        again = api.send([{"query": "c", "event_id": "c"}])
        assert outcomes(again) == ["duplicate"]
        assert api.stats() == {name: told[name] + again[name] for name in ACCOUNT}
        assert api.found(ascending="true") == ["a", "c"]

    def test_an_empty_array_is_taken(self, api: Api) -> None:
        assert api.send([])["results"] == []

    def test_of_json_lines_blank_ones_count_nothing_and_a_rejected_one_is_told_by_its_number(self, api: Api) -> None:
        body = b'{"query": "a"}\n\n \t\n{"query": \n{"query": "b"}\r\n[]\n{"query": "c", "cost": -1}'
        told = api.send(body, headers=LINES)
        assert outcomes(told) == ["stored", "rejected", "stored", "rejected", "rejected"]
        assert [one.get("line") for one in told["results"]] == [None, 4, None, 6, 7]
        assert api.stats() == {name: told[name] for name in ACCOUNT}

    def test_no_json_is_a_400_and_costs_nothing(self, api: Api) -> None:
        for body in (b'[{"query": "a"},', b'[{"query": "a"} {"query": "b"}]', b'[{"query": "a"}] no'):
            problem(api.ask("/api/v1/events", body), 400, "invalid-json")
        problem(api.ask("/api/v1/events", b" \n"), 400, "no-body")
        problem(api.ask("/api/v1/events", b"a=b", {"Content-Type": "text/plain"}), 415, "unknown-content-type")
        assert set(api.stats().values()) == {0}

    @pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
    def test_what_is_no_number_costs_its_event_alone(self, api: Api, number: bytes) -> None:
        told = api.send(b'[{"query": "a"}, {"query": "b", "response_time": %s}, {"query": "c"}]' % number)
        assert outcomes(told) == ["stored", "rejected", "stored"]
        assert told["results"][1]["field"] == "response_time"
        assert api.stats() == {"received": 3, "stored": 2, "rejected": 1, "duplicate": 0}

    @pytest.mark.parametrize("length", [257, 2**20])
    def test_a_unit_id_that_is_too_long_costs_its_event_alone_and_is_never_cut(self, api: Api, length: int) -> None:
        exposure = {"kind": "exposure", "experiment": "e", "arm": "a"}
        told = api.send([{**exposure, "unit_id": "u" * length}, {**exposure, "unit_id": "v" * 256}])
        assert outcomes(told) == ["rejected", "stored"]
        assert told["results"][0]["reason"]
        assert api.stats() == {"received": 2, "stored": 1, "rejected": 1, "duplicate": 0}
        kept = api.page(path="/api/v1/events", kind="exposure")["items"]
        assert [one["unit_id"] for one in kept] == ["v" * 256]

    def test_a_single_bad_event_is_a_422_with_field_and_hint(self, api: Api) -> None:
        told = problem(api.ask("/api/v1/events", {"query": "a", "response_time": "soon"}), 422, "invalid-event")
        assert told["field"] == "response_time"
        assert "number" in told["reason"]
        assert api.stats() == {"received": 1, "stored": 0, "rejected": 1, "duplicate": 0}

    def test_the_address_may_say_the_kind_of_all(self, api: Api) -> None:
        api.send([{"name": "index.size", "value": 3}, {"name": "index.size", "value": 5}], "events?kind=metric")
        assert {one["value"] for one in api.page(path="/api/v1/events", kind="metric")["items"]} == {3, 5}
        reply = api.ask("/api/v1/events?kind=nonsense", {"query": "a"})
        assert problem(reply, 400, "invalid-input")["field"] == "kind"

    @pytest.mark.parametrize(
        ("path", "kind", "good", "bad", "field"),
        [
            ("feedback", "feedback", {"trace_id": "t", "rating": 4, "comment": "fine"}, {"rating": 9}, "rating"),
            ("scores", "score", {"trace_id": "t", "name": "faithfulness", "value": 0.5}, {"name": "x"}, "value"),
            ("annotations", "annotation", {"title": "Deploy", "text": "v2"}, {"text": "v2"}, "title"),
        ],
    )
    def test_a_route_of_one_kind_takes_that_kind(
        self, api: Api, path: str, kind: str, good: dict[str, Any], bad: dict[str, Any], field: str
    ) -> None:
        assert outcomes(api.send(good, path)) == ["stored"]
        told = api.send([{**good, "event_id": "second"}, bad], path)["results"]
        assert (told[0]["outcome"], told[1]["outcome"], told[1]["field"]) == ("stored", "rejected", field)
        lines = b"\n".join(json.dumps({**good, "event_id": one}).encode() for one in ("second", "third"))
        assert outcomes(api.send(lines, path, LINES)) == ["duplicate", "stored"]
        assert problem(api.ask(f"/api/v1/{path}", bad), 422, "invalid-event")["field"] == field
        kept = api.page(path="/api/v1/events", kind=kind)["items"]
        assert [{name: one[name] for name in good} for one in kept] == [good] * 3


class TestSearch:
    def test_filters_are_all_of_them_f_and_where_alike(self, api: Api) -> None:
        api.send([
            {"query": "slow", "response_time": 4.0, "model": "m1", "tags": {"team": "red"}},
            {"query": "edge", "response_time": 3.0, "model": "m2", "status": "error"},
            {"query": "fast", "response_time": 0.3, "model": "m1"},
            {"query": "unknown", "model": "m3"},
        ])  # fmt: skip

        def found(*filters: str, **parameters: Any) -> set[str]:
            return set(api.found(*filters, **parameters))

        assert found() == {"slow", "edge", "fast", "unknown"}
        assert found("model:eq:m1") == found(where="model:eq:m1") == {"slow", "fast"}
        assert found("model:eq:m1", "response_time:gte:1") == {"slow"}
        assert found("model:in:m1,m2", where="response_time:lte:3") == {"edge", "fast"}
        assert found("latency_ms:gte:3000") == found("response_time:gte:3") == {"slow", "edge"}
        assert found("latency_ms:gte:3001") == found("tag.team:eq:red") == {"slow"}
        assert found("model:match:^m[23]$", "model_name:ne:m2") == {"unknown"}
        assert found("response_time:exists", "status:eq:error") == {"edge"}
        assert found("model:eq:nobody") == set()

    @pytest.mark.parametrize(
        ("asked", "word"),
        [
            ("f=nonsense:eq:1", "nonsense"), ("where=model:like:x", "filter"), ("f=latency_ms:gte:soon", "latency_ms"),
            ("f=model:match:(", ""), ("order=nonsense", "nonsense"), ("cursor=nonsense", "cursor"),
            ("limit=0", "limit"), ("limit=1001", "limit"), ("ascending=maybe", "ascending"),
            ("last=1h&from=-2h", "last"), ("last=1h&to=now", "last"), ("to=now", "from"), ("from=now&to=-1h", "window"),
            ("from=yesterday", "moment"), ("last=soon", "duration"), ("last=0h", "duration"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_asked_is_a_400_that_says_what(self, api: Api, asked: str, word: str) -> None:
        kind = "invalid-input" if asked.startswith(("limit", "ascending")) else "invalid-query"
        told = problem(api.ask(f"{QUERIES}?{asked}"), 400, kind)
        assert word in told["detail"]

    @pytest.mark.parametrize("order", ["time", "response_time"])
    @pytest.mark.parametrize("ascending", ["true", "false"])
    def test_pages_give_every_row_once_where_times_are_equal(self, api: Api, order: str, ascending: str) -> None:
        same = ago(60)
        sent = [{"event_id": f"e{n}", "query": "q", "time": same if n % 5 else ago(90 + n), "response_time": n // 20}
                for n in range(60)]  # fmt: skip
        api.send(sent)
        asked: dict[str, Any] = {"order": order, "ascending": ascending, "limit": 10}
        seen: list[dict[str, Any]] = []
        cursor, pages = "", 0
        while pages == 0 or cursor:
            page = api.page(**asked, cursor=cursor)
            seen, cursor, pages = seen + page["items"], page["cursor"], pages + 1
            assert pages <= 6
        assert sorted(one["event_id"] for one in seen) == sorted(str(one["event_id"]) for one in sent)
        assert [one[order] for one in seen] == sorted((one[order] for one in seen), reverse=ascending == "false")
        assert pages == 6  # and a page that is both full and the last one says so

    def test_a_window_is_a_length_or_two_moments_and_24_hours_otherwise(self, api: Api) -> None:
        edge = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
        api.send([
            {"query": "days", "time": ago(3 * 86400)}, {"query": "edge", "time": edge.isoformat()},
            {"query": "hours", "time": ago(3 * 3600)}, {"query": "now"},
        ])  # fmt: skip
        text = edge.isoformat().replace("+00:00", "Z")
        assert api.found() == ["now", "hours", "edge"]
        assert api.found(last="7d") == ["now", "hours", "edge", "days"]
        assert api.found(last="1h") == ["now"]
        assert api.found(**{"from": "-4d", "to": text}) == ["days"]  # the end is outside
        assert api.found(**{"from": text, "to": "-1h"}) == ["hours", "edge"]  # the beginning is inside
        assert api.found(**{"from": "-4h", "ascending": "true"}) == ["hours", "now"]
        assert api.found(**{"from": edge.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "to": "-1h"})[-1] == "edge"

    def test_order_by_a_number_is_the_largest_first_without_the_unknown(self, api: Api) -> None:
        api.send([{"query": str(n), "response_time": n} for n in (2, 5, 1, 0)] + [{"query": "unknown"}])
        assert api.found(order="response_time") == ["5", "2", "1", "0"]
        assert api.found(order="response_time", ascending="true") == ["0", "1", "2", "5"]
        assert api.found(order="response_time", limit=2) == ["5", "2"]

    def test_documents_are_null_when_unknown_and_an_empty_list_when_nothing_was_found(self, api: Api) -> None:
        api.send([{"query": "unknown"}, {"query": "none", "documents": []}, {"query": "some", "contexts": ["a", "b"]}])
        found = {one["query"]: one for one in api.page()["items"]}
        assert (found["unknown"]["documents"], found["unknown"]["document_count"]) == (None, None)
        assert (found["none"]["documents"], found["none"]["document_count"]) == ([], 0)
        assert [one["text"] for one in found["some"]["documents"]] == ["a", "b"]


def span(trace: str, name: str, parent: str = "", **attributes: str) -> tuple[str, dict[str, Any]]:
    """A span's id and the OTLP request that brings it."""
    now, made = time.time_ns(), secrets.token_hex(8)
    one = {"traceId": trace, "spanId": made, "parentSpanId": parent, "name": name, "kind": 1,
           "startTimeUnixNano": str(now - 10**9), "endTimeUnixNano": str(now),
           "attributes": [{"key": key.replace("__", "."), "value": {"stringValue": value}}
                          for key, value in attributes.items()]}  # fmt: skip
    return made, {"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}


class TestOneQuery:
    def test_it_is_found_by_trace_and_by_event_with_all_that_was_said(self, api: Api) -> None:
        trace = secrets.token_hex(16)
        api.send({"query": "What is RAG?", "answer": "Search, then write.", "trace_id": trace, "event_id": "the-query",
                  "response_time": 1.5, "contexts": ["A passage."]})  # fmt: skip
        api.send({"trace_id": trace, "rating": 2, "comment": "Too short."}, "feedback")
        api.send({"trace_id": trace, "name": "faithfulness", "value": 0.75}, "scores")
        made, body = span(trace, "search", openinference__span__kind="RETRIEVER")
        assert api.ask("/v1/traces", body).status == 200
        by_trace, by_event = (api.ask(f"{QUERIES}/{one}?fresh=true").json for one in (trace, "the-query"))
        for told in (by_trace, by_event):
            assert told["trace_id"] == trace
            assert told["query"]["event_id"] == "the-query"
            assert [one["comment"] for one in told["feedback"]] == ["Too short."]
            assert [(one["name"], one["value"]) for one in told["scores"]] == [("faithfulness", 0.75)]
            assert [(one["span_id"], one["late"]) for one in told["spans"]] == [(made, False)]
        drawn = api.ask(f"{QUERIES}/{trace}?format=text&charset=ascii")
        assert drawn.headers["content-type"].startswith("text/plain")
        for text in (trace, "What is RAG?", "Search, then write.", "search", "A passage.", "Too short.", "faithful"):
            assert text in drawn.body.decode()

    def test_what_is_not_there_is_a_404_with_a_hint(self, api: Api) -> None:
        assert "grace" in problem(api.ask(f"{QUERIES}/nowhere"), 404, "unknown-query")["hint"]
        problem(api.ask(f"{QUERIES}/nowhere?format=text"), 404, "unknown-query")
        problem(api.ask("/api/v1/nowhere"), 404, "unknown-address")
        problem(api.ask("/api/v1/stats", {}), 405, "method-not-allowed")

    def test_a_span_that_comes_after_its_query_was_made_is_late_and_counted(self, api: Api) -> None:
        trace = secrets.token_hex(16)
        given = {"openinference__span__kind": "LLM", "llm__model_name": "m1", "input__value": "What?"}
        root, body = span(trace, "ask", **given)
        assert api.ask("/v1/traces", body).status == 200
        (query,) = api.server.until(lambda: api.page(f"trace_id:eq:{trace}")["items"])
        child, body = span(trace, "search", root, openinference__span__kind="RETRIEVER")
        assert api.ask("/v1/traces", body).status == 200
        told = api.ask(f"{QUERIES}/{trace}?fresh=true").json
        assert {one["span_id"]: one["late"] for one in told["spans"]} == {root: False, child: True}
        assert told["query"] == {**query, "documents": told["query"]["documents"]}  # no number changes
        counted = api.server.until(lambda: api.measure("metric.trace.late_spans", last="1h")["rows"][0]["n"])
        assert counted == 1
        assert "late" in api.ask(f"{QUERIES}/{trace}?format=text").body.decode()


class TestMetrics:
    def test_one_several_groups_and_filters(self, api: Api) -> None:
        api.send([{"query": "a", "model": model, "response_time": taken} for model, taken in
                  (("m1", 1.0), ("m1", 3.0), ("m2", 8.0))])  # fmt: skip
        one = api.measure("response_time.mean", last="1h")
        assert (one["metric"], one["unit"], one["title"]) == ("response_time.mean", "s", "Average response time")
        assert [(row["value"], row["n"]) for row in one["rows"]] == [(4.0, 3)]
        several = api.measure(["queries", "response_time.mean"], last="1h")["answers"]
        assert [(told["metric"], told["rows"][0]["value"]) for told in several] == [
            ("queries", 3), ("response_time.mean", 4.0)]  # fmt: skip
        groups = api.measure("response_time.mean", by=["model"])["rows"]
        assert {row["group"]["model"]: row["value"] for row in groups} == {"m1": 2.0, "m2": 8.0}
        assert len(api.measure("queries", by=["model"], limit=1)["rows"]) == 1
        assert api.measure("queries", where=["model:eq:m1", "latency_ms:gte:3000"])["rows"][0]["value"] == 1

    def test_buckets_cover_the_window_in_seconds_durations_and_days_of_a_time_zone(self, api: Api) -> None:
        api.send([{"query": "a", "time": f"2026-03-{day}T{hour}:30:00Z"}
                  for day, hour in (("01", "10"), ("01", "14"), ("01", "16"), ("02", "14"))])  # fmt: skip
        window = {"from": "2026-03-01T10:00:00Z", "to": "2026-03-01T18:00:00Z"}
        hours = api.measure("queries", every="2h", **window)["rows"]
        assert [row["value"] for row in hours] == [1, 0, 1, 1]
        assert hours == api.measure("queries", every=7200, **window)["rows"]
        assert all(row["to"] == later["from"] for row, later in pairwise(hours))
        window = {"from": "2026-02-28T15:00:00Z", "to": "2026-03-02T15:00:00Z"}  # two days of Tokyo
        tokyo = api.measure("queries", every="day", timezone="Asia/Tokyo", **window)
        assert tokyo["timezone"] == "Asia/Tokyo"
        assert [(row["from"], row["value"], row.get("partial", False)) for row in tokyo["rows"]] == [
            ("2026-02-28T15:00:00Z", 2, False), ("2026-03-01T15:00:00Z", 2, False)]  # fmt: skip
        utc = api.measure("queries", every="day", **window)["rows"]
        assert [(row["value"], row.get("partial", False)) for row in utc] == [(0, True), (3, False), (1, True)]

    @pytest.mark.parametrize(("period", "day"), [("day", 9), ("week", 3), ("previous", 10)])
    def test_an_earlier_period_stands_beside_it(self, api: Api, period: str, day: int) -> None:
        hour = 8 if period == "previous" else 12
        times = ["2026-03-10T12:30:00Z", "2026-03-10T13:30:00Z", f"2026-03-{day:02}T{hour + 2:02}:30:00Z",
                 "2026-03-01T00:00:00Z"]  # fmt: skip
        api.send([{"query": "a", "time": one} for one in times])
        window = {"from": "2026-03-10T12:00:00Z", "to": "2026-03-10T16:00:00Z"}
        told = api.measure("queries", compare=period, **window)
        assert [row["value"] for row in told["rows"]] == [2]
        assert [(row["from"], row["value"]) for row in told["before"]] == [(f"2026-03-{day:02}T{hour:02}:00:00Z", 1)]

    def test_no_earlier_records_are_told_as_such(self, api: Api) -> None:
        api.send({"query": "a"})
        assert "no records" in api.measure("queries", compare="week", last="1h")["missing"]

    def test_what_cannot_be_measured_is_told(self, api: Api) -> None:
        told = problem(api.ask(QUERY, {"metric": "response_time.p9"}), 404, "unknown-metric")
        assert "response_time.p95" in told["hint"]
        problem(api.ask(QUERY, {"metric": ["queries", "nonsense"]}), 404, "unknown-metric")
        told = problem(api.ask(QUERY, {"metric": "queries", "nonsense": 1}), 400, "invalid-input")
        assert "nonsense" in told["detail"]
        assert "metric" in problem(api.ask(QUERY, {}), 400, "invalid-input")["detail"]
        assert problem(api.ask(QUERY, {"metric": "queries", "limit": "ten"}), 400, "invalid-input")["field"] == "limit"
        for more in ({"timezone": "Mars/North"}, {"last": "1h", "to": "now"}, {"every": "often"}, {"by": ["nonsense"]},
                     {"where": ["nonsense:eq:1"]}):  # fmt: skip
            problem(api.ask(QUERY, {"metric": "queries", **more}), 400, "invalid-query")
        problem(api.ask(QUERY, b"{"), 400, "invalid-json")
        problem(api.ask(QUERY, b"{}", {"Content-Type": "text/plain"}), 415, "unknown-content-type")


def test_an_empty_project_says_so_and_nothing_fails(api: Api) -> None:
    told = api.ask("/api/v1/status").json
    assert (told["state"], told["alerts"], told["store"]["ready"]) == ("no data", [], True)
    assert [one["sentence"] for one in told["reasons"]] == ["No query has been recorded yet."]
    assert set(api.stats().values()) == {0}
    assert (api.page()["items"], api.page()["cursor"]) == ([], "")
    catalogue = {one["name"]: one for one in api.ask("/api/v1/metrics").json["items"]}
    assert catalogue["response_time.p95"]["unit"] == "s"
    assert all(one["title"] and one["sentence"] for one in catalogue.values())
    answers = api.measure(["queries", "cost", "error_rate"])["answers"]
    assert [one["rows"][0]["value"] for one in answers] == [0, None, None]
    assert api.ask("/api/v1/pages/overview").status == api.ask("/api/v1/report").status == 200
    assert api.ask("/api/v1/pages/experiments?experiment=nope").status == 404
    assert api.ask("/api/v1/pages/cost?experiment=nope").status == 400


def test_fresh_answers_show_what_was_just_sent(api: Api) -> None:
    for number in range(1, 4):
        api.send({"query": str(number), "trace_id": f"trace-{number}"})
        assert api.measure("queries", last="1h")["rows"][0]["value"] == number
        api.send({"rating": 5, "trace_id": f"trace-{number}"}, "feedback")
        assert len(api.ask(f"{QUERIES}/trace-{number}?fresh=true").json["feedback"]) == 1
    assert api.found(limit=1) == ["3"]
    assert api.ask("/api/v1/status?fresh=true").json["state"] != "no data"
