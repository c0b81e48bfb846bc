"""Fixtures of the collector's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from collect_support import Open

from barograph.collect.metrics_collector import MetricsCollector
from barograph.collect.sinks import JournalSink
from barograph.core.settings import CollectSettings, JournalSettings
from barograph.journal.journal import Journal
from barograph_client.clock import SystemClock
from barograph_client.identifiers import IdentifierSource


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A real journal in the test's directory."""
    with Journal(tmp_path / "data", SystemClock(), JournalSettings()) as opened:
        yield opened


@pytest.fixture
def open_collector(journal: Journal) -> Iterator[Open]:
    """Opens collectors on the journal and closes them."""
    opened: list[MetricsCollector] = []

    def open_it(queue: int = 10_000, **options: object) -> MetricsCollector:
        clock = SystemClock()
        opened.append(
            MetricsCollector(
                JournalSink(journal), clock, IdentifierSource(clock), CollectSettings(queue=queue), **options
            )
        )
        return opened[-1]

    yield open_it
    for collector in opened:
        collector.close()
