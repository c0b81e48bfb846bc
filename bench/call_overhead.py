"""What a recording call costs the program that makes it.

In background mode each call is timed by itself, in bursts and at a steady rate, with the real journal behind it; what
was dropped is a figure too. In synchronous mode the caller also pays for validation and encoding, which are timed
without a disk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import perf_counter_ns

from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.sinks import JournalSink
from barograph.collect.validate import Validator, encode
from barograph.core.settings import CollectSettings, JournalSettings
from barograph.journal.journal import Journal
from barograph_client.clock import Clock, SystemClock
from barograph_client.identifiers import IdentifierSource
from bench.figure import Figure, Series, quantile
from bench.load import EventDict, Load
from bench.part import Run

BURST = 2_000  # calls; the queue holds five times as many
STEADY = 1_000  # calls a second
SECONDS = 1.0  # a round at the steady rate
ENCODED = 5_000  # events a round
GOAL = 10.0  # microseconds, median
_KINDS = {"short": False, "five documents": True}


def measure(run: Run) -> Iterable[Figure]:
    """Background calls, then validation and encoding alone."""
    clock, series = SystemClock(), Series()
    loads = {name: Load(3, documents=documents) for name, documents in _KINDS.items()}
    identifiers = IdentifierSource(clock)
    validator = Validator(clock, identifiers)
    with (
        Journal(run.directory / "data", clock, JournalSettings()) as journal,
        MetricsCollector(JournalSink(journal), clock, identifiers, CollectSettings(), background=True) as collector,
    ):
        for turn in range(run.rounds(7)):
            run.tell(f"round {turn + 1}")
            for name, load in loads.items():
                taken = _burst(collector, list(load.dicts(run.count(BURST, 50))))
                series.add(f"background call, {name}, in a burst, p50", "µs", quantile(taken, 0.5))
                series.add(f"background call, {name}, in a burst, p99", "µs", quantile(taken, 0.99))
                _drained(collector)
                events = list(load.dicts(max(20, int(STEADY * run.seconds(SECONDS)))))
                taken = _steady(collector, events, clock)
                series.add(f"background call, {name}, 1,000 calls/s, p50", "µs", quantile(taken, 0.5))
                series.add(f"background call, {name}, 1,000 calls/s, p99", "µs", quantile(taken, 0.99))
                _drained(collector)
                events = list(load.dicts(run.count(ENCODED, 50)))
                series.add(f"validate and encode, {name}", "µs", _encode(validator, events))
        series.add("background calls dropped", "events", float(sum(collector.counts.dropped.values())))
    calls = [f"background call, {name}, {how}, p50" for name in _KINDS for how in ("in a burst", "1,000 calls/s")]
    return series.figures(at_most={**dict.fromkeys(calls, GOAL), "background calls dropped": 0.0})


def _burst(collector: MetricsCollector, events: list[EventDict]) -> list[float]:
    """Microseconds of each call, one right after the other."""
    taken = []
    for event in events:
        began = perf_counter_ns()
        collector.record_query_execution(event)
        taken.append((perf_counter_ns() - began) / 1000)
    return taken


def _steady(collector: MetricsCollector, events: list[EventDict], clock: Clock) -> list[float]:
    """The same with a pause before each call, as a server has it: caches are cold, the thread may sleep."""
    taken, stop = [], threading.Event()
    began_all = clock.monotonic()
    for number, event in enumerate(events):
        clock.wait(stop, max(0.0, began_all + number / STEADY - clock.monotonic()))
        began = perf_counter_ns()
        collector.record_query_execution(event)
        taken.append((perf_counter_ns() - began) / 1000)
    return taken


def _drained(collector: MetricsCollector) -> None:
    if not collector.flush(30.0):
        raise RuntimeError("the queue did not drain in 30 s")


def _encode(validator: Validator, events: list[EventDict]) -> float:
    """Microseconds an event."""
    began = perf_counter_ns()
    for event in events:
        encode(validator.event("query", event))
    return (perf_counter_ns() - began) / 1000 / len(events)
