"""What it costs a program to ask for an arm.

The client's decision alone, in one thread, over ids of a usual length and over UUIDs; by our own hash and GrowthBook's,
and with what a definition may ask besides. No server and no disk are in it. CPU time, because a call waits for nothing,
and beside it that of a bare digest, because what a microsecond of CPU does differs with the load.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from hashlib import blake2b
from random import random
from time import thread_time_ns

from barograph_client.backoff import Backoff, Pace
from barograph_client.clock import SystemClock
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.current import CurrentDefinitions
from barograph_client.experiments.definition import Arm, Definition, Namespace
from barograph_client.experiments.experiments import Experiments
from barograph_client.experiments.hashing import HashVersion
from barograph_client.experiments.sticky import MemoryStickyStore
from barograph_client.settings import resolve_connection
from bench.figure import Figure, Series
from bench.part import Run

CALLS = 20_000  # a round
GOAL = 3.0  # microseconds a call, of the default hash
_ARMS = (Arm(key="control", weight=0.5), Arm(key="treatment", weight=0.5, payload={"top_k": 20}))
_HASHES: tuple[HashVersion, ...] = ("barograph", "growthbook-v1", "growthbook-v2")
_SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC835  # 2**128 over the golden ratio: ids that look drawn
_ATTRIBUTES = {"plan": "paid", "country": "DE"}
_KINDS = {
    "targeting on two attributes": Definition(
        key="k", salt="s", arms=_ARMS, condition={"plan": "paid", "country": {"$in": ["DE", "FR"]}}
    ),
    "a namespace": Definition(key="k", salt="s", arms=_ARMS, namespace=Namespace(name="n", end=0.5)),
    "a holdout": Definition(key="k", salt="s", arms=_ARMS, holdout=0.05),
    "sticky, in memory": Definition(key="k", salt="s", arms=_ARMS, sticky=True),
}


def measure(run: Run) -> Iterable[Figure]:
    """Microseconds of CPU a call, the mean of a round."""
    series, calls = Series(), run.count(CALLS, 100)
    ids = {
        "user-123": [f"user-{number}" for number in range(calls)],
        "UUIDs": [str(uuid.UUID(int=number * _SPREAD % 2**128)) for number in range(calls)],
    }
    asked = _experiments()
    for _ in range(run.rounds(9)):
        bare = _digest(ids["UUIDs"])
        series.add("a bare BLAKE2b digest, UUIDs", "µs", bare)
        for hashed in _HASHES:
            assigner = Assigner(Definition(key="k", salt="default k", arms=_ARMS, hash_version=hashed))
            for kind, units in ids.items():
                series.add(f"{hashed}, {kind}", "µs", _decide(assigner, units))
            if hashed == "barograph":
                series.add("barograph over a bare digest, UUIDs", "×", _decide(assigner, ids["UUIDs"]) / bare)
        for name, definition in _KINDS.items():
            series.add(f"barograph, UUIDs, {name}", "µs", _decide(Assigner(definition), ids["UUIDs"]))
        series.add("client.experiments.assign, UUIDs", "µs", _ask(asked, ids["UUIDs"]))
    return series.figures(
        at_most={"client.experiments.assign, UUIDs": GOAL, **{f"barograph, {kind}": GOAL for kind in ids}}
    )


def _decide(assigner: Assigner, units: list[str]) -> float:
    sticky, given = MemoryStickyStore(), [{"user": unit} for unit in units]
    began = thread_time_ns()
    for one in given:
        assigner.decide(one, _ATTRIBUTES, sticky)
    return (thread_time_ns() - began) / 1_000 / len(units)


def _experiments() -> Experiments:
    """Those of a client that fetches nothing."""
    connection = resolve_connection(url="", key="", project="", timeout=1.0, ca_file="", environment={})
    definitions = CurrentDefinitions(connection, None, SystemClock(), Backoff(Pace(), random), Pace(), random)
    definitions.close(0.0)
    definitions.table = {"k": Assigner(Definition(key="k", salt="default k", arms=_ARMS))}
    return Experiments(definitions, lambda kind, event: None)


def _ask(experiments: Experiments, units: list[str]) -> float:
    began = thread_time_ns()
    for unit in units:
        experiments.assign("k", user=unit)
    return (thread_time_ns() - began) / 1_000 / len(units)


def _digest(units: list[str]) -> float:
    began = thread_time_ns()
    for unit in units:
        blake2b(unit.encode(), digest_size=16).digest()
    return (thread_time_ns() - began) / 1_000 / len(units)
