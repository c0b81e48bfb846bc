"""The arms of an experiment as what tests are made of: means, ratios or shares, by the method that fits a metric.

Takes the units' sums by arm and period, hands ``Arm``s to ``methods``. A unit is what was randomised (a user, a
session): its events are summed first, so that one user with two hundred queries counts once. Counts and sums are means
a unit; means and ratios are ratios of sums; what is a yes or a no for each unit is a share of units. After a change of
weights each period is taken apart, and the arms are combined by the units of all arms in each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from barograph.core.metric import Metric
from barograph.core.units import UnitMoments
from barograph.experiments.analysis.unit_sums import UnitSums
from barograph.experiments.design import Experiment
from barograph.stats.bandit import FEWEST_IN_PERIOD
from barograph.stats.comparison import satterthwaite, weak_denominator
from barograph.stats.joint import PairSummary
from barograph.stats.sequential.asymptotic import skewness_of_share
from barograph.stats.skewness import skewness_of_ratio, skewness_of_sums
from barograph.stats.summary import ROUNDING_SHARE, RatioSummary, Summary, exact_sum

INTEGER_TOLERANCE = 1e-9  # relative; moments of 0/1 values satisfy sum of squares = sum up to rounding


Cells = dict[tuple[str, int], UnitSums]  # by arm and period


class Arm(Struct, frozen=True, kw_only=True):
    """One arm's numbers for one metric.

    ``units`` carry a measurement (for a count or a sum every exposed unit does: none is zero); ``values`` is what
    tests of means are made of, with ``skew`` (None: not known); ``ratio`` is set where they are linearised, and
    ``successes`` where each unit is a yes or a no. ``pairs`` are values before and since. ``unit_days`` is the clock.
    ``periods`` counts the periods of constant weights that ``values`` were combined from; of several, ``values.n`` is
    one more than the degrees of freedom of their mean's error, which the smallest periods decide.
    """

    units: int = 0
    values: Summary = Summary()
    skew: float | None = None
    unit_days: float = 0.0
    ratio: RatioSummary | None = None
    successes: int | None = None
    pairs: PairSummary | None = None
    periods: int = 1

    @property
    def varies(self) -> bool:
        """Whether its units differ, so that the spread of its mean can be known; yes-or-no needs no spread."""
        return self.successes is not None or self.values.varies

    @property
    def unit_variance(self) -> float:
        """The variance of a unit's value; of several periods, that which would explain the error of their mean."""
        return self.values.mean_variance * self.units

    @property
    def uneven(self) -> bool:
        """Whether its units were measured too rarely or unevenly for the delta method."""
        return self.ratio is not None and weak_denominator(self.ratio)


class Arms(Struct, frozen=True, kw_only=True):
    """The arms by key; ``warnings`` say what was left out."""

    by_key: dict[str, Arm]
    warnings: tuple[str, ...] = ()


def compared_keys(experiment: Experiment) -> tuple[str, ...]:
    """The arms that get units, the control among them."""
    return tuple(variant.key for variant in experiment.variants if variant.weight > 0)


def cells_of(moments: Iterable[UnitMoments]) -> Cells:
    """The units' sums by arm and period."""
    cells: Cells = {}
    for one in moments:
        cell = one.arm, one.period
        cells[cell] = cells[cell] + UnitSums.of(one) if cell in cells else UnitSums.of(one)
    return cells


def arms_of(metric: Metric, experiment: Experiment, cells: Cells) -> Arms:
    """Each arm's numbers for a metric; arms without units are there, empty."""
    keys = compared_keys(experiment)
    periods = sorted({period for arm, period in cells if arm in keys})
    by_period = [{key: cells.get((key, period), UnitSums()) for key in keys} for period in periods]
    if len(by_period) > 1:
        return _combined(metric, by_period)
    return Arms(by_key=plain_arms(metric, by_period[0] if by_period else dict.fromkeys(keys, UnitSums())))


def plain_arms(metric: Metric, sums: Mapping[str, UnitSums]) -> dict[str, Arm]:
    """The arms of one period, in which the weights were constant."""
    if metric.aggregation in ("count", "sum"):
        whole = metric.aggregation == "count" or metric.of.field == ""
        binary = whole and all(map(_yes_or_no, sums.values()))
        return {key: _of_sums(arm, binary) for key, arm in sums.items()}
    binary = metric.aggregation == "ratio" and all(_once_a_unit(arm) and _yes_or_no(arm) for arm in sums.values())
    return {key: _of_sums(arm, binary) if binary else _of_ratio(arm) for key, arm in sums.items()}


