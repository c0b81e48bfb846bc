"""The spool on disk: bounded, whole or set aside, one process a folder, and every event of it accounted for."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from client_support import SEED, WAIT, Open, balanced, files
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scripted_server import ScriptedServer, until

from barograph_client.batch import Batch, halves, pack, parted
from barograph_client.clock import ManualClock
from barograph_client.identifiers import IdentifierSource
from barograph_client.spool import SET_ASIDE, Spool, Unreadable

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DAY = 86_400.0


class House:
    """Spools of one directory, a new one for each life of a process."""

    def __init__(self, directory: Path, most_bytes: int = 2**20, most_seconds: float = 7 * DAY) -> None:
        self.directory = directory
        self.clock = ManualClock(START)
        self.dropped: Counter[str] = Counter()
        self._bounds = most_bytes, most_seconds
        self._ids = IdentifierSource(self.clock, random.Random(5).randbytes)

    def life(self) -> tuple[Spool, str]:
        """A spool, and the client id of its process."""
        client = self._ids.new()

        def drop(reason: str, events: int) -> None:
            self.dropped[reason] += events

        return Spool(self.directory, client, self.clock, *self._bounds, drop), client

    def open(self, batches: int = 0) -> Spool:
        """A spool with so many batches of one event."""
        spool, client = self.life()
        for sequence in range(1, batches + 1):
            spool.append(one_batch(client, sequence))
            self.clock.advance(1.0)
        return spool


def one_batch(client: str, sequence: int, events: int = 1) -> Batch:
    return pack(client, sequence, "shop", [b'{"n":%d}\n' % sequence] * events)


def drained(spool: Spool) -> list[Batch]:
    found = []
    while (waiting := spool.take()) is not None:
        found.append(spool.read(waiting))
        spool.done(waiting)
    return found


class TestBatches:
    def test_what_comes_out_is_what_went_in_in_order(self, tmp_path: Path) -> None:
        spool, client = House(tmp_path / "spool").life()
        batches = [one_batch(client, sequence, 100 * sequence) for sequence in range(1, 15)]
        for batch in batches:
            spool.append(batch)
        assert spool.events == sum(batch.events for batch in batches)
        assert drained(spool) == batches
        assert spool.events == 0
        spool.close()
        assert list((tmp_path / "spool").iterdir()) == []

    def test_only_the_user_may_read_it(self, tmp_path: Path) -> None:
        spool = House(tmp_path / "spool").open(1)
        (file,) = files(tmp_path / "spool")
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
        spool.close()

    def test_a_batch_in_two_halves_is_the_same_events(self) -> None:
        whole = pack("c", 3, "p", [b'{"n":%d}\n' % n for n in range(501)])
        first, second = halves(whole)
        assert first.lines() + second.lines() == whole.lines()
        assert (first.events, second.events) == (250, 251)
        assert halves(whole) == (first, second)
        assert len({part.client for part in (whole, first, *halves(first), *halves(second))}) == 4

    def test_lines_are_parted_by_size_and_none_is_left_out(self) -> None:
        lines = [b"x" * n for n in (5, 5, 1, 30, 2, 9)]
        assert parted(lines, 10) == [lines[:2], lines[2:3], lines[3:4], lines[4:5], lines[5:]]
        assert parted([], 10) == []


class TestLives:
    def test_what_a_process_left_is_adopted_with_its_number(self, tmp_path: Path) -> None:
        house = House(tmp_path / "spool")
        first, client = house.life()
        first.append(one_batch(client, 41))
        second = house.open(1)
        assert second.adopt() == 0  # its process is alive
        first.close()
        assert second.adopt() == 1
        (adopted, own) = drained(second)
        assert (adopted.client, adopted.sequence) == (client, 41)
        assert own.sequence == 1
        second.close()
        assert list((tmp_path / "spool").iterdir()) == []

    def test_two_processes_do_not_adopt_the_same(self, tmp_path: Path) -> None:
        house = House(tmp_path / "spool")
        house.open(3).close()
        one, other = house.open(), house.open()
        assert sorted([one.adopt(), other.adopt()]) == [0, 3]
        one.close()
        other.close()
        assert len(files(tmp_path / "spool")) == 3

    def test_a_file_that_was_half_written_goes_with_its_process(self, tmp_path: Path) -> None:
        house = House(tmp_path / "spool")
        house.open(1).close()
        (file,) = files(tmp_path / "spool")
        (file.parent / "000000000002-1-5.part").write_bytes(b"half")
        spool = house.open()
        assert spool.adopt() == 1
        assert len(drained(spool)) == 1
        spool.close()
        assert list((tmp_path / "spool").iterdir()) == []

    def test_strange_names_are_left_alone(self, tmp_path: Path) -> None:
        directory = tmp_path / "spool"
        (directory / "something else").mkdir(parents=True)
        (directory / "file").write_text("x")
        (directory / "00000000-0000-0000-0000-000000000000").write_text("a file, no folder")
        spool = House(directory).open()
        assert spool.adopt() == 0
        assert len(list(directory.iterdir())) == 3

    def test_a_folder_that_was_deleted_meanwhile_is_made_again(self, tmp_path: Path) -> None:
        house = House(tmp_path / "spool")
        spool, client = house.life()
        spool.append(one_batch(client, 1, 5))
        (file,) = files(tmp_path / "spool")
        for path in (file, file.parent / "lock"):
            path.unlink()
        file.parent.rmdir()
        spool.append(one_batch(client, 2))
        assert [batch.sequence for batch in drained(spool)] == [2]
        assert house.dropped == {"spool unreadable": 5}
        spool.close()


class TestBounds:
    def test_the_oldest_goes_first_when_it_is_full(self, tmp_path: Path) -> None:
        house = House(tmp_path / "spool", most_bytes=10 * 4096)
        spool = house.open(25)
        assert [batch.sequence for batch in drained(spool)] == list(range(16, 26))
        assert house.dropped == {"spool full": 15}

    def test_what_is_adopted_counts_too_and_is_older(self, tmp_path: Path) -> None:
        house = House(tmp_path / "spool", most_bytes=10 * 4096)
        house.open(8).close()
        spool = house.open(4)
        spool.adopt()
        assert house.dropped == {"spool full": 2}
        assert [batch.sequence for batch in drained(spool)] == [3, 4, 5, 6, 7, 8, 1, 2, 3, 4]

    def test_what_is_too_old_is_dropped(self, tmp_path: Path) -> None:
        house = House(tmp_path / "spool", most_seconds=DAY)
        spool = house.open(2)
        house.clock.advance(DAY - 1.5)
        assert [batch.sequence for batch in drained(spool)] == [2]
        assert house.dropped == {"spool expired": 1}

    def test_what_is_being_sent_is_not_dropped(self, tmp_path: Path) -> None:
        house = House(tmp_path / "spool", most_bytes=3 * 4096)
        spool, client = house.life()
        spool.append(one_batch(client, 1))
        waiting = spool.take()
        assert waiting is not None
        for sequence in range(2, 8):
            spool.append(one_batch(client, sequence))
        house.clock.advance(30 * DAY)
        spool.put_back()
        assert spool.take() is None
        assert house.dropped == {"spool full": 4, "spool expired": 3}


DAMAGES = {
    "torn": lambda data: data[: len(data) // 2],
    "torn in its head": lambda data: data[:10],
    "empty": lambda data: b"",
    "a bit": lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
    "longer": lambda data: data + b"x",
    "zeros": lambda data: bytes(len(data)),
    "another version": lambda data: data.replace(b'"version":1', b'"version":2'),
    "another number of events": lambda data: data.replace(b'"events":1', b'"events":7'),
}


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_file_is_set_aside_and_the_rest_arrives(
        self, open_client: Open, server: ScriptedServer, tmp_path: Path, damage: str
    ) -> None:
        server.stop()
        first = open_client(timeout=0.2)
        ids = []
        for _ in range(3):
            ids.append(first.record_query_execution(SEED))
            assert first.flush(WAIT)
        first.close(1.0)
        spool = tmp_path / "spool"
        broken = files(spool)[1]
        broken.write_bytes(DAMAGES[damage](broken.read_bytes()))
        server.start()
        second = open_client()
        until(lambda: second.counts.received == 2)
        assert server.ids == [ids[0], ids[2]]
        assert second.counts.dropped == {"spool unreadable": 1}
        assert balanced(second.counts)
        (kept,) = (spool / SET_ASIDE).iterdir()
        assert kept.name.endswith(broken.name)

    def test_a_file_that_vanished_is_counted(self, tmp_path: Path) -> None:
        spool = House(tmp_path / "spool").open(2)
        files(tmp_path / "spool")[0].unlink()
        waiting = spool.take()
        assert waiting is not None
        with pytest.raises(Unreadable):
            spool.read(waiting)
        spool.set_aside(waiting)
        assert [batch.sequence for batch in drained(spool)] == [2]


class Accounting(RuleBasedStateMachine):
    """Whatever happens to a spool: what went in came out, was dropped and counted, or waits, on disk as in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="barograph-spool-")
        self.house = House(Path(self.folder.name) / "spool", most_bytes=6 * 4096, most_seconds=100.0)
        self.spool, self.client = self.house.life()
        self.sequence = self.appended = self.sent = self.aside = 0
        self.order: dict[str, int] = {}

    @rule(events=st.integers(1, 900))
    def append(self, events: int) -> None:
        self.sequence += 1
        self.spool.append(one_batch(self.client, self.sequence, events))
        self.appended += events

    @rule(fate=st.sampled_from(["sent", "away", "damaged"]))
    def send(self, fate: str) -> None:
        waiting = self.spool.take()
        if waiting is None:
            return
        batch = self.spool.read(waiting)
        assert self.order.get(batch.client, 0) < batch.sequence
        if fate == "away":
            self.spool.put_back()
            return
        self.order[batch.client] = batch.sequence
        if fate == "sent":
            self.spool.done(waiting)
            self.sent += batch.events
        else:
            self.spool.set_aside(waiting)
            self.aside += batch.events

    @rule(seconds=st.floats(0, 120))
    def wait(self, seconds: float) -> None:
        self.house.clock.advance(seconds)

    @rule()
    def restart(self) -> None:
        left = self.spool.events
        self.spool.close()
        self.spool, self.client = self.house.life()
        self.sequence = 0
        dropped = self.house.dropped.total()
        assert self.spool.adopt() == left
        assert self.spool.events + self.house.dropped.total() - dropped == left

    @invariant()
    def everything_is_somewhere(self) -> None:
        assert self.appended == self.sent + self.aside + self.house.dropped.total() + self.spool.events
        on_disk = [int(path.name.split("-")[1]) for path in files(self.house.directory)]
        assert sum(on_disk) == self.spool.events
        assert self.spool.size <= 6 * 4096

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=60, stateful_step_count=40)


def test_the_account_adds_up_after_a_close_with_the_server_down(tmp_path: Path, open_client: Open) -> None:
    client = open_client(url="http://127.0.0.1:9", spool=tmp_path / "spool")
    client.record("x", 1)
    client.close()
    assert len(files(tmp_path / "spool")) == 1
    assert client.counts.spooled == client.counts.recorded == 1
    assert balanced(client.counts)


def test_what_waits_under_another_key_for_the_same_server_is_told(
    tmp_path: Path, open_client: Open, caplog: pytest.LogCaptureFixture
) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    old = open_client(url="http://127.0.0.1:9", key="old", spool=None, environment=cache)
    old.record("x", 1)
    assert old.flush(WAIT)
    for url, key, told in (("9", "new", False), ("9", "new", True), ("9", "old", False), ("19", "new", False)):
        if told:
            old.close()  # until then it sends them itself
        caplog.clear()
        open_client(url=f"http://127.0.0.1:{url}", key=key, spool=None, environment=cache).close()
        lines = [record.getMessage() for record in caplog.records if "another key" in record.getMessage()]
        assert len(lines) == told
        assert not told or "1 events" in lines[0]
        assert not told or str(tmp_path / "barograph" / "spool") in lines[0]
