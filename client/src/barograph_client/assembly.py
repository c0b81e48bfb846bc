"""The parts of a client, put together from its settings. ``client`` loads them with its first instance."""

from __future__ import annotations

import os
import random as random_numbers
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Unpack

from barograph_client.account import Account
from barograph_client.background import Background
from barograph_client.backoff import Backoff, Pace
from barograph_client.batch import Batch
from barograph_client.clock import Clock
from barograph_client.delivery import Delivery
from barograph_client.drain import Drain
from barograph_client.exchange import connect
from barograph_client.identifiers import IdentifierSource, uuid7
from barograph_client.settings import Arguments, resolve
from barograph_client.spool import Spool

if TYPE_CHECKING:
    from barograph_client.experiments.current import CurrentDefinitions

_SMALL = 40  # the part of the queue that a batch may be and still count as small


class Parts(NamedTuple):
    """What a client holds."""

    account: Account
    spool: Spool | None
    drain: Drain | None
    delivery: Delivery
    background: Background[deque[Batch]]
    definitions: Callable[[], CurrentDefinitions]


def assemble(
    clock: Clock, random: Callable[[], float] | None, pace: Pace | None, **arguments: Unpack[Arguments]
) -> Parts:
    """The parts of a new client. Raises InvalidSettings."""
    settings = resolve(**arguments)
    pace, random = pace or Pace(), random or random_numbers.random
    account, identifiers = Account(clock), IdentifierSource(clock)

    def new_client() -> str:  # not from the source, which in a forked child is made new after the client is
        return uuid7(int(clock.now().timestamp() * 1000), os.urandom(10))

    client = new_client()

    spool: Spool | None = None
    drain: Drain | None = None
    if settings.spool is not None:
        spool = Spool(settings.spool, client, clock, settings.spool_bytes, settings.spool_seconds, account.dropped)
        drain = Drain(spool, connect(settings.connection, clock), account, Backoff(pace, random), pace, clock)
    delivery = Delivery(
        connect(settings.connection, clock),
        account,
        spool,
        drain,
        Backoff(pace, random),
        client,
        new_client,
        project=settings.connection.project,
        sparse=max(1, settings.queue // _SMALL),
    )
    background = Background(
        delivery,
        clock,
        identifiers.new,
        settings.queue,
        batch=settings.batch,
        on_stopping=delivery.hurry,
        gather=delivery.gather,
    )

    def definitions() -> CurrentDefinitions:  # for a program that asks for an arm; others need none of it
        from barograph_client.experiments.current import CurrentDefinitions

        return CurrentDefinitions(settings.connection, settings.spool, clock, Backoff(pace, random), pace, random)

    return Parts(account, spool, drain, delivery, background, definitions)
