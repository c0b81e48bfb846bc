"""Many clients at once, good, hostile and broken: no crash, bounded memory, and an account that balances.

One process of clients: senders of OTLP and JSON in bursts on connections of their own, sockets that stay half open,
and garbage. Every answer is counted; what was acknowledged must be in the journal, once, and in the engine. The run
of the tests lasts ``SECONDS``; `make soak` runs the same for ten minutes.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import resource
import time
import uuid
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from tests.support.serving import Serving
from tests.support.soak import times

SECONDS = times(15, 600)
CONNECTIONS = 1_000
SEED = 20261124
MOST_MEMORY = 1_100 * 2**20  # bytes of the server's resident memory
JSON = "application/json"
BROKEN = [
    b"",
    b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Le",
    b"POST /v1/traces HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{",
    b"POST /v1/traces HTTP/1.1\r\nContent-Type: application/x-protobuf\r\nContent-Length: 300\r\n\r\n",
    b"POST /api/v1/events HTTP/1.1\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    b"Content-Length: 300\r\n\r\n",
]
ID = re.compile(rb'"event_id":"([^"]+)"')
TOML = """
[server]
header_seconds = 3.0
body_seconds = 5.0
connections = 1200
[traces]
grace = 0.5
distributed_grace = 0.5
[collect]
sampler_seconds = 0
"""


class Clients:
    """The clients of one server, and what they were told."""

    def __init__(self, server: Serving) -> None:
        address = urlsplit(server.url)
        self.host, self.port = str(address.hostname), int(address.port or 0)
        self.told: Counter[str] = Counter()  # received, stored, rejected, duplicate
        self.kept: set[bytes] = set()  # ids of events that were acknowledged as stored
        self.spans = 0  # acknowledged ones
        self.statuses: Counter[int] = Counter()
        self.broken = 0  # connections that ended without an answer
        self.end = time.monotonic() + SECONDS

    async def post(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str, body: bytes) -> object:
        """The answer to a request that was taken; None to one that was not."""
        reader, writer = streams
        head = f"POST {path} HTTP/1.1\r\nHost: [::1]\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        line = await reader.readline()
        if not line:
            raise ConnectionResetError
        status, length = int(line.split()[1]), 0
        while (header := await reader.readline()) not in (b"\r\n", b""):
            name, _, text = header.partition(b":")
            length = int(text) if name.lower() == b"content-length" else length
        found = await reader.readexactly(length)
        self.statuses[status] += 1
        if status == 503:
            await asyncio.sleep(random.random())
        return json.loads(found) if status == 200 else None

    async def sender(self, number: int, chance: random.Random) -> None:
        """Bursts of events or spans on one connection, which is made again where it ends."""
        while time.monotonic() < self.end:
            try:
                streams = await asyncio.open_connection(self.host, self.port)
            except OSError:
                self.broken += 1
                await asyncio.sleep(0.2)
                continue
            try:
                while time.monotonic() < self.end:
                    await (self.spans_of if number % 2 else self.events_of)(streams, chance)
                    await asyncio.sleep(chance.random() * 4)
            except (OSError, asyncio.IncompleteReadError):
                self.broken += 1
            finally:
                streams[1].close()

    async def events_of(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], chance: random.Random
    ) -> None:
        events: list[object] = [
            {"event_id": str(uuid.uuid4()), "query": "how long", "response_time": chance.random(), "user_id": f"u{n}"}
            for n in range(chance.randrange(1, 30))
        ]
        events += [{"response_time": "never"}] * chance.randrange(2) + events[: chance.randrange(2)]
        answer = await self.post(streams, "/api/v1/events", json.dumps(events).encode())
        if isinstance(answer, dict):
            assert answer["received"] == len(events)
            for name in ("received", "stored", "rejected", "duplicate"):
                self.told[name] += answer[name]
            self.kept.update(one["event_id"].encode() for one in answer["results"] if one["outcome"] == "stored")

    async def spans_of(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], chance: random.Random) -> None:
        trace, now = uuid.uuid4().hex, time.time_ns()
        made: list[dict[str, str]] = [
            {"traceId": trace, "spanId": f"{n + 1:016x}", "parentSpanId": f"{1:016x}" if n else "", "name": "step",
             "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 10**6)}
            for n in range(chance.randrange(1, 12))
        ]  # fmt: skip
        bad = [{"traceId": "00", "spanId": "x"}] * chance.randrange(2)
        body = {"resourceSpans": [{"scopeSpans": [{"spans": made + bad}]}]}
        answer = await self.post(streams, "/v1/traces", json.dumps(body).encode())
        if isinstance(answer, dict):
            refused = int(answer.get("partialSuccess", {}).get("rejectedSpans", 0))
            assert refused == len(bad)
            self.told.update(received=len(made + bad), stored=len(made), rejected=refused)
            self.spans += len(made)

    async def nuisance(self, chance: random.Random) -> None:
        """Half a request, garbage, a body that is no event: none of it may be counted as anything."""
        while time.monotonic() < self.end:
            try:
                _, writer = await asyncio.open_connection(self.host, self.port)
                writer.write(chance.choice(BROKEN) + chance.randbytes(300))
                await writer.drain()
                if chance.random() < 0.5:
                    writer.write_eof()
                await asyncio.sleep(chance.random() * 4)
                writer.close()
            except OSError:
                await asyncio.sleep(0.1)

    async def all(self) -> None:
        many = range(CONNECTIONS)
        tasks = [self.sender(n, random.Random(SEED + n)) for n in many if n % 5]
        tasks += [self.nuisance(random.Random(SEED + n)) for n in many if not n % 5]
        await asyncio.gather(*tasks)


def journal_ids(directory: Path, kind: str) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for path in (directory / "journal" / kind).rglob("*.jsonl"):
        found.update(ID.findall(path.read_bytes()))
    return found


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 240)
def test_a_thousand_connections_break_nothing_and_every_event_is_accounted_for(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = 0
    with Serving(tmp_path / "data", toml=TOML) as server:
        process, clients = psutil.Process(server.process.pid), Clients(server)

        async def watched() -> None:
            nonlocal most
            running = asyncio.create_task(clients.all())
            while not running.done():
                most = max(most, process.memory_info().rss)
                await asyncio.sleep(0.2)
            await running

        asyncio.run(watched())
        assert server.process.poll() is None
        assert server.until(lambda: server.ask("/readyz").status == 200), server.errors()
        account = server.ask("/api/v1/stats").json
        assert {name: account[name] for name in clients.told} == dict(clients.told)
        assert account["received"] == account["stored"] + account["rejected"] + account["duplicate"]
        assert set(clients.statuses) <= {200, 503}, clients.statuses
        assert clients.broken < CONNECTIONS / 10
        assert clients.told["stored"] > 100 * SECONDS
        journal = journal_ids(server.directory, "query")
        assert clients.kept <= journal.keys()
        assert journal_ids(server.directory, "span").total() == clients.spans
        assert set(journal.values()) == {1}
        server.ask("/api/v1/status?fresh=true")
        found = server.ask("/api/v1/query", {"metric": "queries", "last": "1d", "fresh": True}).json["rows"][0]["value"]
        assert found == len(journal)
        assert most < MOST_MEMORY, f"{most / 2**20:.0f} MiB"
        assert "Traceback" not in server.errors()
        assert server.stop() == 0
