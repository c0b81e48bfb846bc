"""The past in bounded memory: quantiles near the true ones, deterministic, and forgetful when told."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from barograph.stats.reservoir import CAPACITY, WIDEST_STRIDE, Reservoir


def filled(values: list[float]) -> Reservoir:
    reservoir = Reservoir()
    for value in values:
        reservoir.add(value)
    return reservoir


def test_it_keeps_a_bounded_even_sample_whose_quantiles_are_near_the_true_ones() -> None:
    values = np.random.default_rng(0).exponential(1, 12_000)
    reservoir = filled(values.tolist())
    assert CAPACITY // 2 <= len(reservoir) <= CAPACITY
    true = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    assert np.allclose(reservoir.spread(), true, rtol=0.15, atol=0.02)


def test_it_forgets_what_is_older_than_its_widest_stride_allows() -> None:
    reservoir = filled([1.0] * 20_000 + [2.0] * CAPACITY * WIDEST_STRIDE)
    assert set(reservoir.spread()) == {2.0}


def test_told_to_forget_it_keeps_the_newest() -> None:
    reservoir = filled([1.0] * 3_000 + [2.0] * 100)
    reservoir.forget(100)
    assert set(reservoir.spread()) == {2.0}
    reservoir.forget(0)
    assert len(reservoir) == 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.lists(st.floats(-1e38, 1e38)))
def test_a_stored_one_goes_on_as_if_it_had_never_stopped(before: list[float], after: list[float]) -> None:
    reservoir = filled(before)
    copy = Reservoir(reservoir.state())
    for value in after:
        reservoir.add(value)
        copy.add(value)
    assert copy.state() == reservoir.state()
    assert not len(copy) or copy.spread() == reservoir.spread()
