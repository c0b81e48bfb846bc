"""`python -m bench.peers`: the same traces into Barograph, Phoenix and MLflow, one after the other, and peers.md.

A peer that cannot be installed or started is told in the table with the reason; the command fails then too.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from barograph_client.clock import Clock, SystemClock
from bench.part import ROOT
from bench.peers import mlflow, phoenix
from bench.peers.barograph import Barograph, Redacting
from bench.peers.environment import Environment, NotThere
from bench.peers.measure import Loss, Round, loss, throughput
from bench.peers.report import OURS, Result, page, write
from bench.peers.system import System
from bench.peers.traces import Batch, batches, some_of

RESULTS = ROOT / "bench" / "peers.md"
TRACES = 20_000
LEAST = 200  # two batches: one before the clock starts, one that is measured
ROUNDS = 3
CONNECTIONS = 4


class Subject(NamedTuple):
    """A system as the command knows it. ``traces`` of a peer take it about a minute on two cores."""

    name: str
    title: str
    make: Callable[[Path, Clock], System]
    environment: Environment | None = None
    traces: int = TRACES

    @property
    def peer(self) -> bool:
        return self.environment is not None


SUBJECTS = (
    Subject(OURS, "Barograph", Barograph),
    Subject("barograph-redacting", "Barograph, redacting", Redacting),
    Subject("phoenix", f"Phoenix {phoenix.ENVIRONMENT.version}", phoenix.Phoenix, phoenix.ENVIRONMENT, 2_500),
    Subject("mlflow", f"MLflow {mlflow.ENVIRONMENT.version}", mlflow.MLflow, mlflow.ENVIRONMENT, 6_000),
)


def main(arguments: Sequence[str], clock: Clock) -> int:
    """Measure what was asked for, print the page and write it; 1 when a system could not be measured."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    names = [subject.name for subject in SUBJECTS]
    if wrong := set(asked.only or ()) - set(names):
        parser.error(f"no such system: {', '.join(sorted(wrong))}; there are {', '.join(names)}")
    if min(asked.traces, asked.peer_traces or LEAST) < LEAST or min(asked.rounds, asked.connections) < 1:
        parser.error(f"there are at least {LEAST} traces, one round and one connection")
    chosen = [subject for subject in SUBJECTS if not asked.only or subject.name in asked.only]
    _tell("installing what is not there")
    absent = {subject.name: _install(subject, asked.skip_install) for subject in chosen}
    end = clock.now().replace(microsecond=0)
    _tell(f"making {asked.traces:,} traces")
    whole = batches(asked.traces, end)
    results = []
    for subject in chosen:
        if reason := absent[subject.name]:
            results.append(Result(name=subject.name, title=subject.title, peer=subject.peer, failure=reason))
        else:
            wanted = (asked.peer_traces or subject.traces) if subject.peer else asked.traces
            run = _Run(subject, some_of(whole, wanted), asked.connections, end, clock, asked.dir)
            results.append(run.measured(1 if subject.peer else asked.rounds))
    command = "make bench-peers" + (f' ARGS="{shlex.join(arguments)}"' if arguments else "")
    trace_bytes = sum(len(batch.body) for batch in whole) / asked.traces
    text = page(results, command, end, trace_bytes, asked.connections)
    print(text, flush=True)
    results_file = asked.results or (RESULTS if asked.traces >= TRACES and not asked.only else None)
    if results_file:
        write(results_file, text)
    return 1 if any(result.failure for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(subject.name for subject in SUBJECTS)
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Measure Barograph beside its peers.")
    parser.add_argument(
        "--traces", type=int, default=TRACES, help="for Barograph; with fewer than that nothing is written"
    )
    parser.add_argument("--peer-traces", type=int, help="for each peer (2,500 for Phoenix, 6,000 for MLflow)")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="of Barograph, and its kills of each sort; a peer has one"
    )
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="that the sender uses")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"one of {names}; may be given again")
    parser.add_argument("--skip-install", action="store_true", help="use the environments that are there")
    parser.add_argument("--dir", type=Path, help="where the data go meanwhile (a temporary directory)")
    parser.add_argument("--results", type=Path, help="where the page goes (bench/peers.md)")
    return parser


def _install(subject: Subject, skip: bool) -> str:
    """Why the system is not there; empty when it is."""
    try:
        if subject.environment is not None:
            subject.environment.prepare(install=not skip)
    except NotThere as error:
        _tell(f"{subject.title}: {error}")
        return str(error)
    return ""


class _Run:
    """One system's rounds, each in a directory that is removed."""

    def __init__(
        self,
        subject: Subject,
        load: Sequence[Batch],
        connections: int,
        end: datetime,
        clock: Clock,
        parent: Path | None,
    ) -> None:
        self._subject = subject
        self._load = load
        self._connections = connections
        self._end = end
        self._clock = clock
        self._parent = parent
        self._rounds: list[Round] = []
        self._losses: dict[str, Loss] = {}

    def measured(self, rounds: int) -> Result:
        """All of it; what was measured before a failure stays in the result."""
        failure = ""
        try:
            for number in range(rounds):
                self._told(f"throughput {number + 1}/{rounds}")
                self._in_directory(self._throughput)
            usual = median(found.load_seconds for found in self._rounds)
            for number in range(rounds):
                for signal in ("SIGKILL", "SIGTERM"):
                    self._told(f"{signal} {number + 1}/{rounds}")
                    after = usual * (number + 1) / (rounds + 1)
                    self._in_directory(partial(self._loss, signal, after))
        except Exception as error:  # whatever it is, the other systems are still to be measured
            failure = f"{type(error).__name__}: {error}" if not isinstance(error, NotThere) else str(error)
            self._told(failure)
        return Result(
            name=self._subject.name,
            title=self._subject.title,
            peer=self._subject.peer,
            traces=sum(len(batch.trace_ids) for batch in self._load),
            rounds=tuple(self._rounds),
            killed=self._losses.get("SIGKILL"),
            terminated=self._losses.get("SIGTERM"),
            failure=" ".join(failure.split()).rstrip("."),
        )

    def _throughput(self, system: System) -> None:
        found = throughput(system, self._load, self._connections, self._end)
        self._told(f"{found.spans_per_second:,.0f} spans/s, visible after {found.visible_seconds:.2f} s")
        self._rounds.append(found)

    def _loss(self, signal: str, after: float, system: System) -> None:
        found = loss(system, self._load, self._connections, after, system.kill if signal == "SIGKILL" else system.stop)
        self._told(f"{found.lost:,} of {found.acknowledged:,} spans lost")
        before = self._losses.get(signal)
        self._losses[signal] = before + found if before else found

    def _in_directory(self, work: Callable[[System], None]) -> None:
        if self._parent is not None:
            self._parent.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix="barograph-peers-", dir=self._parent)).resolve()
        try:
            work(self._subject.make(directory / "data", self._clock))
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _told(self, text: str) -> None:
        _tell(f"{self._subject.title}: {text}")


def _tell(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], SystemClock()))
    except KeyboardInterrupt:
        print("stopped; nothing is written", file=sys.stderr)
        sys.exit(130)
