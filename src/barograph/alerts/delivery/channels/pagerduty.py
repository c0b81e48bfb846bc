"""A notification as an event of PagerDuty's Events API, version 2: a group of alerts is one incident.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events. The group's key is the ``dedup_key``: what comes
again is added to the open incident, and the resolved notification closes it.
"""

from __future__ import annotations

import hashlib
import json

from barograph.alerts.alert import Notification
from barograph.alerts.delivery.channels.http import Poster
from barograph.alerts.delivery.channels.webhook import AGENT, rfc3339
from barograph.alerts.delivery.message import LABEL_LENGTH, compose, neutral
from barograph.alerts.delivery.outcome import Outcome
from barograph.alerts.delivery.secrets import Secret
from barograph_client.clock import Clock

MOST_DEDUP_KEY = 255
SUMMARY_LENGTH = 1024
DETAIL_LENGTH = 20_000  # characters of the message's text; an event may have 512 KB
SEVERITY = {"critical": "critical", "warning": "warning", "info": "info"}  # ours to theirs; they have "error" beside


class PagerDutyChannel:
    """``key`` is the integration's routing key."""

    def __init__(self, poster: Poster, clock: Clock, key: Secret, external_url: str) -> None:
        self._poster = poster
        self._clock = clock
        self._key = key
        self._external_url = external_url

    def send(self, notification: Notification) -> Outcome:
        """Send one event."""
        event = {"routing_key": self._key.reveal(), **pagerduty_event(notification, self._external_url)}
        headers = {"Content-Type": "application/json", "User-Agent": AGENT}
        reply = self._poster.post(headers, json.dumps(event).encode("ascii"))
        return reply if isinstance(reply, Outcome) else self._poster.judge(reply, self._clock.now)


def pagerduty_event(notification: Notification, external_url: str) -> dict[str, object]:
    """The event but for its routing key."""
    message = compose(notification, external_url)
    if message.resolved:
        return {"event_action": "resolve", "dedup_key": dedup_key(notification.group_key)}
    began = min((alert.starts_at for alert in notification.alerts), default=notification.at)
    links = [{"href": item.runbook, "text": f"What to do: {item.title}"} for item in message.items if item.runbook]
    return {
        "event_action": "trigger",
        "dedup_key": dedup_key(notification.group_key),
        "client": "Barograph",
        "client_url": message.link,
        "links": links,
        "payload": {
            "summary": message.title[:SUMMARY_LENGTH],
            "source": neutral(notification.common_labels.get("project", ""), LABEL_LENGTH) or "barograph",
            "severity": SEVERITY[message.severity],
            "timestamp": rfc3339(began),
            "class": neutral(notification.common_labels.get("alertname", ""), LABEL_LENGTH),
            "group": neutral(notification.receiver, LABEL_LENGTH),
            "custom_details": {"message": message.text[:DETAIL_LENGTH], "notification": notification.key},
        },
    }


def dedup_key(group_key: str) -> str:
    """The group's key, or a hash of one that is too long."""
    if len(group_key) <= MOST_DEDUP_KEY and group_key.isprintable():
        return group_key
    return hashlib.sha256(group_key.encode("utf-8", "backslashreplace")).hexdigest()
