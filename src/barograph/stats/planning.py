"""Plans for shares of units, for metrics without a formula, and for the days that units take to come.

Takes shares, past values or past counts; hands back units, power or days. For means see ``power``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.stats.distributions import normal_quantile, normal_tail
from barograph.stats.exact import clopper_pearson_interval
from barograph.stats.power import DEFAULT_POWER, MOST_UNITS
from barograph.stats.summary import Numbers, finite_array
from barograph_client.errors import InvalidInput

SIMULATIONS = 1_000  # the power is then known to three percentage points
WEEK = 7  # days
MOST_DRAWS = 500_000_000  # units drawn in all simulations together
FEWEST_DETECTED = 1e-12  # a difference of shares below this is none
_LIKELY = (5.0, 5.0)  # the middle of the bends and falls of a pace that are looked through, from 0 to the double
_STEPS = np.linspace(-1, 1, 21)
_ROUNDS, _CLOSER = 4, 0.2  # each time closer to the likeliest
_LEAST_BEND = 1e-6
_DECIMALS = 6  # of units

Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]
PValue = Callable[[NDArray[np.float64], NDArray[np.float64]], float | None]


def arcsine_effect(share: float, baseline: float) -> float:
    """Cohen's h (1988, chapter 6): the difference of shares on the scale on which their variance is the same.

    Hand it to ``power.sample_size`` with the normal distribution. Refuses shares outside [0, 1].
    """
    if not (0 <= share <= 1 and 0 <= baseline <= 1):
        raise InvalidInput("a share lies between 0 and 1", value=(share, baseline))
    return 2 * math.asin(math.sqrt(share)) - 2 * math.asin(math.sqrt(baseline))


def power_of_shares(share: float, baseline: float, n: float, n_baseline: float, *, alpha: float = 0.05) -> float:
    """The chance that the two-sided score test tells ``share`` of n units from ``baseline`` of n_baseline.

    Normal, with the pooled error under the null and the arms' own otherwise (Fleiss, Levin, Paik, "Statistical methods
    for rates and proportions", 2003, 4.1), both tails. Refuses (InvalidInput) shares outside (0, 1), and arms without a
    unit, or of more than ``MOST_UNITS``.
    """
    _require(share, baseline, alpha)
    if not (1 <= n <= MOST_UNITS and 1 <= n_baseline <= MOST_UNITS):
        raise InvalidInput("an arm needs a unit, and has no more than there are", value=(n, n_baseline))
    null, own = _errors(share, baseline, n / n_baseline)
    critical, distance = normal_quantile(1 - alpha / 2) * null, abs(share - baseline) * math.sqrt(n_baseline)
    return normal_tail((critical - distance) / own) + normal_tail((critical + distance) / own)


def sample_size_of_shares(
    share: float, baseline: float, *, alpha: float = 0.05, power: float = DEFAULT_POWER, ratio: float = 1.0
) -> float:
    """Units that the baseline needs for a two-sided test to tell the shares apart; the other arm needs ``ratio`` times.

    Not rounded. The closed form for the nearer tail; source as for ``power_of_shares``. Refuses equal shares.
    """
    _require(share, baseline, alpha)
    if share == baseline or not (alpha < power < 1 and ratio > 0 and math.isfinite(ratio)):
        raise InvalidInput("a sample size needs two shares, a power above alpha, and a positive ratio", value=share)
    null, own = _errors(share, baseline, ratio)
    reach = normal_quantile(1 - alpha / 2) * null + normal_quantile(power) * own
    return (reach / (share - baseline)) ** 2


def detectable_share(
    baseline: float, n: float, n_baseline: float, *, alpha: float = 0.05, power: float = DEFAULT_POWER
) -> tuple[float | None, float | None]:
    """The nearest shares below and above ``baseline`` that so many units tell from it; None where there is none."""
    _require(baseline, baseline, alpha)

    def nearest(end: float) -> float | None:
        missed, found = baseline, end + (baseline - end) * FEWEST_DETECTED
        if power_of_shares(found, baseline, n, n_baseline, alpha=alpha) < power:
            return None
        while abs(found - missed) > FEWEST_DETECTED:
            middle = (missed + found) / 2
            if power_of_shares(middle, baseline, n, n_baseline, alpha=alpha) < power:
                missed = middle
            else:
                found = middle
        return found

    return nearest(0.0), nearest(1.0)


def days_until(needed_units: float, distinct_units: Sequence[int]) -> float | None:
    """Days until so many different units have come, from how many had by the end of each day in the past.

    ``distinct_units`` counts up: who comes back is not counted again, which is why twice the days are not twice the
    units. Between days a straight line; beyond the last day at the pace of the last week, so that a quiet Sunday does
    not decide (of the last day, where there are not two weeks). None where units stop coming. Refuses an empty or a
    falling count.
    """
    counts = _counts(distinct_units)
    for day, (before, after) in enumerate(itertools.pairwise(counts)):
        if needed_units <= after:
            return 0.0 if needed_units <= 0 else day + (needed_units - before) / (after - before)
    pace = _pace(counts)
    return len(counts) - 1 + (needed_units - counts[-1]) / pace if pace and math.isfinite(needed_units) else None


def units_by_day(distinct_units: Sequence[int], days: int) -> NDArray[np.float64]:
    """How many different units come by the end of day 0, 1, … ``days``, from how many had in the past.

    Beyond the past the pace of new ones falls as its own curve says: r (1 + θt)^-c new ones at day t, with r, θ > 0 and
    c >= 0 of the largest Poisson likelihood for the new units of each day. With c > 1 that is what comes of units whose
    rates are gamma distributed with shape c - 1, who are r / (θ(c - 1)) in all; with c = 1 the logarithmic series; with
    less they are never all there (Engen, "On species frequency models", Biometrika 61, 1974; Efron and Thisted,
    Biometrika 63, 1976); with c = 0 as many come each day. Such curves are to be followed to the double of what is
    known, and not much farther (Colwell and others, Journal of Plant Ecology 5, 2012). It takes some weeks: the days
    of the week are not told apart. Refuses an empty or a falling count.
    """
    counts = _counts(distinct_units)
    known = np.asarray(counts, dtype=np.float64)
    if days < known.size:
        return known[: days + 1]
    new, end = np.diff(known), known.size - 1
    middle, reach = np.array(_LIKELY), np.array(_LIKELY)
    for _ in range(_ROUNDS):
        steps = np.maximum(middle[:, np.newaxis] + reach[:, np.newaxis] * _STEPS, 0)
        shapes = _shapes(steps[0], steps[1], end, days)
        likelihood = (new * np.log(np.maximum(shapes[..., :end], np.finfo(np.float64).tiny))).sum(axis=-1)
        at = np.unravel_index(likelihood.argmax(), likelihood.shape)
        middle, reach, likeliest = np.array([steps[0, at[0]], steps[1, at[1]]]), reach * _CLOSER, shapes[at]
    later = known[-1] * (1 + np.cumsum(likeliest[end:]))
    return np.concatenate((known, np.round(later, _DECIMALS)))


def _shapes(bends: NDArray[np.float64], falls: NDArray[np.float64], end: int, days: int) -> NDArray[np.float64]:
    """New units of each day beside those up to the day ``end``, for each bend and fall of the pace's curve.

    The pace is (1 + θt)^-c. The bend is log(1 + θ end), the fall the root of the logarithm of the pace at first over
    that at ``end``: of one fall, a small bend is nearly exponential, and a large one begins steeply.
    """
    bend = np.maximum(bends, _LEAST_BEND)[:, np.newaxis, np.newaxis]
    rest = 1 - falls[np.newaxis, :, np.newaxis] ** 2 / bend
    rest = np.where(np.abs(rest) < _LEAST_BEND, _LEAST_BEND, rest)
    upto = np.expm1(rest * np.log1p(np.expm1(bend) / end * np.arange(days + 1))) / rest
    return np.diff(upto) / upto[..., [end]]


def _counts(distinct_units: Sequence[int]) -> list[int]:
    counts = [0, *distinct_units]
    if len(counts) < 2 or any(after < before for before, after in itertools.pairwise(counts)):
        raise InvalidInput("the count of units so far grows by the day", value=tuple(distinct_units[:10]))
    return counts


def _pace(counts: Sequence[int]) -> float:
    """New units a day at the end of the past."""
    days = WEEK if len(counts) > 2 * WEEK else 1
    return (counts[-1] - counts[-1 - days]) / days


class SimulatedPower(Struct, frozen=True, kw_only=True):
    """``power`` is the share of simulations that found the change, known to lie between ``low`` and ``high`` (99 %)."""

    power: float
    low: float
    high: float
    simulations: int


def power_by_simulation(
    past: Numbers,
    change: Change,
    p_value: PValue,
    n: int,
    n_baseline: int,
    *,
    alpha: float = 0.05,
    simulations: int = SIMULATIONS,
    seed: int = 0,
) -> SimulatedPower:
    """How often a test finds ``change``, in arms drawn with replacement from past values of the metric.

    ``change`` makes treated values of plain ones; ``p_value`` is the test, None where it has no answer, which counts as
    nothing found. With a change of nothing the power is the test's own rate of false alarms on such values. The
    interval is Clopper and Pearson's. Seeded. Refuses an empty past, arms without a unit, and more than ``MOST_DRAWS``
    draws.
    """
    values = finite_array(past)
    if values.size == 0 or min(n, n_baseline, simulations) < 1 or not 0 < alpha < 1:
        raise InvalidInput("a simulation needs past values, units, and a risk", value=(values.size, n, n_baseline))
    if (n + n_baseline) * simulations > MOST_DRAWS:
        raise InvalidInput("too many units to simulate", hint="Take fewer simulations.", value=(n, simulations))
    generator = np.random.default_rng(seed)
    found = 0
    for _ in range(simulations):
        arm, baseline = (values[generator.integers(0, values.size, size)] for size in (n, n_baseline))
        answer = p_value(change(arm), baseline)
        found += answer is not None and answer <= alpha
    low, high = clopper_pearson_interval(found, simulations, 0.01)
    return SimulatedPower(power=found / simulations, low=low, high=high, simulations=simulations)


def _errors(share: float, baseline: float, ratio: float) -> tuple[float, float]:
    """The standard error of the difference times the root of the baseline's units, under the null and otherwise."""
    pooled = (ratio * share + baseline) / (1 + ratio)
    null = math.sqrt(pooled * (1 - pooled) * (1 + 1 / ratio))
    return null, math.sqrt(share * (1 - share) / ratio + baseline * (1 - baseline))


def _require(share: float, baseline: float, alpha: float) -> None:
    if not (0 < share < 1 and 0 < baseline < 1 and 0 < alpha < 1):
        raise InvalidInput("shares and risks lie between 0 and 1", value=(share, baseline, alpha))
