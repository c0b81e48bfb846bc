"""Lets what waits in memory reach the disk when the program ends: at exit, on SIGTERM, with a multiprocessing child.

Used by ``background``. A child that multiprocessing forked ends with ``os._exit``, without what is registered with
``atexit``, but calls the finalizers of ``multiprocessing.util`` before; those of its parent it forgets as it starts.

A signal handler must not wait for a lock that the code it interrupted may hold, so it waits for nothing: a thread
flushes and then sends the signal again, which goes to whoever handled it before.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.util import Finalize

Handler = Callable[[int, FrameType | None], object] | int | None


class ExitFlush:
    """Calls ``flush`` at exit and, if made in the main thread, on SIGTERM before the previous handler.

    ``flush`` is bounded in time, and says whether it got through.
    """

    def __init__(self, flush: Callable[[], bool]) -> None:
        self._flush = flush
        self._pid = 0  # of the process that is flushing because of a signal
        self._done = False
        self._previous: Handler = None
        self._finalizer: Finalize | None = None
        self._finalizer_pid = 0  # of the child that it is for
        self._hooked = False
        self._gave_up = False
        atexit.register(self._at_exit)
        if threading.current_thread() is threading.main_thread():
            self._install()

    def _install(self) -> None:
        previous = signal.getsignal(signal.SIGTERM)
        if previous is None:  # set by something that is not Python, and cannot be called from here
            return
        try:
            signal.signal(signal.SIGTERM, self._on_signal)
        except ValueError:  # the main thread of an interpreter that is not the main one
            return
        self._previous = previous

    def watch_child(self) -> None:
        """In a child of multiprocessing: flush at its end. Called when there is something to flush."""
        util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
        if util is None or process is None:  # then this is no such child
            return
        if not self._hooked:  # a child of forkserver imports the program before it forgets all finalizers
            self._hooked = True
            util.register_after_fork(self, ExitFlush.watch_child)
        if process.parent_process() is not None and self._finalizer_pid != os.getpid():
            self._finalizer_pid, self._gave_up = os.getpid(), False
            self._finalizer = util.Finalize(None, self._at_child_end, exitpriority=0)

    def remove(self) -> None:
        """Do nothing from now on. The handler stays, and passes on, if another was put in front of it."""
        atexit.unregister(self._at_exit)
        if self._finalizer is not None:
            self._finalizer.cancel()
        self._done = True
        if self._previous is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._previous)

    def _at_exit(self) -> None:
        if not self._gave_up:
            self._flush()

    def _at_child_end(self) -> None:
        self._gave_up = not self._flush()  # a child that was spawned comes to ``_at_exit`` too

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._done:
            self._pass_on(number, frame)
        elif self._pid != os.getpid():  # once a process: the signal may be sent again while the flush goes on
            self._pid = os.getpid()
            try:
                _thread.start_new_thread(self._flush_and_resend, (number,))  # threading's own takes a lock
            except RuntimeError:
                self._pass_on(number, frame)

    def _flush_and_resend(self, number: int) -> None:
        try:
            self._flush()
        finally:
            self._done = True
            main = threading.main_thread().ident
            if main is not None:
                signal.pthread_kill(main, number)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._pid, self._done = 0, False  # whoever handles it may let the program go on
        previous = self._previous
        if callable(previous):
            previous(number, frame)
        elif previous == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
