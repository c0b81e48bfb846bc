"""A real ``barograph serve`` process, and the example programs run against it as a user runs them.

Used by the tests of this folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import forked

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
OURS = ("BAROGRAPH_", "OTEL_", "LANGSMITH_", "LANGCHAIN_")
NOWHERE = "http://127.0.0.1:9"  # a proxy that is not there: what an offline program never misses
START_SECONDS = 60
PROGRAM_SECONDS = 120


class Finished(NamedTuple):
    """What a program left behind."""

    code: int
    stdout: str
    stderr: str


def environment(**more: str) -> dict[str, str]:
    """The environment without anybody's settings, without a way out of this machine, and with ``more``."""
    found = {name: value for name, value in os.environ.items() if not name.upper().startswith(OURS)}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        found.pop(name, None)
        found[name.lower()] = NOWHERE
    found.pop("NO_PROXY", None)
    return found | {"no_proxy": "127.0.0.1,localhost"} | more


class RunningServer:
    """A server on a free port, with its data in ``directory``. A context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        command = [sys.executable, "-m", "barograph", "serve", "--data-dir", str(directory), "--port", "0"]
        self._log = (directory.parent / f"{directory.name}.log").open("w+b")
        self._process = forked.Popen(command, stdout=subprocess.PIPE, stderr=self._log, env=environment(), text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("Barograph listens on http://127.0.0.1:"):
            self.close()
            raise AssertionError(f"the server said {line!r}, and {self.log()}")
        self.address = line.split()[-1]

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *of_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop it well."""
        self._process.terminate()
        self._process.communicate(timeout=60)
        self._log.close()

    def log(self) -> str:
        """What it wrote to standard error."""
        return Path(self._log.name).read_text(encoding="utf-8")

    def get(self, path: str, key: str = "") -> Any:
        """The JSON that a route answers."""
        request = urllib.request.Request(f"{self.address}{path}")
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
            return json.load(response)

    def queries(self, pipeline: str, count: int, key: str = "") -> list[dict[str, Any]]:
        """The queries of a pipeline in the order of their time, once there are so many."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            items = self.get(f"/api/v1/queries?limit=100&where=pipeline:eq:{pipeline}", key)["items"]
            if len(items) >= count or time.monotonic() > deadline:
                assert len(items) == count, (pipeline, [item["query"] for item in items], self.log())
                return sorted(items, key=lambda item: str(item["time"]))
            time.sleep(0.2)

    def detail(self, trace_id: str) -> Any:
        """A query with its spans, feedback and scores."""
        return self.get(f"/api/v1/queries/{trace_id}?fresh=true")


def run(command: list[str], **variables: str) -> Finished:
    """Run a command with so many variables in its environment."""
    done = forked.run(command, env=environment(**variables), timeout=PROGRAM_SECONDS)
    return Finished(done.returncode, done.stdout, done.stderr)
