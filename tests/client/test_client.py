"""The client as a program sees it: never in the way, never an exception, and every event accounted for."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from client_support import SEED, WAIT, Open, balanced
from scripted_server import Move, ScriptedServer, until

import barograph
import barograph_client
from barograph.collect.metrics_collector import MetricsCollector
from barograph_client import Client
from barograph_client.account import Counts
from barograph_client.errors import InvalidEvent, InvalidSettings

OWN = {"stream", "record_internal"}  # of the collector: what only the owner of a data directory can do


class TestTheSameAsTheCollector:
    def test_public_methods_and_their_signatures_do_not_drift_apart(self) -> None:
        names = {name for name in vars(MetricsCollector) if not name.startswith("_")} - OWN
        assert names <= set(vars(Client))
        for name in names:
            one, other = inspect.getattr_static(Client, name), inspect.getattr_static(MetricsCollector, name)
            assert type(one) is type(other), name
            if not isinstance(one, property):
                ours, theirs = inspect.signature(one), inspect.signature(other)
                assert ours.parameters == theirs.parameters, name
                assert ours.return_annotation == theirs.return_annotation, name

    def test_what_it_has_more_is_what_only_a_sender_needs(self) -> None:
        more = {name for name in vars(Client) if not name.startswith("_")} - set(vars(MetricsCollector))
        assert more == {"rejections", "problem", "experiments"}

    def test_both_packages_offer_it(self) -> None:
        assert barograph.Client is barograph_client.Client is Client
        assert barograph.errors is barograph_client.errors


class TestEveryMethod:
    def test_each_kind_arrives_with_what_was_given(self, open_client: Open, server: ScriptedServer) -> None:
        client = open_client(project="shop", key="secret")
        ids = [
            client.record_query_execution(SEED),
            client.record_feedback({"trace_id": "t", "rating": 4}),
            client.record_score({"name": "faithfulness", "value": 0.9}),
            client.record_system({"cpu_percent": 20}),
            client.record_exposure({"experiment": "e", "arm": "a", "unit_id": "u"}),
            client.record("queue_depth", 3, {"host": "a"}, unit="items"),
            client.annotate("v2", category="deploy", time=datetime(2026, 1, 1, tzinfo=UTC)),
            client.record_event("span", {"trace_id": "t", "span_id": "s"}),
        ]
        assert client.flush(WAIT)
        assert server.ids == ids
        events = list(server.events.values())
        kinds = ["query", "feedback", "score", "system", "exposure", "metric", "annotation", "span"]
        assert [event["kind"] for event in events] == kinds
        assert SEED.items() <= events[0].items()
        assert events[5] | {"event_id": "", "time": ""} == {
            "kind": "metric", "name": "queue_depth", "value": 3, "tags": {"host": "a"}, "unit": "items",
            "event_id": "", "time": "",
        }  # fmt: skip
        assert events[6]["time"] == "2026-01-01T00:00:00+00:00"
        headers = server.requests[0].headers
        assert headers["Authorization"] == "Bearer secret"
        assert headers["Barograph-Project"] == "shop"
        assert headers["Content-Type"] == "application/x-ndjson"
        assert server.requests[0].path == "/api/v1/events"
        assert (client.counts.recorded, client.counts.received, client.counts.stored) == (8, 8, 8)

    def test_the_timed_ways_record_queries(self, open_client: Open, server: ScriptedServer) -> None:
        client = open_client()
        with client.query(query="Why?", user_id="u") as query, barograph_client.stage("retrieval"):
            assert barograph_client.current_query() is query

        @client.timed(pipeline="docs")
        def answer(question: str) -> str:
            return "because"

        assert answer("Why not?") == "because"
        assert client.flush(WAIT)
        first, second = server.events.values()
        assert first["query"] == "Why?"
        assert first["retrieval_time"] <= first["response_time"]
        assert (second["query"], second["answer"], second["pipeline"]) == ("Why not?", "because", "docs")

    def test_many_items_are_mappings_or_lines_of_any_kind(self, open_client: Open, server: ScriptedServer) -> None:
        client = open_client()
        items = [
            SEED,
            {"kind": "feedback", "rating": 2, "event_id": "f"},
            b'{"kind":"score","id":"s","name":"x"}',
            "no",
        ]
        results = client.record_many(items)
        assert client.flush(WAIT)
        assert results[1:3] == ["f", "s"]
        assert server.ids[0] == results[0]
        assert [event["kind"] for event in server.events.values()] == ["query", "feedback", "score"]
        assert server.rejected == [b'"no"']
        assert client.counts.rejected == 1

    def test_items_that_have_no_room_are_told_apart(self, open_client: Open, server: ScriptedServer) -> None:
        server.always = Move(delay=0.5, take=True)
        client = open_client(queue=5)
        results = client.record_many([SEED] * 8)
        assert [isinstance(result, InvalidEvent) for result in results] == [False] * 5 + [True] * 3
        assert str(results[-1]) == "was dropped: queue full"
        assert client.flush(WAIT)
        assert client.counts.dropped == {"queue full": 3}
        assert balanced(client.counts)

    def test_id_and_time_are_those_of_the_call(self, open_client: Open, server: ScriptedServer) -> None:
        server.script.append(Move(status=503))
        client = open_client()
        before = datetime.now(UTC)
        fields = dict(SEED)
        event_id = client.record_query_execution(fields)
        after = datetime.now(UTC)
        fields["query"] = "changed afterwards"
        until(lambda: server.events)
        event = server.events[event_id]
        assert UUID(event_id).version == 7
        assert event["query"] == SEED["query"]
        assert before <= datetime.fromisoformat(event["time"]) <= after

    def test_an_id_or_a_time_under_any_name_is_not_given_twice(self, open_client: Open, server: ScriptedServer) -> None:
        client = open_client()
        client.record_query_execution({"id": "mine", "timestamp": 1_790_000_000})
        client.record_event("span", {"span_id": "s", "trace_id": "t", "start_time": "2026-01-01T00:00:00Z"})
        client.record_query_execution({"event_id": None, "time": None, "query": "x"})
        client.flush(WAIT)
        sent = [json.loads(line) for request in server.requests for line in request.lines]
        assert sent[0] == {"id": "mine", "timestamp": 1_790_000_000, "kind": "query"}
        assert "time" not in sent[1]
        assert sent[2].keys() == {"query", "kind", "event_id", "time"}


class TestNeverInTheWay:
    def test_nothing_that_is_handed_in_raises(self, open_client: Open, server: ScriptedServer) -> None:
        class Unreadable(Mapping[str, object]):
            def __getitem__(self, name: str) -> object:
                raise OSError(name)

            def __iter__(self) -> Iterator[str]:
                raise OSError("gone")

            def __len__(self) -> int:
                return 1

        class Hostile:
            def __repr__(self) -> str:
                raise RuntimeError

        client = open_client()
        deep: object = "x"
        for _ in range(100):
            deep = [deep]
        bad = [
            {"cost": float("nan")}, {"tags": {"x": float("inf")}}, {"query": "\ud800"},
            {"documents": [{"text": "\udfff"}]},
            {"x": Hostile()}, {"x": timedelta(1)}, {1: 2}, {"x": deep}, {"n": 10**5000}, {"query": "x" * 2**21},
            {"kind": "feedback"},
        ]  # fmt: skip
        for fields in bad:
            client.record_query_execution(fields)  # type: ignore[arg-type]
        client.record_event(["query"], SEED)  # type: ignore[arg-type]
        client.record_query_execution(Unreadable())
        for fields in (None, 5, "text"):
            client.record_query_execution(fields)  # type: ignore[arg-type]
        event_id = client.record_query_execution(SEED)
        assert client.flush(WAIT)
        counts = client.counts
        assert server.ids == [event_id]
        assert (counts.rejected, counts.stored, counts.dropped) == (15, 1, {"unreadable": 1})
        assert balanced(counts)
        found = {refusal.field: refusal.reason for refusal in client.rejections}
        assert found["cost"] == "must be at least 0"  # of the three that are no mappings, which the server refuses
        assert found["tags.x"] == "must be a finite number"
        assert "half a surrogate pair" in found["documents[0].text"]
        assert found["n"] == "has too many digits"

    def test_wrong_arguments_are_the_one_thing_that_raises(self, tmp_path: Path) -> None:
        for arguments, said in (
            ({"url": "ftp://host"}, "http or https"),
            ({"url": "http://"}, "with a host"),
            ({"url": "http://host:port"}, "cannot be read"),
            ({"url": "http://user:pw@host"}, "name no user"),
            ({"url": "http://host/?x=1"}, "no query"),
            ({"url": "http://host\r\nX: y"}, "a character that no URL has"),
            ({"url": "http://host", "key": "a\nb"}, "a character that no key has"),
            ({"url": "http://host", "project": "ü"}, "project"),
            ({"url": "http://host", "queue": 0}, "queue"),
            ({"url": "http://host", "timeout": float("nan")}, "timeout"),
            ({"url": "http://host", "spool": 5}, "spool"),
            ({"url": "https://host", "ca_file": str(tmp_path / "none.pem")}, "certificate authority"),
        ):
            with pytest.raises(InvalidSettings, match=said) as caught:
                Client(**arguments, environment={})  # type: ignore[arg-type]
            assert "pw" not in str(caught.value)

    def test_the_environment_is_the_default(self, server: ScriptedServer, tmp_path: Path) -> None:
        environment = {
            "BAROGRAPH_URL": server.url, "BAROGRAPH_KEY": "k", "BAROGRAPH_PROJECT": "p",
            "BAROGRAPH_SPOOL": str(tmp_path / "here"),
        }  # fmt: skip
        server.script.append(Move(status=503))
        with Client(environment=environment) as client:
            client.record("x", 1)
            until(lambda: server.events)
            assert (tmp_path / "here").is_dir()
        assert server.requests[-1].headers["Authorization"] == "Bearer k"
        assert server.requests[-1].headers["Barograph-Project"] == "p"

    def test_recording_does_not_wait_for_a_server_that_is_silent(
        self, open_client: Open, server: ScriptedServer
    ) -> None:
        server.always = Move(delay=1.0, take=True)
        client = open_client()
        began = time.monotonic()
        for _ in range(2000):
            client.record_query_execution(SEED)
        assert time.monotonic() - began < 0.9
        assert client.counts.waiting >= 1000
        server.always = None
        assert client.flush(WAIT)
        assert client.counts.stored == 2000

    def test_a_call_costs_microseconds(self, open_client: Open) -> None:
        client = open_client(queue=100_000)
        best = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(500):
                client.query(query="x", user_id="u")
            best.append((time.perf_counter() - began) / 500)
        assert min(best) < 10e-6
        best = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(500):
                client.record_query_execution(SEED)
            best.append((time.perf_counter() - began) / 500)
        assert min(best) < 15e-6  # here and there the sending thread has its turn in between

    def test_threads_may_share_it(self, open_client: Open, server: ScriptedServer) -> None:
        client = open_client()

        def record() -> None:
            for _ in range(300):
                client.record_query_execution(SEED)

        threads = [threading.Thread(target=record) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(WAIT)
        assert len(server.events) == 2400
        assert balanced(client.counts)

    def test_memory_is_bounded_while_nothing_goes_out(self, open_client: Open, server: ScriptedServer) -> None:
        server.always = Move(status=503)
        client = open_client(spool=False, queue=1000)
        tracemalloc.start()
        try:
            for _ in range(20):
                for _ in range(1000):
                    client.record_query_execution(dict(SEED))
                time.sleep(0.01)
            assert tracemalloc.get_traced_memory()[0] < 8 * 2**20
        finally:
            tracemalloc.stop()
        counts = client.counts
        assert counts.waiting == 1000
        assert counts.dropped == {"queue full": 19_000}
        server.always = None
        assert client.flush(WAIT)
        assert len(server.events) == 1000


class TestWhatADeveloperHears:
    def test_a_refusal_is_kept_with_field_reason_and_hint(self, open_client: Open, server: ScriptedServer) -> None:
        client = open_client()
        client.record_many([SEED, {"cost": -1}, SEED])
        assert client.flush(WAIT)
        (refusal,) = client.rejections
        assert (refusal.field, refusal.reason, refusal.hint) == ("cost", "must be at least 0", "It is in USD")
        assert str(refusal) == "cost: must be at least 0. It is in USD"
        assert (client.counts.stored, client.counts.rejected) == (2, 1)

    def test_the_log_has_at_most_a_line_a_minute(
        self, open_client: Open, server: ScriptedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = open_client()
        with caplog.at_level(logging.WARNING, "barograph_client"):
            for _ in range(5):
                client.record_query_execution({"cost": -1})
                assert client.flush(WAIT)
        (line,) = caplog.records
        assert "cost: must be at least 0" in line.getMessage()

    def test_a_key_that_is_refused_is_said_and_nothing_is_lost(self, open_client: Open, server: ScriptedServer) -> None:
        problem = {"title": "Unauthorized", "status": 401, "detail": "the key is not known"}
        server.always = Move(status=401, body=json.dumps(problem).encode())
        client = open_client(key="wrong")
        client.record_query_execution(SEED)
        assert client.flush(WAIT)
        assert client.problem.startswith(f"{server.url} answered 401: the key is not known")
        assert "BAROGRAPH_KEY" in client.problem
        assert client.counts.spooled == 1
        time.sleep(0.3)
        assert len(server.requests) <= 5  # slowly
        server.always = None
        until(lambda: server.events)
        until(lambda: not client.problem)
        assert balanced(client.counts)

    @pytest.mark.parametrize(
        "move",
        [
            Move(status=404, body=b"<html>not here</html>"),
            Move(status=302, headers={"Location": "http://127.0.0.1:1/login"}),
            Move(body=b"<html>welcome to the captive portal</html>"),
            Move(body=b'{"received":1}'),
            Move(body=b'{"received":7,"stored":7,"rejected":0,"duplicate":0}'),
            Move(body=b"[" * 100_000),
        ],
        ids=["404", "redirect", "html", "half", "other numbers", "deep"],
    )
    def test_an_answer_that_is_not_a_servers_is_no_acknowledgement(
        self, open_client: Open, server: ScriptedServer, move: Move
    ) -> None:
        server.script.append(move)
        client = open_client()
        event_id = client.record_query_execution(SEED)
        assert client.flush(WAIT)
        assert client.problem
        until(lambda: server.events)
        assert server.ids == [event_id]
        assert {request.batch for request in server.requests} == {server.requests[0].batch}

    def test_os_errors_of_a_process_without_a_home_are_no_errors(self, server: ScriptedServer) -> None:
        with Client(server.url, environment={"HOME": "/proc/none"}) as client:
            server.script.append(Move(status=503))
            client.record_query_execution(SEED)
            until(lambda: server.events)
            assert os.path.exists("/proc/none") is False


class TestDocs:
    PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")

    def test_every_argument_and_its_variable_is_documented(self) -> None:
        for name in inspect.signature(Client).parameters:
            assert f"`{name}`" in self.PAGE, name
        for name in ("URL", "KEY", "PROJECT", "SPOOL"):
            assert f"`BAROGRAPH_{name}`" in self.PAGE

    def test_every_count_and_every_reason_for_a_loss_is_documented(self) -> None:
        for name in Counts.__struct_fields__:
            assert f"`{name}`" in self.PAGE, name
        sources = "".join(
            path.read_text(encoding="utf-8") for path in Path(barograph_client.__file__).parent.glob("*.py")
        )
        reasons = set(re.findall(r'"((?:spool|queue|server) [a-z]+|closed|unreadable|fault)"', sources))
        assert reasons >= {"queue full", "spool full", "server away", "closed"}
        for reason in reasons:
            assert f"`{reason}`" in self.PAGE, reason

    def test_the_examples_run(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BAROGRAPH_SPOOL", "off")
        first, *_, last = re.findall(r"```python\n(.*?)```", self.PAGE, re.DOTALL)
        for example in (first, last):
            space: dict[str, object] = {}
            exec(example.replace("http://127.0.0.1:4318", server.url), space)
            client = space.get("client")
            if isinstance(client, Client):
                client.close()
        kinds = [event["kind"] for event in server.events.values()]
        assert kinds == ["query", "feedback", "metric", "annotation", "query"]
