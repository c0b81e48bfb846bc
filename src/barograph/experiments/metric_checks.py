"""Whether an experiment's metrics can be compared by unit, and each has one part to play. Asked by ``design``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from barograph.core.metric import Catalogue, Metric
from barograph.experiments.fields import about
from barograph_client.errors import InvalidExperiment, UnknownMetric

if TYPE_CHECKING:
    from barograph.experiments.design import Experiment

COMPARABLE = ("count", "sum", "mean", "ratio")  # what has a numerator and a denominator in each unit
OF_UNITS = ("query", "feedback", "score")  # kinds of events that say whose they are


def check_metrics(experiment: Experiment, catalogue: Catalogue) -> None:
    """Raises InvalidExperiment, with a hint, for metrics of which no verdict could come."""
    if not experiment.primary_metric:
        raise InvalidExperiment(
            "the experiment has no primary_metric", hint="What the verdict goes by: `barograph metrics` lists all.",
            field="primary_metric",
        )  # fmt: skip
    named = [("primary_metric", experiment.primary_metric)]
    named += [("secondary_metrics", name) for name in experiment.secondary_metrics]
    named += [("guardrails", one.metric) for one in experiment.guardrails]
    for field, name in named:
        with about(field):
            comparable(name, catalogue, experiment.unit_kind)
    names = [name for _, name in named]
    primary = catalogue.get(experiment.primary_metric)
    if primary.better == "neutral" and experiment.better is None:
        raise InvalidExperiment(
            f"nobody has said which way {primary.name} is better", hint="Set better='higher' or better='lower'.",
            field="better",
        )  # fmt: skip
    for guardrail in experiment.guardrails:
        metric = catalogue.get(guardrail.metric)
        if metric.better == "neutral":
            raise InvalidExperiment(
                f"{metric.name} cannot be a guardrail: neither way is worse", hint="Choose one with a direction.",
                field="guardrails",
            )  # fmt: skip
        if not 0 < guardrail.margin < math.inf:
            raise InvalidExperiment(f"the margin of guardrail {metric.name} must be above 0", value=guardrail.margin,
                                    field="guardrails")  # fmt: skip
    stray = next((name for name in experiment.caps if name not in names), None)
    if stray is not None:
        raise InvalidExperiment("a cap is for a metric that the experiment does not have", value=stray, field="caps")
    twice = _first_repeated(names)
    if twice is not None:
        field = next(field for field, name in reversed(named) if name == twice)
        raise InvalidExperiment("a metric is named twice", hint="Each has one part to play.", value=twice, field=field)


def comparable(name: str, catalogue: Catalogue, unit_kind: str) -> Metric:
    """The metric, which has a numerator and a denominator in each unit. Raises InvalidExperiment where it has not.

    Events of other kinds than queries, feedback and scores say whose they are by a tag, if at all, and users and
    sessions by a field.
    """
    try:
        metric = catalogue.get(name)
    except UnknownMetric as error:
        raise InvalidExperiment(error.message, hint=error.hint, value=name) from None
    if metric.aggregation not in COMPARABLE:
        raise InvalidExperiment(
            f"{name} is a {metric.aggregation}, which cannot be compared by unit",
            hint=f"Choose a {', '.join(COMPARABLE)}: response_time.mean instead of response_time.p95, for one.",
        )
    stray = next((one.kind for one in (metric.of, metric.per) if one and one.kind not in OF_UNITS), "")
    if stray and unit_kind in ("user", "session"):
        raise InvalidExperiment(
            f"{metric.name} is measured on {stray} events, which belong to no {unit_kind}",
            hint="Record it as a score, or on the query.",
        )
    return metric


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
