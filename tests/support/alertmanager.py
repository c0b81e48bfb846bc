"""The real Alertmanager (Debian's ``prometheus-alertmanager``, 0.25) as a process on loopback, started and killed."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

BINARY = shutil.which("prometheus-alertmanager")
needed = pytest.mark.skipif(
    BINARY is None, reason="prometheus-alertmanager (Debian's package of that name) is not there"
)


def send(url: str, path: str, body: object) -> None:
    """POST of JSON that is to be taken, to this one or to ours."""
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


class Alertmanager:
    """The process on a folder that holds its state, so that it can be started again. A context manager."""

    def __init__(self, folder: Path, config: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yml").write_text(config, encoding="utf-8")
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it, or start it again; returns when it is ready."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [
            str(BINARY), f"--config.file={self._folder / 'config.yml'}", f"--storage.path={self._folder}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        self.stop(signal.SIGKILL)
        raise RuntimeError("the real Alertmanager did not start")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)
