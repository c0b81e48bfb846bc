"""A thread that does a piece of work again and again until it is stopped, and outlives whatever goes wrong in it.

The store's loader and the assembler of traces are such workers. ``Loop`` is what they share with other threads of ours.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from barograph_client.clock import Clock
from barograph_client.errors import BarographError

SLOWEST_RETRY = 5.0  # seconds between attempts while the work fails


class Loop(ABC):
    """A thread that runs ``_run`` until it is stopped; it looks at ``_stopping``."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after what it is doing, and wait for that."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """What the thread does."""


class Worker(Loop):
    """Calls ``work`` at once again while it returns true, else ``interval`` seconds after it began the last time.

    After work that took as long as that, a tenth of it is left to others, who may wait for the same locks. What goes
    wrong costs a delay, which grows, and is told in ``problem`` until it is over, under the word ``doing``.
    """

    def __init__(self, name: str, doing: str, work: Callable[[], bool], clock: Clock, interval: float) -> None:
        super().__init__(name, clock)
        self.problem: BarographError | None = None
        self._doing = doing
        self._work = work
        self._interval = interval

    def _run(self) -> None:
        pause = self._interval
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            try:
                more = self._work()
                taken = self._clock.monotonic() - began
                self.problem, pause = None, 0.0 if more else max(self._interval - taken, self._interval / 10)
            except BarographError as error:
                self.problem, pause = error, min(max(pause * 2, self._interval), SLOWEST_RETRY)
            except Exception as error:  # it must outlive what nobody thought of; it is told, and tried again
                self.problem = BarographError(f"{self._doing} failed: {type(error).__name__}: {error}")
                pause = SLOWEST_RETRY
            if pause:
                self._clock.wait(self._stopping, pause)
