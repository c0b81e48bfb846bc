"""The life of one alert (a rule and a group of it) as a pure state machine: ``step`` and nothing else moves it.

    inactive ──breach──▶ pending ──held for `for`──▶ firing ──clear──▶ resolved ──15 min──▶ inactive
        any ──no data──▶ nodata, any ──not evaluated──▶ error; both lead back to where the next observation points

Reads observations from ``evaluator``, or of samples from ``prometheus``; ``alert_manager`` keeps the conditions and
records the transitions. Semantics follow Prometheus' alert generator specification where it speaks. Beyond it:

- Missing data and errors are states of their own: they never fire an alert, and they never resolve one that fires (it
  keeps its ``active_at`` and goes on when data are back). Missing data break the evidence of what was pending; an
  evaluation that failed says nothing about the system, so the wait goes on.
- ``between`` the threshold and the resolve threshold a firing alert goes on, and none begins.
- A group that has vanished is ``gone``: ``Policy.missing`` says what that means, and from when on.
- Silence while nobody could send is ``unheard``: it is no evidence, whatever a rule says that missing data mean.
- An observation that was skipped is not a step at all, so it neither resets nor resolves.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

State = Literal["inactive", "pending", "firing", "resolved", "nodata", "error"]
Outcome = Literal["breach", "between", "clear", "nodata", "error", "gone", "unheard"]
NoDataPolicy = Literal["nodata", "alerting", "ok", "keep"]
MissingPolicy = Literal["prometheus", "keep", "nodata"]

RESOLVED_SECONDS = 900.0  # how long "resolved" is said before it is "inactive"; Prometheus resends it as long
OUTAGE_SECONDS = 3600.0  # a pending alert not looked at for longer begins again (Prometheus' for-outage-tolerance)
VANISHED_SECONDS = 3600.0  # a firing group without a single event for so long is resolved as gone
LOOKBACK_SECONDS = 300.0  # for so long Prometheus takes the last sample of a series for its present value
MISSING_SERIES = "the group is gone (missing series)"


class Observation(Struct, frozen=True, kw_only=True):
    """What one evaluation saw of one group; ``threshold`` is the limit that was passed, ``reason`` why nothing was.

    ``breach``: the limit is passed; ``between``: it is not, nor is the resolve threshold; ``nodata``: the window says
    nothing; ``error``: it could not be asked; ``gone``: a group that was there is not in the answer; ``unheard``: there
    was nothing, but nobody could send for a part of the window, or nobody ever did.
    """

    outcome: Outcome
    value: float | None = None
    n: int = 0
    threshold: float | None = None
    reason: str = ""


class Policy(Struct, frozen=True, kw_only=True):
    """What a rule wants of its alerts' lives. Seconds throughout.

    ``for_seconds`` a breach must hold before it fires; ``keep_firing_seconds`` a clear value must hold before it
    resolves. ``no_data`` says what a window that says nothing means. ``missing`` says what a vanished group means
    for ``lookback_seconds``, after which it is clear. ``prometheus``: its last value holds, counted from when it was
    last there; ``keep``: nothing changes; ``nodata``: a state of its own; both counted from when it was found gone,
    so that a watch that was interrupted resolves nothing. ``outage_seconds`` is how long a pending alert may go
    without an observation.
    """

    for_seconds: float = 0.0
    keep_firing_seconds: float = 0.0
    no_data: NoDataPolicy = "nodata"
    missing: MissingPolicy = "nodata"
    lookback_seconds: float = VANISHED_SECONDS
    outage_seconds: float = OUTAGE_SECONDS


class Condition(Struct, frozen=True, kw_only=True):
    """Where one alert stands. Times are scheduled times of evaluations.

    ``since`` is when the state was entered, ``active_at`` when this alert's breach began (a new alert has a new one),
    ``fired_at`` when it fired, ``value`` what was measured last, ``evaluated_at`` the last step. ``seen_at`` is when
    the group was last there, ``gone_since`` when it was first found gone, ``clear_since`` since when a firing alert
    would be resolved if ``keep_firing_for`` did not hold it. ``worst`` is the value farthest beyond the limit since it
    fired, the one at which it fired where there is no limit. ``data_at`` is up to when there were data, known only of
    what fired and has none now.
    """

    state: State = "inactive"
    since: datetime | None = None
    active_at: datetime | None = None
    fired_at: datetime | None = None
    value: float | None = None
    threshold: float | None = None
    reason: str = ""
    evaluated_at: datetime | None = None
    seen_at: datetime | None = None
    gone_since: datetime | None = None
    clear_since: datetime | None = None
    data_at: datetime | None = None
    worst: float | None = None

    @property
    def has_fired(self) -> bool:
        """Whether it fires, or fired when data or evaluation were last there."""
        return self.fired_at is not None and self.state in ("firing", "nodata", "error")

    @property
    def is_waiting(self) -> bool:
        """Whether it is pending, or was when its rule could last be evaluated."""
        return self.active_at is not None and self.fired_at is None and self.state in ("pending", "error")


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
AT_ONCE = Policy()


def step(
    condition: Condition, observation: Observation, at: datetime, policy: Policy = AT_ONCE
) -> tuple[Condition, Transition | None]:
    """The condition after an observation at the scheduled time ``at``, and the transition if the state changed.

    A step is never taken back: an observation from before the last one changes nothing.
    """
    if condition.evaluated_at is not None and at < condition.evaluated_at:
        return condition, None
    seen = _meant(condition, observation, at, policy)
    after = _kept(condition) if seen is None else _NEXT[seen.outcome](condition, seen, at, policy)
    gone_since = condition.gone_since if observation.outcome in ("gone", "error") else None
    after = replace(
        after,
        evaluated_at=at,
        since=condition.since if after.state == condition.state else at,
        seen_at=condition.seen_at if observation.outcome in ("gone", "error") else at,
        gone_since=gone_since or (at if observation.outcome == "gone" else None),
    )
    aged = condition.state == "resolved" and after.state == "inactive"
    changed = after.state != condition.state and not aged
    return after, Transition(previous=condition.state, at=at, after=after) if changed else None


def _meant(condition: Condition, seen: Observation, at: datetime, policy: Policy) -> Observation | None:
    """The observation with what the rule says that missing data and vanished groups mean; None: nothing changes."""
    if seen.outcome == "gone":
        return _gone(condition, seen, at, policy)
    if seen.outcome == "unheard":
        return None if "keep" in (policy.no_data, policy.missing) else replace(seen, outcome="nodata")
    if seen.outcome != "nodata" or policy.no_data == "nodata":
        return seen
    if policy.no_data == "keep":
        return None
    return replace(seen, outcome="breach" if policy.no_data == "alerting" else "clear")


def _gone(condition: Condition, seen: Observation, at: datetime, policy: Policy) -> Observation | None:
    since = (condition.seen_at if policy.missing == "prometheus" else condition.gone_since) or at
    elapsed = (at - since).total_seconds() - policy.lookback_seconds
    if elapsed > 0 or (elapsed == 0 and policy.missing != "prometheus"):
        return replace(seen, outcome="clear", reason=MISSING_SERIES)
    if policy.missing == "keep":
        return None
    if policy.missing == "nodata":
        blind = replace(seen, outcome="nodata")
        return _meant(condition, blind, at, policy) if condition.has_fired else blind
    holds = (condition.has_fired or condition.is_waiting) and condition.clear_since is None
    outcome: Outcome = "breach" if holds else "clear"
    return Observation(outcome=outcome, value=condition.value, threshold=condition.threshold, reason=seen.reason)


def _kept(condition: Condition) -> Condition:
    """As it was; its rule could be evaluated, so that an error is over."""
    if condition.state != "error":
        return condition
    state: State = "firing" if condition.has_fired else "pending" if condition.is_waiting else "inactive"
    return replace(condition, state=state, reason="")


def _breach(condition: Condition, seen: Observation, at: datetime, policy: Policy) -> Condition:
    measured = replace(
        condition, value=seen.value, threshold=seen.threshold, reason=seen.reason, data_at=None, clear_since=None
    )
    if condition.has_fired:
        return replace(measured, state="firing", worst=_worse(condition.worst, seen))
    active_at = condition.active_at
    if active_at is None or not condition.is_waiting or _interrupted(condition, at, policy):
        active_at = at
    if at - active_at >= timedelta(seconds=policy.for_seconds):
        return replace(measured, state="firing", active_at=active_at, fired_at=at, worst=seen.value)
    return replace(measured, state="pending", active_at=active_at, fired_at=None, worst=None)


def _worse(worst: float | None, seen: Observation) -> float | None:
    if worst is None or seen.value is None or seen.threshold is None:
        return seen.value if worst is None else worst
    return max(worst, seen.value) if seen.value >= seen.threshold else min(worst, seen.value)


def _between(condition: Condition, seen: Observation, at: datetime, policy: Policy) -> Condition:
    """Not above the threshold any more, but not below the resolve threshold either."""
    if not condition.has_fired:
        return _clear(condition, seen, at, policy)
    return replace(condition, state="firing", value=seen.value, reason=seen.reason, data_at=None, clear_since=None)


def _clear(condition: Condition, seen: Observation, at: datetime, policy: Policy) -> Condition:
    measured = replace(condition, value=seen.value, reason=seen.reason, data_at=None, clear_since=None)
    if condition.has_fired:
        clear_since = condition.clear_since or at
        if (at - clear_since).total_seconds() < policy.keep_firing_seconds:
            return replace(measured, state="firing", clear_since=clear_since)
        return replace(measured, state="resolved")
    if condition.state == "resolved" and not has_aged(condition, at):
        return measured
    return Condition(value=seen.value, reason=seen.reason)


def _nodata(condition: Condition, seen: Observation, at: datetime, policy: Policy) -> Condition:
    """Nothing is known now: what fired is remembered with its last value, anything else is not."""
    if condition.has_fired:
        return replace(condition, state="nodata", reason=seen.reason)
    return Condition(state="nodata", value=condition.value, reason=seen.reason)


def _error(condition: Condition, seen: Observation, at: datetime, policy: Policy) -> Condition:
    """Nothing is known of the system at all: what fired is remembered, and what waits goes on waiting."""
    if condition.has_fired or condition.is_waiting:
        return replace(condition, state="error", reason=seen.reason)
    return Condition(state="error", value=condition.value, reason=seen.reason)


_NEXT = {"breach": _breach, "between": _between, "clear": _clear, "nodata": _nodata, "error": _error}


def _interrupted(condition: Condition, at: datetime, policy: Policy) -> bool:
    last = condition.evaluated_at
    if condition.state == "error":
        last = condition.seen_at
    return last is not None and (at - last).total_seconds() > policy.outage_seconds


def has_aged(condition: Condition, at: datetime) -> bool:
    """Whether what was resolved is so no more, after so long."""
    return condition.since is None or (at - condition.since).total_seconds() >= RESOLVED_SECONDS


def is_active(condition: Condition, for_seconds: float) -> bool:
    """Whether people are to be told of it, as of its last evaluation.

    It fires; or it fired and nothing that could resolve it was seen since; or its rule cannot be evaluated and has
    not been for as long as ``for``.
    """
    if condition.has_fired:
        return True
    if condition.state != "error" or condition.since is None or condition.evaluated_at is None:
        return False
    return (condition.evaluated_at - condition.since).total_seconds() >= for_seconds


def shifted(condition: Condition, seconds: float) -> Condition:
    """The condition after the wall clock was stepped: what has not fired keeps the time it has really waited."""
    by = timedelta(seconds=seconds)

    def move(moment: datetime | None) -> datetime | None:
        return None if moment is None else moment + by

    moved = replace(
        condition,
        since=move(condition.since),
        evaluated_at=move(condition.evaluated_at),
        seen_at=move(condition.seen_at),
        gone_since=move(condition.gone_since),
        clear_since=move(condition.clear_since),
    )
    if condition.has_fired:  # its active_at is its identity and stays
        return moved
    return replace(moved, active_at=move(condition.active_at), fired_at=move(condition.fired_at))
