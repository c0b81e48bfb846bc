"""ClickHouse behind its HTTP interface for tests: ``clickhouse_http.py`` as a process, started, cut off and killed.

The process holds the real engine; ``address`` is what a store is given. ``kill`` is an outage, ``start`` its end.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

SCRIPT = Path(__file__).with_name("clickhouse_http.py")
USER, PASSWORD = "default", "a secret: 100%/@"


class ClickHouseServer:
    """One server on one path. The port stays the same over a restart, as a host's does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"clickhouse://{USER}:a%20secret%3A%20100%25%2F%40@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        options = ["--port", str(self.port), "--path", str(self.path), "--user", USER, "--password", PASSWORD]
        self._process = subprocess.Popen([sys.executable, str(SCRIPT), *options], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self._process.stdout.readline())
        assert found, "the server did not start"
        self.port = int(found[1])

    def kill(self) -> None:
        """End it as a power switch would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:  # it hangs in its own goodbye now and then
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def faults(self, **values: object) -> dict[str, int]:
        """Set the faults, all others off; returns how many of each were injected so far."""
        query = urllib.parse.urlencode(values)
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/faults?{query}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as reply:
            return dict(json.load(reply)["injected"])
