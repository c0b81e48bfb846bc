"""Type-checked, never run: how a user's program uses Barograph, with the types that it may rely on."""

from __future__ import annotations

from datetime import datetime

import barograph
from barograph.alerts.rules.function import Evaluation, Group
from barograph.core.query import MetricAnswer, Window
from barograph.core.settings import RuleSettings
from barograph.experiments.design import Experiment, equal_variants
from barograph.testing import temporary_dashboard


def record(dashboard: barograph.DashboardInterface) -> str:
    dashboard.record("queue_depth", 3, {"host": "a"})
    dashboard.record_score({"name": "faithfulness", "value": 0.9, "trace_id": "t"})
    return dashboard.record_query_execution({"query": "Why?", "response_time": 1.2})


def ask(dashboard: barograph.DashboardInterface, window: Window) -> float | None:
    answer: MetricAnswer = dashboard.query("cost", window=window, by=["model"], where=["status:eq:ok"], every="day")
    for row in answer.rows:
        value: float | None = row.value
        start: datetime = row.start
        print(value, start, row.group.get("model"))
    return dashboard.query("response_time.p95", last="1h", compare="previous").value


def failing(at: Evaluation) -> dict[Group, float | None]:
    """More than a tenth of the queries of a model fail."""
    return at.groups("error_rate", last="1h")


def watch(dashboard: barograph.DashboardInterface) -> None:
    dashboard.add_rule(RuleSettings(name="failing", kind="function", above=0.1, by=("model",)), failing)
    dashboard.add_rule(RuleSettings(name="quiet", kind="function"), lambda at: at.value("queries") == 0)


def decide(dashboard: barograph.DashboardInterface) -> str:
    framework: barograph.ABTestFramework = dashboard.experiments
    framework.create(Experiment(key="k", variants=equal_variants("A", "B"), primary_metric="accuracy"))
    arm: str | None = framework.expose("k", "user-1")
    print(arm)
    return framework.compare("k").verdict.sentence


def care(dashboard: barograph.DashboardInterface) -> bool:
    state: str = dashboard.status().state
    sentences: list[str] = [alert.sentence for alert in dashboard.check_alerts()]
    text: str = dashboard.render("overview") + dashboard.report(24)
    print(state, sentences, text, dashboard.account()["received"])
    return dashboard.store.verify().ok


def in_tests() -> None:
    with temporary_dashboard(journal={"durability": "interval"}) as dashboard:
        try:
            record(dashboard)
        except barograph.errors.InvalidEvent as error:
            print(error.field, error.reason, error.hint)


def send(client: barograph.Client) -> int:
    with client.query(query="Why?", user_id="u") as execution:
        with execution.stage("retrieval"):
            execution.documents = [{"id": "d"}]
        execution.answer = "Because."
    event_id: str = client.record_feedback({"trace_id": "t", "rating": 4})
    client.annotate("a new prompt")
    print(event_id, client.flush(1.0), client.counts.stored)
    return sum(client.counts.dropped.values())


def configure(client: barograph.Client) -> int:
    decision = client.experiments.expose("k", user="u", attributes={"plan": "paid"}, default={"top_k": 5})
    shown = client.experiments.interleave("r", {"a": ["x"], "b": ["y"]}, user="u", query_id="q", method="balanced")
    passages: tuple[str, ...] = shown.items
    preference: float = shown.cited(passages)["b"]
    print(preference)
    arm: str | None = client.experiments.assign("k", tenant="t").arm
    settings: dict[str, int] = decision.payload
    print(arm, decision.reason, settings["top_k"])
    limit: int = client.experiments.assign("limit", user="u", default=5).payload
    return limit


def another_project(dashboard: barograph.DashboardInterface) -> str:
    other: barograph.DashboardInterface = dashboard.for_project("shop")
    return other.record_query_execution({"query": "How much?"})
