"""SIGKILL at random moments, again and again on one directory: nothing acknowledged is missing, nothing is there twice.

A process forks one writer after the other (so that a life costs milliseconds, not an import). Each writer opens the
journal, sends the last events of the life before once more, as a client would that got no answer, goes on with new
ones from four threads, compresses closed days at the same time, and prints what was acknowledged until it is killed.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from barograph.core.settings import JournalSettings
from barograph.journal.journal import Journal
from barograph_client.clock import SystemClock

LIVES = 100
THREADS = 4
SEED = 20261124

WRITERS = '''
import os, sys, threading
from datetime import timedelta
from pathlib import Path
from barograph_client.clock import SystemClock
from barograph.core.settings import JournalSettings
from barograph.journal.entry import Entry, Rejection
from barograph.journal.journal import Journal

class LaterClock(SystemClock):
    """So many days ahead, so that days close while the test runs."""
    def __init__(self, days): self._ahead = timedelta(days=days)
    def now(self): return super().now() + self._ahead

def entry(thread, n):
    event_id = f"{thread:08x}-0000-7000-8000-{n:012x}"
    kind = ("query", "score")[n % 2]
    body = b'{"kind":"%s","event_id":"%s","text":"%s"' % (kind.encode(), event_id.encode(), b"x" * (n % 300))
    return Entry(kind, event_id, body, n % 7 == 0)

def say(line):
    os.write(1, line.encode() + b"\\n")

def write(journal, thread, n):
    size = 1
    while True:
        batch = [entry(thread, i) for i in range(n, n + size)]
        outcomes = journal.submit(batch, [Rejection("query", "x", "y", b"z")]).wait()
        say(f"ack {thread} {n} {size} {outcomes.count('duplicate')}")
        n, size = n + size, size % 23 + 1

def live(days, firsts):
    settings = JournalSettings(segment_bytes=50_000, duplicate_window=100_000)
    journal = Journal(Path(sys.argv[1]), LaterClock(days), settings)
    threads = [threading.Thread(target=write, args=(journal, t, n)) for t, n in enumerate(firsts)]
    for thread in threads: thread.start()
    journal.compress_closed()
    for thread in threads: thread.join()

for line in sys.stdin:
    days, *firsts = map(int, line.split())
    child = os.fork()
    if child == 0:
        try:
            live(days, firsts)
        finally:
            say("failed")
            os._exit(1)
    say(f"born {child}")
    os.waitpid(child, 0)
    say("dead")
'''

ID = re.compile(rb'"event_id":"([^"]+)"')


def stored_ids(directory: Path) -> Counter[bytes]:
    """The ids in the files, read without the journal's help; a torn last line does not count."""
    found: Counter[bytes] = Counter()
    for path in (directory / "journal").rglob("*.jsonl"):
        archived = directory / "archive" / path.relative_to(directory).parent / (path.name + ".zst")
        if not archived.exists():  # else it was being moved: it may stand in both places for a moment
            data = path.read_bytes()
            found.update(ID.findall(data[: data.rfind(b"\n") + 1]))
    for path in (directory / "archive").rglob("*.zst"):
        plain = directory / path.relative_to(directory / "archive").with_suffix("")
        if plain.exists():
            data = plain.read_bytes()
            found.update(ID.findall(data[: data.rfind(b"\n") + 1]))
        else:
            with path.open("rb") as file:
                reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                found.update(ID.findall(reader.read()))
    return found


@pytest.mark.slow
def test_a_hundred_kills_lose_and_double_nothing(tmp_path: Path):
    directory = tmp_path / "data"
    chance = random.Random(SEED)
    acknowledged: set[bytes] = set()
    next_ids = [0] * THREADS
    duplicates = rejected = kills = 0
    command = [sys.executable, "-c", WRITERS, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for life in range(LIVES):
            firsts = [max(0, n - chance.randrange(30)) for n in next_ids]
            print(life // 10, *firsts, file=writers.stdin, flush=True)
            said = [writers.stdout.readline()]
            while not said[-1].startswith("born"):  # the child may speak first
                assert said[-1] != "failed\n"
                said.append(writers.stdout.readline())
            time.sleep(chance.random() ** 2 * 0.25)  # many die at the start, in recovery or in the first commit
            os.kill(int(said.pop().split()[1]), signal.SIGKILL)
            kills += 1
            for line in [*said, *iter(writers.stdout.readline, "dead\n")]:
                assert line != "failed\n"
                if line.startswith("ack"):
                    thread, first, size, again = map(int, line.split()[1:])
                    ids = [f"{thread:08x}-0000-7000-8000-{n:012x}".encode() for n in range(first, first + size)]
                    acknowledged.update(ids)
                    next_ids[thread] = max(next_ids[thread], first + size)
                    duplicates += again
                    rejected += 1
            stored = stored_ids(directory)
            assert not acknowledged - stored.keys(), f"life {life}: acknowledged and missing"
            assert not [event for event, times in stored.items() if times > 1], f"life {life}: there twice"
        writers.stdin.close()
    assert kills >= 50
    with Journal(directory, SystemClock(), JournalSettings()) as journal:
        assert journal.unclean_start
        assert journal.problems == []
        served: Counter[bytes] = Counter()
        for segment in journal.snapshot().segments:
            served.update(ID.findall(journal.read(segment, 0, segment.size)))
        assert set(served.values()) == {1}
        assert acknowledged <= served.keys()
        assert journal.count() == len(served)
        account = journal.account()
        assert account.received == account.stored + account.rejected + account.duplicate
        assert account.stored + sum(account.internal.values()) == len(served)
        assert account.rejected >= rejected
        assert 0 < account.duplicate <= duplicates + len(served)
    assert len(acknowledged) > 1000
    with Journal(directory, SystemClock(), JournalSettings()) as again:
        assert not again.unclean_start
        assert again.account() == account
