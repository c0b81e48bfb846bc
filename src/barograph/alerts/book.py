"""The book of conditions: where every alert of every rule stands, in memory and in the control plane.

``alert_manager`` enters readings; the book moves each group by ``lifecycle.step``, and at the end of an evaluation
records the transitions as events and saves the states in one transaction, so that a restart goes on where it was.
"""

from __future__ import annotations

import json
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

from msgspec.structs import replace

from barograph.alerts.active_alert import say
from barograph.alerts.alert import fingerprint
from barograph.alerts.detectors import START, Detectors
from barograph.alerts.evaluator import Reading
from barograph.alerts.lifecycle import INACTIVE, Condition, Observation, State, Transition, has_aged, shifted, step
from barograph.alerts.rule import GROUP_LIMIT, ThresholdRule
from barograph.control.alert_states import AlertState, AlertStateRepository
from barograph.core.event import MAX_NUMBER, Alert
from barograph.core.unit import format_value
from barograph_client.errors import BarographError, InvalidInput, shorten
from barograph_client.identifiers import derived_id

MOST_GROUPS = 2 * GROUP_LIMIT  # of a rule, with those that fire and are not among the watched ones any more
MOST_UNRECORDED = 1000  # transitions kept in memory while they cannot be written
_LABEL_LENGTH = 256  # of an event's label

Key = tuple[str, str]  # rule, fingerprint
Entry = tuple[dict[str, str], Condition]
Gone = Callable[[str], str]
DataUntil = Callable[[ThresholdRule, Mapping[str, str], datetime], datetime | None]


