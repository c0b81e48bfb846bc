"""Targeting conditions evaluated within a bound of CPU: what a server does with attributes that a request brings.

A pattern may backtrack for longer than anybody lives, holds the interpreter's lock meanwhile, and cannot be
interrupted. So conditions with patterns, and long ones, are evaluated in a process beside (``bounded_process``), by the
same code as in every program: an arm must not hang on who decides. The process is started when the first of them is
asked, and again when one took too long.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic

from barograph.experiments.bounded_process import CPU_SECONDS, FITS
from barograph_client.errors import ConditionUndecided
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.conditions import Attributes
from barograph_client.experiments.definition import Definition

SHORT = 300  # characters of a condition with its groups that takes 0.2 s at most for any attributes of a request
PATIENCE = 10.0  # seconds for an answer: far more than its CPU, on a machine where there is little of that
_PROGRAM = "barograph.experiments.bounded_process"
_HINT = "Write the condition with $in or $eq, or bound what its patterns repeat."


class EvaluatedApart(Exception):
    """A condition that the process beside evaluates was asked of an assigner that waits for nothing."""


class BoundedConditions:
    """The process beside, one for a server. Safe to share between threads: who asks waits for whoever asked before.

    ``asked`` counts the conditions that were to be evaluated in it, ``undecided`` those of them that were given up,
    there or before their turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._beside: _Beside | None = None
        self.asked = 0
        self.undecided = 0

    def within(self, seconds: float) -> Callable[[Definition], Assigner]:
        """What makes the arms of experiments for one request, whose attributes are JSON.

        All its conditions that are evaluated apart have so many seconds together, with the wait for those of others.
        ``decide`` of such an assigner also raises ConditionUndecided, where it was not found out whether they fit.
        """
        until = monotonic() + seconds
        return partial(_assigner, partial(self._ask, until))

    def close(self) -> None:
        """End the process, if there is one; the next condition starts it again."""
        with self._lock:
            self._end()

    def _ask(self, until: float, key: str, written: str, attributes: Attributes) -> bool:
        with self._counting:
            self.asked += 1
        line = json.dumps([written, attributes]).encode() + b"\n"
        left = until - monotonic()
        if left > 0 and self._lock.acquire(timeout=left):
            try:
                answer, why = self._answer(line)
            finally:
                self._lock.release()
        else:
            answer, why = b"", "other conditions took all the time there is for a request"
        if why:
            with self._counting:
                self.undecided += 1
            raise ConditionUndecided(
                f"whether the attributes fit the condition of {key} is not known: {why}", hint=_HINT
            )
        return answer == FITS

    def _answer(self, line: bytes) -> tuple[bytes, str]:
        """The answer to a line, or why there is none."""
        try:
            if self._beside is None:
                self._beside = _Beside()
            answer = self._beside.answer(line)
        except OSError as error:
            self._end()
            return b"", f"the process that evaluates it does not answer ({error})"
        return answer, "" if answer else self._end()

    def _end(self) -> str:
        """Why the process has ended; one that has not is ended."""
        beside, self._beside = self._beside, None
        code = 0 if beside is None else beside.end()
        return f"it takes more than {CPU_SECONDS:g} s of CPU" if code == -signal.SIGPROF else "its process has ended"


def at_once(definition: Definition) -> Assigner:
    """The arms where nobody may wait: ``decide`` raises EvaluatedApart for a condition that may take long."""
    return _assigner(_not_here, definition)


def _assigner(apart: Callable[[str, str, Attributes], bool], definition: Definition) -> Assigner:
    """The arms by a condition that is evaluated here if it is short, else by ``apart`` of its key and its text."""
    if not definition.condition:
        return Assigner(definition)
    written = json.dumps([definition.condition, definition.groups])
    if len(written) <= SHORT and '"$regex' not in written:
        return Assigner(definition)
    return Assigner(definition, partial(apart, definition.key, written))


def _not_here(key: str, written: str, attributes: Attributes) -> bool:
    raise EvaluatedApart(key)


class _Beside:
    """The running process. Raises OSError where it cannot be started."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair()
        self._link.settimeout(PATIENCE)
        paths = os.pathsep.join(filter(None, sys.path))  # what is installed here, however it was
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-S", "-m", _PROGRAM],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    env={**os.environ, "PYTHONPATH": paths},
                    start_new_session=True,  # a Ctrl-C in the terminal is for the server, which ends this one
                )
        except BaseException:
            self._link.close()
            raise

    def answer(self, line: bytes) -> bytes:
        """The answer; empty where the process ended over it. Raises OSError where none comes."""
        try:
            self._link.sendall(line)
            return self._link.recv(1)
        except (BrokenPipeError, ConnectionResetError):
            return b""

    def end(self) -> int:
        """End it; what it ended with, in the manner of ``Popen.returncode``."""
        self._link.close()
        self._process.kill()  # one that has ended stays ended as it did
        code: int = self._process.wait()
        return code
