"""Fixtures of the journal's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_support import START, Open

from barograph.core.settings import JournalSettings
from barograph.journal.journal import Journal
from barograph_client.clock import Clock, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def open_journal(tmp_path: Path, clock: ManualClock) -> Iterator[Open]:
    """Opens a journal in the test's directory; whatever is left open is closed."""
    opened: list[Journal] = []

    def open_it(directory: Path = tmp_path / "data", clock: Clock = clock, **settings: object) -> Journal:
        opened.append(Journal(directory, clock, JournalSettings(**settings)))  # type: ignore[arg-type]
        return opened[-1]

    yield open_it
    for journal in opened:
        journal.close()
