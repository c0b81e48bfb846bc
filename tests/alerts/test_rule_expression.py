"""Expression rules: an expression of Prometheus over our own metrics, on the path that users run."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Container, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs
from tests.alerts.test_alert_manager import START, House
from tests.support.promtool import PROMTOOL, differences
from tests.support.series_watch import run
from tests.support.store_site import Site, queries

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.prometheus.export import export
from barograph.alerts.prometheus.exposition import measured_series
from barograph.alerts.rule import make_rule
from barograph.alerts.rule_set import RuleSet
from barograph.alerts.rules.expression import ExpressionRule
from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.core.metric import Catalogue
from barograph.core.query import MetricQuery, Window
from barograph.core.reader import Reader
from barograph.core.settings import RuleSettings
from barograph_client.clock import ManualClock
from barograph_client.errors import EngineUnavailable, InvalidRule

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
    house: House, rule: RuleSettings, values: dict[str, str], restart: Container[int] = (), **labels: object
) -> dict[str, str]:
    """The timeline of each alert, by its labels; values by model, a tick of 15 s each, ``_`` where nothing was."""
    numbers = {model: [None if word == "_" else float(word) for word in line.split()] for model, line in values.items()}
    ticks = max(map(len, numbers.values()))
    lines: dict[str, list[str]] = {}
    manager = house.manager(rule, delay=0.0)
    for tick in range(ticks):
        house.manual.advance((START + timedelta(seconds=15 * tick) - house.clock.now()).total_seconds())
        for model, line in numbers.items():
            record(house, tick, line[tick] if tick < len(line) else None, model=model, **labels)
        if tick in restart:
            manager.stop()
            manager = house.manager(rule, delay=0.0)
        assert manager.run_due()
        for told, letter in letters(manager).items():
            lines.setdefault(told, ["."] * ticks)[tick] = letter
    manager.stop()
    return {told: "".join(line) for told, line in lines.items()}


def only(timelines: dict[str, str]) -> str:
    return next(iter(timelines.values()), "")


# What is refused when it is loaded


@pytest.mark.parametrize(
    ("expression", "others", "told", "hint"),
    [
        ("", {}, "it has no expression", "error_rate > 0.05"),
        ("error_rate > ", {}, "'the end' stands where a series or number should (character 14)", ""),
        ("topk(1, error_rate) > 1", {}, "topk: which series it keeps changes", ""),
        ("error_rat > 1", {}, "names no metric", "error_rate"),
        ("response_time.p95 > 1", {}, "'.' is not part of an expression", ""),
        ('ALERTS{alertname="x"} == 1', {}, "names no metric", "inhibition"),
        ('{__name__=~"error.*"} > 1', {}, "names no metric, or several", "error_rate"),
        ('error_rate{model="a"} > 0.1', {}, "a label that is not in `by`", 'by = ["model"]'),
        ("sum by (modle) (error_rate) > 1", {"by": ("model",)}, "a label that is not in `by`", "model"),
        ("error_rate > on (tag_team) queries", {"by": ("model",)}, "a label that is not", 'by = ["model", "tag.team"]'),
        ("histogram_quantile(0.9, error_rate) > 1", {}, "there are no buckets here", "response_time_p95"),
        ("1 + 1", {}, "is the same whatever is measured", "Name a metric"),
        ("vector(1) > 0", {}, "is the same whatever is measured", "Name a metric"),
        ("time() > bool 5", {}, "is the same whatever is measured", "Name a metric"),
        ("avg_over_time(error_rate[2d]) > 1", {}, "looks back 2 d", "A day at most"),
        (
            "max_over_time(avg_over_time(queries[20h])[5h:1h]) > 1 or queries offset 4h > 5",
            {},
            "looks back 25 h",
            "A day",
        ),
        ("max_over_time((queries > 1)[1d:5s]) > 1", {}, "would read 190,091 samples of each series", "100,000"),
        ("error_rate > 2", {}, "it can never fire, error_rate is never above 1", "0.05"),
        ("queries < 0", {}, "it can never fire", "inside"),
        ("error_rate > 0.1", {"window": "20s"}, "an expression has no such window", "15 s"),
        ("error_rate > 0.1", {"window": "2d"}, "an expression has no such window", "a day at most"),
        ("error_rate > 0.1", {"above": 1.0}, "above says nothing to an expression", "> 5"),
        ("error_rate > 0.1", {"resolve": 1.0}, "resolve says nothing to an expression", "> 5"),
        ("error_rate > 0.1", {"missing": "keep"}, "missing says nothing to an expression", "absent"),
        ("error_rate > 0.1", {"no_data": "alerting"}, "no_data says nothing to an expression", "absent"),
        ("error_rate > 0.1", {"labels": {"x": "{{ nonsense }}"}}, "a template that is not known here", "$value"),
    ],
)
def test_what_could_not_work_is_refused_with_a_hint(
    expression: str, others: dict[str, Any], told: str, hint: str
) -> None:
    with pytest.raises(InvalidRule) as raised:
        made(expression, **others)
    assert raised.value.message.startswith("rule A: ")
    assert told in raised.value.message
    assert hint in raised.value.hint


def test_an_expression_says_nothing_to_another_kind() -> None:
    with pytest.raises(InvalidRule, match="expression says nothing to a rule of kind threshold"):
        make_rule(RuleSettings(name="A", metric="queries", above=1.0, expression="queries > 1"), Catalogue())


@pytest.mark.parametrize(
    ("expression", "metric"),
    [
        ("response_time_p95 > 1", "response_time.p95"),
        ("score_faithfulness < 0.5", "score.faithfulness"),
        ('{__name__="score.no-answer"} < 0.5', "score.no-answer"),
        ("metric_a_b > 1", "metric.a_b"),
    ],
)
def test_a_metric_is_named_as_in_the_exposition_or_as_it_is(expression: str, metric: str) -> None:
    assert list(made(expression).metrics.values()) == [metric]


def test_an_alert_has_the_labels_that_an_element_can_have() -> None:
    by = {"by": ("model", "pipeline", "tag.team")}
    assert made("error_rate > 0.1", **by).by == by["by"]
    assert made("sum by (tag_team) (queries) > 1", **by).by == ("tag.team",)
    assert made("max without (model) (queries) > 1", **by).by == ("pipeline", "tag.team")
    assert made("queries > on (model) error_rate", **by).by == ("model",)
    assert made("queries > on (model) group_left () sum by (model) (error_rate)", **by).by == by["by"]
    assert made('sum(queries) > 1 or absent(queries{model="a"})', **by).by == ("model",)
    assert made("avg(queries) > 1", **by).by == ()


def test_the_examples_of_the_documentation_are_rules() -> None:
    page = (Path(__file__).parents[2] / "docs" / "alerting.md").read_text(encoding="utf-8")
    section = page.partition("### Expressions of Prometheus")[2].partition("###")[0]
    examples = tomllib.loads(section.partition("```toml")[2].partition("```")[0])["rules"]
    rules = [make_rule(msgspec.convert(one, RuleSettings), Catalogue()) for one in examples]
    assert [rule.by for rule in rules] == [(), ("model",), ("pipeline",)]


# How it goes on the path of the watch


def test_13_each_element_is_an_alert_of_its_own(house: House) -> None:
    values = {"a": "9 9 9 9 1 1", "b": "1 1 9 9 9 9", "c": "1 1 1 1 1 1"}
    rule = settings("metric_m > 5", by=("model",), for_="30s")
    assert play(house, rule, values) == {'{"model": "a"}': "PPFF..", '{"model": "b"}': "..PPFF"}
    assert [(alert.labels["model"], alert.message) for alert in house.recorded if alert.state == "resolved"] == [
        ("a", "RESOLVED: Expression metric_m > 5 (model a) holds no more (last: 9)")
    ]


def test_14_a_label_filled_with_the_value_is_another_alert_for_each_value(house: House) -> None:
    rule = settings("metric_m > 5", labels={"v": "{{ $value }}", "team": "search"}, for_="30s")
    found = play(house, rule, {"a": "9 9 9 8 8 8"})
    assert found == {'{"v": "9"}': "PPF...", '{"v": "8"}': "...PPF"}
    told = house.managers[-1].alerts()
    assert [{**alert.labels} for alert in told if alert.ends_at is None] == [
        {"alertname": "A", "severity": "warning", "project": "default", "team": "search", "v": "8"}
    ]


def test_16_an_alertname_from_the_data_does_not_take_the_rules_name(house: House) -> None:
    said = {"what": "{{ $labels.tag_alertname }} of {{ $labels.model }}: {{ $value }}"}
    rule = settings("metric_m > 5", by=("tag.alertname", "model"), annotations=said)
    assert list(play(house, rule, {"a": "9 9"}, tags={"alertname": "zzz"}).values()) == ["FF"]
    (alert,) = house.managers[-1].alerts()
    assert (alert.labels["alertname"], alert.labels["tag.alertname"]) == ("A", "zzz")
    assert alert.annotations["what"] == "zzz of a: 9"


def test_17_two_alerts_with_the_same_labels_are_an_error_and_nothing_is_told(house: House) -> None:
    """Both sides have the labels of the other without their names, which only the join tells apart."""
    rule = settings("metric_m > 5 or on (__name__) metric_n > 5", by=("model",))
    assert only(play(house, rule, {"a": "1 9 9"})) == ".FF"
    house.events.append({"kind": "metric", "name": "n", "value": 9, "time": house.clock.now(), "model": "a"})
    house.manual.advance(15)
    record(house, 3, 9.0, model="a")
    manager = house.manager(rule, delay=0.0)
    manager.run_due()
    assert "two alerts have the same labels" in manager.counters.last_error
    assert {condition.state for _, _, condition in manager.conditions()} == {"firing", "error"}
    assert [(alert.state, alert.labels) for alert in house.recorded][-1] == ("error", {})


def test_17_what_does_not_fit_together_is_an_error_as_in_prometheus(house: House) -> None:
    manager = house.manager(settings("metric_m / on () metric_m > 0", by=("model",)), delay=0.0)
    for model in "ab":
        record(house, 0, 5.0, model=model)
    manager.run_due()
    assert "two series beside / have the same labels" in manager.counters.last_error


def test_18_an_expression_asks_for_what_was_measured_and_never_for_another_rules_alerts() -> None:
    """So in which order rules are evaluated decides nothing; an alert that holds another one back is an inhibition."""
    for name in ("ALERTS", "ALERTS_FOR_STATE"):
        with pytest.raises(InvalidRule, match="names no metric") as raised:
            made(f'metric_m > 5 unless on () {name}{{alertname="B",alertstate="firing"}}')
        assert "inhibition" in raised.value.hint


@pytest.mark.parametrize(("comparison", "expected"), [("> 2", "...FFF....."), ("< 0", "")])
def test_19_the_reset_of_a_counter_is_no_decrease(house: House, comparison: str, expected: str) -> None:
    values = {"a": "0 0 0 5 6 0 1 1 1 1 1"}
    assert only(play(house, settings(f"increase(metric_m[45s]) {comparison}"), values)) == expected


@pytest.mark.parametrize("restart", [(), (3, 4, 5)])
def test_23_without_a_look_back_the_end_of_a_series_resolves_at_once(house: House, restart: tuple[int, ...]) -> None:
    rule = settings("metric_m > 5", for_="30s", lookback="0s")
    assert only(play(house, rule, {"a": "9 9 9 9 _ _ 9 9"}, restart)) == "PPFF..PP"


def test_24_keep_firing_for_bridges_the_end_of_a_series(house: House) -> None:
    rule = settings("metric_m > 5", for_="30s", keep_firing_for="30s", lookback="0s")
    assert only(play(house, rule, {"a": "9 9 9 9 _ 9 9 9"}, (4,))) == "PPFFFFFF"


def test_21_a_gap_within_the_look_back_holds_the_last_value_across_a_restart(house: House) -> None:
    rule = settings("metric_m > 5", for_="30s", lookback="1m")
    assert only(play(house, rule, {"a": "9 9 9 _ _ _ _ _ _ 9"}, (4, 6))) == "PPFFFFF..P"


def test_not_a_number_and_infinity_are_elements_too(house: House) -> None:
    assert only(play(house, settings("metric_m / 0 != 7"), {"a": "0 1 -1"})) == "FFF"


def test_nothing_measured_is_no_alert_and_what_fails_keeps_what_stands(house: House) -> None:
    manager = house.manager(settings("metric_m > 5", by=("model",)), delay=0.0)
    manager.run_due()
    assert [(one.state, one.error) for one in manager.rules()] == [("inactive", "")]
    house.manual.advance(15)
    record(house, 1, 9.0, model="a")
    manager.run_due()

    def refuse(question: MetricQuery) -> None:
        raise EngineUnavailable("the engine is away")

    house.reader.before = refuse
    house.manual.advance(15)
    manager.run_due()
    assert letters(manager) == {'{"model": "a"}': "F"}
    assert "the engine is away" in manager.rules()[0].error
    house.reader.before = lambda question: None
    for _ in range(2):
        house.manual.advance(15)
        manager.run_due()
    assert letters(manager) == {'{"model": "a"}': "F"}  # the last sample holds
    assert manager.rules()[0].error == ""


def test_a_tick_asks_for_its_new_sample_alone_and_the_past_is_asked_for_once(house: House) -> None:
    rule = settings("avg_over_time(metric_m[30m]) > 5 and on (model) queries > 1", by=("model",))
    manager = house.manager(rule, delay=0.0)
    manager.run_due()
    assert [(q.metric, q.window.seconds, q.trailing) for q in house.reader.asked] == [
        ("metric.m", 1815.0, 15), ("queries", 1815.0, 15),
    ]  # fmt: skip
    house.reader.asked.clear()
    for _ in range(3):
        house.manual.advance(15)
        manager.run_due()
    assert [(q.metric, q.window.seconds, q.trailing) for q in house.reader.asked] == 3 * [
        ("metric.m", 15.0, 0), ("queries", 15.0, 0),
    ]  # fmt: skip
    house.reader.asked.clear()
    house.manual.advance(60)  # three ticks are missed
    manager.run_due()
    assert [(q.window.seconds, q.trailing) for q in house.reader.asked] == [(60.0, 15), (60.0, 15)]


def test_a_past_of_many_rows_is_asked_for_in_parts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barograph.alerts.prometheus.measurements.MOST_ROWS", 2_500)  # five ticks of 500 groups
    rule = settings("sum_over_time(metric_m[2m]) > 30", by=("model",), window="30s")
    values = {"a": "9 9 9 _ _ 9 9 9 9 9 9 9", "b": "1 1 1 1 1 1 1 1 9 9 9 9"}
    assert play(house, rule, values, restart=(6, 11)) == {
        '{"model": "a"}': "...FFFFFFFFF",
        '{"model": "b"}': "...........F",
    }
    asked = [question.window.seconds for question in house.reader.asked if question.trailing]
    assert asked == 3 * [75.0, 60.0]  # at the start and at each of two restarts


def test_a_metric_that_could_not_be_read_is_read_from_where_it_was_left(house: House) -> None:
    manager = house.manager(settings("sum_over_time(metric_m[1m]) > 4 * count_over_time(queries[1m])"), delay=0.0)

    def refuse(question: MetricQuery) -> None:
        if question.metric == "queries":
            raise EngineUnavailable("the engine is away")

    for tick in range(6):
        record(house, tick, 9.0)
        house.query(1.0, ago=7)
        house.reader.before = refuse if tick in (2, 3) else lambda question: None
        house.reader.asked.clear()
        manager.run_due()
        assert bool(manager.rules()[0].error) == (tick in (2, 3))
        house.manual.advance(15)
        if tick == 4:
            assert [(q.metric, q.window.seconds) for q in house.reader.asked] == [("metric.m", 15.0), ("queries", 45.0)]
    assert [alert.value for alert in manager.active()] == [45.0]


def test_a_look_sees_events_of_this_very_moment_and_the_past_as_it_was(house: House) -> None:
    house.manual.advance(3.25)
    for tick in range(-8, 0):
        record(house, tick, 9.0)
    house.events.append({"kind": "metric", "name": "m", "value": 99.0, "time": house.clock.now()})
    manager = house.manager(settings("metric_m > 5 and metric_m offset 1m < 10"))
    (alert,) = manager.check()
    assert (alert.value, alert.sentence) == (
        99.0, "ALERT: Expression metric_m > 5 and metric_m offset 1m < 10 holds: current: 99",
    )  # fmt: skip


def test_the_longest_expression_that_is_read_is_evaluated_too(house: House) -> None:
    rule = settings(" or ".join(["metric_m"] * 101), by=("model",))
    assert only(play(house, rule, {"a": "1 9"})) == "FF"


def test_what_is_remembered_is_bounded_and_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barograph.alerts.prometheus.measurements.MOST_SAMPLES", 66)  # three groups of 22 ticks
    manager = house.manager(settings("metric_m > 5", by=("model",)), delay=0.0)
    for tick in range(6):
        for model in range(tick, tick + 5):
            record(house, tick, 9.0, model=f"m{model}")
        manager.run_due()
        assert len(letters(manager)) == 3
        house.manual.advance(15)
    assert "only the 3 largest groups are watched" in str([alert.annotations for alert in manager.alerts()])
    ((_, _, newest),) = manager.samples()
    assert len(newest) == 3


def test_exported_it_fires_on_what_the_server_shows_of_it(house: House, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    rule = settings("max_over_time(metric_m[30s]) > 5", by=("model",), for_="15s", labels={"v": "{{ $value }}"})
    shown: dict[str, list[str]] = {}
    manager, ours = house.manager(structs.replace(rule, name="e_it"), delay=0.0), dict[str, list[str]]()
    values = {"a": [9, 9, 1, 1, 1, 9, 9, 1], "b": [1, 9, 9, 9, None, None, None, None]}
    for tick in range(8):
        for model, line in values.items():
            record(house, tick, line[tick], model=model)
        manager.run_due()
        for one in measured_series(manager.samples(), "default", house.clock.now()):
            labels = ",".join(f"{name}={json.dumps(text)}" for name, text in one.labels.items())
            shown.setdefault(f"{one.name}{{{labels}}}", ["_"] * 8)[tick] = str(one.value)
        for told, letter in letters(manager).items():
            own = {**json.loads(told), "alertname": "e_it", "rule": "e_it", "project": "default", "severity": "warning"}
            ours.setdefault(json.dumps(own, sort_keys=True), ["."] * 8)[tick] = letter
        house.manual.advance(15)
    document = yaml.safe_load(export([made_of(manager)]))
    document["groups"][0]["rules"][0].pop("annotations")
    series = [{"series": name, "values": " ".join(line)} for name, line in shown.items()]
    case = {"rules": document, "series": series, "interval_s": 15, "ticks": 8}
    expected = {labels: "".join(line) for labels, line in ours.items()}
    assert "F" in "".join(expected.values())
    assert run(case) == (expected, [], [])
    if PROMTOOL is not None:
        assert differences({"e": case}, {"e": expected}, tmp_path)[:2] == (set(), [])


def made_of(manager: AlertManager) -> ExpressionRule:
    ((rule, _, _),) = manager.samples()
    assert isinstance(rule, ExpressionRule)
    return rule


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
