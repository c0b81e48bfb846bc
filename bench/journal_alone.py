"""The journal alone: how fast lines become durable, beside what the disk itself takes for a sync.

Both write lines of one length to files of one file system, in turns, so the ratio holds on a slow disk too. Every
append waits for its receipt: nothing is in flight meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import count
from pathlib import Path

from barograph.core.settings import JournalSettings
from barograph.journal.entry import Entry
from barograph.journal.journal import Journal
from barograph_client.clock import Clock, SystemClock
from bench.figure import Figure, Series, quantile
from bench.load import Load, in_batches
from bench.part import Run

BATCH = 1000
BATCHES = 50  # a round
THREADS = 8
SECONDS = 0.7  # a round of single appends
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def measure(run: Run) -> Iterable[Figure]:
    """Batches, single appends from one and from eight threads, and the disk."""
    load, series, clock = Load(1, documents=False), Series(), SystemClock()
    now = clock.now()
    settings = {name: JournalSettings(durability=name) for name in ("fsync", "interval")}
    with (
        Journal(run.directory / "fsync", clock, settings["fsync"]) as synced,
        Journal(run.directory / "interval", clock, settings["interval"]) as interval,
    ):

        def entries(number: int) -> list[Entry]:
            return list(load.entries(number, now - timedelta(hours=1), now))

        for turn in range(run.rounds(7)):
            run.tell(f"round {turn + 1}")
            lines = BATCH * run.count(BATCHES, 2)
            raw = _raw_batches(run.directory / "raw", entries(lines), clock)
            in_batches_ = _batches(synced, entries(lines), clock)
            series.add("lines/s, batches of 1,000, fsync", "lines/s", in_batches_)
            series.add("lines/s, batches of 1,000, interval", "lines/s", _batches(interval, entries(lines), clock))
            interval.sync()
            series.add("the disk itself: the same bytes, written and synced by the batch", "lines/s", raw)
            series.add("share of the disk's own speed, batches of 1,000", "", in_batches_ / raw)
            bodies = entries(200)
            disk = _raw_single(run.directory / "raw", bodies[0].body, run.seconds(SECONDS), clock)
            series.add("the disk itself: one line written and synced, p50", "ms", 1000 * quantile(disk, 0.5))
            series.add("the disk itself: one line written and synced, p99", "ms", 1000 * quantile(disk, 0.99))
            for threads in (1, THREADS):
                name = "1 thread" if threads == 1 else f"{threads} threads"
                taken, seconds = _single(synced, entries, threads, run.seconds(SECONDS), clock)
                series.add(f"single appends/s, {name}", "events/s", len(taken) / seconds)
                series.add(f"single append, {name}, p50", "ms", 1000 * quantile(taken, 0.5))
                series.add(f"single append, {name}, p99", "ms", 1000 * quantile(taken, 0.99))
                if threads == 1:
                    series.add(
                        "one append over one sync of the disk, p50", "x", quantile(taken, 0.5) / quantile(disk, 0.5)
                    )
    return series.figures()


def _batches(journal: Journal, entries: list[Entry], clock: Clock) -> float:
    began = clock.monotonic()
    for batch in in_batches(iter(entries), BATCH):
        journal.append(batch)
    return len(entries) / (clock.monotonic() - began)


def _raw_batches(path: Path, entries: list[Entry], clock: Clock) -> float:
    blocks = [b"\n".join(entry.body for entry in batch) for batch in in_batches(iter(entries), BATCH)]
    began = clock.monotonic()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for block in blocks:
            os.write(file, block)
            _sync(file)
    finally:
        os.close(file)
    return len(entries) / (clock.monotonic() - began)


def _raw_single(path: Path, line: bytes, seconds: float, clock: Clock) -> list[float]:
    taken: list[float] = []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        end = clock.monotonic() + seconds
        while (began := clock.monotonic()) < end:
            os.write(file, line)
            _sync(file)
            taken.append(clock.monotonic() - began)
    finally:
        os.close(file)
    return taken


def _single(
    journal: Journal, entries: Callable[[int], list[Entry]], threads: int, seconds: float, clock: Clock
) -> tuple[list[float], float]:
    """What each append took, and how long all of it."""
    taken: list[list[float]] = [[] for _ in range(threads)]
    bodies = entries(threads)  # the line is the same again and again; only its id is new
    serial = count()
    end = clock.monotonic() + seconds

    def append(number: int) -> None:
        kind, prefix, body = bodies[number][:3]
        mine = taken[number]
        while (began := clock.monotonic()) < end:
            journal.append([Entry(kind, f"{prefix}{next(serial)}", body)])
            mine.append(clock.monotonic() - began)

    began = clock.monotonic()
    workers = [threading.Thread(target=append, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [seconds for mine in taken for seconds in mine], clock.monotonic() - began
