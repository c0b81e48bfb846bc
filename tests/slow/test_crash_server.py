"""SIGKILL of a real server in the middle of load, again and again: nothing acknowledged is lost, nothing is doubled.

Clients send numbered batches of JSON (with event ids and without) and traces as OTLP. What got no answer is sent again,
as it was, after the restart; some of what was acknowledged too. The journal remembers few ids here, so that a batch
sent again much later is known by its number alone.
"""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.serving import Serving
from tests.support.soak import times

ROUNDS = times(6, 40)
SEED = 20261124
TOML = """
[journal]
duplicate_window = 5000
duplicate_seconds = 600
[traces]
grace = 0.3
distributed_grace = 0.3
[collect]
sampler_seconds = 0
"""


class Sender(threading.Thread):
    """One client for one life of a server: sends what is unsure from the life before, then goes on."""

    def __init__(self, url: str, state: State) -> None:
        super().__init__()
        self.url, self.state, self.stopping = urlsplit(url), state, False

    def run(self) -> None:
        connection = http.client.HTTPConnection(str(self.url.hostname), self.url.port, timeout=30)
        try:
            while not self.stopping:
                state = self.state
                if state.unsure is None:
                    state.unsure = state.batch()
                path, headers, body = state.unsure
                connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
                reply = connection.getresponse()
                answer = json.loads(reply.read())
                assert reply.status == 200, answer
                state.acknowledge(answer)
                state.unsure = None
        except (OSError, http.client.HTTPException, ValueError):
            pass  # it died: whether it took the batch is not known
        finally:
            connection.close()


class State:
    """What a client remembers over the deaths of the server."""

    def __init__(self, number: int) -> None:
        self.client, self.number, self.sequence = str(uuid.uuid4()), number, 0
        self.chance = random.Random(SEED + number)
        self.unsure: tuple[str, dict[str, str], bytes] | None = None
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        self.acknowledged = 0

    def acknowledge(self, answer: dict[str, Any]) -> None:
        assert self.unsure is not None
        self.acknowledged += 1
        self.sent.append(self.unsure)

    def batch(self) -> tuple[str, dict[str, str], bytes]:
        if self.number % 2:
            return "/v1/traces", {}, json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": self.spans()}]}]}).encode()
        self.sequence += 1
        events = [{"query": f"{self.client} {self.sequence} {n}"} for n in range(self.chance.randrange(1, 40))]
        if self.number % 4:
            events = [{**event, "event_id": str(uuid.uuid4())} for event in events]
        numbered = {"Barograph-Client": self.client, "Barograph-Sequence": str(self.sequence)}
        return "/api/v1/events", numbered, json.dumps(events).encode()

    def spans(self) -> list[dict[str, object]]:
        """A few whole traces; the root comes last."""
        made: list[dict[str, object]] = []
        now = time.time_ns()
        for _ in range(3):
            trace = uuid.uuid4().hex
            for n, kind in ((2, "RETRIEVER"), (3, "LLM"), (1, "CHAIN")):
                attributes = {"openinference.span.kind": kind, "input.value": f"{trace}?", "output.value": "yes"}
                made.append({
                    "traceId": trace, "spanId": f"{n:016x}", "parentSpanId": "" if n == 1 else f"{1:016x}",
                    "name": kind.lower(), "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 10**7),
                    "attributes": [{"key": key, "value": {"stringValue": text}} for key, text in attributes.items()],
                })  # fmt: skip
        return made


