"""What a hostile or broken client may cost: bounds of size, number and time, each with an answer that says so."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import math
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import zstandard
from tests.support.serving import Serving

MIB = 2**20
TOML = f"""
[server]
body_bytes = {MIB}
plain_bytes = {4 * MIB}
batch_events = 100
header_seconds = 1.0
body_seconds = 1.5
idle_seconds = 2.0
connections = 60
[collect]
sampler_seconds = 0
"""
EVENTS = "/api/v1/events"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("bounds") / "data", toml=TOML) as running:
        yield running
        assert running.process.poll() is None
        assert "a fault while answering" not in running.errors()


@contextlib.contextmanager
def connected(server: Serving, seconds: float = 10.0) -> Iterator[socket.socket]:
    address = urlsplit(server.url)
    assert address.hostname
    with socket.create_connection((address.hostname, address.port or 0), timeout=seconds) as one:
        yield one


def spoken(server: Serving, data: bytes) -> bytes:
    """What comes back, until the server closes the connection."""
    with connected(server) as one:
        one.sendall(data)
        return rest_of(one)


def rest_of(one: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := one.recv(65536):
            found += part
    return found


def statuses(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


def head(method: str = "POST", path: str = EVENTS, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


JSON = "Content-Type: application/json"


class TestSizes:
    def test_a_large_body_is_refused_before_it_is_read(self, server: Serving) -> None:
        answer = spoken(server, head("POST", EVENTS, JSON, f"Content-Length: {10**12}", "Connection: close") + b"{")
        assert statuses(answer) == [413]
        assert f"{MIB:,} bytes".encode() in answer

    def test_so_is_one_that_does_not_say_its_length(self, server: Serving) -> None:
        chunk = b"%x\r\n%s\r\n" % (65536, b" " * 65536)
        with connected(server) as one:
            one.sendall(head("POST", EVENTS, JSON, "Transfer-Encoding: chunked", "Connection: close"))
            with contextlib.suppress(OSError):
                for _ in range(40):
                    one.sendall(chunk)
            assert statuses(rest_of(one)) in ([413], [])  # a reset may overtake the answer
        assert server.ask("/healthz").status == 200

    def test_a_batch_has_at_most_so_many_events(self, server: Serving) -> None:
        before = server.ask("/api/v1/stats").json["received"]
        lines = {"Content-Type": "application/x-ndjson"}
        for body, headers in (([{"query": "x"}] * 101, {}), (b'{"query":"x"}\n' * 101, lines)):
            reply = server.ask(EVENTS, body, headers)
            assert (reply.status, reply.json["detail"]) == (413, "a batch has at most 100 events")
            assert reply.json["hint"]
        assert server.ask("/api/v1/stats").json["received"] == before
        assert server.ask(EVENTS, [{"query": "x"}] * 100).json["stored"] == 100

    def test_fields_and_tags_have_bounds_that_name_themselves(self, server: Serving) -> None:
        for event, field in (
            ({"tags": {f"t{n}": "x" for n in range(1000)}}, "tags"),
            ({"tags": {"t": "x" * 10**5}}, "tags"),
            ({"tags": {"x" * 5000: "t"}}, "tags"),
            ({"query": "x" * 900_000}, "query"),
            ({"user_id": "x" * 5000}, "user_id"),
            ({"documents": [{"id": str(n)} for n in range(3000)]}, "documents"),
        ):
            reply = server.ask(EVENTS, event)
            assert reply.status == 422, field
            assert reply.json["field"].startswith(field)
            assert len(reply.body) < 4096

    def test_deep_and_long_json_is_refused(self, server: Serving) -> None:
        for body in (b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'[{"a":' + b"[" * 9000 + b"]" * 9000,
                     b'{"cost": ' + b"9" * 100_000 + b"}"):  # fmt: skip
            reply = server.ask(EVENTS, body)
            assert reply.status in (400, 422), body[:20]
            assert len(reply.body) < 4096


class TestCompression:
    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
    def test_a_bomb_costs_no_more_than_the_bound(self, server: Serving, encoding: str) -> None:
        size = 600 * MIB
        bomb = bombs()[encoding]
        assert len(bomb) < MIB < size
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        for _ in range(8):
            reply = server.ask(EVENTS, bomb, {"Content-Encoding": encoding})
            assert (reply.status, reply.json["type"]) == (413, "urn:barograph:problem:too-large")
            assert process.memory_info().rss < before + 128 * MIB
        one = server.ask("/v1/traces", bomb, {"Content-Encoding": encoding})
        assert one.status == 413

    def test_what_is_damaged_or_named_wrongly_is_refused(self, server: Serving) -> None:
        body = json.dumps([{"query": "x"}]).encode()
        whole = {"gzip": gzip.compress(body), "zstd": zstandard.compress(body), "deflate": zlib.compress(body)}
        for encoding, packed in whole.items():
            assert server.ask(EVENTS, packed, {"Content-Encoding": encoding}).json["stored"] == 1
            for wrong in (packed[:-5], body, b"", packed + b"x"):
                assert server.ask(EVENTS, wrong, {"Content-Encoding": encoding}).status == 400, (encoding, wrong)
        for encoding in ("br", "gzip, zstd", "x", "chunked"):
            reply = server.ask(EVENTS, body, {"Content-Encoding": encoding})
            assert (reply.status, "gzip" in reply.json["hint"]) == (415, True)

    def test_a_frame_that_asks_for_a_large_window_is_refused(self, server: Serving) -> None:
        packer = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
        )
        maker = packer.compressobj()
        frame = maker.compress(b" " * 1000) + maker.flush()
        assert server.ask(EVENTS, frame, {"Content-Encoding": "zstd"}).status == 400


@functools.cache
def bombs() -> dict[str, bytes]:
    """600 MiB of nothing, packed."""
    found = {}
    for encoding, packer in (("gzip", zlib.compressobj(9, wbits=31)), ("deflate", zlib.compressobj(9))):
        found[encoding] = b"".join(packer.compress(bytes(MIB)) for _ in range(600)) + packer.flush()
    maker = zstandard.ZstdCompressor().compressobj()
    found["zstd"] = b"".join(maker.compress(bytes(MIB)) for _ in range(600)) + maker.flush()
    return found


class TestSlowness:
    def test_a_head_that_comes_slowly_is_ended(self, server: Serving) -> None:
        began = time.monotonic()
        with connected(server) as one, contextlib.suppress(OSError):
            one.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\n")
            for n in range(40):
                one.sendall(b"X-%d: y\r\n" % n)
                time.sleep(0.1)
                if time.monotonic() - began > 3:
                    break
        assert time.monotonic() - began < 3
        assert server.ask("/healthz").status == 200

    def test_one_that_never_comes_is_ended_too(self, server: Serving) -> None:
        began = time.monotonic()
        assert statuses(spoken(server, b"")) in ([408], [])
        assert statuses(spoken(server, b"GET / HT")) == [408]
        assert time.monotonic() - began < 5

    def test_a_body_that_comes_slowly_is_ended_and_nothing_of_it_is_kept(self, server: Serving) -> None:
        before = server.ask("/api/v1/stats").json["received"]
        with connected(server) as one:
            one.sendall(head("POST", EVENTS, JSON, "Content-Length: 1000") + b'[{"query":"x"},')
            one.settimeout(5)
            answer = one.recv(65536)
        assert statuses(answer) == [408]
        assert server.ask("/api/v1/stats").json["received"] == before

    def test_the_body_of_a_question_that_comes_slowly_is_ended_too(self, server: Serving) -> None:
        with connected(server) as one:
            one.sendall(head("POST", "/api/v1/query", JSON, "Content-Length: 1000") + b'{"metric":')
            one.settimeout(5)
            assert statuses(one.recv(65536)) == [408]

    @pytest.mark.parametrize(("path", "status"), [("/healthz", 405), ("/nothing", 404), (EVENTS, 415), ("GET", 200)])
    @pytest.mark.parametrize("trickle", [True, False])
    def test_a_client_that_was_answered_and_keeps_its_body_back_is_ended(
        self, server: Serving, path: str, status: int, trickle: bool
    ) -> None:
        method, path = ("GET", "/healthz") if path == "GET" else ("POST", path)
        began = time.monotonic()
        with connected(server) as one:
            one.sendall(head(method, path, "Content-Length: 100000") + b"x")
            answer = one.recv(65536)
            one.settimeout(0.1)
            while time.monotonic() - began < 6:
                with contextlib.suppress(TimeoutError):
                    try:
                        if trickle:
                            one.sendall(b"x")
                        if not (part := one.recv(65536)):
                            break
                    except (ConnectionResetError, BrokenPipeError):
                        break
                    answer += part
        assert statuses(answer) == [status]
        assert time.monotonic() - began < 5

    def test_a_body_that_comes_whole_after_its_answer_spoils_nothing(self, server: Serving) -> None:
        size = 300_000
        with connected(server) as one:
            one.sendall(head("POST", "/nothing", f"Content-Length: {size}") + b"x")
            answer = one.recv(65536)
            one.sendall(b"x" * (size - 1) + head("GET", "/healthz", "Connection: close"))
            assert statuses(answer + rest_of(one)) == [404, 200]
        with connected(server) as one:
            one.sendall(head("POST", "/nothing", "Content-Length: 5") + b"x")
            answer = one.recv(65536)
            one.sendall(b"xxxx")
            assert statuses(answer + rest_of(one)) == [404]  # and it is closed when it is idle

    def test_a_client_that_leaves_within_a_question_is_no_fault(self, server: Serving) -> None:
        for _ in range(5):
            with connected(server) as one:
                one.sendall(head("POST", "/api/v1/query", JSON, "Content-Length: 1000") + b'{"metric":')
                time.sleep(0.05)
        time.sleep(0.2)
        assert "Traceback" not in server.errors()
        assert "a fault while answering" not in server.errors()

    def test_an_idle_connection_is_closed(self, server: Serving) -> None:
        with connected(server) as one:
            one.sendall(head("GET", "/healthz"))
            assert rest_of(one).endswith(b'{"status":"ok"}')

    def test_a_client_that_goes_away_within_its_body_leaves_nothing(self, server: Serving) -> None:
        before = server.ask("/api/v1/stats").json["received"]
        for _ in range(20):
            with connected(server) as one:
                one.sendall(head("POST", EVENTS, JSON, "Content-Length: 1000") + b'[{"query":"x"},')
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        assert server.ask("/api/v1/stats").json["received"] == before

    def test_a_client_that_never_reads_holds_up_nobody(self, server: Serving) -> None:
        with connected(server) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            with contextlib.suppress(OSError):
                one.settimeout(1)
                for _ in range(300):
                    one.sendall(head("GET", "/api/v1/openapi.json") * 20)
            began = time.monotonic()
            assert server.ask("/healthz").status == 200
            assert time.monotonic() - began < 2


class TestConnections:
    def test_more_than_there_may_be_are_turned_away_and_come_in_later(self, server: Serving) -> None:
        with contextlib.ExitStack() as stack:
            many = [stack.enter_context(connected(server)) for _ in range(80)]
            time.sleep(0.3)
            answered = []
            for one in many:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError, OSError):
                    answered.append(one.recv(1000))
            assert any(statuses(answer) == [503] and b"Retry-After" in answer for answer in answered)
        assert server.until(lambda: server.ask("/healthz").status == 200, 5)

    def test_half_open_sockets_are_let_go(self, server: Serving) -> None:
        time.sleep(0.2)
        for _ in range(30):
            with connected(server) as one:
                one.shutdown(socket.SHUT_WR)
        for _ in range(30):
            with connected(server) as one:
                one.sendall(b"POST /v1/tra")
        assert server.until(lambda: gauge(server, "barograph_connections_open") <= 2, 8)

    def test_requests_on_one_connection_are_answered_in_order(self, server: Serving) -> None:
        last = head("GET", "/api/v1/stats", "Connection: close")
        answer = spoken(server, head("GET", "/healthz") + head("GET", "/nothing") + head("GET", "/healthz") * 20 + last)
        assert statuses(answer) == [200, 404, *[200] * 21]


def gauge(server: Serving, name: str) -> float:
    text = server.ask("/metrics").body.decode()
    found = (float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))
    return next(found, math.inf)  # nothing is told where there are too many connections for this one


class TestOddRequests:
    @pytest.mark.parametrize("data", [
        b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9, b"GET\r\n\r\n", b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n", b"GET /healthz HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /api/v1/events HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /healthz HTTP/1.1\r\nBad Header: x\r\n\r\n",
    ])  # fmt: skip
    def test_what_is_no_http_ends_its_connection(self, server: Serving, data: bytes) -> None:
        assert statuses(spoken(server, data))[:1] in ([400], [408], [])
        assert server.ask("/healthz").status == 200

    def test_a_head_that_is_too_long_is_refused(self, server: Serving) -> None:
        long = "x" * 70_000
        assert statuses(spoken(server, head("GET", f"/api/v1/queries?f={long}"))) == [431]
        assert statuses(spoken(server, head("GET", "/healthz", f"X: {long}", "Connection: close"))) == [431]
        many = [f"X-{n}: {'y' * 50}" for n in range(2000)]
        assert statuses(spoken(server, head("GET", "/healthz", *many, "Connection: close"))) == [431]

    def test_paths_are_taken_as_they_are_written(self, server: Serving) -> None:
        for path in ("/%2e%2e/etc/passwd", "/api/v1/../../etc/passwd", "/api//v1/stats", "/api/v1/stats/", "/%00", "*",
                     "/api/v1/queries/", "//evil.example/x", "/api/v1/queries/%2e%2e", "/api%2fv1%2fstats",
                     "/%ff%fe"):  # fmt: skip
            answer = spoken(server, head("GET", path, "Connection: close"))
            assert statuses(answer) in ([404], [400], [200]), path
            assert b"root:" not in answer
            assert b"\r\nlocation:" not in answer.lower() or b"evil" not in answer, path

    def test_methods_that_are_not_taken_are_told(self, server: Serving) -> None:
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            reply = server.ask(EVENTS, method=method)
            assert reply.status == 405
            assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
            assert reply.json["status"] == 405
        assert server.ask("/v1/traces").status == 405
        whole, bare = server.ask("/api/v1/stats"), server.ask("/api/v1/stats", method="HEAD")
        assert (bare.status, bare.body) == (200, b"")
        assert bare.headers["content-type"] == whole.headers["content-type"]

    def test_a_body_of_another_kind_or_none_is_refused(self, server: Serving) -> None:
        for kind in ("", "text/plain", "application/xml", "application/x-protobuf"):
            assert server.ask(EVENTS, b"{}", {"Content-Type": kind}).status == 415
        for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
            assert server.ask(EVENTS, b"{}", {"Content-Type": kind}).status == 200
        for body in (b"", b"  \n", b"garbage", b"\xff\xfe", b"[", b"[1,2", b"nul", b"\xef\xbb\xbf["):
            assert server.ask(EVENTS, body).status in (400, 422), body


class TestWaiting:
    def test_bodies_that_do_not_come_keep_nobody_out(self, tmp_path: Path) -> None:
        toml = "[server]\nrequests = 3\nbody_seconds = 20.0\n[collect]\nsampler_seconds = 0\n"
        with Serving(tmp_path / "data", toml=toml) as running, contextlib.ExitStack() as stack:
            body = b'[{"query":"slow"}]'
            slow = [stack.enter_context(connected(running)) for _ in range(6)]
            for one in slow:
                one.sendall(head("POST", EVENTS, JSON, f"Content-Length: {len(body)}", "Connection: close") + body[:5])
            assert running.until(lambda: gauge(running, "barograph_requests_held_bytes") == 30, 5)
            assert running.ask(EVENTS, {"query": "x"}).status == 200
            for one in slow:
                one.sendall(body[5:])
                assert statuses(rest_of(one)) == [200]
            assert running.ask("/api/v1/stats").json["stored"] == 7
            assert gauge(running, "barograph_requests_held_bytes") == 0

    def test_more_than_can_be_worked_on_is_told_to_wait_and_nothing_of_it_is_kept(self, tmp_path: Path) -> None:
        toml = "[server]\nrequests = 1\n[collect]\nsampler_seconds = 0\n"
        batch = [{"query": f"question {number} " * 20} for number in range(3_000)]
        with Serving(tmp_path / "data", toml=toml) as running, ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: running.ask(EVENTS, batch), range(24)))
            taken = [reply for reply in replies if reply.status == 200]
            told = [reply for reply in replies if reply.status == 503]
            assert taken
            assert told
            assert len(taken) + len(told) == 24
            assert all(int(reply.headers["retry-after"]) >= 1 for reply in told)
            assert running.ask("/api/v1/stats").json["received"] == 3_000 * len(taken)
            assert gauge(running, "barograph_requests_turned_away_total") == len(told)
            assert gauge(running, "barograph_requests_held_bytes") == 0
