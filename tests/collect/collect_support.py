"""What the collector's tests share: a validator, a collector on a real journal, and readers of its files."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.validate import Validator, encode
from barograph.core.event import Event
from barograph_client.clock import ManualClock
from barograph_client.identifiers import IdentifierSource

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SEED = {
    "query": "What is machine learning?", "response_time": 2.3, "retrieval_time": 0.8,
    "generation_time": 1.5, "cost": 0.02, "user_id": "user123", "accuracy_score": 0.85,
}  # fmt: skip
Open = Callable[..., MetricsCollector]


def validator(project: str = "default") -> Validator:
    """A validator whose clock stands still."""
    clock = ManualClock(START)
    return Validator(clock, IdentifierSource(clock, random.Random(7).randbytes), project)


def made(raw: object, kind: str = "query") -> Event:
    """The event that is made of an input."""
    return validator().event(kind, raw)


def line_of(event: Event) -> dict[str, object]:
    """The event as the journal keeps it."""
    line = json.loads(encode(event) + b"}")
    assert isinstance(line, dict)
    return line


def lines(directory: Path, pattern: str) -> list[dict[str, object]]:
    """All lines of JSON in the files that match; one that is being written, and has no end yet, is none."""
    whole = [path.read_bytes().rpartition(b"\n")[0] for path in sorted(directory.glob(pattern))]
    return [json.loads(line) for data in whole for line in data.splitlines()]


def stored(directory: Path, kind: str = "*") -> list[dict[str, object]]:
    """The callers' events in a data directory."""
    return lines(directory, f"journal/{kind}/*/[0-9][0-9][0-9][0-9][0-9][0-9].jsonl")


def rejected(directory: Path) -> list[dict[str, object]]:
    """The rejections in a data directory."""
    return lines(directory, "rejected/*.jsonl")
