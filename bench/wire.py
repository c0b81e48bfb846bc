"""Where the time of an OTLP span goes: each step of its way from the request's body to the query event, by itself.

One thread, no disk but the journal's, no engine but for the last step. The load is that of ``bench.peers``: a trace
has three spans, seventeen attributes on the retriever's, about 5.9 kB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import process_time

import msgspec

from barograph.collect.intake import Intake, Taken, deliver
from barograph.collect.open_traces import SpanHead
from barograph.collect.otel import query_of
from barograph.collect.otlp import read
from barograph.collect.otlp_spans import take_spans
from barograph.collect.processors import from_settings
from barograph.collect.redact import BUILT_IN
from barograph.collect.sinks import JournalSink
from barograph.collect.validate import Validator, encode
from barograph.core.event import Query, Span
from barograph.core.settings import CollectSettings, EngineSettings, JournalSettings
from barograph.journal.journal import Journal
from barograph.store.engine import Engine
from barograph.store.readable import unreadable
from barograph.store.schema import migrate
from barograph_client.clock import SystemClock
from barograph_client.identifiers import IdentifierSource
from bench.figure import Figure, Series
from bench.part import Run
from bench.peers.traces import SPANS, batches

TRACES = 3_000
BLOCK = 7_000  # lines sent to the engine at a time: about 16 MB


def measure(run: Run) -> Iterable[Figure]:
    """Microseconds of CPU a span, step by step."""
    clock, series = SystemClock(), Series()
    identifiers = IdentifierSource(clock)
    bodies = [batch.body for batch in batches(run.count(TRACES, 100), clock.now())]
    spans = run.count(TRACES, 100) * SPANS
    plain = Intake(Validator(clock, identifiers))
    redacting = Intake(Validator(clock, identifiers), from_settings(CollectSettings(redact=BUILT_IN), None))

    def taken(intake: Intake) -> list[list[Taken]]:
        return [list(take_spans(read("traces", body, "protobuf"), intake, "default", clock.now())) for body in bodies]

    def step(name: str, work: Callable[[], object]) -> None:
        began = process_time()
        work()
        series.add(f"{name}, a span", "µs", (process_time() - began) / spans * 1e6)

    with Journal(run.directory / "data", clock, JournalSettings()) as journal:
        sink, engine = JournalSink(journal), Engine(EngineSettings(), run.directory / "engine")
        engine.open()
        migrate(engine)
        for turn in range(run.rounds(5)):
            run.tell(f"round {turn + 1}")
            step("read the protobuf", lambda: [read("traces", body, "protobuf") for body in bodies])
            step("body to entries", lambda: taken(plain))
            step("body to entries, redacting", lambda: taken(redacting))
            batch = [[_again(one, turn) for one in of] for of in taken(plain)]
            step("journal, durable", lambda of=batch: [deliver(sink, one).wait() for one in of])
            lines = [
                one.entry.body + b',"received_at":"2026-01-01T00:00:00Z"}' for of in batch for one in of if one.entry
            ]
            step("assembler: place the line", lambda of=lines: [_HEAD(line) for line in of])
            step("assembler: read the span", lambda of=lines: [_SPAN(line) for line in of])
            read_spans = [_SPAN(line) for line in lines]
            traces = [read_spans[at : at + SPANS] for at in range(0, len(read_spans), SPANS)]
            step("assembler: query of the trace", lambda of=traces: [query_of(one) for one in of])
            queries = [one for of in traces if isinstance(one := query_of(of), Query)]
            step("assembler: encode the query", lambda of=queries: [encode(one) for one in of])
            blocks = [b"\n".join([*lines[at : at + BLOCK], b""]) for at in range(0, len(lines), BLOCK)]
            step("loader: check the lines", lambda of=blocks: [unreadable("span", block) for block in of])
            token = f"{turn}-"
            step(
                "engine: load the spans (all threads)",
                lambda of=blocks, token=token: [engine.insert("span", b, f"{token}{n}") for n, b in enumerate(of)],
            )
        engine.close()
    return series.figures()


_END = b',"received_at":"2026-01-01T00:00:00Z"}'
_HEAD = msgspec.json.Decoder(SpanHead).decode
_SPAN = msgspec.json.Decoder(Span).decode


def _again(taken: Taken, turn: int) -> Taken:
    """The same span under an id of its own, so that no round is a duplicate of another."""
    assert taken.entry is not None
    return taken._replace(entry=taken.entry._replace(event_id=f"{taken.entry.event_id[:-2]}{turn:02d}"))
