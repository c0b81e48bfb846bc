"""Items 1 to 35 of the conformance list: the state machine, missing data, scheduling and durability.

Each test carries the number of its item; some stand where the house they need is, as do those of items 36 to 60. The
timelines were given by real Prometheus 2.42 (``.`` inactive, ``P`` pending, ``F`` firing, a letter a tick of 60 s). A
threshold rule of ours and the same rule over series must both have them. Expression rules, which evaluate series on the
path that users run, have theirs in ``test_rule_expression``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.alerts.test_alert_manager import SLOW, START, House
from tests.support.lifecycle_runs import at, play, series, states, threshold
from tests.support.series_notation import fill
from tests.support.series_rules import Watch, read_groups
from tests.support.series_watch import run

from barograph.alerts.lifecycle import (
    INACTIVE,
    MISSING_SERIES,
    NoDataPolicy,
    Observation,
    Outcome,
    Policy,
    is_active,
    shifted,
    step,
)
from barograph.alerts.prometheus.samples import Samples
from barograph.control.alert_states import AlertStateRepository
from barograph.core.query import MetricQuery
from barograph_client.errors import EngineUnavailable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ITEMS = range(1, 61)
NOT_APPLICABLE: dict[int, str] = {}  # item and reason; every item applies


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def test_every_item_has_its_test_or_a_reason() -> None:
    texts = (path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    named = [name for text in texts for name in re.findall(r"^(?: {4})?def test_(\d+_(?:\d+_)*)", text, re.MULTILINE)]
    tested = {int(number) for name in named for number in name.split("_")[:-1]}
    assert tested <= set(ITEMS), "a number that no item has"
    assert set(ITEMS) - tested == NOT_APPLICABLE.keys()


# The state machine


def test_01_a_breach_shorter_than_for_is_pending_and_not_told() -> None:
    assert series("1 9 9 9 9 9 1 9 9", 9, **{"for": "3m"}) == ".PPPFF.PP"
    assert threshold("1 9 9 9 9 9 1 9 9", 9, above=5.0, for_="3m") == ".PPPFF.PP"
    conditions, _ = play(["clear", "breach", "breach"], Policy(for_seconds=180))
    assert not any(is_active(condition, 180) for i, condition in enumerate(conditions))


def test_02_it_fires_at_the_first_tick_at_which_for_has_elapsed() -> None:
    conditions, _ = play(["breach"] * 5, Policy(for_seconds=180))
    assert [condition.state for condition in conditions] == ["pending"] * 3 + ["firing"] * 2
    assert (conditions[4].active_at, conditions[4].fired_at) == (at(0), at(180))


def test_03_a_for_of_90_s_on_a_grid_of_60_s_fires_after_120() -> None:
    assert series("1 9 9 9 9 1", 8, **{"for": "90s"}) == ".PPFF..."
    assert threshold("1 9 9 9 9 1", 8, above=5.0, for_="90s") == ".PPFF..."


def test_04_a_for_shorter_than_the_interval_fires_at_the_next_tick() -> None:
    assert series("1 9 9 9 1 9 1 9 9", 10, **{"for": "15s"}) == ".PFF.P.PFF"
    assert threshold("1 9 9 9 1 9 1 9 9", 10, above=5.0, for_="15s") == ".PFF.P.PFF"


def test_05_without_for_it_fires_at_once() -> None:
    assert series("1 9 9 1 9", 6) == ".FF.FF"
    assert threshold("1 9 9 1 9", 6, above=5.0) == ".FF.FF"


def test_06_one_clear_tick_begins_the_wait_again() -> None:
    assert series("9 9 1 9 9 9", 7, **{"for": "2m"}) == "PP.PPFF"
    assert threshold("9 9 1 9 9 9", 7, above=5.0, for_="2m") == "PP.PPFF"


def test_07_a_refire_is_a_new_alert_with_a_new_active_at() -> None:
    conditions, _ = play(["breach", "breach", "clear", "breach"], Policy())
    assert [condition.state for condition in conditions] == ["firing", "firing", "resolved", "firing"]
    assert conditions[1].active_at == at(0)
    assert conditions[3].active_at == conditions[3].fired_at == at(180)


def test_08_keep_firing_for_holds_an_alert_until_it_was_clear_for_so_long() -> None:
    keep = {"for": "2m", "keep_firing_for": "3m"}
    assert series("9 9 9 9 1 1 9 9 1 1 1 1 1", 14, **keep) == "PPFFFFFFFFF..."
    held = threshold("9 9 9 9 1 1 9 9 1 1 1 1 1", 14, above=5.0, for_="2m", keep_firing_for="3m")
    assert held == "PPFFFFFFFFF..."
    conditions, transitions = play(["breach", "clear", "breach", "clear", "clear"], Policy(keep_firing_seconds=120))
    assert {condition.active_at for condition in conditions} == {at(0)}
    assert [transition.after.state for transition in transitions] == ["firing"]


def test_09_keep_firing_for_does_not_hold_what_is_pending() -> None:
    values, expected = "9 9 1 1 9 9 9 9 1 1 1 1 1", "PP..PPPFFFF..."
    assert series(values, 14, **{"for": "3m", "keep_firing_for": "3m"}) == expected
    assert threshold(values, 14, above=5.0, for_="3m", keep_firing_for="3m") == expected


def test_10_at_the_boundary_only_or_equal_fires() -> None:
    assert series("4 5 6", 3, "m > 5") == "..F"
    assert series("4 5 6", 3, "m >= 5") == ".FF"
    assert series("4 5 6", 3, "m < 5") == "F.."
    assert series("4 5 6", 3, "m <= 5") == "FF."
    assert threshold("4 5 6", 3, above=5.0) == "..F"
    assert threshold("4 5 6", 3, below=5.0) == "F.."


def test_11_not_a_number_is_neither_above_nor_below_but_different() -> None:
    assert series("1 NaN NaN 9", 5, "m > 5") == "...FF"
    assert series("1 NaN NaN 9", 5, "m < 5") == "F...."
    assert series("1 NaN NaN 9", 5, "m != 5") == "FFFFF"
    assert threshold("1 NaN NaN 9", 5, above=5.0) == "...FF"
    assert threshold("1 NaN NaN 9", 5, below=5.0) == "F...."


def test_12_infinities_compare_as_numbers_do() -> None:
    assert series("Inf -Inf Inf", 3, "m > 5") == threshold("Inf -Inf Inf", 3, above=5.0) == "F.F"
    assert series("Inf -Inf Inf", 3, "m < 5") == threshold("Inf -Inf Inf", 3, below=5.0) == ".F."


def test_13_two_label_sets_are_two_alerts() -> None:
    values = {"a": "9 9 9 9 1 1", "b": "1 1 9 9 9 9", "c": "1 1 1 1 1 1"}
    assert series(values, 8, **{"for": "2m"}) == {"a": "PPFF....", "b": "..PPFFFF"}


def test_14_a_label_filled_with_the_value_is_another_alert_for_each_value() -> None:
    timelines, _, _ = run(_case("m > 5", "9 9 9 8 8 8", labels={"v": "{{ $value }}"}, **{"for": "2m"}))
    assert {line for labels, line in timelines.items() if '"v": "9"' in labels} == {"PPF..."}
    assert {line for labels, line in timelines.items() if '"v": "8"' in labels} == {"...PPF"}


def test_15_annotations_change_without_a_new_wait_and_the_latest_is_told() -> None:
    watch = _watch("m > 5", "9 10 11", annotations={"seen": "{{ $value }} of {{ $labels.i }}"}, **{"for": "2m"})
    told = []
    for tick in range(3):
        watch.tick(EPOCH + timedelta(minutes=tick))
        told += [(alert.condition.state, alert.annotations["seen"]) for alert in watch.active()]
    assert told == [("pending", "9 of a"), ("pending", "10 of a"), ("firing", "11 of a")]


def test_16_an_alertname_from_the_data_is_overridden() -> None:
    case = _case("m > 5", "9 9 1")
    case["series"][0]["series"] = 'm{i="a",alertname="zzz"}'
    assert run(case)[0] == {'{"alertname": "A", "i": "a"}': "FF."}


def test_17_two_alerts_with_the_same_labels_are_an_error_and_nothing_is_told() -> None:
    watch = _watch("m > 5", "1 9 9", "1 1 9", labels={"i": "same"})
    states_seen = []
    for tick in range(3):
        watch.tick(EPOCH + timedelta(minutes=tick))
        states_seen.append(([alert.condition.state for alert in watch.active()], sorted(watch.errors)))
    assert states_seen == [([], []), (["firing"], []), (["firing"], ["A"])]
    assert "same labels" in watch.errors["A"]


def test_18_rules_of_a_group_run_in_order_and_later_ones_see_the_earlier() -> None:
    double = {"record": "r", "expr": "m * 2"}
    alert = {"alert": "A", "expr": "r > 10"}
    case = _case("m > 5", "1 9 9 1 1 1")
    for rules, expected in (([double, alert], ".FF..."), ([alert, double], "..FF..")):
        case["rules"]["groups"][0]["rules"] = rules
        assert list(run(case)[0].values()) == [expected]
    chained = {"alert": "B", "expr": 'ALERTS{alertname="A",alertstate="firing"} == 1'}
    case["rules"]["groups"][0]["rules"] = [{"alert": "A", "expr": "m > 5", "for": "1m"}, chained]
    assert run(case)[0] == {'{"alertname": "A", "i": "a"}': ".PF...", '{"alertname": "B", "i": "a"}': "..F..."}


def test_19_the_reset_of_a_counter_is_no_decrease() -> None:
    assert series("0 0 0 5 6 0 1 1 1 1 1", 12, "increase(m[3m]) > 2") == "...FFF......"
    assert series("0 0 0 5 6 0 1 1 1 1 1", 12, "increase(m[3m]) < 0") == "." * 12


def test_20_over_the_limit_a_group_of_prometheus_is_an_error_and_forgets_its_alerts() -> None:
    case = _case("m > 5", "9 9 9 1", "1 9 1 1")
    case["rules"]["groups"][0]["limit"] = 1
    watch = _watch_of(case)
    told = []
    for tick in range(4):
        watch.tick(EPOCH + timedelta(minutes=tick))
        told.append((len(watch.active()), watch.errors.get("A", "")))
    assert told == [(1, ""), (0, "2 alerts are more than the limit of 1"), (1, ""), (0, "")]


def test_20_over_the_limit_a_rule_of_ours_watches_the_largest_groups_and_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barograph.alerts.rules.threshold.GROUP_LIMIT", 3)
    for i in range(5):
        house.query(9.0, model=f"model {i}")
    manager = house.manager(structs.replace(SLOW, by=("model",)))
    assert [alert.labels for alert in manager.check()] == [{"model": f"model {i}"} for i in range(3)] + [{}]
    assert "only the 3 largest groups are watched" in manager.rules()[0].reason


# Missing data


def test_21_a_gap_within_the_lookback_holds_the_last_value() -> None:
    assert series("9 9 9 _ _ _ 9 9", 10, **{"for": "2m"}) == "PPFFFFFFFF"
    assert threshold("9 9 9 _ _ _ 9 9", 10, above=5.0, for_="2m") == "PPFFFFFFFF"
    assert series("9 _ _ 9", 4, **{"for": "2m"}) == threshold("9 _ _ 9", 4, above=5.0, for_="2m") == "PPFF"


def test_22_a_gap_beyond_the_lookback_ends_the_alert_and_the_wait_begins_again() -> None:
    values = "9 9 9 9 _ _ _ _ _ _ _ 9 9 9"
    assert series(values, 15, **{"for": "2m"}) == "PPFFFFFFF..PPFF"
    assert threshold(values, 15, above=5.0, for_="2m") == "PPFFFFFFF..PPFF"


def test_23_the_mark_of_an_end_resolves_at_once() -> None:
    assert series("9 9 9 9 stale _ 9 9", 8, **{"for": "2m"}) == "PPFF..PP"
    assert threshold("9 9 9 9 _ _ 9 9", 8, above=5.0, for_="2m", lookback="0s") == "PPFF..PP"


def test_24_keep_firing_for_bridges_the_mark_of_an_end() -> None:
    values, keep = "9 9 9 9 stale 9 9 9 9", {"for": "2m", "keep_firing_for": "2m"}
    assert series(values, 10, **keep) == "PPFFFFFFFF"
    gap = threshold("9 9 9 9 _ 9 9 9 9", 10, above=5.0, for_="2m", keep_firing_for="2m", lookback="0s")
    assert gap == "PPFFFFFFFF"


def test_25_absence_honours_for() -> None:
    values = "1 1 stale _ _ _ _ 1 1"
    assert series(values, 11, 'absent(m{i="a"})', **{"for": "2m"}) == "..PPFFF...."


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("nodata", ["firing", "nodata", "error", "resolved"]),
        ("alerting", ["firing", "firing", "error", "resolved"]),
        ("ok", ["firing", "resolved", "error", "inactive"]),
        ("keep", ["firing", "firing", "error", "resolved"]),
    ],
)
def test_26_no_data_is_not_an_error_and_not_ok_and_what_it_means_is_the_rules_choice(
    policy: NoDataPolicy, expected: list[str]
) -> None:
    assert states(["breach", "nodata", "error", "clear"], Policy(no_data=policy)) == expected


def test_27_no_data_and_errors_honour_for() -> None:
    alerting = Policy(for_seconds=120, no_data="alerting")
    assert states(["nodata"] * 4, alerting) == ["pending", "pending", "firing", "firing"]
    conditions, transitions = play(["clear", "error", "error", "error", "clear"], Policy(for_seconds=120))
    assert [condition.state for condition in conditions] == ["inactive", "error", "error", "error", "inactive"]
    told = [is_active(condition, 120) for i, condition in enumerate(conditions)]
    assert told == [False, False, False, True, False]
    assert [(t.previous, t.after.state) for t in transitions] == [("inactive", "error"), ("error", "inactive")]


def test_28_a_vanished_group_keeps_its_state_for_the_lookback_and_is_then_resolved_with_the_reason() -> None:
    policies = Policy(missing="keep"), Policy(missing="nodata"), Policy(missing="prometheus")
    for policy, meanwhile in zip(policies, ("firing", "nodata", "firing"), strict=True):
        policy = structs.replace(policy, lookback_seconds=120)
        conditions, _ = play(["breach", "gone", "gone", "gone", "gone"], policy)
        found = [condition.state for condition in conditions]
        assert found == ["firing", meanwhile, meanwhile, "resolved", "resolved"]
        assert conditions[3].reason == MISSING_SERIES
    waits = Policy(missing="keep", lookback_seconds=120, for_seconds=180)
    assert states(["breach", "gone", "gone", "breach"], waits) == ["pending", "pending", "pending", "firing"]


def test_28_a_vanished_group_that_is_back_is_the_same_alert() -> None:
    conditions, _ = play(["breach", "gone", "breach", "gone", "gone"], Policy(missing="keep", lookback_seconds=120))
    assert {(condition.state, condition.active_at) for condition in conditions} == {("firing", at(0))}


@pytest.mark.parametrize(
    ("no_data", "expected"),
    [
        ("alerting", [*["inactive"] * 4, "pending", "pending", "firing", "firing", "inactive", "inactive"]),
        ("nodata", [*["inactive"] * 4, *["nodata"] * 4, "inactive", "inactive"]),
        ("ok", ["inactive"] * 10),
        ("keep", ["inactive"] * 10),
    ],
)
def test_27_29_when_all_groups_are_without_data_one_alert_of_the_rule_is_told_after_its_for_where_the_rule_asks_for_it(
    house: House, no_data: Any, expected: list[str]
) -> None:
    """Where it does not, as by default, the state is shown and nobody is told."""
    manager = house.manager(structs.replace(SLOW, by=("model",), window="1m", for_="30s", no_data=no_data))
    for i in range(4):
        house.query(1.0, model=f"model {i}")
    found, told = [], []
    for tick in range(1, 11):
        house.tick(manager, 1, response_time=1.0 if tick >= 9 else None, model="model 0")
        found.append(str(manager.rules()[0].state))
        told.append([alert.labels for alert in manager.alerts()])
    assert found == expected
    labels = {"alertname": "slow", "severity": "warning", "project": "default"}
    assert told == [[labels] if state == "firing" else [] for state in expected]
    recorded = [("inactive", "pending"), ("pending", "firing"), ("firing", "resolved")]
    assert house.told() == (recorded if no_data == "alerting" else [])
    sentences = [alert.message for alert in house.recorded if alert.state == "firing"]
    assert all(said == "ALERT: Response time p95: no group has any event in the window" for said in sentences)


# Scheduling and durability


def test_31_a_skipped_tick_neither_resolves_nor_resets() -> None:
    assert states(["breach", None, None, "breach"], Policy(for_seconds=180)) == [*["pending"] * 3, "firing"]
    assert states(["breach", None, "breach"], Policy()) == ["firing"] * 3
    held = states(["breach", "clear", None, "clear"], Policy(keep_firing_seconds=120))
    assert held == [*["firing"] * 3, "resolved"]


def test_32_for_goes_on_after_an_outage_within_the_tolerance_and_begins_again_beyond_it(house: House) -> None:
    waits = Policy(for_seconds=3000)
    assert states(["breach"] * 3, waits, every=4000) == ["pending"] * 3
    assert states(["breach", "breach"], waits, every=3500) == ["pending", "firing"]
    rule = structs.replace(SLOW, window="1m", for_="2m")
    for down, expected in ((300, "firing"), (2 * 3600, "pending")):
        manager = house.manager(rule)
        house.tick(manager, 12, response_time=1.0)
        house.tick(manager, 2, response_time=9.0)
        assert manager.rules()[0].state == "pending"
        manager.stop()
        house.manual.advance(down)
        manager = house.manager(rule)
        house.tick(manager, 1, response_time=9.0)
        assert manager.rules()[0].state == expected
        house.tick(manager, 6, response_time=1.0)
        manager.stop()


def test_32_the_wait_of_keep_firing_for_and_of_a_vanished_group_survives_a_restart(house: House) -> None:
    rule = structs.replace(SLOW, by=("model",), window="15s", keep_firing_for="1m", missing="keep", lookback="1m")
    manager = house.manager(rule, delay=0.0)
    for model in ("clears", "vanishes"):
        house.query(9.0, ago=-7, model=model)
    house.tick(manager)
    for tick in range(9):
        expected = {"clears", "vanishes"} if tick < 5 else {"vanishes"}  # gone, then kept
        assert {alert.labels["model"] for alert in manager.active()} == expected, tick
        manager.stop()
        manager = house.manager(rule, delay=0.0)
        house.query(1.0, ago=-7, model="clears")
        house.tick(manager)
    assert manager.active() == []
    assert sorted(alert.state for alert in house.recorded) == ["firing", "firing", "resolved", "resolved"]


def test_32_an_error_that_interrupts_a_wait_survives_a_restart_with_it(house: House) -> None:
    rule = structs.replace(SLOW, window="1m", for_="2m")
    manager = house.manager(rule)
    house.tick(manager, 2, response_time=9.0)

    def refuse(question: MetricQuery) -> None:
        raise EngineUnavailable("the engine is away")

    house.reader.before = refuse
    house.tick(manager, 2, response_time=9.0)
    manager.stop()
    house.reader.before = lambda question: None
    manager = house.manager(rule)
    assert manager.rules()[0].state == "error"
    house.tick(manager, 5, response_time=9.0)
    (alert,) = manager.active()
    assert alert.active_at == START + timedelta(seconds=15)


def test_33_active_at_keeps_the_microsecond_at_which_the_breach_began(house: House) -> None:
    moment = START.replace(microsecond=123_457)
    breach = Observation(outcome="breach", value=9.0, threshold=5.0)
    waits = Policy(for_seconds=30)
    pending, _ = step(INACTIVE, breach, moment, waits)
    firing, _ = step(pending, breach, moment + timedelta(seconds=30), waits)
    assert (firing.state, firing.active_at) == ("firing", moment)
    house.query(9.0)
    manager = house.manager(SLOW)
    manager.check(moment)
    manager.stop()
    assert [alert.active_at for alert in house.manager(SLOW).active()] == [moment]
    assert AlertStateRepository(house.plane).load("default")[0].threshold == 5.0


def test_34_after_a_step_of_the_clock_a_pending_alert_has_waited_as_long_as_before() -> None:
    (pending,), _ = play(["breach"], Policy(for_seconds=120))
    breach = Observation(outcome="breach", value=9.0, threshold=5.0)
    for moved in (86_400.0, -86_400.0):
        after, _ = step(shifted(pending, moved), breach, at(moved + 60), Policy(for_seconds=120))
        assert after.state == "pending"
        after, _ = step(after, breach, at(moved + 120), Policy(for_seconds=120))
        assert after.state == "firing"


def test_34_what_fires_keeps_its_active_at_and_the_rest_of_its_waits_when_the_clock_is_stepped() -> None:
    (firing,), _ = play(["breach"], Policy())
    moved = shifted(firing, -86_400.0)
    assert (moved.active_at, moved.fired_at, moved.evaluated_at) == (at(0), at(0), at(-86_400))
    outcomes: list[Outcome | None] = ["breach", "clear"]
    keep = Policy(keep_firing_seconds=120)
    held = shifted(play(outcomes, keep)[0][-1], -86_400.0)
    clear = Observation(outcome="clear", value=1.0)
    assert step(held, clear, at(-86_400 + 179), keep)[0].state == "firing"
    assert step(held, clear, at(-86_400 + 180), keep)[0].state == "resolved"


def _case(expr: str, *values: str, **rule: Any) -> dict[str, Any]:
    return {
        "rules": {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": expr, **rule}]}]},
        "series": [{"series": f'm{{i="{name}"}}', "values": line} for name, line in zip("abc", values, strict=False)],
        "interval_s": 60,
        "ticks": max(len(line.split()) for line in values),
    }


def _watch(expr: str, *values: str, **rule: Any) -> Watch:
    return _watch_of(_case(expr, *values, **rule))


def _watch_of(case: dict[str, Any]) -> Watch:
    (group,), refusals = read_groups(case["rules"])
    assert refusals == []
    samples = Samples()
    for one in case["series"]:
        fill(samples, one["series"], one["values"], case["interval_s"])
    return Watch(group, samples)
