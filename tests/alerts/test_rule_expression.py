"""Expression rules: an expression of Prometheus over our own metrics, on the path that users run."""

from __future__ import annotations

import json
import random
from collections.abc import Container, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.alerts.test_alert_manager import START, House
from tests.support.promtool import PROMTOOL, differences
from tests.support.store_site import Site, queries

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.rule import make_rule
from barograph.alerts.rule_set import RuleSet
from barograph.alerts.rules.expression import ExpressionRule
from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.core.metric import Catalogue
from barograph.core.query import MetricQuery, Reader, Window
from barograph.core.settings import RuleSettings
from barograph_client.clock import ManualClock

Timelines = dict[str, dict[str, str]]
LETTER = {"pending": "P", "firing": "F"}


def settings(expression: str, **others: Any) -> RuleSettings:
    return RuleSettings(name="A", kind="expression", expression=expression, **{"window": "15s", **others})


def made(expression: str, **others: Any) -> ExpressionRule:
    rule = make_rule(settings(expression, **others), Catalogue())
    assert isinstance(rule, ExpressionRule)
    return rule


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.close()


def record(house: House, tick: int, value: float | None, **labels: object) -> None:
    """One event in the middle of the 15 s that end at that tick; its number is what the metric is then."""
    if value is not None:
        moment = START + timedelta(seconds=15 * tick - 7)
        house.events.append({"kind": "metric", "name": "m", "value": value, "time": moment, **labels})


def letters(manager: AlertManager) -> dict[str, str]:
    """Where each alert stands, by its labels."""
    return {
        json.dumps(labels, sort_keys=True): LETTER[condition.state]
        for _, labels, condition in manager.conditions()
        if condition.state in LETTER
    }


def play(
    house: House, rule: RuleSettings, values: dict[str, list[float | None]], restart: frozenset[int] = frozenset()
) -> dict[str, str]:
    """The timeline of each alert, by its labels; values by model, a tick of 15 s each."""
    ticks = max(map(len, values.values()))
    lines: dict[str, list[str]] = {}
    manager = house.manager(rule, delay=0.0)
    for tick in range(ticks):
        house.manual.advance((START + timedelta(seconds=15 * tick) - house.clock.now()).total_seconds())
        for model, line in values.items():
            record(house, tick, line[tick] if tick < len(line) else None, **({"model": model} if model else {}))
        if tick in restart:
            manager.stop()
            manager = house.manager(rule, delay=0.0)
        assert manager.run_due() or tick == 0
        for labels, letter in letters(manager).items():
            lines.setdefault(labels, ["."] * ticks)[tick] = letter
    return {labels: "".join(line) for labels, line in lines.items()}


# Beside Prometheus

EXPRESSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "limit": ("response_time_mean > 5", {"for_": "15s", "keep_firing_for": "30s"}),
    "average": ("avg_over_time(error_rate[2m]) > 0.3 and on (model) queries > 1", {}),
    "rise": ("response_time_mean > 1.5 * response_time_mean offset 1m", {"keep_firing_for": "30s"}),
    "absent": ('absent(queries{model="c"})', {"for_": "45s"}),
    "subquery": ("max_over_time(sum by (model) (queries)[1m:30s]) > 2", {"for_": "15s"}),
    "whole": ("sum(queries) < 4 or vector(0) > 1", {}),
    "many": ("queries > on (model) group_left () avg_over_time(error_rate[3m])", {}),
    "trailing": ("deriv(cost[2m]) > 0.0001", {"window": "1m", "for_": "15s"}),
    "short": ("response_time_mean > 5", {"for_": "15s", "keep_firing_for": "30s", "lookback": "45s"}),
}
TICKS = 28
SERIES = ("response_time.mean", "error_rate", "queries", "cost")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A store that holds what happened in 40 ticks to three models, with gaps."""
    end = START + timedelta(seconds=15 * TICKS)
    with Site(tmp_path_factory.mktemp("expression"), ManualClock(end)) as found:
        chance = random.Random(5)
        events = []
        away = {"a": range(12, 15), "b": range(18, 28), "c": range(3, 26)}  # longer than the look back, and shorter
        for tick in range(TICKS):
            for model, gap in away.items():
                for _ in range(0 if tick in gap else chance.randrange(4)):
                    fields = queries(chance, 1, START, end, first=len(events), model=model)[0]
                    moment = START + timedelta(seconds=15 * tick - chance.randrange(1, 15))
                    events.append(structs.replace(fields, time=moment, response_time=float(chance.randrange(1, 9))))
        found.append(events)
        found.store.flush()
        yield found


def sample_series(site: Site) -> list[dict[str, str]]:
    """What each metric was at each tick, in promtool's notation."""
    words: dict[str, list[str]] = {}
    reader = site.oracle()
    for metric in SERIES:
        for tick in range(TICKS):
            window = Window.last(60 if metric == "cost" else 15, START + timedelta(seconds=15 * tick))
            for row in reader.query(MetricQuery(metric=metric, window=window, by=("model",))).rows:
                name = f'{metric.replace(".", "_")}{{model="{row.group["model"]}"}}'
                words.setdefault(name, ["_"] * TICKS)[tick] = (
                    repr(row.value) if row.n and row.value is not None else "_"
                )
    return [{"series": name, "values": " ".join(line)} for name, line in words.items()]


