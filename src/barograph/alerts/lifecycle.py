"""The life of one alert (a rule and a group of it) as a pure state machine: ``step`` and nothing else moves it.

    inactive ──breach──▶ pending ──held for `for`──▶ firing ──clear──▶ resolved ──15 min──▶ inactive
        any ──no data──▶ nodata, any ──not evaluated──▶ error; both lead back to where the next observation points

Reads observations from ``evaluator``; ``alert_manager`` keeps the conditions and records the transitions. Semantics
follow Prometheus' alert generator specification where it speaks; beyond it, missing data and errors are states of
their own: they never fire an alert, and they never resolve one that fires (it keeps its ``active_at`` and goes on
when data are back). What was pending begins again, because its evidence was interrupted. An observation that was
skipped is not a step at all, so it neither resets nor resolves.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

State = Literal["inactive", "pending", "firing", "resolved", "nodata", "error"]
Outcome = Literal["breach", "clear", "nodata", "error"]
NoDataPolicy = Literal["nodata", "alerting", "ok", "keep"]

RESOLVED_SECONDS = 900.0  # how long "resolved" is said before it is "inactive"; Prometheus resends it as long
OUTAGE_SECONDS = 3600.0  # a pending alert not looked at for longer begins again (Prometheus' for-outage-tolerance)


class Observation(Struct, frozen=True, kw_only=True):
    """What one evaluation saw of one group; ``threshold`` is the limit that was passed, ``reason`` why nothing was."""

    outcome: Outcome
    value: float | None = None
    n: int = 0
    threshold: float | None = None
    reason: str = ""


class Condition(Struct, frozen=True, kw_only=True):
    """Where one alert stands. Times are scheduled times of evaluations.

    ``since`` is when the state was entered, ``active_at`` when this alert's breach began (a new alert has a new one),
    ``fired_at`` when it fired, ``value`` what was measured last, ``evaluated_at`` the last step. ``data_at`` is up to
    when there were data, known only of what fired and has none now.
    """

    state: State = "inactive"
    since: datetime | None = None
    active_at: datetime | None = None
    fired_at: datetime | None = None
    value: float | None = None
    threshold: float | None = None
    reason: str = ""
    evaluated_at: datetime | None = None
    data_at: datetime | None = None

    @property
    def has_fired(self) -> bool:
        """Whether it fires, or fired when data or evaluation were last there."""
        return self.fired_at is not None and self.state in ("firing", "nodata", "error")


class Transition(Struct, frozen=True, kw_only=True):
    """A change of state at a scheduled time."""

    previous: State
    at: datetime
    after: Condition

    @property
    def quiet(self) -> bool:
        """Whether nobody could care: data came or went while nothing was active."""
        return self.after.state in ("inactive", "nodata") and self.previous in ("inactive", "resolved", "nodata")


INACTIVE = Condition()


def step(
    condition: Condition,
    observation: Observation,
    at: datetime,
    *,
    for_seconds: float = 0.0,
    no_data: NoDataPolicy = "nodata",
) -> tuple[Condition, Transition | None]:
    """The condition after an observation at the scheduled time ``at``, and the transition if the state changed.

    A step is never taken back: an observation from before the last one changes nothing.
    """
    if condition.evaluated_at is not None and at < condition.evaluated_at:
        return condition, None
    outcome = observation.outcome
    if outcome == "nodata" and no_data != "nodata":
        if no_data == "keep":
            return replace(condition, evaluated_at=at), None
        outcome = "breach" if no_data == "alerting" else "clear"
    after = _NEXT[outcome](condition, observation, at, for_seconds)
    after = replace(after, evaluated_at=at, since=condition.since if after.state == condition.state else at)
    aged = condition.state == "resolved" and after.state == "inactive"
    changed = after.state != condition.state and not aged
    return after, Transition(previous=condition.state, at=at, after=after) if changed else None


def _breach(condition: Condition, seen: Observation, at: datetime, for_seconds: float) -> Condition:
    measured = replace(condition, value=seen.value, threshold=seen.threshold, reason=seen.reason, data_at=None)
    if condition.has_fired:
        return replace(measured, state="firing")
    active_at = condition.active_at
    if condition.state != "pending" or active_at is None or _interrupted(condition, at):
        active_at = at
    if at - active_at >= timedelta(seconds=for_seconds):
        return replace(measured, state="firing", active_at=active_at, fired_at=at)
    return replace(measured, state="pending", active_at=active_at, fired_at=None)


def _clear(condition: Condition, seen: Observation, at: datetime, for_seconds: float) -> Condition:
    measured = replace(condition, value=seen.value, reason=seen.reason, data_at=None)
    if condition.has_fired:
        return replace(measured, state="resolved")
    if condition.state == "resolved" and not _aged(condition, at):
        return measured
    return Condition(value=seen.value)


def _nodata(condition: Condition, seen: Observation, at: datetime, for_seconds: float) -> Condition:
    return _blind(condition, "nodata", seen.reason)


def _error(condition: Condition, seen: Observation, at: datetime, for_seconds: float) -> Condition:
    return _blind(condition, "error", seen.reason)


def _blind(condition: Condition, state: State, reason: str) -> Condition:
    """Nothing is known now: what fired is remembered with its last value, anything else is not."""
    if condition.has_fired:
        return replace(condition, state=state, reason=reason)
    return Condition(state=state, value=condition.value, reason=reason)


_NEXT = {"breach": _breach, "clear": _clear, "nodata": _nodata, "error": _error}


def _interrupted(condition: Condition, at: datetime) -> bool:
    last = condition.evaluated_at
    return last is not None and (at - last).total_seconds() > OUTAGE_SECONDS


def _aged(condition: Condition, at: datetime) -> bool:
    return condition.since is None or (at - condition.since).total_seconds() >= RESOLVED_SECONDS


def is_active(condition: Condition, at: datetime, for_seconds: float) -> bool:
    """Whether people are to be told of it at ``at``.

    It fires; or it fired and nothing that could resolve it was seen since; or its rule cannot be evaluated and has
    not been for as long as ``for``.
    """
    if condition.has_fired:
        return True
    if condition.state != "error" or condition.since is None:
        return False
    return (at - condition.since).total_seconds() >= for_seconds


def shifted(condition: Condition, seconds: float) -> Condition:
    """The condition after the wall clock was stepped: what has not fired keeps the time it has really waited."""
    by = timedelta(seconds=seconds)

    def move(moment: datetime | None) -> datetime | None:
        return None if moment is None else moment + by

    if condition.has_fired:  # its active_at is its identity and stays
        return replace(condition, evaluated_at=move(condition.evaluated_at), since=move(condition.since))
    return replace(
        condition,
        since=move(condition.since),
        active_at=move(condition.active_at),
        fired_at=move(condition.fired_at),
        evaluated_at=move(condition.evaluated_at),
    )
