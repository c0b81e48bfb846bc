"""A line that witnesses others of its commit is on disk only where they are, wherever the process was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from barograph.core.settings import JournalSettings
from barograph.journal.entry import WITNESS
from barograph.journal.journal import Journal
from barograph_client.clock import SystemClock

_LIFE = """
import os, sys
from pathlib import Path
from barograph.core.settings import JournalSettings
from barograph.journal.entry import WITNESS, Entry
from barograph.journal.journal import Journal
from barograph.journal.stream import AppendFile
from barograph_client.clock import SystemClock

directory, last = Path(sys.argv[1]), int(sys.argv[2])
journal = Journal(directory, SystemClock(), JournalSettings())
writes, append = 0, AppendFile.append

def counted(self, *arguments):
    global writes
    append(self, *arguments)
    writes += 1
    if writes == last:
        os._exit(7)

AppendFile.append = counted
gate = journal._writer._lock
with gate:  # so that both submits share a commit
    def entry(kind, name, internal=False):
        return Entry(kind, name, f'{{"kind":"{kind}","event_id":"{name}"'.encode(), internal)
    import threading
    works = [[entry("query", "q"), entry(WITNESS, "a/1", True)], [entry("feedback", "f"), entry(WITNESS, "b/1", True)]]
    from barograph.journal.commit import Work
    from barograph.journal.entry import Receipt
    receipts = [Work(Receipt(), one, size=1) for one in works]
    journal._writer._queue.extend(receipts)
    journal._writer._waiting += 2
    journal._writer._work.notify()
for work in receipts:
    work.receipt.wait()
os._exit(0)
"""


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_no_kill_leaves_the_witness_without_what_it_witnesses(tmp_path: Path, last: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _LIFE, str(tmp_path), str(last)], timeout=60, check=False, env=dict(os.environ)
    )
    assert ended.returncode == (7 if last <= 3 else 0)
    with Journal(tmp_path, SystemClock(), JournalSettings()) as journal:
        there = {kind: journal.count(kind) for kind in ("query", "feedback", WITNESS)}
    assert there["query"] == 1
    if there[WITNESS]:
        assert there == {"query": 1, "feedback": 1, WITNESS: 2}
    assert bool(there[WITNESS]) == (last >= 3)
