"""peers.md: one table, a column a system, and how many times better Barograph is than each peer.

The figures are those of ``measure``; here they become rows. A system that could not be measured keeps its column, and
the reason stands below the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Literal

from msgspec import Struct

from bench.figure import readable
from bench.peers.measure import GRACE_SECONDS, Loss, Round
from bench.report import machine

GOAL_RATE, GOAL_TIMES, GOAL_SECONDS = 20_000.0, 40.0, 1.0
ABSENT = "–"
OURS = "barograph"  # without redaction: what ratios are taken of, and what the goals of the rate are set for
_SIGNALS = ("SIGKILL", "SIGTERM")
_MB = 1e6
_ABOUT = """\
Every system gets the same OTLP/HTTP protobuf bodies (a peer every so-manyth of them, spread over the same 24 hours),
from one sender on the same cores, over loopback, into an empty directory, with its default store. A figure is the
median of its rounds; the least and the greatest stand in brackets. The last columns say how many times better than the
peer Barograph without redaction is; below 1 the peer is better.

- Durable spans/s: from the first byte sent until all spans stand in the system's files; one batch more is sent and
  seen before, so that nobody pays for a first request. Barograph and MLflow acknowledge after that, Phoenix before.
  Barograph's acknowledgement means synced to the disk; MLflow leaves SQLite at its default, which syncs each
  transaction; Phoenix tells SQLite never to sync: what is durable there survives a kill, no power cut.
- CPU: processor seconds of all processes of the server, until everything is visible, and of the sender.
- Visible: the system itself, asked over HTTP, knows all spans.
- Lost: SIGKILL to all processes, or SIGTERM to the first, in the middle of the time that the load takes; then a
  restart, and every acknowledged trace is looked up by its id. Each of Barograph's rounds is killed at another moment.
- Memory: resident, all processes added up. Disk: what the directory grew by, after an orderly stop; of Barograph's most
  is the journal of the day, which is compressed once the day has closed.
- Hourly percentiles: of the duration of the traces that it holds, over the 24 hours, through the system's own API; each
  round takes the median of five.
