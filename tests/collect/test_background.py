"""Background mode: the program is never held up and never hears of trouble; nothing is lost without being counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from collect_support import SEED, Open, rejected, stored

from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.sinks import JournalSink
from barograph.core.settings import CollectSettings
from barograph.journal.entry import Entry, Receipt, Rejection
from barograph.journal.journal import Journal
from barograph_client import background
from barograph_client.clock import SystemClock
from barograph_client.errors import DiskFull
from barograph_client.identifiers import IdentifierSource

WAIT = 30.0  # seconds after which a test that should have gone on fails


class Gate:
    """A sink that lets nothing through until it is opened, as a disk that stalls."""

    def __init__(self, journal: Journal) -> None:
        self.opened = threading.Event()
        self.reached = threading.Event()
        self._sink = JournalSink(journal)

    def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        self.reached.set()
        assert self.opened.wait(WAIT)
        return self._sink.submit(entries, rejections)


class Refusing:
    """A sink that refuses a number of times before it takes anything."""

    def __init__(self, journal: Journal, times: int) -> None:
        self.times = times
        self.tried = threading.Event()
        self._sink = JournalSink(journal)

    def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
        self.tried.set()
        if self.times:
            self.times -= 1
            raise DiskFull("no space is left", hint="Make some.")
        return self._sink.submit(entries, rejections)


def collector_of(sink: Gate | Refusing, queue: int = 10_000) -> MetricsCollector:
    clock = SystemClock()
    settings = CollectSettings(queue=queue)
    return MetricsCollector(sink, clock, IdentifierSource(clock), settings, background=True)


@pytest.fixture
def gate(journal: Journal) -> Iterator[Gate]:
    made = Gate(journal)
    yield made
    made.opened.set()


def test_what_was_recorded_is_durable_after_a_flush(open_collector: Open, tmp_path: Path):
    collector = open_collector(background=True)
    ids = [collector.record_query_execution(SEED) for _ in range(3000)]
    assert collector.flush(WAIT)
    assert [line["event_id"] for line in stored(tmp_path / "data")] == ids
    assert (collector.counts.received, collector.counts.stored) == (3000, 3000)


def test_the_caller_does_not_wait_for_a_disk_that_stalls(gate: Gate, tmp_path: Path):
    with collector_of(gate) as collector:
        for n in range(500):
            collector.record_query_execution({"event_id": str(n)})
        assert gate.reached.wait(WAIT)
        collector.record_query_execution({"event_id": "last"})
        assert stored(tmp_path / "data") == []
        assert not collector.flush(0.01)
        gate.opened.set()
        assert collector.flush(WAIT)
        assert len(stored(tmp_path / "data")) == 501


def test_the_time_and_the_fields_are_those_of_the_call(gate: Gate, tmp_path: Path):
    with collector_of(gate) as collector:
        before = SystemClock().now()
        fields = dict(SEED)
        collector.record_query_execution(fields)
        fields["query"] = "changed afterwards"
        after = SystemClock().now()
        gate.opened.set()
        assert collector.flush(WAIT)
    (line,) = stored(tmp_path / "data")
    assert line["query"] == SEED["query"]
    assert before <= datetime.fromisoformat(str(line["time"])) <= after


def test_bad_input_raises_nothing_and_is_kept_and_counted(open_collector: Open, journal: Journal, tmp_path: Path):
    class Unreadable(Mapping[str, object]):
        def __getitem__(self, name: str) -> object:
            raise OSError(name)

        def __iter__(self) -> Iterator[str]:
            raise OSError("gone")

        def __len__(self) -> int:
            return 1

    collector = open_collector(background=True)
    for bad in ({"cost": float("nan")}, {"query": "\ud800"}, None, 5, {1: 2}, object()):
        collector.record_query_execution(bad)  # type: ignore[arg-type]
    collector.record_event("attribution", SEED)
    collector.record_event(["query"], SEED)  # type: ignore[arg-type]
    collector.record_query_execution(Unreadable())
    assert collector.flush(WAIT)
    counts = collector.counts
    assert (counts.received, counts.rejected, counts.dropped) == (8, 8, {"unreadable": 1})
    assert journal.account().rejected == len(rejected(tmp_path / "data")) == 8


def test_the_id_that_is_returned_is_the_events(open_collector: Open, tmp_path: Path):
    collector = open_collector(background=True)
    ids = [
        collector.record_query_execution(raw) for raw in ({"event_id": "a"}, {"event_id": "b"}, {"event_id": None}, {})
    ]
    assert collector.flush(WAIT)
    assert [line["event_id"] for line in stored(tmp_path / "data")] == ids
    assert ids[:2] == ["a", "b"]


def test_a_full_queue_drops_and_counts(gate: Gate, tmp_path: Path):
    with collector_of(gate, queue=100) as collector:
        for _ in range(350):
            collector.record_query_execution(SEED)
        assert collector.counts.dropped == {"queue full": 250}
        gate.opened.set()
        assert collector.flush(WAIT)
        collector.record_query_execution(SEED)
        assert collector.flush(WAIT)
        assert (collector.counts.stored, collector.counts.dropped) == (101, {"queue full": 250})
        assert len(stored(tmp_path / "data")) == 101


@pytest.mark.parametrize(
    "big",
    [
        {"query": "x" * 200_000},
        {"documents": [{"text": "x" * 20_000}] * 10},
        {"contexts": ["x" * 20_000] * 10},
        {"tags": {str(n): "x" * 4_000 for n in range(50)}},
    ],
    ids=lambda raw: next(iter(raw)),
)
def test_the_texts_that_wait_are_bounded(gate: Gate, big: dict[str, object], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(background, "QUEUE_BYTES", 2_000_000)
    with collector_of(gate) as collector:
        for _ in range(100):
            collector.record_query_execution(big)
        dropped = collector.counts.dropped["queue bytes"]
        assert 88 <= dropped <= 92
        gate.opened.set()
        assert collector.flush(WAIT)
        assert collector.counts.stored == 100 - dropped


def test_a_journal_that_refuses_for_a_while_costs_no_event(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(background, "_RETRY_SECONDS", 0.01)
    with collector_of(Refusing(journal, 3)) as collector:
        for n in range(10):
            collector.record_query_execution({"event_id": str(n)})
        assert collector.flush(WAIT)
        assert collector.counts.dropped == {}
    assert len(stored(tmp_path / "data")) == 10


def test_one_that_goes_on_refusing_does_not_hold_up_the_end(journal: Journal):
    sink = Refusing(journal, 10**9)
    collector = collector_of(sink)
    for _ in range(10):
        collector.record_query_execution(SEED)
    assert sink.tried.wait(WAIT)
    collector.close(timeout=0.2)
    assert collector.flush(WAIT)
    assert (collector.counts.received, collector.counts.dropped) == (0, {"journal refused": 10})


def test_a_closed_journal_is_a_counted_drop(open_collector: Open, journal: Journal):
    collector = open_collector(background=True)
    journal.close()
    collector.record_query_execution(SEED)
    assert collector.flush(WAIT)
    assert collector.counts.dropped == {"journal closed": 1}


def test_a_sink_with_a_fault_neither_ends_the_thread_nor_reaches_the_caller(journal: Journal):
    class Faulty(Refusing):
        def submit(self, entries: Sequence[Entry], rejections: Sequence[Rejection] = ()) -> Receipt:
            if self.times:
                self.times -= 1
                raise ZeroDivisionError
            return super().submit(entries, rejections)

    with collector_of(Faulty(journal, 1)) as collector:
        collector.record_query_execution(SEED)
        assert collector.flush(WAIT)
        collector.record_query_execution(SEED)
        assert collector.flush(WAIT)
        assert (collector.counts.stored, collector.counts.dropped) == (1, {"fault": 1})


def test_what_comes_after_the_close_is_dropped_and_counted(open_collector: Open, tmp_path: Path):
    collector = open_collector(background=True)
    collector.record_query_execution(SEED)
    collector.close()
    assert len(stored(tmp_path / "data")) == 1
    collector.record_query_execution(SEED)
    collector.close()
    assert collector.flush(WAIT)
    assert (collector.counts.stored, collector.counts.dropped) == (1, {"closed": 1})


def test_a_flush_after_a_close_that_did_not_wait_to_the_end_comes_back(gate: Gate, tmp_path: Path):
    collector = collector_of(gate)
    collector.record_query_execution(SEED)
    assert gate.reached.wait(WAIT)
    collector.close(timeout=0.01)
    assert not collector.flush(0.01)
    gate.opened.set()
    assert collector.flush(WAIT)
    assert collector.counts.stored == len(stored(tmp_path / "data")) == 1


def test_a_thread_that_fell_asleep_is_woken(open_collector: Open, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(background, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(background, "_LOOKS", 1)
    collector = open_collector(background=True)
    for n in range(300):
        collector.record_query_execution(SEED)
        if n % 3 == 0:
            assert collector.flush(WAIT)
    assert collector.flush(WAIT)
    assert collector.counts.stored == 300


def test_many_threads_lose_nothing_uncounted(open_collector: Open, journal: Journal):
    collector = open_collector(queue=500, background=True)

    def work() -> None:
        for _ in range(1000):
            collector.record_query_execution(SEED)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collector.flush(WAIT)
    counts = collector.counts
    assert counts.stored + sum(counts.dropped.values()) == 8000
    assert journal.account().received == counts.received == counts.stored > 0


def test_batches_and_internal_events_are_durable_on_return_here_too(open_collector: Open, tmp_path: Path):
    collector = open_collector(background=True)
    assert collector.record_many([{"event_id": "a"}]) == ["a"]
    assert len(stored(tmp_path / "data")) == 1
    assert collector.counts.stored == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12 and later
def test_a_forked_child_starts_with_an_empty_queue_and_a_thread_of_its_own(gate: Gate, tmp_path: Path):
    """The child's sink here is the parent's journal, which a child must not write: its events are counted drops."""
    with collector_of(gate) as collector:
        for _ in range(5):
            collector.record_query_execution(SEED)
        assert gate.reached.wait(WAIT)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                gate.opened = threading.Event()
                gate.opened.set()
                fresh = collector.counts.received == 0 and collector.flush(0)
                collector.record_query_execution(SEED)
                if fresh and collector.flush(WAIT) and collector.counts.dropped == {"journal closed": 1}:
                    status = 0
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(ended) == 0
        gate.opened.set()
        assert collector.flush(WAIT)
        assert collector.counts.stored == 5
    assert len(stored(tmp_path / "data")) == 5


HEAD = """
import os, signal, sys, threading, time
from pathlib import Path
from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.sinks import JournalSink
from barograph_client.clock import SystemClock
from barograph_client.identifiers import IdentifierSource
from barograph.core.settings import CollectSettings, JournalSettings
from barograph.journal.journal import Journal

