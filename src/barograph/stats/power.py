"""How many units a comparison needs, what it can detect with those it has, and how long that takes.

Takes a spread and an effect worth detecting, hands back units or days. Effects are standardised (Cohen's d: the
difference in standard deviations) except where the name says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from barograph.stats.distributions import noncentral_t_below, normal_quantile, normal_tail, require_risk, t_quantile
from barograph_client.errors import InvalidInput

DEFAULT_POWER = 0.8
NORMAL_FROM = 1e7  # degrees of freedom from which the t distributions are the normal ones to seven digits
MOST_UNITS = 1e15  # an effect that needs more than this an arm is as good as none
Distribution = Literal["t", "normal"]


def power_of(
    effect: float, n: float, n_baseline: float, *, alpha: float = 0.05, distribution: Distribution = "t"
) -> float:
    """The chance that a two-sided test of two means detects ``effect``.

    The noncentral t with pooled variance (Cohen, "Statistical power analysis", 1988, chapter 2), both tails; or
    the normal one. Assumes arms of equal variance. Refuses (InvalidInput) arms without units and, by the noncentral t,
    fewer than three in both; an effect that is not finite; and an alpha outside (0, 1).
    """
    if not (0 < n < math.inf and 0 < n_baseline < math.inf and math.isfinite(effect)):
        raise InvalidInput("power is of a finite effect and of arms with units", value=(effect, n, n_baseline))
    if distribution == "t" and n + n_baseline <= 2:
        raise InvalidInput("a t test needs more than two units", value=(n, n_baseline))
    noncentrality = abs(effect) * math.sqrt(n / (n + n_baseline) * n_baseline)
    degrees = n + n_baseline - 2
    if distribution == "normal" or degrees >= NORMAL_FROM:
        critical = normal_quantile(1 - alpha / 2)
        return normal_tail(critical - noncentrality) + normal_tail(critical + noncentrality)
    critical = t_quantile(1 - alpha / 2, degrees)
    above = 1 - noncentral_t_below(critical, degrees, noncentrality)
    return above + noncentral_t_below(-critical, degrees, noncentrality)


def sample_size(
    effect: float,
    *,
    alpha: float = 0.05,
    power: float = DEFAULT_POWER,
    ratio: float = 1.0,
    distribution: Distribution = "t",
) -> float:
    """Units that the baseline needs to detect ``effect``; the other arm needs ``ratio`` times as many.

    Not rounded. Infinite where the effect is too small for any number. Source as for ``power_of``. Refuses an
    effect of zero, and shares outside (0, 1).
    """
    _require_shares(alpha, power)
    if not (math.isfinite(effect) and effect != 0 and ratio > 0 and math.isfinite(ratio)):
        raise InvalidInput("a sample size needs an effect that is not zero, and a positive ratio", value=effect)
    fewest = max(2.0, 2.0 / ratio) if distribution == "t" else 1e-9

    def enough(n: float) -> float:
        return power_of(effect, n * ratio, n, alpha=alpha, distribution=distribution) - power

    if enough(fewest) >= 0:
        return fewest
    most = max(16.0, fewest)
    while enough(most) < 0:
        most *= 4
        if most > MOST_UNITS:
            return math.inf
    return _bisect(enough, fewest, most)


def detectable_effect(
    n: float,
    n_baseline: float,
    *,
    alpha: float = 0.05,
    power: float = DEFAULT_POWER,
    distribution: Distribution = "t",
) -> float:
    """The smallest effect that so many units detect with that power. Refuses arms of fewer than two units.

    Refuses (InvalidInput) as ``sample_size`` does, too.
    """
    _require_shares(alpha, power)
    if not min(n, n_baseline) >= 2:
        raise InvalidInput("an arm needs two units at least", value=(n, n_baseline))

    def enough(effect: float) -> float:
        return power_of(effect, n, n_baseline, alpha=alpha, distribution=distribution) - power

    most = 1.0
    while enough(most) < 0:
        most *= 2
    return _bisect(enough, 0.0, most)


def days_needed(needed_units: float, units: int, days: float) -> float | None:
    """Days until ``needed_units``, at the pace of ``units`` in ``days`` so far; None where there is no pace yet.

    A straight line: users who come back make the real wait a little longer. No pace, either, in days that are none.
    """
    if needed_units <= units:
        return 0.0
    if units <= 0 or not 0 < days < math.inf or not math.isfinite(needed_units):
        return None
    return (needed_units - units) / (units / days)


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of an increasing function, to twelve digits."""
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return high


def _require_shares(alpha: float, power: float) -> None:
    require_risk(alpha)
    if not alpha < power < 1:
        raise InvalidInput("alpha and power are shares, and power is the larger", value=(alpha, power))