class AlertBook:
    """The conditions of one project's alerts. ``of`` may be called from any thread, the rest from one at a time."""

    def __init__(
        self,
        rules: Sequence[ThresholdRule],
        states: AlertStateRepository | None,
        record: Callable[[Alert], object],
        project: str,
        now: datetime,
        data_until: DataUntil,
        detectors: Detectors | None = None,
        gone: Gone = lambda name: "",
    ) -> None:
        """``states`` keeps them from one life to the next: None for a rule that is tried, or looked at.

        ``gone`` says what has become of a rule that is not among those watched; '' of one that is."""
        self._states = states
        self._gone = gone
        self._detectors = detectors if detectors is not None else Detectors((), project)
        self._data_until = data_until
        self._record = record
        self._project = project
        self._lock = threading.Lock()
        self._entries: dict[Key, Entry] = {}
        self._kept: dict[Key, AlertState] = {}  # as the control plane has them
        self._unrecorded: deque[Alert] = deque(maxlen=MOST_UNRECORDED)
        self._load(rules, now)

    @property
    def unrecorded(self) -> int:
        return len(self._unrecorded)

    @property
    def evaluated_to(self) -> datetime:
        """When anything that still stands was evaluated last."""
        with self._lock:
            times = [condition.evaluated_at for _, condition in self._entries.values() if condition.evaluated_at]
        return max(times, default=START)

    def of(self, rule: ThresholdRule) -> list[Entry]:
        """The rule's groups and where they stand."""
        with self._lock:
            return [entry for (name, _), entry in self._entries.items() if name == rule.name]

    def watch_only(self, rules: Sequence[ThresholdRule], now: datetime) -> None:
        """The rules are these from now on. What stands of others, or of groups that a rule has no more, is dropped;
        what fired of it is resolved."""
        known = {rule.name: rule for rule in rules}
        with self._lock:
            dropped = {key: entry for key, entry in self._entries.items() if not _has(known.get(key[0]), entry[0])}
            self._entries = {key: entry for key, entry in self._entries.items() if key not in dropped}
        for key, (labels, condition) in dropped.items():
            if condition.has_fired:
                self._unrecorded.append(self._removed(self._stored(key, labels, condition), now))

    def watched(self, rule: ThresholdRule, at: datetime, seconds: float) -> bool:
        """Whether the rule was evaluated within so many seconds before ``at``."""
        last = [condition.evaluated_at for _, condition in self.of(rule) if condition.evaluated_at is not None]
        return bool(last) and (at - max(last)).total_seconds() <= seconds

    def shift(self, seconds: float) -> None:
        """The wall clock was stepped: see ``lifecycle.shifted``."""
        with self._lock:
            self._entries = {
                key: (labels, shifted(condition, seconds)) for key, (labels, condition) in self._entries.items()
            }

    def apart(self, data_until: DataUntil) -> AlertBook:
        """A book that stands where this one does and is kept nowhere: what is entered there changes nothing here."""
        made = AlertBook((), None, lambda event: None, self._project, START, data_until)
        with self._lock:
            made._entries = dict(self._entries)
        return made

    def enter(self, rule: ThresholdRule, reading: Reading, at: datetime) -> None:
        """Move the rule's conditions by what was read at the scheduled time ``at``."""
        if not rule.by:
            _, condition = self._entries.get((rule.name, fingerprint({})), ({}, INACTIVE))
            self._move(rule, {}, _whole(rule, reading, condition), at)
            return
        self._enter_rule_itself(rule, reading, at)
        if reading.error:
            return  # as for a tick that was skipped: the groups stand as they are
        present = {fingerprint(labels) for labels, _ in reading.groups}
        for labels, seen in reading.groups:
            self._move(rule, labels, seen, at)
        for labels, condition in self.of(rule):
            if labels and fingerprint(labels) not in present:
                self._miss(rule, labels, condition, reading, at)

    def _enter_rule_itself(self, rule: ThresholdRule, reading: Reading, at: datetime) -> None:
        """A grouped rule that fails, or sees no group at all, is one alert, not one a group."""
        if reading.error:
            self._move(rule, {}, Observation(outcome="error", reason=reading.error), at)
        elif not reading.groups:
            self._move(rule, {}, reading.rest or _nothing(reading, "no group has any event in the window"), at)
        else:
            self._move(rule, {}, Observation(outcome="clear"), at)
            with self._lock:
                self._entries.pop((rule.name, fingerprint({})), None)

    def _miss(
        self, rule: ThresholdRule, labels: dict[str, str], condition: Condition, reading: Reading, at: datetime
    ) -> None:
        """A group without any event: what it means is the rule's choice; one that is not active is forgotten, but
        what was resolved lately is told first."""
        if condition.state == "resolved" and not has_aged(condition, at):
            return
        seen = Observation(outcome="gone", value=condition.value, reason="the group has no events any more")
        if reading.rest:
            seen = _ended(rule, reading.rest, condition)
        unknown = reading.unheard or reading.note  # a group that is not among those watched may be as bad as before
        if unknown and len(self.of(rule)) <= MOST_GROUPS:
            seen = replace(seen, outcome="unheard", reason=unknown)
        after = self._move(rule, labels, seen, at)
        if not after.has_fired and not after.is_waiting and after.state != "resolved":
            with self._lock:
                self._entries.pop((rule.name, fingerprint(labels)), None)

    def _move(self, rule: ThresholdRule, labels: dict[str, str], seen: Observation, at: datetime) -> Condition:
        key = (rule.name, fingerprint(labels))
        _, before = self._entries.get(key, ({}, INACTIVE))
        whole_rule = bool(rule.by) and not labels
        policy = replace(rule.policy, keep_firing_seconds=0.0) if whole_rule else rule.policy
        after, transition = step(before, seen, at, policy)
        if after.state == "nodata" and after.has_fired and after.data_at is None:
            after = replace(after, data_at=self._data_until(rule, labels, at))
            transition = replace(transition, after=after) if transition else None
        with self._lock:
            self._entries[key] = (labels, after)
        if transition is not None and not transition.quiet:
            self._unrecorded.append(self._event(rule, labels, transition))
        return after

    def _event(self, rule: ThresholdRule, labels: dict[str, str], transition: Transition) -> Alert:
        after = transition.after
        parts = (self._project, rule.name, fingerprint(labels), after.state, transition.at.isoformat())
        return Alert(
            event_id=derived_id(json.dumps(parts), "alert"),
            time=transition.at,
            project=self._project,
            origin="internal",
            rule=rule.name,
            state=after.state,
            previous=transition.previous,
            severity=rule.severity,
            metric=rule.metric.name[:_LABEL_LENGTH],
            value=_bounded(after.value),
            threshold=_bounded(after.threshold),
            worst=_bounded(after.worst),
            labels={name: value[:_LABEL_LENGTH] for name, value in labels.items()},
            message=say(rule, labels, after, transition.at),
        )

    def commit(self) -> list[Exception]:
        """Record what has changed, then save the states; what fails is returned and tried again next time."""
        failures: list[Exception] = []
        while self._unrecorded:
            try:
                self._record(self._unrecorded[0])
            except InvalidInput as error:  # it will never be taken, and must not hold up those behind it
                failures.append(error)
            except Exception as error:  # a full disk must not stop the watch
                failures.append(error)
                break
            self._unrecorded.popleft()
        try:
            self._save()
        except BarographError as error:
            failures.append(error)
        return failures

    def _save(self) -> None:
        if self._states is None:
            return
        with self._lock:
            entries = dict(self._entries)
        wanted = {
            key: self._stored(key, labels, condition)
            for key, (labels, condition) in entries.items()
            if condition.state != "inactive"
        }
        changed = {key: state for key, state in wanted.items() if state != self._kept.get(key)}
        gone = {key: state for key, state in self._kept.items() if key not in wanted}
        learned, forgotten = self._detectors.unsaved()
        if changed or gone or learned or forgotten:
            self._states.save(changed.values(), gone=gone.values(), detectors=learned, forgotten=forgotten)
            self._kept = wanted
            self._detectors.saved()

    def _stored(self, key: Key, labels: dict[str, str], condition: Condition) -> AlertState:
        """As the control plane keeps it. What has not fired is active since it is what it is.

        ``updated_at`` is the last evaluation while an alert is active; a rule without data is written only when it
        changes, so that a quiet night costs no writes.
        """
        idle = condition.state in ("nodata", "error", "resolved") and not condition.has_fired
        moment = condition.since if idle else condition.evaluated_at
        active_at = condition.active_at or condition.since
        return AlertState(
            project=self._project,
            rule=key[0],
            fingerprint=key[1],
            labels=labels,
            state=condition.state,
            active_at=active_at,
            fired_at=condition.fired_at,
            value=_bounded(condition.value),
            updated_at=cast(datetime, moment or active_at),
            since=condition.since,
            seen_at=None if idle and not condition.is_waiting else condition.seen_at,
            gone_since=condition.gone_since,
            clear_since=condition.clear_since,
            threshold=_bounded(condition.threshold),
            worst=_bounded(condition.worst),
        )

    def _load(self, rules: Sequence[ThresholdRule], now: datetime) -> None:
        """The states of the last run. Those of a rule that was removed are dropped; what fired is resolved."""
        known = {rule.name: rule for rule in rules}
        for state in self._states.load(self._project) if self._states else ():
            key = (state.rule, state.fingerprint)
            self._kept[key] = state
            restored = _restored(state, now)
            if _has(known.get(state.rule), state.labels):
                self._entries[key] = (dict(state.labels), restored)
            elif restored.has_fired:
                self._unrecorded.append(self._removed(state, now))

    def _removed(self, state: AlertState, now: datetime) -> Alert:
        parts = (self._project, state.rule, state.fingerprint, "removed", str(state.active_at))
        return Alert(
            event_id=derived_id(json.dumps(parts), "alert"),
            time=now,
            project=self._project,
            origin="internal",
            rule=state.rule,
            state="removed",
            previous=state.state,
            value=state.value,
            worst=state.worst,
            labels={name: value[:_LABEL_LENGTH] for name, value in state.labels.items()},
            message=f"RESOLVED: the rule {shorten(state.rule)} {self._gone(state.rule) or 'groups otherwise now'}",
        )


