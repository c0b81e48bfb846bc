"""While the server is away nothing is lost, nothing is doubled, and nobody is pestered."""

from __future__ import annotations

import json
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from client_support import SEED, WAIT, Open, balanced, files
from scripted_server import Move, ScriptedServer, until

from barograph_client import Client
from barograph_client.backoff import Backoff, Pace
from barograph_client.errors import ServerUnavailable

OK = Move(take=True)


class TestSpool:
    def test_what_came_while_the_server_was_away_arrives_in_order(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path
    ) -> None:
        client = open_client()
        ids = [client.record_query_execution(SEED)]
        assert client.flush(WAIT)
        server.stop()
        for _ in range(5):
            ids.append(client.record_query_execution(SEED))
            assert client.flush(WAIT)
        assert (client.counts.spooled, client.counts.waiting) == (5, 0)
        assert len(files(tmp_path / "spool")) == 5
        assert "cannot be reached: Connection refused" in client.problem
        server.start()
        ids.append(client.record_query_execution(SEED))
        until(lambda: len(server.events) == 7)
        assert server.ids == ids
        until(lambda: not client.problem)
        assert [request.batch[1] for request in server.requests] == [1, 2, 3, 4, 5, 6, 7]
        assert len({request.batch[0] for request in server.requests}) == 1
        until(lambda: not files(tmp_path / "spool"))
        until(lambda: client.counts.stored == 7)
        assert balanced(client.counts)

    def test_a_reply_that_was_lost_is_no_second_event(self, open_client: Open, server: ScriptedServer) -> None:
        server.script.extend(
            [OK, Move(take=True, hang_up=True), Move(take=True, hang_up=True), Move(take=True, status=503)]
        )
        client = open_client()
        for _ in range(2):
            client.record_many([SEED] * 50)
            assert client.flush(WAIT)
        until(lambda: client.counts.received == 100)
        assert len(server.events) == 100
        assert server.doubles == 0
        assert (client.counts.stored, client.counts.duplicate) == (50, 50)
        assert len({request.body for request in server.requests[1:]}) == 1  # byte for byte
        assert len({request.batch for request in server.requests[1:]}) == 1

    def test_an_idle_connection_that_the_server_closed_is_no_outage(
        self, open_client: Open, server: ScriptedServer
    ) -> None:
        client = open_client()
        client.record_query_execution(SEED)
        assert client.flush(WAIT)
        server.stop()
        server.start()
        client.record_query_execution(SEED)
        assert client.flush(WAIT)
        assert client.problem == ""
        assert len(server.events) == 2
        assert client.counts.spooled == 0

    def test_a_spool_that_cannot_be_written_leaves_events_in_memory(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        server.stop()
        client = open_client(spool=tmp_path / "file", queue=10)
        ids = client.record_many([SEED] * 10)
        until(lambda: "spool cannot be written" in client.problem)
        assert not client.flush(0.05)
        server.start()
        assert client.flush(WAIT)
        assert server.ids == ids
        assert balanced(client.counts)

    def test_without_a_spool_the_queue_waits_for_the_server(self, open_client: Open, server: ScriptedServer) -> None:
        server.script.extend([Move(status=503), Move(take=True, hang_up=True), Move(status=500)])
        client = open_client(spool=False)
        ids = client.record_many([SEED] * 3)
        assert client.flush(WAIT)
        assert server.ids == ids
        assert len({request.batch for request in server.requests}) == 1
        assert (client.counts.received, client.counts.duplicate) == (3, 3)

    def test_closing_without_server_and_spool_drops_and_counts(self, open_client: Open, server: ScriptedServer) -> None:
        server.stop()
        client = open_client(spool=False)
        client.record_many([SEED] * 7)
        client.close(0.3)
        assert client.counts.dropped == {"server away": 7}
        client.record_query_execution(SEED)
        assert client.counts.dropped == {"server away": 7, "closed": 1}
        assert balanced(client.counts)

    def test_closing_while_the_server_is_silent_leaves_everything_on_disk(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path
    ) -> None:
        server.always = Move(delay=20.0)
        client = open_client(timeout=30.0, batch=10)
        client.record_many([SEED] * 35)
        began = time.monotonic()
        client.close(0.5)
        assert time.monotonic() - began < 5
        assert sum(int(path.name.split("-")[1]) for path in files(tmp_path / "spool")) == 35
        server.always = None
        second = open_client()
        until(lambda: len(server.events) == 35)
        until(lambda: second.counts.received == 35)
        assert second.counts.adopted == 35
        assert balanced(second.counts)


class TestRefusals:
    def test_a_body_that_is_too_large_is_divided(self, open_client: Open, server: ScriptedServer) -> None:
        server.script.extend([Move(status=413), Move(status=413), OK, OK, OK])
        client = open_client()
        ids = client.record_many([SEED] * 8)
        assert client.flush(WAIT)
        assert server.ids == ids
        assert [len(request.lines) for request in server.requests] == [8, 4, 2, 2, 4]
        assert len({request.batch for request in server.requests}) == 5

    def test_a_large_body_that_is_refused_before_it_is_read(self, open_client: Open, server: ScriptedServer) -> None:
        body = json.dumps({"detail": "a body has at most 10 bytes"}).encode()
        server.always = Move(status=413, read=False, body=body)
        client = open_client()
        client.record_query_execution({"query": random.Random(7).randbytes(400_000).hex()})
        assert client.flush(WAIT)
        counts = client.counts
        assert (
            counts.rejected + counts.spooled == 1
        )  # the answer may be lost with the connection; then it is tried again

    def test_the_halves_of_a_batch_are_the_same_after_a_crash_in_between(
        self, open_client: Open, server: ScriptedServer
    ) -> None:
        server.script.extend([Move(status=400), OK, Move(status=503), Move(status=400), OK, OK])
        client = open_client()
        ids = client.record_many([SEED] * 4)
        assert client.flush(WAIT)
        until(lambda: client.counts.received == 4)
        assert server.ids == ids
        assert server.doubles == 0
        batches = [request.batch for request in server.requests]
        assert batches[:3] == batches[3:]

    def test_one_bad_event_costs_the_others_nothing(self, open_client: Open, server: ScriptedServer) -> None:
        problem = {"title": "Invalid event", "field": "cost", "reason": "must be at least 0", "hint": "USD"}
        bad = Move(status=422, body=json.dumps(problem).encode())
        server.script.extend([bad, OK, bad, bad, OK])
        client = open_client()
        client.record_many([SEED] * 4)
        assert client.flush(WAIT)
        assert (client.counts.stored, client.counts.rejected) == (3, 1)
        (refusal,) = client.rejections
        assert (refusal.field, refusal.reason, refusal.hint) == ("cost", "must be at least 0", "USD")

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_a_server_that_refuses_everything_is_asked_a_bounded_number_of_times(
        self, open_client: Open, server: ScriptedServer, status: int
    ) -> None:
        server.always = Move(status=status)
        client = open_client()
        client.record_many([SEED] * 1000)
        assert client.flush(WAIT)
        assert client.counts.rejected == 1000
        whole = {request.batch for request in server.requests if request.batch[0] == server.requests[0].batch[0]}
        assert len(server.requests) <= 256 * len(whole)
        assert balanced(client.counts)


class TestPace:
    def test_retry_after_is_honoured(self, open_client: Open, server: ScriptedServer) -> None:
        server.script.append(Move(status=503, headers={"Retry-After": "1"}))
        client = open_client()
        client.record_query_execution(SEED)
        client.flush(WAIT)
        client.record_query_execution(SEED)
        until(lambda: len(server.events) == 2)
        first, second = server.requests[:2]
        assert 1.0 <= second.at - first.at < 3.0

    def test_the_wait_doubles_up_to_a_bound_and_is_drawn_below_it(self) -> None:
        drawn = random.Random(3)
        backoff = Backoff(Pace(first=1, longest=8), drawn.random)
        waits = [backoff.after(ServerUnavailable("away")) for _ in range(200)]
        assert all(wait <= bound for wait, bound in zip(waits, (1, 2, 4), strict=False))
        assert max(waits) <= 8
        assert min(waits[4:]) < 1 < 7 < max(waits[4:])
        backoff.succeeded()
        assert backoff.after(ServerUnavailable("away")) <= 1

    def test_what_a_server_asks_for_has_a_bound(self) -> None:
        backoff = Backoff(Pace(first=1, longest=8, asked=100, slow=60), lambda: 0.5)
        assert backoff.after(ServerUnavailable("away", retry_after=10)) == 10.5
        assert backoff.after(ServerUnavailable("away", retry_after=1e9)) == 101
        assert backoff.after(ServerUnavailable("no key", away=False)) == 62

    def test_a_date_in_retry_after_is_understood(self, open_client: Open, server: ScriptedServer) -> None:
        server.script.append(Move(status=429, headers={"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}))
        server.script.append(Move(status=429, headers={"Retry-After": "Fri, 01 Jan 1999 00:00:00 GMT"}))
        server.script.append(Move(status=429, headers={"Retry-After": "soon"}))
        client = open_client(pace=Pace(first=0.01, longest=0.02, asked=0.5))
        client.record_query_execution(SEED)
        until(lambda: server.events)
        times = [request.at for request in server.requests]
        assert times[1] - times[0] >= 0.5
        assert times[3] - times[1] < 1.0


class TestTransport:
    def test_batches_share_a_connection_and_only_large_ones_are_compressed(
        self, open_client: Open, server: ScriptedServer
    ) -> None:
        client = open_client()
        client.record_query_execution(SEED)
        assert client.flush(WAIT)
        client.record_many([SEED] * 100)
        assert client.flush(WAIT)
        small, large = server.requests
        assert "Content-Encoding" not in small.headers
        assert large.headers["Content-Encoding"] == "gzip"
        assert len(large.body) < len(b"\n".join(large.lines)) / 2
        assert len(server.connections) == 1

    def test_a_server_that_talks_rubbish_is_survived(self, open_client: Open, server: ScriptedServer) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        answers = [
            b"\x00\xff" * 5000,
            b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}",
            b"",
            b"HTTP/1.1 99999 ?\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500,
        ]
        told = []

        def talk() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)
                    told.append(answer)

        thread = threading.Thread(target=talk)
        thread.start()
        client = open_client(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        client.record_query_execution(SEED)
        assert client.flush(WAIT)
        until(lambda: len(told) == len(answers))
        thread.join()
        listener.close()
        assert client.counts.spooled == 1
        assert balanced(client.counts)

    def test_a_proxy_from_the_environment_is_used_and_excepted(self, open_client: Open, server: ScriptedServer) -> None:
        environment = {"http_proxy": server.url, "NO_PROXY": "other.test"}
        client = open_client(url="http://barograph.test:4318/base/", environment=environment)
        client.record_query_execution(SEED)
        assert client.flush(WAIT)
        assert server.requests[0].path == "http://barograph.test:4318/base/api/v1/events"
        assert client.counts.stored == 1

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
    def test_tls_needs_a_certificate_that_is_trusted(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path
    ) -> None:
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        made = [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"),
            *("-keyout", key, "-out", certificate),
        ]
        subprocess.run(made, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.stop()
        server.tls = context
        server.start()
        url = f"https://localhost:{server.port}"
        with Client(url, environment={}, spool=False, ca_file=str(certificate)) as trusting:
            trusting.record_query_execution(SEED)
            assert trusting.flush(WAIT)
            assert trusting.counts.stored == 1
        wary = open_client(url=url)
        wary.record_query_execution(SEED)
        assert wary.flush(WAIT)
        assert "is not trusted" in wary.problem
        assert len(server.events) == 1
