"""How long to wait before the next try: exponential backoff with full jitter, and never less than the server asks for.

Used by ``delivery`` and ``drain``. The wait is drawn evenly between nothing and a bound that doubles with each
failure, so that the many programs which lost a server do not all come back to it at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from barograph_client.errors import ServerUnavailable


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: the bound of the first wait, that of all waits, what a server may ask for at most, the wait after a
    refusal that only a person can mend, and the time between looks for a spool that a dead process left, and for
    changed experiments."""

    first: float = 0.5
    longest: float = 30.0
    asked: float = 300.0
    slow: float = 60.0
    adopt: float = 30.0
    refresh: float = 30.0


class Backoff:
    """The waits of one thread. ``random`` gives a number in [0, 1)."""

    def __init__(self, pace: Pace, random: Callable[[], float]) -> None:
        self._pace = pace
        self._random = random
        self._failures = 0

    def after(self, error: ServerUnavailable) -> float:
        """Seconds to wait after one more failure."""
        bound = min(self._pace.longest, self._pace.first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        least = min(error.retry_after, self._pace.asked) if error.away else max(error.retry_after, self._pace.slow)
        return float(least + self._random() * bound)

    def succeeded(self) -> None:
        """The next failure is the first again."""
        self._failures = 0
