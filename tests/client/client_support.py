"""What the client's tests share."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from barograph_client import Client
from barograph_client.account import Counts

Open = Callable[..., Client]
WAIT = 30.0  # seconds after which a test that should have gone on fails
SEED = {
    "query": "What is machine learning?", "response_time": 2.3, "retrieval_time": 0.8,
    "generation_time": 1.5, "cost": 0.02, "user_id": "user123", "accuracy_score": 0.85,
}  # fmt: skip


def balanced(counts: Counts) -> bool:
    """Whether every event that came is somewhere."""
    told = counts.received + sum(counts.dropped.values()) + counts.spooled + counts.waiting
    return (
        counts.recorded + counts.adopted == told
        and counts.received == counts.stored + counts.rejected + counts.duplicate
    )


def files(spool: Path) -> list[Path]:
    """The batches in a spool, which others may be emptying."""
    found: list[Path] = []
    for folder in spool.glob("*-*-*-*-*"):
        with suppress(FileNotFoundError):
            found.extend(path for path in folder.iterdir() if path.suffix == ".batch")
    return sorted(found)


def start(program: str, *arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A Python process that runs a program."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None if environment is None else dict(environment),
    )
