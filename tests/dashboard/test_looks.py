"""Looks at the alerts of a real directory: beside a watch, and where nobody has it open any more."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph_client.clock import ManualClock

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SLOW = {"name": "slow", "metric": "response_time.mean", "above": 5.0, "window": "5m"}
SILENT = {"name": "silent", "metric": "queries", "kind": "absence", "window": "10m"}
SLOWLY = {"query": "Why?", "response_time": 9.0}


def test_beside_a_watch_what_was_just_recorded_is_shown_everywhere_at_once(tmp_path: Path) -> None:
    with DashboardInterface(tmp_path, environment={}, rules=[SLOW], default_rules=False) as dashboard:
        dashboard.record_query_execution(SLOWLY)
        dashboard.flush()
        (alert,) = dashboard.check_alerts()
        assert alert.sentence == "ALERT: Response time exceeded 5 s threshold (current: 9 s)"
        for page in ("overview", "alerts"):
            assert "Response time exceeded 5 s threshold (current: 9 s)" in dashboard.render(page)
        assert alert.sentence in {reason.sentence for reason in dashboard.status().reasons}


def test_on_a_directory_that_was_closed_meanwhile_silence_is_not_told_as_an_alert(tmp_path: Path) -> None:
    clock = ManualClock(START)

    def look(rest: float) -> tuple[list[str], str]:
        clock.advance(rest)
        rules = [SLOW, SILENT]
        with DashboardInterface(
            tmp_path, clock=clock, environment={}, background=False, rules=rules, default_rules=False
        ) as dashboard:
            if not rest:
                dashboard.record_query_execution(SLOWLY)
                dashboard.record_system({"cpu_percent": 5.0})  # as the sampler does for as long as it is open
            dashboard.flush()
            found = [alert.sentence for alert in dashboard.check_alerts()]
            return found, next(status.reason for status in dashboard.alerts.rules() if status.rule == "silent")

    assert look(0)[0] == ["ALERT: Response time exceeded 5 s threshold (current: 9 s)"]
    sentences, reason = look(7200)
    assert sentences == ["ALERT: Response time exceeded 5 s threshold (last: 9 s, no data for 119 min)"]
    assert reason == "nobody could send but for 0 s of the last 10 min"
    assert look(1) == (sentences, reason)
