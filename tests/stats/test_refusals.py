"""Whatever numbers a function of the package is given, it answers with numbers, or says what it refuses."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec import Struct, structs

from barograph.stats import (
    bandit,
    bayes,
    comparison,
    covariate,
    exact,
    interleaving,
    multiplicity,
    planning,
    power,
    proportion_tests,
    proportions,
    quantiles,
    ranks,
    regression,
    resampling,
    robust,
    sample_ratio,
    skewness,
)
from barograph.stats.joint import PairSummary
from barograph.stats.sequential import asymptotic, betting, bounded, group_sequential, mixtures, repeated
from barograph.stats.sequential.quantiles import quantile_p_value
from barograph.stats.sequential.sample_ratio import sequential_sample_ratio
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import InvalidInput

NUMBERS = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-200, 1e200, 1e308, -1e308, 5e-324, 0.5, 2.0)
COUNTS = (0, 1, -1, 2, 10**6)  # in place of a whole number

DRAWN = np.random.default_rng(3)
VALUES = [float(one) for one in DRAWN.normal(3, 1, 30)]
OTHERS = [float(one) for one in DRAWN.normal(3.5, 2, 40)]
UNITS = Summary.from_values(VALUES), Summary.from_values(OTHERS)
MANY = Summary(400, 3.0, 390.0), Summary(500, 3.2, 900.0)
RATIOS = (
    RatioSummary.from_values(VALUES, [1.0, 2.0, 3.0] * 10),
    RatioSummary.from_values(OTHERS, [2.0, 4.0, 1.0, 0.5] * 10),
)
MANY_RATIOS = RatioSummary.from_values(VALUES * 5, [1.0, 2.0, 3.0] * 50)
PAIRS = PairSummary.from_values(VALUES, OTHERS[:30]), PairSummary.from_values(OTHERS, OTHERS[::-1])
SHARES = Summary(50, 0.4, 12.0), Summary(40, 0.5, 10.0)
TABLE = (12, 50, 9, 40)


class Call(NamedTuple):
    """A function, and arguments that it answers."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = MappingProxyType({})

    def __str__(self) -> str:
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__qualname__}"


