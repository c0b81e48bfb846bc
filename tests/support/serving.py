"""A real ``barograph serve`` process on a free port of loopback, and small ways to speak to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import forked

START_SECONDS = 60.0
_PREFIX = "Barograph listens on "


class Reply(NamedTuple):
    """An answer over HTTP; ``json`` reads its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Serving:
    """The process. A context manager; ``toml`` becomes barograph.toml of a directory that has none.

    ``program`` is what Python runs instead of the package: a script that changes something and calls its ``main``.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        toml: str = "",
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "barograph"),
    ):
        directory.mkdir(parents=True, exist_ok=True)
        if toml:
            (directory / "barograph.toml").write_text(toml, encoding="utf-8")
        self.directory = directory
        self._arguments = arguments
        self._program = program
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("BAROGRAPH_", "OTEL_"))}
        self._environment = {**clean, **(environment or {})}
        self.start()

    def start(self) -> None:
        """Start it, or start it again; returns when it listens."""
        command = [sys.executable, *self._program, "serve", "--data-dir", str(self.directory), *self._arguments]
        if "--port" not in self._arguments:
            command += ["--port", "0"]
        self.log = (self.directory.parent / f"{self.directory.name}.log").open("ab")
        self.process = forked.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=self._environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if not line.startswith(_PREFIX):
            self.stop(signal.SIGKILL)
            raise AssertionError(line + self.errors())
        self.url = line.removeprefix(_PREFIX).strip()

    def errors(self) -> str:
        """What it wrote to standard error."""
        return Path(self.log.name).read_text(encoding="utf-8", errors="replace")

    def ask(
        self,
        path: str,
        body: bytes | object | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        method: str | None = None,
        key: str = "",
        timeout: float = 60.0,
    ) -> Reply:
        """GET, or POST where there is a body: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        if key:
            all_headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url + path, data, all_headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:  # noqa: S310
                return Reply(reply.status, dict(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, dict(error.headers), error.read())

    def until(self, ask: Callable[[], Any], seconds: float = 30.0) -> Any:
        """What ``ask`` returns once it is true; whatever it returned last when that takes too long."""
        end = time.monotonic() + seconds
        while not (found := ask()) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """End it with a signal; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.log.close()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.log.closed:
            self.stop(signal.SIGKILL)
