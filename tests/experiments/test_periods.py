"""After a change of weights each period is taken apart, so that a good day does not count for the arm that grew."""

from __future__ import annotations

import re
from datetime import timedelta

import numpy as np
import pytest
from msgspec import structs
from tests.experiments.unit_moments import START, answer_of, moments_of

from barograph.core.metric import Catalogue
from barograph.core.units import UnitMoments
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, Reweighting, Variant, equal_variants, validated
from barograph.stats.bandit import stratified_difference
from barograph.stats.sample_ratio import sample_ratio
from barograph.stats.summary import Summary

CATALOGUE = Catalogue()
CHANGED = START + timedelta(days=5)


def experiment(**values: object) -> Experiment:
    base = Experiment(
        key="rerank", variants=(Variant(key="control", weight=0.2), Variant(key="reranked", weight=0.8)),
        primary_metric="satisfaction", planned_days=10, state="running", started_at=START, sticky=True,
        reweighted=(Reweighting(at=CHANGED, before={"control": 0.5, "reranked": 0.5}),),
    )  # fmt: skip
    return validated(structs.replace(base, **values), CATALOGUE)


def compare(defined: Experiment, arms: list[UnitMoments]) -> Comparison:
    name, now = defined.primary_metric, START + timedelta(days=11)
    return analyse(defined, {name: CATALOGUE.get(name)}, {name: answer_of(arms, now)}, now)


def rising(effect: float = 0.0, sizes: tuple[tuple[int, int], ...] = ((500, 500), (200, 800))) -> list[UnitMoments]:
    """Everything is better in the second period, in which the treatment has four times the units."""
    generator = np.random.default_rng(8)
    return [
        moments_of(key, generator.normal(3.0 + period + effect * treated, 0.5, n), period=period)
        for period, counts in enumerate(sizes)
        for treated, (key, n) in enumerate(zip(("control", "reranked"), counts, strict=True))
    ]


def test_a_better_time_does_not_count_for_the_arm_that_grew_in_it() -> None:
    found = compare(experiment(), rising())
    assert found.verdict.finding == "not settled"
    mixed = compare(experiment(reweighted=()), [structs.replace(one, period=0) for one in rising()])
    assert mixed.estimates[0].p_value is not None
    assert mixed.estimates[0].p_value < 1e-9  # what the plain difference of means would have said


def test_a_real_effect_is_found_and_the_method_says_how() -> None:
    found = compare(experiment(), rising(effect=0.3))
    assert found.verdict.finding == "better"
    assert found.estimates[0].method.endswith("stratified by period")


def test_the_difference_is_that_of_post_stratification() -> None:
    arms = rising(effect=0.1, sizes=((500, 500), (100, 400)))
    found = compare(experiment(), arms).estimates[0].absolute
    by_arm = [
        [Summary(one.units, one.numerator_mean, one.numerator_m2) for one in arms if one.arm == key]
        for key in ("reranked", "control")
    ]
    expected = stratified_difference(*by_arm).absolute
    assert found is not None
    assert expected is not None
    assert found.value == pytest.approx(expected.value)
    assert found.standard_error == pytest.approx(expected.standard_error)
    assert found.degrees == pytest.approx(expected.degrees, rel=0.01)
    assert found.p_value == pytest.approx(expected.p_value, rel=0.01)


@pytest.mark.parametrize("method", ["fixed horizon", "always valid"])
def test_a_few_units_that_stand_for_a_whole_period_are_taken_for_a_few(method: str) -> None:
    defined = experiment(
        method=method, variants=(Variant(key="control", weight=0.02), Variant(key="reranked", weight=0.98))
    )
    found = compare(defined, rising(effect=0.5, sizes=((500, 500), (12, 988))))
    assert found.estimates[0].arm_n == 1488
    assert found.estimates[0].absolute is not None
    assert found.estimates[0].absolute.degrees == pytest.approx(11, abs=3)
    if method == "always valid":
        assert any("a sequence needs 100 units" in warning for warning in found.deciding[0].warnings)


