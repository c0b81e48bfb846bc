"""A house without a store: real analytics, alerts and experiments on a Reader that counts event dictionaries."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import structs
from tests.experiments.units_reader import UnitsReader
from tests.support.dictionary_reader import Record

from barograph.alerts.alert_manager import AlertManager
from barograph.alerts.default_rules import default_rules
from barograph.alerts.rule_set import RuleSet
from barograph.analytics.analytics_engine import AnalyticsEngine
from barograph.analytics.status import Facts
from barograph.control.alert_states import AlertStateRepository
from barograph.control.database import ControlPlane
from barograph.control.experiments import ExperimentRepository
from barograph.core.event import Alert, Exposure
from barograph.core.metric import Catalogue
from barograph.core.query import EventPage, EventQuery, MetricAnswer, MetricQuery
from barograph.core.settings import BudgetSettings, RuleSettings, Settings
from barograph.core.shared_questions import SharedQuery, SharedQuestions
from barograph.core.units import PopulationAnswer, PopulationQuery, UnitAnswer, UnitQuery, UnitValues
from barograph.dashboard.material import Material
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.design import Experiment, Guardrail, equal_variants
from barograph_client.clock import ManualClock

NOW = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)
SLOW = RuleSettings(name="slow responses", metric="response_time.p95", above=5.0, window="5m", severity="critical")
ACCOUNT = {"received": 1000, "stored": 990, "rejected": 7, "duplicate": 3}
VECTORS = Experiment(
    key="vector-db",
    title="Vector DB comparison",
    hypothesis="The new index finds better passages.",
    variants=equal_variants("old", "new"),
    primary_metric="satisfaction",
    secondary_metrics=("error_rate",),
    guardrails=(Guardrail(metric="response_time.mean", margin=0.1),),
    planned_days=7,
)
QUESTIONS = (
    "How do I set a retention policy?",
    "How do I rotate an API key?",
    "Why is my webhook returning 410?",
    "What is the refund window for annual plans?",
    "Does SSO work with Okta groups?",
    "アラートを設定するにはどうすればよいですか",
)


class CountingReader(UnitsReader):
    """Counts the questions that reach it, of every kind."""

    questions = 0

    def query(self, question: MetricQuery) -> MetricAnswer:
        self.questions += 1
        return super().query(question)

    def events(self, question: EventQuery) -> EventPage:
        self.questions += 1
        return super().events(question)

    def units(self, question: UnitQuery) -> UnitAnswer:
        self.questions += 1
        return super().units(question)

    def unit_values(self, question: UnitQuery, most: int) -> tuple[UnitValues, ...]:
        self.questions += 1
        return super().unit_values(question, most)

    def population(self, question: PopulationQuery) -> PopulationAnswer:
        self.questions += 1
        return super().population(question)

    def shared_questions(self, question: SharedQuery) -> SharedQuestions:
        self.questions += 1
        return super().shared_questions(question)


class House:
    """Components on a list of events and a clock that stands still at ``NOW``."""

    def __init__(self, directory: Path, events: Iterable[Record] = (), **settings: Any) -> None:
        self.clock = ManualClock(NOW)
        self.events = list(events)
        self.catalogue = Catalogue()
        self.reader = CountingReader(self.events, self.clock.now, self.catalogue)
        self.reader.complete_to = NOW - timedelta(seconds=2)
        self.plane = ControlPlane(directory / "control.db", self.clock)
        self.settings = Settings(**{"rules": (SLOW,), "default_rules": False, **settings})
        self.alerts = AlertManager(
            self.reader,
            RuleSet(self.catalogue, self.settings.rules, default=default_rules(self.settings)),
            AlertStateRepository(self.plane),
            self._transition,
            self.clock,
        )
        self.experiments = ABTestFramework(
            self.reader, ExperimentRepository(self.plane), self._exposure, self.clock, self.catalogue
        )

    def _transition(self, alert: Alert) -> None:
        self.events.append({"kind": "alert", **structs.asdict(alert)})

    def _exposure(self, exposure: Exposure) -> None:
        self.events.append({"kind": "exposure", **structs.asdict(exposure)})

    def material(self, **beside: Any) -> Material:
        analytics = AnalyticsEngine(self.reader, self.catalogue, self.clock, self.settings)
        known: dict[str, Any] = {"facts": Facts(low_disk=False, free_bytes=52_000_000_000), "account": ACCOUNT}
        return Material(
            analytics=analytics,
            reader=self.reader,
            alerts=self.alerts,
            experiments=self.experiments,
            catalogue=self.catalogue,
            settings=self.settings,
            clock=self.clock,
            **{**known, **beside},
        )

    def run_experiment(self, days: float = 2.3, experiment: Experiment = VECTORS) -> None:
        """Start it so many days ago and expose the users of the queries since."""
        now = self.clock.now()
        self.clock.step(-days * 86400)
        self.experiments.create(experiment)
        self.experiments.start(experiment.key)
        start = self.clock.now()
        for event in sorted((e for e in list(self.events) if e["kind"] == "query"), key=lambda e: str(e["time"])):
            moment = event["time"]
            assert isinstance(moment, datetime)
            if moment >= start:
                self.clock.step((moment - self.clock.now()).total_seconds())
                self.experiments.expose(experiment.key, str(event["user_id"]))
        self.clock.step((now - self.clock.now()).total_seconds())

    def close(self) -> None:
        self.alerts.stop()
        self.plane.close()


def busy_week(days: float = 9, a_day: int = 500, seed: int = 7) -> list[Record]:
    """Days of traffic with a rhythm, a slow morning after a deploy, some errors, ratings, documents and a sampler."""
    draw = random.Random(seed)
    start = NOW - timedelta(days=days)
    events: list[Record] = []
    count = round(days * a_day)
    for i in range(count):
        time = start + timedelta(days=days) * ((i + draw.random()) / count)
        hour = time.hour + time.minute / 60
        if draw.random() > 0.6 + 0.4 * math.sin((hour - 8) / 24 * 2 * math.pi):
            continue
        events += _query(draw, i, time)
    for i in range(round(24 * days)):
        time = start + timedelta(hours=i, minutes=1)
        events.append(
            {
                "kind": "system", "event_id": f"system-{i}", "time": time, "host": "rag-1",
                "cpu_percent": round(30 + 20 * math.sin(i / 24 * 2 * math.pi) + draw.random() * 8, 1),
                "memory_percent": round(50 + i * 0.04, 2), "disk_percent": round(60 + i * 0.05, 2),
                "process_memory": 380_000_000 + i * 100_000, "disk_free": 52_000_000_000,
            }
        )  # fmt: skip
    events.append({"kind": "annotation", "event_id": "a1", "time": NOW - timedelta(days=2, hours=5),
                   "title": "v2.4.1", "category": "deploy"})  # fmt: skip
    return events


def _query(draw: random.Random, i: int, time: datetime) -> list[Record]:
    slow = NOW - timedelta(days=2, hours=5) <= time < NOW - timedelta(days=2)
    seconds = draw.lognormvariate(0.1, 0.45) * (3 if slow else 1)
    roll = draw.random()
    status = "error" if roll < (0.05 if slow else 0.006) else "no_answer" if roll < 0.07 else "ok"
    model = "large-2" if draw.random() < 0.4 else "small-1"
    documents = [
        {"id": f"doc-{draw.randrange(9)}", "source": "handbook.md", "score": round(0.95 - 0.1 * rank, 2), "rank": rank,
         "cited": rank == 1 and status == "ok"}
        for rank in range(1, 1 + (0 if status == "no_answer" else draw.randrange(2, 5)))
    ]  # fmt: skip
    query: Record = {
        "kind": "query", "event_id": f"query-{i}", "trace_id": f"trace-{i}", "time": time,
        "user_id": f"user-{min(int(draw.expovariate(0.006)), 400)}", "session_id": f"session-{i // 3}",
        "query": QUESTIONS[i % len(QUESTIONS)], "pipeline": "support-bot" if i % 3 else "sales-qa", "model": model,
        "environment": "production", "status": status, "response_time": round(seconds, 3),
        "retrieval_time": round(seconds * 0.25, 3), "generation_time": round(seconds * 0.7, 3),
        "input_tokens": draw.randrange(400, 4000), "output_tokens": draw.randrange(30, 500),
        "cost": round(draw.uniform(0.01, 0.06), 5) if model == "large-2" else round(draw.uniform(0.001, 0.009), 5),
        "documents": documents, "document_count": len(documents),
    }  # fmt: skip
    if status == "error":
        query |= {"error_type": "TimeoutError", "error_stage": "generation", "error_message": "no answer in 30 s"}
    found: list[Record] = [query]
    if draw.random() < 0.3:
        rating = draw.choices((1, 2, 3, 4, 5), (1, 1, 2, 5, 6))[0]
        found.append(
            {
                "kind": "feedback", "event_id": f"feedback-{i}", "trace_id": f"trace-{i}", "rating": float(rating),
                "time": min(time + timedelta(minutes=2), NOW), "user_id": query["user_id"],
                "pipeline": query["pipeline"], "model": model,
                "comment": "did not answer what I asked" if rating <= 2 else "",
            }
        )  # fmt: skip
    if i % 5 == 0:
        found.append(
            {
                "kind": "score", "event_id": f"score-{i}", "trace_id": f"trace-{i}", "name": "faithfulness",
                "value": round(min(1.0, draw.gauss(0.86, 0.08)), 3), "time": time, "judge": "judge-1",
                "pipeline": query["pipeline"], "model": model,
            }
        )  # fmt: skip
    return found


BUDGET = BudgetSettings(daily=40.0)
