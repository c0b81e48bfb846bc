"""The targets of the receivers: from settings to channels, and from a notification to its entries in the outbox.

A target is one address that is reached, or fails, on its own: ``receiver/name``, and a mail's address after that, which
stay the same however the settings are ordered. Its channel is opened anew for each attempt, so that a changed secret or
certificate is used without a restart. Read by ``sender``; the list of kinds of channels is here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TextIO

import msgspec
from msgspec import Struct

from barograph.alerts.alert import Notification
from barograph.alerts.delivery.channels.apprise import AppriseChannel
from barograph.alerts.delivery.channels.email import EmailChannel
from barograph.alerts.delivery.channels.http import Poster, parse_endpoint
from barograph.alerts.delivery.channels.log import LogChannel, TerminalChannel
from barograph.alerts.delivery.channels.pagerduty import PagerDutyChannel
from barograph.alerts.delivery.channels.slack import SlackChannel
from barograph.alerts.delivery.channels.webhook import WebhookChannel
from barograph.alerts.delivery.outcome import Channel
from barograph.alerts.delivery.secrets import Secret, SecretSource
from barograph.control.outbox import OutboxEntry
from barograph.core.receiver_settings import (
    AppriseTarget,
    DeliverySettings,
    EmailTarget,
    LogTarget,
    PagerDutyTarget,
    ReceiverSettings,
    SlackTarget,
    TargetSettings,
    TerminalTarget,
    WebhookTarget,
)
from barograph_client.clock import Clock
from barograph_client.errors import InvalidInput, InvalidSettings

_URL = "url_env and url_file"
MOST_TARGETS = 128  # each may have a thread of its own while something is sent to it


class Surroundings(NamedTuple):
    """What channels need beside their settings: secrets are in ``environment`` or in files that settings name."""

    clock: Clock
    environment: Mapping[str, str]
    logger: logging.Logger
    stream: TextIO


class Target(Struct, frozen=True):
    """One address. ``open`` makes its channel; it may raise InvalidSettings."""

    id: str
    receiver: str
    kind: str
    open: Callable[[], Channel]


class Targets:
    """All targets by id. Raises InvalidSettings, with ``check`` also when a secret is not there."""

    def __init__(
        self,
        receivers: Sequence[ReceiverSettings],
        settings: DeliverySettings,
        surroundings: Surroundings,
        *,
        check: bool = True,
    ) -> None:
        self._of: dict[str, list[Target]] = {}
        self.by_id: dict[str, Target] = {}
        for receiver in receivers:
            if receiver.name in self._of:
                raise InvalidSettings("two receivers have the same name", value=receiver.name)
            twice = [name for name, times in Counter(t.name for t in receiver.targets).items() if times > 1]
            if twice:
                raise InvalidSettings(
                    f"two targets of receiver {receiver.name} have the same name",
                    hint="Targets of one type need a name each.",
                    value=twice[0],
                )
            opened = [
                each for target in receiver.targets for each in _targets(receiver, target, settings, surroundings)
            ]
            self._of[receiver.name] = opened
            self.by_id |= {target.id: target for target in opened}
        if len(self.by_id) > MOST_TARGETS:
            raise InvalidSettings(f"there are more than {MOST_TARGETS} targets", value=len(self.by_id))
        if check:
            self.check()

    def check(self) -> None:
        """Open each target once: its address and secrets are there. Raises InvalidSettings."""
        for target in self.by_id.values():
            target.open()

    def entries(self, notifications: Iterable[Notification]) -> list[OutboxEntry]:
        """One entry for each notification and target of its receiver. Raises InvalidInput for an unknown receiver."""
        found: list[OutboxEntry] = []
        for notification in notifications:
            if notification.receiver not in self._of:
                raise InvalidInput("there is no such receiver", value=notification.receiver)
            body = msgspec.to_builtins(notification)
            found.extend(
                OutboxEntry(
                    key=notification.key,
                    project=notification.project,
                    group_key=notification.group_key,
                    receiver=notification.receiver,
                    target=target.id,
                    body=body,
                )
                for target in self._of[notification.receiver]
            )
        return found


def _targets(
    receiver: ReceiverSettings, target: TargetSettings, settings: DeliverySettings, surroundings: Surroundings
) -> list[Target]:
    """The addresses of one entry of the settings: one, or as many as a mail has."""
    name = f"{receiver.name}/{target.name}"
    kind = str(target.__struct_config__.tag)

    def opens(recipient: str) -> Callable[[], Channel]:
        return lambda: _open(target, f"{kind} of receiver {receiver.name}", recipient, settings, surroundings)

    if isinstance(target, EmailTarget):
        return [
            Target(f"{name}/{address}", receiver.name, kind, opens(address)) for address in dict.fromkeys(target.to)
        ]
    return [Target(name, receiver.name, kind, opens(""))]


def _open(
    target: TargetSettings, what: str, recipient: str, settings: DeliverySettings, surroundings: Surroundings
) -> Channel:
    clock, environment, logger, stream = surroundings
    link = settings.external_url

    def source(name: str, settings: str, variable: str, file: str) -> SecretSource:
        return SecretSource(what=f"the {name} of {what}", settings=settings, variable=variable, file=file)

    def secret(name: str, variable: str, file: str) -> Secret | None:
        found = source(name, f"{name}_env and {name}_file", variable, file)
        return found.read(environment) if found else None

    def needed(name: str, settings: str, variable: str, file: str) -> Secret:
        return source(name, settings, variable, file).read(environment)

    def poster(
        url: Secret, of: WebhookTarget | SlackTarget | PagerDutyTarget, secrets: Iterable[Secret | None] = ()
    ) -> Poster:
        return Poster(
            parse_endpoint(url, f"the URL of {what}"),
            timeout=of.timeout,
            ca_file=of.ca_file,
            environment=environment,
            secrets=[url, *(one for one in secrets if one is not None)],
        )

    match target:
        case LogTarget():
            return LogChannel(logger)
        case TerminalTarget():
            return TerminalChannel(stream, link)
        case WebhookTarget():
            if target.url and (target.url_env or target.url_file):
                raise InvalidSettings(f"the URL of {what} is given twice", hint=f"Give one of url, {_URL}.")
            url = Secret(target.url) if target.url else needed("URL", f"url, {_URL}", target.url_env, target.url_file)
            signing = secret("secret", target.secret_env, target.secret_file)
            token = secret("token", target.token_env, target.token_file)
            sender = poster(url, target, (signing, token))
            return WebhookChannel(sender, clock, secret=signing, token=token, external_url=link)
        case EmailTarget():
            password = secret("password", target.password_env, target.password_file)
            if bool(target.user) != bool(password):
                raise InvalidSettings(f"{what} needs a user and a password, or neither")
            return EmailChannel(target, recipient, clock, password=password, external_url=link)
        case SlackTarget():
            return SlackChannel(poster(needed("URL", _URL, target.url_env, target.url_file), target), clock, link)
        case PagerDutyTarget():
            key = needed("routing key", "key_env and key_file", target.key_env, target.key_file)
            return PagerDutyChannel(poster(Secret(target.url), target, (key,)), clock, key, link)
        case AppriseTarget():
            return AppriseChannel(needed("URL", _URL, target.url_env, target.url_file), link)
