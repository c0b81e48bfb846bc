"""The loader: journal bytes into the engine, each line exactly once, with the watermark that says how far.

A range is cut at line ends, written to the checkpoint, sent as one block under a token that names its bytes, and
only then counted as loaded. A line that is no event is set aside with its offset and reason, and the rest of its
range is served; what the engine refuses all the same is bisected until the bad line stands alone. ``step`` does one
round; a worker keeps doing so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from barograph.core.event import EPOCH
from barograph.journal.journal import Journal
from barograph.journal.segment import Segment, Snapshot
from barograph.store.checkpoint import Checkpoint, Range
from barograph.store.engine import Engine
from barograph.store.readable import lines, unreadable, without
from barograph.store.schema import EVENT_TABLES, KEPT_TOKENS
from barograph_client.errors import EngineRefused, JournalError

BLOCK_LINES = 50_000
BLOCK_BYTES = 16 * 2**20
BLOCK = f"{BLOCK_LINES}/{BLOCK_BYTES}"
_SAMPLE = 64 * 2**10  # bytes that tell whether lines are so short that a block may have too many
ROUND_BYTES = 64 * 2**20  # read and sent between two looks at the journal
ROUND_RANGES = KEPT_TOKENS // 5  # all of them may go out again, and the engine must still know each

# ClickHouse's codes for input that it cannot read: the block was refused before any of it was kept.
UNREADABLE = frozenset(
    (6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 128, 131, 190, 321, 349, 407, 439, 453, 467, 691)
)

LoadedLines = Callable[[str, bytes], None]


class Loader:
    """Brings the engine up to the journal. One at a time; ``lock`` is held by whoever changes the engine."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        checkpoint: Checkpoint,
        on_loaded: LoadedLines,
        *,
        only: dict[str, int] | None = None,
    ) -> None:
        """``only`` names the segments to load, and up to which byte; without it all of them are."""
        self.lock = threading.RLock()
        self.watermark: datetime = EPOCH
        self.bytes_loaded = 0
        self._journal = journal
        self._engine = engine
        self._checkpoint = checkpoint
        self._on_loaded = on_loaded
        self._only = only

    def step(self) -> bool:
        """Load one round; true when everything that was durable at its start is loaded.

        Raises EngineUnavailable while the engine is away: nothing is lost, the same ranges go out again.
        """
        with self.lock:
            state = self._checkpoint.state
            snapshot = self._snapshot()
            segments = {segment.name: segment for segment in snapshot.segments}
            if state.in_flight:
                self._send(self._still_there(segments), segments)
            parts, complete = self._plan(snapshot)
            self._send(parts, segments)
            if complete:
                self.watermark = max(self.watermark, snapshot.complete_to)
            return complete

    def _snapshot(self) -> Snapshot:
        snapshot = self._journal.snapshot()
        if self._only is None:
            return snapshot
        wanted = [segment for segment in snapshot.segments if segment.name in self._only]
        cut = [replace(segment, size=min(segment.size, self._only[segment.name])) for segment in wanted]
        return replace(snapshot, segments=tuple(cut))

    def settle(self) -> None:
        """Write down that nothing is on its way; called when the process ends well."""
        with self.lock:
            self._checkpoint.write()

    def behind(self) -> int:
        """Durable bytes that are not loaded yet."""
        loaded = self._checkpoint.state.loaded
        return sum(
            max(0, part.size - loaded.get(part.name, 0))
            for part in self._journal.snapshot().segments
            if part.kind in EVENT_TABLES
        )

    def _still_there(self, segments: dict[str, Segment]) -> list[Range]:
        """What was on its way at the last end, as far as the journal still has it; the rest is noticed as lost."""
        state, found = self._checkpoint.state, []
        for part in state.in_flight:
            segment = segments.get(part.segment)
            if segment is not None and part.end <= segment.size:
                found.append(part)
            elif segment is not None:
                state.loaded[part.segment] = max(part.end, state.loaded.get(part.segment, 0))
        state.in_flight = found
        return found

    def _plan(self, snapshot: Snapshot) -> tuple[list[Range], bool]:
        """The next ranges, and whether they are all there is."""
        loaded, budget = self._checkpoint.state.loaded, ROUND_BYTES
        parts: list[Range] = []
        order = {kind: place for place, kind in enumerate(EVENT_TABLES)}
        for segment in sorted(snapshot.segments, key=lambda s: (s.day, order.get(s.kind, 99), s.number)):
            start = loaded.get(segment.name, 0)
            while start < segment.size and segment.kind in order:
                if budget <= 0 or len(parts) >= ROUND_RANGES:
                    return parts, False
                part = self._cut(segment, start)
                parts.append(part)
                budget -= part.end - start
                start = part.end
        return parts, True

    def _cut(self, segment: Segment, start: int) -> Range:
        data = self._journal.read(segment, start, min(segment.size, start + BLOCK_BYTES))
        end = data.rfind(b"\n") + 1
        sample = min(_SAMPLE, len(data))
        dense = data.count(b"\n", 0, sample) * len(data) > BLOCK_LINES // 2 * sample  # to count all takes its time
        if dense and data.count(b"\n") > BLOCK_LINES:
            end = 0
            for _ in range(BLOCK_LINES):
                end = data.index(b"\n", end) + 1
        if end == 0:
            raise JournalError(
                f"no line ends within {BLOCK_BYTES} bytes of {segment.name}, offset {start}",
                hint="`barograph verify` names damaged segments; docs/format.md tells how to repair one.",
            )
        return Range(segment.name, start, start + end)

    def _send(self, parts: list[Range], segments: dict[str, Segment]) -> None:
        """Send ranges in order; what is refused is halved until the bad line stands alone."""
        state = self._checkpoint.state
        waiting = list(reversed(parts))
        if waiting:
            state.in_flight, state.block = list(reversed(waiting)), BLOCK
            self._checkpoint.write()
        while waiting:
            part = waiting.pop()
            segment = segments[part.segment]
            data = self._journal.read(segment, part.start, part.end)
            aside = self._aside(segment, part, data)
            block = without(data, aside)
            try:
                if block:
                    self._engine.insert(part.kind, block, part.token(block))
            except EngineRefused as error:
                if error.code not in UNREADABLE:
                    raise
                left = [(offset, line) for offset, line in lines(data) if offset not in aside]
                if len(left) > 1:
                    middle = part.start + left[len(left) // 2][0]
                    waiting += [Range(part.segment, middle, part.end), Range(part.segment, part.start, middle)]
                    state.in_flight = list(reversed(waiting))
                    self._checkpoint.write()
                    continue
                self._journal.set_aside(segment, part.start + left[0][0], left[0][1], error.message)
            else:
                self.bytes_loaded += len(block)
                self._on_loaded(part.kind, block)
            state.loaded[part.segment] = max(part.end, state.loaded.get(part.segment, 0))
        state.in_flight = []

    def _aside(self, segment: Segment, part: Range, data: bytes) -> set[int]:
        """Where, in the range, the lines stand that are set aside already or are so now."""
        known = self._journal.set_aside_lines(segment.kind, segment.day)
        aside = {
            record.offset - part.start
            for record in known
            if record.segment == segment.name and part.start <= record.offset < part.end
        }
        for offset, line, reason in unreadable(part.kind, data):
            if offset not in aside:
                self._journal.set_aside(segment, part.start + offset, line, reason)
                aside.add(offset)
        return aside
