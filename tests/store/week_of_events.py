"""A week of events of several kinds, metrics of every aggregation, and windows to ask about."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
from tests.support.store_site import HOSTILE, at, queries

from barograph.core.event import Feedback, Metric, Score, System
from barograph.core.metric import Catalogue, Measure
from barograph.core.metric import Metric as CatalogueMetric
from barograph.core.query import Window

WEEK = Window(at("2026-10-22 00:00"), at("2026-10-29 00:00"))  # Berlin goes back to winter time on the 25th
UNALIGNED = Window(at("2026-10-22 03:17:29.123456"), at("2026-10-28 21:44:01.000001"))


def own_metrics() -> Catalogue:
    """The built-in metrics and some of each aggregation that they do not use."""

    def own(name: str, aggregation: Any, of: Measure) -> CatalogueMetric:
        return CatalogueMetric(
            name=name,
            title=name,
            unit="1",
            aggregation=aggregation,
            better="neutral",
            sentence=name,
            of=of,
            user_defined=True,
        )

    return Catalogue(
        [
            own("longest", "max", Measure("query", "response_time")),
            own("shortest", "min", Measure("query", "response_time")),
            own("latest_queue", "last", Measure("metric", "value", name="queue")),
            own("queue_sum", "sum", Measure("metric", "value", name="queue")),
            own("tokens_out", "sum", Measure("query", "output_tokens")),
            msgspec.structs.replace(
                own("cost_a_token", "ratio", Measure("query", "cost")), per=Measure("query", "output_tokens")
            ),
        ]
    )


def week_of_events(chance: random.Random) -> list[Any]:
    """Queries and other kinds over the week and a little around it."""
    start, end = WEEK.start - timedelta(hours=5), WEEK.end + timedelta(hours=5)
    events: list[Any] = list(queries(chance, 900, start, end))
    seconds = (end - start).total_seconds()

    def moment() -> datetime:
        return start + timedelta(seconds=round(chance.random() * seconds, 6))

    for number in range(150):
        events.append(
            System(
                event_id=f"system-{number}",
                time=moment(),
                host="here",
                cpu_percent=round(chance.random() * 100, 3),
                disk_percent=float(number % 90),
                environment="production",
            )
        )
        events.append(
            Metric(
                event_id=f"metric-{number}",
                time=moment(),
                name=chance.choice(("queue", HOSTILE)),
                value=round(chance.gauss(0, 100), 4),
                pipeline="chat",
            )
        )
        events.append(
            Score(
                event_id=f"score-{number}",
                time=moment(),
                name=chance.choice(("faithfulness", "größe")),
                value=round(chance.random(), 4),
                trace_id=f"trace-{number}",
            )
        )
        events.append(
            Feedback(
                event_id=f"feedback-{number}",
                time=moment(),
                trace_id=f"trace-{number * 3}",
                rating=float(chance.randrange(1, 6)) if chance.random() < 0.8 else None,
            )
        )
    chance.shuffle(events)
    return events
