"""`python -m bench`: the list of questions, and the command that measures them and writes results.md.

Each question is measured in a process of its own (``part``), in a directory that is removed afterwards. A goal that is
missed is reported and nothing more; only a question that cannot be measured makes the command fail.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from barograph_client.clock import Clock, SystemClock
from bench.figure import Figure
from bench.part import ROOT, Run, answer_part, run_part
from bench.report import SECTIONS, Block, machine, write

RESULTS = ROOT / "bench" / "results.md"


class Question(NamedTuple):
    """What is asked, in a sentence for the results, and the part that answers it in the default and the large run."""

    name: str
    title: str
    about: str
    part: str = ""
    large: str = ""


QUESTIONS: tuple[Question, ...] = (
    Question(
        "journal", "The journal alone",
        "Lines of a short query made durable, each append waiting for its receipt, in turns with the bare disk.",
        part="journal_alone.measure",
    ),
    Question(
        "ingest", "Durable native ingest",
        "MetricsCollector.stream from one thread into the journal, 1,000 events a commit; then acknowledgements of "
        "batches of 100 from four threads at half of the rate of short dicts, counted from when a batch was due.",
        part="native_ingest.measure",
    ),
    Question(
        "end-to-end", "End to end",
        "A whole DashboardInterface, loader and alerts running, in one process; visible is when flush() returns.",
        part="end_to_end.measure",
    ),
    Question(
        "call", "The recording call in the caller's program",
        "record_query_execution in background mode, each call timed, the real journal behind it; and what the "
        "synchronous call spends on validation and encoding.",
        part="call_overhead.measure",
    ),
    Question(
        "assign", "Which arm, in the caller's program",
        "One decision of an experiment with two arms, the mean of 20,000 in a row, each for another unit; CPU time.",
        part="assignment.measure",
    ),
    Question(
        "wire", "Where the time of an OTLP span goes",
        "CPU time of each step from a request's body to the query event, by itself; traces of three spans with five "
        "documents. `make bench-peers` measures the whole server.",
        part="wire.measure",
    ),
    Question(
        "queries", "Questions at 1 million events",
        "Recorded through the journal over 30 days, 36 label sets; one caller, nothing else running.",
        part="query_latency.million",
    ),
    Question(
        "queries-large", "Questions at 20 million events",
        "Made inside the engine (INSERT … SELECT … FROM numbers(), views attached) over 30 days, 36 label sets, five "
        "documents; one caller, nothing else running.",
        large="query_latency.twenty_million",
    ),
    Question(
        "experiments", "An experiment at 10 million exposures",
        "Exposures and daily sums of 4.3 million units, made inside the engine (INSERT … SELECT … FROM numbers(), past "
        "the views) over 14 days, and 14 days before; one caller, nothing else running. No raw rows are there, "
        "but for the last two figures: then a million units have a query on the day of their exposure.",
        part="experiment_analysis.measure",
    ),
    Question(
        "alerts", "A tick of the alert rules",
        "20 rules over 5 and 10 minutes, grouped by model, of which there are 500: 10,000 rule-series every 15 s; 100 "
        "events a second come in between, and are loaded before a tick. Then the whole process with projects of one "
        "event each, four ticks long.",
        part="alert_rules.measure",
    ),
    Question(
        "disk", "Bytes an event",
        "Five documents (id, retriever, rank, score, in context) and a short query text; all on one day of arrival, "
        "engine parts merged. Rollups grow with minutes and label sets, not with events: the same number of events in "
        "an hour and in a day.",
        part="disk_use.measure",
    ),
    Question(
        "recovery", "Recovery of 1 million events",
        "A journal of one day's events, five documents each, whose owner was killed with SIGKILL.",
        part="recovery.measure",
    ),
    Question(
        "recovery-large", "Recovery of 10 million events",
        "A journal of one day's events, five documents each, whose owner was killed with SIGKILL.",
        large="recovery.measure",
    ),
    Question(
        "change-points", "Change points",
        "Against what five people each marked in series of the Turing change point dataset: F1 with a margin of five "
        "places, and covering, the means over the series (van den Burg and Williams, arXiv 2003.06222). Another "
        "implementation, on these and two more series: no change 0.656 and 0.559, PELT 10 log n 0.713 and 0.670, "
        "Binseg 3 log n 0.730 and 0.681, 5 log n 0.721 and 0.687. Penalties were looked at on the same series.",
        part="change_points.measure",
    ),
    Question(
        "demo", "The demo",
        "`barograph demo` as a process of its own, into an empty directory.",
        part="demo_start.measure",
    ),
)  # fmt: skip


def main(arguments: Sequence[str], clock: Clock) -> int:
    """Measure what was asked for; the exit code is 1 when something could not be measured."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.part:
        answer_part(asked.part, Run(directory=asked.dir, scale=asked.scale, large=asked.large, clock=clock))
        return 0
    chosen = [question for question in QUESTIONS if (question.large if asked.large else question.part)]
    if asked.only:
        wrong = set(asked.only) - {question.name for question in chosen}
        if wrong:
            names = ", ".join(question.name for question in chosen)
            parser.error(f"no such question in this run: {', '.join(sorted(wrong))}; there are {names}")
        chosen = [question for question in chosen if question.name in asked.only]
    results = asked.results or (RESULTS if asked.scale == 1 else None)
    section = SECTIONS[1] if asked.large else SECTIONS[0]
    print(f"{section}\n\n{machine()}", flush=True)
    blocks: list[Block] = []
    for place, question in enumerate(chosen, 1):
        print(f"[{place}/{len(chosen)}] {question.title}", file=sys.stderr, flush=True)
        blocks.append(_measure(question, asked, clock))
        print(blocks[-1].text(), flush=True)
        if results:  # after each, so that a run that is stopped keeps what it has
            write(results, section, blocks, [question.title for question in QUESTIONS])
    failed = [block.title for block in blocks if block.failure]
    missed = [figure.name for block in blocks for figure in block.figures if figure.met is False]
    print(f"{len(missed)} goals missed, {len(failed)} questions could not be measured.", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Barograph on this machine.")
    parser.add_argument("--only", action="append", metavar="NAME", help="one question; may be given again")
    parser.add_argument("--large", action="store_true", help="the questions at 20 and 10 million events instead")
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the real size; such a run writes nothing")
    parser.add_argument("--dir", type=Path, help="where the data go meanwhile (a temporary directory)")
    parser.add_argument("--results", type=Path, help="where the results go (bench/results.md)")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser


def _measure(question: Question, asked: argparse.Namespace, clock: Clock) -> Block:
    """Run the question's part in a fresh directory and remove it."""
    if asked.dir is not None:
        asked.dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="barograph-bench-", dir=asked.dir))
    at, began, load = clock.now(), clock.monotonic(), os.getloadavg()[0]
    figures: tuple[Figure, ...] = ()
    failure = ""
    try:
        run = Run(directory=directory.resolve(), scale=asked.scale, large=asked.large, clock=clock)
        figures = tuple(run_part(question.large if asked.large else question.part, run))
    except RuntimeError as error:
        failure = f"{error}."
        print(f"    {error}", file=sys.stderr)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return Block(
        title=question.title,
        about=question.about,
        at=at,
        seconds=clock.monotonic() - began,
        load=load,
        figures=figures,
        failure=failure,
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], SystemClock()))
    except KeyboardInterrupt:
        print("stopped; what was measured is written", file=sys.stderr)
        sys.exit(130)
