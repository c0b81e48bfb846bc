"""A notification through one of the services that the package ``apprise`` reaches (extra ``apprise``).

It is called once for each target and attempt: what waits and what is tried again is the outbox's business. It says
whether the service took the message, and not why it did not; so a failure is tried again until it is given up.
"""

from __future__ import annotations

import importlib
import logging
from typing import Protocol, cast

from barograph.alerts.alert import Notification
from barograph.alerts.delivery.message import compose
from barograph.alerts.delivery.outcome import SENT, Outcome
from barograph.alerts.delivery.secrets import Secret
from barograph_client.errors import InvalidSettings

# They log URLs, requests and answers as they are; nothing of them is heard from below these levels.
_TALKATIVE = {
    "apprise": logging.CRITICAL + 1,
    "urllib3.connectionpool": logging.WARNING,
    "requests_oauthlib": logging.WARNING,
}
_TYPES = {"critical": "failure", "warning": "warning", "info": "info"}


class _Apprise(Protocol):
    """The part of ``apprise.Apprise`` that is used."""

    def add(self, servers: str) -> bool: ...
    def notify(self, *, body: str, title: str, notify_type: str, body_format: str) -> object: ...
    def __len__(self) -> int: ...


class AppriseChannel:
    """One service by its Apprise URL, which is a secret. Raises InvalidSettings, also when the package is missing."""

    def __init__(self, url: Secret, external_url: str) -> None:
        self._external_url = external_url
        try:
            package = importlib.import_module("apprise")
        except ImportError:
            raise InvalidSettings(
                "a target of type apprise needs the package apprise", hint="pip install 'barograph[apprise]'"
            ) from None
        for name, level in _TALKATIVE.items():
            logging.getLogger(name).setLevel(level)
        asset = package.AppriseAsset(
            app_id="Barograph", app_desc="Barograph", app_url=external_url, secure_logging=True
        )
        self._service = cast(_Apprise, package.Apprise(asset=asset))
        if not self._service.add(url.reveal()) or len(self._service) != 1:
            raise InvalidSettings(
                "the URL of a target of type apprise names no single service that apprise knows",
                hint="Its services are listed at https://appriseit.com/services/.",
            )

    def send(self, notification: Notification) -> Outcome:
        """Hand it to the service once."""
        message = compose(notification, self._external_url)
        kind = "success" if message.resolved else _TYPES[message.severity]
        taken = self._service.notify(body=message.text, title=message.title, notify_type=kind, body_format="text")
        return SENT if taken else Outcome("later", "apprise: the service did not take it")
