"""Who is told of alerts, and how: receivers, routes and the sender of one data directory, from its settings.

Made by ``assembly``. The outbox, the sender and the dispatcher are shared; each project has a notifier of its own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from barograph.alerts.delivery.sender import Sender
from barograph.alerts.delivery.targets import Surroundings, Targets
from barograph.alerts.dispatcher import Dispatcher
from barograph.alerts.notifier import Notifier
from barograph.alerts.routing.current_silences import CurrentSilences
from barograph.alerts.routing.router import Router
from barograph.control.database import ControlPlane
from barograph.control.outbox import Outbox
from barograph.control.routing import RoutingRepository
from barograph.control.silences import SilenceRepository
from barograph.core.receiver_settings import LogTarget, ReceiverSettings
from barograph.core.settings import Settings
from barograph_client.clock import Clock

LOG = ReceiverSettings(name="log", targets=(LogTarget(),))  # who is told when the settings name nobody
LOGGER = "barograph.alerts"


class Delivery:
    """The receivers that there are. Raises InvalidSettings for a route or a receiver that is wrong.

    Secrets are looked for at ``start``: who only records or looks does not need them.
    """

    def __init__(self, settings: Settings, control: ControlPlane, clock: Clock, environment: Mapping[str, str]) -> None:
        receivers = settings.receivers
        if all(receiver.name != LOG.name for receiver in receivers):
            receivers = (*receivers, LOG)
        surroundings = Surroundings(clock, environment, logging.getLogger(LOGGER), sys.stderr)
        self.outbox = Outbox(control)
        self._targets = Targets(receivers, settings.delivery, surroundings, check=False)
        self.sender = Sender(self.outbox, self._targets, settings.delivery, clock)
        self.silences = SilenceRepository(control)
        self._current = CurrentSilences(self.silences)
        self.dispatcher = Dispatcher(self._current, clock)
        self._router = Router(settings.routing, {receiver.name: receiver.send_resolved for receiver in receivers})
        self._kept = RoutingRepository(control)
        self._clock = clock

    def check(self) -> None:
        """Look for addresses and secrets. Raises InvalidSettings for one that is not there or no such."""
        self._targets.check()

    def start(self) -> None:
        """Begin to deliver. Raises InvalidSettings for a secret that is not there, ControlError."""
        self.check()
        self.sender.start()
        self.dispatcher.start()

    def stop(self) -> None:
        """Tell nothing more, and wait for the attempts under way."""
        self.dispatcher.stop()
        self.sender.stop()

    def notifier(self, project: str) -> Notifier:
        """What routes the alerts of a project."""
        put, reached = self.sender.put, self.sender.reached
        return Notifier(self._router, put, reached, self._kept, self._current, self._clock, project)
