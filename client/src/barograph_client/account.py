"""What became of the events in this process, and what a developer should hear of it.

Written by the client's threads, read by ``client``. Trouble is told in three ways: counts, the last refusals with
field and reason, and a line on the logger ``barograph_client``, at most one a minute.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from barograph_client.clock import Clock
from barograph_client.errors import ServerUnavailable, shorten
from barograph_client.exchange import Answer

KEPT = 32  # refusals
QUIET_SECONDS = 60.0  # between two lines in the log
_log = logging.getLogger("barograph_client")


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the events of this process.

    ``received = stored + rejected + duplicate`` is what the server answered for (rejected also counts what could not be
    put into JSON at all). ``dropped`` tells, by reason, what was let go; ``spooled`` waits on disk and ``waiting`` in
    memory. ``recorded + adopted = received + dropped + spooled + waiting`` once nothing moves; ``adopted`` came from
    the spool of a process that has ended.
    """

    recorded: int = 0
    adopted: int = 0
    received: int = 0
    stored: int = 0
    rejected: int = 0
    duplicate: int = 0
    dropped: Mapping[str, int] = {}
    spooled: int = 0
    waiting: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """An event that was refused: the field at fault, why, and what to do."""

    field: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.field}: {self.reason}" if self.field else self.reason
        return f"{text}. {self.hint}" if self.hint else text


class Account:
    """Counts of one process. Safe to share between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does."""
        self._lock = threading.Lock()
        self._stored = self._rejected = self._duplicate = self._adopted = 0
        self._dropped: dict[str, int] = {}
        self._refusals: deque[Refusal] = deque(maxlen=KEPT)
        self._problem = ""
        self._said_at: float | None = None

    @property
    def problem(self) -> str:
        """What keeps events from the server now, in a sentence; empty when nothing does."""
        return self._problem

    @property
    def refusals(self) -> list[Refusal]:
        """The last of them, oldest first."""
        with self._lock:
            return list(self._refusals)

    def answered(self, answer: Answer) -> None:
        """Count what a server answered."""
        refused = [Refusal(r.field, r.reason, r.hint) for r in answer.results if r.outcome == "rejected"]
        with self._lock:
            self._stored += answer.stored
            self._rejected += answer.rejected
            self._duplicate += answer.duplicate
            self._refusals.extend(refused)
        self._problem = ""
        if refused:
            self._say(f"{answer.rejected} of {answer.received} events were refused, the last for {refused[-1]}")

    def refused_here(self, refusals: list[Refusal]) -> None:
        """Count what could not be sent at all."""
        if not refusals:
            return
        with self._lock:
            self._rejected += len(refusals)
            self._refusals.extend(refusals)
        self._say(f"{len(refusals)} events cannot be sent, the last for {refusals[-1]}")

    def adopted(self, events: int) -> None:
        """Count what a process that has ended left in the spool."""
        with self._lock:
            self._adopted += events

    def dropped(self, reason: str, events: int) -> None:
        """Count what is lost."""
        if not events:
            return
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + events
        self._say(f"{events} events were dropped: {reason}")

    def troubled(self, error: ServerUnavailable | OSError) -> None:
        """Keep what is wrong until the next success."""
        if isinstance(error, OSError):
            self._problem = f"the spool cannot be written: {shorten(error.strerror or str(error))}"
        else:
            self._problem = str(error)
        self._say(self._problem)

    def found_elsewhere(self, server: str, spools: Mapping[Path, int]) -> None:
        """Say that nobody sends what was spooled for the server under another key or project."""
        if spools:
            where = ", ".join(str(spool) for spool in spools)
            _warn(
                f"{sum(spools.values())} events for {server} wait under another key or project and are not sent: start "
                f"a client once with that key and project, or remove {where}"
            )

    def counts(self, recorded: int, waiting: int, spooled: int, dropped: Mapping[str, int]) -> Counts:
        """All of it, with what the queue and the spool know."""
        with self._lock:
            both = dict(self._dropped)
            for reason, events in dropped.items():
                if events:
                    both[reason] = both.get(reason, 0) + events
            return Counts(
                recorded=recorded,
                adopted=self._adopted,
                received=self._stored + self._rejected + self._duplicate,
                stored=self._stored,
                rejected=self._rejected,
                duplicate=self._duplicate,
                dropped=both,
                spooled=spooled,
                waiting=waiting,
            )

    def _say(self, text: str) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if self._said_at is not None and now - self._said_at < QUIET_SECONDS:
                return
            self._said_at = now
        _warn(text)


def _warn(text: str) -> None:
    with suppress(Exception):  # a handler of the program's own; the thread goes on
        _log.warning("%s", shorten(text, 500))
