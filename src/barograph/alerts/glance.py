"""A glance: what somebody who looks between two ticks finds beyond what the watch has.

``alert_manager`` makes it on a book apart and shows it, of each rule until the watch has judged that one as far. It is
kept nowhere.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from barograph.alerts.alert import fingerprint
from barograph.alerts.book import AlertBook, Entry
from barograph.alerts.rules.threshold import ThresholdRule


class Glance(Struct, frozen=True, kw_only=True):
    """Where the alerts would stand if the watch had looked at ``at``, with the events up to then."""

    at: datetime
    book: AlertBook

    def beside(self, rule: ThresholdRule, kept: list[Entry], judged_to: datetime | None) -> list[Entry]:
        """The rule's groups as they are shown: as kept, once the watch has judged as far.

        Until then what fires for the watch fires, until the watch ends it.
        """
        if judged_to is not None and judged_to >= self.at:
            return kept
        found = {fingerprint(labels): (labels, condition) for labels, condition in self.book.of(rule)}
        found |= {fingerprint(labels): (labels, condition) for labels, condition in kept if condition.has_fired}
        return list(found.values())
