"""What a running Barograph does for itself now and then: compress the journal's closed days.

A thread of its own, because compressing takes long and holds up nobody: a segment is read the same before and after.
"""

from __future__ import annotations

from collections.abc import Callable

from barograph.core.worker import Loop
from barograph_client.clock import Clock
from barograph_client.errors import BarographError

PERIOD = 3600.0  # seconds between two looks: a closed day may wait an hour
SETTLING = 30.0  # after a start, so that a short-lived process does not begin what it cannot end


class Housekeeper(Loop):
    """Runs its tasks every hour until stopped; what goes wrong is told in ``problem`` and tried again."""

    def __init__(self, tasks: tuple[Callable[[], object], ...], clock: Clock) -> None:
        super().__init__("barograph-housekeeper", clock)
        self.problem: BarographError | None = None
        self._tasks = tasks

    def run_once(self) -> None:
        """Every task, one after the other; a task that fails keeps none of the others from running."""
        self.problem = None
        for task in self._tasks:
            if self._stopping.is_set():
                return
            try:
                task()
            except BarographError as error:
                self.problem = error

    def _run(self) -> None:
        pause = SETTLING
        while not self._clock.wait(self._stopping, pause):
            self.run_once()
            pause = PERIOD
