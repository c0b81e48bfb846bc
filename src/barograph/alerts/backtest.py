"""What a rule would have done on stored data: when it would have fired, for how long, and how often a month.

What it would have read comes from ``replay``, at the times at which the live rule looks where that can be asked; it
goes through the same book that keeps live alerts. ``step_seconds`` tells how often it was looked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from barograph.alerts.alert import fingerprint
from barograph.alerts.book import AlertBook, Entry
from barograph.alerts.replay import STEPS, looks
from barograph.alerts.rule import ThresholdRule
from barograph.core.event import Alert
from barograph.core.query import Window
from barograph.core.reader import Reader
from barograph_client.clock import as_utc
from barograph_client.errors import InvalidQuery

MONTH = 30 * 86400.0
LONGEST_SECONDS = 92 * 86400.0

Progress = Callable[[float], None]  # told the share that is done


class Firing(Struct, frozen=True, kw_only=True):
    """One alert that would have been. ``resolved_at`` is None when it would still fire at the end; ``worst`` is the
    value farthest beyond the limit while it fired, the one at which it fired where there is no limit."""

    labels: dict[str, str]
    fired_at: datetime
    resolved_at: datetime | None = None
    worst: float | None = None


class Backtest(Struct, frozen=True, kw_only=True):
    """What a rule would have done in a window. Seconds; ``alerts_a_month`` is per 30 days since there were data.

    It was looked at every ``step_seconds``, ``steps`` times, ``blind`` of which said nothing: no data, or too few
    events. Up to ``coarse_until``, of which raw events are gone, it was every ``coarse_seconds``. ``gap_seconds`` of
    each step were in no window, so that what happened there is not known; there would be no gaps in
    ``gapless_seconds``. For ``blind_seconds`` something fired on although there was nothing to judge it by.
    """

    rule: str
    condition: str
    unit: str
    window: Window
    step_seconds: float
    steps: int
    blind: int
    firings: tuple[Firing, ...] = field(default_factory=tuple)
    alerts_a_month: float = 0.0
    firing_seconds: float = 0.0
    longest_seconds: float = 0.0
    coarse_seconds: float | None = None
    coarse_until: datetime | None = None
    gap_seconds: float = 0.0
    gapless_seconds: float | None = None
    blind_seconds: float = 0.0


def backtest(
    rule: ThresholdRule, reader: Reader, project: str, window: Window, progress: Progress = lambda share: None
) -> Backtest:
    """Play the rule over the window, as far as its data are complete.

    Raises InvalidQuery for a window that is too long or has no data yet; UnknownMetric or EngineError as the reader.
    """
    if window.seconds > LONGEST_SECONDS:
        days = LONGEST_SECONDS / 86400
        raise InvalidQuery("a rule is tried on less than that", hint=f"Ask for {days:g} days at most.")
    window = Window(window.start, min(window.end, as_utc(reader.watermark())))
    record = _Record()
    book = AlertBook([rule], None, record.transition, project, window.start, lambda *_: None)
    steps = blind = 0
    blind_seconds = 0.0
    judged_from: datetime | None = None
    last_of: dict[float, datetime] = {}  # by step: the last look
    for at, reading, step in looks(rule, reader, project, window):
        book.enter(rule, reading, at)
        book.commit()
        steps += 1
        last_of[step] = at
        if any(condition.state == "nodata" and condition.has_fired for _, condition in book.of(rule)):
            blind_seconds += step
        measured = reading.rest is not None and reading.rest.n
        if not measured and all(seen.outcome == "nodata" for _, seen in reading.groups):
            blind += 1
        elif judged_from is None:
            judged_from = at - timedelta(seconds=step)
        progress((at - window.start).total_seconds() / window.seconds)
    finest, coarsest = min(last_of, default=0.0), max(last_of, default=0.0)
    judged = (window.end - (judged_from or window.start)).total_seconds()
    firings = record.firings(book.of(rule))
    lengths = [((one.resolved_at or window.end) - one.fired_at).total_seconds() for one in firings]
    gap = max(0.0, finest - rule.window_seconds)
    fitting = max((step for step in STEPS if step <= rule.window_seconds), default=None)
    return Backtest(
        rule=rule.name,
        condition=rule.condition,
        unit=rule.metric.unit,
        window=window,
        step_seconds=finest,
        steps=steps,
        blind=blind,
        firings=firings,
        alerts_a_month=len(firings) * MONTH / max(coarsest, judged),
        firing_seconds=sum(lengths),
        longest_seconds=max(lengths, default=0.0),
        coarse_seconds=coarsest if coarsest > finest else None,
        coarse_until=last_of[coarsest] if coarsest > finest else None,
        gap_seconds=gap,
        gapless_seconds=window.seconds * fitting / finest if gap and fitting else None,
        blind_seconds=blind_seconds,
    )


class _Record:
    """The firings as the book tells of them."""

    def __init__(self) -> None:
        self._open: dict[str, Firing] = {}
        self._over: list[Firing] = []

    def transition(self, event: Alert) -> None:
        key = fingerprint(event.labels)
        if event.state == "firing" and key not in self._open:
            self._open[key] = Firing(labels=dict(event.labels), fired_at=event.time, worst=event.worst)
        elif event.state == "resolved" and key in self._open:
            self._over.append(replace(self._open.pop(key), resolved_at=event.time, worst=event.worst))

    def firings(self, standing: Sequence[Entry]) -> tuple[Firing, ...]:
        """All of them; how bad those are that still fire is known to where they stand."""
        worst = {fingerprint(labels): condition.worst for labels, condition in standing}
        still = [replace(one, worst=worst.get(key, one.worst)) for key, one in self._open.items()]
        return tuple(sorted([*self._over, *still], key=lambda one: (one.fired_at, sorted(one.labels))))
