"""The part of a desk that is about experiments: asked here of the open dashboard, or of the server that has it.

``LocalExperiments`` and ``RemoteExperiments`` answer the same; commands are written against ``ExperimentDesk``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol
from urllib.parse import quote

import msgspec

from barograph.core.toml_lines import dotted
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.experiments.comparison import Comparison, Details
from barograph.experiments.design import Experiment
from barograph.experiments.examples import Examples
from barograph.experiments.plan import Plan, PlanQuestion
from barograph.experiments.preview import Assignment, preview
from barograph.experiments.reallocation import Reallocation
from barograph.experiments.written import from_tree
from barograph.server.answers import ExperimentHistory, Experiments
from barograph_client.errors import InvalidExperiment

DETAILS_PATIENCE = 300.0  # seconds that the server may think about them: it resamples units one by one
Tree = dict[str, Any]  # a definition as it was written
Move = Literal["start", "pause", "archive"]


class Ask(Protocol):
    """Sends a request to the server and returns the body of its answer. Raises BarographError."""

    def __call__(
        self, method: str, path: str, parameters: dict[str, Any] | None = None, body: bytes | None = None, *,
        patience: float | None = None,
    ) -> bytes: ...  # fmt: skip


class ExperimentDesk(Protocol):
    """What the commands for experiments need. Everything raises BarographError."""

    def all(self) -> list[Experiment]: ...
    def get(self, key: str) -> Experiment: ...
    def create(self, tree: Tree) -> Experiment: ...
    def revise(self, tree: Tree) -> Experiment: ...
    def move(self, key: str, move: Move) -> Experiment: ...
    def stop(self, key: str, reason: str) -> Experiment: ...
    def reallocate(self, key: str, exploration: float) -> Reallocation: ...
    def compare(self, key: str) -> Comparison: ...
    def details(self, key: str) -> Details: ...
    def examples(self, key: str) -> Examples: ...
    def history(self, key: str, limit: int) -> ExperimentHistory: ...
    def preview(self, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object]) -> Assignment: ...
    def plan(self, question: PlanQuestion) -> Plan: ...


class LocalExperiments:
    """Asks the open dashboard; ``actor`` is what the audit log says."""

    def __init__(self, dashboard: DashboardInterface, actor: str) -> None:
        self._dashboard = dashboard
        self._framework = dashboard.experiments
        self._actor = actor

    def all(self) -> list[Experiment]:
        return self._framework.list()

    def get(self, key: str) -> Experiment:
        return self._framework.get(key)

    def create(self, tree: Tree) -> Experiment:
        return self._framework.create(from_tree(tree, self._dashboard.project), actor=self._actor)

    def revise(self, tree: Tree) -> Experiment:
        known = self._framework.get(_key_of(tree))
        return self._framework.revise(from_tree(tree, self._dashboard.project, known), actor=self._actor)

    def move(self, key: str, move: Move) -> Experiment:
        match move:
            case "start":
                return self._framework.start(key, actor=self._actor)
            case "pause":
                return self._framework.pause(key, actor=self._actor)
            case "archive":
                return self._framework.archive(key, actor=self._actor)

    def stop(self, key: str, reason: str) -> Experiment:
        return self._framework.stop(key, reason=reason, actor=self._actor)

    def reallocate(self, key: str, exploration: float) -> Reallocation:
        self._dashboard.flush()
        return self._framework.reallocate(key, exploration=exploration, actor=self._actor)

    def compare(self, key: str) -> Comparison:
        self._dashboard.flush()
        return self._framework.compare(key)

    def details(self, key: str) -> Details:
        self._dashboard.flush()
        return self._framework.details(key)

    def examples(self, key: str) -> Examples:
        self._dashboard.flush()
        return self._framework.examples(key)

    def history(self, key: str, limit: int) -> ExperimentHistory:
        return ExperimentHistory.of(self._framework, key, limit)

    def preview(self, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object]) -> Assignment:
        return preview(self._framework, key, unit_ids, attributes)

    def plan(self, question: PlanQuestion) -> Plan:
        self._dashboard.flush()
        return self._framework.plan(question)


class RemoteExperiments:
    """Asks the server."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def all(self) -> list[Experiment]:
        return msgspec.json.decode(self._ask("GET", "experiments"), type=Experiments).experiments

    def get(self, key: str) -> Experiment:
        return msgspec.json.decode(self._ask("GET", _path(key)), type=Experiment)

    def create(self, tree: Tree) -> Experiment:
        return msgspec.json.decode(self._ask("POST", "experiments", body=_body(tree)), type=Experiment)

    def revise(self, tree: Tree) -> Experiment:
        found = self._ask("PUT", _path(_key_of(tree)), body=_body(tree))
        return msgspec.json.decode(found, type=Experiment)

    def move(self, key: str, move: Move) -> Experiment:
        return msgspec.json.decode(self._ask("POST", f"{_path(key)}/{move}", body=b"{}"), type=Experiment)

    def stop(self, key: str, reason: str) -> Experiment:
        body = msgspec.json.encode({"reason": reason})
        return msgspec.json.decode(self._ask("POST", f"{_path(key)}/stop", body=body), type=Experiment)

    def reallocate(self, key: str, exploration: float) -> Reallocation:
        found = self._ask("POST", f"{_path(key)}/reallocate", {"fresh": "true"}, _body({"exploration": exploration}))
        return msgspec.json.decode(found, type=Reallocation)

    def compare(self, key: str) -> Comparison:
        return msgspec.json.decode(self._ask("GET", f"{_path(key)}/comparison", {"fresh": "true"}), type=Comparison)

    def details(self, key: str) -> Details:
        found = self._ask("GET", f"{_path(key)}/details", {"fresh": "true"}, patience=DETAILS_PATIENCE)
        return msgspec.json.decode(found, type=Details)

    def examples(self, key: str) -> Examples:
        return msgspec.json.decode(self._ask("GET", f"{_path(key)}/examples", {"fresh": "true"}), type=Examples)

    def history(self, key: str, limit: int) -> ExperimentHistory:
        return msgspec.json.decode(self._ask("GET", f"{_path(key)}/history", {"limit": limit}), type=ExperimentHistory)

    def preview(self, key: str, unit_ids: Mapping[str, str], attributes: Mapping[str, object]) -> Assignment:
        asked = {**unit_ids, "attributes": json.dumps(attributes)}
        return msgspec.json.decode(self._ask("GET", f"{_path(key)}/assignment", asked), type=Assignment)

    def plan(self, question: PlanQuestion) -> Plan:
        body = msgspec.json.encode(question)
        return msgspec.json.decode(self._ask("POST", "experiments/plan", {"fresh": "true"}, body), type=Plan)


def _path(key: str) -> str:
    return f"experiments/{quote(key, safe='')}"


def _body(tree: Tree) -> bytes:
    """The tree as JSON, which has no numbers that are not finite. Raises InvalidExperiment for one, with its place."""
    for place, number in _not_finite(tree, ()):
        name = dotted(place)
        raise InvalidExperiment(
            f"{name}: must be a finite number", hint="Give another, or leave it out.", value=number, field=name
        )
    return msgspec.json.encode(tree)


def _not_finite(value: object, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], float]]:
    """Every number within that is infinite or none, with its place."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    elif isinstance(value, (dict, list)):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _not_finite(inner, (*place, name))


def _key_of(tree: Tree) -> str:
    """Which experiment a definition is of. Raises InvalidExperiment."""
    key = tree.get("key")
    if not isinstance(key, str) or not key:
        raise InvalidExperiment("key: is missing", hint="Say which experiment it is.", field="key")
    return key
