"""A cumulative sum that watches a series as it comes and says when its level has stepped.

The companion of ``change_points`` for values that are still coming: constant time and memory a value, and a state that
is a frozen struct of numbers, so that it can be stored and taken up again. Self-starting (Hawkins 1987, "Self-starting
CUSUM charts for location and scale"): each value is set against the mean and spread of those before it, which turns
normal noise of any level and scale into independent standard normal values; these are summed up as in Page 1954.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from barograph.stats.distributions import normal_quantile, t_tail
from barograph.stats.summary import ROUNDING_SHARE
from barograph_client.errors import InvalidInput

Direction = Literal["up", "down"]

ALLOWANCE = 0.5  # standard deviations that a value may be off: best for steps of twice that size (Page 1954)
WARM_UP = 8  # values from which the level and spread are guessed before one is judged
_OVERSHOOT = 1.166  # by which a sum of normal steps passes its bound (Siegmund 1985, "Sequential Analysis", ch. 10)
_LARGEST = 1e150  # what is larger counts as this; its square still has a double
_FURTHEST = 1e-15  # tail below which a value is as far off as any


class Cusum(Struct, frozen=True, gc=False):
    """What is known of a series so far: ``n`` values with ``mean`` and ``m2`` (as in ``Summary``), and both sums.

    ``since_up`` and ``since_down`` count the values since the sum was last zero: where the step began, if it is one.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    up: float = 0.0
    down: float = 0.0
    since_up: int = 0
    since_down: int = 0


class Step(Struct, frozen=True, kw_only=True):
    """An alarm: the level went ``direction`` and has been there for ``age`` values, the one just seen included."""

    direction: Direction
    age: int


def watch(state: Cusum, value: float | None, bound: float) -> tuple[Cusum, Step | None]:
    """The state after one more value, and the alarm that it raises.

    ``bound`` is in standard deviations, see ``bound_for``. After an alarm all is learned anew, beginning with this
    value. None and what is not finite change nothing. Where all values were the same, any other is as far off as can
    be: eight standard deviations.
    """
    if value is None or not math.isfinite(value):
        return state, None
    value = min(max(value, -_LARGEST), _LARGEST)
    score = _score(state, value)
    up, down = max(0.0, state.up + score - ALLOWANCE), max(0.0, state.down - score - ALLOWANCE)
    since_up, since_down = (state.since_up + 1) * (up > 0), (state.since_down + 1) * (down > 0)
    if max(up, down) > bound:
        step = Step(direction="up", age=since_up) if up >= down else Step(direction="down", age=since_down)
        return Cusum(n=1, mean=value), step
    n = state.n + 1
    away = value - state.mean
    mean = state.mean + away / n
    return replace(
        state, n=n, mean=mean, m2=state.m2 + away * (value - mean), up=up, down=down,
        since_up=since_up, since_down=since_down,
    ), None  # fmt: skip


def _score(state: Cusum, value: float) -> float:
    """The value as a standard normal one, given those before it."""
    if state.n < WARM_UP:
        return 0.0
    spread = math.sqrt(state.m2 / (state.n - 1))
    away = value - state.mean
    if spread <= ROUNDING_SHARE * abs(state.mean):
        spread = ROUNDING_SHARE * abs(state.mean)
        if abs(away) <= spread:
            return 0.0
    ratio = abs(away) / spread * math.sqrt(state.n / (state.n + 1)) if spread > 0 else math.inf
    tail = max(t_tail(ratio, state.n - 1), _FURTHEST)
    return math.copysign(-normal_quantile(tail), away)


def bound_for(values_between_false_alarms: float) -> float:
    """The bound at which noise raises an alarm once in so many values, on average.

    Siegmund's approximation (1985) of the mean run of a sum with overshoot, halved because there are two sums. Holds
    for independent normal noise; heavy tails alarm more often, an autocorrelation of 0.5 nine times as often. Raises
    InvalidInput for 2 or fewer.
    """
    if not 2 < values_between_false_alarms < math.inf:
        raise InvalidInput("between two false alarms lie more than two values", value=values_between_false_alarms)

    def run(bound: float) -> float:
        reach = 2 * ALLOWANCE * (bound + _OVERSHOOT)
        return (math.exp(reach) - 1 - reach) / (2 * ALLOWANCE**2) / 2

    low, high = 0.0, 700.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if run(middle) < values_between_false_alarms else (low, middle)
    return high
