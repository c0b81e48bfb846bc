"""``/readyz`` finds out by itself that the data directory cannot be written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.support.serving import Serving

from barograph.server.probe import NAME, Probe
from barograph_client.clock import ManualClock

START = datetime(2026, 11, 24, tzinfo=UTC)


def test_a_directory_that_can_be_written_is_no_trouble_and_stays_as_it_was(tmp_path: Path) -> None:
    assert Probe(tmp_path, ManualClock(START)).trouble() == ""
    assert list(tmp_path.iterdir()) == []


def test_trouble_is_told_and_goes_when_it_is_over_at_most_a_second_later(tmp_path: Path) -> None:
    clock = ManualClock(START)
    probe = Probe(tmp_path, clock)
    (tmp_path / NAME).mkdir()  # nothing can be written there
    assert probe.trouble() == "The journal cannot be written."
    (tmp_path / NAME).rmdir()
    clock.advance(0.5)
    assert probe.trouble() == "The journal cannot be written."
    clock.advance(0.6)
    assert probe.trouble() == ""


def test_a_server_that_cannot_write_is_not_ready(tmp_path: Path) -> None:
    with Serving(tmp_path / "data") as server:
        assert server.until(lambda: server.ask("/readyz").status == 200)
        (server.directory / NAME).mkdir()
        assert server.until(lambda: server.ask("/readyz").status == 503, 5)
        assert server.ask("/readyz").json["reasons"] == ["The journal cannot be written."]
        assert server.ask("/healthz").status == 200
        (server.directory / NAME).rmdir()
        assert server.until(lambda: server.ask("/readyz").status == 200, 5)
