"""Summaries of several numbers a unit add up, whatever the split, and what no unit can have is refused."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.soak import times

from barograph.stats.joint import JointSummary, PairSummary, RatioPairSummary
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import InvalidInput

row = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.integers(0, 50))
table = st.lists(row, max_size=25)


def joint(rows: list[tuple[float, float, int]]) -> JointSummary:
    return JointSummary.from_columns(*([one[index] for one in rows] for index in range(3)))


@given(table, table)
def test_merge_is_commutative_to_the_bit_and_equals_the_whole(
    a: list[tuple[float, float, int]], b: list[tuple[float, float, int]]
) -> None:
    one, other, whole = joint(a), joint(b), joint(a + b)
    merged = one + other
    assert merged == other + one
    assert merged.n == whole.n
    assert merged.means == pytest.approx(whole.means, rel=1e-9, abs=1e-8)
    assert merged.products == pytest.approx(whole.products, rel=1e-6, abs=1e-3)


@settings(max_examples=times(30, 300))
@given(table, table, table)
def test_merge_is_associative_and_nothing_changes_nothing(
    a: list[tuple[float, float, int]], b: list[tuple[float, float, int]], c: list[tuple[float, float, int]]
) -> None:
    left, right = (joint(a) + joint(b)) + joint(c), joint(a) + (joint(b) + joint(c))
    assert left.n == right.n
    assert left.means == pytest.approx(right.means, rel=1e-9, abs=1e-8)
    assert left.products == pytest.approx(right.products, rel=1e-6, abs=1e-3)
    assert joint(a) + JointSummary() == joint(a) == JointSummary() + joint(a)


@given(table)
def test_one_number_alone_is_its_summary(rows: list[tuple[float, float, int]]) -> None:
    summary = joint(rows)
    for index in range(3):
        alone = Summary.from_values([one[index] for one in rows])
        if rows:
            assert summary.summary(index) == alone


def test_keeps_its_digits_at_a_mean_of_1e12() -> None:
    pre, post = [1e12 + x for x in (1.0, 2.0, 3.0, 4.0)], [1e12 + x for x in (2.0, 1.0, 4.0, 3.0)]
    parts = PairSummary.from_values(pre[:2], post[:2]) + PairSummary.from_values(pre[2:], post[2:])
    assert parts.products == (5.0, 3.0, 5.0)
    assert parts.correlation == pytest.approx(0.6)


def test_of_one_kind_do_not_add_to_another() -> None:
    with pytest.raises(TypeError):
        operator.add(PairSummary.from_values([1.0], [2.0]), JointSummary.from_columns([1.0], [2.0]))
    with pytest.raises(InvalidInput, match="different numbers"):
        _ = JointSummary.from_columns([1.0], [2.0]) + JointSummary.from_columns([1.0])


@pytest.mark.parametrize(
    "moments",
    [
        (-1, (), ()), (2, (1.0,), ()), (0, (1.0,), (1.0,)), (3, (1.0, 1.0), (1.0, 2.0, 1.0)), (3, (1.0,), (-1.0,)),
        (3, (math.nan,), (1.0,)), (3, (1.0,), (math.inf,)), (1, (1.0,), (1.0,)),
    ],
)  # fmt: skip
def test_moments_that_no_units_have_are_refused(
    moments: tuple[int, tuple[float, ...], tuple[float, ...]],
) -> None:
    with pytest.raises(InvalidInput):
        JointSummary(*moments)


@pytest.mark.parametrize("pre", [[1.0], [1.0, math.inf], [1.0, math.nan]])
def test_columns_that_do_not_pair_or_are_not_finite_are_refused(pre: list[float]) -> None:
    with pytest.raises(InvalidInput):
        PairSummary.from_values(pre, [1.0, 2.0])


def test_linearised_ratios_have_the_variance_of_each_and_the_covariance_of_both() -> None:
    generator = np.random.default_rng(5)
    below, below_before = generator.integers(1, 20, 300) * 1.0, generator.integers(1, 20, 300) * 1.0
    quality = generator.normal(3, 1, 300)
    above, above_before = below * quality + generator.normal(0, 1, 300), below_before * quality
    pairs = RatioPairSummary.from_values(above_before, below_before, above, below)
    halves = RatioPairSummary.from_values(*(x[:100] for x in (above_before, below_before, above, below)))
    halves += RatioPairSummary.from_values(*(x[100:] for x in (above_before, below_before, above, below)))
    linear = pairs.linearised()
    alone = RatioSummary.from_values(above, below).linearised()
    assert linear.post.mean == pytest.approx(alone.mean)
    assert linear.post.m2 == pytest.approx(alone.m2)
    assert linear.pre.mean == pytest.approx(above_before.sum() / below_before.sum())
    by_hand = np.cov(
        (above_before - linear.pre.mean * below_before) / below_before.mean(),
        (above - linear.post.mean * below) / below.mean(),
    )[0, 1]
    assert linear.cross / 299 == pytest.approx(by_hand)
    assert halves.linearised().products == pytest.approx(linear.products)


def test_a_ratio_without_a_past_does_not_vary_before_and_one_without_a_present_is_refused() -> None:
    without_past = RatioPairSummary.from_values([0, 0, 0], [0, 0, 0], [1, 2, 3], [1, 1, 2]).linearised()
    assert not without_past.pre.varies
    assert without_past.post.mean == 1.5
    with pytest.raises(InvalidInput, match="denominator"):
        RatioPairSummary.from_values([1, 2], [1, 1], [0, 0], [0, 0]).linearised()
