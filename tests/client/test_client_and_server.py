"""The client against a real ``barograph serve``: what one counts, the other holds, whoever of the two is killed."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_support import SEED, WAIT, balanced, files, start
from scripted_server import until
from test_client_processes import RECORDER, told
from tests.support.serving import Serving
from tests.support.soak import times

from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.sinks import HttpSink
from barograph.core.settings import CollectSettings
from barograph_client import Client
from barograph_client.backoff import Pace
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidEvent, ServerRefused, ServerUnavailable
from barograph_client.identifiers import IdentifierSource

QUICK = Pace(first=0.05, longest=0.2, slow=0.3, adopt=0.2)


class RealServer(Serving):
    """Its port stays the same from life to life."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        super().__init__(directory, "--port", str(port))

    @property
    def account(self) -> dict[str, int]:
        """Received, stored, rejected, duplicate, as the server tells."""
        told: dict[str, Any] = self.ask("/api/v1/stats").json
        return {name: told[name] for name in ("received", "stored", "rejected", "duplicate")}

    @property
    def stored(self) -> list[dict[str, Any]]:
        """The callers' events in the journal."""
        found = sorted((self.directory / "journal").glob("*/*/[0-9]*.jsonl"))
        lines = [line for path in found for line in path.read_bytes().splitlines()]
        events = [json.loads(line) for line in lines]
        return [event for event in events if event.get("kind") in ("query", "feedback")]


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealServer]:
    """A real server."""
    with RealServer(tmp_path / "data") as server:
        yield server


