"""A backtest says what the live rule would have done, on the same data, step by step."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.support.dictionary_reader import DictionaryReader

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.backtest import backtest
from barograph.alerts.replay import MOST_QUESTIONS, looks
from barograph.alerts.rule import make_rule
from barograph.alerts.rule_set import RuleSet
from barograph.cli.alerts import draw_backtest
from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.core.event import Alert
from barograph.core.metric import Catalogue
from barograph.core.query import MetricAnswer, MetricQuery, Window
from barograph.core.settings import RuleSettings
from barograph_client.clock import ManualClock

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
MINUTES = 40
SEED = 3  # of events by which every one of the rules fires
TICKS = 4 * MINUTES
SLOW = RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="5m", for_="2m", minimum=2)
RULES = {
    "plain": SLOW,
    "groups": RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="10m", by=("model",)),
    "falls": RuleSettings(name="few", metric="queries", below=3.0, window="3m", for_="1m"),
    "shares": RuleSettings(name="errors", metric="error_rate", above=0.4, window="5m", minimum=3, no_data="ok"),
    "falls back": RuleSettings(name="slow", metric="response_time.mean", above=5.0, resolve=2.0, window="90s"),
    "ratio": RuleSettings(name="dear", kind="ratio", metric="queries", per="sessions", above=1.5, window="4m"),
    "change": RuleSettings(
        name="rise", kind="change", compare="previous", metric="queries", above=1.0, window="3m", by=("model",)
    ),
    "absence": RuleSettings(name="away", kind="absence", metric="queries", window="1m"),
    "absent groups": RuleSettings(
        name="away", kind="absence", metric="queries", window="5m", lookback="10m", by=("model",)
    ),
    "burn": RuleSettings(
        name="burn",
        kind="burn_rate",
        metric="error_rate",
        objective=0.8,
        above=2.0,
        window="12m",
        short_window="1m",
        minimum=2,
    ),
    "budget": RuleSettings(name="spent", kind="budget", metric="queries", period="day", above=40.0),
    "less often": RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="10m", interval="2m"),
    "band": RuleSettings(name="band", metric="response_time.p95", above=8.0, below=0.5, window="7m"),
    "expression": RuleSettings(
        name="both", kind="expression", window="2m", by=("model",), for_="30s",
        expression="avg_over_time(response_time_mean[5m]) > 4 and on (model) queries > 1",
    ),
    "expression of all": RuleSettings(
        name="half", kind="expression", window="1m", expression="error_rate > 0.4 unless queries < queries offset 3m",
    ),
}  # fmt: skip


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
                "session_id": chance.choice("12345"),
                "status": "error" if chance.random() < level / 12 else "ok",
            }
        )
    return found


def told(moments: Iterable[tuple[datetime, dict[str, str]]]) -> list[tuple[datetime, list[tuple[str, str]]]]:
    return sorted((at, sorted(labels.items())) for at, labels in moments)


@pytest.mark.parametrize("name", RULES)
def test_it_tells_what_the_live_rule_does(tmp_path: Path, name: str) -> None:
    """The live rule is evaluated at its ticks, without a delay, over the same events."""
    settings, clock = RULES[name], ManualClock(START)
    reader = DictionaryReader(events(SEED), clock.now)
    live: list[Alert] = []
    with ControlPlane(tmp_path / "control.db", clock) as plane:
        states = AlertStateRepository(plane)
        manager = AlertManager(
            reader, RuleSet(Catalogue(), [settings]), states, live.append, clock, delay=0, last_heard=START
        )
        for _ in range(TICKS):
            clock.advance(15)
            manager.run_due()
        manager.stop()
    window = Window(START, START + timedelta(minutes=MINUTES))
    rule = make_rule(settings, Catalogue())
    played = backtest(rule, reader, "default", window)
    step = rule.interval_seconds or 15.0
    assert (played.step_seconds, played.steps) == (step, MINUTES * 60 / step)
    fired, still = [], set()
    for alert in live:
        key = tuple(sorted(alert.labels.items()))
        if alert.state == "firing" and key not in still:
            fired.append(alert)
        still = still - {key} if alert.state == "resolved" else still | {key} if alert.state == "firing" else still
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
        (timedelta(minutes=20, seconds=45), timedelta(minutes=10), 9.0),
        (timedelta(minutes=60, seconds=45), timedelta(minutes=5), 9.0),
    ]
    assert (found.firing_seconds, found.longest_seconds) == (900.0, 600.0)
    assert found.alerts_a_month == pytest.approx(2 * 30 * 12, rel=0.01)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_what_is_shorter_than_a_minute_is_seen() -> None:
    window = Window(START, START + timedelta(minutes=10))
    burst = [
        {"kind": "query", "time": START + timedelta(minutes=3, seconds=16 + i), "response_time": 1.0} for i in range(9)
    ]
    rule = make_rule(RuleSettings(name="burst", metric="queries", above=8.0, window="15s", no_data="ok"), Catalogue())
    found = backtest(rule, DictionaryReader(burst, lambda: window.end), "default", window)
    assert [(one.fired_at - START, one.resolved_at and one.resolved_at - START) for one in found.firings] == [
        (timedelta(minutes=3, seconds=30), timedelta(minutes=3, seconds=45))
    ]


@pytest.mark.parametrize(
    ("settings", "days", "step"),
    [
        (SLOW, 30, 15.0),
        (structs.replace(SLOW, window="1h"), 30, 30.0),
        (structs.replace(SLOW, window="1d"), 30, 600.0),
        (structs.replace(SLOW, window="1d"), 1, 60.0),
        (structs.replace(SLOW, window="90s"), 30, 15.0),
        (structs.replace(SLOW, by=("model",)), 30, 15.0),
        (RULES["budget"], 30, 1800.0),
        (RuleSettings(name="odd", kind="anomaly", metric="queries", window="1m"), 30, 15.0),
    ],
)
def test_it_looks_as_often_as_a_bounded_number_of_questions_allows(
    settings: RuleSettings, days: int, step: float
) -> None:
    window = Window(START - timedelta(days=days), START)
    reader = DictionaryReader([{"kind": "query", "time": START - timedelta(hours=2), "model": "a"}], lambda: START)
    rule = make_rule(settings, Catalogue())
    first = next(looks(rule, reader, "default", window))
    assert first.step == step
    assert len(reader.asked) * math.ceil(days / 3) <= MOST_QUESTIONS + days  # for the first stretch, of three days


class Pruned(DictionaryReader):
    """A Reader whose raw events of the first day are gone: its rollups answer whole minutes."""

    def __init__(self, events: list[dict[str, Any]], until: datetime) -> None:
        super().__init__(events, lambda: START)
        self._until = until

    def query(self, question: MetricQuery) -> MetricAnswer:
        answer = super().query(question)
        every = question.every if isinstance(question.every, int | float) else 60
        if question.offset % 60 == 0 and every % 60 == 0:
            return structs.replace(answer, read_from="rollup")
        gone = question.window.start < self._until
        return structs.replace(answer, rows=(), notes=("they are gone",)) if gone else answer


def test_where_raw_events_are_gone_it_looks_by_the_minute_and_says_so() -> None:
    begin = START - timedelta(days=4)
    slow = [
        {
            "kind": "query",
            "time": begin + timedelta(days=day, hours=day // 3, minutes=m, seconds=1),
            "response_time": 9.0,
        }
        for day in (1, 3)
        for m in range(60)
    ]
    settings = RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="1m", no_data="ok")
    rule = make_rule(settings, Catalogue())
    reader = Pruned(slow, begin + timedelta(days=2))
    found = backtest(rule, reader, "default", Window(begin, START))
    assert (found.step_seconds, found.coarse_seconds) == (15.0, 60.0)
    assert found.coarse_until == begin + timedelta(days=3)
    assert [one.fired_at - begin for one in found.firings] == [
        timedelta(days=1, minutes=1), timedelta(days=3, hours=1, seconds=15)
    ]  # fmt: skip


def test_what_lies_between_two_looks_is_not_denied(capsys: pytest.CaptureFixture[str]) -> None:
    """A function is asked a bounded number of times; where its window is shorter than the step, there are gaps."""
    settings = RuleSettings(name="mine", kind="function", function="my:own", above=0.0, window="1m")
    rule = make_rule(settings, Catalogue(), lambda at: at.value("queries"))
    window = Window(START - timedelta(days=30), START)
    between = [{"kind": "query", "time": START - timedelta(minutes=m)} for m in range(95, 105)]
    for events, said in (
        (between, "It cannot be said whether it would have fired."),
        ([{"kind": "query", "time": START - timedelta(seconds=30)}], "It would have fired at least 1 time: "),
    ):
        found = backtest(rule, DictionaryReader(events, lambda: START), "default", window)
        assert (found.step_seconds, found.gap_seconds, found.gapless_seconds) == (1800.0, 1740.0, 86400.0)
        draw_backtest(found, "UTC")
        told = " ".join(capsys.readouterr().out.split())
        assert said in told
        assert "Of each 30 min between two looks 29 min are in no window of the rule: ask for less, --last 24h." in told
    shorter = backtest(rule, DictionaryReader(between, lambda: START), "default", Window.last(86400.0, START))
    assert (shorter.gap_seconds, shorter.gapless_seconds, len(shorter.firings)) == (0.0, None, 1)
    draw_backtest(shorter, "UTC")
    assert "a month" in capsys.readouterr().out
    draw_backtest(structs.replace(shorter, alerts_a_month=720.0), "UTC")
    assert "a month" not in capsys.readouterr().out  # an hour says nothing of a month


def test_what_fires_on_without_data_is_told_with_what_would_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    slow = [{"kind": "query", "time": START + timedelta(seconds=s), "response_time": 9.0} for s in range(60)]
    settings = RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="1m")
    window = Window(START, START + timedelta(hours=2))
    for no_data, blind in (("nodata", 7080.0), ("ok", 0.0)):
        rule = make_rule(structs.replace(settings, no_data=no_data), Catalogue())
        found = backtest(rule, DictionaryReader(slow, lambda: window.end), "default", window)
        assert found.blind_seconds == pytest.approx(blind, abs=30)
        draw_backtest(found, "UTC")
        assert ('no_data = "ok" would resolve it' in " ".join(capsys.readouterr().out.split())) == bool(blind)


def test_a_rule_still_firing_at_the_end_is_told_as_open_and_blind_steps_are_counted() -> None:
    slow = [
        {"kind": "query", "time": START + timedelta(minutes=m, seconds=30), "response_time": 9.0} for m in range(50, 60)
    ]
    rule = make_rule(RuleSettings(name="slow", metric="response_time.mean", above=5.0, window="1m"), Catalogue())
    window = Window(START, START + timedelta(hours=1))
    found = backtest(rule, DictionaryReader(slow, lambda: window.end), "default", window)
    assert [(one.fired_at, one.resolved_at) for one in found.firings] == [
        (START + timedelta(minutes=50, seconds=45), None)
    ]
    assert (found.steps, found.blind) == (240, 202)
    assert found.alerts_a_month == pytest.approx(30 * 86400 / (38 * 15), rel=0.03)  # of the time that could be judged
    assert found.firing_seconds == 555.0
