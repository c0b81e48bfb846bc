"""A collector whose sink is a server: durable once the receipt is there, repeated under its number, never for ever."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from client_support import SEED, WAIT
from scripted_server import Move, ScriptedServer

from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.sinks import HttpSink
from barograph.core.settings import CollectSettings
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidSettings, JournalError, ServerRefused, ServerUnavailable
from barograph_client.identifiers import IdentifierSource


def collector(sink: HttpSink, **options: bool) -> MetricsCollector:
    clock = SystemClock()
    return MetricsCollector(sink, clock, IdentifierSource(clock), CollectSettings(), **options)


@pytest.fixture
def sink(server: ScriptedServer) -> Iterator[HttpSink]:
    with HttpSink(server.url, "key", project="shop", environment={}, patience=2.0) as opened:
        yield opened


def test_a_lost_reply_is_sent_again_under_its_number(sink: HttpSink, server: ScriptedServer) -> None:
    server.script.extend([Move(take=True, hang_up=True), Move(status=503)])
    event_id = collector(sink).record_query_execution(SEED)
    assert server.ids == [event_id]
    assert len({request.batch for request in server.requests}) == 1
    assert len(server.requests) == 3
    assert server.requests[0].headers["Authorization"] == "Bearer key"
    assert server.requests[0].headers["Barograph-Project"] == "shop"


def test_threads_have_a_connection_each_and_numbers_of_one_row(sink: HttpSink, server: ScriptedServer) -> None:
    server.always = Move(take=True, delay=0.05)
    recorder = collector(sink)
    threads = [
        threading.Thread(target=lambda: [recorder.record_query_execution(SEED) for _ in range(5)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.counts.stored == len(server.events) == 20
    assert sorted(request.batch[1] for request in server.requests) == list(range(1, 21))
    assert len(server.connections) <= 4


def test_a_forked_child_is_another_client(sink: HttpSink, server: ScriptedServer) -> None:
    recorder = collector(sink)
    recorder.record_query_execution(SEED)
    pid = os.fork()
    if pid == 0:
        try:
            recorder.record_query_execution(SEED)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    recorder.record_query_execution(SEED)
    assert len(server.events) == 3
    batches = [request.batch for request in server.requests]
    assert batches[0][0] == batches[2][0] != batches[1][0]
    assert [number for _, number in batches] == [1, 1, 2]


def test_a_key_that_is_refused_is_an_error_of_the_journal(server: ScriptedServer) -> None:
    server.always = Move(status=401)
    with (
        HttpSink(server.url, environment={}, patience=0.1) as sink,
        pytest.raises(ServerUnavailable, match="401") as caught,
    ):
        collector(sink).record_query_execution(SEED)
    assert isinstance(caught.value, JournalError)
    assert "BAROGRAPH_KEY" in caught.value.hint


def test_what_the_server_refuses_is_an_error_and_in_the_background_a_drop(
    sink: HttpSink, server: ScriptedServer
) -> None:
    server.always = Move(status=422, body=b'{"field":"cost","reason":"is too much","hint":"Spend less"}')
    with pytest.raises(ServerRefused, match="cost: is too much"):
        collector(sink).record_query_execution(SEED)
    with collector(sink, background=True) as recorder:
        recorder.record_query_execution(SEED)
        assert recorder.flush(WAIT)
        assert recorder.counts.dropped == {"journal refused": 1}


def test_wrong_arguments_raise_at_once() -> None:
    with pytest.raises(InvalidSettings, match="URL"):
        HttpSink("gopher://host", environment={})
