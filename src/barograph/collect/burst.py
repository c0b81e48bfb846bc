"""When the assembler of traces stands back: while spans come in so fast that taking them needs the processor more.

Senders wait for an acknowledgement, and a trace has its grace to wait for anyway; so in the beginning of a burst the
two do not share the interpreter. Whether a span is late is told from the journal, so it does not depend on this.
"""

from __future__ import annotations

from collections.abc import Callable

from barograph_client.clock import Clock

BYTES_A_SECOND = 20 * 2**20  # of spans in the journal, more than which are a burst
LOOK_SECONDS = 0.2  # between two looks at it


class Burst:
    """Whether a burst goes first: for at most ``longest`` seconds, and not again before all put off is done.

    ``size`` tells how many bytes of spans the journal holds.
    """

    def __init__(self, clock: Clock, longest: float, size: Callable[[], int]) -> None:
        self._clock = clock
        self._longest = longest
        self._size = size
        self._looked: tuple[float, int] | None = None  # when, and the size then
        self._since: float | None = None  # when the burst began
        self._done = True

    def goes_first(self) -> bool:
        """Whether to stand back now."""
        now = self._clock.monotonic()
        if self._looked is None or now - self._looked[0] >= LOOK_SECONDS:
            size = self._size()
            looked_at, seen = self._looked or (now, size)
            self._looked = (now, size)
            if size - seen <= BYTES_A_SECOND * (now - looked_at):
                self._since = None
            elif self._since is None and self._done:
                self._since, self._done = looked_at, False
        return self._since is not None and now - self._since < self._longest

    def all_done(self) -> None:
        """Nothing is put off any more."""
        self._done = True