CALLS = [
    Call(
        bandit.chance_best_normal,
        ([bandit.NormalBelief(mean=1.0, variance=0.5), bandit.NormalBelief(mean=2.0, variance=1.0)],),
    ),
    Call(bandit.NormalBelief.of, (UNITS[0], 1.0, 2.0)),
    Call(bandit.chance_best_beta, ([bayes.BetaPosterior(a=3.0, b=5.0), bayes.BetaPosterior(a=4.0, b=5.5)],)),
    Call(bandit.thompson_weights, ((0.2, 0.8),), {"exploration": 0.05}),
    Call(bandit.stratified_difference, ([UNITS[0], MANY[0]], [UNITS[1], MANY[1]]), {"alpha": 0.05}),
    Call(bayes.normal_effect, (0.2, 0.1), {"alpha": 0.05}),
    Call(bayes.normal_effect, (0.2, 0.1, bayes.NormalPrior(mean=0.1, deviation=0.3))),
    Call(bayes.BetaPosterior.of, (3, 8, (1.0, 2.0))),
    Call(bayes.compare_shares, (bayes.BetaPosterior(a=3.0, b=5.0), bayes.BetaPosterior(a=4.0, b=5.5)), {"alpha": 0.05}),
    Call(comparison.compare_means, UNITS, {"alpha": 0.05}),
    Call(comparison.compare_ratios, RATIOS, {"alpha": 0.05}),
    Call(comparison.welch, UNITS, {"alpha": 0.05, "null": 0.1}),
    Call(comparison.relative_difference, UNITS, {"alpha": 0.05}),
    Call(comparison.log_relative_difference, UNITS, {"alpha": 0.05}),
    Call(comparison.equivalence, (*UNITS, -0.5, 0.5)),
    Call(comparison.non_inferiority, (*UNITS, 0.5), {"alpha": 0.05}),
    Call(covariate.compare_cuped, PAIRS, {"alpha": 0.05}),
    Call(covariate.compare_lin, PAIRS, {"alpha": 0.05}),
    Call(exact.fisher_exact, TABLE),
    Call(exact.clopper_pearson_interval, (3, 9, 0.05)),
    Call(interleaving.sign_test, (12, 8, 3), {"alpha": 0.05}),
    Call(interleaving.mean_preference, (RATIOS[0],), {"alpha": 0.05}),
    Call(interleaving.preference_at_any_time, (RATIOS[0], 0.3), {"clock": 100.0, "tuning_n": 500.0, "alpha": 0.05}),
    Call(interleaving.preference_at_any_time, (MANY_RATIOS, 0.3), {"clock": 200.0, "tuning_n": 500.0, "alpha": 0.05}),
    Call(multiplicity.holm, ((0.2, 0.01),)),
    Call(multiplicity.hommel, ((0.2, 0.01),)),
    Call(multiplicity.benjamini_hochberg, ((0.2, 0.01),)),
    Call(planning.arcsine_effect, (0.2, 0.3)),
    Call(planning.power_of_shares, (0.1, 0.12, 500.0, 600.0), {"alpha": 0.05}),
    Call(planning.sample_size_of_shares, (0.1, 0.12), {"alpha": 0.05, "power": 0.8, "ratio": 1.5}),
    Call(planning.detectable_share, (0.1, 500.0, 600.0), {"alpha": 0.05, "power": 0.8}),
    Call(planning.days_until, (30.0, [5, 9, 12])),
    Call(power.power_of, (0.2, 100.0, 120.0), {"alpha": 0.05}),
    Call(power.sample_size, (0.2,), {"alpha": 0.05, "power": 0.8, "ratio": 1.5}),
    Call(power.detectable_effect, (100.0, 120.0), {"alpha": 0.05, "power": 0.8}),
    Call(power.days_needed, (100.0, 20, 3.0)),
    Call(proportion_tests.wald_test, TABLE, {"alpha": 0.05}),
    Call(proportion_tests.pooled_test, TABLE, {"alpha": 0.05}),
    Call(proportions.compare_proportions, TABLE, {"alpha": 0.05}),
    Call(proportions.wilson_interval, (3, 9, 0.05)),
    Call(proportions.newcombe_interval, (*TABLE, 0.05)),
    Call(proportions.miettinen_nurminen_interval, (*TABLE, 0.05)),
    Call(proportions.share_ratio_interval, (*TABLE, 0.05)),
    Call(proportions.score_test, TABLE),
    Call(proportions.score_statistic, (*TABLE, 0.1)),
    Call(proportions.wald_interval, (*TABLE, 0.05)),
    Call(proportions.agresti_caffo_interval, (*TABLE, 0.05)),
    Call(quantiles.quantile_test, (VALUES, 0.5, 3.0)),
    Call(quantiles.quantile_interval, (VALUES, 0.5, 0.05)),
    Call(quantiles.quantile_difference, (VALUES, OTHERS, 0.5, 0.05)),
    Call(ranks.mann_whitney, (VALUES, OTHERS)),
    Call(ranks.brunner_munzel, (VALUES, OTHERS), {"alpha": 0.05}),
    Call(regression.cluster_robust, RATIOS, {"alpha": 0.05}),
    Call(resampling.bootstrap_difference, (VALUES, OTHERS), {"alpha": 0.05, "resamples": 40}),
    Call(robust.winsorised_summaries, (VALUES, OTHERS), {"share": 0.1}),
    Call(robust.trimmed_welch, (VALUES, OTHERS), {"alpha": 0.05, "trim": 0.1}),
    Call(sample_ratio.sample_ratio, ((40, 50), (0.5, 0.5)), {"alpha": 0.001}),
    Call(sequential_sample_ratio, ([[40, 50], [10, 12]], (0.5, 0.5)), {"alpha": 0.001}),
    Call(skewness.skewness_of_sums, (UNITS[0], 40.0)),
    Call(skewness.skewness_of_ratio, (RATIOS[0], (40.0, 30.0, 20.0, 10.0))),
    Call(asymptotic.confidence_sequence, (0.2, 0.01, 500.0), {"alpha": 0.05, "tuning_n": 800.0, "null": 0.1}),
    Call(asymptotic.confidence_sequence, (0.2, 0.01, 500.0), {"alternative": "greater", "null": 0.1}),
    Call(asymptotic.compare_means, (*MANY, (0.2, 0.3)), {"alpha": 0.05, "tuning_n": 800.0, "clock": 700.0}),
    Call(betting.empirical_bernstein, (np.linspace(0, 1, 30),), {"alpha": 0.05}),
    Call(betting.hoeffding, (np.linspace(0, 1, 30),), {"alpha": 0.05}),
    Call(betting.hedged_betting, (np.linspace(0, 1, 30),), {"alpha": 0.05}),
    Call(betting.conjugate_bernstein, (np.linspace(0, 1, 30), 5.0), {"alpha": 0.05}),
    Call(betting.hedged_evidence, (np.linspace(0, 1, 30), 0.4), {"alpha": 0.05}),
    Call(bounded.compare_bounded_means, ([SHARES[0]] * 2, [SHARES[1]] * 2), {"alpha": 0.05, "planned_n": 500.0}),
    Call(group_sequential.group_sequential_bounds, ((0.5, 1.0),), {"alpha": 0.05}),
    Call(group_sequential.power_family, (2.0,)),
    Call(group_sequential.obrien_fleming, (0.05,)),
    Call(
        lambda clock, information, nominal: repeated.Schedule(clock=clock, information=information).p_value(nominal),
        ((0.5, 1.0), (3.0, 7.0), 0.01),
    ),
    Call(mixtures.normal_mixture_bound, (20.0, 30.0), {"alpha": 0.05, "alpha_opt": 0.05}),
    Call(mixtures.normal_log_mixture, (5.0, 20.0, 30.0), {"alpha_opt": 0.05}),
    Call(mixtures.normal_mixture_bound, (20.0, 30.0), {"alpha": 0.05, "one_sided": True}),
    Call(mixtures.gamma_exponential_bound, (20.0, 30.0), {"alpha": 0.05, "scale": 1.0}),
    Call(mixtures.beta_binomial_log_mixture, (5.0, 20.0, 30.0, 0.3, 0.7), {"alpha_opt": 0.05}),
    Call(mixtures.beta_binomial_bound, (20.0, 30.0, 0.3, 0.7), {"alpha": 0.05}),
    Call(mixtures.bernoulli_sequence, (20, 50, 30.0), {"alpha": 0.05, "alpha_opt": 0.05}),
    Call(mixtures.stitched_bound, (20.0, 1.0), {"alpha": 0.05}),
    Call(quantile_p_value, (np.array(VALUES), np.array(OTHERS), 0.5), {"t_opt": 100.0, "alpha_opt": 0.05}),
    Call(RatioSummary.linearised, (RATIOS[0],)),
]


