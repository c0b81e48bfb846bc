"""What the server did not take: counted by status for ``/metrics``, and told in the log when it is about keys.

A program whose key is wrong loses what it sends, and mostly does not say so; the operator finds it here. At most one
line a minute, whoever knocks.
"""

from __future__ import annotations

import logging
from collections import Counter
from http import HTTPStatus

from barograph_client.clock import Clock

log = logging.getLogger("barograph.server")
_TOLD = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_LOG_SECONDS = 60.0


class Refused:
    """Counts answers that are no success. For one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.by_status: Counter[int] = Counter()
        self._untold = 0
        self._told_at = -_LOG_SECONDS

    def count(self, status: int) -> None:
        """One more answer with that status."""
        self.by_status[status] += 1
        if status not in _TOLD:
            return
        self._untold += 1
        now = self._clock.monotonic()
        if now - self._told_at >= _LOG_SECONDS:
            log.warning(
                "%d requests without a key that may do it were refused; nothing of them was kept. "
                "`barograph key list` shows the keys.",
                self._untold,
            )
            self._untold, self._told_at = 0, now
