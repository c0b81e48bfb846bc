"""One alert's life beyond the conformance list: what fires, what resolves it, what never does, and what is quiet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.support.lifecycle_runs import at, play, states, threshold

from barograph.alerts.evaluator import look
from barograph.alerts.lifecycle import (
    AT_ONCE,
    INACTIVE,
    RESOLVED_SECONDS,
    Condition,
    Observation,
    Outcome,
    Policy,
    is_active,
    step,
)
from barograph.alerts.rule import make_rule
from barograph.core.metric import Catalogue
from barograph.core.query import MetricRow
from barograph.core.settings import RuleSettings

TWO_MINUTES = Policy(for_seconds=120)


def test_missing_data_neither_fire_nor_resolve_and_the_alert_goes_on_when_they_are_back() -> None:
    conditions, _ = play(["breach", "nodata", "nodata", "breach", "nodata", "clear"], AT_ONCE)
    assert [c.state for c in conditions] == ["firing", "nodata", "nodata", "firing", "nodata", "resolved"]
    assert {c.active_at for c in conditions} == {at(0)}
    assert is_active(conditions[2], 0)


def test_missing_data_break_the_evidence_of_a_pending_alert() -> None:
    assert states(["breach", "nodata", "breach", "breach", "breach"], TWO_MINUTES) == [
        "pending", "nodata", "pending", "pending", "firing",
    ]  # fmt: skip


def test_an_error_does_not_resolve_what_fires() -> None:
    conditions, _ = play(["breach", "error", "nodata", "clear"], AT_ONCE)
    assert [c.state for c in conditions] == ["firing", "error", "nodata", "resolved"]


def test_resolved_is_said_for_a_while_and_ages_in_silence() -> None:
    conditions, transitions = play(["breach", "clear", "clear", "clear"], AT_ONCE, every=RESOLVED_SECONDS / 2)
    assert [c.state for c in conditions] == ["firing", "resolved", "resolved", "inactive"]
    assert [t.after.state for t in transitions] == ["firing", "resolved"]


def test_an_observation_from_before_the_last_one_changes_nothing() -> None:
    (firing,), _ = play(["breach"], AT_ONCE)
    assert step(firing, Observation(outcome="clear", value=1.0), at(-1)) == (firing, None)


def test_not_a_number_is_no_data_and_does_not_resolve() -> None:
    rule = make_rule(RuleSettings(name="m", metric="metric.m", above=5.0), Catalogue())
    condition = INACTIVE
    for i, value in enumerate((9.0, float("nan"), None)):
        row = MetricRow(start=at(i), end=at(i + 1), value=value, n=1)
        condition, _ = step(condition, look(rule, row), at(i))
        assert condition.has_fired
    assert condition.state == "nodata"


def test_data_that_come_and_go_while_nothing_is_active_are_quiet() -> None:
    _, transitions = play(["nodata", "clear", "nodata", "breach", "nodata", "clear"], AT_ONCE)
    assert [t.quiet for t in transitions] == [True, True, True, False, False, False]


def test_an_error_does_not_break_the_evidence_of_a_pending_alert() -> None:
    assert states(["breach", "error", "breach", "error", "breach"], Policy(for_seconds=180)) == [
        "pending", "error", "pending", "error", "firing",
    ]  # fmt: skip
    conditions, _ = play(["breach", "error", "clear", "breach"], TWO_MINUTES)
    assert [condition.active_at for condition in conditions] == [at(0), at(0), None, at(180)]


def test_errors_for_longer_than_the_outage_tolerance_do() -> None:
    policy = Policy(for_seconds=3000, outage_seconds=300)
    assert play(["breach", *["error"] * 5, "breach"], policy)[0][-1].active_at == at(360)
    assert play(["breach", *["error"] * 4, "breach"], policy)[0][-1].active_at == at(0)


def test_between_the_thresholds_a_firing_alert_goes_on_and_none_begins() -> None:
    assert states(["between", "breach", "between", "between", "clear", "between", "breach"], AT_ONCE) == [
        "inactive", "firing", "firing", "firing", "resolved", "resolved", "firing",
    ]  # fmt: skip
    assert states(["breach", "between", "breach", "breach"], TWO_MINUTES) == [
        "pending",
        "inactive",
        "pending",
        "pending",
    ]


def test_between_the_thresholds_the_wait_before_resolving_begins_again() -> None:
    keep = Policy(keep_firing_seconds=120)
    assert states(["breach", "clear", "clear", "between", "clear", "clear", "clear"], keep) == [
        *["firing"] * 6, "resolved",
    ]  # fmt: skip


def test_a_resolve_threshold_stands_beside_either_limit() -> None:
    assert threshold("4 6 5 4.5 3 4.5", 6, above=5.0, resolve=4.0) == ".FFF.."
    assert threshold("4 2 3 3.5 4 3.5", 6, below=3.0, resolve=4.0) == ".FFF.."
    assert threshold("4 6 5 4.5 3 4.5", 6, above=5.0) == ".F...."


OUTCOMES = st.lists(st.sampled_from(("breach", "between", "clear", "nodata", "error", "gone", None)), max_size=40)
POLICIES = st.builds(
    Policy,
    for_seconds=st.sampled_from((0, 30, 60, 150)),
    keep_firing_seconds=st.sampled_from((0, 60, 90)),
    no_data=st.sampled_from(("nodata", "alerting", "ok", "keep")),
    missing=st.sampled_from(("prometheus", "keep", "nodata")),
    lookback_seconds=st.sampled_from((0, 120, 600)),
)


@given(OUTCOMES, POLICIES)
def test_only_a_breach_fires_and_only_a_clear_value_resolves(outcomes: list[Outcome | None], policy: Policy) -> None:
    fires: set[Outcome | None] = {"breach"}
    resolves: set[Outcome | None] = {"clear", "gone"}
    fires |= {"nodata"} if policy.no_data == "alerting" else set()
    fires |= {"gone"} if policy.missing == "prometheus" else set()  # the last value holds
    resolves |= {"nodata"} if policy.no_data == "ok" else set()
    before = INACTIVE
    for outcome, after in zip(outcomes, play(outcomes, policy)[0], strict=True):
        _check_step(outcome, before, after, policy, fires, resolves)
        before = after


def _check_step(
    outcome: Outcome | None,
    before: Condition,
    after: Condition,
    policy: Policy,
    fires: set[Outcome | None],
    resolves: set[Outcome | None],
) -> None:
    if after.has_fired and not before.has_fired:
        assert outcome in fires
        assert after.state == "firing"
    if before.has_fired and not after.has_fired:
        assert outcome in resolves
        assert after.state == "resolved"
    if after.has_fired and before.has_fired:
        assert after.active_at == before.active_at
    if after.state == "firing":
        assert after.active_at is not None
        assert after.fired_at is not None
        assert (after.fired_at - after.active_at).total_seconds() >= policy.for_seconds
    if after.clear_since is not None and after.evaluated_at is not None:
        assert (after.evaluated_at - after.clear_since).total_seconds() >= 0
    assert (after.gone_since is not None) <= (outcome in ("gone", "error", None))


def test_an_error_neither_ends_the_hold_of_a_gap_nor_what_waits_through_it() -> None:
    gaps = Policy(missing="prometheus", lookback_seconds=300)
    assert states(["breach", "error", "gone", "breach"], gaps) == ["firing", "error", "firing", "firing"]
    waiting = Policy(for_seconds=180, missing="prometheus", lookback_seconds=300)
    assert states(["breach", "error", "gone", "breach"], waiting) == ["pending", "error", "pending", "firing"]
    assert states(["breach", "nodata", "gone"], gaps) == ["firing", "nodata", "firing"]


def test_an_error_is_over_when_the_rule_is_evaluated_again_also_where_missing_data_change_nothing() -> None:
    keeps = Policy(no_data="keep", missing="keep", lookback_seconds=600)
    assert states(["clear", "error", "nodata", "gone"], keeps) == ["inactive", "error", "inactive", "inactive"]
    assert states(["breach", "error", "unheard", "nodata"], keeps) == ["firing", "error", "firing", "firing"]
    waits = Policy(for_seconds=180, no_data="keep")
    assert states(["breach", "error", "nodata", "breach"], waits) == ["pending", "error", "pending", "firing"]