def with_others(value: Any) -> Iterator[Callable[[], Any]]:
    """The value with each of its numbers replaced by each that may not be what is meant; made when called."""
    if isinstance(value, bool | str) or value is None:
        return
    if isinstance(value, int):
        yield from ((lambda one=one: one) for one in COUNTS)
    elif isinstance(value, float):
        yield from ((lambda one=one: one) for one in NUMBERS)
    elif isinstance(value, Struct):
        for field in structs.fields(value):
            for make in with_others(getattr(value, field.name)):
                yield lambda name=field.name, make=make: structs.replace(value, **{name: make()})
    elif isinstance(value, np.ndarray):
        for make in with_others(value.tolist()):
            yield lambda make=make: np.array(make())
    elif isinstance(value, tuple | list):
        for place in range(len(value) if len(value) < 10 else 2):
            for make in with_others(value[place]):
                yield lambda place=place, make=make: type(value)([*value[:place], make(), *value[place + 1 :]])


def holds_no_number(answer: Any) -> bool:
    if isinstance(answer, float):
        return math.isnan(answer)
    if isinstance(answer, np.ndarray):
        return bool(np.isnan(answer).any())
    if isinstance(answer, Struct):
        return any(holds_no_number(getattr(answer, name)) for name in type(answer).__struct_fields__)
    return isinstance(answer, tuple | list) and any(map(holds_no_number, answer))


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_answers_numbers_or_says_what_it_refuses(call: Call) -> None:
    assert not holds_no_number(call.function(*call.arguments, **call.options))
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in with_others((*call.arguments, *call.options.values())):
            try:
                values = given()
                places = len(call.arguments)
                answer = call.function(*values[:places], **dict(zip(call.options, values[places:], strict=True)))
            except InvalidInput:
                continue
            except Exception as error:
                wrong.append(f"{values}: {error!r}")
                continue
            if holds_no_number(answer):
                wrong.append(f"{values}: {answer}")
    assert not wrong, "\n".join(wrong)
