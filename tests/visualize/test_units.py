"""Numbers are written as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.core.unit import MINUS, format_value, significant
from barograph.visualize.axes import value_axis
from barograph.visualize.units import axis_labels


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.2, "s", "1.2 s"), (0.34, "s", "340 ms"), (0.9996, "s", "1 s"), (59.97, "s", "1 min"), (90, "s", "1.5 min"),
        (2e-5, "s", "20 µs"), (0.0, "s", "0 s"), (7200, "s", "2 h"),
        (15.32, "USD", "$15.32"), (0.0021, "USD", "$0.0021"), (0.5, "USD", "$0.50"), (0, "USD", "$0.00"),
        (999.999, "USD", "$1,000"), (2_500_000, "USD", "$2.5 M"), (-1.5, "USD", "−$1.50"),
        (0.004, "ratio", "0.4\u202f%"), (0.9996, "ratio", "99.9\u202f%"), (1, "ratio", "100\u202f%"),
        (37.5, "%", "37.5\u202f%"), (4.2, "rating", "4.2"), (0.8714, "score", "0.871"),
        (1_200_000, "tokens", "1.2 M"), (340, "tokens", "340"), (1.5e9, "B", "1.5 GB"), (12, "B", "12 B"),
        (19366, "1", "19,366"), (4.871, "1", "4.87"), (1_234_567, "1", "1.23 M"), (412, "1/min", "412/min"),
        (3, "points", "3 points"), (None, "s", "–"), (float("nan"), "s", "–"), (-0.0, "1", "0"),
    ],
)  # fmt: skip
def test_a_number_is_written_by_its_unit(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit, headed=True) == text


def test_ascii_has_plain_signs_and_a_missing_number_is_not_zero() -> None:
    assert format_value(-0.004, "ratio", ascii_only=True) == "-0.4 %"
    assert format_value(2e-5, "s", ascii_only=True) == "20 us"
    assert format_value(None, "1", ascii_only=True, headed=True) == "n/a"


@pytest.mark.parametrize(
    ("value", "unit", "alone", "headed"),
    [
        (4.23, "rating", "4.2/5.0", "4.23"), (340, "tokens", "340 tokens", "340"), (None, "s", "no data", "–"),
        (10_680, "s", "2 h 58 min", "2.97 h"),
    ],
)  # fmt: skip
def test_a_heading_says_what_a_number_need_not(value: float | None, unit: str, alone: str, headed: str) -> None:
    assert (format_value(value, unit), format_value(value, unit, headed=True)) == (alone, headed)


def test_a_change_shows_its_sign_and_nothing_does_not() -> None:
    assert format_value(0.032, "ratio", signed=True) == "+3.2\u202f%"
    assert format_value(-0.032, "ratio", signed=True) == f"{MINUS}3.2\u202f%"
    assert format_value(0.0, "ratio", signed=True) == "0\u202f%"


@given(st.floats(1e-6, 9.9e14))
def test_three_digits_are_within_half_a_percent(value: float) -> None:
    text = significant(value)
    assert abs(float(text) - value) <= 0.005 * value
    assert "e" not in text


@given(st.floats(1e-9, 1e12), st.sampled_from(["s", "USD", "ratio", "1", "tokens", "B", "score"]), st.integers(4, 14))
def test_the_labels_of_an_axis_differ_and_it_holds_the_highest_value(high: float, unit: str, rows: int) -> None:
    axis = value_axis(0.0, high, unit, rows)
    labels = axis_labels(axis.ticks, unit)
    assert len(set(labels)) == len(labels)
    assert axis.low == 0.0
    assert axis.high >= high * (1 - 1e-6)
    assert axis.rows <= rows + 2


def test_an_axis_has_one_unit() -> None:
    assert axis_labels([0, 0.5, 1.0], "s") == ["0.0 s", "0.5 s", "1.0 s"]
    assert axis_labels([0, 0.2, 0.4], "s") == ["0 ms", "200 ms", "400 ms"]
    assert axis_labels([-1.0, 0, 1.0], "USD", ascii_only=True) == ["-$1", "$0", "$1"]
