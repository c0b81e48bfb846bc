"""A rule that could never work is refused when it is loaded, with its name and what to write instead."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from barograph.alerts.active_alert import as_alert, say
from barograph.alerts.alert import Alert
from barograph.alerts.lifecycle import Condition
from barograph.alerts.rule import make_rule
from barograph.core.metric import Catalogue, Measure, Metric
from barograph.core.settings import RuleSettings
from barograph_client.errors import InvalidRule

GOOD: dict[str, Any] = {"name": "slow", "metric": "response_time.p95", "above": 5.0, "for_": "2m"}


def make(**changes: Any) -> Any:
    return make_rule(RuleSettings(**{**GOOD, **changes}), Catalogue())


@pytest.mark.parametrize(
    ("changes", "said", "hint"),
    [
        ({"metric": "respones_time.p95"}, "no such metric", "response_time.p95"),
        ({"above": None}, "no limit", "above ="),
        ({"above": 5.0, "below": 6.0}, "every value", "smaller"),
        ({"above": 5.0, "below": 5.0}, "every value", "smaller"),
        ({"above": math.nan}, "finite", "number"),
        ({"above": math.inf}, "finite", "number"),
        ({"metric": "error_rate", "above": 5.0}, "never fire", "0.05"),
        ({"metric": "satisfaction", "above": None, "below": 1.0}, "never fire", "inside"),
        ({"above": None, "below": 0.0}, "never fire", "inside"),
        ({"window": "five minutes"}, "window: not a duration", "15m"),
        ({"window": "0m"}, "window: not a duration", "15m"),
        ({"window": "999w"}, "window is too long", "366 days"),
        ({"for_": "soon"}, "for: not a duration", "15m"),
        ({"by": ("query",)}, "group", "tag.<name>"),
        ({"by": ("tag.",)}, "group", "tag.<name>"),
        ({"metric": "queries", "above": None, "below": 0.0}, "can never fire, queries is never below 0", "inside"),
        ({"metric": "queries", "above": None, "below": 5.0, "minimum": 10}, "never fire, a window with", "above 10"),
        ({"metric": "queries_per_minute", "above": None, "below": 2.0, "minimum": 10}, "never fire", "above 2,"),
        ({"metric": "queries", "above": None, "below": 1.0}, "has no data", 'kind = "absence"'),
        ({"metric": "cost", "above": None, "below": -1.0}, "never fire", "inside"),
        ({"metric": "cost", "above": -1.0}, "always fire", "inside"),
        (
            {"metric": "system.cpu", "above": None, "below": 101.0},
            "always fire, system.cpu is never above 100",
            "inside",
        ),
        ({"resolve": -1.0}, "never resolve", "inside"),
        ({"window": "0.1s"}, "never be seen", "15 s"),
        ({"by": ("model", "model")}, "twice", "one out"),
        ({"name": "slow\n"}, "a line of text", "line breaks"),
        ({"labels": {"1 x": "a"}}, "not the name of a label", "letters"),
        ({"labels": {"v": "{{ $value }}"}}, "the same for all its alerts", "annotation"),
        ({"runbook": "https://"}, "no address", "https://host"),
        ({"where": ("pipeline=support",)}, "where: not a filter", "field:op:value"),
    ],
)
def test_a_rule_that_cannot_work_says_which_and_what_to_write(changes: dict[str, Any], said: str, hint: str) -> None:
    with pytest.raises(InvalidRule) as raised:
        make(**changes)
    assert "rule slow" in raised.value.message
    assert said in raised.value.message
    assert hint in raised.value.hint


def test_above_is_strictly_greater_and_below_strictly_less() -> None:
    band = make(above=5.0, below=1.0)
    assert [band.crossed(value) for value in (0.999, 1.0, 3.0, 5.0, 5.001)] == [1.0, None, None, None, 5.0]


def test_infinities_compare_as_numbers_do() -> None:
    assert make().crossed(math.inf) == 5.0
    assert make().crossed(-math.inf) is None
    assert make(above=None, below=5.0).crossed(-math.inf) == 5.0


@pytest.mark.parametrize("text", ["0", "0s", "0m", " 0.0h "])
def test_for_may_be_zero(text: str) -> None:
    assert make(for_=text).for_seconds == 0


def test_a_users_own_percentage_may_be_above_a_hundred() -> None:
    growth = Metric(
        name="growth", title="Growth", unit="%", aggregation="mean", better="higher", sentence="Growth of the index.",
        of=Measure("metric", "value", name="growth"), user_defined=True,
    )  # fmt: skip
    rule = make_rule(RuleSettings(name="growth", metric="growth", above=150.0), Catalogue([growth]))
    assert rule.crossed(151.0) == 150.0


@pytest.mark.parametrize(
    "able",
    [
        {"metric": "metric.balance", "above": None, "below": -5.0},
        {"metric": "metric.balance", "above": None, "below": -2.0, "kind": "change", "compare": "day"},
        {"metric": "retrieval.top_score", "above": -3.0},
        {"metric": "queries", "above": None, "below": 1.0, "no_data": "alerting"},
        {"metric": "queries", "above": None, "below": 11.0, "minimum": 10},
        {"metric": "queries", "above": 0.0},
        {"runbook": "http://wiki:8080?page=slow"},
    ],
)
def test_what_can_fire_and_be_over_is_taken(able: dict[str, Any]) -> None:
    assert make(**able).name == "slow"


def test_the_condition_reads_as_a_person_would_write_it() -> None:
    assert make(by=("pipeline",)).condition == "response_time.p95 above 5 s over 5 min by pipeline"


class TestWhatItsAlertsSay:
    def told(self, **settings: object) -> Alert:
        fields = {"name": "slow", "metric": "response_time.mean", "above": 5.0, "by": ["model"], **settings}
        rule = make_rule(msgspec.convert(fields, RuleSettings), Catalogue())
        at = datetime(2026, 11, 24, 9, tzinfo=UTC)
        firing = Condition(state="firing", value=7.25, active_at=at, fired_at=at, evaluated_at=at)
        alert = as_alert(rule, {"model": "large"}, firing, "shop", at)
        assert alert is not None
        return alert

    def test_labels_and_annotations_of_the_rule_go_with_every_alert(self) -> None:
        alert = self.told(
            labels={"team": "search"},
            annotations={"detail": '{{ $labels.model }} takes {{ printf "%.1f" $value }} s'},
            runbook="https://example.org/slow",
        )
        assert alert.labels == {
            "alertname": "slow", "severity": "warning", "project": "shop", "model": "large", "team": "search",
        }  # fmt: skip
        assert alert.annotations["detail"] == "large takes 7.2 s"
        assert alert.annotations["runbook_url"] == "https://example.org/slow"
        assert alert.annotations["summary"].startswith("Response time (model large) exceeded 5 s threshold")

    def test_annotations_are_no_part_of_the_identity(self) -> None:
        one, other = self.told(annotations={"now": "{{ $value }}"}), self.told(annotations={"then": "other"})
        assert one.annotations != other.annotations
        assert one.fingerprint == other.fingerprint

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"labels": {"severity": "info"}}, "set already"),
            ({"labels": {"model": "x"}}, "set already"),
            ({"annotations": {"a": "{{ query }}"}}, "template"),
            ({"runbook": "javascript:alert(1)"}, "no address"),
        ],
    )
    def test_what_cannot_be_told_is_refused_at_the_start(self, wrong: dict[str, object], said: str) -> None:
        with pytest.raises(InvalidRule, match=said) as told:
            self.told(**wrong)
        assert "rule slow" in str(told.value)
        assert told.value.hint


def test_the_end_of_an_absence_says_that_there_are_events_again() -> None:
    silence = make_rule(RuleSettings(name="s", kind="absence", metric="feedback", window="5m"), Catalogue())
    over = Condition(state="resolved", value=3.0)
    assert say(silence, {}, over, datetime(2026, 11, 28, tzinfo=UTC)) == (
        "RESOLVED: Events of feedback are there again (current: 3)"
    )
