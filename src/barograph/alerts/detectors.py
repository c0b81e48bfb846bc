"""The detectors of the anomaly rules: one a group, fed point by point, kept from one life to the next.

``evaluator`` asks which points are due, hands in the answer and reads what stands; between two points the last verdict
is repeated. ``book`` saves what was learned in the transaction that saves the alerts. A rule that begins reads its
stored past first; one that was away takes what it missed, so each point is taken once, in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from barograph.alerts.alert import fingerprint
from barograph.alerts.lifecycle import Observation
from barograph.alerts.look import labels_of, look
from barograph.alerts.rules.anomaly import POINTS, AnomalyRule
from barograph.alerts.rules.threshold import GROUP_LIMIT, ThresholdRule
from barograph.control.alert_states import DetectorRow, Identity
from barograph.core.query import MetricQuery, MetricRow, Window
from barograph.core.unit import format_value
from barograph.stats.baseline import LEARNING, Detector, DetectorState
from barograph.stats.explanation import explain
from barograph.stats.packed import from_text, to_text
from barograph_client.errors import BarographError

START = datetime(1970, 1, 1, tzinfo=UTC)
Key = tuple[str, str]  # rule, fingerprint
Groups = tuple[tuple[dict[str, str], Observation], ...]


class Kept(Struct, frozen=True, kw_only=True):
    """A series at rest. ``series`` says what its points are of, ``points`` how many were judged.

    ``last`` is what was seen at ``at``, the end of its last point; ``since`` is when that outcome began.
    """

    series: str
    points: int
    at: datetime
    since: datetime
    last: Observation
    detector: DetectorState


class _Series:
    """One group's detector and what it saw last."""

    def __init__(self, rule: AnomalyRule, labels: dict[str, str], kept: Kept | None = None) -> None:
        self.labels = labels
        self._rule = rule
        self._detector = Detector(rule.sensitivity, kept.detector if kept else None)
        self.points = kept.points if kept else 0
        self.at = kept.at if kept else START
        self.since = kept.since if kept else START
        self.last = kept.last if kept else Observation(outcome="nodata")

    def kept(self) -> Kept:
        return Kept(
            series=self._rule.series,
            points=self.points,
            at=self.at,
            since=self.since,
            last=self.last,
            detector=self._detector.state(),
        )

    def is_of(self, rule: AnomalyRule) -> bool:
        """Whether what was learned is of the rule's points."""
        return self._rule.series == rule.series

    def under(self, rule: AnomalyRule) -> _Series:
        """The same, judged as that rule says from now on."""
        return self if rule == self._rule else _Series(rule, self.labels, self.kept())

    def take(self, row: MetricRow) -> None:
        """Judge the next point. One with too few events is a missing one to the detector."""
        seen = look(self._rule, row)
        enough = seen.outcome == "clear"
        verdict = self._detector.update(row.start, row.value if enough else None)
        if enough:
            self.points += 1
            if verdict.learning:
                reason = f"learning what is usual: {self.points} of {LEARNING} points are known"
                seen = replace(seen, reason=reason)
            elif verdict.anomalous:
                words = explain(verdict, lambda value: format_value(value, self._rule.metric.unit))
                seen = replace(seen, outcome="breach", reason=words)
        if seen.outcome != self.last.outcome:
            self.since = row.end
        self.at, self.last = row.end, seen


