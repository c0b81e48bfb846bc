"""One alert's life: what fires, when, what resolves it, and what never does. The oracle ran real Prometheus 2.42."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.alerts.evaluator import look
from barograph.alerts.lifecycle import (
    INACTIVE,
    RESOLVED_SECONDS,
    Condition,
    NoDataPolicy,
    Observation,
    Outcome,
    Policy,
    Transition,
    is_active,
    shifted,
    step,
)
from barograph.alerts.rule import ThresholdRule, make_rule
from barograph.core.metric import Catalogue
from barograph.core.query import MetricRow
from barograph.core.settings import RuleSettings

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
ORACLE = Path(
    os.environ.get("BAROGRAPH_RULES_ORACLE", Path(__file__).parents[1] / "data" / "prometheus_rules_2.42.json")
)
CASES: dict[str, Any] = json.loads(ORACLE.read_text(encoding="utf-8"))
SIMPLE = re.compile(r"\Am (>|<) (-?\d+)\Z")
LETTER = {"pending": "P", "firing": "F"}


def _simple(case: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules of a case that are thresholds; keeping on firing, limits and sample look-back are not ours."""
    (group,) = case["rules"]["groups"]
    plain = all(re.fullmatch(r"(-?\d+|NaN|[+-]?Inf| )*", s["values"]) for s in case["series"])
    if not plain or "limit" in group:
        return []
    return [
        rule
        for rule in group["rules"]
        if SIMPLE.match(rule.get("expr", "")) and not {"keep_firing_for", "labels"} & set(rule)
    ]


ORACLE_RULES = [(name, rule["alert"]) for name, case in CASES.items() for rule in _simple(case)]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def run(
    outcomes: Sequence[Outcome | None], *, wait: float = 0, every: float = 60, no_data: NoDataPolicy = "nodata"
) -> tuple[list[Condition], list[Transition]]:
    """The conditions after each outcome (None is a tick that was skipped), and the transitions."""
    condition, conditions, transitions = INACTIVE, [], []
    for i, outcome in enumerate(outcomes):
        if outcome is not None:
            seen = Observation(outcome=outcome, value=9.0, threshold=5.0)
            policy = Policy(for_seconds=wait, no_data=no_data)
            condition, transition = step(condition, seen, at(i * every), policy)
            transitions += [transition] if transition else []
        conditions.append(condition)
    return conditions, transitions


def states(outcomes: Sequence[Outcome | None], **how: Any) -> list[str]:
    return [condition.state for condition in run(outcomes, **how)[0]]


def test_the_oracle_has_cases_for_us() -> None:
    assert len(ORACLE_RULES) >= 8


@pytest.mark.parametrize(("name", "alert"), ORACLE_RULES)
def test_threshold_rules_have_the_timeline_that_prometheus_gives_them(name: str, alert: str) -> None:
    case = CASES[name]
    (rule,) = (one for one in _simple(case) if one["alert"] == alert)
    expression = SIMPLE.match(rule["expr"])
    assert expression
    direction, limit = expression.groups()
    ours = make_rule(
        RuleSettings(
            name=alert,
            metric="metric.m",
            above=float(limit) if direction == ">" else None,
            below=float(limit) if direction == "<" else None,
            for_=rule.get("for", "0s"),
        ),
        Catalogue(),
    )
    for series in case["series"]:
        named = re.search(r'i="(\w+)"', series["series"])
        assert named
        group = named[1]
        expected = [
            timeline
            for labels, timeline in case["alerts"].items()
            if json.loads(labels)["alertname"] == alert and json.loads(labels)["i"] == group
        ]
        assert _timeline(ours, series["values"].split(), case) == (expected or ["." * case["ticks"]])[0]


def _timeline(rule: ThresholdRule, values: list[str], case: dict[str, Any]) -> str:
    condition, letters = INACTIVE, ""
    for i in range(case["ticks"]):
        moment = at(i * case["interval_s"])
        row = MetricRow(start=moment, end=moment, value=float(values[min(i, len(values) - 1)]), n=1)
        condition, _ = step(condition, look(rule, row), moment, rule.policy)
        letters += LETTER.get(condition.state, ".")
    return letters


def test_a_refire_is_a_new_alert_with_a_new_active_at() -> None:
    conditions, _ = run(["breach", "breach", "clear", "breach"])
    assert [c.state for c in conditions] == ["firing", "firing", "resolved", "firing"]
    assert conditions[1].active_at == at(0)
    assert conditions[3].active_at == conditions[3].fired_at == at(180)


def test_active_at_keeps_the_microsecond_at_which_the_breach_began() -> None:
    moment = START.replace(microsecond=123_457)
    breach = Observation(outcome="breach", value=9.0, threshold=5.0)
    pending, _ = step(INACTIVE, breach, moment, Policy(for_seconds=30))
    firing, _ = step(pending, breach, moment + timedelta(seconds=30), Policy(for_seconds=30))
    assert (firing.state, firing.active_at) == ("firing", moment)


def test_missing_data_neither_fire_nor_resolve_and_the_alert_goes_on_when_they_are_back() -> None:
    conditions, _ = run(["breach", "nodata", "nodata", "breach", "nodata", "clear"])
    assert [c.state for c in conditions] == ["firing", "nodata", "nodata", "firing", "nodata", "resolved"]
    assert {c.active_at for c in conditions} == {at(0)}
    assert is_active(conditions[2], at(120), 0)


