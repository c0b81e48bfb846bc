"""Corrections for many questions keep their promise over the declared family, and cost no more than they must."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.stats import multiplicity
from barograph_client.errors import InvalidInput

Adjust = Callable[[list[float]], list[float]]
ALL: list[Adjust] = [
    multiplicity.bonferroni, multiplicity.sidak, multiplicity.holm, multiplicity.holm_sidak, multiplicity.hochberg,
    multiplicity.hommel, multiplicity.benjamini_hochberg, multiplicity.benjamini_yekutieli,
]  # fmt: skip
families = st.lists(st.floats(0, 1), min_size=1, max_size=8)
ALMOST = 1 + 1e-9


@given(families)
def test_none_is_below_the_p_value_or_above_one_and_order_is_kept(p_values: list[float]) -> None:
    for adjust in ALL:
        adjusted = adjust(p_values)
        assert all(p <= q * ALMOST <= ALMOST for p, q in zip(p_values, adjusted, strict=True))
        pairs = sorted(zip(p_values, adjusted, strict=True))
        assert all(one[1] <= other[1] * ALMOST for one, other in itertools.pairwise(pairs) if one[0] < other[0])


@given(families)
def test_the_order_of_the_questions_does_not_matter(p_values: list[float]) -> None:
    order = list(np.random.default_rng(len(p_values)).permutation(len(p_values)))
    for adjust in ALL:
        shuffled = adjust([p_values[index] for index in order])
        assert shuffled == pytest.approx([adjust(p_values)[index] for index in order], rel=1e-12)


@given(families)
def test_each_is_at_least_as_powerful_as_the_one_that_assumes_less(p_values: list[float]) -> None:
    chain: list[Adjust] = [
        multiplicity.hommel, multiplicity.hochberg, multiplicity.holm, multiplicity.bonferroni,
    ]  # fmt: skip
    for stronger, weaker in itertools.pairwise(chain):
        assert all(p <= q * ALMOST for p, q in zip(stronger(p_values), weaker(p_values), strict=True))
    for stronger, weaker in (
        (multiplicity.holm_sidak, multiplicity.holm),
        (multiplicity.sidak, multiplicity.bonferroni),
        (multiplicity.benjamini_hochberg, multiplicity.benjamini_yekutieli),
    ):
        assert all(p <= q * ALMOST for p, q in zip(stronger(p_values), weaker(p_values), strict=True))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_hommel_is_the_closed_test_on_simes_inequality(p_values: list[float]) -> None:
    def simes(some: tuple[float, ...]) -> float:
        return min(p * len(some) / rank for rank, p in enumerate(sorted(some), start=1))

    indices = range(len(p_values))
    subsets = [set(some) for size in indices for some in itertools.combinations(indices, size + 1)]
    closed = [max(simes(tuple(p_values[i] for i in some)) for some in subsets if index in some) for index in indices]
    assert multiplicity.hommel(p_values) == pytest.approx(closed, rel=1e-9)


def test_defect_7_a_correction_is_of_the_family_and_not_of_each_row() -> None:
    family = [0.01, 0.02, 0.03, 0.04]
    for adjust in ALL:
        row_by_row = [adjust([p])[0] for p in family]
        assert row_by_row == pytest.approx(family, rel=1e-12)  # which corrects nothing
        assert all(one > other for one, other in zip(adjust(family)[:3], row_by_row[:3], strict=True))


def test_corrections_of_a_family_without_an_effect_raise_few_false_alarms() -> None:
    generator = np.random.default_rng(3)
    families = generator.uniform(size=(2000, 6))
    for adjust in ALL:
        alarms = sum(min(adjust(list(family))) <= 0.05 for family in families)
        assert alarms <= 2000 * 0.05 + 3.1 * np.sqrt(2000 * 0.05 * 0.95)


@pytest.mark.parametrize("bad", [[0.1, -0.1], [1.1], [float("nan")]])
def test_what_is_no_p_value_is_refused_and_no_question_is_no_answer(bad: list[float]) -> None:
    for adjust in ALL:
        assert adjust([]) == []
        with pytest.raises(InvalidInput):
            adjust(bad)
