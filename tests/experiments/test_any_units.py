"""Whatever units do, a comparison is told: a finding with a sentence, and no number in it that is none."""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray
from tests.experiments.unit_moments import START, answer_of, moments_of
from tests.support.soak import times

from barograph.core.metric import Catalogue
from barograph.core.units import UnitAnswer, UnitMoments, UnitValues
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.analysis.detail import detail
from barograph.experiments.analysis.unit_sums import UnitSums
from barograph.experiments.comparison import Comparison, Details
from barograph.experiments.design import Experiment, Guardrail, Reweighting, equal_variants, validated

CATALOGUE = Catalogue()
Floats = NDArray[np.float64]
NO_NUMBER = re.compile(r"\b(nan|inf|infinity|none)\b|∞", re.IGNORECASE)


def numbers(generator: np.random.Generator, n: int) -> Floats:
    """Of one of the kinds that metrics are, or should not be."""
    kinds = [
        generator.normal(3, 1, n), generator.lognormal(0, 3, n), generator.binomial(1, 0.02, n), np.zeros(n),
        np.full(n, 0.1), 1e9 + generator.normal(0, 1, n), 1e12 * generator.random(n), -generator.random(n),
        generator.normal(0, 1, n), 1e-200 * generator.random(n), 1e40 * generator.random(n), np.full(n, 1e6 / 3),
    ]  # fmt: skip
    return np.asarray(kinds[generator.integers(len(kinds))], dtype=np.float64)


def summed(generator: np.random.Generator, metric: str, d: Floats) -> Floats:
    """What units summed over so many measurements; of what lies in [0, 1] no more than those."""
    if metric in ("error_rate", "accuracy"):
        share = float(generator.choice([0.0, 0.01, 0.5, 1.0]))
        return np.asarray(generator.binomial(d.astype(int), share), dtype=np.float64)
    return np.asarray(numbers(generator, d.size) * np.sign(d), dtype=np.float64)


def an_answer(generator: np.random.Generator, defined: Experiment, metric: str) -> UnitAnswer:
    """Arms over some days, with or without a past; now and then one has nobody, one unit, or nothing measured."""
    arms: list[UnitMoments] = []
    for day in range(int(generator.integers(0, 5))):
        for variant in defined.variants:
            n = int(generator.choice([0, 1, 2, 40, 200]))
            if n:
                d = generator.integers(0, 4, n).astype(float) * float(generator.choice([0.0, 1.0, 1.0, 1.0]))
                if generator.random() < 0.3:
                    d = np.ones(n)
                pre = (numbers(generator, n), generator.integers(0, 3, n).astype(float)) if defined.pre_days else None
                period = int(day > 2) if defined.reweighted else 0
                arms.append(
                    moments_of(variant.key, summed(generator, metric, d), d, group=f"2026-11-{10 + day}",
                               period=period, pre=pre, unit_days=n * float(generator.choice([0.0, 0.001, 3.0])))
                )  # fmt: skip
    return answer_of(arms, START + timedelta(days=5), contaminated=int(generator.choice([0, 0, 50])))


def an_experiment(generator: np.random.Generator) -> Experiment:
    metrics = [str(name) for name in generator.permutation(["response_time.mean", "error_rate", "cost", "accuracy"])]
    arms = [Reweighting(at=START + timedelta(days=3), before={"control": 0.4, "a": 0.6, "b": 0.0})]
    return validated(
        Experiment(
            key="any", variants=equal_variants("control", "a", *(["b"] if generator.random() < 0.3 else [])),
            primary_metric=metrics[0], secondary_metrics=(metrics[1],), state="running", started_at=START, sticky=True,
            guardrails=tuple(Guardrail(metric=name, margin=0.1, relative=bool(generator.random() < 0.5))
                             for name in metrics[2:]),
            method="always valid" if generator.random() < 0.5 else "fixed horizon",
            planned_days=4 if generator.random() < 0.5 else None, alpha=float(generator.choice([0.01, 0.05, 0.5])),
            power=0.8, equivalence_margin=0.1 if generator.random() < 0.5 else None,
            pre_days=7 if generator.random() < 0.5 else 0, reweighted=tuple(arms) if generator.random() < 0.3 else (),
            attribution_days=1.0 if generator.random() < 0.3 else None,
        ),
        CATALOGUE,
    )  # fmt: skip


