"""Sticky buckets: which arm a unit got before, so that changed weights move nobody who was assigned already.

A store keeps, for a unit, an arm for each experiment and bucket version, under the names that GrowthBook's sticky
bucket documents use (``experiment__version``). ``MemoryStickyStore`` lasts as long as the process; ``StickyFile``
is shared by the processes of a machine and outlasts them. Used by ``assignment``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import sqlite3

MOST_UNITS = 100_000  # whose arms are kept in memory
MOST_ROWS = 2_000_000  # in a file; the oldest are forgotten, and the hash decides anew
_SWEEP = 1_000  # new rows between two looks at how many there are
_BUSY_SECONDS = 0.2  # to wait for another process that writes
_TABLE = """
CREATE TABLE IF NOT EXISTS arms (
    unit_kind TEXT, unit_id TEXT, experiment TEXT, arm TEXT NOT NULL, PRIMARY KEY (unit_kind, unit_id, experiment)
)"""


class StickyStore(Protocol):
    """Where arms are kept. Safe to share between threads; raises nothing."""

    def of(self, unit_kind: str, unit_id: str) -> Mapping[str, str]:
        """The unit's arms by ``experiment__version``."""
        ...

    def keep(self, unit_kind: str, unit_id: str, experiment: str, arm: str) -> str:
        """Keep the arm under ``experiment__version``; the one that stands, if another was kept before."""
        ...

    def close(self) -> None:
        """Let go of what is held open; the next use opens it again."""
        ...


class MemoryStickyStore:
    """Arms of this process; those of the units that came first are forgotten when there are too many."""

    def __init__(self, most: int = MOST_UNITS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._arms: dict[tuple[str, str], dict[str, str]] = {}

    def of(self, unit_kind: str, unit_id: str) -> Mapping[str, str]:
        return self._arms.get((unit_kind, unit_id), {})

    def keep(self, unit_kind: str, unit_id: str, experiment: str, arm: str) -> str:
        with self._lock:
            before = self._arms.get((unit_kind, unit_id), {})
            kept = before.get(experiment, arm)
            if experiment not in before:  # a new dictionary, because others may be reading the old one
                self._arms[unit_kind, unit_id] = {**before, experiment: arm}
                if len(self._arms) > self._most:
                    del self._arms[next(iter(self._arms))]
        return kept

    def close(self) -> None:
        """Nothing is held open."""

    def after_fork(self) -> None:
        """In the child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()


class StickyFile:
    """Arms in a SQLite file of the machine, with those of the units seen last in memory.

    While the file cannot be read or written, what is in memory has to do, and ``problem`` says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = MemoryStickyStore()
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._since_sweep = 0
        self.problem = ""

    def of(self, unit_kind: str, unit_id: str) -> Mapping[str, str]:
        found = self._seen.of(unit_kind, unit_id)
        if found:
            return found
        rows = self._run("SELECT experiment, arm FROM arms WHERE unit_kind = ? AND unit_id = ?", unit_kind, unit_id)
        for experiment, arm in rows:
            self._seen.keep(unit_kind, unit_id, experiment, arm)
        return self._seen.of(unit_kind, unit_id)

    def keep(self, unit_kind: str, unit_id: str, experiment: str, arm: str) -> str:
        self._run("INSERT OR IGNORE INTO arms VALUES (?, ?, ?, ?)", unit_kind, unit_id, experiment, arm)
        found = self._run(
            "SELECT arm, arm FROM arms WHERE unit_kind = ? AND unit_id = ? AND experiment = ?",
            unit_kind, unit_id, experiment,
        )  # fmt: skip
        self._since_sweep += 1
        if self._since_sweep >= _SWEEP:
            self._since_sweep = 0
            self._run("DELETE FROM arms WHERE rowid <= (SELECT max(rowid) FROM arms) - ?", MOST_ROWS)
        return self._seen.keep(unit_kind, unit_id, experiment, found[0][0] if found else arm)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def after_fork(self) -> None:
        """In the child: the connection and the locks are the parent's."""
        self._parents = self._connection  # never closed here: that would release the parent's locks
        self._seen.after_fork()
        self._start_afresh()

    def _run(self, statement: str, *values: object) -> list[tuple[str, str]]:
        import sqlite3  # a program without sticky experiments needs none of it

        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                rows: list[tuple[str, str]] = self._connection.execute(statement, values).fetchall()
            except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
                self.problem = f"sticky buckets cannot be kept in {self._path}: {error}"
                return []
            self.problem = ""
            return rows

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )  # fmt: skip
        with suppress(sqlite3.Error):  # some network file systems have none
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_TABLE)
        return connection
