"""After retention a page says what it cannot hold any more; a journal alone is a data directory."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cli.cli_support import barograph

from barograph.core.query import Window
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.clock import ManualClock

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def record(dashboard: DashboardInterface, clock: ManualClock, days: int) -> None:
    for _ in range(days):
        for user in ("ann", "bob", "cy"):
            dashboard.record_query_execution({"query": "why?", "response_time": 1.0, "cost": 0.5, "user_id": user})
        clock.advance(86_400.0)


def test_pages_over_retired_days_say_what_covers_less(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with DashboardInterface(tmp_path, clock=clock, environment={}, background=False) as dashboard:
        record(dashboard, clock, 10)
        everything = Window(START - timedelta(days=1), clock.now())
        lately = Window(clock.now() - timedelta(days=2), clock.now())
        assert "were retired" not in dashboard.render("users", window=everything)
        assert dashboard.store.prune(timedelta(days=5), ("query",))
        for page in ("overview", "users", "cost", "queries"):
            told = " ".join(dashboard.render(page, window=everything).split())
            assert "Raw queries that arrived up to 2026-11-05 were retired" in told, page
            assert "were retired" not in dashboard.render(page, window=lately)
        assert "were retired" in dashboard.report(240)
        assert dashboard.query("queries", window=everything).value == 30  # totals go on answering


def test_a_journal_alone_can_be_made_into_an_engine_again(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with DashboardInterface(tmp_path / "lost", clock=clock, environment={}, background=False) as dashboard:
        record(dashboard, clock, 2)
    shutil.copytree(tmp_path / "lost" / "journal", tmp_path / "backup" / "journal")
    made = barograph("rebuild", "--data-dir", tmp_path / "backup", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["engine"]["query"] == 6
