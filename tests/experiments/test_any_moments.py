"""Whatever units do, a comparison is made of numbers that JSON can carry, or nothing but an error of ours is raised."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs
from tests.experiments.test_bad_experiments import assert_carried
from tests.experiments.unit_moments import moments_of
from tests.support.soak import times

from barograph.core.metric import Catalogue
from barograph.core.units import UnitAnswer, UnitMoments
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, Guardrail, Reweighting, Variant, validated
from barograph_client.errors import BarographError

START = datetime(2026, 11, 10, 9, tzinfo=UTC)
CATALOGUE = Catalogue()
MEASURED = ("response_time.mean", "error_rate", "cost", "queries", "score.grade", "priced_rate")
NUMBERS = st.one_of(
    st.floats(-10, 10), st.sampled_from([0.0, 1.0, 1e-300, -1e-300, 1e150, -1e150, 1e300, 1e12, 1e12 + 1, 5e-324])
)
FINDINGS = {"better", "worse", "equivalent", "not settled", "not valid"}


@st.composite
def cells(draw: st.DrawFn) -> list[UnitMoments]:
    """Units of some arms, days and periods, few or many, equal or not, measured or not, with a past or without."""
    found = []
    scale = draw(NUMBERS)
    past = draw(st.booleans())
    for arm, period, day in itertools.product(("a", "b", "c", "\x1b[2J"), range(2), range(2)):
        units = draw(st.sampled_from([0, 0, 1, 2, 3, 40, 150]))
        if not units or draw(st.integers(0, 3)) == 0:
            continue
        generator = np.random.default_rng(draw(st.integers(0, 9)))
        kind = draw(st.sampled_from(["equal", "yes or no", "normal", "skewed", "drawn"]))
        numerators = np.full(units, scale)
        if kind == "yes or no":
            numerators = generator.integers(0, 2, units) * 1.0
        elif kind == "normal":
            numerators = scale + generator.standard_normal(units)
        elif kind == "skewed":
            numerators = scale * np.exp(3 * generator.standard_normal(units))
        elif kind == "drawn":
            numerators = np.resize(draw(st.lists(NUMBERS, min_size=1, max_size=4)), units)
        denominators = draw(st.sampled_from([np.ones(units), np.zeros(units), generator.poisson(1.0, units) * 1.0]))
        group = (START.date() + timedelta(days=day)).isoformat()
        try:
            with np.errstate(all="ignore"):
                made = moments_of(
                    arm, numerators, denominators, unit_days=draw(st.sampled_from([0.0, 0.5, 7.0])) * units,
                    group=group, period=period, pre=(numerators[::-1], np.ones(units)) if past else None,
                )  # fmt: skip
        except BarographError:
            continue  # sums that are too large never leave the store
        cubes = made.cubes if made.cubes is not None and all(map(math.isfinite, made.cubes)) else None
        found.append(structs.replace(made, cubes=cubes))
    return found


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    """One of several kinds, which has started."""
    metrics = draw(st.permutations(MEASURED))
    weights = draw(st.sampled_from([(0.5, 0.5, 0.0), (0.9, 0.05, 0.05), (0.2, 0.3, 0.5)]))
    values: dict[str, Any] = {
        "key": "any", "variants": tuple(Variant(key=k, weight=w) for k, w in zip("abc", weights, strict=True)),
        "primary_metric": metrics[0], "secondary_metrics": tuple(metrics[1:3]), "better": "lower",
        "guardrails": tuple(
            Guardrail(metric=name, margin=draw(st.sampled_from([1e-9, 0.1, 1e9])), relative=draw(st.booleans()))
            for name in metrics[3:5]
            if CATALOGUE.get(name).better != "neutral"
        ),
        "method": draw(st.sampled_from(["fixed horizon", "always valid", None])),
        "planned_days": draw(st.sampled_from([None, 1.0, 10.0])), "planned_units": draw(st.sampled_from([None, 50])),
        "attribution_days": draw(st.sampled_from([None, 0.25, 1.0])), "pre_days": draw(st.sampled_from([0, 7])),
        "equivalence_margin": draw(st.sampled_from([None, 0.1])), "minimum_units": draw(st.sampled_from([2, 30])),
        "alpha": draw(st.sampled_from([1e-6, 0.05, 0.5])), "power": 0.8,
        "correction": draw(st.sampled_from(["holm", "benjamini-hochberg"])),
    }  # fmt: skip
    made = validated(Experiment(**values), CATALOGUE)
    changes = (Reweighting(at=START + timedelta(days=1), before={"a": 0.5, "b": 0.5, "c": 0.0}),)
    return structs.replace(
        made, state="running", started_at=START, reweighted=draw(st.sampled_from([(), changes])),
        stopped_at=draw(st.sampled_from([None, START + timedelta(days=2)])),
    )  # fmt: skip


WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # which takes minutes for moments so large


@settings(max_examples=times(60, 5_000), suppress_health_check=list(HealthCheck), phases=WITHOUT_SHRINKING)
@given(experiments(), st.data())
def test_a_comparison_is_of_finite_numbers_or_an_error_of_ours(defined: Experiment, data: st.DataObject) -> None:
    names = [defined.primary_metric, *defined.secondary_metrics, *(one.metric for one in defined.guardrails)]
    answers = {
        name: UnitAnswer(
            arms=tuple(data.draw(cells())), contaminated=data.draw(st.sampled_from([0, 1, 10**6])),
            first_exposure=None, last_exposure=None, complete_to=START + timedelta(days=data.draw(st.integers(0, 9))),
            cap=data.draw(st.sampled_from([None, 0.0, 1e300])),
        )
        for name in names
    }  # fmt: skip
    try:
        found = analyse(defined, {name: CATALOGUE.get(name) for name in names}, answers, START + timedelta(days=5))
    except BarographError:
        return
    assert_carried(found)
    assert found.verdict.finding in FINDINGS
    assert found.verdict.sentence.isprintable()
    assert "nan" not in found.verdict.sentence
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found