def test_missing_data_break_the_evidence_of_a_pending_alert() -> None:
    assert states(["breach", "nodata", "breach", "breach", "breach"], wait=120) == [
        "pending", "nodata", "pending", "pending", "firing",
    ]  # fmt: skip


def test_an_error_is_a_state_of_its_own_that_is_told_after_for() -> None:
    conditions, transitions = run(["clear", "error", "error", "error", "clear"], wait=120)
    assert [c.state for c in conditions] == ["inactive", "error", "error", "error", "inactive"]
    assert [is_active(c, at(i * 60), 120) for i, c in enumerate(conditions)] == [False, False, False, True, False]
    assert [(t.previous, t.after.state) for t in transitions] == [("inactive", "error"), ("error", "inactive")]


def test_an_error_does_not_resolve_what_fires() -> None:
    conditions, _ = run(["breach", "error", "nodata", "clear"])
    assert [c.state for c in conditions] == ["firing", "error", "nodata", "resolved"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("nodata", ["firing", "nodata", "nodata"]),
        ("alerting", ["firing", "firing", "firing"]),
        ("ok", ["firing", "resolved", "resolved"]),
        ("keep", ["firing", "firing", "firing"]),
    ],
)
def test_what_missing_data_mean_is_the_rules_choice(policy: NoDataPolicy, expected: list[str]) -> None:
    assert states(["breach", "nodata", "nodata"], no_data=policy) == expected


def test_missing_data_that_count_as_a_breach_honour_for() -> None:
    assert states(["nodata"] * 4, wait=120, no_data="alerting") == ["pending", "pending", "firing", "firing"]


def test_a_skipped_tick_neither_resolves_nor_resets() -> None:
    assert states(["breach", None, None, "breach"], wait=180) == ["pending", "pending", "pending", "firing"]
    assert states(["breach", None, "breach"]) == ["firing", "firing", "firing"]


def test_a_pending_alert_that_nobody_looked_at_for_too_long_begins_again() -> None:
    assert states(["breach", "breach", "breach"], wait=3000, every=4000) == ["pending"] * 3
    assert states(["breach", "breach"], wait=3000, every=3500) == ["pending", "firing"]


def test_resolved_is_said_for_a_while_and_ages_in_silence() -> None:
    conditions, transitions = run(["breach", "clear", "clear", "clear"], every=RESOLVED_SECONDS / 2)
    assert [c.state for c in conditions] == ["firing", "resolved", "resolved", "inactive"]
    assert [t.after.state for t in transitions] == ["firing", "resolved"]


def test_an_observation_from_before_the_last_one_changes_nothing() -> None:
    (firing,), _ = run(["breach"])
    assert step(firing, Observation(outcome="clear", value=1.0), at(-1)) == (firing, None)


def test_after_a_step_of_the_clock_a_pending_alert_has_waited_as_long_as_before() -> None:
    (pending,), _ = run(["breach"], wait=120)
    breach = Observation(outcome="breach", value=9.0, threshold=5.0)
    for moved in (86_400.0, -86_400.0):
        after, _ = step(shifted(pending, moved), breach, at(moved + 60), Policy(for_seconds=120))
        assert after.state == "pending"
        after, _ = step(after, breach, at(moved + 120), Policy(for_seconds=120))
        assert after.state == "firing"


def test_a_firing_alert_keeps_its_active_at_when_the_clock_is_stepped() -> None:
    (firing,), _ = run(["breach"])
    moved = shifted(firing, -86_400.0)
    assert (moved.active_at, moved.fired_at, moved.evaluated_at) == (at(0), at(0), at(-86_400))


def test_not_a_number_is_no_data_and_does_not_resolve() -> None:
    rule = make_rule(RuleSettings(name="m", metric="metric.m", above=5.0), Catalogue())
    condition = INACTIVE
    for i, value in enumerate((9.0, float("nan"), None)):
        row = MetricRow(start=at(i), end=at(i + 1), value=value, n=1)
        condition, _ = step(condition, look(rule, row), at(i))
        assert condition.has_fired
    assert condition.state == "nodata"


def test_data_that_come_and_go_while_nothing_is_active_are_quiet() -> None:
    _, transitions = run(["nodata", "clear", "nodata", "breach", "nodata", "clear"])
    assert [t.quiet for t in transitions] == [True, True, True, False, False, False]


OUTCOMES = st.lists(st.sampled_from(("breach", "clear", "nodata", "error", None)), max_size=40)


@given(OUTCOMES, st.sampled_from((0, 30, 60, 150)))
def test_only_a_breach_fires_and_only_a_clear_value_resolves(outcomes: list[Outcome | None], wait: float) -> None:
    before = INACTIVE
    for outcome, after in zip(outcomes, run(outcomes, wait=wait)[0], strict=True):
        if after.state == "firing" and before.state != "firing":
            assert outcome == "breach"
        if before.has_fired and not after.has_fired:
            assert (outcome, after.state) == ("clear", "resolved")
        if after.state == "firing":
            assert after.active_at is not None
            assert after.fired_at is not None
            assert (after.fired_at - after.active_at).total_seconds() >= wait
        before = after
