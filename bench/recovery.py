"""Recovery: opening a journal whose owner was killed, and making the whole engine again from it.

The events are those of one day (700 a minute at a million), five documents each. Owners are killed for real: each
opening is a process of its own that ends with SIGKILL, so that the next one finds the directory as a crash leaves it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from datetime import timedelta

from barograph.core.metric import Catalogue
from barograph.core.settings import EngineSettings, JournalSettings
from barograph.journal.journal import Journal
from barograph.store.data_store import DataStore
from barograph_client.clock import SystemClock
from bench.figure import Figure
from bench.load import Load, in_batches
from bench.part import Run, run_part

EVENTS, MANY = 1_000_000, 10_000_000
BATCH = 5_000
OPENINGS = 5


def measure(run: Run) -> Iterable[Figure]:
    """Fill and be killed, open and be killed a few times, rebuild."""
    number = _number(run)
    run_part("recovery.fill", run, killed=True)
    rounds = [run_part("recovery.reopen", run, killed=True) for _ in range(run.rounds(OPENINGS))]
    for figures in zip(*rounds, strict=True):
        samples = tuple(sample for figure in figures for sample in figure.samples)
        yield Figure(name=figures[0].name, unit=figures[0].unit, samples=samples)
    clock = SystemClock()
    seconds = []
    with (
        Journal(run.directory / "data", clock, JournalSettings()) as journal,
        DataStore(journal, clock, EngineSettings(), Catalogue()) as store,
    ):
        number = journal.count("query")
        for turn in range(1 if run.large else run.rounds(2)):
            run.tell(f"rebuilding from {number:,} events, round {turn + 1}")
            began = clock.monotonic()
            report = store.rebuild()
            seconds.append(clock.monotonic() - began)
            if not report.ok or report.engine.get("query") != number:
                raise RuntimeError(f"the engine differs from the journal: {report}")
    yield Figure(name="rebuild of the engine, verified", unit="s", samples=tuple(seconds))
    yield Figure(name="rebuild of the engine", unit="events/s", samples=tuple(number / taken for taken in seconds))


def _number(run: Run) -> int:
    return run.count(MANY if run.large else EVENTS, 500)


def fill(run: Run) -> Iterator[Figure]:
    """Write the journal, and die."""
    clock, number, done = SystemClock(), _number(run), 0
    load = Load(8, documents=True)
    journal = Journal(run.directory / "data", clock, JournalSettings())
    now = clock.now()
    for batch in in_batches(load.entries(number, now - timedelta(days=1), now), BATCH):
        journal.append(batch)
        done += len(batch)
        if done % 500_000 == 0:
            run.tell(f"{done:,} lines written")
    yield Figure(name="lines written", unit="lines", samples=(float(done),))
    _die()


def reopen(run: Run) -> Iterator[Figure]:
    """Open after the kill, count, append, and die again."""
    clock = SystemClock()
    (entry,) = Load(9, documents=True, pool=1).entries(1, clock.now(), clock.now() + timedelta(seconds=1))
    moments = [clock.monotonic()]
    journal = Journal(run.directory / "data", clock, JournalSettings())
    moments.append(clock.monotonic())
    if not journal.unclean_start:
        raise RuntimeError("the journal did not notice that its owner was killed")
    account = journal.account()
    moments.append(clock.monotonic())
    journal.append([entry])
    moments.append(clock.monotonic())
    run.tell(f"opened with {account.stored:,} lines")
    names = (
        "opening the journal after a kill",
        "first account, counting lines",
        "first append, reading the last ids",
    )
    for name, began, ended in zip(names, moments, moments[1:], strict=False):
        yield Figure(name=name, unit="s", samples=(ended - began,))
    _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