def _combined(metric: Metric, by_period: Sequence[Mapping[str, UnitSums]]) -> Arms:
    """Over periods between which the weights changed, each period by the units of all arms in it.

    Post-stratification (Cochran, Sampling Techniques, 5A; ``stats.bandit.stratified_difference``): a time in which
    everything is better does not count for the arm that had more units then. The result is a summary whose mean,
    ``mean_variance`` and degrees of freedom are those of the combined mean, so that every test of means may be made
    of it. A period with fewer than ``FEWEST_IN_PERIOD`` units in an arm is left out. What units did before is not
    combined.
    """
    arms = [plain_arms(metric, sums) for sums in by_period]
    used = [one for one in arms if min(arm.values.n for arm in one.values()) >= FEWEST_IN_PERIOD]
    lost = sum(any(arm.units for arm in one.values()) for one in arms) - len(used)
    warnings = (f"{lost} of {len(arms)} periods between changes of the weights lack units in an arm and are left out",)
    sizes = [sum(arm.units for arm in one.values()) for one in used]
    shares = [size / sum(sizes) for size in sizes]
    by_key = {key: _weighted([one[key] for one in used], shares) for key in by_period[0]}
    return Arms(by_key=by_key, warnings=warnings if lost else ())


def _weighted(parts: Sequence[Arm], shares: Sequence[float]) -> Arm:
    if not parts:
        return Arm()
    values = _weighted_summary([part.values for part in parts], shares)
    skew: float | None = None
    known = [part.skew for part in parts if part.skew is not None]
    if len(known) == len(parts):  # third cumulants of independent means add up as variances do
        whole = values.mean_variance
        skew = math.sqrt(values.n) * math.fsum(
            each / math.sqrt(part.values.n) * share**3 * (part.values.mean_variance / whole) ** 1.5
            for share, each, part in zip(shares, known, parts, strict=True)
            if values.varies
        )
    return Arm(
        units=sum(part.units for part in parts), values=values, skew=skew, periods=len(parts),
        unit_days=math.fsum(part.unit_days for part in parts),
    )  # fmt: skip


def _weighted_summary(parts: Sequence[Summary], shares: Sequence[float]) -> Summary:
    mean = exact_sum(share * part.mean for share, part in zip(shares, parts, strict=True))
    variances = [share * share * part.mean_variance for share, part in zip(shares, parts, strict=True)]
    whole = exact_sum(variances)
    if whole == 0:
        return Summary(sum(part.n for part in parts), mean)
    degrees = satterthwaite(*((one, part.n - 1) for one, part in zip(variances, parts, strict=True)))
    n = math.floor(degrees * (1 + ROUNDING_SHARE)) + 1  # rounded down: a little too wide
    return Summary(n, mean, whole * n * (n - 1))


def _of_sums(arm: UnitSums, binary: bool) -> Arm:
    values = arm.sums.numerator
    successes = round(values.mean * values.n) if binary else None
    skew: float | None = None
    if successes is not None:
        skew = skewness_of_share(successes, values.n)
    elif arm.cubes is not None:
        skew = skewness_of_sums(values, arm.cubes[0]) if values.n else None
    pairs = None
    if arm.pairs is not None and arm.pairs.n:
        whole = arm.pairs
        pairs = PairSummary(
            whole.n, (whole.means[0], whole.means[2]), (whole.product(0, 0), whole.product(0, 2), whole.product(2, 2))
        )
    return Arm(units=arm.units, values=values, skew=skew, unit_days=arm.unit_days, successes=successes, pairs=pairs)


def _of_ratio(arm: UnitSums) -> Arm:
    ratio = arm.sums
    if ratio.ratio is None:
        return Arm(units=ratio.measured_units, ratio=ratio, unit_days=arm.unit_days)
    return Arm(
        units=ratio.measured_units, values=ratio.linearised(), ratio=ratio, unit_days=arm.unit_days,
        skew=None if arm.cubes is None else skewness_of_ratio(ratio, arm.cubes),
        pairs=arm.pairs.linearised() if arm.pairs is not None and arm.pairs.n else None,
    )  # fmt: skip


def _yes_or_no(arm: UnitSums) -> bool:
    """Whole numbers that are not negative are all 0 or 1 exactly when their squares sum to what they do."""
    total = arm.units * arm.sums.numerator_mean
    squares = arm.sums.numerator_m2 + total * arm.sums.numerator_mean
    return abs(squares - total) <= INTEGER_TOLERANCE * max(1.0, total)


def _once_a_unit(arm: UnitSums) -> bool:
    sums = arm.sums
    exact = abs(sums.denominator_mean - 1) <= INTEGER_TOLERANCE and sums.denominator_m2 <= INTEGER_TOLERANCE * sums.n
    return sums.n == 0 or (sums.n == sums.measured_units and exact)