clock = SystemClock()
journal = Journal(Path(sys.argv[1]), clock, JournalSettings())

def collector():
    return MetricsCollector(JournalSink(journal), clock, IdentifierSource(clock), CollectSettings(), background=True)

def record(c, count=2000):
    for n in range(count):
        c.record_query_execution({"event_id": str(n), "query": "q"})
"""


def program(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """A real program that records."""
    code = HEAD + textwrap.dedent(body)
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("sys.exit(3)", 3), ("raise KeyError('a')", 1)], ids=["end", "exit", "error"]
)
def test_what_waits_is_written_when_the_program_ends(tmp_path: Path, end: str, status: int):
    code, _, err = finish(program(tmp_path, f"record(collector())\n{end}"))
    assert code == status, err
    assert len(stored(tmp_path / "data")) == 2000


def terminate(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """SIGTERM once the program says that it is ready."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    return finish(process)


@pytest.mark.parametrize(
    "waiting",
    ["time.sleep(60)", "threading.Event().wait(60)", "while True: pass"],
    ids=["asleep", "waiting", "busy"],
)
def test_sigterm_writes_what_waits_and_still_ends_the_program(tmp_path: Path, waiting: str):
    code, _, err = terminate(program(tmp_path, f"record(collector()); print('ready', flush=True)\n{waiting}"))
    assert (code, err) == (-signal.SIGTERM, "")
    assert len(stored(tmp_path / "data")) == 2000