"""


class Result(Struct, frozen=True, kw_only=True):
    """What was measured of one system, or why it was not (or not to the end)."""

    name: str
    title: str
    peer: bool
    traces: int = 0
    rounds: tuple[Round, ...] = ()
    killed: Loss | None = None
    terminated: Loss | None = None
    failure: str = ""


class Row(Struct, frozen=True):
    """One figure of a round, and which way is better; without a way there is nothing to compare."""

    title: str
    unit: str
    value: Callable[[Round], float | None]
    better: Literal["higher", "lower", ""]


RATE = Row("durable spans/s", "", lambda found: found.spans_per_second, "higher")
VISIBLE = Row("last acknowledgement to all spans visible", "s", lambda found: found.visible_seconds, "lower")
QUERIES = Row(
    f"… to all query events, less the grace of {GRACE_SECONDS:g} s", "s", lambda found: found.queries_seconds, ""
)
ROWS = (
    RATE,
    Row("server CPU per 1,000 spans", "s", lambda found: found.server_seconds, "lower"),
    Row("sender CPU per 1,000 spans", "s", lambda found: found.sender_seconds, ""),
    VISIBLE,
    QUERIES,
    Row("memory, idle", "MB", lambda found: found.idle_bytes / _MB, "lower"),
    Row("memory, most under load", "MB", lambda found: found.peak_bytes / _MB, "lower"),
    Row("disk per trace", "bytes", lambda found: found.trace_bytes, "lower"),
    Row("hourly p50, p95, p99 over 24 hours", "ms", lambda found: 1000 * found.hourly_seconds, "lower"),
    Row("start until it answers", "s", lambda found: found.start_seconds, "lower"),
    Row("answers that it was too busy", "", lambda found: found.busy, ""),
)


def page(results: Sequence[Result], command: str, at: datetime, trace_bytes: float, connections: int) -> str:
    """The whole of peers.md. ``trace_bytes`` is what a trace takes in a body."""
    sizes = "; ".join(
        f"{result.title}: {result.traces:,} traces, {len(result.rounds)} round{'s' * (len(result.rounds) != 1)}"
        for result in results
        if result.rounds
    )
    parts = [
        "# Beside its peers\n",
        f"Written by `{command}` on {at:%Y-%m-%d %H:%M} UTC.\n",
        machine(),
        _ABOUT,
        f"A trace has three spans and {trace_bytes:,.0f} bytes; {connections} connections. {sizes or 'Nothing'}.\n",
        table(results),
    ]
    if goals := _goals(results):
        parts.append("## Goals\n\n" + goals)
    parts += [f"{result.title} was not measured in full: {result.failure}.\n" for result in results if result.failure]
    return "\n".join(parts)


def table(results: Sequence[Result]) -> str:
    """The figures, a row each, a column a system, then the ratios."""
    ours = next((result for result in results if result.name == OURS), None)
    peers = [result for result in results if result.peer]
    header = ["Figure", *(result.title for result in results)]
    if ours is not None:
        header += [f"times better than {peer.title}" for peer in peers]
    lines = [header]
    for row in ROWS:
        line = [f"{row.title}, {row.unit}" if row.unit else row.title, *(_figure(result, row) for result in results)]
        if ours is not None:
            line += [_times(ours, peer, row) for peer in peers]
        lines.append(line)
    others = [
        *([f"acknowledged spans lost, {signal}", *(_lost(one, signal) for one in results)] for signal in _SIGNALS),
        ["SIGTERM under load until it has ended, s", *(_ending(one) for one in results)],
    ]
    lines += [line + [""] * (len(header) - len(line)) for line in others]
    return _markdown(lines)


def times_better(ours: Result, peer: Result, row: Row) -> float | None:
    """How many times better the median of ours is; None where one of them has none, or there is no better."""
    mine, theirs = _median(ours, row), _median(peer, row)
    if not row.better or not mine or not theirs:
        return None
    return mine / theirs if row.better == "higher" else theirs / mine


def _times(ours: Result, peer: Result, row: Row) -> str:
    times = times_better(ours, peer, row)
    return "" if times is None else f"{readable(times)} ×"


def _samples(result: Result, row: Row) -> list[float]:
    found = (row.value(one) for one in result.rounds)
    return [value for value in found if value is not None]


def _median(result: Result, row: Row) -> float | None:
    samples = _samples(result, row)
    return median(samples) if samples else None


def _figure(result: Result, row: Row) -> str:
    samples = _samples(result, row)
    if not samples:
        return ABSENT
    spread = f" ({readable(min(samples))} – {readable(max(samples))})" if len(samples) > 1 else ""
    return readable(median(samples)) + spread


def _loss(result: Result, signal: str) -> Loss | None:
    return result.killed if signal == "SIGKILL" else result.terminated


def _lost(result: Result, signal: str) -> str:
    loss = _loss(result, signal)
    if loss is None:
        return ABSENT
    share = f" ({readable(100 * loss.lost / loss.acknowledged)} %)" if loss.lost else ""
    twice = f", {loss.twice:,} twice" if loss.twice else ""
    off = f", {loss.queries_off:,} query events too few or many" if loss.queries_off else ""
    return f"{loss.lost:,} of {loss.acknowledged:,}{share}{twice}{off}"


def _ending(result: Result) -> str:
    return ABSENT if result.terminated is None else readable(result.terminated.ending_seconds)


def _goals(results: Sequence[Result]) -> str:
    """What the design asks of Barograph, and whether it is so; empty when Barograph was not measured."""
    lines = [["Goal", "", "Found", "Met"]]
    rates = [rate for result in results if result.peer and (rate := _median(result, RATE))]
    for result in (one for one in results if not one.peer and one.rounds):
        rate = _median(result, RATE) or 0.0
        if result.name == OURS:
            lines.append(_goal(result, f"≥ {GOAL_RATE:,.0f} durable spans/s", rate, rate >= GOAL_RATE))
        if rates and result.name == OURS:
            times = rate / max(rates)
            lines.append(_goal(result, f"≥ {GOAL_TIMES:.0f} times the faster peer", times, times >= GOAL_TIMES))
        for row, what in ((VISIBLE, "spans visible"), (QUERIES, "query events, less the grace,")):
            if (seconds := _median(result, row)) is not None:
                lines.append(_goal(result, f"{what} ≤ {GOAL_SECONDS:g} s", seconds, seconds <= GOAL_SECONDS))
        for signal in _SIGNALS:
            if (loss := _loss(result, signal)) is not None:
                wrong = loss.lost + loss.twice + loss.queries_off
                lines.append(_goal(result, f"{signal}: no span lost or twice, each trace a query", wrong, not wrong))
    return _markdown(lines) if len(lines) > 1 else ""


def _goal(result: Result, what: str, found: float, met: bool) -> list[str]:
    return [what, result.title, readable(found), "yes" if met else "**no**"]


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns; the first line is its header."""
    cells = [[cell.replace("|", "/") for cell in line] for line in lines]
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]

    def written(line: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return f"| {' | '.join(aligned)} |"

    rule = ["-" * width if place == 0 else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join([written(cells[0]), f"| {' | '.join(rule)} |", *(written(line) for line in cells[1:])]) + "\n"


def write(path: Path, text: str) -> None:
    """Replace the page as a whole."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
