"""Lines from a file or a pipe as they come: what is there in one go is one batch, and no batch waits for another.

A pause of the writer therefore keeps nothing back, and a fast writer fills the pipe while a batch is made durable.
Signals do not cut a batch short: they end the reading, so that what was read can be recorded. Used by ``record``.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import BinaryIO, Self

MOST = 2**20  # bytes of a batch


class Lines:
    """The complete lines of a stream, in batches; a context manager that holds SIGINT and SIGTERM back meanwhile.

    ``ended_by`` is the signal that ended the reading, 0 if none did. ``unfinished`` is what was read of a line that
    had no end when a signal came. A second signal acts as it would without this.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._descriptor = stream.fileno()
        self.ended_by = 0
        self.unfinished = b""

    def __enter__(self) -> Self:
        self._told, self._tell = os.pipe()
        for end in (self._told, self._tell):
            os.set_blocking(end, False)
        self._poll = select.poll()
        for end in (self._descriptor, self._told):
            self._poll.register(end, select.POLLIN)
        self._wakeup_before = signal.set_wakeup_fd(self._tell)  # so that a signal wakes the poll below
        watched = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._end) for number in watched}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._told)
        os.close(self._tell)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.ended_by = number
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def batches(self) -> Iterator[list[bytes]]:
        """Lines without their line feeds, as many as have come; the last line of a stream needs none."""
        rest: list[bytes] = []  # pieces of the line that is not complete
        while True:
            data = self._read()
            if not data:
                break
            whole, line_feed, tail = data.rpartition(b"\n")
            if line_feed:
                yield b"".join((*rest, whole)).split(b"\n")
                rest = []
            rest.append(tail)
        last = b"".join(rest)
        if self.ended_by:
            self.unfinished = last
        elif last:
            yield [last]

    def _read(self) -> bytes:
        """What has come, after waiting for some; empty at the end of the stream or after a signal."""
        parts: list[bytes] = []
        size = 0
        while size < MOST and self._ready(wait=not parts):
            part = os.read(self._descriptor, MOST - size)
            if not part:
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _ready(self, *, wait: bool) -> bool:
        ready = self._poll.poll(None if wait else 0)
        return any(descriptor == self._descriptor for descriptor, _ in ready) and not self.ended_by
