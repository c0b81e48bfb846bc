"""The silences of all projects in memory, read again when one was made or ended, here or by another process.

Shared by the notifiers of a process: one small question tells whether anything has changed in any project.
"""

from __future__ import annotations

import threading

from barograph.control.silences import Silence, SilenceRepository


class CurrentSilences:
    """Silences in force or still to come, by project; also some that are over by now. Safe to share between threads."""

    def __init__(self, repository: SilenceRepository) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._changes: int | None = None  # that are known
        self._of: dict[str, tuple[Silence, ...]] = {}

    def look(self) -> bool:
        """Read them again if any has changed; whether one had. Raises ControlError."""
        with self._lock:
            changes = self._repository.changes()
            if changes == self._changes:
                return False
            found: dict[str, list[Silence]] = {}
            for silence in self._repository.current_of_all():
                found.setdefault(silence.project, []).append(silence)
            self._of = {project: tuple(silences) for project, silences in found.items()}
            self._changes = changes
            return True

    def of(self, project: str) -> tuple[Silence, ...]:
        """The project's, as of the last look; the first of all is made here. Raises ControlError."""
        if self._changes is None:
            self.look()
        return self._of.get(project, ())
