"""A server as a process with children: started, watched (memory, processor time), asked to stop, killed.

A system (``system.py``) owns one at a time. Only processes that were started here are ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

MEMORY_LOOK_SECONDS = 0.25  # a look costs a few milliseconds on the cores that are measured


class Tree:
    """A process and whatever it started, in a session of its own; its output goes to a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._root = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._root.poll()

    def said(self) -> str:
        """All that it wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._root.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def memory(self) -> int:
        """Resident bytes of all of them now; what they share is counted in each."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def processor(self) -> float:
        """Seconds of processor time so far, children that have ended included."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])  # user, system, children's user, children's system
        return total

    def terminate(self, seconds: float) -> None:
        """SIGTERM to the first process, as a service manager sends it; SIGKILL for what is left after so long."""
        if self.ended is None:
            self._root.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._root.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to all of them at once; nothing gets to clean up."""
        processes = self.processes()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._root.pid, signal.SIGKILL)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._root.wait()
        psutil.wait_procs(processes, 10)


class Memory:
    """The most resident memory that a tree had meanwhile, in bytes."""

    def __init__(self, tree: Tree) -> None:
        self.most = tree.memory()
        self._tree = tree
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(MEMORY_LOOK_SECONDS):
            self.most = max(self.most, self._tree.memory())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.most = max(self.most, self._tree.memory())
