"""Durable native ingest: ``MetricsCollector`` into the journal, over dicts and over JSON lines, redacting or not.

First as fast as one thread goes, then at half of that rate from four threads, to see how long an acknowledgement takes.
The engine is not there: ``end_to_end`` is the question that has it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.processors import from_settings
from barograph.collect.sinks import JournalSink
from barograph.core.settings import CollectSettings, JournalSettings
from barograph.journal.journal import Journal
from barograph_client.clock import Clock, SystemClock
from barograph_client.identifiers import IdentifierSource
from bench.figure import Figure, Series, quantile
from bench.load import Load
from bench.part import Run

EVENTS = 40_000  # a round
GOAL = 60_000.0  # events/s
GOAL_MS = 20.0
REDACTED = ("email", "phone", "card", "key")
CLIENTS = 4
BATCH = 100
LATENCY_SECONDS = 2.0  # a round
_BASE = "short dicts"


def measure(run: Run) -> Iterable[Figure]:
    """Rates of the eight combinations, then the acknowledgement at half of the first one's."""
    clock, series = SystemClock(), Series()
    loads = {"short": Load(2, documents=False), "five documents,": Load(2, documents=True)}
    with Journal(run.directory / "data", clock, JournalSettings()) as journal:
        plain, redacting = _collector(journal, clock, ()), _collector(journal, clock, REDACTED)
        number = run.count(EVENTS, 100)
        for turn in range(run.rounds(5)):
            run.tell(f"round {turn + 1}")
            for name, load in loads.items():
                for form in ("dicts", "JSON lines"):
                    rates = []
                    for collector, how in ((plain, ""), (redacting, ", redacting")):
                        items: Iterator[object] = load.dicts(number) if form == "dicts" else load.lines(number)
                        rates.append(_rate(collector, items, number, clock))
                        series.add(f"{name} {form}{how}", "events/s", rates[-1])
                    series.add(f"{name} {form}: redacting over not", "x", rates[1] / rates[0])
        half = series.median(_BASE) / 2
        for turn in range(run.rounds(5)):
            run.tell(f"acknowledgement, round {turn + 1}, {half:,.0f} events/s")
            taken, rate = _latencies(plain, loads["short"], half, run.seconds(LATENCY_SECONDS), clock)
            series.add("at half rate: events/s sent", "events/s", rate)
            series.add("at half rate: acknowledgement p50", "ms", 1000 * quantile(taken, 0.5))
            series.add("at half rate: acknowledgement p99", "ms", 1000 * quantile(taken, 0.99))
    fast = [f"{name} {form}" for name in loads for form in ("dicts", "JSON lines")]
    return series.figures(at_least=dict.fromkeys(fast, GOAL), at_most={"at half rate: acknowledgement p99": GOAL_MS})


def _collector(journal: Journal, clock: Clock, redact: tuple[str, ...]) -> MetricsCollector:
    settings = CollectSettings(redact=redact)
    processors = from_settings(settings, None)
    return MetricsCollector(JournalSink(journal), clock, IdentifierSource(clock), settings, processors=processors)


def _rate(collector: MetricsCollector, items: Iterator[object], number: int, clock: Clock) -> float:
    before = collector.counts.stored
    began = clock.monotonic()
    for _ in collector.stream(items):
        pass
    seconds = clock.monotonic() - began
    stored = collector.counts.stored - before
    if stored != number:
        raise RuntimeError(f"{number} events were sent and {stored} stored")
    return number / seconds


def _latencies(
    collector: MetricsCollector, load: Load, rate: float, seconds: float, clock: Clock
) -> tuple[list[float], float]:
    """Seconds from when a batch was due until it was durable, and the rate that was reached.

    Due, not sent: a client that waits for its turn waits for its acknowledgement too.
    """
    gap = BATCH * CLIENTS / rate  # between two batches of one client
    batches = max(2, int(seconds / gap))
    work = [[list(load.dicts(BATCH)) for _ in range(batches)] for _ in range(CLIENTS)]
    taken: list[float] = []
    stop = threading.Event()
    began = clock.monotonic() + 0.01

    def send(client: int) -> None:
        for number, batch in enumerate(work[client]):
            due = began + gap * (number + client / CLIENTS)
            clock.wait(stop, max(0.0, due - clock.monotonic()))
            collector.record_many(batch, "query")
            taken.append(clock.monotonic() - due)

    workers = [threading.Thread(target=send, args=(client,)) for client in range(CLIENTS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return taken, BATCH * CLIENTS * batches / (clock.monotonic() - began)
