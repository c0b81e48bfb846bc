"""Repeated p-values and confidence intervals: what may be read at each of a few planned looks.

Source: Jennison, Turnbull, "Interim analyses: the repeated confidence interval approach" (JRSS B 1989) and "Group
sequential methods with applications to clinical trials" (2000), chapter 9. A repeated interval is that of one look,
made for the nominal level of the bound of its look; all of them together hold the true value with 1 - alpha. A repeated
p-value is the smallest alpha at which the look crosses its bound; the least of those of all looks is below alpha no
more often than alpha, so that they may be corrected for many questions as any p-values are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct

from barograph.stats.distributions import normal_quantile
from barograph.stats.sequential.group_sequential import (
    FARTHEST,
    Bound,
    Spending,
    group_sequential_bounds,
    obrien_fleming,
)
from barograph_client.errors import InvalidInput

LEAST_P_VALUE = 1e-6  # a smaller repeated p-value is told as this
LARGEST_ALPHA = 0.49  # the bounds end at a half
LEAST_NEW = 0.01  # of the information of the look before: less is no look of its own
_PRECISION = 1e-6  # of the logarithm of a p-value


class Schedule(Struct, frozen=True, kw_only=True):
    """The looks up to one of them: at which shares of the planned time, with how much information.

    ``information`` is in any unit, as only its shares count; ``spending`` makes a spending function for an alpha. Looks
    with less than ``LEAST_NEW`` of new information are to be left out: nothing is decided at them, and their alpha is
    spent at the next one. Its methods raise InvalidInput for numbers that do not increase from above zero.
    """

    clock: tuple[float, ...]
    information: tuple[float, ...]
    spending: Callable[[float], Spending] = obrien_fleming

    def bound(self, alpha: float) -> Bound:
        """The bound of the last of these looks, for a test with two sides at ``alpha`` over all looks."""
        return _bound(self, min(alpha, LARGEST_ALPHA))

    def p_value(self, nominal: float) -> float:
        """The repeated p-value of a look whose own two-sided p-value is ``nominal``; 1 where none is below a half.

        Never below ``nominal``, nor below ``LEAST_P_VALUE``.
        """
        return _repeated(self, nominal)


@lru_cache(maxsize=1024)
def _bound(schedule: Schedule, alpha: float) -> Bound:
    if not schedule.information or not schedule.information[-1] > 0:
        raise InvalidInput("a look has information", value=schedule.information)
    shares = [one / schedule.information[-1] for one in schedule.information]
    spending = schedule.spending(alpha)
    return group_sequential_bounds(shares, alpha=alpha, spending=spending, clock=schedule.clock)[-1]


@lru_cache(maxsize=4096)
def _repeated(schedule: Schedule, nominal: float) -> float:
    from scipy.optimize import brentq

    if not 0 <= nominal <= 1:
        raise InvalidInput("a p-value lies between 0 and 1", value=nominal)
    reached = FARTHEST if nominal == 0 else min(FARTHEST, -normal_quantile(nominal / 2))

    def short(log_alpha: float) -> float:
        """By how much the statistic falls short of the bound."""
        return _bound(schedule, math.exp(log_alpha)).z - reached

    low, high = math.log(LEAST_P_VALUE), math.log(LARGEST_ALPHA)
    if short(high) > 0:
        return 1.0
    if short(low) <= 0:
        return LEAST_P_VALUE
    return max(nominal, math.exp(float(brentq(short, low, high, xtol=_PRECISION))))