class Detectors:
    """All detectors of one project's rules. One thread at a time."""

    def __init__(
        self,
        rules: Iterable[ThresholdRule],
        project: str,
        now: datetime | None = None,
        kept: Iterable[DetectorRow] = (),
    ) -> None:
        self._project = project
        self._series: dict[str, dict[str, _Series]] = {}
        self._taken: dict[str, datetime] = {}
        self._stored: set[Key] = set()  # in the control plane
        self._changed: set[Key] = set()
        known = {rule.name: rule for rule in rules if isinstance(rule, AnomalyRule)}
        for row in kept:
            self._stored.add((row.rule, row.fingerprint))
            if row.rule in known:
                self._restore(known[row.rule], row)
        if now is not None:
            self.cut(now)

    def _restore(self, rule: AnomalyRule, row: DetectorRow) -> None:
        """What no longer decodes, or was learned of another series, is forgotten: that group begins anew."""
        try:
            kept = from_text(row.state, Kept)
            if kept.series != rule.series:
                return
            Detector(rule.sensitivity, kept.detector).update(kept.at, kept.last.value or 0.0)  # does it work at all?
            series = _Series(rule, dict(row.labels), kept)
        except (BarographError, ValueError, TypeError, LookupError, ArithmeticError):
            return
        self._series.setdefault(rule.name, {})[row.fingerprint] = series
        self._taken[rule.name] = max(series.at, self._taken.get(rule.name, START))

    def watch(self, rules: Iterable[ThresholdRule]) -> None:
        """The rules are these from now on. What was learned goes on where it is of the same series, else it is lost."""
        known = {rule.name: rule for rule in rules if isinstance(rule, AnomalyRule)}
        before, self._series = self._series, {}
        for name, groups in before.items():
            rule = known.get(name)
            kept = {key: series.under(rule) for key, series in groups.items() if rule and series.is_of(rule)}
            if kept:
                self._series[name] = kept
            else:
                self._taken.pop(name, None)

    def cut(self, now: datetime) -> None:
        """The clock was set back: what was taken ahead of it does not keep new points from being taken."""
        self._taken = {name: min(taken, now) for name, taken in self._taken.items()}
        for groups in self._series.values():
            for series in groups.values():
                series.at, series.since = min(series.at, now), min(series.since, now)

    def questions(self, rule: AnomalyRule, end: datetime) -> tuple[MetricQuery, ...]:
        """What to ask, in order, for the points that are over at ``end`` and were not taken; nothing when none are.

        At most ``POINTS``, the newest: so many of the stored past are taken when nothing is known yet.
        """
        until = rule.floor(end)
        start = until - timedelta(seconds=POINTS * rule.window_seconds)
        taken = self._taken.get(rule.name)
        if taken is not None:
            start = max(start, rule.floor(taken))
        return rule.points(Window(start, until), self._project) if start < until else ()

    def take(self, rule: AnomalyRule, rows: Iterable[MetricRow], complete_to: datetime) -> None:
        """Judge the points of the answers that are over at ``complete_to``; those taken before are left out."""
        until = rule.floor(complete_to)
        groups = self._series.setdefault(rule.name, {})
        for row in sorted(rows, key=lambda row: row.end):
            if row.end > until or (rule.by and not row.n):
                continue
            labels = labels_of(rule, row)
            key = fingerprint(labels)
            series = groups.get(key)
            if series is None:
                series = groups[key] = _Series(rule, labels)
            if row.end > series.at:
                series.take(row)
                self._changed.add((rule.name, key))
        self._taken[rule.name] = max(until, self._taken.get(rule.name, until))
        self._forget(rule, until)

    def _forget(self, rule: AnomalyRule, until: datetime) -> None:
        """Keep the groups that were seen lately: those of the last ``remembered_seconds``, and no more than watched."""
        oldest = until - timedelta(seconds=rule.remembered_seconds)
        groups = self._series[rule.name]
        newest = sorted(groups, key=lambda key: groups[key].at, reverse=True)[:GROUP_LIMIT]
        self._series[rule.name] = {key: groups[key] for key in newest if groups[key].at >= oldest}

    def judged(self, rule: ThresholdRule, end: datetime) -> tuple[Groups, str]:
        """What each group shows whose last point is the newest, and a sentence when these are not all.

        A look at a time before the present anomaly began sees none.
        """
        taken = self._taken.get(rule.name)
        present = [series for series in self._series.get(rule.name, {}).values() if series.at == taken]
        groups = tuple((series.labels, _at(series, end)) for series in present)
        full = len(present) >= GROUP_LIMIT
        return groups, f"only the {GROUP_LIMIT} largest groups are watched" if full else ""

    def unsaved(self) -> tuple[list[DetectorRow], list[Identity]]:
        """What changed since ``saved``, and what is stored but not known any more."""
        known = self._known()
        changed = [self._row(key, known[key]) for key in sorted(self._changed & known.keys())]
        return changed, [(self._project, *key) for key in sorted(self._stored - known.keys())]

    def saved(self) -> None:
        """What ``unsaved`` told is in the control plane."""
        known = self._known().keys()
        self._stored = (self._stored | self._changed) & known
        self._changed.clear()

    def _known(self) -> dict[Key, _Series]:
        return {(rule, key): series for rule, groups in self._series.items() for key, series in groups.items()}

    def _row(self, key: Key, series: _Series) -> DetectorRow:
        return DetectorRow(
            project=self._project,
            rule=key[0],
            fingerprint=key[1],
            labels=series.labels,
            state=to_text(series.kept()),
            updated_at=series.at,
        )


def _at(series: _Series, end: datetime) -> Observation:
    if series.last.outcome == "breach" and end < series.since:
        return replace(series.last, outcome="clear", reason="")
    return series.last