@pytest.fixture
def opened(real: RealServer, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Opens clients of the real server, and closes them."""
    clients: list[Client] = []

    def open_it(**options: Any) -> Client:
        chosen: dict[str, Any] = {"spool": tmp_path / "spool", "environment": {}, "pace": QUICK, **options}
        clients.append(Client(real.url, **chosen))
        return clients[-1]

    yield open_it
    for client in clients:
        client.close(5.0)


@pytest.mark.slow
class TestClient:
    def test_both_accounts_are_the_same(self, real: RealServer, opened: Callable[..., Client]) -> None:
        client = opened()
        client.record_many([SEED] * 2500 + [{"cost": -1}, "no json", {"kind": "feedback", "rating": 9}, 7])
        client.record_feedback({"trace_id": "t", "rating": 4})
        client.record_query_execution({"event_id": "twice"})
        client.record_query_execution({"event_id": "twice"})
        client.flush(WAIT)
        client.record_query_execution({"accuracy_score": 2})
        assert client.flush(WAIT)
        counts = client.counts
        assert (counts.stored, counts.rejected, counts.duplicate) == (2502, 5, 1)
        assert real.account == {"received": 2508, "stored": 2502, "rejected": 5, "duplicate": 1}
        assert [refusal.field for refusal in client.rejections] == ["cost", "", "rating", "", "accuracy_score"]
        assert balanced(counts)

    def test_a_spool_that_is_sent_again_is_duplicates_also_after_a_restart_of_the_server(
        self, real: RealServer, opened: Callable[..., Client], tmp_path: Path
    ) -> None:
        spool, copy = tmp_path / "spool", tmp_path / "copy"
        url = real.url
        real.stop()
        dead = start(RECORDER, url, spool, 4, 30)
        ids = told(dead)
        dead.wait()
        dead.communicate()
        assert len(ids) == 120
        shutil.copytree(spool, copy)
        for life in range(3):  # as if the client had died each time between the answer and the removal of the file
            real.start()
            client = opened()
            until(lambda client=client: client.counts.received == 120)
            client.close()
            assert client.counts.adopted == 120
            assert client.counts.duplicate == (120 if life else 0)
            assert real.account["stored"] == 120
            assert not files(spool)
            shutil.copytree(copy, spool, dirs_exist_ok=True)
            real.stop(signal.SIGKILL if life == 0 else signal.SIGTERM)
        assert sorted(event["event_id"] for event in real.stored) == sorted(ids)

    def test_a_key_that_comes_late_loses_nothing(
        self, real: RealServer, opened: Callable[..., Client], tmp_path: Path
    ) -> None:
        command = [sys.executable, "-m", "barograph", "key", "create", "--scope", "ingest", "--json"]
        real.stop()
        out = subprocess.check_output([*command, "-d", str(real.directory)], text=True)
        real.start()
        keyless = opened()
        ids = keyless.record_many([SEED] * 10)
        assert keyless.flush(WAIT)
        until(lambda: "answered 401" in keyless.problem)
        assert keyless.counts.spooled == 10
        keyless.close()
        client = opened(key=json.loads(out)["key"])
        until(lambda: client.counts.stored == 10)
        assert [event["event_id"] for event in real.stored] == ids
        assert client.problem == ""

    def test_neither_death_loses_or_doubles_an_event(self, real: RealServer, tmp_path: Path) -> None:
        spool = tmp_path / "spool"
        safe: list[str] = []
        for _ in range(lives := times(2, 10)):
            process = start(RECORDER, real.url, spool, 100_000, 20)
            assert process.stdout is not None
            for _ in range(20):
                safe.extend(process.stdout.readline().split())
            real.stop(signal.SIGKILL)
            for _ in range(20):  # while the server is gone
                safe.extend(process.stdout.readline().split())
            real.start()
            for _ in range(20):
                safe.extend(process.stdout.readline().split())
            process.kill()
            safe.extend(told(process))
            process.wait()
            process.communicate()
        with Client(real.url, spool=spool, environment={}, pace=QUICK):
            until(lambda: not files(spool))
        stored = [event["event_id"] for event in real.stored]
        assert len(stored) == len(set(stored))
        assert set(safe) <= set(stored)
        assert len(safe) >= lives * 60 * 20


def collector(sink: HttpSink, **options: Any) -> MetricsCollector:
    clock = SystemClock()
    return MetricsCollector(sink, clock, IdentifierSource(clock), CollectSettings(), **options)


@pytest.mark.slow
class TestHttpSink:
    def test_what_is_recorded_over_it_is_durable_on_return(self, real: RealServer) -> None:
        with HttpSink(real.url, environment={}) as sink, collector(sink) as recorder:
            event_id = recorder.record_query_execution(SEED)
            real.stop(signal.SIGKILL)
            assert [event["event_id"] for event in real.stored] == [event_id]
            assert real.stored[0].items() >= SEED.items()

    def test_refusals_go_along_and_are_in_the_account_of_the_server(self, real: RealServer) -> None:
        with HttpSink(real.url, environment={}) as sink, collector(sink) as recorder:
            with pytest.raises(InvalidEvent, match="cost"):
                recorder.record_query_execution({"cost": -1})
            results = recorder.record_many(
                [{**SEED, "event_id": "a"}, {"rating": 9, "kind": "feedback"}, {"event_id": "a"}]
            )
            assert results[0] == results[2] == "a"
            assert isinstance(results[1], InvalidEvent)
            counts = recorder.counts
            assert real.account == {"received": 4, "stored": 1, "rejected": 3 - 1, "duplicate": 1}
            assert (counts.received, counts.stored, counts.rejected, counts.duplicate) == (4, 1, 2, 1)
        kept = (real.directory / "rejected").glob("*.jsonl")
        originals = [json.loads(line)["original"] for path in kept for line in path.read_bytes().splitlines()]
        assert any("refused by the sender (cost: must be at least 0)" in original for original in originals)

    def test_in_the_background_it_waits_out_a_restart(self, real: RealServer) -> None:
        with HttpSink(real.url, environment={}, patience=0.2) as sink, collector(sink, background=True) as recorder:
            real.stop(signal.SIGKILL)
            for _ in range(1500):
                recorder.record_query_execution(SEED)
            assert not recorder.flush(1.0)
            real.start()
            assert recorder.flush(WAIT)
            assert recorder.counts.stored == 1500
            assert real.account["stored"] == 1500

    def test_a_server_that_is_away_or_refuses_is_a_journal_error(self, real: RealServer) -> None:
        with HttpSink(real.url, environment={}, patience=0.2) as sink, collector(sink) as recorder:
            with pytest.raises(ServerRefused, match="origin"):
                sink.submit([recorder._intake.take("query", SEED).entry._replace(  # type: ignore[union-attr]
                    body=b'{"kind":"query","event_id":"x","time":"2026-01-01T00:00:00Z","origin":"internal"'
                )])  # fmt: skip
            real.stop()
            with pytest.raises(ServerUnavailable, match="cannot be reached"):
                recorder.record_query_execution(SEED)
