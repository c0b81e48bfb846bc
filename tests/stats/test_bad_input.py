"""Empty arms, one unit, equal values, and numbers at either end of what a float holds: an answer, or a refusal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from msgspec import Struct, structs

from barograph.stats import comparison, covariate, quantiles, ranks, regression, resampling, robust
from barograph.stats.joint import PairSummary, RatioPairSummary
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import InvalidInput

Values = list[float]
ARMS: list[Values] = [
    [], [1.0], [1.0, 1.0], [0.0] * 4, [1.0, 2.0, 3.0, 4.0, 5.0], [1e300, -1e300, 1e300, 2.0],
    [1e-300, 2e-300, 3e-300, 5e-300], [1e150, 2e150, 5e150, -1e150, 3e150], [0.1 + 0.2, 0.3, 0.3, 0.3, 0.3],
]  # fmt: skip


def turned(values: Values) -> PairSummary:
    return PairSummary.from_values(values[::-1], values)


def flat(values: Values) -> PairSummary:
    return PairSummary.from_values([2.0] * len(values), values)


def ratios(values: Values) -> RatioSummary:
    return RatioSummary.from_values(values, [abs(value) for value in values[::-1]])


METHODS: dict[str, Callable[[Values, Values], object]] = {
    "means": lambda a, b: comparison.compare_means(Summary.from_values(a), Summary.from_values(b)),
    "ratios": lambda a, b: comparison.compare_ratios(ratios(a), ratios(b)),
    "cuped": lambda a, b: covariate.compare_cuped(turned(a), turned(b)),
    "cuped, one flat": lambda a, b: covariate.compare_cuped(turned(a), flat(b)),
    "cuped of ratios": lambda a, b: covariate.compare_cuped(
        *(RatioPairSummary.from_values(x, [1] * len(x), x[::-1], [2] * len(x)).linearised() for x in (a, b))
    ),
    "lin": lambda a, b: covariate.compare_lin(turned(a), turned(b)),
    "lin, one flat": lambda a, b: covariate.compare_lin(turned(a), flat(b)),
    "health": lambda a, b: covariate.covariate_health(turned(a), turned(b)),
    "regression": lambda a, b: regression.regression_adjustment(a[::-1], a, b[::-1], b),
    "clustered": lambda a, b: regression.cluster_robust(ratios(a), ratios(b)),
    "bootstrap": lambda a, b: resampling.bootstrap_difference(a, b, resamples=99),
    "mann_whitney": ranks.mann_whitney,
    "brunner_munzel": ranks.brunner_munzel,
    "trimmed": robust.trimmed_welch,
    "capped": robust.winsorised_summaries,
    "median": lambda a, b: quantiles.quantile_difference(a, b, 0.5),
}


def numbers_of(answer: object) -> list[float]:
    if isinstance(answer, float):
        return [answer]
    if isinstance(answer, tuple):
        return [number for one in answer for number in numbers_of(one)]
    if isinstance(answer, Struct):
        return numbers_of(structs.astuple(answer))
    return []


@pytest.mark.parametrize("name", METHODS)
def test_no_arms_whatever_give_something_that_is_no_number(name: str) -> None:
    for arm, baseline in itertools.product(ARMS, ARMS):
        try:
            answer = METHODS[name](arm, baseline)
        except InvalidInput:
            continue
        assert not any(map(math.isnan, numbers_of(answer))), (arm, baseline, answer)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(name: str, bad: float) -> None:
    for arms in (([1.0, 2.0, 4.0, bad], [1.0, 2.0, 3.0, 5.0]), ([1.0, 2.0, 3.0, 5.0], [bad, 2.0, 4.0, 7.0])):
        with pytest.raises(InvalidInput):
            METHODS[name](*arms)
