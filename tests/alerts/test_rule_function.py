"""Rules that are functions of the user's own: what they may ask and return, and what becomes of their mistakes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.alerts.test_alert_manager import SLOW, START, House

from barograph.alerts.backtest import backtest
from barograph.alerts.evaluator import Evaluator, Reading
from barograph.alerts.lifecycle import Observation
from barograph.alerts.rule import ThresholdRule, make_rule
from barograph.alerts.rules.function import Evaluation, load_function
from barograph.core.metric import Catalogue
from barograph.core.query import Window
from barograph.core.settings import RuleSettings
from barograph_client.errors import InvalidRule


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def made(function: Callable[[Evaluation], Any], **settings: Any) -> ThresholdRule:
    return make_rule(RuleSettings(name="own", kind="function", **settings), Catalogue(), function)


def read(house: House, rule: ThresholdRule, seconds: float = 10.0) -> Reading:
    evaluator = Evaluator(house.reader, "default", seconds)
    try:
        return evaluator.observe(rule, START)
    finally:
        evaluator.close()


def seen(reading: Reading) -> Observation:
    ((_, observation),) = reading.groups
    return observation


def test_a_function_asks_metrics_of_its_window_and_filters_and_says_the_number(house: House) -> None:
    for seconds, pipeline in ((4.0, "faq"), (1.0, "faq"), (9.0, "other")):
        house.query(seconds, ago=120, pipeline=pipeline)
    house.query(1.0, ago=3000, pipeline="faq")

    def slower(at: Evaluation) -> float:
        now, before = at.value("response_time.mean"), at.value("response_time.mean", last="1h")
        assert now is not None
        assert before is not None
        assert at.at == START
        return now / before

    rule = made(slower, above=1.2, window="5m", where=("pipeline:eq:faq",))
    assert seen(read(house, rule)) == Observation(outcome="breach", value=1.25, n=1, threshold=1.2)
    assert "slower above 1.2 over 5 min" in rule.condition


def test_a_function_without_a_limit_fires_when_it_is_true_and_its_first_line_is_the_sentence(house: House) -> None:
    def stale(at: Evaluation) -> bool:
        """No query was answered from the new index.

        More for those who read the code.
        """
        return at.query("queries").n == 0

    rule = made(stale, window="1h")
    assert seen(read(house, rule)).outcome == "breach"
    assert rule.message == "No query was answered from the new index"
    house.query(1.0, ago=60)
    assert seen(read(house, rule)).outcome == "clear"


@pytest.mark.parametrize(
    ("returned", "outcome"), [(3, "breach"), (0.0, "clear"), (None, "nodata"), (float("nan"), "nodata")]
)
def test_numbers_none_and_nan_mean_what_they_mean_to_other_rules(house: House, returned: Any, outcome: str) -> None:
    assert seen(read(house, made(lambda at: returned, minimum=7))).outcome == outcome


def test_groups_come_as_a_mapping_or_as_the_rows_of_an_answer(house: House) -> None:
    for model, seconds in (("small", 1.0), ("large", 9.0), ("large", 9.0)):
        house.query(seconds, model=model, ago=60)
    ways: list[Callable[[Evaluation], Any]] = [
        lambda at: at.groups("response_time.mean"),
        lambda at: at.query("response_time.mean", by=["model"]),
        lambda at: at.query("response_time.mean", by=["model"]).rows,
    ]
    for way in ways:
        reading = read(house, made(way, above=5.0, by=("model",)))
        assert {labels["model"]: one.outcome for labels, one in reading.groups} == {"small": "clear", "large": "breach"}
    few = read(house, made(ways[2], above=5.0, by=("model",), minimum=2))
    assert {labels["model"]: one.outcome for labels, one in few.groups} == {"small": "nodata", "large": "breach"}
    pairs = made(lambda at: {("eu", "a"): 1.0, ("us", "b"): None}, by=("region", "shard"))
    assert [labels for labels, _ in read(house, pairs).groups] == [
        {"region": "eu", "shard": "a"}, {"region": "us", "shard": "b"},
    ]  # fmt: skip


def test_of_more_groups_than_are_watched_those_beyond_the_limit_stay_and_it_is_told(house: House) -> None:
    reading = read(house, made(lambda at: {f"g{i}": float(i > 597) for i in range(600)}, by=("shard",)))
    assert len(reading.groups) == 500
    assert [labels["shard"] for labels, one in reading.groups if one.outcome == "breach"] == ["g598", "g599"]
    assert "of its 600 groups" in reading.note


@pytest.mark.parametrize(
    ("function", "by", "said"),
    [
        (lambda at: 1 / 0, (), "ZeroDivisionError: division by zero (test_rule_function.py, line"),
        (lambda at: sys.exit(3), (), "SystemExit: 3"),
        (lambda at: at.value("no.such.metric"), (), "no such metric"),
        (lambda at: "high", (), "its function returned a str (got high). Return a number"),
        (lambda at: 10**400, (), "too large"),
        (lambda at: 0.5, ("shard",), "one value, and the rule is by shard"),
        (lambda at: {"a": 0.5}, (), "a group that does not fit `by`, nothing"),
        (lambda at: {("a", "b"): 0.5}, ("shard",), "a group that does not fit `by`, shard"),
        (lambda at: [0.5], ("shard",), "rows that are not by shard"),
        (lambda at: {"a": 0.5, ("a",): 0.7}, ("shard",), "a group twice (got a)"),
        (lambda at: at.query("queries").rows * 2, (), "a group twice (got the whole)"),
        (lambda at: [structs.replace(row, value="9") for row in at.query("queries").rows], (), "returned a str"),
        (lambda at: [structs.replace(row, n="9") for row in at.query("queries").rows], (), "of the wrong type"),
    ],
)
def test_what_a_rule_cannot_use_is_its_error_with_the_reason(
    house: House, function: Callable[[Evaluation], Any], by: tuple[str, ...], said: str
) -> None:
    reading = read(house, made(function, by=by))
    assert said in reading.error
    assert reading.groups == ()


def test_a_function_that_hangs_is_bounded_holds_up_no_other_and_not_the_end(house: House) -> None:
    until = threading.Event()
    evaluator = Evaluator(house.reader, "default", 0.05)
    hanging = made(lambda at: until.wait(20))
    began = time.monotonic()
    try:
        assert "not answered within" in evaluator.observe(hanging, START).error
        assert "not been answered yet" in evaluator.observe(hanging, START).error
        other = make_rule(RuleSettings(name="other", kind="function"), Catalogue(), lambda at: 1.0)
        assert seen(evaluator.observe(other, START)).outcome == "breach"
        evaluator.close()
        assert time.monotonic() - began < 5
    finally:
        until.set()


def test_it_lives_as_other_rules_do_through_for_and_keep_and_tells_its_labels(house: House) -> None:
    values = iter([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    rule = RuleSettings(
        name="own", kind="function", for_="15s", keep_firing_for="15s", severity="critical",
        labels={"team": "search"}, annotations={"why": "{{ $value }} now"},
    )  # fmt: skip
    manager = house.manager(structs.replace(SLOW, metric="response_time.mean"))
    manager.rule_set.add(rule, lambda at: next(values))
    states = []
    for _ in range(5):
        house.tick(manager)
        states.append(manager.rules()[1].state)
        if states[-1] == "firing":
            (alert,) = manager.alerts()
            assert alert.labels["team"] == "search"
            assert alert.labels["severity"] == "critical"
    assert states == ["pending", "firing", "firing", "firing", "resolved"]
    assert house.told() == [("inactive", "pending"), ("pending", "firing"), ("firing", "resolved")]


def test_it_is_played_over_the_past(house: House) -> None:
    for i in range(60):
        house.query(9.0 if 20 <= i < 40 else 1.0, ago=60.0 * (60 - i))
    rule = made(lambda at: at.value("response_time.mean"), above=5.0, window="1m", metric="response_time.mean")
    played = backtest(rule, house.reader, "default", Window(START - timedelta(hours=1), START))
    (firing,) = played.firings
    assert (firing.fired_at, firing.worst) == (START - timedelta(minutes=39, seconds=45), 9.0)
    assert played.unit == "s"


class TestLoading:
    @pytest.fixture(autouse=True)
    def _module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        (tmp_path / "own_rules.py").write_text("def stale(at):\n    return 0.5\n\nLIMIT = 3\n")
        (tmp_path / "own_broken.py").write_text("LIMIT = 3\nLIMIT / 0\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        yield
        for name in ("own_rules", "own_broken"):
            sys.modules.pop(name, None)

    def test_a_function_is_found_by_its_module_and_name(self, house: House) -> None:
        assert seen(read(house, made(load_function("own", "own_rules:stale")))).value == 0.5

    @pytest.mark.parametrize(
        ("path", "said", "hint"),
        [
            ("own_rules.stale", "names no function", "package.module:name"),
            ("own_rules:", "names no function", "package.module:name"),
            ("no_such_package.rules:stale", "no module no_such_package", "PYTHONPATH"),
            ("own_broken:stale", "ZeroDivisionError: division by zero (own_broken.py, line 2)", "python -c"),
            ("own_rules:stael", "own_rules has no stael", "Did you mean stale"),
        ],
    )
    def test_what_cannot_be_found_is_told_with_what_to_do(self, path: str, said: str, hint: str) -> None:
        with pytest.raises(InvalidRule) as refused:
            load_function("own", path)
        assert "rule own: " in refused.value.message
        assert said in refused.value.message
        assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (3, "not callable"),
        (lambda: 1.0, "one argument"),
        (lambda at, more: 1.0, "one argument"),
        (House, "a plain one"),
        (None, "stands in barograph.toml"),
    ],
)
def test_what_is_no_function_of_one_argument_is_refused_at_the_start(function: Any, said: str) -> None:
    with pytest.raises(InvalidRule, match=said) as refused:
        made(function)
    assert refused.value.hint


def test_only_rules_of_kind_function_have_one() -> None:
    with pytest.raises(InvalidRule, match="says nothing to a rule of kind threshold"):
        make_rule(RuleSettings(name="x", metric="queries", above=1.0), Catalogue(), lambda at: 1.0)
    with pytest.raises(InvalidRule, match="says nothing to a rule of kind threshold"):
        make_rule(RuleSettings(name="x", metric="queries", above=1.0, function="a:b"), Catalogue())
    with pytest.raises(InvalidRule, match="it names no metric"):
        make_rule(RuleSettings(name="x", above=1.0), Catalogue())
