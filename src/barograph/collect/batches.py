"""The memory of client batches: which (client, sequence) was taken, so that a batch sent again is known for ever.

The journal's window knows the ids of the last million events; a client that could not reach the server for a day
sends a spool whose ids may have left it. So each numbered batch leaves a line of its own in the journal, in the
commit that keeps its events, and behind them: where the line is, they are. The lines are read again at the start,
and retired after ``KEPT_DAYS``, longer than a client keeps its spool. Used by the server.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from datetime import timedelta

import msgspec
from msgspec import Struct

from barograph.journal.entry import WITNESS, Entry
from barograph.journal.journal import Journal
from barograph_client.clock import Clock
from barograph_client.errors import InvalidInput
from barograph_client.limits import MAX_SPOOL_DAYS

KIND = WITNESS
KEPT_DAYS = MAX_SPOOL_DAYS + 1
MAX_CLIENTS = 100_000  # remembered; the ones that sent least lately go first
MAX_SEQUENCE = 2**53
_MOST_RUNS = 10_000  # of a client; so many batches must have been dropped by it before any is mistaken
_CHUNK = 4 * 2**20


class BatchLine(Struct, frozen=True, kw_only=True, tag_field="kind", tag=KIND):
    """A batch that was taken: its line in the journal. The id is unique in its project."""

    event_id: str
    project: str
    client: str
    sequence: int
    events: int


class _Client:
    """The sequences of one client, as runs without a gap: mostly one, as it counts 1, 2, 3, …"""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs: list[list[int]] = []  # first and last, in order

    def add(self, sequence: int) -> None:
        if sequence in self:
            return
        runs = self.runs
        place = bisect_left(runs, [sequence])
        before = place > 0 and runs[place - 1][1] == sequence - 1
        after = place < len(runs) and runs[place][0] == sequence + 1
        if before and after:
            runs[place - 1][1] = runs.pop(place)[1]
        elif before:
            runs[place - 1][1] = sequence
        elif after:
            runs[place][0] = sequence
        else:
            runs.insert(place, [sequence, sequence])
            if len(runs) > _MOST_RUNS:  # what is missing between the oldest two was dropped by the client long ago
                runs[0][1] = runs.pop(1)[1]

    def __contains__(self, sequence: int) -> bool:
        place = bisect_right(self.runs, [sequence, MAX_SEQUENCE]) - 1
        return place >= 0 and sequence <= self.runs[place][1]


class BatchMemory:
    """Knows the batches of the last days. Safe to share between threads."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._clients: OrderedDict[tuple[str, str], _Client] | None = None

    def __contains__(self, batch: tuple[str, str, int]) -> bool:
        """Whether a (project, client, sequence) was taken."""
        project, client, sequence = batch
        with self._lock:
            found = self._known().get((project, client))
            return found is not None and sequence in found

    def entry(self, project: str, client: str, sequence: int, events: int) -> Entry:
        """The line to commit together with the batch's events. Raises InvalidInput for numbers that are none."""
        if not 0 < len(client) <= 64 or not client.isascii() or not client.replace("-", "").isalnum():
            raise InvalidInput("Barograph-Client is an id of up to 64 letters, digits and hyphens", value=client)
        if not 1 <= sequence <= MAX_SEQUENCE:
            raise InvalidInput("Barograph-Sequence counts from 1", value=sequence)
        line = BatchLine(
            event_id=f"{client}/{sequence}", project=project, client=client, sequence=sequence, events=events
        )
        return Entry(KIND, line.event_id, msgspec.json.encode(line)[:-1], True, project)

    def add(self, project: str, client: str, sequence: int) -> None:
        """The batch is durable."""
        with self._lock:
            self._remember(self._known(), project, client, sequence)

    def _known(self) -> OrderedDict[tuple[str, str], _Client]:
        if self._clients is None:
            found: OrderedDict[tuple[str, str], _Client] = OrderedDict()
            for line in self._lines():
                self._remember(found, line.project, line.client, line.sequence)
            self._clients = found
        return self._clients

    @staticmethod
    def _remember(clients: OrderedDict[tuple[str, str], _Client], project: str, client: str, sequence: int) -> None:
        key = (project, client)
        found = clients.get(key)
        if found is None:
            found = clients[key] = _Client()
            if len(clients) > MAX_CLIENTS:
                clients.popitem(last=False)
        else:
            clients.move_to_end(key)
        found.add(sequence)

    def _lines(self) -> Iterator[BatchLine]:
        decode = msgspec.json.Decoder(BatchLine).decode
        for segment in self._journal.snapshot().segments:
            if segment.kind != KIND:
                continue
            start = 0
            while start < segment.size:
                data = self._journal.read(segment, start, min(segment.size, start + _CHUNK))
                end = data.rfind(b"\n") + 1
                if not end:
                    break
                for line in data[:end].split(b"\n")[:-1]:
                    try:
                        yield decode(line)
                    except (msgspec.MsgspecError, ValueError):  # somebody edited it; the others still count
                        continue
                start += end


def retire_batches(journal: Journal, clock: Clock) -> None:
    """Let go of the lines that no client's spool reaches back to. A task of the housekeeper."""
    last = (clock.now() - timedelta(days=KEPT_DAYS)).date()
    for day in journal.days(KIND):
        if day < last:
            journal.retire(KIND, day)