def test_sigterm_goes_on_to_the_handler_that_was_there(tmp_path: Path):
    body = """
    def mine(number, frame):
        print("mine", number, flush=True)
        sys.exit(7)
    signal.signal(signal.SIGTERM, mine)
    record(collector())
    print("ready", flush=True)
    time.sleep(60)
    """
    code, out, err = terminate(program(tmp_path, body))
    assert (code, out, err) == (7, f"mine {int(signal.SIGTERM)}\n", "")
    assert len(stored(tmp_path / "data")) == 2000


def test_a_program_that_ignores_sigterm_goes_on_and_a_second_one_flushes_again(tmp_path: Path):
    body = """
    calls = []
    signal.signal(signal.SIGTERM, lambda *_: calls.append(1))
    c = collector()
    for turn in range(2):
        c.record_query_execution({"event_id": f"turn {turn}"})
        os.kill(os.getpid(), signal.SIGTERM)
        while len(calls) <= turn:
            time.sleep(0.001)
        assert c.counts.stored == turn + 1, c.counts
    print("done")
    """
    code, out, err = finish(program(tmp_path, body))
    assert (code, out, err) == (0, "done\n", "")


def test_several_collectors_are_all_flushed(tmp_path: Path):
    body = """
    a, b = collector(), collector()
    for n in range(500):
        a.record_query_execution({"event_id": f"a{n}"})
        b.record_query_execution({"event_id": f"b{n}"})
    print("ready", flush=True)
    time.sleep(60)
    """
    code, _, err = terminate(program(tmp_path, body))
    assert (code, err) == (-signal.SIGTERM, "")
    assert len(stored(tmp_path / "data")) == 1000


