"""Two rankers interleaved: which of them do readers' clicks, citations or ratings prefer, and by how much?

A preference is that of one query, from -1 (all of the control's) to 1. A unit (a user, a session) has their sum, and
how many queries were judged: what ``RatioSummary`` holds. Its ratio is the mean preference of a query, and its error is
that of units, however many queries each of them has.
"""

from __future__ import annotations

import math

from msgspec import Struct

from barograph.stats.comparison import t_effect, weak_denominator
from barograph.stats.distributions import require_risk
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.sequential.asymptotic import (
    FEWEST_UNITS,
    LARGEST_SKEW,
    LEAST_CLOCK,
    TUNING_UNITS,
    confidence_sequence,
)
from barograph.stats.summary import RatioSummary
from barograph_client.errors import InvalidInput

MEAN_PREFERENCE = "mean preference, clustered by unit"
SEQUENCE = "asymptotic confidence sequence of the mean preference, clustered by unit"


class Preference(Struct, frozen=True, kw_only=True):
    """``value`` is the share of decided queries that the arm won, from ``low`` to ``high``; a half is none.

    All are None while every query is a tie.
    """

    wins: int
    losses: int
    ties: int
    value: float | None
    low: float | None
    high: float | None
    p_value: float | None
    alpha: float


def sign_test(wins: int, losses: int, ties: int = 0, *, alpha: float = 0.05) -> Preference:
    """The exact sign test of an arm's wins, with the exact interval of its share of the decided queries.

    Source: Dixon, Mood, "The statistical sign test" (1946); the interval is Clopper and Pearson's (1934). Ties are
    left out. Assumes independent queries, so one query a reader, or queries summed by reader to one win or loss. A
    fixed-horizon test: made once, at the planned end. Refuses (InvalidInput) negative counts.
    """
    if min(wins, losses, ties) < 0:
        raise InvalidInput("wins, losses and ties cannot be negative", value=(wins, losses, ties))
    require_risk(alpha)
    decided = wins + losses
    value = low = high = p_value = None
    if decided:
        from scipy.special import bdtr, betaincinv

        value = wins / decided
        low = float(betaincinv(wins, losses + 1, alpha / 2)) if wins else 0.0
        high = float(betaincinv(wins + 1, losses, 1 - alpha / 2)) if losses else 1.0
        p_value = min(1.0, 2 * float(bdtr(min(wins, losses), decided, 0.5)))
    return Preference(
        wins=wins, losses=losses, ties=ties, value=value, low=low, high=high, p_value=p_value, alpha=alpha
    )


def mean_preference(
    preferences: RatioSummary, *, alpha: float = 0.05, names: tuple[str, str] = ("treatment", "control")
) -> Estimate:
    """The mean preference for an arm over the control, against none: Student's t over units.

    ``baseline_value`` is 0, which the control is to itself. Source: the delta method of ``RatioSummary.linearised``
    (Deng, Knoblich, Lu, KDD 2018). Assumes independent units. A fixed-horizon test: made once, at the planned end.
    Refuses fewer than two measured units, equal ones, and measurements so uneven that the delta method does not hold;
    and (InvalidInput) an alpha outside (0, 1).
    """
    require_risk(alpha)
    warnings = _refusals(preferences)
    absolute = _absolute(preferences)
    if absolute is not None and not warnings:
        values = preferences.linearised()
        absolute = t_effect(values.mean, math.sqrt(values.mean_variance), values.n - 1, alpha)
    return _estimate(preferences, absolute, names, alpha, MEAN_PREFERENCE, warnings)


def preference_at_any_time(
    preferences: RatioSummary,
    skew: float | None,
    *,
    alpha: float = 0.05,
    clock: float | None = None,
    tuning_n: float = TUNING_UNITS,
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The same with an interval and a p-value that hold however often one looks: an asymptotic confidence sequence.

    ``skew`` is that of the linearised values (``skewness.skewness_of_ratio``), ``clock`` what the sequence runs by, as
    in ``asymptotic.compare_means``, and ``tuning_n`` where it is tightest. Behind the gate of that module: "not valid
    here" below ``FEWEST_UNITS`` measured units, and while the mean is more skewed than ``LARGEST_SKEW``. Refuses
    (InvalidInput) what ``asymptotic.confidence_sequence`` refuses.
    """
    require_risk(alpha)
    warnings = _refusals(preferences)
    absolute = _absolute(preferences)
    measured = preferences.measured_units
    if not warnings:
        if measured < FEWEST_UNITS:
            warnings = (f"not valid here: a sequence needs {FEWEST_UNITS} units with a judged query",)
        elif skew is None:
            warnings = ("not valid here: the skewness of the preferences is not known",)
        elif not abs(skew) / math.sqrt(measured) <= LARGEST_SKEW:
            warnings = ("not valid here: the preferences are too skewed for so few units",)
        elif clock is not None and not clock >= LEAST_CLOCK:
            warnings = ("not valid here: the units have only just come",)
    if absolute is not None and not warnings:
        values = preferences.linearised()
        time = values.n if clock is None else clock
        absolute = confidence_sequence(values.mean, values.mean_variance, time, alpha=alpha, tuning_n=tuning_n)
    return _estimate(preferences, absolute, names, alpha, SEQUENCE, warnings)


def _absolute(preferences: RatioSummary) -> Effect | None:
    return None if preferences.ratio is None else Effect(value=preferences.ratio)


def _refusals(preferences: RatioSummary) -> tuple[str, ...]:
    if preferences.ratio is None or preferences.measured_units < 2:
        return ("fewer than two units have a judged query",)
    if not preferences.linearised().varies:
        return ("every unit has the same preference",)
    if weak_denominator(preferences):
        return ("too few units, or too uneven numbers of queries, for an interval",)
    return ()


def _estimate(
    preferences: RatioSummary,
    absolute: Effect | None,
    names: tuple[str, str],
    alpha: float,
    method: str,
    warnings: tuple[str, ...],
) -> Estimate:
    n = preferences.measured_units
    return Estimate(
        arm=names[0], baseline=names[1], arm_value=preferences.ratio, baseline_value=0.0, arm_n=n, baseline_n=n,
        absolute=absolute, relative=None, alpha=alpha, method=method, warnings=warnings,
    )  # fmt: skip
