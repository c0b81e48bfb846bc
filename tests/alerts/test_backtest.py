"""A backtest says what the live rule would have done, on the same data, step by step."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.dictionary_reader import DictionaryReader

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.backtest import backtest, step_of
from barograph.alerts.rule import make_rule
from barograph.alerts.rule_set import RuleSet
from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.core.event import Alert
from barograph.core.metric import Catalogue
from barograph.core.query import Window
from barograph.core.settings import RuleSettings
from barograph_client.clock import ManualClock

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
MINUTES = 120
SLOW = RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="5m", for_="2m", minimum=2)
RULES = {
    "plain": SLOW,
    "groups": RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="10m", by=("model",)),
    "falls": RuleSettings(name="few", metric="queries", below=3.0, window="3m", for_="1m"),
    "shares": RuleSettings(name="errors", metric="error_rate", above=0.4, window="5m", minimum=3, no_data="ok"),
    "band": RuleSettings(name="band", metric="response_time.p95", above=8.0, below=0.5, window="7m"),
}


def events(seed: int) -> list[dict[str, object]]:
    """Queries with calm and bad hours, gaps, and a model that comes and goes."""
    chance, found = random.Random(seed), []
    at, level = START - timedelta(minutes=10), 2.0
    while at < START + timedelta(minutes=MINUTES):
        level = chance.choice((1.0, 3.0, 9.0)) if chance.random() < 0.05 else level
        at += timedelta(seconds=chance.expovariate(1 / 40) + (600 if chance.random() < 0.01 else 0))
        found.append(
            {
                "kind": "query",
                "time": at,
                "response_time": chance.lognormvariate(0, 0.3) * level,
                "model": chance.choice("abb") if level < 5 else "c",
                "status": "error" if chance.random() < level / 12 else "ok",
            }
        )
    return found


def told(moments: Iterable[tuple[datetime, dict[str, str]]]) -> list[tuple[datetime, list[tuple[str, str]]]]:
    return sorted((at, sorted(labels.items())) for at, labels in moments)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_tells_what_the_live_rule_does(tmp_path: Path, name: str, seed: int) -> None:
    """The live rule is evaluated each minute, without a delay, over the same events."""
    settings, clock = RULES[name], ManualClock(START)
    reader = DictionaryReader(events(seed), clock.now)
    live: list[Alert] = []
    with ControlPlane(tmp_path / "control.db", clock) as plane:
        states = AlertStateRepository(plane)
        manager = AlertManager(
            reader, RuleSet(Catalogue(), [settings]), states, live.append, clock, interval=60, delay=0
        )
        for _ in range(MINUTES):
            clock.advance(60)
            manager.run_due()
        manager.stop()
    window = Window(START, START + timedelta(minutes=MINUTES))
    played = backtest(make_rule(settings, Catalogue()), reader, "default", window)
    assert (played.step_seconds, played.steps) == (60.0, MINUTES)
    fired = [alert for alert in live if alert.state == "firing" and alert.previous not in ("nodata", "error")]
    resolved = [alert for alert in live if alert.state == "resolved"]
    assert told((one.fired_at, one.labels) for one in played.firings) == told((one.time, one.labels) for one in fired)
    over = told((one.resolved_at, one.labels) for one in played.firings if one.resolved_at)
    assert over == told((one.time, one.labels) for one in resolved)
    assert fired  # else nothing was compared


def test_it_counts_alerts_a_month_and_the_time_they_fire() -> None:
    moment = START
    slow = [
        {"kind": "query", "time": moment + timedelta(minutes=m, seconds=30), "response_time": 9.0 if m in bad else 1.0}
        for bad in ({*range(20, 30), *range(60, 65)},)
        for m in range(120)
    ]
    rule = make_rule(RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="1m"), Catalogue())
    shares: list[float] = []
    window = Window(START, START + timedelta(hours=2))
    found = backtest(rule, DictionaryReader(slow, lambda: window.end), "default", window, shares.append)
    assert [(one.fired_at - START, (one.resolved_at or START) - one.fired_at, one.worst) for one in found.firings] == [
        (timedelta(minutes=21), timedelta(minutes=10), 9.0),
        (timedelta(minutes=61), timedelta(minutes=5), 9.0),
    ]
    assert (found.firing_seconds, found.longest_seconds) == (900.0, 600.0)
    assert found.alerts_a_month == pytest.approx(2 * 30 * 12)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_step_divides_the_window_and_is_a_minute_at_least() -> None:
    assert {seconds: step_of(seconds) for seconds in (30.0, 60.0, 90.0, 300.0, 600.0, 3600.0, 86400.0)} == {
        30.0: 30.0, 60.0: 60.0, 90.0: 90.0, 300.0: 60.0, 600.0: 60.0, 3600.0: 60.0, 86400.0: 1440.0,
    }  # fmt: skip


def test_a_rule_still_firing_at_the_end_is_told_as_open_and_blind_steps_are_counted() -> None:
    slow = [
        {"kind": "query", "time": START + timedelta(minutes=m, seconds=30), "response_time": 9.0} for m in range(50, 60)
    ]
    rule = make_rule(RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="1m"), Catalogue())
    window = Window(START, START + timedelta(hours=1))
    found = backtest(rule, DictionaryReader(slow, lambda: window.end), "default", window)
    assert [(one.fired_at, one.resolved_at) for one in found.firings] == [(START + timedelta(minutes=51), None)]
    assert (found.steps, found.blind, found.firing_seconds) == (60, 50, 540.0)
