"""Plays outcomes, values of a threshold rule, and series of a Prometheus rule, tick by tick, and draws the timeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.series_notation import values_of
from tests.support.series_watch import run as run_series

from barograph.alerts.evaluator import look
from barograph.alerts.lifecycle import INACTIVE, Condition, Observation, Outcome, Policy, Transition, step
from barograph.alerts.rule import ThresholdRule, make_rule
from barograph.core.metric import Catalogue
from barograph.core.query import MetricRow
from barograph.core.settings import RuleSettings

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
_LETTER = {"pending": "P", "firing": "F"}


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def play(
    outcomes: Sequence[Outcome | None], policy: Policy, every: float = 60.0
) -> tuple[list[Condition], list[Transition]]:
    """The conditions after each outcome (None is a tick that was skipped), and the transitions."""
    condition, conditions, transitions = INACTIVE, [], []
    for i, outcome in enumerate(outcomes):
        if outcome is not None:
            seen = Observation(outcome=outcome, value=9.0, threshold=5.0)
            condition, transition = step(condition, seen, at(i * every), policy)
            transitions += [transition] if transition else []
        conditions.append(condition)
    return conditions, transitions


def states(outcomes: Sequence[Outcome | None], policy: Policy, every: float = 60.0) -> list[str]:
    return [condition.state for condition in play(outcomes, policy, every)[0]]


def as_prometheus(**settings: Any) -> ThresholdRule:
    """A threshold rule of ours on the number ``m`` that takes missing data as Prometheus does."""
    return make_rule(RuleSettings(name="A", metric="metric.m", missing="prometheus", **settings), Catalogue())


def threshold(values: str, ticks: int, every: float = 60.0, **settings: Any) -> str:
    """The timeline of a threshold rule of ours; values in promtool's notation, ``_`` where nothing was measured."""
    rule, condition, letters = as_prometheus(**settings), INACTIVE, ""
    measured = dict(values_of(values))
    last = max(measured)
    for i in range(ticks):
        row = MetricRow(start=at(i * every), end=at(i * every), value=measured.get(min(i, last)), n=1)
        condition, _ = step(condition, look(rule, row), at(i * every), rule.policy)
        letters += _LETTER.get(condition.state, ".")
    return letters


def series(values: str | Mapping[str, str], ticks: int, expr: str = "m > 5", every: int = 60, **rule: Any) -> Any:
    """The timeline of alert A on that expression by ``kernel``; of several series a mapping by their label ``i``."""
    families = {"a": values} if isinstance(values, str) else values
    case = {
        "rules": {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": expr, **rule}]}]},
        "series": [{"series": f'm{{i="{i}"}}', "values": line} for i, line in families.items()],
        "interval_s": every,
        "ticks": ticks,
    }
    timelines, errors, refusals = run_series(case)
    assert (errors, refusals) == ([], [])
    lines = {json.loads(labels).get("i", ""): line for labels, line in timelines.items()}
    return lines if not isinstance(values, str) else next(iter(lines.values()), "." * ticks)
