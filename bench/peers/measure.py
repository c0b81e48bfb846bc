"""What is measured of a system: one round of throughput and questions, and rounds of being killed under load.

Everything here goes through ``System``, so that no system is measured another way than the others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import median

from msgspec import Struct

from bench.peers.process import Memory
from bench.peers.sender import Sender
from bench.peers.system import Refused, System
from bench.peers.traces import SPANS, Batch

IDLE_SECONDS = 2.0  # of rest before memory is read, and before the questions
LOOK_SECONDS = 0.05
QUERIES_LOOK_SECONDS = 0.1  # counting query events takes the server longer than counting spans
PATIENCE_SECONDS = 600.0  # for spans that are acknowledged and not yet there
QUIET_SECONDS = 3.0  # after a restart: nothing more came for so long
QUERIES_SECONDS = 30.0  # for the query events of what was not assembled before a kill
QUESTIONS = 5
GRACE_SECONDS = 2.0  # Barograph waits so long after a trace's root before it makes the query event


class Round(Struct, frozen=True, kw_only=True):
    """One load from an empty directory until all of it can be asked for."""

    start_seconds: float
    load_seconds: float  # from the first byte until all is durable
    idle_bytes: float
    peak_bytes: float
    spans_per_second: float
    server_seconds: float  # of processor time, per 1,000 spans
    sender_seconds: float
    visible_seconds: float  # after the last acknowledgement
    queries_seconds: float | None  # the same for query events, the grace taken off
    hourly_seconds: float
    trace_bytes: float
    busy: int


class Loss(Struct, frozen=True, kw_only=True):
    """What a restart found of the spans that were acknowledged before a signal."""

    acknowledged: int
    lost: int
    twice: int
    queries_off: int  # query events that are missing for whole traces, or too many
    ending_seconds: float  # from the signal until the process was gone, the longest

    def __add__(self, other: Loss) -> Loss:
        return Loss(
            acknowledged=self.acknowledged + other.acknowledged,
            lost=self.lost + other.lost,
            twice=self.twice + other.twice,
            queries_off=self.queries_off + other.queries_off,
            ending_seconds=max(self.ending_seconds, other.ending_seconds),
        )


def throughput(system: System, batches: Sequence[Batch], connections: int, end: datetime) -> Round:
    """Send all batches as fast as they are taken. Raises Refused when not all of it arrives.

    The first one is sent and seen before the clock starts, so that no system's figures hold what it loads on first use.
    """
    spans, traces = sum(batch.spans for batch in batches), sum(len(batch.trace_ids) for batch in batches)
    first, rest = batches[:1], batches[1:]
    started = system.start()
    try:
        system.pause(IDLE_SECONDS)
        idle, empty = system.tree.memory(), system.size()
        warm = _sent(system, first, 1)
        _when(system, system.visible, first[0].spans, warm.last)
        with Memory(system.tree) as memory:
            before, own, began = system.tree.processor(), time.process_time(), system.clock.monotonic()
            sender = _sent(system, rest, connections)
            own = time.process_time() - own
            durable = sender.last if system.durable() == spans else _when(system, system.durable, spans, sender.last)
            visible = _when(system, system.visible, spans, sender.last)
            queries = None
            if system.queries() is not None:
                system.pause(max(0.0, sender.last + GRACE_SECONDS - system.clock.monotonic()))
                queries = _when(system, lambda: system.queries() or 0, traces, sender.last, QUERIES_LOOK_SECONDS)
            used = system.tree.processor() - before
        system.pause(IDLE_SECONDS)
        hourly = [_timed(system, end) for _ in range(QUESTIONS)]
        system.stop()
        return Round(
            start_seconds=started,
            load_seconds=durable - began,
            idle_bytes=idle,
            peak_bytes=memory.most,
            spans_per_second=sender.spans / (durable - began),
            server_seconds=used / sender.spans * 1000,
            sender_seconds=own / sender.spans * 1000,
            visible_seconds=visible - sender.last,
            queries_seconds=None if queries is None else queries - sender.last - GRACE_SECONDS,
            hourly_seconds=median(hourly),
            trace_bytes=(system.size() - empty) / traces,
            busy=system.busy,
        )
    finally:
        system.kill()


def _sent(system: System, batches: Sequence[Batch], connections: int) -> Sender:
    """A sender that got all of them acknowledged. Raises what stopped it."""
    sender = Sender(system, batches, connections)
    sender.start()
    sender.wait()
    if sender.failure is not None:
        raise sender.failure
    return sender


def loss(system: System, batches: Sequence[Batch], connections: int, seconds: float, end: Callable[[], None]) -> Loss:
    """Load it, ``end`` it after so many seconds of load, start it again and look for every span.

    Batches that were on their way and not acknowledged are nobody's loss: traces are looked up by their ids.
    """
    system.start()
    try:
        warm = _sent(system, batches[:1], 1)
        sender = Sender(system, batches[1:], connections)
        sender.start()
        sender.until(seconds)
        if sender.failure is not None:
            raise sender.failure
        ending = system.clock.monotonic()
        end()
        ending = system.clock.monotonic() - ending
        sender.wait()
        system.start()
        _quiet(system)
        kept = system.kept()
        acknowledged = warm.trace_ids + sender.trace_ids
        return Loss(
            acknowledged=SPANS * len(acknowledged),
            lost=sum(max(0, SPANS - kept[trace_id]) for trace_id in acknowledged),
            twice=sum(max(0, count - SPANS) for count in kept.values()),
            queries_off=_queries_off(system, kept),
            ending_seconds=ending,
        )
    finally:
        system.kill()


def _when(
    system: System, count: Callable[[], int], wanted: int, since: float, look_seconds: float = LOOK_SECONDS
) -> float:
    """When a look found the count as wanted."""
    while (found := count()) < wanted:
        if system.clock.monotonic() - since > PATIENCE_SECONDS:
            raise Refused(f"{wanted:,} were acknowledged and {found:,} came within {PATIENCE_SECONDS:.0f} s")
        system.pause(look_seconds)
    if found > wanted:
        raise Refused(f"{wanted:,} were sent and {found:,} are counted")
    return system.clock.monotonic()


def _quiet(system: System) -> None:
    """Wait until no more spans come after a restart, and the server shows what its files hold."""
    began = changed = system.clock.monotonic()
    last = system.durable()
    while system.clock.monotonic() - changed < QUIET_SECONDS or system.visible() != last:
        if (found := system.durable()) != last:
            last, changed = found, system.clock.monotonic()
        if system.clock.monotonic() - began > PATIENCE_SECONDS:
            raise Refused(f"after the restart its files hold {last:,} spans and it shows {system.visible():,}")
        system.pause(LOOK_SECONDS)


def _queries_off(system: System, kept: Counter[str]) -> int:
    """How many query events are missing once there was time to make them, or are more than there are traces."""
    whole = sum(count >= SPANS for count in kept.values())
    began = system.clock.monotonic()
    while (made := system.queries()) is not None and made < whole:
        if system.clock.monotonic() - began > QUERIES_SECONDS:
            return whole - made
        system.pause(LOOK_SECONDS)
    return 0 if made is None else max(0, made - len(kept))


def _timed(system: System, end: datetime) -> float:
    began = system.clock.monotonic()
    hours = system.hourly(end)
    taken = system.clock.monotonic() - began
    if hours < 1:
        raise Refused("the hourly percentiles came back empty")
    return taken