def test_sums_of_parts_are_those_of_the_whole() -> None:
    generator = np.random.default_rng(1)
    n, pre = generator.lognormal(0, 1, 90), generator.normal(3, 1, 90)
    d, before = generator.integers(0, 4, 90).astype(float), generator.integers(1, 5, 90).astype(float)
    n *= np.sign(d)

    def part(chosen: slice) -> UnitSums:
        size = n[chosen].size
        return UnitSums.of(
            moments_of("a", n[chosen], d[chosen], pre=(pre[chosen], before[chosen]), unit_days=2.0 * size)
        )

    whole, parts = part(slice(None)), part(slice(0, 20)) + part(slice(20, 21)) + part(slice(21, None)) + UnitSums()
    assert parts.units == whole.units == 90
    assert parts.unit_days == whole.unit_days
    assert whole.pairs is not None
    assert parts.pairs is not None
    for one, other in (
        (parts.own.mean, whole.own.mean), (parts.own.m2, whole.own.m2), (parts.cubes, whole.cubes),
        (parts.sums.cross_m2, whole.sums.cross_m2), (parts.pairs.means, whole.pairs.means),
        (parts.pairs.products, whole.pairs.products), (parts.sums.measured, whole.sums.measured),
    ):  # fmt: skip
        assert one == pytest.approx(other)
    assert (part(slice(0, 5)) + structs.replace(part(slice(5, 9)), cubes=None)).cubes is None


def test_rounding_of_an_engine_makes_no_sums_impossible() -> None:
    moments = moments_of("a", np.full(50, 1e6 / 3), pre=(np.full(50, 1e6 / 7), np.ones(50)))
    assert moments.pre is not None
    rounded = structs.replace(moments.pre, products=(-1e-5, 1e-6, 3e-4, 0.0, -1e-12, 1e-4, 0.0))
    pairs = UnitSums.of(structs.replace(moments, pre=rounded, numerator_m2=-1e-6, cross_m2=1e-5)).pairs
    assert pairs is not None
    assert pairs.products == (0.0,) * 10


def test_a_comparison_is_told_in_words_and_numbers_whatever_units_do() -> None:
    for seed in range(times(30, 5_000)):
        generator = np.random.default_rng(seed)
        defined = an_experiment(generator)
        answers = {name: an_answer(generator, defined, name) for name in defined.metrics}
        found = analyse(defined, {name: CATALOGUE.get(name) for name in answers}, answers, START + timedelta(days=5))
        for verdict in (found.verdict, *found.arm_verdicts):
            assert verdict.sentence, seed
            assert not NO_NUMBER.search(verdict.sentence), (seed, verdict.sentence)
            assert (verdict.p_value is None) or 0 <= verdict.p_value <= 1, seed
        assert found.needs_more_days is None or 0 <= found.needs_more_days < np.inf, seed
        assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found, seed
        for metric in found.metrics:
            for estimate in (*metric.estimates, *metric.always_valid, *metric.adjusted):
                effect = estimate.absolute
                if effect is not None and effect.low is not None and effect.high is not None:
                    assert effect.low <= effect.value <= effect.high, (seed, estimate)
                if effect is not None and effect.p_value is not None:
                    assert 0 <= effect.p_value <= 1, (seed, estimate)


def test_details_are_told_whatever_units_do() -> None:
    for seed in range(times(12, 1_000)):
        generator = np.random.default_rng(seed)
        defined = structs.replace(an_experiment(generator), slices=("plan",))
        metric = CATALOGUE.get(defined.primary_metric)
        whole = an_answer(generator, defined, metric.name)
        by_age = structs.replace(whole, arms=tuple(structs.replace(one, group=one.group[-1]) for one in whole.arms))
        values = []
        for variant in defined.variants:
            n = int(generator.choice([0, 1, 5, 60]))
            d = generator.integers(0, 4, n).astype(float)
            values.append(
                UnitValues(arm=variant.key, units=n, numerators=tuple(summed(generator, metric.name, d)),
                           denominators=tuple(d))
            )  # fmt: skip
        found = detail(defined, metric, whole, by_age, {"plan": whole}, values)
        assert msgspec.json.decode(msgspec.json.encode(found), type=Details) == found, seed
        for said in (*found.warnings, *(course.sentence for course in found.courses)):
            assert not NO_NUMBER.search(said), (seed, said)
