"""What the handlers of the server work on: one open data directory, its bounds, and threads for what takes long.

Made once by ``application``. Handlers run in one event loop; whatever computes or waits (decoding a batch, asking the
engine) goes to a few threads, so that a heavy question holds up no health check and no small batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

import anyio
from anyio.to_thread import run_sync

from barograph.collect.batches import BatchMemory
from barograph.collect.intake import Intake, Taken, deliver
from barograph.collect.processors import from_settings
from barograph.collect.sinks import JournalSink
from barograph.collect.validate import Validator
from barograph.core.settings import ServerSettings
from barograph.dashboard.assembly import USER_KEY
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.bounded_conditions import BoundedConditions, EvaluatedApart, at_once
from barograph.journal.entry import Outcome, Receipt
from barograph.server.access import Access
from barograph.server.bodies import Admission
from barograph.server.connections import Connections
from barograph.server.probe import Probe
from barograph.server.refused import Refused
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.definition import Definition

T = TypeVar("T")
B = TypeVar("B", bound="Batch")
_DECODERS = 2  # threads that decode batches; the interpreter's lock lets one of them run at a time
_CONDITION_SECONDS = 5.0  # for all targeting conditions of a request that may take long
_DECIDERS = 40  # threads that assign arms: they may wait for the journal
_WAITERS = 8  # threads that assign arms by conditions that may take long: they wait for one another
_MOST_PROJECTS = 1_000  # whose intakes are kept


class Batch(Protocol):
    """What became of each event of a body."""

    @property
    def taken(self) -> Sequence[Taken]: ...


class Site:
    """One open data directory as the handlers see it."""

    def __init__(self, dashboard: DashboardInterface, access: Access, connections: Connections) -> None:
        self.dashboard = dashboard
        self.access = access
        self.connections = connections
        self.settings: ServerSettings = dashboard.settings.server
        self.admission = Admission(self.settings.requests, self.settings.waiting_bytes)
        self.sink = JournalSink(dashboard.parts.journal)
        self.batches = BatchMemory(dashboard.parts.journal)
        self.clock = dashboard.parts.clock
        self.started_at = self.clock.now()
        self.stopping = False
        self.probe = Probe(dashboard.parts.journal.directory, self.clock)
        self.refused = Refused(self.clock)
        self.conditions = BoundedConditions()
        self._decoding = anyio.CapacityLimiter(_DECODERS)
        self._asking = anyio.CapacityLimiter(self.settings.questions)
        self._deciding = anyio.CapacityLimiter(_DECIDERS)
        self._waiting = anyio.CapacityLimiter(_WAITERS)
        self._intakes: dict[str, Intake] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._processors = from_settings(dashboard.settings.collect, dashboard.parts.directory / USER_KEY)

    def intake(self, project: str) -> Intake:
        """What makes entries of a project's input."""
        found = self._intakes.get(project)
        if found is None:
            if len(self._intakes) >= _MOST_PROJECTS:
                self._intakes.clear()
            validator = Validator(self.clock, self.dashboard.parts.identifiers, project)
            found = self._intakes[project] = Intake(validator, self._processors)
        return found

    def turn(self, who: str) -> asyncio.Lock:
        """A lock that whoever has the same name waits for."""
        found = self._turns.get(who)
        if found is None:
            found = self._turns[who] = asyncio.Lock()
        return found

    async def decode(self, work: Callable[[], T]) -> T:
        """Run what makes events of a body."""
        return await run_sync(work, limiter=self._decoding)

    async def ask(self, work: Callable[[], T]) -> T:
        """Run what asks the engine."""
        return await run_sync(work, limiter=self._asking)

    async def decide(self, project: str, work: Callable[[ABTestFramework], T]) -> T:
        """Run what assigns arms by attributes that a request brings, apart from what asks the engine.

        Work that meets a condition which may take long is begun again among its like, so that nobody else waits for
        threads of theirs: before it has exposed anybody, and with the wait for such a thread in its time.
        """
        bounded = self.conditions.within(_CONDITION_SECONDS)

        def run(assigner: Callable[[Definition], Assigner]) -> T:
            return work(self.dashboard.for_project(project).experiments.bounded(assigner))

        with suppress(EvaluatedApart):
            return await run_sync(run, at_once, limiter=self._deciding)
        return await run_sync(run, bounded, limiter=self._waiting)

    async def keep(self, work: Callable[[], B]) -> tuple[B, list[Outcome]]:
        """Decode a batch and hand it to the journal; returns when it is durable. Raises JournalError.

        Both in one go: every change between threads waits for the interpreter's lock, which a burst holds.
        """

        def run() -> tuple[B, Receipt]:
            batch = work()
            return batch, deliver(self.sink, batch.taken)

        batch, receipt = await self.decode(run)
        return batch, await settled(receipt)


async def settled(receipt: Receipt) -> list[Outcome]:
    """The outcomes, once they are durable, without a thread that waits for them. Raises JournalError."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def tell(_: Receipt) -> None:
        loop.call_soon_threadsafe(finish)

    receipt.add_done_callback(tell)
    await done
    return receipt.wait()
