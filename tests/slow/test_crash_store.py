"""SIGKILL at random moments, and power cuts, on one directory with the embedded engine: the engine is the journal.

A process forks one life after the other. Each life opens journal and store, loads in the background, records events
that add up to zero pair by pair, asks for sums meanwhile, and prints what was acknowledged until it is killed. The
one who forks never opens an engine itself.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.soak import times

ROOT = Path(__file__).resolve().parents[2]
LIVES = times(25, 100)
SEED = 20261124

LIFE = '''
import json, os, random, sys, threading, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from barograph_client.clock import SystemClock
from barograph.core.event import Feedback, Metric
from barograph.core.query import MetricQuery, Window
from barograph.store import loader
from tests.support.store_site import Site, queries

loader.BLOCK_LINES = 40  # many ranges, so that many moments lie between two of them
WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
DAYS = Window(datetime(2026, 1, 1, 0, 7, 3, tzinfo=UTC), datetime(2026, 1, 2, 23, 11, tzinfo=UTC))

class LaterClock(SystemClock):
    """Some days ahead, so that several days of arrival come about."""
    def __init__(self, days): self._ahead = timedelta(days=days)
    def now(self): return super().now() + self._ahead

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def batch(thread, n):
    chance = random.Random(thread * 10**6 + n)
    first = thread * 10**7 + n * 100
    events = list(queries(chance, 6, WINDOW.start, WINDOW.end, first=first, cost=1.0))
    events.append(Feedback(event_id=f"f-{first}", time=events[0].time, trace_id=events[0].trace_id, rating=3.0))
    for sign in (1, -1):
        moment = WINDOW.start + timedelta(seconds=chance.randrange(3600 * 40))
        events.append(Metric(event_id=f"m-{first}-{sign}", time=moment, name="balance", value=sign * (n + 1.0)))
    return events

def write(site, thread, n, pause):
    while True:
        site.append(batch(thread, n))
        say("ack", thread, n)
        n += 1
        time.sleep(pause)

def live(days, firsts, pause):
    site = Site(Path(sys.argv[1]), LaterClock(days), load_interval=0.01, segment_bytes=20_000)
    site.store.start()
    for thread, n in enumerate(firsts):
        threading.Thread(target=write, args=(site, thread, n, pause), daemon=True).start()
    while True:
        answer = site.store.query(MetricQuery(metric="metric.balance", window=WINDOW))
        if answer.value not in (None, 0.0):
            say("wrong", answer.value, answer.n)
            os._exit(1)
        say("seen", answer.n)
        time.sleep(0.02)

def settle(days):
    """A last life that says what is there, and ends well."""
    site = Site(Path(sys.argv[1]), LaterClock(days), load_interval=0.01, segment_bytes=20_000)
    unclean = site.journal.unclean_start
    watermark = site.store.flush()
    report, health, store = site.store.verify(), site.store.health(), site.store
    def ids(kind):
        sql = f"SELECT count() AS n, uniqExact(event_id) AS different, sum(cityHash64(event_id)) AS hash FROM {kind}"
        return store._engine.select(sql)[0]
    def ask(metric, window, raw=False):
        answer = (store.query_raw if raw else store.query)(MetricQuery(metric=metric, window=window))
        return [answer.value and round(answer.value, 6), answer.n]
    told = {
        "unclean": unclean, "ok": report.ok, "differences": [str(d) for d in report.differences],
        "journal": report.journal, "engine": report.engine, "rebuilt": [str(d) for d in health.rebuilt_days],
        "made_again": health.made_again, "problem": health.problem,
        "ids": {kind: ids(kind) for kind in ("query", "feedback", "metric", "attribution")},
        "answers": {
            f"{metric} {name}": [ask(metric, window), ask(metric, window, True)]
            for metric in ("queries", "cost", "metric.balance", "feedback", "response_time.p95", "active_users")
            for name, window in (("all", WINDOW), ("some", DAYS))
        },
    }
    site.close()
    say("told", json.dumps(told))
    os._exit(0)

for line in sys.stdin:
    word, days, *firsts = line.split()
    child = os.fork()
    if child == 0:
        try:
            if word == "settle":
                settle(int(days))
            live(int(days), list(map(int, firsts)), 0.05 if word == "live" else 0.3)
        except BaseException as error:
            say("failed", type(error).__name__, str(error).replace("\\n", " "))
        finally:
            os._exit(1)
    say("born", child)
    os.waitpid(child, 0)
    say("dead")
'''


class Lives:
    """The process that forks, and what its children said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.acknowledged: set[tuple[int, int]] = set()
        self.process = subprocess.Popen(
            [sys.executable, "-c", LIFE, str(directory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip

    def kill_after(self, seconds: float, days: int = 0) -> None:
        """One life that is killed so many seconds after its birth."""
        firsts = [max((n + 1 for t, n in self.acknowledged if t == thread), default=0) for thread in (0, 1)]
        said = self._say(f"live {days} {firsts[0]} {firsts[1]}")
        time.sleep(seconds)
        os.kill(int(said.pop().split()[1]), signal.SIGKILL)
        self._hear(said)

    def kill_when(self, batches: int, days: int = 0) -> None:
        """One life that is killed when so many more batches than at its start can be asked for.

        It writes slowly, so that blocks of 40 lines keep up with it also where the machine does much else.
        """
        said = self._say(f"slow {days} {1000 * days} {1000 * days}")
        child = int(said[-1].split()[1])
        goal = self._seen(said) + 2 * batches
        while self._seen(said) < goal:
            pass
        os.kill(child, signal.SIGKILL)
        self._hear(said)

    def _seen(self, said: list[str]) -> int:
        """The next count that the living one tells; what else it says is kept."""
        while True:
            said.append(self._line())
            assert not said[-1].startswith(("failed", "wrong", "dead")), said[-3:]
            if said[-1].startswith("seen"):
                return int(said[-1].split()[1])

    def settle(self, days: int = 0) -> dict[str, object]:
        """A life that ends well, and what it found."""
        for line in [*self._say(f"settle {days}"), *iter(self._line, "dead\n")]:
            assert not line.startswith("failed"), line
            if line.startswith("told"):
                return dict(json.loads(line[5:]))
        raise AssertionError("it said nothing")

    def _say(self, order: str) -> list[str]:
        print(order, file=self.process.stdin, flush=True)
        said = [self._line()]
        while not said[-1].startswith("born"):  # the child may speak first
            said.append(self._line())
        return said

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process that forks ended"
        return line

    def _hear(self, said: list[str]) -> None:
        for line in [*said, *iter(self._line, "dead\n")]:
            assert not line.startswith(("failed", "wrong")), line
            if line.startswith("ack"):
                thread, n = map(int, line.split()[1:])
                self.acknowledged.add((thread, n))

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        os.killpg(self.process.pid, signal.SIGKILL)  # a life that nobody killed would go on for ever
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def lives(tmp_path: Path):
    one = Lives(tmp_path / "data")
    yield one
    one.end()


def journal_ids(directory: Path, kind: str) -> list[str]:
    """The ids in the files, read without anybody's help; a torn last line does not count."""
    found: list[str] = []
    for path in sorted((directory / "journal" / kind).rglob("*.jsonl")):
        data = path.read_bytes()
        found += re.findall(r'"event_id":"([^"]+)"', data[: data.rfind(b"\n") + 1].decode())
    return found


def assert_agrees(lives: Lives, told: dict, *, lost: bool = False) -> None:
    """Journal and engine hold the same, once, and the rollups say what the events say."""
    assert told["ok"], told["differences"]
    assert told["problem"] == ""
    assert told["journal"] == told["engine"]
    for kind in ("query", "feedback", "metric"):
        ids = journal_ids(lives.directory, kind)
        assert len(ids) == len(set(ids)) == told["ids"][kind]["n"] == told["ids"][kind]["different"]
        if kind == "feedback" and not lost:
            acknowledged = {f"f-{thread * 10**7 + n * 100}" for thread, n in lives.acknowledged}
            assert acknowledged <= set(ids)
    answers = told["answers"]
    for name, (rollup, raw) in answers.items():
        assert rollup[1] == raw[1], name
        assert rollup[0] == pytest.approx(raw[0], abs=1e-6), name
    queries = told["ids"]["query"]["n"]
    assert answers["queries all"][0] == [queries, queries]
    assert answers["cost all"][0] == [queries, queries]
    assert answers["feedback all"][0][1] == told["ids"]["feedback"]["n"]
    if not lost:
        assert answers["metric.balance all"][0] == [0.0, told["ids"]["metric"]["n"]]
        assert queries >= 6 * len(lives.acknowledged)


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing_and_count_nothing_twice(lives: Lives) -> None:
    chance = random.Random(SEED)
    for life in range(LIVES):
        lives.kill_after(chance.random() ** 1.5 * 1.4 + (1.0 if life < 3 else 0.0), days=life // 10)
    told = lives.settle(LIVES // 10)
    assert told["unclean"]
    assert_agrees(lives, told)
    assert len(lives.acknowledged) > 2 * LIVES
    again = lives.settle(LIVES // 10)
    assert not again["unclean"]
    assert again["answers"] == told["answers"]


def table_folder(directory: Path, table: str) -> Path:
    """Where the engine keeps a table's parts."""
    for path in (directory / "engine" / "chdb").rglob(f"{table}.sql"):
        found = re.search(r"UUID '([0-9a-f-]+)'", path.read_text())
        assert found
        return directory / "engine" / "chdb" / "store" / found[1][:3] / found[1]
    raise AssertionError(f"no table {table}")


def newest_parts(directory: Path, table: str) -> list[Path]:
    """The part with the newest block, and those that were merged into it and still lie there."""
    parts = {}
    for path in table_folder(directory, table).glob("*/checksums.txt"):
        name = re.fullmatch(r"([^_]+)_(\d+)_(\d+)_\d+(_\d+)?", path.parent.name)
        if name:  # the others are merges that a kill cut short, and parts on their way out
            parts[path.parent] = (name[1], int(name[2]), int(name[3]))
    newest = max(parts, key=lambda part: (parts[part][2], -parts[part][1]))
    return [
        part
        for part, (partition, first, last) in parts.items()
        if partition == parts[newest][0] and parts[newest][1] <= first and last <= parts[newest][2]
    ]


def halve(part: Path) -> None:
    for path in part.glob("*.bin"):
        os.truncate(path, path.stat().st_size // 2)


def blank(part: Path) -> None:
    for path in part.glob("*.bin"):
        path.write_bytes(b"\0" * path.stat().st_size)


def empty(part: Path) -> None:
    for path in part.iterdir():
        path.write_bytes(b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "tables"),
    [(halve, ("query", "measure_1h")), (blank, ("measure_1m", "unit_day")), (empty, ("feedback", "measure_1d"))],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_parts_that_a_power_cut_took_are_noticed_and_their_days_made_again(
    lives: Lives, damage: Callable[[Path], None], tables: tuple[str, ...]
) -> None:
    lives.kill_when(times(5, 8))
    for table in tables:
        for part in newest_parts(lives.directory, table):
            damage(part)
    told = lives.settle()
    assert told["unclean"]
    assert told["rebuilt"]
    assert told["made_again"] == ""
    assert_agrees(lives, told)


@pytest.mark.slow
def test_an_engine_that_cannot_be_opened_is_moved_aside_and_made_again(lives: Lives) -> None:
    lives.kill_when(times(5, 8))
    for path in (lives.directory / "engine" / "chdb").rglob("measure_15m.sql"):
        path.write_bytes(b"")
    told = lives.settle()
    assert "made again" in str(told["made_again"])
    assert (lives.directory / "engine" / "damaged").is_dir()
    assert_agrees(lives, told)
    lives.kill_when(3, days=1)
    (lives.directory / "engine" / "checkpoint-barograph.json").write_bytes(b"{half")
    assert_agrees(lives, lives.settle(1))


def shorten_below_what_is_loaded(directory: Path, kind: str) -> None:
    """Cut a kind's journal in the last segment of which the engine surely has something, and drop what follows.

    An even number of lines is left, so that no event loses the one it adds up to zero with.
    """
    loaded = json.loads((directory / "engine" / "checkpoint-barograph.json").read_bytes())["loaded"]
    segments = sorted((directory / "journal" / kind).rglob("*.jsonl"))
    while (known := loaded.get(str(segments[-1].relative_to(directory / "journal").with_suffix("")), 0)) == 0:
        segments.pop().unlink()
    whole = sum(path.read_bytes().count(b"\n") for path in segments[:-1])
    lines = segments[-1].read_bytes()[:known].splitlines(keepends=True)
    kept = len(lines) * 2 // 3
    kept -= (whole + kept) % 2
    os.truncate(segments[-1], len(b"".join(lines[:kept])) + 5)  # and a torn line


@pytest.mark.slow
def test_a_journal_shorter_than_what_the_engine_holds_wins(lives: Lives) -> None:
    """Bytes that were lost with the power: the engine forgets them too, and takes what comes in their place."""
    lives.kill_when(times(8, 12))
    before = lives.settle()
    lives.kill_when(times(4, 6), days=1)
    for kind in ("query", "metric", "feedback"):
        shorten_below_what_is_loaded(lives.directory, kind)
    told = lives.settle(1)
    assert told["rebuilt"]
    assert_agrees(lives, told, lost=True)
    assert told["ids"]["query"]["n"] < before["ids"]["query"]["n"] + 6 * len(lives.acknowledged)
    lives.kill_when(4, days=2)
    assert_agrees(lives, lives.settle(2), lost=True)
