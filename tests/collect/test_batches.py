"""The memory of client batches: what was taken is known after a restart, in its own project, whatever came between."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.collect import batches
from barograph.collect.batches import KEPT_DAYS, BatchMemory, retire_batches
from barograph.core.settings import JournalSettings
from barograph.journal.journal import Journal
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidInput

START = datetime(2026, 11, 24, 12, tzinfo=UTC)


def opened(directory: Path, clock: ManualClock | None = None) -> Journal:
    return Journal(directory, clock or ManualClock(START), JournalSettings())


def take(memory: BatchMemory, journal: Journal, project: str, client: str, sequence: int) -> None:
    journal.append([memory.entry(project, client, sequence, 1)])
    memory.add(project, client, sequence)


@settings(max_examples=30)
@given(
    sent=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 12)), max_size=30),
    restart=st.integers(0, 30),
)
def test_exactly_what_was_taken_is_known_before_and_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[str, str, int]], restart: int
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = opened(directory)
    memory = BatchMemory(journal)
    taken: set[tuple[str, str, int]] = set()
    for number, batch in enumerate(sent):
        if number == restart:
            journal.close()
            journal = opened(directory)
            memory = BatchMemory(journal)
        assert (batch in memory) == (batch in taken)
        if batch not in taken:
            take(memory, journal, *batch)
            taken.add(batch)
    everything = {(project, client, number) for project in "ab" for client in "xy" for number in range(1, 14)}
    assert {batch for batch in everything if batch in memory} == taken
    journal.close()


def test_a_batch_that_was_not_committed_is_not_known(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        memory = BatchMemory(journal)
        memory.entry("default", "client", 1, 5)
        assert ("default", "client", 1) not in memory


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        memory = BatchMemory(journal)
        for client, sequence in (("", 1), ("x" * 65, 1), ("a b", 1), ("é", 1), ("client", 0), ("client", 2**60)):
            with pytest.raises(InvalidInput):
                memory.entry("default", client, sequence, 1)


def test_memory_is_bounded_whatever_clients_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_CLIENTS", 3)
    monkeypatch.setattr(batches, "_MOST_RUNS", 5)
    with opened(tmp_path) as journal:
        memory = BatchMemory(journal)
        for client in ("a", "b", "c", "d"):
            memory.add("default", client, 1)
        assert ("default", "a", 1) not in memory  # who sent least lately
        for sequence in range(2, 40, 2):
            memory.add("default", "d", sequence)
        assert all(("default", "d", sequence) in memory for sequence in range(2, 40, 2))
        assert ("default", "d", 3) in memory  # a gap that is so far behind was dropped by the client


def test_lines_are_retired_once_no_spool_reaches_back_to_them(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with opened(tmp_path, clock) as journal:
        memory = BatchMemory(journal)
        take(memory, journal, "default", "client", 1)
        retire_batches(journal, clock)
        assert len(journal.days("batch")) == 1
        clock.advance((KEPT_DAYS + 1) * 86400)
        retire_batches(journal, clock)
        assert journal.days("batch") == []
        assert journal.account().received == 0  # they are ours, and no caller's events
