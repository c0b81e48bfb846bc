"""Who assigns arms by conditions that take long holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.design import Experiment, equal_variants
from barograph.server.application import application
from barograph.server.connections import Connections
from barograph.server.site import Site
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.definition import Definition

FLOOD = 90


def arm_of(key: str, framework: ABTestFramework) -> str | None:
    return framework.decide(key, {"user": "u1"}, {"mail": "aaa"}).arm


def test_a_flood_of_them_leaves_threads_for_experiments_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def held(_: float) -> Callable[[Definition], Assigner]:
        def fits(attributes: object) -> bool:
            return answered.wait(30)

        return lambda definition: Assigner(definition, fits)

    async def flood(site: Site) -> None:
        waiting = [asyncio.create_task(site.decide("default", partial(arm_of, "patterns"))) for _ in range(FLOOD)]
        try:
            for key in ("plain", "short") * 5:
                assert await asyncio.wait_for(site.decide("default", partial(arm_of, key)), 20) in ("a", "b")
            assert not any(one.done() for one in waiting)
        finally:
            answered.set()
            arms = await asyncio.gather(*waiting)
        assert set(arms) < {"a", "b"}

    conditions: dict[str, dict[str, Any]] = {
        "plain": {}, "short": {"mail": "aaa"}, "patterns": {"mail": {"$regex": "^(a|a)+$"}},
    }  # fmt: skip
    with DashboardInterface(tmp_path, background=False) as dashboard:
        for key, condition in conditions.items():
            variants = equal_variants("a", "b")
            dashboard.experiments.create(
                Experiment(key=key, variants=variants, condition=condition, primary_metric="accuracy")
            )
            dashboard.experiments.start(key)
        _, site = application(dashboard, Connections(dashboard.settings.server), "token")
        monkeypatch.setattr(site.conditions, "within", held)
        asyncio.run(flood(site))