@pytest.mark.parametrize("method", ["fixed horizon", "always valid"])
def test_units_are_held_against_the_weights_under_which_they_came(method: str) -> None:
    right = compare(experiment(method=method), rising())
    assert not right.sample_ratio.mismatch
    assert right.sample_ratio.expected == pytest.approx((700, 1300))
    wrong = compare(experiment(method=method), rising(sizes=((500, 500), (400, 600))))
    assert wrong.sample_ratio.mismatch
    assert wrong.verdict.finding == "not valid"


def test_a_period_that_lacks_units_of_an_arm_is_left_out_and_said_so() -> None:
    arms = rising(sizes=((500, 500), (0, 4)))
    found = compare(
        experiment(variants=(Variant(key="control", weight=0.0001), Variant(key="reranked", weight=0.9999))), arms
    )
    assert found.estimates[0].n == 1000
    assert any("1 of 2 periods" in warning for warning in found.warnings)


def test_an_always_valid_interval_knows_of_periods_too() -> None:
    found = compare(experiment(method="always valid"), rising(effect=0.3))
    assert found.verdict.finding == "better"
    assert found.deciding[0].method == "asymptotic confidence sequence, stratified by period"


def test_several_periods_are_several_chances_of_a_mismatch() -> None:
    found = compare(experiment(method="fixed horizon"), rising(sizes=((460, 540), (200, 800)))).sample_ratio
    alone = sample_ratio([460, 540], [0.5, 0.5])
    assert alone.p_value is not None
    assert found.p_value == pytest.approx(2 * alone.p_value)
    assert found.method == "exact binomial, worst of 2 periods"


def test_a_mismatch_of_an_earlier_period_is_kept() -> None:
    arms = rising(sizes=((700, 300), (4000, 16_000)))
    found = compare(experiment(method="always valid"), arms)
    assert found.sample_ratio.mismatch


def test_evidence_of_a_mismatch_grows_over_periods_at_any_time() -> None:
    variants = equal_variants("control", "reranked")
    plain = experiment(method="always valid", variants=variants, reweighted=())
    alone = [compare(plain, rising(sizes=((n, 1000 - n),))).sample_ratio.p_value for n in (440, 430)]
    assert alone[0] is not None
    assert alone[1] is not None
    same = Reweighting(at=CHANGED, before={"control": 0.5, "reranked": 0.5})
    for sizes in (((440, 560), (430, 570)), ((440, 560), (430, 570), (500, 500))):
        changes = tuple(structs.replace(same, at=CHANGED + timedelta(days=day)) for day in range(len(sizes) - 1))
        defined = experiment(method="always valid", variants=variants, reweighted=changes)
        both = compare(defined, rising(sizes=sizes)).sample_ratio.p_value
        assert both == pytest.approx(alone[0] * alone[1], rel=1e-6)  # what was shown once stays shown


def test_each_of_several_changes_has_its_own_weights() -> None:
    changes = tuple(
        Reweighting(at=CHANGED + timedelta(days=day), before={"control": share, "reranked": 1 - share})
        for day, share in ((0, 0.5), (1, 0.7))
    )
    found = compare(experiment(reweighted=changes), rising(sizes=((500, 500), (700, 300), (200, 800))))
    assert found.sample_ratio.expected == pytest.approx((1400, 1600))
    assert not found.sample_ratio.mismatch


def test_skew_is_known_of_combined_periods_too() -> None:
    generator = np.random.default_rng(6)
    values = [generator.lognormal(0, 1.5, 500) for _ in range(4)]
    arms = [
        moments_of(key, values[2 * period + arm], period=period)
        for period in range(2)
        for arm, key in enumerate(("control", "reranked"))
    ]
    (found,) = compare(experiment(method="always valid"), arms).primary.always_valid
    assert "too skewed" in found.warnings[0]
    told = float(re.findall(r"means ([0-9.]+)", found.warnings[0])[0])
    # equal periods of equal weight: third cumulants add up as those of one sample would, around each period's mean
    of_arms = []
    for arm in range(2):
        parts = [values[arm], values[2 + arm]]
        variance = np.mean([part.var() for part in parts])
        third = np.mean([((part - part.mean()) ** 3).mean() for part in parts])
        of_arms.append(third / variance**1.5)
    assert told == pytest.approx(max(of_arms) / np.sqrt(1000), abs=0.01)
