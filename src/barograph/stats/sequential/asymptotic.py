"""Asymptotic confidence sequences: a difference that may be looked at again and again, from summaries alone.

They hold for large numbers of units, as a t test does, and fail where a t test fails: with few units, and where the
means are still skewed. So the comparisons here pass a burn-in gate first, and answer "not valid here" instead of an
interval where their error rate was measured to be above alpha (``docs/validity.md``). For values in [0, 1] ``bounded``
needs no such gate.

Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences" (Annals of Statistics 2024; arXiv 2103.06476), equations 9, 134, 155 and 161.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from barograph.stats.comparison import mean_difference, relative_difference
from barograph.stats.distributions import LEAST_RISK
from barograph.stats.estimate import Alternative, Effect, Estimate
from barograph.stats.summary import Numbers, RatioSummary, Summary
from barograph_client.errors import InvalidInput

Skewness = tuple[float, float]  # of the values of the arm and of the baseline

TUNING_UNITS = 5000  # units in both arms at which the sequence is tightest; it holds at any number
METHOD = "asymptotic confidence sequence"

# The gate. Measured with `make validity`: every setting keeps its rate, also among the repetitions that pass.
FEWEST_UNITS = 100  # in the smaller arm
LARGEST_SKEW = 0.15  # of the smaller arm's mean
LEAST_CLOCK = 2.0  # units, or unit-days
LEAST_TUNING = 1e-6  # of these
TOO_SKEWED = "the values are too skewed for so few units"
UNKNOWN_SKEWNESS = "the skewness of the values is not known"


def skewness(values: Numbers) -> float:
    """The sample skewness of these numbers (0 for a normal, 2 for an exponential); 0 where they do not vary."""
    numbers = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)
    summary = Summary.from_values(numbers)
    if not summary.varies:
        return 0.0
    return float(np.mean(((numbers - summary.mean) / math.sqrt(summary.m2 / summary.n)) ** 3))


def skewness_of_share(successes: int, n: int) -> float:
    """The skewness of ``n`` answers of yes or no; 0 where all are the same."""
    share = successes / n if n else 0.0
    return (1 - 2 * share) / math.sqrt(share * (1 - share)) if 0 < share < 1 else 0.0


def mixing_rate(alpha: float, tuning_n: float, *, one_sided: bool = False) -> float:
    """rho of the normal mixture that is tightest at ``tuning_n`` units (equation 161; one-sided at twice alpha).

    Refuses (InvalidInput) an alpha outside (0, 1/2), and a tuning size that is not above zero and finite.
    """
    if not LEAST_RISK <= alpha < 0.5 or not LEAST_TUNING <= tuning_n < math.inf:
        raise InvalidInput("alpha lies between 0 and 0.5, and the tuning size above 0", value=(alpha, tuning_n))
    spent = -2 * math.log(2 * alpha if one_sided else alpha)
    return math.sqrt((spent + math.log1p(spent)) / tuning_n)


def confidence_sequence(
    value: float,
    variance: float,
    n: float,
    *,
    alpha: float = 0.05,
    tuning_n: float = TUNING_UNITS,
    alternative: Alternative = "two-sided",
    null: float = 0.0,
) -> Effect:
    """The interval and the p-value of an estimate from ``n`` units with this ``variance`` (its squared error).

    ``n`` is the clock, and ``tuning_n`` is in its unit: see ``compare_means``. The formula alone, without the gate: of
    use to who has looked at the burn-in already. Assumes an estimate that is about a mean of independent terms. The
    p-value is one over the evidence (the mixture), at most 1; the one-sided one inverts its own interval at this rho.
    A statistic beyond what a float holds is None. Refuses (InvalidInput) a variance that is not above zero, a clock
    below ``LEAST_CLOCK``, what is not finite, and what ``mixing_rate`` refuses.
    """
    if not 0 < variance < math.inf or not LEAST_CLOCK <= n < math.inf:
        raise InvalidInput("a confidence sequence needs a positive variance and two units", value=(variance, n))
    if not math.isfinite(value - null):
        raise InvalidInput("a confidence sequence is of a finite value, against a finite one", value=(value, null))
    rho = mixing_rate(alpha, tuning_n, one_sided=alternative != "two-sided")
    time = n * rho * rho
    if not math.isfinite(time):
        raise InvalidInput("the clock is too far beyond its tuning", value=(n, tuning_n))
    error = math.sqrt(variance)
    unit = error * math.sqrt(2 * (time + 1) / time)  # the reach is this times the root of a logarithm
    grown = math.sqrt(time + 1)
    statistic = (value - null) / error
    exponent = statistic * statistic * time / (2 * (time + 1))
    low, high = -math.inf, math.inf
    if alternative == "two-sided":
        reach = unit * math.sqrt(math.log(grown / alpha))
        low, high, p_value = value - reach, value + reach, grown * math.exp(-exponent)
    else:
        reach = unit * math.sqrt(math.log1p(grown / (2 * alpha)))
        towards = statistic if alternative == "greater" else -statistic
        p_value = grown / 2 / math.expm1(exponent) if 0 < exponent < 700 and towards > 0 else 1.0
        if towards > 0 and exponent >= 700:
            p_value = grown / 2 * math.exp(-exponent)
        low, high = (value - reach, math.inf) if alternative == "greater" else (-math.inf, value + reach)
    return Effect(
        value=value, low=low, high=high, p_value=min(p_value, 1.0), standard_error=error,
        statistic=statistic if math.isfinite(statistic) else None,
    )  # fmt: skip


def burn_in(arm: Summary, baseline: Summary, skew: Skewness | None) -> tuple[str, ...]:
    """Why a confidence sequence of the difference of means is not valid here yet; empty when it is.

    Refuses fewer than ``FEWEST_UNITS`` in an arm, and a skewness of the means (``skewness_of_means``) of more than
    ``LARGEST_SKEW``: an Edgeworth expansion has that as the first term of the error of a normal approximation.
    ``skew`` is that of the values of ``arm`` and of ``baseline``; not knowing it is a reason too. Kurtosis is not asked
    for: values of infinite kurtosis that are not skewed (Student's t with 3 degrees) keep their rate at any split.
    """
    if min(arm.n, baseline.n) < FEWEST_UNITS:
        return (f"not valid here: a sequence needs {FEWEST_UNITS} units in each arm",)
    if not (arm.varies and baseline.varies):
        return ("not valid here: all units of an arm are alike, so that how far chance reaches is not known",)
    if skew is None:
        return (f"not valid here: {UNKNOWN_SKEWNESS}",)
    left = skewness_of_means((arm, baseline), skew)
    if not left <= LARGEST_SKEW:
        return (f"not valid here: {TOO_SKEWED} (skewness of the means {left:.2f})",)
    return ()


def skewness_of_means(arms: tuple[Summary, Summary], skew: Skewness) -> float:
    """How skewed the means, and with them their difference, may be: the values' skewness over the root of their number.

    The third cumulant of a mean is skewness * sd**3 / n**2, and those of two means subtract, so the larger of the two
    bounds that of the difference. The larger skewness counts for both arms: a small arm that looks less skewed than
    the other has seen fewer of the rare values, and its mean is off for the same reason.
    """
    return float(np.max(np.abs(skew))) / math.sqrt(min(one.n for one in arms))


def compare_means(
    arm: Summary,
    baseline: Summary,
    skew: Skewness | None,
    *,
    alpha: float = 0.05,
    tuning_n: float = TUNING_UNITS,
    clock: float | None = None,
    alternative: Alternative = "two-sided",
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The difference of two means, absolute and relative, with an interval that holds at any time.

    Assumes independent units. The sequence runs by ``clock``, which is the number of units where none is given: right
    where a unit has its value when it is counted. Units that go on acting change their values, so that the sums of a
    fixed set of units are a process too; for them the clock is unit-days, the days that each unit took part, summed.
    What a unit does from day to day is independent at the roughest, and then the variance of the sums grows as that
    clock does; units that stay as they are (heavy users stay heavy) correlate with themselves, and a smoother course
    crosses a bound less often (Slepian 1962). Passes ``burn_in`` first; refused there, the estimate has its values and
    no interval, and the reason among the warnings. The relative effect is that of ``comparison.relative_difference``, a
    share of the baseline's size by the delta method, with its refusals and warnings. Refuses (InvalidInput) what
    ``confidence_sequence`` refuses.
    """
    mixing_rate(alpha, tuning_n)
    absolute: Effect | None = None
    relative: Effect | None = None
    warnings: tuple[str, ...] = ("an arm is empty",)
    if min(arm.n, baseline.n) > 0:
        absolute = Effect(value=mean_difference(arm, baseline))
        relative, weak = relative_difference(arm, baseline, alpha=alpha)
        warnings = burn_in(arm, baseline, skew)
        if clock is not None and not clock >= LEAST_CLOCK:
            warnings = ("not valid here: the units have only just come",)
        if warnings:
            relative = Effect(value=relative.value) if relative else None
        else:
            time = arm.n + baseline.n if clock is None else clock
            sequence = partial(confidence_sequence, n=time, alpha=alpha, tuning_n=tuning_n, alternative=alternative)
            absolute = sequence(absolute.value, arm.mean_variance + baseline.mean_variance)
            if relative is not None and relative.standard_error is not None:
                relative = sequence(relative.value, relative.standard_error**2)
            warnings = weak
    return Estimate(
        arm=names[0], baseline=names[1], arm_value=arm.mean if arm.n else None,
        baseline_value=baseline.mean if baseline.n else None, arm_n=arm.n, baseline_n=baseline.n, absolute=absolute,
        relative=relative, alpha=alpha, method=METHOD, warnings=warnings,
    )  # fmt: skip


def compare_ratios(
    arm: RatioSummary,
    baseline: RatioSummary,
    skew: Skewness | None,
    *,
    alpha: float = 0.05,
    tuning_n: float = TUNING_UNITS,
    alternative: Alternative = "two-sided",
    names: tuple[str, str] = ("treatment", "control"),
) -> Estimate:
    """The difference of two ratios of sums, each unit linearised (``RatioSummary.linearised``), as ``compare_means``.

    ``skew`` is that of the linearised values. Refuses arms in which nothing was measured.
    """
    linear = [one.linearised() if one.ratio is not None else Summary() for one in (arm, baseline)]
    return compare_means(
        linear[0], linear[1], skew, alpha=alpha, tuning_n=tuning_n, alternative=alternative, names=names
    )