def lines(directory: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The journal's lines, read without its help; a torn last line does not count."""
    for path in sorted((directory / "journal" / kind).rglob("*.jsonl")):
        data = path.read_bytes()
        yield from map(json.loads, data[: data.rfind(b"\n") + 1].splitlines())


def check(directory: Path, states: list[State]) -> None:
    """All that was acknowledged is there, and nothing is there twice."""
    texts = Counter(line["query"] for line in lines(directory, "query") if line.get("origin") != "internal")
    spans = Counter((line["trace_id"], line["span_id"]) for line in lines(directory, "span"))
    assert set(texts.values()) <= {1}
    assert set(spans.values()) <= {1}
    for state in states:
        for path, _, body in state.sent:
            if path == "/v1/traces":
                sent = json.loads(body)["resourceSpans"][0]["scopeSpans"][0]["spans"]
                assert all((span["traceId"], span["spanId"]) in spans for span in sent)
            else:
                assert all(event["query"] in texts for event in json.loads(body))


@pytest.mark.slow
def test_kills_in_the_middle_of_load_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    states = [State(number) for number in range(4)]
    server = Serving(tmp_path / "data", toml=TOML)
    with server:
        for round_ in range(ROUNDS):
            senders = [Sender(server.url, state) for state in states]
            for sender in senders:
                sender.start()
            time.sleep(0.1 + chance.random() * 0.9)
            server.stop(signal.SIGKILL)
            for sender in senders:
                sender.join()
            check(server.directory, states)
            server.start()
            for state in states:
                if state.sent and round_ % 2:  # the answer was lost on its way: the last one comes again
                    path, headers, body = state.sent[-1]
                    told = server.ask(path, body, headers).json
                    assert told.get("stored", 0) == 0
        assert all(state.acknowledged > ROUNDS for state in states)
        for state in states:  # what nobody knows the fate of, and the oldest, whose ids are long forgotten
            if state.unsure is not None:
                path, headers, body = state.unsure
                assert server.ask(path, body, headers).status == 200
                state.acknowledge({})
                state.unsure = None
            for path, headers, body in state.sent[:3] if headers_known(state) else ():
                told = server.ask(path, body, headers).json
                assert (told["stored"], told["duplicate"]) == (0, told["received"])
        assert sum(1 for _ in lines(server.directory, "query")) > 500
        check(server.directory, states)
        traces = {line["trace_id"] for line in lines(server.directory, "span")}

        def derived() -> Counter[str]:
            return Counter(
                one["trace_id"] for one in lines(server.directory, "query") if one.get("origin") == "internal"
            )

        assert server.until(lambda: derived().keys() == traces), server.errors()
        assert set(derived().values()) == {1}
        account = server.ask("/api/v1/stats").json
        assert account["received"] == account["stored"] + account["rejected"] + account["duplicate"]
        found = server.ask("/api/v1/query", {"metric": "queries", "last": "1d", "fresh": True}).json["rows"][0]["value"]
        assert found == sum(1 for _ in lines(server.directory, "query"))
        assert server.stop() == 0


def headers_known(state: State) -> bool:
    return state.number % 2 == 0


@pytest.mark.slow
class TestStopping:
    def test_a_second_signal_ends_at_once_and_loses_nothing_acknowledged(self, tmp_path: Path) -> None:
        with Serving(tmp_path / "data", toml=TOML) as server:
            states = [State(number) for number in range(4)]
            senders = [Sender(server.url, state) for state in states]
            for sender in senders:
                sender.start()
            time.sleep(0.5)
            with socket.create_connection((str(urlsplit(server.url).hostname), urlsplit(server.url).port or 0)) as held:
                held.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
                             b"Content-Type: application/json\r\n\r\n{")  # fmt: skip
                time.sleep(0.2)
                server.process.send_signal(signal.SIGTERM)
                time.sleep(0.2)
                began = time.monotonic()
                assert server.stop(signal.SIGTERM) == 128 + signal.SIGTERM
                assert time.monotonic() - began < 2
            for sender in senders:
                sender.join()
            check(server.directory, states)
            server.start()
            assert server.ask("/api/v1/stats").json["stored"] >= sum(state.acknowledged for state in states)

    def test_what_is_under_way_is_answered_and_kept(self, tmp_path: Path) -> None:
        with Serving(tmp_path / "data", toml=TOML) as server:
            address = (str(urlsplit(server.url).hostname), urlsplit(server.url).port or 0)
            body = b'[{"query":"under way"}]'
            head = "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            with socket.create_connection(address, timeout=20) as held:
                held.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:9])
                time.sleep(0.3)
                server.process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                with pytest.raises(OSError):
                    socket.create_connection(address, timeout=5).close()
                held.sendall(body[9:])
                assert b"200 OK" in held.recv(65536)
            assert server.process.wait(30) == 0
            assert [line["query"] for line in lines(server.directory, "query")] == ["under way"]


@pytest.mark.slow
def test_a_numbered_batch_is_known_when_its_ids_are_long_forgotten(tmp_path: Path) -> None:
    toml = TOML.replace(
        "duplicate_window = 5000\nduplicate_seconds = 600", "duplicate_window = 1000\nduplicate_seconds = 0"
    )
    named = [{"event_id": str(uuid.uuid4()), "query": f"named {n}"} for n in range(5)]
    batch = json.dumps([*named, {"query": "nameless"}]).encode()
    witness = {"event_id": str(uuid.uuid4()), "query": "witness"}
    numbered = {"Barograph-Client": str(uuid.uuid4()), "Barograph-Sequence": "1"}
    with Serving(tmp_path / "data", toml=toml) as server:
        assert server.ask("/api/v1/events", batch, numbered).json["stored"] == 6
        assert server.ask("/api/v1/events", witness).json["stored"] == 1
        for _ in range(6):
            assert server.ask("/api/v1/events", [{"query": "later"}] * 1000).json["stored"] == 1000
        assert server.ask("/api/v1/events", witness).json["stored"] == 1  # forgotten: it had no number
        assert server.ask("/api/v1/events", batch, numbered).json["duplicate"] == 6
        server.stop(signal.SIGKILL)
        server.start()
        assert server.ask("/api/v1/events", batch, numbered).json["duplicate"] == 6