def timelines(reader: Reader, directory: Path, rules: list[RuleSettings], restart: Container[int] = ()) -> Timelines:
    """Of each rule the timeline of each alert, by its labels; at some ticks everything is begun anew."""
    clock = ManualClock(START)
    plane = ControlPlane(directory / "control.db", clock)
    lines: dict[str, dict[str, list[str]]] = {rule.name: {} for rule in rules}

    def begun() -> AlertManager:
        states = AlertStateRepository(plane)
        return AlertManager(reader, RuleSet(Catalogue(), rules), states, lambda event: None, clock, delay=0.0)

    manager = begun()
    for tick in range(TICKS):
        if tick in restart:
            manager.stop()
            manager = begun()
        assert manager.run_due()
        assert manager.counters.last_error == ""
        for rule, labels, condition in manager.conditions():
            if condition.state in LETTER:
                told = json.dumps({**labels, "alertname": f"{rule.name}_x"}, sort_keys=True)
                lines[rule.name].setdefault(told, ["."] * TICKS)[tick] = LETTER[condition.state]
        clock.advance(15)
    manager.stop()
    plane.close()
    return {name: {labels: "".join(line) for labels, line in found.items()} for name, found in lines.items()}


def of_expressions() -> list[RuleSettings]:
    return [
        RuleSettings(name=name, kind="expression", expression=text, by=("model",), **{"window": "15s", **others})
        for name, (text, others) in EXPRESSIONS.items()
    ]


@pytest.fixture(scope="module")
def on_the_engine(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Timelines:
    """What the rules did on the engine, where they were begun anew several times."""
    directory = tmp_path_factory.mktemp("states")
    return timelines(site.store, directory, of_expressions(), restart={7, 8, 24})


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
def test_over_what_metrics_were_at_each_tick_it_is_as_in_prometheus(
    site: Site, on_the_engine: Timelines, tmp_path: Path
) -> None:
    cases: dict[str, Any] = {}
    series = sample_series(site)
    for name, (text, others) in EXPRESSIONS.items():
        if "lookback" not in others:  # promtool has one, of five minutes
            waits = {key.removesuffix("_"): wait for key, wait in others.items() if key != "window"}
            rule = {"alert": f"{name}_x", "expr": text, **waits}
            groups = [{"name": name, "rules": [rule]}]
            given = series if not cases else []
            cases[name] = {"rules": {"groups": groups}, "series": given, "interval_s": 15, "ticks": TICKS}
    failed, errors, output = differences(cases, {name: on_the_engine[name] for name in cases}, tmp_path)
    assert (failed, errors) == (set(), []), output[:5000]
    assert "SUCCESS" in output
    assert all("F" in "".join(on_the_engine[name].values()) for name in cases), on_the_engine


def test_a_restart_changes_nothing_nor_does_the_engine(site: Site, on_the_engine: Timelines, tmp_path: Path) -> None:
    assert timelines(site.oracle(), tmp_path, of_expressions()) == on_the_engine
    assert on_the_engine["short"] != {
        labels.replace("limit", "short"): on_the_engine["limit"][labels] for labels in on_the_engine["limit"]
    }
