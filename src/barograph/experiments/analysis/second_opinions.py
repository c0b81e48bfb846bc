"""The primary metric compared by other methods, from units one by one: what ranks, robust means and a bootstrap say.

Takes ``UnitValues``, hands back ``Estimate``s to show beside the one that decides, and how each arm's units spread.
They hold at one look, and decide nothing: who chooses among many methods afterwards finds what is not there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from barograph.core.metric import Metric
from barograph.core.units import UnitValues
from barograph.experiments.analysis.arms import Arm
from barograph.experiments.analysis.methods import with_ends
from barograph.experiments.comparison import ArmUnits
from barograph.stats.comparison import compare_means
from barograph.stats.covariate import compare_lin
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.quantiles import quantile_difference
from barograph.stats.ranks import brunner_munzel, mann_whitney
from barograph.stats.resampling import RESAMPLES, bootstrap_difference, weighted_mean, weighted_ratio
from barograph.stats.robust import trimmed_welch, winsorised_summaries

MOST_UNITS = 50_000  # held at once, of all arms together
FEWEST_UNITS = 10  # in an arm: fewer say nothing about ranks or tails
MOST_DRAWN = 20_000_000  # units drawn by a bootstrap: half a second
FEWEST_RESAMPLES = 1_999
TRIM, CAPPED = 0.1, 0.01  # shares of units: cut off at either end, capped at the upper one

MANN_WHITNEY = "Mann-Whitney: chance to be above a unit of the control"
BRUNNER_MUNZEL = "Brunner-Munzel: chance to be above a unit of the control"
YUEN = f"Yuen's t of means without {TRIM * 100:.0f} % at either end"
WINSORISED = f"Welch's t, the largest {CAPPED * 100:.0f} % of all units capped"
MEDIAN = "difference of medians, by order statistics"
BOOTSTRAP = "bootstrap of units (BCa)"

Floats = NDArray[np.float64]


class ArmValues(Struct, frozen=True):
    """An arm's units: what each came to, and numerator and denominator of each (``rows``)."""

    arm: str
    units: int
    values: Floats
    rows: Floats

    @classmethod
    def of(cls, metric: Metric, found: UnitValues) -> ArmValues:
        """Sums and counts as they are; means and ratios as each measured unit's own."""
        rows = np.column_stack([np.asarray(found.numerators, float), np.asarray(found.denominators, float)])
        if metric.aggregation in ("count", "sum"):
            return cls(found.arm, found.units, rows[:, 0], rows)
        rows = rows[rows[:, 1] > 0]
        return cls(found.arm, found.units, rows[:, 0] / rows[:, 1], rows)


def spread_of(arm: ArmValues) -> ArmUnits:
    """How the units of an arm spread; without numbers where it has none."""
    values = arm.values
    if not values.size:
        return ArmUnits(arm=arm.arm, units=arm.units, mean=None, deviation=None)
    return ArmUnits(
        arm=arm.arm, units=arm.units, mean=float(values.mean()),
        deviation=float(values.std(ddof=1)) if values.size > 1 else None,
        quantiles=tuple(map(float, np.quantile(values, np.linspace(0, 1, 21)))),
    )  # fmt: skip


def second_opinions(metric: Metric, arm: ArmValues, baseline: ArmValues, alpha: float) -> tuple[Estimate, ...]:
    """The arm against the control by every other method that its units allow; none where an arm has too few.

    Means and ratios are compared as each unit's own, and bootstrapped as ratios of sums with whole units drawn.
    """
    if min(arm.values.size, baseline.values.size) < FEWEST_UNITS:
        return ()
    ours, theirs = arm.values, baseline.values
    summaries = winsorised_summaries(ours, theirs, share=CAPPED)
    names = arm.arm, baseline.arm
    shown = Estimate(
        arm=arm.arm, baseline=baseline.arm, arm_value=None, baseline_value=None, arm_n=ours.size,
        baseline_n=theirs.size, absolute=None, relative=None, alpha=alpha, method="",
    )  # fmt: skip

    def told(method: str, effect: Effect, warnings: tuple[str, ...] = ()) -> Estimate:
        return with_ends(structs.replace(shown, method=method, absolute=effect, warnings=warnings))

    opinions = [
        told(MANN_WHITNEY, mann_whitney(ours, theirs)),
        told(BRUNNER_MUNZEL, *brunner_munzel(ours, theirs, alpha=alpha)),
        told(YUEN, *trimmed_welch(ours, theirs, trim=TRIM, alpha=alpha)),
        compare_means(*summaries[:2], alpha=alpha, names=names, method=WINSORISED),
        told(MEDIAN, quantile_difference(ours, theirs, 0.5, alpha)),
    ]
    resamples = min(RESAMPLES, MOST_DRAWN // (ours.size + theirs.size))
    if resamples >= FEWEST_RESAMPLES:
        opinions.append(told(BOOTSTRAP, _bootstrapped(metric, arm, baseline, alpha, resamples)))
    return tuple(opinions)


def by_regression(arm: Arm, baseline: Arm, names: tuple[str, str], alpha: float) -> tuple[Estimate, ...]:
    """The effect at the same past of both arms, each with a slope of its own (Lin); none where that is not known."""
    if arm.pairs is None or baseline.pairs is None or arm.uneven or baseline.uneven:
        return ()
    return (compare_lin(arm.pairs, baseline.pairs, alpha=alpha, names=names),)


def _bootstrapped(metric: Metric, arm: ArmValues, baseline: ArmValues, alpha: float, resamples: int) -> Effect:
    sums = metric.aggregation in ("count", "sum")
    statistic: Callable[[Floats, Floats], Floats] = weighted_mean if sums else weighted_ratio
    ours, theirs = (arm.values, baseline.values) if sums else (arm.rows, baseline.rows)
    return bootstrap_difference(ours, theirs, statistic, alpha=alpha, resamples=resamples)
