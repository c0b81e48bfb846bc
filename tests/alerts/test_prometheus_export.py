"""Rules of ours as a rule file: Prometheus loads it, and its alerts are those that ours would be."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.support.promtool import PROMTOOL, differences
from tests.support.series_rules import read_groups
from tests.support.series_watch import run

from barograph.alerts.default_rules import default_rules
from barograph.alerts.lifecycle import AT_ONCE, Condition, Observation, Outcome, Policy, step
from barograph.alerts.prometheus.export import export, expression
from barograph.alerts.prometheus.exposition import BROKEN, VALUE, Series, rule_series
from barograph.alerts.prometheus.names import label_names
from barograph.alerts.prometheus.text import write
from barograph.alerts.rule import ThresholdRule, make_rule
from barograph.core.metric import Catalogue
from barograph.core.settings import RuleSettings, Settings

CATALOGUE = Catalogue()
AT = datetime(2026, 11, 28, tzinfo=UTC)
IT = 'barograph_alert_rule_value{rule="it"}'


def rule(metric: str = "response_time.p95", above: float | None = 5.0, **settings: Any) -> ThresholdRule:
    return make_rule(RuleSettings(name="it", metric=metric, above=above, **settings), CATALOGUE)


KINDS: dict[str, tuple[ThresholdRule, str]] = {
    "threshold": (rule(by=("pipeline",), where=("variant.ranker:eq:new",), minimum=20), f"{IT} > 5"),
    "band": (rule("metric.load", 9.0, below=1.0), f"({IT} > 9) or ({IT} < 1)"),
    "resolve": (
        rule(resolve=4.0, labels={"team": "search"}),
        f"({IT} > 5) or (({IT} > 4) and ignoring (alertname, alertstate, severity, team) "
        'ALERTS{alertname="it",alertstate="firing"})',
    ),
    "resolve below": (
        rule("satisfaction", None, below=3.0, resolve=3.5),
        f"({IT} < 3) or (({IT} < 3.5) and ignoring (alertname, alertstate, severity) "
        'ALERTS{alertname="it",alertstate="firing"})',
    ),
    "no data": (rule(no_data="alerting"), f"({IT} > 5) or absent({IT})"),
    "ratio": (rule("cost", 0.5, kind="ratio", per="sessions"), f"{IT} > 0.5"),
    "change": (rule("queries", 0.5, kind="change", compare="week"), f"{IT} > 0.5"),
    "absence": (rule("queries", None, kind="absence"), f"{IT} < 1"),
    "burn rate": (rule("error_rate", 14.4, kind="burn_rate", objective=0.99, window="1h"), f"{IT} > 14.4"),
    "budget": (rule("cost", 100.0, kind="budget", period="day", forecast=True), f"{IT} > 100"),
    "anomaly": (rule(above=None, kind="anomaly"), 'barograph_alert_rule_broken{rule="it"} == 1'),
    "expression": (
        make_rule(
            RuleSettings(
                name="it",
                kind="expression",
                by=("model",),
                expression='max_over_time(error_rate{model="a"}[5m]) > 0.1 and on () response_time_p95 offset 1m > 5',
            ),
            CATALOGUE,
        ),
        '(max_over_time(barograph_metric_error_rate{rule="it",model="a"}[5m]) > 0.1) and on () '
        '(barograph_metric_response_time_p95{rule="it"} offset 1m > 5)',
    ),
    "function": (
        make_rule(RuleSettings(name="it", kind="function", metric=""), CATALOGUE, function=lambda at: 1.0),
        f"{IT} > 0",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_of_each_kind_asks_for_what_barograph_measured(kind: str) -> None:
    made, text = KINDS[kind]
    assert write(expression(made)) == text


def test_what_is_not_the_same_there_is_told_in_a_comment() -> None:
    text = export([rule(no_data="alerting", by=("model",))])
    assert "# it: a group without data is no alert in Prometheus" in text
    assert "# Made by Barograph." in text


def test_an_alert_that_resolves_elsewhere_is_that_of_prometheus_tick_by_tick(tmp_path: Path) -> None:
    """The values wander over the limit and the resolve threshold; ours is the live state machine."""
    values = [3, 4.5, 5.5, 4.5, 4.2, 3.9, 4.5, 6, 6, 4.1, 4, 5.1, 5, 2, 2, 5.01, 4.99, 4.99, 3, 3]
    made = make_rule(
        RuleSettings(name="h_it", metric="response_time.p95", above=5.0, resolve=4.0, for_="1m", labels={"team": "a"}),
        CATALOGUE,
    )
    condition, line = Condition(), ""
    for tick, value in enumerate(values):
        limit = made.crossed(value)
        outcome: Outcome = "breach" if limit is not None else "between" if made.is_between(value) else "clear"
        seen = Observation(outcome=outcome, value=value)
        condition, _ = step(condition, seen, AT + timedelta(minutes=tick), made.policy)
        line += {"firing": "F", "pending": "P"}.get(condition.state, ".")
    assert {"P", "F"} < set(line)
    yaml = pytest.importorskip("yaml")
    series = f'{VALUE}{{rule="h_it",project="default",instance="a:4318",job="barograph"}}'
    case = {
        "rules": yaml.safe_load(export([made])),
        "series": [{"series": series, "values": " ".join(map(str, values))}],
        "interval_s": 60,
        "ticks": len(values),
    }
    case["rules"]["groups"][0]["rules"][0].pop("annotations")
    timelines, errors, refusals = run(case)
    assert (errors, refusals, list(timelines.values())) == ([], [], [line])
    if PROMTOOL is not None:
        failed, errors, output = differences({"h": case}, {"h": timelines}, tmp_path)
        assert (failed, errors) == (set(), []), output[:5000]


def test_labels_and_annotations_go_along_filled_with_what_prometheus_does_not_know() -> None:
    yaml = pytest.importorskip("yaml")
    made = rule(
        by=("model",), severity="critical", labels={"team": "search", "rule": "mine"},
        annotations={
            "what": '{{ $labels.alertname | toUpper }} of {{ $labels.model }}: {{ printf "%.1f" $value }}',
            "who-else": '{{ printf "%s!" $labels.team }}',
        },
        runbook="https://example.org/slow",
    )  # fmt: skip
    (exported,) = yaml.safe_load(export([made]))["groups"][0]["rules"]
    assert exported["labels"] == {"severity": "critical", "team": "search", "rule_": "mine"}
    annotations = exported["annotations"]
    assert annotations.pop("summary").startswith("Response time p95: ")
    assert annotations == {
        "what": '{{ "it" | toUpper }} of {{ $labels.model }}: {{ printf "%.1f" $value }}',
        "who_else": '{{ printf "%s!" "search" }}',
        "runbook_url": "https://example.org/slow",
    }


def rules_of_all_kinds() -> list[ThresholdRule]:
    """The default rules, one of each kind, and one of each metric with all that a rule may say."""
    rules = [make_rule(one, CATALOGUE) for one in default_rules(Settings())]
    rules += [replace(made, name=kind) for kind, (made, _) in KINDS.items()]
    for metric in CATALOGUE:
        limits: dict[str, Any] = {"above": 0.5} if metric.unit != "rating" else {"above": None, "below": 3.0}
        rules.append(
            make_rule(
                RuleSettings(
                    name=f'{metric.name} "é" {{{{x}}}}', metric=metric.name, by=("model", "tag.team-a"), minimum=3,
                    for_="90s", keep_firing_for="1h", message="{{ off }}", labels={"team": "é \"x\""},
                    annotations={"a b": "{{ $labels.alertname }} {{ $value | humanize }}"},
                    where=("pipeline:match:^a+$", "status:has:o.k", "user_id:exists"), **limits,
                ),
                CATALOGUE,
            )
        )  # fmt: skip
    return rules


def test_the_file_is_read_back_here() -> None:
    yaml = pytest.importorskip("yaml")
    rules = rules_of_all_kinds()
    document = yaml.safe_load(export(rules))
    groups, refused = read_groups(document)
    assert [one.reason for one in refused if "template" not in one.reason] == []
    assert len(document["groups"][0]["rules"]) == len(rules)
    assert {write(one.asks) for one in groups[0].rules} <= {one["expr"] for one in document["groups"][0]["rules"]}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
def test_the_file_is_loaded_by_prometheus(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(export(rules_of_all_kinds()), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", "rules.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "SUCCESS" in done.stdout, done.stdout + done.stderr


def served(*outcomes: Observation, policy: Policy = AT_ONCE, after: float = 0.0) -> float | None:
    """The value of the series after those observations, a minute apart, so many seconds later."""
    condition = Condition()
    for tick, seen in enumerate(outcomes):
        condition, _ = step(condition, seen, AT + timedelta(minutes=tick), policy)
    now = AT + timedelta(minutes=len(outcomes) - 1, seconds=after)
    series = list(rule_series([(rule(), {}, condition)], "default", now))
    return series[0].value if series else None


BREACH, CLEAR = Observation(outcome="breach", value=9.0), Observation(outcome="clear", value=1.0)
NOTHING, ERROR, GONE = (Observation(outcome=outcome) for outcome in ("nodata", "error", "gone"))


@pytest.mark.parametrize(
    ("outcomes", "value"),
    [
        ((CLEAR,), 1.0),
        ((BREACH,), 9.0),
        ((BREACH, NOTHING), 9.0),  # it goes on
        ((BREACH, ERROR), 9.0),
        ((BREACH, GONE), 9.0),
        ((BREACH, CLEAR), 1.0),
        ((CLEAR, NOTHING), None),
        ((CLEAR, ERROR), None),
        ((NOTHING,), None),
        ((BREACH, *[GONE] * 62), None),  # it is resolved as gone
    ],
)
def test_a_series_is_there_as_long_as_its_alert_stands_by_it(outcomes: tuple[Observation, ...], value: object) -> None:
    assert served(*outcomes) == value


def test_what_waits_for_an_evaluation_that_fails_is_there_and_what_nobody_looks_at_is_not() -> None:
    patient = Policy(for_seconds=600)
    assert served(BREACH, ERROR, policy=patient) == 9.0
    assert served(BREACH, NOTHING, policy=patient) is None
    assert served(BREACH, after=299) == 9.0
    assert served(BREACH, after=301) is None


def test_series_have_the_labels_of_their_group_each_once() -> None:
    made = rule(by=("model", "tag.team-a", "tag.team_a"), kind="anomaly", above=None)
    broken, _ = step(Condition(), Observation(outcome="breach", value=9.0), AT)
    group = {"model": "small", "tag.team-a": "x", "tag.team_a": "y"}
    labels = {"rule": "it", "project": "default", "model": "small", "tag_team_a": "x", "tag_team_a_": "y"}
    assert list(rule_series([(made, group, broken)], "default", AT)) == [Series(BROKEN, labels, 1.0)]
    assert label_names(["rule", "1st"]) == {"rule": "rule_", "1st": "_1st"}
