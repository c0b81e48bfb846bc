"""A numbered batch is known again, wherever the server was killed while it kept it."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

from tests.support.serving import Serving

NUMBER = {"Barograph-Client": "7f0c6c1e-1b9e-4f5e-9a55-0d6a7f3b2c11", "Barograph-Sequence": "1"}
BATCH = [{"query": "without an id"}, {"query": "with one", "event_id": "mine"}, {"rating": 4, "kind": "feedback"}]


def test_events_without_ids_are_the_same_when_the_batch_comes_again(tmp_path: Path) -> None:
    with Serving(tmp_path / "data") as server:
        first = server.ask("/api/v1/events", BATCH, NUMBER).json
        again = server.ask("/api/v1/events", BATCH, NUMBER).json
        other = server.ask("/api/v1/events", BATCH[:1], {**NUMBER, "Barograph-Sequence": "2"}).json
    assert (first["stored"], again["duplicate"], other["stored"]) == (3, 3, 1)
    assert [one["event_id"] for one in again["results"]] == [one["event_id"] for one in first["results"]]
    assert other["results"][0]["event_id"] != first["results"][0]["event_id"]


def test_a_kill_between_the_events_and_the_line_of_their_batch_doubles_nothing(tmp_path: Path) -> None:
    with Serving(tmp_path / "data") as server:
        assert server.ask("/api/v1/events", BATCH, NUMBER).json["stored"] == 3
        server.stop(signal.SIGKILL)
        shutil.rmtree(server.directory / "journal" / "batch")  # as if the kill had come before it was written
        server.start()
        again = server.ask("/api/v1/events", BATCH, NUMBER).json
        assert (again["stored"], again["duplicate"]) == (0, 3)
        lines = [json.loads(line) for path in (server.directory / "journal" / "query").rglob("*.jsonl")
                 for line in path.read_text().splitlines()]  # fmt: skip
        assert len(lines) == 2
