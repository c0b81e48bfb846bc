"""Commands as processes of their own that need not load the package first: they are forked from one that has.

``Popen`` and ``run`` are those of ``subprocess``. A plain ``python -m module …`` or ``python -c code …`` is forked from
a process that this one starts with the first of them; it has its own arguments, environment, directory, signals and
three streams, ends like any interpreter, and is a child of this process. Whatever else is asked for is started afresh.
Not for what an interpreter reads of its environment when it starts, nor for a terminal, nor for a test of the start.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

LOADED = (
    "barograph.cli.main", "barograph.cli.alerts", "barograph.cli.local_desk", "barograph.cli.remote_desk",
    "barograph.dashboard.dashboard_interface", "barograph.demo.play", "barograph.server.serve",
)  # fmt: skip  # not the engine: it has threads as soon as it is loaded
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h: a process whose parent has ended becomes a child of ours
_MOST = 2**20  # bytes of a request


class _Loaded:
    """The process that has the package loaded, as it is seen from here."""

    def __init__(self) -> None:
        assert ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0) == 0
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip

    def fork(self, job: dict[str, Any], streams: list[int]) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(job).encode()], streams)
            answer = self._socket.recv(64)
        assert answer, "the process that has the package loaded has ended"
        return int(answer)

    def end(self) -> None:
        self._socket.close()
        self._process.wait()


_loaded: list[_Loaded] = []


class Popen(subprocess.Popen[Any]):
    """``subprocess.Popen``, forked where that comes to the same."""

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any,
        startupinfo: Any, creationflags: Any, shell: Any, *more: Any,
    ) -> None:  # fmt: skip
        pipes = more[:6]
        if [args[0], args[1:2] in (["-m"], ["-c"])] != [sys.executable, True] or preexec_fn or pass_fds or shell:
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell, *more
            )
            return
        if not _loaded:
            _loaded.append(_Loaded())
            atexit.register(_loaded[0].end)
        job = {
            "words": [os.fspath(word) for word in args[1:]],
            "directory": os.fspath(cwd or os.getcwd()),
            "environment": dict(os.environ if env is None else env),
        }
        theirs = (pipes[0], pipes[3], pipes[5])
        self.pid = _loaded[0].fork(job, [number if pipe == -1 else pipe for number, pipe in enumerate(theirs)])
        self._child_created = True
        self._close_pipe_fds(*pipes)


def run(
    words: Sequence[str], *, input: str | None = None, timeout: float = 60.0, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """``subprocess.run``, with what was written as texts."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        pipes["stdin"] = subprocess.PIPE
    with Popen(words, text=True, **pipes, **options) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    finished = subprocess.CompletedProcess(words, process.returncode, out, err)
    if check:
        finished.check_returncode()
    return finished


def _job(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns, in the process that was forked, what it is to do."""
    while True:
        request, streams, _, _ = socket.recv_fds(requests, _MOST, 3)
        if not request:
            sys.exit()
        ours, theirs = os.pipe()
        between = os.fork()
        if between == 0:
            forked = os.fork()
            if forked == 0:
                break
            os.write(theirs, str(forked).encode())
            os._exit(0)
        os.waitpid(between, 0)  # now the other is a child of who asked
        requests.send(os.read(ours, 64))
        for descriptor in (ours, theirs, *streams):
            os.close(descriptor)
    requests.close()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for descriptor in (ours, theirs, *streams):
        os.close(descriptor)
    return dict(json.loads(request))


def _main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0] = ""  # as with -m and -c
    for name in LOADED:
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1  # threads would be missing in what is forked
    gc.collect()
    gc.freeze()
    at_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # that of a terminal is for who asks
    job = _job(requests)
    signal.signal(signal.SIGINT, at_interrupt)
    os.chdir(job["directory"])
    os.environ.clear()
    os.environ.update(job["environment"])
    how, what, *words = job["words"]
    sys.argv = [how, *words]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})


if __name__ == "__main__":
    _main()
