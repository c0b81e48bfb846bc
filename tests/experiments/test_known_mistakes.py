"""Mistakes that were found in other packages: the analysis of an experiment, from moments to verdict, makes none."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from scipy import stats
from tests.experiments.unit_moments import Floats, answer_of, moments_of

from barograph.core.metric import Catalogue
from barograph.core.units import UnitMoments
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.assignment import definition_of
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, Variant, equal_variants, validated
from barograph.experiments.reallocation import reallocated
from barograph_client.experiments.assignment import Assigner

START = datetime(2026, 11, 10, tzinfo=UTC)
CATALOGUE = Catalogue()


def experiment(**values: Any) -> Experiment:
    usual: dict[str, Any] = {
        "variants": equal_variants("control", "treated"), "primary_metric": "satisfaction", "planned_days": 1.0,
    }  # fmt: skip
    made = validated(Experiment(key="k", **{**usual, **values}), CATALOGUE)
    return structs.replace(made, state="running", started_at=START)


def compare(defined: Experiment, *arms: UnitMoments, others: dict[str, list[UnitMoments]] | None = None) -> Comparison:
    answers = {defined.primary_metric: answer_of(arms)} | {k: answer_of(v) for k, v in (others or {}).items()}
    metrics = {name: CATALOGUE.get(name) for name in answers}
    return analyse(defined, metrics, answers, START + timedelta(days=2))


def spread(mean: float, n: int) -> Floats:
    """So many values with this mean and a deviation of 1, evenly spread."""
    values = np.arange(n, dtype=np.float64) - (n - 1) / 2
    return np.asarray(mean + values / math.sqrt(n * (n + 1) / 12), dtype=np.float64)


def test_1_an_arm_of_weight_zero_has_no_degree_of_freedom_in_the_sample_ratio() -> None:
    arms = tuple(Variant(key=key, weight=weight) for key, weight in (("control", 0.5), ("treated", 0.5), ("off", 0.0)))
    found = compare(
        experiment(variants=arms), moments_of("control", spread(4, 500)), moments_of("treated", spread(4, 560))
    )
    assert found.sample_ratio.degrees == 1
    assert found.sample_ratio.p_value == pytest.approx(0.06534575162837782)


def test_2_a_p_value_far_out_is_small_and_not_zero() -> None:
    found = compare(
        experiment(),
        moments_of("control", spread(4.0, 400), np.ones(400)),
        moments_of("treated", spread(5.6, 400), np.ones(400)),
    )
    effect = found.estimates[0].absolute
    assert effect is not None
    assert effect.p_value is not None
    assert effect.degrees is not None
    assert effect.statistic is not None
    assert effect.p_value == pytest.approx(2 * stats.t.sf(abs(effect.statistic), effect.degrees), rel=1e-9)
    assert 0 < effect.p_value < 1e-80
    assert 2 * (1 - stats.t.cdf(effect.statistic, effect.degrees)) == 0  # what must not be said


def test_3_a_difference_at_1e12_is_found_with_its_spread() -> None:
    defined = experiment(primary_metric="cost")
    found = compare(
        defined, moments_of("control", 1e12 + spread(0, 200)), moments_of("treated", 1e12 + 1 + spread(0, 200))
    )
    effect = found.estimates[0].absolute
    assert effect is not None
    assert effect.value == pytest.approx(1, abs=1e-3)
    assert effect.standard_error == pytest.approx(math.sqrt(2 / 200), rel=1e-3)
    assert found.estimates[0].p_value is not None
    assert found.estimates[0].p_value < 1e-9
    assert found.verdict.finding == "not valid"  # whether few of them decide cannot be told of such numbers
    assert found.verdict.advice.startswith("record each user's values less their usual level")


def test_4_an_arm_without_a_success_has_an_interval_and_an_exact_p_value() -> None:
    defined = experiment(primary_metric="error_rate")
    found = compare(
        defined, moments_of("control", np.zeros(50)), moments_of("treated", np.r_[np.ones(4), np.zeros(46)])
    )
    effect = found.estimates[0].absolute
    assert effect is not None
    assert effect.p_value is not None
    assert effect.low is not None
    assert effect.high is not None
    assert 0.03 < effect.p_value < 0.2
    assert effect.low < 0.08 < effect.high
    assert effect.high - effect.low > 0.1


@pytest.mark.parametrize("sign", [1, -1])
def test_5_below_zero_the_relative_effect_has_the_sign_of_the_difference_and_intervals_hold_their_value(
    sign: int,
) -> None:
    defined = experiment(primary_metric="score.margin")
    found = compare(defined, moments_of("control", spread(-4.0, 200)), moments_of("treated", spread(-4.0 + sign, 200)))
    assert found.verdict.finding == ("better" if sign > 0 else "worse")
    for effect in (found.estimates[0].absolute, found.estimates[0].relative):
        assert effect is not None
        assert effect.low is not None
        assert effect.high is not None
        assert effect.low < effect.value < effect.high
        assert effect.value * sign > 0
        assert min(effect.low * sign, effect.high * sign) > 0


@pytest.mark.parametrize("arms", [2, 3])
def test_6_where_lower_is_better_the_lowest_arm_gets_the_most_units(arms: int) -> None:
    keys = ["control", "treated", "third"][:arms]
    defined = experiment(variants=equal_variants(*keys), primary_metric="response_time.mean", sticky=True)
    slow = [moments_of(key, spread(3.0 - 0.1 * index, 300)) for index, key in enumerate(keys)]
    found = reallocated(defined, CATALOGUE.get("response_time.mean"), answer_of(slow), 0.1)
    weights = [one.weight for one in found.experiment.variants]
    assert weights == sorted(weights)
    assert weights[-1] > 1 / arms
    assert weights[0] >= 0.1


def test_7_secondary_metrics_are_corrected_as_one_family_and_not_row_by_row() -> None:
    names = ("cost", "response_time.mean", "error_rate")
    rows = {
        name: [moments_of("control", spread(mean, 400)), moments_of("treated", spread(mean + 0.16, 400))]
        for name, mean in zip(names, (4.0, 5.0, 6.0), strict=True)
    }
    found = compare(
        experiment(secondary_metrics=names),
        moments_of("control", spread(4, 400)),
        moments_of("treated", spread(4, 400)),
        others=rows,
    )
    alone = [one.estimates[0].p_value for one in found.metrics if one.role == "secondary"]
    corrected = [one.adjusted_p_values[0] for one in found.metrics if one.role == "secondary"]
    assert all(p is not None and p < 0.05 for p in alone)
    assert all(p is not None and p > 0.05 for p in corrected)


def test_8_an_id_is_hashed_as_javascript_does_so_that_no_user_of_another_script_moves() -> None:
    defined = experiment(hash_version="growthbook-v2", salt="seed", variants=equal_variants("a", "b"))
    buckets = {"é": 0.8663, "用户": 0.536}
    for unit, bucket in buckets.items():
        for share in (bucket - 0.0001, bucket + 0.0002):
            arms = (Variant(key="a", weight=share), Variant(key="b", weight=1 - share))
            assigner = Assigner(definition_of(structs.replace(defined, variants=arms)))
            assert assigner.decide({"user": unit}, {}).arm == ("a" if bucket < share else "b")
