"""The dispatcher: one thread that steps the notifiers of all projects of a process.

It is a thread of its own, so that an engine that hangs holds up neither a repetition nor an alert from outside. A
notifier is stepped at once when it is woken (a tick of the rules was kept, an alert came in), when a group is due, and
when a silence has changed in any process; for that one question a second is asked for all projects together.
"""

from __future__ import annotations

import contextlib
import threading

from barograph.alerts.notifier import Notifier
from barograph.alerts.routing.current_silences import CurrentSilences
from barograph.core.worker import Loop
from barograph_client.clock import Clock
from barograph_client.errors import BarographError

LOOK_SECONDS = 1.0  # between looks at all notifiers, and at the silences
_LEAST_SECONDS = 0.05  # between two looks at all, however close together their groups are due


class Dispatcher(Loop):
    """Steps the notifiers that were added, one a project, while it runs."""

    def __init__(self, silences: CurrentSilences, clock: Clock) -> None:
        super().__init__("barograph-routing", clock)
        self._silences = silences
        self._lock = threading.Lock()
        self._notifiers: dict[str, Notifier] = {}
        self._woken: set[str] = set()
        self._wake = threading.Event()
        self._all_at = clock.monotonic()  # when all are looked at next
        self.problem: BarographError | None = None  # why silences could not be read

    def add(self, notifier: Notifier) -> None:
        """Step that one from now on, in the place of another one of its project."""
        with self._lock:
            self._notifiers[notifier.project] = notifier
        notifier.on_wake = lambda: self._woke(notifier.project)
        self._woke(notifier.project)

    def _woke(self, project: str) -> None:
        with self._lock:
            self._woken.add(project)
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        super().stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._clock.wait(self._wake, self.look())

    def look(self) -> float:
        """Step what is to be stepped now; for how many seconds there is nothing to do, unless one is woken."""
        self._wake.clear()
        now = self._clock.monotonic()
        with self._lock:
            everyone = now >= self._all_at
            chosen = [self._notifiers[name] for name in (self._notifiers if everyone else self._woken)]
            self._woken = set()
        if everyone:
            self._all_at = now + LOOK_SECONDS
            self._read_silences()
        for notifier in chosen:
            if self._stopping.is_set():
                break
            with contextlib.suppress(Exception):  # told in its ``problem``, and tried again at the next look at all
                notifier.run_due(self._clock.now())
                self._all_at = min(self._all_at, self._clock.monotonic() + max(notifier.rests(), _LEAST_SECONDS))
        return max(0.0, self._all_at - self._clock.monotonic())

    def _read_silences(self) -> None:
        try:
            self._silences.look()
            self.problem = None
        except BarographError as error:
            self.problem = error
