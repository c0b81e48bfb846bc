"""The rule that is always there: what a guardrail has stopped is an alert as any other, for as long as it is so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.alerts.test_rule_set import Kept, stand

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.backtest import backtest
from barograph.alerts.incidents import incidents_of
from barograph.alerts.prometheus.export import export
from barograph.alerts.rule_set import RuleSet
from barograph.alerts.rules.guardrail import GUARDRAIL, guardrail_rule
from barograph.core.query import Window
from barograph.core.settings import RuleSettings
from barograph_client.errors import InvalidQuery, InvalidRule

WHY = "error_rate of reranked is at least 12 % worse than that of control, beyond the margin of 5 %."


class Lab(Kept):
    """Rules beside which experiments are stopped."""

    stopped: dict[str, str]

    def rules(self, *own: RuleSettings) -> RuleSet:
        return self.set(*own, default=(), built_in=(guardrail_rule(lambda at: dict(self.stopped)),))

    def watched(self) -> AlertManager:
        return self.watch(self.rules())


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    made.stopped = {}
    yield made
    made.close()


def test_a_stopped_experiment_fires_at_the_next_look_and_is_over_when_it_is_settled(lab: Lab) -> None:
    manager = lab.watched()
    lab.tick(manager)
    assert (manager.active(), lab.recorded) == ([], [])
    assert [(one.rule, one.state, one.source) for one in manager.rules()] == [(GUARDRAIL, "inactive", "default")]
    lab.stopped["rerank"] = WHY
    lab.tick(manager)
    (alert,) = manager.active()
    assert alert.sentence == f"ALERT: Guardrail (experiment rerank) breached, the experiment was stopped: {WHY}"
    assert [one.labels for one in manager.alerts()] == [
        {"alertname": GUARDRAIL, "experiment": "rerank", "severity": "warning", "project": "default"}
    ]
    lab.stopped.clear()
    lab.tick(manager)
    assert manager.active() == []
    assert lab.told() == [("inactive", "firing"), ("firing", "resolved")]
    over = "is settled (the experiment was archived, or stopped a week ago)"
    assert lab.recorded[-1].message == f"RESOLVED: Guardrail (experiment rerank) {over}"
    items = [{"time": one.time, "rule": one.rule, "state": one.state, "labels": one.labels} for one in lab.recorded]
    (incident,) = incidents_of(items, Window(lab.recorded[0].time, lab.clock.now()), lab.clock.now())
    assert (incident.rule, incident.seconds, incident.removed) == (GUARDRAIL, 15, False)


def test_over_a_restart_it_is_the_same_alert_and_one_that_was_not_raised_yet_is_raised(lab: Lab) -> None:
    lab.stopped["rerank"] = WHY
    manager = lab.watched()
    lab.tick(manager)
    fired = manager.alerts()[0].starts_at
    manager.stop()
    lab.stopped["chunks"] = WHY
    again = lab.watched()
    lab.tick(again)
    begun = {one.labels["experiment"]: one.starts_at for one in again.alerts()}
    assert begun == {"rerank": fired, "chunks": fired + timedelta(seconds=15)}
    assert [one.labels["experiment"] for one in lab.recorded] == ["rerank", "chunks"]


def test_it_can_be_switched_off_by_its_name_and_comes_back(lab: Lab) -> None:
    rules = lab.rules()
    rules.keep(RuleSettings(name=GUARDRAIL, enabled=False), actor="ann")
    assert (stand(rules), rules.off) == ([], (GUARDRAIL,))
    rules.keep(RuleSettings(name=GUARDRAIL, metric="queries", above=5.0), actor="ann")
    assert stand(rules) == [(GUARDRAIL, "kept")]
    rules.remove(GUARDRAIL, actor="ann")
    assert stand(rules) == [(GUARDRAIL, "default")]
    assert rules.rules[0].condition == "an experiment was stopped by a guardrail"


def test_it_cannot_be_tried_on_the_past_and_says_so(lab: Lab) -> None:
    (rule,) = lab.rules().rules
    window = Window(lab.clock.now() - timedelta(days=1), lab.clock.now())
    with pytest.raises((InvalidRule, InvalidQuery), match="cannot be tried on the past"):
        backtest(rule, lab.reader, "default", window)


def test_it_is_exported_as_what_the_server_says_of_it(lab: Lab) -> None:
    yaml = pytest.importorskip("yaml")
    (exported,) = yaml.safe_load(export(lab.rules().rules))["groups"][0]["rules"]
    assert exported["expr"].startswith('barograph_alert_rule_broken{rule="guardrail breached"')


def test_of_more_than_can_be_watched_the_first_are_and_it_is_said(lab: Lab) -> None:
    lab.stopped.update({f"e{n}": WHY for n in range(501)})
    manager = lab.watched()
    lab.tick(manager)
    names = [one.labels["alertname"] for one in manager.alerts()]
    assert (names.count(GUARDRAIL), names.count("TooManyGroups")) == (500, 1)
