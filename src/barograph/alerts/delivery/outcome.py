"""What became of one attempt to deliver a notification, and what a channel is.

Made by the channels, judged by ``sender``: sent, to be tried again later, or refused for good.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from barograph.alerts.alert import Notification


class Outcome(Struct, frozen=True):
    """``error`` says what went wrong, in one line without secrets; ``retry_after`` is how many seconds the other side
    asks to be left alone."""

    kind: Literal["sent", "later", "refused"]
    error: str = ""
    retry_after: float = 0.0


SENT = Outcome("sent")


class Channel(Protocol):
    """One way to one address. ``send`` makes a single attempt, in bounded time, and is called by one thread at a time.

    What it raises counts as a failure that may be over later.
    """

    def send(self, notification: Notification) -> Outcome:
        """Make one attempt."""
        ...
