"""Anomaly rules: a metric against its own past, as the streaming detector of ``stats.baseline`` has learned it.

There is no limit to write. The series is cut into points at the multiples of the window, and each point is judged once
by those before it. The rule says what the points are and how sensitive the detector is; ``detectors`` runs it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from msgspec.structs import asdict, replace

from barograph.alerts.rules.threshold import LONGEST_WINDOW, ThresholdRule, make_threshold, seconds_of
from barograph.core.metric import Catalogue, Metric
from barograph.core.query import MetricQuery, Window
from barograph.core.settings import RuleSettings
from barograph.core.unit import format_value
from barograph.stats.baseline import Sensitivity
from barograph_client.errors import InvalidInput, InvalidRule, shorten

POINTS = 1000  # of the stored past, read when a rule begins or was away for long
AT_ONCE = (
    200  # points a question, of a rule with groups: as many as there may be of these make an answer of 100,000 rows
)
REMEMBERED_SECONDS = 7 * 86400.0  # what is known of a group that has vanished; longer than a weekend
DAY = 86400.0


class AnomalyRule(ThresholdRule, frozen=True, kw_only=True):
    """Fires while the metric is unlike its past. ``false_alarms`` a week are expected in each group.

    ``remembered_seconds`` after its last event what was learned of a group is forgotten.
    """

    false_alarms: float = 1.0
    remembered_seconds: float = REMEMBERED_SECONDS

    has_limit: ClassVar[bool] = False

    @property
    def sensitivity(self) -> Sensitivity:
        """The detector's one setting."""
        return Sensitivity(false_alarms_per_week=self.false_alarms, interval=timedelta(seconds=self.window_seconds))

    @property
    def series(self) -> str:
        """What the points are of: what was learned of another series says nothing about this one."""
        where = [[one.field, one.op, *one.values] for one in self.where]
        return json.dumps([self.metric.name, self.window_seconds, self.minimum, list(self.by), where])

    def floor(self, moment: datetime) -> datetime:
        """The end of the last point that is over at that moment."""
        return datetime.fromtimestamp(moment.timestamp() // self.window_seconds * self.window_seconds, UTC)

    def points(self, window: Window, project: str) -> tuple[MetricQuery, ...]:
        """What to ask, in order, for the points in a window that begins and ends at multiples of the rule's own."""
        length = timedelta(seconds=self.window_seconds * (AT_ONCE if self.by else POINTS))
        asked, start = [], window.start
        while start < window.end:
            end = min(start + length, window.end)
            asked.append(replace(self.question(end, project), window=Window(start, end), every=self.window_seconds))
            start = end
        return tuple(asked)

    @property
    def nothing(self) -> str:
        """The point under way is judged when it is over."""
        return f"nothing was measured in the last point of {format_value(self.window_seconds, 's')} that is over"

    @property
    def condition(self) -> str:
        """The rule in short."""
        by = f" by {', '.join(self.by)}" if self.by else ""
        often = f"{self.false_alarms:g} false alarm{'' if self.false_alarms == 1 else 's'} a week"
        return f"{self.metric.name} unusual, a point every {format_value(self.window_seconds, 's')}{by}, {often}"


def make_anomaly(settings: RuleSettings, metric: Metric, catalogue: Catalogue) -> AnomalyRule:
    """The anomaly rule of those settings. Raises InvalidRule."""
    name = shorten(settings.name)
    if settings.above is not None or settings.below is not None or settings.resolve is not None:
        raise InvalidRule(
            f"rule {name}: an anomaly has no limit, what is usual is learned",
            hint='Leave above, below and resolve out, or write kind = "threshold".',
        )
    remembered = seconds_of(name, "lookback", settings.lookback, LONGEST_WINDOW) if settings.lookback else None
    made = make_threshold(replace(settings, above=0.0), metric)
    window = made.window_seconds
    if window > DAY or window != int(window):
        raise InvalidRule(
            f"rule {name}: a point of that length cannot be judged",
            hint="Choose a window of whole seconds, a day at most.",
            value=settings.window,
        )
    fields = {
        **asdict(made),
        "above": None,
        "false_alarms": settings.false_alarms,
        "remembered_seconds": remembered or REMEMBERED_SECONDS,
    }
    try:
        Sensitivity(false_alarms_per_week=settings.false_alarms, interval=timedelta(seconds=window))  # checks itself
    except InvalidInput as error:
        raise InvalidRule(
            f"rule {name}: false_alarms: {error.message}", hint=error.hint, value=settings.false_alarms
        ) from None
    return AnomalyRule(**fields)
