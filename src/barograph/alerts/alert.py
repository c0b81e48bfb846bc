"""What is told to people: alerts by their labels, and the notifications that carry groups of them.

Made by ``book`` from conditions, or by whoever sends alerts from outside; read by routing, delivery, pages and the API.
Labels are the identity of an alert, annotations are what is said about it and may change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct, field

Status = Literal["firing", "resolved"]
KeptBack = Literal["", "held", "acknowledged"]  # why nobody is told of an alert that fires, or not again

SEVERITIES = ("critical", "warning", "info")  # the worst first


class Alert(Struct, frozen=True, kw_only=True):
    """One alert: of a rule's group, or from outside.

    ``starts_at`` is when it fired; ``ends_at`` when it was resolved, or, of one from outside, when it resolves by
    itself unless it is sent again. ``labels`` hold ``alertname`` and ``severity`` beside those of the group.
    """

    labels: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)
    starts_at: datetime
    ends_at: datetime | None = None
    updated_at: datetime
    generator_url: str = ""
    from_outside: bool = False

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the labels."""
        return fingerprint(self.labels)

    def status(self, at: datetime) -> Status:
        """Whether it fires at that time."""
        return "firing" if self.ends_at is None or self.ends_at > at else "resolved"

    @property
    def rank(self) -> int:
        """The place of its severity, 0 for the worst; one that is not known counts as a warning."""
        return rank_of(self.labels)


class Notification(Struct, frozen=True, kw_only=True):
    """One message to one receiver about one group of alerts.

    ``key`` is the same for every attempt to send it, ``group_key`` for every message about the group. ``reason`` says
    in words why it is sent now. ``alerts`` are the worst of the group, those that fire first; ``truncated`` counts the
    rest. ``next_at`` is when it would be repeated, as long as nothing changes. ``project`` is whose alerts they are.
    """

    key: str
    project: str = ""
    group_key: str
    receiver: str
    status: Status
    reason: str
    group_labels: dict[str, str]
    common_labels: dict[str, str]
    common_annotations: dict[str, str]
    alerts: tuple[Alert, ...]
    truncated: int = 0
    at: datetime
    next_at: datetime | None = None


def rank_of(labels: Mapping[str, str]) -> int:
    """The place of the labels' severity, 0 for the worst; one that is not known counts as a warning."""
    severity = labels.get("severity", "")
    return SEVERITIES.index(severity if severity in SEVERITIES else "warning")


def fingerprint(labels: Mapping[str, str]) -> str:
    """What tells alerts apart: the same labels always give the same 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode("ascii")).hexdigest()[:16]
