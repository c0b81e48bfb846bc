"""A notification as a POST of JSON in the form of Alertmanager's webhook, version 4, signed if there is a secret.

Body: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, its keys and no others. Signature:
https://www.standardwebhooks.com, HMAC-SHA256 over ``id.timestamp.body`` as ``webhook-signature: v1,<base64>``. The id
is the notification's key; it is the ``Idempotency-Key`` too, the same for every attempt, so that a double can be
known.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime

from barograph.alerts.alert import Alert, Notification
from barograph.alerts.delivery.channels.http import Poster
from barograph.alerts.delivery.outcome import Outcome
from barograph.alerts.delivery.secrets import Secret
from barograph_client import __version__
from barograph_client.clock import Clock, as_utc
from barograph_client.errors import InvalidSettings

NEVER = "0001-01-01T00:00:00Z"  # how Go writes a time that is not set
ENCODED = "whsec_"  # a secret that begins so is base64 after it, as Standard Webhooks has them
MOST_KEY = 255
AGENT = f"barograph/{__version__}"


class WebhookChannel:
    """``secret`` signs, ``token`` is sent as a bearer's; either may be missing. Raises InvalidSettings."""

    def __init__(
        self, poster: Poster, clock: Clock, *, secret: Secret | None, token: Secret | None, external_url: str
    ) -> None:
        self._poster = poster
        self._clock = clock
        self._secret = secret
        if secret is not None:
            _signing_key(secret)
        self._token = token
        self._external_url = external_url

    def send(self, notification: Notification) -> Outcome:
        """Post it once."""
        body = json.dumps(webhook_body(notification, self._external_url)).encode("ascii")
        key = header_key(notification.key)
        headers = {"Content-Type": "application/json", "User-Agent": AGENT, "Idempotency-Key": key}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        if self._secret is not None:
            timestamp = int(self._clock.now().timestamp())
            headers["webhook-id"] = key
            headers["webhook-timestamp"] = str(timestamp)
            headers["webhook-signature"] = sign(_signing_key(self._secret), key, timestamp, body)
        reply = self._poster.post(headers, body)
        return reply if isinstance(reply, Outcome) else self._poster.judge(reply, self._clock.now)


def webhook_body(notification: Notification, external_url: str) -> dict[str, object]:
    """The body: labels and annotations as they are, for programs to read."""
    return {
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": notification.truncated,
        "status": notification.status,
        "receiver": notification.receiver,
        "groupLabels": notification.group_labels,
        "commonLabels": notification.common_labels,
        "commonAnnotations": notification.common_annotations,
        "externalURL": external_url,
        "alerts": [_alert(alert, notification.at) for alert in notification.alerts],
    }


def _alert(alert: Alert, at: datetime) -> dict[str, object]:
    status = alert.status(at)
    return {
        "status": status,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": NEVER if status == "firing" or alert.ends_at is None else rfc3339(alert.ends_at),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def rfc3339(moment: datetime) -> str:
    """A time in UTC, as RFC 3339 writes it."""
    return as_utc(moment).isoformat().replace("+00:00", "Z")


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header ``webhook-signature``."""
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode("ascii") + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


def _signing_key(secret: Secret) -> bytes:
    text = secret.reveal()
    if not text.startswith(ENCODED):
        return text.encode("ascii")
    try:
        return base64.b64decode(text.removeprefix(ENCODED), validate=True)
    except binascii.Error:
        raise InvalidSettings(f"the webhook's secret begins with {ENCODED}, but what follows is not base64") from None


def header_key(key: str) -> str:
    """The key as a header may carry it: itself, or a hash that stands for it."""
    plain = len(key) <= MOST_KEY and key.isascii() and key.isprintable() and " " not in key and key != ""
    return key if plain else hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()