def _has(rule: ThresholdRule | None, labels: Mapping[str, str]) -> bool:
    """Whether there is the rule and it can have that group."""
    return rule is not None and labels.keys() <= set(rule.by)


def _whole(rule: ThresholdRule, reading: Reading, condition: Condition) -> Observation:
    """What a rule without groups shows."""
    if reading.error:
        return Observation(outcome="error", reason=reading.error)
    if reading.groups:
        return reading.groups[0][1]
    if reading.rest:
        return _ended(rule, reading.rest, condition)
    if rule.policy.missing == "prometheus":
        return Observation(outcome="gone", reason=rule.nothing)
    return _nothing(reading, rule.nothing)


def _ended(rule: ThresholdRule, rest: Observation, condition: Condition) -> Observation:
    """What a group shows that is not there any more, of a rule that says so: why, or its last value."""
    last = "" if condition.value is None else f"last: {format_value(condition.value, rule.metric.unit)}"
    return replace(rest, value=condition.value, reason=rule.over or last)


def _nothing(reading: Reading, reason: str) -> Observation:
    """No group at all."""
    return Observation(outcome="unheard" if reading.unheard else "nodata", reason=reason)


def _restored(state: AlertState, now: datetime) -> Condition:
    """The condition that was kept; times ahead of a clock that was set back since are cut to now."""

    def past(moment: datetime | None) -> datetime | None:
        return None if moment is None else min(moment, now)

    fired = state.fired_at is not None
    entered = state.since
    if entered is None:  # of a version that did not keep it
        entered = state.active_at if not fired else state.fired_at if state.state == "firing" else state.updated_at
    condition = Condition(
        state=cast(State, state.state),
        since=past(entered) or now,
        active_at=state.active_at,
        fired_at=state.fired_at,
        value=state.value,
        threshold=state.threshold,
        worst=state.worst,
        evaluated_at=past(state.updated_at),
        seen_at=past(state.seen_at or state.updated_at),
        gone_since=past(state.gone_since),
        clear_since=past(state.clear_since),
    )
    if fired:
        return condition
    waits = state.state == "pending" or (state.state == "error" and state.since not in (None, state.active_at))
    return replace(condition, active_at=past(state.active_at) if waits else None)


def _bounded(value: float | None) -> float | None:
    """What an event and the control plane can hold: finite, or nothing for a value that is not a number."""
    if value is None or math.isnan(value):
        return None
    return max(-MAX_NUMBER, min(MAX_NUMBER, value))
