"""Where collected events go: the seam between the collector and whatever makes them durable.

``metrics_collector`` hands entries to an ``EventSink``; here is the one that is a journal in the same process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from barograph.journal.entry import Entry, Receipt, Rejection

if TYPE_CHECKING:  # a program that records over another sink need not load the journal and its compression
    from barograph.journal.journal import Journal


class EventSink(Protocol):
    """Takes events, and what was refused of the same batch, and answers when they are durable."""

    def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        """Hand them in, all or none. Raises JournalError here or from the receipt if they are not kept."""
        ...


class JournalSink:
    """The journal of a data directory that this process owns."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        return self._journal.submit(entries, rejections)