def test_sigterm_in_the_middle_of_a_synchronous_commit_holds_nothing_up(tmp_path: Path):
    """The interrupted code may hold the journal's lock: the handler must not wait for it."""
    body = """
    c = collector()
    sync = MetricsCollector(JournalSink(journal), clock, IdentifierSource(clock), CollectSettings())
    record(c, 500)
    print("ready", flush=True)
    while True:
        sync.record("n", 1)
        c.record("m", 1)
    """
    code, _, err = terminate(program(tmp_path, body))
    assert (code, err) == (-signal.SIGTERM, "")
    assert len(stored(tmp_path / "data", "query")) == 500


def test_a_disk_that_stalls_does_not_keep_the_program_from_ending(tmp_path: Path):
    body = """
    from barograph_client import background
    background.EXIT_SECONDS = 0.2
    class Stalled:
        def submit(self, entries, rejections=()):
            time.sleep(60)
    c = MetricsCollector(Stalled(), clock, IdentifierSource(clock), CollectSettings(), background=True)
    record(c)
    print("ready", flush=True)
    time.sleep(60)
    """
    code, _, err = terminate(program(tmp_path, body))
    assert (code, err) == (-signal.SIGTERM, "")


def test_a_collector_of_another_thread_leaves_the_signal_alone_and_works(tmp_path: Path):
    body = """
    def work():
        global c
        c = collector()
        record(c)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    """
    code, _, err = finish(program(tmp_path, body))
    assert code == 0, err
    assert len(stored(tmp_path / "data")) == 2000


def test_closing_gives_the_signal_back(open_collector: Open):
    before = signal.getsignal(signal.SIGTERM)
    collector = open_collector(background=True)
    assert signal.getsignal(signal.SIGTERM) != before
    collector.close()
    assert signal.getsignal(signal.SIGTERM) == before


def test_recording_from_a_signal_handler_while_recording_is_safe(open_collector: Open, tmp_path: Path):
    collector = open_collector(background=True)
    before = signal.signal(signal.SIGALRM, lambda *_: collector.record("tick", 1) and None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(5000):
            collector.record_query_execution(SEED)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert collector.flush(WAIT)
    counts = collector.counts
    recorded = stored(tmp_path / "data", "query")
    ticks = len(stored(tmp_path / "data", "metric"))
    assert ticks > 0
    assert counts.stored == len(recorded) + ticks
    assert len(recorded) + counts.dropped.get("queue full", 0) >= 5000


def test_a_multiprocessing_child_that_records_and_returns_loses_nothing(tmp_path: Path):
    body = """
        import multiprocessing
        journal.close()

        def work():
            global journal
            journal = Journal(Path(sys.argv[1]), clock, JournalSettings())
            record(collector())

        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        sys.exit(child.exitcode)
    """
    assert finish(program(tmp_path, body)) == (0, "", "")
    assert len(stored(tmp_path / "data")) == 2000
